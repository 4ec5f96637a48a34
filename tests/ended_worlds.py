"""Random worlds whose rows end, change, change hands and come back, as an extract would have stored them.

A fate says what happens to one row at a moment: its last version ends then, and all but the deleted get a new one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

from hypothesis import strategies as st
from stored import stored_world
from worlds import DAYS, END, QUESTIONS, REVEALED, STAGES, START, World

from features.tables import TABLES, CrmTables

Stored = dict[str, list[dict[str, Any]]]
Kind = Literal["delete", "restore", "change", "move", "turn", "merge"]
OTHER = {
    "orders": "amount", "deals": "amount", "customers": "employees", "subscriptions": "mrr", "invoices": "amount",
    "tickets": "satisfaction",
}  # fmt: skip
"""A number that a correction raises by one."""
OWNED = ("orders", "deals", "activities", "subscriptions", "invoices", "tickets", "contacts")
"""Tables whose rows go over to another customer."""


@dataclass(frozen=True)
class Fate:
    """What happens to a row of a table (by its place) at a moment; `other` is a customer's place."""

    kind: Kind
    table: str
    place: int
    at: datetime
    other: int


def fates(*kinds: Kind) -> st.SearchStrategy[list[Fate]]:
    """Draw fates of these kinds; moments are midnights, so that they often coincide with other times."""
    days = st.integers(1, DAYS + 10).map(lambda day: START + timedelta(days=day))
    tables = st.sampled_from([*OWNED, "orders", "deals", "customers", "customers", "stage_changes", "assessments"])
    places = st.integers(0, 4000)
    return st.lists(st.builds(Fate, st.sampled_from(kinds), tables, places, days, places), min_size=150, max_size=150)


def store(world: World) -> Stored:
    """Rows of a world without its field changes, one version each."""
    return {name: [{**row, "known_until": None} for row in rows] for name, rows in world.rows.items()}


def live(stored: Stored, happening: Iterable[Fate]) -> Stored:
    """Let fates happen, the earliest first."""
    lived: Stored = {name: [dict(row) for row in rows] for name, rows in stored.items()}
    for fate in sorted(happening, key=lambda fate: fate.at):
        if fate.kind == "merge":
            _merge(lived, fate)
            continue
        rows = lived[fate.table]
        row = rows[fate.place % len(rows)] if rows else {}
        if not row or row["known_until"] is not None or row["known_at"] >= fate.at:
            continue
        after = _after(row, fate, lived["customers"])
        if after is not None:
            row["known_until"] = fate.at
            rows.extend(after)
    return lived


def _after(row: dict[str, Any], fate: Fate, customers: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Versions that follow; None if this cannot happen to such a row."""
    begun = {**row, "known_at": fate.at}
    if fate.kind == "delete":
        return []
    if fate.kind == "restore":
        return [{**begun, "known_at": fate.at + timedelta(days=3)}]
    if fate.kind == "change":
        return [_corrected(begun, fate, customers)]
    if fate.kind == "move" and fate.table in OWNED:
        there = [one["customer_id"] for one in customers if one["known_at"] < fate.at]
        return [{**begun, "customer_id": there[fate.other % len(there)]}] if there and row["customer_id"] else None
    is_closed = fate.table == "deals" and row["closed_at_known_at"] is not None and row["closed_at_known_at"] < fate.at
    if fate.kind == "turn" and is_closed:
        if fate.other % 2:
            return [{**begun, "closed_at": None, "closed_at_known_at": None, "outcome": None}]
        return [{**begun, "outcome": "lost" if row["outcome"] == "won" else "won"}]
    return None


def _corrected(row: dict[str, Any], fate: Fate, customers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row with another value: of a customer often another parent."""
    if fate.table == "customers" and fate.other % 2:
        return {**row, "parent_id": customers[fate.other % len(customers)]["customer_id"]}
    if fate.table in ("contacts", "activities"):
        return {**row, **({"seniority": "director"} if fate.table == "contacts" else {"kind": "meeting"})}
    column = OTHER.get(fate.table)
    return {**row, column: (row[column] or 0) + 1} if column else row


def _merge(stored: Stored, fate: Fate) -> None:
    """Merge one customer into another: it ends, and its rows go over to the other one."""
    there = [row for row in stored["customers"] if row["known_at"] < fate.at and row["known_until"] is None]
    if len(there) < 2:
        return
    gone, kept = there[fate.place % len(there)], there[fate.other % len(there)]
    if gone["customer_id"] == kept["customer_id"]:
        return
    gone["known_until"] = fate.at
    for rows in (stored[name] for name in OWNED):
        for row in [row for row in rows if row["customer_id"] == gone["customer_id"] and row["known_until"] is None]:
            if row["known_at"] < fate.at:
                row["known_until"] = fate.at
                rows.append({**row, "customer_id": kept["customer_id"], "known_at": fate.at, "known_until": None})
            else:
                row["customer_id"] = kept["customer_id"]


def cut(stored: Stored, at: datetime) -> Stored:
    """What an extract taken at a moment had stored: nothing known at or after it, no end at or after it."""
    return {name: [_as_known(name, row, at) for row in rows if row["known_at"] < at] for name, rows in stored.items()}


def _as_known(name: str, row: dict[str, Any], at: datetime) -> dict[str, Any]:
    known = {**row, "known_until": row["known_until"] if row["known_until"] and row["known_until"] < at else None}
    for time, columns in REVEALED.get(name, {}).items():
        clock = row[f"{time}_known_at"]
        if clock and clock >= at:
            known |= dict.fromkeys((time, f"{time}_known_at", *columns))
    return known


def scramble(stored: Stored, at: datetime) -> Stored:
    """Same past, another future: later ends undone or moved, later versions gone or doubled, later outcomes turned."""
    return {name: [other for row in rows for other in _scrambled(name, row, at)] for name, rows in stored.items()}


def _scrambled(name: str, row: dict[str, Any], at: datetime) -> list[dict[str, Any]]:
    luck = crc32(str(row).encode()) % 3
    key = TABLES[name].key
    if row["known_at"] >= at:
        return [row, {**row, key: f"{row[key]}-again"}][:luck] if key else [row][:luck]
    other = dict(row)
    if row["known_until"] is None or row["known_until"] >= at:
        other["known_until"] = [None, at, at + timedelta(days=1)][luck]
    for time, columns in REVEALED.get(name, {}).items():
        clock = row[f"{time}_known_at"]
        if clock is not None and clock >= at:
            values = {"outcome": "lost" if row.get("outcome") == "won" else "won", "satisfaction": 3.0}
            other |= {f"{time}_known_at": clock + timedelta(1), **{c: values.get(c, "x") for c in columns}}
    return [other]


def write(folder: Path, stored: Stored, data_end: datetime = END) -> CrmTables:
    """Write the tables that have rows."""
    return stored_world(
        folder,
        data_end=data_end,
        stages=STAGES,
        questions=QUESTIONS,
        **{name: rows for name, rows in stored.items() if rows},
    )
