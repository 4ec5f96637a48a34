"""Many records of a PostgreSQL table in one statement: a round trip for each would take most of the time."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, TableClause, Text, Update, bindparam, cast, func, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import NullType


def can_update_at_once(key: ColumnElement[Any], cells: Sequence[ColumnElement[Any]]) -> bool:
    """Whether all types have a name that text can be cast to."""
    return not any(isinstance(cell.type, NullType) for cell in (key, *cells))


def update_at_once(
    table: TableClause,
    key: ColumnElement[Any],
    cells: Sequence[ColumnElement[Any]],
    rows: Sequence[Mapping[str, Any]],
) -> Update:
    """Return a statement that updates the records which still have their expected values.

    Parameters
    ----------
    table, key, cells
        The table, its key, and the columns to update.
    rows : sequence of mapping
        One per record: `leadsieve_key`, and `leadsieve_old_I` and `leadsieve_new_I` of column I.

    """
    arrays = {name: bindparam(f"{name}s", [_to_text(row[name]) for row in rows], ARRAY(Text)) for name in rows[0]}
    given = func.unnest(*arrays.values()).table_valued(*arrays, name="leadsieve_given").render_derived()
    olds = [cast(given.c[f"leadsieve_old_{i}"], cell.type) for i, cell in enumerate(cells)]
    news = {cell: cast(given.c[f"leadsieve_new_{i}"], cell.type) for i, cell in enumerate(cells)}
    return (
        update(table)
        .where(key == cast(given.c.leadsieve_key, key.type))
        .where(*(cell.is_not_distinct_from(old) for cell, old in zip(cells, olds, strict=True)))
        .values(news)
    )


def _to_text(value: Any) -> str | None:
    """Value as PostgreSQL reads it, to the bit."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, date):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else str(value)
