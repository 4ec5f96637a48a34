"""Out-of-fold predictions of a candidate, its setting never chosen on the rows it is measured on."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models.candidate import Candidate, Floats, Setting
from models.encoding import CodedRows
from models.level import level_free, level_free_losses
from models.split import Fold, Folds

WORKERS = 2
"""Folds, or members, fitted at a time, each on one thread: on a busy machine this beats many threads per fit."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Trial:
    """What a candidate did out of fold, fold after fold, and the setting to go on with.

    `log_odds` are raw; `level_free` are the same with the level of each fold taken out.
    """

    name: str
    setting: Setting
    log_odds: tuple[Floats, ...]
    level_free: tuple[Floats, ...]

    @property
    def is_constant(self) -> bool:
        """Whether every fold got one and the same score."""
        return all(float(np.ptp(part)) < 1e-9 for part in self.log_odds)


def joined_rows(folds: Folds) -> NDArray[np.intp]:
    """Positions of the rows predicted out of fold, fold after fold."""
    return np.concatenate([fold.valid for fold in folds.folds])


def evidence(kind: str, count: int, fold: int) -> list[int]:
    """Folds on which a choice for `fold` may rest: the earlier ones, or all others without time."""
    return list(range(fold)) if kind == "time" else [other for other in range(count) if other != fold]


def settled_evidence(kind: str, count: int, fold: int) -> list[int]:
    """As `evidence`, but the first fold in time, which has none, borrows that of the later ones."""
    return evidence(kind, count, fold) or list(range(1, count))


def map_folds(task: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Run a task per fold, or per member of a blend, two at a time; the answers are in the order of the items."""
    with threadpool_limits(limits=1), ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(task, items))


def try_candidate(candidate: Candidate, rows: CodedRows, folds: Folds) -> Trial:
    """Predict every fold under every setting; each fold's setting is the best one on its evidence."""
    settings: Sequence[Setting] = candidate.settings(rows)
    labels = [rows.label[fold.valid] for fold in folds.folds]

    def predict(fold: Fold) -> Floats:
        return candidate.log_odds(rows.take(fold.train), rows.take(fold.valid), settings)

    predictions = map_folds(predict, folds.folds)
    losses = np.array(
        [
            [float(level_free_losses(row, label).sum()) for row in predicted]
            for predicted, label in zip(predictions, labels, strict=True)
        ]
    )
    chosen = []
    for at, predicted in enumerate(predictions):
        known = settled_evidence(folds.kind, len(predictions), at)
        chosen.append(predicted[int(np.argmin(losses[known].sum(axis=0)))])
    best = settings[int(np.argmin(losses.sum(axis=0)))]
    return Trial(candidate.name, best, tuple(chosen), level_free(chosen, labels))
