# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""What two successive extracts tell: which columns changed that nobody dates, and whether the outcome came with it.

The counts are kept in the manifest and grow with every extract of a later `data_end`.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import duckdb

from features.tables import StoredTable
from pipeline.audit_aside import RARE, aside_columns, aside_name, read, read_notes
from pipeline.audit_outcome import SETTLED_BY, horizon_days, lapses
from pipeline.config import Config
from pipeline.previous import Previous
from pipeline.remember import UNTIL, Memory
from pipeline.staging import quote


@dataclass(frozen=True)
class Changes:
    """Rows of a column that two successive extracts had, summed over all pairs of extracts.

    Parameters
    ----------
    rows, changed : int
        Rows in both extracts, and those whose value was another in the later one.
    filled : int
        Of the changed, those that had no value before.
    settled_rows, settled_changed : int
        The same of rows whose outcome became known between the two.

    """

    rows: int = 0
    changed: int = 0
    filled: int = 0
    settled_rows: int = 0
    settled_changed: int = 0

    def plus(self, other: "Changes") -> "Changes":
        """Return the sums."""
        return Changes(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


def read_changes(notes: Mapping[str, Any]) -> dict[str, dict[str, Changes]]:
    """Return the counts of the manifest by table and column."""
    counted = notes.get("changes", {})
    return {
        table: {column: Changes(**counts) for column, counts in columns.items()} for table, columns in counted.items()
    }


def count_changes(
    config: Config,
    memories: Mapping[str, Memory],
    previous: Previous | None,
    asides: Mapping[str, StoredTable],
    selected: Collection[str],
) -> dict[str, dict[str, dict[str, int]]]:
    """Count what changed since the extract before, on top of what was counted until then.

    Parameters
    ----------
    config : Config
        The deployment.
    memories : mapping of table to Memory
        All tables of the extract; `versions_<table>` and `audit_<table>` are made.
    previous : Previous or None
        The extract before.
    asides : mapping of table to StoredTable
        Undeclared columns as the extract before kept them.
    selected : collection of str
        Tables with the same SELECT as in the extract before: counts of another one are of other columns.

    Returns
    -------
    dict of table to dict of column to dict
        The counts, for the manifest.

    """
    if previous is None:
        return {}
    before = read_changes(read_notes(previous.tables.folder))
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for name, memory in ((name, memory) for name, memory in memories.items() if name in selected):
        watched = (*memory.plan.mapping.static, *(one.name for one in memory.plan.aside))
        total = {column: found for column, found in before.get(name, {}).items() if column in watched}
        if memory.has_before and memory.plan.spec.is_entity and previous.data_end < memory.data_end:
            for column, found in _compare(config, memory, memories, previous, asides.get(name)).items():
                total[column] = total.get(column, Changes()).plus(found)
        if total:
            counts[name] = {column: asdict(found) for column, found in sorted(total.items())}
    return counts


def _compare(
    config: Config, memory: Memory, memories: Mapping[str, Memory], previous: Previous, aside: StoredTable | None
) -> dict[str, Changes]:
    """Count the changes of one table between the two extracts."""
    pairs = {
        column: (f"b.{quote(column)}", f"c.{quote(column)}")
        for column in memory.plan.mapping.static
        if column in memory.stored_columns
    }
    columns, key = aside_columns(memory.plan), quote(str(memory.plan.spec.key))
    joins = ""
    if aside is not None and memory.plan.aside:
        folder = previous.tables.folder
        joins = f" JOIN {read(folder / aside.file)} AS o USING ({key}) JOIN {quote(aside_name(memory.name))} AS n"
        joins = f"{joins} USING ({key})"
        same = {one.name for one in memory.plan.aside if aside.columns.get(one.name) == columns[one.name]}
        pairs |= {column: (f"o.{quote(column)}", f"n.{quote(column)}") for column in sorted(same)}
    if not pairs:
        return {}
    settled = _settled_between(config, memory, memories, previous.data_end)
    counted = []
    for old, now in pairs.values():
        changed = f"{old} IS DISTINCT FROM {now}"
        if old.startswith("o."):  # whether a text is rare may change with the texts of others
            changed = f"{changed} AND '{RARE}' NOT IN (coalesce(CAST({old} AS VARCHAR), ''), {_text(now)})"
            changed = f"({changed} OR ({old} IS NULL) <> ({now} IS NULL))"
        counted += [changed, f"{changed} AND {old} IS NULL", f"{changed} AND {settled}"]
    figures = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in ("true", settled, *counted))
    rows, settled_rows, *found = (
        memory.connection.execute(
            f"SELECT {figures} FROM {memory.before} AS b JOIN {memory.typed} AS c USING ({key}){joins} "
            f"WHERE b.{UNTIL} IS NULL"
        ).fetchone()
        or ()
    )
    return {
        column: Changes(rows, found[3 * i], found[3 * i + 1], settled_rows, found[3 * i + 2])
        for i, column in enumerate(pairs)
    }


def _text(value: str) -> str:
    return f"coalesce(CAST({value} AS VARCHAR), '')"


def _settled_between(config: Config, memory: Memory, memories: Mapping[str, Memory], before: datetime) -> str:
    """Return the condition that the outcome of a row became known between the two extracts, or another."""
    if time := SETTLED_BY.get(memory.name):
        known = time in memory.stored_columns
        return f"(b.{quote(time)} IS NULL AND c.{quote(time)} IS NOT NULL)" if known else "false"
    if memory.name != "customers" or "orders" not in memories:
        return "false"
    orders, days = memories["orders"], horizon_days(config)
    table = quote("audit_settled_customers")
    _make_settled(memory.connection, table, orders, before, days)
    return f"(c.customer_id IN (SELECT customer_id FROM {table}))"


def _make_settled(
    connection: duckdb.DuckDBPyConnection, table: str, orders: Memory, before: datetime, days: int
) -> None:
    """Make the table of customers who lapsed, or came back, between the two extracts."""
    rows = f"(SELECT * FROM {quote('versions_orders')} WHERE {UNTIL} IS NULL)"
    then, now = (lapses(rows, orders.plan.columns, at, days) for at in (before, orders.data_end))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT customer_id FROM ({then}) AS t FULL JOIN ({now}) AS n "
        f"USING (customer_id) WHERE coalesce(t.is_settled, false) <> coalesce(n.is_settled, false)"
    )
