"""What orders are worth: baskets, margin, what came back, the customer's own best period, and a year ago.

Returns are rows with a negative quantity; they are never purchases, but they lower the margin.
"""

from itertools import pairwise
from typing import Any

import ibis

from features.expressions import ratio
from features.group import Feature, FeatureDict, Window, derived, feature_group
from features.targets import is_purchase

BLOCK_DAYS = 90
BLOCKS = 8


@feature_group("orders", windows=(365,), optional=("quantity",))
def order_baskets(orders: Any, window: Window) -> FeatureDict:
    """The largest purchase in `[as_of - window, as_of)`, and how many different products were bought then."""
    bought = is_purchase(orders) & window.mask
    product = ibis.ifelse(bought, orders.product.strip().lower(), ibis.null("string"))  # text is slow to read
    return {
        f"orders_amount_max_{window}": Feature(
            orders.amount.max(where=bought),
            None,
            "currency",
            f"largest order in {window.days} days {{value:,.0f}}",
            f"{window.days} 天内最大订单 {{value:,.0f}}",
        ),
        f"orders_products_count_{window}": Feature(
            product.nunique(where=bought),
            0,
            "count",
            f"{{value:,.0f}} different products in {window.days} days",
            f"{window.days} 天内购买 {{value:,.0f}} 种产品",
        ),
    }


@feature_group("orders")
def order_margin(orders: Any) -> FeatureDict:
    """What was earned so far, amount less cost: of purchases and returns, without orders of unknown cost."""
    margin = orders.amount - orders.cost
    return {
        "orders_margin_amount": Feature(
            margin.sum(), None, "currency", "margin {value:,.0f} so far", "累计毛利 {value:,.0f}"
        ),
        "orders_margin_share": Feature(
            _share_of_sales(margin.sum(), orders.amount.sum(where=orders.cost.notnull())),
            None,
            "share",
            "margin {value:.0%} so far",
            "累计毛利率 {value:.0%}",
        ),
    }


@feature_group("orders", windows=(365,))
def order_margin_lately(orders: Any, window: Window) -> FeatureDict:
    """The margin in `[as_of - window, as_of)`, amount and share; null without orders of known cost."""
    margin = (orders.amount - orders.cost).sum(where=window.mask)
    costed = orders.amount.sum(where=window.mask & orders.cost.notnull())
    return {
        f"orders_margin_amount_{window}": Feature(
            margin,
            None,
            "currency",
            f"margin {{value:,.0f}} in {window.days} days",
            f"{window.days} 天内毛利 {{value:,.0f}}",
        ),
        f"orders_margin_share_{window}": Feature(
            _share_of_sales(margin, costed),
            None,
            "share",
            f"margin {{value:.0%}} in {window.days} days",
            f"{window.days} 天内毛利率 {{value:.0%}}",
        ),
    }


def _share_of_sales(margin: Any, sales: Any) -> Any:
    """Return the margin per sales, null where as much was sent back as was sold."""
    return ibis.ifelse(sales > 0, ratio(margin, sales), ibis.null("float64"))


@feature_group("orders", optional=("quantity",))
def order_seasons(orders: Any) -> FeatureDict:
    """The last 90 days beside the best of the last eight such periods, and a year ago the 90 days before and after.

    Period k is `[as_of - 90 (k + 1) days, as_of - 90 k days)`. A year ago is `[as_of - 455 days, as_of - 365 days)`,
    and what came after it, the season that lies ahead now, `[as_of - 365 days, as_of - 275 days)`.
    """
    bought = is_purchase(orders)
    since = [orders.occurred_at >= orders.as_of - ibis.interval(days=BLOCK_DAYS * (k + 1)) for k in range(BLOCKS)]
    totals = [orders.amount.sum(where=bought & inside).fill_null(0) for inside in since]
    periods = [totals[0], *(longer - shorter for shorter, longer in pairwise(totals))]
    begun = orders.occurred_at >= orders.as_of - ibis.interval(days=365 + BLOCK_DAYS)
    a_year_since = orders.occurred_at >= orders.as_of - ibis.interval(days=365)
    year_ago = bought & begun & ~a_year_since
    ahead = bought & a_year_since & (orders.occurred_at < orders.as_of - ibis.interval(days=365 - BLOCK_DAYS))
    return {
        "orders_best_share_90d": Feature(
            ratio(periods[0], ibis.greatest(*periods)),
            None,
            "share",
            "ordered {value:.0%} of the own best 90 days",
            "近 90 天下单金额为自身最好时期的 {value:.0%}",
        ),
        "orders_year_ago_count_90d": Feature(
            year_ago.sum(),
            0,
            "count",
            "{value:,.0f} orders in the same 90 days a year ago",
            "去年同期 90 天下单 {value:,.0f} 次",
        ),
        "orders_year_ago_ahead_count_90d": Feature(
            ahead.sum(),
            0,
            "count",
            "{value:,.0f} orders in the 90 days that lay ahead a year ago",
            "去年此时之后 90 天下单 {value:,.0f} 次",
        ),
        "orders_year_ago_amount_90d": Feature(
            orders.amount.sum(where=year_ago),
            0,
            "currency",
            "{value:,.0f} ordered in the same 90 days a year ago",
            "去年同期 90 天下单金额 {value:,.0f}",
        ),
    }


@derived(needs=("orders_count_365d", "orders_amount_365d", "orders_returns_amount_365d"))
def order_shares(features: Any) -> FeatureDict:
    """The mean purchase of the last 365 days, and how much of what was bought then came back."""
    return {
        "orders_amount_mean_365d": Feature(
            ratio(features.orders_amount_365d, features.orders_count_365d),
            None,
            "currency",
            "mean order in 365 days {value:,.0f}",
            "365 天内平均订单金额 {value:,.0f}",
        ),
        "orders_returns_share_365d": Feature(
            ratio(features.orders_returns_amount_365d.abs(), features.orders_amount_365d),
            None,
            "share",
            "{value:.0%} of the amount of 365 days returned",
            "365 天内退货金额占比 {value:.0%}",
        ),
    }


@derived(needs=("orders_amount_90d", "orders_year_ago_amount_90d"))
def order_year_on_year(features: Any) -> FeatureDict:
    """Amount of the last 90 days against that of the same days a year ago; null without orders then."""
    return {
        "orders_year_ratio_90d": Feature(
            ratio(features.orders_amount_90d, features.orders_year_ago_amount_90d),
            None,
            "rate",
            "ordered {value:.1f} times as much as a year ago",
            "近 90 天下单金额为去年同期的 {value:.1f} 倍",
        ),
    }
