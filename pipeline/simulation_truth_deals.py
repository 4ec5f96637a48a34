"""The true chance that a simulated deal is won, by backward recursion over its stage and momentum."""

from dataclasses import dataclass

import numpy as np

from pipeline.simulation_deals import STAGES, WEEK, Deals, Progress
from pipeline.simulation_progress import MOMENTA, STEADY, WeekRates, momentum_rates, week_rates
from pipeline.simulation_world import Codes, Flags, Floats

_CHUNK = 20_000
_STAGE = np.arange(len(STAGES))[:, None, None]
_MOMENTUM = np.arange(MOMENTA)[None, :, None]


@dataclass(frozen=True)
class DealStates:
    """Open deals at one moment each: what decides how they go on.

    `began` is when the week `age` of their life began, `passed` the part of it that is over, `has_moved`
    whether this week's event has been: then nothing more happens in it.
    """

    promise: Floats
    began: Floats
    age: Codes
    passed: Floats
    stage: Codes
    momentum: Codes
    has_moved: Flags

    def __len__(self) -> int:
        return len(self.promise)

    def rows(self, part: slice) -> "DealStates":
        """Return some of the deals."""
        return DealStates(
            self.promise[part],
            self.began[part],
            self.age[part],
            self.passed[part],
            self.stage[part],
            self.momentum[part],
            self.has_moved[part],
        )


def states_at(deals: Deals, progress: Progress, deal: Codes, at: Floats) -> DealStates:
    """Look up the states of open deals.

    Parameters
    ----------
    deals, progress
        The world's.
    deal : array of int
        Deals that are created before `at`, before the clock, and not closed before it.
    at : array of float
        Moment for each, in seconds since `START`.

    """
    weeks, born = progress.weeks, deals.created[deal]
    week = ((at - born) / WEEK).astype(np.int64)
    first = np.searchsorted(weeks.deal, np.arange(len(deals), dtype=np.int32))
    row = first[deal] + week
    began = weeks.began[row]
    passed = np.clip((at - began) / WEEK, 0.0, 1.0)
    has_moved = weeks.moved[row] < passed
    return DealStates(
        promise=progress.promise[deal],
        began=began,
        age=week,
        passed=passed,
        stage=np.where(has_moved, weeks.stage_after[row], weeks.stage[row]).astype(np.int64),
        momentum=weeks.momentum[row].astype(np.int64),
        has_moved=has_moved,
    )


def new_deals(promise: Floats, born: Floats) -> DealStates:
    """Return the states of deals at their creation."""
    count = len(promise)
    zeros = np.zeros(count, dtype=np.int64)
    return DealStates(promise, born, zeros, np.zeros(count), zeros, zeros + STEADY, np.zeros(count, dtype=bool))


def win_probability(states: DealStates, horizon: float | Floats) -> Floats:
    """Return the probability that each deal is won in `[at, at + horizon)`, the horizon in seconds."""
    spans = np.broadcast_to(np.asarray(horizon, dtype=np.float64), len(states))
    parts = [slice(begin, begin + _CHUNK) for begin in range(0, len(states), _CHUNK)]
    return np.concatenate([np.empty(0), *(_win_probability(states.rows(part), spans[part]) for part in parts)])


def _win_probability(states: DealStates, horizon: Floats) -> Floats:
    ends = states.passed + horizon / WEEK
    up, down = momentum_rates(states.promise)
    ahead = np.zeros((len(STAGES), MOMENTA, len(states)))
    for week in range(int(ends.max(initial=0.0)), 0, -1):
        rates = week_rates(states.promise, states.began + week * WEEK, states.age + week, _STAGE, _MOMENTUM)
        ahead = np.clip(ends - week, 0.0, 1.0) * rates.win + _go_on(rates, _mix_momenta(ahead, up, down))
    rows = np.arange(len(states))
    ahead = _mix_momenta(ahead, up, down)
    rates = week_rates(states.promise, states.began, states.age, states.stage, states.momentum)
    total = rates.win + rates.lose + rates.advance + rates.back
    stage, left = states.stage, 1 - states.passed
    on = ahead[np.minimum(stage + 1, len(STAGES) - 1), states.momentum, rows]
    back = ahead[np.maximum(stage - 1, 0), states.momentum, rows]
    same = ahead[stage, states.momentum, rows]
    soon = (np.minimum(ends, 1.0) - states.passed) * rates.win
    this_week = soon + left * (rates.advance * on + rates.back * back) + (1 - total) * same
    return np.where(states.has_moved, same, this_week / (1 - states.passed * total))


def _mix_momenta(ahead: Floats, up: Floats, down: Floats) -> Floats:
    """Return what is ahead before the momentum of the next week is drawn."""
    mixed = np.empty_like(ahead)
    mixed[:, 0] = (1 - up) * ahead[:, 0] + up * ahead[:, 1]
    mixed[:, 1] = down * ahead[:, 0] + (1 - up - down) * ahead[:, 1] + up * ahead[:, 2]
    mixed[:, 2] = down * ahead[:, 1] + (1 - down) * ahead[:, 2]
    return mixed


def _go_on(rates: WeekRates, ahead: Floats) -> Floats:
    """Return what is ahead at the beginning of a week, its own win left out."""
    stay = 1 - rates.win - rates.lose - rates.advance - rates.back
    value = stay * ahead
    value[:-1] += rates.advance[:-1] * ahead[1:]
    value[1:] += rates.back[1:] * ahead[:-1]
    return np.asarray(value)
