"""How simulated deals come up, and the record of what becomes of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.simulation_promise import (
    PRODUCT_SHARES,
    SKILL,
    choose_worked,
    effort_promise,
    hidden_promise,
    shown_promise,
)
from pipeline.simulation_world import (
    DAY,
    HISTORY,
    SOURCES,
    STARTS,
    STEP,
    STEPS,
    Codes,
    Contacts,
    Customers,
    Flags,
    Floats,
    Owners,
)

PRODUCTS = ("basic", "standard", "premium", "service", "project")
STAGES = ("new", "qualified", "proposal", "negotiation")
LOST_REASONS = ("price", "no budget", "competitor", "no decision", "no answer")
PROPOSAL = 2
OPEN, WON, LOST = 0, 1, 2

WEEK = 7 * DAY
REPEATS_AFTER = 30 * DAY
"""Age of a customer before which it has no deal but its first."""
OWN_OWNER = 0.85
"""Share of deals that the customer's own sales person has."""
_CHUNK = 100_000
"""Customers whose cells are in memory at once."""
_PRICE = np.array([1_800.0, 5_500.0, 14_000.0, 3_500.0, 30_000.0])


@dataclass(frozen=True)
class Deals:
    """One array entry per deal, sorted by creation; `promise`, `effort` and `is_worked` are in no table.

    `promise` is the part that is fixed before the owner's workload and the customer's purchases at the
    deal's creation are known; `is_repeat` marks the deals after a customer's first.
    """

    customer: Codes
    created: Floats
    source: Codes
    product: Codes
    owner: Codes
    amount: Floats
    effort: Floats
    promise: Floats
    is_repeat: Flags
    is_worked: Flags

    def __len__(self) -> int:
        return len(self.customer)


@dataclass(frozen=True)
class DealWeeks:
    """The weeks of their age in which deals were open, sorted by deal and week.

    `began` is when the week began, `share` how much of it the deal was open, `momentum` and `stage`
    hold at its beginning; in the part `moved` of the week the deal went to the stage `stage_after`
    (infinite when it did not).
    """

    deal: NDArray[np.int32]
    began: Floats
    share: Floats
    momentum: NDArray[np.int8]
    stage: NDArray[np.int8]
    moved: Floats
    stage_after: NDArray[np.int8]


@dataclass(frozen=True)
class StageMoves:
    """Stage changes, the first one at the deal's creation."""

    deal: Codes
    occurred: Floats
    stage: Codes


@dataclass(frozen=True)
class Progress:
    """What became of the deals by the clock: `closed` is infinite while a deal is open.

    `promise` is that of `Deals` with what was added at creation, `workload` the owner's open deals then.
    """

    closed: Floats
    outcome: Codes
    stage: Codes
    moves: StageMoves
    weeks: DealWeeks
    promise: Floats
    workload: Codes


def draw_arrivals(rng: np.random.Generator, intensity: Floats, regularity: float) -> tuple[Codes, Floats]:
    """Draw events of one renewal process that runs through all cells one after the other.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    intensity : array of float
        Expected number of events in each cell, such as one customer in one period.
    regularity : float
        Shape of the gamma gaps: 1 is a Poisson process, more is a steadier rhythm.

    Returns
    -------
    tuple of arrays
        The cell of each event, ascending, and where in the cell it lies, in [0, 1).

    """
    ends = np.cumsum(intensity)
    total = float(ends[-1]) if len(ends) else 0.0
    count = int(total + 8 * np.sqrt(total) + 20)
    at = np.cumsum(rng.gamma(regularity, 1 / regularity, count))
    at = at[at < total]
    cell = np.searchsorted(ends, at, side="right")
    share = (at - ends[cell] + intensity[cell]) / intensity[cell]
    return cell, np.clip(share, 0.0, 1 - 1e-9)


def season(times: Floats) -> Floats:
    """Seasonal factor of demand: high in spring and autumn, low in August and late December."""
    year = 2 * np.pi * times / (365.25 * DAY)
    return np.asarray(1 - 0.12 * np.cos(year) + 0.10 * np.cos(2 * year + 2.2))


def draw_deals(
    rng: np.random.Generator,
    customers: Customers,
    contacts: Contacts,
    owners: Owners,
    repeats: float = 0.6,
    policy: float | None = None,
) -> Deals:
    """Draw deals: the first with every customer who did not buy before, more where there is need.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    customers, contacts, owners
        The people.
    repeats : float
        Further deals per customer and year, on average.
    policy : float or None
        Share of deals that is worked, those with the best shown criteria; None: all.

    """
    first = np.flatnonzero(~customers.is_migrated)
    first_at = customers.created[first] + np.minimum(rng.exponential(3 * DAY, len(first)), 29 * DAY)
    rate = repeat_rate(customers, repeats)
    parts = [_draw_repeats(rng, customers, rate, begin) for begin in range(0, len(customers), _CHUNK)]
    customer = np.concatenate([first, *(part[0] for part in parts)])
    created = np.concatenate([first_at, *(part[1] for part in parts)])
    is_repeat = np.arange(len(customer)) >= len(first)
    keep = np.flatnonzero(created < HISTORY - DAY)
    keep = keep[np.argsort(created[keep], kind="stable")]
    return _describe_deals(rng, customers, contacts, owners, customer[keep], created[keep], is_repeat[keep], policy)


def repeat_rate(customers: Customers, repeats: float = 0.6) -> Floats:
    """Expected further deals of each customer per `STEP`, before the season."""
    return np.asarray(repeats * STEP / (365 * DAY) * np.exp(0.45 * customers.need + 0.2 * customers.size))


def _draw_repeats(rng: np.random.Generator, customers: Customers, rate: Floats, begin: int) -> tuple[Codes, Floats]:
    """Draw further deals of `_CHUNK` customers, none in a customer's first `REPEATS_AFTER`."""
    rows = slice(begin, begin + _CHUNK)
    is_there = STARTS[None, :] >= customers.created[rows, None] + REPEATS_AFTER
    cell, share = draw_arrivals(rng, (rate[rows, None] * season(STARTS)[None, :] * is_there).ravel(), 1.0)
    return begin + cell // STEPS, (cell % STEPS + share) * STEP


def _describe_deals(
    rng: np.random.Generator,
    customers: Customers,
    contacts: Contacts,
    owners: Owners,
    customer: Codes,
    created: Floats,
    is_repeat: Flags,
    policy: float | None,
) -> Deals:
    """Draw what a deal is about and how promising it is at birth."""
    count = len(customer)
    own_source = rng.choice(len(SOURCES), count, p=[0.3, 0.25, 0.1, 0.1, 0.2, 0.05])
    source = np.where(is_repeat, own_source, customers.source[customer])
    product = rng.choice(len(PRODUCTS), count, p=PRODUCT_SHARES)
    amount = np.round(_PRICE[product] * np.exp(0.45 * customers.size[customer] + rng.normal(0, 0.55, count)), 2)
    other = rng.choice(len(owners.share), count, p=owners.share)
    owner = np.where(rng.random(count) < OWN_OWNER, customers.owner[customer], other)
    effort = owners.diligence[owner] * rng.lognormal(0, 0.2, count)
    has_decision_maker = contacts.decision_maker_since()[customer] <= created
    shown = shown_promise(customers, customer, source, product, amount, has_decision_maker)
    is_worked = choose_worked(rng, shown, policy)
    effort = np.where(is_worked, effort, 0.15 * effort)
    hidden = hidden_promise(rng, customers, customer, amount)
    promise = shown + hidden + SKILL * owners.skill[owner] + effort_promise(effort)
    return Deals(customer, created, source, product, owner, amount, effort, promise, is_repeat, is_worked)
