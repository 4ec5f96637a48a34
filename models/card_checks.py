"""Checks of a scorecard as a whole: grades and levels that can be given, ids that are unique."""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

UNITS_PER_POINT = 10_000
"""Points are added up as whole ten-thousandths, so that no sum depends on the order of its terms."""


class _Step(Protocol):
    """A grade, or a level of a group."""

    @property
    def id(self) -> str: ...
    @property
    def at_least(self) -> float: ...


class _Weighed(Protocol):
    """A criterion, as far as sums need it."""

    @property
    def units(self) -> int: ...
    @property
    def possible_points(self) -> set[int]: ...


def check_unique(what: str, ids: Sequence[str]) -> None:
    """Check that no two parts of a kind have the same id."""
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(f"two {what} are called '{twice[0]}'. Give each an id of its own")


def reachable_points(criteria: Sequence[_Weighed], whole: int = 100 * UNITS_PER_POINT) -> NDArray[np.float64]:
    """All totals that criteria can give, ascending, on the scale 0 to 100; each criterion taken for itself.

    `whole` is what they give together at most: 100 points times the sum of their units.
    """
    steps = [{criterion.units * points for points in criterion.possible_points} for criterion in criteria]
    unit = math.gcd(whole, *itertools.chain(*steps))
    reached = np.zeros(whole // unit + 1, dtype=bool)
    reached[0] = True
    for possible in steps:
        before, reached = reached, np.zeros_like(reached)
        for step in possible:
            reached[step // unit :] |= before[: len(before) - step // unit]
    return np.asarray(np.flatnonzero(reached) * unit / (whole / 100))


def check_steps(
    steps: Sequence[_Step], what: str, totals: NDArray[np.float64], given: Collection[str] = (), of: str = ""
) -> None:
    """Check that grades (or levels of a group) fall from best to lowest, end at 0, and that each can be given.

    `given` are ids that are given without points, by a veto or a flag.
    """
    for better, worse in itertools.pairwise(steps):
        if better.at_least <= worse.at_least:
            raise ValueError(
                f"{what} '{better.id}'{of} (at_least {better.at_least:g}) stands before '{worse.id}' (at_least "
                f"{worse.at_least:g}). List {what}s from the best to the lowest, each with a lower at_least"
            )
    if steps[-1].at_least != 0:
        raise ValueError(
            f"points below {steps[-1].at_least:g}{of} have no {what}. "
            f"Set at_least: 0 in the lowest {what} '{steps[-1].id}'"
        )
    ends = [math.inf, *(step.at_least for step in steps[:-1])]
    for step, end in zip(steps, ends, strict=True):
        if step.id not in given and not ((totals >= step.at_least) & (totals < end)).any():
            raise ValueError(
                f"{what} '{step.id}'{of} cannot be reached: no points from {step.at_least:g} to below "
                f"{min(end, 100):g} come out of the bands, which give {totals[0]:g} to {totals[-1]:g}. "
                "Move its at_least or the points"
            )
