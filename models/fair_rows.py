"""Rows on which a champion and a challenger may be compared: neither was fitted on them or on what overlaps them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training_set import TrainingSet

MIN_ROWS, MIN_OF_EACH_LABEL = 200, 20
NEWER_SHARE = 0.5
"""Share of the fair rows that the models meet on: what is left lets the challenger know more than the champion."""


@dataclass(frozen=True)
class FairSplit:
    """Which rows both models are tried on (`block`) and which the challenger may learn from (`train`).

    `shortage` says in a sentence why there can be no comparison, None if there can.
    """

    train: NDArray[np.bool_]
    block: NDArray[np.bool_]
    shortage: str | None = None


def split_fair(rows: TrainingSet, champion_to: Any) -> FairSplit:
    """Split dated rows into a block that is fair to both models and the rows before it.

    The champion learned from rows up to `champion_to`, whose labels reach a horizon further: rows are fair
    from `champion_to + horizon` on. The block is the newer half of these, whole moments, and reaches back
    as far as it takes for 200 rows with 20 of each label. The challenger is fitted on rows with
    time + horizon <= begin of the block.

    Parameters
    ----------
    rows : TrainingSet
        Ripe rows with dates.
    champion_to : datetime64
        Newest row the champion was fitted on.

    Examples
    --------
    >>> import pandas as pd
    >>> time = pd.date_range("2024-01-01", periods=4, freq="MS").repeat(200).to_numpy()
    >>> rows = TrainingSet(pd.DataFrame({"x": range(800)}), np.arange(800) % 2.0, time, horizon=31)
    >>> split = split_fair(rows, np.datetime64("2024-01-01"))
    >>> [str(time[mask].min())[:10] for mask in (split.train, split.block)]
    ['2024-01-01', '2024-03-01']

    """
    time, gap = np.asarray(rows.time), np.timedelta64(rows.horizon, "D")
    fair = np.flatnonzero(time >= champion_to + gap)
    nothing = np.zeros(len(rows), dtype=bool)
    begin = _begin(time[fair], rows.label[fair])
    if begin is None:
        return FairSplit(nothing, nothing, _describe_shortage(rows, fair, champion_to))
    block, train = time >= begin, time + gap <= begin
    positives = int(rows.label[train].sum())
    if positives in (0, int(train.sum())):
        why = (
            f"The rows both models can be tried on begin at {str(begin)[:10]}, and the {int(train.sum()):,} rows whose "
            f"horizon of {rows.horizon} days ends before that do not hold both labels: the challenger has nothing to "
            "learn from."
        )
        return FairSplit(nothing, nothing, why)
    return FairSplit(train, block)


def _begin(time: NDArray[Any], label: NDArray[np.float64]) -> Any:
    """First moment of the block among fair rows; None if they are too few."""
    newest_first = np.argsort(-time.astype(np.int64), kind="stable")
    rows, ones = np.arange(1, len(time) + 1), np.cumsum(label[newest_first])
    enough = (rows >= np.ceil(NEWER_SHARE * len(time))) & (rows >= MIN_ROWS)
    enough &= (ones >= MIN_OF_EACH_LABEL) & (rows - ones >= MIN_OF_EACH_LABEL)
    return time[newest_first[np.argmax(enough)]] if enough.any() else None


def _describe_shortage(rows: TrainingSet, fair: NDArray[np.intp], champion_to: Any) -> str:
    ones = int(rows.label[fair].sum())
    return (
        f"The live model learned from rows up to {str(champion_to)[:10]}, whose labels reach {rows.horizon} days "
        f"further. Since then {len(fair):,} rows became ripe, {ones:,} of them with label 1; a comparison takes "
        f"{MIN_ROWS} rows with {MIN_OF_EACH_LABEL} of each label."
    )


def newest_window(rows: TrainingSet, days: int | None) -> TrainingSet:
    """Rows of `(newest - days, newest]`; all rows for None."""
    if days is None:
        return rows
    time = np.asarray(rows.time)
    return rows.take(np.asarray(time > time.max() - np.timedelta64(days, "D")))
