"""Nights of a write-back on a real Odoo, as the unprivileged user, with what can go wrong in them."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from crm_world import make_scores, open_run
from odoo_place import LEADS, SCORED, Overtaken, Place, make_batch, make_odoo_config
from odoo_server import RealOdoo
from small_crm import run_cli

from pipeline.adapters.odoo_target import OdooTarget
from pipeline.adapters.patient import Patience, PatientTarget
from pipeline.config import Config
from pipeline.crm import Crm, make_crm, open_crm
from pipeline.errors import ConfigError
from pipeline.simulate import simulate_crm
from pipeline.write_batches import send
from pipeline.write_plan import make_plan
from pipeline.write_report import WriteReport
from pipeline.writeback import apply_plan, undo_run, write_back

FIELDS = {"x_trial_probability": "probability", "x_trial_grade": "grade", "x_trial_reasons": "reasons_en"}
BATCH = 20


@dataclass
class Nights:
    """Leads of a simulated CRM in a real Odoo, and a deployment that writes their scores."""

    place: Place
    odoo: RealOdoo
    config: Config
    ids: list[str]

    def read(self, ids: Sequence[str] | None = None) -> dict[str, tuple[Any, ...]]:
        """What leads have, archived ones too."""
        fields = list(FIELDS)
        rows = self.place.read(self.ids if ids is None else ids, "id", *fields)
        return {str(row[0]): row[1:] for row in rows}

    def run(self, run_id: str, scores: pd.DataFrame) -> WriteReport:
        with open_run(self.config, run_id) as ledger:
            return write_back(self.config, ledger, scores, run_id)

    def undo(self, run_id: str) -> WriteReport:
        with open_run(self.config) as ledger:
            return undo_run(self.config, ledger, run_id)

    @contextmanager
    def overtaken(self, act: Callable[[], object], wait: Callable[[float], None] | None = None) -> Iterator[Crm]:
        """The CRM, with somebody who acts right before our first write."""
        with closing(self.place.connect()) as client:
            yield make_crm(OdooTarget(Overtaken(client, act)), wait=wait)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def simulated_leads() -> list[dict[str, Any]]:
    """The simulator's deals as leads of Odoo, the lost ones archived."""
    deals = simulate_crm(40, seed=1, dirt=0, duplicates=0)["deals"].slice(0, 70).to_pylist()
    return [
        {
            "name": deal["deal_id"],
            "type": "opportunity",
            "expected_revenue": float(deal["amount"] or 0),
            "active": deal["outcome"] != "lost",
        }
        for deal in deals
    ]


@pytest.fixture
def nights(
    odoo: RealOdoo,
    real_place: Place,
    simulated_leads: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Nights:
    """The simulator's leads in Odoo, and a deployment that writes small batches."""
    monkeypatch.setenv("ODOO_TEST_URL", odoo.url)
    monkeypatch.setenv("ODOO_TEST_KEY", real_place.keys["nightly"])
    config = make_odoo_config(tmp_path, odoo.database, FIELDS, batch_rows=BATCH)
    return Nights(real_place, odoo, config, real_place.add(*simulated_leads))


@pytest.fixture
def effective(odoo: RealOdoo, real_place: Place) -> Iterator[Callable[[], Counter[tuple[str, str]]]]:
    """How often each (lead, field) got another value, counted by the database itself."""
    odoo.execute("CREATE TABLE IF NOT EXISTS x_trial_log (lead int, field text)")
    odoo.execute("TRUNCATE x_trial_log")
    notes = " ".join(
        f"IF NEW.{name} IS DISTINCT FROM OLD.{name} THEN INSERT INTO x_trial_log VALUES (NEW.id, '{name}'); END IF;"
        for name in FIELDS
    )
    odoo.execute(
        "CREATE OR REPLACE FUNCTION x_trial_note() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {notes} RETURN NULL; END $$".replace("%", "%%")
    )
    odoo.execute(
        "CREATE OR REPLACE TRIGGER x_trial_watch AFTER UPDATE ON crm_lead FOR EACH ROW EXECUTE FUNCTION x_trial_note()"
    )
    yield lambda: Counter(
        {(str(lead), field): times for lead, field, times in odoo.query(
            "SELECT lead, field, count(*) FROM x_trial_log GROUP BY lead, field")}
    )  # fmt: skip
    odoo.execute("DROP TRIGGER x_trial_watch ON crm_lead")
    odoo.execute("DROP FUNCTION x_trial_note")
    odoo.execute("DROP TABLE x_trial_log")


def score(run_id: str, ids: Sequence[str], step: int = 1) -> pd.DataFrame:
    """Scores that differ from lead to lead and from step to step."""
    return make_scores(
        run_id,
        [
            (lead, round(0.9 - at / 1000 - step / 10, 4), "ABCD"[(at + step) % 4], [f"客户活跃 {at} · step {step}"])
            for at, lead in enumerate(ids)
        ],
    )


def expect(ids: Sequence[str], step: int = 1) -> dict[str, tuple[Any, ...]]:
    """What leads have after `score`."""
    return {
        lead: (round(0.9 - at / 1000 - step / 10, 4), "ABCD"[(at + step) % 4], f"客户活跃 {at} · step {step}")
        for at, lead in enumerate(ids)
    }


EMPTY = (0.0, False, False)


def test_two_nights_an_edit_and_two_undos_leave_every_lead_as_it_was(
    nights: Nights, effective: Callable[[], Counter[tuple[str, str]]], record_property: Callable[[str, object], None]
) -> None:
    archived = [row[0] for row in nights.place.read(nights.ids, "active")].count(False)
    assert 5 < archived < len(nights.ids) - 5
    messages = nights.place.admin.call("mail.message", "search_count", domain=[["model", "=", "crm.lead"]])
    first = nights.run("r1", score("r1", nights.ids))
    assert nights.read() == expect(nights.ids)  # lost ones, too
    assert nights.run("r1b", score("r1b", nights.ids)).records == 0
    edited = nights.ids[3]
    others = [lead for lead in nights.ids if lead != edited]
    nights.place.edit(edited, x_trial_grade="mine")
    second = nights.run("r2", score("r2", nights.ids, 2))
    assert second.tables[0].conflicts == 1
    probability, _, reasons = expect(nights.ids, 2)[edited]
    assert nights.read() == {**expect(nights.ids, 2), edited: (probability, "mine", reasons)}
    nights.undo("r2")
    probability, _, reasons = expect(nights.ids)[edited]
    assert nights.read() == {**expect(nights.ids), edited: (probability, "mine", reasons)}
    nights.undo("r1")
    assert nights.read() == {**dict.fromkeys(others, EMPTY), edited: (0.0, "mine", False)}
    assert nights.place.admin.call("mail.message", "search_count", domain=[["model", "=", "crm.lead"]]) == messages
    counted = effective()
    assert {counted[lead, field] for lead in others for field in FIELDS} == {4}  # two nights, two undos
    with closing(nights.odoo.connect("nightly")) as client:
        record_property(
            "said",
            f"Odoo {client.read_version()}: {first.records} rows written ({archived} of them archived), "
            f"{len(nights.read())} rows read back, {first.tables[0].read_back} of them by the write-back itself",
        )


def test_a_lead_that_is_deleted_mid_run_is_missing_and_the_others_are_written(nights: Nights) -> None:
    gone, ids = nights.ids[1], nights.ids
    scores = score("r1", ids)
    with open_run(nights.config, "r1") as ledger, nights.overtaken(lambda: nights.place.delete(gone)) as crm:
        plan = make_plan(nights.config, ledger, crm, scores, "r1")
        report = apply_plan(nights.config, ledger, crm, plan)
        assert (report.records, report.tables[0].missing) == (len(ids) - 1, 1)
        assert {write.record_id for write in ledger.writes.of_run("r1", ("missing",))} == {gone}
    assert nights.read() == {lead: row for lead, row in expect(ids).items() if lead != gone}


def test_an_edit_between_plan_and_apply_stays(nights: Nights) -> None:
    edited, ids = nights.ids[0], nights.ids[:30]
    with open_run(nights.config, "r1") as ledger, open_crm(nights.config) as crm:
        plan = make_plan(nights.config, ledger, crm, score("r1", ids), "r1")
        nights.place.edit(edited, x_trial_grade="mine")
        report = apply_plan(nights.config, ledger, crm, plan)
    assert (report.records, report.tables[0].conflicts) == (29, 1)
    assert nights.read(ids) == {**expect(ids), edited: (0.0, "mine", False)}


def test_a_field_that_odoo_lacks_stops_the_plan_before_anything_is_sent(
    nights: Nights, effective: Callable[[], Counter[tuple[str, str]]], tmp_path: Path
) -> None:
    config = make_odoo_config(tmp_path, nights.odoo.database, {"x_trial_probabilty": "probability"})
    with (
        open_run(config, "r1") as ledger,
        open_crm(config) as crm,
        pytest.raises(ConfigError, match=r"does not exist\. Did you mean 'x_trial_probability'"),
    ):
        make_plan(config, ledger, crm, score("r1", nights.ids), "r1")
    assert effective() == {}


def test_a_revoked_key_ends_the_job_with_code_2_and_a_key_that_works_goes_on(
    nights: Nights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo.yaml").write_text(nights.config.model_dump_json(), encoding="utf-8")
    apply = ("writeback", "apply", "--run", "r1", "--config", str(tmp_path / "demo.yaml"), "--json")
    with open_run(nights.config, "r1") as ledger:
        ledger.replace_scores("r1", score("r1", nights.ids))
    revoked = nights.place.keys["nightly"]
    nights.odoo.revoke_key(revoked)
    refused = run_cli(*apply)
    assert refused.code == 2
    assert "Odoo refuses the API key (401)" in refused.err
    assert revoked not in refused.err + refused.out
    assert set(nights.read().values()) == {EMPTY}
    monkeypatch.setenv("ODOO_TEST_KEY", nights.odoo.keys["nightly"])
    assert run_cli(*apply).document["rows"] == len(nights.ids)
    assert nights.read() == expect(nights.ids)
    assert not [place for place in tmp_path.rglob("*") if place.is_file() and revoked.encode() in place.read_bytes()]


def test_a_server_that_is_killed_during_a_write_and_started_again_has_every_value_once(
    nights: Nights, effective: Callable[[], Counter[tuple[str, str]]], record_property: Callable[[str, object], None]
) -> None:
    killer = threading.Timer(0.03, nights.odoo.kill)
    waits: list[float] = []

    def start_again(seconds: float) -> None:
        killer.join()
        waits.append(seconds)
        if len(waits) == 1:
            nights.odoo.start()

    with open_run(nights.config, "r1") as ledger, nights.overtaken(killer.start, start_again) as crm:
        plan = make_plan(nights.config, ledger, crm, score("r1", nights.ids), "r1")
        report = apply_plan(nights.config, ledger, crm, plan)
    assert waits
    assert report.records == len(nights.ids)
    assert nights.read() == expect(nights.ids)
    assert effective() == {(lead, field): 1 for lead in nights.ids for field in FIELDS}
    said = f"Odoo killed and started again during apply: {report.records} rows written, each value once"
    record_property("said", said)


def test_one_bad_record_costs_one_record_beside_a_conflict(nights: Nights) -> None:
    odoo, ids = nights.odoo, nights.ids[:BATCH]
    odoo.execute(
        f"ALTER TABLE crm_lead ADD CONSTRAINT x_trial_check CHECK (id <> {int(ids[4])} OR x_trial_grade IS NULL)"
    )
    try:
        with open_run(nights.config, "r1") as ledger, open_crm(nights.config) as crm:
            plan = make_plan(nights.config, ledger, crm, score("r1", ids), "r1")
            nights.place.edit(ids[0], x_trial_grade="mine")
            report = apply_plan(nights.config, ledger, crm, plan)
            refused = ledger.writes.of_run("r1", ("rejected",))
    finally:
        odoo.execute("ALTER TABLE crm_lead DROP CONSTRAINT x_trial_check")
    assert (report.records, report.tables[0].conflicts) == (BATCH - 2, 1)
    assert {write.record_id for write in refused} == {ids[4]}
    assert nights.read(ids) == {**expect(ids), ids[0]: (0.0, "mine", False), ids[4]: EMPTY}


def test_what_a_person_saves_while_a_batch_is_written_stays_and_the_others_are_written(nights: Nights) -> None:
    odoo, ids = nights.odoo, nights.ids[:BATCH]
    edited = ids[7]
    batch = make_batch(ids, [(0.0, None, None)] * BATCH, [(0.5, "A", "客户活跃")] * BATCH)
    with nights.place.open() as target, ThreadPoolExecutor(1) as thread:
        target.describe(LEADS, SCORED)
        with odoo.saving("UPDATE crm_lead SET x_trial_grade = 'mine' WHERE id = %s", (int(edited),)):
            writing = thread.submit(target.write_batch, batch)  # its action began before the person's save ends
            odoo.await_lock()
            assert not writing.done()
        results = writing.result(timeout=60)
    ends = {result.record_id: (result.status, result.message) for result in results}
    assert ends.pop(edited) == ("conflict", "x_trial_grade: expected None, found 'mine'")
    assert set(ends.values()) == {("done", None)}
    assert nights.read(ids) == {**dict.fromkeys(ids, (0.5, "A", "客户活跃")), edited: (0.0, "mine", False)}


def test_a_lead_of_another_company_is_refused_by_odoos_own_rules(nights: Nights) -> None:
    admin, [first, foreign, last] = nights.odoo.admin, nights.ids[:3]
    found = admin.call("res.company", "search", domain=[["name", "=", "trial: another"]])
    [company] = found or admin.call("res.company", "create", vals_list=[{"name": "trial: another"}])
    nights.odoo.execute("UPDATE crm_lead SET company_id = %s WHERE id = %s", (company, int(foreign)))
    batch = make_batch([first, foreign, last], [(0.0, None, None)] * 3, [(0.5, "A", "x")] * 3)
    with nights.place.open() as target:
        ends = send(PatientTarget(target, Patience()), batch)
    assert [end.status for end in ends] == ["done", "rejected", "done"]
    assert "no 'write' access to Lead (crm.lead)" in str(ends[1].message)
    nights.odoo.execute("UPDATE crm_lead SET company_id = NULL WHERE id = %s", (int(foreign),))
    assert nights.read([first, foreign, last]) == {first: (0.5, "A", "x"), foreign: EMPTY, last: (0.5, "A", "x")}
