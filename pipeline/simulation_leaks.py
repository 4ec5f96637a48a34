"""Columns planted in simulated customers and deals that know the outcome, one of each kind on either table.

They look like what CRMs have. Nothing dates them, so only their meaning, or their history once two
extracts are compared, gives them away. They are off by default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from pipeline.simulation_accounts import Orders
from pipeline.simulation_activities import Activities
from pipeline.simulation_columns import label_column, number_column, time_column
from pipeline.simulation_deals import LOST, OPEN, Progress
from pipeline.simulation_world import DAY, HISTORY, Codes, Flags, Floats

LeakKind = Literal["filled after the outcome", "overwritten at the outcome", "correlated with the extract date",
                   "future aggregate"]  # fmt: skip

_LOSS_NOTES = ("LN01", "LN02", "LN03", "LN04", "LN07")
_EXIT_CODES = ("E1", "E2", "E3", "E9")
_FORECASTS = ("pipeline", "best case", "commit", "closed", "omitted")
_STATUSES = ("key", "standard", "small", "inactive")
_SYNCED = ("today", "this week", "this month", "this quarter", "older")
_SYNC_BOUNDS_DAYS = np.array([1.0, 7.0, 30.0, 90.0])
LEFT_AFTER_DAYS = 90.0
FILLED_SHARE = 0.9
"""Share of the outcomes after which a column is filled or overwritten."""


@dataclass(frozen=True)
class Leak:
    """One planted column and why it leaks."""

    table: str
    column: str
    kind: LeakKind
    why: str


LEAKS: tuple[Leak, ...] = (
    Leak("deals", "loss_note_code", "filled after the outcome", "Filled in when a deal is lost, empty before."),
    Leak("deals", "forecast_category", "overwritten at the outcome", "Set to closed or omitted when a deal closes."),
    Leak("deals", "last_sync_bucket", "correlated with the extract date",
         "How long before the extract the deal was last touched: open deals were a short time ago."),
    Leak("deals", "lifetime_activities", "future aggregate", "Counts the activities of the deal up to the extract."),
    Leak("customers", "exit_survey_code", "filled after the outcome",
         "Filled in when a customer has bought nothing for 90 days."),
    Leak("customers", "account_status", "overwritten at the outcome",
         "Set to inactive when a customer has bought nothing for 90 days."),
    Leak("customers", "last_synced_at", "correlated with the extract date",
         "When the customer last ordered before the extract: a time after `as_of` says that an order came."),
    Leak("customers", "lifetime_orders", "future aggregate", "Counts the orders of the customer up to the extract."),
)  # fmt: skip
"""All planted columns."""


def leaks_table() -> pa.Table:
    """Return the manifest of the planted columns: table_name, column_name, kind, why."""
    return pa.table(
        {
            "table_name": [leak.table for leak in LEAKS],
            "column_name": [leak.column for leak in LEAKS],
            "kind": [leak.kind for leak in LEAKS],
            "why": [leak.why for leak in LEAKS],
        }
    )


def deal_leaks(rng: np.random.Generator, progress: Progress, activities: Activities) -> Mapping[str, pa.Array]:
    """Return the planted columns of deals, one value per deal of the world."""
    count = len(progress.closed)
    is_closed = progress.outcome != OPEN
    is_noted = (progress.outcome == LOST) & (rng.random(count) < FILLED_SHARE)
    forecast = np.clip(np.digitize(rng.random(count) + 0.15 * progress.stage, [0.6, 1.0]), 0, 2)
    is_overwritten = is_closed & (rng.random(count) < FILLED_SHARE)
    forecast = np.where(is_overwritten, np.where(progress.outcome == LOST, 4, 3), forecast)
    touched = np.where(is_closed, progress.closed, HISTORY - rng.exponential(5 * DAY, count))
    of_deals = activities.deal[(activities.deal >= 0) & (activities.occurred < HISTORY)]
    return {
        "loss_note_code": _codes(rng, _LOSS_NOTES, is_noted),
        "forecast_category": label_column(_FORECASTS, forecast),
        "last_sync_bucket": _sync_bucket(touched),
        "lifetime_activities": number_column(np.bincount(of_deals, minlength=count).astype(np.float64)),
    }


def customer_leaks(rng: np.random.Generator, orders: Orders, size: Floats, created: Floats) -> Mapping[str, pa.Array]:
    """Return the planted columns of customers; `size` and `created` have one entry per row of the table.

    A customer has left who bought, but nothing in the last `LEFT_AFTER_DAYS` before the extract.
    """
    count = len(size)
    bought = (orders.occurred < HISTORY) & (orders.amount > 0)
    number = np.bincount(orders.customer[bought], minlength=count)
    last = np.zeros(count)
    np.maximum.at(last, orders.customer[bought], orders.occurred[bought])
    has_left = (number > 0) & (last < HISTORY - LEFT_AFTER_DAYS * DAY)
    is_marked = has_left & (rng.random(count) < FILLED_SHARE)
    return {
        "exit_survey_code": _codes(rng, _EXIT_CODES, has_left & (rng.random(count) < FILLED_SHARE)),
        "account_status": label_column(_STATUSES, np.where(is_marked, 3, np.digitize(-size, [-1.0, 0.5]))),
        "last_synced_at": time_column(np.floor(np.maximum(last, created))),
        "lifetime_orders": number_column(number.astype(np.float64)),
    }


def _codes(rng: np.random.Generator, labels: tuple[str, ...], is_filled: Flags) -> pa.StringArray:
    """Draw a code where it is filled, null elsewhere."""
    drawn: Codes = rng.integers(len(labels), size=len(is_filled))
    return label_column(labels, np.where(is_filled, drawn, -1))


def _sync_bucket(touched: Floats) -> pa.StringArray:
    """Return in which stretch before the extract a record was last touched."""
    return label_column(_SYNCED, np.digitize((HISTORY - touched) / DAY, _SYNC_BOUNDS_DAYS))
