"""Drift is answered by what the training rows show out of time: columns that moved away, levels that are followed."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.drift import choose_gain, distance, moved_columns, newest_level
from models.encoding import code_rows, make_contract
from models.newest import newest_rows
from models.predict import to_probability
from models.recipe import Choice, RecipeSettings, evaluate, fit_choice
from models.split import block_horizons, make_folds
from models.training_set import TrainingSet

DAY = np.datetime64("2024-01-01", "us") + np.arange(10) * np.timedelta64(10, "D")


def in_order(levels: list[float], rows: int = 400, seed: int = 0, **columns: Any) -> TrainingSet:
    """Rows of twelve blocks in order; the outcome follows x and the level of its block."""
    generator = np.random.default_rng(seed)
    count = rows * len(levels)
    x = generator.normal(size=count)
    truth = to_probability(x - 1.0 + np.repeat(levels, rows))
    frame = pd.DataFrame({"x": x, **columns})
    return TrainingSet(frame, (generator.random(count) < truth).astype(float), np.arange(count))


def test_distance_of_numbers_counts_missing_values_as_lowest() -> None:
    earlier, later = np.array([np.nan, np.nan, 1.0, 2.0]), np.array([1.0, 2.0, 1.0, 2.0])
    assert distance(earlier, later) == 0.5  # half of the earlier values are missing, none of the later ones


def test_distance_of_text_is_half_the_sum_of_the_differences_of_shares() -> None:
    assert distance(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2])) == 0.5  # shares .5 .5 0 against .25 .25 .5
    assert distance(np.array([0, 1]), np.array([-2, -2])) == 1.0  # all later levels were never met


def test_many_rare_levels_are_compared_as_one() -> None:
    generator = np.random.default_rng(0)
    earlier, later = (generator.integers(0, 5000, 500) for _ in range(2))
    assert distance(earlier, later) < 0.15  # although hardly a level occurs in both


def test_a_column_that_runs_with_time_has_moved_and_a_steady_one_has_not() -> None:
    count = 4800
    rows = in_order([0.0] * 12, clock=np.arange(count, dtype=float), month=[f"m{at // 400}" for at in range(count)])
    coded = code_rows(rows, make_contract(rows.frame))
    assert moved_columns(coded, make_folds(rows)) == ["clock", "month"]


def test_blocks_know_only_those_that_ended_a_horizon_before() -> None:
    # Days 0, 10, ... 90 and a horizon of 25 days: day 30 may learn from day 0 (ended on day 25), not from day 10.
    found = block_horizons(TrainingSet(pd.DataFrame({"x": np.arange(10.0)}), np.zeros(10), DAY, 25))
    assert found is not None
    assert found[0].tolist() == list(range(10))
    assert found[1] == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7]


def test_a_horizon_that_ends_when_a_block_begins_is_known_to_it() -> None:
    found = block_horizons(TrainingSet(pd.DataFrame({"x": np.arange(10.0)}), np.zeros(10), DAY, 20))
    assert found is not None
    assert found[1][:4] == [0, 0, 1, 2]  # day 20 may learn from day 0: its label settled at the very moment


def test_three_blocks_say_nothing_about_levels() -> None:
    assert block_horizons(TrainingSet(pd.DataFrame({"x": np.arange(3.0)}), np.zeros(3), DAY[:3], 0)) is None


def test_a_level_that_walks_is_followed_and_one_that_stays_is_not() -> None:
    walking, staying = in_order([0.2 * at for at in range(12)]), in_order([0.0] * 12)
    assert choose_gain(walking, walking.frame["x"].to_numpy() - 1.0) == 1.0
    assert choose_gain(staying, staying.frame["x"].to_numpy() - 1.0) == 0.0


def test_a_level_that_jumps_up_and_down_is_not_followed() -> None:
    rows = in_order([0.5, -0.5] * 6)
    assert choose_gain(rows, rows.frame["x"].to_numpy() - 1.0) == 0.0


def test_a_followed_level_moves_the_model_and_its_interval() -> None:
    rows = in_order([0.0] * 6 + [1.5] * 6)
    interval = {"log_odds": [0.0], "low": [0.1, 0.4], "high": [0.6, 0.9]}
    choice = Choice("logistic", {"ramps": 0, "penalty": 1.0}, {"kind": "identity"}, interval)
    still = fit_choice(choice, rows)
    moved = fit_choice(Choice(choice.name, choice.setting, choice.calibrator, interval, gain=1.0), rows)
    level = newest_level(rows, still.bundle.raw_log_odds(rows.frame), 1.0)
    assert level == pytest.approx(0.75, abs=0.25)  # the model sits half way between the old level and the newest
    assert moved.bundle.log_odds(rows.frame) == pytest.approx(still.bundle.log_odds(rows.frame) + level)
    assert moved.model["interval"]["log_odds"] == pytest.approx([level])
    assert moved.model["interval"]["low"][1] > 0.4


def test_undated_rows_have_no_newest_ones() -> None:
    rows = in_order([0.0] * 4)
    undated = TrainingSet(rows.frame, rows.label)
    assert newest_rows(code_rows(undated, make_contract(undated.frame)), 0.5) is None


def test_the_newest_half_is_the_later_rows_and_keeps_one_time_together() -> None:
    rows = in_order([0.0] * 4)
    months = TrainingSet(rows.frame, rows.label, np.arange(1600) // 600)  # 600, 600 and 400 rows
    kept = newest_rows(code_rows(months, make_contract(months.frame)), 0.5)
    assert kept is not None
    assert len(kept) == 1000  # the half begins within the second time, which stays whole


def test_too_few_newest_rows_are_not_taken_alone() -> None:
    rows = in_order([0.0] * 4, rows=90)
    assert newest_rows(code_rows(rows, make_contract(rows.frame)), 0.25) is None


def test_the_recipe_leaves_out_what_moved_says_so_and_scores_without_it() -> None:
    train, test = in_order([0.0] * 12), in_order([0.0] * 2, seed=1)
    clock = TrainingSet(train.frame.assign(clock=np.arange(4800.0)), train.label, train.time)
    found = evaluate(clock, TrainingSet(test.frame.assign(clock=6000.0), test.label), RecipeSettings(resamples=0))
    assert found.choice.left_out == ("clock",)
    assert any("other values than earlier ones in clock" in note for note in found.notes)
    assert "clock" not in [entry["name"] for entry in found.fitted.model["columns"]]
    assert len(found.fitted.bundle.predict(test.frame)) == len(test)
