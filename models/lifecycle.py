"""Lifecycle stages of customers, from the days on which they bought: each is judged by their own rhythm."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STAGES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "new": {"en": "New", "zh": "新客户"},
        "growing": {"en": "Growing", "zh": "成长期"},
        "mature": {"en": "Mature", "zh": "成熟期"},
        "declining": {"en": "Declining", "zh": "衰退期"},
        "dormant": {"en": "Dormant", "zh": "休眠"},
        "won_back": {"en": "Won back", "zh": "赢回"},
    }
)
"""Stages and what people call them."""

_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class LifecycleRules:
    """The figures in the rules of `find_stages`.

    Parameters
    ----------
    absent_rhythms : float
        Silence of so many own rhythms is overdue, and an absence if it is also as many typical ones as follow.
    least_typical : float
        No silence shorter than so many typical rhythms is an absence.
    trend_rhythms : float
        Rhythms in each of the two windows that are compared.
    trend_strength : float
        A trend has (later - earlier)^2 >= trend_strength * (later + earlier): with 2, a customer whose purchases
        come by chance at a steady rate is called growing in 8 % of cases, and declining in 8 %.
    new_days : int
        Nobody is new for longer.
    enough_gaps : int
        Until a customer has so many gaps, the rhythm is at least the typical one.
    typical_days : float or None
        The typical rhythm; None: the median of those who have enough gaps, `unknown_days` if nobody has.
    unknown_days : float

    """

    absent_rhythms: float = 3.0
    least_typical: float = 2.0
    trend_rhythms: float = 8.0
    trend_strength: float = 2.0
    new_days: int = 365
    enough_gaps: int = 3
    typical_days: float | None = None
    unknown_days: float = 90.0


@dataclass(frozen=True)
class Purchases:
    """Purchase days before a moment: one row per customer and day, by customer, then the oldest first.

    Parameters
    ----------
    owner : array of int64
        Position of the customer.
    ago : array of float64
        Days from the first purchase of the day until the moment; above 0.
    gap : array of float64
        Whole days since the purchase day before; NaN for a customer's first.
    customers : int
        How many customers there are, with and without purchases.

    """

    owner: Ints
    ago: Floats
    gap: Floats
    customers: int

    def count(self, rows: Any = slice(None)) -> Floats:
        """How many of some rows each customer has."""
        return np.bincount(self.owner[rows], minlength=self.customers).astype(np.float64)

    @cached_property
    def is_first(self) -> NDArray[np.bool_]:
        """Rows that are the first of their customer."""
        return np.asarray(np.isnan(self.gap))

    @cached_property
    def age(self) -> Floats:
        """Days from the first purchase until the moment; NaN without one."""
        return self._of_owner(self.is_first)

    @cached_property
    def silence(self) -> Floats:
        """Days from the last purchase day until the moment; NaN without one."""
        return self._of_owner(slice(None))

    @cached_property
    def repeats(self) -> Floats:
        """Purchase days after the first; 0 without any."""
        return self.count(~self.is_first)

    @property
    def until_last(self) -> Floats:
        """Days from the first purchase to the last purchase day; NaN without one."""
        return self.age - self.silence

    def _of_owner(self, rows: Any) -> Floats:
        """Days ago of the last of some rows of each customer."""
        found = np.full(self.customers, np.nan)
        found[self.owner[rows]] = self.ago[rows]  # of several, the last one stays
        return found


def make_purchases(owner: Ints, at: NDArray[np.datetime64], as_of: pd.Timestamp, customers: int) -> Purchases:
    """Purchase days in `(-inf, as_of)`; several purchases of one day (UTC) are one, at the time of the first.

    Parameters
    ----------
    owner : array of int64
        Position of the customer of each purchase, `0 <= owner < customers`; in any order.
    at : array of datetime64
        When it was made (UTC).
    as_of : Timestamp
    customers : int

    """
    micros = at.astype("datetime64[us]").astype(np.int64)
    end = int(np.datetime64(as_of, "us").astype(np.int64))
    before = micros < end
    owner, micros = owner[before], micros[before]
    order = np.lexsort((micros, owner))
    owner, micros = owner[order], micros[order]
    day = micros // (_SECONDS_PER_DAY * 1_000_000)
    is_first_of_day = np.append(True, (np.diff(owner) != 0) | (np.diff(day) != 0))[: len(owner)]
    owner, micros, day = owner[is_first_of_day], micros[is_first_of_day], day[is_first_of_day]
    gap = np.append(np.nan, np.where(np.diff(owner) == 0, np.diff(day), np.nan))[: len(owner)]
    return Purchases(owner, (end - micros) / (_SECONDS_PER_DAY * 1e6), gap, customers)


def _rhythms(purchases: Purchases, rules: LifecycleRules) -> tuple[Floats, float]:
    """Own rhythm of each customer, NaN without a gap, and the typical one."""
    is_gap = ~purchases.is_first
    owner, gap = purchases.owner[is_gap], purchases.gap[is_gap]
    total = np.bincount(owner, weights=gap, minlength=purchases.customers)
    longest = np.zeros(purchases.customers)
    starts = np.flatnonzero(np.append(True, np.diff(owner) != 0)) if len(owner) else np.empty(0, np.intp)
    if len(starts):
        longest[owner[starts]] = np.maximum.reduceat(gap, starts)
    count = purchases.repeats
    with np.errstate(invalid="ignore"):
        own = np.where(count > 1, (total - longest) / np.maximum(count - 1, 1), np.where(count > 0, total, np.nan))
    typical = rules.typical_days
    if typical is None:
        settled = own[count >= rules.enough_gaps]
        typical = float(np.median(settled)) if len(settled) else rules.unknown_days
    own = np.where(count >= rules.enough_gaps, own, np.fmax(own, typical))
    return own, typical


def find_stages(purchases: Purchases, rules: LifecycleRules = LifecycleRules()) -> pd.DataFrame:
    """Stage of each customer; the first rule that holds decides.

    A customer's *rhythm* is the mean of the days between one purchase day and the next, the longest gap left out:
    it may be an absence. Until there are three gaps it is at least the *typical* rhythm, the median of those who have
    three. Silence of three rhythms or more is *overdue*, and an *absence* if it is also two typical rhythms or more.

    1. null: no purchase.
    2. dormant: absent now, so silent for `[absence, ...)`.
    3. won_back: returned from an absence within `[as_of - absence, as_of)`.
    4. new: first purchase within `[as_of - absence, as_of)`, and within 365 days.
    5. declining: overdue, or bought on clearly fewer days in `[as_of - w, as_of)` than in
       `[as_of - 2 w, as_of - w)`; w is eight rhythms, at most half of the time since the first purchase, which itself
       does not count.
    6. growing: on clearly more days, see `LifecycleRules.trend_strength`.
    7. mature: everybody else.

    Parameters
    ----------
    purchases : Purchases
    rules : LifecycleRules

    Returns
    -------
    DataFrame
        One row per customer: stage (one of `STAGES` or None), rhythm_days, absent_days (float64, NaN without a
        purchase).

    """
    own, typical = _rhythms(purchases, rules)
    bought = ~np.isnan(purchases.age)
    overdue = rules.absent_rhythms * own
    absent = np.maximum(overdue, rules.least_typical * typical)
    trend = _trend(purchases, np.minimum(rules.trend_rhythms * own, purchases.age / 2.0), rules)
    returned = np.full(purchases.customers, np.inf)
    back = np.flatnonzero(purchases.gap >= absent[purchases.owner])
    returned[purchases.owner[back]] = purchases.ago[back]
    holds = {
        "dormant": purchases.silence >= absent,
        "won_back": returned <= absent,
        "new": purchases.age <= np.minimum(absent, rules.new_days),
        "declining": (purchases.silence >= overdue) | (trend < 0),
        "growing": trend > 0,
        "mature": bought,
    }
    first = np.select(list(holds.values()), list(range(len(holds))), len(holds))
    stage = np.array([*holds, None], dtype=object)[first]
    days = {"rhythm_days": np.where(bought, own, np.nan), "absent_days": np.where(bought, absent, np.nan)}
    return pd.DataFrame({"stage": pd.Series(stage, dtype=object), **days})


def _trend(purchases: Purchases, width: Floats, rules: LifecycleRules) -> Floats:
    """Return +1 where a customer clearly bought more often in the later of two windows than in the earlier, -1 less."""
    repeat, wide = ~purchases.is_first, width[purchases.owner]
    later = purchases.count(repeat & (purchases.ago <= wide))
    earlier = purchases.count(repeat & (purchases.ago > wide) & (purchases.ago <= 2.0 * wide))
    is_clear = (later - earlier) ** 2 >= rules.trend_strength * (later + earlier)
    return np.asarray(np.where(is_clear, np.sign(later - earlier), 0.0))
