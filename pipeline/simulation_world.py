"""The people of a simulated CRM: owners, customers and contacts, with the state that no table shows."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]

START = datetime(2022, 7, 1)
"""When the simulated CRM went live (UTC). Times inside the simulator are seconds since then."""

NOW = datetime(2025, 6, 30, 22)
"""The clock of the simulated CRM (UTC): nothing is later."""

DAY = 86_400.0
HISTORY = (NOW - START).total_seconds()
STEP = 14 * DAY
"""Length of the periods in which the state of an account is fixed."""

STEPS = int(np.ceil(HISTORY / STEP))
STARTS: Floats = np.arange(STEPS, dtype=np.float64) * STEP
"""When each period begins."""

INDUSTRIES = ("manufacturing", "retail", "logistics", "construction", "software", "healthcare", "food", "services")
REGIONS = ("north", "south", "east", "west", "central", "overseas")
SOURCES = ("website", "referral", "partner", "event", "outbound", "advertising")
GRADES = ("A", "B", "C", "D")
SENIORITIES = ("staff", "manager", "director", "executive")

_EARLY_INDUSTRIES = np.array([0.22, 0.18, 0.12, 0.13, 0.07, 0.07, 0.10, 0.11])
_LATE_INDUSTRIES = np.array([0.18, 0.13, 0.10, 0.11, 0.16, 0.12, 0.08, 0.12])
_EARLY_SOURCES = np.array([0.24, 0.19, 0.16, 0.14, 0.18, 0.09])
_LATE_SOURCES = np.array([0.31, 0.13, 0.12, 0.09, 0.17, 0.18])
_INDUSTRY_NEED = np.array([0.25, -0.1, 0.1, -0.3, 0.35, 0.15, -0.2, 0.0])
_INDUSTRY_DEMAND = np.array([0.3, 0.6, 0.1, -0.5, -0.8, -0.1, 0.7, -0.4])
_INDUSTRY_SIZE = np.array([4.6, 3.4, 4.0, 3.5, 3.3, 4.4, 3.8, 3.0])
_REVENUE_PER_HEAD = np.array([190e3, 150e3, 170e3, 140e3, 160e3, 110e3, 160e3, 90e3])
_MIGRATED_SHARE = 0.45


@dataclass(frozen=True)
class Owners:
    """Sales people: `skill` wins and keeps, `diligence` is how much they call and write, `share` of customers."""

    skill: Floats
    diligence: Floats
    share: Floats


@dataclass(frozen=True)
class Customers:
    """One array entry per customer; times in seconds since `START`.

    Shown in tables: created, industry, region, source, employees, revenue, age_days, parent, owner,
    grade (all as at creation). Hidden: need, budget, satisfaction, solvency, liveliness (how much
    contact there is), order_rate (orders per `STEP` when all is well), is_migrated (bought before
    the CRM went live, so orders from the start). Families share their fate: the satisfaction of a
    subsidiary is half its parent's. The mix of industries and sources drifts with `created`.
    """

    created: Floats
    industry: Codes
    region: Codes
    source: Codes
    employees: Floats
    revenue: Floats
    age_days: Floats
    parent: Codes
    owner: Codes
    grade: Codes
    size: Floats
    need: Floats
    budget: Floats
    satisfaction: Floats
    solvency: Floats
    liveliness: Floats
    order_rate: Floats
    is_migrated: Flags

    def __len__(self) -> int:
        return len(self.created)


@dataclass(frozen=True)
class Contacts:
    """One array entry per contact, sorted by customer; `first` is each customer's first contact."""

    customer: Codes
    created: Floats
    seniority: Codes
    is_decision_maker: Flags
    first: Codes
    count: Codes

    def decision_maker_since(self) -> Floats:
        """When each customer's first decision maker was known (infinite when there is none)."""
        since = np.full(len(self.first), np.inf)
        np.minimum.at(since, self.customer, np.where(self.is_decision_maker, self.created, np.inf))
        return since


def standardise(values: Floats) -> Floats:
    """Shift and scale to mean 0 and standard deviation 1."""
    return np.asarray((values - values.mean()) / (values.std() + 1e-12))


def draw_owners(rng: np.random.Generator, customers: int) -> Owners:
    """Draw sales people, about one for every 130 deals."""
    count = max(4, round(customers / 60))
    skill, diligence = rng.normal(size=count), rng.lognormal(0, 0.3, count)
    portfolio = rng.gamma(6.0, 1.0, count)
    return Owners(skill, diligence, portfolio / portfolio.sum())


def draw_mix(rng: np.random.Generator, early: Floats, late: Floats, when: Floats) -> Codes:
    """Draw codes whose shares drift from `early` to `late` over the history."""
    late_part = np.clip(when / HISTORY, 0.0, 1.0)
    draw = rng.random(len(when))
    code = np.zeros(len(when), dtype=np.int64)
    for low, high in zip(np.cumsum(early)[:-1], np.cumsum(late)[:-1], strict=True):
        code += draw >= low + (high - low) * late_part
    return code


def draw_customers(rng: np.random.Generator, count: int, owners: Owners) -> Customers:
    """Draw customers in the order of their creation; 45 % of them were imported when the CRM went live."""
    is_migrated = rng.random(count) < _MIGRATED_SHARE
    created = np.where(is_migrated, rng.random(count) * 45 * DAY, rng.random(count) ** 0.9 * (HISTORY - DAY))
    order = np.argsort(created, kind="stable")
    created, is_migrated = created[order], is_migrated[order]
    industry = draw_mix(rng, _EARLY_INDUSTRIES, _LATE_INDUSTRIES, created)
    employees = np.clip(np.round(rng.lognormal(_INDUSTRY_SIZE[industry], 1.2)), 1, 60_000)
    size = standardise(np.log(employees))
    revenue = np.round(employees * _REVENUE_PER_HEAD[industry] * rng.lognormal(0, 0.4, count), -3)
    solvency = rng.normal(size=count)
    shown_solvency = 0.75 * solvency + 0.25 * size + 0.6 * rng.normal(size=count)
    parent = np.where(rng.random(count) < 0.08, np.floor(rng.random(count) * np.arange(count)), -1).astype(np.int64)
    parent[0] = -1
    mood = rng.normal(size=count)
    demand = 1.05 * np.minimum(size, 1.2) + _INDUSTRY_DEMAND[industry]
    return Customers(
        created=created,
        industry=industry,
        region=rng.choice(len(REGIONS), count, p=[0.2, 0.2, 0.16, 0.2, 0.16, 0.08]),
        source=draw_mix(rng, _EARLY_SOURCES, _LATE_SOURCES, created),
        employees=employees,
        revenue=np.maximum(revenue, 10_000),
        age_days=np.round(rng.gamma(2, 4_000, count) + 60),
        parent=parent,
        owner=rng.choice(len(owners.share), count, p=owners.share),
        grade=np.digitize(-shown_solvency, [-0.7, 0.3, 1.2]),
        size=size,
        need=standardise(rng.normal(size=count) + _INDUSTRY_NEED[industry]),
        budget=standardise(0.8 * rng.normal(size=count) + 0.35 * size + 0.35 * solvency),
        satisfaction=np.where(parent >= 0, 0.7 * mood[parent] + 0.7 * mood, mood),
        solvency=solvency,
        liveliness=rng.lognormal(0, 0.75, count),
        order_rate=0.17 * np.exp(demand + 0.12 * rng.normal(size=count)) + 0.03,
        is_migrated=is_migrated,
    )


def draw_contacts(rng: np.random.Generator, customers: Customers) -> Contacts:
    """Draw one contact with each customer and some more in the year after."""
    count = 1 + rng.poisson(0.9 * np.exp(0.25 * customers.size))
    customer = np.repeat(np.arange(len(customers)), count)
    first = np.cumsum(count) - count
    is_first = np.zeros(len(customer), dtype=bool)
    is_first[first] = True
    later = customers.created[customer] + rng.exponential(200 * DAY, len(customer))
    seniority = rng.choice(len(SENIORITIES), len(customer), p=[0.4, 0.3, 0.2, 0.1])
    contacts = Contacts(
        customer=customer,
        created=np.where(is_first, customers.created[customer], later),
        seniority=seniority,
        is_decision_maker=rng.random(len(customer)) < np.array([0.04, 0.22, 0.6, 0.9])[seniority],
        first=first,
        count=count,
    )
    return _up_to_clock(contacts, len(customers))


def _up_to_clock(contacts: Contacts, customers: int) -> Contacts:
    """Leave out the contacts that would come after the clock."""
    keep = contacts.created < HISTORY - DAY
    count = np.bincount(contacts.customer[keep], minlength=customers)
    return Contacts(
        customer=contacts.customer[keep],
        created=contacts.created[keep],
        seniority=contacts.seniority[keep],
        is_decision_maker=contacts.is_decision_maker[keep],
        first=np.cumsum(count) - count,
        count=count,
    )
