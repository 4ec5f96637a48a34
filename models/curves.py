"""Columns as curves: the basis on which linear candidates learn one curve per column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from models.encoding import CodedRows
from models.predict import MISSING, UNSEEN

Floats = NDArray[np.float64]

KNOT_SHARES = np.array(
    [0, 0.001, 0.005, 0.01, 0.02, *np.arange(0.05, 0.951, 0.05), 0.98, 0.99, 0.995, 0.999, 1], dtype=np.float64
)
RAMPS = 8
MIN_LEVEL_ROWS = 5
MAX_LEVELS = 100


@dataclass(frozen=True)
class ColumnBasis:
    """Basis of one column as a table: a row per place on the column, a column per coefficient.

    Places are the knots of a number (values in between are interpolated, values beyond are held)
    or the categories of a text column; the last two rows stand for unseen and for missing.
    """

    name: str
    knots: Floats | None
    table: Floats

    def matrix(self, column: NDArray[Any]) -> Floats:
        """Return the basis at each row."""
        if self.knots is None:
            return np.asarray(self.table[column])
        missing = np.isnan(column)
        inside = np.clip(np.where(missing, self.knots[0], column), self.knots[0], self.knots[-1])
        left = np.searchsorted(self.knots[1:-1], inside, side="right")
        right_share = (inside - self.knots[left]) / np.diff(self.knots)[left]
        shares = np.column_stack([1.0 - right_share, right_share]).ravel()
        places, ends = np.column_stack([left, left + 1]).ravel(), np.arange(0, 2 * len(column) + 1, 2)
        # Two places a row: as a sparse product this is several times faster than picking rows of the table twice.
        basis = np.asarray(csr_array((shares, places, ends), shape=(len(column), len(self.table))) @ self.table)
        basis[missing] = self.table[MISSING]
        return basis

    def term(self, coefficients: Floats) -> dict[str, Any]:
        """Return the fitted curve as a bundle stores it."""
        values = (self.table @ coefficients).tolist()
        ends = {"missing": values[MISSING], "values": values[:UNSEEN]}
        if self.knots is None:
            return {"column": self.name, "kind": "text", "unseen": values[UNSEEN], **ends}
        return {"column": self.name, "kind": "number", "knots": self.knots.tolist(), **ends}


def _number_basis(name: str, column: Floats, ramps: int) -> ColumnBasis | None:
    """Signed logarithm, `ramps` ramps of equal count and a missing indicator, all centred."""
    known = column[np.isfinite(column)]
    ordered = np.sort(known)
    knots = np.unique(np.quantile(ordered, KNOT_SHARES)) if len(known) else known
    missing_share = 1.0 - len(known) / len(column)
    if len(knots) < 2 and not 0 < missing_share < 1:
        return None
    if len(knots) < 2:
        knots = np.array([knots[0], knots[0] + 1.0])
    nonzero = np.abs(known[known != 0])
    rank = (np.searchsorted(ordered, knots, "left") + np.searchsorted(ordered, knots, "right")) / (2.0 * len(known))
    edges = np.linspace(0.0, 1.0, ramps + 1)
    bases = [np.sign(knots) * np.log1p(np.abs(knots) / np.median(nonzero))] if len(nonzero) else []
    if ramps:
        bases += [np.clip((rank - low) * ramps, 0.0, 1.0) for low in edges[:-1]]
    table = np.zeros((len(knots) + 2, len(bases)))
    table[: len(knots)] = np.column_stack(bases) if bases else 0.0
    spread = ColumnBasis(name, knots, table).matrix(known)
    table[: len(knots)] -= spread.mean(axis=0)
    if len(nonzero):
        table[: len(knots), 0] /= max(float(spread[:, 0].std()), 1e-9)
    table = table[:, np.ptp(table[: len(knots)], axis=0) > 1e-9]
    if 0 < missing_share < 1:
        indicator = np.full(len(table), -missing_share)
        indicator[MISSING] += 1.0
        table = np.column_stack([table, indicator])
    return ColumnBasis(name, knots, table)


def _text_basis(name: str, codes: NDArray[Any], categories: int) -> ColumnBasis | None:
    """One centred indicator per level with enough rows; the rest, and the unseen, share one."""
    places = np.where(codes == MISSING, categories + 1, np.where(codes == UNSEEN, categories, codes))
    counts = np.bincount(places, minlength=categories + 2)
    own = np.flatnonzero(counts >= MIN_LEVEL_ROWS)
    own = np.sort(own[np.argsort(-counts[own], kind="stable")][:MAX_LEVELS])
    pooled = np.ones(categories + 2, dtype=bool)
    pooled[own] = False
    table = np.zeros((categories + 2, len(own) + 1))
    table[own, np.arange(len(own))] = 1.0
    table[pooled, -1] = 1.0
    share = counts @ table / len(codes)
    table = (table - share)[:, (share > 0) & (share < 1)]
    return ColumnBasis(name, None, table) if table.shape[1] else None


@dataclass(frozen=True)
class Design:
    """Bases of all columns side by side, in the order of the contract."""

    bases: tuple[ColumnBasis, ...]

    def matrix(self, rows: CodedRows) -> Floats:
        """Return the design matrix of rows."""
        if not self.bases:
            return np.zeros((len(rows), 0))
        ends = np.cumsum([basis.table.shape[1] for basis in self.bases])
        matrix = np.empty((len(rows), ends[-1]), order="F")  # columns are filled, and later multiplied, one by one
        for basis, end in zip(self.bases, ends, strict=True):
            matrix[:, end - basis.table.shape[1] : end] = basis.matrix(rows.columns[basis.name])
        return matrix

    def terms(self, coefficients: Floats) -> list[dict[str, Any]]:
        """Return fitted curves as a bundle stores them."""
        ends = np.cumsum([basis.table.shape[1] for basis in self.bases])[:-1]
        parts = np.split(coefficients, ends)
        return [basis.term(part) for basis, part in zip(self.bases, parts, strict=True)] if self.bases else []


def make_design(rows: CodedRows, ramps: int = RAMPS, names: Sequence[str] | None = None) -> Design:
    """Make the bases of rows to fit on; columns that never vary get none."""
    bases: list[ColumnBasis | None] = []
    for entry in rows.contract:
        if names is None or entry["name"] in names:
            bases.append(_column_basis(entry, rows.columns[entry["name"]], ramps))
    return Design(tuple(basis for basis in bases if basis is not None))


def _column_basis(entry: Mapping[str, Any], column: NDArray[Any], ramps: int) -> ColumnBasis | None:
    if entry["kind"] == "text":
        return _text_basis(entry["name"], column, len(entry["categories"]))
    return _number_basis(entry["name"], column, ramps)
