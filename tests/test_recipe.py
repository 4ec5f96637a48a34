"""The recipe on small simulated frames: what it chooses, and what it refuses."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.errors import DataError
from models.binned import Binned
from models.boosted_trees import BoostedTrees
from models.candidate import Member
from models.logistic import Logistic
from models.predict import to_probability
from models.recipe import Evaluation, RecipeSettings, evaluate, refit
from models.training_set import TrainingSet

QUICK = RecipeSettings(resamples=20)
MEMBERS = ["logistic", "binned", "lightgbm"]
NEWEST = [f"{name}_{memory}" for memory in ("newest_half", "newest_quarter") for name in MEMBERS]
NAMES = ["base_rate", "single_column", *MEMBERS, *NEWEST, "blend"]


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

    found = evaluate(strong(simulate(2000)), strong(simulate(200, seed=1)), QUICK)
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


def test_a_model_that_ends_in_one_score_for_everybody_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = Member({"kind": "linear", "intercept": 0.5, "terms": []})
    monkeypatch.setattr(Logistic, "fit", lambda self, rows, setting: flat)
    monkeypatch.setattr(Binned, "fit", lambda self, rows, setting: flat)
    monkeypatch.setattr(BoostedTrees, "fit", lambda self, rows, setting: flat)
    found = evaluate(simulate(900), simulate(200, seed=1), QUICK)
    assert found.selected == "single_column"
    assert any("was passed over" in note for note in found.notes)


def test_a_refit_that_gives_everybody_the_same_score_is_refused(evaluation: Evaluation) -> None:
    rows = simulate(300)
    empty = replace(rows, frame=rows.frame.assign(amount=1.0, age=1.0, region="north"))
    with pytest.raises(DataError, match="gives everybody the same score"):
        refit(evaluation, empty)


def test_labels_that_were_not_known_when_the_test_begins_are_noted() -> None:
    rows = simulate(200)
    found = evaluate(rows, replace(simulate(100, seed=1), time=np.full(100, np.datetime64("2024-06-15", "us"))), QUICK)
    late = int((np.asarray(rows.time) == np.datetime64("2024-06-01", "us")).sum())
    assert found.notes == (
        f"The horizon of {late} training rows ends after the test begins: their labels were not known then.",
    )
