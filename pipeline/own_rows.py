"""What a run adds to the CRM beside the fields of its records: history rows, and tasks for people.

Both are planned before any field is written, so that a table that is not ours or a flag that no card has stops the job
while nothing is changed yet. They are written after the fields, tasks first, with what is left of the budget.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import pandas as pd

from pipeline.adapters.patient import BudgetError
from pipeline.config import Config
from pipeline.crm import Crm
from pipeline.errors import ConfigError, CrmError
from pipeline.follow_ups import (
    FollowUpPlan,
    FollowUpReport,
    check_follow_ups,
    plan_follow_ups,
    raise_follow_ups,
    withdraw_follow_ups,
)
from pipeline.ledger import Ledger
from pipeline.score_history import HistoryPlan, HistoryReport, add_history, plan_history, remove_history


@dataclass(frozen=True)
class OwnPlan:
    """What a run adds; None where the config has no such section, or the budget had no room to look."""

    run_id: str
    history: HistoryPlan | None = None
    follow_ups: FollowUpPlan | None = None

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
    """What was added or taken back; None where the config has no such section, or the budget had no room to look."""

    run_id: str
    history: HistoryReport | None = None
    follow_ups: FollowUpReport | None = None

    def check(self) -> None:
        """Check that the CRM took every task; CrmError if not."""
        if self.follow_ups is not None and self.follow_ups.rejected:
            raise CrmError(
                f"The CRM refused {self.follow_ups.rejected:,} tasks of run '{self.run_id}'. "
                f"`leadsieve writeback status --run {self.run_id}` says why; correct that and run again."
            )

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
    check_follow_ups(config)
    tasks: FollowUpPlan | None = None
    history: HistoryPlan | None = None
    try:
        if crm.follow_ups is not None:
            tasks = plan_follow_ups(config, ledger, crm.follow_ups, scores, run_id, today)
        if crm.history is not None:
            history = plan_history(config, crm.history, scores, run_id)
    except BudgetError:
        pass  # it is looked at anew by the next run
    return OwnPlan(run_id, history, tasks)


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
        raised = raise_follow_ups(ledger, crm.follow_ups, plan.follow_ups, size)
    if plan.history is not None and crm.history is not None:
        added = add_history(config, ledger, crm.history, plan.history, size)
    return OwnReport(plan.run_id, added, raised)


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
    back = removed = None
    if crm.follow_ups is not None and ledger.follow_ups.tasks(run_id=run_id):
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
