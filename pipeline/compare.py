# ruff: noqa: S608  (SQL is put together from quoted names of our own)
"""An extract against the one before it: the source's columns, its clock, and how many rows are left.

What a source delivered is kept in the manifest of the tables under `delivered`. A nightly job stops
where something changed that nobody changed in the config; a person looks, and goes on with
`--accept-schema`, `--accept-shrink` or `--start-over`.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from features.tables import MANIFEST, ColumnType, TableSpec
from pipeline.config import TableMapping
from pipeline.findings import Findings
from pipeline.mapping import TablePlan, is_id
from pipeline.normalise import family
from pipeline.sentences import count_rows
from pipeline.staging import Delivered

DELIVERED = "delivered"
"""Key of the manifest."""

NOTHING = "NULL"
"""Type of a column that has never had a value."""

_FAMILIES = {"whole": "number", "float": "number", "decimal": "number"}


@dataclass(frozen=True)
class Before:
    """What the extract before was delivered for one table.

    Parameters
    ----------
    select : str
        Hash of its SELECT: another SELECT is a person's doing and not compared.
    types : mapping of column to DuckDB type
        Delivered columns that were stored.
    given_up : tuple of str
        Columns that the SELECT no longer delivers and that a person has given up.
    stored : mapping of column to type
        Columns of the stored table.

    """

    select: str
    types: Mapping[str, str]
    given_up: tuple[str, ...] = ()
    stored: Mapping[str, ColumnType] = field(default_factory=dict)


@dataclass(frozen=True)
class Schema:
    """How the columns of one table compare with those of the extract before.

    Parameters
    ----------
    mapping : TableMapping
        The table's part of the config, without the columns that are gone.
    stored : mapping of column to type
        Types that columns of the source's own keep while their values fit.
    given_up : tuple of str
        Columns that are gone and that a person has given up.
    findings : Findings
        What stops the extract, and what a person should know.

    """

    mapping: TableMapping
    stored: Mapping[str, ColumnType] = field(default_factory=dict)
    given_up: tuple[str, ...] = ()
    findings: Findings = field(default_factory=Findings)


@dataclass(frozen=True)
class Stored:
    """What the extract before stored and was delivered, by table, and where its data ended (UTC)."""

    folder: Path
    data_end: datetime
    tables: Mapping[str, Mapping[str, Any]]
    before: Mapping[str, Before]


def load_stored(folder: Path) -> Stored | None:
    """Read what the extract before stored from its manifest, files unseen; None if there is none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        tables = manifest["tables"]
        before = {
            name: Before(
                entry["select"], entry["types"], tuple(entry["given_up"]), tables.get(name, {}).get("columns", {})
            )
            for name, entry in manifest.get(DELIVERED, {}).items()
        }
        return Stored(folder, datetime.fromisoformat(manifest["data_end"]), tables, before)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def describe_delivered(
    plan: TablePlan, delivered: Delivered, before: Before | None, schema: Schema, unreadable: Collection[str] = ()
) -> dict[str, Any]:
    """Return the manifest's entry on what a source delivered for one table.

    A column without values keeps the type that it had, and so does one in which some cannot be read.
    """
    types = {one.source: NOTHING if one.source in delivered.empty else one.duck_type for one in plan.casts}
    if before and before.select == _hash(plan.mapping):
        unclear = {*delivered.empty, *unreadable}
        types |= {source: before.types[source] for source in types if source in unclear and source in before.types}
    return {"select": _hash(plan.mapping), "types": types, "given_up": list(schema.given_up)}


def _hash(mapping: TableMapping) -> str:
    return hashlib.sha256(mapping.select.encode()).hexdigest()[:16]


def check_columns(
    spec: TableSpec, mapping: TableMapping, delivered: Delivered, before: Before | None, *, accept_schema: bool
) -> Schema:
    """Find the columns that are gone since the extract before.

    Parameters
    ----------
    spec, mapping
        The canonical table and its part of the config.
    delivered : Delivered
        What the source delivers now.
    before : Before or None
        What it delivered; None: nothing to compare with.
    accept_schema : bool
        Go on without the columns that are gone.

    """
    if before is None or before.select != _hash(mapping):
        return Schema(mapping)
    gone = [c for c in before.types if c not in delivered.columns and c not in spec.required]
    given_up = [c for c in before.given_up if c not in delivered.columns]
    lost = [column for column in gone if column not in given_up]
    unknown = {column for column, duck_type in before.types.items() if duck_type == NOTHING}
    stored = {} if accept_schema else {c: kind for c, kind in before.stored.items() if c not in unknown}
    if lost and not accept_schema:
        problems = [_say_lost(spec.name, column, before.types[column], delivered) for column in lost]
        return Schema(_without(mapping, [*lost, *given_up]), stored, tuple(given_up), Findings(problems))
    kept = (mapping.known_at, mapping.modified_at)  # the rows have no clock without them
    given_up += [column for column in lost if column not in kept]
    named = [c for c in given_up if c not in kept]
    warnings = [f"{column} is no longer delivered and was given up: remove it from the config" for column in named]
    return Schema(_without(mapping, named), stored, tuple(given_up), Findings(warnings=warnings))


def _say_lost(table: str, column: str, duck_type: str, delivered: Delivered) -> str:
    return (
        f"Table '{table}': column '{column}' was delivered as {duck_type} by the extract before and is not there now; "
        f"the SELECT delivers {', '.join(delivered.columns)}. Bring it back at the source, or go on without it with "
        "`leadsieve extract --accept-schema`."
    )


def _without(mapping: TableMapping, gone: Collection[str]) -> TableMapping:
    """Part of a config without the columns that are gone; the clocks go only where the extract stops anyway."""
    lists = ("static", "tracked", "remembered", "sensitive")
    update: dict[str, object] = {key: tuple(c for c in getattr(mapping, key) if c not in gone) for key in lists}
    update["history_since"] = {c: day for c, day in mapping.history_since.items() if c not in gone}
    update["revealed"] = {c: time for c, time in mapping.revealed.items() if not {c, time} & set(gone)}
    update |= {key: None for key in ("known_at", "modified_at") if getattr(mapping, key) in gone}
    return mapping.model_copy(update=update)


def check_types(
    plan: TablePlan, delivered: Delivered, before: Before | None, unreadable: Collection[str], *, accept_schema: bool
) -> Findings:
    """Find columns that are delivered with another type than by the extract before.

    Numbers may get decimals, ids may be numbers or text, and a few words among numbers make text of
    a column: they are bad values, not another type.

    Parameters
    ----------
    plan : TablePlan
        What becomes of the columns now.
    delivered : Delivered
        What the source delivers now.
    before : Before or None
        What it delivered.
    unreadable : collection of str
        Columns that have values which cannot be read as their type.
    accept_schema : bool
        Say it as warnings.

    """
    if before is None or before.select != _hash(plan.mapping):
        return Findings()
    changed = {
        one.source: (before.types[one.source], one.duck_type)
        for one in plan.casts
        if one.source in before.types
        and one.source not in delivered.empty
        and not _means_the_same(plan, one.name, before.types[one.source], one.duck_type, one.source in unreadable)
    }
    kinds = {one.source: one.kind for one in plan.casts}
    if accept_schema:
        return Findings(
            warnings=[
                f"{column} was delivered as {was} and is {now} now: stored as {kinds[column]}"
                for column, (was, now) in changed.items()
            ]
        )
    return Findings(
        [
            f"Table '{plan.name}': column '{column}' was delivered as {was} by the extract before and is {now} now. "
            "What was learned from it may no longer hold. Correct it at the source or convert it in "
            f"tables.{plan.name}.select, or go on with `leadsieve extract --accept-schema`."
            for column, (was, now) in changed.items()
        ]
    )


def _means_the_same(plan: TablePlan, name: str, before: str, now: str, has_unreadable: bool) -> bool:
    """Whether values of two types can stand in one column."""
    was, is_now = (_FAMILIES.get(family(each), family(each)) for each in (before, now))
    if before == NOTHING or was == is_now:
        return True
    if is_id(plan.spec, name):
        return {was, is_now} == {"number", "text"}
    kind = plan.spec.columns.get(name)
    if was == "text":  # every value of it was read as what the column is
        return kind not in (None, "text")
    return is_now == "text" and has_unreadable


def check_previous(
    stored: Stored | None, rows: Mapping[str, int], data_end: datetime, *, shrink_share: float, accept_shrink: bool
) -> list[str]:
    """Check the clock and the number of rows against the tables that are stored.

    Call it when all rows of this extract are known, those of tables that are read incrementally
    included, and before anything is written.

    Parameters
    ----------
    stored : Stored or None
        The extract before; None: nothing to compare with.
    rows : mapping of table to int
        Rows that hold now, one per key; tables that the config no longer has are not in it.
    data_end : datetime
        End of the data now (UTC, naive).
    shrink_share : float
        Share of a table's rows whose loss stops the extract; losing all of them always does.
    accept_shrink : bool
        Go on with fewer rows.

    Returns
    -------
    list of str
        One sentence per problem.

    """
    if stored is None:
        return []
    problems = []
    if data_end < stored.data_end:
        problems.append(
            f"The data ends at {data_end}, before {stored.data_end} as in the tables that are stored: the clock of "
            "the source went back. Correct that clock or source.data_end, or begin anew with `leadsieve extract "
            "--start-over`, which forgets what earlier extracts saw."
        )
    if accept_shrink:
        return problems
    for name in stored.tables:
        if name in rows and (sentence := _say_shrunk(stored, name, rows[name], shrink_share)):
            problems.append(sentence)
    return problems


def _say_shrunk(stored: Stored, name: str, now: int, shrink_share: float) -> str | None:
    """Return a sentence if a table lost too many rows; rows that had ended before are not lost."""
    before = _count_open(stored, name)
    lost = before - now
    if lost <= 0 or (now > 0 and lost < shrink_share * before):
        return None
    return (
        f"Table '{name}': {count_rows(now)}, where the tables that are stored have {before:,}: a loss of "
        f"{100 * lost / before:.0f} %, and source.shrink_share stops at {100 * shrink_share:g} %. See whether the "
        "source is complete; if these rows are really gone, go on with `leadsieve extract --accept-shrink`."
    )


def _count_open(stored: Stored, name: str) -> int:
    """Rows of a stored table that the source still had: neither ended versions nor history of our own."""
    table = stored.tables[name]
    conditions = {"known_until": "known_until IS NULL", "is_own": "NOT is_own"}
    where = [condition for column, condition in conditions.items() if column in table["columns"]]
    path = stored.folder / table["file"]
    if not where or not path.is_file():
        return int(table["rows"])
    with duckdb.connect() as connection:
        connection.execute("SET python_enable_replacements = false")
        place = str(path).replace("'", "''")
        try:
            row = connection.execute(f"SELECT count(*) FROM '{place}' WHERE {' AND '.join(where)}").fetchone()
        except duckdb.Error:  # damaged: this extract replaces it
            row = None
    return int((row or (0,))[0])
