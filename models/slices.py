"""Figures by slice: whom the model serves well, and where too few rows are to say."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.metrics import measure
from models.selection import clustered_error

Floats = NDArray[np.float64]
Interval = tuple[float, float]

MIN_ROWS, MIN_OF_EACH_CLASS = 50, 10
"""Below this a slice has no figures of its own but its size and rates."""
SHOWN_LEVELS = 8
MIN_LEVEL_ROWS = 20
PARTS = 4
NORMAL_95 = 1.959963984540054
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class SliceFigures:
    """How a model does on the rows of one slice.

    Parameters
    ----------
    by, level : str
        What rows are cut by, and which of its levels this is.
    rows, events : int
    observed, predicted : float
        Share of label 1, and mean probability.
    interval : (low, high)
        Where 95 of 100 times the observed share lies, rows of one group being one piece of evidence.
    auc, log_loss : float or None
        None where there are too few rows, or of one class.
    auc_interval : (low, high) or None

    """

    by: str
    level: str
    rows: int
    events: int
    observed: float
    predicted: float
    interval: Interval
    auc: float | None = None
    auc_interval: Interval | None = None
    log_loss: float | None = None

    @property
    def is_small(self) -> bool:
        """Whether there are too few rows, or too few of one class, to judge the ranking."""
        return self.rows < MIN_ROWS or min(self.events, self.rows - self.events) < MIN_OF_EACH_CLASS

    @property
    def is_off(self) -> bool:
        """Whether the mean probability lies outside of the interval of what was observed."""
        return self.rows >= MIN_ROWS and not self.interval[0] <= self.predicted <= self.interval[1]


def cut_by_level(column: "pd.Series[Any]", shown: int = SHOWN_LEVELS, least: int = MIN_LEVEL_ROWS) -> "pd.Series[Any]":
    """Name the slice of each row: its level, the rare ones together, the missing apart.

    >>> cut_by_level(pd.Series(["web", "web", "fair", "call", None]), shown=1, least=2).tolist()
    ['web', 'web', '2 others', '2 others', 'not known']

    """
    counts = column.dropna().astype(str).value_counts()
    counts = counts.sort_index().sort_values(ascending=False, kind="stable")
    kept = [level for level, rows in counts[:shown].items() if rows >= least]
    if len(counts) == len(kept) + 1:  # one more level needs no name for the rest
        kept = list(counts.index)
    rest = f"{len(counts) - len(kept):,} others"
    names = column.astype(object).map(lambda one: NOT_KNOWN if pd.isna(one) else str(one) if str(one) in kept else rest)
    levels = [*kept, *([rest] if len(counts) > len(kept) else []), NOT_KNOWN]
    return pd.Series(pd.Categorical(names, categories=list(dict.fromkeys(levels)), ordered=True), index=column.index)


def cut_by_size(column: "pd.Series[Any]", parts: int = PARTS) -> "pd.Series[Any]":
    """Name the slice of each row: parts of about equally many rows by the size of a number.

    >>> cut_by_size(pd.Series([1.0, 2.0, 3.0, 4.0, np.nan]), parts=2).tolist()
    ['up to 2.5', 'up to 2.5', 'above 2.5', 'above 2.5', 'not known']

    """
    values = column.to_numpy(dtype=np.float64)
    known = values[np.isfinite(values)]
    edges = np.unique(np.quantile(known, np.arange(1, parts) / parts)) if len(known) else np.zeros(0)
    edges = edges[edges < known.max()] if len(known) else edges
    texts = [_short(edge) for edge in edges]
    names = ["all that is known"]
    if texts:
        names = [f"up to {texts[0]}", *(f"{a} to {b}" for a, b in itertools.pairwise(texts))]
        names.append(f"above {texts[-1]}")
    place = np.where(np.isnan(values), len(names), np.searchsorted(edges, np.nan_to_num(values), side="left"))
    labels = np.array([*names, NOT_KNOWN], dtype=object)[place]
    levels = list(dict.fromkeys([*names, NOT_KNOWN]))
    return pd.Series(pd.Categorical(labels, categories=levels, ordered=True), index=column.index)


def _short(value: float) -> str:
    """Write a number with three digits that count, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{float(f'{value:.3g}'):,}"


def measure_slice(
    by: str,
    level: str,
    label: Floats,
    probability: Floats,
    group: NDArray[np.int64],
    resamples: int = 200,
    seed: int = 0,
) -> SliceFigures:
    """Measure the rows of one slice, at least one.

    The interval is that of the observed share: 1.96 standard errors, the larger of the one between
    groups and the one of independent rows whose chances are the predicted ones.
    """
    rows, events = len(label), int(label.sum())
    observed, predicted = float(label.mean()), float(probability.mean())
    codes = np.unique(group, return_inverse=True)[1].astype(np.int64)
    chance = float(np.sqrt((probability * (1.0 - probability)).sum()) / rows)
    half = NORMAL_95 * max(chance, clustered_error(label - probability, codes))
    figures = SliceFigures(
        by, level, rows, events, observed, predicted, (max(observed - half, 0.0), min(observed + half, 1.0))
    )
    if figures.is_small:
        return figures
    measured = measure(label, probability, codes, resamples, seed)
    low, high = measured["interval"]["auc"]
    return SliceFigures(
        *(by, level, rows, events, observed, predicted, figures.interval),
        auc=measured["auc"],
        auc_interval=None if low is None else (low, high),
        log_loss=measured["log_loss"],
    )


def measure_slices(
    cuts: Mapping[str, "pd.Series[Any]"],
    label: Floats,
    probability: Floats,
    group: NDArray[np.int64],
    resamples: int = 200,
    seed: int = 0,
) -> list[SliceFigures]:
    """Measure every level of every cut that has rows.

    Parameters
    ----------
    cuts : mapping of name to categorical Series
        From `cut_by_level` and `cut_by_size`, one entry per row.
    label, probability, group : array
        Of rows that the model was not fitted on.
    resamples, seed : int
        For the intervals of AUC.

    Returns
    -------
    list of SliceFigures
        In the order of the cuts and of their levels; a cut with a single level is left out.

    """
    found = []
    for by, names in cuts.items():
        levels = [level for level in names.cat.categories if (names == level).any()]
        for level in levels if len(levels) > 1 else []:
            inside = (names == level).to_numpy()
            rows = label[inside], probability[inside], group[inside]
            found.append(measure_slice(by, str(level), *rows, resamples=resamples, seed=seed))
    return found
