"""Delivered rows that are gone before anything looks at them, so that no check, sentence or file can show them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import duckdb

from features.tables import TABLES
from pipeline.config import Config
from pipeline.entity_rows import Relation, find_owned, is_owned, owned, pointers, start_with_tombstones
from pipeline.findings import Findings
from pipeline.mapping import is_id
from pipeline.normalise import cast
from pipeline.rows import Rows
from pipeline.staging import Delivered, quote
from pipeline.tombstones import load_tombstones, save_tombstones

FORGOTTEN = "their entity was forgotten"
SENSITIVE = "changes of sensitive columns"
_CHANGES = "attribute_changes"


def leave_out(
    connection: duckdb.DuckDBPyConnection, config: Config, delivered: Mapping[str, Delivered]
) -> dict[str, Findings]:
    """Drop the rows of forgotten entities, and changes of sensitive columns, from the `raw_<table>` tables.

    Returns
    -------
    dict of table to Findings
        Rows dropped, with a warning if a forgetting was interrupted.

    """
    found = {name: Findings() for name in delivered}
    for name, count in leave_out_forgotten(connection, delivered, config.folder).items():
        found[name].dropped[FORGOTTEN] = count
    if count := _leave_out_sensitive(connection, config, delivered):
        found[_CHANGES].dropped[SENSITIVE] = count
    if found and not load_tombstones(config.folder).is_finished:
        next(iter(found.values())).warnings.append(
            "a `leadsieve forget` was interrupted, so past runs still hold what it was to remove: run it again"
        )
    return found


def leave_out_forgotten(
    connection: duckdb.DuckDBPyConnection, delivered: Mapping[str, Delivered], folder: Path
) -> dict[str, int]:
    """Drop the rows of forgotten entities; rows of others lose what points at them.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Holds `raw_<table>` for each table delivered.
    delivered : mapping of table to Delivered
        What the source delivered.
    folder : Path
        State folder of the deployment, which has the tombstones.

    Returns
    -------
    dict of table to int
        Rows dropped, where there were any.

    """
    tombstones = load_tombstones(folder)
    if not tombstones:
        return {}
    relations = {name: _describe(name, one) for name, one in delivered.items()}
    start_with_tombstones(connection, relations, tombstones)
    find_owned(connection, relations)
    counts = {}
    for name, relation in relations.items():
        rows = Rows(connection, f"raw_{name}")
        counts[name] = rows.delete(is_owned(relation, name))
        for column, condition in pointers(relation, name).items():
            rows.clear([column], condition)
    return {name: count for name, count in counts.items() if count}


def keep_forgotten(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Give what `leave_out_forgotten` found to be of forgotten entities tombstones of its own.

    A deal that a forgotten customer made since is then known by its id, whatever is delivered of it later.
    """
    tombstones = load_tombstones(folder)
    if tombstones:
        grown = tombstones.adding(owned(connection))
        if grown.hashes != tombstones.hashes:
            save_tombstones(folder, replace(grown, is_finished=tombstones.is_finished))


def _describe(name: str, delivered: Delivered) -> Relation:
    """Return the raw rows of a table, with ids as they are going to be stored."""
    spec = TABLES[name]
    texts = {
        column: cast(
            quote(column), duck_type, "text", "UTC", is_id(spec, column) or column in ("old_value", "new_value")
        )
        for column, duck_type in delivered.columns.items()
    }
    return Relation(quote(f"raw_{name}"), {column: text for column, text in texts.items() if text is not None})


def _leave_out_sensitive(
    connection: duckdb.DuckDBPyConnection, config: Config, delivered: Mapping[str, Delivered]
) -> int:
    """Drop the history of sensitive columns, whose values it would show."""
    if _CHANGES not in delivered or not {"table_name", "field"} <= delivered[_CHANGES].columns.keys():
        return 0
    names = [f"{name}.{column}" for name, mapping in config.tables.items() for column in mapping.sensitive]
    if not names:
        return 0
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    field = "lower(trim(CAST(table_name AS VARCHAR))) || '.' || lower(trim(CAST(field AS VARCHAR)))"
    return Rows(connection, f"raw_{_CHANGES}").delete(f"{field} IN ({listed})")
