"""How simulated invoices are issued and paid: one per order or per month, in time, late, in part, or never."""

from dataclasses import dataclass, fields, replace

import numpy as np

from pipeline.simulation_accounts import COOLING, GONE, Accounts, Orders
from pipeline.simulation_columns import draw_known, office_time
from pipeline.simulation_world import DAY, HISTORY, Codes, Customers, Floats

COLLECTIVE_SHARE = 0.5
"""Share of the customers who get one invoice per month; the others get one per order."""

_MONTH = 365.25 / 12 * DAY
_TERMS_DAYS = np.array([14.0, 30.0, 60.0])
_PAY_DELAY_DAYS = np.array([0.0, 5.0, 14.0, 25.0])
_PART_RATE = 0.02
_LOSS_RATE = 0.004
_REST_TERM_DAYS = 14.0
_WRITE_OFF_DAYS = 180.0


@dataclass(frozen=True)
class Invoices:
    """One array entry per invoice; `paid` and `written_off` are infinite until then.

    `known` and `paid_known` are when the invoice and its payment were entered. A customer who pays in
    part settles the invoice with `paid_amount`, and the rest is billed again once that is known:
    `rest_of` is the invoice that a row is the rest of, -1 for all others.
    """

    customer: Codes
    occurred: Floats
    known: Floats
    amount: Floats
    due: Floats
    paid: Floats
    paid_known: Floats
    paid_amount: Floats
    written_off: Floats
    rest_of: Codes


@dataclass(frozen=True)
class _Bills:
    """What is billed: to whom, when, how much."""

    customer: Codes
    occurred: Floats
    amount: Floats


def draw_invoices(rng: np.random.Generator, customers: Customers, accounts: Accounts, orders: Orders) -> Invoices:
    """Draw invoices: weak solvency and a cooling account pay late or in part, some never."""
    bills = _bill(rng, customers, orders)
    count = len(bills.customer)
    due = bills.occurred + rng.choice(_TERMS_DAYS, len(customers), p=[0.3, 0.5, 0.2])[bills.customer] * DAY
    phase = accounts.phase_at(bills.customer, np.minimum(due, HISTORY))
    is_weak = customers.solvency[bills.customer] < -1
    is_lost = rng.random(count) < _LOSS_RATE * (1 + 4 * (phase == GONE) + 2 * is_weak)
    is_part = (rng.random(count) < _PART_RATE * (1 + 2 * (phase >= COOLING) + 3 * is_weak)) & ~is_lost
    paid_amount = np.round(bills.amount * np.where(is_part, rng.uniform(0.3, 0.9, count), 1.0), 2)
    paid = np.where(is_lost, np.inf, _draw_paid(rng, customers, bills, due, phase))
    whole = _enter(rng, bills, due, paid, paid_amount)
    whole = replace(whole, written_off=np.where(is_lost, due + _WRITE_OFF_DAYS * DAY, np.inf))
    is_part &= (paid_amount < bills.amount) & (whole.paid_known < HISTORY - DAY)
    return _bill_rest(rng, customers, accounts, whole, np.flatnonzero(is_part))


def _bill(rng: np.random.Generator, customers: Customers, orders: Orders) -> _Bills:
    """Bill orders one by one, or all of a month at its end."""
    ordered = np.flatnonzero((orders.amount > 0) & (orders.occurred < HISTORY))
    is_collective = (rng.random(len(customers)) < COLLECTIVE_SHARE)[orders.customer[ordered]]
    single, many = ordered[~is_collective], ordered[is_collective]
    months = int(HISTORY / _MONTH) + 2
    key, place = np.unique(
        orders.customer[many] * months + (orders.occurred[many] / _MONTH).astype(np.int64), return_inverse=True
    )
    occurred = np.concatenate([orders.occurred[single], (key % months + 1) * _MONTH])
    return _Bills(
        customer=np.concatenate([orders.customer[single], key // months]),
        occurred=occurred + rng.exponential(1.5 * DAY, len(occurred)),
        amount=np.round(
            np.concatenate([orders.amount[single], np.bincount(place, orders.amount[many], minlength=len(key))]), 2
        ),
    )


def _draw_paid(rng: np.random.Generator, customers: Customers, bills: _Bills, due: Floats, phase: Codes) -> Floats:
    """Draw when invoices are paid by those who do."""
    habit = 3.0 - 4.0 * customers.solvency[bills.customer] + _PAY_DELAY_DAYS[phase] - 5.0
    return np.asarray(np.maximum(due + (habit + rng.gamma(1.2, 5.0, len(due))) * DAY, bills.occurred + 0.2 * DAY))


def _enter(rng: np.random.Generator, bills: _Bills, due: Floats, paid: Floats, paid_amount: Floats) -> Invoices:
    """Draw when invoices and their payments were entered."""
    known = draw_known(rng, "invoices", office_time(bills.occurred))
    return Invoices(
        customer=bills.customer,
        occurred=bills.occurred,
        known=known,
        amount=bills.amount,
        due=due,
        paid=paid,
        paid_known=np.maximum(draw_known(rng, "invoices.paid_at", office_time(paid)), known),
        paid_amount=paid_amount,
        written_off=np.full(len(due), np.inf),
        rest_of=np.full(len(due), -1),
    )


def _bill_rest(
    rng: np.random.Generator, customers: Customers, accounts: Accounts, whole: Invoices, of: Codes
) -> Invoices:
    """Bill what is missing after a payment in part, from the day after it is known; the rest is paid as a whole."""
    bills = _Bills(
        customer=whole.customer[of],
        occurred=(np.floor(whole.paid_known[of] / DAY) + 1) * DAY + rng.exponential(DAY, len(of)),
        amount=np.round(whole.amount[of] - whole.paid_amount[of], 2),
    )
    due = bills.occurred + _REST_TERM_DAYS * DAY
    phase = accounts.phase_at(bills.customer, np.minimum(due, HISTORY))
    rest = _enter(rng, bills, due, _draw_paid(rng, customers, bills, due, phase), bills.amount)
    rest = replace(rest, rest_of=of)
    return Invoices(*(np.concatenate([getattr(side, field.name) for side in (whole, rest)]) for field in fields(whole)))
