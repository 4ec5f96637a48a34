"""PostgreSQL as ADBC reads it: one snapshot, streamed into Arrow by COPY."""

from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from types import ModuleType
from typing import Any

import pyarrow as pa
from sqlalchemy import URL

from pipeline.adapters.postgres_types import to_batch, wrap
from pipeline.database import describe_error, describe_place
from pipeline.errors import ConfigError, CrmError
from pipeline.postgres import EXTRA, find_state, is_away, make_uri

_CUT_OFF = ("server closed", "terminating", "canceling", "connection", "could not receive")
_READ_ONLY = "25006"
_SINCE = "leadsieve.since"


class PostgresReader:
    """Reads in one REPEATABLE READ, READ ONLY transaction: all tables as they were when it began.

    Parameters
    ----------
    url : URL
        With the options that libpq knows.
    time_zone : str
        Of the deployment. A moment that the SELECT casts to a date or to a time without zone becomes the day
        or the time there, whatever the time zone of the server.

    """

    clock_at_start = "SELECT transaction_timestamp() AT TIME ZONE 'UTC'"
    clock = "SELECT clock_timestamp() AT TIME ZONE 'UTC'"
    since = f"current_setting('{_SINCE}')::timestamptz"
    since_day = f"date_trunc('day', {since})"  # in the time zone of the session, as a DATE is

    def __init__(self, url: URL, time_zone: str) -> None:
        self._url = url
        driver = _load_driver(url)
        self._errors = (driver.Error, OSError, pa.ArrowException)
        self._connection: Any = None
        try:
            self._connection = driver.connect(make_uri(url))
            self._set("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self._set("SELECT set_config('TimeZone', $1, true)", time_zone)
        except self._errors as error:
            self.close()
            raise CrmError(
                f"{describe_place(url)} does not answer: {describe_error(error, url)}. Nothing was changed; run this "
                "again once it does."
            ) from None

    def scalar(self, place: str, select: str) -> Any:
        """Return the first value of a SELECT."""
        first = next(self.batches(place, select))
        return first.column(0)[0].as_py() if first.num_rows and first.num_columns else None

    def batches(self, place: str, query: str, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the result of a query in batches of about 16 MB."""
        try:
            with self._connection.cursor() as cursor:
                if since is not None:
                    self._set("SELECT set_config($1, $2, true)", _SINCE, f"{since.isoformat()}+00")
                cursor.execute(wrap(query, cursor.adbc_execute_schema(query)))
                reader = cursor.fetch_record_batch()
                schema, is_empty = reader.schema, True
                for batch in reader:
                    is_empty = False
                    yield to_batch(schema, batch.columns)
                if is_empty:
                    yield to_batch(schema, [column.combine_chunks() for column in schema.empty_table().columns])
        except self._errors as error:
            raise self._explain(place, error) from None

    def close(self) -> None:
        """End the transaction and close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _set(self, statement: str, *values: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters=values or None)

    def _explain(self, place: str, error: BaseException) -> ConfigError | CrmError:
        """Tell a SELECT that is wrong from a database that does not answer."""
        said, state = describe_error(error, self._url), find_state(error)
        is_lost = "ERROR" not in str(error) or any(words in said for words in _CUT_OFF)
        if (is_away(state) and state != _READ_ONLY) if state else is_lost:
            where = describe_place(self._url)
            return CrmError(f"{where} stopped answering: {said}. Nothing was changed; run this again.")
        if state == "42501":
            return ConfigError(f"{place} fails: {said}. Grant the account of the source SELECT on it.")
        return ConfigError(f"{place} fails: {said}. Correct the SELECT.")


def _load_driver(url: URL) -> ModuleType:
    try:
        return import_module("adbc_driver_postgresql.dbapi")
    except ModuleNotFoundError:
        raise ConfigError(
            f"{describe_place(url)} is read with the Python package 'adbc-driver-postgresql', which is not installed. "
            f"{EXTRA}"
        ) from None
