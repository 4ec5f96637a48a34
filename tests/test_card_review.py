"""The review of a card: information values by hand, and verdicts on criteria whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from review_cards import card_of, criterion

from features.errors import DataError
from models.card_review import review_card, wanted
from models.information_value import (
    bin_values,
    bins_for,
    count_by_group,
    effect_of,
    found_real,
    information_value,
    intervals_of,
    wilson,
)

ROWS = 400


def rows_of(**columns: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(columns)


@pytest.fixture(scope="module")
def world() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """400 customers: of `tells` 0 to 3 a share of 20, 30, 60 and 70 % is good; `null` says nothing, exactly."""
    number = np.arange(ROWS)
    tells = (number % 4).astype(float)
    good = ((number // 4) % 10 < np.array([2, 3, 6, 7])[number % 4]).astype(float)
    null = ((number // 40) % 2).astype(float)
    return rows_of(tells=tells, null=null, against=-tells, level=np.array(list("wxyz"))[number % 4]), good, number


def test_the_information_value_of_two_bins_is_that_of_the_formula():
    # shares of the good 30/50 and 20/50, of the bad 10/50 and 40/50: 0.4 ln 3 + (-0.4) ln 0.5
    value = information_value(np.array([30.0, 20.0]), np.array([10.0, 40.0]))
    assert value == pytest.approx(0.4 * np.log(3) + 0.4 * np.log(2))


def test_a_bin_without_bad_rows_counts_with_half_a_row_of_each():
    # (10.5, 10) and (0.5, 10): shares 10.5/20.5, 10/20.5 against 0.5/10.5, 10/10.5
    good, bad = np.array([10.5, 10.0]) / 20.5, np.array([0.5, 10.0]) / 10.5
    expected = float(((good - bad) * np.log(good / bad)).sum())
    assert information_value(np.array([10.0, 10.0]), np.array([0.0, 10.0])) == pytest.approx(expected)


def test_an_interval_of_no_hits_in_ten_begins_at_zero_and_ends_where_wilson_says():
    low, high = wilson(np.array([0.0, 0.0]), np.array([10.0, 0.0]))
    assert low.tolist() == [0.0, 0.0]
    assert high[0] == pytest.approx(3.8415 / 13.8415, abs=1e-4)  # z^2 / (n + z^2)
    assert high[1] == pytest.approx(1.0)  # no rows: anything is possible


def test_chance_gives_bins_of_independent_rows_about_what_the_formula_says():
    # (bins - 1) (1 / good + 1 / bad) = 4 (1/50 + 1/50)
    good = np.arange(100) % 2 * 1.0
    bins = np.random.default_rng(1).integers(0, 5, 100)
    assert effect_of(count_by_group(bins, good, np.arange(100), 100)).chance == pytest.approx(0.16, rel=0.15)


def test_rows_of_one_customer_are_one_piece_of_evidence(world):
    frame, good, group = world
    bins = bin_values(frame["tells"])
    once = effect_of(count_by_group(bins, good, group, ROWS))
    tenfold = effect_of(count_by_group(np.repeat(bins, 10), np.repeat(good, 10), np.repeat(group, 10), ROWS))
    assert (tenfold.p_value, tenfold.chance) == pytest.approx((once.p_value, once.chance))


def test_an_interval_holds_the_value_and_is_wider_for_fewer_customers(world):
    frame, good, group = world
    counts = count_by_group(bin_values(frame["tells"]), good, group, ROWS)
    few = counts[:100]
    effects = [effect_of(counts), effect_of(few)]
    (low, high), (low_few, high_few) = intervals_of([counts], effects[:1], 0) + intervals_of([few], effects[1:], 0)
    assert low < effects[0].value < high
    assert high_few - low_few > high - low


def test_bins_keep_equal_numbers_together_and_are_fewer_where_outcomes_are_rare():
    zeros = pd.Series([0.0] * 80 + list(range(1, 21)))
    bins = bin_values(zeros)
    assert set(bins[:80]) == {0}
    assert bins_for(np.array([1.0] * 30 + [0.0] * 500), np.arange(530)) == 2  # 15 customers of the rarer outcome each
    assert bins_for(np.array([1.0] * 29 + [0.0] * 500), np.arange(529)) == 1


def test_of_many_p_values_those_are_real_that_a_line_through_them_passes():
    # 0.04 is above 0.05 * 3 / 4, but 0.05 * 4 / 4 passes the fourth and all before it
    assert found_real([0.04, 0.001, 0.045, 0.02]) == [True, True, True, True]
    assert found_real([0.04, 0.001, 0.06, 0.04]) == [False, True, False, False]
    assert found_real([]) == []


def test_a_criterion_that_tells_matters_and_one_that_says_nothing_does_not(world):
    frame, good, group = world
    card = card_of(criterion("tells"), criterion("null"))
    found = review_card(card, frame, good, group)
    assert (found["tells"].verdict, found["tells"].direction, found["tells"].shape) == ("matters", 1, "rises")
    assert found["tells"].low > 0.1
    assert (found["null"].verdict, found["null"].direction, found["null"].value) == ("no effect", 0, 0.0)
    assert (found.rows, found.groups, found.good) == (400, 400, 180)


def test_points_that_rise_where_outcomes_fall_point_the_wrong_way(world):
    frame, good, group = world
    found = review_card(card_of(criterion("against", cut=-1.5), criterion("null")), frame, good, group)["against"]
    assert (found.verdict, found.direction, found.points_direction) == ("points the wrong way", -1, -1)


def test_texts_have_no_direction_of_their_own_but_their_points_have_one(world):
    frame, good, group = world
    bands = [{"in": ["w", "x"], "points": 0}, {"in": ["y"], "points": 90}]
    texts = criterion("level", bands=bands, otherwise=100)
    found = review_card(card_of(texts, criterion("null")), frame, good, group)["level"]
    assert (found.verdict, found.direction, found.points_direction) == ("matters", None, 1)


def test_texts_that_differ_in_case_and_blanks_are_one_level(world):
    frame, good, group = world
    bands = [{"in": ["w", "x"], "points": 0}, {"in": ["y"], "points": 90}]
    card = card_of(criterion("level", bands=bands, otherwise=100), criterion("null"))
    shouted = frame.assign(level=frame["level"].where(group % 3 > 0, frame["level"].str.upper() + " "))
    assert review_card(card, shouted, good, group)["level"] == review_card(card, frame, good, group)["level"]


def test_what_came_is_told_by_the_points_of_today(world):
    frame, good, group = world
    bands = review_card(card_of(criterion("tells"), criterion("null")), frame, good, group)["tells"].bands
    # below 1.5: 20 and 30 % of 100 rows each; above: 60 and 70 %
    assert [(one.points, one.rows, one.good, one.rate) for one in bands] == [(0, 200, 50, 0.25), (100, 200, 130, 0.65)]
    assert bands[0].low < 0.25 < bands[0].high


def test_that_a_value_is_missing_is_no_evidence_about_the_values(world):
    frame, good, group = world
    missing = frame.assign(null=frame["null"].where(good > 0.5))  # known for all the good ones and nobody else
    found = review_card(card_of(criterion("tells"), criterion("null")), missing, good, group)["null"]
    assert (found.verdict, found.coverage) == ("too few rows", 0.45)


def test_a_feature_that_nobody_has_gets_no_verdict(world):
    frame, good, group = world
    found = review_card(card_of(criterion("tells"), criterion("gone")), frame, good, group)["gone"]
    assert (found.verdict, found.rows, found.bands[0].points) == ("too few rows", 0, 40)


def test_nine_of_ten_criteria_that_say_nothing_are_not_taken_for_more_though_rows_come_in_customers():
    generator = np.random.default_rng(5)
    group = np.repeat(np.arange(300), 4)
    luck = np.repeat(generator.random(300), 4)  # customers differ, so their rows are alike
    good = (generator.random(1200) < luck).astype(float)
    names = [f"null{at}" for at in range(60)]
    frame = pd.DataFrame({name: np.repeat(generator.normal(size=300), 4) for name in names}).assign(tells=luck)
    verdicts = []
    for begin in range(0, 60, 20):
        card = card_of(criterion("tells"), *(criterion(name, cut=0.0) for name in names[begin : begin + 20]))
        found = review_card(card, frame, good, group)
        assert found["tells"].verdict == "matters"
        verdicts += [found[name].verdict for name in names[begin : begin + 20]]
    assert verdicts.count("matters") + verdicts.count("points the wrong way") <= 6


def test_a_few_customers_cannot_show_that_there_is_no_effect(world):
    frame, good, group = world
    few = np.flatnonzero(group % 5 == 0)  # 80 customers: an information value of 0.1 would go unseen
    card = card_of(criterion("tells"), criterion("null"))
    found = review_card(card, frame.iloc[few].reset_index(drop=True), good[few], group[few])["null"]
    assert (found.verdict, found.high > 0.1) == ("too few rows", True)


def test_the_order_of_rows_does_not_matter(world):
    frame, good, group = world
    card = card_of(criterion("tells"), criterion("null"))
    turned = review_card(card, frame[::-1].reset_index(drop=True), good[::-1], group[::-1])
    assert turned == review_card(card, frame, good, group)


def test_the_wanted_outcome_of_churn_is_staying_and_that_of_value_is_above_the_median():
    assert wanted("conversion", np.array([1.0, 0.0])).tolist() == [1.0, 0.0]
    assert wanted("churn", np.array([1.0, 0.0])).tolist() == [0.0, 1.0]
    assert wanted("value", np.array([0.0, 0.0, 5.0])).tolist() == [0.0, 0.0, 1.0]


def test_outcomes_of_one_kind_are_refused(world):
    frame, _, group = world
    with pytest.raises(DataError, match="A review of 400 rows needs outcomes that are 0 or 1, and both of them"):
        review_card(card_of(criterion("tells")), frame, np.ones(ROWS), group)
    with pytest.raises(DataError, match="got 400 rows of features, 399 outcomes and 400 customers"):
        review_card(card_of(criterion("tells")), frame, np.ones(399), group)
