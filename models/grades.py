"""Grades that hold steady: cut-offs on a strength, crossed for good by those only who cross them clearly.

Places count from the lowest grade, which is 0, up. A cut-off opens the place of its number: who has at least that
strength is there or higher. Everything here is in one scale, whichever it is: points, log-odds, logarithm of a value.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

NOWHERE = -1
"""Place of a row that had no grade before, or none that can be compared."""

TIE = 1e-9
"""Two rows of the same strength are told apart by so much at most, always in the same order."""

_QUARTILES_OF_NORMAL = 1.3489795003921634


@dataclass(frozen=True)
class GradeName:
    """A grade and what people read for it."""

    id: str
    en: str
    zh: str


DEFAULT_GRADES = (
    GradeName("priority", "Priority", "重点跟进"),
    GradeName("nurture", "Nurture", "普通培育"),
    GradeName("hold", "Hold", "暂时搁置"),
    GradeName("drop", "Drop", "直接放弃"),
)
"""Grades where no card says others, from the best to the lowest."""


@dataclass(frozen=True)
class Wanted:
    """How many rows a cut-off is to let through: at most `most` and no fewer than `least`; set anew, it is `aim`."""

    aim: int
    most: int
    least: int


def spread(strength: Floats) -> float:
    """Spread of strengths as a standard deviation, from the middle half of those that are finite; 0 for none.

    Where more than half are equal it is their standard deviation.

    >>> round(spread(np.array([0.0, 1.0, 2.0, 3.0, np.inf])), 2)
    1.11
    """
    finite = strength[np.isfinite(strength)]
    if not len(finite):
        return 0.0
    low, high = np.quantile(finite, [0.25, 0.75])
    return float(high - low) / _QUARTILES_OF_NORMAL or float(finite.std())


def apart(strength: Floats, ids: Sequence[str]) -> Floats:
    """Strengths of which no two are equal by chance: ties are broken by a hash of the id, the same in every run."""
    order = [int.from_bytes(hashlib.sha256(one.encode()).digest()[:6]) for one in ids]
    return np.asarray(strength + TIE * (np.array(order, dtype=np.float64) / 2**48), dtype=np.float64)


def lean(strength: Floats, place: int, previous: Places, margin: float) -> Floats:
    """Strength as the cut-off of a place sees it.

    Rows that were there or higher are helped by the margin, rows that were lower are held back by it; those
    without a grade before are taken as they are.

    Examples
    --------
    >>> lean(np.array([7.0, 7.0, 7.0]), 2, np.array([2, 1, NOWHERE]), 0.5).tolist()
    [7.5, 6.5, 7.0]

    """
    side = np.where(previous == NOWHERE, 0.0, np.where(previous >= place, 1.0, -1.0))
    return np.asarray(strength + side * margin, dtype=np.float64)


def cut_by_count(leaning: Floats, wanted: Wanted, last: float | None = None) -> float:
    """Cut-off that lets the wanted number through.

    The last cut-off stays while the number is within what is wanted; beyond, it moves as little as brings it
    back. Without one it is set anew. Infinite strengths are not moved by any cut-off.

    Examples
    --------
    >>> leaning = np.array([9.0, 8.0, 6.0, 5.0])
    >>> two = Wanted(aim=2, most=2, least=1)
    >>> cut_by_count(leaning, two), cut_by_count(leaning, two, last=8.5)
    (7.0, 8.5)
    >>> cut_by_count(leaning, two, last=5.5), cut_by_count(leaning, two, last=10.0)
    (7.0, 8.5)

    """
    through = 0 if last is None else int((leaning >= last).sum())
    if last is not None and wanted.least <= through <= wanted.most:
        return last
    count = wanted.aim if last is None else wanted.most if through > wanted.most else wanted.least
    finite = np.sort(leaning[np.isfinite(leaning)])[::-1]
    count -= int((leaning == np.inf).sum())
    if not len(finite):
        return 0.0
    if count <= 0:
        return float(np.nextafter(finite[0], np.inf))
    if count >= len(finite):
        return float(finite[-1])
    above, below = float(finite[count - 1]), float(finite[count])
    middle = (above + below) / 2
    return middle if below < middle else float(np.nextafter(below, np.inf))


def place_rows(
    strength: Floats,
    cut_offs: Sequence[float | Wanted],
    previous: Places,
    margin: float,
    last: Sequence[float] | None = None,
    floor: Places | None = None,
) -> tuple[Places, tuple[float, ...]]:
    """Place each row, and say where the cut-offs are.

    A row keeps its place of before unless its strength crosses a cut-off by more than the margin. A cut-off
    by count is set among strengths that lean already, so that the count holds, too.

    Parameters
    ----------
    strength : array of float64
        What rows are graded by; minus infinity is the lowest grade, whatever the margin.
    cut_offs : sequence of float or Wanted
        Of places 1, 2, ..., from the lowest up.
    previous : array of int64
        Place of each row in the run before, `NOWHERE` where there is none.
    margin : float
        In the scale of the strength, 0 or more.
    last : sequence of float, optional
        Where the cut-offs by count were in the run before.
    floor : array of int64, optional
        Place that each row is given at least; such rows take part in the counts.

    Returns
    -------
    places : array of int64
        0 is the lowest grade.
    cut_offs : tuple of float
        Ascending.

    Examples
    --------
    >>> places, cuts = place_rows(np.array([66.0, 74.0]), [40.0, 70.0], np.array([2, 1]), 5.0)
    >>> places.tolist()  # 66 was above 70 and is not below 65; 74 was below and is not above 75
    [2, 1]

    """
    found: list[float] = []
    reached = np.zeros(len(strength), dtype=np.int64)
    for place in range(len(cut_offs), 0, -1):
        leaning = lean(strength, place, previous, margin)
        if floor is not None:
            leaning = np.where(floor >= place, np.inf, leaning)
        asked = cut_offs[place - 1]
        cut = cut_by_count(leaning, asked, last[place - 1] if last else None) if isinstance(asked, Wanted) else asked
        cut = min([cut, *found])
        found.append(cut)
        reached = np.where((leaning >= cut) & (leaning > -np.inf), np.maximum(reached, place), reached)
    return reached, tuple(reversed(found))


def share_counts(rows: int, shares: Sequence[float], best: int | None, tolerance: float) -> tuple[Wanted, ...]:
    """Return how many rows each cut-off is to let through, from that of the lowest place up.

    Parameters
    ----------
    rows : int
    shares : sequence of float
        Share of the rows in each grade, from the best down, without the lowest; the best one's counts only
        where `best` is None.
    best : int or None
        Rows in the best grade.
    tolerance : float
        Share of a number by which it may fall short; all but the best may go beyond it by as much.

    Examples
    --------
    >>> share_counts(1000, [0, 0.3, 0.4], 200, 0.1)
    (Wanted(aim=900, most=990, least=810), Wanted(aim=500, most=550, least=450), Wanted(aim=200, most=200, least=180))

    """
    top = round(shares[0] * rows) if best is None else min(best, rows)
    wanted = [Wanted(top, top, int(np.ceil(top * (1 - tolerance))))]
    reached = float(top)
    for share in shares[1:]:
        reached = min(reached + share * rows, rows)
        most, least = min(round(reached * (1 + tolerance)), rows), int(np.ceil(reached * (1 - tolerance)))
        wanted.append(Wanted(round(reached), most, least))
    return tuple(reversed(wanted))
