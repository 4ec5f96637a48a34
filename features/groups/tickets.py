"""What the customer asks for help with: what is open, how severe, how fast it was closed, and how that was received."""

from typing import Any

import ibis

from features.expressions import SECONDS_PER_DAY, days_between, ratio, whole_seconds
from features.group import Feature, FeatureDict, Window, derived, feature_group

WINDOWS = (90, 365)
TREND_DAYS = 90
SEVERE = ("high", "critical")


def _plain(text: Any) -> Any:
    """People write ' High' for 'high'."""
    return text.strip().lower()


def _is_closed(tickets: Any) -> Any:
    return (tickets.closed_at < tickets.as_of).fill_null(False)


def _satisfaction_mean(tickets: Any, rows: Any) -> Any:
    """Mean of what was answered, to four digits, as sums of floats depend on their order; no scale goes to 1e9."""
    given = tickets.satisfaction
    answer = ibis.ifelse(given.abs() < 1e9, given, ibis.null("float64")).cast("decimal(18, 4)")
    return ratio(answer.sum(where=rows), answer.count(where=rows))


@feature_group("tickets")
def ticket_service(tickets: Any) -> FeatureDict:
    """Tickets open at `as_of`, and how all that were closed before went."""
    is_closed = _is_closed(tickets)
    is_severe = _plain(tickets.severity).isin(SEVERE)
    seconds = whole_seconds(tickets.closed_at) - whole_seconds(tickets.occurred_at)
    oldest = tickets.occurred_at.min(where=~is_closed)
    return {
        "tickets_open_count": Feature(
            (~is_closed).sum(), 0, "count", "{value:,.0f} open tickets", "未关闭工单 {value:,.0f} 个"
        ),
        "tickets_severe_open_count": Feature(
            (is_severe & ~is_closed).sum(),
            0,
            "count",
            "{value:,.0f} severe open tickets",
            "未关闭严重工单 {value:,.0f} 个",
        ),
        "tickets_open_days_max": Feature(
            days_between(oldest, tickets.as_of.max()),
            None,
            "days",
            "oldest open ticket waits for {value:,.0f} days",
            "最早的未关闭工单已等待 {value:,.0f} 天",
        ),
        "tickets_days_to_close_mean": Feature(
            ratio(seconds.sum(where=is_closed), is_closed.sum()) / SECONDS_PER_DAY,
            None,
            "days",
            "tickets closed after {value:,.1f} days on average",
            "工单平均 {value:,.1f} 天关闭",
        ),
        "tickets_satisfaction_mean": Feature(
            _satisfaction_mean(tickets, is_closed),
            None,
            "rate",
            "mean satisfaction {value:.1f}",
            "平均满意度 {value:.1f}",
            direction={"churn": -1},
        ),
    }


@feature_group("tickets", windows=(90,))
def ticket_service_lately(tickets: Any, window: Window) -> FeatureDict:
    """Satisfaction with the tickets closed in `[as_of - window, as_of)`, whenever they were opened."""
    return {
        f"tickets_satisfaction_mean_{window}": Feature(
            _satisfaction_mean(tickets, _is_closed(tickets) & window.on(tickets.closed_at)),
            None,
            "rate",
            f"mean satisfaction {{value:.1f}} in {window.days} days",
            f"{window.days} 天内平均满意度 {{value:.1f}}",
            direction={"churn": -1},
        )
    }


@feature_group("tickets", windows=WINDOWS)
def ticket_demand(tickets: Any, window: Window) -> FeatureDict:
    """Tickets opened in `[as_of - window, as_of)`: all, the severe ones, the complaints."""
    kinds = {
        "count": (window.mask, "tickets", "工单"),
        "severe_count": (_plain(tickets.severity).isin(SEVERE) & window.mask, "severe tickets", "严重工单"),
        "complaint_count": ((_plain(tickets.kind) == "complaint") & window.mask, "complaints", "投诉"),
    }
    return {
        f"tickets_{name}_{window}": Feature(
            rows.sum(),
            0,
            "count",
            f"{{value:,.0f}} {en} in {window.days} days",
            f"{window.days} 天内{zh} {{value:,.0f}} 个",
        )
        for name, (rows, en, zh) in kinds.items()
    }


@feature_group("tickets")
def ticket_trend(tickets: Any) -> FeatureDict:
    """Tickets opened in `[as_of - 90 days, as_of)`, less those of the 90 days before."""
    recent, earlier = (tickets.as_of - ibis.interval(days=TREND_DAYS * periods) for periods in (1, 2))
    is_recent = tickets.occurred_at >= recent
    is_earlier = (tickets.occurred_at >= earlier) & ~is_recent
    return {
        f"tickets_trend_{TREND_DAYS}d": Feature(
            is_recent.sum() - is_earlier.sum(),
            0,
            "count",
            f"{{value:+,.0f}} tickets in {TREND_DAYS} days against the {TREND_DAYS} before",
            f"近 {TREND_DAYS} 天工单比前 {TREND_DAYS} 天变化 {{value:+,.0f}} 个",
        )
    }


@derived(needs=("tickets_count_365d", "orders_amount_365d"))
def ticket_load(features: Any) -> FeatureDict:
    """Tickets per 1,000 of revenue in 365 days: the high-maintenance customer; null without revenue."""
    thousands = features.orders_amount_365d / 1000.0
    return {
        "tickets_per_revenue_365d": Feature(
            ibis.ifelse(thousands > 0.0, features.tickets_count_365d / thousands, ibis.null("float64")),
            None,
            "rate",
            "{value:.1f} tickets per 1,000 ordered in 365 days",
            "365 天内每千元订单 {value:.1f} 个工单",
        )
    }
