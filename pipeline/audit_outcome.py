# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Whose outcome is known at the end of the data: what the audit compares with those whose is not.

deals: closed before `data_end`. subscriptions: ended. customers: among those who bought before
`data_end - horizon`, nothing bought in `[data_end - horizon, data_end)`.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from pipeline.config import Config

SETTLED_BY: Mapping[str, str] = {"deals": "closed_at", "subscriptions": "ended_at"}
"""The time with which the outcome of an entity is known."""

WORDS: Mapping[str, tuple[str, str]] = {
    "deals": ("closed", "open"),
    "subscriptions": ("ended", "running"),
    "customers": ("lapsed", "buying"),
}
"""What entities are called whose outcome is known, and those whose is not."""

DEFAULT_HORIZON_DAYS = 90


def horizon_days(config: Config) -> int:
    """Days without a purchase after which a customer counts as lapsed: the horizon of churn by orders."""
    churn = [target for target in config.targets.values() if target.by == "orders"]
    return churn[0].horizons_days[0] if churn else DEFAULT_HORIZON_DAYS


def moment(at: datetime) -> str:
    """Return a moment as SQL."""
    return f"TIMESTAMP '{at}'"


def is_purchase(columns: Collection[str]) -> str:
    """Return the condition that an order is a purchase rather than a return."""
    return "coalesce(quantity, CAST(amount AS DOUBLE)) > 0" if "quantity" in columns else "amount > 0"


def lapses(orders: str, columns: Collection[str], at: datetime, days: int) -> str:
    """Return the SELECT of who had bought before `at - days`: customer_id, is_settled, settled_at.

    Parameters
    ----------
    orders : str
        SQL that can stand after FROM.
    columns : collection of str
        Its columns.
    at : datetime
        End of the data (UTC).
    days : int
        The horizon.

    """
    since = f"({moment(at)} - INTERVAL {days} DAY)"
    return (
        f"SELECT customer_id, max(occurred_at) < {since} AS is_settled, "
        f"CASE WHEN max(occurred_at) < {since} THEN max(occurred_at) + INTERVAL {days} DAY END AS settled_at "
        f"FROM {orders} WHERE {is_purchase(columns)} AND occurred_at < {moment(at)} "
        f"GROUP BY customer_id HAVING min(occurred_at) < {since}"
    )
