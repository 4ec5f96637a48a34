"""Which candidate goes on: the simplest one that is not beaten beyond noise."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.candidate import Floats
from models.metrics import log_losses
from models.predict import to_probability
from models.tuning import Trial

SIMPLEST_FIRST = ("base_rate", "single_column", "logistic", "lightgbm", "blend")
NOISE = 1.0
"""Standard errors by which a simpler candidate may trail."""
NO_SIGNAL_NOISE = 2.0
"""Standard errors by which the best must beat the base rate: about one chance in forty to learn noise."""


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


def _choose(trials: Mapping[str, Trial], losses: Mapping[str, Floats], group: NDArray[np.int64]) -> Trial | None:
    """Return the simplest trial not beaten beyond noise; None if nothing beats the base rate beyond noise."""
    candidates = [name for name in losses if not trials[name].is_constant]
    beating = [name for name in candidates if trails(losses["base_rate"], losses[name], group, NO_SIGNAL_NOISE)]
    if not beating:
        return None
    best = min(beating, key=lambda name: float(losses[name].mean()))
    for name in sorted(candidates, key=SIMPLEST_FIRST.index):
        if name == best or not trails(losses[name], losses[best], group, NOISE):
            return trials[name]
    return trials[best]


def select(trials: Sequence[Trial], label: Floats, group: NDArray[np.int64]) -> Trial:
    """Choose among trials by log loss out of fold, the level of each fold taken out.

    Where no candidate ranks better than the base rate, one may still follow the level: then log loss
    with the level left in decides. Where that shows nothing either, it is the base rate. Apart from
    that a constant score is never chosen.

    Parameters
    ----------
    trials : sequence of Trial
        Among them `base_rate`.
    label, group : array
        Of the rows predicted out of fold, fold after fold.

    """
    by_name = {trial.name: trial for trial in trials}
    free = {trial.name: _losses(trial.level_free, label) for trial in trials}
    raw = {trial.name: _losses(trial.log_odds, label) for trial in trials}
    return _choose(by_name, free, group) or _choose(by_name, raw, group) or by_name["base_rate"]
