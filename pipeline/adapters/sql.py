# ruff: noqa: S608  (the SELECTs come from the deployment's own config)
"""Tables in a database, read through SQLAlchemy: SQLite by default, others by a URL from the environment."""

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from features.tables import TABLES
from pipeline.adapters.protocol import BATCH_ROWS, without_semicolon
from pipeline.config import Config, read_environment
from pipeline.database import describe_error, describe_place, make_engine
from pipeline.errors import ConfigError, CrmError

_CLOCKS = {
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "mariadb": "SELECT UTC_TIMESTAMP(6)",
    "mssql": "SELECT SYSUTCDATETIME()",
}
_SNAPSHOT = ("postgresql", "mysql", "mariadb")
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


class SqlSource:
    """Lets a database run the SELECT of each table, all in one transaction that only reads.

    Parameters
    ----------
    config : Config
        With `source.adapter: sql`. A SQLite file must exist: reading never makes one.

    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._engine = _make_source_engine(config)
        self._connection = self._connect()
        self._data_end = self._read_data_end()

    def data_end(self) -> datetime:
        """Moment at which reading began (UTC, naive): from the config, its SELECT, or the database's clock."""
        return self._data_end

    def clock(self) -> datetime | None:
        """Return the database's clock now; None if the config fixes the end of the data."""
        source = self._config.source
        return None if source.data_end or source.data_end_select else self._read_moment(self._now())

    def count(self, table: str, since: datetime | None = None) -> int:
        """Count the rows of a table, or those that occurred in `[since, now)`."""
        where = f" WHERE {TABLES[table].time} >= '{since}'" if since else ""
        query = f"SELECT count(*) AS row_count FROM ({self._select(table)}\n) AS delivered{where}"
        return int(next(self._run(table, query)).column(0)[0].as_py())

    def keys(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the key column of a table."""
        return self._run(table, f"SELECT {TABLES[table].key} FROM ({self._select(table)}\n) AS delivered")

    def read(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a table; at least one batch, types as the values of each batch have them."""
        return self._run(table, self._select(table))

    def close(self) -> None:
        """End the transaction and close the connection."""
        self._connection.close()
        self._engine.dispose()

    def _select(self, table: str) -> str:
        return without_semicolon(self._config.tables[table].select)

    def _connect(self) -> Connection:
        """Open the connection; one snapshot for all tables where the database has such a thing."""
        url = self._engine.url
        try:
            connection = self._engine.connect()
            if url.get_backend_name() in _SNAPSHOT:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            if url.get_backend_name() == "sqlite":
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
        except SQLAlchemyError as error:
            raise CrmError(
                f"{describe_place(url)} does not answer: {describe_error(error, url)}. Nothing was changed; run this "
                "again once it does."
            ) from None
        return connection

    def _read_data_end(self) -> datetime:
        source = self._config.source
        if source.data_end:
            return source.data_end
        return self._read_moment(source.data_end_select or self._now())

    def _now(self) -> str:
        return _CLOCKS.get(self._engine.url.get_backend_name(), "SELECT CURRENT_TIMESTAMP")

    def _read_moment(self, select: str) -> datetime:
        """Run a SELECT of one moment in UTC."""
        try:
            value = self._connection.exec_driver_sql(select).scalar()
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        except SQLAlchemyError as error:
            raise self._explain("source.data_end_select", error) from None
        except ValueError:
            moment = None
        if not isinstance(moment, datetime):
            raise ConfigError(
                f"source.data_end_select returns {value!r}, expected one time in UTC such as '2024-05-01 00:00:00'. "
                "Correct the SELECT."
            )
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment

    def _run(self, table: str, query: str) -> Iterator[pa.RecordBatch]:
        """Yield the result in batches of at most 50,000 rows."""
        options = {"stream_results": True, "no_parameters": True, "max_row_buffer": BATCH_ROWS}
        try:
            result = self._connection.exec_driver_sql(query, execution_options=options)
            names = list(result.keys())
            yield _to_batch(names, result.fetchmany(BATCH_ROWS))
            while rows := result.fetchmany(BATCH_ROWS):
                yield _to_batch(names, rows)
        except SQLAlchemyError as error:
            raise self._explain(f"tables.{table}.select", error) from None

    def _explain(self, place: str, error: SQLAlchemyError) -> ConfigError | CrmError:
        """Tell a SELECT that is wrong from a database that does not answer."""
        url = self._engine.url
        said = describe_error(error, url)
        is_lost = isinstance(error, OperationalError | InterfaceError)
        if url.get_backend_name() == "sqlite":
            is_lost = is_lost and not any(words in said for words in _WRONG_SELECT)
        if is_lost or (isinstance(error, DBAPIError) and error.connection_invalidated):
            return CrmError(f"{describe_place(url)} stopped answering: {said}. Nothing was changed; run this again.")
        return ConfigError(f"{place} fails: {said}. Correct the SELECT.")


def _make_source_engine(config: Config) -> Engine:
    """Engine of the source; a SQLite file that is missing is an error, not a new file."""
    source = config.source
    place: Path | str | None = source.sqlite
    if source.url_env and (place is None or os.environ.get(source.url_env)):
        place = read_environment(source.url_env, f"the SQLAlchemy URL of the CRM of '{config.name}'")
    engine = make_engine(place or "")
    database = engine.url.database
    if engine.url.get_backend_name() == "sqlite" and not (database and Path(database).is_file()):
        raise CrmError(
            f"{describe_place(engine.url)} does not exist, so the CRM cannot be read. Nothing was changed. Check the "
            "path in source and that its disk is mounted, then run this again."
        )
    return engine


def _to_batch(names: list[str], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Return rows as a batch; a column of values of several types becomes text."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pa.RecordBatch.from_arrays([_to_array(column) for column in columns], names=names)


def _to_array(values: tuple[Any, ...]) -> pa.Array:
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
