"""The columns that matter beside each other: what candidates look at where there are very many.

With a few thousand rows, hundreds of columns cost every kind of model more than the weakest of them bring.
A column that is strong by itself may say what others say already, so columns are ranked in one model of all.
"""

import hashlib
import threading

import numpy as np

from models.curves import make_design
from models.encoding import CodedRows
from models.ridge import fit_ridge_path

PENALTY = 300.0
REMEMBERED = 32
"""Rows whose ranking is kept: candidates that learn from the same rows ask one after the other."""


def affordable(rows: CodedRows, least: int, rows_per_square: float) -> int:
    """How many columns that many rows can bear: `sqrt(rows) / rows_per_square`, and at least `least`."""
    return max(least, int(np.sqrt(len(rows)) / rows_per_square))


def strongest_columns(rows: CodedRows, limit: int) -> CodedRows:
    """Keep at most `limit` columns: those whose term varies most in a heavily shrunk straight-line model of all.

    The columns stay in the contract's order. Only the rows given are looked at, so a fold screens for itself.
    """
    if len(rows.contract) <= limit:
        return rows
    return rows.only(_RANKINGS.of(rows)[:limit])


def rank_columns(rows: CodedRows) -> list[str]:
    """Names of the columns that vary, those whose term varies most first."""
    design = make_design(rows, ramps=0)
    matrix = design.matrix(rows)
    coefficients = fit_ridge_path(matrix, rows.label, [PENALTY])[0][1:]
    ends = np.cumsum([basis.table.shape[1] for basis in design.bases])
    starts = np.append(0, ends[:-1])
    spread = {
        basis.name: float(np.std(matrix[:, start:end] @ coefficients[start:end]))
        for basis, start, end in zip(design.bases, starts, ends, strict=True)
    }
    return sorted(spread, key=lambda name: -spread[name])


class _Rankings:
    """Rankings of rows that were asked for before, found again by what the rows hold."""

    def __init__(self) -> None:
        self._found: dict[bytes, list[str]] = {}
        self._lock = threading.Lock()

    def of(self, rows: CodedRows) -> list[str]:
        """Rank the columns of rows; the same rows are ranked once."""
        key = _digest(rows)
        found = self._found.get(key)
        if found is None:
            found = rank_columns(rows)
            with self._lock:
                while len(self._found) >= REMEMBERED:
                    self._found.pop(next(iter(self._found)))
                self._found[key] = found
        return found


_RANKINGS = _Rankings()


def _digest(rows: CodedRows) -> bytes:
    """Hash of labels, and of names, kinds and values of the columns."""
    digest = hashlib.sha256(np.ascontiguousarray(rows.label).data)
    for entry in rows.contract:
        digest.update(f"{entry['name']}\0{entry['kind']}\0{len(entry.get('categories', ()))}\0".encode())
        digest.update(np.ascontiguousarray(rows.columns[entry["name"]]).data)
    return digest.digest()
