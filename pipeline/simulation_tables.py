"""Lay the simulated world out as CRM tables: what a CRM shows, and when each row became known."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.simulation_accounts import Orders
from pipeline.simulation_activities import DIRECTIONS, KINDS, OUTCOMES, Activities
from pipeline.simulation_columns import (
    date_column,
    draw_known,
    id_column,
    label_column,
    money_column,
    number_column,
    office_time,
    planned_column,
    time_column,
)
from pipeline.simulation_deals import LOST, LOST_REASONS, OPEN, PRODUCTS, STAGES, Deals, Progress
from pipeline.simulation_history import Change, CustomerValues, DealValues, owner_column
from pipeline.simulation_invoices import Invoices
from pipeline.simulation_world import (
    DAY,
    GRADES,
    HISTORY,
    INDUSTRIES,
    REGIONS,
    SENIORITIES,
    SOURCES,
    Codes,
    Contacts,
    Customers,
    Floats,
)

_NAME_STARTS = ("Alder", "Ash", "Birk", "Bright", "Cedar", "Clear", "Delta", "East", "Elm", "Falk", "Fern", "Gold",
                "Green", "Hall", "Hart", "High", "Iron", "Kern", "Lake", "Linden", "Mark", "Mill", "New", "Nord",
                "North", "Oak", "Old", "Rein", "River", "Silver", "South", "Stein", "Stone", "Sun", "Vale", "West",
                "White", "Wind", "Winter", "Wolf")  # fmt: skip
_NAME_ENDS = ("bach", "berg", "bridge", "brook", "burg", "dale", "feld", "field", "ford", "gate", "hafen", "haus",
              "hill", "land", "mark", "mere", "mont", "point", "port", "ridge", "stad", "stead", "ton", "wald", "ware",
              "well", "werk", "wick", "wood", "worth")  # fmt: skip
_TRADES = ("Machines", "Trading", "Logistics", "Building", "Software", "Medical", "Foods", "Services")
_LEGAL_FORMS = ("GmbH", "Ltd", "Inc", "AG", "B.V.", "S.A.")
_TITLES = ("Buyer", "Engineer", "Accountant", "Purchasing Manager", "Plant Manager", "Sales Manager",
           "Director of Operations", "Finance Director", "IT Director", "CEO", "CFO", "COO")  # fmt: skip


def customer_column(customers: Codes) -> pa.StringArray:
    """Return ids of customers."""
    return id_column("C", np.where(customers >= 0, customers + 1, -1), 7)


def deal_column(deals: Codes) -> pa.StringArray:
    """Return ids of deals."""
    return id_column("D", np.where(deals >= 0, deals + 1, -1), 8)


def contact_column(contacts: Codes) -> pa.StringArray:
    """Return ids of contacts."""
    return id_column("P", contacts + 1, 8)


def build_customers(rng: np.random.Generator, customers: Customers, values: CustomerValues) -> pa.Table:
    """Customers with the values of today; what they were before is in attribute_changes."""
    created = office_time(customers.created)
    count = len(customers)
    starts = label_column(_NAME_STARTS, rng.integers(len(_NAME_STARTS), size=count))
    stem = pc.binary_join_element_wise(starts, label_column(_NAME_ENDS, rng.integers(len(_NAME_ENDS), size=count)), "")
    legal = label_column(_LEGAL_FORMS, rng.integers(len(_LEGAL_FORMS), size=count))
    trade = label_column(_TRADES, customers.industry)
    founded = np.floor(customers.created / DAY) - customers.age_days
    return pa.table(
        {
            "customer_id": customer_column(np.arange(count)),
            "created_at": time_column(created),
            "known_at": time_column(draw_known(rng, "customers", created, must_be_in=True)),
            "name": pc.binary_join_element_wise(stem, trade, legal, " "),
            "domain": pc.binary_join_element_wise(pc.utf8_lower(stem), pc.utf8_lower(trade), "example", "."),
            "industry": label_column(INDUSTRIES, customers.industry),
            "region": label_column(REGIONS, customers.region),
            "employees": number_column(values.employees),
            "annual_revenue": money_column(values.revenue),
            "founded_on": date_column(founded),
            "parent_id": customer_column(customers.parent),
            "owner_id": owner_column(values.owner),
            "source": label_column(SOURCES, customers.source),
            "credit_grade": label_column(GRADES, values.grade),
        }
    )


def build_contacts(rng: np.random.Generator, contacts: Contacts) -> pa.Table:
    """People at the customers."""
    created = office_time(contacts.created)
    count = len(contacts.customer)
    return pa.table(
        {
            "contact_id": contact_column(np.arange(count)),
            "created_at": time_column(created),
            "known_at": time_column(draw_known(rng, "contacts", created, must_be_in=True)),
            "customer_id": customer_column(contacts.customer),
            "title": label_column(_TITLES, contacts.seniority * 3 + rng.integers(3, size=count)),
            "seniority": label_column(SENIORITIES, contacts.seniority),
            "is_decision_maker": pa.array(contacts.is_decision_maker),
        }
    )


def draw_closing_known(rng: np.random.Generator, progress: Progress) -> Floats:
    """Draw when the close of a deal was entered; infinite while the deal is open."""
    return draw_known(rng, "deals.closed_at", office_time(progress.closed), must_be_in=True)


def build_deals(
    rng: np.random.Generator, deals: Deals, progress: Progress, values: DealValues, closing_known: Floats
) -> pa.Table:
    """Deals with the values of today, their stage among them."""
    created = office_time(deals.created)
    reason = rng.choice(len(LOST_REASONS), len(deals), p=[0.25, 0.2, 0.2, 0.2, 0.15])
    reason = np.where(progress.outcome == LOST, reason, -1)
    return pa.table(
        {
            "deal_id": deal_column(np.arange(len(deals))),
            "created_at": time_column(created),
            "known_at": time_column(draw_known(rng, "deals", created, must_be_in=True)),
            "customer_id": customer_column(deals.customer),
            "source": label_column(SOURCES, deals.source),
            "product": label_column(PRODUCTS, deals.product),
            "owner_id": owner_column(values.owner),
            "amount": money_column(values.amount),
            "expected_close_on": date_column(values.expected_day),
            "stage": label_column((*STAGES, "won", "lost"), _stage_today(progress)),
            "closed_at": time_column(office_time(progress.closed)),
            "closed_at_known_at": time_column(closing_known),
            "outcome": label_column(("won", "lost"), progress.outcome - 1),
            "lost_reason": label_column(LOST_REASONS, reason),
        }
    )


def _stage_today(progress: Progress) -> Codes:
    return np.where(progress.outcome == OPEN, progress.stage, len(STAGES) - 1 + progress.outcome)


def build_stage_changes(rng: np.random.Generator, progress: Progress) -> pa.Table:
    """Every stage a deal entered while it was open, the first at its creation."""
    moves = progress.moves
    order = np.argsort(moves.occurred, kind="stable")
    occurred = office_time(moves.occurred[order])
    return pa.table(
        {
            "deal_id": deal_column(moves.deal[order]),
            "occurred_at": time_column(occurred),
            "known_at": time_column(draw_known(rng, "stage_changes", occurred, must_be_in=True)),
            "stage": label_column(STAGES, moves.stage[order]),
        }
    )


def _entered(rng: np.random.Generator, name: str, occurred: Floats) -> tuple[Codes, Floats, Floats]:
    """Order rows by time and leave out those not entered by the clock: their places, times and `known_at`."""
    order = np.argsort(occurred, kind="stable")
    moved = office_time(occurred[order])
    known = draw_known(rng, name, moved)
    keep = (occurred[order] < HISTORY) & (known < HISTORY)
    return order[keep], moved[keep], known[keep]


def build_activities(rng: np.random.Generator, activities: Activities, authors: tuple[Codes, Codes]) -> pa.Table:
    """Calls, mails, meetings and support requests; `authors` are the owners of customers and of deals."""
    rows, occurred, known = _entered(rng, "activities", activities.occurred)
    deal, direction = activities.deal[rows], activities.direction[rows]
    of_customer, of_deal = authors
    author = np.where(deal >= 0, of_deal[np.maximum(deal, 0)], of_customer[activities.customer[rows]])
    contact = activities.contact[rows]
    return pa.table(
        {
            "activity_id": id_column("A", np.arange(1, len(rows) + 1), 9),
            "occurred_at": time_column(occurred),
            "known_at": time_column(known),
            "customer_id": customer_column(activities.customer[rows]),
            "deal_id": deal_column(deal),
            "contact_id": contact_column(contact),
            "kind": label_column(KINDS, activities.kind[rows]),
            "direction": label_column(DIRECTIONS, direction),
            "outcome": label_column(OUTCOMES, activities.outcome[rows]),
            "duration_s": number_column(activities.duration_s[rows], ~activities.has_duration[rows]),
            "author": label_column(owner_column(np.arange(author.max() + 1)), np.where(direction == 0, author, -1)),
        }
    )


def build_orders(rng: np.random.Generator, orders: Orders) -> pa.Table:
    """Orders and returns."""
    rows, occurred, known = _entered(rng, "orders", orders.occurred)
    return pa.table(
        {
            "order_id": id_column("R", np.arange(1, len(rows) + 1), 8),
            "occurred_at": time_column(occurred),
            "known_at": time_column(known),
            "customer_id": customer_column(orders.customer[rows]),
            "amount": money_column(orders.amount[rows]),
            "cost": money_column(orders.cost[rows]),
            "product": label_column(PRODUCTS, orders.product[rows]),
            "quantity": pa.array(orders.quantity[rows]),
        }
    )


def build_invoices(rng: np.random.Generator, invoices: Invoices) -> pa.Table:
    """Invoices with what was paid, and known to be paid, by the clock."""
    rows, occurred, known = _entered(rng, "invoices", invoices.occurred)
    paid = office_time(invoices.paid[rows])
    paid_known = np.maximum(draw_known(rng, "invoices.paid_at", paid), known)
    is_paid = paid_known < HISTORY
    return pa.table(
        {
            "invoice_id": id_column("I", np.arange(1, len(rows) + 1), 8),
            "occurred_at": time_column(occurred),
            "known_at": time_column(known),
            "customer_id": customer_column(invoices.customer[rows]),
            "amount": money_column(invoices.amount[rows]),
            "due_at": planned_column(office_time(invoices.due[rows])),
            "paid_at": time_column(np.where(is_paid, paid, np.inf)),
            "paid_at_known_at": time_column(np.where(is_paid, paid_known, np.inf)),
            "written_off_at": time_column(office_time(invoices.written_off[rows])),
        }
    )


def build_attribute_changes(
    rng: np.random.Generator, changes: Sequence[Change], progress: Progress, closing_known: Floats
) -> pa.Table:
    """The field history; what was overwritten at a close is not known before the close is."""
    occurred = np.concatenate([change.occurred for change in changes])
    order = np.argsort(occurred, kind="stable")
    moved = office_time(occurred)
    known = draw_known(rng, "attribute_changes", moved, must_be_in=True)
    begins = np.cumsum([0, *(len(change.entity) for change in changes)])
    for change, begin in zip(changes, begins, strict=False):
        if change.table == "deals":
            is_closing = change.occurred >= progress.closed[change.entity]
            part = known[begin : begin + len(change.entity)]
            part[is_closing] = np.maximum(part, closing_known[change.entity])[is_closing]
    columns = {
        "occurred_at": time_column(moved),
        "known_at": time_column(known),
        "table_name": pa.concat_arrays([pa.repeat(change.table, len(change.entity)) for change in changes]),
        "entity_id": pa.concat_arrays([_entity_column(change) for change in changes]),
        "field": pa.concat_arrays([pa.repeat(change.field, len(change.entity)) for change in changes]),
        "old_value": pa.concat_arrays([change.old for change in changes]),
        "new_value": pa.concat_arrays([change.new for change in changes]),
    }
    return pa.table({name: column.take(pa.array(order)) for name, column in columns.items()})


def _entity_column(change: Change) -> pa.StringArray:
    return deal_column(change.entity) if change.table == "deals" else customer_column(change.entity)
