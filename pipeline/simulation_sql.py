"""Write simulated tables into a database, and never over anything else."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
from pyarrow.csv import WriteOptions, write_csv
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Double,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import DatabaseError
from sqlalchemy.types import TypeEngine

from pipeline.database import answering, describe_place, make_engine, writing
from pipeline.errors import ConfigError
from pipeline.simulation_output import MADE_BY, check_replaceable

SCORE_COLUMNS: Mapping[str, Mapping[str, TypeEngine[Any]]] = MappingProxyType(
    {
        "deals": {"lead_score": Double(), "lead_grade": Text(), "lead_reasons": Text()},
        "customers": {"churn_risk": Double(), "churn_grade": Text(), "churn_reasons": Text()},
    }
)
"""Empty columns of the CRM's own tables that scores are written to (in a database only)."""

_KEYS = {"customers": "customer_id", "deals": "deal_id"}
_ROWS_PER_INSERT = 50_000


def write_sql(tables: Mapping[str, pa.Table], place: str | Path, *, force: bool = False) -> None:
    """Write the tables into a database in one transaction: all of them or none.

    Customers and deals get the empty `SCORE_COLUMNS` as well. SQLite has no type for times: they
    are ISO text there (2025-06-30 22:00:00), as are dates.

    Parameters
    ----------
    tables : mapping of str to pyarrow.Table
        What `simulate_crm` returns.
    place : str or Path
        SQLAlchemy URL, or the path of a SQLite file (made if it is missing).
    force : bool
        Replace the tables of an earlier simulation. Others are never touched.

    Raises
    ------
    ConfigError
        If the URL cannot be used, or the database has one of these tables already.
    CrmError
        If the database does not answer.

    """
    engine = make_engine(place)
    is_sqlite = engine.dialect.name == "sqlite"
    if is_sqlite and engine.url.database:
        _make_parent(Path(engine.url.database))
    metadata = MetaData()
    targets = {name: _describe_table(metadata, name, table) for name, table in tables.items()}
    try:
        with answering(engine, "writing the simulated tables"), writing(engine).begin() as connection:
            taken = set(inspect(connection).get_table_names()) & set(targets)
            if taken:
                where = f"Table '{min(taken)}' of {describe_place(engine.url)}"
                check_replaceable(where, _is_simulated_database(connection, targets["clock"], taken), force)
            metadata.drop_all(connection)
            metadata.create_all(connection)
            for name, table in tables.items():
                _insert(connection, targets[name], table, is_sqlite)
    finally:
        engine.dispose()


def _make_parent(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"Folder {path.parent} cannot be made ({error.strerror}). Pass another place with --sql."
        ) from None


def _is_simulated_database(connection: Connection, clock: Table, taken: set[str]) -> bool:
    """Whether the clock table of a database says that the simulator wrote it."""
    if clock.name not in taken:
        return False
    columns = {column["name"] for column in inspect(connection).get_columns(clock.name)}
    return "made_by" in columns and MADE_BY in connection.execute(select(clock.c.made_by)).scalars().all()


def _describe_table(metadata: MetaData, name: str, table: pa.Table) -> Table:
    """Describe the database table for an Arrow table."""
    key = _KEYS.get(name)
    columns = [
        Column(field.name, String(20) if field.name == key else _sql_type(field.type), primary_key=field.name == key)
        for field in table.schema
    ]
    scores = [Column(column, kind) for column, kind in SCORE_COLUMNS.get(name, {}).items()]
    return Table(name, metadata, *columns, *scores)


def _sql_type(kind: pa.DataType) -> TypeEngine[Any]:
    if pa.types.is_decimal(kind):
        return Numeric(kind.precision, kind.scale)
    types: dict[pa.DataType, TypeEngine[Any]] = {
        pa.timestamp("us"): DateTime(),
        pa.date32(): Date(),
        pa.int64(): BigInteger(),
        pa.float64(): Double(),
        pa.bool_(): Boolean(),
    }
    return types.get(kind, Text())


def _insert(connection: Connection, target: Table, table: pa.Table, is_sqlite: bool) -> None:
    """Insert all rows, a batch at a time; the score columns stay null."""
    if connection.dialect.driver == "pg8000":
        _copy(connection, target, table)
        return
    statement = insert(target)
    for rows in (table.slice(at, _ROWS_PER_INSERT) for at in range(0, table.num_rows, _ROWS_PER_INSERT)):
        if is_sqlite:
            text = str(insert(target).values(dict.fromkeys(table.column_names)).compile(connection))
            connection.exec_driver_sql(text, list(_plain_rows(rows)))
        else:
            connection.execute(statement, rows.to_pylist())


def _copy(connection: Connection, target: Table, table: pa.Table) -> None:
    """Stream all rows into PostgreSQL, within the transaction of the connection."""
    quoting = connection.dialect.identifier_preparer
    columns = ", ".join(map(quoting.quote, table.column_names))
    statement = f"COPY {quoting.format_table(target)} ({columns}) FROM STDIN WITH (FORMAT csv)"
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, stream=_to_csv(table))  # type: ignore[call-arg]  # an addition of pg8000
    except connection.connection.dbapi_connection.Error as error:  # type: ignore[union-attr]
        raise DatabaseError(statement, None, error) from None
    finally:
        cursor.close()


def _to_csv(table: pa.Table) -> Iterator[bytes]:
    """Yield rows as CSV, some megabytes at a time; null is nothing, empty text is quoted."""
    for batch in table.to_batches(max_chunksize=_ROWS_PER_INSERT):
        buffer = pa.BufferOutputStream()
        write_csv(batch, buffer, WriteOptions(include_header=False))
        yield buffer.getvalue().to_pybytes()


def _plain_rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Return rows as SQLite stores them: numbers and text."""
    return zip(*(_plain(column).to_pylist() for column in table.columns), strict=True)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("s")).cast(pa.string())
    if pa.types.is_date(column.type):
        return column.cast(pa.string())
    if pa.types.is_decimal(column.type):
        return column.cast(pa.string()).cast(pa.float64())  # a cast of its own is not to the nearest
    return column.cast(pa.int64()) if pa.types.is_boolean(column.type) else column
