"""The level of a fold: how much more, or less, often the event came than a model fitted earlier says.

Levels move with season and market and say nothing about which candidate ranks better, so candidates
are compared with the level of each fold taken out. Correcting the level is the calibrator's task.
"""

from collections.abc import Sequence

import numpy as np

from models.candidate import Floats
from models.metrics import log_losses
from models.predict import to_probability

SHRINKAGE = 1.0


def fit_level(raw: Floats, label: Floats) -> float:
    """Shift of the log-odds that makes their mean probability the share of ones, pulled a little to 0.

    >>> round(fit_level(np.zeros(4000), np.repeat([1.0, 0.0], [3000, 1000])), 2)
    1.1

    """
    level = 0.0
    for _ in range(50):
        probability = to_probability(raw + level)
        slope = (label - probability).sum() - SHRINKAGE * level
        step = slope / ((probability * (1.0 - probability)).sum() + SHRINKAGE)
        level += float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-9:
            break
    return level


def level_free(parts: Sequence[Floats], labels: Sequence[Floats]) -> tuple[Floats, ...]:
    """Log-odds of each fold with its level taken out."""
    return tuple(part + fit_level(part, label) for part, label in zip(parts, labels, strict=True))


def level_free_losses(raw: Floats, label: Floats) -> Floats:
    """Log loss of each row of a fold once its level is taken out."""
    return log_losses(label, to_probability(raw + fit_level(raw, label)))
