"""The deal itself, its stage, and how deals of the same customer, owner and source ended so far."""

from typing import Any

from features.expressions import days_between, latest, ratio
from features.group import Feature, FeatureDict, Pooled, Window, derived, feature_group, pooled_group


@feature_group("deals", by="deal_id")
def deal_profile(deals: Any) -> FeatureDict:
    """The open deal in the version known at `as_of`: age, amount, source, product, expected close."""
    now = deals.as_of.max()
    return {
        "deal_age_days": Feature(
            days_between(deals.created_at.min(), now),
            None,
            "days",
            "open for {value:,.0f} days",
            "已开启 {value:,.0f} 天",
        ),
        "deal_amount": Feature(deals.amount.max(), None, "currency", "amount {value:,.0f}", "金额 {value:,.0f}"),
        "deal_days_to_expected_close": Feature(
            days_between(now, deals.expected_close_on.max().cast("timestamp(6)")),
            None,
            "days",
            "expected to close in {value:,.0f} days",
            "预计 {value:,.0f} 天后成交",
        ),
        "deal_source": Feature(deals.source.max(), None, "text", "came through {value}", "来源 {value}"),
        "deal_product": Feature(deals.product.max(), None, "text", "product {value}", "产品 {value}"),
    }


@feature_group("stage_changes", by="deal_id")
def deal_stage(stage_changes: Any) -> FeatureDict:
    """Where the deal stands in the order of stages, how far it ever was, and for how long it has stood still."""
    rank = stage_changes.stage_rank
    return {
        "deal_stage_rank": Feature(
            latest(rank, stage_changes.occurred_at, below=1000),
            None,
            "rank",
            "stage {value:.0f} of the pipeline",
            "处于第 {value:.0f} 阶段",
            direction={"conversion": +1},
        ),
        "deal_stage_rank_max": Feature(
            rank.max(), None, "rank", "reached stage {value:.0f}", "最高到达第 {value:.0f} 阶段"
        ),
        "deal_stage_changes_count": Feature(
            rank.count(), 0, "count", "{value:,.0f} stage changes", "阶段变更 {value:,.0f} 次"
        ),
        "deal_days_in_stage": Feature(
            days_between(stage_changes.occurred_at.max(), stage_changes.as_of.max()),
            None,
            "days",
            "in this stage for {value:,.0f} days",
            "停留本阶段 {value:,.0f} 天",
        ),
    }


@derived(needs=("deal_age_days", "deal_days_in_stage", "deal_stage_rank"))
def deal_pace(features: Any) -> FeatureDict:
    """Stages gained per month of age, and the share of its life that the deal has stood still."""
    return {
        "deal_stages_per_month": Feature(
            features.deal_stage_rank * 30.0 / (features.deal_age_days + 7.0),
            None,
            "rate",
            "{value:.1f} stages a month",
            "每月推进 {value:.1f} 个阶段",
        ),
        "deal_standstill_share": Feature(
            ratio(features.deal_days_in_stage, features.deal_age_days),
            None,
            "share",
            "stood still for {value:.0%} of its life",
            "停滞占比 {value:.0%}",
        ),
    }


@feature_group("deals", by="customer_id")
def customer_deals(deals: Any) -> FeatureDict:
    """Deals of the customer so far: open, won, lost, and the amount won. The deal looked at counts as open."""
    won = deals.outcome == "won"
    lost = deals.outcome == "lost"
    return {
        "deals_open_count": Feature(
            deals.closed_at.isnull().sum(), 0, "count", "{value:,.0f} open deals", "在谈商机 {value:,.0f} 个"
        ),
        "deals_won_count": Feature(won.sum(), 0, "count", "{value:,.0f} deals won before", "此前赢单 {value:,.0f} 个"),
        "deals_lost_count": Feature(
            lost.sum(), 0, "count", "{value:,.0f} deals lost before", "此前输单 {value:,.0f} 个"
        ),
        "deals_won_amount": Feature(
            deals.amount.sum(where=won), 0, "currency", "{value:,.0f} won before", "此前赢单金额 {value:,.0f}"
        ),
        "deals_days_since_won": Feature(
            days_between(deals.closed_at.max(where=won), deals.as_of.max()),
            None,
            "days",
            "last deal won {value:,.0f} days ago",
            "距上次赢单 {value:,.0f} 天",
        ),
    }


@feature_group("deals", by="customer_id", windows=(365,))
def customer_deals_lately(deals: Any, window: Window) -> FeatureDict:
    """Deals of the customer that were won or lost in `[as_of - window, as_of)`."""
    lately = window.on(deals.closed_at)
    return {
        f"deals_{outcome}_count_{window}": Feature(
            ((deals.outcome == outcome) & lately).sum(),
            0,
            "count",
            f"{{value:,.0f}} deals {outcome} in {window.days} days",
            f"{window.days} 天内{zh} {{value:,.0f}} 个",
        )
        for outcome, zh in (("won", "赢单"), ("lost", "输单"))
    }


@pooled_group("deals", by="owner_id", at="closed_at")
def owner_results(deals: Any) -> dict[str, Pooled]:
    """How often deals of the same owner were won, as known at `as_of`, shrunk to the overall rate."""
    return {
        "owner_deals_won_rate": Pooled(
            deals.outcome == "won",
            20,
            "owner_deals_closed_count",
            "the owner wins {value:.0%} of deals",
            "负责人赢单率 {value:.0%}",
            direction={"conversion": +1},
        )
    }


@pooled_group("deals", by="source", at="closed_at")
def source_results(deals: Any) -> dict[str, Pooled]:
    """How often deals from the same source were won, as known at `as_of`, shrunk to the overall rate."""
    return {
        "source_deals_won_rate": Pooled(
            deals.outcome == "won",
            20,
            "source_deals_closed_count",
            "{value:.0%} of deals from this source are won",
            "该来源赢单率 {value:.0%}",
        )
    }
