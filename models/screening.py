"""The columns that matter beside each other: what candidates look at where there are very many.

With a few thousand rows, hundreds of columns cost every kind of model more than the weakest of them bring.
A column that is strong by itself may say what others say already, so columns are ranked in one model of all.
"""

import numpy as np

from models.curves import make_design
from models.encoding import CodedRows
from models.ridge import fit_ridge_path

PENALTIES = (1000.0, 300.0)


def affordable(rows: CodedRows, least: int, rows_per_square: float) -> int:
    """How many columns that many rows can bear: `sqrt(rows) / rows_per_square`, and at least `least`."""
    return max(least, int(np.sqrt(len(rows)) / rows_per_square))


def strongest_columns(rows: CodedRows, limit: int) -> CodedRows:
    """Keep at most `limit` columns: those whose term varies most in a heavily shrunk straight-line model of all.

    The columns stay in the contract's order. Only the rows given are looked at, so a fold screens for itself.
    """
    if len(rows.contract) <= limit:
        return rows
    design = make_design(rows, ramps=0)
    matrix = design.matrix(rows)
    coefficients = fit_ridge_path(matrix, rows.label, PENALTIES)[-1][1:]
    ends = np.cumsum([basis.table.shape[1] for basis in design.bases])
    starts = np.append(0, ends[:-1])
    spread = {
        basis.name: float(np.std(matrix[:, start:end] @ coefficients[start:end]))
        for basis, start, end in zip(design.bases, starts, ends, strict=True)
    }
    ranked = sorted(spread, key=lambda name: -spread[name])[:limit]
    return rows.only(ranked)
