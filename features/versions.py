"""Rows counted once: a table may hold several versions of a row, and a row that was deleted at the source."""

from typing import Any

import ibis

from features.engine import Database
from features.tables import TABLES


def is_known(rows: Any, as_of: Any) -> Any:
    """Whether this version of a row is what was known at `as_of`: `known_at < as_of <= known_until`."""
    known = rows.known_at < as_of
    if "known_until" in rows.columns:
        known &= rows.known_until.isnull() | (as_of <= rows.known_until)
    return known


def was_known(rows: Any, as_of: Any) -> Any:
    """Whether this version of a row was known before `as_of`, whatever became of it since."""
    known = rows.known_at < as_of
    if "known_until" in rows.columns:
        known &= rows.known_until.isnull() | (rows.known_at < rows.known_until)
    return known


def first_versions(database: Database, name: str, at: str | None = None) -> Any:
    """Each row of a table once, as it was when it became known, and when it was deleted.

    A version that never held (`known_at >= known_until`) is left out.

    Parameters
    ----------
    database : Database
    name : str
        Canonical table.
    at : str, optional
        A revealed time such as `closed_at`: the first version in which it was filled, if there is one.

    Returns
    -------
    ibis Table
        The table's columns and `ended_at`: when the row's last version ended, null while it holds.
        A row that came back, or moved to another customer, has not ended.

    """
    rows = _held(database, name)
    key = TABLES[name].key
    if key is None or "known_until" not in rows.columns:
        return rows.mutate(ended_at=ibis.null("timestamp(6)"))
    clock = [rows[f"{at}_known_at"].isnull(), rows[f"{at}_known_at"]] if at else []
    turn = ibis.row_number().over(ibis.window(group_by=rows[key], order_by=[*clock, rows.known_at]))
    versions = rows.mutate(turn=turn)
    first = versions.filter(versions.turn == 0).drop("turn")
    ended = ended_rows(database, name).rename(ended_key=key)
    return first.left_join(ended, first[key] == ended.ended_key).drop("ended_key")


def ended_rows(database: Database, name: str) -> Any:
    """Rows of a keyed table that were deleted or merged away.

    Returns
    -------
    ibis Table
        The key, and `ended_at`: when the last version ended, later than all others. Without rows while
        nothing has ended.

    """
    rows = _held(database, name)
    key = str(TABLES[name].key)
    until = rows.known_until if "known_until" in rows.columns else ibis.null("timestamp(6)")
    last = rows.group_by(key).agg(is_there=until.isnull().any(), ended_at=until.max())
    return last.filter(~last.is_there).select(key, "ended_at")


def _held(database: Database, name: str) -> Any:
    """Versions that held at some time."""
    rows = database.table(name)
    if "known_until" not in rows.columns:
        return rows
    return rows.filter(rows.known_until.isnull() | (rows.known_at < rows.known_until))
