"""How good predictions of revenue are: errors, ranking, level and calibration, each with an interval."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from models.candidate import Floats
from models.metrics import finite, resampled_intervals
from models.tweedie import deviances

NAMES = ("mae", "rmse", "deviance", "spearman", "gini", "captured_at_10", "predicted_over_observed")
TENTHS = 10
TOP_SHARE = 0.1


class _Rows:
    """Rows by falling prediction, ties in seeded order, ready to be weighed many times."""

    def __init__(self, revenue: Floats, value: Floats, seed: int) -> None:
        tie_break = np.random.default_rng(seed).random(len(revenue))
        self.order = np.lexsort((tie_break, -value))
        self.revenue, self.value = revenue[self.order], value[self.order]
        self.perfect = np.argsort(-self.revenue, kind="stable")
        self.error = self.revenue - self.value
        self.deviance = deviances(self.revenue, self.value)
        self.ranks = rankdata(self.revenue), rankdata(self.value)

    def measure(self, weights: Floats) -> dict[str, Floats]:
        """Return each metric for each row of weights (resamples x rows, in sorted order)."""
        total, sums = weights.sum(axis=1), weights @ self.revenue
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "mae": weights @ np.abs(self.error) / total,
                "rmse": np.sqrt(weights @ self.error**2 / total),
                "deviance": weights @ self.deviance / total,
                "spearman": _correlation(weights, *self.ranks),
                "gini": _lead(weights, self.revenue) / _lead(weights[:, self.perfect], self.revenue[self.perfect]),
                "captured_at_10": _sum_of_top(weights, self.revenue, TOP_SHARE * total) / sums,
                "predicted_over_observed": weights @ self.value / sums,
            }


def _correlation(weights: Floats, left: Floats, right: Floats) -> Floats:
    total = weights.sum(axis=1)
    means = [weights @ part / total for part in (left, right)]
    spreads = [np.sqrt(weights @ part**2 / total - mean**2) for part, mean in zip((left, right), means, strict=True)]
    return np.asarray((weights @ (left * right) / total - means[0] * means[1]) / (spreads[0] * spreads[1]))


def _lead(weights: Floats, revenue: Floats) -> Floats:
    """How far revenue comes ahead of rows in this order: the mean place of a row less that of a unit of money."""
    place = np.cumsum(weights, axis=1) - weights / 2.0
    return np.asarray(0.5 - (weights * place) @ revenue / (weights @ revenue) / weights.sum(axis=1))


def _sum_of_top(weights: Floats, revenue: Floats, count: Floats) -> Floats:
    """Revenue of the first `count` rows; a row past the line enters in part."""
    before = np.cumsum(weights, axis=1) - weights
    inside = np.clip(count[:, None] - before, 0.0, weights)
    return np.asarray(inside @ revenue)


def _tenths(rows: _Rows) -> list[dict[str, float]]:
    """Mean prediction and mean revenue of each tenth of the rows, the lowest predictions first."""
    parts = np.array_split(np.arange(len(rows.revenue))[::-1], min(TENTHS, len(rows.revenue)))
    means = [(part, rows.value[part].mean(), rows.revenue[part].mean()) for part in parts]
    return [{"rows": len(part), "predicted": float(value), "observed": float(seen)} for part, value, seen in means]


def measure_value(
    revenue: Floats,
    value: Floats,
    group: NDArray[Any] | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure predicted against observed revenue.

    `deviance` is Tweedie of power 1.5. `gini` is 1 when rows are ranked as their revenue and 0 when at random.
    `captured_at_10` is the share of all revenue in the tenth of the rows with the highest predictions. Intervals
    hold the middle 95 % of resamples of whole groups; in them the ranks of `spearman` stay those of all rows.

    Parameters
    ----------
    revenue, value : array
        Observed, and predicted (above zero), in the currency of the deployment.
    group : array, optional
        Customer of each row; None resamples rows.
    resamples, seed : int
        0 resamples leave the intervals out.

    Returns
    -------
    dict
        `rows`, `mean`, the figures of `NAMES` (None where one does not exist), `tenths` (mean prediction and
        revenue, the lowest predictions first) and `interval`; ready for JSON.

    """
    rows = _Rows(revenue, value, seed)
    point = rows.measure(np.ones((1, len(revenue))))
    document: dict[str, Any] = {"rows": len(revenue), "mean": float(revenue.mean())}
    document |= {name: finite(point[name][0]) for name in NAMES}
    document["tenths"] = _tenths(rows)
    if resamples:
        document["interval"] = resampled_intervals(rows, group, resamples, seed)
    return document
