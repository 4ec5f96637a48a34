"""What is asked of few rows: only the first rungs of the ladder, and on more of the rows at once.

With few rows of a class everything is within noise of everything, so that each further candidate is one more chance
to take noise for a signal, and a fold in time is fitted on a handful of rows.
"""

import numpy as np
from numpy.typing import NDArray

from models.candidate import Floats

FEW_OF_A_CLASS = 120
"""With fewer rows of either label out of fold the first rungs go first."""
FEW_NOISE = 1.64
"""Standard errors of a signal on grouped folds, be it the second look or the only one: about one chance in twenty.

On 180 draws of 40 and 80 rows without any signal two looks took noise for one in 8 %; with 2 they missed a third more
of the real ones.
"""
FIRST_RUNGS = ("points", "logistic")
"""What experts wrote down, then the shrunk line: one of them must show a signal where rows are few."""
PERIOD_ROWS = 40
"""Rows of a period that are compared with each other: the two or three of a week are in the right order too often."""


def has_few(label: Floats) -> bool:
    """Whether rows are so few that the first rungs of the ladder go first.

    >>> has_few(np.repeat([0.0, 1.0], [1000, 119])), has_few(np.repeat([0.0, 1.0], [120, 120]))
    (True, False)

    """
    ones = float(label.sum())
    return min(ones, len(label) - ones) < FEW_OF_A_CLASS


def make_periods(when: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put neighbouring times together until a period has about `PERIOD_ROWS` rows; rows of one time stay together.

    >>> make_periods(np.repeat([0, 1, 5, 6], 30)).tolist() == np.repeat([0, 0, 1, 2], 30).tolist()
    True

    """
    count = max(1, len(when) // PERIOD_ROWS)
    edges = np.quantile(when, np.arange(1, count) / count, method="lower")
    return np.searchsorted(np.unique(edges), when, side="left").astype(np.int64)
