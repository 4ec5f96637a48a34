"""A deployment whose CRM is a faulty one, and jobs that go on until nothing is left to do."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
from crm_world import make_config, make_scores
from faulty_crm import FaultyCrm
from faulty_plan import Fault, Plan
from faulty_target import FaultyTarget

from pipeline.config import Config
from pipeline.crm import Crm, make_crm
from pipeline.errors import CrmError
from pipeline.ledger import Ledger
from pipeline.write_report import WriteReport

FIELDS = ("score", "grade", "why")
KINDS = {"score": "number", "grade": "text", "why": "text"}


def fill(crm: FaultyCrm, deals: int) -> None:
    """Put deals into a CRM; every other one has values in fields that will be ours."""
    crm.make_table("deals", "deal_id", KINDS)
    for deal in range(deals):
        score, grade = (None, None) if deal % 2 else (0.9, "B")
        crm.put("deals", str(deal), {"score": score, "grade": grade, "why": f"old {deal}"})


def scores_of(run_id: str, deals: int) -> pd.DataFrame:
    """Scores of which every one changes all fields of its deal."""
    rows = [(str(deal), (deal + 1) / (deals + 2), "ACD"[deal % 3], [f"{deal} 次"]) for deal in range(deals)]
    return make_scores(run_id, rows)


def wanted(deals: int) -> dict[str, dict[str, Any]]:
    """What the deals have when all is written."""
    return {
        str(deal): {
            "score": round((deal + 1) / (deals + 2), 4),
            "grade": "ACD"[deal % 3],
            "why": f"{deal} 次",
            "owner": "Ann",
        }
        for deal in range(deals)
    }


def make_deployment(folder: Path, **write_back: Any) -> Config:
    """A deployment that writes to the deals; where they are is told by `connected`."""
    return make_config(folder, batch_rows=4, **write_back)


def make_plan(segments: Sequence[tuple[Fault | None, int]], events: Mapping[int, Fault] | None = None) -> Plan:
    """A plan of runs of the same fault, and of events at single requests; after them nothing fails."""
    faults = [fault for fault, times in segments for _ in range(times)]

    def plan(number: int) -> Fault | None:
        event = (events or {}).get(number)
        return event or (faults[number - 1] if number <= len(faults) else None)

    return plan


def ask(crm: FaultyCrm, config: Config) -> Crm:
    """The CRM, asked with patience and without waiting."""
    target, section = FaultyTarget(crm), config.write_back
    assert section is not None
    history = target if section.history else None
    follow_ups = target if section.follow_ups else None
    return make_crm(target, history, follow_ups, section.max_requests, lambda: target.requests, lambda seconds: None)


@contextmanager
def connected(crm: FaultyCrm) -> Iterator[None]:
    """Let every job write to this CRM."""

    @contextmanager
    def open_faulty(config: Config) -> Iterator[Crm]:
        yield ask(crm, config)

    with patch("pipeline.writeback.open_crm", open_faulty):
        yield


def run_until_calm(crm: FaultyCrm, last_fault: int, job: Callable[[], WriteReport], limit: int) -> WriteReport:
    """Run a job again and again, until one has begun after the last fault, or asks nothing; the report of that one."""
    for _ in range(limit):
        begun = crm.requests
        is_calm = begun >= last_fault
        try:
            report = job()
        except CrmError:
            assert not is_calm, "a job failed though nothing was wrong any more"
            continue
        if is_calm or crm.requests == begun:
            return report
    raise AssertionError(f"{limit} jobs were not enough")


def done_once(ledger: Ledger, run_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Values that the ledger has as done, each as often as it has."""
    return sorted((w.record_id, w.field) for run_id in run_ids for w in ledger.writes.of_run(run_id, ["done"]))
