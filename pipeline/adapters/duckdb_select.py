"""SELECTs of a config that DuckDB runs."""

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from pipeline.adapters.protocol import BATCH_ROWS
from pipeline.errors import ConfigError

_CONFIG_ERRORS = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)


def run_select(connection: duckdb.DuckDBPyConnection, table: str, query: str) -> Iterator[pa.RecordBatch]:
    """Yield the result of a query in batches; at least one, so that an empty table has columns too.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Where it runs.
    table : str
        Canonical table that it is about.
    query : str
        What runs.

    Raises
    ------
    ConfigError
        If the SELECT of the table is wrong; what is wrong with values stays DuckDB's own error.

    """
    try:
        reader = connection.sql(query).to_arrow_reader(BATCH_ROWS)
        is_empty = True
        for batch in reader:
            is_empty = False
            yield batch
        if is_empty:
            yield pa.RecordBatch.from_pylist([], schema=reader.schema)
    except _CONFIG_ERRORS as error:
        raise ConfigError(f"tables.{table}.select fails: {first_paragraph(error)}. Correct the SELECT.") from None


def first_paragraph(error: duckdb.Error) -> str:
    """First paragraph of what DuckDB says, on one line."""
    return " ".join(str(error).split("\n\n")[0].split()).rstrip(".")
