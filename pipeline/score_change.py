"""What moved a score since the one before: time, data, model, calibration.

A path of counterfactuals leads from the old score to the new one, one thing changing per step; each part is the
difference that its step makes to the log-odds, so the parts sum to the whole:

1. time: the old model on the entity as it was known then, looked at now. Windows move on and intervals grow;
   nothing new became known, about anybody.
2. data: the old model on what is known now. What became known in between, corrections included.
3. model: the new members under the old calibrator, on what is known now.
4. calibration: the new calibrator.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.predict import Bundle, calibrate

PARTS = ("time", "data", "model", "calibration")


@dataclass(frozen=True)
class Move:
    """A reason that moved under the old model, in log-odds: by time alone, and by what became known.

    `before` and `after` are the values of its column; None for a reason that is no column. `time` is None where
    it is not known, and part of `data`.
    """

    name: str
    before: Any
    after: Any
    time: float | None
    data: float


@dataclass(frozen=True)
class Split:
    """The difference of two log-odds and its parts, which sum to it.

    `parts` has the keys of `PARTS`; time is None where it is not known, and part of data. The moves
    sum to time and data.
    """

    log_odds: float
    parts: Mapping[str, float | None]
    moves: tuple[Move, ...]


def split_change(
    old: Bundle, new: Bundle, before: pd.DataFrame, after: pd.DataFrame, aged: pd.DataFrame | None
) -> Split:
    """Split the change of an entity's log-odds from one score to the next.

    Parameters
    ----------
    old, new : Bundle
        What scored it then and now.
    before, after : DataFrame
        Its features then and now, one row each.
    aged : DataFrame or None
        Its features now if nothing had become known since then; None if that is not known.

    Raises
    ------
    BundleError
        If the features of now lack a column that the old model reads.

    """
    start, kept, end = (_log_odds(old, before), _log_odds(old, after), _log_odds(new, after))
    waited = start if aged is None else _log_odds(old, aged)
    swapped = float(calibrate(old.calibrator, new.raw_log_odds(after))[0][0])
    steps = {"time": waited - start, "data": kept - waited, "model": swapped - kept, "calibration": end - swapped}
    total = end - start
    parts: dict[str, float | None] = {**sum_to(total, steps)}
    if aged is None:
        parts["time"] = None
    return Split(total, parts, _moves(old, before, after, aged))


def sum_to(total: float, parts: Mapping[str, float]) -> dict[str, float]:
    """Return parts that sum to a total but for rounding, with the remainder in the largest of them.

    >>> sum_to(0.5, {"a": 0.125, "b": 0.37500000000000006})
    {'a': 0.125, 'b': 0.375}
    """
    exact = dict(parts)
    largest = max(exact, key=lambda name: abs(exact[name]))
    exact[largest] = math.fsum([total, *(-value for name, value in exact.items() if name != largest)])
    return exact


def _log_odds(bundle: Bundle, row: pd.DataFrame) -> float:
    return float(bundle.log_odds(row)[0])


def _moves(old: Bundle, before: pd.DataFrame, after: pd.DataFrame, aged: pd.DataFrame | None) -> tuple[Move, ...]:
    """Reasons whose part of the old model's log-odds changed, the largest changes first."""
    names = old.reason_names
    parts = [old.contributions(row)[1][0] for row in (before, before if aged is None else aged, after)]
    times, news = parts[1] - parts[0], parts[2] - parts[1]
    order = np.argsort(-(np.abs(times) + np.abs(news)), kind="stable")
    return tuple(
        Move(
            names[at],
            plain_value(before, names[at]),
            plain_value(after, names[at]),
            None if aged is None else float(times[at]),
            float(news[at]),
        )
        for at in order
        if times[at] or news[at]
    )


def plain_value(row: pd.DataFrame, name: str) -> float | str | None:
    """Value of a column of one row; None for null, and for a name that is no column."""
    if name not in row.columns:
        return None
    value = row[name].tolist()[0]
    return None if pd.isna(value) else value
