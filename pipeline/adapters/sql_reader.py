"""A database as SQLAlchemy reads it: one connection, results in Arrow batches."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

import pyarrow as pa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from pipeline.adapters.protocol import BATCH_ROWS
from pipeline.database import describe_error, describe_place
from pipeline.errors import ConfigError, CrmError

_CLOCKS = {
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "mariadb": "SELECT UTC_TIMESTAMP(6)",
    "mssql": "SELECT SYSUTCDATETIME()",
}
_SNAPSHOT = ("postgresql", "mysql", "mariadb")
_MARK = "leadsieve_since_"
_MARKERS = {"qmark": "?", "format": "%s", "pyformat": "%(since)s", "named": ":since", "numeric": ":1"}
_WRONG_SELECT = ("no such", "syntax error", "ambiguous", "misuse", "wrong number of arguments", "unrecognized token")
_ARROW: dict[type, Callable[[], pa.DataType | None]] = {
    str: pa.string,
    int: pa.int64,
    float: pa.float64,
    bool: pa.bool_,
    bytes: pa.binary,
    date: pa.date32,
    datetime: lambda: None,  # with or without time zone, as the values are
    Decimal: lambda: None,  # as many digits as the values have
}
"""Types of Python values that a column can be made of; naming the type spares Arrow a slow look at every value."""


class SqlReader(Protocol):
    """One connection to a database, in one transaction that only reads.

    Its methods raise `ConfigError` when a SELECT is wrong and `CrmError` when the database does not answer;
    `place` is the key of the config that a SELECT comes from.
    """

    clock_at_start: str
    """A SELECT of the moment (UTC) up to which what is read is complete."""

    clock: str
    """A SELECT of the database's time now (UTC)."""

    since: str
    """What stands in a query for the moment that `batches` is given."""

    since_day: str
    """What stands there for the beginning of its day, which a column of days is compared with."""

    def scalar(self, place: str, select: str) -> Any:
        """Return the first value of a SELECT."""
        ...

    def batches(self, place: str, query: str, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the result of a query; at least one batch."""
        ...

    def close(self) -> None:
        """End the transaction and close the connection."""
        ...


class AlchemyReader:
    """Reads through SQLAlchemy; one snapshot for all tables where the database has such a thing.

    Parameters
    ----------
    engine : Engine
        The database; closed with the reader.

    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._backend = engine.url.get_backend_name()
        self.clock = self.clock_at_start = _CLOCKS.get(self._backend, "SELECT CURRENT_TIMESTAMP")
        self.since = self.since_day = _MARK  # the moment is a day's beginning already
        self._connection = self._connect()

    def scalar(self, place: str, select: str) -> Any:
        """Return the first value of a SELECT."""
        try:
            return self._connection.exec_driver_sql(select).scalar()
        except SQLAlchemyError as error:
            raise self._explain(place, error) from None

    def batches(self, place: str, query: str, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the result in batches of at most 50,000 rows, types as the values of each batch have them."""
        options = {"stream_results": True, "no_parameters": since is None, "max_row_buffer": BATCH_ROWS}
        try:
            query, values = self._bind(query, since)
            result = self._connection.exec_driver_sql(query, values, execution_options=options)
            names = list(result.keys())
            yield to_batch(names, result.fetchmany(BATCH_ROWS))
            while rows := result.fetchmany(BATCH_ROWS):
                yield to_batch(names, rows)
        except SQLAlchemyError as error:
            raise self._explain(place, error) from None

    def close(self) -> None:
        """End the transaction and close the connection."""
        self._connection.close()
        self._engine.dispose()

    def _bind(self, query: str, since: datetime | None) -> tuple[str, Any]:
        """Query and parameters as the driver reads them; SQLite keeps times as text."""
        if since is None:
            return query, None
        value = since.isoformat(sep=" ") if self._backend == "sqlite" else since
        marker = _MARKERS[self._engine.dialect.paramstyle]
        if "%" in marker:
            query = query.replace("%", "%%")
        return query.replace(_MARK, marker), {"since": value} if "since" in marker else (value,)

    def _connect(self) -> Connection:
        url = self._engine.url
        try:
            connection = self._engine.connect()
            if self._backend in _SNAPSHOT:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            if self._backend == "sqlite":
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
        except SQLAlchemyError as error:
            raise CrmError(
                f"{describe_place(url)} does not answer: {describe_error(error, url)}. Nothing was changed; run this "
                "again once it does."
            ) from None
        return connection

    def _explain(self, place: str, error: SQLAlchemyError) -> ConfigError | CrmError:
        """Tell a SELECT that is wrong from a database that does not answer."""
        url = self._engine.url
        said = describe_error(error, url)
        is_lost = isinstance(error, OperationalError | InterfaceError)
        if self._backend == "sqlite":
            is_lost = is_lost and not any(words in said for words in _WRONG_SELECT)
        if is_lost or (isinstance(error, DBAPIError) and error.connection_invalidated):
            return CrmError(f"{describe_place(url)} stopped answering: {said}. Nothing was changed; run this again.")
        return ConfigError(f"{place} fails: {said}. Correct the SELECT.")


def to_batch(names: list[str], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Return rows as a batch; a column of values of several types becomes text."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pa.RecordBatch.from_arrays([to_array(column) for column in columns], names=names)


def to_array(values: tuple[Any, ...]) -> pa.Array:
    """Return values of one column as an array; values of several types become text."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {int, float}:
        kinds = {float}
    if len(kinds) < 2 and kinds <= set(_ARROW):
        try:
            array = pa.array(values, _ARROW[kinds.pop()]() if kinds else pa.null())
            if not pa.types.is_decimal256(array.type):
                return array
        except (pa.ArrowInvalid, OverflowError):
            pass  # more digits than any column of numbers holds
    return pa.array([None if value is None else str(value) for value in values], pa.string())
