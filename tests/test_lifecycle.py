"""Lifecycle stages, from purchases written as days before the moment they are judged at."""

import numpy as np
import pandas as pd
import pytest

from models.lifecycle import LifecycleRules, find_stages, make_purchases

AS_OF = pd.Timestamp("2024-07-01")
RULES = LifecycleRules(typical_days=30)


def judge(*histories: list[float], rules: LifecycleRules = RULES) -> pd.DataFrame:
    """Judge customers by the days before `AS_OF` on which they bought."""
    ago = [(place, days) for place, history in enumerate(histories) for days in history]
    at = AS_OF - pd.to_timedelta(np.array([days for _, days in ago], dtype=float), unit="D")
    owner = np.array([place for place, _ in ago], dtype=np.int64)
    return find_stages(make_purchases(owner, at.to_numpy("datetime64[us]"), AS_OF, len(histories)), rules)


# The typical rhythm is 30 days, so nobody is absent in less than 60.
@pytest.mark.parametrize(
    ("history", "stage"),
    [
        ([], None),  # never bought: a prospect has no stage
        # One purchase: the rhythm is the typical one, 30 days; absent after 3 of them, 90 days.
        ([20], "new"),
        ([89.9], "new"),
        ([90], "dormant"),  # silent for exactly 3 rhythms is absent
        ([90, 0], "dormant"),  # a purchase at the moment itself is not before it
        # Every 30 days for 300 days: rhythm 30. Windows of half the tenure, 150 days: 150, 120, 90, 60 and 30 are in
        # the later one, 270, 240, 210 and 180 in the one before (300 is the first purchase, no return to buy again).
        ([300, 270, 240, 210, 180, 150, 120, 90, 60, 30], "mature"),
        ([390, 360, 330, 300, 270, 240, 210, 180, 150, 120], "dormant"),  # the same, 90 days later
        # Gaps of 30, 30, 30 and 300: without the longest the rhythm is 30; 300 is an absence, and the return is 10
        # days ago.
        ([400, 370, 340, 310, 10], "won_back"),
        ([500, 470, 440, 410, 90, 60, 30], "won_back"),  # returned 90 days ago: within the last 3 rhythms
        # Returned 91 days ago: that is no longer news. Windows of 240 days: 91, 61, 31 against 471, 441, 411.
        ([501, 471, 441, 411, 91, 61, 31], "mature"),
        # Gaps of 60 four times, then of 10 eleven times: rhythm (350 - 60) / 14 = 20.7 days, absent after 62. Windows
        # of 166 days: 12 purchases after 3 (300, 240, 180): (12 - 3)² = 81 >= 2 * 15.
        ([360, 300, 240, 180, 120, 110, 100, 90, 80, 70, 60, 50, 40, 30, 20, 10], "growing"),
        # The reverse: 130, 70 and 10 after 330, 320, ..., 250 and 190: (3 - 10)² = 49 >= 2 * 13.
        ([360, 350, 340, 330, 320, 310, 300, 290, 280, 270, 260, 250, 190, 130, 70, 10], "declining"),
        # Once a year: two gaps of 365. Rhythm 365, absent after 1095; a customer of three years is not new.
        ([1095, 730, 365], "mature"),
        ([1825, 1460, 1095], "dormant"),
        # Two purchases within a week say little: until there are three gaps the rhythm is at least the typical one.
        ([57, 50], "new"),
        ([127, 120], "dormant"),  # 120 >= 90
        # Whoever buys every day is overdue after 3 days, but not absent in less than twice the typical rhythm.
        ([65, 64, 63, 62, 61, 60], "dormant"),
        ([64, 63, 62, 61, 60, 59], "declining"),
        ([57, 56, 55, 54, 53, 52], "new"),  # began within the last 60 days
    ],
)
def test_a_stage_is_relative_to_the_own_rhythm(history: list[float], stage: str | None) -> None:
    assert judge(history)["stage"].tolist() == [stage]


def test_purchases_of_one_day_count_once_and_those_at_the_moment_or_later_do_not() -> None:
    twice = [300, 270, 240, 210, 180, 150, 120, 90, 60, 30]
    rows = judge(twice, [*twice, *[days - 0.4 for days in twice]], [*twice, 0, -1, -30])
    assert rows["stage"].tolist() == ["mature"] * 3
    assert rows["rhythm_days"].tolist() == [30, 30, 30]
    assert rows["absent_days"].tolist() == [90, 90, 90]


def test_the_order_of_rows_and_other_customers_do_not_matter_once_the_typical_rhythm_is_given() -> None:
    one, other = [400, 370, 340, 310, 10], [90]
    assert judge(one, other)["stage"].tolist() == ["won_back", "dormant"]
    assert judge(other, one[::-1], [])["stage"].tolist() == ["dormant", "won_back", None]


def test_the_typical_rhythm_is_the_median_of_customers_with_three_gaps_or_more() -> None:
    # Rhythms of 10, 20 and 100 days; two purchases are no rhythm. Absent after one purchase: 3 * 20 days.
    histories = [[40, 30, 20, 10], [80, 60, 40, 20], [400, 300, 200, 100], [7, 6], [59.9], [60]]
    rows = judge(*histories, rules=LifecycleRules())
    assert rows["rhythm_days"].tolist() == [10, 20, 100, 20, 20, 20]
    assert rows["stage"].tolist()[4:] == ["new", "dormant"]


def test_without_anybody_who_came_back_three_times_the_typical_rhythm_is_ninety_days() -> None:
    assert judge([269], [270], rules=LifecycleRules())["stage"].tolist() == ["new", "dormant"]


def test_a_world_without_customers_or_purchases_has_no_stages() -> None:
    assert judge(rules=LifecycleRules()).empty
    assert judge([], [], rules=LifecycleRules())["stage"].tolist() == [None, None]


def test_repeats_and_ages_are_those_of_purchase_days() -> None:
    # Bought 40, 10 and (the same day) 9.6 days ago: one repeat day, 30 days after the first, which is 40 days old.
    assert AS_OF - pd.Timedelta(days=9.6) < pd.Timestamp("2024-06-22")
    ago = pd.to_timedelta([40, 10, 9.6], unit="D")
    rows = make_purchases(np.zeros(3, np.int64), (AS_OF - ago).to_numpy("datetime64[us]"), AS_OF, 1)
    assert (rows.repeats.tolist(), rows.until_last.tolist(), rows.age.tolist()) == ([1], [30], [40])
