"""Small random CRM worlds for the laws of time.

A `World` is what truly happened; `export(world, at)` is what the CRM would have shown at a moment:
rows known before it, fields not yet revealed empty, attributes as they stood.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from features.tables import CrmTables, load_tables
from pipeline.adapters.memory import MemorySource
from pipeline.config import Config
from pipeline.extract import extract

START = datetime(2024, 2, 20)
"""Worlds run over a leap day and two month ends."""
DAYS = 40
HOURS = 24 * DAYS
END = START + timedelta(days=DAYS + 40)
LATENESS = (timedelta(0), timedelta(0), timedelta(0), timedelta(microseconds=1), timedelta(days=9))
STAGES = ("new", "demo", "offer")
T = pa.timestamp("us")
MONEY = pa.decimal128(18, 4)
SCHEMAS: dict[str, dict[str, Any]] = {
    "customers": {
        "customer_id": pa.string(), "created_at": T, "known_at": T, "employees": pa.int64(), "industry": pa.string(),
    },
    "deals": {
        "deal_id": pa.string(), "created_at": T, "known_at": T, "customer_id": pa.string(), "owner_id": pa.string(),
        "source": pa.string(), "amount": MONEY, "closed_at": T, "closed_at_known_at": T, "outcome": pa.string(),
    },
    "stage_changes": {"deal_id": pa.string(), "occurred_at": T, "known_at": T, "stage": pa.string()},
    "orders": {
        "order_id": pa.string(), "occurred_at": T, "known_at": T, "customer_id": pa.string(), "amount": MONEY,
        "quantity": pa.float64(),
    },
    "activities": {
        "activity_id": pa.string(), "occurred_at": T, "known_at": T, "customer_id": pa.string(), "deal_id": pa.string(),
        "kind": pa.string(), "direction": pa.string(),
    },
    "attribute_changes": {
        "occurred_at": T, "known_at": T, "table_name": pa.string(), "entity_id": pa.string(), "field": pa.string(),
        "old_value": pa.string(), "new_value": pa.string(),
    },
}  # fmt: skip
CLOCKS = {"deals": {"closed_at": ("closed_at", "closed_at_known_at", "outcome")}}
TRACKED = {"customers": ("employees",), "deals": ("amount", "owner_id")}
STATIC = {"customers": ("industry",), "deals": ("source",)}


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

    rows: dict[str, list[dict[str, Any]]]
    changes: tuple[Change, ...] = ()


def export(world: World, at: datetime) -> dict[str, list[dict[str, Any]]]:
    """Rows of the CRM's tables as an extract at a moment would deliver them."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for table, rows in world.rows.items():
        shown[table] = [_hide(table, dict(row), at) for row in rows if row["known_at"] < at]
    current: dict[tuple[str, str, str], Any] = {
        (table, row[f"{table[:-1]}_id"], field): row[field]
        for table, fields in TRACKED.items()
        for row in shown[table]
        for field in fields
    }
    shown["attribute_changes"] = []
    for change in sorted(world.changes, key=lambda c: (c.known_at, c.occurred_at)):
        key = (change.table, change.entity_id, change.field)
        if change.known_at >= at or key not in current:
            continue
        old, current[key] = current[key], change.value
        shown["attribute_changes"].append(
            {
                "occurred_at": change.occurred_at, "known_at": change.known_at, "table_name": change.table,
                "entity_id": change.entity_id, "field": change.field, "old_value": _text(old),
                "new_value": _text(change.value),
            }
        )  # fmt: skip
    for table, fields in TRACKED.items():
        for row in shown[table]:
            row |= {field: current[table, row[f"{table[:-1]}_id"], field] for field in fields}
    return shown


def _hide(table: str, row: dict[str, Any], at: datetime) -> dict[str, Any]:
    for time, columns in CLOCKS.get(table, {}).items():
        known = row[f"{time}_known_at"]
        if known is None or known >= at:
            row |= dict.fromkeys(columns)
    return row


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def extract_world(folder: Path, exported: dict[str, list[dict[str, Any]]], data_end: datetime) -> CrmTables:
    """Extract exported rows into a folder through the real extract."""
    arrow = {
        name: pa.Table.from_pylist(rows, schema=pa.schema(SCHEMAS[name]))
        for name, rows in exported.items()
        if rows or name in ("customers", "deals")
    }
    config = Config.model_validate(
        {
            "name": "world",
            "state": str(folder),
            "stages": STAGES,
            "source": {"adapter": "files", "folder": str(folder), "data_end": data_end.isoformat()},
            "tables": {
                name: {
                    "select": "-",
                    "known_at": "known_at",
                    "static": STATIC.get(name, ()),
                    "tracked": TRACKED.get(name, ()) if "attribute_changes" in arrow else (),
                }
                for name in arrow
            },
            "targets": {},
        }
    )
    extract(config, source=MemorySource(arrow, data_end))
    return load_tables(config.folder / "tables")


hours = st.integers(0, DAYS).map(lambda day: 24 * day)
lateness = st.sampled_from(LATENESS)


@st.composite
def worlds(draw: Any) -> World:
    """Draw worlds of a few customers and deals; times lie on midnights, so that they often coincide."""
    customers = [
        {"customer_id": f"C{i}", **_clocks("created_at", draw(hours) // 96 * 24, draw(lateness)),
         "employees": draw(st.integers(1, 9)), "industry": draw(st.sampled_from(["a", "b", None]))}
        for i in range(draw(st.integers(2, 5)))
    ]  # fmt: skip
    deals = [_deal(draw, i, customers) for i in range(draw(st.integers(1, 5)))]
    born = {row["customer_id"]: row["known_at"] for row in customers}
    deal_born = {row["deal_id"]: row["known_at"] for row in deals}
    rows: dict[str, list[dict[str, Any]]] = {"customers": customers, "deals": deals}
    rows["orders"] = [
        {"order_id": f"O{i}", "customer_id": c, **_clocks("occurred_at", h, late, born[c]),
         "amount": cents, "quantity": quantity}
        for i, (c, h, late, cents, quantity) in enumerate(
            draw(st.lists(st.tuples(st.sampled_from(sorted(born)), hours, lateness, st.integers(-900, 9000),
                                    st.sampled_from([1.0, 2.0, -1.0, None])), max_size=25)))
    ]  # fmt: skip
    rows["stage_changes"] = [
        {"deal_id": d, **_clocks("occurred_at", h, late, deal_born[d]), "stage": stage}
        for d, h, late, stage in draw(
            st.lists(st.tuples(st.sampled_from(sorted(deal_born)), hours, lateness, st.sampled_from([*STAGES, "odd"])),
                     max_size=8))
    ]  # fmt: skip
    rows["activities"] = [
        {"activity_id": f"A{i}", "customer_id": c, "deal_id": d,
         **_clocks("occurred_at", h, late, max(born[c], deal_born[d]) if d else born[c]), "kind": kind,
         "direction": direction}
        for i, (c, d, h, late, kind, direction) in enumerate(
            draw(st.lists(st.tuples(st.sampled_from(sorted(born)), st.sampled_from([*sorted(deal_born), None]), hours,
                                    lateness, st.sampled_from(["call", "meeting"]),
                                    st.sampled_from(["inbound", "outbound"])), max_size=20)))
    ]  # fmt: skip
    return World(rows, tuple(_change(draw, born, deal_born) for _ in range(draw(st.integers(0, 12)))))


def _clocks(time: str, hour: int, late: timedelta, earliest: datetime | None = None) -> dict[str, datetime]:
    occurred = START + timedelta(hours=hour)
    known = occurred + late
    if earliest is not None:
        occurred, known = max(occurred, earliest), max(known, earliest)
    return {time: occurred, "known_at": known}


def _deal(draw: Any, i: int, customers: list[dict[str, Any]]) -> dict[str, Any]:
    customer = draw(st.sampled_from([*customers, None]))
    clocks = _clocks("created_at", draw(hours) // 48 * 24, draw(lateness), customer["known_at"] if customer else None)
    closed = draw(st.one_of(st.none(), hours))
    closing: dict[str, Any] = {"closed_at": None, "closed_at_known_at": None, "outcome": None}
    if closed is not None:
        closed_at = max(START + timedelta(hours=closed), clocks["known_at"])
        closing = {
            "closed_at": closed_at,
            "closed_at_known_at": closed_at + draw(lateness),
            "outcome": draw(st.sampled_from(["won", "lost"])),
        }
    return {
        "deal_id": f"D{i}",
        "customer_id": customer["customer_id"] if customer else None,
        **clocks,
        "owner_id": draw(st.sampled_from(["X", "Y"])),
        "source": draw(st.sampled_from(["web", "fair", None])),
        "amount": draw(st.integers(0, 9000)),
        **closing,
    }


def _change(draw: Any, born: dict[str, datetime], deal_born: dict[str, datetime]) -> Change:
    table, field = draw(st.sampled_from([("customers", "employees"), ("deals", "amount"), ("deals", "owner_id")]))
    entity_id = draw(st.sampled_from(sorted(born if table == "customers" else deal_born)))
    earliest = (born if table == "customers" else deal_born)[entity_id]
    clocks = _clocks("occurred_at", draw(hours), draw(lateness), earliest)
    value = draw(st.sampled_from(["X", "Z"])) if field == "owner_id" else draw(st.integers(1, 9))
    return Change(clocks["occurred_at"], clocks["known_at"], table, entity_id, field, value)


def merge(worlds_drawn: list[World]) -> World:
    """Put independent worlds side by side, so that one build tests them all."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS if name != "attribute_changes"}
    changes: list[Change] = []
    for number, world in enumerate(worlds_drawn):
        for name, found in world.rows.items():
            rows[name] += [{k: _renamed(k, v, number) for k, v in row.items()} for row in found]
        changes += [replace(change, entity_id=f"{number}-{change.entity_id}") for change in world.changes]
    return World(rows, tuple(changes))


def _renamed(column: str, value: Any, number: int) -> Any:
    return f"{number}-{value}" if column.endswith("_id") and column != "owner_id" and value is not None else value
