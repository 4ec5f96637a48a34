"""How the customer buys: recency, frequency, amount, rhythm, and the sums BG/NBD needs.

Returns are rows with a negative quantity; they are never purchases.

The roles name what BG/NBD reads: `orders_repeat_days` (x, purchase days after the first) and the days since the
first (T, the customer's tenure as a buyer) and since the last purchase (T - t_x).

References
----------
Fader, P. S., Hardie, B. G. S., Lee, K. L. (2005). "Counting Your Customers" the Easy Way: An Alternative
to the Pareto/NBD Model. Marketing Science 24(2), 275-284.
"""

from typing import Any

import ibis

from features.expressions import SECONDS_PER_DAY, days_between, ratio, spread, whole_seconds
from features.group import Feature, FeatureDict, Window, derived, feature_group
from features.targets import is_purchase

WINDOWS = (30, 90, 180, 365)


@feature_group("orders", windows=WINDOWS, optional=("quantity",))
def order_demand(orders: Any, window: Window) -> FeatureDict:
    """Purchases and their amount in `[as_of - window, as_of)`, and what was sent back."""
    bought = is_purchase(orders) & window.mask
    returned = ~is_purchase(orders) & window.mask
    return {
        f"orders_count_{window}": Feature(
            bought.sum(),
            0,
            "count",
            f"{{value:,.0f}} orders in {window.days} days",
            f"{window.days} 天内下单 {{value:,.0f}} 次",
        ),
        f"orders_amount_{window}": Feature(
            orders.amount.sum(where=bought),
            0,
            "currency",
            f"{{value:,.0f}} ordered in {window.days} days",
            f"{window.days} 天内下单金额 {{value:,.0f}}",
        ),
        f"orders_returns_amount_{window}": Feature(
            orders.amount.sum(where=returned),
            0,
            "currency",
            f"{{value:,.0f}} returned in {window.days} days",
            f"{window.days} 天内退货金额 {{value:,.0f}}",
        ),
    }


@feature_group("orders", optional=("quantity",))
def order_history(orders: Any) -> FeatureDict:
    """All purchases so far: how many, how much, the first, the last, the largest."""
    bought = is_purchase(orders)
    first = orders.occurred_at.min(where=bought)
    last = orders.occurred_at.max(where=bought)
    now = orders.as_of.max()
    return {
        "orders_count": Feature(bought.sum(), 0, "count", "{value:,.0f} orders so far", "累计下单 {value:,.0f} 次"),
        "orders_amount": Feature(
            orders.amount.sum(where=bought), 0, "currency", "{value:,.0f} ordered so far", "累计下单金额 {value:,.0f}"
        ),
        "orders_amount_max": Feature(
            orders.amount.max(where=bought), None, "currency", "largest order {value:,.0f}", "最大订单 {value:,.0f}"
        ),
        "orders_returns_count": Feature(
            (~bought).sum(), 0, "count", "{value:,.0f} returns so far", "累计退货 {value:,.0f} 次"
        ),
        "orders_days_since_last": Feature(
            days_between(last, now),
            None,
            "days",
            "{value:,.0f} days since the last order",
            "距上次下单 {value:,.0f} 天",
            direction={"churn": +1},
            role="last_purchase_days",
        ),
        "orders_days_since_first": Feature(
            days_between(first, now),
            None,
            "days",
            "first order {value:,.0f} days ago",
            "首次下单在 {value:,.0f} 天前",
            role="first_purchase_days",
        ),
        "orders_days_first_to_last": Feature(
            days_between(first, last),
            None,
            "days",
            "bought over {value:,.0f} days",
            "购买跨度 {value:,.0f} 天",
        ),
    }


@feature_group("orders", optional=("quantity",))
def order_gaps(orders: Any) -> FeatureDict:
    """Days between one purchase day and the next; rows of the same day count once."""
    day = whole_seconds(orders.occurred_at) // SECONDS_PER_DAY
    before = whole_seconds(orders.previous_occurred_at) // SECONDS_PER_DAY
    gap = ibis.ifelse(is_purchase(orders) & (day > before), day - before, ibis.null("int64"))
    return {
        "orders_repeat_days": Feature(
            gap.count(), 0, "count", "came back on {value:,.0f} days", "复购 {value:,.0f} 天", role="repeat_count"
        ),
        "orders_gap_mean": Feature(
            ratio(gap.sum(), gap.count()),
            None,
            "days",
            "orders every {value:,.0f} days",
            "平均 {value:,.0f} 天下单一次",
        ),
        "orders_gap_max": Feature(
            gap.max(), None, "days", "longest pause {value:,.0f} days", "最长间隔 {value:,.0f} 天"
        ),
        "orders_gap_spread": Feature(
            spread(gap), None, "days", "gaps vary by {value:,.0f} days", "间隔波动 {value:,.0f} 天"
        ),
    }


@derived(needs=("orders_days_since_last", "orders_gap_mean", "orders_gap_max"))
def order_silence(features: Any) -> FeatureDict:
    """The current pause against the usual one and against the longest one."""
    return {
        "orders_silence_ratio": Feature(
            ratio(features.orders_days_since_last, features.orders_gap_mean),
            None,
            "rate",
            "silent for {value:.1f} times the usual gap",
            "沉默时长为平时间隔的 {value:.1f} 倍",
            direction={"churn": +1},
        ),
        "orders_silence_max_ratio": Feature(
            ratio(features.orders_days_since_last, features.orders_gap_max),
            None,
            "rate",
            "silent for {value:.1f} times the longest gap",
            "沉默时长为最长间隔的 {value:.1f} 倍",
            direction={"churn": +1},
        ),
    }


@derived(needs=("orders_days_since_last", "orders_gap_mean", "orders_gap_spread"))
def order_regularity(features: Any) -> FeatureDict:
    """How much gaps vary against their mean, and by how many such spreads the current pause exceeds the mean."""
    return {
        "orders_gap_variation": Feature(
            ratio(features.orders_gap_spread, features.orders_gap_mean),
            None,
            "rate",
            "gaps vary by {value:.0%} of the usual one",
            "间隔波动为平时间隔的 {value:.0%}",
        ),
        "orders_silence_spreads": Feature(
            ratio(features.orders_days_since_last - features.orders_gap_mean, features.orders_gap_spread),
            None,
            "rate",
            "silent for the usual gap plus {value:.1f} times its spread",
            "沉默时长超出平时间隔 {value:.1f} 个波动幅度",
            direction={"churn": +1},
        ),
    }


@derived(needs=("orders_count", "orders_amount", "orders_repeat_days", "orders_days_since_first", "orders_count_90d"))
def order_rates(features: Any) -> FeatureDict:
    """Purchases per month of acquaintance, mean order, and the last 90 days against the whole."""
    tenure = features.orders_days_since_first
    months = ibis.ifelse(tenure < 30.0, 30.0, tenure) / 30.0
    monthly = (features.orders_repeat_days + 1.0) / months
    return {
        "orders_monthly_rate": Feature(
            monthly, None, "rate", "{value:.2f} order days a month", "每月下单 {value:.2f} 天"
        ),
        "orders_amount_mean": Feature(
            ratio(features.orders_amount, features.orders_count),
            None,
            "currency",
            "mean order {value:,.0f}",
            "平均订单金额 {value:,.0f}",
        ),
        "orders_trend_90d": Feature(
            features.orders_count_90d / 3.0 / monthly,
            None,
            "rate",
            "recent orders at {value:.1f} times the usual rate",
            "近期下单为平时的 {value:.1f} 倍",
        ),
    }
