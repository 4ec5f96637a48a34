"""The catalog: all feature groups, in the order of their columns."""

from features.group import Group
from features.groups.activities import (
    customer_activity,
    customer_activity_history,
    deal_activity,
    deal_activity_history,
)
from features.groups.deals import (
    customer_deals,
    customer_deals_lately,
    deal_pace,
    deal_profile,
    deal_stage,
    owner_results,
    source_results,
)
from features.groups.orders import order_demand, order_gaps, order_history, order_rates, order_silence
from features.groups.profile import customer_profile
from features.groups.stages import stage_stays

CATALOG: tuple[Group, ...] = (
    customer_profile,
    order_history,
    order_demand,
    order_gaps,
    order_silence,
    order_rates,
    customer_activity_history,
    customer_activity,
    deal_profile,
    deal_stage,
    deal_pace,
    deal_activity_history,
    deal_activity,
    customer_deals,
    customer_deals_lately,
    owner_results,
    source_results,
    stage_stays,
)
