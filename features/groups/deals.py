"""The deal itself, its stages and changes, and the other deals of its customer."""

from typing import Any

import ibis

from features.expressions import SECONDS_PER_DAY, days_between, latest, ratio, whole_seconds
from features.group import Feature, FeatureDict, Window, derived, feature_group
from features.groups.columns import own_column
from features.groups.results import owner_results as owner_results
from features.groups.results import source_results as source_results


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


@feature_group("stage_changes", by="deal_id")
def deal_path(stage_changes: Any) -> FeatureDict:
    """Stages that the deal left out on its way, and changes that moved it back; unlisted stages count for neither."""
    step = stage_changes.stage_rank - stage_changes.previous_stage_rank
    return {
        "deal_stages_skipped_count": Feature(
            (step - 1).sum(where=step > 1),
            0,
            "count",
            "{value:,.0f} stages skipped",
            "跳过 {value:,.0f} 个阶段",
        ),
        "deal_stages_back_count": Feature(
            (step < 0).sum(), 0, "count", "moved back {value:,.0f} times", "阶段回退 {value:,.0f} 次"
        ),
    }


@feature_group("deals", by="deal_id", history=True)
def deal_changes(deals: Any) -> FeatureDict:
    """Changes of the expected close, the amount and the owner that were known by `as_of`, from a known value on."""
    close, before = (
        whole_seconds(day.cast("timestamp(6)")) // SECONDS_PER_DAY
        for day in (deals.expected_close_on, deals.previous_expected_close_on)
    )
    changed = (deals.amount - deals.previous_amount).sum().fill_null(0)
    amount = (deals.amount.fill_null(0) - deals.previous_amount.fill_null(0)).sum()
    return {
        "deal_close_pushes_count": Feature(
            (close > before).sum(),
            0,
            "count",
            "close date pushed {value:,.0f} times",
            "预计成交日推迟 {value:,.0f} 次",
        ),
        "deal_close_pushed_days": Feature(
            (close - before).sum(where=close > before),
            0,
            "days",
            "close date pushed by {value:,.0f} days in all",
            "预计成交日累计推迟 {value:,.0f} 天",
        ),
        "deal_amount_changes_count": Feature(
            (deals.amount != deals.previous_amount).sum(),
            0,
            "count",
            "amount changed {value:,.0f} times",
            "金额变更 {value:,.0f} 次",
        ),
        "deal_amount_growth": Feature(
            ibis.ifelse(amount == 0, ibis.null("float64"), ratio(changed, amount - changed)),
            None,
            "share",
            "amount changed by {value:+.0%} since the first",
            "金额较最初变化 {value:+.0%}",
        ),
        "deal_owner_changes_count": Feature(
            (deals.owner_id != deals.previous_owner_id).sum(),
            0,
            "count",
            "{value:,.0f} changes of owner",
            "负责人变更 {value:,.0f} 次",
        ),
    }


@feature_group("deals", by="deal_id", each="extra_columns")
def deal_columns(deals: Any, column: str) -> FeatureDict:
    """Columns of the deployment's own, in the version known at `as_of`; times as days before it."""
    return own_column(deals, column, "deal")


@derived(needs=("deal_days_in_stage", "stage_usual_days"))
def deal_stay(features: Any) -> FeatureDict:
    """Time in the stage against how long deals usually stay there."""
    return {
        "deal_days_in_stage_ratio": Feature(
            ratio(features.deal_days_in_stage, features.stage_usual_days),
            None,
            "rate",
            "in this stage for {value:.1f} times the usual time",
            "停留时长为该阶段平时的 {value:.1f} 倍",
        )
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
    is_open = deals.closed_at.isnull()
    return {
        "deals_open_count": Feature(is_open.sum(), 0, "count", "{value:,.0f} open deals", "在谈商机 {value:,.0f} 个"),
        "deals_open_amount": Feature(
            deals.amount.sum(where=is_open), 0, "currency", "{value:,.0f} in open deals", "在谈商机金额 {value:,.0f}"
        ),
        "deals_newest_open_days": Feature(
            days_between(deals.created_at.max(where=is_open), deals.as_of.max()),
            None,
            "days",
            "newest open deal begun {value:,.0f} days ago",
            "最近的在谈商机始于 {value:,.0f} 天前",
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
        "deals_won_share": Feature(
            ratio(won.sum(), (won | lost).sum()),
            None,
            "share",
            "{value:.0%} of the customer's deals won",
            "该客户赢单占比 {value:.0%}",
        ),
        "deals_won_amount_mean": Feature(
            ratio(deals.amount.sum(where=won), deals.amount.count(where=won)),
            None,
            "currency",
            "mean deal won {value:,.0f}",
            "平均赢单金额 {value:,.0f}",
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


@derived(needs=("deal_age_days", "deals_open_count"))
def deal_rivals(features: Any) -> FeatureDict:
    """Other open deals of the deal's customer."""
    others = features.deals_open_count - 1.0
    return {
        "deal_rivals_count": Feature(
            ibis.ifelse(others < 0.0, 0.0, others),
            None,
            "count",
            "{value:,.0f} other open deals of the customer",
            "该客户另有 {value:,.0f} 个在谈商机",
        )
    }


@derived(needs=("deal_amount", "deals_won_amount_mean"))
def deal_against_history(features: Any) -> FeatureDict:
    """Amount of the deal against the mean of those that the customer's deals were won with."""
    return {
        "deal_amount_ratio": Feature(
            ratio(features.deal_amount, features.deals_won_amount_mean),
            None,
            "rate",
            "{value:.1f} times the customer's mean deal won",
            "金额为该客户平均赢单的 {value:.1f} 倍",
        )
    }
