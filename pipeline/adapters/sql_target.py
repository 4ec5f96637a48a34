"""Writing scores to a database: SQLite, or any other that SQLAlchemy knows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Engine, Inspector, MetaData, Table, inspect, table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from pipeline.adapters.sql_table import SqlTable
from pipeline.adapters.sql_types import base_type, describe_type, make_type
from pipeline.adapters.target import (
    Capabilities,
    FieldKind,
    FieldValues,
    RecordResult,
    TargetField,
    TargetTable,
    WriteBatch,
)
from pipeline.database import (
    answering,
    check_file,
    describe_error,
    describe_place,
    is_refusal,
    lacks_file,
    lacks_right,
    may_pass,
    writing,
)
from pipeline.errors import ConfigError, PassingCrmError
from pipeline.field_values import nearest

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Place:
    """Where a table is: in a schema, or in the one that the connection looks into first."""

    schema: str | None
    name: str


class SqlTarget:
    """A database that scores are written to.

    A batch is one transaction: its records are read (and locked, where the database can), those that
    still have the expected old values are updated, all are read back, and only then is it committed.
    Names of tables and columns are looked up in the database's catalogue and quoted; values are
    parameters. `crm.deals` is table `deals` of schema `crm`, unless there is a table of that whole name.

    Parameters
    ----------
    engine : Engine
        The database.
    own_tables : mapping of TargetTable to mapping of field to kind
        Tables of our own: made at the first write if they do not exist.

    """

    def __init__(
        self,
        engine: Engine,
        own_tables: Mapping[TargetTable, Mapping[str, FieldKind]] | None = None,
    ) -> None:
        self._engine = engine
        self._own = dict(own_tables or {})
        self._tables: dict[TargetTable, dict[str, TypeEngine[Any]]] = {}
        self._places: dict[TargetTable, _Place] = {}
        self._requests = 0
        self._counting = Lock()

    @property
    def requests(self) -> int:
        """Transactions that were begun since this adapter was opened."""
        return self._requests

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def capabilities(self) -> Capabilities:
        """Limits of a database: a batch is one transaction, so one bad record fails it.

        PostgreSQL works on two batches at a time, and on one while the other is made or sent.
        """
        return Capabilities(
            max_batch=10_000,
            per_record_values=True,
            failure="atomic",
            rate_per_second=None,
            max_read=500_000,
            writers=2 if self._engine.dialect.name == "postgresql" else 1,
        )

    def describe(self, target: TargetTable, fields: Sequence[str]) -> dict[str, TargetField]:
        """Look fields up in the database's catalogue; see `TargetAdapter.describe`."""
        types = self._ask("reading its catalogue", partial(self._read_types, target))
        for name in (target.key, *fields):
            if name not in types:
                place = f"table '{target.name}' of {describe_place(self._engine.url)}"
                raise ConfigError(f"write_back: {place} has no column '{name}'. {nearest(name, types, 'columns')}")
        return {name: describe_type(name, types[name]) for name in fields}

    def read_fields(self, table: TargetTable, ids: Sequence[str], fields: Sequence[str]) -> FieldValues:
        """Read fields of records; see `TargetAdapter.read_fields`."""
        return self._ask(f"reading '{table.name}'", partial(self._read_fields, table, ids, fields))

    def write_batch(self, batch: WriteBatch) -> list[RecordResult]:
        """Write one batch in one transaction; see `TargetAdapter.write_batch`."""
        return self._ask(f"writing '{batch.table.name}'", partial(self._write_batch, batch))

    def install(self) -> list[str]:
        """Make the tables of our own that do not exist; returns their names."""
        made = []
        for target in self._own:
            if not self._ask("reading its catalogue", partial(self._exists, target)):
                self._ask(f"making table '{target.name}'", partial(self._create, target))
                made.append(target.name)
        return made

    def _ask(self, doing: str, action: Callable[[], Result]) -> Result:
        """Do something once; tell errors that may pass from those that do not, and from rights that are lacking."""
        if not self._own:
            check_file(self._engine.url)
        with self._counting:
            self._requests += 1
        with answering(self._engine, doing):
            try:
                return action()
            except DBAPIError as error:
                if lacks_right(error):
                    raise self._explain_right(doing, error) from None
                if not (may_pass(error) or error.connection_invalidated):
                    raise
                said = describe_error(error, self._engine.url)
            except ConnectionError as error:  # which pg8000 lets through where it reads
                said = str(error)
            raise PassingCrmError(
                f"{describe_place(self._engine.url)} failed while {doing}: {said}. Nothing is lost; run the same "
                "command again once the database answers."
            )

    def _explain_right(self, doing: str, error: DBAPIError) -> ConfigError:
        """Say what the account of the write-back lacks."""
        place, said = describe_place(self._engine.url), describe_error(error, self._engine.url)
        return ConfigError(
            f"write_back: {place} refused {doing}: {said}. Grant its account SELECT on the key and the fields, "
            "UPDATE on the fields, and USAGE on their schema."
        )

    def _read_fields(self, table: TargetTable, ids: Sequence[str], fields: Sequence[str]) -> FieldValues:
        """Records in one transaction; a table of our own that is not there yet has none."""
        if not self._exists(table):
            return FieldValues([], {name: [] for name in fields})
        with self._engine.begin() as connection:
            return self._table_on(connection, table).read(ids, fields)

    def _write_batch(self, batch: WriteBatch) -> list[RecordResult]:
        """Write one batch; what the database refuses is rejected as a whole."""
        if not batch.ids:
            return []
        if not self._exists(batch.table):
            self._create(batch.table)
        try:
            if self._write_at_once(batch):
                # a third of the time that calling RecordResult takes
                return [*map(tuple.__new__, repeat(RecordResult), zip(batch.ids, repeat("done"), repeat(None)))]
            with writing(self._engine).begin() as connection:
                return self._table_on(connection, batch.table).write(batch)
        except DBAPIError as error:
            if not is_refusal(error):
                raise
            message = describe_error(error, self._engine.url)
            return [RecordResult(one, "rejected", message) for one in batch.ids]

    def _write_at_once(self, batch: WriteBatch) -> bool:
        """Whether a batch could be written whole in one statement; nothing is written otherwise."""
        if batch.action != "update" or self._engine.dialect.name != "postgresql":
            return False
        with writing(self._engine).connect() as connection, connection.begin() as transaction:
            is_done = self._table_on(connection, batch.table).write_at_once(batch)
            if not is_done:
                transaction.rollback()
        return is_done

    def _table_on(self, connection: Connection, target: TargetTable) -> SqlTable:
        """Return a table as the catalogue has it, on a connection."""
        types, place = self._read_types(target), self._places[target]
        return SqlTable(target.key, table(place.name, schema=place.schema), types, connection)

    def _read_types(self, target: TargetTable) -> dict[str, TypeEngine[Any]]:
        """Column types of a table, read from the catalogue once."""
        if target in self._tables:
            return self._tables[target]
        if not self._exists(target):
            return self._own_types(target)
        place = self._places[target]
        columns = inspect(self._engine).get_columns(place.name, place.schema)
        return self._tables.setdefault(target, {entry["name"]: base_type(entry["type"]) for entry in columns})

    def _own_types(self, target: TargetTable) -> dict[str, TypeEngine[Any]]:
        """Column types that a table of our own gets when it is made."""
        types = {field: make_type(kind) for field, kind in self._own[target].items()}
        return {target.key: make_type("text", is_key=True), **types}

    def _exists(self, target: TargetTable) -> bool:
        """Whether a table is there; one that is neither there nor our own is an error."""
        if target in self._places:
            return True
        if target in self._own and lacks_file(self._engine.url):  # looking into it would make it
            return False
        catalogue = inspect(self._engine)
        for place in _find_places(catalogue, target.name):
            if catalogue.has_table(place.name, place.schema):
                self._places[target] = place
                return True
        if target not in self._own:
            hint = nearest(target.name, sorted(catalogue.get_table_names()), "tables")
            raise ConfigError(f"write_back: {describe_place(self._engine.url)} has no table '{target.name}'. {hint}")
        return False

    def _create(self, target: TargetTable) -> None:
        """Make a table of our own."""
        columns = [
            Column(name, type_, primary_key=name == target.key) for name, type_ in self._own_types(target).items()
        ]
        place = _find_places(inspect(self._engine), target.name)[-1]
        with writing(self._engine).begin() as connection:
            Table(place.name, MetaData(), *columns, schema=place.schema).create(connection, checkfirst=True)
        self._places[target] = place


def _find_places(catalogue: Inspector, name: str) -> list[_Place]:
    """Places that a name may mean: a table, or a table of a schema that exists."""
    schema, dot, inner = name.partition(".")
    places = [_Place(None, name)]
    return [*places, _Place(schema, inner)] if dot and schema in catalogue.get_schema_names() else places
