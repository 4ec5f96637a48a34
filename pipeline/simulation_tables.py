"""Lay the simulated events out as CRM tables: what a CRM shows, and when each row became known."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.simulation_accounts import Orders
from pipeline.simulation_activities import DIRECTIONS, KINDS, OUTCOMES, Activities
from pipeline.simulation_assessments import ANSWERS, QUESTIONS, Assessments
from pipeline.simulation_columns import (
    date_column,
    draw_known,
    label_column,
    money_column,
    number_column,
    office_time,
    planned_column,
    time_column,
)
from pipeline.simulation_deals import LOST, LOST_REASONS, OPEN, PRODUCTS, STAGES, Deals, Progress
from pipeline.simulation_history import Change, DealValues
from pipeline.simulation_invoices import Invoices
from pipeline.simulation_numbers import Numbers
from pipeline.simulation_register import Register
from pipeline.simulation_subscriptions import END_REASONS, PLANS, Subscriptions
from pipeline.simulation_tickets import SEVERITIES, TICKET_KINDS, Tickets
from pipeline.simulation_world import HISTORY, SOURCES, Codes, Floats


def draw_closing_known(rng: np.random.Generator, progress: Progress) -> Floats:
    """Draw when the close of a deal was entered; infinite while the deal is open."""
    return draw_known(rng, "deals.closed_at", office_time(progress.closed), must_be_in=True)


def build_deals(
    rng: np.random.Generator,
    deals: Deals,
    progress: Progress,
    values: DealValues,
    closing_known: Floats,
    numbers: Numbers,
) -> pa.Table:
    """Deals with the values of today, their stage among them."""
    created = office_time(deals.created)
    reason = rng.choice(len(LOST_REASONS), len(deals), p=[0.25, 0.2, 0.2, 0.2, 0.15])
    reason = np.where(progress.outcome == LOST, reason, -1)
    return pa.table(
        {
            "deal_id": numbers.deals(np.arange(len(deals))),
            "created_at": time_column(created),
            "known_at": time_column(draw_known(rng, "deals", created, must_be_in=True)),
            "customer_id": numbers.customers(deals.customer),
            "source": label_column(SOURCES, deals.source),
            "product": label_column(PRODUCTS, deals.product),
            "owner_id": numbers.owners(values.owner),
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


def build_stage_changes(rng: np.random.Generator, progress: Progress, numbers: Numbers) -> pa.Table:
    """Every stage a deal entered while it was open, the first at its creation."""
    moves = progress.moves
    order = np.argsort(moves.occurred, kind="stable")
    occurred = office_time(moves.occurred[order])
    return pa.table(
        {
            "deal_id": numbers.deals(moves.deal[order]),
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


def build_activities(
    rng: np.random.Generator,
    activities: Activities,
    authors: tuple[Codes, Codes],
    register: Register,
    numbers: Numbers,
) -> pa.Table:
    """Calls, mails, meetings and support requests; `authors` are the owners of customers and of deals."""
    rows, occurred, known = _entered(rng, "activities", activities.occurred)
    deal, direction, customer = activities.deal[rows], activities.direction[rows], activities.customer[rows]
    of_customer, of_deal = authors
    author = np.where(deal >= 0, of_deal[np.maximum(deal, 0)], of_customer[customer])
    held = register.holder(rng, customer, activities.occurred[rows], known)
    return pa.table(
        {
            "activity_id": numbers.rows("activities", np.arange(len(rows))),
            "occurred_at": time_column(occurred),
            "known_at": time_column(known),
            "customer_id": numbers.customers(np.where(deal >= 0, customer, held)),
            "deal_id": numbers.deals(deal),
            "contact_id": numbers.contacts(activities.contact[rows]),
            "kind": label_column(KINDS, activities.kind[rows]),
            "direction": label_column(DIRECTIONS, direction),
            "outcome": label_column(OUTCOMES, activities.outcome[rows]),
            "duration_s": number_column(activities.duration_s[rows], ~activities.has_duration[rows]),
            "author": numbers.owners(np.where(direction == 0, author, -1)),
        }
    )


def build_orders(rng: np.random.Generator, orders: Orders, numbers: Numbers) -> pa.Table:
    """Orders and returns."""
    rows, occurred, known = _entered(rng, "orders", orders.occurred)
    return pa.table(
        {
            "order_id": numbers.rows("orders", np.arange(len(rows))),
            "occurred_at": time_column(occurred),
            "known_at": time_column(known),
            "customer_id": numbers.customers(orders.customer[rows]),
            "amount": money_column(orders.amount[rows]),
            "cost": money_column(orders.cost[rows]),
            "product": label_column(PRODUCTS, orders.product[rows]),
            "quantity": pa.array(orders.quantity[rows]),
        }
    )


def build_invoices(rng: np.random.Generator, invoices: Invoices, numbers: Numbers) -> pa.Table:
    """Invoices with what was paid or written off, and known to be, by the clock.

    `paid_amount` is what `paid_at` brought; where it is less than `amount`, the rest is billed again, and
    `remainder_of` of that invoice is the id of the first one.
    """
    is_in = (invoices.occurred < HISTORY) & (invoices.known < HISTORY)
    rows = np.argsort(invoices.occurred, kind="stable")
    rows = rows[is_in[rows]]
    place = np.full(len(is_in), -1)
    place[rows] = np.arange(len(rows))
    rest_of, known, paid_known = invoices.rest_of[rows], invoices.known[rows], invoices.paid_known[rows]
    is_paid = paid_known < HISTORY
    written_off = office_time(invoices.written_off[rows])
    lost_known = np.maximum(draw_known(rng, "invoices.written_off_at", written_off), known)
    is_lost = lost_known < HISTORY
    return pa.table(
        {
            "invoice_id": numbers.rows("invoices", np.arange(len(rows))),
            "occurred_at": time_column(office_time(invoices.occurred[rows])),
            "known_at": time_column(known),
            "customer_id": numbers.customers(invoices.customer[rows]),
            "amount": money_column(invoices.amount[rows]),
            "due_at": planned_column(office_time(invoices.due[rows])),
            "paid_at": time_column(np.where(is_paid, office_time(invoices.paid[rows]), np.inf)),
            "paid_at_known_at": time_column(np.where(is_paid, paid_known, np.inf)),
            "paid_amount": money_column(invoices.paid_amount[rows], ~is_paid),
            "written_off_at": time_column(np.where(is_lost, written_off, np.inf)),
            "written_off_at_known_at": time_column(np.where(is_lost, lost_known, np.inf)),
            "remainder_of": numbers.rows("invoices", np.where(rest_of >= 0, place[np.maximum(rest_of, 0)], -1)),
        }
    )


def build_tickets(rng: np.random.Generator, tickets: Tickets, register: Register, numbers: Numbers) -> pa.Table:
    """Tickets with what was closed, and known to be, by the clock."""
    rows, occurred, known = _entered(rng, "tickets", tickets.occurred)
    closed = office_time(tickets.closed[rows])
    closed_known = np.maximum(draw_known(rng, "tickets.closed_at", closed), known)
    is_closed = closed_known < HISTORY
    said = tickets.satisfaction[rows]
    held = register.holder(rng, tickets.customer[rows], tickets.occurred[rows], known)
    return pa.table(
        {
            "ticket_id": numbers.rows("tickets", np.arange(len(rows))),
            "occurred_at": time_column(occurred),
            "known_at": time_column(known),
            "customer_id": numbers.customers(held),
            "kind": label_column(TICKET_KINDS, tickets.kind[rows]),
            "severity": label_column(SEVERITIES, tickets.severity[rows]),
            "closed_at": time_column(np.where(is_closed, closed, np.inf)),
            "closed_at_known_at": time_column(np.where(is_closed, closed_known, np.inf)),
            "satisfaction": pa.array(said.astype(np.float64), mask=~is_closed | (said == 0)),
        }
    )


def build_subscriptions(rng: np.random.Generator, subscriptions: Subscriptions, numbers: Numbers) -> pa.Table:
    """Subscriptions with the plan, the price and the renewal of today."""
    started, ended = office_time(subscriptions.started), office_time(subscriptions.ended)
    ended_known = draw_known(rng, "subscriptions.ended_at", ended, must_be_in=True)
    return pa.table(
        {
            "subscription_id": numbers.rows("subscriptions", np.arange(len(started))),
            "occurred_at": time_column(started),
            "known_at": time_column(draw_known(rng, "subscriptions", started, must_be_in=True)),
            "customer_id": numbers.customers(subscriptions.customer),
            "plan": label_column(PLANS, subscriptions.plan),
            "mrr": money_column(subscriptions.mrr),
            "renews_on": date_column(subscriptions.renews_day),
            "ended_at": time_column(ended),
            "ended_at_known_at": time_column(ended_known),
            "end_reason": label_column(END_REASONS, subscriptions.end_reason),
        }
    )


def build_assessments(rng: np.random.Generator, assessments: Assessments, numbers: Numbers) -> pa.Table:
    """What sales people answered about deals and customers."""
    rows, occurred, known = _entered(rng, "assessments", assessments.occurred)
    deal, customer = assessments.deal[rows], assessments.customer[rows]
    of_deal = pa.array(deal >= 0)
    return pa.table(
        {
            "occurred_at": time_column(occurred),
            "known_at": time_column(known),
            "entity": label_column(("customer", "deal"), (deal >= 0).astype(np.int64)),
            "entity_id": pc.if_else(of_deal, numbers.deals(deal), numbers.customers(customer)),
            "question": label_column(QUESTIONS, assessments.question[rows]),
            "answer": label_column(ANSWERS, assessments.answer[rows]),
            "author": numbers.owners(assessments.author[rows]),
        }
    )


def build_attribute_changes(
    rng: np.random.Generator,
    changes: Sequence[Change],
    progress: Progress,
    closing_known: Floats,
    numbers: Numbers,
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
        "entity_id": pa.concat_arrays([numbers.entities(change.table, change.entity) for change in changes]),
        "field": pa.concat_arrays([pa.repeat(change.field, len(change.entity)) for change in changes]),
        "old_value": pa.concat_arrays([change.old for change in changes]),
        "new_value": pa.concat_arrays([change.new for change in changes]),
    }
    return pa.table({name: column.take(pa.array(order)) for name, column in columns.items()})
