"""The replay of a policy on literal tables, the answers written by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataError
from models.policy import GateTerms, Moment, Played, Policy, Replay
from models.replay import default_start, replay
from models.training_set import TrainingSet


def share_of_ones(rows: TrainingSet) -> Callable[[pd.DataFrame], Any]:
    """Fit the share of ones of the rows: what a model knows is then plain to see."""
    share = float(rows.label.mean())
    return lambda frame: np.full(len(frame), share)


def rows_at(time: Any, label: Any, horizon: int, group: Any = None) -> TrainingSet:
    return TrainingSet(
        frame=pd.DataFrame({"number": np.arange(len(label), dtype=float)}),
        label=np.array(label, dtype=float),
        time=np.array(time, dtype="datetime64[us]") if isinstance(time[0], str) else np.array(time),
        horizon=horizon,
        group=None if group is None else np.array(group, dtype=object),
    )


DATES = ["2024-01-01", "2024-01-01", "2024-01-11", "2024-01-21", "2024-01-31", "2024-02-10", "2024-02-20", "2024-03-01"]
LABEL = [1, 0, 1, 1, 0, 0, 1, 1]
ROWS = rows_at(DATES, LABEL, horizon=20)
START = np.datetime64("2024-01-31", "us")


def play(policy: Policy, rows: TrainingSet = ROWS, start: Any = START, settle: int = 0) -> Played:
    return replay(rows, [policy], share_of_ones, start, settle).played[0]


def test_a_row_is_learned_from_once_its_horizon_has_ended() -> None:
    # scored        ripe then (time + 20 days <= now)           share of ones
    # 2024-01-31    until 01-11: 1 0 1                          2/3
    # 2024-02-10    until 01-21: 1 0 1 1                        3/4
    # 2024-02-20    until 01-31: 1 0 1 1 0                      3/5
    # 2024-03-01    until 02-10: 1 0 1 1 0 0                    3/6
    assert play(Policy(every=10)).probability.tolist() == pytest.approx([2 / 3, 3 / 4, 3 / 5, 3 / 6])


def test_between_two_trainings_the_older_model_scores() -> None:
    # trained 01-31 (2/3), 02-15 (until 01-26: 3/4), 03-01 (3/6)
    assert play(Policy(every=15)).probability.tolist() == pytest.approx([2 / 3, 2 / 3, 3 / 4, 3 / 6])


def test_never_means_that_the_first_model_scores_everything() -> None:
    played = play(Policy(every=None))
    assert played.probability.tolist() == pytest.approx([2 / 3] * 4)
    assert (played.trainings, played.promotions) == (0, 0)


def test_late_outcomes_make_labels_ripe_later() -> None:
    # time + 20 + 10 days <= now: one snapshot less than above each time
    # 2024-01-31 until 01-01: 1 0; 02-10 until 01-11; 02-20 until 01-21; 03-01 until 01-31
    assert play(Policy(every=10), settle=10).probability.tolist() == pytest.approx([1 / 2, 2 / 3, 3 / 4, 3 / 5])


def test_a_window_counts_back_from_the_newest_ripe_row() -> None:
    # now           ripe rows of the 20 days up to the newest ripe one: after the first day, up to the last
    # 2024-01-31    after 12-22, up to 01-11: 1 0 1
    # 2024-02-10    after 01-01, up to 01-21: 1 1    one class only: the model stays
    # 2024-02-20    after 01-11, up to 01-31: 1 0
    # 2024-03-01    after 01-21, up to 02-10: 0 0    one class only: the model stays
    played = play(Policy(every=10, window=20))
    assert played.probability.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 2, 1 / 2])
    assert [one.outcome for one in played.moments] == ["first", "one_class", "trained", "one_class"]
    assert played.trainings == 1


def test_where_time_is_an_order_everything_counts_in_rows() -> None:
    # horizon 1: at place n the rows at places <= n - 1 are known
    rows = rows_at([10, 20, 30, 40, 50, 60], [1, 0, 0, 0, 1, 1], horizon=1)
    # now = 2: 1 0 scores places 2, 3; now = 4: 1 0 0 0 scores places 4, 5
    assert play(Policy(every=2), rows, start=2).probability.tolist() == pytest.approx([1 / 2, 1 / 2, 1 / 4, 1 / 4])
    # the last two ripe ones: at 4 the places 2 and 3 hold one class, so the first model stays
    assert play(Policy(every=2, window=2), rows, start=2).probability.tolist() == pytest.approx([1 / 2] * 4)


def test_rows_of_an_order_without_a_horizon_are_known_as_soon_as_the_next_one_comes() -> None:
    rows = rows_at([1, 2, 3, 4], [1, 0, 0, 0], horizon=0)
    # at place 2 the places 0 and 1; at place 3 the places 0 to 2, or the last three, which are the same
    assert play(Policy(every=1), rows, start=2).probability.tolist() == pytest.approx([1 / 2, 1 / 3])
    assert play(Policy(every=1, window=3), rows, start=2).probability.tolist() == pytest.approx([1 / 2, 1 / 3])
    assert [one.rows for one in play(Policy(every=1, window=2), rows, start=2).moments] == [2, 2]


def test_rows_may_come_in_any_order() -> None:
    shuffled = ROWS.take(np.array([5, 2, 7, 0, 3, 6, 1, 4]))
    again = replay(shuffled, [Policy(every=10)], share_of_ones, START)
    assert again.played[0].probability.tolist() == play(Policy(every=10)).probability.tolist()
    assert again.rows.time.tolist() == sorted(again.rows.time.tolist())  # type: ignore[union-attr]


def test_a_moment_without_new_labels_trains_nothing() -> None:
    # every 5 days: 02-05 has no label that 01-31 had not (02-05 - 20 days = 01-16)
    outcomes = [one.outcome for one in play(Policy(every=5)).moments]
    assert outcomes == ["first", "nothing_new", "trained", "nothing_new", "trained", "nothing_new", "trained"]


def test_where_nothing_can_be_learned_the_model_in_force_stays() -> None:
    def fit(rows: TrainingSet) -> Callable[[pd.DataFrame], Any] | None:
        return None if len(rows) in (4, 5) else share_of_ones(rows)

    played = replay(ROWS, [Policy(every=10)], fit, START).played[0]
    # 3 rows, then 4 and 5, which teach nothing, then 6
    assert played.probability.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 3 / 6])
    assert [one.outcome for one in played.moments] == ["first", "no_signal", "no_signal", "trained"]
    assert (played.trainings, played.promotions) == (3, 1)


def test_without_a_first_model_there_is_nothing_to_replay() -> None:
    with pytest.raises(DataError, match=r"3 rows that were ripe at 2024-01-31.*no first model"):
        replay(ROWS, [Policy(every=10)], lambda rows: None, START)


def test_policies_share_the_models_of_equal_rows() -> None:
    fitted: list[int] = []

    def fit(rows: TrainingSet) -> Callable[[pd.DataFrame], Any]:
        fitted.append(len(rows))
        return share_of_ones(rows)

    replay(ROWS, [Policy(None), Policy(10), Policy(20), Policy(10, window=365)], fit, START)
    assert fitted == [3, 4, 5, 6]


def test_an_hour_of_summer_time_does_not_leave_a_snapshot_to_the_older_model() -> None:
    # weekly local midnights of Berlin: 23:00 UTC in winter, 22:00 from 31 March on
    times = ["2024-03-10T23:00", "2024-03-17T23:00", "2024-03-24T23:00", "2024-03-31T22:00", "2024-04-07T22:00"]
    rows = rows_at([times[0], *times], [1, 0, 0, 1, 1, 1], horizon=0)
    # before 03-17: 1 0; 03-24: 1 0 0; 03-31: 1 0 0 1; 04-07: 1 0 0 1 1
    found = play(Policy(every=7), rows, start=np.datetime64(times[1], "us"))
    assert found.probability.tolist() == pytest.approx([1 / 2, 1 / 3, 2 / 4, 3 / 5])


def drifting(before: float, after: float) -> TrainingSet:
    """1,000 rows with a share of ones, then 1,000 with another, evenly spread."""
    label = [float((at % 10) < 10 * share) for share in (before, after) for at in range(1000)]
    return rows_at(list(range(2000)), label, horizon=0)


def test_the_gate_lets_a_better_challenger_through() -> None:
    played = play(Policy(every=500, gate=True), drifting(0.2, 0.8), start=1000)
    # at 1,500 the champion (0.2) meets a challenger of the first 1,250 rows ((200 + 200) / 1,250 = 0.32) on
    # the newest half of the rows since: 80 % ones, so the challenger wins, and is fitted on all 1,500
    assert played.probability.tolist() == pytest.approx([0.2] * 500 + [(200 + 400) / 1500] * 500)
    assert [one.outcome for one in played.moments] == ["first", "promoted"]
    assert "250 rows" in played.moments[1].why


def test_the_gate_asks_for_the_gain_of_the_policy() -> None:
    # the challenger above saves 1.328 - 0.986 = 26 % of the champion's loss
    played = play(Policy(every=500, gate=True, min_gain=0.3), drifting(0.2, 0.8), start=1000)
    assert [one.outcome for one in played.moments] == ["first", "refused"]


def test_the_gate_holds_a_challenger_that_is_no_better() -> None:
    played = play(Policy(every=500, gate=True), drifting(0.2, 0.2), start=1000)
    assert [one.outcome for one in played.moments] == ["first", "refused"]
    assert (played.trainings, played.promotions) == (1, 0)


def test_the_gate_holds_a_challenger_that_the_line_beats() -> None:
    # of the 80 % ones on which the challenger (0.32) wins against the champion (0.2), a line that says 0.7 loses less
    terms = GateTerms(line=lambda rows: lambda frame: np.full(len(frame), 0.7))
    played = replay(drifting(0.2, 0.8), [Policy(500, gate=True)], share_of_ones, 1000, terms=terms).played[0]
    assert played.moments[1].outcome == "refused"
    assert "of the logistic line" in played.moments[1].why


def test_the_gate_holds_a_challenger_that_loses_in_a_slice() -> None:
    # from place 1,000 on every row of the east is 1 and every row of the west is 0: 0.32 is worse than 0.2 in the west
    west = np.arange(2000) % 4 == 0
    rows = drifting(0.2, 0.8)
    label = np.where(np.arange(2000) < 1000, rows.label, (~west).astype(float))
    terms = GateTerms(cuts={"region": np.where(west, "west", "east").astype(object)}, slice_rows=50)
    played = replay(replace(rows, label=label), [Policy(500, gate=True)], share_of_ones, 1000, terms=terms).played[0]
    assert played.moments[1].outcome == "refused"
    assert "where region is 'west' (62 rows)" in played.moments[1].why


def test_the_gate_waits_until_the_challenger_can_be_tried_on_ripe_rows() -> None:
    def fit(rows: TrainingSet) -> Callable[[pd.DataFrame], Any]:
        return lambda frame: np.full(len(frame), round(rows.label.mean(), 2))

    rows = replace(drifting(0.2, 0.8), horizon=400)
    played = replay(rows, [Policy(every=250, gate=True)], fit, 1000).played[0]
    # the champion of place 1,000 knows places <= 600, whose labels reach to 1,000. At 1,250 no row from there on is
    # ripe, at 1,500 those of [1,000, 1,100] are, too few. At 1,750 the newest 200 of [1,000, 1,350] begin at 1,151,
    # when a challenger knew places <= 751, all of the time of 20 %: no better.
    assert [one.outcome for one in played.moments] == ["first", "refused", "refused", "refused"]
    assert "Since then 0 rows became ripe" in played.moments[1].why
    assert "Since then 101 rows became ripe" in played.moments[2].why
    assert "on 200 rows" in played.moments[3].why


def test_a_gate_without_new_labels_is_not_asked_again() -> None:
    rows = rows_at(["2024-01-01"] * 10 + ["2024-02-01"] * 10 + ["2024-03-01"] * 10, [1, 0] * 15, horizon=0)
    played = play(Policy(every=10, gate=True), rows, start=np.datetime64("2024-02-01", "us"))
    # the rows of 02-01 are new on 02-11; on 02-21 nothing is
    assert [one.outcome for one in played.moments] == ["first", "refused", "nothing_new"]


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=12, max_size=30), st.data())
@settings(max_examples=40, deadline=None)
def test_no_score_depends_on_a_label_that_was_not_ripe(days: list[tuple[int, bool]], draw: st.DataObject) -> None:
    base = np.datetime64("2024-01-01", "us")
    time = base + np.array([0, 0, *(day for day, _ in days)]) * np.timedelta64(1, "D")
    label = np.array([1.0, 0.0, *(float(one) for _, one in days)])
    rows = TrainingSet(pd.DataFrame({"number": np.zeros(len(label))}), label, time, horizon=5)
    start, policy = (
        base + np.timedelta64(6, "D"),
        Policy(draw.draw(st.integers(1, 9)), draw.draw(st.sampled_from([None, 3, 9]))),
    )
    if not (time >= start).any():
        return
    now = base + np.timedelta64(draw.draw(st.integers(6, 40)), "D")
    unripe = rows.time + np.timedelta64(5, "D") > now  # type: ignore[operator]
    other = replace(rows, label=np.where(unripe, 1.0 - label, label))
    one, two = (replay(which, [policy], share_of_ones, start) for which in (rows, other))
    until = np.asarray(one.rows.time) <= now
    assert one.played[0].probability[until].tolist() == two.played[0].probability[until].tolist()


def test_rows_without_a_time_cannot_be_replayed() -> None:
    with pytest.raises(DataError, match="have no time"):
        replay(replace(ROWS, time=None), [Policy(10)], share_of_ones, START)


def test_a_start_before_any_label_was_ripe_is_an_error() -> None:
    with pytest.raises(DataError, match=r"2024-01-11.*0 ripe rows.*Start later"):
        play(Policy(10), start=np.datetime64("2024-01-11", "us"))


def test_a_start_after_the_last_row_is_an_error() -> None:
    with pytest.raises(DataError, match="no row at or after"):
        play(Policy(10), start=np.datetime64("2025-01-01", "us"))


def test_a_cadence_is_at_least_one() -> None:
    with pytest.raises(DataError, match="every 0"):
        play(Policy(0))


def test_the_replay_starts_after_a_third_of_the_rows_when_enough_were_ripe() -> None:
    dates = [day for day in pd.date_range("2024-01-01", periods=12, freq="MS").strftime("%Y-%m-%d") for _ in range(60)]
    rows = rows_at(dates, np.arange(720) % 2, horizon=30)
    # a third of the rows: four months; on 05-01 all of them are ripe, 240 rows
    assert default_start(rows) == np.datetime64("2024-05-01", "us")
    # with 130 days of settling on top, 240 rows are ripe on 2024-09-08 at the earliest (04-01 + 160 days)
    assert default_start(rows, settle=130) == np.datetime64("2024-10-01", "us")


def test_too_short_a_history_has_no_start() -> None:
    with pytest.raises(DataError, match="200 ripe rows"):
        default_start(ROWS)


def test_a_replay_keeps_the_rows_it_scored() -> None:
    found = replay(ROWS, [Policy(10), Policy(None)], share_of_ones, START)
    assert isinstance(found, Replay)
    assert found.rows.label.tolist() == [0, 0, 1, 1]
    assert found.unit == "days"
    assert found.played[1].moments == (Moment(START, 3, "first"),)
