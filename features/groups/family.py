"""How the customer's family behaves: its parent and all customers of the same parent, itself included.

Who belongs to a family is what was known at `as_of`: a member that joined brings its whole past along.
A customer without a parent heads a family of its own, together with the customers whose parent it is.
"""

from typing import Any

from features.expressions import days_between, ratio
from features.group import Feature, FeatureDict, Window, derived, feature_group
from features.targets import is_purchase


@feature_group("customers", by="parent_id")
def family_members(customers: Any) -> FeatureDict:
    """How many customers the family has, this one included."""
    return {
        "family_members_count": Feature(
            customers.row.count(), None, "count", "{value:,.0f} companies in the family", "集团内客户 {value:,.0f} 家"
        ),
    }


@feature_group("orders", by="parent_id", windows=(365,), optional=("quantity",))
def family_demand(orders: Any, window: Window) -> FeatureDict:
    """The family's purchases and their amount in `[as_of - window, as_of)`."""
    bought = is_purchase(orders) & window.mask
    return {
        f"family_orders_count_{window}": Feature(
            bought.sum(),
            0,
            "count",
            f"{{value:,.0f}} orders of the family in {window.days} days",
            f"{window.days} 天内集团下单 {{value:,.0f}} 次",
        ),
        f"family_orders_amount_{window}": Feature(
            orders.amount.sum(where=bought),
            0,
            "currency",
            f"{{value:,.0f}} ordered by the family in {window.days} days",
            f"{window.days} 天内集团下单金额 {{value:,.0f}}",
        ),
    }


@feature_group("orders", by="parent_id", optional=("quantity",))
def family_order_history(orders: Any) -> FeatureDict:
    """Days since anyone in the family bought."""
    last = orders.occurred_at.max(where=is_purchase(orders))
    return {
        "family_orders_days_since_last": Feature(
            days_between(last, orders.as_of.max()),
            None,
            "days",
            "{value:,.0f} days since the family's last order",
            "距集团上次下单 {value:,.0f} 天",
        ),
    }


@feature_group("deals", by="parent_id")
def family_deals(deals: Any) -> FeatureDict:
    """Deals that the family has open; the deal looked at is one of them."""
    return {
        "family_deals_open_count": Feature(
            deals.closed_at.isnull().sum(),
            0,
            "count",
            "{value:,.0f} open deals in the family",
            "集团在谈商机 {value:,.0f} 个",
        ),
    }


@feature_group("deals", by="parent_id", windows=(365,))
def family_deals_lately(deals: Any, window: Window) -> FeatureDict:
    """Deals that the family gave us in `[as_of - window, as_of)`."""
    return {
        f"family_deals_won_count_{window}": Feature(
            ((deals.outcome == "won") & window.on(deals.closed_at)).sum(),
            0,
            "count",
            f"{{value:,.0f}} deals won in the family in {window.days} days",
            f"{window.days} 天内集团赢单 {{value:,.0f}} 个",
        ),
    }


@feature_group("invoices", by="parent_id", optional=("written_off_at",))
def family_payment(invoices: Any) -> FeatureDict:
    """What the family owes on invoices that were due before `as_of`, without those written off by then."""
    is_open = invoices.paid_at.isnull() & invoices.written_off_at.isnull()
    overdue = is_open & (invoices.due_at < invoices.as_of)
    return {
        "family_invoices_overdue_amount": Feature(
            invoices.amount.sum(where=overdue),
            0,
            "currency",
            "the family owes {value:,.0f} overdue",
            "集团逾期金额 {value:,.0f}",
        ),
    }


@derived(needs=("orders_amount_365d", "family_orders_amount_365d"))
def family_share(features: Any) -> FeatureDict:
    """How much of what the family ordered in 365 days was ordered by this customer."""
    return {
        "family_orders_share_365d": Feature(
            ratio(features.orders_amount_365d, features.family_orders_amount_365d),
            None,
            "share",
            "{value:.0%} of the family's orders in 365 days are its own",
            "365 天内占集团下单金额的 {value:.0%}",
        ),
    }
