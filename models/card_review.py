"""What came of a scorecard: which criteria told good from bad, which did not, and which point the wrong way.

Good is what the points are meant to favour: a deal that was won, a customer who stayed. For a target churn,
where label 1 means leaving, that is label 0 (`wanted`); for a value it is revenue above the median.

That no effect was found is only said to be none where a strong one would have been seen; else there were too few
rows. A criterion is judged by the rows that have a value for it: that there is none may tell a lot, but nothing of
what was asked. How it is cut for that is not asked of the outcome, so that a test of it means what it says.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import DataError
from models.card_conditions import fold, spellings
from models.card_findings import BandOutcome, CardReview, CriterionReview, Shape, Verdict
from models.card_values import question_values
from models.information_value import (
    Codes,
    Effect,
    Floats,
    bend,
    bin_values,
    bins_for,
    count_by_group,
    effect_of,
    found_real,
    intervals_of,
    trend,
    two_sided,
    wilson,
)
from models.scorecard import Scorecard, criterion_points
from models.scorecard_schema import Criterion

WORTHLESS = 0.01
"""Information value below which nothing is worth a point, even if it is real; useless is what they call 0.02."""
STRONG = 0.1
"""Information value that the rows have to exclude before it is said that there is no effect: it is called medium."""
SURE = 1.96
"""Standard errors beyond which a direction is taken for found."""


def wanted(kind: str, label: Floats) -> Floats:
    """Return 1 where the outcome is what the points are meant to favour, from the labels of a kind of target.

    >>> wanted("churn", np.array([1.0, 0.0])).tolist(), wanted("value", np.array([0.0, 10.0, 90.0])).tolist()
    ([0.0, 1.0], [0.0, 0.0, 1.0])

    """
    if kind == "value":
        return np.asarray(label > np.median(label), dtype=np.float64)
    return 1.0 - label if kind == "churn" else label


def group_codes(group: NDArray[Any]) -> Codes:
    """Customer of each row as a number from 0."""
    return np.unique(np.asarray(group).astype(str), return_inverse=True)[1].astype(np.int64)


def check_rows(frame: pd.DataFrame, good: Floats, group: NDArray[Any]) -> None:
    """Refuse rows that nothing can be learned from; DataError."""
    if not len(frame) == len(good) == len(group):
        raise DataError(
            f"A review got {len(frame):,} rows of features, {len(good):,} outcomes and {len(group):,} customers. "
            "Pass one of each per row."
        )
    if not np.isin(good, (0.0, 1.0)).all() or good.min(initial=1.0) == good.max(initial=0.0):
        raise DataError(
            f"A review of {len(good):,} rows needs outcomes that are 0 or 1, and both of them. Wait until more "
            "outcomes have ripened, or leave out what has not."
        )


def criterion_values(card: Scorecard, criterion: Criterion, frame: pd.DataFrame) -> "pd.Series[Any]":
    """What a criterion reads of each row; null where the frame has nothing for it, one spelling for each text."""
    values = question_values(criterion, frame, card)
    if values is None:
        return pd.Series(np.nan, index=frame.index)
    return values if pd.api.types.is_numeric_dtype(values) else _spelt_alike(values, criterion)


def _spelt_alike(values: "pd.Series[Any]", criterion: Criterion) -> "pd.Series[Any]":
    """Spell texts that the card takes for one in one way: its own, else the most usual."""
    usual = values.value_counts().sort_index().sort_values(ascending=False, kind="stable").index
    spelt = spellings([*criterion.listed, *usual])
    return values.map({one: spelt[fold(one)] for one in usual})


def review_card(
    card: Scorecard, frame: pd.DataFrame, good: Floats, group: NDArray[Any], seed: int = 0, share: float = 0.05
) -> CardReview:
    """Judge the criteria of a card by outcomes that have ripened.

    Parameters
    ----------
    card : Scorecard
    frame : DataFrame
        Feature frame: what the card read when it gave its points.
    good : array
        1.0 for rows whose outcome is what the points are meant to favour (see `wanted`), else 0.0.
    group : array
        Customer of each row: rows of one customer are one piece of evidence.
    seed : int
        Of the resamples.
    share : float
        At most so many of the criteria found to have an effect may have none (Benjamini and Hochberg).

    Returns
    -------
    CardReview

    Raises
    ------
    DataError
        If the lengths differ, or the outcomes are not of both kinds.

    """
    check_rows(frame, good, group)
    codes = group_codes(group)
    parts = [_look_at(card, one, frame, good, codes) for one in card.criteria]
    told = [part for part in parts if part.effect is not None]
    effects = [part.effect for part in told if part.effect is not None]
    bounds = intervals_of([part.counts for part in told], effects, seed)
    real = found_real([part.p_value for part in told], share)
    judged = {part.criterion.id: (*bound, is_real) for part, bound, is_real in zip(told, bounds, real, strict=True)}
    return CardReview(
        card=card.id,
        version=str(card.version),
        rows=len(frame),
        groups=int(codes.max()) + 1,
        good=int(good.sum()),
        criteria=tuple(_conclude(part, judged.get(part.criterion.id)) for part in parts),
    )


@dataclass(frozen=True)
class _Look:
    """What the rows show of one criterion, before it is known what the others show."""

    criterion: Criterion
    rows: int
    coverage: float
    bands: tuple[BandOutcome, ...]
    is_text: bool = False
    counts: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    effect: Effect | None = None
    p_value: float = 1.0
    by_value: float = 0.0
    by_points: float = 0.0
    bent: float = 0.0
    as_banded: float = 0.0


def _look_at(card: Scorecard, criterion: Criterion, frame: pd.DataFrame, good: Floats, group: Codes) -> _Look:
    """Count and test one criterion by itself."""
    values = criterion_values(card, criterion, frame)
    known = np.asarray(values.notna())
    given = criterion_points(criterion, frame, card)[0].astype(np.float64)
    bands = _outcomes(given, good)
    rows, coverage = int(known.sum()), float(known.mean())
    most = bins_for(good[known], group[known])
    bins = bin_values(values, most)
    if most < 2 or len(np.unique(bins[known])) < 2:
        return _Look(criterion, rows, coverage, bands)
    counts = count_by_group(bins, good, group, int(group.max()) + 1)
    effect = effect_of(counts)
    is_text = not pd.api.types.is_numeric_dtype(values)
    asked = given[known] if is_text else values[known].to_numpy(dtype=np.float64)
    mine = good[known], group[known]
    by_value = trend(asked, *mine)
    return _Look(
        criterion=criterion,
        rows=rows,
        coverage=coverage,
        bands=bands,
        is_text=is_text,
        counts=counts,
        effect=effect,
        # two tests of one thing: whether any bin differs, and whether the outcome goes up or down with it
        p_value=min(1.0, 2.0 * min(effect.p_value, two_sided(by_value))),
        by_value=by_value,
        by_points=trend(given[known], *mine),
        bent=0.0 if is_text else bend(asked, *mine),
        as_banded=_value_of_points(given[known], *mine),
    )


def _value_of_points(given: Floats, good: Floats, group: Codes) -> float:
    """Information value beyond chance of the points that were given."""
    levels, bins = np.unique(given, return_inverse=True)
    if len(levels) < 2:
        return 0.0
    return effect_of(count_by_group(bins.astype(np.int64), good, group, int(group.max()) + 1)).value


def _outcomes(given: Floats, good: Floats) -> tuple[BandOutcome, ...]:
    """Rows and rate of the good by points."""
    levels, place = np.unique(given, return_inverse=True)
    rows = np.bincount(place, minlength=len(levels)).astype(np.float64)
    hits = np.bincount(place, weights=good, minlength=len(levels))
    low, high = wilson(hits, rows)
    return tuple(
        BandOutcome(float(level), int(count), int(hit), float(hit / count), float(least), float(most))
        for level, count, hit, least, most in zip(levels, rows, hits, low, high, strict=True)
    )


def _conclude(look: _Look, judged: tuple[float, float, bool] | None) -> CriterionReview:
    """Put in words what was found."""
    plain: dict[str, Any] = {
        "id": look.criterion.id, "rows": look.rows, "coverage": look.coverage, "bands": look.bands
    }  # fmt: skip
    if look.effect is None or judged is None:
        return CriterionReview(verdict="too few rows", **plain)
    low, high, is_real = judged
    is_real = is_real and high >= WORTHLESS
    points = int(np.sign(look.by_points)) if abs(look.by_points) > SURE else 0
    direction = int(np.sign(look.by_value)) if is_real and abs(look.by_value) > SURE else 0
    unreal: Verdict = "too few rows" if high >= STRONG else "no effect"
    real: Verdict = "points the wrong way" if points < 0 else "matters"
    return CriterionReview(
        verdict=real if is_real else unreal,
        value=look.effect.value,
        low=low,
        high=high,
        as_banded=look.as_banded,
        chance=look.effect.chance,
        p_value=look.p_value,
        direction=None if look.is_text else direction,
        points_direction=points,
        shape=_shape(look, is_real, direction),
        **plain,
    )


def _shape(look: _Look, is_real: bool, direction: int) -> Shape:
    """Name how the outcome goes with the values."""
    if not is_real:
        return "none"
    if look.is_text:
        return "differs by level"
    if abs(look.bent) > max(abs(look.by_value), SURE):
        return "worst in the middle" if look.bent > 0 else "best in the middle"
    return {1: "rises", -1: "falls"}.get(direction, "differs by level")  # type: ignore[return-value]
