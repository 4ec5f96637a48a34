"""A simulated CRM: who the customers are, what happens to them, and what of it the tables show.

Conversion and churn depend partly on state that no table shows (need, budget, satisfaction, the
momentum of a deal, the phase of an account) and partly on behaviour that tables do show. Everything
is drawn from one generator in a fixed order, so the same seed gives the same tables.
"""

import numpy as np
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.simulation_activities import draw_activities
from pipeline.simulation_history import change_customers, change_deals
from pipeline.simulation_invoices import draw_invoices
from pipeline.simulation_mechanics import draw_world
from pipeline.simulation_output import MADE_BY, write_files
from pipeline.simulation_sql import write_sql
from pipeline.simulation_tables import (
    build_activities,
    build_attribute_changes,
    build_contacts,
    build_customers,
    build_deals,
    build_invoices,
    build_orders,
    build_stage_changes,
    draw_closing_known,
)
from pipeline.simulation_world import NOW

__all__ = ["EVENT_TABLES", "simulate_crm", "write_files", "write_sql"]

MOST_EVENTS = 10_000
"""More events per customer are taken for a slip of the pen."""

EVENT_TABLES = ("stage_changes", "activities", "orders", "invoices", "attribute_changes")


def simulate_crm(customers: int, seed: int, *, events_per_customer: float = 80.0) -> dict[str, pa.Table]:
    """Simulate three years of a CRM.

    Parameters
    ----------
    customers : int
        Number of customers, at least 20.
    seed : int
        Same seed and same numbers: same tables, to the bit.
    events_per_customer : float
        Rows of all event tables together per customer. Deals, orders and invoices do not depend on
        it: the number of activities is what is left.

    Returns
    -------
    dict of pyarrow.Table
        The canonical tables customers, contacts, deals, stage_changes, activities, orders, invoices
        and attribute_changes, each with `known_at`, and `clock` with one row: `now` (UTC) and what
        made the tables. All times are whole seconds.

    Raises
    ------
    ConfigError
        If there are too few customers or events.

    Examples
    --------
    >>> tables = simulate_crm(50, seed=1)
    >>> tables["customers"].num_rows
    50
    >>> str(tables["clock"]["now"][0])
    '2025-06-30 22:00:00'

    """
    if customers < 20:
        raise ConfigError(f"customers is {customers}, expected at least 20. Simulate a larger CRM.")
    rng = np.random.default_rng(seed)
    world = draw_world(rng, customers)
    owners, people, contacts, deals = world.owners, world.customers, world.contacts, world.deals
    progress, accounts, orders = world.progress, world.accounts, world.orders
    invoices = draw_invoices(rng, people, accounts, orders)
    values, customer_changes = change_customers(rng, people, accounts, owners)
    deal_values, deal_changes = change_deals(rng, deals, progress, owners)
    closing_known = draw_closing_known(rng, progress)
    tables = {
        "customers": build_customers(rng, people, values),
        "contacts": build_contacts(rng, contacts),
        "deals": build_deals(rng, deals, progress, deal_values, closing_known),
        "stage_changes": build_stage_changes(rng, progress),
        "orders": build_orders(rng, orders),
        "invoices": build_invoices(rng, invoices),
        "attribute_changes": build_attribute_changes(rng, [*customer_changes, *deal_changes], progress, closing_known),
        "clock": pa.table(
            {"now": pa.array([NOW], pa.timestamp("us")), "made_by": [MADE_BY], "customers": [customers], "seed": [seed]}
        ),
    }
    events = sum(tables[name].num_rows for name in EVENT_TABLES if name in tables)
    if not events / customers + 1 <= events_per_customer <= MOST_EVENTS:
        raise ConfigError(
            f"events_per_customer is {events_per_customer:g}, but deals, orders and invoices already make "
            f"{events / customers:.1f} per customer. Pass {np.ceil(events / customers + 1):.0f} to {MOST_EVENTS:,}."
        )
    count = customers * events_per_customer - events
    activities = draw_activities(rng, people, contacts, accounts, deals, progress.weeks, count)
    tables["activities"] = build_activities(rng, activities, (people.owner, deals.owner))
    return tables
