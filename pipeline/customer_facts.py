"""Facts about every customer beside the scores of a run: value, ABC classes, lifecycle, history in figures."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.customer_rows import ROW, KnownRows, read_figures, read_people, read_purchases
from features.engine import open_database
from features.tables import CrmTables
from models.customer_classes import class_customers
from models.lifecycle import Purchases, find_stages, make_purchases
from models.value_classes import abc_classes
from pipeline.config import Config
from pipeline.customer_value import Floats, add_profit, lifetime_values, read_model_values
from pipeline.tombstones import load_tombstones

CUSTOMERS_FILE = "customers.parquet"

_TEXTS = (
    "abc_revenue", "abc_profit", "abc_value", "lifecycle", "lifetime_source", "buying_potential", "profit_class",
    "strategic",
)  # fmt: skip
_NUMBERS = (
    "rhythm_days", "absent_days", "revenue", "revenue_365d", "profit_365d", "profit_share", "lifetime_value",
    "lifetime_margin", "orders_count", "orders_count_365d", "invoices_count", "invoices_on_time_share",
    "invoices_overdue_amount", "tickets_count_365d", "tickets_open_count", "satisfaction", "deals_open_count",
    "deals_open_amount", "deals_won_count",
)  # fmt: skip
_TIMES = ("as_of", "first_order_at", "last_order_at", "last_contact_at")
SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        *((name, pa.string()) for name in _TEXTS),
        *((name, pa.float64()) for name in _NUMBERS),
        *((name, pa.timestamp("us")) for name in _TIMES),
    ]
)
"""Columns of the stored facts; all but the id and as_of are null where they cannot be known."""


@dataclass(frozen=True)
class CustomerFacts:
    """Facts of all customers at `data_end`, and sentences about what could not be told."""

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()


def write_customer_facts(config: Config, tables: CrmTables, folder: Path) -> tuple[str, ...]:
    """Store the facts of all customers as `customers.parquet` in the folder of a run; see `make_customer_facts`.

    Returns
    -------
    tuple of str
        Sentences about what could not be told. Nothing is stored where there is no table of customers.

    """
    if "customers" not in tables.tables:
        return ()
    facts = make_customer_facts(config, tables, folder)
    pq.write_table(pa.Table.from_pandas(facts.frame, SCHEMA, preserve_index=False), folder / CUSTOMERS_FILE)
    return facts.notes


def make_customer_facts(config: Config, tables: CrmTables, folder: Path) -> CustomerFacts:
    """Facts of every customer that is there at `data_end`, by what was known before it.

    Classes A, B and C are by revenue_365d (returns counted against), profit_365d and lifetime_value.

    Parameters
    ----------
    config : Config
    tables : CrmTables
    folder : Path
        Of a run: the scores of a target of kind `value` give the lifetime value, flags of cards count for the classes.

    Returns
    -------
    CustomerFacts
        A row per customer with the columns of `SCHEMA`, by customer_id.

    """
    rules, notes = config.value_classes, list[str]()
    tombstones = load_tombstones(config.folder)
    with open_database(tables, engine="duckdb") as database:
        rows, people = read_people(database, lambda ids: tombstones.among("customers", ids) if tombstones else ())
        frame = add_profit(pd.concat([people, read_figures(rows)], axis=1), rules.margin)
        purchases, mean = _purchases(rows, len(people))
    stages = find_stages(purchases).rename(columns={"stage": "lifecycle"}) if purchases else None
    frame = pd.concat([frame, stages], axis=1) if stages is not None else frame.assign(lifecycle=None)
    from_model = read_model_values(config, folder)
    frame = frame.assign(as_of=tables.data_end, **lifetime_values(config, frame, purchases, mean, from_model, notes))
    ranked = {"abc_revenue": "revenue_365d", "abc_profit": "profit_365d", "abc_value": "lifetime_value"}
    classes = {name: abc_classes(frame[by], rules.shares) for name, by in ranked.items()}
    frame = frame.assign(**classes, flags=_flags(config, folder, frame["customer_id"]))
    frame = frame.assign(**class_customers(frame, rules.potential_flags, rules.strategic_flags))
    return CustomerFacts(frame.reindex(columns=SCHEMA.names), tuple(notes))


def _purchases(rows: KnownRows, customers: int) -> tuple[Purchases | None, Floats]:
    """Purchase days, None without orders, and the mean amount of a purchase day of each customer (0 without one)."""
    if not rows.has("orders"):
        return None, np.zeros(customers)
    found = read_purchases(rows)
    owner = found[ROW].to_numpy(np.int64)
    as_of = pd.Timestamp(rows.database.tables.data_end)
    purchases = make_purchases(owner, found["at"].to_numpy("datetime64[us]"), as_of, customers)
    total = np.bincount(owner, weights=found["amount"].to_numpy(np.float64), minlength=customers)
    return purchases, total / np.maximum(np.bincount(owner, minlength=customers), 1)


def _flags(config: Config, folder: Path, ids: "pd.Series[str]") -> "pd.Series[Any]":
    """Flags that the cards of a run raised, as a set per customer; null for customers without a card."""
    raised: dict[str, frozenset[str]] = {}
    for name, target in config.targets.items():
        path = folder / f"card_{name}.parquet"
        if target.kind == "conversion" or not path.is_file():
            continue
        parts = pq.read_table(path, columns=["entity_id", "flags"])
        for entity, text in zip(parts["entity_id"].to_pylist(), parts["flags"].to_pylist(), strict=True):
            raised[entity] = raised.get(entity, frozenset()) | frozenset(json.loads(text) if text else ())
    return pd.Series([raised.get(one) for one in ids], index=ids.index, dtype=object)
