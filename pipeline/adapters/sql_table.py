"""One table of a CRM database, within a transaction: read records, write a batch, read it back."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    REAL,
    BindParameter,
    ColumnElement,
    Connection,
    TableClause,
    bindparam,
    cast,
    column,
    delete,
    insert,
    select,
    table,
    update,
)
from sqlalchemy.types import TypeEngine

from pipeline.adapters.sql_batch import can_take_columns, find_keys, may_change_later, read_at_once, update_at_once
from pipeline.adapters.sql_types import make_bindable, to_key, to_plain, to_record_id, to_stored
from pipeline.adapters.target import FieldValues, RecordResult, Status, Value, WriteBatch
from pipeline.database import execute_many
from pipeline.errors import ConfigError

READ_ROWS = 1000
"""Records per SELECT."""

Row = tuple[Value, ...]
Records = dict[str, Row]
"""Record to its values, in the order of the fields."""


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
    connection : Connection
        A connection to the database, in a transaction.

    """

    def __init__(
        self, key: str, place: TableClause, types: Mapping[str, TypeEngine[Any]], connection: Connection
    ) -> None:
        is_sqlite = connection.dialect.name == "sqlite"
        self._connection = connection
        self._name = place.fullname
        self._to_plain: Callable[[Any], Value] | None = None if is_sqlite else to_plain
        columns = [column(name, make_bindable(declared, is_sqlite)) for name, declared in types.items()]
        self._table = table(place.name, *columns, schema=place.schema)
        self._key = self._table.c[key]

    def read(self, ids: Sequence[str], fields: Sequence[str], lock: bool = False) -> FieldValues:
        """Read fields of records, and lock them for the transaction where the database locks records.

        Raises
        ------
        ConfigError
            If two records have the same key.

        """
        ids = list(dict.fromkeys(ids))
        cells = [self._table.c[name] for name in fields]
        if self._takes_columns(fields):
            found = read_at_once(self._connection, self._table, self._key, ids, cells, lock)
        else:
            found = self._read_rows(ids, fields, lock)
        if len(set(found.ids)) < len(found.ids):
            seen: set[str] = set()
            twice = next(one for one in found.ids if one in seen or seen.add(one))  # type: ignore[func-returns-value]
            raise ConfigError(
                f"write_back: column '{self._key.name}' of table '{self._name}' is not a key: '{twice}' is "
                "there more than once. Name a column whose values are unique."
            )
        return found

    def write_at_once(self, batch: WriteBatch) -> bool:
        """Update a batch in one statement, and say whether every record was then read back with its values.

        If not, the transaction must be rolled back: it does not tell which record was changed by whom.
        """
        if batch.action != "update" or not self._takes_columns(batch.fields):
            return False
        if find_keys(batch.ids, self._key) != batch.ids:
            return False
        place, cells = (self._connection, self._table, self._key), [self._table.c[name] for name in batch.fields]
        if not update_at_once(*place, batch.ids, cells, batch.expected, batch.values):
            return False
        if not may_change_later(*place[:2]):
            return True
        found = read_at_once(*place, batch.ids, cells, lock=False)
        return len(found.ids) == len(batch.ids) and to_records(found) == _to_rows(batch, batch.values)

    def write(self, batch: WriteBatch) -> list[RecordResult]:
        """Write a batch within the transaction, and read it back; its records are locked first.

        A record that the database changed while storing it is put back and rejected.
        """
        before = to_records(self.read(batch.ids, batch.fields, lock=True))
        wanted, expected = (_to_rows(batch, columns) for columns in (batch.values, batch.expected))
        same = [one for one in batch.ids if one in before and before[one] == expected[one]]
        changed: set[str] = set()
        if batch.action == "insert":
            changed.update(one for one in batch.ids if one not in before)
            self._insert(batch.fields, {one: wanted[one] for one in batch.ids if one in changed})
        elif batch.action == "delete":
            self._delete(batch.fields, {one: expected[one] for one in same})
        else:
            changed.update(one for one in same if before[one] != wanted[one])
            self._update(batch.fields, [one for one in same if one in changed], expected, wanted)
        after = to_records(self.read(batch.ids, batch.fields))
        results = [
            _judge(batch.action == "delete", one, one in changed, expected[one], wanted[one], after.get(one))
            for one in batch.ids
        ]
        altered = [result.record_id for result in results if result.status == "rejected"]
        self._update_rows(batch.fields, altered, after, expected)
        return results

    def _takes_columns(self, fields: Sequence[str]) -> bool:
        return can_take_columns(self._connection, [self._key, *(self._table.c[name] for name in fields)])

    def _read_rows(self, ids: Sequence[str], fields: Sequence[str], lock: bool) -> FieldValues:
        """Read records row by row."""
        keys = [key for key in (to_key(one, self._key.type) for one in ids) if key is not None]
        query = select(self._key, *(self._table.c[name] for name in fields))
        query = query.where(self._key.in_(bindparam("leadsieve_keys", expanding=True)))
        if lock:
            query = query.with_for_update(key_share=True)  # others may go on referring to these records
        rows: list[Any] = []
        for start in range(0, len(keys), READ_ROWS):
            rows += self._connection.execute(query, {"leadsieve_keys": keys[start : start + READ_ROWS]})
        found, *columns = zip(*rows, strict=True) if rows else [()] * (len(fields) + 1)
        plain = [list(map(self._to_plain, values)) if self._to_plain else list(values) for values in columns]
        return FieldValues([to_record_id(key) for key in found], dict(zip(fields, plain, strict=True)))

    def _update(
        self, fields: Sequence[str], ids: Sequence[str], expected: Mapping[str, Row], wanted: Mapping[str, Row]
    ) -> None:
        """Update records, all of whose fields still have their expected values."""
        if not ids or not self._takes_columns(fields):
            self._update_rows(fields, ids, expected, wanted)
            return
        olds, news = (list(zip(*(rows[one] for one in ids), strict=True)) for rows in (expected, wanted))
        cells = [self._table.c[name] for name in fields]
        update_at_once(self._connection, self._table, self._key, ids, cells, olds, news)

    def _update_rows(
        self, fields: Sequence[str], ids: Iterable[str], expected: Mapping[str, Row], wanted: Mapping[str, Row]
    ) -> None:
        """Update records row by row."""
        cells = [self._table.c[name] for name in fields]
        news = {cell: bindparam(f"leadsieve_new_{i}", type_=cell.type) for i, cell in enumerate(cells)}
        rows = [
            {**self._as_found(one, fields, expected[one]), **self._bind("leadsieve_new", fields, wanted[one])}
            for one in ids
        ]
        statement = update(self._table).where(*self._is_as_expected(fields)).values(news)
        execute_many(self._connection, statement, rows)

    def _insert(self, fields: Sequence[str], wanted: Mapping[str, Row]) -> None:
        """Add records with all of their fields."""
        cells = [self._table.c[name] for name in fields]
        binds = {cell: bindparam(f"leadsieve_new_{i}", type_=cell.type) for i, cell in enumerate(cells)}
        key = bindparam("leadsieve_key", type_=self._key.type)
        rows = [
            {"leadsieve_key": to_key(one, self._key.type), **self._bind("leadsieve_new", fields, row)}
            for one, row in wanted.items()
        ]
        execute_many(self._connection, insert(self._table).values({self._key: key, **binds}), rows)

    def _delete(self, fields: Sequence[str], expected: Mapping[str, Row]) -> None:
        """Remove records all of whose fields still have their expected values."""
        rows = [self._as_found(one, fields, row) for one, row in expected.items()]
        execute_many(self._connection, delete(self._table).where(*self._is_as_expected(fields)), rows)

    def _is_as_expected(self, fields: Sequence[str]) -> list[ColumnElement[bool]]:
        """Conditions that find the record of one row of parameters if its fields have their expected values."""
        cells = [self._table.c[name] for name in fields]
        olds = [bindparam(f"leadsieve_old_{i}", type_=cell.type) for i, cell in enumerate(cells)]
        same = [cell.is_not_distinct_from(_as_stored(old)) for cell, old in zip(cells, olds, strict=True)]
        return [self._key == bindparam("leadsieve_key", type_=self._key.type), *same]

    def _as_found(self, record_id: str, fields: Sequence[str], expected: Row) -> dict[str, Any]:
        """Parameters of `_is_as_expected` for one record."""
        return {"leadsieve_key": to_key(record_id, self._key.type), **self._bind("leadsieve_old", fields, expected)}

    def _bind(self, prefix: str, fields: Sequence[str], row: Row) -> dict[str, Any]:
        """Parameters for the values of one record."""
        pairs = enumerate(zip(fields, row, strict=True))
        return {f"{prefix}_{i}": to_stored(value, self._table.c[name].type) for i, (name, value) in pairs}


def to_records(found: FieldValues) -> Records:
    """Values by record."""
    return dict(zip(found.ids, zip(*found.columns.values(), strict=True), strict=True))


def _to_rows(batch: WriteBatch, columns: Sequence[Sequence[Value]]) -> Records:
    """Rows of a batch, by record."""
    return dict(zip(batch.ids, zip(*columns, strict=True), strict=True))


def _as_stored(old: BindParameter[Any]) -> ColumnElement[Any]:
    """Return an old value with the digits of its column: a REAL holds no 0.7, only what is nearest to it."""
    return cast(old, old.type) if isinstance(old.type, REAL) else old


def _judge(
    is_delete: bool, record_id: str, was_changed: bool, expected: Row, wanted: Row, found: Row | None
) -> RecordResult:
    """Tell what became of a record from what it has now."""
    status, message = _compare(is_delete, was_changed, expected, wanted, found)
    return RecordResult(record_id, status, message)


def _compare(
    is_delete: bool, was_changed: bool, expected: Row, wanted: Row, found: Row | None
) -> tuple[Status, str | None]:
    """Status and message of a record."""
    if is_delete:
        return ("done", None) if found is None else ("conflict", "the record was changed, so it was not removed")
    if found is None:
        return "missing", "the record does not exist"
    if found == wanted:
        return "done", None
    if was_changed:
        altered = next(values for values in zip(found, wanted, strict=True) if values[0] != values[1])
        return "rejected", f"the database stores {altered[0]!r} in place of {altered[1]!r}"
    other = next((values for values in zip(expected, found, strict=True) if values[0] != values[1]), (None, found))
    return "conflict", f"expected {other[0]!r}, found {other[1]!r}"
