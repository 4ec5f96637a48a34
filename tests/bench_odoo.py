"""How fast scores go into a real Odoo: python tests/bench_odoo.py [LEADS]

LEADSIEVE_ODOO names the server (see odoo_server.py). Three fields of each lead (float, char, text) are planned,
written and undone with the deployment's own code, the ledger on disk. The bar: 2,000 leads a second from the
first read of the plan to the last value read back. Leads that are missing are copied within Odoo's database.
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from crm_world import make_scores, open_run
from odoo_installed import install
from odoo_place import make_odoo_config
from odoo_server import RealOdoo, open_real_odoo

from pipeline.adapters.odoo_client import OdooClient
from pipeline.adapters.odoo_target import OdooTarget
from pipeline.config import Config
from pipeline.crm import make_crm, open_crm
from pipeline.ledger import Ledger
from pipeline.write_plan import make_plan
from pipeline.writeback import apply_plan, undo_run

BAR = 2_000
FIELDS = {"x_bench_probability": "probability", "x_bench_grade": "grade", "x_bench_reasons": "reasons_en"}
TYPES = {"x_bench_probability": "float", "x_bench_grade": "char", "x_bench_reasons": "text"}
GRADES = ("priority", "follow_up", "nurture", "hold")
PHRASES = (
    "{} calls in the last 30 days",
    "quote {} sent and answered",
    "no activity for {} days",
    "decision maker met {} times",
)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with open_real_odoo() as odoo, tempfile.TemporaryDirectory() as folder:
        if odoo is None:
            sys.exit("LEADSIEVE_ODOO does not name the env file of a real Odoo.")
        bench = Bench(odoo, Path(folder), count)
        ids = bench.prepare()
        with closing(odoo.connect("nightly")) as client:
            print(f"Odoo {client.read_version()}, {len(ids):,} leads, load {os.getloadavg()[0]:.1f}")
        rate = bench.run(ids)
    print(f"{rate:,.0f} leads a second, plan and read-back included; the bar is {BAR:,}")
    sys.exit(0 if rate >= BAR else 1)


class Watched:
    """A client that notes how long each write takes: for so long a person waits who saves one of its leads."""

    def __init__(self, client: OdooClient) -> None:
        self._client = client
        self.place = client.place
        self.waits: list[float] = []

    @property
    def requests(self) -> int:
        return self._client.requests

    def call(self, model: str, method: str, **arguments: Any) -> Any:
        begun = time.perf_counter()
        answer = self._client.call(model, method, **arguments)
        if method == "run" and arguments["context"]["rows"]:
            self.waits.append(time.perf_counter() - begun)
        return answer


@dataclass(frozen=True)
class Bench:
    """A deployment that writes to a server."""

    odoo: RealOdoo
    folder: Path
    count: int

    def prepare(self) -> list[str]:
        """Fields and leads, none of which has a score; every fifth is archived by who made them, or none."""
        install(self.odoo, self.folder)
        self.odoo.add_fields("crm.lead", {name: {"ttype": type_} for name, type_ in TYPES.items()})
        missing = self.count - self.odoo.admin.call("crm.lead", "search_count", domain=[], context=_ALL)
        if missing > 0:
            self._copy_leads(missing)
        empty = ", ".join(f"{name} = NULL" for name in TYPES)
        self.odoo.execute(f"UPDATE crm_lead SET {empty} WHERE coalesce({', '.join(f'{n}::text' for n in TYPES)}) <> ''")
        self.odoo.execute("ANALYZE crm_lead")
        found = self.odoo.admin.call("crm.lead", "search", domain=[], order="id", limit=self.count, context=_ALL)
        return [str(number) for number in found]

    def _copy_leads(self, missing: int) -> None:
        """Copy a lead within the database: making so many through the API takes minutes."""
        [first] = self.odoo.add_leads([{"name": "Lead for a benchmark"}])
        columns = self.odoo.query(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'crm_lead' AND column_name <> 'id'"
        )
        names = ", ".join(f'"{name}"' for (name,) in columns)
        given = names.replace('"active"', "number % 5 <> 0")
        self.odoo.execute(
            f"INSERT INTO crm_lead ({names}) SELECT {given} FROM crm_lead, generate_series(1, %s) AS number "
            "WHERE id = %s",
            (missing - 1, int(first)),
        )

    def run(self, ids: Sequence[str]) -> float:
        """Write, write again, write others, undo; leads per second of the slower of the two that write."""
        os.environ.update(ODOO_TEST_URL=self.odoo.url, ODOO_TEST_KEY=self.odoo.keys["nightly"])
        config = make_odoo_config(self.folder, self.odoo.database, FIELDS)
        first, second = _make_scores("r1", ids, 1), _make_scores("r2", ids, 2)
        with open_run(config, "r1", "r1b", "r2") as ledger:
            rates = [self._write(config, ledger, "r1", first, ids)]
            with _timed(self.odoo, "unchanged second run", len(ids)), open_crm(config) as crm:
                plan = make_plan(config, ledger, crm, first.assign(run_id="r1b"), "r1b")
                report = apply_plan(config, ledger, crm, plan)
            _expect(report.records == 0, "an unchanged run writes nothing")
            rates.append(self._write(config, ledger, "r2", second, ids))
            with _timed(self.odoo, "undo", len(ids)):
                undone = undo_run(config, ledger, "r2")
            _expect(undone.records == len(ids), "every lead is put back")
            with closing(self.odoo.connect("nightly")) as client:
                _expect(_read(client, ids) == _wanted(first), "the values of the first run are back")
        self._write_bare(ids)
        return min(rates)

    def _write(self, config: Config, ledger: Ledger, run_id: str, scores: pd.DataFrame, ids: Sequence[str]) -> float:
        """Plan, apply, and read every value back; leads per second of all that."""
        begun = time.perf_counter()
        with closing(self.odoo.connect("nightly")) as ours:
            watched = Watched(ours)
            crm = make_crm(OdooTarget(watched))  # type: ignore[arg-type]
            with _timed(self.odoo, f"{run_id}: plan", len(ids)):
                plan = make_plan(config, ledger, crm, scores, run_id)
            with _timed(self.odoo, f"{run_id}: apply", len(ids)):
                report = apply_plan(config, ledger, crm, plan)
            with (
                _timed(self.odoo, f"{run_id}: read everything back", len(ids)),
                closing(self.odoo.connect("nightly")) as client,
            ):
                found = _read(client, ids)
            requests = crm.target.requests
        seconds = time.perf_counter() - begun
        _expect(report.records == len(ids), f"every lead is written, {report.records:,} were")
        _expect(found == _wanted(scores), "every lead has what was sent")
        wait = f"{statistics.median(watched.waits):.2f} s, at most {max(watched.waits):.2f} s"
        print(f"  {run_id}: leads are locked for {wait}")
        print(f"  {run_id}: {len(ids) / seconds:,.0f} leads a second in all, {requests} requests")
        return len(ids) / seconds

    def _write_bare(self, ids: Sequence[str]) -> None:
        """What Odoo itself takes: the same fields by a bare loop, with nothing read and nothing noted."""
        wanted = _wanted(_make_scores("r3", ids, 3))
        with (
            closing(self.odoo.connect("nightly")) as client,
            _timed(self.odoo, "bare loop of the same writes", len(ids)),
        ):
            for start in range(0, len(ids), 1000):
                part = ids[start : start + 1000]
                client.call(
                    "crm.lead",
                    "web_save_multi",
                    ids=[int(lead) for lead in part],
                    vals_list=[dict(zip(TYPES, wanted[lead], strict=True)) for lead in part],
                    specification={},
                    context={"tracking_disable": True},
                )


_ALL = {"active_test": False}


def _make_scores(run_id: str, ids: Sequence[str], seed: int) -> pd.DataFrame:
    """Scores of all leads, each with three reasons of its own."""
    chance = random.Random(seed)
    rows = []
    for at, lead in enumerate(ids):
        reasons = [phrase.format(chance.randrange(1000)) for phrase in chance.sample(PHRASES, 3)]
        rows.append((lead, round(chance.random(), 4) + 0.0001, GRADES[(at + seed) % 4], reasons))
    return make_scores(run_id, rows)


def _wanted(scores: pd.DataFrame) -> dict[str, tuple[Any, ...]]:
    """What each lead is to have, from the phrases themselves."""
    reasons = ["; ".join(entry["en"] for entry in json.loads(cell)) for cell in scores["reasons"]]
    columns = (scores["probability"].round(4).tolist(), scores["grade"].tolist(), reasons)
    return dict(zip(scores["entity_id"].tolist(), zip(*columns, strict=True), strict=True))


def _read(client: Any, ids: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """What each lead has."""
    found = {}
    for start in range(0, len(ids), 2000):
        domain = [["id", "in", [int(lead) for lead in ids[start : start + 2000]]]]
        for row in client.call("crm.lead", "search_read", domain=domain, fields=list(TYPES), context=_ALL, order="id"):
            found[str(row["id"])] = tuple(row[name] for name in TYPES)
    return found


@contextmanager
def _timed(odoo: RealOdoo, name: str, leads: int) -> Iterator[None]:
    """Print how long something takes, and what of it is ours."""
    begun, ours, theirs = time.perf_counter(), time.process_time(), odoo.processor_seconds
    yield
    seconds, ours, theirs = (
        time.perf_counter() - begun,
        time.process_time() - ours,
        odoo.processor_seconds - theirs,
    )
    busy = f"(processor: {ours:5.2f} s ours, {theirs:5.2f} s Odoo)"
    print(f"  {name:32} {seconds:6.2f} s {busy} {leads / seconds:8,.0f} leads/s")


def _expect(holds: bool, what: str) -> None:
    if not holds:
        sys.exit(f"Not as it should be: {what}.")


if __name__ == "__main__":
    main()
