"""What simulated customers ask for help with, and how content they are with the answer."""

from dataclasses import dataclass

import numpy as np

from pipeline.simulation_accounts import Accounts
from pipeline.simulation_deals import draw_arrivals
from pipeline.simulation_world import DAY, HISTORY, STARTS, STEP, STEPS, Codes, Customers, Floats

TICKET_KINDS = ("question", "fault", "delivery", "billing", "complaint")
SEVERITIES = ("low", "medium", "high", "critical")
ANSWERED_SHARE = 0.45
"""Share of closed tickets whose customer says how content they are, from 1 (not at all) to 5."""

_TICKETS_PER_STEP = 0.028
_PHASE_LEVEL = np.array([1.0, 2.0, 2.6, 0.15])
# One row per phase of the account: healthy, cooling, winding down, gone.
_KIND_SHARES = np.array(
    [
        [0.42, 0.22, 0.18, 0.12, 0.06],
        [0.26, 0.28, 0.18, 0.12, 0.16],
        [0.16, 0.26, 0.14, 0.18, 0.26],
        [0.20, 0.10, 0.05, 0.45, 0.20],
    ]
)
_SEVERITY_SHARES = np.array(
    [
        [0.60, 0.30, 0.08, 0.02],
        [0.20, 0.42, 0.28, 0.10],
        [0.35, 0.42, 0.18, 0.05],
        [0.50, 0.36, 0.12, 0.02],
        [0.10, 0.38, 0.37, 0.15],
    ]
)
_DAYS_TO_CLOSE = np.array([3.0, 5.0, 4.0, 2.0])
_CONTENT = np.array([4.1, 3.2, 2.5, 2.2])


@dataclass(frozen=True)
class Tickets:
    """One array entry per ticket, unsorted; `satisfaction` is 0 where the customer did not say."""

    customer: Codes
    occurred: Floats
    kind: Codes
    severity: Codes
    closed: Floats
    satisfaction: Codes


def draw_tickets(rng: np.random.Generator, customers: Customers, accounts: Accounts) -> Tickets:
    """Draw tickets of those who buy: more, worse and with less content customers when the account cools."""
    level = _PHASE_LEVEL[accounts.phase] * (STARTS[None, :] >= accounts.buys_from[:, None])
    rate = _TICKETS_PER_STEP * customers.liveliness**0.4 * np.exp(-0.25 * customers.satisfaction)
    cell, share = draw_arrivals(rng, (rate[:, None] * level).ravel(), 1.0)
    customer, occurred = cell // STEPS, (cell % STEPS + share) * STEP
    phase = accounts.phase_at(customer, np.minimum(occurred, HISTORY))
    kind = _choose(rng, _KIND_SHARES, phase)
    severity = _choose(rng, _SEVERITY_SHARES, kind)
    days = _DAYS_TO_CLOSE[severity] * rng.lognormal(0, 0.8, len(cell))
    content = _CONTENT[phase] + 0.6 * customers.satisfaction[customer] - 0.06 * days + rng.normal(0, 0.8, len(cell))
    is_said = rng.random(len(cell)) < ANSWERED_SHARE
    return Tickets(
        customer=customer,
        occurred=occurred,
        kind=kind,
        severity=severity,
        closed=occurred + days * DAY,
        satisfaction=np.where(is_said, np.clip(np.round(content), 1, 5), 0).astype(np.int64),
    )


def _choose(rng: np.random.Generator, shares: Floats, row: Codes) -> Codes:
    """Draw a column for each row by its shares."""
    draw = rng.random(len(row))
    bounds = np.cumsum(shares, axis=1)
    return np.asarray(sum((draw >= bounds[row, place]).astype(np.int64) for place in range(shares.shape[1] - 1)))
