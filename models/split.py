"""Honest splits: by time with a gap as long as the horizon, or by group where there is no time."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import DataError
from models.training_set import TrainingSet

Positions = NDArray[np.intp]

TIME_FOLDS = 4
GROUPED_FOLDS = 5
TIME_BLOCKS = 12
TRAIN_SHARES = (0.25, 0.15)
MIN_OF_EACH_CLASS = 5
TEST_ROWS, TEST_OF_EACH_CLASS = 200, 20
SERVED_FOLDS = 6
"""Stretches as long as a model serves that candidates are compared on."""
MAX_FOLD_ROWS = 20_000
"""Rows a fold is fitted on, and rows it predicts, at most: comparing needs no more."""
EAST_OF_UTC = np.timedelta64(14, "h")
"""Local midnight of the easternmost time zone comes this much earlier."""
CLOCK_CHANGE = pd.Timedelta(hours=2)
"""The next month's snapshot may come this much early where clocks were put forward in between."""


@dataclass(frozen=True)
class Fold:
    """Positions of the rows to fit on and of the rows to predict."""

    train: Positions
    valid: Positions


@dataclass(frozen=True)
class Folds:
    """How candidates are compared; `notes` says what could not be done as wished.

    `kind` is 'time' or 'grouped'. `apart` are the folds in time that begin at least a horizon after
    one another, newest included: only these are separate evidence on how the base rate moves.
    """

    kind: str
    folds: tuple[Fold, ...]
    notes: tuple[str, ...] = ()
    apart: tuple[int, ...] = ()


def _clock(rows: TrainingSet) -> tuple[NDArray[Any], Any]:
    """Time as it is compared, and the gap in its unit: days of dates, rows of an order."""
    time = np.asarray(rows.time)
    if time.dtype.kind == "M":
        return time, np.timedelta64(rows.horizon, "D")
    return np.searchsorted(np.sort(time), time), rows.horizon


def _months(time: NDArray[Any]) -> NDArray[np.int64]:
    """Calendar month of each time; a local month start is never counted to the month before it in UTC."""
    return (time + EAST_OF_UTC).astype("datetime64[M]").astype(np.int64)


def _both_classes(label: NDArray[np.float64], count: int) -> bool:
    positives = int(label.sum())
    return min(positives, len(label) - positives) >= count


def split_test(rows: TrainingSet, test_as_of: date | None = None) -> tuple[TrainingSet, TrainingSet]:
    """Split off the test block; training rows end a horizon before it begins.

    The block is the calendar month [test_as_of, test_as_of + 1 month), or, when none is pinned, the
    newest calendar month, reaching back until it holds 200 rows and 20 of each label. A training
    row counts when time + horizon <= begin of the block.

    Raises
    ------
    DataError
        If there is only one snapshot, nothing lies in the pinned block, or nothing is left to train on.

    """
    if rows.time is None or len(np.unique(rows.time)) < 2:
        raise DataError(
            "All ripe rows are of one snapshot, expected at least two: one to train on and a later one to test. "
            "Start the spine earlier, or extract a longer history."
        )
    in_test = _newest_block(rows) if test_as_of is None else _pinned_block(rows, test_as_of)
    begin, in_train = rows.time[in_test].min(), _before(rows, in_test)
    if not _both_classes(rows.label[in_train], 1):
        raise DataError(
            f"The test block begins at {begin}, and {int(in_train.sum()):,} ripe rows end their horizon of "
            f"{rows.horizon} before it, expected some of each label. "
            "Start the spine earlier, shorten the horizon or pin a later test."
        )
    return rows.take(in_train), rows.take(in_test)


def _pinned_block(rows: TrainingSet, test_as_of: date) -> NDArray[np.bool_]:
    time = np.asarray(rows.time)
    begin = pd.Timestamp(test_as_of)
    end = begin + pd.DateOffset(months=1)
    inside = (time >= begin.to_datetime64()) & (time < (end - CLOCK_CHANGE).to_datetime64())
    if not inside.any():
        raise DataError(
            f"No ripe rows in the pinned test block [{begin.date()}, {end.date()}); ripe rows run from "
            f"{time.min()} to {time.max()}. Pin test_as_of inside, or leave it out."
        )
    return np.asarray(inside)


def _before(rows: TrainingSet, block: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows before a block with time + horizon <= its begin."""
    time, gap = _clock(rows)
    begin = time[block].min()
    return np.asarray((time < begin) & (time + gap <= begin))


def _newest_block(rows: TrainingSet) -> NDArray[np.bool_]:
    """Go back block by block, as long as twice as many rows stay to train on."""
    time = np.asarray(rows.time)
    block = _months(time) if time.dtype.kind == "M" else _quantile_blocks(time)
    inside = np.zeros(len(time), dtype=bool)
    for newest in np.unique(block)[:0:-1]:
        grown = inside | (block == newest)
        if inside.any() and _before(rows, grown).sum() < 2 * grown.sum():
            break
        inside = grown
        if inside.sum() >= TEST_ROWS and _both_classes(rows.label[inside], TEST_OF_EACH_CLASS):
            break
    return inside if inside.any() else np.asarray(time == time.max())


def _quantile_blocks(time: NDArray[Any]) -> NDArray[np.int64]:
    """Cut an order into twelve blocks of about equal count; equal times stay together."""
    values = time.astype(np.int64)
    edges = np.quantile(values, np.arange(1, TIME_BLOCKS) / TIME_BLOCKS, method="lower")
    return np.searchsorted(np.unique(edges), values, side="left").astype(np.int64)


def _time_blocks(time: NDArray[Any]) -> NDArray[np.int64]:
    """Snapshots are blocks of their own; many dates become months; few months are cut finer."""
    distinct, code = np.unique(time, return_inverse=True)
    if len(distinct) <= 3 * TIME_BLOCKS:
        return np.asarray(code, dtype=np.int64)
    if time.dtype.kind == "M" and len(np.unique(_months(time))) >= TIME_BLOCKS:
        return _months(time)
    return _quantile_blocks(time)


def block_horizons(rows: TrainingSet) -> tuple[NDArray[np.int64], list[int]] | None:
    """Cut rows into blocks of time (from 0), and say how many of them each block could have learned from.

    A block could learn from those that end a horizon before it begins. None without times, or with
    fewer than four blocks.
    """
    if rows.time is None:
        return None
    block = np.unique(_time_blocks(np.asarray(rows.time)), return_inverse=True)[1].astype(np.int64)
    count = int(block.max()) + 1
    if count < 4:
        return None
    time, gap = _clock(rows)
    begins = [time[block == one].min() for one in range(count)]
    ends = [time[block == one].max() for one in range(count)]
    return block, [sum(1 for end in ends[:one] if end + gap <= begin) for one, begin in enumerate(begins)]


def _usable_blocks(rows: TrainingSet, block: NDArray[np.int64], min_share: float) -> list[np.int64]:
    """Blocks that leave enough rows to fit on once the gap before them is cut out."""
    usable = []
    for candidate in np.unique(block)[1:]:
        valid = block == candidate
        train = _before(rows, valid)
        enough = train.mean() >= min_share and _both_classes(rows.label[train], MIN_OF_EACH_CLASS)
        if enough and _both_classes(rows.label[valid], 1):
            usable.append(candidate)
    return usable


def _time_folds(rows: TrainingSet) -> list[Fold]:
    block = _time_blocks(np.asarray(rows.time))
    usable: list[np.int64] = []
    for share in TRAIN_SHARES:
        usable = _usable_blocks(rows, block, share)
        if len(usable) >= 3:
            break
    folds = []
    for blocks in np.array_split(np.array(usable, dtype=np.int64), min(TIME_FOLDS, max(1, len(usable)))):
        valid = np.isin(block, blocks)
        if valid.any():
            folds.append(Fold(np.flatnonzero(_before(rows, valid)), np.flatnonzero(valid)))
    return folds


def _served_folds(rows: TrainingSet, serves: int) -> list[Fold]:
    """Folds of `serves` days (rows) back from the newest row, twice as long while they hold too little.

    What holds for a young model may not hold for an old one, and one that is soon replaced is never old.
    """
    time = _clock(rows)[0]
    unit = np.timedelta64(1, "D") if time.dtype.kind == "M" else 1
    length = serves
    while True:
        age = np.asarray((time.max() - time) // (length * unit), dtype=np.int64)
        stretch = age.max() - age
        usable = _usable_blocks(rows, stretch, TRAIN_SHARES[0])[-SERVED_FOLDS:]
        if len(usable) < 3:
            return []
        inside = np.isin(stretch, usable)
        enough = _both_classes(rows.label[inside], TEST_OF_EACH_CLASS * len(usable))
        if enough and inside.sum() >= TEST_ROWS * len(usable):
            valid = [stretch == one for one in usable]
            return [Fold(np.flatnonzero(_before(rows, one)), np.flatnonzero(one)) for one in valid]
        length *= 2


def _apart(rows: TrainingSet, folds: list[Fold]) -> tuple[int, ...]:
    """Thin folds out, from the newest back, until their labels' horizons do not overlap."""
    time, gap = _clock(rows)
    begins = [time[fold.valid].min() for fold in folds]
    kept = [len(folds) - 1]
    for at in range(len(folds) - 2, -1, -1):
        if begins[at] + gap <= begins[kept[-1]]:
            kept.append(at)
    return tuple(reversed(kept))


def _thin_out(rows: TrainingSet, at: Positions, seed: int) -> Positions:
    """Draw whole groups until a fold has few enough rows; rows stay in their order."""
    if len(at) <= MAX_FOLD_ROWS:
        return at
    group = row_groups(rows.take(at))
    order = np.random.default_rng(seed).permutation(int(group.max()) + 1)
    size = np.bincount(group)[order].cumsum()
    return at[np.isin(group, order[: max(1, int((size <= MAX_FOLD_ROWS).sum()))])]


def _thin_folds(rows: TrainingSet, folds: list[Fold], seed: int) -> tuple[Fold, ...]:
    return tuple(Fold(_thin_out(rows, fold.train, seed), _thin_out(rows, fold.valid, seed)) for fold in folds)


def row_groups(rows: TrainingSet) -> NDArray[np.int64]:
    """Return the group of each row as a code; without a group column identical rows are one group."""
    if rows.group is not None:
        return np.unique(rows.group.astype(str), return_inverse=True)[1].astype(np.int64)
    hashed = pd.util.hash_pandas_object(rows.frame, index=False).to_numpy()
    return np.unique(hashed, return_inverse=True)[1].astype(np.int64)


def deal_groups(group: NDArray[np.int64], label: NDArray[np.float64], count: int, seed: int) -> NDArray[np.int64]:
    """Deal groups out to folds so that each fold gets its share of positives and of rows."""
    size = np.bincount(group)
    positives = np.bincount(group, weights=label)
    order = np.lexsort((np.random.default_rng(seed).random(len(size)), size, positives))
    fold = np.empty(len(size), dtype=np.int64)
    fold[order] = np.arange(len(size)) % count
    return fold[group]


def grouped_folds(rows: TrainingSet, seed: int = 0, *notes: str) -> Folds:
    """Cut rows into folds by the group column, or by identical rows; see `make_folds`."""
    group = row_groups(rows)
    count = min(GROUPED_FOLDS, int(group.max()) + 1)
    if count < 2:
        raise DataError(
            f"All {len(rows):,} training rows belong to one group, expected at least two to compare candidates on. "
            "Leave the group column out or add customers."
        )
    fold = deal_groups(group, rows.label, count, seed)
    folds = [Fold(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(count)]
    return Folds("grouped", _thin_folds(rows, folds, seed), notes)


def weeks_of(rows: TrainingSet, folds: Folds, at: Positions) -> NDArray[np.int64] | None:
    """Return the week (from 0) of dated rows that are in grouped folds; None where folds are in time, or nothing is."""
    if folds.kind == "time" or rows.time is None:
        return None
    time = np.asarray(rows.time)[at]
    week = (time.astype("datetime64[W]") if time.dtype.kind == "M" else _quantile_blocks(time)).astype(np.int64)
    return np.asarray(week - week.min(), dtype=np.int64)


def make_folds(rows: TrainingSet, seed: int = 0, serves: int | None = None) -> Folds:
    """Cut training rows into folds that predict what comes later.

    With three or more distinct times: rolling origin, each fold fitted on the rows with
    time + horizon <= its begin. Where the gap leaves fewer than two such folds, and with fewer
    times, folds are grouped: by the group column, or by identical rows. Large folds are thinned out
    by whole groups. With `serves`, the days (rows) a model will be in force, see `_served_folds`.
    """
    distinct = 0 if rows.time is None else len(np.unique(rows.time))
    if distinct < 3:
        note = () if rows.time is None else (f"{distinct} distinct times: candidates were compared on grouped folds.",)
        return grouped_folds(rows, seed, *note)
    folds = (serves and _served_folds(rows, serves)) or _time_folds(rows)
    gap = f"A gap of {rows.horizon} (the horizon) leaves {len(folds)} usable time folds of the training rows"
    if len(folds) < 2:
        why = f"{gap}: candidates were compared on grouped folds, which do not show change over time."
        return grouped_folds(rows, seed, why)
    return Folds("time", _thin_folds(rows, folds, seed), () if len(folds) >= 3 else (f"{gap}.",), _apart(rows, folds))
