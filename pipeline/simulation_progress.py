"""How simulated deals move through their stages and close.

A deal's hidden state is its momentum (stalled, steady, hot), which changes from week to week of its
age and drives stage moves, wins, losses and activity alike. Only what it drives is ever in a table.
"""

from dataclasses import dataclass, field

import numpy as np

from pipeline.simulation_deals import LOST, WEEK, WON, Deals, DealWeeks, Progress, StageMoves
from pipeline.simulation_promise import BOUGHT_BEFORE, workload_promise
from pipeline.simulation_world import HISTORY, Codes, Customers, Flags, Floats, Owners

MOMENTA = 3
STALLED, STEADY, HOT = 0, 1, 2

_ADVANCE = np.array([[0.18, 0.22, 0.27], [0.13, 0.16, 0.20], [0.10, 0.12, 0.145], [0.0, 0.0, 0.0]])
_WIN = np.array([[0.0003, 0.0004, 0.0005], [0.0017, 0.0020, 0.0024], [0.009, 0.011, 0.0135], [0.043, 0.053, 0.064]])
_LOSE = np.array([[0.037, 0.032, 0.028], [0.029, 0.025, 0.0215], [0.023, 0.020, 0.0175], [0.025, 0.022, 0.019]])
_BACK = np.array([[0.0, 0.0, 0.0], [0.015, 0.0, 0.0], [0.015, 0.0, 0.0], [0.015, 0.0, 0.0]])
_WIN_DRIFT = np.array([0.0, 0.1, 0.15, -0.15])
"""By how much the rate of wins in each stage changes over the whole history."""


@dataclass(frozen=True)
class WeekRates:
    """Probabilities of what happens to an open deal in one week of its age; at most one of them does."""

    win: Floats
    lose: Floats
    advance: Floats
    back: Floats


def week_rates(promise: Floats, began: Floats, age: Codes, stage: Codes, momentum: Codes) -> WeekRates:
    """Return what a week that begins at `began`, `age` weeks after the creation, can bring; all are broadcast.

    A deal that drags on wins less and less: from its ninth week on 5 % less every week.

    Where the rates add up to more than 1, the later ones in the order of `WeekRates` give way.
    """
    drift = 1 + _WIN_DRIFT[stage] * (began / HISTORY - 0.5)
    win = np.minimum(_WIN[stage, momentum] * drift * np.exp(0.9 * promise - 0.05 * np.maximum(age - 8, 0)), 0.5)
    lose = np.minimum(_LOSE[stage, momentum] * np.exp(-0.35 * promise), 1 - win)
    advance = np.minimum(_ADVANCE[stage, momentum] * np.exp(0.15 * promise), 1 - win - lose)
    back = np.minimum(_BACK[stage, momentum], 1 - win - lose - advance)
    return WeekRates(win, lose, advance, back)


def momentum_rates(promise: Floats) -> tuple[Floats, Floats]:
    """Return the probabilities that the momentum rises and falls from one week to the next."""
    up = np.minimum(0.05 * np.exp(0.45 * promise), 0.5)
    down = np.minimum(0.07 * np.exp(-0.45 * promise), 0.5)
    return up, down


@dataclass
class _Log:
    """What is collected while the weeks pass."""

    moves: list[StageMoves] = field(default_factory=list)
    weeks: list[DealWeeks] = field(default_factory=list)


@dataclass
class _State:
    """All deals as they stand; `promise` and `workload` are set at a deal's creation."""

    closed: Floats
    outcome: Codes
    stage: Codes
    momentum: Codes
    promise: Floats
    workload: Codes


def simulate_progress(rng: np.random.Generator, deals: Deals, customers: Customers, owners: Owners) -> Progress:
    """Move all deals on until they close or the clock has come.

    The loop runs over the weeks since `START`; every open deal has one week of its age that begins in
    each. A new deal's workload and its customer's purchases are those at the beginning of that week.
    """
    count = len(deals)
    state = _State(
        closed=np.full(count, np.inf),
        outcome=np.zeros(count, dtype=np.int64),
        stage=np.zeros(count, dtype=np.int64),
        momentum=np.full(count, STEADY, dtype=np.int64),
        promise=deals.promise - deals.promise.mean() if count else deals.promise,
        workload=np.zeros(count, dtype=np.int64),
    )
    log = _Log()
    born_in = (deals.created / WEEK).astype(np.int64)
    bounds = np.searchsorted(born_in, np.arange(int(HISTORY / WEEK) + 2))
    bought_at = np.where(customers.is_migrated, customers.created, np.inf)
    active = closing = np.empty(0, dtype=np.int64)
    for week in range(int(HISTORY / WEEK) + 1):
        new = np.arange(bounds[week], bounds[week + 1])
        still = np.concatenate([active, closing[state.closed[closing] >= week * WEEK]])
        load = np.bincount(deals.owner[still], minlength=len(owners.skill))
        state.workload[new] = load[deals.owner[new]]
        has_bought = bought_at[deals.customer[new]] < week * WEEK
        state.promise[new] += workload_promise(state.workload[new]) + BOUGHT_BEFORE * has_bought
        active = np.concatenate([active, new])
        began = deals.created[active] + (week - born_in[active]) * WEEK
        active, began = active[began < HISTORY], began[began < HISTORY]
        is_closing = _pass_week(rng, state, active, began, week - born_in[active], log)
        closing, active = active[is_closing], active[~is_closing]
        won = closing[state.outcome[closing] == WON]
        np.minimum.at(bought_at, deals.customer[won], state.closed[won])
    moves = _join_moves([StageMoves(np.arange(count), deals.created, np.zeros(count, dtype=np.int64)), *log.moves])
    weeks = _join_weeks(log.weeks)
    return Progress(state.closed, state.outcome, state.stage, moves, weeks, state.promise, state.workload)


def _pass_week(rng: np.random.Generator, state: _State, active: Codes, began: Floats, age: Codes, log: _Log) -> Flags:
    """Draw one week of each deal in `active`; return which of them closed in it."""
    part = rng.random(len(active), dtype=np.float32).astype(np.float64)
    at = began + part * WEEK
    is_before_clock = at < HISTORY
    promise, stage, momentum = state.promise[active], state.stage[active], state.momentum[active]
    event = _draw_event(rng, week_rates(promise, began, age, stage, momentum))
    is_closing = (event <= 1) & is_before_clock
    has_moved = ((event == 2) | (event == 3)) & is_before_clock
    after = stage + has_moved * np.where(event == 2, 1, -1)
    log.moves.append(StageMoves(active[has_moved], at[has_moved], after[has_moved]))
    log.weeks.append(
        DealWeeks(
            deal=active.astype(np.int32),
            began=began,
            share=np.where(is_closing, part, np.clip((HISTORY - began) / WEEK, 0.0, 1.0)),
            momentum=momentum.astype(np.int8),
            stage=stage.astype(np.int8),
            moved=np.where(has_moved, part, np.inf).astype(np.float32),
            stage_after=after.astype(np.int8),
        )
    )
    state.stage[active] = after
    state.closed[active[is_closing]] = at[is_closing]
    state.outcome[active[is_closing]] = np.where(event[is_closing] == 0, WON, LOST)
    up, down = momentum_rates(promise)
    draw = rng.random(len(active))
    state.momentum[active] = np.clip(momentum + (draw < up) - (draw > 1 - down), 0, MOMENTA - 1)
    return np.asarray(is_closing)


def _draw_event(rng: np.random.Generator, rates: WeekRates) -> Codes:
    """Draw at most one event of a week: 0 win, 1 loss, 2 a stage on, 3 a stage back, 4 nothing."""
    bounds = np.cumsum(np.stack([rates.win, rates.lose, rates.advance, rates.back]), axis=0)
    draw = rng.random(len(rates.win))
    return np.asarray((draw[None, :] >= bounds).sum(axis=0))


def _join_moves(parts: list[StageMoves]) -> StageMoves:
    """Put the stage moves of all weeks into one record."""
    return StageMoves(
        np.concatenate([part.deal for part in parts]),
        np.concatenate([part.occurred for part in parts]),
        np.concatenate([part.stage for part in parts]),
    )


def _join_weeks(parts: list[DealWeeks]) -> DealWeeks:
    """Put the open weeks of all deals into one record, sorted by deal and week."""
    deal = np.concatenate([part.deal for part in parts])
    order = np.argsort(deal, kind="stable")
    return DealWeeks(
        deal=deal[order],
        began=np.concatenate([part.began for part in parts])[order],
        share=np.concatenate([part.share for part in parts])[order],
        momentum=np.concatenate([part.momentum for part in parts])[order],
        stage=np.concatenate([part.stage for part in parts])[order],
        moved=np.concatenate([part.moved for part in parts])[order],
        stage_after=np.concatenate([part.stage_after for part in parts])[order],
    )
