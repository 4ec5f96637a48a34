# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""The entities of one table as the audit looks at them: every column as it is, and whose outcome is known."""

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from features.tables import TABLES, ColumnType, CrmTables, StoredTable
from pipeline.audit_aside import load_aside, read
from pipeline.audit_outcome import SETTLED_BY, WORDS, lapses, moment
from pipeline.staging import open_duckdb, quote

BORN, MONTH, SETTLED, SETTLED_AT, IS_ASIDE = "__born", "__month", "__settled", "__settled_at", "__aside"
"""Columns of the audit: since when the entity is known, the month of its creation, whether and when its outcome
became known (null: it does not count), and whether its undeclared columns were kept."""


@dataclass(frozen=True)
class Entities:
    """One entity table in DuckDB, a row per entity that is still there.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Holds the table `rows`.
    tables : CrmTables
        All extracted tables.
    name : str
        The entity table.
    columns : mapping of column to type
        Its columns, undeclared ones too.
    undeclared : frozenset of str
        Columns that were only kept for the audit.

    """

    connection: duckdb.DuckDBPyConnection
    tables: CrmTables
    name: str
    columns: Mapping[str, ColumnType]
    undeclared: frozenset[str]

    @property
    def key(self) -> str:
        """Key of the table, quoted."""
        return quote(str(TABLES[self.name].key))

    @property
    def words(self) -> tuple[str, str]:
        """What those are called whose outcome is known, and the others."""
        return WORDS[self.name]

    def rows(self, column: str) -> str:
        """Return the SQL after FROM of the entities of which a column is known."""
        return f"(SELECT * FROM rows WHERE {IS_ASIDE})" if column in self.undeclared else "rows"

    def events(self, name: str) -> tuple[str, Mapping[str, ColumnType]]:
        """Return the SQL after FROM of the rows of another table that hold, and its columns."""
        return read_open(self.tables, name), self.tables.tables[name].columns


def read_open(tables: CrmTables, name: str) -> str:
    """Return the SQL after FROM of the rows of a table that hold at the end of the data."""
    until = " WHERE known_until IS NULL" if "known_until" in tables.tables[name].columns else ""
    return f"(SELECT * FROM {read(tables.path(name))}{until})"


@contextmanager
def open_entities(tables: CrmTables, name: str, days: int) -> Iterator[Entities]:
    """Open the entities of a table.

    Parameters
    ----------
    tables : CrmTables
        The extract.
    name : str
        customers, deals or subscriptions.
    days : int
        Days without a purchase after which a customer counts as lapsed.

    """
    spill = Path(tempfile.mkdtemp(prefix="leadsieve-"))
    try:
        with closing(open_duckdb(spill)) as connection:
            stored, aside = tables.tables[name], load_aside(tables.folder).get(name)
            undeclared = {c: k for c, k in (aside.columns if aside else {}).items() if c not in stored.columns}
            connection.execute(f"CREATE TABLE rows AS {_select(tables, name, days, aside, undeclared)}")
            yield Entities(connection, tables, name, {**stored.columns, **undeclared}, frozenset(undeclared))
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _select(tables: CrmTables, name: str, days: int, aside: StoredTable | None, undeclared: Collection[str]) -> str:
    spec, stored = TABLES[name], tables.tables[name]
    key, time = quote(str(spec.key)), quote(spec.time)
    settled, settled_at, joins = _settled(tables, name, days)
    kept = "false"
    if aside is not None:
        joins += f" LEFT JOIN {read(tables.folder / aside.file)} AS a ON a.{key} = s.{key}"
        kept = f"a.{key} IS NOT NULL"
    columns = [f"s.{quote(column)}" for column in stored.columns] + [f"a.{quote(column)}" for column in undeclared]
    first = f"(SELECT {key}, min(known_at) AS born FROM {read(tables.path(name))} GROUP BY 1)"
    return (
        f"SELECT {', '.join(columns)}, greatest(s.{time}, f.born) AS {BORN}, "
        f"strftime(s.{time}, '%Y-%m') AS {MONTH}, {settled} AS {SETTLED}, {settled_at} AS {SETTLED_AT}, "
        f"{kept} AS {IS_ASIDE} FROM {read_open(tables, name)} AS s JOIN {first} AS f ON f.{key} = s.{key}{joins}"
    )


def _settled(tables: CrmTables, name: str, days: int) -> tuple[str, str, str]:
    """Return whether and when the outcome became known (alias `s`), and the join that this needs."""
    if time := SETTLED_BY.get(name):
        if time not in tables.tables[name].columns:
            return "CAST(NULL AS BOOLEAN)", "CAST(NULL AS TIMESTAMP)", ""
        clock = quote(f"{time}_known_at")
        return f"coalesce(s.{clock} < {moment(tables.data_end)}, false)", f"s.{quote(time)}", ""
    if "orders" not in tables.tables:
        return "CAST(NULL AS BOOLEAN)", "CAST(NULL AS TIMESTAMP)", ""
    orders = lapses(read_open(tables, "orders"), tables.tables["orders"].columns, tables.data_end, days)
    return "l.is_settled", "l.settled_at", f" LEFT JOIN ({orders}) AS l ON l.customer_id = s.customer_id"
