# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Our own attribute history: what successive extracts saw change.

A change of our own (`is_own`) occurred, and was known, just before the extract that saw it. It is added where
the value of an entity is not the one that the changes known so far lead to: always for remembered
columns, and for tracked ones where the CRM's history is silent.
"""

from collections.abc import Mapping
from datetime import datetime

import duckdb

from features.tables import TABLES, ColumnType
from pipeline.history import ALL_CHANGES, CHANGES, Attribute, changes_of, first_values, newest_values
from pipeline.mapping import KNOWN_AT
from pipeline.previous import TICK, Previous
from pipeline.remember import PLACE, UNTIL, Counts, Memory
from pipeline.row_versions import make_versions
from pipeline.staging import ROW, quote

IS_OWN = "is_own"
_NEW = 10**12
"""Changes that were not stored before come after those that were."""

_OWN = 2 * _NEW


def change_columns(memory: Memory | None, previous: Previous | None) -> dict[str, ColumnType]:
    """Columns of the stored changes: those of the config's table, or those stored before."""
    stored = previous.stored(CHANGES) if previous else None
    if memory is not None:
        columns = dict(memory.plan.columns)
    else:
        columns = dict(stored.columns) if stored else {**TABLES[CHANGES].columns, KNOWN_AT: "time"}
    return {**columns, IS_OWN: "flag"}


def gather_changes(connection: duckdb.DuckDBPyConnection, memory: Memory | None, previous: Previous | None) -> Counts:
    """Make `all_changes` of the changes that were stored before and those that the source delivers now.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Where the tables are.
    memory : Memory or None
        That of `attribute_changes`; None if the config does not map it.
    previous : Previous or None
        The extract before.

    """
    stored = previous.stored(CHANGES) if previous else None
    columns = change_columns(memory, previous)
    names = ", ".join(quote(column) for column in columns if column != IS_OWN)
    parts, counts = [], Counts(0)
    own = f"coalesce({IS_OWN}, false)" if stored and IS_OWN in stored.columns else "false"
    if memory is not None:
        counts = make_versions(memory)
        parts.append(f"SELECT {ROW} + {_NEW} AS {ROW}, {names}, false AS {IS_OWN} FROM {quote(f'added_{CHANGES}')}")
        if memory.has_before:
            parts.append(f"SELECT {PLACE}, {names}, {own} FROM {memory.before}")
    elif previous and stored:
        path = str(previous.tables.path(CHANGES)).replace("'", "''")
        parts.append(
            f"SELECT file_row_number AS {ROW}, {names}, {own} AS {IS_OWN} "
            f"FROM read_parquet('{path}', file_row_number=true)"
        )
    else:
        empty = ", ".join(
            f"CAST(NULL AS {'TIMESTAMP' if kind == 'time' else 'VARCHAR'}) AS {quote(column)}"
            for column, kind in columns.items()
            if column != IS_OWN
        )
        parts.append(f"SELECT CAST(NULL AS BIGINT) AS {ROW}, {empty}, false AS {IS_OWN} WHERE false")
    connection.execute(f"CREATE TABLE {ALL_CHANGES} AS {' UNION ALL '.join(parts)}")
    return counts


def make_entities(memory: Memory) -> None:
    """Make `entities_<table>`: every entity ever stored, since when it is known, and its attributes as they are.

    What was stored last of each is `last_<table>`.
    """
    key, names = quote(str(memory.plan.spec.key)), [quote(column) for column in memory.plan.attributes]
    memory.connection.execute(
        f"CREATE TABLE {quote(f'last_{memory.name}')} AS SELECT {', '.join([key, KNOWN_AT, *names])} "
        f"FROM {memory.before if memory.has_before else f'(SELECT * FROM {memory.typed} WHERE false)'} "
        f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {KNOWN_AT} DESC) = 1"
    )
    values = ", ".join(f"CASE WHEN c.{ROW} IS NOT NULL THEN c.{name} ELSE l.{name} END AS {name}" for name in names)
    memory.connection.execute(
        f"CREATE TABLE {quote(f'entities_{memory.name}')} AS SELECT born.*, {values} FROM "
        f"(SELECT {key}, min({KNOWN_AT}) AS {KNOWN_AT} FROM {quote(f'versions_{memory.name}')} GROUP BY 1) AS born "
        f"LEFT JOIN {memory.typed} AS c USING ({key}) LEFT JOIN {quote(f'last_{memory.name}')} AS l USING ({key})"
    )


def append_own_changes(memory: Memory, since: Mapping[str, datetime]) -> int:
    """Add our own changes of one entity table to `all_changes`; count entities of which nothing else changed.

    Parameters
    ----------
    memory : Memory
        The table; `entities_<table>` and `last_<table>` are made.
    since : mapping of column to datetime
        When remembered columns began to be remembered (UTC).

    """
    if memory.previous is None or not memory.has_before:
        return 0
    known = memory.previous.notes.remembered_since.get(memory.name, {})
    for column in memory.plan.attributes:
        is_remembered = column in memory.plan.mapping.remembered
        if column in memory.stored_columns and (column in known or not is_remembered):
            attribute = Attribute.of(memory.plan, column, since)
            if not is_remembered:
                _keep_opening(memory, attribute)
            _append_change(memory, attribute)
    changed = memory.connection.execute(
        f"SELECT count(DISTINCT entity_id) FROM {ALL_CHANGES} WHERE {ROW} > {_OWN} AND table_name = '{memory.name}' "
        f"AND old_value IS DISTINCT FROM new_value AND entity_id NOT IN (SELECT key FROM "
        f"{quote(f'difference_{memory.name}')} WHERE place IS NOT NULL)"
    ).fetchall()
    return int(changed[0][0])


def _is_shown(memory: Memory, attribute: Attribute) -> bool:
    """Whether the extract before showed the value that it stored last."""
    shown_at = memory.previous.data_end if memory.previous else memory.data_end
    return attribute.since is None or attribute.since < shown_at


def _changed(memory: Memory, attribute: Attribute, values: str) -> str:
    changes = changes_of(memory.plan, [attribute], ALL_CHANGES, f"entities_{memory.name}")
    return f"(SELECT entity_id, {values}, min({ROW}) AS {ROW} FROM ({changes}) GROUP BY entity_id)"


def _text(value: str, kind: ColumnType) -> str:
    """Return a value as text that its column's cast reads back."""
    return f"strftime({value}, '%Y-%m-%d %H:%M:%S.%f+00')" if kind == "time" else f"CAST({value} AS VARCHAR)"


def _insert(memory: Memory, attribute: Attribute, moment: str, old: str, new: str, rows: str) -> None:
    memory.connection.execute(
        f"INSERT INTO {ALL_CHANGES} ({ROW}, occurred_at, table_name, entity_id, field, old_value, new_value, "
        f"{KNOWN_AT}, {IS_OWN}) SELECT {_OWN} + row_number() OVER (ORDER BY key), {moment}, '{memory.name}', key, "
        f"'{attribute.column}', {_text(old, attribute.kind)}, {_text(new, attribute.kind)}, {moment}, true "
        f"FROM ({rows})"
    )


def _append_change(memory: Memory, attribute: Attribute) -> None:
    """Add a change where the value is not what the changes lead to, or what was shown where there are none."""
    key, name = quote(str(memory.plan.spec.key)), attribute.name
    shown = f"coalesce(g.{name}, {{'v': l.{name}}})" if _is_shown(memory, attribute) else f"g.{name}"
    rows = (
        f"SELECT l.{key} AS key, {shown} AS shown, c.{name} AS value FROM {memory.typed} AS c "
        f"JOIN {quote(f'last_{memory.name}')} AS l USING ({key}) "
        f"LEFT JOIN {_changed(memory, attribute, newest_values([attribute]))} AS g ON g.entity_id = l.{key} "
        f"WHERE {shown} IS NOT NULL AND {shown}.v IS DISTINCT FROM c.{name}"
    )
    seen = f"TIMESTAMP '{memory.data_end - TICK}'"
    _insert(memory, attribute, seen, "shown.v", "value", rows)


def _keep_opening(memory: Memory, attribute: Attribute) -> None:
    """Keep what was shown before the CRM told of any change, where its first old value says something else."""
    if not _is_shown(memory, attribute):
        return
    key, name = quote(str(memory.plan.spec.key)), attribute.name
    rows = (
        f"SELECT e.{key} AS key, e.{KNOWN_AT} AS born, l.{name} AS shown FROM {quote(f'last_{memory.name}')} AS l "
        f"JOIN {quote(f'entities_{memory.name}')} AS e USING ({key}) "
        f"JOIN {_changed(memory, attribute, first_values([attribute]))} AS g ON g.entity_id = l.{key} "
        f"WHERE g.{ROW} >= {_NEW} AND g.{name}.v IS DISTINCT FROM l.{name}"
    )
    _insert(memory, attribute, "born", "shown", "shown", rows)


def any_until(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether any version of a table has ended."""
    query = f"SELECT 1 FROM {quote(f'versions_{name}')} WHERE {UNTIL} IS NOT NULL LIMIT 1"
    return connection.execute(query).fetchone() is not None
