"""Contact with the customer and about the deal: how much, of which kind, by whom, and how long ago."""

from typing import Any

from features.expressions import days_between
from features.group import Feature, FeatureDict, Window, feature_group

WINDOWS = (14, 30, 90)


def _counts(activities: Any, window: Window, prefix: str, en: str, zh: str) -> FeatureDict:
    inbound = activities.direction == "inbound"
    meeting = activities.kind == "meeting"
    return {
        f"{prefix}_count_{window}": Feature(
            window.mask.sum(),
            0,
            "count",
            f"{{value:,.0f}} {en} in {window.days} days",
            f"{window.days} 天内{zh} {{value:,.0f}} 次",
        ),
        f"{prefix}_inbound_count_{window}": Feature(
            (inbound & window.mask).sum(),
            0,
            "count",
            f"{{value:,.0f}} {en} begun by the customer in {window.days} days",
            f"{window.days} 天内客户主动{zh} {{value:,.0f}} 次",
        ),
        f"{prefix}_meeting_count_{window}": Feature(
            (meeting & window.mask).sum(),
            0,
            "count",
            f"{{value:,.0f}} meetings in {window.days} days",
            f"{window.days} 天内会面 {{value:,.0f}} 次",
        ),
    }


def _history(activities: Any, prefix: str, en: str, zh: str) -> FeatureDict:
    inbound = activities.direction == "inbound"
    return {
        f"{prefix}_count": Feature(
            activities.row.count(), 0, "count", f"{{value:,.0f}} {en} so far", f"累计{zh} {{value:,.0f}} 次"
        ),
        f"{prefix}_inbound_count": Feature(
            inbound.sum(),
            0,
            "count",
            f"{{value:,.0f}} {en} begun by the customer so far",
            f"累计客户主动{zh} {{value:,.0f}} 次",
        ),
        f"{prefix}_days_since_last": Feature(
            days_between(activities.occurred_at.max(), activities.as_of.max()),
            None,
            "days",
            f"last of the {en} {{value:,.0f}} days ago",
            f"距上次{zh} {{value:,.0f}} 天",
        ),
    }


@feature_group("activities", by="customer_id", windows=WINDOWS, optional=("direction", "kind"))
def customer_activity(activities: Any, window: Window) -> FeatureDict:
    """Activities with the customer, its deals' included, in `[as_of - window, as_of)`."""
    return _counts(activities, window, "activities", "contacts", "联系")


@feature_group("activities", by="customer_id", optional=("direction",))
def customer_activity_history(activities: Any) -> FeatureDict:
    """All activities with the customer so far, and days since the last."""
    return _history(activities, "activities", "contacts", "联系")


@feature_group("activities", by="deal_id", windows=WINDOWS, optional=("direction", "kind"))
def deal_activity(activities: Any, window: Window) -> FeatureDict:
    """Activities about the deal itself in `[as_of - window, as_of)`."""
    return _counts(activities, window, "deal_activities", "contacts about the deal", "商机联系")


@feature_group("activities", by="deal_id", optional=("direction",))
def deal_activity_history(activities: Any) -> FeatureDict:
    """All activities about the deal so far, and days since the last."""
    return _history(activities, "deal_activities", "contacts about the deal", "商机联系")
