"""Revenue as a hurdle: whether a customer brings in anything, times how much those bring in who do.

The first part is a churn model (no revenue within the horizon), chosen and calibrated as the recipe does.
The second are trees of the log of revenue of those with any. The mean of money is not exp of the mean of its log:
the smearing factor is the ratio of sums, observed by predicted, of the rows it was fitted on (Duan's estimator
weighted by size, which does not ask for equal spread).

References
----------
Duan, N. (1983). Smearing estimate: a nonparametric retransformation method. Journal of the American
Statistical Association 78(383), 605-610.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from models import blend
from models.base_rate import BaseRate
from models.bg_nbd import BgNbd
from models.binned import Binned
from models.boosted_trees import BoostedTrees
from models.calibration import IDENTITY, choose_calibrator
from models.candidate import Candidate, Floats, Member, Setting
from models.encoding import CodedRows
from models.logistic import Logistic
from models.predict import calibrate
from models.selection import select
from models.split import Fold, Folds
from models.tuning import Trial, joined_rows, try_candidate
from models.value_candidates import LEARNING_RATE, TREES, ValueTrial, constant, ranked, settle
from models.value_trees import RevenueTrees

CANDIDATES: tuple[Candidate, ...] = (BaseRate(), BgNbd(), Logistic(), Binned(), BoostedTrees())
AMOUNT_FILE = "amount.txt"
LEAVES = (4, 12)
MIN_BUYERS = 30


def silent(rows: CodedRows) -> CodedRows:
    """Rows whose label is 1 where there was no revenue."""
    return replace(rows, label=(rows.label <= 0).astype(np.float64))


def _amount_settings() -> list[dict[str, Any]]:
    return [{"leaves": leaves, "learning_rate": LEARNING_RATE, "trees": trees} for leaves in LEAVES for trees in TREES]


def _amounts(train: CodedRows, valid: CodedRows, settings: Sequence[Setting]) -> Floats:
    """Log of the expected revenue of buyers, after each number of trees of each shape."""
    buyers = train.take(np.flatnonzero(train.label > 0))
    trees, wanted = RevenueTrees(ranked(buyers)), np.log(buyers.label)
    found = []
    for _, same in groupby(settings, key=lambda one: one["leaves"]):
        shape = list(same)
        booster = trees.grow(wanted, {"objective": "l2"}, shape[-1])
        counts = [one["trees"] for one in shape]
        own = trees.staged(booster, None, counts)
        factors = np.array([_smearing(buyers.label, one) for one in own])
        found.append(factors[:, None] + trees.staged(booster, valid, counts))
    return np.concatenate(found)


def _smearing(revenue: Floats, log_value: Floats) -> float:
    """Logarithm of what the predictions must be multiplied by to add up to the revenue."""
    return float(np.log(revenue.sum() / np.exp(log_value).sum()))


def _choose_silent(rows: CodedRows, folds: Folds) -> tuple[Trial, Mapping[str, Any]]:
    """Compare models of churn out of fold: the chosen trial and its calibrator."""
    labels = [rows.label[fold.valid] for fold in folds.folds]
    trials = [try_candidate(candidate, rows, folds) for candidate in CANDIDATES if candidate.settings(rows)]
    blended = blend.try_blend(trials, labels, folds)
    at = joined_rows(folds)
    chosen = select([*trials, blended] if blended else trials, rows.label[at], rows.group[at])
    return chosen, IDENTITY if chosen.is_constant else choose_calibrator(chosen.log_odds, labels, folds)


def _fit_silent(rows: CodedRows, setting: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Fit what was chosen for churn: its document and its files."""
    known = {candidate.name: candidate for candidate in CANDIDATES}
    weights, settings = {setting["name"]: 1.0}, {setting["name"]: setting["setting"]}
    if setting["name"] == blend.NAME:
        weights, settings = setting["setting"]["weights"], setting["setting"]["settings"]
    members = {name: known[name].fit(rows, settings[name]) for name in weights}
    texts = {file: text for member in members.values() for file, text in member.texts.items()}
    documents = [{"weight": weights[name], **member.document} for name, member in members.items()]
    return {"calibrator": dict(setting["calibrator"]), "members": documents}, texts


class Hurdle:
    """The chance of any revenue times its size; needs 30 buyers before the first fold."""

    name = "hurdle"

    def is_possible(self, rows: CodedRows, folds: Folds) -> bool:
        """Whether every fold has enough buyers to learn from, and some rows without revenue."""
        shares = [rows.label[fold.train] > 0 for fold in folds.folds]
        return all(share.sum() >= MIN_BUYERS and not share.all() for share in shares)

    def try_out(self, rows: CodedRows, folds: Folds) -> ValueTrial:
        """Choose the first part by log loss, then the second by the deviance of the product."""
        chosen, calibrator = _choose_silent(silent(rows), folds)
        odds = [calibrate(calibrator, part)[0] for part in chosen.log_odds]
        buys = {id(fold): -np.logaddexp(0.0, part) for fold, part in zip(folds.folds, odds, strict=True)}
        settings = _amount_settings()

        def predict(fold: Fold) -> Floats:
            return buys[id(fold)] + _amounts(rows.take(fold.train), rows.take(fold.valid), settings)

        found = settle(self.name, rows, folds, settings, predict)
        first = {"name": chosen.name, "setting": dict(chosen.setting), "calibrator": dict(calibrator)}
        return ValueTrial(self.name, {"silent": first, "amount": dict(found.setting)}, found.log_values)

    def fit(self, rows: CodedRows, setting: Setting) -> Sequence[Member]:
        """Fit both parts on all rows given."""
        document, texts = _fit_silent(silent(rows), setting["silent"])
        buyers = rows.take(np.flatnonzero(rows.label > 0))
        trees = RevenueTrees(ranked(buyers))
        booster = trees.grow(np.log(buyers.label), {"objective": "l2"}, setting["amount"])
        own = trees.staged(booster, None, [setting["amount"]["trees"]])[0]
        amount = trees.member(booster, AMOUNT_FILE)
        hurdle = Member({"kind": "hurdle", "silent": document, "amount": amount.document}, {**texts, **amount.texts})
        return [hurdle, constant(_smearing(buyers.label, own))]
