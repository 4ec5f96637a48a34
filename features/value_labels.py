"""Labels of value: what a customer brings in after each snapshot."""

from typing import Any

import ibis

from features.engine import Database
from features.versions import ended_rows, first_versions


def revenue(database: Database, asked: Any) -> Any:
    """Sum of the amounts of a customer's orders in `[as_of, until)`, and whether nobody can say.

    Returns count against what was bought, also what was bought before `as_of`, so the sum may be below
    zero; without orders it is 0. Orders count once, by their first version, for the customer they belonged
    to when they became known; deleted ones do not. Amounts are added as DECIMAL and cast once. A customer
    who was deleted or merged before the interval ended has no sum: what would have followed is elsewhere.

    Parameters
    ----------
    database : Database
    asked : ibis Table
        entity_id, as_of, until.

    Returns
    -------
    ibis Table
        The columns of `asked`, `happened` (float64, the currency of the deployment) and `is_lost`.

    """
    orders = first_versions(database, "orders")
    placed = orders.filter(orders.ended_at.isnull()).select("customer_id", "occurred_at", "amount")
    inside = [
        asked.entity_id == placed.customer_id,
        placed.occurred_at >= asked.as_of,
        placed.occurred_at < asked.until,
    ]
    joined = asked.join(placed, inside)
    sums = joined.group_by("entity_id", "as_of").agg(revenue=joined.amount.sum().cast("float64"))
    ended = ended_rows(database, "customers")
    answered = asked.left_join(sums, ["entity_id", "as_of"]).left_join(ended, asked.entity_id == ended.customer_id)
    return answered.select(
        *[answered[column] for column in asked.columns],
        happened=answered.revenue.fill_null(ibis.literal(0.0)),
        is_lost=(answered.ended_at < answered.until).fill_null(False),
    )
