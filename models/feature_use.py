"""What a fitted model leans on, and in which direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from models.predict import Bundle

Floats = NDArray[np.float64]

CLEAR = 0.5
"""Rank correlation from which a direction is said."""
MAX_ROWS = 2_000
SHOWN_LEVELS = 2
MIN_LEVEL_ROWS = 10


@dataclass(frozen=True)
class FeatureUse:
    """How much a model leans on one feature.

    Parameters
    ----------
    name : str
        A column, or a member that enters as one reason.
    share : float
        Its mean absolute contribution to the log-odds, as a share of all of them.
    direction : {"up", "down", "mixed", "levels", "whole"}
        up: the event gets likelier as the value grows. levels: a text column. whole: no single column.
    rank_correlation : float or None
        Between value and contribution; None for text and for members.
    for_levels, against_levels : tuple of str
        Levels of a text column with the highest and the lowest mean contribution, on either side of 0.
    missing_share : float

    """

    name: str
    share: float
    direction: str
    rank_correlation: float | None = None
    for_levels: tuple[str, ...] = ()
    against_levels: tuple[str, ...] = ()
    missing_share: float = 0.0


def _direction(column: "pd.Series[Any]", part: Floats) -> tuple[str, float | None]:
    values = column.to_numpy(dtype=np.float64)
    known = np.isfinite(values)
    if not known.any() or np.ptp(values[known]) == 0 or np.ptp(part[known]) < 1e-12:
        return "mixed", None
    correlation = float(np.corrcoef(rankdata(values[known]), rankdata(part[known]))[0, 1])
    return ("up" if correlation >= CLEAR else "down" if correlation <= -CLEAR else "mixed"), correlation


def _levels(column: "pd.Series[Any]", part: Floats) -> tuple[tuple[str, ...], tuple[str, ...]]:
    named = pd.DataFrame({"level": column.astype(object), "part": part}).dropna(subset="level")
    found = named.groupby("level", sort=True)["part"].agg(["size", "mean"])
    if not len(found):
        return (), ()
    ranked = found.loc[found["size"] >= min(MIN_LEVEL_ROWS, found["size"].max()), "mean"].sort_values(kind="stable")
    against = [str(level) for level, mean in ranked[:SHOWN_LEVELS].items() if mean < 0]
    favour = [str(level) for level, mean in ranked[::-1][:SHOWN_LEVELS].items() if mean > 0]
    return tuple(favour), tuple(against)


def _use(name: str, frame: pd.DataFrame, part: Floats, share: float) -> FeatureUse:
    if name not in frame.columns:
        return FeatureUse(name, share, "whole")
    column = frame[name]
    missing = float(column.isna().mean())
    if not pd.api.types.is_numeric_dtype(column):
        favour, against = _levels(column, part)
        return FeatureUse(name, share, "levels", None, favour, against, missing)
    direction, correlation = _direction(column, part)
    return FeatureUse(name, share, direction, correlation, missing_share=missing)


def measure_features(bundle: Bundle, frame: pd.DataFrame, seed: int = 0) -> Sequence[FeatureUse]:
    """Say how much each feature counts and which way, those that count first.

    Parameters
    ----------
    bundle : Bundle
    frame : DataFrame
        Rows that the model was not fitted on; a sample of 2,000 is used where there are more.
    seed : int
        Of the sample.

    Returns
    -------
    sequence of FeatureUse
        Shares add up to 1; features of no weight are left out.

    """
    at = np.arange(len(frame))
    if len(frame) > MAX_ROWS:
        at = np.sort(np.random.default_rng(seed).choice(len(frame), MAX_ROWS, replace=False))
    rows = frame.iloc[at].reset_index(drop=True)
    parts = bundle.contributions(rows)[1]
    sizes = np.abs(parts).mean(axis=0)
    total = float(sizes.sum())
    if total <= 0:
        return []
    order = np.argsort(-sizes, kind="stable")
    names = bundle.reason_names
    return [_use(names[at], rows, parts[:, at], float(sizes[at]) / total) for at in order if sizes[at] > 0]
