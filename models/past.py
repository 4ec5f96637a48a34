"""Rows in time order as a replay sees them: what was ripe at a moment, and the models fitted so far."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from models.policy import Fit, GateTerms, Scorer
from models.split import CLOCK_CHANGE
from models.training_set import TrainingSet

Floats = NDArray[np.float64]
EPOCH = np.datetime64(0, "us")


@dataclass(frozen=True)
class Champion:
    """The model in force, and how many of the oldest rows were ripe when it was trained."""

    scorer: Scorer
    high: int


@dataclass
class Past:
    """Rows in time order, when each label became known, and the models fitted so far.

    An order is read as a calendar with one place per day, so that there is one way to reckon.
    """

    rows: TrainingSet
    fit: Fit
    clock: NDArray[np.datetime64]
    settle: int
    terms: GateTerms = field(default_factory=GateTerms)
    models: dict[tuple[int, int], Scorer | None] = field(default_factory=dict)

    @property
    def is_dated(self) -> bool:
        """Whether rows have dates, not places."""
        return np.asarray(self.rows.time).dtype.kind == "M"

    def read(self, moment: Any) -> Any:
        """Moment of the clock for a date or a place."""
        return np.datetime64(moment, "us") if self.is_dated else EPOCH + np.timedelta64(int(moment), "D")

    def tell(self, moment: Any) -> Any:
        """Date or place of a moment of the clock."""
        return moment if self.is_dated else int((moment - EPOCH) / np.timedelta64(1, "D"))

    def before(self, moment: Any) -> int:
        """How many rows come before a moment."""
        return int(np.searchsorted(self.clock, moment, "left"))

    def ripe(self, now: Any, window: int | None) -> tuple[int, int]:
        """Rows `[low, high)` before `now` with time + horizon + settle <= now, of the window alone."""
        known = now - np.timedelta64(self.rows.horizon + self.settle, "D")
        return self.newest(min(int(np.searchsorted(self.clock, known, "right")), self.before(now)), window)

    def newest(self, high: int, window: int | None) -> tuple[int, int]:
        """Rows `[low, high)` that lie in `(newest - window, newest]`."""
        if window is None or high == 0:
            return 0, high
        begin = self.clock[high - 1] - np.timedelta64(window, "D")
        return int(np.searchsorted(self.clock, begin, "right")), high

    def has_both(self, low: int, high: int) -> bool:
        """Whether both labels are among these rows."""
        return bool(0 < self.rows.label[low:high].sum() < high - low)

    def model(self, fitted_on: tuple[int, int]) -> Scorer | None:
        """Return the model of rows `[low, high)`; None where these teach nothing."""
        if fitted_on not in self.models:
            self.models[fitted_on] = self.fit(self.rows.take(np.arange(*fitted_on)))
        return self.models[fitted_on]

    def predict(self, scorer: Scorer, low: int, high: int) -> Floats:
        """Probabilities of rows `[low, high)`."""
        return np.asarray(scorer(self.rows.frame.iloc[low:high].reset_index(drop=True)))

    def moments(self, start: Any, every: int | None) -> list[Any]:
        """From the start on every so many days or rows, up to the last row.

        A moment at most two hours after a row comes before it: a local midnight in summer.
        """
        found = [start]
        while every is not None:
            moment = start + np.timedelta64(every * len(found), "D")
            near = self.clock[self.before(moment - CLOCK_CHANGE.to_timedelta64()) :]
            if not len(near) or (moment > self.clock[-1] and near[0] > moment):
                break
            found.append(min(moment, near[0]))
        return found


def make_past(rows: TrainingSet, fit: Fit, settle: int, terms: GateTerms | None = None) -> Past:
    """Bring rows, and what cuts them, into time order; DataError without rows or times."""
    if rows.time is None or len(rows) == 0:
        raise DataError(f"The {len(rows):,} rows to replay have no time. Name the column that orders them.")
    order = np.argsort(np.asarray(rows.time), kind="stable")
    terms = terms or GateTerms()
    terms = replace(terms, cuts={name: values[order] for name, values in terms.cuts.items()})
    rows = rows.take(order)
    time = np.asarray(rows.time)
    places = EPOCH + np.searchsorted(time, time, "left") * np.timedelta64(1, "D")
    return Past(rows, fit, (time if time.dtype.kind == "M" else places).astype("datetime64[us]"), settle, terms)
