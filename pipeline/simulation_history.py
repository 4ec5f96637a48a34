"""How fields of simulated customers and deals change, before and after the outcome.

A CRM shows the newest value of a field; the older ones are in its field history. Some fields are
overwritten when a deal closes or a customer has left, which makes today's value a leak.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa

from pipeline.simulation_accounts import Accounts
from pipeline.simulation_columns import date_column, label_column, money_column, number_column, text_column
from pipeline.simulation_deals import OPEN, PROPOSAL, WON, Deals, Progress
from pipeline.simulation_numbers import Numbers
from pipeline.simulation_world import DAY, GRADES, HISTORY, Codes, Customers, Floats, Owners

Values = TypeVar("Values", Floats, Codes)

PUSHES = 4
"""How often at most the expected close of a deal is put off."""


@dataclass(frozen=True)
class Change:
    """Changes of one field: which entity, when, from what to what (as text), not before what is known."""

    table: str
    field: str
    entity: Codes
    occurred: Floats
    old: pa.StringArray
    new: pa.StringArray


@dataclass(frozen=True)
class CustomerValues:
    """What the customers table shows at the clock."""

    employees: Floats
    revenue: Floats
    grade: Codes
    owner: Codes


@dataclass(frozen=True)
class DealValues:
    """What the deals table shows at the clock; `expected_day` counts days since `START`."""

    amount: Floats
    expected_day: Floats
    owner: Codes


def change_customers(
    rng: np.random.Generator, customers: Customers, accounts: Accounts, owners: Owners, numbers: Numbers
) -> tuple[CustomerValues, list[Change]]:
    """Draw yearly reports, new owners and new credit grades; a grade falls after the customer has left."""
    employees, revenue, changes = _grow(rng, customers)
    count = len(customers)
    gone = accounts.gone_from()
    span = HISTORY - DAY - customers.created
    moved_at = customers.created + rng.random(count) * span
    moved_at = np.where((rng.random(count) < 0.15) & (moved_at < gone), moved_at, np.inf)
    owner = rng.integers(len(owners.skill), size=count)
    owner, change = _replace("owner_id", moved_at, customers.owner, owner, numbers.owners)
    changes.append(change)
    review = np.clip(customers.grade - np.sign(customers.solvency + rng.normal(size=count)), 0, 3).astype(np.int64)
    review_at = customers.created + rng.random(count) * span
    review_at = np.where((rng.random(count) < 0.25) & (review_at < gone), review_at, np.inf)
    grade, change = _replace("credit_grade", review_at, customers.grade, review, _grade_column)
    changes.append(change)
    fallen_at = gone + rng.uniform(30, 150, count) * DAY
    fallen_at = np.where((rng.random(count) < 0.6) & (fallen_at < HISTORY - DAY), fallen_at, np.inf)
    grade, change = _replace("credit_grade", fallen_at, grade, np.full(count, 3, dtype=np.int64), _grade_column)
    changes.append(change)
    return CustomerValues(employees, revenue, grade, owner), changes


def _grade_column(codes: Codes) -> pa.StringArray:
    return label_column(GRADES, codes)


def _grow(rng: np.random.Generator, customers: Customers) -> tuple[Floats, Floats, list[Change]]:
    """Let head count and revenue grow or shrink, reported once a year."""
    rate = rng.normal(0.03, 0.12, len(customers))
    employees, revenue = customers.employees, customers.revenue
    changes: list[Change] = []
    for year in range(1, int(HISTORY / (365 * DAY)) + 1):
        at = customers.created + 365 * DAY * year + rng.exponential(30 * DAY, len(customers))
        at = np.where((at < HISTORY - DAY) & (rng.random(len(customers)) < 0.6), at, np.inf)
        factor = np.exp(rate + rng.normal(0, 0.05, len(customers)))
        grown = np.maximum(np.round(employees * factor), 1)
        employees, change = _replace("employees", at, employees, grown, number_column)
        changes.append(change)
        revenue, change = _replace("annual_revenue", at, revenue, np.round(revenue * factor, -3), money_column)
        changes.append(change)
    return employees, revenue, changes


def _replace(
    field: str, at: Floats, old: Values, new: Values, column: Callable[[Values], pa.Array], table: str = "customers"
) -> tuple[Values, Change]:
    """Put in the new value where there is a time for it; return the values after, and the change."""
    entity = np.flatnonzero(np.isfinite(at) & (old != new))
    after = old.copy()
    after[entity] = new[entity]
    texts = text_column(column(old[entity])), text_column(column(new[entity]))
    return after, Change(table, field, entity, at[entity], *texts)


def change_deals(
    rng: np.random.Generator, deals: Deals, progress: Progress, owners: Owners, numbers: Numbers
) -> tuple[DealValues, list[Change]]:
    """Draw new offers, put-off dates and new owners; amount and date are overwritten at the close."""
    amount, changes = _change_amounts(rng, deals, progress)
    expected, moved = _change_expected(rng, deals, progress)
    count = len(deals)
    ends = np.minimum(progress.closed, HISTORY - DAY / 2)
    at = deals.created + rng.random(count) * (ends - deals.created)
    at = np.where(rng.random(count) < 0.06, at, np.inf)
    owner = rng.integers(len(owners.skill), size=count)
    owner, change = _replace("owner_id", at, deals.owner, owner, numbers.owners, "deals")
    return DealValues(amount, expected, owner), [*changes, *moved, change]


def _change_amounts(rng: np.random.Generator, deals: Deals, progress: Progress) -> tuple[Floats, list[Change]]:
    """Change the amount with the proposal, and at the close: a discount when won, often 0 when lost."""
    count = len(deals)
    proposed = np.full(count, np.inf)
    is_proposal = progress.moves.stage == PROPOSAL
    np.minimum.at(proposed, progress.moves.deal[is_proposal], progress.moves.occurred[is_proposal])
    offer = np.round(deals.amount * rng.lognormal(0, 0.2, count), 2)
    at = np.where(rng.random(count) < 0.8, proposed, np.inf)
    amount, offered = _replace("amount", at, deals.amount, offer, money_column, "deals")
    discounted = np.round(amount * rng.uniform(0.85, 1.0, count), 2)
    is_overwritten = rng.random(count) < np.array([0.0, 0.7, 0.5])[progress.outcome]
    final = np.where(progress.outcome == WON, discounted, 0.0)
    at = np.where(is_overwritten, progress.closed, np.inf)
    amount, settled = _replace("amount", at, amount, final, money_column, "deals")
    return amount, [offered, settled]


def _change_expected(rng: np.random.Generator, deals: Deals, progress: Progress) -> tuple[Floats, list[Change]]:
    """Put off the expected close while it passes without one; at the close it becomes the close."""
    expected = np.floor(deals.created / DAY + rng.uniform(30, 120, len(deals)))
    changes: list[Change] = []
    ends = np.minimum(progress.closed, HISTORY - DAY / 2)
    for _ in range(PUSHES):
        at = (expected + rng.uniform(0, 5, len(deals))) * DAY
        at = np.where((at < ends) & (rng.random(len(deals)) < 0.8), at, np.inf)
        later = np.where(np.isfinite(at), np.floor(at / DAY + rng.uniform(14, 60, len(deals))), expected)
        expected, change = _replace("expected_close_on", at, expected, later, date_column, "deals")
        changes.append(change)
    closed_day = np.where(progress.outcome == OPEN, expected, np.floor(np.minimum(progress.closed, HISTORY) / DAY))
    expected, change = _replace("expected_close_on", progress.closed, expected, closed_day, date_column, "deals")
    return expected, [*changes, change]
