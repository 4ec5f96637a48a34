"""Small random CRM worlds for the laws of time.

A `World` is what truly happened; `export(world, at)` is what the CRM would have shown at a moment: rows known
before it, fields not yet revealed empty, attributes as they stood. All times are UTC; `extract_world` delivers them
in the local time of the world's zone, where clocks change within the worlds' days, and payments as days.
"""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from features.tables import TABLES, CrmTables, load_tables
from pipeline.adapters.memory import MemorySource
from pipeline.config import Config
from pipeline.extract import extract

START = datetime(2024, 2, 25)
"""Worlds run over a leap day and two month ends, and over the same days 90 and 365 days before."""
DAYS = 40
END = START + timedelta(days=DAYS + 40)
ZONES = ("UTC", "Europe/Berlin", "America/New_York")
"""In Berlin summer time begins on 31 March, in New York on 10 March."""
LATENESS = (timedelta(0), timedelta(0), timedelta(0), timedelta(microseconds=1), timedelta(days=9))
STAGES = ("new", "demo", "offer")
QUESTIONS = ("need", "budget")
STATIC = {  # `tier` and `priority` are columns of the deployment's own
    "customers": ("industry", "founded_on", "source", "tier"),
    "deals": ("source", "product", "priority"),
    "subscriptions": ("plan",),
}
TRACKED = {
    "customers": ("employees", "annual_revenue", "region", "credit_grade", "owner_id", "parent_id"),
    "deals": ("amount", "owner_id", "expected_close_on"),
    "subscriptions": ("mrr", "renews_on"),
}
HISTORY_SINCE = {"customers": {"credit_grade": date(2024, 1, 1)}}
"""Before this day the CRM kept no history of a field, and its value is unknown."""
REVEALED = {
    "deals": {"closed_at": ("outcome", "lost_reason")},
    "invoices": {"paid_at": (), "written_off_at": ()},
    "tickets": {"closed_at": ("satisfaction",)},
    "subscriptions": {"ended_at": ("end_reason",)},
}
"""Times that are filled later, each with the columns that come with it."""
AS_DAYS = "paid_at"
"""A time that the source delivers as a DATE: it counts from the end of its day."""
SHARED = ("owner_id",)
"""Ids that all worlds of a batch share."""
ARROW = {
    "text": pa.string(), "time": pa.timestamp("us"), "date": pa.date32(), "money": pa.decimal128(18, 4),
    "number": pa.float64(), "integer": pa.int64(), "flag": pa.bool_(),
}  # fmt: skip

Row = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """A tracked field takes a value at a moment."""

    occurred_at: datetime
    known_at: datetime
    table: str
    entity_id: str
    field: str
    value: Any


@dataclass(frozen=True)
class World:
    """All rows ever, tracked fields at their first values, and the changes."""

    rows: dict[str, list[Row]]
    changes: tuple[Change, ...] = ()
    zone: str = "UTC"


def export(world: World, at: datetime) -> World:
    """Rows of the CRM's tables as an extract at a moment would deliver them, the CRM's field history among them."""
    shown = {
        table: [_hide(table, dict(row), at) for row in rows if row["known_at"] < at]
        for table, rows in world.rows.items()
    }
    places = {(name, row[TABLES[name].key]): row for name in TRACKED for row in shown[name]}
    told = shown["attribute_changes"] = []
    for change in sorted(world.changes, key=lambda c: (c.known_at, c.occurred_at)):
        row = places.get((change.table, change.entity_id))
        if change.known_at >= at or row is None:
            continue
        old, row[change.field] = row[change.field], change.value
        told.append(
            {
                "occurred_at": change.occurred_at, "known_at": change.known_at, "table_name": change.table,
                "entity_id": change.entity_id, "field": change.field, "old_value": _text(old),
                "new_value": _text(change.value),
            }
        )  # fmt: skip
    return World(shown, zone=world.zone)


def _hide(table: str, row: Row, at: datetime) -> Row:
    for clock, columns in REVEALED.get(table, {}).items():
        known = row[f"{clock}_known_at"]
        if known is None or known >= at:
            row |= dict.fromkeys((clock, f"{clock}_known_at", *columns))
    return row


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def extract_world(folder: Path, exported: World, data_end: datetime) -> CrmTables:
    """Extract exported rows into a folder through the real extract."""
    arrow = {name: _deliver(name, rows, exported.zone) for name, rows in exported.rows.items() if rows}
    config = Config.model_validate(
        {
            "name": "world",
            "state": str(folder),
            "stages": STAGES,
            "questions": QUESTIONS,
            "time_zone": exported.zone,
            "source": {"adapter": "files", "folder": str(folder), "data_end": data_end.isoformat()},
            "tables": {
                name: {
                    "select": "-",
                    "known_at": "known_at",
                    "static": STATIC.get(name, ()),
                    "tracked": TRACKED.get(name, ()) if "attribute_changes" in arrow else (),
                    "history_since": HISTORY_SINCE.get(name, {}) if "attribute_changes" in arrow else {},
                }
                for name in arrow
            },
            "targets": {},
        }
    )
    extract(config, source=MemorySource(arrow, data_end))
    return load_tables(config.folder / "tables")


def _deliver(name: str, rows: list[Row], zone: str) -> pa.Table:
    columns = dict.fromkeys(column for row in rows for column in row)
    types = {c: "date" if c == AS_DAYS else TABLES[name].columns.get(c, _own_type(c)) for c in columns}
    local = {c: [_local(row[c], types[c], zone) for row in rows] for c in columns}
    return pa.table({c: pa.array(values, ARROW[types[c]]) for c, values in local.items()})


def _own_type(column: str) -> str:
    return "time" if column.endswith("known_at") else "text"


def _local(value: Any, kind: str, zone: str) -> Any:
    if not isinstance(value, datetime):
        return value
    moment = value.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return moment.date() if kind == "date" else moment


def end_of_day(day: date, zone: str) -> datetime:
    """Last microsecond of a local day, in UTC."""
    midnight = datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone))
    return midnight.astimezone(UTC).replace(tzinfo=None) - timedelta(microseconds=1)


def merge(drawn: list[World]) -> World:
    """Put independent worlds of one zone side by side, so that one build tests them all."""
    rows: dict[str, list[Row]] = {name: [] for name in TABLES if name != "attribute_changes"}
    changes: list[Change] = []
    for number, world in enumerate(drawn):
        for name, found in world.rows.items():
            rows[name] += [{k: _renamed(k, v, number) for k, v in row.items()} for row in found]
        changes += [
            replace(c, entity_id=f"{number}-{c.entity_id}", value=_renamed(c.field, c.value, number))
            for c in world.changes
        ]
    return World(rows, tuple(changes), drawn[0].zone)


def _renamed(column: str, value: Any, number: int) -> Any:
    is_id = column.endswith("_id") and column not in SHARED and value is not None
    return f"{number}-{value}" if is_id else value
