"""Days to the event: hand-computed medians, orders and areas, and data whose truth is known."""

import doctest
from math import exp, log

import numpy as np
import pytest

import models.time_to_event
from models.time_to_event import (
    concordance,
    cumulative_hazards,
    days_to_event,
    event_by,
    expected_days,
    measure_time_to_event,
)


def said(**by_days: float) -> dict[int, np.ndarray]:
    """Log-odds of one row from probabilities: `said(d30=0.25, d90=0.75)`."""
    return {int(days[1:]): np.array([log(p / (1 - p))]) for days, p in by_days.items()}


def test_the_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(models.time_to_event).failed == 0


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ({"d30": 0.5, "d90": 0.9}, 30.0),  # exactly at a horizon
        ({"d30": 0.75, "d90": 0.9}, 15.0),  # H(30) = 2 log 2, so half of it after 15 days
        ({"d30": 0.25, "d90": 0.75}, 30 + 60 * log(1.5) / log(3)),
        ({"d30": 0.1, "d90": 0.2, "d180": 0.5}, 180.0),  # at the longest: still known
        ({"d30": 0.1, "d90": 0.2, "d180": 0.6}, 90 + 90 * (log(2) - log(1.25)) / (log(2.5) - log(1.25))),
        ({"d30": 0.1, "d90": 0.5, "d180": 0.5}, 90.0),  # no hazard after 90 days
        ({"d30": 0.1, "d90": 0.49}, None),  # beyond the longest: nobody knows
    ],
)
def test_the_median_by_hand(probabilities: dict[str, float], expected: float | None) -> None:
    (median,) = days_to_event(said(**probabilities), +1)
    assert (None if np.isnan(median) else median) == (None if expected is None else pytest.approx(expected, abs=1e-9))
    turned = {days: -values for days, values in said(**probabilities).items()}  # log-odds that it does not happen
    np.testing.assert_array_equal(days_to_event(turned, -1), [median])


def test_a_higher_probability_never_means_a_later_event() -> None:
    rising = [days_to_event(said(d30=p / 2, d90=p), +1)[0] for p in (0.5, 0.6, 0.7, 0.8, 0.9, 0.99)]
    assert rising == sorted(rising, reverse=True)


def test_the_probability_between_horizons_lies_on_a_constant_hazard() -> None:
    row = said(d30=0.25, d90=0.75)
    assert [event_by(row, +1, days)[0] for days in (30, 90)] == pytest.approx([0.25, 0.75], abs=1e-12)
    assert event_by(row, +1, 15.0)[0] == pytest.approx(1 - 0.75**0.5, abs=1e-12)
    median = days_to_event(row, +1)[0]
    assert event_by(row, +1, median)[0] == pytest.approx(0.5, abs=1e-12)


def test_expected_days_are_the_area_under_what_is_left() -> None:
    rate = log(2) / 10  # 1 - F = exp(-rate t) on both pieces
    row = said(d10=0.5, d20=0.75)
    assert expected_days(row, +1)[0] == pytest.approx((1 - exp(-20 * rate)) / rate, abs=1e-9)
    never = {10: np.array([-800.0]), 20: np.array([-800.0])}
    assert expected_days(never, +1).tolist() == [20.0]
    assert np.isnan(days_to_event(never, +1)).all()
    at_once = {10: np.array([800.0]), 20: np.array([800.0])}
    assert expected_days(at_once, +1)[0] == pytest.approx(10 / 800, rel=1e-9)  # no overflow
    assert days_to_event(at_once, +1)[0] == pytest.approx(10 * log(2) / 800, rel=1e-9)


@pytest.mark.parametrize(
    ("interval", "expected", "share"),
    [
        ([0, 1, 2], [1, 2, 3], 1.0),
        ([0, 1, 2], [3, 2, 1], 0.0),
        ([0, 1], [5, 5], 0.5),  # equal expectations count half
        ([0, 0, 1], [1, 9, 5], 0.5),  # two of one interval are not compared
        ([0, 2, 2, 2], [4, 1, 5, 6], 2 / 3),  # nor two without an event
        ([0, 1, 1, 2], [2, 1, 3, 3], (1 + 0.5 + 2) / 5),  # 0 with 1, 1 and 2; each 1 with 2, one of them tied
    ],
)
def test_the_concordance_by_hand(interval: list[int], expected: list[float], share: float) -> None:
    found = concordance(np.array(interval), np.array(expected, dtype=float))
    assert found == pytest.approx(share, abs=1e-12)


def test_rows_that_count_twice_are_as_two_rows() -> None:
    once = concordance(np.array([0, 1, 1, 2]), np.array([2.0, 1, 3, 3]), np.array([2.0, 1, 0, 3]))
    assert once == concordance(np.array([0, 0, 1, 2, 2, 2]), np.array([2.0, 2, 1, 3, 3, 3]))
    assert np.isnan(concordance(np.array([1, 1]), np.array([1.0, 2.0])))


@pytest.mark.parametrize("direction", [+1, -1])
def test_true_probabilities_of_exponential_waits_are_found_right(direction: int) -> None:
    generator = np.random.default_rng(4)
    rate = np.exp(generator.normal(-4.5, 1.0, 20_000))
    waits = generator.exponential(1 / rate)
    days = (30, 90, 180)
    truth = {day: direction * np.log(np.expm1(rate * day)) for day in days}
    labels = {day: ((waits < day) == (direction > 0)).astype(float) for day in days}
    labels[30][:100] = np.nan
    median = days_to_event(truth, direction)
    is_known = ~np.isnan(median)
    np.testing.assert_allclose(median[is_known], log(2) / rate[is_known], rtol=1e-9)
    assert (is_known == (log(2) / rate <= 180)).all()
    assert (waits[is_known] < median[is_known]).mean() == pytest.approx(0.5, abs=0.01)
    figures = measure_time_to_event(truth, labels, direction, resamples=20)
    assert figures["rows"] == 19_900
    assert figures["without_median"] == pytest.approx(1 - is_known.mean(), abs=0.005)
    assert figures["longest_days"] == 180
    low, high = figures["interval"]["concordance"]
    assert 0.7 < low < figures["concordance"] < high < 0.85
    for one in figures["by_horizon"]:
        assert one["probability"] == pytest.approx(one["share"], abs=0.01)
        assert one["calibration_error"] < 0.02
    inner, _, last = (one["interpolated"] for one in figures["by_horizon"])
    assert inner == pytest.approx(figures["by_horizon"][0]["probability"], abs=1e-9)  # a constant hazard, as it is
    assert last is None  # beyond the others


def test_a_hazard_that_is_not_constant_shows_at_inner_horizons() -> None:
    """Everything happens within the first 10 days: neighbours at 5 and 90 days promise less until 30."""
    probability = {5: 0.3, 30: 0.6, 90: 0.6}
    said = {day: np.full(1000, log(p / (1 - p))) for day, p in probability.items()}
    labels = {day: (np.arange(1000) < 1000 * p).astype(float) for day, p in probability.items()}
    figures = measure_time_to_event(said, labels, +1, resamples=0)
    middle = figures["by_horizon"][1]
    assert middle["share"] == 0.6
    assert middle["interpolated"] == pytest.approx(1 - 0.7 * (0.4 / 0.7) ** (25 / 85), abs=1e-9)  # 0.41
    assert figures["interval"] == {}


def test_cumulative_hazards_begin_at_zero_and_never_fall() -> None:
    days, hazard = cumulative_hazards(said(d30=0.2, d90=0.2, d180=0.5), +1)
    assert days.tolist() == [0, 30, 90, 180]
    assert hazard[0].tolist() == pytest.approx([0, log(1.25), log(1.25), log(2)])
