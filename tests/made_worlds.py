"""Rows of random worlds (`worlds.World`), made from a seed: all of one seed are alike."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from worlds import (
    AS_DAYS,
    DAYS,
    LATENESS,
    QUESTIONS,
    STAGES,
    START,
    TRACKED,
    ZONES,
    Change,
    Row,
    World,
    end_of_day,
    merge,
)

from features.tables import TABLES

AGO = (0, 0, 0, 0, 90, 365)
"""Days by which a time may lie before the worlds' days: where windows begin."""


class _Maker(Random):
    """Makes the rows of one world; times lie on midnights, so that they often coincide."""

    def __init__(self, seed: str, zone: str) -> None:
        super().__init__(seed)
        self.zone = zone

    def moment(self, earliest: datetime | None = None, days: int = DAYS, ago: tuple[int, ...] = AGO) -> datetime:
        """One of the midnights of the worlds' days, or so many days before it."""
        at = START + timedelta(days=self.randint(0, days) - self.choice(ago))
        return max(at, earliest) if earliest else at

    def clocks(self, occurred: str, earliest: datetime | None = None, days: int = DAYS, ago: Any = AGO) -> Row:
        at = self.moment(earliest, days, ago)
        return {occurred: at, "known_at": at + self.choice(LATENESS)}

    def revealed(self, name: str, earliest: datetime) -> Row:
        """A time that is filled later, or never."""
        if self.random() < 0.3:
            return {name: None, f"{name}_known_at": None}
        at = self.moment(earliest)
        at = end_of_day(at.date(), self.zone) if name == AS_DAYS else at
        return {name: at, f"{name}_known_at": at + self.choice(LATENESS)}

    def day(self) -> date:
        return self.moment(days=DAYS + 30, ago=(0,)).date()

    def maybe(self, *values: Any) -> Any:
        return self.choice([*values, None])

    def some(self, key: str, rows: int) -> Iterable[Row]:
        """Rows with a key each, at most so many."""
        return ({key: f"{key[0].upper()}{i}"} for i in range(self.randint(rows // 2, rows)))


def crowd(seed: int, numbers: Iterable[int]) -> World:
    """Worlds side by side, in a zone that the seed chooses; each is the same whatever others there are."""
    zone = Random(f"zone {seed}").choice(ZONES)
    return merge([make_world(f"{seed} {number}", zone) for number in numbers])


def moment_of(seed: int, zone: str) -> datetime:
    """A moment to look at a crowd: a midnight, a local one, or the last microsecond of a local day."""
    luck = Random(f"moment {seed}")
    day = START + timedelta(days=luck.randint(10, DAYS - 5))
    end = end_of_day(day.date(), zone)
    return luck.choice([day, end, end + timedelta(microseconds=1)])


def make_world(seed: str, zone: str) -> World:
    """A world of two to five customers."""
    make = _Maker(seed, zone)
    customers = [_customer(make, i) for i in range(make.randint(2, 5))]
    for number, row in enumerate(customers):
        elder = [one["customer_id"] for one in customers[:number] if one["known_at"] <= row["known_at"]]
        row["parent_id"] = make.maybe(*elder)
    deals = [_deal(make, i, make.maybe(*customers)) for i in range(make.randint(1, 5))]
    rows = {"customers": customers, "deals": deals}
    rows["contacts"] = [row | _contact(make, make.choice(customers)) for row in make.some("contact_id", 5)]
    rows["stage_changes"] = [_stage(make, make.choice(deals)) for _ in make.some("-", 8)]
    rows["activities"] = [
        row | _activity(make, make.choice(customers), make.maybe(*deals), make.maybe(*rows["contacts"]))
        for row in make.some("activity_id", 20)
    ]
    for name, key, count, one in (
        ("orders", "order_id", 25, _order), ("invoices", "invoice_id", 12, _invoice),
        ("tickets", "ticket_id", 10, _ticket), ("subscriptions", "subscription_id", 6, _subscription),
    ):  # fmt: skip
        rows[name] = [row | one(make, make.choice(customers)) for row in make.some(key, count)]
    rows["assessments"] = [_assessment(make, make.choice(customers + deals)) for _ in make.some("-", 12)]
    changes = [_change(make, rows) for _ in make.some("-", 30)]
    return World(rows, tuple(c for c in changes if c), zone)


def _customer(make: _Maker, number: int) -> Row:
    return {
        "customer_id": f"C{number}", **make.clocks("created_at", days=9, ago=(0, 90, 365, 365)),
        "employees": make.maybe(1, 20, 300), "annual_revenue": make.maybe(0, 5000, 2_000_000),
        "region": make.maybe("north", "south"),
        "credit_grade": make.maybe("A", "B"), "owner_id": make.choice("XY"), "industry": make.maybe("a", "b"),
        "founded_on": make.maybe(date(2020, 2, 29)), "source": make.maybe("web", "fair"),
        "tier": make.maybe("gold", "tin"),
    }  # fmt: skip


def _deal(make: _Maker, number: int, customer: Row | None) -> Row:
    clocks = make.clocks("created_at", customer["known_at"] if customer else None, 20)
    closing = make.revealed("closed_at", clocks["known_at"])
    outcome = make.choice(["won", "lost"]) if closing["closed_at"] else None
    return {
        "deal_id": f"D{number}", "customer_id": customer["customer_id"] if customer else None, **clocks,
        "owner_id": make.choice("XY"), "source": make.maybe("web", "fair"), "product": make.maybe("p", "q"),
        "priority": make.maybe("high", "low"), "amount": make.randint(0, 9000), "expected_close_on": make.day(),
        **closing, "outcome": outcome, "lost_reason": make.maybe("price") if outcome == "lost" else None,
    }  # fmt: skip


def _contact(make: _Maker, customer: Row) -> Row:
    return {
        "customer_id": customer["customer_id"], **make.clocks("created_at", customer["known_at"], 25),
        "title": make.maybe("CFO"), "seniority": make.maybe("executive", "Director", "staff"),
        "is_decision_maker": make.maybe(True, False),
    }  # fmt: skip


def _stage(make: _Maker, deal: Row) -> Row:
    stage = make.choice([*STAGES, "odd"])
    return {"deal_id": deal["deal_id"], **make.clocks("occurred_at", deal["known_at"]), "stage": stage}


def _activity(make: _Maker, customer: Row, deal: Row | None, contact: Row | None) -> Row:
    earliest = max(row["known_at"] for row in (customer, deal, contact) if row)
    return {
        "customer_id": customer["customer_id"], "deal_id": deal["deal_id"] if deal else None,
        "contact_id": contact["contact_id"] if contact else None, **make.clocks("occurred_at", earliest),
        "kind": make.maybe("call", "call", "email", "meeting"), "direction": make.maybe("inbound", "outbound"),
        "outcome": make.maybe("answered", "busy"), "duration_s": make.maybe(60, 600), "author": make.choice("XY"),
    }  # fmt: skip


def _order(make: _Maker, customer: Row) -> Row:
    return {
        "customer_id": customer["customer_id"], **make.clocks("occurred_at", customer["known_at"]),
        "amount": make.randint(-900, 9000), "cost": make.maybe(0, 400), "product": make.maybe("p", "Q"),
        "quantity": make.maybe(1.0, 2.0, -1.0),
    }  # fmt: skip


def _invoice(make: _Maker, customer: Row) -> Row:
    clocks = make.clocks("occurred_at", customer["known_at"])
    return {
        "customer_id": customer["customer_id"], **clocks, "amount": make.randint(0, 900),
        "due_at": make.maybe(*(make.moment(clocks["occurred_at"]) for _ in range(3))),
        **make.revealed("paid_at", clocks["known_at"]), **make.revealed("written_off_at", clocks["known_at"]),
    }  # fmt: skip


def _ticket(make: _Maker, customer: Row) -> Row:
    clocks = make.clocks("occurred_at", customer["known_at"])
    closing = make.revealed("closed_at", clocks["known_at"])
    return {
        "customer_id": customer["customer_id"], **clocks, "kind": make.maybe("bug", "Complaint"),
        "severity": make.maybe("low", "high", "critical"), **closing,
        "satisfaction": make.maybe(1.0, 5.0) if closing["closed_at"] else None,
    }  # fmt: skip


def _subscription(make: _Maker, customer: Row) -> Row:
    clocks = make.clocks("occurred_at", customer["known_at"], 25)
    ending = make.revealed("ended_at", clocks["known_at"])
    return {
        "customer_id": customer["customer_id"], **clocks, "plan": make.maybe("s", "m"), "mrr": make.randint(0, 90),
        "renews_on": make.day(), **ending, "end_reason": make.maybe("price") if ending["ended_at"] else None,
    }  # fmt: skip


def _assessment(make: _Maker, entity: Row) -> Row:
    kind = "deal" if "deal_id" in entity else "customer"
    return {
        "entity": kind, "entity_id": entity[f"{kind}_id"], **make.clocks("occurred_at", entity["known_at"]),
        "question": make.choice([*QUESTIONS, "odd"]), "answer": make.choice(["low", "high", "3", "12"]), "author": "X",
    }  # fmt: skip


def _change(make: _Maker, rows: dict[str, list[Row]]) -> Change | None:
    table = make.choice(["customers", "customers", "deals", "subscriptions"])
    field = make.choice(TRACKED[table])
    if not rows[table]:
        return None
    entity = make.choice(rows[table])
    clocks = make.clocks("occurred_at", entity["known_at"])
    value = another_value(make, field, [row for row in rows["customers"] if row["known_at"] <= clocks["known_at"]])
    return Change(clocks["occurred_at"], clocks["known_at"], table, entity[str(TABLES[table].key)], field, value)


def another_value(luck: Random, field: str, customers: list[Row]) -> Any:
    """A value that a tracked field may take; a parent is one of the customers."""
    if field.endswith("_on"):
        return START.date() + timedelta(days=luck.randint(0, 90))
    words = {
        "region": ["north", "east", None], "credit_grade": ["A", "C", None], "owner_id": ["X", "Z"],
        "parent_id": [None, *(row["customer_id"] for row in customers)],
    }  # fmt: skip
    return luck.choice(words.get(field, [0, 7, 60, 700]))
