"""All candidates out of fold, and their blend."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models import blend
from models.base_rate import BaseRate
from models.bg_nbd import BgNbd
from models.binned import Binned
from models.boosted_trees import BoostedTrees
from models.candidate import Candidate, Floats
from models.drift import moved_columns
from models.encoding import CodedRows
from models.few_rows import FIRST_RUNGS
from models.logistic import Logistic, SingleColumn
from models.metrics import log_losses
from models.newest import Newest
from models.points import Points
from models.predict import to_probability
from models.selection import WORTH_HAVING
from models.split import Folds
from models.tuning import Trial, try_candidate

MEMBERS: tuple[Candidate, ...] = (Logistic(), Binned(), BoostedTrees())
ALL_ROWS: tuple[Candidate, ...] = (BaseRate(), Points(), SingleColumn(), BgNbd(), *MEMBERS)
NEWEST = tuple(Newest(member, share, memory) for memory, share in blend.MEMORIES.items() for member in MEMBERS)
"""Tried where folds are in time, which shows whether that helps."""


def find_candidate(name: str) -> Candidate:
    """Return the candidate of a name."""
    found: dict[str, Candidate] = {candidate.name: candidate for candidate in (*ALL_ROWS, *NEWEST)}
    return found[name]


def try_all(rows: CodedRows, folds: Folds, label: Sequence[Floats], tried: Sequence[Trial] = ()) -> list[Trial]:
    """Try every candidate, but for those that were tried before, and their blend."""
    known = {trial.name: trial for trial in tried}
    asked = [candidate for candidate in ALL_ROWS if candidate.name in known or candidate.settings(rows)]
    trials = [known.get(candidate.name) or try_candidate(candidate, rows, folds) for candidate in asked]
    found = {trial.name: trial.setting for trial in trials}
    newest = [
        replace(one, like=found[one.candidate.name])
        for one in NEWEST
        if folds.kind == "time" and one.candidate.name in found
    ]
    trials += [try_candidate(candidate, rows, folds) for candidate in newest if candidate.settings(rows)]
    blended = blend.try_blend(trials, label, folds)
    return trials if blended is None else [*trials, blended]


def try_first_rungs(rows: CodedRows, folds: Folds) -> list[Trial]:
    """Try what is asked of few rows."""
    asked = [one for one in ALL_ROWS if one.name in ("base_rate", *FIRST_RUNGS) and one.settings(rows)]
    return [try_candidate(candidate, rows, folds) for candidate in asked]


def try_columns(rows: CodedRows, folds: Folds, label: Sequence[Floats]) -> tuple[list[Trial], tuple[str, ...]]:
    """Trials without the columns that have moved away, and these; with them where the linear candidates miss them."""
    moved = moved_columns(rows, folds)
    steady = rows.only([name for name in rows.columns if name not in moved])
    linear = [one for one in ALL_ROWS if isinstance(one, Logistic | Binned)]
    if not moved or not steady.columns or not linear:
        return try_all(rows, folds, label), ()
    fast = [[try_candidate(candidate, some, folds) for candidate in linear] for some in (rows, steady)]
    with_all, without = (_mean_loss(trials, label) for trials in fast)
    if with_all < (1.0 - WORTH_HAVING) * without:
        return try_all(rows, folds, label, fast[0]), ()
    return try_all(steady, folds, label, fast[1]), tuple(moved)


def _mean_loss(trials: Sequence[Trial], label: Sequence[Floats]) -> float:
    """Log loss out of fold, levels taken out, of the mean of trials."""
    mean = [np.mean(parts, axis=0) for parts in zip(*(trial.level_free for trial in trials), strict=True)]
    return float(log_losses(np.concatenate(label), to_probability(np.concatenate(mean))).mean())
