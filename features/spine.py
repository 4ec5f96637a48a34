"""The spine: which entities are looked at, and when."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import ibis
import pandas as pd

from features.engine import Database, open_database
from features.errors import DataError
from features.tables import TABLES, CrmTables
from features.targets import SpinePlan, Target, grid_dates, is_purchase, local_midnight

COLUMNS = ["entity_id", "as_of", "customer_id", "origin"]


def build_spine(tables: CrmTables, target: Target, plan: SpinePlan) -> pd.DataFrame:
    """Snapshots for training: every entity of the population on every grid date and at every age.

    The population at `as_of` is what was known then, `known_at < as_of`: for conversion the deals
    not known to be closed, for churn the customers with a purchase in `[as_of - lookback, as_of)`.
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
            aged = born.select(
                "entity_id", "customer_id", "born_at", as_of=born.born_at + age, origin=ibis.literal("age")
            )
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


def _check_tables(tables: CrmTables, target: Target) -> None:
    for table in {target.table, target.outcome[0]}:
        if table not in tables.tables:
            raise DataError(
                f"Target '{target.name}' needs table '{table}', which is not mapped. Add it to `tables` in the config."
            )


def _births(database: Database, target: Target) -> Any:
    """Return each entity with the moment it became known."""
    table = database.table(target.table)
    key = TABLES[target.table].key
    return table.group_by(entity_id=table[key]).agg(born_at=table.known_at.min(), customer_id=table.customer_id.max())


def _at_dates(database: Database, born: Any, dates: Sequence[datetime]) -> Any:
    moments = database.add("grid", pd.DataFrame({"as_of": pd.Series(dates, dtype="datetime64[us]")}))
    joined = born.join(moments, born.born_at < moments.as_of)
    return joined.select("entity_id", "customer_id", "born_at", "as_of", origin=ibis.literal("grid"))


def _eligible(database: Database, target: Target, frames: Sequence[Any]) -> pd.DataFrame:
    """Keep the population of the target at each `as_of`."""
    asked = ibis.union(*frames) if len(frames) > 1 else frames[0]
    distinct = asked.group_by("entity_id", "customer_id", "as_of").agg(origin=asked.origin.max())
    moments = database.keep("moments", distinct)
    eligible = (_open_deals if target.kind == "conversion" else _buyers)(database, target, moments)
    return database.frame(eligible.select(*COLUMNS).order_by("entity_id", "as_of"))


def _open_deals(database: Database, target: Target, moments: Any) -> Any:
    deals = database.table("deals")
    closed = (
        deals.filter(deals.closed_at_known_at.notnull())
        .group_by("deal_id")
        .agg(closed_known_at=deals.closed_at_known_at.min())
    )
    joined = moments.left_join(closed, moments.entity_id == closed.deal_id)
    return joined.filter(joined.closed_known_at.isnull() | (joined.closed_known_at >= joined.as_of))


def _buyers(database: Database, target: Target, moments: Any) -> Any:
    orders = database.table("orders")
    bought = orders.filter(is_purchase(orders)).select("customer_id", "occurred_at", "known_at")
    conditions = [moments.entity_id == bought.customer_id, bought.known_at < moments.as_of]
    if target.lookback_days is not None:
        conditions.append(bought.occurred_at >= moments.as_of - ibis.interval(days=target.lookback_days))
    return moments.semi_join(bought, conditions)
