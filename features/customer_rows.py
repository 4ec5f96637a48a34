"""What is known of every customer at the end of the data: a row each, counted in DuckDB.

Rows count when `known_at < as_of`, in the version that holds then (see `features.view`), and when they also occurred
before `as_of`; windows look back `[as_of - days, as_of)`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ibis
import numpy as np
import pandas as pd

from features.engine import Database
from features.expressions import SECONDS_PER_DAY, whole_seconds
from features.tables import TABLES
from features.targets import is_purchase
from features.versions import is_known
from features.view import visible_columns

YEAR = 365
ROW = "row"
"""Position of a customer, in the order of their ids."""
SIZES = ("employees", "annual_revenue")
PEOPLE = "people"


@dataclass(frozen=True)
class KnownRows:
    """The tables as they were known at `data_end`.

    Parameters
    ----------
    database : Database
        DuckDB, over the stored tables.
    people : ibis Table
        row and customer_id of everybody who is counted.

    """

    database: Database
    people: Any

    @property
    def as_of(self) -> Any:
        """The end of the data, as a literal."""
        return ibis.literal(self.database.tables.data_end, "timestamp(6)")

    def since(self, days: int) -> Any:
        """Beginning of a window, as a literal."""
        return ibis.literal(self.database.tables.data_end - timedelta(days=days), "timestamp(6)")

    def has(self, name: str, *columns: str) -> bool:
        """Whether a table is stored, with these columns."""
        stored = self.database.tables.tables.get(name)
        return stored is not None and set(columns) <= set(stored.columns) - set(stored.sensitive)

    def of(self, name: str) -> Any:
        """Rows of a table that were known, revealed columns masked."""
        return known_rows(self.database, name)

    def owned(self, rows: Any) -> Any:
        """Rows beside the position of their customer."""
        return rows.join(self.people, "customer_id")

    def frame(self, rows: Any) -> pd.DataFrame:
        """Figures of each customer, by position; NaN and NaT for customers without rows."""
        found = self.database.frame(rows.order_by(ROW)).set_index(ROW)
        return found.reindex(np.arange(self.database.value(self.people.count())))


def known_rows(database: Database, name: str) -> Any:
    """Rows of a table as an Ibis expression, as they were known at `data_end`, in the version that held."""
    table = database.table(name)
    as_of = ibis.literal(database.tables.data_end, "timestamp(6)")
    rows = table.filter(is_known(table, as_of), table[TABLES[name].time] < as_of)
    stored = database.tables.tables[name]
    return rows.select(**visible_columns(rows, table.columns, stored, lambda clock: clock < as_of))


def read_people(
    database: Database, forgotten: Callable[[Iterable[str]], Collection[str]]
) -> tuple[KnownRows, pd.DataFrame]:
    """Customers that are there, in the order of their ids.

    With customer_id, parent_id, employees, annual_revenue, both of the parent (`parent_employees`, ...), and
    children: how many of them have this one as their parent, NaN where parents are not recorded.

    Parameters
    ----------
    database : Database
    forgotten : callable
        From ids to those that were forgotten.

    """
    customers = known_rows(database, "customers")
    sizes = {name: customers[name].cast("float64") for name in SIZES}
    people = database.frame(customers.select("customer_id", "parent_id", **sizes).order_by("customer_id"))
    gone = forgotten(people["customer_id"])
    people = people[~people["customer_id"].isin(gone)].reset_index(drop=True)
    rows = pd.DataFrame({ROW: np.arange(len(people), dtype=np.int64), "customer_id": people["customer_id"]})
    own = people.set_index("customer_id")[list(SIZES)]
    parents = own.reindex(people["parent_id"].where(people["parent_id"] != people["customer_id"]))
    people[[f"parent_{name}" for name in SIZES]] = parents.to_numpy(np.float64)
    children = people.loc[people["parent_id"] != people["customer_id"], "parent_id"].value_counts()
    known = KnownRows(database, database.add(PEOPLE, rows))
    has_parents = known.has("customers", "parent_id")
    people["children"] = people["customer_id"].map(children).fillna(0.0).astype(np.float64) if has_parents else np.nan
    return known, people


def read_purchases(rows: KnownRows) -> pd.DataFrame:
    """Purchase days: row, at (the first purchase of the day, UTC) and amount of all of that day; returns are none."""
    orders = rows.of("orders")
    bought = rows.owned(orders.filter(is_purchase(orders)))
    by_day = bought.mutate(day=whole_seconds(bought.occurred_at) // SECONDS_PER_DAY)
    days = by_day.group_by(ROW, "day").agg(at=by_day.occurred_at.min(), amount=by_day.amount.sum().cast("float64"))
    return rows.database.frame(days.select(ROW, "at", "amount").order_by(ROW, "at"))


def read_orders(rows: KnownRows) -> pd.DataFrame:
    """Sums of each customer's orders, returns counted against: money as float64.

    `costed` and `profit` are amount and amount less cost where the cost is known; null without such an order.
    """
    orders = rows.owned(rows.of("orders"))
    lately, bought = orders.occurred_at >= rows.since(YEAR), is_purchase(orders)
    has_cost = orders.cost.notnull()
    profit = orders.amount - orders.cost

    def money(amounts: Any, where: Any = None) -> Any:
        return amounts.sum(where=where).cast("float64")

    return rows.frame(
        orders.group_by(ROW).agg(
            orders_count=bought.sum(),
            orders_count_365d=(bought & lately).sum(),
            revenue=money(orders.amount),
            revenue_365d=money(orders.amount, lately),
            bought=money(orders.amount, bought),
            costed=money(orders.amount, has_cost),
            costed_365d=money(orders.amount, has_cost & lately),
            profit=money(profit, has_cost),
            profit_365d=money(profit, has_cost & lately),
            first_order_at=orders.occurred_at.min(where=bought),
            last_order_at=orders.occurred_at.max(where=bought),
        )
    )


def read_invoices(rows: KnownRows) -> pd.DataFrame:
    """Invoices of each customer: how many, the share of those due by now that were paid in time, what is overdue."""
    invoices = rows.owned(rows.of("invoices"))
    is_due = invoices.due_at < rows.as_of
    in_time = is_due & (invoices.paid_at <= invoices.due_at)
    is_open = invoices.paid_at.isnull() & invoices.written_off_at.isnull()
    due = is_due.sum().cast("float64")
    return rows.frame(
        invoices.group_by(ROW).agg(
            invoices_count=invoices.count(),
            invoices_on_time_share=in_time.sum().fill_null(0).cast("float64") / due.nullif(0.0),
            invoices_overdue_amount=invoices.amount.sum(where=is_due & is_open).fill_null(0).cast("float64"),
        )
    )


def read_tickets(rows: KnownRows) -> pd.DataFrame:
    """Tickets of each customer: those of the last 365 days, those still open, how satisfied with the closed ones."""
    tickets = rows.owned(rows.of("tickets"))
    return rows.frame(
        tickets.group_by(ROW).agg(
            tickets_count_365d=(tickets.occurred_at >= rows.since(YEAR)).sum(),
            tickets_open_count=tickets.closed_at.isnull().sum(),
            satisfaction=tickets.satisfaction.mean(),
        )
    )


def read_contacts(rows: KnownRows) -> pd.DataFrame:
    """Moment of the last activity with each customer, also with one of their deals."""
    activities = rows.of("activities").select("customer_id", "deal_id", "occurred_at")
    if rows.has("deals"):
        deals = rows.of("deals").select("deal_id", deal_customer="customer_id")
        joined = activities.left_join(deals, "deal_id")
        owner = ibis.coalesce(joined.customer_id, joined.deal_customer)
        activities = rows.database.keep("contacted", joined.select("occurred_at", customer_id=owner))
    found = rows.owned(activities)
    return rows.frame(found.group_by(ROW).agg(last_contact_at=found.occurred_at.max()))


def read_deals(rows: KnownRows) -> pd.DataFrame:
    """Deals of each customer: those not known to be closed, their amount, and those that were won."""
    deals = rows.owned(rows.of("deals"))
    is_open = deals.closed_at.isnull()
    return rows.frame(
        deals.group_by(ROW).agg(
            deals_open_count=is_open.sum(),
            deals_open_amount=deals.amount.sum(where=is_open).fill_null(0).cast("float64"),
            deals_won_count=(deals.outcome == "won").sum().fill_null(0),
        )
    )


_FIGURES: Mapping[str, tuple[Callable[[KnownRows], pd.DataFrame], tuple[str, ...], tuple[str, ...]]] = {
    "orders": (
        read_orders,
        ("orders_count", "orders_count_365d", "revenue", "revenue_365d", "bought"),
        ("costed", "costed_365d", "profit", "profit_365d", "first_order_at", "last_order_at"),
    ),
    "invoices": (read_invoices, ("invoices_count", "invoices_overdue_amount"), ("invoices_on_time_share",)),
    "tickets": (read_tickets, ("tickets_count_365d", "tickets_open_count"), ("satisfaction",)),
    "activities": (read_contacts, (), ("last_contact_at",)),
    "deals": (read_deals, ("deals_open_count", "deals_open_amount", "deals_won_count"), ()),
}
"""How figures are read from each table, which of them are 0 for a customer without rows, and which are null."""


def read_figures(rows: KnownRows) -> pd.DataFrame:
    """Figures of each customer from all tables, by position; null where the table is not there.

    Returns
    -------
    DataFrame
        What `read_orders`, `read_invoices`, `read_tickets`, `read_contacts` and `read_deals` give: counts, sums and
        shares as float64, times as datetime64[us].

    """
    count = int(rows.database.value(rows.people.count()))
    parts = []
    for name, (read, zeros, nulls) in _FIGURES.items():
        part = read(rows) if rows.has(name) else pd.DataFrame(index=np.arange(count), columns=[*zeros, *nulls])
        if rows.has(name):
            part[list(zeros)] = part[list(zeros)].fillna(0)
        times = {column: "datetime64[us]" for column in part if str(column).endswith("_at")}
        parts.append(part.astype({column: times.get(column, "float64") for column in part}))
    return pd.concat(parts, axis=1)
