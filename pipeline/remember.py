# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Comparing a table with what the extract before stored of it.

A stored row is a version: it holds for `known_at < as_of <= known_until`. Rows are matched by their key,
rows without one by their content and how often it is there. What changed or vanished ends just before
this extract (`seen`), what changed or came back begins there, and what is new is known since then,
unless the source dates it. Values filled later fill all versions: their clock hides them.
"""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from features.tables import DUCKDB_TYPES
from pipeline.mapping import DELETED_AT, KNOWN_AT, OWN_TIME, TablePlan
from pipeline.merges import CUSTOMERS, MERGES, SURVIVORS, Merges
from pipeline.previous import TICK, Previous
from pipeline.staging import quote

PLACE = "__place"
"""Column of `before_<table>`: the place of a row in the stored file."""

UNTIL = "known_until"


@dataclass(frozen=True)
class Counts:
    """Rows of one extract: new, changed, ended (deleted, merged, vanished), and stored before as they are."""

    new: int
    changed: int = 0
    ended: int = 0
    carried: int = 0


@dataclass(frozen=True)
class Memory:
    """One table of an extract beside what was stored of it.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Holds `typed_<table>`, and the merges.
    plan : TablePlan
        The table.
    previous : Previous or None
        The extract before.
    data_end : datetime
        That of this extract (UTC).
    is_same_mapping : bool
        Whether the table was mapped in the same way by the extract before.
    merges : Merges
        Of the deployment.
    keys_read : str or None
        None if all rows were read; else a condition over `{key}`: a row is still there although it was not read.
    keeps_vanished : bool
        Whether rows that vanish from the source stay: the CRM's field history, which CRMs cut off.

    """

    connection: duckdb.DuckDBPyConnection
    plan: TablePlan
    previous: Previous | None
    data_end: datetime
    is_same_mapping: bool
    merges: Merges
    keys_read: str | None = None
    keeps_vanished: bool = False

    def __post_init__(self) -> None:
        self._make_before()

    @property
    def name(self) -> str:
        """Name of the table."""
        return self.plan.name

    @property
    def before(self) -> str:
        """DuckDB view of the stored rows, with the columns of the plan."""
        return quote(f"before_{self.name}")

    @property
    def typed(self) -> str:
        """DuckDB table of the rows that were read."""
        return quote(f"typed_{self.name}")

    @property
    def seen(self) -> str:
        """Last moment before this extract, as SQL."""
        return f"TIMESTAMP '{self.data_end - TICK}'"

    @property
    def stored_columns(self) -> frozenset[str]:
        """Columns of the plan that were stored before."""
        stored = self.previous.stored(self.name) if self.previous else None
        return frozenset(stored.columns) & set(self.plan.columns) if stored else frozenset()

    @property
    def fresh(self) -> tuple[str, ...]:
        """Columns of the plan that were not stored before, although the table was."""
        return tuple(c for c in self.plan.columns if c not in self.stored_columns) if self.stored_columns else ()

    @property
    def rows(self) -> tuple[str, ...]:
        """Columns that a version of a row has, entities' attributes apart."""
        return tuple(column for column in self.plan.columns if column not in self.plan.attributes)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Times that reveal other columns of keyed tables, each with these columns; what was stored before."""
        if self.plan.spec.key is None:
            return {}
        known = self.stored_columns
        times = [time for time, clock in self.plan.clocks.items() if {time, clock} <= known]
        return {t: tuple(c for c, by in self.plan.revealed.items() if by == t and c in known) for t in times}

    @property
    def content(self) -> tuple[str, ...]:
        """Columns whose change makes a new version, revealed groups apart."""
        spec = self.plan.spec
        clocks = {KNOWN_AT, *self.plan.clocks.values()}
        hidden = {column for columns in self.groups.values() for column in columns}
        skipped = {*clocks, *hidden, *self.fresh, *self.plan.attributes, spec.key}
        return tuple(column for column in self.plan.columns if column not in skipped)

    def _make_before(self) -> None:
        """Make the view of the stored rows."""
        stored = self.previous.stored(self.name) if self.previous else None
        if self.previous is None or stored is None:
            return
        columns = []
        for column, kind in self.plan.columns.items():
            name, duck_type = quote(column), DUCKDB_TYPES[kind]
            if column not in stored.columns:
                columns.append(f"CAST(NULL AS {duck_type}) AS {name}")
            else:
                columns.append(name if stored.columns[column] == kind else f"TRY_CAST({name} AS {duck_type}) AS {name}")
        until = UNTIL if UNTIL in stored.columns else f"CAST(NULL AS TIMESTAMP) AS {UNTIL}"
        own = ", is_own" if "is_own" in stored.columns else ""
        path = str(self.previous.tables.path(self.name)).replace("'", "''")
        self.connection.execute(
            f"CREATE VIEW {self.before} AS SELECT file_row_number AS {PLACE}, {', '.join(columns)}, {until}{own} "
            f"FROM read_parquet('{path}', file_row_number=true)"
        )

    @property
    def has_before(self) -> bool:
        """Whether the table was stored before."""
        return bool(self.stored_columns)

    def count_open(self) -> int:
        """Count the rows that hold now; `versions_<table>` is made."""
        query = f"SELECT count(*) FROM {quote(f'versions_{self.name}')} WHERE {UNTIL} IS NULL"
        return int((self.connection.execute(query).fetchone() or (0,))[0])

    def value(self, column: str, alias: str) -> str:
        """Return a column as it is compared: customers by the survivor, with `survivors` joined as `<alias>m`."""
        if column == "customer_id" and self.merges.of(self.name):
            return f"coalesce({alias}m.target, {alias}.customer_id)"
        return f"{alias}.{quote(column)}"

    def survivors(self, alias: str) -> str:
        """Return the join that `value` needs."""
        if not (self.merges.of(self.name) and "customer_id" in self.plan.columns):
            return ""
        return f" LEFT JOIN {SURVIVORS} AS {alias}m ON {alias}m.origin = {alias}.customer_id"

    def hashed(self, columns: tuple[str, ...], alias: str) -> str:
        """Return one number for the values of some columns."""
        return f"hash({', '.join([self.value(column, alias) for column in columns] or ['0'])})"

    @property
    def gone_at(self) -> str:
        """When a row that is delivered (alias `c`) was deleted or merged; null while it holds."""
        deleted, merged = "NULL", "NULL"
        if DELETED_AT in self.plan.ends:
            at = self.seen if self.has_before else f"c.{DELETED_AT}"
            deleted = f"CASE WHEN c.{DELETED_AT} < TIMESTAMP '{self.data_end}' THEN {at} END"
        if self.name == CUSTOMERS and self.merges.is_mapped:
            merged = f"(SELECT moment FROM {MERGES} AS g WHERE g.customer_id = c.customer_id)"
        return f"CAST(least({deleted}, {merged}) AS TIMESTAMP)"

    @property
    def is_first_seen(self) -> str:
        """Condition over a row that is not stored (alias `c`): our seeing it says when it became known."""
        if self.previous is None or self.plan.mapping.known_at == OWN_TIME:
            return "false"
        if self.name not in self.previous.notes.mappings and not self.has_before:
            return "false"
        dated = self.plan.is_dated(KNOWN_AT)
        first = f"NOT {dated if dated in ('true', 'false') else f'c.{dated}'}"
        if self.is_same_mapping:
            return first
        return f"({first} AND c.{quote(self.plan.spec.time)} >= TIMESTAMP '{self.previous.data_end}')"

    def clock(self, time: str, is_seen: str) -> str:
        """Return the clock of a revealed time of a row that was read (alias `c`), if our seeing it dates it."""
        clock = self.plan.clocks[time]
        dated = self.plan.is_dated(clock)
        dated = dated if dated in ("true", "false") else f"c.{dated}"
        filled = f"greatest(c.{quote(clock)}, {self.seen})"
        return (
            f"CASE WHEN c.{quote(clock)} IS NOT NULL AND ({is_seen}) AND NOT {dated} THEN {filled} "
            f"ELSE c.{quote(clock)} END"
        )
