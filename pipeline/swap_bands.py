"""Where grades begin: those of the config, or bands of the probability that the live version fills as people expect."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHARES = (("first 10 %", 0.1), ("next 20 %", 0.2), ("next 30 %", 0.3), ("rest", 0.4))
"""Bands where no scorecard says how many people a grade should have."""


@dataclass(frozen=True)
class Band:
    """A grade for probabilities of `at_least` and more, up to the next better grade."""

    name: str
    at_least: float


@dataclass(frozen=True)
class SwapGrades:
    """What two versions give: the grades and where those of the live one begin, and who has which.

    `people` has entity_id, owner, region, before and after (probability, or expected value), grade_before and
    grade_after.
    """

    by: str
    bands: tuple[Band, ...]
    people: pd.DataFrame

    @property
    def measure(self) -> str:
        """What `before` and `after` are."""
        return "value" if self.by == "value" else "probability"


def cut_bands(probability: Floats, given: Sequence[object], grades: Sequence[str]) -> tuple[Band, ...]:
    """Cut probabilities into grades, from the best to the lowest, which begins at 0.

    Parameters
    ----------
    probability : array
        Those of the live version.
    given : sequence
        The grade that the card gives each of these people.
    grades : sequence of str
        The card's grades, from the best to the lowest; none for the shares above.

    Examples
    --------
    >>> cut_bands(np.array([0.9, 0.5, 0.2, 0.1]), ["A", "B", "B", "B"], ["A", "B"])
    (Band(name='A', at_least=0.9), Band(name='B', at_least=0.0))

    """
    names = list(grades) or [name for name, _ in SHARES]
    sizes = [list(given).count(name) for name in grades] or [round(share * len(probability)) for _, share in SHARES]
    ends = np.cumsum(sizes)[:-1]
    starts = [_at_place(probability, int(end)) for end in ends]
    return tuple(Band(name, at_least) for name, at_least in zip(names, [*starts, 0.0], strict=True))


def _at_place(probability: Floats, place: int) -> float:
    """Probability of the one at a place (1 is the highest); just above the highest one where the place is 0."""
    if not len(probability) or place == 0:
        return float(np.nextafter(probability.max(initial=0.0), np.inf))
    return float(np.sort(probability)[::-1][min(place, len(probability)) - 1])


def band_of(probability: Floats, bands: Sequence[Band]) -> NDArray[np.intp]:
    """Place of each probability's band among the bands; the best is 0."""
    starts = np.array([band.at_least for band in bands[::-1]])
    return len(bands) - np.searchsorted(starts, probability, side="right")


def contact_cut(probability: Floats, bands: Sequence[Band], capacity: int | None) -> float:
    """Return the probability from which people are contacted: the capacity's last one, or the first grade's."""
    return bands[0].at_least if capacity is None else _at_place(probability, capacity)
