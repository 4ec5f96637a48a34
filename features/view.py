"""The as-of view: the one place where time is cut.

A row of the view is a row of a table next to a snapshot (one entity at one `as_of`), and it is
there only if it was known then: `known_at < as_of`. Columns that were revealed later are null, and
so are their clocks. Of a row that ended, changed or moved to another customer there is the version
that held: `known_at < as_of <= known_until`; when a version ends is in no view.
"""

from collections.abc import Callable, Collection, Iterable
from types import MappingProxyType
from typing import Any

import ibis

from features.engine import Database, ibis_type
from features.group import window_start
from features.settled import SETTLED_AT, beside_earlier
from features.tables import TABLES, StoredTable
from features.versions import is_known, was_known
from features.view_columns import (
    FAMILY,
    PREVIOUS,
    STAGE_RANK,
    answer_columns,
    contact_columns,
    previous_purchase,
    previous_touch,
    previous_values,
    stage_columns,
)

BOOKKEEPING = ("row", "as_of")

FUTURE = frozenset(
    {"known_until", "deleted_at", "deleted_at_known_at", "merged_at", "merged_at_known_at", "merged_into"}
)
"""Columns that tell what became of a row later: a row that holds at `as_of` has not ended yet."""


ADDED = MappingProxyType(
    {
        "stage_changes": {STAGE_RANK: "int64", f"previous_{STAGE_RANK}": "int64"},
        "activities": {
            "contact_seniority": "string",
            "contact_is_decision_maker": "boolean",
            "previous_outbound_at": "timestamp(6)",
            "previous_inbound_at": "timestamp(6)",
        },
        "assessments": {"is_latest": "boolean", "previous_answer": "string"},
    }
)
"""Columns that the view of a table has beside its own, with their types."""

EARLIER = frozenset({PREVIOUS, "previous_outbound_at", "previous_inbound_at"})
"""Columns that earlier rows of the entity tell."""

_ENTITIES = {"customer_id": ("customer", "customers"), "deal_id": ("deal", "deals")}


def view_schema(stored: StoredTable, windows: Iterable[int], *, history: bool = False) -> dict[str, str]:
    """Columns a group may use: the table's own, canonical ones it lacks, and the view's additions.

    Neither those of `FUTURE` nor sensitive ones of the deployment's own; sensitive canonical ones are null.

    Returns
    -------
    dict of column to Ibis type

    """
    canonical = {column: ibis_type(kind) for column, kind in TABLES[stored.name].columns.items()}
    own = {column: ibis_type(kind) for column, kind in stored.columns.items() if column not in stored.sensitive}
    visible = {column: kind for column, kind in (canonical | own).items() if column not in FUTURE}
    clocks = dict.fromkeys(("as_of", "known_at", PREVIOUS), "timestamp(6)")
    schema = {"row": "int64", FAMILY: "string", **clocks, **visible}
    schema |= ADDED.get(stored.name, {})
    if history:
        schema |= {f"previous_{column}": kind for column, kind in visible.items()}
    return schema | {window_start(days): "timestamp(6)" for days in windows}


def as_of_view(
    database: Database,
    spine: Any,
    name: str,
    by: str,
    windows: Collection[int] = (),
    within: int | None = None,
    *,
    history: bool = False,
    wanted: Collection[str] = (),
) -> Any:
    """Rows of a table beside each snapshot, as they were known at its `as_of`.

    Parameters
    ----------
    database : Database
    spine : ibis Table
        Columns row (int64), as_of and the key `by`; for a family those of `features.family`.
    name : str
        Canonical table.
    by : str
        Key that the table shares with the spine; `parent_id` for the rows of a family.
    windows : collection of int
        Windows whose starts are wanted as columns.
    within : int, optional
        Only rows that occurred in `[as_of - within, as_of)`: a shortcut where no group looks further back.
    history : bool
        All versions known by then, not only the one that holds.
    wanted : collection of str
        Columns beyond the table's own that are asked for; others are not computed, and null.

    Returns
    -------
    ibis Table
        `row`, `as_of`, the columns of the table that features may see (the engine reads those that
        are used), what is wanted, and the starts of the windows.

    """
    table = database.table(name)
    stored = database.tables.tables[name]
    time = TABLES[name].time
    starts = {window_start(days): spine.as_of - ibis.interval(days=days) for days in windows}
    family = spine[FAMILY] if FAMILY in spine.columns else ibis.null("string")
    key = "customer_id" if by == "parent_id" else by
    left = spine.select("row", "as_of", snapshot_key=spine[key], **{FAMILY: family}, **starts)

    def beside(snapshots: Any, rows: Any, condition: Any) -> Any:
        conditions = [_belongs(snapshots, rows, name, key), condition]
        if within is not None:
            conditions.append(rows[time] >= snapshots[window_start(within)])
        joined = snapshots.join(rows, conditions)
        kept = {column: joined[column] for column in (*BOOKKEEPING, FAMILY, *starts)}
        kept |= visible_columns(joined, table.columns, stored, lambda clock: clock < joined.as_of)
        kept |= {column: joined[column] for column in sorted({SETTLED_AT, *EARLIER} & {*rows.columns})}
        return joined.select(**kept)

    def earlier(view: Any) -> Any:
        return _with_earlier(view, name, wanted)

    if by != "parent_id" and not history and within is None and _is_plain(stored, key, wanted):
        view = beside_earlier(database, f"{name}_by_{by}", left, table, key, time, beside, earlier)
    else:
        view = beside(left, table, (was_known if history else is_known)(table, left.as_of))
        view = previous_values(view, TABLES[name], wanted) if history else earlier(view)
    view = view if history else _with_additions(database, view, name, wanted)
    schema = view_schema(stored, windows, history=history)
    absent = {column: ibis.null(kind) for column, kind in schema.items() if column not in view.columns}
    return view.mutate(**absent) if absent else view


def _belongs(left: Any, table: Any, name: str, key: str) -> Any:
    """Condition: the row is one of the snapshot's key."""
    if name == "assessments":
        return (left.snapshot_key == table.entity_id) & table.entity.isin(_ENTITIES[key])
    return left.snapshot_key == table[key]


def _is_plain(stored: StoredTable, key: str, wanted: Collection[str]) -> bool:
    """Whether columns of earlier rows are wanted, and rest on nothing that depends on `as_of` itself."""
    masked = {*stored.revealed, *stored.sensitive, *stored.revealed.values()}
    return bool(EARLIER & {*wanted}) and key in stored.columns and not masked & {"quantity", "amount", "direction"}


def _with_earlier(view: Any, name: str, wanted: Collection[str]) -> Any:
    """Add the columns of earlier rows that are wanted."""
    if PREVIOUS in wanted:
        view = previous_purchase(view, TABLES[name].time)
    return previous_touch(view, wanted) if name == "activities" else view


def _with_additions(database: Database, view: Any, name: str, wanted: Collection[str]) -> Any:
    """Add the other columns that are made of several rows, or of another table: those that are wanted."""
    if name == "stage_changes" and {STAGE_RANK, f"previous_{STAGE_RANK}"} & {*wanted}:
        view = stage_columns(view, database.tables.stages)
    if name == "assessments" and {*ADDED[name]} & {*wanted}:
        view = answer_columns(view)
    if name == "activities" and {"contact_seniority", "contact_is_decision_maker"} & {*wanted}:
        view = contact_columns(view, database)
    return view


def visible_columns(
    rows: Any, columns: Iterable[str], stored: StoredTable, has_struck: Callable[[Any], Any]
) -> dict[str, Any]:
    """Columns of stored rows that features may see, by name.

    Parameters
    ----------
    rows : ibis Table
    columns : iterable of str
        Columns of the table, and canonical ones that it lacks.
    stored : StoredTable
    has_struck : callable
        From the clock of a revealed column to whether it is known by then. Until it is, the column
        and the clock are null.

    """
    clocks = {column: f"{time}_known_at" for column, time in stored.revealed.items()}
    clocks |= {c: c for c, kind in stored.columns.items() if kind == "time" and c.endswith("_known_at")}
    visible = {}
    for column in columns:
        if column in FUTURE or (column in stored.sensitive and column not in TABLES[stored.name].columns):
            continue
        unknown = ibis.null(rows[column].type())
        if column in stored.sensitive:
            visible[column] = unknown
        elif column in clocks:
            visible[column] = ibis.ifelse(has_struck(rows[clocks[column]]), rows[column], unknown)
        else:
            visible[column] = rows[column]
    return visible
