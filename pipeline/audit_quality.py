"""The quality of stored tables: what is missing, what never varies, and days that hold too much."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import pandas as pd

from features.engine import Database
from features.expressions import whole_seconds
from features.tables import TABLES, CrmTables, StoredTable
from features.view import FUTURE
from pipeline.audit_alike import Alike, find_alike
from pipeline.sentences import NOT_SHOWN

BUSY_SHARE = 0.05
LEAST_BUSY_ROWS = 10
COMPARED_ROWS = 20_000
"""Rows of a table that are compared for columns that say the same: those with the smallest hash."""
_QUARTER = 900
"""Seconds in which no time zone changes its day."""


@dataclass(frozen=True)
class Filling:
    """How a column is filled.

    Parameters
    ----------
    table, column : str
    rows, missing : int
        Rows that stand today, and those where the column is null.
    constant : str or None
        The only value there is, as text; None where there are several or none.
    revealed_by : str or None
        The time column that says when it is filled: before that it is missing by nature.

    """

    table: str
    column: str
    rows: int
    missing: int
    constant: str | None
    revealed_by: str | None = None

    @property
    def missing_share(self) -> float:
        """Share of rows without value."""
        return self.missing / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class BusyDay:
    """A day on which 5 % of a table's rows, or more, have one of their times: a migration, or a default."""

    table: str
    column: str
    day: str
    rows: int
    share: float


@dataclass(frozen=True)
class Quality:
    """What was found in all tables."""

    fillings: tuple[Filling, ...]
    busy_days: tuple[BusyDay, ...]
    alike: tuple[Alike, ...]


def measure_quality(database: Database, tables: CrmTables) -> Quality:
    """Look at the rows of every table that stand today (`known_until` is null).

    Values of `sensitive` columns are counted, and neither compared nor shown.
    """
    fillings: list[Filling] = []
    days: list[BusyDay] = []
    alike: list[Alike] = []
    for name, stored in tables.tables.items():
        rows = _standing(database, name)
        fillings += _fillings(database, rows, stored)
        days += _busy_days(database, rows, stored, tables.time_zone)
        alike += find_alike(name, _sample(database, rows, stored))
    return Quality(tuple(fillings), tuple(days), tuple(alike))


def frame_quality(name: str, frame: pd.DataFrame) -> Quality:
    """The same of a flat frame, which has no times to count days by."""
    fillings = [_frame_filling(name, str(column), values) for column, values in frame.items()]
    return Quality(tuple(fillings), (), tuple(find_alike(name, frame)))


def _frame_filling(name: str, column: str, values: "pd.Series[Any]") -> Filling:
    kinds = values.dropna().unique()[:2]
    return Filling(name, column, len(values), int(values.isna().sum()), _text(kinds[0]) if len(kinds) == 1 else None)


def _standing(database: Database, name: str) -> Any:
    rows = database.table(name)
    return rows.filter(rows.known_until.isnull()) if "known_until" in rows.columns else rows  # noqa: PD003  (Ibis)


def _looked_at(stored: StoredTable) -> list[str]:
    """Columns of the source: no clocks of ours, and nothing that only tells how a row ended."""
    ours = FUTURE | {"known_at", "is_own"}
    return [c for c in stored.columns if c not in ours and not c.endswith("_known_at")]


def _fillings(database: Database, rows: Any, stored: StoredTable) -> list[Filling]:
    columns = _looked_at(stored)
    figures = {"rows": rows.count()}
    for place, column in enumerate(columns):
        figures |= {f"filled_{place}": rows[column].count(), f"least_{place}": rows[column].min()}
        figures[f"most_{place}"] = rows[column].max()
    (found,) = database.connection.to_pyarrow(rows.agg(**figures)).to_pylist()
    fillings = []
    for place, column in enumerate(columns):
        filled, least, most = (found[f"{key}_{place}"] for key in ("filled", "least", "most"))
        only = None if not filled or least != most else NOT_SHOWN if column in stored.sensitive else _text(least)
        missing = found["rows"] - filled
        fillings.append(Filling(stored.name, column, found["rows"], missing, only, stored.revealed.get(column)))
    return fillings


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _busy_days(database: Database, rows: Any, stored: StoredTable, zone: str) -> list[BusyDay]:
    """Days in the deployment's time zone; a day that a revealed time holds counts among the rows that have it."""
    found: list[BusyDay] = []
    for column, kind in stored.columns.items():
        if kind not in ("time", "date") or column in FUTURE or column in stored.sensitive:
            continue
        moments = rows.drop_null([column])
        quarter = whole_seconds(moments[column].cast("timestamp(6)")) // _QUARTER
        counted = database.frame(moments.select(quarter=quarter).group_by("quarter").agg(rows=ibis._.count()))
        start = pd.to_datetime(counted["quarter"] * _QUARTER, unit="s", utc=True)
        local = start if kind == "date" else start.dt.tz_convert(zone)
        found += _busy(stored.name, column, counted["rows"].groupby(local.dt.strftime("%Y-%m-%d")).sum())
    return found


def _busy(table: str, column: str, days: "pd.Series[int]") -> Iterable[BusyDay]:
    total = int(days.sum())
    busy = days[(days >= BUSY_SHARE * total) & (days >= LEAST_BUSY_ROWS)].sort_values(ascending=False, kind="stable")
    return [BusyDay(table, column, str(day), int(rows), int(rows) / total) for day, rows in busy.items()]


def _sample(database: Database, rows: Any, stored: StoredTable) -> pd.DataFrame:
    """Rows to compare columns on, the same each time: all of them, or those with the smallest hash."""
    casts: Mapping[str, str] = {"money": "float64", "date": "timestamp(6)"}
    columns = [column for column in _looked_at(stored) if column not in stored.sensitive]
    kept = {c: rows[c].cast(casts[k]) if (k := stored.columns[c]) in casts else rows[c] for c in columns}
    by = rows[TABLES[stored.name].key or TABLES[stored.name].time]
    return database.frame(rows.select(**kept).order_by([by.hash(), *columns]).limit(COMPARED_ROWS))
