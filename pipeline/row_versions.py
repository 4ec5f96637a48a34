# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Versions of the rows of one table: those stored before, with their ends, and those that begin now."""

from collections.abc import Iterable

import duckdb

from pipeline.mapping import KNOWN_AT
from pipeline.merges import follow_survivors
from pipeline.remember import PLACE, UNTIL, Counts, Memory
from pipeline.staging import ROW, quote


def make_versions(memory: Memory) -> Counts:
    """Make the view `versions_<table>`: the columns of its rows and `known_until`; and count what happened.

    A version that never held (`known_until <= known_at`) is left out.
    """
    if not memory.has_before:
        counts = _begin(memory)
    elif memory.plan.spec.key is not None:
        counts = _compare_keyed(memory)
    else:
        counts = _compare_content(memory)
    names = ", ".join(map(quote, (*memory.rows, UNTIL)))
    held = f"WHERE {UNTIL} IS NULL OR {UNTIL} > {KNOWN_AT}"
    parts = {False: f"(SELECT {names} FROM {quote(f'added_{memory.name}')} {held})"}
    if memory.has_before:
        parts[True] = f"(SELECT {names} FROM ({_stored_rows(memory)}) {held})"
    if memory.merges.of(memory.name) and "customer_id" in memory.rows:
        parts = {is_stored: f"({follow_survivors(rows, is_stored)})" for is_stored, rows in parts.items()}
    rows = " UNION ALL ".join(f"SELECT * FROM {part}" for part in parts.values())
    memory.connection.execute(f"CREATE VIEW {quote(f'versions_{memory.name}')} AS {rows}")
    return counts


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> list[int]:
    return [int(value or 0) for value in connection.execute(query).fetchone() or ()]


def _stored_rows(memory: Memory) -> str:
    """Return the SELECT of the versions that were stored, with what ended or was filled since."""
    hidden = [(time, column) for time, columns in memory.groups.items() for column in columns]
    filled = {column: f"p.{quote(f'fill_{time}')}" for time, column in hidden}
    filled |= {memory.plan.clocks[time]: f"p.{quote(f'fill_{time}')}" for time in memory.groups}
    fields = []
    for column in memory.rows:
        name = quote(column)
        if column in memory.fresh:
            fields.append(f"f.{name} AS {name}")
        elif column in filled:
            fields.append(f"CASE WHEN {filled[column]} THEN p.{name} ELSE b.{name} END AS {name}")
        else:
            fields.append(f"b.{name}")
    fields.append(f"coalesce(b.{UNTIL}, p.ends) AS {UNTIL}")
    return (
        f"SELECT {', '.join(fields)} FROM {memory.before} AS b "
        f"LEFT JOIN {quote(f'patch_{memory.name}')} AS p ON p.place = b.{PLACE}{_join_fresh(memory)}"
    )


def _join_fresh(memory: Memory) -> str:
    """Return the join that fills columns which were not stored before, for rows that were read (alias `f`)."""
    if not set(memory.fresh) & set(memory.rows):
        return ""
    key = memory.plan.spec.key
    if key is not None:
        return f" LEFT JOIN {memory.typed} AS f ON f.{quote(key)} = b.{quote(key)}"
    copy = "row_number() OVER (PARTITION BY h ORDER BY {}) AS copy"
    old = f"SELECT {PLACE}, {memory.hashed(memory.content, 'b')} AS h FROM {memory.before} AS b{memory.survivors('b')} "
    now = f"SELECT {ROW}, {memory.hashed(memory.content, 'c')} AS h FROM {memory.typed} AS c{memory.survivors('c')}"
    return (
        f" LEFT JOIN (SELECT o.{PLACE} AS pair, n.{ROW} AS pair_row "
        f"FROM (SELECT *, {copy.format(PLACE)} FROM ({old} WHERE b.{UNTIL} IS NULL)) AS o "
        f"JOIN (SELECT *, {copy.format(ROW)} FROM ({now})) AS n USING (h, copy)) AS pairs "
        f"ON pairs.pair = b.{PLACE} LEFT JOIN {memory.typed} AS f ON f.{ROW} = pairs.pair_row"
    )


def _fields(memory: Memory, begins: str, is_seen: str, kept: Iterable[str] = ()) -> str:
    """Columns of a version that begins with a row that was read (alias `c`, its comparison `d`)."""
    times = {clock: time for time, clock in memory.plan.clocks.items()}
    kept = set(kept)
    fields = []
    for column in memory.rows:
        value = f"c.{quote(column)}"
        if column == KNOWN_AT:
            value = begins
        elif column in times:
            time = times[column]
            value = memory.clock(time, is_seen)
            if time in kept:
                value = f"CASE WHEN d.{quote(f'same_{time}')} THEN d.{quote(f'old_{time}')} ELSE {value} END"
        fields.append(f"{value} AS {quote(column)}")
    return ", ".join(fields)


def _begin(memory: Memory) -> Counts:
    """Make `added_<table>` of all rows: nothing was stored before."""
    first = memory.is_first_seen
    begins = f"CASE WHEN {first} THEN greatest(c.{KNOWN_AT}, {memory.seen}) ELSE c.{KNOWN_AT} END"
    fields = _fields(memory, begins, first)
    memory.connection.execute(
        f"CREATE VIEW {quote(f'added_{memory.name}')} AS SELECT {fields}, {memory.gone_at} AS {UNTIL}, c.{ROW} "
        f"FROM {memory.typed} AS c"
    )
    return Counts(*_count(memory.connection, f"SELECT count(*) FROM {memory.typed}"))


def _compare_keyed(memory: Memory) -> Counts:
    """Match rows by key; make `added_<table>` (versions that begin) and `patch_<table>` (what ends, what is filled)."""
    _make_difference(memory)
    _make_patch(memory)
    difference, key = quote(f"difference_{memory.name}"), quote(str(memory.plan.spec.key))
    is_back = f"d.key IN (SELECT {key} FROM {memory.before} WHERE {UNTIL} IS NOT NULL)"
    seen, first = memory.seen, memory.is_first_seen
    is_seen = f"d.place IS NOT NULL OR d.is_back OR {first}"
    begins = f"CASE WHEN d.place IS NOT NULL OR d.is_back THEN {seen} WHEN {first} THEN greatest(c.{KNOWN_AT}, {seen}) "
    fields = _fields(memory, f"{begins} ELSE c.{KNOWN_AT} END", is_seen, memory.groups)
    memory.connection.execute(
        f"CREATE TABLE {quote(f'added_{memory.name}')} AS SELECT {fields}, d.gone_at AS {UNTIL}, c.{ROW}, d.place "
        f"FROM (SELECT *, place IS NULL AND {is_back} AS is_back FROM {difference} AS d WHERE row IS NOT NULL) AS d "
        f"JOIN {memory.typed} AS c ON c.{ROW} = d.row "
        f"WHERE CASE WHEN d.place IS NULL THEN d.gone_at IS NULL OR NOT d.is_back "
        f"ELSE d.is_changed AND d.gone_at IS NULL END"
    )
    filled = " OR ".join([quote(f"fill_{time}") for time in memory.groups] or ["false"])
    ended, changed, open_rows = _count(
        memory.connection,
        f"SELECT count(*) FILTER (WHERE row IS NULL OR gone_at IS NOT NULL), "
        f"count(*) FILTER (WHERE gone_at IS NULL AND row IS NOT NULL AND (is_changed OR {filled})), "
        f"(SELECT count(*) FROM {memory.before} WHERE {UNTIL} IS NULL) FROM {difference} WHERE place IS NOT NULL",
    )
    (new,) = _count(memory.connection, f"SELECT count(*) FROM {quote(f'added_{memory.name}')} WHERE place IS NULL")
    return Counts(new, changed, ended, open_rows - ended - changed)


def _make_difference(memory: Memory) -> None:
    """Make `difference_<table>`: stored rows that hold and rows that were read, where they are not the same.

    Columns: place, row (null where there is none), key, gone_at, is_changed; for each time that reveals others
    fill_ (it was null and is filled), same_ (it was filled and nothing of it changed), and old_, its clock.
    """
    key = quote(str(memory.plan.spec.key))
    sides = {}
    for alias, source, place, condition in (
        ("b", memory.before, f"b.{PLACE} AS place", f" WHERE b.{UNTIL} IS NULL"),
        ("c", memory.typed, f"c.{ROW} AS row, {memory.gone_at} AS gone_at", ""),
    ):
        hashes = [f"{memory.hashed(memory.content, alias)} AS h"]
        for time, columns in memory.groups.items():
            clock = f"{alias}.{quote(memory.plan.clocks[time])}"
            hashes += [f"{clock} AS {quote(f'at_{time}')}, {memory.hashed(columns, alias)} AS {quote(f'h_{time}')}"]
        sides[alias] = (
            f"SELECT {place}, {alias}.{key} AS key, {', '.join(hashes)} FROM {source} AS {alias}"
            f"{memory.survivors(alias)}{condition}"
        )
    changed, fields, fills = ["o.h IS DISTINCT FROM n.h"], [], []
    for time in memory.groups:
        at, h = quote(f"at_{time}"), quote(f"h_{time}")
        same = f"o.{h} = n.{h}"
        changed.append(f"(o.{at} IS NOT NULL AND NOT {same})")
        fills.append(f"(o.place IS NOT NULL AND o.{at} IS NULL AND n.{at} IS NOT NULL)")
        fields += [f"{fills[-1]} AS {quote(f'fill_{time}')}", f"o.{at} AS {quote(f'old_{time}')}"]
        fields += [f"coalesce(o.{at} IS NOT NULL AND {same}, false) AS {quote(f'same_{time}')}"]
    is_changed = f"o.place IS NOT NULL AND n.row IS NOT NULL AND ({' OR '.join(changed)})"
    vanished = "true" if memory.keys_read is None else f"NOT ({memory.keys_read.format(key='o.key')})"
    memory.connection.execute(
        f"CREATE TABLE {quote(f'difference_{memory.name}')} AS SELECT o.place, n.row, coalesce(o.key, n.key) AS key, "
        f"n.gone_at, {is_changed} AS is_changed{''.join(f', {field}' for field in fields)} "
        f"FROM ({sides['b']}) AS o FULL JOIN ({sides['c']}) AS n ON n.key = o.key "
        f"WHERE o.place IS NULL OR (n.row IS NULL AND {vanished}) OR n.gone_at IS NOT NULL "
        f"OR (n.row IS NOT NULL AND ({' OR '.join([*changed, *fills])}))"
    )


def _make_patch(memory: Memory) -> None:
    """Make `patch_<table>`: place, when the version ends, and values that are filled now; they fill ended ones too."""
    patch, difference = quote(f"patch_{memory.name}"), quote(f"difference_{memory.name}")
    fields, hidden = [], []
    for time, columns in memory.groups.items():
        clock = quote(memory.plan.clocks[time])
        fields.append(f"d.{quote(f'fill_{time}')} AS {quote(f'fill_{time}')}")
        fields += [f"c.{quote(column)} AS {quote(column)}" for column in columns]
        fields.append(f"{memory.clock(time, 'true')} AS {clock}")
        hidden += [*columns, memory.plan.clocks[time]]
    ends = f"CASE WHEN d.gone_at IS NOT NULL THEN d.gone_at WHEN d.row IS NULL OR d.is_changed THEN {memory.seen} END"
    join = f" LEFT JOIN {memory.typed} AS c ON c.{ROW} = d.row" if fields else ""
    memory.connection.execute(
        f"CREATE TABLE {patch} AS SELECT d.place, d.key, {ends} AS ends{''.join(f', {field}' for field in fields)} "
        f"FROM {difference} AS d{join} WHERE d.place IS NOT NULL"
    )
    if not fields:
        return
    key = quote(str(memory.plan.spec.key))
    fills = ", ".join(
        f"p.{quote(f'fill_{time}')} AND b.{quote(memory.plan.clocks[time])} IS NULL AS {quote(f'fill_{time}')}"
        for time in memory.groups
    )
    names = ", ".join([quote(f"fill_{time}") for time in memory.groups] + list(map(quote, hidden)))
    values = ", ".join(f"p.{quote(column)}" for column in hidden)
    some = " OR ".join(f"p.{quote(f'fill_{time}')}" for time in memory.groups)
    memory.connection.execute(
        f"INSERT INTO {patch} (place, key, ends, {names}) SELECT b.{PLACE}, p.key, NULL, {fills}, {values} "
        f"FROM {memory.before} AS b JOIN {patch} AS p ON p.key = b.{key} WHERE b.{UNTIL} IS NOT NULL AND ({some})"
    )


def _compare_content(memory: Memory) -> Counts:
    """Match rows without a key by content and count; make `added_<table>` and `patch_<table>`.

    Of equal rows too few, those that were known last have ended.
    """
    before, typed, connection = memory.before, memory.typed, memory.connection
    own = " AND NOT is_own" if memory.keeps_vanished and _has_own(memory) else ""
    content = tuple(column for column in memory.content if column not in memory.fresh)
    old = f"SELECT b.{PLACE}, b.{KNOWN_AT}, {memory.hashed(content, 'b')} AS h, b.{UNTIL} FROM {before} AS b"
    old = f"{old}{memory.survivors('b')} WHERE true{own}"
    now = f"SELECT c.{ROW}, {memory.hashed(content, 'c')} AS h FROM {typed} AS c{memory.survivors('c')}"
    now = f"{now} WHERE ({memory.gone_at}) IS NULL"
    counts = quote(f"difference_{memory.name}")
    connection.execute(
        f"CREATE TABLE {counts} AS SELECT coalesce(o.h, n.h) AS h, coalesce(n.rows, 0) - coalesce(o.rows, 0) AS more "
        f"FROM (SELECT h, count(*) AS rows FROM ({old}) WHERE {UNTIL} IS NULL GROUP BY h) AS o "
        f"FULL JOIN (SELECT h, count(*) AS rows FROM ({now}) GROUP BY h) AS n ON n.h = o.h "
        f"WHERE coalesce(n.rows, 0) <> coalesce(o.rows, 0)"
    )
    vanished = "false" if memory.keeps_vanished else f"o.{UNTIL} IS NULL"
    connection.execute(
        f"CREATE TABLE {quote(f'patch_{memory.name}')} AS SELECT o.{PLACE} AS place, {memory.seen} AS ends "
        f"FROM ({old}) AS o JOIN {counts} AS d ON d.h = o.h WHERE d.more < 0 AND {vanished} "
        f"QUALIFY row_number() OVER (PARTITION BY o.h ORDER BY o.{KNOWN_AT} DESC, o.{PLACE} DESC) <= -d.more"
    )
    first, seen = memory.is_first_seen, memory.seen
    is_seen = f"(d.is_back OR {first})"
    begins = f"CASE WHEN {is_seen} THEN greatest(c.{KNOWN_AT}, {seen}) ELSE c.{KNOWN_AT} END"
    connection.execute(
        f"CREATE TABLE {quote(f'added_{memory.name}')} AS SELECT {_fields(memory, begins, is_seen)}, "
        f"CAST(NULL AS TIMESTAMP) AS {UNTIL}, c.{ROW} FROM {typed} AS c JOIN (SELECT n.{ROW} AS row, d.h IN "
        f"(SELECT h FROM ({old}) WHERE {UNTIL} IS NOT NULL) AS is_back "
        f"FROM ({now}) AS n JOIN {counts} AS d ON d.h = n.h "
        f"WHERE d.more > 0 QUALIFY row_number() OVER (PARTITION BY n.h ORDER BY n.{ROW} DESC) <= d.more) AS d "
        f"ON d.row = c.{ROW}"
    )
    new, ended, held = _count(
        connection,
        f"SELECT (SELECT count(*) FROM {quote(f'added_{memory.name}')}), (SELECT count(*) FROM "
        f"{quote(f'patch_{memory.name}')}), (SELECT count(*) FROM {before} WHERE {UNTIL} IS NULL{own})",
    )
    return Counts(new, 0, ended, held - ended)


def _has_own(memory: Memory) -> bool:
    stored = memory.previous.stored(memory.name) if memory.previous else None
    return stored is not None and "is_own" in stored.columns
