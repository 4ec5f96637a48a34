"""The recipe: compare candidates out of time, choose, calibrate, fit; later refit with frozen settings."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from features.errors import DataError
from models import blend
from models.calibration import IDENTITY, Calibrator, choose_calibrator, shift
from models.candidate import Floats, Member, Setting
from models.drift import choose_gain, newest_level
from models.encoding import CodedRows, code_rows, make_contract
from models.few_rows import FEW_NOISE, has_few
from models.input_facts import describe_input
from models.intervals import Interval, check_honesty, fit_interval, horizon_blocks, move_interval
from models.metrics import log_losses, measure
from models.points import card_notes
from models.predict import Bundle, calibrate, to_probability
from models.recipe_notes import SECOND_LOOK, drift_notes, row_notes
from models.selection import NOISE, select
from models.split import Folds, grouped_folds, make_folds, weeks_of
from models.training_set import TrainingSet, check_learnable
from models.trials import find_candidate, try_columns, try_first_rungs
from models.tuning import Trial, joined_rows, map_folds


@dataclass(frozen=True)
class RecipeSettings:
    """What a user may set; everything else is decided by the data.

    `serves` is for how many days (rows of an order) a model will be in force, None if nobody knows.
    """

    seed: int = 0
    resamples: int = 200
    serves: int | None = None


@dataclass(frozen=True)
class Choice:
    """What the recipe settled on: enough to fit the same model on other rows.

    `gain` says how far the level follows newer rows, `left_out` which columns have moved away: see `models.drift`.
    """

    name: str
    setting: Setting
    calibrator: Calibrator
    interval: Interval | None = None
    gain: float = 0.0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class FittedModel:
    """A model in memory: the document of a bundle and the texts it names."""

    choice: Choice
    model: Mapping[str, Any]
    texts: Mapping[str, str]
    fitted_on: Mapping[str, Any]
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bundle(self) -> Bundle:
        """Ready to predict."""
        return Bundle(self.manifest, self.model, self.texts)

    def importances(self, frame: pd.DataFrame) -> dict[str, float]:
        """Mean size of the contribution of each column, or reason of its own, to the log-odds of these rows."""
        parts = np.abs(self.bundle.contributions(frame)[1]).mean(axis=0)
        return {name: float(part) for name, part in zip(self.bundle.reason_names, parts, strict=True)}


@dataclass(frozen=True)
class Evaluation:
    """What was compared, what was chosen, and how the choice does on rows nobody saw.

    `candidates` holds METRICS out of fold on the training rows; `test` those of the chosen one.
    """

    choice: Choice
    fitted: FittedModel
    candidates: Sequence[Mapping[str, Any]]
    test: Mapping[str, Any]
    test_label: Floats
    test_probability: Floats
    evaluated_on: Mapping[str, Any]
    folds: str
    notes: Sequence[str]
    seconds: float
    honesty: Mapping[str, Any] | None = None

    @property
    def selected(self) -> str:
        """Name of the chosen candidate."""
        return self.choice.name

    def to_json(self) -> dict[str, Any]:
        """Return DOC of `leadsieve evaluate --json`."""
        return {
            "selected": self.selected,
            "seconds": round(self.seconds, 2),
            "test": dict(self.test),
            "candidates": [dict(one) for one in self.candidates],
            "setting": dict(self.choice.setting),
            "calibrator": self.choice.calibrator["kind"],
            "level_gain": self.choice.gain,
            "left_out": list(self.choice.left_out),
            "score_interval": None if self.honesty is None else dict(self.honesty),
            "folds": self.folds,
            "fitted_on": dict(self.fitted.fitted_on),
            "evaluated_on": dict(self.evaluated_on),
            "notes": list(self.notes),
        }


def _fit_members(choice: Choice, rows: CodedRows) -> list[tuple[float, Member]]:
    if choice.name != blend.NAME:
        return [(1.0, find_candidate(choice.name).fit(rows, choice.setting))]
    weights, settings = choice.setting["weights"], choice.setting["settings"]
    members = map_folds(lambda name: find_candidate(name).fit(rows, settings[name]), weights)
    return list(zip(weights.values(), members, strict=True))


def fit_choice(choice: Choice, rows: TrainingSet) -> FittedModel:
    """Fit a choice on rows: the settings, the calibrator and the interval stay as they are."""
    check_learnable(rows)
    contract = make_contract(rows.frame)
    coded = code_rows(rows, contract).only([str(name) for name in rows.frame if name not in choice.left_out])
    members = _fit_members(choice, coded)
    texts = {name: text for _, member in members for name, text in member.texts.items()}
    model = {
        "columns": [entry for entry in contract if entry["name"] in coded.columns],
        "calibrator": dict(choice.calibrator),
        "members": [{"weight": weight, **member.document} for weight, member in members],
    }
    if choice.interval is not None:
        model["interval"] = dict(choice.interval)
    return _at_level(FittedModel(choice, model, texts, rows.describe()), rows)


def _at_level(fitted: FittedModel, rows: TrainingSet) -> FittedModel:
    """Move a model, and its intervals, to the level that newer rows have reached, as far as its choice says."""
    if not fitted.choice.gain:
        return fitted
    level = newest_level(rows, fitted.bundle.raw_log_odds(rows.frame), fitted.choice.gain)
    model = {**fitted.model, "calibrator": shift(fitted.choice.calibrator, level)}
    if fitted.choice.interval is not None:
        slope = float(fitted.choice.calibrator.get("slope", 1.0))
        model["interval"] = move_interval(fitted.choice.interval, slope * level)
    return replace(fitted, model=model)


def _measure_trial(trial: Trial, rows: CodedRows, at: Any, settings: RecipeSettings) -> dict[str, Any]:
    label, group = rows.label[at], rows.group[at]
    figures = measure(label, to_probability(np.concatenate(trial.log_odds)), group, settings.resamples, settings.seed)
    figures["level_free_log_loss"] = float(log_losses(label, to_probability(np.concatenate(trial.level_free))).mean())
    refused = {"refused": "one score for everybody"} if trial.is_constant and trial.name != "base_rate" else {}
    return {"name": trial.name, "setting": dict(trial.setting), **figures, **refused}


def _is_constant(fitted: FittedModel, rows: TrainingSet) -> bool:
    return fitted.choice.name != "base_rate" and float(np.ptp(fitted.bundle.raw_log_odds(rows.frame))) < 1e-9


def _choose_and_fit(
    trials: Sequence[Trial],
    train: TrainingSet,
    rows: CodedRows,
    folds: Folds,
    left_out: tuple[str, ...] = (),
    noise: float = NOISE,
) -> tuple[FittedModel, tuple[str, ...]]:
    """Select, calibrate and fit; a candidate that ends in one score for everybody is passed over."""
    at = joined_rows(folds)
    refused: list[str] = []
    labels = [rows.label[fold.valid] for fold in folds.folds]
    left = list(trials)
    while True:
        trial = select(left, rows.label[at], rows.group[at], weeks_of(train, folds, at), noise)
        calibrator = IDENTITY if trial.is_constant else choose_calibrator(trial.log_odds, labels, folds)
        interval = None
        if not trial.is_constant:
            calibrated = [calibrate(calibrator, part)[0] for part in trial.log_odds]
            interval = fit_interval(calibrated, labels, rows.group[at], folds, horizon_blocks(train, at))
        choice = Choice(trial.name, trial.setting, calibrator, interval, left_out=left_out)
        fitted = fit_choice(choice, train)
        if not _is_constant(fitted, train):
            gain = choose_gain(train, fitted.bundle.raw_log_odds(train.frame))
            return _at_level(replace(fitted, choice=replace(choice, gain=gain)), train), tuple(refused)
        refused.append(f"{trial.name} was passed over: fitted on all training rows it gives everybody the same score.")
        left.remove(trial)


def _check_intervals(fitted: FittedModel, test: TrainingSet) -> dict[str, Any] | None:
    """How honest the intervals are on the test rows; None for a model without."""
    if fitted.choice.interval is None:
        return None
    log_odds = fitted.bundle.log_odds(test.frame)
    return check_honesty(log_odds, *fitted.bundle.interval(log_odds), test.label)


@dataclass(frozen=True)
class _Comparison:
    """Candidates as they did on folds, the one that was chosen of them, and who was passed over and why."""

    folds: Folds
    trials: Sequence[Trial]
    fitted: FittedModel
    refused: tuple[str, ...]


def _compare(train: TrainingSet, rows: CodedRows, settings: RecipeSettings) -> _Comparison:
    """Compare all candidates; where few rows show nothing on folds in time, look again on grouped ones."""
    folds = make_folds(train, settings.seed, settings.serves)
    trials, left_out = try_columns(rows, folds, [rows.label[fold.valid] for fold in folds.folds])
    few = has_few(rows.label[joined_rows(folds)])
    noise = FEW_NOISE if few and folds.kind == "grouped" else NOISE
    first = _Comparison(folds, trials, *_choose_and_fit(trials, train, rows, folds, left_out, noise))
    is_clear = first.fitted.choice.name != "base_rate" or not few
    if is_clear or folds.kind == "grouped" or len(np.unique(rows.group)) < 2:
        return first
    folds = grouped_folds(train, settings.seed, *folds.notes, SECOND_LOOK)
    trials = try_first_rungs(rows, folds)
    second = _Comparison(folds, trials, *_choose_and_fit(trials, train, rows, folds, noise=FEW_NOISE))
    return first if second.fitted.choice.name == "base_rate" else second


def evaluate(train: TrainingSet, test: TrainingSet, settings: RecipeSettings = RecipeSettings()) -> Evaluation:
    """Run the recipe on training rows and measure the result on test rows.

    Candidates are compared on folds that predict what comes later; settings of a fold never rest on
    that fold. The simplest candidate not beaten beyond noise is calibrated on its out-of-fold
    predictions and fitted on all training rows. Test rows are looked at once, at the end.

    Raises
    ------
    DataError
        If either set is empty, has no features or a single class.

    """
    started = time.monotonic()
    check_learnable(train)
    check_learnable(test, "test rows")
    rows = code_rows(train, make_contract(train.frame))
    found = _compare(train, rows, settings)
    fitted, folds, at = found.fitted, found.folds, joined_rows(found.folds)
    probability = fitted.bundle.predict(test.frame)
    drift = drift_notes(fitted.choice.left_out, fitted.choice.gain)
    return Evaluation(
        choice=fitted.choice,
        fitted=fitted,
        candidates=map_folds(lambda one: _measure_trial(one, rows, at, settings), found.trials),
        test=measure(test.label, probability, test.group, settings.resamples, settings.seed),
        test_label=test.label,
        test_probability=probability,
        evaluated_on=test.describe(),
        folds=f"{len(folds.folds)} {folds.kind}",
        notes=(*folds.notes, *found.refused, *card_notes(rows), *drift, *row_notes(train, test)),
        seconds=time.monotonic() - started,
        honesty=_check_intervals(fitted, test),
    )


def refit(evaluation: Evaluation, rows: TrainingSet) -> FittedModel:
    """Fit the chosen model, settings frozen, on all ripe rows; the figures stay those of the evaluation.

    Raises
    ------
    DataError
        If there is nothing to learn from, or the model gives everybody the same score.

    """
    fitted = fit_choice(evaluation.choice, rows)
    if _is_constant(fitted, rows):
        raise DataError(
            f"Refitted on all {len(rows):,} ripe rows, {evaluation.selected} gives everybody the same score. "
            "Check that the newest rows have their features, then train again."
        )
    facts = {
        "selected": evaluation.selected,
        "setting": dict(evaluation.choice.setting),
        "evaluated_on": dict(evaluation.evaluated_on),
        "test": dict(evaluation.test),
        "candidates": [dict(one) for one in evaluation.candidates],
        "notes": list(evaluation.notes),
        "horizon": rows.horizon,
        "target": rows.manifest.get("target"),
        "input": describe_input(rows),
    }
    return FittedModel(fitted.choice, fitted.model, fitted.texts, fitted.fitted_on, facts)
