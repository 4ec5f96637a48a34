"""The scorecard as a candidate: log-odds = a + b * points / 100, the points as experts wrote them.

A card gives every column a step per band, so that the candidate is linear: one curve of steps per column. Vetoes are
no part of it. The sign of b is the card's and not the rows'; its size starts from what experts may be trusted with and
moves as far as the rows insist. It never becomes 0, so that people whom the card tells apart keep different scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from models.base_rate import smoothed_log_odds
from models.candidate import Floats, Member, Setting
from models.curves import ColumnBasis, Design
from models.encoding import CodedRows
from models.predict import to_probability
from models.scorecard import Scorecard, criterion_points
from models.scorecard_schema import UNITS_PER_POINT, Criterion

PENALTIES = (1000.0, 30.0, 3.0)
"""The first takes the experts' word for the slope; the last lets the rows decide."""
TRUSTED_SLOPE = 0.3
"""Log-odds per standard deviation of the points before any row is seen: an AUC of about 0.58."""
LEAST_SLOPE = 0.01
NEAR_ZERO = 1e-300
"""A step at 0 begins this close below it: the nearest float below 0 is too close to divide by."""
UNLISTED = "\x00"
"""A text that no card lists."""


def _below(value: float) -> float:
    return float(np.nextafter(value, -np.inf)) if value else -NEAR_ZERO


def _above(value: float) -> float:
    return float(np.nextafter(value, np.inf)) if value else NEAR_ZERO


def _knots(criteria: Sequence[Criterion]) -> Floats:
    """Where the points of a number may change: pairs of neighbours around each edge, triples around listed numbers."""
    knots: set[float] = set()
    for band in (band for criterion in criteria for band in criterion.bands):
        for edge in (band.at_least, band.below):
            knots |= set() if edge is None else {_below(edge), edge}
        for value in map(float, band.listed):
            knots |= {_below(value), value, _above(value)}
    return np.array(sorted(knots) if len(knots) > 1 else [0.0, 1.0])


def _readable(rows: CodedRows) -> dict[str, list[Criterion]]:
    """Criteria by the one column each reads; not those that make a value of several, or meet another kind of column.

    An answer about a deal stands in for one about its customer: that is one column where the rows have only one.
    """
    if rows.card is None:
        return {}
    kinds = {entry["name"]: entry["kind"] for entry in rows.contract}
    found: dict[str, list[Criterion]] = {}
    for one in rows.card.card.criteria:
        names = [name for name in one.reads(rows.card.card.entity) if name in kinds]
        kind = "text" if one.condition.kind == "text" else "number"
        if one.units and one.formula is None and len(names) == 1 and kinds[names[0]] == kind:
            found.setdefault(names[0], []).append(one)
    return found


def _basis(card: Scorecard, criteria: Sequence[Criterion], entry: Mapping[str, Any]) -> ColumnBasis:
    """Points of one column as a table, on the scale of the whole card; criteria that read it are added up."""
    knots = None if entry["kind"] == "text" else _knots(criteria)
    if knots is None:
        places = pd.DataFrame({entry["name"]: pd.Series([*entry["categories"], UNLISTED, None], dtype=object)})
    else:
        places = pd.DataFrame({entry["name"]: [*knots, np.nan, np.nan]})
    points = sum((one.units * criterion_points(one, places, card)[0] for one in criteria), np.zeros(len(places)))
    return ColumnBasis(entry["name"], knots, points[:, None] / UNITS_PER_POINT)


def card_bases(rows: CodedRows) -> tuple[ColumnBasis, ...]:
    """Points of every column that the card reads and the rows have, in the order of the contract."""
    criteria = _readable(rows)
    if rows.card is None:
        return ()
    return tuple(
        _basis(rows.card.card, criteria[entry["name"]], entry) for entry in rows.contract if entry["name"] in criteria
    )


def _total(bases: Sequence[ColumnBasis], rows: CodedRows) -> Floats:
    return np.asarray(sum((basis.matrix(rows.columns[basis.name])[:, 0] for basis in bases), np.zeros(len(rows))))


def fit_slope(points: Floats, label: Floats, penalty: float) -> tuple[float, float]:
    """Log-odds at the mean of standardised points, and slope: pulled to the trusted one, and never against the card.

    >>> points, label = np.repeat([-1.0, 1.0], 40), np.tile([0.0, 0.0, 0.0, 1.0], 20)
    >>> label[40:] = 1.0 - label[40:]  # 1 of 4 and 3 of 4: the slope of the rows is log 3
    >>> [round(fit_slope(points, label, penalty)[1], 2) for penalty in (1e9, 1e-9)]
    [0.3, 1.1]
    >>> fit_slope(-points, label, 1e-9)[1]
    0.01

    """
    level, slope = smoothed_log_odds(label), TRUSTED_SLOPE
    for _ in range(60):
        probability = to_probability(level + slope * points)
        residual, weight = label - probability, np.maximum(probability * (1.0 - probability), 1e-9)
        gradient = np.array([residual.sum(), residual @ points - penalty * (slope - TRUSTED_SLOPE)])
        cross = weight @ points
        curvature = np.array([[weight.sum() + 1e-6, cross], [cross, weight @ points**2 + penalty + 1e-6]])
        step = np.clip(np.linalg.solve(curvature, gradient), -1.0, 1.0)
        if slope + step[1] < LEAST_SLOPE:  # on the border only the level can move
            step = np.array([np.clip(gradient[0] / curvature[0, 0], -1.0, 1.0), LEAST_SLOPE - slope])
        level, slope = level + float(step[0]), slope + float(step[1])
        if np.abs(step).max() < 1e-10:
            break
    return level, slope


class Points:
    """The points of the scorecard, calibrated; `penalty` says how firmly the trusted slope is kept."""

    name = "points"

    def settings(self, rows: CodedRows) -> Sequence[Setting]:
        """Return every penalty; none without a card, or where its points are the same for everybody."""
        bases = card_bases(rows)
        varies = bool(bases) and float(np.ptp(_total(bases, rows))) > 0
        return [{"penalty": penalty} for penalty in PENALTIES] if varies else []

    def log_odds(self, train: CodedRows, valid: CodedRows, settings: Sequence[Setting]) -> Floats:
        """Fit level and slope on train under every setting."""
        bases = card_bases(train)
        points, asked = _total(bases, train), _total(bases, valid)
        found = []
        for setting in settings:
            level, slope, centre = _fit(points, train, setting)
            found.append(level + slope * (asked - centre))
        return np.array(found)

    def fit(self, rows: CodedRows, setting: Setting) -> Member:
        """Fit on all rows given; the curve of a column is what its points add to those of a mean row."""
        bases = card_bases(rows)
        level, slope, _ = _fit(_total(bases, rows), rows, setting)
        means = [basis.matrix(rows.columns[basis.name]).mean() for basis in bases]
        centred = (replace(basis, table=basis.table - mean) for basis, mean in zip(bases, means, strict=True))
        terms = Design(tuple(centred)).terms(np.full(len(bases), slope))
        return Member({"kind": "linear", "intercept": level, "terms": terms})


def _fit(points: Floats, rows: CodedRows, setting: Setting) -> tuple[float, float, float]:
    """Log-odds at the mean points, change per point with the sign of the card, and the mean points."""
    centre, spread = float(points.mean()), float(points.std())
    if rows.card is None or spread < 1e-9:
        return smoothed_log_odds(rows.label), 0.0, centre
    sign = float(rows.card.sign)
    level, slope = fit_slope(sign * (points - centre) / spread, rows.label, setting["penalty"])
    return level, sign * slope / spread, centre


def card_notes(rows: CodedRows) -> list[str]:
    """Say which criteria with weight are no part of the candidate."""
    if rows.card is None:
        return []
    seen = {one.id for criteria in _readable(rows).values() for one in criteria}
    left_out = [one.id for one in rows.card.card.criteria if one.units and one.id not in seen]
    listed, card = ", ".join(left_out), rows.card.card.id
    why = "they read no column of the training rows, or make a value of several"
    return [f"The calibrated points leave out {listed} of scorecard '{card}': {why}."] if left_out else []
