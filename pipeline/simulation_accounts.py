"""How simulated customers buy, cool down and leave: hidden phases and orders.

An account is healthy, cooling, winding down or gone; the phase changes every two weeks at most and
slows its orders, its contacts and its payments before it is gone. No table shows the phase.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.simulation_deals import WON, Deals, Progress, draw_arrivals, season
from pipeline.simulation_world import DAY, STARTS, STEP, STEPS, Codes, Customers, Flags, Floats, Owners

HEALTHY, COOLING, WINDING, GONE = 0, 1, 2, 3
PHASES = 4

PHASE_AFTER_BETTER = np.array([HEALTHY, HEALTHY, COOLING, HEALTHY])
"""Where each phase goes when it gets better; who is gone and comes back is healthy."""
BEATS = 1
"""Beats per order: 1 is a Poisson process, more is a steadier rhythm."""
ORDER_LEVEL = np.array([1.0, 0.95, 0.88, 0.36])
_AMOUNT_LEVEL = np.array([1.0, 0.7, 0.45, 0.3])
_WORSE = np.array([0.005, 0.05, 0.02, 0.0])
_BETTER = np.array([0.0, 0.035, 0.02, 0.008])
_WORSE_DRIFT = 0.3
_CHUNK = 100_000


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
class Rhythm:
    """The beats of all customers, sorted by customer and time; every one in `BEATS` of a customer is an order.

    How many beats are missing until the next order is hidden; `ahead` is how many it begins ahead with.
    """

    customer: NDArray[np.int32]
    occurred: Floats
    is_order: Flags
    ahead: Codes


@dataclass(frozen=True)
class Orders:
    """One array entry per order or return (negative amount), unsorted."""

    customer: Codes
    occurred: Floats
    amount: Floats
    cost: Floats
    quantity: Floats
    product: Codes


@dataclass(frozen=True)
class PhaseRates:
    """Probabilities that a phase gets worse or better at the beginning of a period, one column per phase."""

    worse: Floats
    better: Floats


def loyalty_of(customers: Customers, owners: Owners) -> Floats:
    """Return what keeps a customer: satisfaction, solvency, size and the skill of the owner."""
    small = np.minimum(customers.size, 0.0)
    return np.asarray(
        0.5 * customers.satisfaction
        + 0.35 * customers.solvency
        + 0.3 * owners.skill[customers.owner]
        + 0.3 * small
        - 0.4 * ((customers.satisfaction < 0) & (customers.solvency < 0))
    )


def phase_rates(loyalty: Floats, step: int | Codes) -> PhaseRates:
    """Return how the phase may change at the beginning of period `step`; customers leave more easily every year."""
    drift = 1 + _WORSE_DRIFT * (np.reshape(step, (-1, 1)) / STEPS - 0.5)
    slowed = np.exp(-0.7 * loyalty[:, None] * (np.arange(PHASES) < WINDING)[None, :])
    worse = np.minimum(_WORSE * drift * slowed, 0.9)
    better = np.minimum(_BETTER * np.exp(0.4 * loyalty)[:, None], 1 - worse)
    return PhaseRates(worse, better)


def simulate_accounts(
    rng: np.random.Generator, customers: Customers, owners: Owners, deals: Deals, progress: Progress
) -> Accounts:
    """Walk all accounts through their phases, two weeks at a time.

    A won deal makes an account healthy from the next period on. Who never bought is healthy.
    """
    buys_from = np.where(customers.is_migrated, customers.created, np.inf)
    won = np.flatnonzero(progress.outcome == WON)
    np.minimum.at(buys_from, deals.customer[won], progress.closed[won])
    loyalty = loyalty_of(customers, owners)
    phase = np.zeros((len(customers), STEPS), dtype=np.int8)
    now = np.zeros(len(customers), dtype=np.int64)
    won_step = (progress.closed[won] / STEP).astype(np.int64)
    for step in range(STEPS):
        moved = _next_phase(rng, now, phase_rates(loyalty, step))
        now = np.where(buys_from < step * STEP, moved, HEALTHY)
        now[deals.customer[won[won_step == step - 1]]] = HEALTHY
        phase[:, step] = now
    return Accounts(buys_from, phase)


def _next_phase(rng: np.random.Generator, phase: Codes, rates: PhaseRates) -> Codes:
    """Draw the phase of the next two weeks."""
    rows = np.arange(len(phase))
    worse, better = rates.worse[rows, phase], rates.better[rows, phase]
    draw = rng.random(len(phase))
    return np.where(draw < worse, phase + 1, np.where(draw > 1 - better, PHASE_AFTER_BETTER[phase], phase))


def order_intensity(customers: Customers, rows: slice) -> Floats:
    """Expected orders of healthy customers in every period, one row per customer."""
    return np.asarray(customers.order_rate[rows, None] * season(STARTS)[None, :])


def draw_rhythm(rng: np.random.Generator, customers: Customers, accounts: Accounts) -> Rhythm:
    """Draw beats at `BEATS` times the rate of orders, so that gaps are Erlang of that order."""
    ahead = rng.integers(BEATS, size=len(customers))
    parts = [_draw_beats(rng, customers, accounts, begin) for begin in range(0, len(customers), _CHUNK)]
    customer = np.concatenate([part[0] for part in parts])
    occurred = np.concatenate([part[1] for part in parts])
    first = np.searchsorted(customer, np.arange(len(customers)))
    place = np.arange(len(customer)) - first[customer]
    return Rhythm(customer, occurred, (place + ahead[customer]) % BEATS == BEATS - 1, ahead)


def _draw_beats(
    rng: np.random.Generator, customers: Customers, accounts: Accounts, begin: int
) -> tuple[NDArray[np.int32], Floats]:
    """Draw the beats of `_CHUNK` customers, by customer and time."""
    rows = slice(begin, begin + _CHUNK)
    level = ORDER_LEVEL[accounts.phase[rows]] * (STARTS[None, :] >= accounts.buys_from[rows, None])
    cell, share = draw_arrivals(rng, (BEATS * order_intensity(customers, rows) * level).ravel(), 1.0)
    return (begin + cell // STEPS).astype(np.int32), (cell % STEPS + share) * STEP


def draw_orders(
    rng: np.random.Generator,
    customers: Customers,
    accounts: Accounts,
    deals: Deals,
    progress: Progress,
    rhythm: Rhythm,
) -> Orders:
    """Draw what is ordered: the orders of the rhythm, one at the close of every won deal, and 3 % returns."""
    customer = rhythm.customer[rhythm.is_order].astype(np.int64)
    occurred = rhythm.occurred[rhythm.is_order]
    phase = accounts.phase_at(customer, occurred)
    usual = 900 * np.exp(0.5 * customers.size + 0.3 * customers.budget)[customer]
    amount = usual * _AMOUNT_LEVEL[phase] * rng.lognormal(0, 0.25, len(customer))
    product = rng.choice(3, len(customer), p=[0.5, 0.35, 0.15])
    won = np.flatnonzero(progress.outcome == WON)
    customer = np.concatenate([customer, deals.customer[won]])
    occurred = np.concatenate([occurred, progress.closed[won]])
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
