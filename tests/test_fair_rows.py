"""Rows on which two models may be compared, in tables of months with the answer beside them."""

import numpy as np
import pandas as pd
import pytest

from models.fair_rows import newest_window, split_fair
from models.training_set import TrainingSet


def make_rows(horizon: int = 30, **months: int) -> TrainingSet:
    """So many rows on the first of each month of 2024 (`jan=100`), every fourth with label 1."""
    names = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug")
    days = [np.datetime64(f"2024-{names.index(name) + 1:02}-01", "us") for name in months]
    time = np.repeat(days, list(months.values()))
    label = (np.arange(len(time)) % 4 == 0).astype(float)
    return TrainingSet(pd.DataFrame({"x": np.zeros(len(time))}), label, time, horizon)


def months_of(rows: TrainingSet, mask: np.ndarray) -> list[str]:
    return sorted({str(moment)[:7] for moment in np.asarray(rows.time)[mask]})


JANUARY = np.datetime64("2024-01-01", "us")


def test_rows_are_fair_a_horizon_after_the_champions_last_and_the_newer_half_is_the_block():
    rows = make_rows(jan=300, feb=300, mar=300, apr=300, may=300, jun=300)
    split = split_fair(rows, JANUARY)
    assert split.shortage is None
    # fair from 01-31 on: feb to jun, 1,500 rows; 750 of them begin inside april
    assert months_of(rows, split.block) == ["2024-04", "2024-05", "2024-06"]
    # 03-01 + 30 days = 03-31 <= 04-01
    assert months_of(rows, split.train) == ["2024-01", "2024-02", "2024-03"]


def test_no_label_of_either_model_reaches_into_the_block():
    rows = make_rows(horizon=60, jan=300, feb=300, mar=300, apr=300, may=300, jun=300)
    split = split_fair(rows, JANUARY)
    # 01-01 + 60 days = 03-01 (a leap year): fair are mar to jun, the newer half may and jun
    assert months_of(rows, split.block) == ["2024-05", "2024-06"]
    assert months_of(rows, split.train) == ["2024-01", "2024-02", "2024-03"]  # 03-01 + 60 days = 04-30


def test_the_block_reaches_back_for_enough_rows_but_not_to_what_the_champion_knows():
    rows = make_rows(jan=300, feb=100, mar=90, apr=80)
    split = split_fair(rows, JANUARY)
    # the newer half of 270 would be mar and apr, 170 rows
    assert months_of(rows, split.block) == ["2024-02", "2024-03", "2024-04"]
    assert months_of(rows, split.train) == ["2024-01"]


def test_the_block_reaches_back_for_enough_of_each_label():
    rows = make_rows(jan=300, feb=300, mar=300)
    label = rows.label.copy()
    label[np.asarray(rows.time) == np.datetime64("2024-03-01")] = 0.0
    split = split_fair(TrainingSet(rows.frame, label, rows.time, 30), JANUARY)
    assert months_of(rows, split.block) == ["2024-02", "2024-03"]


@pytest.mark.parametrize(
    ("months", "expected"),
    [
        (
            {"jan": 300},
            (
                r"^The live model learned from rows up to 2024-01-01, whose labels reach 30 days further\. Since then "
                r"0 rows became ripe, 0 of them with label 1; a comparison takes 200 rows with 20 of each label\.$"
            ),
        ),
        ({"jan": 300, "feb": 199}, r"Since then 199 rows became ripe, 50 of them with label 1"),
        ({"feb": 300}, r"begin at 2024-02-01, and the 0 rows whose horizon of 30 days ends before that do not hold"),
    ],
)
def test_too_few_rows_are_told_in_a_sentence(months: dict[str, int], expected: str):
    split = split_fair(make_rows(**months), JANUARY)
    assert pd.Series([split.shortage]).str.contains(expected).all()
    assert not split.block.any()
    assert not split.train.any()


def test_a_window_is_counted_back_from_the_newest_row():
    rows = make_rows(jan=1, feb=1, mar=1, apr=1)
    # (04-01 - 31 days, 04-01] begins after 03-01
    assert months_of(rows, np.ones(4, dtype=bool)) == ["2024-01", "2024-02", "2024-03", "2024-04"]
    for days, count in ((31, 1), (32, 2), (1000, 4), (None, 4)):
        assert len(newest_window(rows, days)) == count
