"""The spine: which entities are looked at, and when."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import ibis
import pandas as pd

from features.engine import Database, open_database
from features.errors import DataError
from features.subscribers import subscribed
from features.tables import TABLES, CrmTables
from features.targets import SpinePlan, Target, grid_dates, is_purchase, local_midnight
from features.versions import is_known

COLUMNS = ["entity_id", "as_of", "customer_id", "origin"]


def build_spine(tables: CrmTables, target: Target, plan: SpinePlan) -> pd.DataFrame:
    """Snapshots for training: every entity of the population on every grid date and at every age.

    The population at `as_of` is what was known then, `known_at < as_of <= known_until`: for conversion
    the deals not known to be closed, for churn and value the customers with a purchase in
    `[as_of - lookback, as_of)` or, by subscription, those with a subscription that began and is not known
    to have ended.
    An entity that was deleted or merged is in no population after that; a deal's customer is the one it had then.
    Age 0 is the entity's own `known_at` plus one microsecond: it sees its own creation and nothing later.

    Parameters
    ----------
    tables : CrmTables
    target : Target
    plan : SpinePlan

    Returns
    -------
    DataFrame
        entity_id, as_of (UTC, datetime64[us]), customer_id, origin (grid | age), sorted by
        (entity_id, as_of); a snapshot that both plans ask for is there once, as `grid`.

    """
    _check_tables(tables, target)
    with open_database(tables) as database:
        born = _births(database, target)
        frames = []
        dates = grid_dates(plan, database.value(born.born_at.min()), tables.data_end, tables.time_zone)
        if dates:
            frames.append(_at_dates(database, born, dates))
        for days in plan.ages_days:
            age = ibis.interval(microseconds=1) if days == 0 else ibis.interval(days=days)
            aged = born.select("entity_id", as_of=born.born_at + age, origin=ibis.literal("age"))
            aged = aged.filter(aged.as_of <= ibis.literal(tables.data_end))
            if plan.start is not None:
                aged = aged.filter(aged.as_of >= ibis.literal(local_midnight(plan.start, tables.time_zone)))
            frames.append(aged)
        return _eligible(database, target, frames)


def build_scoring_spine(tables: CrmTables, target: Target, at: datetime | None = None) -> pd.DataFrame:
    """Snapshots for scoring: the population at one moment, by default the extract's `data_end`.

    Returns
    -------
    DataFrame
        Like `build_spine`, with one as_of.

    """
    _check_tables(tables, target)
    with open_database(tables) as database:
        born = _births(database, target)
        return _eligible(database, target, [_at_dates(database, born, [at or tables.data_end])])


def entity_ages(tables: CrmTables, spine: pd.DataFrame, target: Target) -> "pd.Series[float]":
    """Days from the moment an entity became known until each `as_of`.

    Returns
    -------
    Series of float64
        In the order of the spine; NaN for an entity that is not in the tables any more.

    """
    with open_database(tables) as database:
        born = database.frame(_births(database, target)).set_index("entity_id")["born_at"]
    ages: pd.Series[float] = (spine["as_of"] - spine["entity_id"].map(born)).dt.total_seconds() / 86_400
    return ages


def _check_tables(tables: CrmTables, target: Target) -> None:
    for table in {target.table, target.outcome[0]}:
        if table not in tables.tables:
            raise DataError(
                f"Target '{target.name}' needs table '{table}', which is not mapped, or has no rows. Add it to "
                "`tables` in the config, or take the target out of it."
            )
    table, column = target.outcome
    if column not in tables.tables[table].columns:
        raise DataError(
            f"Target '{target.name}' needs column '{column}' of table '{table}', which is not mapped. Add it to its "
            "`select` in the config."
        )


def _births(database: Database, target: Target) -> Any:
    """Return each entity with the moment its first version became known."""
    table = database.table(target.table)
    key = TABLES[target.table].key
    return table.group_by(entity_id=table[key]).agg(born_at=table.known_at.min())


def _at_dates(database: Database, born: Any, dates: Sequence[datetime]) -> Any:
    moments = database.add("grid", pd.DataFrame({"as_of": pd.Series(dates, dtype="datetime64[us]")}))
    joined = born.join(moments, born.born_at < moments.as_of)
    return joined.select("entity_id", "as_of", origin=ibis.literal("grid"))


def _eligible(database: Database, target: Target, frames: Sequence[Any]) -> pd.DataFrame:
    """Keep the population of the target at each `as_of`."""
    asked = ibis.union(*frames) if len(frames) > 1 else frames[0]
    moments = database.keep("moments", asked.group_by("entity_id", "as_of").agg(origin=asked.origin.max()))
    if target.is_by_subscription:
        eligible = subscribed(database, _present(database, moments))
    else:
        eligible = (_open_deals if target.kind == "conversion" else _buyers)(database, target, moments)
    return database.frame(eligible.select(*COLUMNS).order_by("entity_id", "as_of"))


def _open_deals(database: Database, target: Target, moments: Any) -> Any:
    """Deals that are there at `as_of`, in the version that holds, and not known to be closed."""
    deals = database.table("deals")
    is_open = deals.closed_at_known_at.isnull() | (deals.closed_at_known_at >= moments.as_of)
    joined = moments.join(deals, [moments.entity_id == deals.deal_id, is_known(deals, moments.as_of), is_open])
    return joined.select(*moments.columns, "customer_id")


def _present(database: Database, moments: Any) -> Any:
    """Customers that are there at `as_of`."""
    customers = database.table("customers")
    there = [moments.entity_id == customers.customer_id, is_known(customers, moments.as_of)]
    return moments.join(customers, there).select(*moments.columns, "customer_id")


def _buyers(database: Database, target: Target, moments: Any) -> Any:
    """Customers that are there at `as_of`, with a purchase in `[as_of - lookback, as_of)` that is theirs then."""
    present = _present(database, moments)
    orders = database.table("orders")
    bought = orders.filter(is_purchase(orders))
    conditions = [present.entity_id == bought.customer_id, is_known(bought, present.as_of)]
    if target.lookback_days is not None:
        conditions.append(bought.occurred_at >= present.as_of - ibis.interval(days=target.lookback_days))
    return present.semi_join(bought, conditions)
