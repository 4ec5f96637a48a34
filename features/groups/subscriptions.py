"""What the customer pays every month: how much, for how long, until when, and how that changed.

A subscription is live until its end has come and is known.
"""

from typing import Any

import ibis

from features.expressions import days_between
from features.group import Feature, FeatureDict, Window, feature_group

WINDOWS = (90, 365)


def _has_ended(subscriptions: Any) -> Any:
    return (subscriptions.ended_at < subscriptions.as_of).fill_null(False)


@feature_group("subscriptions")
def subscription_status(subscriptions: Any) -> FeatureDict:
    """What is live at `as_of`, when it renews next, and what has lapsed; the day of a renewal is not past."""
    now = subscriptions.as_of.max()
    has_ended = _has_ended(subscriptions)
    is_ahead = ~has_ended & (subscriptions.renews_on >= subscriptions.as_of.date())
    renewal = days_between(now, subscriptions.renews_on.min(where=is_ahead).cast("timestamp(6)"))
    oldest = subscriptions.occurred_at.min(where=~has_ended)
    return {
        "subscriptions_mrr": Feature(
            subscriptions.mrr.sum(where=~has_ended), 0, "currency", "pays {value:,.0f} a month", "月付 {value:,.0f}"
        ),
        "subscriptions_live_count": Feature(
            (~has_ended).sum(), 0, "count", "{value:,.0f} live subscriptions", "有效订阅 {value:,.0f} 个"
        ),
        "subscriptions_days_to_renewal": Feature(
            ibis.ifelse(renewal < 0.0, 0.0, renewal),
            None,
            "days",
            "renews in {value:,.0f} days",
            "{value:,.0f} 天后续订",
        ),
        "subscriptions_live_days_max": Feature(
            days_between(oldest, now),
            None,
            "days",
            "subscribed for {value:,.0f} days",
            "已订阅 {value:,.0f} 天",
        ),
        "subscriptions_ended_count": Feature(
            has_ended.sum(), 0, "count", "{value:,.0f} subscriptions ended", "已终止订阅 {value:,.0f} 个"
        ),
        "subscriptions_days_since_end": Feature(
            days_between(subscriptions.ended_at.max(where=has_ended), now),
            None,
            "days",
            "a subscription ended {value:,.0f} days ago",
            "距上次终止订阅 {value:,.0f} 天",
        ),
    }


@feature_group("subscriptions", windows=WINDOWS)
def subscription_moves(subscriptions: Any, window: Window) -> FeatureDict:
    """Monthly value of what began, and of what ended, in `[as_of - window, as_of)`."""
    ended = _has_ended(subscriptions) & window.on(subscriptions.ended_at)
    return {
        f"subscriptions_started_mrr_{window}": Feature(
            subscriptions.mrr.sum(where=window.mask),
            0,
            "currency",
            f"{{value:,.0f}} a month begun in {window.days} days",
            f"{window.days} 天内新增月付 {{value:,.0f}}",
        ),
        f"subscriptions_ended_mrr_{window}": Feature(
            subscriptions.mrr.sum(where=ended),
            0,
            "currency",
            f"{{value:,.0f}} a month ended in {window.days} days",
            f"{window.days} 天内终止月付 {{value:,.0f}}",
        ),
    }


@feature_group("subscriptions", windows=(365,), optional=("ended_at",), history=True)
def subscription_changes(subscriptions: Any, window: Window) -> FeatureDict:
    """Up- and downgrades that became known in `[as_of - window, as_of)`: a version's monthly value against the last.

    What changes with or after the end of a subscription is no downgrade; a corrected value is a change.
    """
    change = subscriptions.mrr - subscriptions.previous_mrr
    is_before_end = subscriptions.ended_at.isnull() | (subscriptions.known_at < subscriptions.ended_at)
    counts = window.on(subscriptions.known_at) & is_before_end
    up, down = counts & (change > 0), counts & (change < 0)
    return {
        f"subscriptions_upgrades_count_{window}": Feature(
            up.sum(),
            0,
            "count",
            f"{{value:,.0f}} upgrades in {window.days} days",
            f"{window.days} 天内升级 {{value:,.0f}} 次",
        ),
        f"subscriptions_upgrades_amount_{window}": Feature(
            change.sum(where=up),
            0,
            "currency",
            f"upgraded by {{value:,.0f}} a month in {window.days} days",
            f"{window.days} 天内月付增加 {{value:,.0f}}",
        ),
        f"subscriptions_downgrades_count_{window}": Feature(
            down.sum(),
            0,
            "count",
            f"{{value:,.0f}} downgrades in {window.days} days",
            f"{window.days} 天内降级 {{value:,.0f}} 次",
        ),
        f"subscriptions_downgrades_amount_{window}": Feature(
            (-change).sum(where=down),
            0,
            "currency",
            f"downgraded by {{value:,.0f}} a month in {window.days} days",
            f"{window.days} 天内月付减少 {{value:,.0f}}",
        ),
    }
