"""How simulated deals come up, move through their stages and close.

A deal's hidden state is its momentum (stalled, steady, hot), which changes from week to week and
drives stage moves, wins, losses and activity alike. Only what it drives is ever in a table.
"""

from dataclasses import dataclass

import numpy as np

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
    standardise,
)

PRODUCTS = ("basic", "standard", "premium", "service", "project")
STAGES = ("new", "qualified", "proposal", "negotiation")
LOST_REASONS = ("price", "no budget", "competitor", "no decision", "no answer")
PROPOSAL = 2
OPEN, WON, LOST = 0, 1, 2

WEEK = 7 * DAY
_SOURCE_FIT = np.array([0.0, 0.7, 0.35, 0.0, -0.5, -0.35])
_PRICE = np.array([1_800.0, 5_500.0, 14_000.0, 3_500.0, 30_000.0])
_ADVANCE = np.array([[0.08, 0.24, 0.50], [0.05, 0.16, 0.38], [0.04, 0.12, 0.32], [0.0, 0.0, 0.0]])
_WIN = np.array([[0.0, 0.0, 0.002], [0.0, 0.001, 0.008], [0.0004, 0.004, 0.036], [0.002, 0.014, 0.11]])
_LOSE = np.array([[0.060, 0.030, 0.010], [0.045, 0.022, 0.008], [0.040, 0.018, 0.007], [0.042, 0.020, 0.008]])


@dataclass(frozen=True)
class Deals:
    """One array entry per deal, sorted by creation; `promise` and `effort` are in no table."""

    customer: Codes
    created: Floats
    source: Codes
    product: Codes
    owner: Codes
    amount: Floats
    effort: Floats
    promise: Floats

    def __len__(self) -> int:
        return len(self.customer)


@dataclass(frozen=True)
class DealWeeks:
    """The weeks in which deals were open: when each began, how much of it, the hidden momentum."""

    deal: Codes
    began: Floats
    share: Floats
    momentum: Codes
    stage: Codes


@dataclass(frozen=True)
class StageMoves:
    """Stage changes, the first one at the deal's creation."""

    deal: Codes
    occurred: Floats
    stage: Codes


@dataclass(frozen=True)
class Progress:
    """What became of the deals by the clock: `closed` is infinite while a deal is open."""

    closed: Floats
    outcome: Codes
    stage: Codes
    moves: StageMoves
    weeks: DealWeeks


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
    rng: np.random.Generator, customers: Customers, contacts: Contacts, owners: Owners, repeats: float = 0.6
) -> Deals:
    """Draw deals: the first with every customer who did not buy before, more where there is need."""
    first = np.flatnonzero(~customers.is_migrated)
    rate: Floats = repeats * STEP / (365 * DAY) * np.exp(0.45 * customers.need + 0.2 * customers.size)
    is_there = STARTS[None, :] >= customers.created[:, None] + 30 * DAY
    cell, share = draw_arrivals(rng, (rate[:, None] * season(STARTS)[None, :] * is_there).ravel(), 1.0)
    customer = np.concatenate([first, cell // STEPS])
    first_at = customers.created[first] + rng.exponential(3 * DAY, len(first))
    created = np.concatenate([first_at, (cell % STEPS + share) * STEP])
    is_first = np.arange(len(customer)) < len(first)
    keep = np.flatnonzero(created < HISTORY - DAY)
    keep = keep[np.argsort(created[keep], kind="stable")]
    return _describe_deals(rng, customers, contacts, owners, customer[keep], created[keep], is_first[keep])


def _describe_deals(
    rng: np.random.Generator,
    customers: Customers,
    contacts: Contacts,
    owners: Owners,
    customer: Codes,
    created: Floats,
    is_first: Flags,
) -> Deals:
    """Draw what a deal is about and how promising it is at birth."""
    count = len(customer)
    own_source = rng.choice(len(SOURCES), count, p=[0.3, 0.25, 0.1, 0.1, 0.2, 0.05])
    source = np.where(is_first, customers.source[customer], own_source)
    product = rng.choice(len(PRODUCTS), count, p=[0.3, 0.28, 0.14, 0.18, 0.1])
    amount = np.round(_PRICE[product] * np.exp(0.45 * customers.size[customer] + rng.normal(0, 0.55, count)), 2)
    other = rng.integers(len(owners.skill), size=count)
    owner = np.where(rng.random(count) < 0.85, customers.owner[customer], other)
    effort = owners.diligence[owner] * rng.lognormal(0, 0.35, count)
    need = 0.7 * customers.need[customer] + 0.7 * rng.normal(size=count)
    budget = customers.budget[customer] - 0.45 * standardise(np.log(amount)) + 0.4 * rng.normal(size=count)
    has_decision_maker = contacts.decision_maker_since()[customer] <= created
    promise = (
        0.55 * need
        + 0.45 * np.minimum(budget, 0.5)
        - 0.5 * ((need > 0.5) & (budget < -0.8))
        + 1.1 * _SOURCE_FIT[source]
        + 0.45 * owners.skill[owner]
        + 0.6 * (has_decision_maker - 0.5)
        + 0.45 * customers.is_migrated[customer]
        + 0.3 * customers.satisfaction[customer] * customers.is_migrated[customer]
        + 0.35 * np.log(effort)
    )
    return Deals(customer, created, source, product, owner, amount, effort, promise - promise.mean())


def simulate_progress(rng: np.random.Generator, deals: Deals) -> Progress:
    """Move all deals on, a week of their age at a time, until they close or the clock has come."""
    count = len(deals)
    closed, outcome = np.full(count, np.inf), np.zeros(count, dtype=np.int64)
    stage = np.zeros(count, dtype=np.int64)
    momentum = np.digitize(0.6 * deals.promise + rng.normal(size=count), [-0.8, 1.1])
    moves = [StageMoves(np.arange(count), deals.created, stage.copy())]
    weeks: list[DealWeeks] = []
    active = np.arange(count)
    for week in range(int(HISTORY / WEEK) + 1):
        began = deals.created[active] + week * WEEK
        active, began = active[began < HISTORY], began[began < HISTORY]
        if not active.size:
            break
        share = rng.random(active.size)
        step = _draw_step(rng, deals.promise[active], stage[active], momentum[active])
        is_before_clock = began + share * WEEK < HISTORY
        is_closing = (step.outcome != OPEN) & is_before_clock
        full = np.minimum(1.0, (HISTORY - began) / WEEK)
        weeks.append(
            DealWeeks(active, began, np.where(is_closing, share, full), momentum[active].copy(), stage[active].copy())
        )
        moved = np.flatnonzero((step.stage != stage[active]) & is_before_clock)
        moves.append(StageMoves(active[moved], (began + share * WEEK)[moved], step.stage[moved]))
        stage[active[moved]] = step.stage[moved]
        closing = active[is_closing]
        closed[closing], outcome[closing] = (began + share * WEEK)[is_closing], step.outcome[is_closing]
        momentum[active] = step.momentum
        active = active[~is_closing]
    return Progress(closed, outcome, stage, _join_moves(moves), _join_weeks(weeks))


@dataclass(frozen=True)
class _Step:
    """What one week does to open deals."""

    outcome: Codes
    stage: Codes
    momentum: Codes


def _draw_step(rng: np.random.Generator, promise: Floats, stage: Codes, momentum: Codes) -> _Step:
    """Draw one week: at most one of win, loss, stage forward, stage back; then the next momentum."""
    win = np.minimum(_WIN[stage, momentum] * np.exp(0.6 * promise), 0.5)
    lose = _LOSE[stage, momentum] * np.exp(-0.35 * promise)
    advance = _ADVANCE[stage, momentum] * np.exp(0.15 * promise)
    back = 0.015 * (stage > 0) * (momentum == 0)
    bounds = np.cumsum(np.stack([win, lose, advance, back]), axis=0)
    event = (rng.random(len(stage))[None, :] >= bounds).sum(axis=0)
    outcome = np.where(event == 0, WON, np.where(event == 1, LOST, OPEN))
    moved = stage + (event == 2) - (event == 3)
    up, down = 0.05 * np.exp(0.45 * promise), 0.07 * np.exp(-0.45 * promise)
    draw = rng.random(len(stage))
    shifted = momentum + (draw < up) - (draw > 1 - down)
    return _Step(outcome, np.clip(moved, 0, len(STAGES) - 1), np.clip(shifted, 0, 2))


def _join_moves(parts: list[StageMoves]) -> StageMoves:
    """Put the stage moves of all weeks into one record."""
    return StageMoves(
        np.concatenate([part.deal for part in parts]),
        np.concatenate([part.occurred for part in parts]),
        np.concatenate([part.stage for part in parts]),
    )


def _join_weeks(parts: list[DealWeeks]) -> DealWeeks:
    """Put the open weeks of all deals into one record."""
    return DealWeeks(
        np.concatenate([part.deal for part in parts]),
        np.concatenate([part.began for part in parts]),
        np.concatenate([part.share for part in parts]),
        np.concatenate([part.momentum for part in parts]),
        np.concatenate([part.stage for part in parts]),
    )
