"""The recipe on small simulated frames: what it chooses, and what it refuses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.errors import DataError
from models.blend import fit_weight
from models.boosted_trees import BoostedTrees
from models.candidate import Setting
from models.curves import make_design
from models.encoding import CodedRows, code_rows, cross_fit_target_encoding, fit_target_encoding, make_contract
from models.predict import to_probability
from models.recipe import Evaluation, RecipeSettings, evaluate, fit_choice, refit
from models.ridge import fit_ridge_path
from models.selection import select
from models.training_set import TrainingSet
from models.tuning import Trial, try_candidate

QUICK = RecipeSettings(resamples=20)
NAMES = ["base_rate", "single_column", "logistic", "lightgbm", "blend"]


def simulate(rows: int, seed: int = 0, strength: float = 1.0, snapshots: int = 6) -> TrainingSet:
    """Monthly snapshots whose label depends on two numbers (one with holes) and a region."""
    generator = np.random.default_rng(seed)
    amount = np.exp(generator.normal(3.0, 1.5, rows))
    age = generator.normal(0.0, 1.0, rows)
    region = generator.choice(["north", "south", "west"], rows, p=[0.5, 0.3, 0.2])
    log_odds = strength * (0.8 * (np.log(amount) - 3.0) - 0.7 * age + np.where(region == "west", 1.0, 0.0)) - 0.5
    label = (generator.random(rows) < to_probability(log_odds)).astype(float)
    age[generator.random(rows) < 0.1] = np.nan
    months = pd.date_range("2024-01-01", periods=snapshots, freq="MS").to_numpy().astype("datetime64[us]")
    return TrainingSet(
        frame=pd.DataFrame({"amount": amount, "age": age, "region": region, "same": 1.0}),
        label=label,
        time=np.sort(generator.choice(months, rows)),
        horizon=30,
        group=np.array([f"C{at}" for at in generator.integers(0, rows // 2, rows)], dtype=object),
    )


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(simulate(900), simulate(500, seed=1), QUICK)


def test_all_candidates_are_measured_on_the_same_rows(evaluation: Evaluation) -> None:
    assert [one["name"] for one in evaluation.candidates] == NAMES
    assert len({one["rows"] for one in evaluation.candidates}) == 1


def test_something_learnable_is_learned(evaluation: Evaluation) -> None:
    assert evaluation.selected in {"logistic", "lightgbm", "blend"}
    assert evaluation.test["auc"] > 0.75
    assert evaluation.test["log_loss"] < 0.6
    assert evaluation.test["rows"] == len(evaluation.test_probability) == 500


def test_the_document_has_the_promised_keys(evaluation: Evaluation) -> None:
    document = evaluation.to_json()
    assert list(document)[:4] == ["selected", "seconds", "test", "candidates"]
    metrics = {"rows", "base_rate", "auc", "average_precision", "log_loss", "brier", "calibration_error"}
    for figures in (document["test"], *document["candidates"]):
        assert metrics | {"lift_at_10", "interval"} <= set(figures)
    assert document["folds"] == "3 time"  # 1 March has the snapshots until 30 January behind it: too few


def test_the_same_data_gives_the_same_decision_and_the_same_model(evaluation: Evaluation) -> None:
    again = evaluate(simulate(900), simulate(500, seed=1), QUICK)
    assert again.choice == evaluation.choice
    assert again.fitted.texts == evaluation.fitted.texts
    assert again.fitted.model == evaluation.fitted.model


def test_the_test_rows_do_not_touch_the_choice(evaluation: Evaluation) -> None:
    other = evaluate(simulate(900), simulate(300, seed=2, strength=-1.0), QUICK)
    assert other.choice == evaluation.choice
    assert other.fitted.model == evaluation.fitted.model


def test_noise_ends_in_the_base_rate() -> None:
    found = evaluate(simulate(800, strength=0.0), simulate(300, seed=1, strength=0.0), QUICK)
    assert found.selected == "base_rate"
    assert len(set(found.test_probability.tolist())) == 1
    assert found.choice.calibrator["kind"] == "identity"


def test_one_strong_column_needs_no_other_model() -> None:
    generator = np.random.default_rng(5)

    def strong(rows: TrainingSet) -> TrainingSet:
        says_so = np.where(generator.random(len(rows)) < 0.9, rows.label, 1 - rows.label) == 1
        noise = generator.normal(size=len(rows))
        return replace(rows, frame=pd.DataFrame({"noise": noise, "answer": np.where(says_so, "yes", "no")}))

    found = evaluate(strong(simulate(500)), strong(simulate(200, seed=1)), QUICK)
    assert (found.selected, found.choice.setting) == ("single_column", {"column": "answer"})


def test_refit_keeps_the_settings_and_records_both_sets(evaluation: Evaluation) -> None:
    everything = simulate(1400, seed=3)
    fitted = refit(evaluation, everything)
    assert fitted.choice == evaluation.choice
    assert fitted.fitted_on["rows"] == 1400
    assert fitted.manifest["evaluated_on"]["rows"] == 500
    assert fitted.manifest["test"] == evaluation.test


def test_importances_name_the_columns_that_matter(evaluation: Evaluation) -> None:
    found = evaluation.fitted.importances(simulate(100, seed=4).frame)
    assert found["amount"] > found["same"] == 0.0


@pytest.mark.parametrize("rows", [20, 40, 80])
def test_little_data_is_no_reason_to_fail(rows: int) -> None:
    found = evaluate(simulate(rows, snapshots=3), simulate(100, seed=1), QUICK)
    assert np.isfinite(found.test["log_loss"])


def test_a_handful_of_positives_is_no_reason_to_fail() -> None:
    rows = simulate(60, snapshots=1)
    label = np.zeros(60)
    label[:2] = 1.0
    assert evaluate(replace(rows, label=label), simulate(100, seed=1), QUICK).selected == "base_rate"


def test_one_class_is_refused() -> None:
    rows = simulate(60)
    with pytest.raises(DataError, match="hold only label 0, expected both 0 and 1"):
        evaluate(replace(rows, label=np.zeros(60)), rows, QUICK)
    with pytest.raises(DataError, match="The 60 test rows hold only label 0"):
        evaluate(rows, replace(rows, label=np.zeros(60)), QUICK)


def trial(name: str, *log_odds: float) -> Trial:
    part = np.array(log_odds)
    return Trial(name, {}, (part,), (part,))


LABEL = np.array([1.0, 0.0] * 20)
RIGHT = np.where(LABEL == 1.0, 2.0, -2.0)


def test_the_simplest_candidate_within_noise_of_the_best_is_chosen() -> None:
    noise = np.tile([0.5, -0.5, -0.5, 0.5], 10)  # helps two rows as much as it hurts two others
    trials = [trial("base_rate", *np.zeros(40)), trial("logistic", *RIGHT + noise), trial("blend", *RIGHT - noise)]
    assert select(trials, LABEL, np.arange(40)).name == "logistic"
    better = [*trials[:2], trial("blend", *2 * RIGHT)]
    assert select(better, LABEL, np.arange(40)).name == "blend"


def test_a_constant_score_is_never_chosen() -> None:
    trials = [trial("base_rate", *np.zeros(40)), trial("lightgbm", *np.full(40, 0.01))]
    assert select(trials, LABEL, np.arange(40)).name == "base_rate"


def test_rows_of_one_customer_are_one_piece_of_evidence() -> None:
    trials = [trial("base_rate", *np.zeros(40)), trial("logistic", *RIGHT / 4)]
    assert select(trials, LABEL, np.arange(40)).name == "logistic"
    right_for_one = np.where(np.arange(40) < 20, RIGHT, -RIGHT / 8)
    two_customers = np.repeat([0, 1], 20)
    trials = [trial("base_rate", *np.zeros(40)), trial("logistic", *right_for_one)]
    assert select(trials, LABEL, np.arange(40)).name == "logistic"
    assert select(trials, LABEL, two_customers).name == "base_rate"


def test_a_blend_leans_on_a_member_only_with_many_rows() -> None:
    generator = np.random.default_rng(0)
    raw = generator.normal(size=20_000)
    label = (generator.random(20_000) < to_probability(raw)).astype(float)
    noise = generator.normal(size=20_000)
    assert fit_weight(raw[:50], noise[:50], label[:50]) == pytest.approx(0.5, abs=0.1)
    assert fit_weight(raw, noise, label) > 0.85


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

    from models.split import make_folds

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


def test_curves_hold_still_beyond_what_was_seen_and_give_missing_its_own_value() -> None:
    rows = simulate(400)
    from models.logistic import Logistic

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
    from models.recipe import Choice

    model = fit_choice(Choice("lightgbm", setting, {"kind": "identity"}), rows).bundle
    frame = pd.concat([rows.frame.head(1)] * 50, ignore_index=True).assign(age=np.linspace(-3, 3, 50))
    assert (np.diff(model.log_odds(frame)) >= 0).all()
