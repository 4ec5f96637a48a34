"""BG/NBD as a candidate: the chance of no purchase within the horizon, from how often and when a customer bought.

While a customer is there, purchases come at a constant rate; after each one the customer may leave, unseen. Rates are
gamma distributed over customers (r, alpha), chances to leave beta distributed (a, b). A customer is
x (purchases after the first), t_x (days from the first to the last) and T (days from the first until now).

References
----------
Fader, P. S., Hardie, B. G. S., Lee, K. L. (2005). "Counting Your Customers" the Easy Way: An Alternative
to the Pareto/NBD Model. Marketing Science 24(2), 275-284.
Batislam, E. P., Denizel, M., Filiztekin, A. (2007). Empirical validation and comparison of models for customer base
analysis. International Journal of Research in Marketing 24(3), 201-209: MBG/NBD, where the first purchase may be the
last one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

from models.candidate import Floats, Member, Setting
from models.encoding import CodedRows
from models.metrics import log_losses
from models.predict import PurchaseMember, no_purchase_log_odds, to_probability

MAX_CUSTOMERS = 20_000
"""Customers, or labelled rows, that parameters are fitted on at most: four numbers need no more."""
SPREAD = 3.0
"""Standard deviation of the prior of each parameter's logarithm, time in mean ages: it only keeps them finite."""
DOUBT = 0.001
"""Share of the probability that is kept for either outcome."""
REACH = 12.0
"""How far from 0 the logarithm of a parameter may be."""


@dataclass(frozen=True)
class Histories:
    """Purchases after the first, days from the first to the last, days from the first until now."""

    repeats: Floats
    until_last: Floats
    age: Floats

    def __len__(self) -> int:
        return len(self.age)

    def take(self, at: Any) -> "Histories":
        """Return the histories at these positions."""
        return Histories(self.repeats[at], self.until_last[at], self.age[at])


@dataclass(frozen=True)
class Parameters:
    """Rates ~ gamma(r, alpha) per day, chances to leave ~ beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float
    first_may_be_last: bool = False

    def log_odds(self, histories: Histories, horizon: float, doubt: float = 0.0) -> Floats:
        """Log-odds of no purchase within the horizon."""
        document = {**vars(self), "horizon": horizon, "doubt": doubt}
        return no_purchase_log_odds(document, histories.repeats, histories.until_last, histories.age)


def log_likelihood(parameters: Parameters, histories: Histories) -> Floats:
    """Log-likelihood of each history; time in any unit, that of alpha."""
    r, alpha, a, b = parameters.r, parameters.alpha, parameters.a, parameters.b
    x, first = histories.repeats, 1.0 if parameters.first_may_be_last else 0.0
    kinds, kind = np.unique(x, return_inverse=True)  # the gamma function is slow, and purchases are whole numbers
    stays = kinds + first
    counted = (
        gammaln(r + kinds) - gammaln(r) + gammaln(a + b) - gammaln(b) + gammaln(b + stays) - gammaln(a + b + stays)
    )
    with np.errstate(divide="ignore"):
        leaves = np.log(a * (stays > 0)) - np.log(b + np.maximum(stays, 1.0) - 1.0)
    there = -(r + x) * np.log(alpha + histories.age)
    gone = leaves[kind] - (r + x) * np.log(alpha + histories.until_last)
    return np.asarray(counted[kind] + r * np.log(alpha) + np.logaddexp(there, gone))


def fit_to_purchases(histories: Histories, first_may_be_last: bool = False) -> Parameters:
    """Maximum likelihood of the histories themselves, with a weak prior; one history per customer.

    Examples
    --------
    >>> never_or_nine_times = Histories(np.tile([0.0, 9.0], 100), np.tile([0.0, 60.0], 100), np.full(200, 100.0))
    >>> fitted = fit_to_purchases(never_or_nine_times)
    >>> to_probability(fitted.log_odds(never_or_nine_times, 100.0))[:2].round(2).tolist()
    [0.84, 0.91]

    """
    scale = _mean_age(histories)
    scaled = Histories(histories.repeats, histories.until_last / scale, histories.age / scale)

    def cost(logs: Floats) -> float:
        return -float(log_likelihood(_parameters(logs, first_may_be_last), scaled).sum())

    return _parameters(_minimise(cost, np.zeros(4)), first_may_be_last, scale)


def fit_to_labels(histories: Histories, label: Floats, horizon: float, start: Parameters) -> Parameters:
    """Maximum likelihood of what came after the histories: label 1 is no purchase within the horizon.

    The prior is the fit to the purchases, from which a year of other habits or a season may have moved.
    """
    scale = _mean_age(histories)
    logs = np.log([start.r, start.alpha / scale, start.a, start.b])

    def cost(logs: Floats) -> float:
        log_odds = _parameters(logs, start.first_may_be_last, scale).log_odds(histories, horizon, DOUBT)
        return float(log_losses(label, to_probability(log_odds)).sum())

    return _parameters(_minimise(cost, logs), start.first_may_be_last, scale)


def _mean_age(histories: Histories) -> float:
    return max(float(histories.age.mean()), 1.0) if len(histories) else 1.0


def _parameters(logs: Floats, first_may_be_last: bool, scale: float = 1.0) -> Parameters:
    r, alpha, a, b = np.exp(logs)
    return Parameters(float(r), float(alpha * scale), float(a), float(b), first_may_be_last)


def _minimise(cost: Callable[[Floats], float], start: Floats) -> Floats:
    def with_prior(logs: Floats) -> float:
        return cost(logs) + float((((logs - start) / SPREAD) ** 2).sum()) / 2.0

    found = minimize(with_prior, start, method="L-BFGS-B", bounds=[(-REACH, REACH)] * len(start))
    return np.asarray(found.x, dtype=np.float64)


def _evenly(count: int) -> Any:
    """Positions of at most `MAX_CUSTOMERS` of so many rows, evenly spread."""
    return np.linspace(0, count - 1, min(count, MAX_CUSTOMERS)).round().astype(np.intp)


def read_histories(rows: CodedRows) -> tuple[Histories, Floats, Any]:
    """Histories, labels and groups of the rows that have one."""
    count, since_last, since_first = (rows.columns[name] for name in _reads(rows.roles)[:3])
    repeats = count - _reads(rows.roles)[3]
    known = (repeats >= 0) & (since_last >= 0) & (since_first >= 0)
    until_last = np.maximum(since_first - since_last, 0.0)
    return Histories(repeats, until_last, since_first).take(known), rows.label[known], rows.group[known]


def _reads(roles: Mapping[str, str]) -> tuple[str, str, str, int]:
    """Columns of the count and of both times, and how many of the counted purchases are first ones."""
    has_repeats = "repeat_count" in roles
    count = roles["repeat_count" if has_repeats else "purchase_count"]
    return count, roles["last_purchase_days"], roles["first_purchase_days"], 0 if has_repeats else 1


def _newest(histories: Histories, group: Any) -> Histories:
    """Return the longest history of each customer."""
    order = np.lexsort((-histories.age, group))
    firsts = np.flatnonzero(np.append(True, np.diff(group[order]) != 0)) if len(order) else order
    return histories.take(order[firsts])


class BgNbd:
    """BG/NBD where the purchase history is named; `fitted_to` says what by, `first_may_be_last` which variant it is."""

    name = "bg_nbd"

    def settings(self, rows: CodedRows) -> Sequence[Setting]:
        """Both variants, fitted to the purchases alone or to the labels too; none without a purchase history."""
        needed = {"last_purchase_days", "first_purchase_days"}
        counted = {"repeat_count", "purchase_count"} & set(rows.roles)
        if not needed <= set(rows.roles) or not counted or rows.horizon <= 0:
            return []
        return [
            {"fitted_to": what, "first_may_be_last": first}
            for what in ("purchases", "labels")
            for first in (False, True)
        ]

    def log_odds(self, train: CodedRows, valid: CodedRows, settings: Sequence[Setting]) -> Floats:
        """Fit each setting; rows without a history get the mean of the others."""
        return np.array([self._member(train, one).log_odds(valid.columns, len(valid)) for one in settings])

    def fit(self, rows: CodedRows, setting: Setting) -> Member:
        """Fit on one history per customer and, if asked, on the labels of all."""
        return Member(self._member(rows, setting).document)

    def _member(self, rows: CodedRows, setting: Setting) -> PurchaseMember:
        histories, label, group = read_histories(rows)
        customers = _newest(histories, group)
        parameters = fit_to_purchases(customers.take(_evenly(len(customers))), setting["first_may_be_last"])
        if setting["fitted_to"] == "labels":
            at = _evenly(len(histories))
            parameters = fit_to_labels(histories.take(at), label[at], rows.horizon, parameters)
        count, since_last, since_first, first = _reads(rows.roles)
        log_odds = parameters.log_odds(histories, rows.horizon, DOUBT)
        return PurchaseMember(
            {
                "kind": "bg_nbd",
                "count": count,
                "since_last": since_last,
                "since_first": since_first,
                "first": first,
                "horizon": rows.horizon,
                "doubt": DOUBT,
                **vars(parameters),
                "base": float(log_odds.mean()) if len(log_odds) else 0.0,
            }
        )
