"""Many records of a PostgreSQL table in one statement, column by column.

Columns go there and come back as JSON lists, which both sides make and read far faster than rows.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    VARCHAR,
    ColumnClause,
    ColumnElement,
    Connection,
    DateTime,
    Double,
    Float,
    FromClause,
    Integer,
    Numeric,
    Select,
    String,
    TableClause,
    Text,
    and_,
    bindparam,
    cast,
    collate,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import CITEXT
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from pipeline.adapters.sql_types import LARGEST_INTEGER, to_key, to_plain, to_record_id, to_stored
from pipeline.adapters.target import FieldValues, Value

Cell = ColumnClause[Any]

SEPARATOR = "\x1f"
"""Stands between ids that are sent in one text."""


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
    """Read columns of records, in the order of the ids; a record whose key is there twice is there twice.

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
    # the database knows how long an array is, and so whether to look records up or to read the whole table
    listed = func.string_to_array(SEPARATOR.join(find_keys(ids, key)), SEPARATOR)
    given = func.unnest(listed).table_valued("k", with_ordinality="n", name="leadsieve_given").render_derived()
    columns = [there.c[cell.name].label(f"v{i}") for i, cell in enumerate(cells)]
    query = select(given.c.k, *columns).order_by(given.c.n)
    query = query.select_from(given.join(there, there.c[key.name] == cast(given.c.k, key.type)))
    if lock:
        query = query.with_for_update(key_share=True, of=there)  # others may go on referring to these records
    keys, *texts = connection.execute(_pack(query.subquery("leadsieve_found"))).one()
    values = (read_column(text, cell.type) for text, cell in zip(texts, cells, strict=True))
    return FieldValues(read_column(keys, Text()), dict(zip((cell.name for cell in cells), values, strict=True)))


def update_at_once(
    connection: Connection,
    place: TableClause,
    key: Cell,
    ids: Sequence[str],
    cells: Sequence[Cell],
    expected: Sequence[Sequence[Value]],
    values: Sequence[Sequence[Value]],
) -> bool:
    """Update the records all of whose cells still have their expected values.

    Every id must be one of `find_keys`. What an AFTER trigger does to a record is not seen here.

    Returns
    -------
    bool
        Whether every record was updated and now has exactly the values that were sent.

    """
    olds = {f"old_{i}": prepare_column(column, cells[i].type) for i, column in enumerate(expected)}
    news = {f"new_{i}": prepare_column(column, cells[i].type) for i, column in enumerate(values)}
    columns = {"k": ids, **olds, **news}
    # the database takes these lists for short, and so looks records up by their key
    lists = _Lists(*(bindparam(f"its_{name}", to_json(column), Text) for name, column in columns.items()))
    given = lists.table_valued(*columns, name="leadsieve_given").render_derived()
    same = [cell.is_not_distinct_from(cast(given.c[f"old_{i}"], cell.type)) for i, cell in enumerate(cells)]
    changes = {cell: cast(given.c[f"new_{i}"], cell.type) for i, cell in enumerate(cells)}
    statement = update(place).where(key == cast(given.c.k, key.type), *same).values(changes)
    if all(map(_compares_exactly, cells)):
        arrived = [_as_sent(cell).is_not_distinct_from(_as_sent(new)) for cell, new in changes.items()]
        found = statement.returning(and_(*arrived).label("arrived")).cte("leadsieve_found")
        return connection.scalar(select(func.count()).select_from(found).where(found.c.arrived)) == len(ids)
    stored = [cell.label(f"v{i}") for i, cell in enumerate(cells)]
    keys, *texts = connection.execute(_pack(statement.returning(given.c.k, *stored).cte("leadsieve_found"))).one()
    back = [read_column(text, cell.type) for text, cell in zip(texts, cells, strict=True)]
    sent = dict(zip(ids, zip(*values, strict=True), strict=True))
    return dict(zip(read_column(keys, Text()), zip(*back, strict=True), strict=True)) == sent


def _compares_exactly(cell: Cell) -> bool:
    """Whether the database tells apart what is not the same to the bit, once it compares texts byte by byte."""
    kind = cell.type
    return isinstance(kind, Integer | Double) or (isinstance(kind, Text | VARCHAR) and not isinstance(kind, CITEXT))


def _as_sent(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Text as bytes are compared, everything else as it is."""
    return collate(value, "C") if isinstance(value.type, String) else value


def _pack(rows: FromClause) -> Select[Any]:
    """Rows as one row of JSON lists."""
    lists: list[Any] = [cast(func.json_agg(column), Text) for column in rows.c]
    return select(*lists)


_IS_PLAIN = text(
    "SELECT c.relkind = 'r' AND NOT c.relhasrules AND NOT c.relhassubclass AND NOT EXISTS ("
    "SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgtype & 18 = 16"  # AFTER UPDATE
    ") FROM pg_class c WHERE c.oid = CAST(:name AS regclass)"
)


def may_change_later(connection: Connection, place: TableClause) -> bool:
    """Whether something of the database may change a record after it was updated, an AFTER trigger for instance."""
    name = connection.dialect.identifier_preparer.format_table(place)
    return not connection.scalar(_IS_PLAIN, {"name": name})


def find_keys(ids: Sequence[str], key: Cell) -> Sequence[str]:
    """Return those ids that a key of this type can have, such as 7 and not 007 for a number."""
    together = "".join(ids)
    if isinstance(key.type, String) and SEPARATOR not in together:
        return ids
    if isinstance(key.type, Integer) and together.isascii() and together.isdecimal():
        starts = f"{SEPARATOR}{SEPARATOR.join(ids)}{SEPARATOR}"
        if (
            f"{SEPARATOR}0" not in starts
            and 2 * SEPARATOR not in starts
            and max(map(len, ids)) < len(str(LARGEST_INTEGER))
        ):
            return ids
    keys = ((one, to_key(one, key.type)) for one in ids if SEPARATOR not in one)
    return [one for one, found in keys if found is not None and to_record_id(found) == one]


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
