"""Lay a simulated world out as tables: which draw goes into which table, each with its own randomness."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.tables import TABLES
from pipeline.errors import ConfigError
from pipeline.simulation_activities import Activities, draw_activities
from pipeline.simulation_assessments import draw_assessments
from pipeline.simulation_customers import build_contacts, build_customers
from pipeline.simulation_history import CustomerValues, change_customers, change_deals
from pipeline.simulation_invoices import draw_invoices
from pipeline.simulation_leaks import customer_leaks, deal_leaks
from pipeline.simulation_mechanics import World
from pipeline.simulation_numbers import Numbers, make_generator
from pipeline.simulation_register import Register
from pipeline.simulation_subscriptions import draw_subscriptions
from pipeline.simulation_tables import (
    build_activities,
    build_assessments,
    build_attribute_changes,
    build_deals,
    build_invoices,
    build_orders,
    build_stage_changes,
    build_subscriptions,
    build_tickets,
    draw_closing_known,
)
from pipeline.simulation_tickets import draw_tickets

EVENT_TABLES = ("stage_changes", "activities", "orders", "invoices", "tickets", "assessments", "attribute_changes")
"""The tables that `events_per_customer` counts."""


@dataclass(frozen=True)
class _Draws:
    """The randomness of each topic of one part."""

    seed: int
    part: int

    def __call__(self, topic: str) -> np.random.Generator:
        return make_generator(self.seed, self.part, topic)


def lay_out(
    world: World,
    register: Register,
    numbers: Numbers,
    *,
    seed: int,
    part: int,
    events_per_customer: float,
    has_leaks: bool = False,
) -> dict[str, pa.Table]:
    """Return the canonical tables of one part; activities fill up what is missing to the number of events.

    Raises
    ------
    ConfigError
        If the other tables have more rows already.

    """
    draws = _Draws(seed, part)
    tables = _lay_out_entities(world, register, numbers, draws) | _lay_out_events(world, register, numbers, draws)
    rows = sum(tables[name].num_rows for name in EVENT_TABLES if name in tables)
    customers = len(register.customers)
    if not rows / customers + 1 <= events_per_customer:
        raise ConfigError(
            f"events_per_customer is {events_per_customer:g}, but deals, orders and invoices already make "
            f"{rows / customers:.1f} per customer. Pass at least {np.ceil(rows / customers + 1):.0f}."
        )
    count, rng = customers * events_per_customer - rows, draws("activities")
    activities = draw_activities(
        rng, world.customers, world.contacts, world.accounts, world.deals, world.progress.weeks, count
    )
    authors = world.customers.owner, world.deals.owner
    tables["activities"] = build_activities(draws("activity rows"), activities, authors, register, numbers)
    if has_leaks:
        tables |= _with_leaks(tables, world, register, numbers, activities, draws("leaks"))
    return {name: tables[name] for name in TABLES}


def _lay_out_events(world: World, register: Register, numbers: Numbers, draws: _Draws) -> dict[str, pa.Table]:
    """Return orders, invoices, tickets and assessments."""
    people, accounts = world.customers, world.accounts
    invoices = draw_invoices(draws("invoices"), people, accounts, world.orders)
    tickets = draw_tickets(draws("tickets"), people, accounts)
    assessments = draw_assessments(
        draws("assessments"), people, world.contacts, world.owners, world.deals, world.progress, accounts
    )
    return {
        "orders": build_orders(draws("order rows"), world.orders, numbers),
        "invoices": build_invoices(draws("invoice rows"), invoices, numbers),
        "tickets": build_tickets(draws("ticket rows"), tickets, register, numbers),
        "assessments": build_assessments(draws("assessment rows"), assessments, numbers),
    }


def _lay_out_entities(world: World, register: Register, numbers: Numbers, draws: _Draws) -> dict[str, pa.Table]:
    """Return customers and contacts, deals with their stages, subscriptions, and the changes of their fields."""
    rng = draws("customers")
    values, changes = change_customers(rng, world.customers, world.accounts, world.owners, numbers)
    tables = {"customers": build_customers(rng, register, _of_register(values, register), numbers, draws.part)}
    tables["contacts"] = build_contacts(draws("contacts"), register, numbers)
    rng = draws("deals")
    deal_values, deal_changes = change_deals(rng, world.deals, world.progress, world.owners, numbers)
    closing_known = draw_closing_known(rng, world.progress)
    tables["deals"] = build_deals(rng, world.deals, world.progress, deal_values, closing_known, numbers)
    tables["stage_changes"] = build_stage_changes(rng, world.progress, numbers)
    rng = draws("subscriptions")
    subscriptions = draw_subscriptions(rng, world.customers, world.accounts)
    tables["subscriptions"] = build_subscriptions(rng, subscriptions, numbers)
    changes = [*changes, *deal_changes, *subscriptions.changes]
    rng = draws("attribute changes")
    tables["attribute_changes"] = build_attribute_changes(rng, changes, world.progress, closing_known, numbers)
    return tables


def _of_register(values: CustomerValues, register: Register) -> CustomerValues:
    """Return the values of all rows of customers; those of idle addresses and duplicates have not changed."""
    people, count = register.customers, len(values.grade)
    return CustomerValues(
        employees=np.concatenate([values.employees, people.employees[count:]]),
        revenue=np.concatenate([values.revenue, people.revenue[count:]]),
        grade=np.concatenate([values.grade, people.grade[count:]]),
        owner=np.concatenate([values.owner, people.owner[count:]]),
    )


def _with_leaks(
    tables: dict[str, pa.Table],
    world: World,
    register: Register,
    numbers: Numbers,
    activities: Activities,
    rng: np.random.Generator,
) -> dict[str, pa.Table]:
    """Return customers and deals with the planted columns."""
    people, customers, deals = register.customers, tables["customers"], tables["deals"]
    place = pa.array(np.argsort(numbers.customer))
    for column, values in customer_leaks(rng, world.orders, people.size, people.created).items():
        customers = customers.append_column(column, values.take(place))
    for column, values in deal_leaks(rng, world.progress, activities).items():
        deals = deals.append_column(column, values)
    return {"customers": customers, "deals": deals}
