"""How long it takes until an outcome is known: per cohort, the share known so many days after `as_of`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import ibis
import pandas as pd
from scipy.stats import binom

from features.engine import Database, open_database
from features.labels import build_labels
from features.spine import build_spine
from features.tables import CrmTables
from features.targets import SpinePlan, Target, is_purchase, local_midnight, settle_days
from features.versions import first_versions

DAYS = (7, 14, 30, 60, 90, 180, 365)
DEAD_SHARE = 0.2
"""A cohort whose share is below so much of the usual one looks dead, if chance alone does not explain it."""
CHANCE = 1e-4


@dataclass(frozen=True)
class Cohort:
    """Snapshots whose `as_of` lies in one month.

    Parameters
    ----------
    month : str
        Such as 2024-06, in the deployment's time zone.
    rows, settled, ripe : int
        Snapshots; those with `as_of + horizon + settle_days <= data_end`; those whose label is known, too.
    base_rate : float or None
        Share of label 1 among the ripe ones.
    known : mapping of int to float or None
        Days since `as_of` to the share of snapshots whose outcome was known by then (`known_at < as_of + days`);
        null where not all of them are so old at the end of the data.
    in_training : bool
        Whether the config's spine looks at this month.
    looks_dead : bool
        Next to nothing became known of it, compared with the other cohorts.

    """

    month: str
    rows: int
    settled: int
    ripe: int
    base_rate: float | None
    known: Mapping[int, float | None]
    in_training: bool
    looks_dead: bool = False

    @property
    def state(self) -> Literal["ripe", "partly", "not yet"]:
        """Whether all, some or none of the snapshots are settled."""
        if self.settled == self.rows:
            return "ripe"
        return "partly" if self.settled else "not yet"


@dataclass(frozen=True)
class Maturity:
    """The cohorts of one target.

    Parameters
    ----------
    target, kind : str
    horizon_days, settle_days : int
        A label is ripe when `as_of + horizon + settle_days <= data_end`.
    outcome : str
        What the curves wait for.
    cohorts : tuple of Cohort
        By month.

    """

    target: str
    kind: str
    horizon_days: int
    settle_days: int
    outcome: str
    cohorts: tuple[Cohort, ...]

    @property
    def days(self) -> tuple[int, ...]:
        """Points of the curves."""
        return curve_days(self.horizon_days)


OUTCOMES = {
    "deals": "the deal was closed",
    "orders": "the customer ordered again",
    "subscriptions": "a subscription ended",
}
"""By the table that tells it."""


def curve_days(horizon: int) -> tuple[int, ...]:
    """Days since `as_of` at which a curve has a point: the usual ones and the horizon.

    >>> curve_days(45)
    (7, 14, 30, 45, 60, 90, 180, 365)
    """
    return tuple(sorted({*DAYS, horizon}))


def measure_maturity(tables: CrmTables, target: Target, plan: SpinePlan) -> Maturity:
    """Follow each monthly cohort of a target until the end of the data.

    The cohorts are those of the training spine, and those before its `start`, so that one sees why it
    is there or should be. The outcome is the first one that occurred at or after `as_of`, whenever it became
    known: a closed deal, a purchase, or the end of a subscription. That a buyer left is never recorded; it is what
    remains.

    Parameters
    ----------
    tables : CrmTables
    target : Target
    plan : SpinePlan
        When the entities are looked at for training.

    Returns
    -------
    Maturity

    """
    spine = build_spine(tables, target, replace(plan, start=None))
    rows = build_labels(tables, spine, target)[["entity_id", "as_of", "label", "settled_at"]]
    if target.kind == "value":  # whether there was any revenue
        rows["label"] = (rows["label"] > 0).astype("float64").where(rows["label"].notna())
    days = curve_days(target.horizon_days)
    with open_database(tables) as database:
        rows["known_at"] = _known(database, target, rows[["entity_id", "as_of"]], days[-1])
        settled = settle_days(database, tables, target)
    rows["in_training"] = plan.start is None or rows["as_of"] >= local_midnight(plan.start, tables.time_zone)
    months = rows["as_of"].dt.tz_localize("UTC").dt.tz_convert(tables.time_zone).dt.strftime("%Y-%m")
    end = pd.Timestamp(tables.data_end)
    cohorts = [_cohort(str(month), group, end, days) for month, group in rows.groupby(months, sort=True)]
    marked = tuple(mark_dead(cohorts, target.horizon_days))
    return Maturity(target.name, target.kind, target.horizon_days, settled, OUTCOMES[target.outcome[0]], marked)


def _cohort(month: str, group: pd.DataFrame, end: pd.Timestamp, days: Sequence[int]) -> Cohort:
    age = (end - group["as_of"]).min()
    waited = group["known_at"] - group["as_of"]
    known: dict[int, float | None] = {}
    for count in days:
        span = pd.Timedelta(days=count)
        known[count] = float((waited < span).mean()) if span <= age else None
    ripe = int(group["label"].notna().sum())
    rate = float(group["label"].mean()) if ripe else None
    settled = int((group["settled_at"] <= end).sum())
    return Cohort(month, len(group), settled, ripe, rate, known, bool(group["in_training"].any()))


def mark_dead(cohorts: Sequence[Cohort], horizon: int) -> list[Cohort]:
    """Mark cohorts of which next to nothing became known within the horizon, compared with all others.

    The others' share is the pooled one of the cohorts that are old enough. A cohort looks dead below a fifth of it,
    if that many or fewer would come by chance (binomial) in less than one of 10,000 cohorts.
    """
    counted = {c.month: (c.rows, round(known * c.rows)) for c in cohorts if (known := c.known[horizon]) is not None}
    marked = []
    for cohort in cohorts:
        others = [pair for month, pair in counted.items() if month != cohort.month]
        usual = sum(hits for _, hits in others) / max(1, sum(rows for rows, _ in others))
        rows, hits = counted.get(cohort.month, (0, 0))
        is_low = bool(rows) and hits < DEAD_SHARE * usual * rows and binom.cdf(hits, rows, usual) < CHANCE
        marked.append(replace(cohort, looks_dead=bool(is_low)))
    return marked


def _known(database: Database, target: Target, rows: pd.DataFrame, within: int) -> "pd.Series[Any]":
    """When the outcome of each snapshot became known; null if it has not within so many days."""
    asked = database.add("asked", rows)
    events = {"deals": _closings, "orders": _purchases, "subscriptions": _ends}[target.outcome[0]](database)
    inside = [
        asked.entity_id == events.entity_id,
        events.happened_at >= asked.as_of,
        events.happened_at < asked.as_of + ibis.interval(days=within),
    ]
    joined = asked.join(events, inside, rname="event_{name}")
    first = joined.group_by("entity_id", "as_of").agg(known_at=joined.known_at.min())
    found = database.frame(first)
    found["as_of"] = found["as_of"].astype(rows["as_of"].dtype)
    merged = rows.merge(found, on=["entity_id", "as_of"], how="left", validate="one_to_one")
    return merged["known_at"].set_axis(rows.index)


def _closings(database: Database) -> Any:
    """Deals that closed, by the first version that says so; deleted ones are none."""
    deals = first_versions(database, "deals", at="closed_at")
    there = deals.filter(deals.ended_at.isnull())  # noqa: PD003  (Ibis, not pandas)
    return there.select(entity_id="deal_id", happened_at="closed_at", known_at="closed_at_known_at")


def _purchases(database: Database) -> Any:
    """Purchases, by their first version; deleted ones are none."""
    orders = first_versions(database, "orders")
    bought = orders.filter(is_purchase(orders) & orders.ended_at.isnull())  # noqa: PD003
    return bought.select(entity_id="customer_id", happened_at="occurred_at", known_at="known_at")


def _ends(database: Database) -> Any:
    """Ends of subscriptions, by the first version that says so."""
    rows = first_versions(database, "subscriptions", at="ended_at")
    return rows.select(entity_id="customer_id", happened_at="ended_at", known_at="ended_at_known_at")
