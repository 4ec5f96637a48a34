"""How simulated customers subscribe, renew, change plan and cancel, as the phase of their account goes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.simulation_accounts import HEALTHY, Accounts
from pipeline.simulation_columns import date_column, label_column, money_column, text_column
from pipeline.simulation_history import Change
from pipeline.simulation_world import DAY, HISTORY, Codes, Customers, Flags, Floats

PLANS = ("basic", "plus", "enterprise")
END_REASONS = ("not renewed", "cancelled", "not paid")

SUBSCRIBED_SHARE = 0.3
"""Share of the customers who ever buy that take a subscription."""

_PRICE = np.array([90.0, 240.0, 780.0])
_MONTH_DAYS = 365.25 / 12
_TERM_MONTHS = np.array([3, 12])
# By phase of the account: healthy, cooling, winding down, gone.
_NOT_RENEWED = np.array([0.02, 0.20, 0.55, 0.90])
_UP = np.array([0.012, 0.003, 0.0, 0.0])
_DOWN = np.array([0.003, 0.015, 0.02, 0.0])
_CANCELLED = np.array([0.0, 0.002, 0.015, 0.0])
_NOT_PAID = np.array([0.0, 0.0, 0.0, 0.12])


@dataclass(frozen=True)
class Subscriptions:
    """One array entry per subscription, sorted by its start; plan, mrr and renewal as at the clock.

    `ended` is infinite while it lives; `renews_day` counts days since `START`.
    """

    customer: Codes
    started: Floats
    plan: Codes
    mrr: Floats
    renews_day: Floats
    ended: Floats
    end_reason: Codes
    changes: list[Change]


def draw_subscriptions(rng: np.random.Generator, customers: Customers, accounts: Accounts) -> Subscriptions:
    """Draw subscriptions and what becomes of them, a month of their age at a time."""
    customer, started = _draw_starts(rng, accounts)
    count = len(customer)
    term = rng.choice(_TERM_MONTHS, count, p=[0.35, 0.65])
    plan = np.clip(np.digitize(customers.size[customer] + rng.normal(0, 0.7, count), [0.2, 1.4]), 0, len(PLANS) - 1)
    mrr = np.round(_PRICE[plan] * np.exp(0.2 * customers.size[customer] + rng.normal(0, 0.15, count)), 2)
    renews = np.floor(started / DAY + term * _MONTH_DAYS)
    ended, reason = np.full(count, np.inf), np.full(count, -1)
    changes: list[Change] = []
    for month in range(1, int(HISTORY / (_MONTH_DAYS * DAY)) + 2):
        at = started + month * _MONTH_DAYS * DAY
        is_live = np.isinf(ended) & (at < HISTORY)
        if not is_live.any():
            break
        phase = accounts.phase_at(customer, np.minimum(at, HISTORY))
        why = _draw_end(rng, phase, month % term == 0)
        is_ending = is_live & (why >= 0)
        ended[is_ending], reason[is_ending] = at[is_ending], why[is_ending]
        is_live &= ~is_ending
        later = np.where(is_live & (month % term == 0), np.floor(at / DAY + term * _MONTH_DAYS), renews)
        changes.append(_change("renews_on", at, renews, later, date_column))
        moved = _draw_plan(rng, phase, plan, is_live)
        price = np.round(np.where(moved != plan, mrr * _PRICE[moved] / _PRICE[plan], mrr), 2)
        changes.append(_change("plan", at, plan, moved, _plan_column))
        changes.append(_change("mrr", at, mrr, price, money_column))
        renews, plan, mrr = later, moved, price
    return Subscriptions(customer, started, plan, mrr, renews, ended, reason, changes)


def _draw_starts(rng: np.random.Generator, accounts: Accounts) -> tuple[Codes, Floats]:
    """Draw who subscribes and when: some months after the first purchase, while the account is healthy."""
    buyer = np.flatnonzero(np.isfinite(accounts.buys_from) & (rng.random(len(accounts.buys_from)) < SUBSCRIBED_SHARE))
    started = accounts.buys_from[buyer] + rng.exponential(120 * DAY, len(buyer))
    is_in = started < HISTORY - DAY
    is_in &= accounts.phase_at(buyer, np.minimum(started, HISTORY)) == HEALTHY
    buyer, started = buyer[is_in], started[is_in]
    order = np.argsort(started, kind="stable")
    return buyer[order], started[order]


def _draw_end(rng: np.random.Generator, phase: Codes, is_term_over: Flags) -> Codes:
    """Draw why a subscription ends in a month; -1 if it goes on."""
    draw = rng.random(len(phase))
    not_paid, cancelled = draw < _NOT_PAID[phase], draw < _NOT_PAID[phase] + _CANCELLED[phase]
    not_renewed = is_term_over & (rng.random(len(phase)) < _NOT_RENEWED[phase])
    return np.where(not_paid, 2, np.where(cancelled, 1, np.where(not_renewed, 0, -1)))


def _draw_plan(rng: np.random.Generator, phase: Codes, plan: Codes, is_live: Flags) -> Codes:
    """Move some subscriptions to the next larger or smaller plan."""
    draw = rng.random(len(phase))
    moved = plan + (draw < _UP[phase]) - (draw > 1 - _DOWN[phase])
    return np.where(is_live, np.clip(moved, 0, len(PLANS) - 1), plan)


def _plan_column(plans: Codes) -> pa.StringArray:
    return label_column(PLANS, plans)


def _change(field: str, at: Floats, old: Any, new: Any, column: Any) -> Change:
    """Note where a field has a new value."""
    rows = np.flatnonzero(old != new)
    return Change("subscriptions", field, rows, at[rows], *(text_column(column(side[rows])) for side in (old, new)))
