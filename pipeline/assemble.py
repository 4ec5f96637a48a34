# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""The tables that an extract stores: what was read, beside what the extracts before remember."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import duckdb

from features.tables import ColumnType
from pipeline.audit_aside import aside_columns, aside_name, find_aside, make_aside
from pipeline.audit_changes import count_changes
from pipeline.config import Config
from pipeline.findings import Findings
from pipeline.history import ALL_CHANGES, CHANGES, entity_versions
from pipeline.intake import Intake
from pipeline.mapping import KNOWN_AT, MERGED_AT, MERGED_INTO, TablePlan
from pipeline.merges import CUSTOMERS, MERGES, Merges, find_merges
from pipeline.own_history import any_until, append_own_changes, change_columns, gather_changes, make_entities
from pipeline.previous import TICK, Notes, Previous, fingerprint
from pipeline.remember import UNTIL, Counts, Memory
from pipeline.row_versions import make_versions
from pipeline.staging import ROW, quote


@dataclass(frozen=True)
class Output:
    """One table that is to be stored: a SELECT in a total order, and what the manifest says of it."""

    name: str
    query: str
    columns: Mapping[str, ColumnType]
    revealed: Mapping[str, str] = field(default_factory=dict)
    sensitive: tuple[str, ...] = ()


@dataclass(frozen=True)
class Assembly:
    """All tables that are to be stored, what happened to their rows, and the notes for the next extract.

    `asides` are the columns kept for the audit, by table, and `changes` what it counts.
    """

    outputs: tuple[Output, ...]
    counts: Mapping[str, Counts]
    notes: Notes
    asides: Mapping[str, Output]
    changes: Mapping[str, Any]


def assemble(
    connection: duckdb.DuckDBPyConnection, config: Config, intake: Intake, previous: Previous | None
) -> Assembly | None:
    """Lay what was read beside what was stored; None if that shows a problem, which `intake` then has.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Holds `typed_<table>` for every plan.
    config : Config
        The deployment.
    intake : Intake
        What was read, without problems.
    previous : Previous or None
        The extract before.

    """
    data_end = intake.period.data_end
    merges = find_merges(connection, intake.plans.get(CUSTOMERS), previous, data_end)
    if merges.is_mapped:
        intake.add(CUSTOMERS, merges.found)
    if merges.found.problems:
        return None
    notes = _take_notes(config, intake, previous)
    memories = {
        name: Memory(
            connection,
            plan,
            previous,
            data_end,
            previous is not None and previous.notes.mappings.get(name) == fingerprint(config, name),
            merges,
            intake.keys_read.get(name),
            keeps_vanished=name == CHANGES,
        )
        for name, plan in intake.plans.items()
        if intake.rows[name] or (previous and previous.stored(name))
    }
    counts = {name: make_versions(memory) for name, memory in memories.items() if name != CHANGES}
    with_attributes = [memory for memory in memories.values() if memory.plan.attributes]
    if with_attributes or CHANGES in memories:
        counts[CHANGES] = gather_changes(connection, memories.get(CHANGES), previous)
    for memory in with_attributes:
        make_entities(memory)
        changed = append_own_changes(memory, notes.remembered_since.get(memory.name, {}))
        was = counts[memory.name]
        counts[memory.name] = replace(was, changed=was.changed + changed, carried=was.carried - changed)
    for memory in memories.values():
        intake.add(memory.name, Findings(warnings=_changed_static(memory)))
    outputs = [_output(memory, merges, notes) for name, memory in memories.items() if name != CHANGES]
    if CHANGES in counts and connection.execute(f"SELECT 1 FROM {ALL_CHANGES} LIMIT 1").fetchone():
        outputs.append(_changes_output(memories.get(CHANGES), previous))
    unread = {name: intake.source_rows[name] - memories[name].count_open() for name in intake.swept if name in memories}
    before = find_aside(previous)
    asides = {
        name: Output(aside_name(name), make_aside(memory, before.get(name)), aside_columns(memory.plan))
        for name, memory in memories.items()
        if memory.plan.aside
    }
    changes = count_changes(config, memories, previous, before, intake.same_selects())
    return Assembly(tuple(outputs), counts, replace(notes, unread=unread), asides, changes)


def _take_notes(config: Config, intake: Intake, previous: Previous | None) -> Notes:
    """Return what the next extract has to know."""
    data_end = intake.period.data_end
    known = previous.notes.remembered_since if previous else {}
    since: dict[str, dict[str, datetime]] = {
        name: {column: known.get(name, {}).get(column, data_end - TICK) for column in plan.mapping.remembered}
        for name, plan in intake.plans.items()
        if plan.mapping.remembered
    }
    return Notes(
        began=previous.notes.began if previous else data_end,
        mappings={name: fingerprint(config, name) for name in intake.plans},
        remembered_since=since,
        swept=intake.swept,
    )


def _changed_static(memory: Memory) -> list[str]:
    """Warnings about static columns that are not."""
    static = [column for column in memory.plan.mapping.static if column in memory.stored_columns]
    if not static or not memory.has_before:
        return []
    differ = ", ".join(f"count(*) FILTER (WHERE b.{quote(c)} IS DISTINCT FROM c.{quote(c)})" for c in static)
    found = memory.connection.execute(
        f"SELECT {differ} FROM {quote(f'difference_{memory.name}')} AS d "
        f"JOIN {memory.before} AS b ON b.__place = d.place JOIN {memory.typed} AS c ON c.{ROW} = d.row "
        f"WHERE d.is_changed"
    ).fetchone()
    return [
        f"{count:,} rows changed {column} since the last extract, which is static: declare it remembered"
        for column, count in zip(static, found or (), strict=True)
        if count
    ]


def _output(memory: Memory, merges: Merges, notes: Notes) -> Output:
    """Return the SELECT of one table in a total order: entities by key and version, events by time."""
    plan = memory.plan
    columns: dict[str, ColumnType] = dict(plan.columns)
    rows = quote(f"versions_{plan.name}")
    if plan.attributes:
        rows = f"({entity_versions(plan, notes.remembered_since.get(plan.name, {}))})"
    if plan.spec.is_entity or any_until(memory.connection, plan.name):
        columns[UNTIL] = "time"
    order = [plan.spec.time, plan.spec.key or "", KNOWN_AT]
    if plan.spec.is_entity:
        order = [str(plan.spec.key), KNOWN_AT]
    elif plan.spec.key is None:
        order = [plan.spec.time, *columns]
    revealed = dict(plan.revealed)
    if plan.name == CUSTOMERS and merges.is_mapped:
        rows, columns = _with_merges(rows, columns)
        revealed |= {MERGED_INTO: MERGED_AT, MERGED_AT: MERGED_AT}
    names, by = (", ".join(map(quote, part)) for part in (columns, order))
    query = f"SELECT {names} FROM {rows} ORDER BY {by}"
    return Output(plan.name, query, columns, revealed, plan.sensitive)


def _with_merges(rows: str, columns: Mapping[str, ColumnType]) -> tuple[str, dict[str, ColumnType]]:
    """Add who took a customer over and when to all of its versions; the clock of the merge hides it in them."""
    clock = f"{MERGED_AT}_{KNOWN_AT}"
    joined = (
        f"(SELECT r.*, m.merged_into AS {MERGED_INTO}, m.moment AS {MERGED_AT}, m.moment AS {clock} FROM {rows} AS r "
        f"LEFT JOIN {MERGES} AS m ON m.customer_id = r.customer_id)"
    )
    return joined, {**columns, MERGED_INTO: "text", MERGED_AT: "time", clock: "time"}


def _changes_output(memory: Memory | None, previous: Previous | None) -> Output:
    """Return the SELECT of all attribute changes; those of one moment stay in the order in which they were read."""
    columns = change_columns(memory, previous)
    names = ", ".join(map(quote, columns))
    query = f"SELECT {names} FROM {ALL_CHANGES} ORDER BY occurred_at, {KNOWN_AT}, {ROW}"
    plan: TablePlan | None = memory.plan if memory else None
    return Output(CHANGES, query, columns, dict(plan.revealed) if plan else {}, plan.sensitive if plan else ())
