"""The as-of view: the one place where time is cut.

A row of the view is a row of a table next to a snapshot (one entity at one `as_of`), and it is
there only if it was known then: `known_at < as_of`. Columns that were revealed later are null.
Entity tables are read in the version that held: `known_at < as_of <= known_until`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
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


def view_schema(stored: StoredTable, windows: Iterable[int]) -> dict[str, str]:
    """Columns a group may use: the table's own, canonical ones it lacks, and the view's additions.

    Returns
    -------
    dict of column to Ibis type

    """
    canonical = {column: ibis_type(kind) for column, kind in TABLES[stored.name].columns.items()}
    own = {column: ibis_type(kind) for column, kind in stored.columns.items()}
    schema = {"row": "int64", "as_of": "timestamp(6)", **canonical, **own, PREVIOUS: "timestamp(6)"}
    if stored.name == "stage_changes":
        schema[STAGE_RANK] = "int64"
    return schema | {window_start(days): "timestamp(6)" for days in windows}


def is_known(rows: Any, as_of: Any) -> Any:
    """Whether a row (or this version of an entity) is what was known at `as_of`."""
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
        `row`, `as_of`, all columns of the table (the engine reads those that are used), `PREVIOUS`,
        `STAGE_RANK` for stage changes, and the starts of the windows.

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
    kept |= {column: _masked(joined, column, stored.revealed) for column in table.columns}
    kept[PREVIOUS] = _previous(joined, time)
    if name == "stage_changes":
        kept[STAGE_RANK] = _stage_rank(joined, database.tables.stages)
    return joined.select(**kept)


def _masked(joined: Any, column: str, revealed: Mapping[str, str]) -> Any:
    """A column as it was known: revealed ones are null until their time was known."""
    if column not in revealed:
        return joined[column]
    known_at = joined[f"{revealed[column]}_known_at"]
    return ibis.ifelse(known_at < joined.as_of, joined[column], ibis.null(joined[column].type()))


def _previous(joined: Any, time: str) -> Any:
    counts = is_purchase(joined) if "quantity" in joined.columns else ibis.literal(True)
    earlier = ibis.window(group_by=joined.row, order_by=joined[time], preceding=(None, 1))
    return ibis.ifelse(counts, joined[time], ibis.null("timestamp(6)")).max().over(earlier)


def _stage_rank(joined: Any, stages: Sequence[str]) -> Any:
    ranks = [(stage, rank) for rank, stage in enumerate(stages, start=1)]
    return joined.stage.cases(*ranks, else_=ibis.null("int64")) if ranks else ibis.null("int64")
