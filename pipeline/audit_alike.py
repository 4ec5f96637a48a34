"""Columns that say the same: other names for the same values, the same order, or always so far apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

SAME_ORDER = 0.999
"""Rank correlation above which (in size) two columns of numbers say the same."""
LEAST_ROWS = 20
"""Rows in which both columns are filled; with fewer nothing is said."""
_NEAR = 0.99

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Alike:
    """Two columns of a table that say the same.

    Parameters
    ----------
    table, first, second : str
    kind : {"renamed", "same order", "same distance"}
        renamed: each value of one goes with one value of the other. same order: numbers, by rank correlation.
        same distance: times that always lie equally far apart.
    rows : int
        Rows compared, in which both are filled.
    correlation : float or None
        Rank correlation, of the kind that has one.

    """

    table: str
    first: str
    second: str
    kind: str
    rows: int
    correlation: float | None = None


def find_alike(table: str, frame: pd.DataFrame) -> list[Alike]:
    """Compare every two columns of a frame on the rows in which both are filled.

    Numbers and flags are compared by rank, times by their distance, and a text with everything by its
    values. There, columns with more than one value per two rows are left out: names and ids go
    together by nature.

    Parameters
    ----------
    table : str
        What the frame is called.
    frame : DataFrame

    Returns
    -------
    list of Alike
        In the order of the columns.

    Examples
    --------
    >>> frame = pd.DataFrame({"land": ["DE", "FR"] * 10, "country": ["Germany", "France"] * 10})
    >>> find_alike("customers", frame)
    [Alike(table='customers', first='land', second='country', kind='renamed', rows=20, correlation=None)]

    """
    kinds = {str(name): _kind(column) for name, column in frame.items()}
    numbers = {str(name): _numbers(column) for name, column in frame.items() if kinds[str(name)] == "number"}
    codes = {
        str(name): pd.factorize(column)[0].astype(np.int64) for name, column in frame.items() if _is_coarse(column)
    }
    found = [*_same_order(table, numbers), *_same_distance(table, frame, kinds)]
    for first, second in combinations(codes, 2):
        if "text" in (kinds[first], kinds[second]):
            rows = _renamed(codes[first], codes[second])
            found += [Alike(table, first, second, "renamed", rows)] if rows else []
    places = {name: place for place, name in enumerate(kinds)}
    return sorted(found, key=lambda one: (places[one.first], places[one.second]))


def _kind(column: "pd.Series[Any]") -> str:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return "time"
    is_number = pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype)
    return "number" if is_number else "text"


def _numbers(column: "pd.Series[Any]") -> Floats:
    return column.astype("Float64").to_numpy(na_value=np.nan).astype(np.float64)


def _is_coarse(column: "pd.Series[Any]") -> bool:
    return bool(2 * column.nunique() <= column.count())


def _renamed(one: Codes, other: Codes) -> int:
    """Rows in which both are filled, if each value goes with one value there; else 0."""
    both = (one >= 0) & (other >= 0)
    left, right = one[both], other[both]
    count = len(np.unique(left))
    if len(left) < LEAST_ROWS or not 2 <= count <= len(left) / 2 or len(np.unique(right)) != count:
        return 0
    return len(left) if len(np.unique(left * (int(right.max()) + 1) + right)) == count else 0


def _same_distance(table: str, frame: pd.DataFrame, kinds: Mapping[str, str]) -> list[Alike]:
    """Pairs of times that differ by the same in all rows; order says nothing here, as all times go on together."""
    times = {name: frame[name].dt.tz_localize(None) for name, kind in kinds.items() if kind == "time"}
    found = []
    for first, second in combinations(times, 2):
        apart = (times[second] - times[first]).dropna()
        if len(apart) >= LEAST_ROWS and apart.min() == apart.max() and times[first].min() < times[first].max():
            found.append(Alike(table, first, second, "same distance", len(apart)))
    return found


def _same_order(table: str, columns: Mapping[str, Floats]) -> list[Alike]:
    """Pairs of numbers in the same order: a quick look at all of them, then exactly at those that are near."""
    kept = {name: values for name, values in columns.items() if len(np.unique(values[~np.isnan(values)])) > 1}
    names = list(kept)
    if len(names) < 2:
        return []
    near = np.abs(_roughly(np.column_stack(list(kept.values())))) > _NEAR
    found = []
    for first, second in combinations(range(len(names)), 2):
        exact = _exactly(kept[names[first]], kept[names[second]]) if near[first, second] else None
        if exact is not None and abs(exact[1]) > SAME_ORDER:
            found.append(Alike(table, names[first], names[second], "same order", *exact))
    return found


def _roughly(values: Floats) -> Floats:
    """Correlations of all pairs on the rows in which both are filled, with ranks of each column by itself."""
    filled = ~np.isnan(values)
    ranks = rankdata(values, axis=0, nan_policy="omit") / np.maximum(filled.sum(axis=0), 1) - 0.5
    ranks = np.where(filled, ranks, 0.0)
    mask = filled.astype(np.float64)
    count = np.maximum(mask.T @ mask, 1.0)
    mean = (ranks.T @ mask) / count
    variance = np.maximum(((ranks**2).T @ mask) / count - mean**2, 0.0)
    product = (ranks.T @ ranks) / count - mean * mean.T
    scale = np.sqrt(variance * variance.T)
    found: Floats = np.divide(product, scale, out=np.zeros_like(scale), where=scale > 1e-12)
    return found


def _exactly(one: Floats, other: Floats) -> tuple[int, float] | None:
    """Rows in which both are filled, and Spearman's correlation there; None with too few rows, or one value only."""
    both = ~np.isnan(one) & ~np.isnan(other)
    left, right = rankdata(one[both]), rankdata(other[both])
    if len(left) < LEAST_ROWS or left.min() == left.max() or right.min() == right.max():
        return None
    return len(left), float(np.corrcoef(left, right)[0, 1])
