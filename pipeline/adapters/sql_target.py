"""Writing scores to a database: SQLite, or any other that SQLAlchemy knows."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Column, Engine, MetaData, Table, inspect
from sqlalchemy.exc import DataError as SqlDataError
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.types import TypeEngine

from pipeline.adapters.sql_table import Records, SqlTable
from pipeline.adapters.sql_types import describe_type, make_type
from pipeline.adapters.target import Capabilities, FieldKind, FieldWrite, TargetField, TargetTable, WriteResult
from pipeline.database import answering, check_file, describe_error, describe_place, lacks_file, writing
from pipeline.errors import ConfigError
from pipeline.field_values import nearest

Result = TypeVar("Result")


class SqlTarget:
    """A database that scores are written to.

    A batch is one transaction: its records are read (and locked, where the database can), those that
    still have the expected old values are updated, all are read back, and only then is it committed.
    Names of tables and columns are looked up in the database's catalogue and quoted; values are
    parameters.

    Parameters
    ----------
    engine : Engine
        The database.
    own_tables : mapping of TargetTable to mapping of field to kind
        Tables of our own: made at the first write if they do not exist.
    waits : sequence of float
        Seconds between tries when the database is locked or drops the connection; after the last try
        it is an error.
    wait : callable
        What waits.

    """

    def __init__(
        self,
        engine: Engine,
        own_tables: Mapping[TargetTable, Mapping[str, FieldKind]] | None = None,
        waits: Sequence[float] = (1.0, 4.0),
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._own = dict(own_tables or {})
        self._waits = tuple(waits)
        self._wait = wait
        self._tables: dict[TargetTable, dict[str, TypeEngine[Any]]] = {}

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def capabilities(self) -> Capabilities:
        """Limits of a database: a batch is one transaction, so one bad record fails it."""
        return Capabilities(max_batch=10_000, per_record_values=True, failure="atomic", rate_per_second=None)

    def describe(self, target: TargetTable, fields: Sequence[str]) -> dict[str, TargetField]:
        """Look fields up in the database's catalogue; see `TargetAdapter.describe`."""
        types = self._try("reading its catalogue", partial(self._read_types, target))
        for name in (target.key, *fields):
            if name not in types:
                place = f"table '{target.name}' of {describe_place(self._engine.url)}"
                raise ConfigError(f"write_back: {place} has no column '{name}'. {nearest(name, types, 'columns')}")
        return {name: describe_type(name, types[name]) for name in fields}

    def current_values(self, target: TargetTable, ids: Sequence[str], fields: Sequence[str]) -> Records:
        """Read fields of records; see `TargetAdapter.current_values`."""
        return self._try(f"reading '{target.name}'", partial(self._read, target, ids, fields))

    def write(self, target: TargetTable, writes: Sequence[FieldWrite]) -> list[WriteResult]:
        """Write one batch in one transaction; see `TargetAdapter.write`."""
        return self._try(f"writing '{target.name}'", partial(self._write, target, writes))

    def install(self) -> list[str]:
        """Make the tables of our own that do not exist; returns their names."""
        made = []
        for target in self._own:
            if not self._try("reading its catalogue", partial(self._exists, target)):
                self._try(f"making table '{target.name}'", partial(self._create, target))
                made.append(target.name)
        return made

    def _try(self, doing: str, action: Callable[[], Result]) -> Result:
        """Do something, again if the database is locked or away, but not for ever."""
        if not self._own:
            check_file(self._engine.url)
        with answering(self._engine, doing):
            for seconds in self._waits:
                try:
                    return action()
                except DBAPIError as error:
                    if not (isinstance(error, OperationalError) or error.connection_invalidated):
                        raise
                self._wait(seconds)
            return action()

    def _read(self, target: TargetTable, ids: Sequence[str], fields: Sequence[str]) -> Records:
        """Records in one transaction; a table of our own that is not there yet has none."""
        if not self._exists(target):
            return {}
        with self._engine.begin() as connection:
            return self._open(target).read(connection, ids, fields)

    def _write(self, target: TargetTable, writes: Sequence[FieldWrite]) -> list[WriteResult]:
        """Write one batch; what the database refuses is rejected as a whole."""
        if not self._exists(target):
            self._create(target)
        try:
            with writing(self._engine).begin() as connection:
                return self._open(target).write(connection, writes)
        except (IntegrityError, SqlDataError) as error:
            message = describe_error(error, self._engine.url)
            return [WriteResult(write.record_id, write.field, "rejected", message) for write in writes]

    def _open(self, target: TargetTable) -> SqlTable:
        """Return a table as the catalogue has it."""
        return SqlTable(target, self._read_types(target), self._engine.dialect.name == "sqlite")

    def _read_types(self, target: TargetTable) -> dict[str, TypeEngine[Any]]:
        """Column types of a table, read from the catalogue once."""
        if target in self._tables:
            return self._tables[target]
        if not self._exists(target):
            return self._own_types(target)
        columns = inspect(self._engine).get_columns(target.name)
        return self._tables.setdefault(target, {entry["name"]: entry["type"] for entry in columns})

    def _own_types(self, target: TargetTable) -> dict[str, TypeEngine[Any]]:
        """Column types that a table of our own gets when it is made."""
        types = {field: make_type(kind) for field, kind in self._own[target].items()}
        return {target.key: make_type("text", is_key=True), **types}

    def _exists(self, target: TargetTable) -> bool:
        """Whether a table is there; one that is neither there nor our own is an error."""
        if target in self._tables:
            return True
        if target in self._own and lacks_file(self._engine.url):  # looking into it would make it
            return False
        names = inspect(self._engine).get_table_names()
        if target.name not in names and target not in self._own:
            hint = nearest(target.name, sorted(names), "tables")
            raise ConfigError(f"write_back: {describe_place(self._engine.url)} has no table '{target.name}'. {hint}")
        return target.name in names

    def _create(self, target: TargetTable) -> None:
        """Make a table of our own."""
        columns = [
            Column(name, type_, primary_key=name == target.key) for name, type_ in self._own_types(target).items()
        ]
        with writing(self._engine).begin() as connection:
            Table(target.name, MetaData(), *columns).create(connection, checkfirst=True)
