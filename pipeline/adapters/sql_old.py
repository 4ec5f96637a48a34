"""One table of a CRM database, value by value, until the core writes in batches."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import (
    REAL,
    BindParameter,
    ColumnElement,
    Connection,
    TableClause,
    Text,
    Update,
    bindparam,
    cast,
    column,
    delete,
    func,
    insert,
    select,
    table,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import NullType, TypeEngine

from pipeline.adapters.sql_types import make_bindable, to_key, to_plain, to_record_id, to_stored
from pipeline.adapters.target import FieldWrite, Status, Value, WriteResult
from pipeline.database import execute_many
from pipeline.errors import ConfigError

READ_ROWS = 1000
"""Records per SELECT."""

Records = dict[str, dict[str, Value]]


class SqlTable:
    """A table and the columns of it that are read or written.

    Parameters
    ----------
    key : str
        Column that identifies its records.
    place : TableClause
        Name and schema of the table.
    types : mapping of str to type
        Declared type of every column.
    is_sqlite : bool
        Whether values are stored without types.

    """

    def __init__(self, key: str, place: TableClause, types: Mapping[str, TypeEngine[Any]], is_sqlite: bool) -> None:
        self._name = place.fullname
        self._to_plain: Callable[[Any], Value] | None = None if is_sqlite else to_plain
        columns = [column(name, make_bindable(declared, is_sqlite)) for name, declared in types.items()]
        self._table = table(place.name, *columns, schema=place.schema)
        self._key = self._table.c[key]

    def read(self, connection: Connection, ids: Iterable[str], fields: Sequence[str], lock: bool = False) -> Records:
        """Read fields of records, and lock them for the transaction where the database locks records.

        Raises
        ------
        ConfigError
            If two records have the same key.

        """
        keys = [key for key in (to_key(one, self._key.type) for one in dict.fromkeys(ids)) if key is not None]
        columns = [self._table.c[name] for name in fields]
        wanted = self._key.in_(bindparam("leadsieve_keys", expanding=True))
        query = select(self._key, *columns).where(wanted)
        if lock:
            query = query.with_for_update(key_share=True)  # others may go on referring to these records
        found: Records = {}
        for start in range(0, len(keys), READ_ROWS):
            for key, *values in connection.execute(query, {"leadsieve_keys": keys[start : start + READ_ROWS]}):
                record_id = to_record_id(key)
                if record_id in found:
                    raise ConfigError(
                        f"write_back: column '{self._key.name}' of table '{self._name}' is not a key: '{record_id}' is "
                        "there more than once. Name a column whose values are unique."
                    )
                plain = map(self._to_plain, values) if self._to_plain else values
                found[record_id] = dict(zip(fields, plain, strict=True))
        return found

    def write(self, connection: Connection, writes: Sequence[FieldWrite]) -> list[WriteResult]:
        """Write a batch within the transaction of a connection, and read it back.

        A value that the database changed while storing it is put back and rejected.
        """
        fields = list(dict.fromkeys(write.field for write in writes))
        ids = list(dict.fromkeys(write.record_id for write in writes))
        before = self.read(connection, ids, fields, lock=True)
        self._insert(connection, [w for w in writes if w.action == "insert" and w.record_id not in before])
        self._delete(connection, [w for w in writes if w.action == "delete" and w.record_id in before])
        changes = [
            w
            for w in writes
            if w.action != "delete" and w.record_id in before and before[w.record_id][w.field] == w.expected_old
        ]
        self._update(connection, changes)
        after = self.read(connection, ids, fields)
        results = [_judge(write, before.get(write.record_id), after.get(write.record_id)) for write in writes]
        altered = [w for w, result in zip(writes, results, strict=True) if result.status == "rejected"]
        self._put_back(connection, altered)
        return results

    def _update(self, connection: Connection, writes: Sequence[FieldWrite]) -> None:
        """Update the fields of each record, all of which still have their expected values."""
        for fields, records in _group_records(writes).items():
            cells = [self._table.c[field] for field in fields]
            news = {cell: bindparam(f"leadsieve_new_{i}", type_=cell.type) for i, cell in enumerate(cells)}
            rows = [
                {
                    **self._expected(record),
                    **{f"leadsieve_new_{i}": to_stored(w.new, cells[i].type) for i, w in enumerate(record)},
                }
                for record in records
            ]
            if connection.dialect.name == "postgresql" and can_update_at_once(self._key, cells):
                connection.execute(update_at_once(self._table, self._key, cells, rows))
            else:
                execute_many(connection, update(self._table).where(*self._is_as_expected(fields)).values(news), rows)

    def _put_back(self, connection: Connection, writes: Sequence[FieldWrite]) -> None:
        """Give fields the values they had before this transaction."""
        for write in writes:
            cell = self._table.c[write.field]
            key = to_key(write.record_id, self._key.type)
            old = to_stored(write.expected_old, cell.type)
            connection.execute(update(self._table).where(self._key == key).values({cell: old}))

    def _insert(self, connection: Connection, writes: Sequence[FieldWrite]) -> None:
        """Add records with all of their fields."""
        for fields, records in _group_records(writes).items():
            cells = [self._key, *(self._table.c[field] for field in fields)]
            binds = {cell: bindparam(f"leadsieve_{i}", type_=cell.type) for i, cell in enumerate(cells)}
            rows = []
            for record in records:
                values = [to_stored(w.new, self._table.c[w.field].type) for w in record]
                row = [to_key(record[0].record_id, self._key.type), *values]
                rows.append({f"leadsieve_{i}": value for i, value in enumerate(row)})
            execute_many(connection, insert(self._table).values(binds), rows)

    def _delete(self, connection: Connection, writes: Sequence[FieldWrite]) -> None:
        """Remove records all of whose fields still have their expected values."""
        for fields, records in _group_records(writes).items():
            rows = [self._expected(record) for record in records]
            execute_many(connection, delete(self._table).where(*self._is_as_expected(fields)), rows)

    def _is_as_expected(self, fields: Sequence[str]) -> list[ColumnElement[bool]]:
        """Conditions that find the record of one row of parameters if its fields have their expected values."""
        cells = [self._table.c[field] for field in fields]
        olds = [bindparam(f"leadsieve_old_{i}", type_=cell.type) for i, cell in enumerate(cells)]
        same = [cell.is_not_distinct_from(_as_stored(old)) for cell, old in zip(cells, olds, strict=True)]
        return [self._key == bindparam("leadsieve_key", type_=self._key.type), *same]

    def _expected(self, record: Sequence[FieldWrite]) -> dict[str, Any]:
        """Parameters of `_is_as_expected` for one record."""
        types = [self._table.c[write.field].type for write in record]
        olds = {f"leadsieve_old_{i}": to_stored(w.expected_old, types[i]) for i, w in enumerate(record)}
        return {"leadsieve_key": to_key(record[0].record_id, self._key.type), **olds}


def _as_stored(old: BindParameter[Any]) -> ColumnElement[Any]:
    """Return an old value with the digits of its column: a REAL holds no 0.7, only what is nearest to it."""
    return cast(old, old.type) if isinstance(old.type, REAL) else old


def _judge(write: FieldWrite, before: Mapping[str, Value] | None, after: Mapping[str, Value] | None) -> WriteResult:
    """Tell what became of a write from its record before and after."""
    status, message = _compare(write, before, after)
    return WriteResult(write.record_id, write.field, status, message)


def _compare(
    write: FieldWrite, before: Mapping[str, Value] | None, after: Mapping[str, Value] | None
) -> tuple[Status, str | None]:
    """Status and message of a write."""
    if write.action == "delete":
        return ("done", None) if after is None else ("conflict", "the record was changed, so it was not removed")
    if after is None:
        return "missing", "the record does not exist"
    found = after[write.field]
    if found == write.new:
        return "done", None
    had = None if before is None else before[write.field]
    if had == write.expected_old:
        return "rejected", f"the database stores {found!r} in place of {write.new!r}"
    return "conflict", f"expected {write.expected_old!r}, found {found!r}"


def _group(writes: Iterable[FieldWrite], by: Callable[[FieldWrite], str]) -> dict[str, list[FieldWrite]]:
    """Writes by something, in the order in which they come."""
    groups: dict[str, list[FieldWrite]] = {}
    for write in writes:
        groups.setdefault(by(write), []).append(write)
    return groups


def _group_records(writes: Collection[FieldWrite]) -> dict[tuple[str, ...], list[list[FieldWrite]]]:
    """Writes of each record together, by the fields that are written."""
    groups: dict[tuple[str, ...], list[list[FieldWrite]]] = {}
    for record in _group(writes, lambda write: write.record_id).values():
        groups.setdefault(tuple(write.field for write in record), []).append(record)
    return groups


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
