"""The learning curve: how much more rows of the same kind would help the chosen model."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.blend import MEMORIES, shares
from models.metrics import measure
from models.recipe import Choice, Evaluation, fit_choice
from models.split import row_groups
from models.training_set import TrainingSet
from models.tuning import map_folds

MAX_FITTED_ROWS = 3_000
"""The largest part that is fitted for the curve alone; its last point, all rows, was fitted by the evaluation."""
MAX_CELLS = 800_000
MIN_ROWS, MIN_OF_EACH_CLASS = 60, 5
POINTS = 5
RESAMPLES = 100


@dataclass(frozen=True)
class LearningPoint:
    """The chosen setting fitted on so many training rows, measured on the test rows.

    `interval` and `auc_interval` are those of log loss and of AUC, 95 %, by group.
    """

    rows: int
    groups: int
    log_loss: float
    interval: tuple[float, float]
    auc: float | None
    auc_interval: tuple[float, float] | None


def drawn_choice(choice: Choice) -> Choice:
    """Return a blend without its members of the newest rows: they cost most of a fit, and change the curve little.

    Any other choice stays as it is, and so does a blend of nothing but such members.
    """
    weights = choice.setting.get("weights", {})
    kept = [name for name in weights if not name.endswith(tuple(MEMORIES))]
    if not kept or len(kept) == len(weights):
        return choice
    settings = {name: choice.setting["settings"][name] for name in kept}
    return replace(
        choice, setting={"weights": dict(zip(kept, shares(kept).tolist(), strict=True)), "settings": settings}
    )


def _said_by(evaluation: Evaluation, choice: Choice, test: TrainingSet) -> NDArray[np.float64]:
    """What the evaluation's own model says of the test rows, as far as its members are those of the choice."""
    if choice is evaluation.choice:
        return evaluation.test_probability
    weights, fitted = choice.setting["weights"], evaluation.fitted
    members = zip(evaluation.choice.setting["weights"], fitted.model["members"], strict=True)
    kept = [{**member, "weight": weights[name]} for name, member in members if name in weights]
    return replace(fitted, model={**fitted.model, "members": kept}).bundle.predict(test.frame)


def part_sizes(rows: int, columns: int, most: int = MAX_FITTED_ROWS) -> list[int]:
    """Sizes of the parts to fit on, each half of the next, the whole left out.

    >>> part_sizes(1000, 10)
    [62, 125, 250, 500]
    >>> part_sizes(100_000, 200)
    [187, 375, 750, 1500, 3000]

    """
    largest = min(rows // 2, most, MAX_CELLS // max(columns, 1))
    sizes = [largest // 2**step for step in range(POINTS)]
    return [size for size in reversed(sizes) if size >= MIN_ROWS]


def _parts(train: TrainingSet, most: int, seed: int) -> list[NDArray[np.intp]]:
    """Positions of nested parts made of whole groups in random order; parts with too few of a class are left out."""
    group = row_groups(train)
    order = np.random.default_rng(seed).permutation(int(group.max()) + 1)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    ends = np.bincount(group)[order].cumsum()
    found: list[NDArray[np.intp]] = []
    for size in part_sizes(len(train), train.frame.shape[1], most):
        at = np.flatnonzero(place[group] <= np.searchsorted(ends, size))
        positives = train.label[at].sum()
        is_larger = len(at) < len(train) and (not found or len(at) > len(found[-1]))
        if is_larger and min(positives, len(at) - positives) >= MIN_OF_EACH_CLASS:
            found.append(at)
    return found


def _point(rows: TrainingSet, test: TrainingSet, probability: NDArray[np.float64], seed: int) -> LearningPoint:
    figures = measure(test.label, probability, test.group, RESAMPLES, seed)
    interval = figures["interval"]
    return LearningPoint(
        rows=len(rows),
        groups=len(np.unique(row_groups(rows))),
        log_loss=figures["log_loss"],
        interval=tuple(interval["log_loss"]),
        auc=figures["auc"],
        auc_interval=None if interval["auc"][0] is None else tuple(interval["auc"]),
    )


def learning_curve(evaluation: Evaluation, train: TrainingSet, test: TrainingSet, seed: int = 0) -> list[LearningPoint]:
    """Fit the choice on growing parts of the training rows and measure each on the test rows.

    Setting and calibrator stay those of the evaluation: what is seen is the fit, not the choosing. A blend is
    drawn without its members of the newest rows, at every point. Nothing is decided by these figures.

    Returns
    -------
    list of LearningPoint
        By rising rows; the last one is what the evaluation fitted. A single point where there are too
        few rows for parts.

    """
    choice = drawn_choice(evaluation.choice)

    def fit(at: NDArray[np.intp]) -> LearningPoint:
        part = train.take(at)
        return _point(part, test, fit_choice(choice, part).bundle.predict(test.frame), seed)

    points = map_folds(fit, _parts(train, MAX_FITTED_ROWS, seed))
    return [*points, _point(train, test, _said_by(evaluation, choice, test), seed)]
