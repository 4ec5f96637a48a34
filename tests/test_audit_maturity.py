"""Maturity: of which share of a month's snapshots the outcome was known so many days later."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from stored import stored_world

from features.targets import SpinePlan, Target
from pipeline.audit_maturity import Cohort, Maturity, curve_days, mark_dead, measure_maturity

WON = Target("conversion", "conversion", horizon_days=30, settle_days=5)
LEFT = Target("churn", "churn", horizon_days=30, settle_days=0)
BIRTH = SpinePlan(ages_days=(0,))

DEALS = """
    deal_id  created_at   closed_at    closed_at_known_at   outcome  known_until
    D1       2024-01-01   2024-01-05   2024-01-05           won      -    # known after 4 days
    D2       2024-01-02   2024-01-05   2024-01-20           lost     -    # closed after 3 days, known after 18
    D3       2024-01-10   2024-03-30   2024-03-30           won      -    # known after 80 days: the label is 0
    D4       2024-01-20   -            -                    -        -    # open until the end
    D5       2024-05-27   2024-05-30   2024-05-30           won      -    # 35 days old on July 1: settled on that day
    D6       2024-06-20   2024-06-22   2024-06-22           won      -    # 11 days old
"""


@pytest.fixture(scope="module")
def maturity(tmp_path_factory: pytest.TempPathFactory) -> Maturity:
    tables = stored_world(tmp_path_factory.mktemp("maturity"), deals=DEALS)
    return measure_maturity(tables, WON, SpinePlan(start=date(2024, 2, 1), ages_days=(0,)))


def cohort(maturity: Maturity, month: str) -> Cohort:
    return next(one for one in maturity.cohorts if one.month == month)


def test_a_curve_says_of_which_share_the_outcome_was_known_by_the_second_clock(maturity: Maturity) -> None:
    known = cohort(maturity, "2024-01").known
    # of four: D1 after 4 days, D2 after 18 although it closed after 3, D3 after 80; D4 never
    assert known == {7: 0.25, 14: 0.25, 30: 0.5, 60: 0.5, 90: 0.75, 180: None, 365: None}


def test_where_a_cohort_is_not_that_old_the_curve_ends(maturity: Maturity) -> None:
    assert cohort(maturity, "2024-06").known == {7: 1.0, 14: None, 30: None, 60: None, 90: None, 180: None, 365: None}


def test_ripe_is_as_of_plus_horizon_plus_settling_within_the_data(maturity: Maturity) -> None:
    # the snapshots are a microsecond after birth: D5 settles a microsecond after the end of the data
    assert [(one.month, one.rows, one.settled, one.state) for one in maturity.cohorts] == [
        ("2024-01", 4, 4, "ripe"), ("2024-05", 1, 0, "not yet"), ("2024-06", 1, 0, "not yet"),
    ]  # fmt: skip
    assert (maturity.horizon_days, maturity.settle_days) == (30, 5)


def test_the_base_rate_is_that_of_the_ripe_labels(maturity: Maturity) -> None:
    january = cohort(maturity, "2024-01")
    assert (january.ripe, january.base_rate) == (4, 0.25)  # D1 alone was won within 30 days
    assert cohort(maturity, "2024-06").base_rate is None


def test_cohorts_before_the_start_are_there_and_marked(maturity: Maturity) -> None:
    assert [one.in_training for one in maturity.cohorts] == [False, True, True]


def test_half_of_a_month_can_be_settled(tmp_path: Path) -> None:
    deals = """
        deal_id  created_at   closed_at  closed_at_known_at  outcome  known_until
        D1       2024-05-10   -          -                   -        -    # 52 days old
        D2       2024-05-30   -          -                   -        -    # 32 days old, settled after 35
    """
    [may] = measure_maturity(stored_world(tmp_path, deals=deals), WON, BIRTH).cohorts
    assert (may.settled, may.state) == (1, "partly")


def test_of_customers_the_next_purchase_is_awaited(tmp_path: Path) -> None:
    customers = "customer_id  created_at  known_until\nC1  2024-01-01  -\nC2  2024-01-01  -"
    orders = """
        order_id  occurred_at  known_at     customer_id  amount
        O1        2024-01-10   2024-01-10   C1           10
        O2        2024-01-11   2024-01-11   C2           10
        O3        2024-02-05   2024-02-20   C1           10     # 4 days after February 1, known after 19
        O4        2024-02-03   2024-02-03   C2           -10    # a return: no purchase
    """
    tables = stored_world(tmp_path, customers=customers, orders=orders, data_end="2024-04-01")
    found = measure_maturity(tables, LEFT, SpinePlan(grid="month"))
    february = cohort(found, "2024-02")
    assert (february.rows, february.base_rate) == (2, 0.5)  # C2 ordered nothing more
    assert [february.known[days] for days in (7, 14, 30, 60, 90)] == [0.0, 0.0, 0.5, 0.5, None]
    assert found.outcome == "the customer ordered again"


def test_the_month_is_that_of_the_deployments_time_zone(tmp_path: Path) -> None:
    deals = """
        deal_id  created_at            closed_at  closed_at_known_at  outcome  known_until
        D1       2024-01-31T23:30:00   -          -                   -        -    # February in Berlin
    """
    tables = replace(stored_world(tmp_path, deals=deals), time_zone="Europe/Berlin")
    assert [one.month for one in measure_maturity(tables, WON, BIRTH).cohorts] == ["2024-02"]


def test_without_anybody_there_are_no_cohorts(tmp_path: Path) -> None:
    customers = "customer_id  created_at  known_until\nC1  2024-01-01  -"
    orders = "order_id  occurred_at  customer_id  amount\nO1  2024-01-10  C1  -5"  # a return only
    tables = stored_world(tmp_path, customers=customers, orders=orders)
    assert measure_maturity(tables, LEFT, SpinePlan(grid="month")).cohorts == ()


def make_cohorts(**shares: tuple[int, float | None]) -> list[Cohort]:
    return [Cohort(month, rows, rows, rows, share, {90: share}, True) for month, (rows, share) in shares.items()]


def test_a_cohort_of_which_next_to_nothing_became_known_looks_dead() -> None:
    cohorts = mark_dead(make_cohorts(june=(300, 0.0), july=(300, 0.01), august=(300, 0.1), rest=(3000, 0.1)), 90)
    assert [one.looks_dead for one in cohorts] == [True, True, False, False]


def test_a_small_cohort_without_any_may_be_chance_and_a_young_one_is_not_judged() -> None:
    cohorts = mark_dead(make_cohorts(small=(40, 0.0), young=(300, None), rest=(3000, 0.1)), 90)  # 0.9 ** 40 = 1.5 %
    assert [one.looks_dead for one in cohorts] == [False, False, False]


def test_a_cohort_that_is_merely_low_does_not_look_dead() -> None:
    cohorts = mark_dead(make_cohorts(low=(1000, 0.04), rest=(3000, 0.1)), 90)  # less than half, and not by chance
    assert not any(one.looks_dead for one in cohorts)


def test_the_horizon_is_a_point_of_the_curve() -> None:
    assert curve_days(90) == (7, 14, 30, 60, 90, 180, 365)
    assert curve_days(45) == (7, 14, 30, 45, 60, 90, 180, 365)
