"""What a retraining policy would have done in the past: every model learns only from labels that were ripe then."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import DataError
from models.gate import CHAMPION, Verdict, compare, decide
from models.policy import (
    FIRST,
    NO_SIGNAL,
    NOTHING_NEW,
    ONE_CLASS,
    PROMOTED,
    REFUSED,
    TRAINED,
    Moment,
    Played,
    Policy,
    Replay,
)
from models.split import CLOCK_CHANGE
from models.training_set import TrainingSet

Floats = NDArray[np.float64]
Scorer = Callable[[pd.DataFrame], Floats]
Fit = Callable[[TrainingSet], Scorer | None]
"""Fits a model on rows and returns what gives the probability of each row of a frame; None: nothing to learn."""

START_ROWS, START_OF_EACH_CLASS, START_SHARE = 200, 20, 1 / 3
"""The first model of a replay has at least so many ripe rows, and so much of the history lies before it."""
GATE_ROWS = 100
"""Ripe rows since the champion was trained that a gate needs."""


@dataclass(frozen=True)
class _Champion:
    """The model in force, when it was trained, and the last row it was fitted on (not included)."""

    scorer: Scorer
    at: Any
    high: int


@dataclass
class _Past:
    """Rows in time order, when each label became known, and the models fitted so far."""

    rows: TrainingSet
    fit: Fit
    clock: NDArray[Any]
    wait: Any
    models: dict[tuple[int, int], Scorer | None] = field(default_factory=dict)

    def span(self, count: int) -> Any:
        """So many days or rows, in the unit of the clock."""
        return np.timedelta64(count, "D") if self.clock.dtype.kind == "M" else count

    def ripe(self, now: Any, window: int | None) -> tuple[int, int]:
        """Rows `[low, high)` before `now` with time + horizon + settle <= now, of the window alone."""
        waits = self.wait > self.span(0)
        end = now - self.wait
        high = int(np.searchsorted(self.clock, end, "right" if waits else "left"))
        if window is None:
            return 0, high
        return int(np.searchsorted(self.clock, end - self.span(window), "right" if waits else "left")), high

    def has_both(self, low: int, high: int) -> bool:
        """Whether both labels are among these rows."""
        return bool(0 < self.rows.label[low:high].sum() < high - low)

    def model(self, fitted_on: tuple[int, int]) -> Scorer | None:
        """Return the model of rows `[low, high)`; None where these teach nothing."""
        if fitted_on not in self.models:
            self.models[fitted_on] = self.fit(self.rows.take(np.arange(*fitted_on)))
        return self.models[fitted_on]

    def predict(self, scorer: Scorer, low: int, high: int) -> Floats:
        """Probabilities of rows `[low, high)`."""
        return np.asarray(scorer(self.rows.frame.iloc[low:high].reset_index(drop=True)))

    def moments(self, start: Any, every: int | None) -> list[Any]:
        """From the start on every so many days or rows, up to the last row.

        A moment at most two hours after a row comes before it: a local midnight in summer.
        """
        found, last = [start], self.clock[-1]
        while every is not None:
            moment = start + self.span(every * len(found))
            if self.clock.dtype.kind == "M":
                near = self.clock[np.searchsorted(self.clock, moment - CLOCK_CHANGE.to_timedelta64(), "left") :]
                moment = min(moment, near[0]) if len(near) else moment
            if moment > last:
                break
            found.append(moment)
        return found


def _make_past(rows: TrainingSet, fit: Fit, settle: int) -> _Past:
    if rows.time is None or len(rows) == 0:
        raise DataError(f"The {len(rows):,} rows to replay have no time. Name the column that orders them.")
    time = np.asarray(rows.time)
    rows = rows.take(np.argsort(time, kind="stable"))
    ordered = np.asarray(rows.time)
    if time.dtype.kind == "M":
        return _Past(rows, fit, ordered, np.timedelta64(rows.horizon + settle, "D"))
    return _Past(rows, fit, np.searchsorted(ordered, ordered, "left"), rows.horizon + settle)


def default_start(rows: TrainingSet, settle: int = 0) -> Any:
    """First time at which a third of the rows lies behind and 200 rows were ripe, 20 of each label.

    Returns
    -------
    datetime64 or int
        A date, or a place in the order.

    Raises
    ------
    DataError
        If there is no such time.

    """
    past = _make_past(rows, lambda _: lambda frame: np.zeros(len(frame)), settle)
    for moment in np.unique(past.clock):
        if np.searchsorted(past.clock, moment, "left") < START_SHARE * len(rows):
            continue
        _, high = past.ripe(moment, None)
        ones = past.rows.label[:high].sum()
        if high >= START_ROWS and min(ones, high - ones) >= START_OF_EACH_CLASS:
            return moment
    raise DataError(
        f"There is no time at which {START_ROWS} ripe rows, {START_OF_EACH_CLASS} of each label, lie behind and rows "
        f"to score ahead, among {len(rows):,} rows with a horizon of {rows.horizon}. Replay a longer history."
    )


def ripe_before(rows: TrainingSet, start: Any, settle: int = 0) -> TrainingSet:
    """Return the rows that were ripe at the start of a replay, in time order: what its choice may rest on."""
    past = _make_past(rows, lambda _: lambda frame: np.zeros(len(frame)), settle)
    return past.rows.take(np.arange(past.ripe(start, None)[1]))


def replay(rows: TrainingSet, policies: Sequence[Policy], fit: Fit, start: Any, settle: int = 0) -> Replay:
    """Play policies over labelled rows as if each moment were now.

    At each moment of a policy's schedule a model is fitted on the rows whose labels were known then
    (time + horizon + settle <= now); it scores the rows of `[moment, next moment)`. Models of equal
    rows are fitted once. A moment without new labels, or with one label only, trains nothing; where
    there is nothing to learn the model in force stays.

    Parameters
    ----------
    rows : TrainingSet
        With a time: dates, or an order, in which everything counts in rows.
    policies : sequence of Policy
    fit : function
        From rows to a scorer; the same for all policies.
    start : datetime64 or int
        First moment (a place in the order); rows before it are only learned from.
    settle : int
        Days (rows) after a horizon's end until late outcomes have arrived.

    Returns
    -------
    Replay
        Rows from the start on, and per policy the probability of each and what happened.

    Raises
    ------
    DataError
        If the rows have no time, nothing was ripe at the start, or nothing comes after it.

    """
    past = _make_past(rows, fit, settle)
    first = int(np.searchsorted(past.clock, start, "left"))
    if first == len(rows):
        raise DataError(f"The replay starts at {start} and no row at or after it is labelled. Start earlier.")
    for policy in policies:
        if 0 in (policy.every, policy.window) or min(policy.every or 1, policy.window or 1) < 0:
            raise DataError(f"A policy has every {policy.every} and window {policy.window}, expected 1 or more each.")
    unit = "days" if past.clock.dtype.kind == "M" else "rows"
    played = tuple(_play(past, policy, start, first) for policy in policies)
    return Replay(past.rows.take(np.arange(first, len(rows))), start, unit, played)


def _play(past: _Past, policy: Policy, start: Any, first: int) -> Played:
    nows = past.moments(start, policy.every)
    begins = np.searchsorted(past.clock, np.array(nows), "left").tolist()
    champion, tried = _first(past, policy, start), 0
    probability = np.empty(len(past.rows) - first)
    moments = []
    for now, begin, end in zip(nows, begins, [*begins[1:], len(past.rows)], strict=True):
        low, high = past.ripe(now, policy.window)
        outcome, why = (FIRST, "") if now == start else _outcome(past, policy, champion, now, (low, high), tried)
        scorer = past.model((low, high)) if outcome in (TRAINED, PROMOTED) else None
        if scorer is not None:
            champion = _Champion(scorer, now, high)
        tried = high
        moments.append(Moment(now, high - low, outcome, why))
        if end > begin:
            probability[begin - first : end - first] = past.predict(champion.scorer, begin, end)
    return Played(policy, probability, tuple(moments))


def _first(past: _Past, policy: Policy, start: Any) -> _Champion:
    low, high = past.ripe(start, policy.window)
    if not past.has_both(low, high):
        raise DataError(
            f"The replay starts at {str(start)[:10]} with {high - low:,} ripe rows, expected some of each label. "
            "Start later, or give the policy a longer window."
        )
    scorer = past.model((low, high))
    if scorer is None:
        raise DataError(
            f"The {high - low:,} rows that were ripe at {str(start)[:10]}, where the replay starts, teach nothing: "
            "there is no first model. Start later."
        )
    return _Champion(scorer, start, high)


def _outcome(
    past: _Past, policy: Policy, champion: _Champion, now: Any, rows: tuple[int, int], tried: int
) -> tuple[str, str]:
    """How a moment after the first ends, and why."""
    if rows[1] == tried:
        return NOTHING_NEW, ""
    if not past.has_both(*rows):
        return ONE_CLASS, ""
    if past.model(rows) is None:
        return NO_SIGNAL, ""
    if not policy.gate:
        return TRAINED, ""
    verdict = _challenge(past, policy, champion, now)
    return PROMOTED if verdict.promote else REFUSED, verdict.why


def _challenge(past: _Past, policy: Policy, champion: _Champion, now: Any) -> Verdict:
    """Try a challenger on the newer half of the ripe rows since the champion was trained.

    It knows what was ripe when that half began, as the champion knows what was ripe at its training;
    what goes into force afterwards is fitted on all rows that are ripe now.
    """
    high = past.ripe(now, None)[1]
    since = min(int(np.searchsorted(past.clock, champion.at, "left")), high)
    if high - since < GATE_ROWS:
        why = f"Refused: {high - since} rows since the champion was trained are ripe, and {GATE_ROWS} are needed."
        return Verdict(False, why)
    moment = past.clock[since + (high - since) // 2]
    begin = int(np.searchsorted(past.clock, moment, "left"))
    trial = past.ripe(moment, policy.window)
    challenger = past.model(trial) if trial[1] > champion.high and past.has_both(*trial) else None
    if challenger is None:
        return Verdict(False, "Refused: before the rows it could be tried on, a challenger knew no more.")
    label, group = past.rows.label[begin:high], past.rows.group
    others = {
        CHAMPION: past.predict(champion.scorer, begin, high),
        "base_rate": np.full(high - begin, past.rows.label[slice(*trial)].mean()),
    }
    group = None if group is None else group[begin:high]
    return decide(compare(label, past.predict(challenger, begin, high), others, group))
