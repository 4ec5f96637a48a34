"""Bands that the data would give a criterion: where to cut, and how often the rows of each band turn out good."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression

from models.binned import find_cuts
from models.card_conditions import in_order, spellings
from models.information_value import Codes, Floats
from models.scorecard_schema import Criterion

STRENGTH = 20.0
"""Customers of the mean rate that each band is imagined to have beside its own: few rows move little."""
LEVEL_SHARE = 0.02
"""Share of the rows below which a value that no band names stays among the others."""
NEAR = 0.005
"""Share of the rows that may change sides for a rounder cut."""


@dataclass(frozen=True)
class Banding:
    """Rows of a criterion in bands.

    Parameters
    ----------
    conditions : tuple of mapping
        Of each band, as the card's file has it.
    place : array of int
        Band of each row; `len(conditions)` for values no band lists, one more for missing ones.
    is_interval : bool
        Bands are of numbers in ascending order, and no value is unlisted.

    """

    conditions: tuple[Mapping[str, Any], ...]
    place: Codes
    is_interval: bool

    @property
    def count(self) -> int:
        """Bands, the unlisted and the missing among them."""
        return len(self.conditions) + 2


def as_intervals(cuts: Sequence[float]) -> tuple[Mapping[str, Any], ...]:
    """Conditions of the bands between ascending cuts.

    >>> as_intervals([10.0, 30.0])
    ({'below': 10}, {'at_least': 10, 'below': 30}, {'at_least': 30})

    """
    edges = [None, *(int(cut) if float(cut).is_integer() and abs(cut) < 1e15 else float(cut) for cut in cuts), None]
    pairs = itertools.pairwise(edges)
    return tuple(
        {name: edge for name, edge in (("at_least", low), ("below", high)) if edge is not None} for low, high in pairs
    )


def own_bands(criterion: Criterion, values: "pd.Series[Any]") -> Banding:
    """Sort rows into the bands that the card has today."""
    if criterion.condition.kind == "interval":
        cuts = [band.below for band in in_order(criterion.bands)[:-1] if band.below is not None]
        return _between(values, cuts)
    listed = [
        band.model_dump(mode="json", by_alias=True, exclude={"points"}, exclude_unset=True) for band in criterion.bands
    ]
    return _listed(values, [band.listed for band in criterion.bands], listed)


def learned_bands(criterion: Criterion, values: "pd.Series[Any]", good: Floats, learn: NDArray[np.bool_]) -> Banding:
    """Sort rows into bands that are cut where a small tree would, or one per value, learned from some of the rows."""
    known = np.asarray(values.notna())
    if criterion.condition.kind == "interval":
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        seen = numbers[known & learn]
        return _between(values, round_cuts(find_cuts(seen, good[known & learn]), seen))
    named = list(criterion.listed)
    counts = values[known & learn].value_counts()
    often = counts.index[counts >= LEVEL_SHARE * max(len(values), 1)]
    levels = [*named, *sorted(set(_plain(often)) - set(named), key=str)]
    levels = [value for value in spellings(levels).values() if isinstance(value, str) == isinstance(named[0], str)]
    return _listed(values, [(value,) for value in levels], [{"equals": value} for value in levels])


def _plain(values: Any) -> list[Any]:
    """Python values; whole numbers without a decimal point."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    return [int(value) if isinstance(value, float) and value.is_integer() else value for value in plain]


def _between(values: "pd.Series[Any]", cuts: Sequence[float]) -> Banding:
    numbers = np.full(len(values), np.nan) if values.isna().all() else values.to_numpy(np.float64, na_value=np.nan)
    place = np.searchsorted(np.asarray(cuts, dtype=np.float64), numbers, side="right").astype(np.int64)
    return Banding(as_intervals(list(cuts)), np.where(np.isnan(numbers), len(cuts) + 2, place), True)


def _listed(
    values: "pd.Series[Any]", levels: Sequence[tuple[Any, ...]], conditions: Sequence[Mapping[str, Any]]
) -> Banding:
    place_of = {value: at for at, some in enumerate(levels) for value in some}
    codes, distinct = pd.factorize(values, use_na_sentinel=True)
    places = np.array([*(place_of.get(value, len(levels)) for value in distinct), len(levels) + 1], dtype=np.int64)
    return Banding(tuple(conditions), places[codes], False)


def round_cuts(cuts: Floats, numbers: Floats) -> list[float]:
    """Move cuts to the roundest number nearby, so that people can read them; `[cut, ...` is the upper side.

    >>> round_cuts(np.array([28.5]), np.arange(1000.0) / 10)
    [29.0]

    """
    ordered, found = np.sort(numbers), []
    for cut in cuts:
        at = int(np.searchsorted(ordered, cut, side="right"))
        slack = int(NEAR * len(ordered))
        low, high = ordered[max(at - 1 - slack, 0)], ordered[min(at + slack, len(ordered) - 1)]
        found.append(_roundest(float(low), float(high), float(cut)))
    return sorted({cut for cut in found if cut > ordered[0]})


def _roundest(low: float, high: float, wish: float) -> float:
    """Return the number in `(low, high]` with the fewest digits, and of those the nearest to a wish."""
    power = math.floor(math.log10(high - low)) + 1 if high > low else 0
    while power > -12:
        step = 10.0**power
        first = math.floor(low / step) + 1
        choices = [round(k * step, max(-power, 0)) for k in range(first, min(math.floor(high / step), first + 100) + 1)]
        choices = [one for one in choices if low < one <= high]
        if choices:
            return min(choices, key=lambda one: (one != 0, abs(one - wish)))
        power -= 1
    return high


@dataclass(frozen=True)
class Rates:
    """How the bands of a banding turned out; `evidence` is the weight of evidence, shrunk and made monotone."""

    rows: Floats
    good: Floats
    evidence: Floats


def rate_bands(banding: Banding, good: Floats, direction: int, rows_per_customer: float = 1.0) -> Rates:
    """Weight of evidence of each band: log-odds of its rows beyond those of all, pulled to 0 where rows are few.

    Parameters
    ----------
    banding : Banding
    good : array
    direction : -1, 0 or +1
        +1: no band is worse than the one below it; neighbours that are, are pooled.
    rows_per_customer : float
        How many rows are one piece of evidence.

    """
    rows = np.bincount(banding.place, minlength=banding.count).astype(np.float64)
    hits = np.bincount(banding.place, weights=good, minlength=banding.count).astype(np.float64)
    base = (hits.sum() + 0.5) / (rows.sum() + 1.0)
    strength = STRENGTH * rows_per_customer
    shrunk = (hits + strength * base) / (rows + strength)
    bands = len(banding.conditions)
    if direction and banding.is_interval:
        pooled = isotonic_regression(shrunk[:bands], sample_weight=rows[:bands] + strength, increasing=direction > 0)
        shrunk[:bands] = pooled
    elif direction:
        order = np.argsort([_first(one) for one in banding.conditions], kind="stable")
        pooled = isotonic_regression(shrunk[order], sample_weight=rows[order] + strength, increasing=direction > 0)
        shrunk[order] = pooled
    evidence = np.log(shrunk / (1.0 - shrunk)) - math.log(base / (1.0 - base))
    return Rates(rows, hits, evidence)


def _first(condition: Mapping[str, Any]) -> float:
    return float(condition["equals"] if "equals" in condition else min(condition["in"]))
