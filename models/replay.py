"""What a retraining policy would have done in the past: every model learns only from labels that were ripe then."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from models.fair_rows import split_fair
from models.gate import BASE_RATE, CHAMPION, LOGISTIC, Slice, Verdict, compare, compare_slices, decide
from models.past import Champion, Past, make_past
from models.policy import (
    FIRST,
    NO_SIGNAL,
    NOTHING_NEW,
    ONE_CLASS,
    PROMOTED,
    REFUSED,
    TRAINED,
    Fit,
    GateTerms,
    Moment,
    Played,
    Policy,
    Replay,
    Scorer,
)
from models.split import split_test
from models.training_set import TrainingSet

Floats = NDArray[np.float64]

START_ROWS, START_OF_EACH_CLASS, START_SHARE = 200, 20, 1 / 3
"""The first model of a replay has at least so many ripe rows, and so much of the history lies before it."""


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
    past = make_past(rows, _teach_nothing, settle)
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
    past = make_past(rows, _teach_nothing, settle)
    return past.rows.take(np.arange(past.ripe(past.read(start), None)[1]))


def replay(
    rows: TrainingSet,
    policies: Sequence[Policy],
    fit: Fit,
    start: Any,
    settle: int = 0,
    terms: GateTerms | None = None,
) -> Replay:
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
    terms : GateTerms, optional
        Of the policies with a gate.

    Returns
    -------
    Replay
        Rows from the start on, and per policy the probability of each and what happened.

    Raises
    ------
    DataError
        If the rows have no time, nothing was ripe at the start, or nothing comes after it.

    """
    past = make_past(rows, fit, settle, terms)
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


def _play(past: Past, policy: Policy, start: Any, first: int) -> Played:
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
            champion = Champion(scorer, high)
        tried = high
        moments.append(Moment(past.tell(now), high - low, outcome, why))
        if end > begin:
            probability[begin - first : end - first] = past.predict(champion.scorer, begin, end)
    return Played(policy, probability, tuple(moments))


def _first(past: Past, policy: Policy, start: Any) -> Champion:
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
    return Champion(scorer, high)


def _outcome(past: Past, policy: Policy, champion: Champion, rows: tuple[int, int], tried: int) -> tuple[str, str]:
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


def _challenge(past: Past, policy: Policy, champion: Champion, high: int) -> Verdict:
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
    return _judge(past, policy, champion, challenger, trial, (begin, high))


def _judge(
    past: Past,
    policy: Policy,
    champion: Champion,
    challenger: Scorer,
    trial: tuple[int, int],
    block: tuple[int, int],
) -> Verdict:
    """Let the gate of `retrain` judge on the rows of a block what was fitted on the rows of a trial."""
    begin, high = block
    label, codes, terms = past.rows.label[begin:high], past.rows.group, past.terms
    group = None if codes is None else codes[begin:high]
    own, live = past.predict(challenger, begin, high), past.predict(champion.scorer, begin, high)
    others = {CHAMPION: live, BASE_RATE: np.full(high - begin, past.rows.label[slice(*trial)].mean())}
    line = terms.line and terms.line(past.rows.take(np.arange(*trial)))
    if line is not None:
        others[LOGISTIC] = past.predict(line, begin, high)
    cuts = {name: values[begin:high] for name, values in terms.cuts.items()}
    slices: list[Slice] = compare_slices(label, own, live, cuts, group, terms.slice_rows, terms.slice_floor)
    return decide(compare(label, own, others, group), slices, min_gain=policy.min_gain)
