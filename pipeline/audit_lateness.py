"""How late a CRM learns of what happened: the second clock of every table, measured."""

from dataclasses import dataclass

import pandas as pd

from features.engine import Database
from features.expressions import whole_seconds
from features.tables import TABLES, CrmTables
from features.versions import first_versions


@dataclass(frozen=True)
class Lateness:
    """How late the rows of a table, or the values of a revealed time column, became known.

    Parameters
    ----------
    table : str
        Canonical table.
    event : str
        What happened: the table's own time, or a revealed time column such as `closed_at`.
    clock : str
        The column that says when it became known.
    rows : int
        Rows that have the event, each counted once, by its first version.
    late : int
        Rows with `clock` after `event`.
    median_s, p95_s, longest_s : int or None
        Lateness of all rows in whole seconds: half of them (95 %, all) are at most so late; null without rows.

    """

    table: str
    event: str
    clock: str
    rows: int
    late: int
    median_s: int | None
    p95_s: int | None
    longest_s: int | None

    @property
    def late_share(self) -> float | None:
        """Share of rows known later than they occurred; None without rows."""
        return self.late / self.rows if self.rows else None


def measure_lateness(database: Database, tables: CrmTables) -> list[Lateness]:
    """Lateness of every table and of each of its revealed clocks, in the order of the canonical tables."""
    return [
        _measure(database, name, event)
        for name in TABLES
        if name in tables.tables
        for event in (TABLES[name].time, *_revealing(tables, name))
    ]


def _revealing(tables: CrmTables, name: str) -> list[str]:
    """Time columns that reveal others, without those that only tell how a row ended."""
    stored = tables.tables[name]
    times = dict.fromkeys(stored.revealed.values())
    return [time for time in times if f"{time}_known_at" in stored.columns]


def _measure(database: Database, name: str, event: str) -> Lateness:
    is_own = event == TABLES[name].time
    clock = "known_at" if is_own else f"{event}_known_at"
    rows = first_versions(database, name, at=None if is_own else event)
    rows = rows.drop_null([event, clock])
    seconds = whole_seconds(rows[clock]) - whole_seconds(rows[event])
    timed = rows.select(seconds=seconds, is_late=rows[clock] > rows[event])
    counted = database.frame(timed.group_by("seconds").agg(rows=timed.count(), late=timed.is_late.sum()))
    counted = counted.sort_values("seconds", ignore_index=True)
    quantiles = [_at(counted, percent) for percent in (50, 95, 100)]
    return Lateness(name, event, clock, int(counted["rows"].sum()), int(counted["late"].sum()), *quantiles)


def _at(counted: pd.DataFrame, percent: int) -> int | None:
    """Smallest lateness that `percent` of the rows do not exceed: that of one row, never between two."""
    if counted.empty:
        return None
    reached = counted["rows"].cumsum() * 100 >= counted["rows"].sum() * percent
    return int(counted["seconds"][reached].iloc[0])
