"""The SQL engine for more data than one machine holds: the same expressions on PySpark."""

import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
from ibis.backends.sql.compilers.pyspark import PySparkCompiler

from features.engine import Database
from features.errors import DataError
from features.tables import ColumnType, CrmTables

LOCAL = "local[2]"

_DEFAULTS = {
    "spark.app.name": "leadsieve",
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.driver.maxResultSize": "0",
}
"""What a session of our own has where Spark's configuration says nothing."""

_LOCAL_DEFAULTS = {
    "spark.driver.host": "localhost",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",  # to plan all steps anew after each takes longer than it saves here
}

_SQL = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}
"""What features rely on: times without a zone, in microseconds, and an error where a number does not fit."""

_TYPES: Mapping[ColumnType, str] = MappingProxyType(
    {
        "text": "STRING",
        "time": "TIMESTAMP_NTZ",
        "date": "DATE",
        "money": "DECIMAL(18, 4)",
        "number": "DOUBLE",
        "integer": "BIGINT",
        "flag": "BOOLEAN",
    }
)


def _whole_seconds(compiler: Any, op: Any, *, arg: Any) -> Any:
    """Seconds since 1970, rounded down as DuckDB's are; what Ibis writes rounds times before 1970 up."""
    return compiler.f.anon.unix_seconds(arg)


PySparkCompiler.visit_ExtractEpochSeconds = _whole_seconds


@dataclass(frozen=True)
class SparkDatabase(Database):
    """Extracted tables in a session of Spark; the connection of Ibis goes through it."""

    session: Any = None
    _kept: list[Any] = field(default_factory=list)

    def add(self, name: str, frame: pd.DataFrame) -> Any:
        """Put a frame into the engine as a table."""
        return self._view(name, self.session.createDataFrame(pa.Table.from_pandas(frame, preserve_index=False)))

    def keep(self, name: str, expression: Any) -> Any:
        """Keep the rows of an expression in the engine, once somebody asks for them."""
        rows = self._rows(expression).persist()
        self._kept.append(rows)
        return self._view(name, rows)

    @property
    def dialect(self) -> str:
        """What Ibis calls the language of statements."""
        return "pyspark"

    def run(self, name: str, statement: str) -> None:
        """Keep the rows of a statement in the engine, once somebody asks for them."""
        rows = self.session.sql(statement).persist()
        self._kept.append(rows)
        rows.createOrReplaceTempView(name)

    def fetch(self, statement: str, schema: Any) -> pd.DataFrame:
        """Run a statement and bring its rows out, typed as an Ibis schema says."""
        frame: pd.DataFrame = self.session.sql(statement).toArrow().cast(schema.to_pyarrow()).to_pandas()
        return frame

    def frame(self, expression: Any) -> pd.DataFrame:
        """Run an expression and bring its rows out."""
        frame: pd.DataFrame = self._arrow(expression).to_pandas()
        return frame

    def value(self, expression: Any) -> Any:
        """Run an expression that is a single value."""
        return self._arrow(expression.as_table()).column(0)[0].as_py()

    def close(self) -> None:
        """Let go of what was kept."""
        for rows in self._kept:
            rows.unpersist()

    def _stored(self, name: str) -> Any:
        columns = ", ".join(f"`{column}` {_TYPES[kind]}" for column, kind in self.tables.tables[name].columns.items())
        place = self.tables.path(name).resolve().as_uri()
        return self._view(f"stored_{name}", self.session.read.schema(columns).parquet(place))

    def _arrow(self, expression: Any) -> pa.Table:
        """Run an expression; integers of Spark that are narrower than Ibis says are widened."""
        return self._rows(expression).toArrow().cast(expression.schema().to_pyarrow())

    def _rows(self, expression: Any) -> Any:
        return self.session.sql(self.connection.compile(expression))

    def _view(self, name: str, rows: Any) -> Any:
        """Name rows; their times have microseconds, which Ibis does not know of Spark's."""
        rows.createOrReplaceTempView(name)
        table = self.connection.table(name).op()
        exact = {c: ibis.dtype("timestamp(6)") if kind.is_timestamp() else kind for c, kind in table.schema.items()}
        return table.copy(schema=ibis.schema(exact)).to_expr()


@contextmanager
def open_spark(tables: CrmTables) -> Iterator[SparkDatabase]:
    """Open extracted tables in Spark; what was kept is let go at the end of the block, the application stays."""
    with quiet():
        session = make_session()
        database = SparkDatabase(ibis.pyspark.connect(session), tables, session=session)
        try:
            yield database
        finally:
            database.close()


def make_session() -> Any:
    """Return a session of our own, in the application that runs already or in one that is started here.

    Raises
    ------
    DataError
        If PySpark or Java is not there.

    """
    try:
        core, sql = import_module("pyspark"), import_module("pyspark.sql")
    except ImportError:
        raise DataError(
            "Engine 'spark': PySpark is not installed. Install the extra (pip install 'leadsieve[spark]'), or set "
            "`engine: duckdb`."
        ) from None
    if sql.SparkSession.getActiveSession() is None and not has_java():
        raise DataError(
            "Engine 'spark': neither JAVA_HOME nor PATH has Java, expected 17 or later. Install it (Debian: apt-get "
            "install default-jre-headless), or set `engine: duckdb`."
        )
    core.SparkContext._ensure_initialized()  # starts Java, so that SparkConf knows what Spark is configured with
    conf = core.SparkConf().setIfMissing("spark.master", LOCAL).set("spark.ui.showConsoleProgress", "false")
    is_local = str(conf.get("spark.master")).startswith("local")
    for key, value in (_DEFAULTS | (_LOCAL_DEFAULTS if is_local else {})).items():
        conf.setIfMissing(key, value)
    if is_local:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else what PATH calls python3, with other packages
    session = sql.SparkSession.builder.config(conf=conf).getOrCreate().newSession()
    for key, value in _SQL.items():
        session.conf.set(key, value)
    return session


def has_java() -> bool:
    """Whether Spark would find Java on this machine."""
    return "JAVA_HOME" in os.environ or shutil.which("java") is not None


@contextmanager
def quiet() -> Iterator[None]:
    """Say nothing of pandas 3, which PySpark warns of at every conversion."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas", category=FutureWarning)
        yield
