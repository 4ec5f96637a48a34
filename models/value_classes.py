"""ABC classes: few customers bring most of the value, and those are A."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CUTS = (0.80, 0.95)
"""Shares of the whole value up to which customers are A and B; the rest is C."""
CLASSES = ("A", "B", "C")
ROUNDING = 1e-9
"""Share of the whole by which a sum of floats may miss a line that it is meant to be on."""


def abc_classes(values: Any, cuts: tuple[float, float] = CUTS) -> NDArray[np.object_]:
    """Class of each customer by its place in the cumulative value, the largest first.

    The whole is the sum of the values above zero. A customer is A if those worth strictly more hold less than
    `cuts[0]` of the whole, B if less than `cuts[1]`, else C: the customer that crosses a line belongs to the better
    class, and customers of equal value to the same one, whatever their order. Zero and less is C, as nothing can be
    a share of it; null stays null, and is no part of the whole.

    Parameters
    ----------
    values : array-like of float
        Value of each customer in one currency: revenue, profit, predicted revenue.
    cuts : tuple of two floats
        `0 < A < B <= 1`.

    Returns
    -------
    array of object
        "A", "B", "C", or None; empty for no values.

    References
    ----------
    Dickie, H. F. (1951). ABC Inventory Analysis Shoots for Dollars, not Pennies. Factory Management and Maintenance
    109(7), 92-94.

    Examples
    --------
    >>> abc_classes([10.0, 50.0, 5.0, 35.0, 0.0, np.nan]).tolist()  # 50 and 35 make 85 %, with 10 it is 95 %
    ['B', 'A', 'C', 'A', 'C', None]

    """
    numbers = np.asarray(values, dtype=np.float64)
    known, worth = ~np.isnan(numbers), np.where(numbers > 0.0, numbers, 0.0)
    levels, level = np.unique(worth, return_inverse=True)
    held = levels * np.bincount(level, minlength=len(levels))
    above = np.cumsum(held[::-1])[::-1] - held  # the sum of what is worth strictly more
    whole = float(held.sum())
    crossed = sum((above[level] >= (cut - ROUNDING) * whole).astype(np.intp) for cut in cuts)
    place = np.where(known, np.where(worth > 0.0, crossed, len(cuts)), len(CLASSES))
    return np.array([*CLASSES, None], dtype=object)[place]


def shares(values: Any) -> Floats:
    """Share of each value in the sum of all that are known; null where null, or where the sum is not above zero.

    Losses lower the sum, so that the shares add up to 1: those of others may be more than 1.

    Examples
    --------
    >>> shares([30.0, np.nan, 20.0, -10.0]).tolist()
    [0.75, nan, 0.5, -0.25]

    """
    numbers = np.asarray(values, dtype=np.float64)
    whole = float(np.nansum(numbers))
    return np.asarray(numbers / whole) if whole > 0.0 else np.full(len(numbers), np.nan)


def top_edge(values: Any, share: float) -> float:
    """Smallest number among the highest `share` of the known ones; infinite where none is known.

    Examples
    --------
    >>> top_edge([1.0, 5.0, np.nan, 4.0, 4.0, 2.0], 0.4)  # two of five
    4.0

    """
    numbers = np.asarray(values, dtype=np.float64)
    known = np.sort(numbers[~np.isnan(numbers)])[::-1]
    count = int(np.ceil(share * len(known) - ROUNDING))
    return float(known[count - 1]) if count else np.inf
