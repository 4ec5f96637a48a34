"""Raising the tasks of a plan, and taking those of a run back (see `pipeline.follow_up_plan`).

Each batch is noted before it is sent, and settled after. The CRM knows which tasks are open, the ledger which were
there: what became of a task that was sent when a job was killed is found out by its key, and a task that the ledger had
as open and the CRM does not was closed by a person.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.adapters.patient import BudgetError
from pipeline.adapters.target import FollowUpAdapter, RecordResult
from pipeline.follow_up_plan import FollowUpPlan
from pipeline.ledger import Ledger
from pipeline.ledger_follow_ups import Task, TaskState, settle

ROWS = 500
"""Tasks per batch, where the CRM takes as many."""


@dataclass(frozen=True)
class FollowUpReport:
    """What became of a plan; the counts that it shares with `FollowUpPlan` mean the same."""

    raised: int = 0
    missing: int = 0
    rejected: int = 0
    waiting: int = 0
    still_open: int = 0
    standing: int = 0
    vetoed: int = 0
    fallen: int = 0
    withdrawn: int = 0


def raise_follow_ups(
    ledger: Ledger,
    adapter: FollowUpAdapter,
    plan: FollowUpPlan,
    max_batch: int = ROWS,
    advance: Callable[[int], None] = lambda tasks: None,
) -> FollowUpReport:
    """Give people the tasks of a plan: each batch is noted before it is sent, and settled after.

    Where the budget of the run is spent the rest waits for the next one.

    Raises
    ------
    CrmError
        If the CRM does not answer; run again to continue.

    """
    ledger.follow_ups.settle(plan.settled)
    ends: list[TaskState] = []
    size = min(ROWS, max_batch)
    for start in range(0, len(plan.tasks), size):
        tasks = plan.tasks[start : start + size]
        ledger.follow_ups.intend(tasks)
        try:
            results = adapter.add_follow_ups(plan.follow_ups[start : start + size])
        except BudgetError:
            ledger.follow_ups.settle([replace(task, state="dropped", error="the budget was spent") for task in tasks])
            break
        ended = [_end(task, results[task.key]) for task in tasks]
        ledger.follow_ups.settle(ended)
        ends += [task.state for task in ended]
        advance(len(tasks))
    return FollowUpReport(
        ends.count("open"),
        ends.count("missing"),
        ends.count("rejected"),
        len(plan.tasks) - len(ends) + ends.count("dropped"),
        plan.still_open,
        plan.standing,
        plan.vetoed,
        plan.fallen,
    )


def withdraw_follow_ups(ledger: Ledger, adapter: FollowUpAdapter, run_id: str, max_batch: int = ROWS) -> FollowUpReport:
    """Take back the tasks that a run raised and nobody has closed; where the budget is spent, run it again."""
    known = ledger.follow_ups.tasks(run_id=run_id)
    done = 0
    try:
        there = adapter.open_follow_ups()
        is_ours = {task.key: task.task_id in (None, there.get(task.key)) for task in known}
        mine = {key: task_id for key, task_id in there.items() if is_ours.get(key)}
        settled = [settle(task, mine, task.seen_at) for task in known]
        ledger.follow_ups.settle(settled)
        known = [replace(task, state="withdrawing") for task in settled if task.state == "open"]
        size = min(ROWS, max_batch)
        for start in range(0, len(known), size):
            tasks: list[Task] = known[start : start + size]
            ledger.follow_ups.settle(tasks)
            adapter.close_follow_ups([str(task.task_id) for task in tasks])
            ledger.follow_ups.settle([replace(task, state="withdrawn") for task in tasks])
            done += len(tasks)
    except BudgetError:
        return FollowUpReport(withdrawn=done, waiting=len(known) - done)
    return FollowUpReport(withdrawn=done)


def _end(task: Task, result: RecordResult) -> Task:
    """Return a task with what the CRM said of it."""
    states: dict[str, TaskState] = {"done": "open", "missing": "missing", "retry": "dropped"}
    state = states.get(result.status, "rejected")
    return replace(task, state=state, task_id=result.record_id if state == "open" else None, error=result.message)
