"""Candidates for revenue. Each predicts the logarithm of the expected revenue, so that members and reasons add up.

Revenue below zero (more came back than was bought) counts as 0 where a model is fitted and as it is where models
are compared and where the level is set.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from scipy.stats import rankdata

from models.candidate import Floats, Member, Setting
from models.curves import RAMPS, make_design
from models.encoding import CodedRows
from models.screening import affordable, strongest_columns
from models.split import Fold, Folds
from models.tuning import map_folds, settled_evidence
from models.tweedie import fit_log_linear_path, scale_free_deviances
from models.value_trees import RevenueTrees

CAPS = (1.0, 0.99)
"""Shares of buyers below which revenue enters a fit as it is; what lies above is cut to the quantile there."""
PENALTIES = (1000.0, 300.0, 100.0, 30.0, 10.0)
PAST_PENALTY = 10.0
COLUMNS = 40, 3.0
POWERS = (1.3, 1.7)
LEAVES, LEARNING_RATE, TREES = 8, 0.05, (20, 40, 80, 160, 320)


@dataclass(frozen=True)
class ValueTrial:
    """What a candidate said out of fold, fold after fold, as log of revenue, and the setting to go on with."""

    name: str
    setting: Setting
    log_values: tuple[Floats, ...]


class ValueCandidate(Protocol):
    """One idea of how to predict revenue; the label of rows is their revenue."""

    name: str

    def try_out(self, rows: CodedRows, folds: Folds) -> ValueTrial:
        """Predict every fold, each with a setting chosen on other folds."""
        ...

    def fit(self, rows: CodedRows, setting: Setting) -> Sequence[Member]:
        """Fit on rows under one setting: members whose sum is the log of revenue."""
        ...


def constant(value: float) -> Member:
    """Return a member that adds the same to everybody."""
    return Member({"kind": "linear", "intercept": float(value), "terms": []})


def ranked(rows: CodedRows) -> CodedRows:
    """Rows whose label is the rank of their revenue, from 0 to 1, equal revenue in the middle of its ranks."""
    return replace(rows, label=(rankdata(rows.label) - 0.5) / len(rows.label))


def capped(revenue: Floats, share: float) -> tuple[Floats, float]:
    """Revenue to fit on, of mean 1: not below zero, cut at a quantile of the buyers; and the log of its unit.

    >>> capped(np.array([-1.0, 0.0, 2.0, 6.0]), 1.0)[0].tolist()
    [0.0, 0.0, 1.0, 3.0]

    """
    positive = np.maximum(revenue, 0.0)
    cut = np.minimum(positive, np.quantile(positive[positive > 0], share)) if (positive > 0).any() else positive
    return cut / max(float(cut.mean()), 1e-9), float(np.log(max(float(positive.mean()), 1e-9)))


def balance(revenue: Floats, log_values: Floats) -> Floats:
    """Log of the factor by which predictions of the rows fitted on (settings x rows) add up to their revenue.

    A fit by deviance does not see to that itself: it weighs large predictions less, and cut revenue is less.

    >>> balance(np.array([1.0, 3.0]), np.zeros((1, 2))).round(4).tolist()  # log(4 / 2)
    [[0.6931]]

    """
    wanted = max(float(np.maximum(revenue, 0.0).sum()), 1e-9)
    return np.asarray(np.log(wanted / np.exp(log_values).sum(axis=1, keepdims=True)))


def settle(
    name: str, rows: CodedRows, folds: Folds, settings: Sequence[Setting], predict: Callable[[Fold], Floats]
) -> ValueTrial:
    """Predict every fold under every setting; each fold's setting is the best one on its evidence."""
    predictions = map_folds(predict, folds.folds)
    losses = np.array(
        [
            [float(scale_free_deviances(rows.label[fold.valid], one).sum()) for one in predicted]
            for fold, predicted in zip(folds.folds, predictions, strict=True)
        ]
    )
    count = len(predictions)
    known = [settled_evidence(folds.kind, count, at) for at in range(count)]
    chosen = [predictions[at][int(np.argmin(losses[known[at]].sum(axis=0)))] for at in range(count)]
    return ValueTrial(name, settings[int(np.argmin(losses.sum(axis=0)))], tuple(chosen))


def log_mean(revenue: Floats) -> float:
    """Logarithm of the mean revenue, returns counting as 0."""
    return float(np.log(max(float(np.maximum(revenue, 0.0).mean()), 1e-9)))


class Mean:
    """The same for everybody."""

    name = "mean"

    def try_out(self, rows: CodedRows, folds: Folds) -> ValueTrial:
        """Mean of the rows before each fold."""
        said = [np.full(len(fold.valid), log_mean(rows.label[fold.train])) for fold in folds.folds]
        return ValueTrial(self.name, {}, tuple(said))

    def fit(self, rows: CodedRows, setting: Setting) -> Sequence[Member]:
        """Mean of the rows."""
        return [constant(log_mean(rows.label))]


def _fit_linear(rows: CodedRows, setting: Setting, names: Sequence[str] | None) -> Sequence[Member]:
    design = make_design(rows, setting["ramps"], names)
    revenue, unit = capped(rows.label, setting["cap"])
    path = [value for value in PENALTIES if value > setting["penalty"]] + [setting["penalty"]]
    matrix = design.matrix(rows)
    coefficients = fit_log_linear_path(matrix, revenue, path)[-1]
    level = unit + float(balance(rows.label, (unit + coefficients[0] + matrix @ coefficients[1:])[None])[0, 0])
    terms = design.terms(coefficients[1:])
    return [Member({"kind": "linear", "intercept": float(coefficients[0]) + level, "terms": terms})]


def _predict_linear(
    train: CodedRows, valid: CodedRows, cap: float, ramps: int, penalties: Sequence[float], names: Sequence[str] | None
) -> Floats:
    """Log of revenue of other rows under each penalty."""
    revenue, unit = capped(train.label, cap)
    design = make_design(train, ramps, names)
    matrix = design.matrix(train)
    path = fit_log_linear_path(matrix, revenue, penalties)
    own = unit + path[:, :1] + path[:, 1:] @ matrix.T
    found = unit + path[:, :1] + path[:, 1:] @ design.matrix(valid).T
    return np.asarray(found + balance(train.label, own))


@dataclass(frozen=True)
class PastRevenue:
    """What the customer brought in lately, as a curve: what one would guess without any model.

    Parameters
    ----------
    column : str
        Revenue within a past window about as long as the horizon.

    """

    column: str
    name: str = "past_revenue"

    def _setting(self) -> Setting:
        return {"column": self.column, "ramps": RAMPS, "penalty": PAST_PENALTY, "cap": CAPS[-1]}

    def try_out(self, rows: CodedRows, folds: Folds) -> ValueTrial:
        """Fit the curve before each fold."""

        def predict(fold: Fold) -> Floats:
            train, valid = rows.take(fold.train), rows.take(fold.valid)
            return _predict_linear(train, valid, CAPS[-1], RAMPS, [PAST_PENALTY], [self.column])

        return settle(self.name, rows, folds, [self._setting()], predict)

    def fit(self, rows: CodedRows, setting: Setting) -> Sequence[Member]:
        """Fit the curve on all rows given."""
        return _fit_linear(rows, setting, [setting["column"]])


class LogLinear:
    """Log-linear model of curves of all columns; `ramps` bends the curves, `penalty` shrinks them."""

    name = "log_linear"

    def settings(self) -> Sequence[Setting]:
        """Return straight and bent curves under every penalty, on revenue as it is and cut."""
        return [
            {"cap": cap, "ramps": ramps, "penalty": penalty}
            for cap in CAPS
            for ramps in (0, RAMPS)
            for penalty in PENALTIES
        ]

    def try_out(self, rows: CodedRows, folds: Folds) -> ValueTrial:
        """Fit each kind of curve once along its penalties."""
        settings = self.settings()

        def predict(fold: Fold) -> Floats:
            train, valid = self._screened(rows.take(fold.train)), rows.take(fold.valid)
            kinds = dict.fromkeys((one["cap"], one["ramps"]) for one in settings)
            return np.concatenate([_predict_linear(train, valid, *kind, PENALTIES, None) for kind in kinds])

        return settle(self.name, rows, folds, settings, predict)

    def _screened(self, rows: CodedRows) -> CodedRows:
        kept = strongest_columns(ranked(rows), affordable(rows, *COLUMNS))
        return rows.only([str(entry["name"]) for entry in kept.contract])

    def fit(self, rows: CodedRows, setting: Setting) -> Sequence[Member]:
        """Fit on rows under one setting."""
        return _fit_linear(self._screened(rows), setting, None)


class TweedieTrees:
    """LightGBM towards Tweedie deviance; the power is one of two, chosen with the rest out of fold."""

    name = "tweedie"
    file = "tweedie.txt"

    def settings(self) -> Sequence[Setting]:
        """Return every power and number of trees, on revenue as it is and cut."""
        shape = {"leaves": LEAVES, "learning_rate": LEARNING_RATE}
        return [{"cap": cap, "power": power, **shape, "trees": count} for cap in CAPS for power in POWERS for count in TREES]  # fmt: skip  # noqa: E501

    def try_out(self, rows: CodedRows, folds: Folds) -> ValueTrial:
        """Grow the trees of each power once, and predict after each number of them."""
        settings = self.settings()

        def predict(fold: Fold) -> Floats:
            train, valid = rows.take(fold.train), rows.take(fold.valid)
            trees, found = RevenueTrees(ranked(train)), []
            for (cap, _), same in groupby(settings, key=lambda one: (one["cap"], one["power"])):
                revenue, unit = capped(train.label, cap)
                largest = list(same)[-1]
                booster = trees.grow(revenue, _objective(largest), largest)
                level = unit + balance(train.label, unit + trees.staged(booster, None, TREES))
                found.append(level + trees.staged(booster, valid, TREES))
            return np.concatenate(found)

        return settle(self.name, rows, folds, settings, predict)

    def fit(self, rows: CodedRows, setting: Setting) -> Sequence[Member]:
        """Grow the trees on all rows given."""
        trees = RevenueTrees(ranked(rows))
        revenue, unit = capped(rows.label, setting["cap"])
        booster = trees.grow(revenue, _objective(setting), setting)
        level = unit + balance(rows.label, unit + trees.staged(booster, None, [setting["trees"]]))
        return [trees.member(booster, self.file), constant(float(level[0, 0]))]


def _objective(setting: Mapping[str, Any]) -> dict[str, Any]:
    return {"objective": "tweedie", "tweedie_variance_power": setting["power"]}
