"""Further horizons of a target: models beside the primary one, whose probabilities keep the target's direction.

The primary horizon is trained, measured and promoted as if it were alone. Each further one goes through the same
recipe on labels of its own; what it says is clipped outward from the primary one (`models.predict.keep_direction`).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from features.errors import DataError
from models.metrics import measure
from models.predict import Floats, keep_direction, to_probability
from models.recipe import Evaluation, FittedModel, RecipeSettings, evaluate, refit
from models.split import split_test
from models.time_to_event import measure_time_to_event
from models.training_set import TrainingSet

DEFAULTS = RecipeSettings()


@dataclass(frozen=True)
class FurtherModels:
    """Fitted models of further horizons, as a bundle takes them along.

    Parameters
    ----------
    primary : int
        Days of the primary horizon.
    direction : {+1, -1}
        Whether probabilities rise or fall with the horizon.
    models : mapping of int to FittedModel
        By days.

    """

    primary: int
    direction: int
    models: Mapping[int, FittedModel] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest of the bundle says of them."""
        further = {}
        for days, one in self.models.items():  # what input looks like is told by the primary model, of the same columns
            facts = {name: value for name, value in one.manifest.items() if name != "input"}
            further[str(days)] = {**facts, "fitted_on": dict(one.fitted_on)}
        return {"primary": self.primary, "direction": self.direction, "further": further}


@dataclass(frozen=True)
class Horizons:
    """All horizons of a target on one test block, the newest that is ripe for the longest of them.

    Parameters
    ----------
    primary, direction : int
    evaluations : mapping of int to Evaluation
        By days, the primary one among them: fitted on rows whose label was known when the block begins.
    block : TrainingSet
        Rows of the block whose label is ripe for the longest horizon, which is the label they have.
    labels : mapping of int to array
        Labels of the block's rows for every horizon; NaN where one is censored.
    log_odds : mapping of int to array
        What each horizon's model says of the block's rows, in the target's direction.

    """

    primary: int
    direction: int
    evaluations: Mapping[int, Evaluation]
    block: TrainingSet
    labels: Mapping[int, Floats]
    log_odds: Mapping[int, Floats]

    @property
    def further(self) -> list[int]:
        """Days of the horizons beside the primary one."""
        return sorted(set(self.evaluations) - {self.primary})

    def refit(self, sets: Mapping[int, TrainingSet]) -> FurtherModels:
        """Fit the choices of further horizons on all ripe rows, settings frozen."""
        fitted = {days: refit(self.evaluations[days], sets[days]) for days in self.further}
        return FurtherModels(self.primary, self.direction, fitted)

    def to_json(self, settings: RecipeSettings = DEFAULTS) -> dict[str, Any]:
        """Return DOC of each further horizon, and as `coherent` the figures of what is written: after clipping."""
        return {str(days): self._describe(days, settings) for days in self.further}

    def measure_times(self, settings: RecipeSettings = DEFAULTS) -> dict[str, Any]:
        """Return how well the days to the event are told on the block: see `models.time_to_event`."""
        group = self.block.group
        return measure_time_to_event(
            self.log_odds, self.labels, self.direction, group, settings.resamples, settings.seed
        )

    def _describe(self, days: int, settings: RecipeSettings) -> dict[str, Any]:
        there = ~np.isnan(self.labels[days])
        probability = to_probability(self.log_odds[days])[there]
        group = None if self.block.group is None else self.block.group[there]
        figures = measure(self.labels[days][there], probability, group, settings.resamples, settings.seed)
        return {**self.evaluations[days].to_json(), "coherent": figures}


def evaluate_horizons(
    sets: Mapping[int, TrainingSet],
    primary: int,
    direction: int,
    test_as_of: date | None = None,
    settings: RecipeSettings = DEFAULTS,
) -> Horizons:
    """Run the recipe for every horizon, all tested on the same block.

    Parameters
    ----------
    sets : mapping of int to TrainingSet
        Ripe rows by the days of the horizon, with keys and times, and the same columns.
    primary, direction : int
    test_as_of : date, optional
        Begin of a pinned block; default: the newest block that is ripe for the longest horizon.
    settings : RecipeSettings

    Raises
    ------
    DataError
        If a horizon has nothing to learn from, or no rows before the block; the text names the horizon.

    """
    longest = max(sets)
    with _naming(longest):
        block = split_test(sets[longest], test_as_of)[1]
    evaluations: dict[int, Evaluation] = {}
    for days, rows in sets.items():
        with _naming(days):
            evaluations[days] = evaluate(*_split_at(rows, block), settings)
    said = {days: one.fitted.bundle.log_odds(block.frame) for days, one in evaluations.items()}
    labels = {days: _labels_of(block, rows) for days, rows in sets.items()}
    return Horizons(primary, direction, evaluations, block, labels, keep_direction(said, primary, direction))


@contextmanager
def _naming(days: int) -> Iterator[None]:
    """Say which horizon it was that stopped."""
    try:
        yield
    except DataError as error:
        raise DataError(f"Horizon of {days} days: {error}") from None


def _split_at(rows: TrainingSet, block: TrainingSet) -> tuple[TrainingSet, TrainingSet]:
    """Rows whose horizon ends by the begin of the block, and rows within the block's times."""
    time, inside = np.asarray(rows.time), np.asarray(block.time)
    begin, end = inside.min(), inside.max()
    before = time + np.timedelta64(rows.horizon, "D") <= begin
    return rows.take(before), rows.take((time >= begin) & (time <= end))


def _labels_of(block: TrainingSet, rows: TrainingSet) -> Floats:
    """Label of each row of the block in another horizon's set; NaN where it is not in there."""
    known = pd.Series(rows.label, pd.MultiIndex.from_frame(_keys(rows)))
    return np.asarray(known.reindex(pd.MultiIndex.from_frame(_keys(block))), dtype=np.float64)


def _keys(rows: TrainingSet) -> pd.DataFrame:
    if rows.keys is None:
        raise DataError(f"The {len(rows):,} rows have no keys, expected entity_id and as_of. Build them from tables.")
    return rows.keys
