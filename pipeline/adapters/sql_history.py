"""Every score in a table of our own in the CRM's database: one row per run, entity, target and horizon."""

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow.csv as arrow_csv
from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Double,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    column,
    delete,
    event,
    func,
    insert,
    select,
    table,
)

from pipeline.adapters.history_rows import COLUMNS, make_table
from pipeline.adapters.sql_own_table import AT_ONCE, OwnTable
from pipeline.adapters.target import HistoryRow
from pipeline.database import execute_many, writing

STREAM = "leadsieve_stream"
"""Option of a statement: the bytes that it copies."""


class SqlHistory:
    """The history table of a database; see `HistoryAdapter`.

    Parameters
    ----------
    engine : Engine
        The CRM's database.
    name : str
        The table: made at first use, with an index by entity. No table of the CRM is touched.
    may_make_file : bool
        See `OwnTable`.

    """

    def __init__(self, engine: Engine, name: str, may_make_file: bool = False) -> None:
        self._own = OwnTable(engine, name, _make_table, "write_back.history.table", may_make_file)
        self._engine = engine
        event.listen(engine, "do_execute", _send_stream)

    def install(self) -> list[str]:
        """Make the table if it is not there; returns its name then."""
        return self._own.install()

    def history_keys(self, run_id: str) -> set[str]:
        """Read the keys of a run's rows; see `HistoryAdapter.history_keys`."""
        with self._own.asking("reading the history of scores"):
            if (found := self._own.find()) is None:
                return set()
            with self._engine.connect() as connection:
                return {
                    f"{run_id}/{target}/{days}/{entity}"
                    for target, days, entities in _read_entities(connection, found, run_id)
                    for entity in entities
                }

    def add_history(self, rows: Sequence[HistoryRow]) -> None:
        """Add rows in one transaction; see `HistoryAdapter.add_history`."""
        if not rows:
            return
        with self._own.asking("adding to the history of scores"):
            made = self._own.find_or_make()
            with writing(self._engine).begin() as connection:
                _insert(connection, made, rows)

    def remove_history(self, run_id: str) -> int:
        """Remove the rows of a run; see `HistoryAdapter.remove_history`."""
        with self._own.asking("removing a run from the history of scores"):
            if (found := self._own.find()) is None:
                return 0
            with writing(self._engine).begin() as connection:
                return connection.execute(delete(found).where(found.c.run_id == run_id)).rowcount

    def forget_history(self, entities: Mapping[str, Sequence[str]]) -> int:
        """Remove the rows of entities; see `HistoryAdapter.forget_history`."""
        with self._own.asking("forgetting in the history of scores"):
            if (found := self._own.find()) is None:
                return 0
            gone = 0
            with writing(self._engine).begin() as connection:
                for target, ids in entities.items():
                    for at in range(0, len(ids), AT_ONCE):
                        some = (found.c.target == target) & found.c.entity_id.in_(ids[at : at + AT_ONCE])
                        gone += connection.execute(delete(found).where(some)).rowcount
            return gone


def _make_table(name: str, schema: str | None) -> Table:
    """Return the table as it is made."""
    return Table(
        name,
        MetaData(),
        Column("run_id", String(200), primary_key=True),
        Column("target", String(200), primary_key=True),
        Column("horizon_days", Integer, primary_key=True, autoincrement=False),
        Column("entity_id", String(200), primary_key=True),
        Column("as_of", DateTime, nullable=False),
        Column("probability", Double),
        Column("grade", String(200)),
        Column("reasons_en", Text),
        Column("reasons_zh", Text),
        Column("model_version", String(200)),
        Column("value", Double),
        Index(f"{name}_by_entity", "entity_id", "as_of"),
        schema=schema,
    )


def _read_entities(connection: Connection, found: Table, run_id: str) -> Iterable[tuple[str, int, Sequence[str]]]:
    """Target, horizon and entities of a run's rows, many at a time where the database can put them into one value."""
    target, days, entity = found.c.target, found.c.horizon_days, found.c.entity_id
    if connection.dialect.name == "postgresql":
        cut = func.right(entity, 1)  # no value may be larger than 1 GB
        many = select(target, days, func.json_agg(entity)).where(found.c.run_id == run_id).group_by(target, days, cut)
        return (tuple(row) for row in connection.execute(many))
    rows = connection.execute(select(target, days, entity).where(found.c.run_id == run_id))
    return ((one, horizon, (name,)) for one, horizon, name in rows)


def _insert(connection: Connection, made: Table, rows: Sequence[HistoryRow]) -> None:
    """Add rows the fastest way that the database has: a round trip for each would take most of the time."""
    if connection.dialect.name == "postgresql" and connection.dialect.driver == "pg8000":
        _copy(connection, made, rows)
    elif connection.dialect.name == "sqlite":  # which stores text as it is given
        plain = table(made.name, *(column(name) for name in COLUMNS), schema=made.schema)
        execute_many(connection, insert(plain), [_values(row) for row in rows])
    else:
        typed = [{**_values(row), "as_of": datetime.fromisoformat(row.as_of)} for row in rows]
        connection.execute(insert(made), typed)


def _values(row: HistoryRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in COLUMNS}


def _copy(connection: Connection, made: Table, rows: Sequence[HistoryRow]) -> None:
    """PostgreSQL: one COPY."""
    text = io.BytesIO()
    arrow_csv.write_csv(make_table(rows), text, arrow_csv.WriteOptions(include_header=False, quoting_style="needed"))
    text.seek(0)
    preparer = connection.dialect.identifier_preparer
    names = ", ".join(preparer.quote(name) for name in COLUMNS)
    statement = f"COPY {preparer.format_table(made)} ({names}) FROM STDIN WITH (FORMAT csv)"
    connection.exec_driver_sql(statement, execution_options={STREAM: text})


def _send_stream(cursor: Any, statement: str, _parameters: Any, context: Any) -> bool:
    """Whether it was a COPY: run here for what pg8000 adds to a cursor, and as a statement for what its errors mean."""
    if (stream := context.execution_options.get(STREAM)) is None:
        return False
    try:
        cursor.execute(statement, stream=stream)
    except OSError as error:  # which pg8000 lets through while it sends; by these words a lost connection is known
        raise context.dialect.loaded_dbapi.InterfaceError("network error") from error
    return True
