"""Cut-offs of grades that keep their shares when the points change."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from models.information_value import Floats


def move_cutoffs(
    grades: Sequence[Mapping[str, Any]], before: "pd.Series[float]", after: "pd.Series[float]", totals: Floats
) -> list[dict[str, Any]]:
    """Move each cut-off to where as large a share of rows reaches it as reached it before.

    Parameters
    ----------
    grades : sequence of mapping
        As in the card's file, from the best to the lowest; the lowest keeps its 0.
    before, after : Series
        Points of the same rows; null ones do not count.
    totals : array
        Points that can be given at all, ascending.

    Returns
    -------
    list of mapping
        The grades with other `at_least`: falling, and each can be given. Where points can give fewer different totals
        than there are grades, some in the middle are left out.

    Examples
    --------
    >>> points = pd.Series([10.0, 20.0, 30.0, 40.0])
    >>> grades = [{"at_least": 30}, {"at_least": 0}]
    >>> [one["at_least"] for one in move_cutoffs(grades, points, points * 2, np.arange(0.0, 101.0, 10.0))]
    [50, 0]

    """
    known = before.notna() & after.notna()
    old, ordered = before[known].to_numpy(np.float64), np.sort(after[known].to_numpy(np.float64))
    moved: list[dict[str, Any]] = []
    end = np.inf
    for at, grade in enumerate(grades[:-1]):
        below = int((old < grade["at_least"]).sum())
        wish = _between(np.asarray(ordered), below) if len(ordered) else float(grade["at_least"])
        free = totals[(totals < end) & (totals > totals[0])]
        if not len(free):
            continue
        cut, lower = min(wish, float(free[-1])), len(grades) - 2 - at
        if cut <= totals[0] or (free < cut).sum() < lower:  # something has to be left for each lower grade
            cut = float(free[min(lower, len(free) - 1)])
        moved.append({**grade, "at_least": _plain(cut)})
        end = moved[-1]["at_least"]
    return [*moved, dict(grades[-1])]


def _between(ordered: Floats, below: int) -> float:
    """Return a round number that so many rows lie below; with ties the nearest gap between points."""
    if below >= len(ordered):
        return min(float(np.ceil(ordered[-1] + 0.5)), 100.0)
    starts = np.flatnonzero(np.append(True, np.diff(ordered) > 0))
    at = int(starts[np.abs(starts - below).argmin()])
    low, high = (float(ordered[at - 1]) if at else 0.0), float(ordered[at])
    for digits in (0, 1, 2):
        cut = round((low + high) / 2.0, digits)
        if low < cut <= high:
            return cut
    return high


def _plain(cut: float) -> float | int:
    """Write a cut-off with four decimals at most, never above what it was: its points would not reach it."""
    return int(cut) if float(cut).is_integer() else float(np.floor(cut * 1e4 + 1e-6) / 1e4)
