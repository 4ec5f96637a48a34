"""Calibrators: strictly increasing curves on the log-odds, fitted on unseen rows, chosen out of time.

The shapes (identity, sigmoid, curve) are judged with the level of each fold taken out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.isotonic import isotonic_regression

from models.candidate import Floats
from models.few_rows import has_few
from models.level import level_free, level_free_losses
from models.predict import calibrate, to_probability
from models.split import Folds
from models.tuning import evidence

Calibrator = Mapping[str, Any]

IDENTITY: Calibrator = {"kind": "identity"}
SHRINKAGE = 2.0
MIN_SLOPE, MAX_SLOPE = 0.05, 5.0
BLOCK_ROWS, MAX_BLOCKS = 100, 25
MIN_STEP = 1e-6


def fit_sigmoid(raw: Floats, label: Floats) -> Calibrator:
    """Intercept and slope, pulled a little towards 0 and 1; the slope stays within [0.05, 5]."""
    intercept, slope = 0.0, 1.0
    for _ in range(50):
        probability = to_probability(intercept + slope * raw)
        residual, weight = label - probability, probability * (1.0 - probability)
        gradient = np.array([residual.sum() - SHRINKAGE * intercept, residual @ raw - SHRINKAGE * (slope - 1.0)])
        cross = weight @ raw
        curvature = np.array([[weight.sum() + SHRINKAGE, cross], [cross, weight @ raw**2 + SHRINKAGE]])
        step = np.clip(np.linalg.solve(curvature, gradient), -1.0, 1.0)
        intercept, slope = intercept + float(step[0]), float(np.clip(slope + step[1], MIN_SLOPE, MAX_SLOPE))
        if np.abs(step).max() < 1e-10:
            break
    return {"kind": "sigmoid", "intercept": intercept, "slope": slope}


def fit_curve(raw: Floats, label: Floats) -> Calibrator:
    """Piecewise-linear curve through the means of isotonic blocks; its ends go on with the sigmoid's slope.

    Blocks start as equal counts of at least 100 rows, each with one imagined row at the sigmoid's
    probability, and are pooled until they rise. With fewer than three blocks it is the sigmoid.
    """
    sigmoid = fit_sigmoid(raw, label)
    blocks = min(MAX_BLOCKS, len(raw) // BLOCK_ROWS)
    if blocks < 3:
        return sigmoid
    parts = np.array_split(np.argsort(raw, kind="stable"), blocks)
    counts = np.array([len(part) for part in parts], dtype=np.float64)
    x = np.array([raw[part].mean() for part in parts])
    prior = to_probability(calibrate(sigmoid, x)[0])
    level = isotonic_regression(
        (np.array([label[part].sum() for part in parts]) + prior) / (counts + 1.0), sample_weight=counts
    )
    starts = np.flatnonzero(np.append(True, np.diff(level) > MIN_STEP))
    x, share = np.add.reduceat(x * counts, starts) / np.add.reduceat(counts, starts), level[starts]
    kept = np.append(True, np.diff(x) > MIN_STEP)
    if kept.sum() < 3:
        return sigmoid
    y = np.log(share) - np.log1p(-share)
    ends = {"first_slope": sigmoid["slope"], "last_slope": sigmoid["slope"]}
    return {"kind": "curve", "x": x[kept].tolist(), "y": y[kept].tolist(), **ends}


SHAPES: Mapping[str, Callable[[Floats, Floats], Calibrator]] = {
    "identity": lambda raw, label: IDENTITY,
    "sigmoid": fit_sigmoid,
    "curve": fit_curve,
}


def shift(calibrator: Calibrator, level: float) -> Calibrator:
    """Calibrator of raw + level.

    >>> shift({"kind": "identity"}, 0.5)
    {'kind': 'sigmoid', 'intercept': 0.5, 'slope': 1.0}

    """
    if level == 0.0:
        return calibrator
    if calibrator["kind"] == "identity":
        return {"kind": "sigmoid", "intercept": level, "slope": 1.0}
    if calibrator["kind"] == "sigmoid":
        return {**calibrator, "intercept": calibrator["intercept"] + calibrator["slope"] * level}
    return {**calibrator, "x": [value - level for value in calibrator["x"]]}


def _choose_shape(free: Sequence[Floats], label: Sequence[Floats], kind: str) -> str:
    """Name of the simplest shape not beaten by more than one standard error on folds it has not seen."""
    losses: dict[str, list[Floats]] = {name: [] for name in SHAPES}
    for at in range(len(free)):
        known = evidence(kind, len(free), at)
        if not known:
            continue
        past = [np.concatenate([part[k] for k in known]) for part in (free, label)]
        for name, fit in SHAPES.items():
            losses[name].append(level_free_losses(calibrate(fit(*past), free[at])[0], label[at]))
    if not losses["identity"]:
        return "identity"
    joined = {name: np.concatenate(parts) for name, parts in losses.items()}
    best = min(joined, key=lambda name: float(joined[name].mean()))
    for name in joined:
        worse = joined[name] - joined[best]
        if float(worse.mean()) <= float(worse.std()) / np.sqrt(len(worse)):
            return name
    return best


def choose_calibrator(raw: Sequence[Floats], label: Sequence[Floats], folds: Folds) -> Calibrator:
    """Choose a calibrator by log loss on folds it has not seen, then fit it on all of them.

    With time, a fold is judged by calibrators of the folds before it; without, of all others. The
    level of each fold is taken out: `models.drift` moves that. Few rows are left as they are: what was fitted on a
    part of them is too unsure of itself to say how sure the model of all of them may be.

    Parameters
    ----------
    raw, label : sequence of array
        Out-of-fold log-odds and labels, fold after fold.
    folds : Folds
        How they were made.

    """
    if has_few(np.concatenate(label)):
        return IDENTITY
    free = level_free(raw, label)
    return SHAPES[_choose_shape(free, label, folds.kind)](np.concatenate(free), np.concatenate(label))
