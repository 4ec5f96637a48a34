"""Which candidate goes on: the blend or, where it is beaten beyond noise, the simplest one that is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.candidate import Floats
from models.few_rows import FIRST_RUNGS, has_few, make_periods
from models.level import level_free_losses
from models.metrics import log_losses
from models.predict import to_probability
from models.tuning import Trial

PREFERENCE = ("base_rate", "points", "single_column", "blend", "bg_nbd", "logistic", "binned", "lightgbm")
"""What is tried first: the points of the scorecard, or a single column, if they are shown to be as good; the blend, as
a mean is the safest of equals; then the simplest.

Neither is excused by noise, but has to be within what is worth having, a standard error added: on few rows everything
is within noise of everything, and a single column costs most there. (Points may be excused there: see `few_rows`.)

What is not in the list, a model of the newest rows by itself, is a member of the blend and never chosen alone:
the best of many memories would be best by chance.
"""
SHOWN = ("points", "single_column")
NOISE = 2.0
"""Standard errors beyond which a difference counts: about one chance in forty to take noise for more."""
WORTH_HAVING = 0.005
"""Share of the base rate's log loss that a difference must make: with many rows less is real, and still no use."""


def clustered_error(values: Floats, group: NDArray[np.int64]) -> float:
    """Standard error of a mean whose rows come in groups.

    >>> clustered_error(np.array([1.0, -1.0, 1.0, -1.0]), np.array([0, 1, 2, 3]))
    0.5
    >>> clustered_error(np.array([1.0, -1.0, 1.0, -1.0]), np.array([0, 0, 1, 1]))
    0.0

    """
    sums = np.bincount(group, weights=values - values.mean())
    return float(np.sqrt((sums**2).sum()) / len(values))


def _losses(parts: Sequence[Floats], label: Floats) -> Floats:
    return log_losses(label, to_probability(np.concatenate(parts)))


def trails(worse: Floats, better: Floats, group: NDArray[np.int64], noise: float) -> bool:
    """Whether the paired difference of two losses is above `noise` standard errors."""
    difference = worse - better
    return float(difference.mean()) > noise * clustered_error(difference, group)


def _placements(score: Floats, label: Floats) -> tuple[float, Floats]:
    """AUC of a fold, and how far each row moves it."""
    positive = label > 0.5
    high, low = np.sort(score[positive]), np.sort(score[~positive])
    above = np.searchsorted(low, score[positive], "left") + np.searchsorted(low, score[positive], "right")
    below = np.searchsorted(high, score[~positive], "left") + np.searchsorted(high, score[~positive], "right")
    auc = float(above.mean()) / (2.0 * len(low))
    moves = np.empty(len(label))
    moves[positive] = (above / (2.0 * len(low)) - auc) / len(high)
    moves[~positive] = (1.0 - below / (2.0 * len(high)) - auc) / len(low)
    return auc, moves


def ranks_beyond_noise(parts: Sequence[Floats], label: Floats, group: NDArray[np.int64], noise: float) -> bool:
    """Whether the AUC within parts (folds, or times of a fold) is above one half by more than `noise` standard errors.

    Parts weigh by their rows; a part with a single class says nothing. The standard error is the
    larger of the one between groups and the one of a score without any signal.
    """
    ends = np.cumsum([len(part) for part in parts])[:-1]
    folds = [
        (part, one, who)
        for part, one, who in zip(parts, np.split(label, ends), np.split(group, ends), strict=True)
        if 0 < one.sum() < len(one)
    ]
    if not folds:
        return False
    rows = sum(len(one) for _, one, _ in folds)
    excess, chance, moves = 0.0, 0.0, np.zeros(int(group.max()) + 1)
    for part, one, who in folds:
        auc, moved = _placements(part, one)
        share, positives = len(one) / rows, float(one.sum())
        excess += share * (auc - 0.5)
        chance += share**2 * (len(one) + 1) / (12.0 * positives * (len(one) - positives))
        moves += np.bincount(who, weights=share * moved, minlength=len(moves))
    return excess > noise * float(np.sqrt(max(chance, (moves**2).sum())))


@dataclass(frozen=True)
class _Rows:
    """What was predicted out of fold; `parts` are the positions that are compared with each other.

    `noise` are the standard errors beyond which something is a signal.
    """

    label: Floats
    group: NDArray[np.int64]
    parts: Sequence[NDArray[np.intp]]
    noise: float

    def ranks(self, trial: Trial) -> bool:
        """Whether a trial ranks the rows of the parts better than chance."""
        at, scores = np.concatenate(self.parts), np.concatenate(trial.log_odds)
        apart = [scores[part] for part in self.parts]
        return ranks_beyond_noise(apart, self.label[at], self.group[at], self.noise)

    def level_free_losses(self, trial: Trial) -> Floats:
        """Log loss of each row once the level of its part is taken out."""
        scores, losses = np.concatenate(trial.log_odds), np.empty(len(self.label))
        for part in self.parts:
            losses[part] = level_free_losses(scores[part], self.label[part])
        return losses


def _has_signal(trial: Trial, losses: Mapping[str, Floats], rows: _Rows) -> bool:
    """Whether a candidate saves enough on the base rate, and beyond noise: in log loss, or else in ranking."""
    base, own = losses["base_rate"], losses[trial.name]
    if float((base - own).mean()) < WORTH_HAVING * float(base.mean()):
        return False
    return trails(base, own, rows.group, rows.noise) or rows.ranks(trial)


def _choose(trials: Mapping[str, Trial], losses: Mapping[str, Floats], rows: _Rows) -> Trial | None:
    """Return the preferred trial not beaten beyond noise; None if nothing beats the base rate beyond noise."""
    candidates = [name for name in losses if not trials[name].is_constant]
    beating = [name for name in candidates if _has_signal(trials[name], losses, rows)]
    few = has_few(rows.label) and not set(FIRST_RUNGS).isdisjoint(candidates)
    rungs = [name for name in FIRST_RUNGS if few and name in beating]
    if not (rungs if few else beating):
        return None
    best = min(beating, key=lambda name: float(losses[name].mean()))
    least = WORTH_HAVING * float(losses["base_rate"].mean())
    for name in [*rungs, *sorted(set(candidates) - set(rungs), key=PREFERENCE.index)]:
        worse = losses[name] - losses[best]
        if name in SHOWN and name not in rungs:
            fits = float(worse.mean()) + clustered_error(worse, rows.group) < least
        else:
            fits = float(worse.mean()) < least or not trails(losses[name], losses[best], rows.group, NOISE)
        if fits:
            return trials[name]
    return trials[best]


def _positions(part: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Positions of the rows of each part."""
    order = np.argsort(part, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(part[order])) + 1)


def select(
    trials: Sequence[Trial],
    label: Floats,
    group: NDArray[np.int64],
    when: NDArray[np.int64] | None = None,
    noise: float = NOISE,
) -> Trial:
    """Choose among trials by log loss out of fold, the level of each fold taken out.

    Where no candidate ranks better than the base rate, one may still follow the level: then log loss
    with the level left in decides. Where that shows nothing either, it is the base rate. Apart from
    that a constant score is never chosen.

    Where rows are few, the points of the scorecard or the line must show a signal, and go first, in this order.

    Parameters
    ----------
    trials : sequence of Trial
        Among them `base_rate`; those that `PREFERENCE` does not name are not chosen.
    label, group : array
        Of the rows predicted out of fold, fold after fold.
    when : array of int, optional
        For dated rows in grouped folds, where every fold spans all dates: rows are compared with rows of
        their own fold and time only, so that a candidate gains nothing by knowing which past weeks were good.
        Few rows are compared within periods of some weeks, all folds together.
    noise : float
        Standard errors beyond which a candidate is better than the base rate.

    """
    trials = [trial for trial in trials if trial.name in PREFERENCE]
    by_name = {trial.name: trial for trial in trials}
    fold = np.repeat(np.arange(len(trials[0].log_odds)), [len(part) for part in trials[0].log_odds])
    if when is not None:
        fold = make_periods(when) if has_few(label) else fold * (int(when.max()) + 1) + when
    rows = _Rows(label, group, _positions(fold), noise)
    free = {trial.name: rows.level_free_losses(trial) for trial in trials}
    chosen = _choose(by_name, free, rows)
    if chosen is None and when is None:
        chosen = _choose(by_name, {trial.name: _losses(trial.log_odds, label) for trial in trials}, rows)
    return chosen or by_name["base_rate"]
