"""Classes of customers by buying potential, profit contribution and strategic value."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.value_classes import top_edge

TOP_SIZE = 0.2
"""Share of the customers with a known size, the largest, that could buy much whatever they buy today."""
TOP_INFLUENCE = 0.05
"""Share that others look to."""

Flags = NDArray[np.bool_]


def class_customers(
    customers: pd.DataFrame, potential_flags: Sequence[str] = (), strategic_flags: Sequence[str] = ()
) -> pd.DataFrame:
    """Class each customer by what is known of it.

    - buying_potential is `high` if any of these holds: its predicted value is class A; it is growing; it or its parent
      is among the largest fifth of all customers by employees or annual revenue; a card raised one of
      `potential_flags`. Else `low`; null if none of these is known.
    - profit_class is `high` if its profit is class A, else `low`; null where the profit is not known.
    - strategic is `key` if a card raised one of `strategic_flags`, or if the customer has all of: high value (class A
      by revenue or predicted value), stable (growing or mature), influential (the parent of other customers, or
      among the largest 5 % by employees or annual revenue). Else `ordinary`; null where neither influence nor a flag
      can be known.

    Parameters
    ----------
    customers : DataFrame
        One row per customer: abc_revenue, abc_profit, abc_value, lifecycle, employees, annual_revenue,
        parent_employees, parent_annual_revenue, children (how many customers have it as parent; NaN where parents
        are not recorded), flags (set of ids, or null without a card).
    potential_flags, strategic_flags : sequence of str
        Ids of flags.

    Returns
    -------
    DataFrame
        buying_potential, profit_class, strategic: text or null, on the index of `customers`.

    """
    has_card = customers["flags"].notna().to_numpy()
    is_large, is_influential = _is_large(customers, TOP_SIZE), _is_large(customers, TOP_INFLUENCE, with_parent=False)
    has_children = (customers["children"] > 0).to_numpy()
    sized = customers[["employees", "annual_revenue"]].notna().any(axis=1).to_numpy()
    parent_sized = customers[["parent_employees", "parent_annual_revenue"]].notna().any(axis=1).to_numpy()

    is_promising = _is(customers, "abc_value", "A") | _is(customers, "lifecycle", "growing") | is_large
    is_promising |= _has_flag(customers, potential_flags)
    judged = customers["abc_value"].notna() | customers["lifecycle"].notna()
    can_judge = judged.to_numpy() | sized | parent_sized | (has_card & bool(potential_flags))

    is_valuable = _is(customers, "abc_revenue", "A") | _is(customers, "abc_value", "A")
    is_key = is_valuable & _is(customers, "lifecycle", "growing", "mature") & (has_children | is_influential)
    is_key |= _has_flag(customers, strategic_flags)
    can_know = sized | customers["children"].notna().to_numpy() | (has_card & bool(strategic_flags))

    has_profit = customers["abc_profit"].notna().to_numpy()
    columns = {
        "buying_potential": _words(is_promising, can_judge, "high", "low"),
        "profit_class": _words(_is(customers, "abc_profit", "A"), has_profit, "high", "low"),
        "strategic": _words(is_key, can_know, "key", "ordinary"),
    }
    return pd.DataFrame(columns, index=customers.index)


def _is(customers: pd.DataFrame, column: str, *words: str) -> Flags:
    return np.asarray(customers[column].isin(list(words)))


def _has_flag(customers: pd.DataFrame, wanted: Sequence[str]) -> Flags:
    """Whether a card raised any of some flags."""
    asked = frozenset(wanted)
    raised = [isinstance(one, frozenset) and not asked.isdisjoint(one) for one in customers["flags"]]
    return np.array(raised, dtype=bool)


def _is_large(customers: pd.DataFrame, share: float, *, with_parent: bool = True) -> Flags:
    """Whether a customer, or its parent, is among the largest of all customers by either size."""
    found = np.zeros(len(customers), dtype=bool)
    for size in ("employees", "annual_revenue"):
        edge = top_edge(customers[size], share)
        for column in (size, *([f"parent_{size}"] if with_parent else [])):
            found |= customers[column].to_numpy(np.float64) >= edge
    return found


def _words(holds: Any, can_say: Any, yes: str, no: str) -> NDArray[np.object_]:
    """One word where something holds, another where not, None where nobody can say."""
    return np.array([yes, no, None], dtype=object)[np.where(can_say | holds, np.where(holds, 0, 1), 2)]
