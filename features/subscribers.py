"""Customers with subscriptions: who has a live one, and who has none left when a horizon ends."""

from typing import Any

import ibis

from features.engine import Database
from features.versions import ended_rows, is_known


def subscribed(database: Database, present: Any) -> Any:
    """Keep the snapshots whose customer has a live subscription, as known: `known_at < as_of`, and no known end before.

    An end exactly at `as_of` is not before it. Of a subscription that changed or moved to another customer, the
    version that holds at `as_of` counts.
    """
    subscriptions = database.table("subscriptions")
    has_ended = (subscriptions.ended_at < present.as_of) & (subscriptions.ended_at_known_at < present.as_of)
    return present.semi_join(
        subscriptions,
        [
            present.entity_id == subscriptions.customer_id,
            is_known(subscriptions, present.as_of),
            ~has_ended.fill_null(False),
        ],
    )


def left(database: Database, asked: Any) -> Any:
    """Whether no subscription of the customer is alive when `[as_of, until)` ends, and whether nobody can say.

    Alive is what began before `until` and did not end before it, whenever that became known: what begins or ends
    exactly at `until` lies outside. A subscription is its customer's of `as_of` (if it became known later, its first
    customer's), even if it goes over to another one. One that was taken up again before `until` is alive.

    Nobody can say if the customer ended (deleted or merged) before `until`, or if a subscription was
    deleted before it without an end, and no other is alive.

    Parameters
    ----------
    database : Database
    asked : ibis Table
        entity_id, as_of, until.

    Returns
    -------
    ibis Table
        The columns of `asked`, happened, is_lost.

    """
    versions = database.keep("subscription_versions", _versions(database))
    owned = [asked.entity_id == versions.customer_id, versions.until.isnull() | (asked.as_of <= versions.until)]
    mine = asked.join(versions, [*owned, _has_begun(versions, asked.as_of)])
    mine = mine.select("entity_id", "as_of", subscription_id=versions.subscription_id, horizon_end=asked.until)
    states = versions.view()
    holds = states.until.isnull() | (mine.horizon_end <= states.until) | states.is_last
    same = [mine.subscription_id == states.subscription_id, _has_begun(states, mine.horizon_end), holds]
    found = mine.join(states, [*same, states.began_at < mine.horizon_end])
    runs = ~(found.ends_at < found.horizon_end).fill_null(False)
    is_gone = (found.until < found.horizon_end).fill_null(False)
    told = found.group_by("entity_id", "as_of").agg(is_alive=(runs & ~is_gone).any(), is_unsure=(runs & is_gone).any())
    customers = ended_rows(database, "customers")
    joined = asked.left_join(told, ["entity_id", "as_of"])
    joined = joined.left_join(customers, joined.entity_id == customers.customer_id)
    is_alive, has_ended = joined.is_alive.fill_null(False), (joined.ended_at < joined.until).fill_null(False)
    return joined.select(
        *[joined[column] for column in asked.columns],
        happened=~is_alive,
        is_lost=has_ended | (~is_alive & joined.is_unsure.fill_null(False)),
    )


def _has_begun(versions: Any, moment: Any) -> Any:
    """Whether no earlier version held at a moment."""
    return versions.since.isnull() | (versions.since < moment)


def _versions(database: Database) -> Any:
    """Versions of subscriptions that held, each with its end as it and later ones tell it.

    Returns
    -------
    ibis Table
        subscription_id, customer_id, began_at; since (when the version before it ended, null for the first), until
        (when it ended itself, null while it holds), is_last; ends_at: the subscription's earliest end from here on.

    """
    rows = database.table("subscriptions")
    rows = rows.filter(rows.known_until.isnull() | (rows.known_at < rows.known_until))
    in_order = ibis.window(group_by=rows.subscription_id, order_by=rows.known_at)
    from_here = ibis.window(group_by=rows.subscription_id, order_by=rows.known_at, preceding=0, following=None)
    return rows.select(
        "subscription_id",
        "customer_id",
        began_at=rows.occurred_at,
        since=rows.known_until.lag().over(in_order),
        until=rows.known_until,
        is_last=rows.known_at.lead().over(in_order).isnull(),
        ends_at=rows.ended_at.min().over(from_here),
    )
