# ruff: noqa: S608  (the SELECTs come from the deployment's own config)
"""Tables in a database: SQLite by default, PostgreSQL and others by a URL from the environment."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from features.tables import TABLES
from pipeline.adapters.protocol import read_from, without_semicolon
from pipeline.adapters.sql_reader import AlchemyReader, SqlReader
from pipeline.config import Config, read_environment
from pipeline.database import describe_place, make_engine, read_url
from pipeline.errors import ConfigError, CrmError
from pipeline.postgres import DRIVER
from pipeline.sentences import hide_values


class SqlSource:
    """Lets a database run the SELECT of each table, all in one transaction that only reads.

    Parameters
    ----------
    config : Config
        With `source.adapter: sql`. A SQLite file must exist: reading never makes one.

    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._reader = open_reader(config)
        try:
            self._data_end = self._read_data_end()
        except Exception:
            self._reader.close()
            raise

    def data_end(self) -> datetime:
        """Moment at which reading began (UTC, naive): from the config, its SELECT, or the database's clock."""
        return self._data_end

    def clock(self) -> datetime | None:
        """Return the database's clock now; None if the config fixes the end of the data."""
        source = self._config.source
        return None if source.data_end or source.data_end_select else self._read_moment(self._reader.clock)

    def warnings(self, table: str) -> Sequence[str]:
        """Nothing to say."""
        return ()

    def count(self, table: str, since: datetime | None = None) -> int:
        """Count the rows of a table, or those that occurred in `[since, now)`."""
        where = f" WHERE {TABLES[table].time} >= {self._reader.since}" if since else ""
        query = f"SELECT count(*) AS row_count FROM ({self._select(table)}\n) AS delivered{where}"
        return int(next(self._run(table, query, since)).column(0)[0].as_py())

    def keys(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the key column of a table."""
        return self._run(table, f"SELECT {TABLES[table].key} FROM ({self._select(table)}\n) AS delivered")

    def read(self, table: str, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a table, or those modified since a moment; at least one batch.

        Types are as the values of each batch have them.
        """
        if since is None:
            return self._run(table, self._select(table))
        modified = self._config.tables[table].modified_at
        where = f"{modified} >= {self._reader.since_day} OR {modified} IS NULL"
        query = f"SELECT * FROM ({self._select(table)}\n) AS delivered WHERE {where}"
        return self._run(table, query, read_from(since, self._config.time_zone))

    def close(self) -> None:
        """End the transaction and close the connection."""
        self._reader.close()

    def _select(self, table: str) -> str:
        return without_semicolon(self._config.tables[table].select)

    def _run(self, table: str, query: str, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        batches = self._reader.batches(f"tables.{table}.select", query, since)
        try:
            yield from batches
        except ConfigError as error:
            if not self._config.tables[table].sensitive:
                raise
            raise ConfigError(hide_values(str(error), query)) from None

    def _read_data_end(self) -> datetime:
        source = self._config.source
        if source.data_end:
            return source.data_end
        return self._read_moment(source.data_end_select or self._reader.clock_at_start)

    def _read_moment(self, select: str) -> datetime:
        """Run a SELECT of one moment in UTC."""
        try:
            value = self._reader.scalar("source.data_end_select", without_semicolon(select))
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            moment = None
        if not isinstance(moment, datetime):
            raise ConfigError(
                f"source.data_end_select returns {value!r}, expected one time in UTC such as '2024-05-01 00:00:00'. "
                "Correct the SELECT."
            )
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def open_reader(config: Config) -> SqlReader:
    """Connect to the database that a config reads; a SQLite file that is missing is an error, not a new file."""
    source = config.source
    place: Path | str | None = source.sqlite
    if source.url_env and (place is None or os.environ.get(source.url_env)):
        place = read_environment(source.url_env, f"the SQLAlchemy URL of the CRM of '{config.name}'")
    url = read_url(place or "")
    if url.drivername == DRIVER:
        from pipeline.adapters.postgres_reader import PostgresReader

        return PostgresReader(url, config.time_zone)
    engine = make_engine(place or "")
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).is_file()):
        raise CrmError(
            f"{describe_place(url)} does not exist, so the CRM cannot be read. Nothing was changed. Check the "
            "path in source and that its disk is mounted, then run this again."
        )
    return AlchemyReader(engine)
