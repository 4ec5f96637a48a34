"""Tweedie deviance: the loss by which models of revenue are compared, and a linear model that minimises it.

Revenue of customers is mostly 0 and sometimes very large. Squared error would be decided by a handful of
customers; on a winsorised scale the best prediction is no longer the mean. Tweedie deviance of power 1.5 lies
between: it is least for the mean whatever the distribution, so predictions add up to money, and a row weighs
about as the root of its revenue.
"""

from collections.abc import Sequence

import numpy as np

from models.candidate import Floats

POWER = 1.5
MAX_STEPS, TOLERANCE = 100, 1e-8
LARGEST_STEP = 5.0


def deviances(revenue: Floats, value: Floats, power: float = POWER) -> Floats:
    """Tweedie deviance of each row, power between 1 and 2; predictions are above zero.

    Revenue below zero (returns) is allowed: the deviance counts from 0 then and is still least for the mean.

    >>> deviances(np.array([4.0, 0.0]), np.array([4.0, 1.0])).tolist()
    [0.0, 4.0]

    """
    at_best = np.maximum(revenue, 0.0) ** (2.0 - power) / ((1.0 - power) * (2.0 - power))
    lost = -revenue * value ** (1.0 - power) / (1.0 - power) + value ** (2.0 - power) / (2.0 - power)
    return np.asarray(2.0 * (at_best + lost))


def fit_scale(revenue: Floats, log_value: Floats) -> float:
    """Logarithm of the factor on the predictions that minimises their deviance; 0 where there is no revenue.

    >>> round(fit_scale(np.array([6.0, 0.0]), np.log(np.array([1.0, 1.0]))), 4)  # log(3)
    1.0986

    """
    value = np.exp(log_value)
    wanted = float(revenue @ value ** (1.0 - POWER))
    return float(np.log(wanted / (value ** (2.0 - POWER)).sum())) if wanted > 0 else 0.0


def scale_free_deviances(revenue: Floats, log_value: Floats) -> Floats:
    """Return the deviance of each row of a fold once the level of the fold is taken out."""
    return deviances(revenue, np.exp(log_value + fit_scale(revenue, log_value)))


class _Problem:
    """Summed loss of a log-linear model plus penalty / 2 * squared coefficients; convex in the coefficients."""

    def __init__(self, design: Floats, revenue: Floats) -> None:
        self.design, self.revenue = design, revenue

    def cost(self, coefficients: Floats, penalty: Floats) -> float:
        log_value = self.design @ coefficients
        rising, falling = np.exp((2.0 - POWER) * log_value), np.exp((1.0 - POWER) * log_value)
        loss = rising.sum() / (2.0 - POWER) + self.revenue @ falling / (POWER - 1.0)
        return float(loss + 0.5 * (penalty * coefficients**2).sum())

    def step(self, coefficients: Floats, penalty: Floats) -> tuple[Floats, float]:
        """Newton step, and what it promises to save."""
        log_value = self.design @ coefficients
        rising, falling = np.exp((2.0 - POWER) * log_value), self.revenue * np.exp((1.0 - POWER) * log_value)
        slope = self.design.T @ (rising - falling) + penalty * coefficients
        weight = (2.0 - POWER) * rising + (POWER - 1.0) * falling
        curvature = (self.design * weight[:, None]).T @ self.design + np.diag(penalty + 1e-6)
        found = np.asarray(np.linalg.solve(curvature, slope), dtype=np.float64)
        found *= min(1.0, LARGEST_STEP / max(float(np.abs(self.design @ found).max()), 1e-12))
        return found, float(slope @ found)


def fit_log_linear_path(design: Floats, revenue: Floats, penalties: Sequence[float]) -> Floats:
    """Fit `log(value) = intercept + design @ coefficients` by Tweedie deviance under a ridge penalty.

    Parameters
    ----------
    design : array, rows x columns
        Columns of about unit size; the intercept is added and is not penalised.
    revenue : array
        Not below zero, with a mean of about 1.
    penalties : sequence of float
        From the strongest to the weakest: each fit starts where the one before ended.

    Returns
    -------
    array of float64, penalties x (1 + columns)
        Intercept and coefficients.

    """
    problem = _Problem(np.column_stack([np.ones(len(design)), design]), revenue)
    coefficients = np.zeros(design.shape[1] + 1)
    coefficients[0] = np.log(max(float(revenue.mean()), 1e-9))
    found = []
    for penalty in penalties:
        per_column = np.append(0.0, np.full(design.shape[1], float(penalty)))
        coefficients = _descend(problem, coefficients, per_column)
        found.append(coefficients)
    return np.array(found)


def _descend(problem: _Problem, coefficients: Floats, penalty: Floats) -> Floats:
    """Newton steps, halved until they lead down."""
    reached = problem.cost(coefficients, penalty)
    for _ in range(MAX_STEPS):
        step, promised = problem.step(coefficients, penalty)
        if promised <= TOLERANCE * (1.0 + abs(reached)):
            break
        size = 1.0
        cost = problem.cost(coefficients - step, penalty)
        while cost > reached and size > 1e-4:
            size /= 2.0
            cost = problem.cost(coefficients - size * step, penalty)
        if cost > reached:
            break
        coefficients, reached = coefficients - size * step, cost
    return coefficients
