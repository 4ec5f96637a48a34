"""How good probabilities are: METRICS with intervals, by hand-checkable definitions."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CLIP = 1e-6
BINS = 15
TOP_SHARE = 0.1
NAMES = ("auc", "average_precision", "log_loss", "brier", "calibration_error", "lift_at_10")
CHUNK_CELLS = 4_000_000


def log_losses(label: Floats, probability: Floats) -> Floats:
    """Log loss of each row; probabilities are clipped at 1e-6 from 0 and 1.

    >>> log_losses(np.array([1.0, 0.0]), np.array([0.5, 0.0])).round(4).tolist()
    [0.6931, 0.0]

    """
    p = np.clip(probability, CLIP, 1 - CLIP)
    return np.asarray(-np.where(label > 0.5, np.log(p), np.log1p(-p)))


class _Sorted:
    """Rows by falling probability, ties in seeded random order, ready to be weighed many times."""

    def __init__(self, label: Floats, probability: Floats, seed: int) -> None:
        tie_break = np.random.default_rng(seed).random(len(label))
        self.order = np.lexsort((tie_break, -probability))
        self.label = label[self.order]
        self.probability = probability[self.order]
        self.ends = np.flatnonzero(np.append(np.diff(self.probability) != 0, True))
        self.log_loss = log_losses(self.label, self.probability)
        self.brier = (self.label - self.probability) ** 2

    def measure(self, weights: Floats) -> dict[str, Floats]:
        """Return each metric for each row of weights (resamples x rows, in sorted order)."""
        total = weights.sum(axis=1)
        seen = np.cumsum(weights, axis=1)
        hits = np.cumsum(weights * self.label, axis=1)
        positives = hits[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            auc, precision = self._ranking(seen, hits)
            return {
                "auc": auc,
                "average_precision": precision,
                "log_loss": weights @ self.log_loss / total,
                "brier": weights @ self.brier / total,
                "calibration_error": self._calibration_error(weights, seen, hits) / total,
                "lift_at_10": _mean_of_top(seen, hits, np.ceil(TOP_SHARE * total)) / (positives / total),
            }

    def _ranking(self, seen: Floats, hits: Floats) -> tuple[Floats, Floats]:
        """AUC (ties count half) and average precision (ties enter together)."""
        hits, misses = hits[:, self.ends], (seen - hits)[:, self.ends]
        positives, negatives = hits[:, -1:], misses[:, -1:]
        new_hits = np.diff(hits, axis=1, prepend=0.0)
        new_misses = np.diff(misses, axis=1, prepend=0.0)
        auc = (new_hits * (negatives - misses + new_misses / 2)).sum(axis=1) / (positives * negatives)[:, 0]
        share = hits / np.maximum(hits + misses, 1e-300)
        return auc, np.where(positives[:, 0] > 0, (new_hits * share).sum(axis=1) / positives[:, 0], np.nan)

    def _calibration_error(self, weights: Floats, seen: Floats, hits: Floats) -> Floats:
        """Sum over bins of |sum of labels - sum of probabilities|."""
        excess = hits - np.cumsum(weights * self.probability, axis=1)
        total = seen[:, -1:]
        error: Floats = np.zeros(len(weights))
        last = np.zeros(len(weights))
        for edge in range(1, BINS + 1):
            end = np.minimum((seen < total * edge / BINS - 1e-9).sum(axis=1), seen.shape[1] - 1)
            at_edge = excess[np.arange(len(weights)), end]
            error = np.asarray(error + np.abs(at_edge - last))
            last = at_edge
        return error


def _mean_of_top(seen: Floats, hits: Floats, count: Floats) -> Floats:
    """Share of positives among the first `count` rows; a row weighed past the line enters whole."""
    end = np.minimum((seen < count[:, None]).sum(axis=1), seen.shape[1] - 1)
    rows = np.arange(len(seen))
    return np.asarray(hits[rows, end] / seen[rows, end])


class Weighable(Protocol):
    """Rows in an order of their own, whose figures can be taken under many weights at once."""

    order: NDArray[np.intp]

    def measure(self, weights: Floats) -> dict[str, Floats]:
        """Return each figure for each row of weights (resamples x rows, in that order)."""
        ...


def resampled_intervals(
    rows: Weighable, group: NDArray[Any] | None, resamples: int, seed: int
) -> dict[str, list[float | None]]:
    """Middle 95 % of each figure over resamples of whole groups (of rows, if there are none); null if it has none."""
    size = len(rows.order)
    codes = np.arange(size) if group is None else np.unique(group.astype(str), return_inverse=True)[1][rows.order]
    groups = int(codes.max()) + 1
    generator = np.random.default_rng(seed)
    found: dict[str, list[Floats]] = {}
    step = max(1, CHUNK_CELLS // size)
    for start in range(0, resamples, step):
        drawn = generator.integers(0, groups, size=(min(step, resamples - start), groups))
        counts = np.stack([np.bincount(row, minlength=groups) for row in drawn]).astype(np.float64)
        for name, values in rows.measure(counts[:, codes]).items():
            found.setdefault(name, []).append(values)
    return {name: _middle(np.concatenate(parts)) for name, parts in found.items()}


def _middle(values: Floats) -> list[float | None]:
    known = values[np.isfinite(values)]
    ends = np.quantile(known, (0.025, 0.975)) if len(known) else (np.nan, np.nan)
    return [finite(ends[0]), finite(ends[1])]


def finite(value: float) -> float | None:
    """Return a figure for JSON: None for one that does not exist."""
    return float(value) if np.isfinite(value) else None


def measure(
    label: Floats,
    probability: Floats,
    group: NDArray[Any] | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure probabilities against labels.

    Log loss clips at 1e-6. Calibration error is the mean of |observed - predicted| over 15 bins of
    equal count. Lift compares the top tenth (rounded up) with all rows; ties are broken by the seed.
    Intervals hold the middle 95 % of resamples of whole groups.

    Parameters
    ----------
    label : array
        0.0 or 1.0.
    probability : array
        Predicted probability of 1.
    group : array, optional
        Rows of one group are resampled together; None resamples rows.
    resamples : int
        How many; 0 leaves the intervals out.
    seed : int
        Of ties and resamples.

    Returns
    -------
    dict
        METRICS, ready for JSON; a figure that does not exist (AUC of a single class) is None.

    """
    ranked = _Sorted(label, probability, seed)
    point = ranked.measure(np.ones((1, len(label))))
    document: dict[str, Any] = {"rows": len(label), "base_rate": float(label.mean())}
    document.update({name: finite(point[name][0]) for name in NAMES})
    if resamples:
        document["interval"] = resampled_intervals(ranked, group, resamples, seed)
    return document
