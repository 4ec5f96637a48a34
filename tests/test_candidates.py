"""What single candidates are made of: curves, encodings, trees, and settings chosen on other folds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from test_recipe import simulate

from models.binned import Binned
from models.boosted_trees import BoostedTrees
from models.candidate import Setting
from models.curves import make_design
from models.encoding import CodedRows, code_rows, cross_fit_target_encoding, fit_target_encoding, make_contract
from models.logistic import Logistic
from models.predict import to_probability
from models.recipe import Choice, fit_choice
from models.ridge import fit_ridge_path
from models.split import make_folds
from models.training_set import TrainingSet
from models.tuning import try_candidate


def coded(rows: TrainingSet) -> CodedRows:
    return code_rows(rows, make_contract(rows.frame))


def test_the_setting_of_a_fold_never_rests_on_that_fold() -> None:
    rows = coded(simulate(200, snapshots=4))

    class Cheat:
        """Knows the labels of the fold it predicts under one setting, and nothing under the other."""

        name = "cheat"

        def settings(self, rows: CodedRows) -> list[Setting]:
            return [{"fold": fold} for fold in range(4)]

        def log_odds(self, train: CodedRows, valid: CodedRows, settings: Any) -> Any:
            first = float(valid.columns["amount"][0])
            known = [float(rows.columns["amount"][fold.valid[0]]) for fold in folds.folds].index(first)
            answers = np.zeros((4, len(valid)))
            answers[known] = np.where(valid.label == 1, 9.0, -9.0)
            return answers

        def fit(self, rows: CodedRows, setting: Setting) -> Any:
            raise NotImplementedError

    folds = make_folds(TrainingSet(simulate(200, snapshots=4).frame, rows.label))
    folds = replace(folds, folds=folds.folds[:4])
    found = try_candidate(Cheat(), rows, folds)
    assert all((part == 0).all() for part in found.log_odds)


def test_ridge_with_a_weak_penalty_finds_the_textbook_answer() -> None:
    # one 0/1 column: the coefficients are the log-odds of the two groups, 1 of 4 and 3 of 4
    design, label = np.array([[0.0]] * 4 + [[1.0]] * 4), np.array([1, 0, 0, 0, 1, 1, 1, 0], dtype=float)
    strong, weak = fit_ridge_path(design, label, [1e9, 1e-9])
    assert weak.tolist() == pytest.approx([-np.log(3), 2 * np.log(3)], abs=0.01)
    assert strong.tolist() == pytest.approx([0.0, 0.0], abs=0.01)


def test_ridge_ends_where_scikit_learn_does_alone_or_after_stronger_penalties() -> None:
    rng = np.random.default_rng(3)
    design = rng.normal(size=(9_000, 4)) @ np.array([[1, 0.9, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0, 1]])
    label = (rng.random(9_000) < to_probability(design @ [1.0, -2.0, 0.5, 0.0] - 1.0)).astype(np.float64)
    penalties = [1000.0, 30.0, 1.0]
    path = fit_ridge_path(design, label, penalties)
    for penalty, found in zip(penalties, path, strict=True):
        peer = LogisticRegression(C=1.0 / penalty, tol=1e-8).fit(design, label)
        expected = [*peer.intercept_.tolist(), *peer.coef_[0].tolist()]
        assert found.tolist() == pytest.approx(expected, abs=0.01)
        assert fit_ridge_path(design, label, [penalty])[0].tolist() == pytest.approx(expected, abs=0.01)


def test_curves_hold_still_beyond_what_was_seen_and_give_missing_its_own_value() -> None:
    rows = simulate(400)
    member = Logistic().fit(coded(rows), {"ramps": 8, "penalty": 1.0}).document
    age = next(term for term in member["terms"] if term["column"] == "age")
    assert age["knots"][0] == rows.frame["age"].min()
    assert age["values"][0] > age["values"][-1]  # the older, the less likely
    assert age["values"][0] > age["missing"] > age["values"][-1]
    assert "same" not in [term["column"] for term in member["terms"]]


def test_a_rare_level_shares_a_value_with_the_unseen() -> None:
    region = ["north"] * 50 + ["south"] * 48 + ["rare"] * 2
    label = np.array([1.0, 0.0] * 50)
    frame = pd.DataFrame({"region": region})
    design = make_design(coded(TrainingSet(frame, label)))
    table = design.bases[0].table  # north, rare, south, unseen, missing
    assert table[1].tolist() == table[3].tolist()
    assert table[0].tolist() != table[1].tolist()


def test_a_target_encoding_is_shrunk_to_the_base_rate() -> None:
    codes, label = np.array([0, 0, 0, 0, 1, -1, -1]), np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0])
    found = fit_target_encoding(codes, label, 2, strength=2.0)
    base = 5.5 / 8  # five of seven, with half a row on either side
    assert to_probability(found.levels).tolist() == pytest.approx([(4 + 2 * base) / 6, (0 + 2 * base) / 3])
    assert to_probability(np.array([found.missing, found.unseen])).tolist() == pytest.approx([(1 + 2 * base) / 4, base])


def test_a_cross_fitted_encoding_does_not_know_its_own_group() -> None:
    generator = np.random.default_rng(0)
    label = (generator.random(300) < 0.5).astype(float)
    names = [f"customer {at}" for at in range(300)]
    rows = coded(TrainingSet(pd.DataFrame({"name": names}), label))
    encoded = cross_fit_target_encoding(rows, "name", 300, 1.0, seed=0)
    assert np.ptp(encoded) < 0.1  # every row is new to the others: near the base rate, whatever its label


def test_declared_directions_hold_in_the_trees() -> None:
    rows = replace(simulate(600), directions={"age": 1})  # against the data
    setting = BoostedTrees().settings(coded(rows))[4]
    model = fit_choice(Choice("lightgbm", setting, {"kind": "identity"}), rows).bundle
    frame = pd.concat([rows.frame.head(1)] * 50, ignore_index=True).assign(age=np.linspace(-3, 3, 50))
    assert (np.diff(model.log_odds(frame)) >= 0).all()


def test_bins_are_steps_that_hold_still_within_and_beyond() -> None:
    # sixty rows at 1, 2 and 3; only at 3 is the event likely: one cut, at 2.5, and an own value for missing
    amount = np.append(np.repeat([1.0, 2.0, 3.0], 20), [np.nan] * 20)
    label = np.concatenate([np.tile([0.0, 0.0, 0.0, 1.0], 10), np.tile([1.0, 1.0, 1.0, 0.0], 10)])
    rows = TrainingSet(pd.DataFrame({"amount": amount}), label)
    bundle = fit_choice(Choice("binned", {"penalty": 3.0}, {"kind": "identity"}), rows).bundle
    found = bundle.log_odds(pd.DataFrame({"amount": [-9.0, 1.0, 2.5, 2.500001, 3.0, 99.0, np.nan]})).tolist()
    assert found[0] == found[1] == found[2] < found[3] == found[4] == found[5]
    assert found[6] == pytest.approx(found[5])  # twenty rows at 3 and twenty without a value, both three in four


def test_a_category_without_rows_is_the_base_rate_to_bins() -> None:
    rows = TrainingSet(pd.DataFrame({"region": ["north", "south"] * 40}), np.tile([1.0, 0.0, 1.0, 1.0], 20))
    term = Binned().fit(coded(rows), {"penalty": 1.0}).document["terms"][0]
    assert term["values"][0] > term["unseen"] > term["values"][1]
