"""Logistic regression with a ridge penalty, for a falling series of penalties."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from models.predict import to_probability

Floats = NDArray[np.float64]

MAX_STEPS = 60
TOLERANCE = 1e-6
MAX_HALVINGS = 10
GOOD_PROGRESS = 0.3
CURVED_ROWS, CURVED_ROWS_PER_COLUMN = 4_000, 8
"""Rows that second derivatives are taken from: with fewer, steps go astray."""
STEADY = tuple(10.0**power for power in range(-4, 9))
"""Added to every second derivative: the first that makes them definite."""
REMEMBERED = 10
"""Steps whose change of slope corrects second derivatives that were taken elsewhere."""


class _Problem:
    """Summed log loss plus penalty / 2 * squared coefficients."""

    def __init__(self, design: Floats, label: Floats) -> None:
        self.design, self.label = np.empty((len(design), 1 + design.shape[1]), order="F"), label
        self.design[:, 0], self.design[:, 1:] = 1.0, design

    def cost(self, coefficients: Floats, penalty: Floats) -> tuple[float, Floats]:
        """Return the cost and the log-odds of the rows."""
        log_odds = self.design @ coefficients
        loss = np.logaddexp(0.0, log_odds).sum() - self.label @ log_odds
        return float(loss + 0.5 * (penalty * coefficients**2).sum()), log_odds

    def curvature(self, log_odds: Floats) -> Floats:
        """Second derivatives of the loss, roughly: of evenly spread rows, in single precision. They only steer."""
        every = max(1, len(self.design) // max(CURVED_ROWS, CURVED_ROWS_PER_COLUMN * self.design.shape[1]))
        probability = to_probability(log_odds[::every])
        weights = np.sqrt(np.maximum(probability * (1.0 - probability), 1e-9) * every)
        weighed = (self.design[::every] * weights[:, None]).astype(np.float32)
        return np.asarray(weighed.T @ weighed, dtype=np.float64)

    def slope(self, log_odds: Floats, coefficients: Floats, penalty: Floats) -> Floats:
        """Return the first derivatives of the cost."""
        return np.asarray(self.design.T @ (to_probability(log_odds) - self.label) + penalty * coefficients)


@dataclass(frozen=True)
class _Move:
    """A step that was made, and how it turned the slope."""

    step: Floats
    turn: Floats

    @property
    def bend(self) -> float:
        """Second derivative of the cost along the step."""
        return float(self.step @ self.turn)


class _Steps:
    """Newton steps from second derivatives taken once, corrected by what later steps found out.

    Source: Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.4 (L-BFGS).
    """

    def __init__(self, curvature: Floats, penalty: Floats, moves: Iterable[_Move] = ()) -> None:
        self.curvature, self.penalty = curvature, penalty
        self.factor = _factor(curvature, penalty)
        self.moves: deque[_Move] = deque(moves, maxlen=REMEMBERED)

    def under(self, penalty: Floats) -> "_Steps":
        """Return steps under another penalty, whose share in what was found out is known."""
        moves = [_Move(move.step, move.turn + (penalty - self.penalty) * move.step) for move in self.moves]
        return _Steps(self.curvature, penalty, [move for move in moves if move.bend > 0])

    def remember(self, move: _Move) -> None:
        """Learn from a step; one along which the cost does not bend upwards says nothing."""
        if move.bend > 0:
            self.moves.append(move)

    def step(self, slope: Floats) -> Floats:
        """Return what to take off the coefficients."""
        rest, shares = slope.copy(), []
        for move in reversed(self.moves):
            shares.append(float(move.step @ rest) / move.bend)
            rest -= shares[-1] * move.turn
        step = np.asarray(cho_solve(self.factor, rest, check_finite=False), dtype=np.float64)
        for move, share in zip(self.moves, reversed(shares), strict=True):
            step += (share - float(move.turn @ step) / move.bend) * move.step
        return step


def _factor(curvature: Floats, penalty: Floats) -> tuple[Floats, bool]:
    """Cholesky factor of curvature and penalty; steadied more where single precision has made it indefinite."""
    for steady in STEADY:
        try:
            factor, is_lower = cho_factor(curvature + np.diag(penalty + steady), check_finite=False)
        except LinAlgError:
            continue
        return factor, is_lower
    raise LinAlgError(f"Second derivatives of {len(penalty):,} columns are not finite, expected numbers.")


def _descend(problem: _Problem, start: Floats, steps: _Steps) -> tuple[Floats, _Steps]:
    """Newton steps that keep their second derivatives as long as these still lead down."""
    coefficients, penalty, fresh = start, steps.penalty, False
    reached, log_odds = problem.cost(coefficients, penalty)
    slope = problem.slope(log_odds, coefficients, penalty)
    for _ in range(MAX_STEPS):
        step = steps.step(slope)
        promised = float(slope @ step) / 2.0
        if promised <= TOLERANCE * (1.0 + abs(reached)):
            break
        cost, moved = problem.cost(coefficients - step, penalty)
        for _ in range(MAX_HALVINGS):
            if cost <= reached:
                break
            step = step / 2.0
            cost, moved = problem.cost(coefficients - step, penalty)
        gained = reached - cost
        if gained > 0:
            coefficients, reached, log_odds, before = coefficients - step, cost, moved, slope
            slope = problem.slope(log_odds, coefficients, penalty)
            steps.remember(_Move(-step, slope - before))
        elif fresh:
            break
        fresh = gained < GOOD_PROGRESS * promised
        if fresh:
            steps = _Steps(problem.curvature(log_odds), penalty)
    return coefficients, steps


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
    problem = _Problem(design, label)
    mean = (label.sum() + 0.5) / (len(label) + 1.0)
    coefficients = np.zeros(design.shape[1] + 1)
    coefficients[0] = np.log(mean / (1.0 - mean))
    penalised = np.append(0.0, np.ones(design.shape[1]))
    steps = _Steps(problem.curvature(np.full(len(label), coefficients[0])), penalties[0] * penalised)
    found = []
    for penalty in penalties:
        coefficients, steps = _descend(problem, coefficients, steps.under(penalty * penalised))
        found.append(coefficients)
    return np.array(found)
