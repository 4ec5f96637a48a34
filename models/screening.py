"""The strongest columns by themselves: what a linear candidate looks at where there are very many."""

import numpy as np
from numpy.typing import NDArray

from models.candidate import Floats
from models.encoding import CodedRows
from models.predict import MISSING

BINS = 10
SMOOTHING = 5.0
"""Imagined rows of either label that each bin gets."""


def information_value(column: NDArray[np.generic], label: Floats, is_text: bool) -> float:
    """How far a column's bins separate the labels: sum of (share of 1 - share of 0) * log of their ratio.

    Numbers are cut into ten bins of about equal count; missing is a bin of its own.

    Source: Siddiqi, Credit Risk Scorecards, 2006.

    Examples
    --------
    >>> label = np.repeat([0.0, 1.0], 50)
    >>> bool(information_value(np.arange(100.0), label, False) > 1)
    True
    >>> information_value(np.tile([1.0, 2.0], 50), label, False)
    0.0

    """
    bins = np.where(column == MISSING, 0, column.astype(np.int64) + 3) if is_text else _bins(column.astype(np.float64))
    ones = np.bincount(bins, weights=label)
    zeros = np.bincount(bins) - ones
    is_used = ones + zeros > 0
    share_of_ones = (ones[is_used] + SMOOTHING) / (ones + SMOOTHING)[is_used].sum()
    share_of_zeros = (zeros[is_used] + SMOOTHING) / (zeros + SMOOTHING)[is_used].sum()
    return float(((share_of_ones - share_of_zeros) * np.log(share_of_ones / share_of_zeros)).sum())


def _bins(column: Floats) -> NDArray[np.int64]:
    is_known = np.isfinite(column)
    cuts = np.unique(np.quantile(column[is_known], np.arange(1, BINS) / BINS)) if is_known.any() else np.zeros(0)
    return np.where(is_known, np.searchsorted(cuts, column, side="left") + 1, 0)


def strongest_columns(rows: CodedRows, limit: int) -> list[str]:
    """Names of at most `limit` columns with the greatest information value on these rows, in the contract's order."""
    names = [entry["name"] for entry in rows.contract]
    if len(names) <= limit:
        return names
    values = [information_value(rows.columns[e["name"]], rows.label, e["kind"] == "text") for e in rows.contract]
    kept = sorted(np.argsort(-np.array(values), kind="stable")[:limit].tolist())
    return [names[place] for place in kept]
