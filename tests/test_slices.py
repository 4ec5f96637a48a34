"""Slices, partial dependence, directions and profit on tables small enough to work out by hand."""

import numpy as np
import pandas as pd
import pytest

from models.feature_use import measure_features
from models.partial_dependence import partial_dependence, sample_rows
from models.predict import Bundle, to_probability
from models.profit import measure_profit, profit_curve
from models.slices import cut_by_level, cut_by_size, measure_slice, measure_slices

AGE = {"column": "age", "kind": "number", "knots": [0.0, 10.0], "values": [-1.0, 1.0], "missing": 0.5}
REGION = {"column": "region", "kind": "text", "values": [0.0, 2.0], "unseen": 0.0, "missing": -1.0}
BUNDLE = Bundle(
    {},
    {
        "columns": [
            {"name": "age", "kind": "number"},
            {"name": "region", "kind": "text", "categories": ["east", "west"]},
        ],
        "calibrator": {"kind": "identity"},
        "members": [{"weight": 1.0, "kind": "linear", "intercept": 0.0, "terms": [AGE, REGION]}],
    },
    {},
)
"""Log-odds: -1 at age 0 to 1 at age 10 (0.5 if not known), plus 2 in the west (-1 if not known)."""
FRAME = pd.DataFrame({"age": [0.0, 10.0, np.nan, 5.0], "region": ["east", "west", "west", None]})


def test_rare_levels_are_one_slice_and_missing_values_another() -> None:
    cut = cut_by_level(pd.Series(["a"] * 3 + ["b"] * 2 + ["c", "d", None]), shown=2, least=2)
    assert cut.value_counts(sort=False).to_dict() == {"a": 3, "b": 2, "2 others": 2, "not known": 1}


def test_one_single_rare_level_keeps_its_name() -> None:
    assert cut_by_level(pd.Series(["a", "a", "b"]), shown=1, least=1).tolist() == ["a", "a", "b"]


def test_a_number_of_one_value_is_one_slice() -> None:
    assert cut_by_size(pd.Series([3.0, 3.0, np.nan])).tolist() == ["all that is known"] * 2 + ["not known"]


def test_parts_of_a_number_hold_their_upper_end() -> None:
    assert cut_by_size(pd.Series(np.arange(1.0, 9.0)), parts=4).tolist() == [
        *["up to 2.75"] * 2,  # quartiles of 1 to 8 are 2.75, 4.5 and 6.25
        *["2.75 to 4.5"] * 2,
        *["4.5 to 6.25"] * 2,
        *["above 6.25"] * 2,
    ]


def test_the_interval_of_a_slice_is_1_96_standard_errors_of_independent_rows() -> None:
    label = np.repeat([1.0, 0.0], 50)
    one = measure_slice("region", "west", label, np.full(100, 0.5), np.arange(100))
    # sqrt(100 x 0.25) / 100 = 0.05, and rows of one each give the same between groups
    assert one.interval == pytest.approx((0.5 - 1.96 * 0.05, 0.5 + 1.96 * 0.05), abs=1e-4)
    assert (one.rows, one.events, one.observed, one.predicted) == (100, 50, 0.5, 0.5)
    assert not one.is_off
    assert one.auc == 0.5


def test_rows_of_one_customer_count_as_one_piece_of_evidence() -> None:
    label = np.repeat([1.0, 0.0], 50)  # two customers, one of each kind
    one = measure_slice("region", "west", label, np.full(100, 0.5), np.repeat([0, 1], 50))
    assert one.interval == (0.0, 1.0)  # the error of a mean of two is 0.5 / sqrt(2), and 1.96 of these reach further


def test_a_slice_of_one_class_has_rates_and_no_auc() -> None:
    one = measure_slice("region", "west", np.zeros(60), np.full(60, 0.3), np.arange(60))
    assert (one.auc, one.auc_interval, one.log_loss, one.is_small) == (None, None, None, True)
    assert one.is_off  # 0 of 60 at 30 %: 0 + 1.96 x 0.059 is below 0.3


def test_a_cut_of_one_level_is_no_slice() -> None:
    cuts = {"same": cut_by_level(pd.Series(["a"] * 4), least=1), "two": cut_by_level(pd.Series(list("aabb")), least=1)}
    found = measure_slices(cuts, np.array([1.0, 0, 1, 0]), np.full(4, 0.5), np.arange(4))
    assert [(one.by, one.level, one.rows) for one in found] == [("two", "a", 2), ("two", "b", 2)]


def test_partial_dependence_is_the_mean_over_rows_with_the_column_set() -> None:
    found = partial_dependence(BUNDLE, FRAME, "region")
    ages = np.array([-1.0, 1.0, 0.5, 0.0])
    assert found.grid == ("west", "east")
    assert found.means == pytest.approx([to_probability(ages + 2).mean(), to_probability(ages).mean()])
    assert found.shares == (0.5, 0.25)
    assert found.missing_share == 0.25
    assert found.missing_mean == pytest.approx(to_probability(ages - 1).mean())


def test_partial_dependence_on_a_number_follows_its_curve() -> None:
    found = partial_dependence(BUNDLE, FRAME, "age")
    regions = np.array([0.0, 2.0, 2.0, -1.0])
    curve = np.interp(found.grid, [0, 10], [-1, 1])
    assert found.means == pytest.approx([to_probability(value + regions).mean() for value in curve])
    assert sum(found.shares) == pytest.approx(1)
    assert found.missing_mean == pytest.approx(to_probability(0.5 + regions).mean())


def test_a_column_without_values_has_no_grid() -> None:
    found = partial_dependence(BUNDLE, FRAME.assign(age=np.nan), "age")
    assert (found.grid, found.means, found.missing_share, found.span) == ((), (), 1.0, 0.0)


def test_a_sample_keeps_the_order_of_rows_and_its_seed() -> None:
    rows = pd.DataFrame({"age": np.arange(1000.0)})
    drawn = sample_rows(rows, 10, seed=1)["age"]
    assert drawn.is_monotonic_increasing
    assert (
        drawn.tolist() == sample_rows(rows, 10, seed=1)["age"].tolist() != sample_rows(rows, 10, seed=2)["age"].tolist()
    )


def test_features_are_ranked_and_point_one_way() -> None:
    age, region = measure_features(BUNDLE, pd.concat([FRAME] * 10, ignore_index=True))[::-1]
    # mean absolute terms: age (1 + 1 + 0.5 + 0) / 4, region (0 + 2 + 2 + 1) / 4
    assert (age.name, region.name) == ("age", "region")
    assert age.share == pytest.approx(2.5 / 7.5)
    assert (age.direction, age.rank_correlation) == ("up", pytest.approx(1.0))
    assert (region.direction, region.for_levels, region.against_levels) == ("levels", ("west",), ())
    assert (age.missing_share, region.missing_share) == (0.25, 0.25)


def test_profit_counts_events_at_their_value_and_contacts_at_their_cost() -> None:
    label, probability = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.9, 0.6, 0.6, 0.1])
    curve = profit_curve(label, probability, 10, 3)
    assert curve.to_numpy().tolist() == [[0, 0], [1, 7], [3, 11], [4, 8]]  # rows of 0.6 are contacted together
    found = measure_profit(label, probability, np.arange(4), 10, 3)
    assert (found.threshold, found.contacted, found.profit) == (0.3, 3, 11)
    assert (found.best_contacted, found.best_profit, found.all_profit) == (3, 11, 8)
    # gains 7, -3, 7, 0 around their mean 2.75: error of the sum is the root of the squared differences
    half = 1.96 * np.sqrt(4.25**2 + 5.75**2 + 4.25**2 + 2.75**2)
    assert found.interval == pytest.approx((11 - half, 11 + half), abs=1e-2)


def test_where_no_contact_pays_nobody_is_the_best_choice() -> None:
    found = measure_profit(np.array([0.0, 1.0]), np.array([0.2, 0.1]), np.arange(2), 10, 9)
    assert (found.contacted, found.profit, found.best_contacted, found.best_profit) == (0, 0.0, 0, 0.0)
