"""A challenger tried against the live model, the logistic line and the base rate on rows none was fitted on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.tables import CrmTables
from models.calibration import IDENTITY
from models.fair_rows import FairSplit, newest_window, split_fair
from models.gate import BASE_RATE, CHAMPION, LOGISTIC, Comparison, Slice, Verdict, compare, compare_slices, decide
from models.predict import Bundle
from models.recipe import Choice, Evaluation, RecipeSettings, evaluate, fit_choice
from models.split import split_test
from models.training_set import TrainingSet
from pipeline.config import Config
from pipeline.deployment import make_target
from pipeline.errors import ConfigError
from pipeline.slice_columns import slices_of_tables
from pipeline.training import RipeRows

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """Rows a challenger learns from, rows it is tried on, and what the live model says of these.

    `live` is None where nothing is live.
    """

    train: TrainingSet
    test: TrainingSet
    live: Floats | None


@dataclass(frozen=True)
class Challenge:
    """How a challenger did."""

    trial: Trial
    evaluation: Evaluation
    comparison: Comparison
    slices: tuple[Slice, ...]
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """Return the evidence, ready for JSON."""
        return {
            "selected": self.evaluation.selected,
            "test": dict(self.evaluation.test),
            "evaluated_on": dict(self.evaluation.evaluated_on),
            "challenger_fitted_on": dict(self.evaluation.fitted.fitted_on),
            "comparison": self.comparison.to_json(),
            "slices": [one.to_json() for one in self.slices],
        }


def find_split(config: Config, name: str, labelled: pd.DataFrame, live: Bundle) -> FairSplit:
    """Split the ripe snapshots of a target, before any feature is built, so that both models are tried on new rows.

    Parameters
    ----------
    labelled : DataFrame
        Training spine of the target with label and settled_at.
    live : Bundle
        The live model.

    Raises
    ------
    ConfigError
        If the live model answers another question than the config asks.

    """
    horizon = make_target(config, name).horizon_days
    if int(live.manifest.get("horizon", horizon)) != horizon:
        raise ConfigError(
            f"The live model looks {live.manifest['horizon']} days ahead, and the config asks for {horizon}: they "
            "cannot be compared. Run `leadsieve train` to replace it."
        )
    ripe = labelled[labelled["label"].notna()]
    label, time = ripe["label"].to_numpy(dtype=np.float64), ripe["as_of"].to_numpy(dtype="datetime64[us]")
    rows = TrainingSet(pd.DataFrame(index=range(len(ripe))), label, time, horizon)
    return split_fair(rows, np.datetime64(live.manifest["fitted_on"]["to"]))


def make_trial(
    config: Config, ripe: RipeRows, rows: TrainingSet, live: Bundle | None, split: FairSplit | None
) -> Trial:
    """Take the rows of a trial.

    Parameters
    ----------
    ripe : RipeRows
        With every feature, for the live model.
    rows : TrainingSet
        The same rows with the columns of the challenger.
    live, split : optional
        The live model, and what `find_split` found; None where nothing is live: then the newest block is tried.

    """
    window = config.retrain.window_days
    if live is None or split is None:
        train, test = split_test(rows)
        return Trial(newest_window(train, window), test, None)
    known = live.predict(ripe.built.frame[split.block].reset_index(drop=True))
    return Trial(newest_window(rows.take(split.train), window), rows.take(split.block), known)


def challenge(config: Config, tables: CrmTables, name: str, trial: Trial) -> Challenge:
    """Let the recipe choose and fit a challenger, and the gate judge it."""
    test, seed, section = trial.test, config.seed, config.retrain
    cuts = {} if trial.live is None else cut_for_gate(config, tables, name, test)
    evaluation = evaluate(trial.train, test, RecipeSettings(seed=seed, serves=section.every_days))
    own = evaluation.test_probability
    opponents = {} if trial.live is None else {CHAMPION: trial.live}
    opponents |= _simple_opponents(evaluation, trial)
    comparison = compare(test.label, own, opponents, test.group, seed=seed)
    slices: tuple[Slice, ...] = ()
    if trial.live is not None:
        limits = section.slice_rows, section.slice_floor
        slices = tuple(compare_slices(test.label, own, trial.live, cuts, test.group, *limits, seed=seed))
    return Challenge(trial, evaluation, comparison, slices, decide(comparison, slices, section.min_gain))


def _simple_opponents(evaluation: Evaluation, trial: Trial) -> dict[str, Floats]:
    """Scores of the logistic line and the base rate, fitted on what the challenger was fitted on."""
    found = {BASE_RATE: np.full(len(trial.test), float(trial.train.label.mean()))}
    for candidate in evaluation.candidates:
        if candidate["name"] == LOGISTIC:
            line = fit_choice(Choice(LOGISTIC, candidate["setting"], IDENTITY), trial.train)
            found[LOGISTIC] = line.bundle.predict(trial.test.frame)
    return found


def cut_for_gate(config: Config, tables: CrmTables, name: str, rows: TrainingSet) -> Mapping[str, NDArray[Any]]:
    """Parts of the rows that the gate looks at.

    Raises
    ------
    ConfigError
        If the config names one that there is not.

    """
    cuts = {by: np.asarray(values.astype(object)) for by, values in _all_cuts(config, tables, name, rows).items()}
    if config.retrain.slices is None:
        return cuts
    for by in config.retrain.slices:
        if by not in cuts:
            raise ConfigError(
                f"retrain.slices names '{by}', and rows of target '{name}' can be cut by: {', '.join(cuts) or '-'}. "
                "Name one of these."
            )
    return {by: cuts[by] for by in config.retrain.slices}


def _all_cuts(config: Config, tables: CrmTables, name: str, test: TrainingSet) -> Mapping[str, Any]:
    return slices_of_tables(tables, make_target(config, name), test)
