"""Every score of a run into a table or model of our own in the CRM, so that the CRM's own records are not touched.

Which rows are there is found out by reading the keys of the run: only missing ones are added, in batches that are added
whole or not at all. So a job killed anywhere is continued by running it again, and a row is never there twice. The
ledger notes what a run is going to add before, and that it is there after; a run that stopped in between (a kill, a
spent budget) is finished by the next one.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pandas as pd

from pipeline.adapters.history_rows import make_rows
from pipeline.adapters.patient import BudgetError
from pipeline.adapters.target import HistoryAdapter
from pipeline.config import Config
from pipeline.forgotten_scores import scores_to_write
from pipeline.ledger import Ledger

ROWS = 10_000
"""Rows per batch, where the CRM takes as many."""


@dataclass(frozen=True)
class HistoryReport:
    """What became of the history rows of a run.

    Parameters
    ----------
    added : int
        Rows that were added.
    unchanged : int
        Rows that were there.
    earlier : int
        Rows of earlier runs that had stopped halfway, which were added too.
    waiting : int
        Rows for which the budget of the run had no room; the next run adds them.
    removed : int
        Undo: rows that were removed.

    """

    added: int = 0
    unchanged: int = 0
    earlier: int = 0
    waiting: int = 0
    removed: int = 0


@dataclass(frozen=True)
class HistoryPlan:
    """The scores of a run that are not in the history yet, and how many are."""

    run_id: str
    missing: pd.DataFrame
    unchanged: int


def plan_history(config: Config, history: HistoryAdapter, scores: pd.DataFrame, run_id: str) -> HistoryPlan:
    """Read which scores of a run are there; nothing is written.

    Parameters
    ----------
    config : Config
    history : HistoryAdapter
        Where they go.
    scores : DataFrame
        Score frame of the run, of all targets and horizons; those of forgotten entities are left out.
    run_id : str
        The run.

    Raises
    ------
    CrmError
        If the CRM does not answer.

    """
    wanted, there = scores_to_write(config, scores), history.history_keys(run_id)
    if there:
        keys = list(_keys(wanted, run_id))
        wanted = wanted[[key not in there for key in keys]]
    return HistoryPlan(run_id, wanted, len(there))


def add_history(
    config: Config,
    ledger: Ledger,
    history: HistoryAdapter,
    plan: HistoryPlan,
    max_batch: int = ROWS,
    advance: Callable[[int], None] = lambda rows: None,
) -> HistoryReport:
    """Add the scores that a plan says are missing; first those of runs that stopped halfway.

    Where the budget of the run is spent the rest waits for the next one.

    Parameters
    ----------
    config : Config
        The deployment; the caller holds its lock.
    ledger : Ledger
        Its ledger, in which the run has been started.
    history : HistoryAdapter
        Where they go.
    plan : HistoryPlan
        Of `plan_history`.
    max_batch : int
        Rows that the CRM takes at once.
    advance : callable
        Told after each batch how many rows it had.

    Raises
    ------
    CrmError
        If the CRM does not answer; run again to continue.

    """
    size = min(ROWS, max_batch)
    stopped = [run_id for run_id in ledger.history.unfinished() if run_id != plan.run_id]
    ledger.history.begin(plan.run_id, "adding")
    earlier = added = 0
    try:
        for run_id in stopped:
            left = plan_history(config, history, ledger.scores(run_id), run_id)
            for rows in _add(history, left, size):
                earlier += rows
                advance(rows)
            ledger.history.finish(run_id, "done", left.unchanged + len(left.missing))
        for rows in _add(history, plan, size):
            added += rows
            advance(rows)
    except BudgetError:
        return HistoryReport(added, plan.unchanged, earlier, waiting=len(plan.missing) - added)
    ledger.history.finish(plan.run_id, "done", plan.unchanged + added)
    return HistoryReport(added, plan.unchanged, earlier)


def _add(history: HistoryAdapter, plan: HistoryPlan, size: int) -> Iterator[int]:
    """Add the rows of a plan batch by batch; yields how many each had. One is made while the one before is sent."""
    parts = [plan.missing.iloc[at : at + size] for at in range(0, len(plan.missing), size)]
    with ThreadPoolExecutor(1) as maker:
        ahead = maker.submit(make_rows, parts[0], plan.run_id) if parts else None
        for part in [*parts[1:], None]:
            if ahead is None:
                return
            rows = ahead.result()
            ahead = None if part is None else maker.submit(make_rows, part, plan.run_id)
            history.add_history(rows)
            yield len(rows)


def remove_history(ledger: Ledger, history: HistoryAdapter, run_id: str) -> HistoryReport:
    """Remove the rows of a run, and no other's; where the budget is spent, run it again."""
    ledger.history.begin(run_id, "removing")
    try:
        removed = history.remove_history(run_id)
    except BudgetError:
        return HistoryReport(waiting=ledger.history.states(run_id)[run_id][1])
    ledger.history.finish(run_id, "removed", removed)
    return HistoryReport(removed=removed)


def _keys(scores: pd.DataFrame, run_id: str) -> Iterator[str]:
    """Keys of the rows that scores become, see `HistoryRow.key`."""
    columns = (scores[name].tolist() for name in ("target", "horizon_days", "entity_id"))
    return (f"{run_id}/{target}/{days}/{entity}" for target, days, entity in zip(*columns, strict=True))
