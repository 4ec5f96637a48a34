"""Raw rows of a source in DuckDB, before anything is known about them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from features.errors import DataError
from pipeline.errors import ConfigError

MEMORY_LIMIT = "1400MB"
ROW = "__row"
"""Column of every raw table: the place of a row in what the source delivered."""


def quote(name: str) -> str:
    """Name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def open_duckdb(spill: Path) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB that downloads nothing, stays within its memory and spills into a folder."""
    connection = duckdb.connect(
        config={
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(spill),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall() != [(False,)]:
        connection.execute("SET enable_progress_bar = false")  # a notebook without ipywidgets refuses it and has none
    connection.execute("SET python_enable_replacements = false")  # a table name is never a variable of ours
    return connection


@dataclass(frozen=True)
class Delivered:
    """What a source delivered for one table: the DuckDB type of each column, and how many rows.

    Columns in `empty` have no value and no type of their own.
    """

    columns: Mapping[str, str]
    rows: int
    empty: frozenset[str] = frozenset()


def stage(connection: duckdb.DuckDBPyConnection, table: str, batches: Iterator[pa.RecordBatch]) -> Delivered:
    """Load the batches of one table into `raw_<table>`, whatever their types.

    Batches of different schemas (a source without types may deliver whole numbers first and text
    later) are kept apart while loading and united at the end, where the wider type wins.

    Returns
    -------
    Delivered
        Names of columns in lower case, in the order in which the source delivers them. A column that is
        always null counts as text.

    """
    runs: dict[pa.Schema, str] = {}
    names: list[str] = []
    empty: pa.RecordBatch | None = None
    start = 0
    for page, batch in enumerate(batches, start=1):
        if batch.num_rows == 0:  # a page of which nothing is left; more may follow
            empty = batch if batch.num_columns else empty
            continue
        names = names or _column_names(table, batch.schema)
        _check_page(table, page, batch.schema, names)
        start = _append(connection, table, batch, runs, start)
    if empty is None and not runs:
        raise DataError(
            f"Table '{table}': the source delivers neither rows nor columns, expected at least the columns. "
            f"Check tables.{table}.select."
        )
    if empty is not None and not runs:
        names = _column_names(table, empty.schema)
        _append(connection, table, empty, runs, start)
    types = _unite(connection, table, names, list(runs.values()))
    empty = frozenset(name for name in names if name not in types)
    return Delivered({name: types.get(name, "VARCHAR") for name in names}, start, empty)


def _column_names(table: str, schema: pa.Schema) -> list[str]:
    names = [name.lower() for name in schema.names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"tables.{table}.select delivers column '{twice[0]}' twice (names are compared in lower case). "
            "Rename one of them with AS."
        )
    return names


def _check_page(table: str, page: int, schema: pa.Schema, names: list[str]) -> None:
    """Check that a page has the columns of the first one."""
    here = _column_names(table, schema)
    differences = [f"'{name}' is missing" for name in names if name not in here]
    differences += [f"'{name}' is new" for name in here if name not in names]
    if differences:
        raise DataError(
            f"Table '{table}': page {page} delivers other columns than the first: {' and '.join(differences[:5])}. "
            "Run this again; if it stays so, correct the source so that all pages have the same columns."
        )


def _append(
    connection: duckdb.DuckDBPyConnection, table: str, batch: pa.RecordBatch, runs: dict[pa.Schema, str], start: int
) -> int:
    """Append one batch to the run with its schema; return the place of the next row."""
    names = _column_names(table, batch.schema)
    columns = {n: c for n, c in zip(names, batch.columns, strict=True) if not pa.types.is_null(c.type)}
    rows = pa.Table.from_pydict({ROW: np.arange(start, start + batch.num_rows), **columns})
    connection.register("batch", rows)
    if rows.schema in runs:
        connection.execute(f"INSERT INTO {quote(runs[rows.schema])} SELECT * FROM batch")  # noqa: S608
    else:
        runs[rows.schema] = f"run_{table}_{len(runs)}"
        connection.execute(f"CREATE TABLE {quote(runs[rows.schema])} AS SELECT * FROM batch")  # noqa: S608
    connection.unregister("batch")
    return start + int(batch.num_rows)


def _unite(connection: duckdb.DuckDBPyConnection, table: str, names: list[str], runs: list[str]) -> dict[str, str]:
    """Make `raw_<table>` of the runs; return the types of the columns that have one."""
    raw = quote(f"raw_{table}")
    if len(runs) == 1:
        connection.execute(f"ALTER TABLE {quote(runs[0])} RENAME TO {raw}")
    else:
        union = " UNION ALL BY NAME ".join(f"SELECT * FROM {quote(run)}" for run in runs)  # noqa: S608
        connection.execute(f"CREATE TABLE {raw} AS {union}")
        for run in runs:
            connection.execute(f"DROP TABLE {quote(run)}")
    described = connection.execute(f"DESCRIBE {raw}").fetchall()
    types = {str(name): str(kind) for name, kind, *_ in described}
    for name in names:
        if name not in types:
            connection.execute(f"ALTER TABLE {raw} ADD COLUMN {quote(name)} VARCHAR")
    return types
