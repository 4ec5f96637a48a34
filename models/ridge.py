"""Logistic regression with a ridge penalty, for a falling series of penalties."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.predict import to_probability

Floats = NDArray[np.float64]

MAX_STEPS = 60
TOLERANCE = 1e-6
GOOD_PROGRESS = 0.3


class _Problem:
    """Summed log loss plus penalty / 2 * squared coefficients."""

    def __init__(self, design: Floats, label: Floats) -> None:
        self.design, self.label = design, label

    def cost(self, coefficients: Floats, penalty: Floats) -> tuple[float, Floats]:
        """Return the cost and the log-odds of the rows."""
        log_odds = self.design @ coefficients
        loss = np.logaddexp(0.0, log_odds).sum() - self.label @ log_odds
        return float(loss + 0.5 * (penalty * coefficients**2).sum()), log_odds

    def curvature(self, log_odds: Floats) -> Floats:
        """Second derivatives of the loss, in single precision: they only steer the steps."""
        probability = to_probability(log_odds)
        weights = np.sqrt(np.maximum(probability * (1.0 - probability), 1e-9))
        weighed = (self.design * weights[:, None]).astype(np.float32)
        return np.asarray(weighed.T @ weighed, dtype=np.float64)

    def step(self, log_odds: Floats, coefficients: Floats, penalty: Floats, curvature: Floats) -> tuple[Floats, float]:
        """Return the Newton step and half of what it promises to save."""
        slope = self.design.T @ (to_probability(log_odds) - self.label) + penalty * coefficients
        step = np.asarray(np.linalg.solve(curvature + np.diag(penalty + 1e-4), slope), dtype=np.float64)
        return step, float(slope @ step) / 2.0


def _descend(problem: _Problem, penalty: Floats, start: Floats, curvature: Floats) -> tuple[Floats, Floats]:
    """Newton steps that keep their second derivatives as long as these still lead down."""
    coefficients, fresh = start, False
    reached, log_odds = problem.cost(coefficients, penalty)
    for _ in range(MAX_STEPS):
        step, promised = problem.step(log_odds, coefficients, penalty, curvature)
        if promised <= TOLERANCE * (1.0 + abs(reached)):
            break
        size = 1.0
        cost, moved = problem.cost(coefficients - step, penalty)
        while cost > reached and size > 1e-3:
            size /= 2.0
            cost, moved = problem.cost(coefficients - size * step, penalty)
        gained = reached - cost
        if gained > 0:
            coefficients, reached, log_odds = coefficients - size * step, cost, moved
        elif fresh:
            break
        fresh = gained < GOOD_PROGRESS * promised
        if fresh:
            curvature = problem.curvature(log_odds)
    return coefficients, curvature


def fit_ridge_path(design: Floats, label: Floats, penalties: Sequence[float]) -> Floats:
    """Minimise log loss summed over rows + penalty / 2 * squared coefficients.

    Parameters
    ----------
    design : array, rows x columns
        Columns of about unit size. The intercept is added and is not penalised.
    label : array
        0.0 or 1.0.
    penalties : sequence of float
        Above zero, from the strongest to the weakest: each fit starts where the one before ended.

    Returns
    -------
    array of float64, penalties x (1 + columns)
        Intercept and coefficients.

    """
    problem = _Problem(np.column_stack([np.ones(len(design)), design]), label)
    mean = (label.sum() + 0.5) / (len(label) + 1.0)
    coefficients = np.zeros(design.shape[1] + 1)
    coefficients[0] = np.log(mean / (1.0 - mean))
    curvature = problem.curvature(np.full(len(label), coefficients[0]))
    found = []
    for penalty in penalties:
        per_column = np.append(0.0, np.full(design.shape[1], float(penalty)))
        coefficients, curvature = _descend(problem, per_column, coefficients, curvature)
        found.append(coefficients)
    return np.array(found)
