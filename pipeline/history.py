# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Attribute history: one row per version of an entity, made from its changes.

A version holds for `known_at < as_of <= known_until`. Two clocks matter: a change that became known
late does not overwrite a value that occurred after it. What a tracked column was before its first
change is the old value of the change that was known first: never today's value, and never a value
that only a change known later tells of.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import duckdb

from features.tables import ColumnType
from pipeline.findings import Bad, Findings
from pipeline.mapping import KNOWN_AT, TablePlan, is_id
from pipeline.normalise import EXPECTED, cast
from pipeline.rows import Rows
from pipeline.staging import ROW, quote

CHANGES = "attribute_changes"
_CHANGES = quote(f"typed_{CHANGES}")


def entity_versions(plan: TablePlan) -> str:
    """Return the SELECT of the versions of an entity table: its columns, `known_at` and `known_until`.

    Parameters
    ----------
    plan : TablePlan
        An entity table; `typed_<table>` and, if it has tracked columns, `typed_attribute_changes` hold its rows.

    """
    entities = quote(f"typed_{plan.name}")
    kept = ", ".join(quote(column) for column in plan.columns if column != KNOWN_AT)
    if not plan.mapping.tracked:
        return f"SELECT {kept}, {KNOWN_AT}, CAST(NULL AS TIMESTAMP) AS known_until FROM {entities}"
    tracked = [_Tracked.of(plan, column) for column in plan.mapping.tracked]
    key = quote(str(plan.spec.key))
    columns = ", ".join(
        f"versions.{quote(column)}" if column in plan.mapping.tracked else f"entities.{quote(column)}"
        for column in plan.columns
        if column != KNOWN_AT
    )
    return (
        f"WITH {_events(plan, tracked)}, {_versions(tracked)} "
        f"SELECT {columns}, versions.moment AS {KNOWN_AT}, lead(versions.moment) OVER (PARTITION BY versions.entity_id "
        f"ORDER BY versions.moment) AS known_until FROM versions JOIN {entities} AS entities "
        f"ON entities.{key} = versions.entity_id"
    )


@dataclass(frozen=True)
class _Tracked:
    """A tracked column, its type, how its text is read, and since when its history is known (UTC)."""

    column: str
    kind: ColumnType
    new_value: str
    old_value: str
    since: datetime | None

    @classmethod
    def of(cls, plan: TablePlan, column: str) -> "_Tracked":
        kind = plan.columns[column]
        reads = [str(cast(v, "VARCHAR", kind, plan.zone, is_id(plan.spec, column))) for v in ("new_value", "old_value")]
        since = plan.mapping.history_since.get(column)
        return cls(column, kind, reads[0], reads[1], _day_start(since, plan.zone) if since else None)

    @property
    def is_it(self) -> str:
        """Condition: a change of this column."""
        return f"field = '{self.column}'"

    @property
    def name(self) -> str:
        return quote(self.column)


def _day_start(day: date, zone: str) -> datetime:
    local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return local.astimezone(UTC).replace(tzinfo=None)


def _changes_of(plan: TablePlan) -> str:
    """Changes of tracked columns: `place` in the order of occurring, `turn` in that of becoming known."""
    fields = ", ".join(f"'{column}'" for column in plan.mapping.tracked)
    return (
        f"SELECT changes.entity_id, field, old_value, new_value, "
        f"greatest(changes.{KNOWN_AT}, entities.{KNOWN_AT}) AS moment, "
        f"row_number() OVER (PARTITION BY changes.entity_id, field "
        f"ORDER BY changes.occurred_at, changes.{KNOWN_AT}, changes.{ROW}) AS place, "
        f"row_number() OVER (PARTITION BY changes.entity_id, field "
        f"ORDER BY changes.{KNOWN_AT}, changes.occurred_at, changes.{ROW}) AS turn "
        f"FROM {_CHANGES} AS changes JOIN {quote(f'typed_{plan.name}')} AS entities "
        f"ON entities.{quote(str(plan.spec.key))} = changes.entity_id "
        f"WHERE table_name = '{plan.name}' AND field IN ({fields})"
    )


def _events(plan: TablePlan, tracked: list[_Tracked]) -> str:
    """Moments at which something may change: one struct per tracked column, null where nothing does.

    A struct with a null inside is a value that was set to null. Rank 0 is the opening.
    """
    key = f"entities.{quote(str(plan.spec.key))}"
    entities = f"{quote(f'typed_{plan.name}')} AS entities"
    news = ", ".join(
        f"max_by({{'v': {one.new_value}}}, place) FILTER (WHERE {one.is_it}) AS {one.name}" for one in tracked
    )
    olds = ", ".join(
        f"any_value({{'v': {one.old_value}}}) FILTER (WHERE {one.is_it} AND turn = 1) AS {one.name}" for one in tracked
    )
    opening = ", ".join(f"coalesce(olds.{one.name}, {{'v': entities.{one.name}}}) AS {one.name}" for one in tracked)
    nothing = ", ".join("NULL" for _ in tracked)
    starts = "".join(
        f" UNION ALL SELECT {key}, TIMESTAMP '{since}', 1, {nothing} FROM {entities} "
        f"WHERE {KNOWN_AT} < TIMESTAMP '{since}'"
        for since in sorted({one.since for one in tracked if one.since})
    )
    return (
        f"changes AS ({_changes_of(plan)}), "
        "effective AS (SELECT * FROM changes QUALIFY place > coalesce(max(place) OVER (PARTITION BY entity_id, field "
        "ORDER BY moment, place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)), "
        f"olds AS (SELECT entity_id, {olds} FROM changes GROUP BY entity_id), "
        f"events AS (SELECT {key} AS entity_id, entities.{KNOWN_AT} AS moment, 0 AS rank, {opening} "
        f"FROM {entities} LEFT JOIN olds ON olds.entity_id = {key} "
        f"UNION ALL SELECT entity_id, moment, 1, {news} FROM effective GROUP BY entity_id, moment{starts})"
    )


def _versions(tracked: list[_Tracked]) -> str:
    """Versions: the newest value of every column at each moment, without moments at which nothing changed."""
    merged = ", ".join(
        f"coalesce(any_value({one.name}) FILTER (WHERE rank = 1), any_value({one.name})) AS {one.name}"
        for one in tracked
    )
    filled = ", ".join(f"last_value({one.name} IGNORE NULLS) OVER history AS {one.name}" for one in tracked)
    values = ", ".join(
        f"CASE WHEN moment >= TIMESTAMP '{one.since}' THEN {one.name}.v END AS {one.name}"
        if one.since
        else f"{one.name}.v AS {one.name}"
        for one in tracked
    )
    differs = " OR ".join(f"{one.name} IS DISTINCT FROM lag({one.name}) OVER history" for one in tracked)
    history = "WINDOW history AS (PARTITION BY entity_id ORDER BY moment ROWS UNBOUNDED PRECEDING)"
    return (
        f"merged AS (SELECT entity_id, moment, {merged} FROM events GROUP BY entity_id, moment), "
        f"filled AS (SELECT entity_id, moment, {filled} FROM merged {history}), "
        f"valued AS (SELECT entity_id, moment, {values} FROM filled), "
        f"versions AS (SELECT * FROM valued {history} "
        f"QUALIFY lag(moment) OVER history IS NULL OR {differs})"
    )


def check_history(connection: duckdb.DuckDBPyConnection, plan: TablePlan) -> Findings:
    """Check the changes of one entity table.

    Bad is a value that cannot be read as its column's type. A warning counts entities whose
    newest change disagrees with their current value: the history stays as the changes say.
    """
    found = Findings()
    tracked = [_Tracked.of(plan, column) for column in plan.mapping.tracked]
    bad = {
        (one, name): f"table_name = '{plan.name}' AND {one.is_it} AND nullif(trim({name}), '') IS NOT NULL "
        f"AND ({read}) IS NULL"
        for one in tracked
        for name, read in (("old_value", one.old_value), ("new_value", one.new_value))
    }
    changes = Rows(connection, f"typed_{CHANGES}")
    counts = changes.counts({f"{one.column} {name}": condition for (one, name), condition in bad.items()})
    for (one, name), condition in bad.items():
        if count := counts[f"{one.column} {name}"]:
            sentence = (
                f"Table '{CHANGES}': {count:,} values of {name} for {plan.name}.{one.column} cannot be read "
                f"({changes.shown(name, condition)}), expected {EXPECTED[one.kind]}. Fix them at the source or "
                f"convert them in tables.{CHANGES}.select."
            )
            reason = f"{name} cannot be read as {plan.name}.{one.column}"
            found.bad.append(Bad(reason, changes.table, condition, sentence))
    if tracked and not found.bad:
        found.warnings += _disagreeing(connection, plan, tracked)
    return found


def _disagreeing(connection: duckdb.DuckDBPyConnection, plan: TablePlan, tracked: list[_Tracked]) -> list[str]:
    """Return a warning per column whose newest change says something else than its current value."""
    newest = ", ".join(
        f"max_by({{'v': {one.new_value}}}, place) FILTER (WHERE {one.is_it}) AS {one.name}" for one in tracked
    )
    other = ", ".join(
        f"count(*) FILTER (WHERE changed.{one.name} IS NOT NULL "
        f"AND changed.{one.name}.v IS DISTINCT FROM entities.{one.name})"
        for one in tracked
    )
    counts = connection.execute(
        f"SELECT {other} FROM (SELECT entity_id, {newest} FROM ({_changes_of(plan)}) GROUP BY entity_id) AS changed "
        f"JOIN {quote(f'typed_{plan.name}')} AS entities ON entities.{quote(str(plan.spec.key))} = changed.entity_id"
    ).fetchone()
    return [
        f"{count:,} {plan.name} have another {one.column} than their newest change says"
        for one, count in zip(tracked, counts or (), strict=True)
        if count
    ]


def count_strangers(connection: duckdb.DuckDBPyConnection, plans: list[TablePlan]) -> list[str]:
    """Warnings about changes that no entity table can use: other tables, other columns, unknown entities."""
    if not plans:
        return []
    names = ", ".join(f"'{plan.name}'" for plan in plans)
    tracked = ", ".join(["''", *(f"'{plan.name}.{column}'" for plan in plans for column in plan.mapping.tracked)])
    known = " OR ".join(
        f"(table_name = '{plan.name}' AND entity_id IN (SELECT {plan.spec.key} FROM {quote(f'typed_{plan.name}')}))"
        for plan in plans
    )
    is_ours = f"table_name IN ({names})"
    column = "table_name || '.' || field"
    strangers = {
        "tables without history": ("table_name", f"NOT {is_ours}"),
        "columns that are not tracked": (column, f"{is_ours} AND {column} NOT IN ({tracked})"),
        "unknown entities": ("entity_id", f"{is_ours} AND NOT ({known})"),
    }
    changes = Rows(connection, f"typed_{CHANGES}")
    counts = changes.counts({what: condition for what, (_, condition) in strangers.items()})
    return [
        f"{counts[what]:,} rows are about {what} ({changes.shown(expression, condition)})"
        for what, (expression, condition) in strangers.items()
        if counts[what]
    ]
