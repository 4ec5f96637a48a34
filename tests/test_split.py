"""Splits on calendars small enough to see through."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.errors import DataError
from models.split import Folds, deal_groups, make_folds, row_groups, split_test
from models.training_set import TrainingSet


def rows_at(times: Any, label: Any = None, horizon: int = 0, group: Any = None) -> TrainingSet:
    time = np.array(times, dtype="datetime64[us]") if isinstance(times[0], str) else np.array(times)
    label = np.arange(len(time)) % 2 if label is None else label
    return TrainingSet(
        frame=pd.DataFrame({"number": np.arange(len(time), dtype=float)}),
        label=np.array(label, dtype=float),
        time=time,
        horizon=horizon,
        group=None if group is None else np.array(group, dtype=object),
    )


def months(count: int, rows: int = 20, start: str = "2020-01") -> list[str]:
    firsts = pd.date_range(start, periods=count, freq="MS").strftime("%Y-%m-%d")
    return [first for first in firsts for _ in range(rows)]


def test_training_rows_end_a_horizon_before_the_pinned_test_block() -> None:
    rows = rows_at(months(6), horizon=60)
    train, test = split_test(rows, date(2020, 5, 1))
    assert np.unique(test.time).tolist() == [np.datetime64("2020-05-01", "us")]
    # 1 March + 60 days = 30 April; 1 April + 60 days is after 1 May
    assert train.time.max() == np.datetime64("2020-03-01", "us")  # type: ignore[union-attr]


def test_a_horizon_that_ends_exactly_at_the_test_block_is_over() -> None:
    train, _ = split_test(rows_at(months(6), horizon=30), date(2020, 5, 1))
    assert train.time.max() == np.datetime64("2020-04-01", "us")  # type: ignore[union-attr]


def test_the_pinned_block_is_one_month_half_open() -> None:
    rows = rows_at(["2020-01-01"] * 4 + ["2020-03-05"] * 2 + ["2020-04-04"] * 2 + ["2020-04-05"] * 2)
    _, test = split_test(rows, date(2020, 3, 5))
    assert np.unique(test.time).astype(str).tolist() == ["2020-03-05T00:00:00.000000", "2020-04-04T00:00:00.000000"]


def test_the_newest_block_is_the_newest_month_when_it_is_large_enough() -> None:
    _, test = split_test(rows_at(months(6, rows=200), horizon=30))
    assert np.unique(test.time).tolist() == [np.datetime64("2020-06-01", "us")]


def test_a_small_newest_month_reaches_back_while_twice_as_many_rows_stay() -> None:
    train, test = split_test(rows_at(months(12, rows=20)))
    assert (len(train), len(test)) == (160, 80)


def test_a_pinned_block_without_rows_is_an_error() -> None:
    with pytest.raises(DataError, match=r"No ripe rows in the pinned test block \[2021-05-01, 2021-06-01\)"):
        split_test(rows_at(months(6)), date(2021, 5, 1))


def test_a_single_snapshot_cannot_be_split() -> None:
    with pytest.raises(DataError, match="All ripe rows are of one snapshot, expected at least two"):
        split_test(rows_at(months(1)))


def test_a_horizon_that_leaves_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(DataError, match="0 ripe rows end their horizon of 400 before it"):
        split_test(rows_at(months(6), horizon=400))


def begins(rows: TrainingSet, folds: Folds) -> list[tuple[str, str]]:
    time = np.asarray(rows.time)
    return [(str(time[fold.train].max())[:10], str(time[fold.valid].min())[:10]) for fold in folds.folds]


def test_rolling_folds_leave_a_gap_as_long_as_the_horizon() -> None:
    rows = rows_at(months(9), horizon=90)
    found = make_folds(rows)
    assert found.kind == "time"
    assert begins(rows, found) == [
        ("2020-03-01", "2020-06-01"),  # 1 June - 90 days = 3 March
        ("2020-04-01", "2020-07-01"),
        ("2020-05-01", "2020-08-01"),
        ("2020-06-01", "2020-09-01"),
    ]
    assert found.apart == (0, 3)  # June and September: their 90 days do not overlap
    assert found.notes == ()


def test_no_fold_is_fitted_on_a_label_that_was_open_when_the_fold_began() -> None:
    generator = np.random.default_rng(3)
    days = np.sort(generator.integers(0, 400, 600))
    rows = rows_at((np.datetime64("2020-01-01", "us") + days.astype("timedelta64[D]")).astype(str).tolist(), horizon=45)
    time = np.asarray(rows.time)
    found = make_folds(rows)
    assert len(found.folds) == 4
    for fold in found.folds:
        assert time[fold.train].max() + np.timedelta64(45, "D") <= time[fold.valid].min()


def test_every_row_is_predicted_at_most_once() -> None:
    for rows in (rows_at(months(9), horizon=90), rows_at(list(range(500)))):
        valid = np.concatenate([fold.valid for fold in make_folds(rows).folds])
        assert len(valid) == len(set(valid.tolist()))


def test_the_gap_of_an_order_is_counted_in_rows_not_in_its_numbers() -> None:
    rows = rows_at((np.arange(600) * 1000).tolist(), horizon=20)
    time = np.asarray(rows.time)
    for fold in make_folds(rows).folds:
        assert (time[fold.valid].min() - time[fold.train].max()) // 1000 == 20


def test_two_times_are_compared_on_grouped_folds_and_say_so() -> None:
    found = make_folds(rows_at(months(2)))
    assert found.kind == "grouped"
    assert found.notes == ("2 distinct times: candidates were compared on grouped folds.",)


def test_a_gap_that_leaves_one_fold_falls_back_to_grouped_folds_and_says_so() -> None:
    found = make_folds(rows_at(months(4), horizon=90))
    assert found.kind == "grouped"
    assert "A gap of 90 (the horizon) leaves 1 usable time folds" in found.notes[0]


def test_two_time_folds_are_used_and_noted() -> None:
    found = make_folds(rows_at(months(5), horizon=90))
    assert (found.kind, len(found.folds)) == ("time", 2)
    assert found.notes == ("A gap of 90 (the horizon) leaves 2 usable time folds of the training rows.",)


def stretches(rows: TrainingSet, serves: int) -> list[tuple[int, int]]:
    time = np.asarray(rows.time)
    return [(int(time[one.valid].min()), int(time[one.valid].max())) for one in make_folds(rows, serves=serves).folds]


def test_folds_are_as_long_as_a_model_serves_where_that_is_known() -> None:
    order = rows_at(list(range(4_000)))
    assert stretches(order, 500) == [(start, start + 499) for start in (1_000, 1_500, 2_000, 2_500, 3_000, 3_500)]


def test_stretches_that_hold_too_few_rows_are_twice_as_long() -> None:
    # 50 and 100 rows are below 200; of 200 rows each, the newest six are left
    assert stretches(rows_at(list(range(4_000))), 50) == [(start, start + 199) for start in range(2_800, 4_000, 200)]


def test_a_history_too_short_for_three_stretches_is_cut_as_ever() -> None:
    rows = rows_at(months(9), horizon=90)
    assert begins(rows, make_folds(rows, serves=30)) == begins(rows, make_folds(rows))


def test_grouped_folds_keep_a_customer_on_one_side() -> None:
    rows = rows_at(months(1, rows=60), group=[f"C{at // 3}" for at in range(60)])
    group = np.asarray(rows.group)
    found = make_folds(rows)
    assert len(found.folds) == 5
    for fold in found.folds:
        assert not set(group[fold.train]) & set(group[fold.valid])


def test_without_a_group_column_identical_rows_are_one_group() -> None:
    frame = pd.DataFrame({"number": [1.0, 2.0, 1.0, None, None], "text": ["a", "a", "a", "b", "b"]})
    rows = TrainingSet(frame, np.array([0.0, 1.0, 0.0, 1.0, 0.0]))
    codes = row_groups(rows)
    assert codes[0] == codes[2]
    assert codes[3] == codes[4]
    assert len(set(codes.tolist())) == 3


def test_each_grouped_fold_gets_its_share_of_positives() -> None:
    label = np.array([1.0] * 10 + [0.0] * 90)
    fold = deal_groups(np.arange(100), label, 5, seed=0)
    assert np.bincount(fold, weights=label).tolist() == [2.0] * 5


def test_a_single_group_cannot_be_folded() -> None:
    with pytest.raises(DataError, match="All 20 training rows belong to one group"):
        make_folds(rows_at(months(1), group=["C1"] * 20))
