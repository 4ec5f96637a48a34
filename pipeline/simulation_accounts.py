"""How simulated customers buy, cool down and leave: hidden phases and orders.

An account is healthy, cooling, winding down or gone; the phase changes every two weeks at most and
slows its orders, its contacts and its payments before it is gone. No table shows the phase.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.simulation_deals import WON, Deals, Progress, draw_arrivals, season
from pipeline.simulation_world import DAY, STARTS, STEP, STEPS, Codes, Customers, Floats, Owners

HEALTHY, COOLING, WINDING, GONE = 0, 1, 2, 3
PHASES = 4

_ORDER_LEVEL = np.array([1.0, 0.6, 0.25, 0.03])
_AMOUNT_LEVEL = np.array([1.0, 0.9, 0.7, 0.5])
_ORDER_REGULARITY = 1.5
_WIN_TO_ORDER_DAYS = 4.0


@dataclass(frozen=True)
class Accounts:
    """Hidden phase of every customer in every `STEP`; `buys_from` is infinite for those who never bought."""

    buys_from: Floats
    phase: NDArray[np.int8]

    def phase_at(self, customer: Codes, times: Floats) -> Codes:
        """Return the phase of a customer at a time."""
        step = np.minimum((times / STEP).astype(np.int64), STEPS - 1)
        return self.phase[customer, step].astype(np.int64)

    def gone_from(self) -> Floats:
        """Return since when a customer has been gone for good; infinite for all others."""
        is_last = self.phase[:, -1] == GONE
        stayed = np.argmax(self.phase[:, ::-1] != GONE, axis=1)
        return np.where(is_last, (STEPS - stayed) * STEP, np.inf)


@dataclass(frozen=True)
class Orders:
    """One array entry per order or return (negative amount), unsorted."""

    customer: Codes
    occurred: Floats
    amount: Floats
    cost: Floats
    quantity: Floats
    product: Codes


def simulate_accounts(
    rng: np.random.Generator, customers: Customers, owners: Owners, deals: Deals, progress: Progress
) -> Accounts:
    """Walk all accounts through their phases, two weeks at a time; a won deal makes one healthy again."""
    buys_from = np.where(customers.is_migrated, customers.created, np.inf)
    won = np.flatnonzero(progress.outcome == WON)
    np.minimum.at(buys_from, deals.customer[won], progress.closed[won])
    loyalty = (
        0.75 * customers.satisfaction
        + 0.25 * customers.solvency
        + 0.3 * owners.skill[customers.owner]
        + 0.15 * customers.size
        - 0.4 * ((customers.satisfaction < 0) & (customers.solvency < 0))
    )
    phase = np.zeros((len(customers), STEPS), dtype=np.int8)
    now = np.zeros(len(customers), dtype=np.int64)
    won_step = (progress.closed[won] / STEP).astype(np.int64)
    for step in range(STEPS):
        moved = _next_phase(rng, now, loyalty)
        now = np.where(buys_from < step * STEP, moved, HEALTHY)
        now[deals.customer[won[won_step == step]]] = HEALTHY
        phase[:, step] = now
    return Accounts(buys_from, phase)


def _next_phase(rng: np.random.Generator, phase: Codes, loyalty: Floats) -> Codes:
    """Draw the phase of the next two weeks."""
    worse = np.array([0.018, 0.13, 0.24, 0.0])[phase] * np.exp(-0.7 * loyalty * (phase < WINDING))
    better = np.array([0.0, 0.10, 0.06, 0.03])[phase] * np.exp(0.4 * loyalty)
    draw = rng.random(len(phase))
    recovered = np.where(phase == GONE, HEALTHY, phase - 1)
    return np.where(draw < worse, phase + 1, np.where(draw > 1 - better, recovered, phase))


def draw_orders(
    rng: np.random.Generator, customers: Customers, accounts: Accounts, deals: Deals, progress: Progress
) -> Orders:
    """Draw orders: a steady rhythm that the phase slows, those of won deals, and 3 % returns."""
    level = _ORDER_LEVEL[accounts.phase] * (STARTS[None, :] >= accounts.buys_from[:, None])
    intensity = customers.order_rate[:, None] * level * season(STARTS)[None, :]
    cell, share = draw_arrivals(rng, intensity.ravel(), _ORDER_REGULARITY)
    customer, occurred = cell // STEPS, (cell % STEPS + share) * STEP
    phase = accounts.phase_at(customer, occurred)
    usual = 900 * np.exp(0.5 * customers.size + 0.3 * customers.budget)[customer]
    amount = usual * _AMOUNT_LEVEL[phase] * rng.lognormal(0, 0.45, len(customer))
    product = rng.choice(3, len(customer), p=[0.5, 0.35, 0.15])
    won = np.flatnonzero(progress.outcome == WON)
    delivered = progress.closed[won] + rng.exponential(_WIN_TO_ORDER_DAYS * DAY, len(won))
    customer = np.concatenate([customer, deals.customer[won]])
    occurred = np.concatenate([occurred, delivered])
    amount = np.concatenate([amount, deals.amount[won] * rng.uniform(0.85, 1.0, len(won))])
    product = np.concatenate([product, deals.product[won]])
    return _with_returns(rng, customer, occurred, np.round(amount, 2), product)


def _with_returns(
    rng: np.random.Generator, customer: Codes, occurred: Floats, amount: Floats, product: Codes
) -> Orders:
    """Add cost and quantity, and the return of 3 % of the orders, in part or as a whole."""
    count = len(customer)
    cost = np.round(amount * rng.uniform(0.5, 0.85, count), 2)
    quantity = 1.0 + rng.poisson(2.0, count)
    back = np.flatnonzero(rng.random(count) < 0.03)
    part = rng.choice([0.25, 0.5, 1.0], len(back))
    back_at = occurred[back] + rng.gamma(2, 8 * DAY, len(back))
    return Orders(
        customer=np.concatenate([customer, customer[back]]),
        occurred=np.concatenate([occurred, back_at]),
        amount=np.concatenate([amount, -np.round(amount[back] * part, 2)]),
        cost=np.concatenate([cost, -np.round(cost[back] * part, 2)]),
        quantity=np.concatenate([quantity, -np.ceil(quantity[back] * part)]),
        product=np.concatenate([product, product[back]]),
    )
