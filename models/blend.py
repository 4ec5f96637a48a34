"""A small blend: the weighted mean of the members' log-odds, weights shrunk to equal."""

from collections.abc import Sequence

import numpy as np

from models.candidate import Floats
from models.level import level_free
from models.metrics import log_losses
from models.predict import to_probability
from models.split import Folds
from models.tuning import Trial, settled_evidence

NAME = "blend"
MEMBERS = ("logistic", "lightgbm")
STRENGTH = 100.0
"""Summed log loss that a weight of 1 must save over equal weights, times four."""
WEIGHTS = np.linspace(0.0, 1.0, 21)


def fit_weight(first: Floats, second: Floats, label: Floats) -> float:
    """Weight of the first member; far from one half only where many rows speak for it.

    >>> few, label = np.array([2.0, -2.0]), np.array([1.0, 0.0])
    >>> fit_weight(few, -few, label)
    0.5

    """
    costs = [
        log_losses(label, to_probability(weight * first + (1 - weight) * second)).sum() + STRENGTH * (weight - 0.5) ** 2
        for weight in WEIGHTS
    ]
    return round(float(WEIGHTS[int(np.argmin(costs))]), 6)


def try_blend(trials: Sequence[Trial], label: Sequence[Floats], folds: Folds) -> Trial | None:
    """Blend what the members said out of fold; each fold's weight rests on its evidence only."""
    found = {trial.name: trial for trial in trials if not trial.is_constant}
    if any(name not in found for name in MEMBERS):
        return None
    first, second = (found[name].log_odds for name in MEMBERS)
    count = len(first)

    def weight_from(known: Sequence[int]) -> float:
        parts = (*(found[name].level_free for name in MEMBERS), label)
        return fit_weight(*(np.concatenate([part[k] for k in known]) for part in parts))

    weights = [weight_from(settled_evidence(folds.kind, count, at)) for at in range(count)]
    blended = tuple(w * a + (1 - w) * b for w, a, b in zip(weights, first, second, strict=True))
    weight = weight_from(range(count))
    setting = {
        "weights": dict(zip(MEMBERS, (weight, round(1 - weight, 6)), strict=True)),
        "settings": {name: dict(found[name].setting) for name in MEMBERS},
    }
    return Trial(NAME, setting, blended, level_free(blended, label))
