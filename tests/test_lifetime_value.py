"""Lifetime value: against the closed formula, against a simulation, and against amounts worked out by hand."""

import numpy as np
import pytest
from scipy.special import hyp2f1

from models.bg_nbd import Histories, Parameters
from models.lifetime_value import OrderValue, PurchaseModel, carry_over, fit_order_value, fit_purchase_model

CDNOW = Parameters(r=0.243, alpha=4.414 * 7, a=0.793, b=2.426)  # as published for CDNOW (2005), alpha in days
SPENDS = OrderValue(p=6.25, q=3.74, v=15.44)  # as published for CDNOW (2013)
MODEL = PurchaseModel(CDNOW, SPENDS, 1.0)


def histories(*rows: tuple[float, float, float]) -> Histories:
    return Histories(*np.array(rows, dtype=np.float64).T.reshape(3, -1))


def closed_form(fitted: Parameters, x: float, t_x: float, age: float, days: float) -> float:
    """Equation 10 of Fader, Hardie and Lee (2005)."""
    r, alpha, a, b = fitted.r, fitted.alpha, fitted.a, fitted.b
    left = a / (b + x - 1) * ((alpha + age) / (alpha + t_x)) ** (r + x) if x else 0.0
    shrinks = ((alpha + age) / (alpha + age + days)) ** (r + x)
    series = hyp2f1(r + x, b + x, a + b + x - 1, days / (alpha + age + days))
    return float((a + b + x - 1) / (a - 1) * (1 - shrinks * series) / (1 + left))


def test_expected_purchases_are_those_of_the_published_example() -> None:
    # "2 purchases, the last after 30.43 weeks, of 38.86": 1.226 purchases in the next 39 weeks (2005, table 4).
    found = MODEL.expected_purchases(histories((2, 30.43 * 7, 38.86 * 7)), 39 * 7)
    assert found.tolist() == pytest.approx([1.226], rel=0.005)


@pytest.mark.parametrize("row", [(0, 0, 200), (1, 10, 400), (5, 300, 310), (40, 380, 400)])
@pytest.mark.parametrize("days", [30, 365, 1000])
def test_expected_purchases_follow_the_closed_formula(row: tuple[int, int, int], days: float) -> None:
    assert MODEL.expected_purchases(histories(row), days)[0] == pytest.approx(closed_form(CDNOW, *row, days), rel=0.01)


def test_a_customer_who_may_leave_at_once_is_worth_less() -> None:
    harsher = PurchaseModel(Parameters(**{**vars(CDNOW), "first_may_be_last": True}), SPENDS, 1.0)
    once = histories((0, 0, 300))
    assert MODEL.alive(once).tolist() == [1.0]  # nobody leaves before a second purchase
    # Left after the first with odds a / b * ((alpha + T) / alpha) ** r = 0.793 / 2.426 * 10.71 ** 0.243 = 0.5816
    assert harsher.alive(once).tolist() == pytest.approx([1 / 1.5816], rel=1e-3)


def test_expected_purchases_are_those_of_a_simulation_of_customers_without_history() -> None:
    draw = np.random.default_rng(5)
    rate, leave = draw.gamma(0.8, 1 / 60, 40_000), draw.beta(0.7, 3.0, 40_000)
    bought = np.zeros(len(rate))
    time = draw.exponential(1 / rate)
    while (time < 365).any():
        bought += time < 365
        time = np.where(draw.random(len(rate)) < leave, np.inf, time + draw.exponential(1 / rate))
    newcomers = PurchaseModel(Parameters(0.8, 60.0, 0.7, 3.0), SPENDS, 1.0)
    assert newcomers.expected_purchases(histories((0, 0, 0)), 365)[0] == pytest.approx(bought.mean(), rel=0.03)


def test_discounting_weighs_each_month_by_its_middle() -> None:
    # Nobody leaves (a = 0+) and rates are all 1 / 30: one purchase in each of twelve steps of 30 days.
    steady = PurchaseModel(Parameters(r=1e5, alpha=3e6, a=1e-9, b=1.0), OrderValue(1e6, 2e6, 200.0), 1.0)
    one = histories((0, 0, 0))
    assert steady.expected_purchases(one, 360).tolist() == pytest.approx([12.0], rel=1e-3)
    by_hand = sum(1.21 ** -((15 + 30 * month) / 365) for month in range(12))  # 10.94
    assert steady.expected_purchases(one, 360, 0.21).tolist() == pytest.approx([by_hand], rel=1e-3)
    # Each is worth p v / (q - 1) = 100; a tenth comes back.
    less = PurchaseModel(steady.rhythm, steady.amount, 0.9)
    assert less.value(one, np.array([100.0]), 360, 0.21).tolist() == pytest.approx([90 * by_hand], rel=1e-3)


def test_amounts_are_pulled_to_the_mean_of_all_the_less_is_known() -> None:
    # p v / (q - 1) = 2 * 100 / 2 = 100 without purchases; 2 * (100 + 400) / (2 + 2) = 250 after one of 400.
    found = OrderValue(2.0, 3.0, 100.0).expected(np.array([0.0, 400.0, 400.0]), np.array([0.0, 1.0, 9.0]))
    assert found.tolist() == [100, 250, 370]


def test_the_fit_of_amounts_finds_what_made_them() -> None:
    draw = np.random.default_rng(3)
    count = draw.integers(1, 12, 6_000).astype(np.float64)
    spread = draw.gamma(4.0, 1 / 20.0, 6_000)  # q and v
    mean = draw.gamma(6.0 * count, 1 / (spread * count))
    fitted = fit_order_value(mean, count)
    assert (fitted.p, fitted.q, fitted.v) == pytest.approx((6.0, 4.0, 20.0), rel=0.1)


def test_too_few_who_came_back_give_no_model() -> None:
    rows = histories(*[(1, 10, 100)] * 49, *[(0, 0, 100)] * 500)
    assert fit_purchase_model(rows, np.full(549, 20.0)) is None
    more = histories(*[(1, 10, 100)] * 50, *[(0, 0, 100)] * 500)
    assert fit_purchase_model(more, np.full(550, 20.0)) is not None
    assert fit_purchase_model(more, np.full(550, 0.0)) is None  # nobody ever paid anything


def test_a_models_value_is_carried_over_by_the_purchases_expected() -> None:
    rows = histories((2, 213, 272), (np.nan, np.nan, np.nan))
    value = np.array([90.0, 90.0])
    own, none = carry_over(value, 90, MODEL, rows, 90, 0.0), carry_over(value, 90, None, rows, 90, 0.0)
    assert own.tolist() == pytest.approx([90, 90])  # the same horizon, not discounted: what the model said
    assert none.tolist() == pytest.approx([90, 90])
    longer = carry_over(value, 90, MODEL, rows, 360, 0.0)
    ratio = closed_form(CDNOW, 2, 213, 272, 360) / closed_form(CDNOW, 2, 213, 272, 90)
    assert 1 < ratio < 4  # some of those who buy now will have left
    assert longer.tolist() == pytest.approx([90 * ratio, 360], rel=0.01)  # without a history it goes on
    assert np.isnan(carry_over(np.array([np.nan, 1.0]), 90, MODEL, rows, 360, 0.0)).tolist() == [True, False]
