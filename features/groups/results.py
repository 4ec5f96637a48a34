"""How deals that share something ended, as known then, shrunk to the overall rate."""

from typing import Any

from features.group import Pooled, pooled_group

STRENGTH = 20
"""Deals' worth of the overall rate that is added: a rate of a few deals says little."""


@pooled_group("deals", by="owner_id", at="closed_at")
def owner_results(deals: Any) -> dict[str, Pooled]:
    """How often deals of the same owner were won, as known at `as_of`, shrunk to the overall rate."""
    return {
        "owner_deals_won_rate": Pooled(
            deals.outcome == "won",
            STRENGTH,
            "owner_deals_closed_count_365d",
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
            STRENGTH,
            "source_deals_closed_count_365d",
            "{value:.0%} of deals from this source are won",
            "该来源赢单率 {value:.0%}",
        )
    }


@pooled_group("deals", by="product", at="closed_at")
def product_results(deals: Any) -> dict[str, Pooled]:
    """How often deals about the same product were won, as known at `as_of`, shrunk to the overall rate."""
    return {
        "product_deals_won_rate": Pooled(
            deals.outcome == "won",
            STRENGTH,
            "product_deals_closed_count_365d",
            "{value:.0%} of deals about this product are won",
            "该产品赢单率 {value:.0%}",
        )
    }


@pooled_group("deals", by="customer_id", at="closed_at")
def customer_results(deals: Any) -> dict[str, Pooled]:
    """How often deals of the same customer were won, as known at `as_of`, shrunk to the overall rate."""
    return {
        "customer_deals_won_rate": Pooled(
            deals.outcome == "won",
            STRENGTH,
            "customer_deals_closed_count_365d",
            "{value:.0%} of deals with this customer are won",
            "该客户赢单率 {value:.0%}",
        )
    }


@pooled_group("deals", by="region", at="closed_at", via="customers")
def region_results(deals: Any) -> dict[str, Pooled]:
    """How often deals of customers in the same region were won, as known at `as_of`, shrunk to the overall rate."""
    return {
        "region_deals_won_rate": Pooled(
            deals.outcome == "won",
            STRENGTH,
            "region_deals_closed_count_365d",
            "{value:.0%} of deals in this region are won",
            "该地区赢单率 {value:.0%}",
        )
    }
