"""Rows of the customers table that no deal or order belongs to: addresses nobody works, and duplicates.

A duplicate is a second row of a customer that somebody entered again, with one contact. While it is
open, some of the customer's activities, tickets and contacts hang on it; most duplicates are merged into
the first row sooner or later, and what is entered from then on belongs to that one.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np

from pipeline.simulation_world import (
    DAY,
    HISTORY,
    Codes,
    Contacts,
    Customers,
    Floats,
    Owners,
    draw_contacts,
    draw_customers,
)

MERGED_SHARE = 0.6
"""Share of the duplicates that are merged, if the clock has not come before."""

HANGING_SHARE = 0.4
"""Share of a customer's activities, tickets and contacts that hang on its duplicate while it is open."""

_DAYS_TO_MERGE = 150.0

Rows = TypeVar("Rows", Customers, Contacts)


@dataclass(frozen=True)
class Register:
    """All rows of the customers table: customers of the world, then idle addresses, then duplicates.

    `original` is the customer that a row duplicates (-1: none), `merged` when it was merged into that
    one (infinite: not), `duplicate` the row that duplicates a customer (-1: none).
    """

    customers: Customers
    contacts: Contacts
    original: Codes
    merged: Floats
    duplicate: Codes

    def holder(self, rng: np.random.Generator, customer: Codes, occurred: Floats, known: Floats) -> Codes:
        """Return the row that something hangs on: sometimes the duplicate, if there is one by then, unmerged."""
        other = self.duplicate[customer]
        rows = np.flatnonzero(other >= 0)
        other = other[rows]
        is_open = (self.customers.created[other] <= occurred[rows]) & (known[rows] < self.merged[other])
        is_there = is_open & (rng.random(len(rows)) < HANGING_SHARE)
        held = customer.copy()
        held[rows[is_there]] = other[is_there]
        return np.where(known < self.merged[held], held, self.original[held])


def draw_register(
    rng: np.random.Generator, people: Customers, contacts: Contacts, owners: Owners, idle: int, duplicates: int
) -> Register:
    """Draw idle addresses and duplicates to the customers of the world.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    people, contacts, owners
        The world's.
    idle, duplicates : int
        How many rows of each.

    """
    register = people
    if idle:
        others = draw_customers(rng, idle, owners)
        contacts = _join_contacts(contacts, draw_contacts(rng, others), len(people))
        others = replace(others, parent=np.where(others.parent >= 0, others.parent + len(people), -1))
        register = _join(people, others)
    original = rng.permutation(np.flatnonzero(people.created < HISTORY - 90 * DAY))[:duplicates]
    share = rng.uniform(0.02, 0.9, len(original))
    created = people.created[original] + share * (HISTORY - DAY - people.created[original])
    merged = created + rng.exponential(_DAYS_TO_MERGE * DAY, len(original))
    is_merged = (rng.random(len(original)) < MERGED_SHARE) & (merged < HISTORY - DAY)
    count, first = len(register) + len(original), len(register)
    twins = replace(_take(people, original), created=created, owner=rng.integers(len(owners.skill), size=len(original)))
    columns = {"original": np.full(count, -1), "duplicate": np.full(count, -1), "merged": np.full(count, np.inf)}
    columns["original"][first:] = original
    columns["duplicate"][original] = first + np.arange(len(original))
    columns["merged"][first:] = np.where(is_merged, merged, np.inf)
    if len(original):
        contacts = _join_contacts(contacts, _first_contacts(draw_contacts(rng, twins)), first)
    return Register(_join(register, twins), contacts, **columns)


def _take(people: Customers, index: Codes) -> Customers:
    """Return some of the customers."""
    return replace(people, **{name: values[index] for name, values in _arrays(people).items()})


def _first_contacts(contacts: Contacts) -> Contacts:
    """Return only the contact that each customer was entered with."""
    first, count = contacts.first, len(contacts.first)
    return Contacts(
        customer=contacts.customer[first],
        created=contacts.created[first],
        seniority=contacts.seniority[first],
        is_decision_maker=contacts.is_decision_maker[first],
        first=np.arange(count),
        count=np.ones(count, dtype=np.int64),
    )


def _join(first: Rows, second: Rows) -> Rows:
    """Put rows behind others."""
    others = _arrays(second)
    return replace(first, **{name: np.concatenate([values, others[name]]) for name, values in _arrays(first).items()})


def _join_contacts(first: Contacts, second: Contacts, customers: int) -> Contacts:
    """Put the contacts of further customers behind the others'."""
    moved = replace(second, customer=second.customer + customers, first=second.first + len(first.customer))
    return _join(first, moved)


def _arrays(rows: Customers | Contacts) -> dict[str, Any]:
    """Return the columns of a record by name."""
    values = {field.name: getattr(rows, field.name) for field in fields(rows)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
