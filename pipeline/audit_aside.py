# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Columns of entities whose history nobody has declared: kept aside for the audit, and never seen by a feature.

They are in files of their own, under a key of the manifest that nothing but the audit and `forget` reads:
the entity's key, and the columns as they are now. Of texts only values that many entities share are kept:
a name or an address is no evidence and stays in the CRM.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from features.errors import DataError
from features.tables import DUCKDB_TYPES, MANIFEST, ColumnType, StoredTable
from pipeline.mapping import TablePlan
from pipeline.previous import Previous
from pipeline.remember import UNTIL, Memory
from pipeline.staging import quote

AUDIT = "audit"
"""Key of the manifest."""

FEW = 20
"""A text that fewer entities have is not kept: so few rows prove nothing, and may name somebody."""

RARE = "(rare)"
"""What is kept in its place."""


def aside_name(table: str) -> str:
    """Return the name of a table's file, and of the DuckDB table it is made from."""
    return f"{AUDIT}_{table}"


def aside_columns(plan: TablePlan) -> dict[str, ColumnType]:
    """Return the columns of the file: the entity's key, and what is not declared."""
    return {str(plan.spec.key): "text", **{one.name: one.kind for one in plan.aside}}


def make_aside(memory: Memory, before: StoredTable | None) -> str:
    """Make `audit_<table>` of the rows that were read and, where not all were, of those kept before.

    Parameters
    ----------
    memory : Memory
        An entity table with undeclared columns; `versions_<table>` is made.
    before : StoredTable or None
        What the extract before kept.

    Returns
    -------
    str
        The SELECT of the rows in the order of their key.

    """
    key, columns = quote(str(memory.plan.spec.key)), aside_columns(memory.plan)
    names = ", ".join(map(quote, columns))
    rows = f"SELECT {names} FROM {memory.typed}"
    if before is not None and memory.previous is not None and memory.keys_read is not None:
        kept = ", ".join(_as_before(column, kind, before) for column, kind in columns.items())
        stored = read(memory.previous.tables.folder / before.file)
        rows = (
            f"{rows} UNION ALL SELECT {kept} FROM {stored} WHERE {key} NOT IN "
            f"(SELECT {key} FROM {memory.typed}) AND {key} IN "
            f"(SELECT {key} FROM {quote(f'versions_{memory.name}')} WHERE {UNTIL} IS NULL)"
        )
    made, whole = quote(aside_name(memory.name)), quote(f"whole_{memory.name}")
    values = ", ".join(_without_rare(column, kind, whole) for column, kind in columns.items() if quote(column) != key)
    memory.connection.execute(f"CREATE TEMP TABLE {whole} AS {rows}")
    memory.connection.execute(f"CREATE TABLE {made} AS SELECT {key}, {values} FROM {whole}")
    memory.connection.execute(f"DROP TABLE {whole}")
    return f"SELECT {names} FROM {made} ORDER BY {key}"


def _without_rare(column: str, kind: ColumnType, table: str) -> str:
    """Return the SQL of a column in which texts that few rows have are replaced."""
    name = quote(column)
    if kind != "text":
        return name
    kept = f"SELECT {name} FROM {table} GROUP BY 1 HAVING count(*) >= {FEW}"
    return f"CASE WHEN {name} IS NULL THEN NULL WHEN {name} IN ({kept}) THEN {name} ELSE '{RARE}' END AS {name}"


def _as_before(column: str, kind: ColumnType, before: StoredTable) -> str:
    name, duck_type = quote(column), DUCKDB_TYPES[kind]
    if column not in before.columns:
        return f"CAST(NULL AS {duck_type}) AS {name}"
    return f"TRY_CAST({name} AS {duck_type}) AS {name}"


def read(path: Path) -> str:
    """Return the SQL that reads a Parquet file."""
    place = str(path).replace("'", "''")
    return f"read_parquet('{place}', file_row_number=true)"


def read_notes(folder: Path) -> dict[str, Any]:
    """Return what the manifest says for the audit: `tables` and `changes`; empty if it says nothing."""
    path = folder / MANIFEST
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    notes: dict[str, Any] = manifest.get(AUDIT, {})
    return notes


def load_aside(folder: Path) -> dict[str, StoredTable]:
    """Return the files that are kept aside, by table.

    Raises
    ------
    DataError
        If one is missing or damaged.

    """
    stored = {}
    for name, entry in read_notes(folder).get("tables", {}).items():
        table = StoredTable(name=aside_name(name), **{**entry, "sensitive": tuple(entry["sensitive"])})
        path = folder / table.file
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != table.sha256:
            raise DataError(
                f"Undeclared columns of '{name}': {path} is missing or damaged, expected what the last extract wrote. "
                "Run `leadsieve extract` again."
            )
        stored[name] = table
    return stored


def find_aside(previous: Previous | None) -> dict[str, StoredTable]:
    """Return the files that the extract before kept aside; a damaged one is made anew, so nothing is read of it."""
    try:
        return load_aside(previous.tables.folder) if previous else {}
    except DataError:
        return {}


def to_json(tables: Mapping[str, StoredTable], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the notes of an extract for the audit, for the manifest."""
    entries = {name: {k: v for k, v in asdict(table).items() if k != "name"} for name, table in tables.items()}
    return {AUDIT: {"tables": entries, "changes": dict(changes)}}
