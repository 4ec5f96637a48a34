"""Customer lifetime value: the revenue expected of a customer over a horizon, discounted to today.

From the purchase history alone it is

    sum over steps k of  E[purchases in step k] * E[amount of a purchase] * net share / (1 + rate) ** (t_k / 365)

with t_k the middle of a step of 30 days, in days from today. Purchases come from BG/NBD (see `models.bg_nbd`), the
amount from the Gamma-Gamma model, the net share is what is left of all purchases after returns. With a model of
revenue for a horizon of its own, its value is carried over to the horizon asked for by what BG/NBD expects in either.
A horizon of less than a year has a season: carried over to a longer one, it keeps the level of the histories.

References
----------
Fader, P. S., Hardie, B. G. S., Lee, K. L. (2005). "Counting Your Customers" the Easy Way: An Alternative to the
Pareto/NBD Model. Marketing Science 24(2), 275-284.
Fader, P. S., Hardie, B. G. S., Lee, K. L. (2005). RFM and CLV: Using Iso-Value Curves for Customer Base Analysis.
Journal of Marketing Research 42(4), 415-430.
Fader, P. S., Hardie, B. G. S. (2013). The Gamma-Gamma Model of Monetary Value. brucehardie.com/notes/025.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betaincinv, expit, gammaln

from models.bg_nbd import MAX_CUSTOMERS, Histories, Parameters, fit_to_purchases, log_likelihood

Floats = NDArray[np.float64]

MIN_REPEATERS = 50
"""Customers who came back that the model is fitted on at least: fewer say nothing of how rates differ."""
YEAR_DAYS = 365
STEP_DAYS = 30.0
POINTS = 48
"""Points at which the chance to leave is looked at, each with the same share of its distribution."""
SPREAD = 3.0
REACH = 12.0
CHUNK_CELLS = 2_000_000


@dataclass(frozen=True)
class OrderValue:
    """Gamma-Gamma model of amounts: shape p of a customer's amounts, q and v of how customers differ; q above 1."""

    p: float
    q: float
    v: float

    def expected(self, mean: Floats, count: Floats) -> Floats:
        """Expected amount of a purchase of a customer whose `count` purchases had this mean.

        A weighted mean of that and of the population's, p v / (q - 1): p (v + count mean) / (p count + q - 1).
        Without purchases it is the population's.

        Examples
        --------
        >>> OrderValue(p=2.0, q=3.0, v=100.0).expected(np.array([0.0, 400.0, 400.0]), np.array([0.0, 1.0, 9.0]))
        array([100., 250., 370.])

        """
        return np.asarray(self.p * (self.v + count * mean) / (self.p * count + self.q - 1.0))


def fit_order_value(mean: Floats, count: Floats) -> OrderValue:
    """Maximum likelihood of the customers' mean amounts, with a weak prior; only means above 0 take part."""
    kept = (mean > 0) & (count > 0)
    scale = float(mean[kept].mean())
    means, counts = mean[kept] / scale, count[kept]

    def cost(logs: Floats) -> float:
        p, q, v = np.exp(logs) + np.array([0.0, 1.0, 0.0])
        shape = p * counts
        found = (
            gammaln(shape + q) - gammaln(shape) - gammaln(q) + q * np.log(v) - np.log(means)
            + shape * np.log(counts * means) - (shape + q) * np.log(v + counts * means)
        )  # fmt: skip
        return float(-found.sum() + ((logs / SPREAD) ** 2).sum() / 2.0)

    p, q, v = np.exp(minimize(cost, np.zeros(3), method="L-BFGS-B", bounds=[(-REACH, REACH)] * 3).x)
    return OrderValue(float(p), float(q + 1.0), float(v * scale))


@dataclass(frozen=True)
class PurchaseModel:
    """How often customers will buy and for how much; `net_share` of it is not sent back."""

    rhythm: Parameters
    amount: OrderValue
    net_share: float

    def alive(self, histories: Histories) -> Floats:
        """Probability that a customer has not left yet."""
        fitted, repeats = self.rhythm, histories.repeats
        chances = repeats + (1.0 if fitted.first_may_be_last else 0.0)
        with np.errstate(divide="ignore"):
            left = np.log(fitted.a * (chances > 0)) - np.log(fitted.b + np.maximum(chances, 1.0) - 1.0)
        waited = np.log(fitted.alpha + histories.age) - np.log(fitted.alpha + histories.until_last)
        return np.asarray(expit(-(left + (fitted.r + repeats) * waited)))

    def expected_purchases(self, histories: Histories, days: float, annual_rate: float = 0.0) -> Floats:
        """Purchases expected in `[as_of, as_of + days)`, each discounted to `as_of`; days of purchase, as in the fit.

        Of a customer who is there, the rate is gamma distributed (r + x, alpha + T) and the chance to leave beta
        distributed (a, b + x): E[X(t)] is the mean over the latter of (1 - (1 + p t / (alpha + T)) ** -(r + x)) / p.

        Parameters
        ----------
        histories : Histories
            Whole ages are enough: customers alike in repeats and in days of age are computed once.
        days : float
        annual_rate : float
            0.1 makes what comes in a year worth a tenth less than 1 / 1.1 of today's.

        """
        steps = max(1, int(np.ceil(days / STEP_DAYS)))
        ends = np.linspace(0.0, days, steps + 1)[1:]
        worth = (1.0 + annual_rate) ** (-(ends - days / steps / 2.0) / 365.0)
        weights = worth - np.append(worth[1:], 0.0)  # of E up to each end, as sums by parts
        pairs, where = np.unique(np.stack([histories.repeats, np.round(histories.age)]), axis=1, return_inverse=True)
        alike = self._of_those_there(pairs[0], pairs[1], ends, weights)
        return np.asarray(self.alive(histories) * alike[where.ravel()])

    def _of_those_there(self, repeats: Floats, age: Floats, ends: Floats, weights: Floats) -> Floats:
        """Weighted sum of the purchases expected until each end, of customers who have not left."""
        fitted = self.rhythm
        kinds, kind = np.unique(repeats, return_inverse=True)
        middles = (np.arange(POINTS) + 0.5) / POINTS
        stays = fitted.b + kinds + (1.0 if fitted.first_may_be_last else 0.0)
        leaving = np.maximum(betaincinv(fitted.a, stays[:, None], middles), 1e-12)
        found = np.zeros(len(repeats))
        step = max(1, CHUNK_CELLS // POINTS)
        for start in range(0, len(repeats), step):
            rows = slice(start, start + step)
            p, power = leaving[kind[rows]], (fitted.r + repeats[rows])[:, None]
            for end, weight in zip(ends, weights, strict=True):
                growth = np.log1p(p * (end / (fitted.alpha + age[rows]))[:, None])
                found[rows] += weight * (-np.expm1(-power * growth) / p).mean(axis=1)
        return found

    def value(self, histories: Histories, mean: Floats, days: float, annual_rate: float) -> Floats:
        """Revenue expected in `[as_of, as_of + days)` from the purchase history, discounted; see the module."""
        each = self.amount.expected(mean, histories.repeats + 1.0)
        return np.asarray(self.net_share * each * self.expected_purchases(histories, days, annual_rate))


def fit_purchase_model(histories: Histories, mean: Floats, net_share: float = 1.0) -> PurchaseModel | None:
    """Fit both models to customers with a purchase; of the variants of BG/NBD the likelier one.

    Parameters
    ----------
    histories : Histories
        Purchase days after the first, days from the first to the last, days from the first until now.
    mean : array
        Mean amount of each customer's purchase days.
    net_share : float
        Share of the amount of purchases that was not sent back, of all customers.

    Returns
    -------
    PurchaseModel or None
        None where fewer than `MIN_REPEATERS` customers ever came back.

    """
    if int((histories.repeats > 0).sum()) < MIN_REPEATERS or not (mean > 0).any():
        return None
    some = np.linspace(0, len(histories) - 1, min(len(histories), MAX_CUSTOMERS)).round().astype(np.intp)
    taken = histories.take(some)
    variants = [fit_to_purchases(taken, first_may_be_last) for first_may_be_last in (False, True)]
    rhythm = max(variants, key=lambda fitted: float(log_likelihood(fitted, taken).sum()))
    return PurchaseModel(rhythm, fit_order_value(mean[some], taken.repeats + 1.0), net_share)


def carry_over(
    value: Floats, model_days: float, model: PurchaseModel | None, histories: Histories, days: float, annual_rate: float
) -> Floats:
    """Revenue that a model expects within its own horizon, as that of another horizon, discounted.

    It is multiplied by the discounted purchases that BG/NBD expects in the horizon asked for, over those it expects
    in the model's own; without BG/NBD, or a history, revenue goes on at the same rate.

    Parameters
    ----------
    value : array
        Expected within `model_days`; null stays null.
    model_days : float
    model : PurchaseModel or None
    histories : Histories
        NaN for customers without a purchase.
    days, annual_rate : float

    """
    monthly = np.linspace(0.0, days, max(2, int(np.ceil(days / STEP_DAYS)) + 1))
    middles = (monthly[1:] + monthly[:-1]) / 2.0
    factor = np.full(len(value), float(((1.0 + annual_rate) ** (-middles / 365.0)).mean()) * days / model_days)
    bought = ~np.isnan(histories.age)
    if model is not None and bought.any():
        known = histories.take(bought)
        within = model.expected_purchases(known, model_days)
        asked = model.expected_purchases(known, days, annual_rate)
        factor[bought] = np.where(within > 0.0, asked / np.where(within > 0.0, within, 1.0), factor[bought])
    return np.asarray(value * factor)


def at_level_of(values: Floats, reference: Floats) -> Floats:
    """Scale values so that, where both are known, they sum to what the reference sums to.

    Examples
    --------
    >>> at_level_of(np.array([10.0, 30.0, np.nan, 5.0]), np.array([60.0, 20.0, 7.0, np.nan]))
    array([20., 60., nan, 10.])

    """
    both = ~np.isnan(values) & ~np.isnan(reference)
    total = float(values[both].sum())
    return np.asarray(values * (float(reference[both].sum()) / total)) if total > 0.0 else values
