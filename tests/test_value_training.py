"""A target of kind `value` from the config to the score, the CRM and MLflow."""

import json
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from small_crm import Answer, World, copy_world

from models.base_rate import BaseRate
from models.logistic import Logistic
from models.predict import load_bundle
from models.training_set import TrainingSet, load_training_set
from pipeline.errors import ConfigError
from pipeline.ledger import open_ledger
from pipeline.registry import open_mlflow, read_champion
from pipeline.value_training import past_revenue_column

VALUE = {
    "kind": "value",
    "lookback_days": 365,
    "horizons_days": [90],
    "spine": {"grid": "month", "start": "2024-06-01"},
}
WRITE_BACK = {"target": "customers", "key": "customer_id", "fields": {"churn_risk": "value"}, "decimals": 2}
GRIDS = {
    "models.value_candidates": {"TREES": (20, 60), "CAPS": (0.99,), "POWERS": (1.5,), "PENALTIES": (30.0,)},
    "models.hurdle": {"TREES": (20, 60), "LEAVES": (4,), "CANDIDATES": (BaseRate(), Logistic())},
}
FIGURES = {"mae", "rmse", "deviance", "spearman", "gini", "captured_at_10", "predicted_over_observed"}


@pytest.fixture(scope="module")
def told(finished: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, dict[str, Answer]]:
    """A small CRM with one target, trained and scored with few settings, and what the commands said."""
    world = copy_world(finished, tmp_path_factory.mktemp("value") / "small")
    world.change_config(targets={"value": VALUE}, write_back__tables={"value": WRITE_BACK})
    with ExitStack() as stack:
        for module, values in GRIDS.items():
            stack.enter_context(patch.multiple(module, **values))
        stack.enter_context(patch.object(Logistic, "settings", return_value=[{"ramps": 0, "penalty": 30.0}]))
        shown = world.run("train")
    return world, {"train": shown, "score": world.run("score", "--json"), "plan": world.run("writeback plan", "--json")}


@pytest.fixture(scope="module")
def trained(told: tuple[World, dict[str, Answer]]) -> World:
    return told[0]


def test_people_see_what_was_compared(told: tuple[World, dict[str, Answer]]):
    shown = told[1]["train"]
    assert shown.code == 0, shown.err
    assert "chosen among candidates out of fold on the training rows\n" in shown.out
    assert "predicted / observed" in shown.out
    assert "past_revenue" in shown.out
    assert "the tenth of the customers with the highest predictions brought in " in shown.out


def test_the_model_is_registered_as_champion_and_the_decision_noted(trained: World):
    champion = read_champion(trained.config, "value")
    assert champion is not None
    with open_ledger(trained.state / "ledger.db") as ledger:
        decision = ledger.decisions("value")[0]
    assert (decision.outcome, decision.details["bundle_sha256"]) == ("champion", champion.bundle_sha256)
    manifest = json.loads((champion.folder / "manifest.json").read_text(encoding="utf-8"))
    rows = load_training_set(trained.state / "training" / "value")
    assert manifest["task"] == "value"
    assert manifest["fitted_on"]["sha256"] == rows.sha256
    assert set(manifest["test"]) >= FIGURES
    assert manifest["input"]["columns"]["orders_amount_90d"]["unit"] == "currency"
    assert rows.label.max() > 100  # money, no 0 and 1
    assert rows.directions["orders_days_since_last"] == +1  # as for churn
    assert sorted(path.suffix for path in champion.folder.iterdir() if path.suffix == ".pkl") == []


def test_scores_carry_the_value_and_reasons_that_sum_to_its_log(told: tuple[World, dict[str, Answer]]):
    run = told[1]["score"].document
    with open_ledger(told[0].state / "ledger.db") as ledger:
        scores = ledger.scores(run["run_id"])
    assert len(scores) == run["rows"]["value"] > 100
    assert scores[["probability", "log_odds", "probability_low", "probability_high"]].isna().all(axis=None)
    assert (scores["value"] > 0).all()
    sums = [sum(reason["contribution"] for reason in json.loads(row)) for row in scores["reasons"]]
    assert np.exp(sums) == pytest.approx(scores["value"].to_numpy())


def test_a_value_is_explained_to_the_bit(told: tuple[World, dict[str, Answer]]):
    with open_ledger(told[0].state / "ledger.db") as ledger:
        row = ledger.scores(told[1]["score"].document["run_id"]).iloc[0]
    found = told[0].run("explain", row["entity_id"], "--target", "value", "--json").document
    assert (found["is_equal"], found["explained"]) == (True, "log_value")
    assert found["score"]["value"] == row["value"]


def test_before_a_promotion_versions_are_compared_by_their_values(told: tuple[World, dict[str, Answer]]):
    shown = told[0].run("promote", "--target", "value", "--version", "1", "--dry-run", "--json").document
    assert shown["swap"]["rows"] == told[1]["score"].document["rows"]["value"]
    assert shown["swap"]["movers"] == 0  # version 1 is live


def test_the_value_goes_into_a_field_of_the_crm(told: tuple[World, dict[str, Answer]]):
    assert told[1]["plan"].code == 0, told[1]["plan"].err
    (table,) = told[1]["plan"].document["tables"]
    assert (table["table"], table["update"]) == ("customers", told[1]["score"].document["rows"]["value"])


def test_mlflow_has_the_figures_and_a_model_that_says_the_value(trained: World, tmp_path: Path):
    champion = read_champion(trained.config, "value")
    rows = load_training_set(trained.state / "training" / "value")
    example = rows.frame.head(5).astype(dict.fromkeys(rows.frame.select_dtypes("number"), "float64"))
    example.to_parquet(tmp_path / "rows.parquet")
    with open_mlflow(trained.config) as mlflow:
        version = mlflow.MlflowClient().get_model_version("small-value", str(champion.version))
        model = mlflow.pyfunc.load_model(version.source)
        assert [column.name for column in model.metadata.signature.outputs] == ["value"]
        metrics = {one.key for one in mlflow.get_logged_model(model.metadata.model_id).metrics}
        said = model.predict(example)
    assert {f"test_{name}" for name in FIGURES} <= metrics
    expected = load_bundle(champion.folder).value(example)
    assert said["value"].tolist() == expected.tolist()


def test_the_past_window_is_the_one_nearest_to_the_horizon():
    frame = pd.DataFrame({f"orders_amount_{days}d": [1.0] for days in (30, 90, 180, 365)})

    def column(horizon: int, frame: pd.DataFrame = frame) -> str | None:
        return past_revenue_column(TrainingSet(frame, np.ones(1), horizon=horizon))

    assert [column(days) for days in (7, 60, 61, 180, 1000)] == [
        "orders_amount_30d",
        "orders_amount_30d",  # 60 is as near to 90: the shorter one
        "orders_amount_90d",
        "orders_amount_180d",
        "orders_amount_365d",
    ]
    assert column(90, frame[["orders_amount_30d"]]) is None


def test_one_horizon_per_target_of_value(trained: World, tmp_path: Path):
    world = copy_world(trained, tmp_path / "small")
    world.change_config(targets__value__horizons_days=[90, 180])
    with pytest.raises(ConfigError, match=r"kind 'value' takes one of horizons_days\. Name the others in targets"):
        _ = world.config
