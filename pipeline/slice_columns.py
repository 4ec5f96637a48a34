"""What the rows of an evaluation are sliced by: what sellers know, or for flat frames what the columns offer."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from features.build import build_features
from features.expressions import days_between
from features.group import Feature, FeatureDict, feature_group
from features.tables import CrmTables
from features.targets import Target
from models.feature_use import FeatureUse
from models.slices import cut_by_level, cut_by_size
from models.split import row_groups
from models.training_set import TrainingSet

SIZES = (10, 50, 250, 1000)
AGES_DAYS = {90: "up to 90 days", 365: "91 days to a year"}
TEXT_COLUMNS, NUMBER_COLUMNS = 4, 3
MOST_LEVELS = 50
_CUSTOMER, _DEAL = "slice_customer_", "slice_deal_"
_TITLES = {
    f"{_CUSTOMER}industry": "industry",
    f"{_CUSTOMER}region": "region",
    f"{_CUSTOMER}owner": "owner of the customer",
    f"{_DEAL}owner": "owner of the deal",
    f"{_DEAL}product": "product",
    f"{_DEAL}source": "source of the deal",
}


@feature_group("customers")
def slice_customers(customers: Any) -> FeatureDict:
    """Who the customer was at `as_of`."""
    return {
        f"{_CUSTOMER}industry": Feature(customers.industry.max(), None, "text", "{value}", "{value}"),
        f"{_CUSTOMER}region": Feature(customers.region.max(), None, "text", "{value}", "{value}"),
        f"{_CUSTOMER}owner": Feature(customers.owner_id.max(), None, "text", "{value}", "{value}"),
        f"{_CUSTOMER}employees": Feature(customers.employees.max(), None, "count", "{value}", "{value}"),
        f"{_CUSTOMER}age_days": Feature(
            days_between(customers.created_at.min(), customers.as_of.max()), None, "days", "{value}", "{value}"
        ),
    }


@feature_group("deals", by="deal_id")
def slice_deals(deals: Any) -> FeatureDict:
    """Whose the deal was at `as_of`, and how old it was."""
    return {
        f"{_DEAL}owner": Feature(deals.owner_id.max(), None, "text", "{value}", "{value}"),
        f"{_DEAL}product": Feature(deals.product.max(), None, "text", "{value}", "{value}"),
        f"{_DEAL}source": Feature(deals.source.max(), None, "text", "{value}", "{value}"),
        f"{_DEAL}age_days": Feature(
            days_between(deals.created_at.min(), deals.as_of.max()), None, "days", "{value}", "{value}"
        ),
    }


def slices_of_tables(tables: CrmTables, target: Target, rows: TrainingSet) -> "dict[str, pd.Series[Any]]":
    """Cut snapshots by what was known of customer and deal at their `as_of`: industry, region, owner, size, age.

    Parameters
    ----------
    tables : CrmTables
    target : Target
    rows : TrainingSet
        With keys.

    Returns
    -------
    dict of title to categorical Series
        One entry per row; what nothing is known of is left out.

    """
    if rows.keys is None or rows.group is None:
        return {}
    spine = rows.keys.assign(customer_id=pd.Series(rows.group, dtype=object))
    alone = spine["customer_id"] == f"{target.table} " + spine["entity_id"].astype(object)
    spine["customer_id"] = spine["customer_id"].where(~alone, None)
    built = build_features(tables, spine, (slice_customers, slice_deals), target.table).frame
    at = pd.MultiIndex.from_frame(spine[["entity_id", "as_of"]].astype({"entity_id": "str"}))
    frame = built.set_index(["entity_id", "as_of"]).loc[at].reset_index(drop=True)
    cuts = {title: cut_by_level(frame[name]) for name, title in _TITLES.items() if _is_filled(frame, name)}
    if _is_filled(frame, f"{_CUSTOMER}employees"):
        cuts["employees"] = _cut_employees(frame[f"{_CUSTOMER}employees"])
    for name, title in ((f"{_DEAL}age_days", "age of the deal"), (f"{_CUSTOMER}age_days", "customer for")):
        if _is_filled(frame, name):
            cuts[title] = _cut_ages(frame[name])
    return cuts


def _is_filled(frame: pd.DataFrame, name: str) -> bool:
    return name in frame.columns and bool(frame[name].notna().any())


def _banded(column: "pd.Series[Any]", edges: Sequence[float], names: Sequence[str]) -> "pd.Series[Any]":
    """Name the band of each value, `[edge, next edge)`."""
    values = column.to_numpy(dtype=np.float64)
    place = np.where(np.isnan(values), len(names), np.searchsorted(edges, np.nan_to_num(values), side="right"))
    levels = [*names, "not known"]
    return pd.Series(pd.Categorical(np.array(levels, dtype=object)[place], categories=levels, ordered=True))


def _cut_employees(column: "pd.Series[Any]") -> "pd.Series[Any]":
    between = [f"{low:,} to {high - 1:,}" for low, high in itertools.pairwise(SIZES)]
    return _banded(column, SIZES, [f"under {SIZES[0]}", *between, f"{SIZES[-1]:,} and more"])


def _cut_ages(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return _banded(column, [days + 1 for days in AGES_DAYS], [*AGES_DAYS.values(), "more than a year"])


def slices_of_frame(rows: TrainingSet, uses: Sequence[FeatureUse]) -> "dict[str, pd.Series[Any]]":
    """Cut the rows of a flat frame: text columns of few levels, and parts of the numbers that count most.

    Parameters
    ----------
    rows : TrainingSet
    uses : sequence of FeatureUse
        Those that count most first; columns not among them follow in their order.

    Returns
    -------
    dict of column to categorical Series

    """
    ranked = [one.name for one in uses if one.name in rows.frame.columns]
    names = [*ranked, *(name for name in rows.frame.columns if name not in set(ranked))]
    numbers = [name for name in names if pd.api.types.is_numeric_dtype(rows.frame[name])]
    texts = [name for name in names if name not in set(numbers) and 2 <= rows.frame[name].nunique() <= MOST_LEVELS]
    numbers = [name for name in numbers if rows.frame[name].nunique() >= 2]
    cuts = {name: cut_by_level(rows.frame[name]) for name in texts[:TEXT_COLUMNS]}
    return cuts | {name: cut_by_size(rows.frame[name]) for name in numbers[:NUMBER_COLUMNS]}


def cut_by_acquaintance(train: TrainingSet, test: TrainingSet) -> "dict[str, pd.Series[Any]]":
    """Cut test rows by whether the model was fitted on rows of the same group; nothing without groups."""
    if train.group is None or test.group is None:
        return {}
    met = np.isin(test.group.astype(str), np.unique(train.group.astype(str)))
    names = np.where(met, "met in training", "never met before")
    levels = ["never met before", "met in training"]
    return {"new or known": pd.Series(pd.Categorical(names, categories=levels, ordered=True))}


def group_codes(rows: TrainingSet) -> "np.ndarray[Any, Any]":
    """Group of each row, for intervals; without a group column each row is its own."""
    return np.arange(len(rows)) if rows.group is None else row_groups(rows)
