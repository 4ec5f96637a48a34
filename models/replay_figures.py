"""What a replay amounts to: quality and money per period and policy, and regret against the best in hindsight."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from models.metrics import measure
from models.policy import Played, Replay
from models.split import EAST_OF_UTC
from models.training_set import TrainingSet

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

PERIODS = 12
"""An order without dates is cut into so many periods, unless told how long they are."""


@dataclass(frozen=True)
class Contacts:
    """Whom to contact, and what that brings.

    Parameters
    ----------
    value_per_event : float
        Currency earned per contacted row whose label is 1.
    cost_per_contact : float
        Currency spent per contacted row.
    threshold : float, optional
        Contact from this probability on; None: cost / value, where a contact pays for itself.
    capacity : int, optional
        At most so many contacts per period, the most probable first.

    """

    value_per_event: float
    cost_per_contact: float
    threshold: float | None = None
    capacity: int | None = None

    def __post_init__(self) -> None:
        if min(self.value_per_event, self.cost_per_contact) < 0 or (self.capacity or 0) < 0:
            raise DataError(f"{self}: value, cost and capacity are 0 or more. Correct the negative one.")

    @property
    def line(self) -> float:
        """Probability from which a row is contacted; above 1 when contacts bring nothing."""
        if self.threshold is not None:
            return self.threshold
        return self.cost_per_contact / self.value_per_event if self.value_per_event > 0 else float("inf")


@dataclass(frozen=True)
class Figures:
    """One policy over one period, or over all.

    `regret` is the log loss above the policy that was best in each period, known afterwards; `missed`
    is the same in money. Figures that do not exist (AUC of one class, money without prices) are None.
    """

    rows: int
    base_rate: float
    mean_probability: float
    auc: float | None
    log_loss: float
    regret: float
    contacts: int | None = None
    contacted_events: int | None = None
    profit: float | None = None
    missed: float | None = None


@dataclass(frozen=True)
class Account:
    """One policy: over all, and per period."""

    played: Played
    overall: Figures
    periods: tuple[Figures, ...]


@dataclass(frozen=True)
class Summary:
    """A replay in figures; `period` is the period of each scored row."""

    replay: Replay
    names: tuple[str, ...]
    period: Codes
    accounts: tuple[Account, ...]
    contacts: Contacts | None

    def title(self, account: Account) -> str:
        """Policy in words."""
        return account.played.policy.describe(self.replay.unit)

    def to_json(self) -> dict[str, Any]:
        """Return the figures, ready for JSON."""
        return {
            "unit": self.replay.unit,
            "replayed": self.replay.rows.describe(),
            "contacts": None if self.contacts is None else asdict(self.contacts),
            "periods": list(self.names),
            "policies": [self._policy(account) for account in self.accounts],
        }

    def _policy(self, account: Account) -> dict[str, Any]:
        return {
            "name": self.title(account),
            **asdict(account.played.policy),
            "trainings": account.played.trainings,
            "promotions": account.played.promotions,
            **asdict(account.overall),
            "periods": [asdict(figures) for figures in account.periods],
            "moments": [{**asdict(one), "at": str(one.at)} for one in account.played.moments],
        }


def periods_of(rows: TrainingSet, length: int | None = None) -> tuple[Codes, tuple[str, ...]]:
    """Period of each row, rows being in time order, and the periods' names.

    Dates fall into calendar months. An order is cut every `length` rows, by default into twelve.
    """
    time = np.asarray(rows.time)
    if time.dtype.kind == "M":
        names, codes = np.unique((time + EAST_OF_UTC).astype("datetime64[M]"), return_inverse=True)
        return codes.astype(np.int64), tuple(map(str, names))
    length = length or -(-len(rows) // PERIODS)
    codes = np.arange(len(rows)) // length
    ends = [(at * length, min((at + 1) * length, len(rows)) - 1) for at in range(int(codes[-1]) + 1)]
    return codes, tuple(f"{time[first]} to {time[last]}" for first, last in ends)


def _entities(rows: TrainingSet) -> Sequence[Any] | None:
    """Who each row is about, where time can pass between two contacts; None: every row is about another."""
    if rows.horizon == 0 or np.asarray(rows.time).dtype.kind != "M":
        return None
    if rows.keys is not None:
        return rows.keys["entity_id"].tolist()
    return None if rows.group is None else list(rows.group)


def contacted(rows: TrainingSet, probability: Floats, period: Codes, contacts: Contacts) -> NDArray[np.bool_]:
    """Whether each row, in time order, is contacted.

    Rows from the line on are, first come first served, or the most probable of a period first where
    there is a capacity. Nobody is contacted twice within a horizon, so that no event counts twice.
    """
    order = np.flatnonzero(probability >= contacts.line)
    if contacts.capacity is not None:
        order = order[np.lexsort((-probability[order], period[order]))]
    entities, gap = _entities(rows), np.timedelta64(rows.horizon, "D")
    left = {} if contacts.capacity is None else dict.fromkeys(period.tolist(), contacts.capacity)
    before: dict[Any, list[Any]] = {}
    chosen = np.zeros(len(rows), dtype=bool)
    for at in order.tolist():
        if left.get(period[at], 1) == 0:
            continue
        if entities is not None:
            when, times = np.asarray(rows.time)[at], before.setdefault(entities[at], [])
            if any(abs(when - other) < gap for other in times):
                continue
            times.append(when)
        chosen[at] = True
        if left:
            left[period[at]] -= 1
    return chosen


def _figures(label: Floats, probability: Floats, chosen: NDArray[np.bool_] | None, prices: Contacts | None) -> Figures:
    """Figures of some rows, before they are compared with other policies."""
    metrics = measure(label, probability, resamples=0)
    plain = (len(label), metrics["base_rate"], float(probability.mean()), metrics["auc"], metrics["log_loss"], 0.0)
    if prices is None or chosen is None:
        return Figures(*plain)
    contacts, events = int(chosen.sum()), int(label[chosen].sum())
    profit = prices.value_per_event * events - prices.cost_per_contact * contacts
    return Figures(*plain, contacts, events, profit, 0.0)


def sum_up(replay: Replay, contacts: Contacts | None = None, period_length: int | None = None) -> Summary:
    """Quality, money and regret of each policy of a replay, per period and over all.

    Parameters
    ----------
    replay : Replay
    contacts : Contacts, optional
        Prices, and whom to contact; None leaves the money out.
    period_length : int, optional
        Rows per period where time is an order; dates are always cut into months.

    """
    period, names = periods_of(replay.rows, period_length)
    label, at = replay.rows.label, [np.flatnonzero(period == code) for code in range(len(names))]
    found = []
    for played in replay.played:
        p = played.probability
        chosen = None if contacts is None else contacted(replay.rows, p, period, contacts)
        parts = [_figures(label[rows], p[rows], None if chosen is None else chosen[rows], contacts) for rows in at]
        found.append((played, _figures(label, p, chosen, contacts), parts))
    best = [min(parts[k].log_loss for _, _, parts in found) for k in range(len(names))]
    most = [max(parts[k].profit or 0.0 for _, _, parts in found) for k in range(len(names))]
    accounts = tuple(_compared(*one, best, most) for one in found)
    return Summary(replay, names, period, accounts, contacts)


def _compared(
    played: Played, overall: Figures, parts: Sequence[Figures], best: Sequence[float], most: Sequence[float]
) -> Account:
    """Account of a policy with its regret against the best of each period."""
    periods = []
    for one, low, high in zip(parts, best, most, strict=True):
        missed = None if one.profit is None else high - one.profit
        periods.append(replace(one, regret=one.log_loss - low, missed=missed))
    regret = sum(one.regret * one.rows for one in periods) / overall.rows
    missed = None if overall.profit is None else sum(one.missed or 0.0 for one in periods)
    return Account(played, replace(overall, regret=regret, missed=missed), tuple(periods))
