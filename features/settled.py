"""What came before a row, found once per row instead of once per snapshot, where that does not depend on `as_of`.

A row is settled once all rows of its entity that occurred before it are known, and those that ended have ended:
later snapshots find the same rows before it. For most rows that is so from the moment they are known; only the
snapshots between a row and what was entered late before it are looked at one by one.
"""

from collections.abc import Callable
from typing import Any

import ibis

from features.engine import Database
from features.versions import is_known
from features.view_columns import NEVER

SETTLED_AT = "settled_at"
"""From when on the rows before this one stay the same, while it holds; null for a version that ends."""


def with_settled_at(rows: Any, key: str, time: str) -> Any:
    """Add `SETTLED_AT`: the last change of what is known of the row, of those before it and those at once with it."""
    until = rows.known_until if "known_until" in rows.columns else NEVER
    changing = rows.mutate(changed_at=ibis.coalesce(until, rows.known_at), ends_at=until)
    so_far = ibis.window(
        group_by=changing[key],
        order_by=[changing[time], changing.changed_at.desc()],
        preceding=None,
        following=0,
    )
    last = changing.changed_at.max().over(so_far)
    return changing.mutate(**{SETTLED_AT: ibis.ifelse(changing.ends_at.isnull(), last, NEVER)}).drop(
        "changed_at", "ends_at"
    )


def beside_earlier(
    database: Database,
    name: str,
    snapshots: Any,
    table: Any,
    key: str,
    time: str,
    beside: Callable[[Any, Any, Any], Any],
    add: Callable[[Any], Any],
) -> Any:
    """Known rows beside each snapshot, with columns of earlier rows.

    Parameters
    ----------
    database : Database
    name : str
        Of the pass, for what is kept.
    snapshots : ibis Table
        row, as_of, snapshot_key.
    table : ibis Table
        All versions of all rows; `key` and `time` are columns.
    beside : callable
        From snapshots, rows and a condition to the view of the rows beside the snapshots.
    add : callable
        Adds the columns, of the rows with the same `row`.

    """
    mine = table.semi_join(snapshots, table[key] == snapshots.snapshot_key)
    rows = with_settled_at(mine, key, time)
    standing = rows.filter(rows.known_until.isnull()) if "known_until" in rows.columns else rows
    told = add(standing.mutate(row=standing[key])).drop("row")
    settled = beside(snapshots, told, told[SETTLED_AT] < snapshots.as_of)
    loose = rows.filter(rows[SETTLED_AT].isnull() | (rows[SETTLED_AT] > rows.known_at))
    waiting = [snapshots.snapshot_key == loose[key], is_known(loose, snapshots.as_of)]
    waiting.append(loose[SETTLED_AT].isnull() | (snapshots.as_of <= loose[SETTLED_AT]))
    few = database.keep(f"{name}_unsettled", snapshots.semi_join(loose, waiting))
    theirs = with_settled_at(table.semi_join(few, table[key] == few.snapshot_key), key, time)
    view = add(beside(few, theirs, is_known(theirs, few.as_of)))
    unsettled = view.filter(view[SETTLED_AT].isnull() | (view.as_of <= view[SETTLED_AT]))
    columns = [column for column in view.columns if column != SETTLED_AT]
    return ibis.union(settled.select(*columns), unsettled.select(*columns))
