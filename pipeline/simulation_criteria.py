"""What really matters in a simulated world, and what does not: the answers a criterion is judged by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Kind = Literal["linear", "nonlinear", "interaction", "none"]


@dataclass(frozen=True)
class Criterion:
    """One criterion of one target.

    `direction` is +1 if more of it raises the chance of the target (for a non-linear one or an
    interaction: where it works), -1 if it lowers it, 0 if it does nothing or as much one way as the
    other. `shown_in` names the table and columns that show it, or is empty when no table does.
    """

    target: Literal["conversion", "churn"]
    name: str
    direction: Literal[-1, 0, 1]
    kind: Kind
    shown_in: str = ""


CRITERIA: tuple[Criterion, ...] = (
    Criterion("conversion", "the deal came by referral or through a partner", 1, "linear", "deals.source"),
    Criterion("conversion", "the deal came by outbound contact or advertising", -1, "linear", "deals.source"),
    Criterion("conversion", "outbound contact to a customer of long standing", 1, "interaction",
              "deals.source, orders.occurred_at"),
    Criterion("conversion", "the product fits the industry", 1, "interaction", "deals.product, customers.industry"),
    Criterion("conversion", "the amount is large for the size of the customer", -1, "nonlinear",
              "deals.amount, customers.employees"),
    Criterion("conversion", "the amount is large and the customer weakly solvent", -1, "interaction",
              "deals.amount, customers.credit_grade"),
    Criterion("conversion", "the customer is far smaller or larger than usual", -1, "nonlinear", "customers.employees"),
    Criterion("conversion", "a decision maker is known", 1, "linear", "contacts.is_decision_maker"),
    Criterion("conversion", "the customer has bought before", 1, "linear", "orders.occurred_at"),
    Criterion("conversion", "skill of the owner", 1, "linear", "deals.owner_id"),
    Criterion("conversion", "the owner has more than 15 open deals at the creation", -1, "nonlinear", "deals.owner_id"),
    Criterion("conversion", "effort of the owner", 1, "nonlinear", "activities.deal_id"),
    Criterion("conversion", "later stage of the deal", 1, "nonlinear", "stage_changes.stage"),
    Criterion("conversion", "more than eight weeks since the creation", -1, "nonlinear", "deals.created_at"),
    Criterion("conversion", "momentum of the deal", 1, "interaction", ""),
    Criterion("conversion", "need", 1, "linear", ""),
    Criterion("conversion", "budget", 1, "nonlinear", ""),
    Criterion("conversion", "great need without a budget", -1, "interaction", ""),
    Criterion("conversion", "region of the customer", 0, "none", "customers.region"),
    Criterion("conversion", "age of the company", 0, "none", "customers.founded_on"),
    Criterion("conversion", "seniority of contacts who do not decide", 0, "none", "contacts.seniority"),
    Criterion("conversion", "length of calls", 0, "none", "activities.duration_s"),
    Criterion("churn", "orders expected of the customer's size", -1, "nonlinear", "customers.employees"),
    Criterion("churn", "orders expected of the customer's industry", -1, "nonlinear", "customers.industry"),
    Criterion("churn", "more orders so far", -1, "nonlinear", "orders.occurred_at"),
    Criterion("churn", "phase of the account goes down", 1, "nonlinear", ""),
    Criterion("churn", "the customer has not got in touch lately", 1, "nonlinear", "activities.direction"),
    Criterion("churn", "later payment than usual", 1, "nonlinear", "invoices.paid_at"),
    Criterion("churn", "smaller orders than usual", 1, "nonlinear", "orders.amount"),
    Criterion("churn", "solvency", -1, "linear", "customers.credit_grade"),
    Criterion("churn", "satisfaction", -1, "linear", ""),
    Criterion("churn", "dissatisfied and weakly solvent", 1, "interaction", ""),
    Criterion("churn", "satisfaction of the parent", -1, "interaction", "customers.parent_id"),
    Criterion("churn", "skill of the owner", -1, "linear", "customers.owner_id"),
    Criterion("churn", "smaller than usual", 1, "nonlinear", "customers.employees"),
    Criterion("churn", "a deal is open", -1, "interaction", "deals.closed_at"),
    Criterion("churn", "need", -1, "nonlinear", ""),
    Criterion("churn", "region of the customer", 0, "none", "customers.region"),
    Criterion("churn", "age of the company", 0, "none", "customers.founded_on"),
    Criterion("churn", "terms of payment", 0, "none", "invoices.due_at"),
    Criterion("churn", "product of the orders", 0, "none", "orders.product"),
)  # fmt: skip
"""All criteria: what causes the outcome or follows from what does, and what does neither."""


def criteria_table() -> pa.Table:
    """Return the criteria: target, name, direction, kind, shown_in (empty: no table shows it)."""
    return pa.table(
        {
            "target": [one.target for one in CRITERIA],
            "name": [one.name for one in CRITERIA],
            "direction": pa.array([one.direction for one in CRITERIA], pa.int8()),
            "kind": [one.kind for one in CRITERIA],
            "shown_in": [one.shown_in for one in CRITERIA],
        }
    )


def manifest_table(facts: Mapping[str, object]) -> pa.Table:
    """Return what was planned and switched on for a world, as text: fact, value (empty: switched off)."""
    values = ["" if value is None else str(value) for value in facts.values()]
    return pa.table({"fact": pa.array(list(facts), pa.string()), "value": pa.array(values, pa.string())})
