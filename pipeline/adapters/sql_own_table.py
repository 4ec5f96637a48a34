"""A table of our own in a CRM's database: made at first use, refused if it is somebody else's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, Inspector, Table, inspect
from sqlalchemy.exc import DBAPIError

from pipeline.database import (
    answering,
    check_file,
    describe_error,
    describe_place,
    lacks_file,
    lacks_right,
    may_pass,
    writing,
)
from pipeline.errors import ConfigError, PassingCrmError

MakeTable = Callable[[str, str | None], Table]
"""From name and schema to the table as we make it."""

AT_ONCE = 500
"""Ids per statement."""


class OwnTable:
    """A table of our own, which is looked up in the database's catalogue once.

    Parameters
    ----------
    engine : Engine
        The database.
    name : str
        Its name; `crm.scores` is table `scores` of schema `crm`, if there is such a schema.
    make : callable
        Its columns and keys.
    key : str
        Where the config names it, for error texts.
    may_make_file : bool
        Whether a SQLite file that is not there is made with the table; else it is an error, as its disk may
        not be mounted.

    """

    def __init__(self, engine: Engine, name: str, make: MakeTable, key: str, may_make_file: bool = False) -> None:
        self.engine = engine
        self._name, self._make, self._key, self._may_make_file = name, make, key, may_make_file
        self._found: Table | None = None

    def find(self) -> Table | None:
        """Return the table; None as long as nobody has made it.

        Raises
        ------
        ConfigError
            If the table is not ours: a column of ours is missing.

        """
        if self._found is None and not lacks_file(self.engine.url):  # looking into it would make it
            catalogue = inspect(self.engine)
            for schema, name in _places(catalogue, self._name):
                if catalogue.has_table(name, schema):
                    self._found = self._check(catalogue, self._make(name, schema))
        return self._found

    def find_or_make(self) -> Table:
        """Return the table, made now if nobody has."""
        found = self.find()
        if found is None:
            schema, name = _places(inspect(self.engine), self._name)[-1]
            found = self._make(name, schema)
            with writing(self.engine).begin() as connection:
                found.create(connection, checkfirst=True)
            self._found = found
        return found

    def install(self) -> list[str]:
        """Make the table; its name if it was not there."""
        with self.asking("making its table"):
            if self.find() is not None:
                return []
            return [self.find_or_make().fullname]

    @contextmanager
    def asking(self, doing: str) -> Iterator[None]:
        """Tell errors that may pass from those that do not, and from rights that the account lacks."""
        if not self._may_make_file:
            check_file(self.engine.url)
        with answering(self.engine, doing):
            try:
                yield
            except DBAPIError as error:
                said = f"{describe_place(self.engine.url)} failed while {doing}: " + describe_error(
                    error, self.engine.url
                )
                if lacks_right(error):
                    raise ConfigError(
                        f"{self._key}: {said}. Grant its account SELECT, INSERT, UPDATE and DELETE on the table "
                        f"'{self._name}', and on its schema USAGE, and CREATE until the table is there."
                    ) from None
                if may_pass(error) or error.connection_invalidated:
                    raise PassingCrmError(f"{said}. Nothing is lost; run the same command again.") from None
                raise
            except ConnectionError as error:  # which pg8000 lets through where it reads
                raise PassingCrmError(
                    f"{describe_place(self.engine.url)} failed while {doing}: {error}. Nothing is lost; run the same "
                    "command again."
                ) from None

    def _check(self, catalogue: Inspector, table: Table) -> Table:
        """Check that a table of the database has our columns."""
        there = {entry["name"] for entry in catalogue.get_columns(table.name, table.schema)}
        missing = [column.name for column in table.columns if column.name not in there]
        if missing:
            raise ConfigError(
                f"{self._key}: table '{self._name}' of {describe_place(self.engine.url)} has no column "
                f"'{missing[0]}', so it is not one that leadsieve made. Name a table that does not exist yet."
            )
        return table


def _places(catalogue: Inspector, name: str) -> list[tuple[str | None, str]]:
    """Schemas and names that a name may mean; the last one is where it is made."""
    schema, dot, inner = name.partition(".")
    places: list[tuple[str | None, str]] = [(None, name)]
    return [*places, (schema, inner)] if dot and schema in catalogue.get_schema_names() else places
