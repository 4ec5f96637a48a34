"""The as-of view: the one place where time is cut.

A row of the view is a row of a table next to a snapshot (one entity at one `as_of`), and it is
there only if it was known then: `known_at < as_of`. Columns that were revealed later are null, and
so are their clocks. Of a row that ended, changed or moved to another customer there is the version
that held: `known_at < as_of <= known_until`; when a version ends is in no view.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import ibis

from features.engine import Database, ibis_type
from features.group import window_start
from features.tables import TABLES, StoredTable
from features.targets import is_purchase

PREVIOUS = "previous_occurred_at"
"""When the entity's row before this one occurred, among those known at `as_of` (null for its first).

In orders: the purchase before, as returns are no part of a buying rhythm.
"""

STAGE_RANK = "stage_rank"
"""Position of the stage in the config's order of stages, from 1 (null for an unlisted stage)."""

BOOKKEEPING = ("row", "as_of")

FUTURE = frozenset(
    {"known_until", "deleted_at", "deleted_at_known_at", "merged_at", "merged_at_known_at", "merged_into"}
)
"""Columns that tell what became of a row later: a row that holds at `as_of` has not ended yet."""


def view_schema(stored: StoredTable, windows: Iterable[int]) -> dict[str, str]:
    """Columns a group may use: the table's own, canonical ones it lacks, and the view's additions.

    Neither those of `FUTURE` nor sensitive ones of the deployment's own; sensitive canonical ones are null.

    Returns
    -------
    dict of column to Ibis type

    """
    canonical = {column: ibis_type(kind) for column, kind in TABLES[stored.name].columns.items()}
    own = {column: ibis_type(kind) for column, kind in stored.columns.items() if column not in stored.sensitive}
    visible = {column: kind for column, kind in (canonical | own).items() if column not in FUTURE}
    schema = {"row": "int64", "as_of": "timestamp(6)", **visible, PREVIOUS: "timestamp(6)"}
    if stored.name == "stage_changes":
        schema[STAGE_RANK] = "int64"
    return schema | {window_start(days): "timestamp(6)" for days in windows}


def is_known(rows: Any, as_of: Any) -> Any:
    """Whether this version of a row is what was known at `as_of`: `known_at < as_of <= known_until`."""
    known = rows.known_at < as_of
    if "known_until" in rows.columns:
        known &= rows.known_until.isnull() | (as_of <= rows.known_until)
    return known


def as_of_view(
    database: Database,
    spine: Any,
    name: str,
    by: str,
    windows: Collection[int] = (),
    within: int | None = None,
) -> Any:
    """Rows of a table beside each snapshot, as they were known at its `as_of`.

    Parameters
    ----------
    database : Database
    spine : ibis Table
        Columns row (int64), as_of and the key `by`.
    name : str
        Canonical table.
    by : str
        Key that the table shares with the spine.
    windows : collection of int
        Windows whose starts are wanted as columns.
    within : int, optional
        Only rows that occurred in `[as_of - within, as_of)`: a shortcut where no group looks further back.

    Returns
    -------
    ibis Table
        `row`, `as_of`, the columns of the table that features may see (the engine reads those that
        are used), `PREVIOUS`, `STAGE_RANK` for stage changes, and the starts of the windows.

    """
    table = database.table(name)
    stored = database.tables.tables[name]
    time = TABLES[name].time
    starts = {window_start(days): spine.as_of - ibis.interval(days=days) for days in windows}
    left = spine.select("row", "as_of", snapshot_key=spine[by], **starts)
    conditions = [left.snapshot_key == table[by], is_known(table, left.as_of)]
    if within is not None:
        conditions.append(table[time] >= left[window_start(within)])
    joined = left.join(table, conditions)
    kept = {column: joined[column] for column in (*BOOKKEEPING, *starts)}
    kept |= visible_columns(joined, table.columns, stored, lambda clock: clock < joined.as_of)
    kept[PREVIOUS] = _previous(joined, time)
    if name == "stage_changes":
        kept[STAGE_RANK] = _stage_rank(joined, database.tables.stages)
    return joined.select(**kept)


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


def _previous(joined: Any, time: str) -> Any:
    counts = is_purchase(joined) if "quantity" in joined.columns else ibis.literal(True)
    earlier = ibis.window(group_by=joined.row, order_by=joined[time], preceding=(None, 1))
    return ibis.ifelse(counts, joined[time], ibis.null("timestamp(6)")).max().over(earlier)


def _stage_rank(joined: Any, stages: Sequence[str]) -> Any:
    ranks = [(stage, rank) for rank, stage in enumerate(stages, start=1)]
    return joined.stage.cases(*ranks, else_=ibis.null("int64")) if ranks else ibis.null("int64")
