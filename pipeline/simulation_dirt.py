"""Clerical errors in simulated tables: other cases, blanks, typos, missing values, swapped fields.

Dirt is in what people type and nobody needs: never in an id, a time, an amount, an outcome or a
tracked field, so no row becomes unreadable by it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.simulation_text import add_blank, change_case, misspell
from pipeline.simulation_world import Flags

_LABEL = ("case", "blank", "missing")

DIRT: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "customers": {
            "name": ("case", "blank", "typo"),
            "domain": ("case", "typo", "missing"),
            "tax_number": ("blank", "missing"),
            "industry": _LABEL,
            "region": _LABEL,
            "source": _LABEL,
            "founded_on": ("missing",),
        },
        "contacts": {"title": ("case", "blank", "typo", "missing"), "seniority": _LABEL},
        "deals": {"source": _LABEL, "product": _LABEL, "lost_reason": _LABEL},
        "activities": {"contact_id": ("missing",), "duration_s": ("missing",), "author": ("missing",)},
        "orders": {"product": _LABEL, "cost": ("missing",)},
        "tickets": {"kind": _LABEL, "severity": _LABEL},
        "assessments": {"author": ("missing",)},
    }
)
"""What can go wrong in which column; of a value that is soiled, one of them, each as likely."""

SWAPPED: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {"customers": (("name", "domain"), ("industry", "region")), "contacts": (("title", "seniority"),)}
)
"""Fields that stand in each other's place in some rows."""

_WRITE: Mapping[str, Callable[[np.random.Generator, str], str]] = MappingProxyType(
    {"case": change_case, "blank": add_blank, "typo": misspell}
)


def soil(rng: np.random.Generator, name: str, table: pa.Table, rate: float) -> pa.Table:
    """Soil a share of the values of a table.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    name : str
        Name of the table; one that is not in `DIRT` stays clean.
    table : pyarrow.Table
        The clean table.
    rate : float
        Share of the filled values of each column in `DIRT` that are soiled, and share of the rows
        in which each pair in `SWAPPED` is swapped, in [0, 1].

    """
    for column, kinds in DIRT.get(name, {}).items():
        place = table.column_names.index(column)
        table = table.set_column(place, column, _soil_column(rng, table[column].combine_chunks(), kinds, rate))
    for first, second in SWAPPED.get(name, ()):
        mask = pa.array(rng.random(table.num_rows) < rate)
        one, other = table[first], table[second]
        for column, ours, theirs in ((first, one, other), (second, other, one)):
            place = table.column_names.index(column)
            table = table.set_column(place, column, pc.if_else(mask, theirs, ours))
    return table


def _soil_column(rng: np.random.Generator, column: pa.Array, kinds: tuple[str, ...], rate: float) -> pa.Array:
    """Soil a share of the filled values of a column."""
    is_filled: Flags = column.is_valid().to_numpy(zero_copy_only=False)
    mask = (rng.random(len(column)) < rate) & is_filled
    rows = np.flatnonzero(mask)
    which = rng.integers(len(kinds), size=len(rows))
    if kinds == ("missing",):
        return pc.if_else(pa.array(mask), pa.scalar(None, column.type), column)
    texts = column.take(pa.array(rows)).to_pylist()
    soiled = [_write(rng, kinds[code], text) for code, text in zip(which, texts, strict=True)]
    return pc.replace_with_mask(column, pa.array(mask), pa.array(soiled, column.type))


def _write(rng: np.random.Generator, kind: str, text: str) -> str | None:
    return None if kind == "missing" else _WRITE[kind](rng, text)
