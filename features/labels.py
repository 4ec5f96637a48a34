"""Labels: what happened after each snapshot, once it is ripe."""

from typing import Any

import ibis
import pandas as pd

from features.engine import Database, open_database
from features.subscribers import left as left_by_end
from features.tables import CrmTables
from features.targets import Target, is_purchase, settle_days
from features.value_labels import revenue
from features.versions import ended_rows, first_versions


def build_labels(tables: CrmTables, spine: pd.DataFrame, target: Target) -> pd.DataFrame:
    """Label every snapshot by what occurred in `[as_of, as_of + horizon)`.

    conversion: 1 if the deal was won in the interval, else 0. churn: 1 if the customer made no
    purchase in it, else 0; by subscription: 1 if none is alive at its end, see `features.subscribers`.
    value: no 0 or 1 but a sum of money, see `features.value_labels`.
    Rows count once, by their first version: an order is a purchase of the customer it belonged to when
    it became known. Deleted rows are no purchase and no win.

    Null (censored) while `as_of + horizon + settle_days > data_end`; for deals that had closed before
    `as_of` although nobody knew; and for entities that ended (deleted or merged) before the end of
    the interval with nothing decided: no purchase, or not closed, until then.

    Parameters
    ----------
    tables : CrmTables
    spine : DataFrame
        entity_id, as_of.
    target : Target

    Returns
    -------
    DataFrame
        entity_id, as_of, target, horizon_days, label (float64: 1, 0, NaN, or a sum), settled_at (the moment
        the label is ripe), in the order of (entity_id, as_of).

    """
    with open_database(tables) as database:
        rows = spine[["entity_id", "as_of"]].astype({"entity_id": "str", "as_of": "datetime64[us]"})
        left = database.add("spine", rows)
        days = target.horizon_days
        settled = days + settle_days(database, tables, target)
        asked = left.mutate(
            until=left.as_of + ibis.interval(days=days), settled_at=left.as_of + ibis.interval(days=settled)
        )
        answered = _answer(database, target, asked)
        ripe = (answered.settled_at <= ibis.literal(tables.data_end)) & ~answered.is_lost
        labelled = answered.select(
            "entity_id",
            "as_of",
            target=ibis.literal(target.name),
            horizon_days=ibis.literal(days, "int64"),
            label=ibis.ifelse(ripe, answered.happened.cast("float64"), ibis.null("float64")),
            settled_at=answered.settled_at,
        )
        return database.frame(labelled.order_by("entity_id", "as_of"))


def _answer(database: Database, target: Target, asked: Any) -> Any:
    """Add whether it happened, and whether nobody can say."""
    if target.is_by_subscription:
        return left_by_end(database, asked)
    if target.kind == "value":
        return revenue(database, asked)
    return (_won if target.kind == "conversion" else _lapsed)(database, asked)


def _won(database: Database, asked: Any) -> Any:
    """Whether the deal was won in `[as_of, until)`, and whether nobody can say."""
    deals = first_versions(database, "deals", at="closed_at").select("deal_id", "closed_at", "outcome", "ended_at")
    joined = asked.left_join(deals, asked.entity_id == deals.deal_id)
    inside = (joined.closed_at >= joined.as_of) & (joined.closed_at < joined.until)
    won = inside & (joined.outcome == "won") & joined.ended_at.isnull()
    closed_before = joined.closed_at < joined.as_of
    ended_open = (joined.ended_at < joined.until) & (joined.closed_at.isnull() | (joined.closed_at > joined.ended_at))
    return joined.select(
        *[joined[column] for column in asked.columns],
        happened=won.fill_null(False),
        is_lost=closed_before.fill_null(False) | ended_open.fill_null(False),
    )


def _lapsed(database: Database, asked: Any) -> Any:
    """Whether the customer made no purchase in `[as_of, until)`, and whether nobody can say."""
    orders = first_versions(database, "orders")
    bought = orders.filter(is_purchase(orders) & orders.ended_at.isnull()).select("customer_id", "occurred_at")
    inside = [
        asked.entity_id == bought.customer_id,
        bought.occurred_at >= asked.as_of,
        bought.occurred_at < asked.until,
    ]
    stayed = asked.join(bought, inside).select("entity_id", "as_of").distinct().mutate(stayed=True)
    ended = ended_rows(database, "customers")
    joined = asked.left_join(stayed, ["entity_id", "as_of"]).left_join(ended, asked.entity_id == ended.customer_id)
    return joined.select(
        *[joined[column] for column in asked.columns],
        happened=joined.stayed.isnull(),
        is_lost=(joined.stayed.isnull() & (joined.ended_at < joined.until)).fill_null(False),
    )
