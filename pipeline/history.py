# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Attribute history: one row per version of an entity, made from its changes and the versions of its row.

A version holds for `known_at < as_of <= known_until`. Two clocks matter: a change that became known
late does not overwrite a value that occurred after it. What a tracked column was before its first
change is the old value of the change that was known first: never today's value, and never a value
that only a change known later tells of.
"""

from collections.abc import Mapping, Sequence
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
ALL_CHANGES = "all_changes"
"""DuckDB table: all changes that are known, those of our own (`is_own`) too, in the order of `__row`."""


def entity_versions(plan: TablePlan, since: Mapping[str, datetime]) -> str:
    """Return the SELECT of the versions of an entity table: its columns and `known_until`.

    Parameters
    ----------
    plan : TablePlan
        An entity table with attributes. `versions_<table>` holds the versions of its rows, `entities_<table>`
        each entity with its attributes as they are, `all_changes` what changed them.
    since : mapping of column to datetime
        Remembered columns: before this moment their value is unknown (UTC).

    """
    attributes = [Attribute.of(plan, column, since) for column in plan.attributes]
    key = quote(str(plan.spec.key))
    clocks = {
        KNOWN_AT: f"greatest(a.moment, r.{KNOWN_AT})",
        "known_until": "least(a.until, r.known_until)",
    }
    columns = [*plan.columns, "known_until"]
    values = ", ".join(
        f"{clocks[c]} AS {c}" if c in clocks else f"{'a' if c in plan.attributes else 'r'}.{quote(c)}" for c in columns
    )
    same = " AND ".join(
        f"{quote(c)} IS NOT DISTINCT FROM lag({quote(c)}) OVER history" for c in plan.columns if c not in clocks
    )
    names = ", ".join(map(quote, plan.columns))
    return (
        f"WITH {_events(plan, attributes)}, {_versions(attributes)}, "
        f"held AS (SELECT *, lead(moment) OVER (PARTITION BY entity_id ORDER BY moment) AS until FROM versions), "
        f"pieces AS (SELECT {values} FROM {quote(f'versions_{plan.name}')} AS r JOIN held AS a "
        f"ON a.entity_id = r.{key} AND coalesce(a.moment < r.known_until, true) "
        f"AND coalesce(r.{KNOWN_AT} < a.until, true)), "
        f"marked AS (SELECT *, lag(known_until) OVER history AS end_before, coalesce(lag(known_until) OVER history = "
        f"{KNOWN_AT} AND {same}, false) AS goes_on, last_value(known_until) OVER (history ROWS BETWEEN UNBOUNDED "
        f"PRECEDING AND UNBOUNDED FOLLOWING) AS last_end FROM pieces WINDOW history AS (PARTITION BY {key} "
        f"ORDER BY {KNOWN_AT})) "
        f"SELECT {names}, CASE WHEN lead({KNOWN_AT}) OVER history IS NULL THEN last_end "
        f"ELSE lead(end_before) OVER history END AS known_until FROM (SELECT * FROM marked WHERE NOT goes_on) "
        f"WINDOW history AS (PARTITION BY {key} ORDER BY {KNOWN_AT})"
    )


@dataclass(frozen=True)
class Attribute:
    """A column of an entity with a history, its type, how its text is read, and since when it is known (UTC)."""

    column: str
    kind: ColumnType
    new_value: str
    old_value: str
    since: datetime | None
    is_remembered: bool

    @classmethod
    def of(cls, plan: TablePlan, column: str, since: Mapping[str, datetime] | None = None) -> "Attribute":
        """Describe a tracked or remembered column of an entity table."""
        kind = plan.columns[column]
        reads = [str(cast(v, "VARCHAR", kind, plan.zone, is_id(plan.spec, column))) for v in ("new_value", "old_value")]
        day = plan.mapping.history_since.get(column)
        begins = _day_start(day, plan.zone) if day else (since or {}).get(column)
        return cls(column, kind, reads[0], reads[1], begins, column in plan.mapping.remembered)

    @property
    def is_it(self) -> str:
        """Condition: a change of this column; the history of a remembered one is ours alone."""
        return f"field = '{self.column}'{' AND is_own' if self.is_remembered else ''}"

    @property
    def name(self) -> str:
        """Return the column as an SQL identifier."""
        return quote(self.column)


def _day_start(day: date, zone: str) -> datetime:
    local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return local.astimezone(UTC).replace(tzinfo=None)


def changes_of(plan: TablePlan, attributes: Sequence[Attribute], changes: str, entities: str) -> str:
    """Changes of attributes: `place` in the order of occurring, `turn` in that of becoming known."""
    wanted = " OR ".join(f"({one.is_it})" for one in attributes)
    return (
        f"SELECT changes.entity_id, changes.{ROW}, field, old_value, new_value, "
        f"greatest(changes.{KNOWN_AT}, entities.{KNOWN_AT}) AS moment, "
        f"row_number() OVER (PARTITION BY changes.entity_id, field "
        f"ORDER BY changes.occurred_at, changes.{KNOWN_AT}, changes.{ROW}) AS place, "
        f"row_number() OVER (PARTITION BY changes.entity_id, field "
        f"ORDER BY changes.{KNOWN_AT}, changes.occurred_at, changes.{ROW}) AS turn "
        f"FROM {changes} AS changes JOIN {quote(entities)} AS entities "
        f"ON entities.{quote(str(plan.spec.key))} = changes.entity_id "
        f"WHERE table_name = '{plan.name}' AND ({wanted})"
    )


def newest_values(attributes: Sequence[Attribute]) -> str:
    """Per attribute, what the change that occurred last says, as a struct; null without a change."""
    return ", ".join(
        f"max_by({{'v': {one.new_value}}}, place) FILTER (WHERE field = '{one.column}') AS {one.name}"
        for one in attributes
    )


def first_values(attributes: Sequence[Attribute]) -> str:
    """Per attribute, what it was before the change that was known first, as a struct; null without a change."""
    return ", ".join(
        f"any_value({{'v': {one.old_value}}}) FILTER (WHERE field = '{one.column}' AND turn = 1) AS {one.name}"
        for one in attributes
    )


def _events(plan: TablePlan, attributes: Sequence[Attribute]) -> str:
    """Moments at which something may change: one struct per attribute, null where nothing does.

    A struct with a null inside is a value that was set to null. Rank 0 is the opening.
    """
    key = f"entities.{quote(str(plan.spec.key))}"
    entities = f"{quote(f'entities_{plan.name}')} AS entities"
    changes = changes_of(plan, attributes, ALL_CHANGES, f"entities_{plan.name}")
    opening = ", ".join(f"coalesce(olds.{one.name}, {{'v': entities.{one.name}}}) AS {one.name}" for one in attributes)
    nothing = ", ".join("NULL" for _ in attributes)
    starts = "".join(
        f" UNION ALL SELECT {key}, TIMESTAMP '{since}', 1, {nothing} FROM {entities} "
        f"WHERE {KNOWN_AT} < TIMESTAMP '{since}'"
        for since in sorted({one.since for one in attributes if one.since})
    )
    return (
        f"changes AS ({changes}), "
        "effective AS (SELECT * FROM changes QUALIFY place > coalesce(max(place) OVER (PARTITION BY entity_id, field "
        "ORDER BY moment, place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)), "
        f"olds AS (SELECT entity_id, {first_values(attributes)} FROM changes GROUP BY entity_id), "
        f"events AS (SELECT {key} AS entity_id, entities.{KNOWN_AT} AS moment, 0 AS rank, {opening} "
        f"FROM {entities} LEFT JOIN olds ON olds.entity_id = {key} "
        f"UNION ALL SELECT entity_id, moment, 1, {newest_values(attributes)} FROM effective "
        f"GROUP BY entity_id, moment{starts})"
    )


def _versions(tracked: Sequence[Attribute]) -> str:
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
    tracked = [Attribute.of(plan, column) for column in plan.mapping.tracked]
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


def _disagreeing(connection: duckdb.DuckDBPyConnection, plan: TablePlan, tracked: list[Attribute]) -> list[str]:
    """Return a warning per column whose newest change says something else than its current value."""
    changes = changes_of(plan, tracked, f"typed_{CHANGES}", f"typed_{plan.name}")
    other = ", ".join(
        f"count(*) FILTER (WHERE changed.{one.name} IS NOT NULL "
        f"AND changed.{one.name}.v IS DISTINCT FROM entities.{one.name})"
        for one in tracked
    )
    counts = connection.execute(
        f"SELECT {other} FROM (SELECT entity_id, {newest_values(tracked)} FROM ({changes}) GROUP BY 1) AS changed "
        f"JOIN {quote(f'typed_{plan.name}')} AS entities ON entities.{quote(str(plan.spec.key))} = changed.entity_id"
    ).fetchone()
    return [
        f"{count:,} {plan.name} have another {one.column} than their newest change says"
        for one, count in zip(tracked, counts or (), strict=True)
        if count
    ]


def count_strangers(
    connection: duckdb.DuckDBPyConnection, plans: list[TablePlan], keys: Mapping[str, str]
) -> list[str]:
    """Warnings about changes that no entity table can use: other tables, other columns, unknown entities.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Holds `typed_attribute_changes`.
    plans : list of TablePlan
        The entity tables.
    keys : mapping of table to str
        SELECT of all keys of a table, those of rows that were not read too; a table without rows is absent.

    """
    if not plans:
        return []
    names = ", ".join(f"'{plan.name}'" for plan in plans)
    tracked = ", ".join(["''", *(f"'{plan.name}.{column}'" for plan in plans for column in plan.mapping.tracked)])
    known = " OR ".join(
        f"(table_name = '{plan.name}' AND entity_id IN ({keys[plan.name]}))" if plan.name in keys else "false"
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
