"""The true chance that a simulated customer orders nothing, over its phase, its rhythm and its deals."""

import numpy as np

from pipeline.simulation_accounts import (
    BEATS,
    HEALTHY,
    ORDER_LEVEL,
    PHASE_AFTER_BETTER,
    PHASES,
    PhaseRates,
    loyalty_of,
    phase_rates,
)
from pipeline.simulation_deals import OWN_OWNER, REPEATS_AFTER, WON, repeat_rate, season
from pipeline.simulation_mechanics import World
from pipeline.simulation_promise import customer_promise
from pipeline.simulation_truth_deals import new_deals, states_at, win_probability
from pipeline.simulation_world import HISTORY, STEP, Codes, Flags, Floats

_SLOTS = 13
_KNOTS, _LEVELS, _DRAWS = 5, 25, 25


class AccountTruth:
    """P(no purchase within the horizon) of the customers of one world.

    A customer orders nothing when its rhythm brings no order, none of its open deals is won and no
    deal that comes up within the horizon is won; given the state at a moment the three are
    independent as long as nothing is ordered. The first two are exact. The third, a few tenths of a
    percent, is a thinned Poisson process: weekly slots, and the mean win probability over 25
    quantiles of what the world's further deals differ in (the workload of the owner among them).

    Parameters
    ----------
    world : World
    horizon : float
        Seconds.

    """

    def __init__(self, world: World, horizon: float) -> None:
        self.world, self.horizon = world, horizon
        self.loyalty = loyalty_of(world.customers, world.owners)
        self.rate = repeat_rate(world.customers)
        self.level = customer_promise(world.customers, world.owners, OWN_OWNER)
        orders = world.orders
        self.first_order = np.full(len(world.customers), np.inf)
        is_purchase = orders.amount > 0
        np.minimum.at(self.first_order, orders.customer[is_purchase], orders.occurred[is_purchase])
        self.won = np.flatnonzero(world.progress.outcome == WON)
        self.knots = np.linspace(0, HISTORY, _KNOTS)
        self.levels = np.linspace(self.level.min() - 1e-9, self.level.max() + 1e-9, _LEVELS)
        self.wins = self._tabulate_wins()

    def lapse_probability(self, at: Floats) -> tuple[Codes, Floats]:
        """Return customers who have ordered before `at` and the probability that they do not in `[at, at + horizon)`.

        Parameters
        ----------
        at : array of float
            One moment for every customer, in seconds since `START`, infinite for those not asked for.

        """
        customer = np.flatnonzero((self.first_order < at) & (at < HISTORY))
        when = at[customer]
        silent = self._no_order_of_rhythm(customer, at)
        return customer, silent * self._no_open_deal_won(at)[customer] * self._no_new_deal_won(customer, when)

    def _no_open_deal_won(self, at: Floats) -> Floats:
        deals, progress = self.world.deals, self.world.progress
        when = at[deals.customer]
        deal = np.flatnonzero((deals.created < when) & (progress.closed >= when) & (when < HISTORY))
        chance = win_probability(states_at(deals, progress, deal, when[deal]), self.horizon)
        return np.exp(np.bincount(deals.customer[deal], np.log1p(-chance), len(at)))

    def _tabulate_wins(self) -> Floats:
        """Return the mean chance of a new deal: by time, level of the customer and slot of its creation."""
        deals, progress = self.world.deals, self.world.progress
        further = np.flatnonzero(deals.is_repeat & self.world.customers.is_migrated[deals.customer])
        differing = progress.promise[further] - self.level[deals.customer[further]]
        draws = np.quantile(differing, (np.arange(_DRAWS) + 0.5) / _DRAWS) if len(further) else np.zeros(_DRAWS)
        left = self.horizon * (1 - (np.arange(_SLOTS) + 0.5) / _SLOTS)
        born, level, draw, span = np.meshgrid(self.knots, self.levels, draws, left, indexing="ij")
        chance = win_probability(new_deals((level + draw).ravel(), born.ravel()), span.ravel())
        return np.asarray(chance.reshape(born.shape).mean(axis=2))

    def _no_new_deal_won(self, customer: Codes, when: Floats) -> Floats:
        knot = np.clip(when / HISTORY * (_KNOTS - 1), 0, _KNOTS - 1.000001)
        width = self.levels[1] - self.levels[0]
        place = np.clip((self.level[customer] - self.levels[0]) / width, 0, _LEVELS - 1.000001)
        low, row = knot.astype(np.int64), place.astype(np.int64)
        late, high = knot - low, place - row
        expected = np.zeros(len(customer))
        for slot in range(_SLOTS):
            wins = self.wins[:, :, slot]
            earlier = (1 - high) * wins[low, row] + high * wins[low, row + 1]
            later = (1 - high) * wins[low + 1, row] + high * wins[low + 1, row + 1]
            begins = np.floor((when + (slot + 0.5) / _SLOTS * self.horizon) / STEP) * STEP
            is_there = begins >= self.world.customers.created[customer] + REPEATS_AFTER
            rate = self.rate[customer] / STEP * season(begins) * is_there
            expected += rate * self.horizon / _SLOTS * ((1 - late) * earlier + late * later)
        return np.exp(-expected)

    def _no_order_of_rhythm(self, customer: Codes, at: Floats) -> Floats:
        when = at[customer]
        step = (when / STEP).astype(np.int64)
        begins = step * STEP
        rhythm, accounts = self.world.rhythm, self.world.accounts
        beats = np.bincount(rhythm.customer[rhythm.occurred < at[rhythm.customer]], minlength=len(at))[customer]
        missing = BEATS - (beats + rhythm.ahead[customer]) % BEATS
        closed, winner = self.world.progress.closed[self.won], self.world.deals.customer[self.won]
        has_won = np.zeros(len(at), dtype=bool)
        has_won[winner[(closed < at[winner]) & (closed >= np.floor(at[winner] / STEP) * STEP)]] = True
        return silence(
            pace=BEATS * self.world.customers.order_rate[customer],
            loyalty=self.loyalty[customer],
            step=step,
            passed=(when - begins) / STEP,
            phase=accounts.phase[customer, step].astype(np.int64),
            missing=missing,
            is_buying=begins >= accounts.buys_from[customer],
            has_won=has_won[customer],
            horizon=self.horizon / STEP,
        )


def silence(
    pace: Floats,
    loyalty: Floats,
    step: Codes,
    passed: Floats,
    phase: Codes,
    missing: Codes,
    is_buying: Flags,
    has_won: Flags,
    horizon: float,
) -> Floats:
    """Return the probability that no order of the rhythm comes within the horizon.

    Parameters
    ----------
    pace : array of float
        Beats per period when healthy, before the season.
    loyalty : array of float
        As `loyalty_of` returns it.
    step, passed : arrays
        The current period and the part of it that is over.
    phase, missing : arrays of int
        Phase of the account, and how many beats (1 or 2) are missing until the next order.
    is_buying, has_won : arrays of bool
        Whether the rhythm runs in this period already, and whether a deal was won in it, which makes
        the account healthy in the next.
    horizon : float
        In periods.

    """
    ends, began = passed + horizon, step.astype(np.float64) * STEP
    one, two = (np.ones((PHASES, len(pace))) for _ in range(2))
    for ahead in range(int(ends.max(initial=0.0)), 0, -1):
        beats = pace * season(began + ahead * STEP) * np.clip(ends - ahead, 0.0, 1.0) * ORDER_LEVEL[:, None]
        one, two = _stay_silent(beats, one, two)
        rates = phase_rates(loyalty, step + ahead)
        is_healed = has_won & (ahead == 1)
        one, two = _change_phase(rates, one, is_healed), _change_phase(rates, two, is_healed)
    rows = np.arange(len(pace))
    beats = pace * season(began) * (np.minimum(ends, 1.0) - passed) * is_buying * ORDER_LEVEL[phase]
    one, two = _stay_silent(beats, one[phase, rows], two[phase, rows])
    return np.where(missing == 1, one, two)


def _stay_silent(beats: Floats, one: Floats, two: Floats) -> tuple[Floats, Floats]:
    """Return the chance of silence with one and with two beats missing, before a time with so many beats expected."""
    none = np.exp(-beats)
    return none * one, none * (two + beats * one)


def _change_phase(rates: PhaseRates, value: Floats, is_healed: Flags) -> Floats:
    """Return the value before the phase of a period is drawn."""
    worse, better = rates.worse.T, rates.better.T
    after_worse = value[np.minimum(np.arange(PHASES) + 1, PHASES - 1)]
    drawn = worse * after_worse + better * value[PHASE_AFTER_BETTER] + (1 - worse - better) * value
    return np.asarray(np.where(is_healed, value[HEALTHY], drawn))
