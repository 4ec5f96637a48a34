"""Every score of a run into a table or model of our own in the CRM, so that the CRM's own records are not touched.

Which rows are there is found out by reading the keys of the run: only missing ones are added, in batches that are added
whole or not at all. So a job killed anywhere is continued by running it again, and a row is never there twice. The
ledger notes what a run is going to add before, and that it is there after; a run that stopped in between (a kill, a
spent budget) is finished by the next one.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.adapters.target import HistoryAdapter, HistoryRow
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
    removed : int
        Undo: rows that were removed.

    """

    added: int = 0
    unchanged: int = 0
    earlier: int = 0
    removed: int = 0


def count_missing(config: Config, history: HistoryAdapter, scores: pd.DataFrame, run_id: str) -> HistoryReport:
    """Count the rows that a run would add; nothing is written."""
    wanted, there = scores_to_write(config, scores), history.history_keys(run_id)
    missing = sum(key not in there for key in _keys(wanted, run_id)) if there else len(wanted)
    return HistoryReport(missing, len(wanted) - missing)


def add_history(
    config: Config,
    ledger: Ledger,
    history: HistoryAdapter,
    scores: pd.DataFrame,
    run_id: str,
    max_batch: int = ROWS,
    advance: Callable[[int], None] = lambda rows: None,
) -> HistoryReport:
    """Add the scores of a run, of all targets and horizons, that are not there yet; first those of stopped runs.

    Parameters
    ----------
    config : Config
        The deployment; the caller holds its lock.
    ledger : Ledger
        Its ledger, in which the run has been started.
    history : HistoryAdapter
        Where they go.
    scores : DataFrame
        Score frame of the run; those of forgotten entities are left out.
    run_id : str
        The run.
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
    earlier = 0
    for stopped in ledger.history.unfinished():
        if stopped != run_id:
            earlier += _add_run(config, ledger, history, ledger.scores(stopped), stopped, size, advance).added
    done = _add_run(config, ledger, history, scores, run_id, size, advance)
    return HistoryReport(done.added, done.unchanged, earlier)


def remove_history(ledger: Ledger, history: HistoryAdapter, run_id: str) -> HistoryReport:
    """Remove the rows of a run, and no other's."""
    ledger.history.begin(run_id, "removing")
    removed = history.remove_history(run_id)
    ledger.history.finish(run_id, "removed", removed)
    return HistoryReport(removed=removed)


def _add_run(
    config: Config,
    ledger: Ledger,
    history: HistoryAdapter,
    scores: pd.DataFrame,
    run_id: str,
    size: int,
    advance: Callable[[int], None],
) -> HistoryReport:
    """Add the rows of one run that are missing."""
    wanted = scores_to_write(config, scores)
    ledger.history.begin(run_id, "adding")
    there = history.history_keys(run_id)
    if there:
        wanted = wanted[[key not in there for key in _keys(wanted, run_id)]]
    for start in range(0, len(wanted), size):
        rows = list(make_rows(wanted.iloc[start : start + size], run_id))
        history.add_history(rows)
        advance(len(rows))
    ledger.history.finish(run_id, "done", len(wanted) + len(there))
    return HistoryReport(len(wanted), len(there))


def _keys(scores: pd.DataFrame, run_id: str) -> Iterator[str]:
    """Keys of the rows that scores become, see `HistoryRow.key`."""
    columns = (scores[name].tolist() for name in ("target", "horizon_days", "entity_id"))
    return (f"{run_id}/{target}/{days}/{entity}" for target, days, entity in zip(*columns, strict=True))


def make_rows(scores: pd.DataFrame, run_id: str) -> Iterator[HistoryRow]:
    """Rows of scores, in their order; what is null stays null.

    Examples
    --------
    >>> scores = pd.DataFrame({"entity_id": ["K1"], "as_of": pd.Timestamp("2024-05-01 02:00"), "target": "churn",
    ...     "horizon_days": 90, "probability": 0.25, "grade": None, "model_version": "3",
    ...     "reasons": ['[{"en": "silent for 60 days", "zh": "60 天未联系"}, {"en": "2 late", "zh": "逾期 2"}]']})
    >>> [row] = make_rows(scores, "r1")
    >>> row.as_of, row.grade, row.reasons_zh
    ('2024-05-01 02:00:00', None, '60 天未联系; 逾期 2')

    """
    reasons = [json.loads(text) if isinstance(text, str) else [] for text in scores["reasons"].tolist()]
    return map(
        HistoryRow,
        [run_id] * len(scores),
        map(str, scores["entity_id"].tolist()),
        [moment.isoformat(sep=" ") for moment in pd.to_datetime(scores["as_of"]).dt.to_pydatetime()],
        map(str, scores["target"].tolist()),
        map(int, scores["horizon_days"].tolist()),
        _nullable(scores["probability"]),
        _nullable(scores["grade"]),
        _phrases(reasons, "en"),
        _phrases(reasons, "zh"),
        _nullable(scores["model_version"]),
    )


def _nullable(values: "pd.Series[Any]") -> list[Any]:
    """Values, with None for null."""
    return [value if there else None for value, there in zip(values.tolist(), values.notna().tolist(), strict=True)]


def _phrases(reasons: list[list[dict[str, str]]], language: str) -> list[str]:
    """Reasons in one language, as fields of the CRM have them."""
    return ["; ".join(one[language] for one in some if one.get(language)) for some in reasons]
