"""The SQL engine behind the feature groups, reached through Ibis: DuckDB in-process, or Spark (`features.spark`)."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa

from features.tables import TABLES, CrmTables, Engine


@dataclass(frozen=True)
class Database:
    """An open engine over extracted tables."""

    connection: Any
    tables: CrmTables
    _views: dict[str, Any] = field(default_factory=dict)

    @property
    def dialect(self) -> str:
        """What Ibis calls the language of statements."""
        return "duckdb"

    def table(self, name: str) -> Any:
        """A stored table as an Ibis expression; canonical columns the deployment lacks are typed nulls."""
        if name not in self._views:
            stored = self._stored(name)
            absent = {
                column: ibis.null(ibis_type(kind))
                for column, kind in TABLES[name].columns.items()
                if column not in stored.columns
            }
            self._views[name] = stored.mutate(**absent) if absent else stored
        return self._views[name]

    def _stored(self, name: str) -> Any:
        return self.connection.read_parquet(self.tables.path(name), table_name=f"stored_{name}")

    def add(self, name: str, frame: pd.DataFrame) -> Any:
        """Put a frame into the engine as a table."""
        return self.connection.create_table(
            name, pa.Table.from_pandas(frame, preserve_index=False), temp=True, overwrite=True
        )

    def keep(self, name: str, expression: Any) -> Any:
        """Run an expression and keep its rows in the engine."""
        return self.connection.create_table(name, expression, temp=True, overwrite=True)

    def run(self, name: str, statement: str) -> None:
        """Keep the rows of a statement in the engine."""
        self.connection.raw_sql(f'CREATE OR REPLACE TEMP TABLE "{name}" AS {statement}')

    def fetch(self, statement: str, schema: Any) -> pd.DataFrame:
        """Run a statement and bring its rows out, typed as an Ibis schema says."""
        return _to_pandas(self.connection.con.sql(statement).to_arrow_table(), schema)

    def frame(self, expression: Any) -> pd.DataFrame:
        """Run an expression and bring its rows out."""
        return _to_pandas(self.connection.to_pyarrow(expression), expression.schema())

    def value(self, expression: Any) -> Any:
        """Run an expression that is a single value."""
        return self.connection.to_pyarrow(expression).as_py()


def _to_pandas(rows: pa.Table, schema: Any) -> pd.DataFrame:
    frame: pd.DataFrame = rows.cast(schema.to_pyarrow()).to_pandas()
    return frame


_IBIS_TYPES = {
    "text": "string",
    "time": "timestamp(6)",
    "date": "date",
    "money": "decimal(18, 4)",
    "number": "float64",
    "integer": "int64",
    "flag": "boolean",
}


def ibis_type(kind: str) -> str:
    """Ibis name of a canonical column type."""
    return _IBIS_TYPES[kind]


@contextmanager
def open_database(
    tables: CrmTables, *, engine: Engine | None = None, threads: int | None = None, memory_limit: str = "6GB"
) -> Iterator[Database]:
    """Open an engine over extracted tables; closed, with what it kept, at the end of the block.

    Parameters
    ----------
    tables : CrmTables
    engine : {"duckdb", "spark"}, optional
        Default: the one the tables were loaded for. Spark has settings of its own for what follows.
    threads : int, optional
        DuckDB: default all.
    memory_limit : str
        DuckDB.

    """
    if (engine or tables.engine) == "spark":
        from features.spark import open_spark

        with open_spark(tables) as database:
            yield database
        return
    with tempfile.TemporaryDirectory(prefix="leadsieve-") as spill:
        settings = {"temp_directory": spill, "memory_limit": memory_limit, "autoinstall_known_extensions": False}
        if threads:
            settings["threads"] = threads
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fetch_arrow_table", category=DeprecationWarning)
            connection = ibis.duckdb.connect(**settings)
            try:
                yield Database(connection, tables)
            finally:
                connection.disconnect()
