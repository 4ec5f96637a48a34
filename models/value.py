"""Expected revenue per customer: compare candidates out of time, choose, set the level, fit; later refit.

The recipe is that of probabilities (`models.recipe`) with another loss: Tweedie deviance, see `models.tweedie`.
Nothing is chosen that does not beat the mean beyond noise, and nothing elaborate that does not beat what the
customer brought in lately. Everything is a sum on the log of revenue, so reasons sum to the log of the value.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from features.errors import DataError
from models.calibration import Calibrator
from models.candidate import Floats, Member
from models.encoding import CodedRows, code_rows, make_contract
from models.hurdle import Hurdle
from models.input_facts import describe_input
from models.recipe import Choice, FittedModel, RecipeSettings
from models.split import Folds, make_folds, split_test
from models.training_set import TrainingSet
from models.tuning import joined_rows
from models.value_candidates import LogLinear, Mean, PastRevenue, TweedieTrees, ValueCandidate, ValueTrial
from models.value_metrics import measure_value
from models.value_selection import BLEND, choose_level, choose_slope, level_free_losses, select_value, try_blend

DEFAULTS = RecipeSettings()


@dataclass(frozen=True)
class ValueEvaluation:
    """What was compared, what was chosen, and how the choice does on rows nobody saw; see `recipe.Evaluation`."""

    choice: Choice
    past_column: str | None
    fitted: FittedModel
    candidates: Sequence[Mapping[str, Any]]
    test: Mapping[str, Any]
    test_revenue: Floats
    test_value: Floats
    evaluated_on: Mapping[str, Any]
    folds: str
    notes: Sequence[str]
    seconds: float

    @property
    def selected(self) -> str:
        """Name of the chosen candidate; `mean` when there is no signal."""
        return self.choice.name

    def to_json(self) -> dict[str, Any]:
        """Return the document of a training of value."""
        return {
            "task": "value",
            "selected": self.selected,
            "seconds": round(self.seconds, 2),
            "test": dict(self.test),
            "candidates": [dict(one) for one in self.candidates],
            "setting": dict(self.choice.setting),
            "calibrator": dict(self.choice.calibrator),
            "folds": self.folds,
            "fitted_on": dict(self.fitted.fitted_on),
            "evaluated_on": dict(self.evaluated_on),
            "notes": list(self.notes),
        }


def check_revenue(rows: TrainingSet, what: str = "training rows") -> None:
    """Check that there is revenue to learn from; DataError if not."""
    if len(rows) == 0:
        raise DataError(f"No {what}: no revenue is ripe yet. Extract a longer history or shorten the horizon.")
    if rows.frame.shape[1] == 0:
        raise DataError(f"The {what} have no feature columns. Map more tables, or add features.")
    if rows.label.sum() <= 0 or float(np.ptp(rows.label)) == 0.0:
        raise DataError(
            f"The {len(rows):,} {what} bring in {rows.label.sum():,.2f} in all, expected revenue that differs between "
            "customers. Check the amounts of the orders and the horizon, or extract a longer history."
        )


def who_buys(rows: TrainingSet) -> TrainingSet:
    """Rows whose label says whether there was any revenue, and whose only column is their position."""
    place = pd.DataFrame({"at": np.arange(len(rows), dtype=np.float64)})
    return replace(rows, label=(rows.label > 0).astype(np.float64), frame=place, directions={}, roles={})


def split_value_test(rows: TrainingSet, test_as_of: Any = None) -> tuple[TrainingSet, TrainingSet]:
    """Split off the test block as for probabilities; what counts as enough is customers with and without revenue."""
    parts = split_test(who_buys(rows), test_as_of)
    train, test = (rows.take(part.frame["at"].to_numpy().astype(np.intp)) for part in parts)
    return train, test


def make_candidates(past_column: str | None, rows: CodedRows, folds: Folds) -> tuple[ValueCandidate, ...]:
    """Return the candidates that rows like these allow."""
    past = () if past_column is None else (PastRevenue(past_column),)
    hurdle = (Hurdle(),) if Hurdle().is_possible(rows, folds) else ()
    return (Mean(), *past, LogLinear(), TweedieTrees(), *hurdle)


def _calibrate(trial: ValueTrial, revenue: Sequence[Floats], folds: Folds) -> Calibrator:
    """Slope and level of the log of the value; a slope other than 1 leaves the sum of the predictions as it is."""
    slope = 1.0 if trial.name == "mean" else choose_slope(trial.log_values, revenue, folds.kind)
    said = np.concatenate(trial.log_values)
    kept = float(np.log(np.exp(said).sum() / np.exp(slope * said).sum()))
    level = choose_level([kept + slope * part for part in trial.log_values], revenue, folds)
    return {"kind": "sigmoid", "intercept": kept + level, "slope": slope}


def fit_value_choice(choice: Choice, rows: TrainingSet, past_column: str | None) -> FittedModel:
    """Fit a choice on rows: settings, slope and level stay as they are."""
    check_revenue(rows)
    contract = make_contract(rows.frame)
    coded = code_rows(rows, contract)
    past = () if past_column is None else (PastRevenue(past_column),)
    known: dict[str, ValueCandidate] = {one.name: one for one in (Mean(), *past, LogLinear(), TweedieTrees(), Hurdle())}
    settings = choice.setting["settings"] if choice.name == BLEND else {choice.name: choice.setting}
    members: list[tuple[float, Member]] = []
    for name, setting in settings.items():
        members += [(1.0 / len(settings), member) for member in known[name].fit(coded, setting)]
    model = {
        "task": "value",
        "columns": contract,
        "calibrator": dict(choice.calibrator),
        "members": [{"weight": weight, **member.document} for weight, member in members],
    }
    texts = {file: text for _, member in members for file, text in member.texts.items()}
    return FittedModel(choice, model, texts, rows.describe())


def predict_value(fitted: FittedModel, frame: pd.DataFrame) -> Floats:
    """Expected revenue of each row."""
    return fitted.bundle.value(frame)


def _measure_trial(trial: ValueTrial, rows: CodedRows, folds: Folds, settings: RecipeSettings) -> dict[str, Any]:
    at = joined_rows(folds)
    value = np.exp(np.concatenate(trial.log_values))
    figures = measure_value(rows.label[at], value, rows.group[at], settings.resamples, settings.seed)
    revenue = [rows.label[fold.valid] for fold in folds.folds]
    return {"name": trial.name, **figures, "level_free_deviance": float(level_free_losses(trial, revenue).mean())}


def evaluate_value(
    train: TrainingSet,
    test: TrainingSet,
    past_column: str | None = None,
    settings: RecipeSettings = DEFAULTS,
) -> ValueEvaluation:
    """Run the recipe for revenue on training rows and measure the result on test rows.

    Parameters
    ----------
    train, test : TrainingSet
        The label is revenue within the horizon; below zero where more came back than was bought.
    past_column : str, optional
        Column with the revenue of a past window about as long as the horizon.
    settings : RecipeSettings

    Raises
    ------
    DataError
        If either set is empty, or brings in nothing.

    """
    started = time.monotonic()
    check_revenue(train)
    check_revenue(test, "test rows")
    folds = make_folds(who_buys(train), settings.seed)
    rows = code_rows(train, make_contract(train.frame))
    revenue = [rows.label[fold.valid] for fold in folds.folds]
    trials = [candidate.try_out(rows, folds) for candidate in make_candidates(past_column, rows, folds)]
    blended = try_blend(trials, revenue, folds)
    trials += [] if blended is None else [blended]
    chosen = select_value(trials, revenue, rows.group[joined_rows(folds)])
    choice = Choice(chosen.name, chosen.setting, _calibrate(chosen, revenue, folds))
    fitted = fit_value_choice(choice, train, past_column)
    value = predict_value(fitted, test.frame)
    return ValueEvaluation(
        choice=choice,
        past_column=past_column,
        fitted=fitted,
        candidates=[_measure_trial(one, rows, folds, settings) for one in trials],
        test=measure_value(test.label, value, test.group, settings.resamples, settings.seed),
        test_revenue=test.label,
        test_value=value,
        evaluated_on=test.describe(),
        folds=f"{len(folds.folds)} {folds.kind}",
        notes=folds.notes,
        seconds=time.monotonic() - started,
    )


def refit_value(evaluation: ValueEvaluation, rows: TrainingSet) -> FittedModel:
    """Fit the chosen model, settings frozen, on all ripe rows; the figures stay those of the evaluation."""
    fitted = fit_value_choice(evaluation.choice, rows, evaluation.past_column)
    facts = {
        "task": "value",
        "selected": evaluation.selected,
        "setting": dict(evaluation.choice.setting),
        "evaluated_on": dict(evaluation.evaluated_on),
        "test": dict(evaluation.test),
        "candidates": [dict(one) for one in evaluation.candidates],
        "notes": list(evaluation.notes),
        "horizon": rows.horizon,
        "input": describe_input(rows),
        "target": rows.manifest.get("target"),
    }
    return replace(fitted, manifest=facts)
