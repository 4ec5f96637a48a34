"""What simulated sales people and customers do with each other: calls, mails, meetings, support."""

from dataclasses import dataclass

import numpy as np

from pipeline.simulation_accounts import PHASES, Accounts
from pipeline.simulation_deals import Deals, DealWeeks, draw_arrivals
from pipeline.simulation_world import DAY, HISTORY, STARTS, STEP, STEPS, Codes, Contacts, Customers, Flags, Floats

KINDS = ("call", "email", "meeting", "support")
DIRECTIONS = ("outbound", "inbound")
OUTCOMES = ("answered", "no answer")
CALL, MEETING = 0, 2

_DEAL_LEVEL = np.array([0.5, 2.0, 6.0])
_STAGE_LEVEL = np.array([1.0, 1.05, 1.2, 1.3])
_PHASE_LEVEL = np.array([2.0, 1.0, 0.45, 0.08])
_PROSPECT_LEVEL = 0.1
# One row per momentum of a deal (stalled, steady, hot), then one per phase of an account.
_KIND_SHARES = np.array(
    [
        [0.42, 0.51, 0.06, 0.01],
        [0.39, 0.46, 0.14, 0.01],
        [0.35, 0.39, 0.25, 0.01],
        [0.30, 0.44, 0.14, 0.12],
        [0.28, 0.42, 0.09, 0.21],
        [0.33, 0.45, 0.06, 0.16],
        [0.40, 0.55, 0.02, 0.03],
    ]
)
_INBOUND_SHARE = np.array([0.06, 0.30, 0.62, 0.62, 0.38, 0.16, 0.04])
_ANSWERED_SHARE = np.array([0.34, 0.54, 0.70, 0.65, 0.52, 0.38, 0.18])


@dataclass(frozen=True)
class Activities:
    """One array entry per activity, unsorted; `deal` is -1 when it is about the account as a whole."""

    customer: Codes
    deal: Codes
    contact: Codes
    occurred: Floats
    kind: Codes
    direction: Codes
    outcome: Codes
    duration_s: Floats

    @property
    def has_duration(self) -> Flags:
        """Whether the activity is a call or a meeting that took place."""
        return np.asarray(((self.kind == CALL) | (self.kind == MEETING)) & (self.outcome == 0))


def draw_activities(
    rng: np.random.Generator,
    customers: Customers,
    contacts: Contacts,
    accounts: Accounts,
    deals: Deals,
    weeks: DealWeeks,
    count: float,
) -> Activities:
    """Draw about `count` activities of open deals and of accounts."""
    of_deals = (
        _DEAL_LEVEL[weeks.momentum]
        * _STAGE_LEVEL[weeks.stage]
        * (weeks.share * deals.effort[weeks.deal] * customers.liveliness[deals.customer[weeks.deal]] ** 0.15)
    )
    is_buyer = STARTS[None, :] >= accounts.buys_from[:, None]
    level = np.where(is_buyer, _PHASE_LEVEL[accounts.phase], _PROSPECT_LEVEL)
    level *= STARTS[None, :] >= customers.created[:, None]
    of_accounts = (customers.liveliness[:, None] * level).ravel()
    scale = count / (of_deals.sum() + of_accounts.sum())
    week, share = draw_arrivals(rng, of_deals * scale, 1.0)
    occurred = weeks.began[week] + share * weeks.share[week] * 7 * DAY
    deal, state = weeks.deal[week].astype(np.int64), weeks.momentum[week].astype(np.int64)
    cell, share = draw_arrivals(rng, of_accounts * scale, 1.0)
    customer = np.concatenate([deals.customer[deal], cell // STEPS])
    occurred = np.concatenate([occurred, (cell % STEPS + share) * STEP])
    state = np.concatenate([state, len(_KIND_SHARES) - PHASES + accounts.phase.ravel()[cell].astype(np.int64)])
    deal = np.concatenate([deal, np.full(len(cell), -1)])
    keep = occurred < HISTORY
    return _describe(rng, contacts, customer[keep], deal[keep], occurred[keep], state[keep])


def _describe(
    rng: np.random.Generator, contacts: Contacts, customer: Codes, deal: Codes, occurred: Floats, state: Codes
) -> Activities:
    """Draw kind, direction, answer and length from the hidden state, and who was spoken to."""
    count = len(customer)
    bounds = np.cumsum(_KIND_SHARES, axis=1)
    draw = rng.random(count)
    kind = sum((draw >= bounds[state, place]).astype(np.int64) for place in range(len(KINDS) - 1))
    contact = contacts.first[customer] + (rng.random(count) * contacts.count[customer]).astype(np.int64)
    contact = np.where(contacts.created[contact] <= occurred, contact, contacts.first[customer])
    length = rng.lognormal(5.2, 0.8, count) * np.where(kind == MEETING, 8.0, 1.0)
    return Activities(
        customer=customer,
        deal=deal,
        contact=contact,
        occurred=occurred,
        kind=np.asarray(kind),
        direction=(rng.random(count) < _INBOUND_SHARE[state]).astype(np.int64),
        outcome=(rng.random(count) >= _ANSWERED_SHARE[state]).astype(np.int64),
        duration_s=np.floor(np.clip(length, 5, 4 * 3600)),
    )
