"""What a retraining policy would have done in the past: every model learns only from labels that were ripe then."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import DataError
from models.fair_rows import split_fair
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
from models.split import CLOCK_CHANGE, split_test
from models.training_set import TrainingSet

Floats = NDArray[np.float64]
Scorer = Callable[[pd.DataFrame], Floats]
Fit = Callable[[TrainingSet], Scorer | None]
"""Fits a model on rows and returns what gives the probability of each row of a frame; None: nothing to learn."""

START_ROWS, START_OF_EACH_CLASS, START_SHARE = 200, 20, 1 / 3
"""The first model of a replay has at least so many ripe rows, and so much of the history lies before it."""
EPOCH = np.datetime64(0, "us")


@dataclass(frozen=True)
class _Champion:
    """The model in force, and how many of the oldest rows were ripe when it was trained."""

    scorer: Scorer
    high: int


@dataclass
class _Past:
    """Rows in time order, when each label became known, and the models fitted so far.

    An order is read as a calendar with one place per day, so that there is one way to reckon.
    """

    rows: TrainingSet
    fit: Fit
    clock: NDArray[np.datetime64]
    settle: int
    models: dict[tuple[int, int], Scorer | None] = field(default_factory=dict)

    @property
    def is_dated(self) -> bool:
        """Whether rows have dates, not places."""
        return np.asarray(self.rows.time).dtype.kind == "M"

    def read(self, moment: Any) -> Any:
        """Moment of the clock for a date or a place."""
        return np.datetime64(moment, "us") if self.is_dated else EPOCH + np.timedelta64(int(moment), "D")

    def tell(self, moment: Any) -> Any:
        """Date or place of a moment of the clock."""
        return moment if self.is_dated else int((moment - EPOCH) / np.timedelta64(1, "D"))

    def before(self, moment: Any) -> int:
        """How many rows come before a moment."""
        return int(np.searchsorted(self.clock, moment, "left"))

    def ripe(self, now: Any, window: int | None) -> tuple[int, int]:
        """Rows `[low, high)` before `now` with time + horizon + settle <= now, of the window alone."""
        known = now - np.timedelta64(self.rows.horizon + self.settle, "D")
        return self.newest(min(int(np.searchsorted(self.clock, known, "right")), self.before(now)), window)

    def newest(self, high: int, window: int | None) -> tuple[int, int]:
        """Rows `[low, high)` that lie in `(newest - window, newest]`."""
        if window is None or high == 0:
            return 0, high
        begin = self.clock[high - 1] - np.timedelta64(window, "D")
        return int(np.searchsorted(self.clock, begin, "right")), high

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
        found = [start]
        while every is not None:
            moment = start + np.timedelta64(every * len(found), "D")
            near = self.clock[self.before(moment - CLOCK_CHANGE.to_timedelta64()) :]
            if not len(near) or (moment > self.clock[-1] and near[0] > moment):
                break
            found.append(min(moment, near[0]))
        return found


def _make_past(rows: TrainingSet, fit: Fit, settle: int) -> _Past:
    if rows.time is None or len(rows) == 0:
        raise DataError(f"The {len(rows):,} rows to replay have no time. Name the column that orders them.")
    rows = rows.take(np.argsort(np.asarray(rows.time), kind="stable"))
    time = np.asarray(rows.time)
    places = EPOCH + np.searchsorted(time, time, "left") * np.timedelta64(1, "D")
    return _Past(rows, fit, (time if time.dtype.kind == "M" else places).astype("datetime64[us]"), settle)


def _teach_nothing(rows: TrainingSet) -> None:
    """Fit that fits nothing, for a past that is only asked what was ripe."""


def default_start(rows: TrainingSet, settle: int = 0) -> Any:
    """First time at which a third of the rows lies behind and a model could be chosen on what was ripe.

    That takes 200 ripe rows, 20 of each label, and a newest block of them to test on.

    Returns
    -------
    datetime64 or int
        A date, or a place in the order.

    Raises
    ------
    DataError
        If there is no such time.

    """
    past = _make_past(rows, _teach_nothing, settle)
    for moment in np.unique(past.clock):
        if past.before(moment) < START_SHARE * len(rows):
            continue
        _, high = past.ripe(moment, None)
        ones = past.rows.label[:high].sum()
        enough = high >= START_ROWS and min(ones, high - ones) >= START_OF_EACH_CLASS
        if enough and _can_split(past.rows.take(np.arange(high))):
            return past.tell(moment)
    raise DataError(
        f"There is no time at which {START_ROWS} ripe rows, {START_OF_EACH_CLASS} of each label, lie behind, enough to "
        f"train and test on, and rows to score ahead, among {len(rows):,} rows with a horizon of {rows.horizon}. "
        "Replay a longer history."
    )


def _can_split(rows: TrainingSet) -> bool:
    """Whether a block to test on can be split off and rows to train on are left."""
    try:
        train, test = split_test(rows)
    except DataError:
        return False
    return all(0 < one.label.sum() < len(one) for one in (train, test))


def ripe_before(rows: TrainingSet, start: Any, settle: int = 0) -> TrainingSet:
    """Return the rows that were ripe at the start of a replay, in time order: what its choice may rest on."""
    past = _make_past(rows, _teach_nothing, settle)
    return past.rows.take(np.arange(past.ripe(past.read(start), None)[1]))


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
    begin = past.read(start)
    first = past.before(begin)
    if first == len(rows):
        raise DataError(f"The replay starts at {start} and no row at or after it is labelled. Start earlier.")
    for policy in policies:
        if 0 in (policy.every, policy.window) or min(policy.every or 1, policy.window or 1) < 0:
            raise DataError(f"A policy has every {policy.every} and window {policy.window}, expected 1 or more each.")
    played = tuple(_play(past, policy, begin, first) for policy in policies)
    scored = past.rows.take(np.arange(first, len(rows)))
    return Replay(scored, start, "days" if past.is_dated else "rows", played)


def _play(past: _Past, policy: Policy, start: Any, first: int) -> Played:
    nows = past.moments(start, policy.every)
    begins = [past.before(now) for now in nows]
    champion, tried = _first(past, policy, start), 0
    probability = np.empty(len(past.rows) - first)
    moments = []
    for now, begin, end in zip(nows, begins, [*begins[1:], len(past.rows)], strict=True):
        low, high = past.ripe(now, policy.window)
        outcome, why = (FIRST, "") if now == start else _outcome(past, policy, champion, (low, high), tried)
        scorer = past.model((low, high)) if outcome in (TRAINED, PROMOTED) else None
        if scorer is not None:
            champion = _Champion(scorer, high)
        tried = high
        moments.append(Moment(past.tell(now), high - low, outcome, why))
        if end > begin:
            probability[begin - first : end - first] = past.predict(champion.scorer, begin, end)
    return Played(policy, probability, tuple(moments))


def _first(past: _Past, policy: Policy, start: Any) -> _Champion:
    low, high = past.ripe(start, policy.window)
    if not past.has_both(low, high):
        raise DataError(
            f"The replay starts at {str(past.tell(start))[:10]} with {high - low:,} ripe rows, expected some of each "
            "label. Start later, or give the policy a longer window."
        )
    scorer = past.model((low, high))
    if scorer is None:
        raise DataError(
            f"The {high - low:,} rows that were ripe at {str(past.tell(start))[:10]}, where the replay starts, teach "
            "nothing: there is no first model. Start later."
        )
    return _Champion(scorer, high)


def _outcome(past: _Past, policy: Policy, champion: _Champion, rows: tuple[int, int], tried: int) -> tuple[str, str]:
    """How a moment after the first ends, and why."""
    if rows[1] == tried:
        return NOTHING_NEW, ""
    if not past.has_both(*rows):
        return ONE_CLASS, ""
    if past.model(rows) is None:
        return NO_SIGNAL, ""
    if not policy.gate:
        return TRAINED, ""
    verdict = _challenge(past, policy, champion, rows[1])
    return PROMOTED if verdict.promote else REFUSED, verdict.why


def _challenge(past: _Past, policy: Policy, champion: _Champion, high: int) -> Verdict:
    """Try a challenger as `retrain` does, on ripe rows that are fair to both; `high` rows are ripe.

    The challenger knows what was ripe when those rows began; what goes into force afterwards is fitted
    on all rows that are ripe now.
    """
    rows = replace(past.rows.take(np.arange(high)), time=past.clock[:high])
    own_row = np.timedelta64(int(rows.horizon == 0), "us")  # without a horizon only the row itself is unfair
    split = split_fair(rows, past.clock[champion.high - 1] + own_row)
    if split.shortage is not None:
        return Verdict(False, f"Refused: {split.shortage}")
    trial, begin = past.newest(int(split.train.sum()), policy.window), high - int(split.block.sum())
    challenger = past.model(trial) if past.has_both(*trial) else None
    if challenger is None:
        return Verdict(False, "Refused: from the rows before those it could be tried on a challenger learns nothing.")
    label, group = rows.label[begin:], None if rows.group is None else rows.group[begin:]
    others = {
        CHAMPION: past.predict(champion.scorer, begin, high),
        "base_rate": np.full(high - begin, rows.label[slice(*trial)].mean()),
    }
    comparison = compare(label, past.predict(challenger, begin, high), others, group)
    return decide(comparison, min_gain=policy.min_gain)
