"""The laws of remembering: hypothesis draws what a CRM shows day by day, and every day is extracted.

(a) What the final tables show at the end of any day's data is what the extract of that day showed, and that
is what the CRM held. (b) Nothing un-knows: what an extract showed of any earlier moment, all later ones do.
`make laws` runs many more examples (LEADSIEVE_LAWS=N).
"""

import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features.tables import CrmTables, load_tables
from pipeline.adapters.memory import MemorySource
from pipeline.config import Config
from pipeline.extract import extract

EXAMPLES = int(os.environ.get("LEADSIEVE_LAWS", "4"))
law = settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if "LEADSIEVE_LAWS" in os.environ else [])],
    deadline=None,
    derandomize="LEADSIEVE_LAWS" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
T = pa.timestamp("us")
FIRST = datetime(2024, 7, 1)
JUNE = (datetime(2024, 6, 1), datetime(2024, 6, 10, 12), datetime(2024, 6, 20))
CUSTOMERS, DEALS = 8, 5
COUNTS = {"customers": CUSTOMERS, "orders": 10, "invoices": 6, "deals": DEALS, "stage_changes": 6}
SCHEMAS: dict[str, dict[str, Any]] = {
    "customers": {
        "customer_id": pa.string(), "created_at": T, "region": pa.string(), "grade": pa.string(),
        "owner_id": pa.string(), "deleted_at": T, "merged_into": pa.string(), "merged_at": T,
    },
    "orders": {
        "order_id": pa.string(), "occurred_at": T, "customer_id": pa.string(), "amount": pa.int64(), "changed_at": T,
    },
    "invoices": {
        "invoice_id": pa.string(), "occurred_at": T, "customer_id": pa.string(), "amount": pa.int64(), "paid_at": T,
    },
    "deals": {
        "deal_id": pa.string(), "created_at": T, "customer_id": pa.string(), "owner_id": pa.string(),
        "closed_at": T, "outcome": pa.string(), "lost_reason": pa.string(),
    },
    "stage_changes": {"deal_id": pa.string(), "occurred_at": T, "stage": pa.string()},
    "attribute_changes": {
        "occurred_at": T, "table_name": pa.string(), "entity_id": pa.string(), "field": pa.string(),
        "old_value": pa.string(), "new_value": pa.string(),
    },
}  # fmt: skip
MAPPINGS: dict[str, dict[str, Any]] = {
    "customers": {"static": ["region"], "remembered": ["grade"], "tracked": ["owner_id"]},
    "deals": {"remembered": ["owner_id"]},
}
SHOWN = {
    "customers": ("customer_id", "grade", "owner_id", "region"),
    "orders": ("order_id", "customer_id", "amount::BIGINT", "occurred_at"),
    "invoices": ("invoice_id", "customer_id", "amount::BIGINT", "paid_at"),
    "deals": ("deal_id", "customer_id", "owner_id", "closed_at", "outcome", "lost_reason"),
    "stage_changes": ("deal_id", "occurred_at", "stage"),
}
"""Columns that are compared; revealed ones as they were known."""

Row = dict[str, Any]
Shown = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Day:
    """What a CRM shows at the end of a day."""

    data_end: datetime
    rows: dict[str, list[Row]]
    places: dict[str, list[Row | None]]

    def __repr__(self) -> str:
        return f"{self.data_end:%d %B}"


def _moment(draw: Any, day: int, may_be_null: bool = True) -> datetime | None:
    """A moment in June or on one of the days that are over."""
    moments = [*JUNE, *(FIRST + timedelta(days=n, hours=12) for n in range(day))]
    return draw(st.sampled_from([None, *moments] if may_be_null else moments))


def _customer(draw: Any, number: int, day: int) -> Row:
    into = draw(st.sampled_from([None] * 6 + [f"C{n}" for n in range(number + 1, CUSTOMERS + 1)]))
    is_deleted = draw(st.integers(0, 7)) == 0
    return {
        "customer_id": f"C{number}", "created_at": JUNE[number % 2] - timedelta(days=30),
        "region": draw(st.sampled_from("nnnns")), "grade": draw(st.sampled_from(["a", "b", None])),
        "owner_id": draw(st.sampled_from("xyz")), "deleted_at": _moment(draw, day, False) if is_deleted else None,
        "merged_into": into, "merged_at": _moment(draw, day) if into else None,
    }  # fmt: skip


def _deal(draw: Any, number: int, day: int, customer: Any) -> Row:
    closed_at = _moment(draw, day)
    outcome = draw(st.sampled_from(["won", "lost", None])) if closed_at else None
    return {
        "deal_id": f"D{number}", "created_at": JUNE[0], "customer_id": draw(st.none() | customer) if number else None,
        "owner_id": draw(st.sampled_from("xy")), "closed_at": closed_at, "outcome": outcome,
        "lost_reason": "price" if outcome == "lost" and draw(st.booleans()) else None,
    }  # fmt: skip


def _make(draw: Any, table: str, n: int, day: int) -> Row:
    customer = st.integers(0, CUSTOMERS).map(lambda number: f"C{number}")  # C8 is never there
    if table == "customers":
        return _customer(draw, n, day)
    if table == "deals":
        return _deal(draw, n, day, customer)
    if table == "stage_changes":
        stage = draw(st.sampled_from(["new", "demo"]))
        return {"deal_id": f"D{n % DEALS}", "occurred_at": draw(st.sampled_from(JUNE[:2])), "stage": stage}
    row = {"customer_id": draw(customer), "amount": draw(st.integers(1, 2)), "occurred_at": JUNE[0]}
    if table == "invoices":
        return {"invoice_id": f"I{n}", **row, "paid_at": _moment(draw, day)}
    occurred_at = draw(st.sampled_from(JUNE))
    return {"order_id": f"O{n}", **row, "occurred_at": occurred_at, "changed_at": FIRST + timedelta(day - 0.5)}


@st.composite
def histories(draw: Any) -> list[Day]:
    """Draw four days; from one to the next most rows stay, others change, vanish or come."""
    days: list[Day] = []
    for number in range(4):
        rows: dict[str, list[Row]] = {}
        places: dict[str, list[Row | None]] = {}
        for table, count in COUNTS.items():
            places[table] = []
            for n in range(count):
                before = days[-1].places[table][n] if days else None
                fate = draw(st.sampled_from(["keep", "keep", "make", "drop"]))
                must_be = n == 0 and table in ("customers", "deals")  # which may not be empty
                row = before if fate == "keep" else _make(draw, table, n, number) if fate == "make" else None
                places[table].append(_make(draw, table, n, number) if must_be and row is None else row)
            rows[table] = [row for row in places[table] if row is not None]
        told = days[-1].rows["attribute_changes"] if days else []
        rows["attribute_changes"] = [*told, *_changes(draw, days, rows, number)]
        days.append(Day(FIRST + timedelta(days=number), rows, places))
    return days


def _changes(draw: Any, days: list[Day], rows: dict[str, list[Row]], number: int) -> list[Row]:
    """The CRM's history of owners: most changes are told, some are not, some contradict what was shown."""
    old = {row["customer_id"]: row["owner_id"] for row in days[-1].rows["customers"]} if days else {}
    told = []
    for row in rows["customers"]:
        before = old.get(row["customer_id"], row["owner_id"])
        if (before != row["owner_id"] and draw(st.booleans())) or draw(st.integers(0, 9)) == 0:
            told.append(
                {
                    "occurred_at": _moment(draw, number, False),
                    "table_name": "customers",
                    "entity_id": row["customer_id"],
                    "field": "owner_id",
                    "old_value": draw(st.sampled_from([before, "z"])),
                    "new_value": row["owner_id"],
                }
            )
    return told


def extract_day(folder: Path, day: Day, is_incremental: bool) -> CrmTables:
    arrow = {name: pa.Table.from_pylist(day.rows[name], schema=pa.schema(SCHEMAS[name])) for name in SCHEMAS}
    mappings = {name: {"select": "-", **MAPPINGS.get(name, {})} for name in SCHEMAS}
    if is_incremental:
        mappings["orders"]["modified_at"] = "changed_at"
    config = Config.model_validate(
        {
            "name": "world",
            "state": str(folder),
            "source": {
                "adapter": "files", "folder": str(folder), "data_end": day.data_end.isoformat(), "orphan_share": 1,
                "overlap_minutes": 13 * 60, "sweep_days": 0,
            },
            "tables": mappings,
            "targets": {},
        }
    )  # fmt: skip
    extract(config, source=MemorySource(arrow, day.data_end, {"orders": "changed_at"}), accept_shrink=True)
    return load_tables(config.folder / "tables")


def look(tables: CrmTables, at: datetime) -> Shown:
    """Every table as it was known at a moment."""
    shown: Shown = {}
    for name, columns in SHOWN.items():
        shown[name] = []
        if name not in tables.tables:
            continue
        stored = tables.tables[name]
        fields = [
            f"CASE WHEN {stored.revealed[c]}_known_at < TIMESTAMP '{at}' THEN {c} END" if c in stored.revealed else c
            for c in columns
        ]
        until = f"AND coalesce(TIMESTAMP '{at}' <= known_until, true)" if "known_until" in stored.columns else ""
        query = f"SELECT {', '.join(fields)} FROM '{tables.path(name)}' WHERE known_at < TIMESTAMP '{at}' {until}"
        shown[name] = sorted(duckdb.sql(query).fetchall(), key=repr)
    return shown


class Crm:
    """What the CRM holds, read with the rules of the extract and nothing of its code."""

    def __init__(self) -> None:
        self.customers: set[str] = set()
        self.deals: set[str] = set()
        self.stored: set[str] = set()
        self.merged: dict[str, str] = {}

    def hold(self, day: Day, is_first: bool) -> dict[str, Counter[tuple[Any, ...]]]:
        """Rows that an extract of this day shows at the end of its data."""
        here: dict[str, Row] = {row["customer_id"]: row for row in day.rows["customers"]}
        for one, row in here.items():
            self.merged.pop(one, None)
            if is_first or not (row["deleted_at"] or row["merged_into"]):
                self.stored.add(one)
            if row["merged_into"]:
                self.merged[one] = row["merged_into"]
        remembered = {one: into for one, into in self.merged.items() if one in here or one in self.stored}
        self.customers = self.stored | set(here)
        self.deals |= {row["deal_id"] for row in day.rows["deals"]}
        self.survivors = {one: into for one, into in remembered.items() if into in self.customers}
        customers = [row for row in here.values() if not (row["deleted_at"] or row["merged_into"])]
        rows = {"customers": Counter((row["customer_id"], row["grade"], row["region"]) for row in customers)}
        for name in ("orders", "invoices"):
            last = "occurred_at" if name == "orders" else "paid_at"
            rows[name] = Counter(
                (row[f"{name[:-1]}_id"], self.follow(row["customer_id"]), row["amount"], row[last])
                for row in day.rows[name]
                if row["customer_id"] in self.customers
            )
        rows["deals"] = Counter(
            (row["deal_id"], self.follow(row["customer_id"]), row["owner_id"], row["closed_at"], row["outcome"])
            for row in day.rows["deals"]
            if row["customer_id"] is None or row["customer_id"] in self.customers
        )
        return rows

    def follow(self, customer: str | None) -> str | None:
        while customer in self.survivors:
            customer = self.survivors[customer]
        return customer


@law
@given(histories(), st.booleans())
def test_the_final_tables_show_every_past_day_as_its_own_extract_did(days: list[Day], is_incremental: bool) -> None:
    moments = [datetime(2024, 6, 15), *(day.data_end for day in days)]
    crm = Crm()
    with tempfile.TemporaryDirectory() as folder:
        then: dict[tuple[int, datetime], Shown] = {}
        for number, day in enumerate(days):
            tables = extract_day(Path(folder), day, is_incremental)
            for at in moments[: number + 2]:
                then[number, at] = look(tables, at)
            held, shown = crm.hold(day, number == 0), then[number, day.data_end]
            columns = {"customers": (0, 1, 3), "deals": range(5)}
            for name, rows in held.items():
                found = Counter(tuple(row[i] for i in columns.get(name, range(len(row)))) for row in shown[name])
                assert (found - rows, rows - found) == (Counter(), Counter()), f"{name} on day {number}"
        for (number, at), showed in then.items():
            now = look(tables, at)
            for name in SHOWN:
                gone, come = Counter(showed[name]) - Counter(now[name]), Counter(now[name]) - Counter(showed[name])
                assert (gone, come) == (Counter(), Counter()), f"{name} at {at}, as day {number} showed it"


@law
@given(histories())
def test_an_extract_that_is_done_twice_changes_nothing(days: list[Day]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for day in days:
            files = [_files(extract_day(Path(folder), day, True).folder) for _ in range(2)]
            assert files[0] == files[1]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
