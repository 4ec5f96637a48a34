"""The same rows predicted after three splits: what a random or a grouped split would have promised."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from models.learning_curve import drawn_choice
from models.metrics import log_losses, measure
from models.recipe import Choice, fit_choice
from models.selection import clustered_error
from models.split import Fold, make_folds, row_groups, split_test
from models.training_set import TrainingSet
from models.tuning import map_folds

Positions = NDArray[np.intp]
Floats = NDArray[np.float64]

MAX_ROWS = 3_000
MAX_CELLS = 1_000_000
BLOCKS = 2
"""Newest blocks of time that are predicted."""
PARTS = 3
"""How often the predicted rows are cut for the random and the grouped split."""
RESAMPLES = 200
MIN_ROWS, MIN_OF_EACH_CLASS = 100, 5
WITHOUT_MEMORIES = "Fitted here is the blend without its members that learn from the newest rows only."


@dataclass(frozen=True)
class SplitFigures:
    """What one split says of the chosen setting.

    Parameters
    ----------
    kind : {"random", "grouped", "temporal"}
    fitted_rows : int
        Rows that each prediction rests on, on average.
    auc, log_loss : float
        On the rows that all splits predict.
    auc_interval, interval : (low, high)
        Of AUC and of log loss, 95 %, by group.
    gain, error : float
        Mean log loss saved against the strictest split, and its standard error between groups.

    """

    kind: str
    fitted_rows: int
    auc: float | None
    auc_interval: tuple[float | None, float | None]
    log_loss: float
    interval: tuple[float, float]
    gain: float = 0.0
    error: float = 0.0


@dataclass(frozen=True)
class _Answer:
    """Predictions of some rows, and how many rows they rest on."""

    asked: Positions
    probability: Floats
    fitted_rows: int


@dataclass(frozen=True)
class SplitComparison:
    """Figures of the splits, laxest first, and what could not be done as wished.

    `rows` are predicted, by models fitted on others of `from_rows`, which were drawn from `of_rows`.
    """

    splits: tuple[SplitFigures, ...]
    rows: int
    from_rows: int
    of_rows: int
    notes: tuple[str, ...] = ()


def _few_groups(rows: TrainingSet, most: int, seed: int) -> TrainingSet:
    """Whole groups in random order until there are enough rows: thinning rows would hide what repeats."""
    most = min(most, MAX_CELLS // max(rows.frame.shape[1], 1))
    if len(rows) <= most:
        return rows
    group = row_groups(rows)
    order = np.random.default_rng(seed).permutation(int(group.max()) + 1)
    kept = order[: max(2, int((np.bincount(group)[order].cumsum() <= most).sum()))]
    return rows.take(np.isin(group, kept))


def _newest(rows: TrainingSet, seed: int) -> tuple[Fold, ...]:
    """The newest blocks, each with the rows settled before it; none where time does not allow it."""
    if rows.time is None:
        return ()
    folds = make_folds(rows, seed)
    if folds.kind == "time":
        return folds.folds[-BLOCKS:]
    try:
        newest = split_test(rows)[1]
    except DataError:
        return ()
    time, begin = np.asarray(rows.time), np.asarray(newest.time).min()
    gap = np.timedelta64(rows.horizon, "D") if time.dtype.kind == "M" else rows.horizon
    return (Fold(np.flatnonzero((time < begin) & (time + gap <= begin)), np.flatnonzero(time >= begin)),)


def compare_splits(choice: Choice, rows: TrainingSet, seed: int = 0) -> SplitComparison:
    """Predict the newest training rows three ways with the chosen setting.

    random: fitted on all other rows, other snapshots of the same customer among them. grouped: on the rows
    of other customers, of any time. temporal: on rows whose horizon ended before. Only the last one
    can be had when a score is needed.

    Parameters
    ----------
    choice : Choice
        Setting and calibrator, which stay as they are; the members of a blend that learn from the newest rows
        only are left out.
    rows : TrainingSet
        Training rows; whole groups are drawn where there are many.
    seed : int

    Returns
    -------
    SplitComparison
        Without temporal split where there is no time, or too few of it.

    """
    kept = _few_groups(rows, MAX_ROWS, seed)
    newest, fitted = _newest(kept, seed), drawn_choice(choice)
    notes = (*_notes(rows, bool(newest)), *([] if fitted is choice else [WITHOUT_MEMORIES]))
    valid = np.concatenate([fold.valid for fold in newest]) if newest else np.arange(len(kept), dtype=np.intp)
    if len(valid) < MIN_ROWS or not all(_can_fit(kept.label[fold.train]) for fold in newest):
        return SplitComparison(
            (), len(valid), len(kept), len(rows), (*notes, "There are too few rows to compare splits.")
        )
    group = row_groups(kept)
    asked_in = {
        "random": _parts(np.arange(len(kept), dtype=np.int64), valid, seed),
        "grouped": _parts(group, valid, seed),
    }
    tasks = [(name, part) for name, parts in asked_in.items() for part in parts]

    def predict(task: tuple[str, Positions]) -> _Answer:
        name, asked = task
        inside = np.isin(group, group[asked]) if name == "grouped" else np.isin(np.arange(len(kept)), asked)
        return _predict(fitted, kept, np.flatnonzero(~inside), asked)

    found: dict[str, list[_Answer]] = {name: [] for name in asked_in}
    for (name, _), answer in zip(tasks, map_folds(predict, tasks), strict=True):
        found[name].append(answer)
    if newest:
        found["temporal"] = map_folds(lambda fold: _predict(fitted, kept, fold.train, fold.valid), newest)
    return SplitComparison(tuple(_compare(kept, valid, found, seed)), len(valid), len(kept), len(rows), notes)


def _parts(codes: NDArray[np.int64], valid: Positions, seed: int) -> list[Positions]:
    """Deal rows to predict out at random, rows of one code together."""
    dealt = np.random.default_rng(seed).permutation(np.arange(int(codes.max()) + 1) % PARTS)[codes[valid]]
    return [valid[dealt == part] for part in range(PARTS) if (dealt == part).any()]


def _predict(choice: Choice, rows: TrainingSet, fitted_on: Positions, asked: Positions) -> _Answer:
    fitted = fit_choice(choice, rows.take(fitted_on))
    return _Answer(asked, fitted.bundle.predict(rows.frame.iloc[asked]), len(fitted_on))


def _can_fit(label: Floats) -> bool:
    return len(label) >= MIN_ROWS and MIN_OF_EACH_CLASS <= label.sum() <= len(label) - MIN_OF_EACH_CLASS


def _notes(rows: TrainingSet, has_cut: bool) -> tuple[str, ...]:
    notes = []
    if rows.group is None:
        notes.append("There is no group column: rows are grouped where they are identical.")
    if rows.time is None:
        notes.append("There is no time column, so nobody can say what a split in time would show.")
    elif not has_cut:
        notes.append("There are too few times, a horizon apart, for a split in time within the training rows.")
    return tuple(notes)


def _compare(rows: TrainingSet, valid: Positions, found: dict[str, list[_Answer]], seed: int) -> list[SplitFigures]:
    """Line the predictions of each split up, and compare them row by row with the strictest split, the last one."""
    lined = {name: _line_up(len(rows), answers)[valid] for name, answers in found.items()}
    label = rows.label[valid]
    group = np.unique(row_groups(rows)[valid], return_inverse=True)[1].astype(np.int64)
    strictest = log_losses(label, list(lined.values())[-1])
    splits = []
    for name, probability in lined.items():
        saved = strictest - log_losses(label, probability)
        figures = measure(label, probability, group, RESAMPLES, seed)
        splits.append(
            SplitFigures(
                kind=name,
                fitted_rows=round(float(np.mean([one.fitted_rows for one in found[name]]))),
                auc=figures["auc"],
                auc_interval=tuple(figures["interval"]["auc"]),
                log_loss=figures["log_loss"],
                interval=tuple(figures["interval"]["log_loss"]),
                gain=float(saved.mean()),
                error=clustered_error(saved, group),
            )
        )
    return splits


def _line_up(rows: int, answers: list[_Answer]) -> Floats:
    """Predictions at the positions of their rows."""
    lined = np.full(rows, np.nan)
    for one in answers:
        lined[one.asked] = one.probability
    return lined
