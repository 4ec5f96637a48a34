"""What simulated sales people think of deals and customers: noisy answers, some missing, asked again later.

A reading is the hidden state plus noise; who is more skilled reads better. Timing is read from the
momentum of the deal in that week, authority from whether somebody who decides is known.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.simulation_accounts import GONE, Accounts
from pipeline.simulation_deals import Deals, Progress, draw_arrivals
from pipeline.simulation_world import (
    HISTORY,
    STARTS,
    STEP,
    STEPS,
    Codes,
    Contacts,
    Customers,
    Floats,
    Owners,
    standardise,
)

QUESTIONS = ("need", "budget", "authority", "fit", "timing")
ANSWERS = ("1", "2", "3", "4", "5")
"""From not at all to fully."""

ANSWERED_SHARE = 0.75
"""Share of the questions that are answered when a deal or a customer is assessed."""

NOISE = 0.9
"""Standard deviation of a reading's error, where the hidden state has 1."""

_ASKED_SHARE = np.array([0.0, 0.3, 0.25, 0.1])
_REVIEWS_PER_STEP = 0.012
_BOUNDS = np.array([-1.2, -0.4, 0.4, 1.2])
_PHASE_FIT = np.array([0.3, -0.5, -1.0, -1.2])


@dataclass(frozen=True)
class Assessments:
    """One array entry per answer, unsorted; `deal` is -1 where a customer was assessed."""

    customer: Codes
    deal: Codes
    occurred: Floats
    question: Codes
    answer: Codes
    author: Codes


def draw_assessments(
    rng: np.random.Generator,
    customers: Customers,
    contacts: Contacts,
    owners: Owners,
    deals: Deals,
    progress: Progress,
    accounts: Accounts,
) -> Assessments:
    """Draw what was answered as deals reached a stage, and in reviews of customers who buy."""
    of_deals = _assess_deals(rng, customers, contacts, owners, deals, progress)
    of_customers = _review_customers(rng, customers, owners, accounts)
    return Assessments(
        customer=np.concatenate([of_deals.customer, of_customers.customer]),
        deal=np.concatenate([of_deals.deal, of_customers.deal]),
        occurred=np.concatenate([of_deals.occurred, of_customers.occurred]),
        question=np.concatenate([of_deals.question, of_customers.question]),
        answer=np.concatenate([of_deals.answer, of_customers.answer]),
        author=np.concatenate([of_deals.author, of_customers.author]),
    )


def _assess_deals(
    rng: np.random.Generator,
    customers: Customers,
    contacts: Contacts,
    owners: Owners,
    deals: Deals,
    progress: Progress,
) -> Assessments:
    """Assess deals as they reach a stage, so some deals more than once."""
    moves = progress.moves
    rows = np.flatnonzero((rng.random(len(moves.deal)) < _ASKED_SHARE[moves.stage]) & (moves.occurred < HISTORY))
    deal, occurred = moves.deal[rows], moves.occurred[rows]
    customer = deals.customer[deal]
    state = np.stack(
        [
            customers.need[customer],
            customers.budget[customer] - 0.45 * standardise(np.log(deals.amount))[deal],
            np.where(contacts.decision_maker_since()[customer] <= occurred, 0.8, -0.8),
            standardise(deals.promise)[deal],
            momentum_at(progress, deal, occurred) - 1.0,
        ],
        axis=1,
    )
    return _ask(rng, owners, state, customer, deal, occurred, deals.owner[deal])


def momentum_at(progress: Progress, deal: Codes, times: Floats) -> Codes:
    """Return the hidden momentum of deals at times at which they were open."""
    weeks = progress.weeks
    keys = weeks.deal * 2 * HISTORY + weeks.began
    place = np.searchsorted(keys, deal * 2 * HISTORY + times, side="right") - 1
    return weeks.momentum[np.maximum(place, 0)].astype(np.int64)


def _review_customers(
    rng: np.random.Generator, customers: Customers, owners: Owners, accounts: Accounts
) -> Assessments:
    """Review customers who buy now and then; who has gone is not reviewed. Need and budget are asked, and fit."""
    is_there = (STARTS[None, :] >= accounts.buys_from[:, None]) & (accounts.phase != GONE)
    rate = _REVIEWS_PER_STEP * owners.diligence[customers.owner]
    cell, share = draw_arrivals(rng, (rate[:, None] * is_there).ravel(), 1.0)
    customer, occurred = cell // STEPS, (cell % STEPS + share) * STEP
    phase = accounts.phase_at(customer, np.minimum(occurred, HISTORY))
    none = np.full(len(cell), np.nan)
    state = np.stack(
        [
            customers.need[customer],
            customers.budget[customer],
            none,
            0.7 * customers.satisfaction[customer] + _PHASE_FIT[phase],
            none,
        ],
        axis=1,
    )
    return _ask(rng, owners, state, customer, np.full(len(cell), -1), occurred, customers.owner[customer])


def _ask(
    rng: np.random.Generator,
    owners: Owners,
    state: Floats,
    customer: Codes,
    deal: Codes,
    occurred: Floats,
    author: Codes,
) -> Assessments:
    """Read the hidden state, one column per question; a question without a state is not asked."""
    spread = NOISE * np.exp(-0.2 * owners.skill[author])
    reading = state + spread[:, None] * rng.normal(size=state.shape)
    row, question = np.nonzero((rng.random(state.shape) < ANSWERED_SHARE) & ~np.isnan(state))
    return Assessments(
        customer=customer[row],
        deal=deal[row],
        occurred=occurred[row],
        question=question,
        answer=np.digitize(reading[row, question], _BOUNDS),
        author=author[row],
    )
