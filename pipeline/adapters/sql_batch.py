"""Many records of a PostgreSQL table in one statement, column by column.

Columns go there and come back as JSON lists, which both sides make and read far faster than rows.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    ColumnClause,
    Connection,
    DateTime,
    Float,
    Numeric,
    TableClause,
    TableValuedAlias,
    Text,
    bindparam,
    cast,
    func,
    select,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from pipeline.adapters.sql_types import to_key, to_plain, to_record_id, to_stored
from pipeline.adapters.target import FieldValues, Value

Cell = ColumnClause[Any]


class _Lists(FunctionElement[Any]):
    """JSON lists as a table, each a column of text."""

    name = "lists"
    inherit_cache = True


@compiles(_Lists)
def _compile_lists(lists: _Lists, compiler: SQLCompiler, **options: Any) -> str:
    texts = (compiler.process(one, **options) for one in lists.clauses)
    return f"ROWS FROM ({', '.join(f'json_array_elements_text(CAST({text} AS json))' for text in texts)})"


def read_at_once(
    connection: Connection, place: TableClause, key: Cell, ids: Sequence[str], cells: Sequence[Cell], lock: bool
) -> FieldValues:
    """Read columns of records; a record whose key is there twice is there twice.

    Parameters
    ----------
    connection : Connection
        A connection, in a transaction.
    place : TableClause
        The table.
    key : column
        The column of it that identifies its records.
    ids : sequence of str
        The records.
    cells : sequence of column
        What is read of them.
    lock : bool
        Whether the records are locked for the transaction.

    """
    there = place.alias("leadsieve_records")
    given = _give(k=[one for one in _keys(ids, key) if one is not None])
    columns = [there.c[cell.name].label(f"v{i}") for i, cell in enumerate([key, *cells])]
    query = select(*columns).select_from(given.join(there, there.c[key.name] == cast(given.c.k, key.type)))
    if lock:
        query = query.with_for_update(key_share=True, of=there)  # others may go on referring to these records
    found = query.subquery("leadsieve_found")
    texts = connection.execute(select(*(cast(func.json_agg(column), Text) for column in found.c))).one()
    keys, *values = (read_column(text, cell.type) for text, cell in zip(texts, [key, *cells], strict=True))
    names = [cell.name for cell in cells]
    return FieldValues([to_record_id(one) for one in keys], dict(zip(names, values, strict=True)))


def update_at_once(
    connection: Connection,
    place: TableClause,
    key: Cell,
    ids: Sequence[str],
    cells: Sequence[Cell],
    expected: Sequence[Sequence[Value]],
    values: Sequence[Sequence[Value]],
) -> None:
    """Update the records all of whose cells still have their expected values."""
    olds = {f"old_{i}": prepare_column(column, cells[i].type) for i, column in enumerate(expected)}
    news = {f"new_{i}": prepare_column(column, cells[i].type) for i, column in enumerate(values)}
    given = _give(k=_keys(ids, key), **olds, **news)
    same = [cell.is_not_distinct_from(cast(given.c[f"old_{i}"], cell.type)) for i, cell in enumerate(cells)]
    changes = {cell: cast(given.c[f"new_{i}"], cell.type) for i, cell in enumerate(cells)}
    connection.execute(update(place).where(key == cast(given.c.k, key.type), *same).values(changes))


def _give(**columns: Sequence[Any]) -> TableValuedAlias:
    """Rows of the columns that are sent along."""
    lists = _Lists(*(bindparam(f"its_{name}", to_json(values), Text) for name, values in columns.items()))
    return lists.table_valued(*columns, name="leadsieve_given").render_derived()


def _keys(ids: Sequence[str], key: Cell) -> list[Any]:
    """Keys of records, null for an id that no record can have."""
    return [to_key(one, key.type) for one in ids]


def can_take_columns(connection: Connection, cells: Sequence[Cell]) -> bool:
    """Whether a database reads JSON lists, and all types have a name that text can be cast to."""
    return connection.dialect.name == "postgresql" and not any(isinstance(cell.type, NullType) for cell in cells)


def to_json(values: Sequence[Any]) -> str:
    """JSON list of values.

    Examples
    --------
    >>> to_json([1, 0.5, "A", None, float("nan")])
    '[1,0.5,"A",null,"nan"]'

    """
    try:
        return _encode(values)
    except ValueError:  # JSON has no infinity
        return _encode([str(v) if isinstance(v, float) and v - v != 0 else v for v in values])


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str).encode


def prepare_column(values: Sequence[Value], kind: Any) -> Sequence[Any]:
    """Plain values as PostgreSQL reads them from text."""
    if not isinstance(kind, DateTime):
        return values
    stored = (to_stored(value, kind) for value in values)
    return [one.isoformat() if isinstance(one, date) else one for one in stored]


def read_column(text: str | None, kind: Any) -> list[Any]:
    """Plain values of a JSON list that PostgreSQL made of a column; none if there were no records."""
    if text is None:
        return []
    if isinstance(kind, Float | Numeric):
        numbers: list[Any] = json.loads(text, parse_int=float)
        return [float(one) if type(one) is str else one for one in numbers] if '"' in text else numbers
    values: list[Any] = json.loads(text)
    return [_to_time(one) for one in values] if isinstance(kind, DateTime) else values


def _to_time(text: str | None) -> Value:
    """Plain text of a time; as it is where only the database knows such a moment, infinity for instance."""
    try:
        return None if text is None else to_plain(datetime.fromisoformat(text))
    except ValueError:
        return text
