"""What moves over time: columns that leave the values a model has met, and the level of the outcome.

Both are answered by what the training rows show out of time, never by the newest base rate as a reflex.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.encoding import CodedRows
from models.level import fit_level
from models.metrics import log_losses
from models.predict import MISSING, to_probability
from models.split import Folds, block_horizons
from models.training_set import TrainingSet

Floats = NDArray[np.float64]

MOVED = 0.6
"""Distance between earlier and later values, 0 to 1, from which a column has left the values that were met."""
MIN_ROWS = 100
"""Rows that a fold needs on either side: fewer lie apart by chance."""
MANY_LEVELS = 30
"""Levels of a text that are compared by themselves; the rest is one level, else chance alone is a distance."""
GAINS = (0.25, 0.5, 1.0)
"""How far the level goes with each newer block of rows; 0 would be not at all, 1 all the way."""
FIRST_JUDGED = 3
WORTH_FOLLOWING = 0.005
"""Share of the base rate's log loss that following the level must save."""


def distance(earlier: NDArray[np.generic], later: NDArray[np.generic]) -> float:
    """Return how far two samples of a column lie apart: 0 alike, 1 without a value in common.

    Numbers: the largest difference of their distribution functions (Kolmogorov and Smirnov), missing
    values lowest. Places of text levels: half the sum of the differences of shares.

    Examples
    --------
    >>> distance(np.array([1.0, 2.0]), np.array([3.0, 4.0])), distance(np.array([0, 0, 1]), np.array([0, 0, 1]))
    (1.0, 0.0)

    """
    if earlier.dtype.kind != "f":
        return _share_distance(earlier.astype(np.int64), later.astype(np.int64))
    first, second = (np.sort(np.nan_to_num(part, nan=-np.inf)) for part in (earlier, later))
    at = np.concatenate([first, second])
    below = [np.searchsorted(part, at, side="right") / len(part) for part in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


def _share_distance(earlier: NDArray[np.int64], later: NDArray[np.int64]) -> float:
    lowest = min(int(earlier.min()), int(later.min()), MISSING)
    size = max(int(earlier.max()), int(later.max())) - lowest + 1
    counts = [np.bincount(part - lowest, minlength=size) / len(part) for part in (earlier, later)]
    order = np.argsort(-(counts[0] + counts[1]), kind="stable")
    shares = [np.append(part[order[:MANY_LEVELS]], part[order[MANY_LEVELS:]].sum()) for part in counts]
    return float(np.abs(shares[0] - shares[1]).sum() / 2.0)


def moved_columns(rows: CodedRows, folds: Folds) -> list[str]:
    """Columns whose values in later rows are, on average over folds in time, others than in earlier rows."""
    if folds.kind != "time" or min(len(part) for fold in folds.folds for part in (fold.train, fold.valid)) < MIN_ROWS:
        return []
    moved = []
    for name, column in rows.columns.items():
        apart = [distance(column[fold.train], column[fold.valid]) for fold in folds.folds]
        if float(np.mean(apart)) >= MOVED:
            moved.append(name)
    return moved


def followed(levels: Sequence[float], gain: float) -> float:
    """Level reached when each block pulls the one before towards its own by `gain`.

    >>> followed([0.0, 1.0, 1.0], 0.5)
    0.75

    """
    state = levels[0]
    for level in levels[1:]:
        state += gain * (level - state)
    return float(state)


def _block_levels(label: Floats, raw: Floats, block: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Level of each block, and how much a squared unit of it costs in log loss, summed over its rows."""
    parts = [block == one for one in range(int(block.max()) + 1)]
    levels = np.array([fit_level(raw[part], label[part]) for part in parts])
    moved = to_probability(raw + levels[block])
    return levels, np.bincount(block, weights=moved * (1.0 - moved)) / 2.0


def choose_gain(rows: TrainingSet, raw: Floats) -> float:
    """How far to follow the level: what would have helped in block after block, each known a horizon earlier.

    A model fitted on the blocks known by then has their mean level. The gain that saves most on
    that is taken if it is worth having, else 0. (Levels jump seldom and far, so that what is saved
    rests on few blocks: a test of its noise would forbid what one jump has taught.)

    Parameters
    ----------
    rows : TrainingSet
        What the model was fitted on.
    raw : array
        Its log-odds for these rows.

    """
    found = block_horizons(rows)
    if found is None:
        return 0.0
    block, known = found
    levels, cost = _block_levels(rows.label, raw, block)
    judged = [at for at in range(FIRST_JUDGED, len(levels)) if known[at] >= 2]
    if len(judged) < FIRST_JUDGED:
        return 0.0
    sizes = np.bincount(block)
    saved = {gain: np.array([_saved(levels, cost, known[at], at, gain) for at in judged]) for gain in GAINS}
    best = max(saved, key=lambda gain: float(saved[gain].sum()))
    mean = float(saved[best].sum() / sizes[judged].sum())
    share = np.full(len(rows), rows.label.mean())
    return best if mean > WORTH_FOLLOWING * float(log_losses(rows.label, share).mean()) else 0.0


def _saved(levels: Floats, cost: Floats, known: int, at: int, gain: float) -> float:
    """Log loss that following would have saved on a block, from the blocks known before it."""
    centre = float(np.average(levels[:known], weights=cost[:known]))
    reached = followed(list(levels[:known]), gain)
    return float(cost[at] * ((levels[at] - centre) ** 2 - (levels[at] - reached) ** 2))


def newest_level(rows: TrainingSet, raw: Floats, gain: float) -> float:
    """Level that a model fitted on these rows should be moved by; 0 without a gain or without blocks."""
    found = block_horizons(rows) if gain else None
    return 0.0 if found is None else followed(list(_block_levels(rows.label, raw, found[0])[0]), gain)
