"""Whether a challenger may replace the champion, on rows small enough to reckon by hand."""

import numpy as np
import pytest

from features.errors import DataError
from models.gate import Comparison, Difference, Slice, compare, compare_slices, decide, resample_means

LABEL = np.array([1.0, 0.0, 1.0, 0.0])
HALF = np.full(4, 0.5)
RIGHT = np.array([0.8, 0.2, 0.8, 0.2])  # log loss -ln 0.8 = 0.2231 on every row


def difference(opponent: str, mean: float, low: float, high: float) -> Difference:
    return Difference(opponent, 0.5 + mean, 0.5, mean, low, high)


def comparison(*differences: Difference) -> Comparison:
    return Comparison(4000, 900, 800, {one.opponent: one for one in differences})


CLEAR = difference("champion", -0.02, -0.03, -0.01)


def test_the_difference_is_that_of_mean_log_losses():
    one = compare(LABEL, RIGHT, {"champion": HALF}).differences["champion"]
    assert one.challenger_loss == pytest.approx(0.2231, abs=1e-4)
    assert one.opponent_loss == pytest.approx(0.6931, abs=1e-4)
    # equal on every row, so every resample has the same mean
    assert (one.mean, one.low, one.high) == pytest.approx((-0.4700,) * 3, abs=1e-4)


def test_a_model_against_itself_differs_by_nothing():
    one = compare(LABEL, RIGHT, {"champion": RIGHT}).differences["champion"]
    assert (one.mean, one.low, one.high) == (0.0, 0.0, 0.0)
    assert not one.is_better
    assert not one.is_worse


def test_resamples_take_customers_whole():
    values = np.array([[1.0], [1.0], [1.0], [5.0]])  # customer 0 has three rows of 1, customer 1 one row of 5
    means = resample_means(values, np.array([0, 0, 0, 1]), 500, seed=0)
    # both drawn: (3 + 5) / 4; the first twice: 6 / 6; the second twice: 10 / 2
    assert set(means.ravel().tolist()) == {2.0, 1.0, 5.0}
    assert 0.4 < float((means == 2.0).mean()) < 0.6  # two of four draws


def test_the_interval_is_wider_when_rows_come_from_few_customers():
    generator = np.random.default_rng(0)
    label = np.repeat((generator.random(100) < 0.3).astype(float), 10)
    score = np.repeat(generator.uniform(0.1, 0.6, 100), 10)
    alone = compare(label, score, {"champion": np.full(1000, 0.3)}).differences["champion"]
    customers = np.repeat([f"C{n}" for n in range(100)], 10)
    together = compare(label, score, {"champion": np.full(1000, 0.3)}, customers).differences["champion"]
    assert together.mean == alone.mean
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)  # ten equal rows are one


def test_the_same_rows_give_the_same_interval():
    scores = {"champion": HALF, "logistic": np.array([0.6, 0.4, 0.7, 0.1])}
    assert compare(LABEL, RIGHT, scores, seed=3) == compare(LABEL, RIGHT, scores, seed=3)


def test_a_whole_interval_below_zero_promotes():
    verdict = decide(comparison(CLEAR, difference("logistic", 0.001, -0.01, 0.012)))
    assert verdict.promote
    assert verdict.why == (
        "Promoted: log loss 0.4800 against 0.5000 of the champion on 4,000 rows of 900 customers "
        "(difference -0.0200, 97 % interval [-0.0300, -0.0100])."
    )


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ((difference("champion", -0.001, -0.003, 0.001),), "the interval does not exclude zero"),
        ((difference("champion", -0.001, -0.003, 0.0),), "the interval does not exclude zero"),
        ((difference("champion", 0.01, 0.005, 0.02),), "the champion is better beyond noise"),
        (
            (difference("champion", -0.004, -0.006, -0.002),),
            "): it saves 0.8% of the champion's log loss, and a change takes 1.0%.",
        ),
        ((CLEAR, difference("logistic", 0.01, 0.005, 0.02)), "of the logistic line on"),
        ((CLEAR, difference("base_rate", 0.01, 0.005, 0.02)), "of the base rate on"),
    ],
)
def test_a_challenger_that_is_not_better_is_refused_with_the_reason(differences: tuple[Difference], expected: str):
    verdict = decide(comparison(*differences))
    assert not verdict.promote
    assert verdict.why.startswith("Refused: ")
    assert expected in verdict.why


@pytest.mark.parametrize(
    ("mean", "low", "is_below"),
    [
        (0.05, 0.01, True),  # loses a tenth of 0.5, and the interval says so
        (0.05, -0.01, False),  # may be noise
        (0.02, 0.01, False),  # loses 4 %, within the floor of 5 %
    ],
)
def test_a_slice_is_below_its_floor_when_it_loses_more_than_that_beyond_noise(mean: float, low: float, is_below: bool):
    part = Slice("region", "north", 300, difference("champion", mean, low, 0.09), 0.05)
    assert part.is_below is is_below
    verdict = decide(comparison(CLEAR), [part])
    assert verdict.promote is not is_below
    expected = "Refused: where region is 'north' (300 rows) the challenger loses 10.0% of the champion's log loss"
    assert (expected in verdict.why) is is_below


def test_how_much_a_challenger_must_save_can_be_set():
    small = comparison(difference("champion", -0.004, -0.006, -0.002))
    assert decide(small, min_gain=0.008).promote
    assert not decide(small, min_gain=0.009).promote
    assert decide(
        comparison(difference("base_rate", -0.004, -0.006, -0.002))
    ).promote  # something is better than nothing


def test_without_a_champion_the_base_rate_must_be_beaten():
    beaten, doubtful = difference("base_rate", -0.02, -0.03, -0.01), difference("base_rate", -0.02, -0.05, 0.01)
    assert decide(comparison(beaten)).promote
    verdict = decide(comparison(doubtful))
    assert not verdict.promote
    assert "of the base rate on 4,000 rows" in verdict.why


def test_a_handful_of_customers_decides_nothing():
    verdict = decide(Comparison(4000, 19, 800, {"champion": CLEAR}))
    assert verdict.why == ("Refused: a comparison on 4,000 rows of 19 customers says nothing, 20 customers are needed.")
    scores = np.tile(HALF, 20), np.tile(RIGHT, 20), {"region": np.full(80, "north", dtype=object)}
    for customers, slices in ((19, 0), (20, 1)):
        group = np.array([f"C{at % customers}" for at in range(80)], dtype=object)
        assert len(compare_slices(np.tile(LABEL, 20), *scores, group, min_rows=80)) == slices


def test_only_values_with_enough_rows_are_slices():
    label = np.tile(LABEL, 3)
    region = np.array(["north"] * 7 + ["south"] * 3 + [None, np.nan], dtype=object)
    found = compare_slices(label, np.tile(HALF, 3), np.tile(RIGHT, 3), {"region": region}, min_rows=3, floor=0.1)
    assert [(one.column, one.value, one.rows) for one in found] == [("region", "north", 7), ("region", "south", 3)]
    assert [one.is_below for one in found] == [True, True]  # 0.6931 against 0.2231 on every row


@pytest.mark.parametrize(
    ("label", "score", "expected"),
    [
        ([1.0, 0.5], [0.5, 0.5], "The gate got 2 labels, expected at least one and each 0 or 1"),
        ([], [], "The gate got 0 labels"),
        ([1.0, 0.0], [0.5], "The gate got 1 scores of champion for 2 rows"),
        ([1.0, 0.0], [0.5, np.nan], r"1 of 2 scores of champion are not in \[0, 1\]"),
        ([1.0, 0.0], [0.5, 1.5], r"1 of 2 scores of champion are not in \[0, 1\]"),
    ],
)
def test_what_is_no_label_or_no_probability_is_refused(label: list[float], score: list[float], expected: str):
    with pytest.raises(DataError, match=expected):
        compare(np.array(label), np.full(len(label), 0.5), {"champion": np.array(score)})
