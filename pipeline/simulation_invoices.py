"""How simulated invoices are paid: in time, late, or never."""

from dataclasses import dataclass

import numpy as np

from pipeline.simulation_accounts import GONE, Accounts, Orders
from pipeline.simulation_world import DAY, HISTORY, Codes, Customers, Floats

_PAY_DELAY_DAYS = np.array([0.0, 5.0, 14.0, 25.0])
_TERMS_DAYS = np.array([14.0, 30.0, 60.0])


@dataclass(frozen=True)
class Invoices:
    """One array entry per invoice; `paid` and `written_off` are infinite until then."""

    customer: Codes
    occurred: Floats
    amount: Floats
    due: Floats
    paid: Floats
    written_off: Floats


def draw_invoices(rng: np.random.Generator, customers: Customers, accounts: Accounts, orders: Orders) -> Invoices:
    """Draw one invoice per order; weak solvency and a cooling account pay late, some never."""
    ordered = np.flatnonzero((orders.amount > 0) & (orders.occurred < HISTORY))
    customer = orders.customer[ordered]
    occurred = orders.occurred[ordered] + rng.exponential(1.5 * DAY, len(ordered))
    terms = rng.choice(_TERMS_DAYS, len(customers), p=[0.3, 0.5, 0.2])
    due = occurred + terms[customer] * DAY
    phase = accounts.phase_at(customer, np.minimum(due, HISTORY))
    habit = 3.0 - 4.0 * customers.solvency[customer] + _PAY_DELAY_DAYS[phase]
    paid = np.maximum(due + (habit + rng.gamma(1.2, 5.0, len(customer)) - 5.0) * DAY, occurred + 0.2 * DAY)
    is_lost = rng.random(len(customer)) < 0.004 * (1 + 4 * (phase == GONE) + 2 * (customers.solvency[customer] < -1))
    return Invoices(
        customer=customer,
        occurred=occurred,
        amount=orders.amount[ordered],
        due=due,
        paid=np.where(is_lost, np.inf, paid),
        written_off=np.where(is_lost, due + 180 * DAY, np.inf),
    )
