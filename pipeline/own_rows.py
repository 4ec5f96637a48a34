"""What a run adds to the CRM beside the fields of its records: history rows, and tasks for people.

Both are planned before any field is written, so that a table that is not ours or a flag that no card has stops the job
while nothing is changed yet. They are written after the fields, tasks first, with what is left of the budget.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any

import pandas as pd

from pipeline.adapters.patient import BudgetError
from pipeline.config import Config
from pipeline.crm import Crm
from pipeline.errors import ConfigError, CrmError
from pipeline.follow_up_plan import FollowUpPlan, plan_follow_ups
from pipeline.follow_ups import FollowUpReport, raise_follow_ups, withdraw_follow_ups
from pipeline.ledger import Ledger
from pipeline.ledger_follow_ups import Task
from pipeline.run_log import part_of_job
from pipeline.score_history import HistoryPlan, HistoryReport, add_history, plan_history, remove_history

SHOWN = 20
"""Tasks that are told one by one."""


@dataclass(frozen=True)
class OwnPlan:
    """What a run adds; None where the config has no such section, or `is_postponed`: the budget had no room to look."""

    run_id: str
    history: HistoryPlan | None = None
    follow_ups: FollowUpPlan | None = None
    is_postponed: bool = False

    def to_json(self) -> dict[str, Mapping[str, int]]:
        """Counts, for the document of a plan."""
        found: dict[str, Mapping[str, int]] = {}
        if self.follow_ups is not None:
            counts = {name: getattr(self.follow_ups, name) for name in ("still_open", "standing", "vetoed", "fallen")}
            found["follow_ups"] = {"raise": len(self.follow_ups.tasks), **counts}
        if self.history is not None:
            found["history"] = {"add": len(self.history.missing), "unchanged": self.history.unchanged}
        return found


@dataclass(frozen=True)
class OwnReport:
    """What was added or taken back; None where `OwnPlan` has it."""

    run_id: str
    history: HistoryReport | None = None
    follow_ups: FollowUpReport | None = None
    is_postponed: bool = False

    def check(self) -> None:
        """Check that the CRM took every task; CrmError if not."""
        if self.follow_ups is not None and self.follow_ups.rejected:
            raise CrmError(
                f"The CRM refused {self.follow_ups.rejected:,} tasks of run '{self.run_id}'. "
                f"`leadsieve writeback status --run {self.run_id}` says why; correct that and run again."
            )

    def to_log(self) -> dict[str, int]:
        """Return what the log line of a job says of it."""
        told = {} if self.follow_ups is None else {"tasks": self.follow_ups.raised}
        return told | ({} if self.history is None else {"history": self.history.added + self.history.earlier})

    def to_json(self) -> dict[str, Mapping[str, int]]:
        """Return what is not 0, by section."""
        sections = {"follow_ups": self.follow_ups, "history": self.history}
        return {
            name: {key: count for key, count in vars(report).items() if count}
            for name, report in sections.items()
            if report is not None
        }


def plan_own_rows(
    config: Config, ledger: Ledger, crm: Crm, scores: pd.DataFrame, run_id: str, today: date | None = None
) -> OwnPlan:
    """Look what is there and decide what is added; nothing is written.

    Raises
    ------
    ConfigError
        If the sections do not fit the config, the cards or the CRM.
    CrmError
        If the CRM does not answer.

    """
    tasks: FollowUpPlan | None = None
    history: HistoryPlan | None = None
    try:
        if crm.follow_ups is not None:
            tasks = plan_follow_ups(config, ledger, crm.follow_ups, scores, run_id, today)
        if crm.history is not None:
            history = plan_history(config, crm.history, scores, run_id)
    except BudgetError:
        return OwnPlan(run_id, history, tasks, is_postponed=True)
    return OwnPlan(run_id, history, tasks)


def begin_own_rows(ledger: Ledger, crm: Crm, run_id: str) -> None:
    """Note that a run is going to add its history, so that the next one does if this one is killed before."""
    if crm.history is not None and ledger.find_run(run_id) is not None:
        ledger.history.begin(run_id, "adding")


def write_own_rows(config: Config, ledger: Ledger, crm: Crm, plan: OwnPlan) -> OwnReport:
    """Raise the tasks and add the history rows of a plan, as far as the budget goes.

    Raises
    ------
    CrmError
        If the CRM does not answer; run again to continue.

    """
    size = crm.target.capabilities().max_batch
    raised: FollowUpReport | None = None
    added: HistoryReport | None = None
    if plan.follow_ups is not None and crm.follow_ups is not None:
        with part_of_job("follow_ups", len(plan.follow_ups.tasks)) as step:
            raised = raise_follow_ups(ledger, crm.follow_ups, plan.follow_ups, size)
            step.rows_out = raised.raised
    if plan.history is not None and crm.history is not None:
        with part_of_job("history", len(plan.history.missing)) as step:
            added = add_history(config, ledger, crm.history, plan.history, size)
            step.rows_out = added.added + added.earlier
    return OwnReport(plan.run_id, added, raised, plan.is_postponed)


_WORDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "follow_ups": {
            "raise": "to raise",
            "raised": "raised",
            "withdrawn": "taken back",
            "still_open": "open already",
            "standing": "closed by a person while the flag stays up",
            "vetoed": "not raised because of a veto",
            "fallen": "open although the flag is down",
            "missing": "without a record or an owner",
            "rejected": "refused by the CRM",
            "waiting": "left for the next run",
        },
        "history": {
            "add": "to add",
            "added": "added",
            "earlier": "added for earlier runs",
            "removed": "removed",
            "unchanged": "there already",
            "waiting": "left for the next run",
        },
    }
)
_NAMES: Mapping[str, str] = MappingProxyType({"follow_ups": "Tasks", "history": "History rows"})


def describe_own_rows(found: OwnPlan | OwnReport) -> list[str]:
    """Say what is added or taken back, a sentence for each section; what is 0 is left out.

    >>> describe_own_rows(OwnReport("r1", HistoryReport(added=1200), FollowUpReport(raised=3, still_open=5)))
    ['Tasks: 3 raised, 5 open already.', 'History rows: 1,200 added.']
    """
    told = []
    for name, counts in found.to_json().items():
        parts = [f"{counts[key]:,} {words}" for key, words in _WORDS[name].items() if counts.get(key)]
        told.append(f"{_NAMES[name]}: {', '.join(parts) or 'none'}.")
    if found.is_postponed:
        told.append("What is not named here waits for the next run: the requests of this one are used up.")
    return told


@dataclass(frozen=True)
class OwnStatus:
    """What runs added, as the ledger has it.

    Parameters
    ----------
    history : mapping of run to tuple of str and int
        State of its rows in the history (see `pipeline.ledger_history`), and how many there are.
    tasks : mapping of run to mapping of str to int
        How many tasks are in each state (see `pipeline.ledger_follow_ups`).
    problems : tuple of Task
        Tasks that the CRM did not take; only asked for of one run.

    """

    history: Mapping[str, tuple[str, int]]
    tasks: Mapping[str, Mapping[str, int]]
    problems: tuple[Task, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the parts of the document of a status; none of a deployment that adds nothing."""
        history = [{"run_id": run, "state": state, "rows": rows} for run, (state, rows) in self.history.items()]
        tasks = [{"run_id": run, **counts} for run, counts in self.tasks.items()]
        problems = [
            {name: getattr(task, name) for name in ("target", "entity_id", "flag", "state", "error")}
            for task in self.problems
        ]
        found = {"history": history, "follow_ups": tasks, "task_problems": problems}
        return {name: rows for name, rows in found.items() if rows}

    def describe(self) -> list[str]:
        """Say it, a line for each run and kind."""
        told = [f"{run}: history {state}, {rows:,} rows" for run, (state, rows) in self.history.items()]
        for run, counts in self.tasks.items():
            told.append(f"{run}: tasks {', '.join(f'{count:,} {state}' for state, count in counts.items())}")
        return [*told, *(f"{task.state} task {task.key}: {task.error}" for task in self.problems[:SHOWN])]


def read_own_status(ledger: Ledger, run_id: str | None = None) -> OwnStatus:
    """Read what runs added, of one run if given; of that one also the tasks that the CRM did not take."""
    problems = [] if run_id is None else ledger.follow_ups.tasks(("intended", "missing", "rejected"), run_id)
    return OwnStatus(ledger.history.states(run_id), ledger.follow_ups.counts(run_id), tuple(problems))


def check_undo(ledger: Ledger, crm: Crm, run_id: str) -> None:
    """Check that what a run added can be taken back; ConfigError if the config does not say any more where it is."""
    state, _ = ledger.history.states(run_id).get(run_id, ("removed", 0))
    if state != "removed" and crm.history is None:
        raise ConfigError(
            f"Run '{run_id}' added its scores to the history in the CRM, and the config has no write_back.history. "
            "Add it."
        )
    if crm.follow_ups is None and ledger.follow_ups.tasks(("intended", "open", "withdrawing"), run_id):
        raise ConfigError(f"Run '{run_id}' raised tasks, and the config has no write_back.follow_ups. Add it.")


def undo_own_rows(ledger: Ledger, crm: Crm, run_id: str) -> OwnReport:
    """Take back the tasks of a run that nobody has closed, and remove its history rows."""
    back: FollowUpReport | None = None
    removed: HistoryReport | None = None
    if crm.follow_ups is not None and ledger.follow_ups.tasks(("intended", "open", "withdrawing"), run_id):
        back = withdraw_follow_ups(ledger, crm.follow_ups, run_id, crm.target.capabilities().max_batch)
    if crm.history is not None and run_id in ledger.history.states(run_id):
        removed = remove_history(ledger, crm.history, run_id)
    return OwnReport(run_id, removed, back)


def forget_own_rows(crm: Crm, entities: Mapping[str, list[str]], task_ids: list[str]) -> int:
    """Remove what our tables in the CRM hold of entities, given as target to ids; how many rows and tasks."""
    gone = 0
    if crm.history is not None and entities:
        gone += crm.history.forget_history(entities)
    if crm.follow_ups is not None and task_ids:
        crm.follow_ups.forget_follow_ups(task_ids)
        gone += len(task_ids)
    return gone
