"""Contact with the customer and about the deal: how much, of which kind, by whom, and how long ago."""

from typing import Any

import ibis

from features.expressions import SECONDS_PER_DAY, days_between, ratio, whole_seconds
from features.group import Feature, FeatureDict, Window, derived, feature_group
from features.groups.contacts import is_senior

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


def _mix(activities: Any, window: Window, prefix: str, en: str, zh: str) -> FeatureDict:
    inbound = window.mask & (activities.direction == "inbound")
    outbound = window.mask & (activities.direction == "outbound")
    called = outbound & (activities.kind == "call") & activities.outcome.notnull()
    soon = activities.occurred_at <= activities.previous_occurred_at + ibis.interval(days=1)
    days = window.days
    counts = {
        "call": (window.mask & (activities.kind == "call"), "calls", "电话"),
        "email": (window.mask & (activities.kind == "email"), "emails", "邮件"),
        "outbound": (outbound, f"{en} begun by us", f"我方主动{zh}"),
    }
    shares = {
        "inbound_share": (inbound, inbound | outbound, f"of {en} begun by the customer", f"客户主动{zh}占比"),
        "answered_share": (called & (activities.outcome == "answered"), called, "of our calls answered", "去电接通率"),
        "burst_share": (soon & window.mask, window.mask, f"of {en} within a day of another", f"一日内接连{zh}占比"),
    }
    return {
        f"{prefix}_{name}_count_{window}": Feature(
            rows.sum(), 0, "count", f"{{value:,.0f}} {words} in {days} days", f"{days} 天内{ci} {{value:,.0f}} 次"
        )
        for name, (rows, words, ci) in counts.items()
    } | {
        f"{prefix}_{name}_{window}": Feature(
            ratio(part.sum(), whole.sum()),
            None,
            "share",
            f"{{value:.0%}} {words} in {days} days",
            f"{days} 天内{ci} {{value:.0%}}",
        )
        for name, (part, whole, words, ci) in shares.items()
    }


def _replies(activities: Any, window: Window, prefix: str) -> FeatureDict:
    asked = activities.previous_outbound_at
    is_first = activities.previous_inbound_at.isnull() | (activities.previous_inbound_at <= asked)
    answers = (activities.direction == "inbound") & is_first & window.on(asked)
    outbound = (activities.direction == "outbound") & window.mask
    waited = whole_seconds(activities.occurred_at) - whole_seconds(asked)
    return {
        f"{prefix}_response_ratio_{window}": Feature(
            ratio(answers.sum(), outbound.sum()),
            None,
            "share",
            f"answered {{value:.0%}} of our contacts in {window.days} days",
            f"{window.days} 天内客户回应率 {{value:.0%}}",
        ),
        f"{prefix}_response_days_{window}": Feature(
            ratio(waited.sum(where=answers), answers.sum()) / SECONDS_PER_DAY,
            None,
            "days",
            f"took {{value:.1f}} days to answer in {window.days} days",
            f"{window.days} 天内平均 {{value:.1f}} 天回应",
        ),
    }


def _meetings(activities: Any, window: Window, prefix: str) -> FeatureDict:
    meeting = (activities.kind == "meeting") & window.mask
    senior = ibis.ifelse(meeting, is_senior(activities.contact_seniority), False)  # reads the text of meetings only
    return {
        f"{prefix}_meeting_decision_maker_count_{window}": Feature(
            (meeting & activities.contact_is_decision_maker).sum(),
            0,
            "count",
            f"{{value:,.0f}} meetings with decision makers in {window.days} days",
            f"{window.days} 天内与决策人会面 {{value:,.0f}} 次",
        ),
        f"{prefix}_meeting_senior_count_{window}": Feature(
            (meeting & senior).sum(),
            0,
            "count",
            f"{{value:,.0f}} meetings with directors or executives in {window.days} days",
            f"{window.days} 天内与总监或高管会面 {{value:,.0f}} 次",
        ),
    }


def _rhythm(activities: Any, prefix: str, en: str, zh: str) -> FeatureDict:
    now, last = activities.as_of.max(), activities.occurred_at.max()
    first_day, last_day = (whole_seconds(time) // SECONDS_PER_DAY for time in (activities.occurred_at.min(), last))
    gaps = (activities.occurred_at.date() > activities.previous_occurred_at.date()).sum()
    of_direction = activities.occurred_at.max(where=activities.direction == "inbound")
    of_kind = activities.occurred_at.max(where=activities.kind == "meeting")
    return {
        f"{prefix}_days_since_inbound": Feature(
            days_between(of_direction, now),
            None,
            "days",
            "heard from the customer {value:,.0f} days ago",
            f"距客户上次主动{zh} {{value:,.0f}} 天",
        ),
        f"{prefix}_days_since_meeting": Feature(
            days_between(of_kind, now), None, "days", "last meeting {value:,.0f} days ago", "距上次会面 {value:,.0f} 天"
        ),
        f"{prefix}_silence_ratio": Feature(
            ratio(days_between(last, now) * gaps.cast("float64"), last_day - first_day),
            None,
            "rate",
            f"no {en} for {{value:.1f}} times the usual gap",
            f"未{zh}时长为平时间隔的 {{value:.1f}} 倍",
        ),
    }


def _trend(features: Any, prefix: str, en: str, zh: str) -> FeatureDict:
    lately, quarter = features[f"{prefix}_count_30d"], features[f"{prefix}_count_90d"]
    return {
        f"{prefix}_trend_30d": Feature(
            ratio(lately * 3.0, quarter),
            None,
            "rate",
            f"{en} of 30 days at {{value:.1f}} times the pace of 90 days",
            f"近 30 天{zh}频率为近 90 天的 {{value:.1f}} 倍",
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


@feature_group("activities", by="customer_id", windows=(90,))
def customer_activity_mix(activities: Any, window: Window) -> FeatureDict:
    """Activities with the customer in `[as_of - window, as_of)` by kind and direction, and how many came in bursts.

    A burst is an activity at most one day after the one before, which may lie before the window. Calls whose
    outcome nobody noted are left out of the share answered.
    """
    return _mix(activities, window, "activities", "contacts", "联系")


@feature_group("activities", by="customer_id", windows=(365,))
def customer_replies(activities: Any, window: Window) -> FeatureDict:
    """How many of our activities with the customer in `[as_of - window, as_of)` were answered, and after how long.

    The first inbound activity after an outbound one answers it (the newest, where several went out); of two at
    the same time the inbound one came first.
    """
    return _replies(activities, window, "activities")


@feature_group("activities", by="customer_id", windows=(365,))
def customer_meetings(activities: Any, window: Window) -> FeatureDict:
    """Meetings in `[as_of - window, as_of)` with people of the customer who decide or are senior, known at `as_of`."""
    return _meetings(activities, window, "activities")


@feature_group("activities", by="customer_id")
def customer_activity_rhythm(activities: Any) -> FeatureDict:
    """Days since the customer's last sign of life and last meeting, and the silence against the mean gap of days."""
    return _rhythm(activities, "activities", "contacts", "联系")


@derived(needs=("activities_count_30d", "activities_count_90d"))
def customer_activity_trend(features: Any) -> FeatureDict:
    """Activities with the customer per day in the last 30 days against the last 90: 1 is steady, 3 all of it lately."""
    return _trend(features, "activities", "contacts", "联系")


@feature_group("activities", by="deal_id", windows=(90,))
def deal_activity_mix(activities: Any, window: Window) -> FeatureDict:
    """Activities about the deal in `[as_of - window, as_of)` by kind and direction, and how many came in bursts.

    A burst is an activity at most one day after the one before, which may lie before the window. Calls whose
    outcome nobody noted are left out of the share answered.
    """
    return _mix(activities, window, "deal_activities", "contacts about the deal", "商机联系")


@feature_group("activities", by="deal_id", windows=(365,))
def deal_replies(activities: Any, window: Window) -> FeatureDict:
    """How many of our activities about the deal in `[as_of - window, as_of)` were answered, and after how long.

    The first inbound activity after an outbound one answers it (the newest, where several went out); of two at
    the same time the inbound one came first.
    """
    return _replies(activities, window, "deal_activities")


@feature_group("activities", by="deal_id", windows=(365,))
def deal_meetings(activities: Any, window: Window) -> FeatureDict:
    """Meetings about the deal in `[as_of - window, as_of)` with people who decide or are senior, known at `as_of`."""
    return _meetings(activities, window, "deal_activities")


@feature_group("activities", by="deal_id")
def deal_activity_rhythm(activities: Any) -> FeatureDict:
    """Days since the deal's last sign of life and last meeting, and the silence against the mean gap of days."""
    return _rhythm(activities, "deal_activities", "contacts about the deal", "商机联系")


@derived(needs=("deal_activities_count_30d", "deal_activities_count_90d"))
def deal_activity_trend(features: Any) -> FeatureDict:
    """Activities about the deal per day in the last 30 days against the last 90: 1 is steady, 3 all of it lately."""
    return _trend(features, "deal_activities", "contacts about the deal", "商机联系")
