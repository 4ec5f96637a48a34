"""Partial dependence: what the model says on average when one column is set to a value in every row."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.predict import Bundle

Floats = NDArray[np.float64]

SAMPLE_ROWS = 300
GRID_POINTS = 13
SHOWN_LEVELS = 8
HISTOGRAM_BINS = 20
EDGE_SHARE = 0.02
"""The grid leaves out this share of rows at either end, where a model has seen little."""


@dataclass(frozen=True)
class Dependence:
    """Mean probability over a grid of one column, other columns as they are in a sample of rows.

    Parameters
    ----------
    column : str
    kind : {"number", "text"}
    grid : tuple
        Rising numbers, or levels by falling frequency.
    means : tuple of float
        Mean probability at each value.
    shares : tuple of float
        Numbers: share of known values per bin of equal width between the ends of the grid, values
        beyond counted at the ends. Text: share of rows per level.
    missing_share : float
        Share of rows without a value.
    missing_mean : float or None
        Mean probability if nobody had a value; None where everybody has one.

    """

    column: str
    kind: str
    grid: tuple[Any, ...]
    means: tuple[float, ...]
    shares: tuple[float, ...]
    missing_share: float
    missing_mean: float | None

    @property
    def span(self) -> float:
        """Largest difference between two means of the grid."""
        return max(self.means) - min(self.means) if self.means else 0.0


def sample_rows(frame: pd.DataFrame, rows: int = SAMPLE_ROWS, seed: int = 0) -> pd.DataFrame:
    """Draw rows without replacement, kept in their order; all of them if there are not more."""
    if len(frame) <= rows:
        return frame.reset_index(drop=True)
    at = np.sort(np.random.default_rng(seed).choice(len(frame), rows, replace=False))
    return frame.iloc[at].reset_index(drop=True)


def _numbers(column: "pd.Series[Any]") -> tuple[list[Any], list[float]]:
    """Grid by quantiles, and share of known values per bin."""
    values = column.to_numpy(dtype=np.float64)
    known = values[np.isfinite(values)]
    if not len(known):
        return [], []
    grid = np.unique(np.quantile(known, np.linspace(EDGE_SHARE, 1 - EDGE_SHARE, GRID_POINTS)))
    if len(grid) < 3:  # a few values stand for nearly all rows: the others are what there is to see
        grid = np.unique(np.quantile(known, np.linspace(0, 1, GRID_POINTS)))
    low, high = float(grid[0]), float(grid[-1])
    counts = np.histogram(np.clip(known, low, high), HISTOGRAM_BINS, (low, high if high > low else low + 1))[0]
    return grid.tolist(), (counts / len(known)).tolist()


def _levels(column: "pd.Series[Any]") -> tuple[list[Any], list[float]]:
    counts = column.dropna().astype(str).value_counts()
    counts = counts.sort_index().sort_values(ascending=False, kind="stable")[:SHOWN_LEVELS]
    shares = counts / len(column)
    kept = shares[(shares >= EDGE_SHARE / 2) | (np.arange(len(shares)) < 2)]
    return kept.index.tolist(), kept.tolist()


def partial_dependence(
    bundle: Bundle, frame: pd.DataFrame, column: str, rows: int = SAMPLE_ROWS, seed: int = 0
) -> Dependence:
    """Partial dependence of the probability on one column.

    Parameters
    ----------
    bundle : Bundle
    frame : DataFrame
        Features; grid and distribution come from all rows, means from a sample.
    column : str
        A column of the contract.
    rows, seed : int
        Of the sample.

    Returns
    -------
    Dependence
        Without grid where no row has a value.

    References
    ----------
    Friedman, J. H. (2001). Greedy function approximation: a gradient boosting machine. Section 8.2.

    """
    is_text = not pd.api.types.is_numeric_dtype(frame[column])
    values, shares = _levels(frame[column]) if is_text else _numbers(frame[column])
    missing_share = float(frame[column].isna().mean())
    asked = [*values, None] if missing_share else values
    if not asked:
        return Dependence(column, "text" if is_text else "number", (), (), (), missing_share, None)
    sample = sample_rows(frame, rows, seed)
    beside = pd.concat([sample] * len(asked), ignore_index=True)
    repeated = np.repeat(np.array(asked, dtype=object), len(sample))
    beside[column] = pd.Series(repeated, dtype=frame[column].dtype if is_text else "float64")
    means = bundle.predict(beside).reshape(len(asked), len(sample)).mean(axis=1).tolist()
    return Dependence(
        column=column,
        kind="text" if is_text else "number",
        grid=tuple(values),
        means=tuple(means[: len(values)]),
        shares=tuple(shares),
        missing_share=missing_share,
        missing_mean=means[-1] if missing_share else None,
    )
