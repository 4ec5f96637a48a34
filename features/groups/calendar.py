"""The date of the snapshot itself: the season, the weekday, and how soon the books are closed."""

from typing import Any

import ibis

from features.expressions import days_between
from features.group import Feature, FeatureDict, derived


@derived(needs=())
def calendar(features: Any) -> FeatureDict:
    """Month, weekday, and whole days left in the month and in the quarter, of `as_of` in the deployment's time zone."""
    now = features.as_of_local
    today = now.truncate("D")
    month_end = now.truncate("M") + ibis.interval(months=1)
    quarter_end = now.truncate("Q") + ibis.interval(months=3)
    return {
        "calendar_month": Feature(now.month(), None, "rank", "month {value:.0f} of the year", "{value:.0f} 月"),
        "calendar_weekday": Feature(
            now.day_of_week.index() + 1,
            None,
            "rank",
            "day {value:.0f} of the week, from Monday",
            "一周的第 {value:.0f} 天（周一起）",
        ),
        "calendar_days_to_month_end": Feature(
            days_between(today, month_end) - 1.0,
            None,
            "days",
            "{value:.0f} days left in the month",
            "距月末 {value:.0f} 天",
        ),
        "calendar_days_to_quarter_end": Feature(
            days_between(today, quarter_end) - 1.0,
            None,
            "days",
            "{value:.0f} days left in the quarter",
            "距季末 {value:.0f} 天",
        ),
    }
