"""Which past scores a review counts, and what came of them.

No day of an entity is counted twice: its first score since the date counts, then the first one that is at least a
horizon later, and so on. What came of a score is the label at its own `as_of`, looked up in the newest extract.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from features.build import build_features
from features.labels import build_labels
from features.tables import CrmTables
from features.targets import Target
from pipeline.ledger_review import FirstScores
from pipeline.slice_columns import slice_customers, slice_deals

SLICES = {
    "slice_customer_region": "region",
    "slice_customer_owner": "owner of the customer",
    "slice_deal_owner": "owner of the deal",
}
"""Features that outcomes are cut by, as known at the time of the score, and what they are called."""


@dataclass(frozen=True)
class Settled:
    """What came of the scores of one target.

    Parameters
    ----------
    rows : DataFrame
        Scores that count and whose outcome is known: columns of the ledger, label, customer (whose it is; the entity
        itself where it has none), revenue (what the customer's orders amounted to within the horizon, null where that
        is not known) and the columns of `SLICES` that the tables have.
    scores, counted, unripe, lost : int
        Scores there are; those that count; of these, those that have not ripened, and those of whom nobody can say
        (deleted, merged, or closed before the score although nobody knew).
    next_ripe_at : datetime or None
        When the next one ripens.

    """

    rows: pd.DataFrame
    scores: int
    counted: int
    unripe: int
    lost: int
    next_ripe_at: datetime | None


def settle(tables: CrmTables, target: Target, scores: FirstScores) -> Settled:
    """Find out what came of scores.

    Parameters
    ----------
    tables : CrmTables
        The newest extract.
    target : Target
        With the horizon of the scores.
    scores : FirstScores

    """
    counted = scores.rows
    if counted.empty:
        return Settled(counted.assign(label=np.empty(0)), scores.found, 0, 0, 0, None)
    labels = build_labels(tables, counted, target)[["entity_id", "as_of", "label", "settled_at"]]
    rows = counted.merge(labels, on=["entity_id", "as_of"], how="left", validate="many_to_one")
    is_ripe = rows["settled_at"] <= pd.Timestamp(tables.data_end)
    known = rows["label"].notna()
    waiting = rows.loc[~is_ripe, "settled_at"]
    ripe = _describe(tables, target, rows[known].reset_index(drop=True))
    return Settled(
        rows=ripe,
        scores=scores.found,
        counted=len(counted),
        unripe=int((~is_ripe).sum()),
        lost=int((is_ripe & ~known).sum()),
        next_ripe_at=waiting.min().to_pydatetime() if len(waiting) else None,
    )


def _describe(tables: CrmTables, target: Target, rows: pd.DataFrame) -> pd.DataFrame:
    """Add customer, revenue and slices."""
    customer = rows["entity_id"] if target.table == "customers" else _customers_of_deals(tables, rows["entity_id"])
    rows = rows.assign(customer_id=customer.to_numpy(dtype=object))
    alone = "deal " + rows["entity_id"].astype(object)
    rows["customer"] = rows["customer_id"].where(rows["customer_id"].notna(), alone).astype("str")
    if rows.empty:
        return rows.assign(revenue=np.empty(0))
    spine = rows[["entity_id", "as_of", "customer_id"]]
    built = build_features(tables, spine, (slice_customers, slice_deals), target.table)
    kept = ["entity_id", "as_of", *(name for name in SLICES if name in built.frame.columns)]
    rows = rows.merge(built.frame[kept], on=["entity_id", "as_of"], how="left", validate="many_to_one")
    return rows.assign(revenue=_revenue(tables, target, rows))


def _customers_of_deals(tables: CrmTables, deals: "pd.Series[Any]") -> "pd.Series[Any]":
    """Customer of each deal, in the newest version there is; null for a lead without one."""
    stored = pd.read_parquet(tables.path("deals"))
    if "customer_id" not in stored:
        return pd.Series(None, index=deals.index, dtype=object)
    stored = stored.sort_values("known_at", kind="stable").drop_duplicates("deal_id", keep="last")
    return deals.map(stored.set_index("deal_id")["customer_id"].astype(object))


def _revenue(tables: CrmTables, target: Target, rows: pd.DataFrame) -> Any:
    """What the customer's orders amounted to in `[as_of, as_of + horizon)`; null where nobody can say."""
    if target.kind == "value":
        return rows["label"].to_numpy()
    if "orders" not in tables.tables or "amount" not in tables.tables["orders"].columns:
        return np.full(len(rows), np.nan)
    asked = rows.loc[rows["customer_id"].notna(), ["customer_id", "as_of"]].drop_duplicates()
    spine = asked.rename(columns={"customer_id": "entity_id"}).astype({"entity_id": "str"})
    if spine.empty:
        return np.full(len(rows), np.nan)
    value = Target("revenue", "value", target.horizon_days, None, target.settle_days)
    found = build_labels(tables, spine, value).rename(columns={"entity_id": "customer_id"})
    keys = rows[["customer_id", "as_of"]].astype({"customer_id": object})
    joined = keys.merge(found.astype({"customer_id": object})[["customer_id", "as_of", "label"]], how="left")
    return joined["label"].to_numpy()
