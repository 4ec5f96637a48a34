"""What rows are graded by, as one number per row, and where its cut-offs are when they are fixed."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.errors import DataError
from models.nearest import nearest
from pipeline.config import Config
from pipeline.config_schema import Target
from pipeline.errors import ConfigError

Floats = NDArray[np.float64]

POINTS_TIE = 5e-5
"""Rows of equal points are told apart by their probability: by less than the smallest step of points."""


def strength_of(config: Config, name: str, rows: pd.DataFrame, scores: pd.DataFrame, folder: Path) -> Floats:
    """Return what each row is graded by: points, log-odds, or the logarithm of its expected value.

    Parameters
    ----------
    config : Config
    name : str
        Target.
    rows : DataFrame
        Scores of the target's primary horizon.
    scores : DataFrame
        All scores of the run, among which those of a value target.
    folder : Path
        Where the features of the run are stored.

    Returns
    -------
    array of float64
        Minus infinity where nothing is known or the value is not above 0.

    """
    target = config.targets[name]
    if target.grading.by == "points":
        return _known(rows["points"].to_numpy(np.float64) + POINTS_TIE * rows["probability"].fillna(0).to_numpy())
    if target.grading.by == "probability":
        return _known(rows["log_odds"].to_numpy(np.float64))
    if target.kind == "value":
        return _logarithm(rows["value"].to_numpy(np.float64))
    log_probability = -np.logaddexp(0.0, -rows["log_odds"].to_numpy(np.float64))
    return _known(log_probability + _logarithm(_worth(config, name, rows, scores, folder)))


def fixed_cut_offs(target: Target, places: Sequence[str], card: Mapping[str, float] | None) -> list[float]:
    """Cut-offs of a config or card in the scale of the strength, from that of the lowest place up.

    Parameters
    ----------
    target : Target
        Of the config.
    places : sequence of str
        Grades above the lowest one, ascending.
    card : mapping of grade to float or None
        Least points by the card.

    Raises
    ------
    ConfigError
        If the config's do not name these grades in this order.

    """
    grading = target.grading
    if grading.cut_by == "card" and card is not None:
        return [card[grade] for grade in places]
    doubling = {grade: 2.0**place for place, grade in enumerate(places)}
    least = dict(grading.at_least) or doubling
    if set(least) != set(places):
        raise ConfigError(
            f"grading.at_least names {', '.join(least)}, expected each grade but the lowest: {', '.join(places)}. "
            "Name these."
        )
    bounds = [least[grade] for grade in places]
    if sorted(set(bounds)) != bounds:
        raise ConfigError(
            f"grading.at_least has {', '.join(f'{grade} {least[grade]:g}' for grade in reversed(places))}, expected "
            "more for each better grade. Change the numbers."
        )
    if grading.cut_by == "profit" and target.profit is not None:
        bounds = [bound * target.profit.cost_per_contact for bound in bounds]
        if grading.by == "probability":
            bounds = [bound / target.profit.value_per_event for bound in bounds]
    return [to_strength(grading.by, bound) for bound in bounds]


def to_strength(by: str, bound: float) -> float:
    """Points, a probability or a value in the scale of the strength; infinite beyond what a probability can be.

    >>> to_strength("points", 70.0), to_strength("probability", 0.5), to_strength("value", 1.0)
    (70.0, 0.0, 0.0)
    """
    if by == "points":
        return bound
    if by == "value":
        return math.log(bound)
    return math.log(bound / (1 - bound)) if bound < 1 else math.inf


def from_strength(by: str, strength: float) -> float:
    """Return what people read for a strength: points, a probability or a value.

    >>> from_strength("probability", 0.0), from_strength("value", 0.0)
    (0.5, 1.0)
    """
    if by == "points":
        return strength
    return math.exp(min(strength, 700.0)) if by == "value" else 0.5 * (1 + math.tanh(strength / 2))


def _known(strength: Floats) -> Floats:
    return np.where(np.isnan(strength), -np.inf, strength)


def _logarithm(value: Floats) -> Floats:
    """Logarithm of a value; of nothing, or of less, minus infinity."""
    return np.log(value, out=np.full(len(value), -np.inf), where=value > 0)


def _worth(config: Config, name: str, rows: pd.DataFrame, scores: pd.DataFrame, folder: Path) -> Floats:
    """What an event is worth, row by row; where it is not known, the median of what is known."""
    target = config.targets[name]
    grading = target.grading
    if grading.value_feature is not None:
        found = _read_feature(folder, name, grading.value_feature, rows)
    elif grading.value_target is not None:
        other = scores[scores["target"] == grading.value_target].set_index("entity_id")["value"]
        found = rows["entity_id"].map(other).to_numpy(np.float64)
    else:
        constant = grading.value_constant or (target.profit.value_per_event if target.profit else 1.0)
        return np.full(len(rows), constant)
    if len(rows) and np.isnan(found).all():
        source = grading.value_feature or grading.value_target
        raise DataError(f"Target '{name}' is graded by value, and '{source}' is null in all {len(rows):,} rows.")
    return np.where(np.isnan(found), np.nanmedian(found), found) if len(rows) else found


def _read_feature(folder: Path, name: str, feature: str, rows: pd.DataFrame) -> Floats:
    path = folder / f"features_{name}.parquet"
    known = pq.read_schema(path).names
    if feature not in known:
        raise ConfigError(
            f"targets.{name}.grading.value_feature: unknown feature '{feature}'. {nearest(feature, known, 'features')}"
        )
    values = pd.read_parquet(path, columns=["entity_id", feature]).set_index("entity_id")[feature]
    if not pd.api.types.is_numeric_dtype(values):
        raise ConfigError(f"targets.{name}.grading.value_feature: '{feature}' is text. Name a number.")
    return rows["entity_id"].map(values).to_numpy(np.float64)
