"""Rows counted once: a table may hold several versions of a row, and a row that was deleted at the source."""

from typing import Any

import ibis

from features.engine import Database
from features.tables import TABLES


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
    rows = database.table(name)
    key = TABLES[name].key
    if key is None or "known_until" not in rows.columns:
        return rows.mutate(ended_at=ibis.null("timestamp(6)"))
    rows = rows.filter(rows.known_until.isnull() | (rows.known_at < rows.known_until))
    clock = [rows[f"{at}_known_at"].isnull(), rows[f"{at}_known_at"]] if at else []
    one = ibis.window(group_by=rows[key])
    in_turn = ibis.window(group_by=rows[key], order_by=[*clock, rows.known_at])
    holds = rows.known_until.isnull().any().over(one)
    versions = rows.mutate(
        version=ibis.row_number().over(in_turn),
        ended_at=ibis.ifelse(holds, ibis.null("timestamp(6)"), rows.known_until.max().over(one)),
    )
    return versions.filter(versions.version == 0).drop("version")
