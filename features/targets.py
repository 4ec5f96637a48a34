"""What is predicted, and at which moments entities are looked at."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from features.expressions import whole_seconds
from features.group import Entity, TargetKind
from features.tables import CrmTables
from features.versions import first_versions

ChurnBy = Literal["orders", "subscription"]
"""What counts as staying: a purchase within the horizon, or a subscription that is alive at its end."""


@dataclass(frozen=True)
class Target:
    """A target and its label horizon.

    Parameters
    ----------
    name : str
        The config's name for it.
    kind : {"conversion", "churn", "value"}
        conversion: an open deal is won within the horizon; churn: a customer leaves within it, see `by`; value: what
        a customer's orders amount to within it.
    horizon_days : int
        Labels look forward `[as_of, as_of + horizon)`.
    lookback_days : int or None
        churn by orders, value: the customer must have ordered within `[as_of - lookback, as_of)`; None: ever.
    settle_days : int or None
        Days after the horizon until late rows have arrived; None: the p95 lateness of the outcome.
    by : {"orders", "subscription"}
        churn: no order within the horizon, or no subscription alive at its end.

    """

    name: str
    kind: TargetKind
    horizon_days: int
    lookback_days: int | None = None
    settle_days: int | None = None
    by: ChurnBy = "orders"

    @property
    def is_by_subscription(self) -> bool:
        """Whether it is churn of subscribers."""
        return self.kind == "churn" and self.by == "subscription"

    @property
    def direction(self) -> int:
        """+1 if its probability rises with the horizon; -1 if it falls, as that of no order does."""
        return -1 if self.kind == "churn" and self.by == "orders" else 1

    @property
    def table(self) -> Entity:
        """Entity table: deals for conversion, customers for churn and value."""
        return "deals" if self.kind == "conversion" else "customers"

    @property
    def outcome(self) -> tuple[str, str]:
        """Table and time column of the event that settles the label."""
        if self.is_by_subscription:
            return ("subscriptions", "ended_at")
        return ("deals", "closed_at") if self.kind == "conversion" else ("orders", "occurred_at")


@dataclass(frozen=True)
class SpinePlan:
    """Moments to look at: a calendar grid, ages in days since an entity began, or both; none before `start`."""

    grid: Literal["month", "week"] | None = None
    start: date | None = None
    ages_days: tuple[int, ...] = ()


def local_midnight(day: date, time_zone: str) -> datetime:
    """Beginning of a day in a time zone, as UTC without a zone.

    Examples
    --------
    >>> local_midnight(date(2024, 7, 1), "Europe/Berlin")
    datetime.datetime(2024, 6, 30, 22, 0)

    """
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone)).astimezone(UTC).replace(tzinfo=None)


def grid_dates(plan: SpinePlan, first: datetime, data_end: datetime, time_zone: str) -> list[datetime]:
    """Starts of months or weeks (Mondays) at local midnight, as UTC, in `[first, data_end]`.

    Examples
    --------
    >>> plan = SpinePlan(grid="month")
    >>> grid_dates(plan, datetime(2024, 1, 15), datetime(2024, 4, 1), "UTC")
    [datetime.datetime(2024, 2, 1, 0, 0), datetime.datetime(2024, 3, 1, 0, 0), datetime.datetime(2024, 4, 1, 0, 0)]

    """
    if plan.grid is None:
        return []
    day = max(plan.start, first.date()) if plan.start else first.date()
    day -= timedelta(days=day.day - 1 if plan.grid == "month" else day.weekday())
    moments: list[datetime] = []
    while True:
        moment = local_midnight(day, time_zone)
        if moment > data_end:
            return moments
        if moment >= first and (plan.start is None or day >= plan.start):
            moments.append(moment)
        day = (day.replace(day=1) + timedelta(days=32)).replace(day=1) if plan.grid == "month" else day + timedelta(7)


def is_purchase(orders: Any) -> Any:
    """Whether an order row is a purchase rather than a return: a positive quantity (amount where there is none)."""
    return orders.quantity.fill_null(orders.amount.cast("float64")) > 0


def settle_days(database: Any, tables: CrmTables, target: Target) -> int:
    """Days until the outcome's late rows have arrived: the target's own, else the p95 lateness, rounded up."""
    if target.settle_days is not None:
        return target.settle_days
    table, time = target.outcome
    if table not in tables.tables:
        return 0
    rows = first_versions(database, table, at=None if time == "occurred_at" else time)
    known = rows.known_at if time == "occurred_at" else rows[f"{time}_known_at"]
    late = whole_seconds(known) - whole_seconds(rows[time])
    p95 = database.value(late.quantile(0.95))
    return 0 if p95 is None or p95 != p95 else max(0, int(-(-p95 // 86_400)))  # what was announced is not late
