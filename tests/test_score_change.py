"""What moved a score: parts that are known by hand, one at a time and all at once."""

import math
from typing import Any

import pandas as pd
import pytest

from models.errors import BundleError
from models.predict import Bundle
from pipeline.score_change import Split, split_change, sum_to


def make_bundle(intercept: float = 1.0, per_day: float = 1 / 64, shift: float = 0.0, slope: float = 1.0) -> Bundle:
    """Log-odds = shift + slope * (intercept + per_day * days - orders / 2)."""
    terms = [
        {"column": "days", "kind": "number", "knots": [0, 1024], "values": [0, 1024 * per_day], "missing": 0},
        {"column": "orders", "kind": "number", "knots": [0, 16], "values": [0, -8], "missing": 0},
    ]
    model = {
        "columns": [{"name": name, "kind": "number"} for name in ("days", "orders")],
        "calibrator": {"kind": "sigmoid", "intercept": shift, "slope": slope},
        "members": [{"kind": "linear", "weight": 1.0, "intercept": intercept, "terms": terms}],
    }
    return Bundle({}, model, {})


def row(days: float, orders: float) -> pd.DataFrame:
    return pd.DataFrame({"days": [days], "orders": [orders]})


BEFORE = row(64, 2)  # 1 + 1 - 1 = 1
WAITED = row(72, 2)  # eight days later and nothing happened: 1.125
AFTER = row(0, 3)  # eight days later they had just ordered: -0.5
OLD = make_bundle()


def parts_of(split: Split) -> list[float | None]:
    return [split.parts[name] for name in ("time", "data", "model", "calibration")]


@pytest.mark.parametrize(
    ("new", "after", "aged", "expected"),
    [
        # nothing but time: 8 days at 1/64
        (OLD, WAITED, WAITED, [0.125, 0, 0, 0]),
        # nothing but data: seen at the same moment, a correction took an order away
        (OLD, row(64, 1), BEFORE, [0, 0.5, 0, 0]),
        # both: an order came, so the days begin anew; without it they would have grown
        (OLD, AFTER, WAITED, [0.125, -1.625, 0, 0]),
        # nothing but the model: the same row, another intercept
        (make_bundle(intercept=1.75), BEFORE, BEFORE, [0, 0, 0.75, 0]),
        # nothing but the calibrator: half the slope and a shift: 0.25 + 0.5 * 1 - 1
        (make_bundle(shift=0.25, slope=0.5), BEFORE, BEFORE, [0, 0, 0, -0.25]),
    ],
)
def test_each_part_is_what_its_own_step_makes(
    new: Bundle, after: pd.DataFrame, aged: pd.DataFrame, expected: list[float]
) -> None:
    assert parts_of(split_change(OLD, new, BEFORE, after, aged)) == expected


def test_all_at_once_is_a_path_from_the_old_score_to_the_new_one() -> None:
    old, new = make_bundle(slope=2.0), make_bundle(shift=0.25, slope=0.5, intercept=1.75, per_day=1 / 32)
    split = split_change(old, new, BEFORE, AFTER, WAITED)
    assert parts_of(split) == [
        0.25,  # (1.125 - 1) * 2
        -3.25,  # (-0.5 - 1.125) * 2
        1.5,  # the new members say 0.25 of AFTER, the old ones -0.5, under the old slope of 2
        -0.125,  # 0.25 + 0.5 * 0.25 instead of 2 * 0.25
    ]
    assert split.log_odds == -1.625  # from 2 to 0.375


def test_the_moves_of_the_features_sum_to_time_and_data() -> None:
    split = split_change(OLD, OLD, BEFORE, AFTER, WAITED)
    assert [(one.name, one.before, one.after, one.time, one.data) for one in split.moves] == [
        ("days", 64.0, 0.0, 0.125, -1.125),
        ("orders", 2.0, 3.0, 0.0, -0.5),
    ]


def test_time_that_is_not_known_is_part_of_data() -> None:
    split = split_change(OLD, OLD, BEFORE, AFTER, None)
    assert parts_of(split) == [None, -1.5, 0, 0]
    assert [(one.time, one.data) for one in split.moves] == [(None, -1.0), (None, -0.5)]


def test_a_column_that_the_old_model_reads_and_nobody_builds_any_more_is_named() -> None:
    with pytest.raises(BundleError, match="Column 'orders' is missing"):
        split_change(OLD, OLD, BEFORE, AFTER[["days"]], None)


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
def test_the_parts_sum_to_the_change_to_the_last_bit_but_one(scale: float) -> None:
    steps: dict[str, Any] = {"time": 0.1 * scale, "data": -0.7, "model": 1 / 3, "calibration": 1e-12}
    total = math.fsum(steps.values()) * (1 + 1e-15)
    assert math.fsum(sum_to(total, steps).values()) == pytest.approx(total, rel=1e-15, abs=1e-16)
