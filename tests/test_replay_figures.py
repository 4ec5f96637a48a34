"""Figures, money and advice of a replay on a few rows, reckoned by hand."""

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.errors import DataError
from models.advice import noise_of, recommend
from models.policy import TRAINED, Moment, Played, Policy, Replay
from models.replay_figures import Contacts, contacted, periods_of, sum_up
from models.training_set import TrainingSet

# entity, time, label, old model, new model
TABLE = [
    ("A", "2024-01-05", 1, 0.8, 0.3),
    ("B", "2024-01-05", 0, 0.6, 0.1),
    ("A", "2024-01-20", 1, 0.9, 0.9),  # the same purchase as A's first row: its horizon overlaps
    ("C", "2024-02-03", 1, 0.2, 0.6),
    ("D", "2024-02-03", 0, 0.4, 0.2),
]
PRICES = Contacts(value_per_event=10.0, cost_per_contact=5.0)  # from 0.5 on a contact pays for itself


def rows_of(time: Any, label: Any, group: Any = None, horizon: int = 0, entity: Any = None) -> TrainingSet:
    return TrainingSet(
        frame=pd.DataFrame({"number": np.zeros(len(label))}),
        label=np.array(label, dtype=float),
        time=np.array(time, dtype="datetime64[us]") if isinstance(time[0], str) else np.array(time),
        horizon=horizon,
        group=None if group is None else np.array(group, dtype=object),
        keys=None if entity is None else pd.DataFrame({"entity_id": entity, "as_of": time}),
    )


def two_models() -> Replay:
    entity, time, label, old, new = zip(*TABLE, strict=True)
    rows = rows_of(time, label, horizon=31, entity=entity)
    played = (
        Played(Policy(None), np.array(old), (Moment(rows.time[0], 9, "first"),)),  # type: ignore[index]
        Played(Policy(30), np.array(new), (Moment(rows.time[3], 9, TRAINED),)),  # type: ignore[index]
    )
    return Replay(rows, rows.time[0], "days", played)  # type: ignore[index]


def test_quality_is_told_per_calendar_month() -> None:
    old, new = sum_up(two_models()).accounts
    assert sum_up(two_models()).names == ("2024-01", "2024-02")
    assert [one.rows for one in old.periods] == [3, 2]
    assert [one.base_rate for one in old.periods] == pytest.approx([2 / 3, 1 / 2])
    assert [one.mean_probability for one in old.periods] == pytest.approx([(0.8 + 0.6 + 0.9) / 3, (0.2 + 0.4) / 2])
    assert [one.auc for one in old.periods] == [1.0, 0.0]  # 0.8 and 0.9 above 0.6; 0.2 below 0.4
    assert [one.log_loss for one in new.periods] == pytest.approx([-log(0.3 * 0.9 * 0.9) / 3, -log(0.6 * 0.8) / 2])
    assert old.overall.profit is None


def test_regret_is_the_loss_above_the_best_of_each_period() -> None:
    old, new = sum_up(two_models()).accounts
    # January: old is best, 0.8 * 0.4 * 0.9 against 0.3 * 0.9 * 0.9. February: new is, 0.6 * 0.8 against 0.2 * 0.6
    assert [one.regret for one in old.periods] == pytest.approx([0.0, log(4) / 2])
    assert [one.regret for one in new.periods] == pytest.approx([log(0.288 / 0.243) / 3, 0.0])
    assert old.overall.regret == pytest.approx(log(4) / 5)  # two of five rows
    assert new.overall.regret == pytest.approx(log(0.288 / 0.243) / 5)


def test_money_counts_an_event_once() -> None:
    old, new = sum_up(two_models(), PRICES).accounts
    # old: A and B on 01-05, A's second row lies within the horizon of the first; nobody in February
    assert [(one.contacts, one.contacted_events, one.profit) for one in old.periods] == [(2, 1, 0.0), (0, 0, 0.0)]
    # new: A on 01-20, C
    assert [(one.contacts, one.contacted_events, one.profit) for one in new.periods] == [(1, 1, 5.0), (1, 1, 5.0)]
    assert (old.overall.profit, new.overall.profit) == (0.0, 10.0)
    assert (old.overall.missed, new.overall.missed) == (10.0, 0.0)


def test_a_contact_is_free_again_when_the_horizon_has_ended() -> None:
    rows = rows_of(["2024-01-01", "2024-01-30", "2024-01-31"], [1, 1, 1], group=["A", "A", "A"], horizon=30)
    period, _ = periods_of(rows)
    assert contacted(rows, np.full(3, 0.9), period, PRICES).tolist() == [True, False, True]  # 01-01 + 30 = 01-31


def test_a_capacity_takes_the_most_probable_of_each_period() -> None:
    rows = two_models().rows
    period, _ = periods_of(rows)
    plan = Contacts(10.0, 1.0, capacity=1)  # from 0.1 on
    assert contacted(rows, np.array([0.8, 0.6, 0.9, 0.2, 0.4]), period, plan).tolist() == [False] * 2 + [
        True,
        False,
        True,
    ]
    assert not contacted(rows, np.full(5, 0.05), period, plan).any()
    assert not contacted(rows, np.full(5, 0.9), period, replace(plan, capacity=0)).any()


def test_a_threshold_of_ones_own_replaces_that_of_the_prices() -> None:
    rows = two_models().rows
    period, _ = periods_of(rows)
    plan = Contacts(10.0, 5.0, threshold=0.85)
    assert contacted(rows, np.array([0.8, 0.6, 0.9, 0.2, 0.4]), period, plan).sum() == 1
    assert Contacts(0.0, 5.0).line == float("inf")


def test_negative_prices_are_an_error() -> None:
    with pytest.raises(DataError, match="0 or more"):
        Contacts(10.0, -1.0)


def test_an_order_is_cut_into_equal_periods_and_its_rows_are_all_different_people() -> None:
    rows = rows_of([7, 8, 9, 10, 11], [1, 0, 1, 0, 1], group=["A"] * 5, horizon=3)
    period, names = periods_of(rows, 2)
    assert (period.tolist(), names) == ([0, 0, 1, 1, 2], ("7 to 8", "9 to 10", "11 to 11"))
    assert contacted(rows, np.full(5, 0.9), period, PRICES).all()


def many(*losses: tuple[Policy, int, float, float], periods: int = 4, rows: int = 100) -> Replay:
    """Policies that give each label the same probability: one in even periods, one in odd ones."""
    label = np.tile([1.0, 0.0], periods * rows // 2)
    odd = np.repeat(np.arange(periods) % 2, rows)
    played = []
    for policy, trainings, even_p, odd_p in losses:
        sure = np.where(odd == 1, odd_p, even_p)
        moments = tuple(Moment(at, 10, TRAINED) for at in range(trainings))
        played.append(Played(policy, np.where(label == 1, sure, 1 - sure), moments))
    return Replay(rows_of(list(range(len(label))), label), 0, "rows", tuple(played))


def test_the_cheapest_policy_within_noise_of_the_best_is_recommended() -> None:
    # 50 wins in even periods what it loses in odd ones against 25: noise. Never loses always.
    found = many((Policy(None), 0, 0.6, 0.6), (Policy(50), 4, 0.8, 0.7), (Policy(25), 8, 0.7, 0.81))
    advice = recommend(sum_up(found, period_length=100))
    assert advice.place == 1
    assert advice.sentence.startswith("Recommended: retrain every 50 rows (log loss 0.2899, AUC 1.000; 4 trainings)")
    assert "the cheapest cadence within noise of the best, every 25 rows" in advice.sentence
    assert "Without retraining: log loss 0.5108" in advice.sentence
    assert "400 rows (200 events) of 4 periods, 0 to 399" in advice.sentence


def test_a_dearer_policy_is_recommended_where_it_is_better_beyond_noise() -> None:
    found = many((Policy(None), 0, 0.6, 0.6), (Policy(50), 4, 0.7, 0.7), (Policy(25), 8, 0.8, 0.79))
    assert recommend(sum_up(found, period_length=100)).place == 2


def test_a_difference_of_no_use_is_not_paid_for() -> None:
    # 25 is always better, by log(0.801 / 0.8) = 0.00125; of use are 0.5 % of log(2) = 0.0035
    found = many((Policy(None), 0, 0.6, 0.6), (Policy(50), 4, 0.8, 0.8), (Policy(25), 8, 0.801, 0.801))
    assert recommend(sum_up(found, period_length=100)).place == 1


def test_at_the_price_of_a_cadence_within_noise_the_lowest_loss_is_recommended() -> None:
    # against 25, 50 is 0.288 worse in even periods and 0.118 better in odd ones: 0.085, one error is 0.117.
    # 50 on the last 200 is always 0.051 worse, which is beyond noise, and yet better than 50 at the same price
    played = (Policy(25), 8, 0.8, 0.8), (Policy(50), 4, 0.6, 0.9), (Policy(50, window=200), 4, 0.76, 0.76)
    assert recommend(sum_up(many(*played), period_length=100)).place == 2
    assert recommend(sum_up(many(played[0], played[2]), period_length=100)).place == 0


def test_the_kind_of_gate_in_use_is_kept_and_the_other_one_told() -> None:
    gated, free = Policy(50, gate=True), Policy(50)
    found = many((Policy(None), 0, 0.6, 0.6), (gated, 4, 0.7, 0.7), (free, 4, 0.8, 0.8))
    advice = recommend(sum_up(found, period_length=100), gate=True)
    assert advice.place == 1
    assert "Without a gate, every 50 rows: log loss 0.2231" in advice.sentence
    assert "With a gate, every 50 rows, gated: log loss 0.3567" in recommend(sum_up(found, period_length=100)).sentence


def test_no_schedule_is_recommended_where_retraining_changes_nothing() -> None:
    found = many((Policy(None), 0, 0.7, 0.7), (Policy(50), 4, 0.7, 0.7))
    advice = recommend(sum_up(found, PRICES, period_length=100))
    assert advice.place == 0
    assert advice.sentence.startswith("Recommended: do not retrain on a schedule (log loss 0.3567")
    assert "A schedule, every 50 rows: log loss 0.3567" in advice.sentence


def test_the_gain_is_told_in_money() -> None:
    # never: 0.45 for ones, 0.55 for the others: 200 contacts, no event, -1,000; every 50: 200 events, +1,000
    found = many((Policy(None), 0, 0.45, 0.45), (Policy(50), 4, 0.9, 0.9))
    assert "would have brought +2,000 CHF" in recommend(sum_up(found, PRICES, period_length=100), "CHF").sentence


def test_too_little_history_is_no_ground_for_advice() -> None:
    found = many((Policy(None), 0, 0.6, 0.6), (Policy(50), 4, 0.7, 0.7), periods=2)
    advice = recommend(sum_up(found, period_length=100))
    assert advice.place is None
    assert "200 rows (100 events) of 2 periods" in advice.sentence


def test_rows_of_one_period_are_not_taken_for_independent() -> None:
    difference = np.repeat([1.0, -1.0], 50)
    # by row 1 / sqrt(100); the two periods' sums are +50 and -50: sqrt(5,000) / 100, times sqrt(2 / 1)
    assert noise_of(difference, None, np.tile([0, 1], 50)) == pytest.approx(0.1)
    assert noise_of(difference, None, np.repeat([0, 1], 50)) == pytest.approx(1.0)


def test_a_summary_is_ready_for_json() -> None:
    document = sum_up(two_models(), PRICES).to_json()
    assert document["periods"] == ["2024-01", "2024-02"]
    assert document["policies"][1]["name"] == "every 30 days"
    assert document["policies"][1]["moments"] == [
        {"at": "2024-02-03T00:00:00.000000", "rows": 9, "outcome": "trained", "why": ""}
    ]
