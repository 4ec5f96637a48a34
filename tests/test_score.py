"""Scoring: the same extract gives the same scores, reasons that add up, and the values people can look up."""

import json
import math
import re
import shutil
from unittest.mock import patch

import pandas as pd
import pytest
from small_crm import CHURN_ONLY, World

from pipeline.ledger import SCORE_COLUMNS, open_ledger

KEY = ["target", "entity_id"]


def read_scores(world: World) -> pd.DataFrame:
    """Scores of the one run of a world, as its Parquet file has them."""
    (path,) = (world.state / "runs").glob("*/scores.parquet")
    return pd.read_parquet(path).sort_values(KEY, ignore_index=True)


@pytest.fixture(scope="module")
def scores(finished: World) -> pd.DataFrame:
    return read_scores(finished)


@pytest.fixture(scope="module")
def reasons(scores: pd.DataFrame) -> list[list[dict]]:
    return [json.loads(text) for text in scores["reasons"]]


def test_a_run_has_one_row_per_open_deal_and_per_recent_customer(finished: World, scores: pd.DataFrame):
    open_deals = finished.sql("SELECT deal_id FROM deals, clock WHERE closed_at_known_at IS NULL AND known_at < now")
    customers = finished.sql(
        "SELECT DISTINCT customer_id FROM orders, clock WHERE quantity > 0 AND orders.known_at < now "
        "AND occurred_at >= datetime(now, '-365 days')"
    )
    found = {name: set(rows["entity_id"]) for name, rows in scores.groupby("target")}
    assert found == {"conversion": {key for (key,) in open_deals}, "churn": {key for (key,) in customers}}
    assert list(scores.columns) == list(SCORE_COLUMNS)
    assert set(scores["as_of"]) == {pd.Timestamp("2025-06-30 22:00:00")}  # the extract's data_end
    assert set(scores["horizon_days"]) == {90}


def test_the_reasons_of_every_row_sum_to_its_log_odds(scores: pd.DataFrame, reasons: list[list[dict]]):
    sums = [math.fsum(reason["contribution"] for reason in row) for row in reasons]
    assert sums == pytest.approx(scores["log_odds"].tolist(), abs=1e-9)
    assert {row[-1]["feature"] for row in reasons} == {"everything else"}
    assert max(map(len, reasons)) == 7  # three for, three against, the rest


def test_the_probability_is_the_sigmoid_of_the_log_odds(scores: pd.DataFrame):
    assert scores["probability"].tolist() == pytest.approx([1 / (1 + math.exp(-x)) for x in scores["log_odds"]])
    assert scores["probability"].between(0, 1, inclusive="neither").all()


def test_the_values_in_all_reasons_are_those_of_the_feature_frame(
    finished: World, scores: pd.DataFrame, reasons: list[list[dict]]
):
    (folder,) = (finished.state / "runs").iterdir()
    frames = {
        name: pd.read_parquet(folder / f"features_{name}.parquet").set_index("entity_id")
        for name in ("conversion", "churn")
    }
    for target, entity, row in zip(scores["target"], scores["entity_id"], reasons, strict=True):
        for reason in row[:-1]:
            value = frames[target].loc[entity, reason["feature"]]
            assert (reason["value"] is None and pd.isna(value)) or reason["value"] == value


@pytest.mark.parametrize("target", ["conversion", "churn"])
def test_the_values_in_reasons_are_those_that_features_show_prints(
    finished: World, scores: pd.DataFrame, reasons: list[list[dict]], target: str
):
    at = scores.index[scores["target"] == target][3]
    shown = finished.run(
        "features show", "--entity", scores["entity_id"][at], "--at", str(scores["as_of"][at]), "--json"
    ).document
    features = {feature["name"]: feature for feature in shown["features"]}
    assert shown["target"] == target
    for reason in reasons[at][:-1]:
        feature = features[reason["feature"]]
        assert feature["value"] == reason["value"]  # the same bits
        assert reason["value"] is None or (feature["en"], feature["zh"]) == (reason["en"], reason["zh"])


def test_the_ledger_has_the_rows_of_the_parquet_file(finished: World, scores: pd.DataFrame):
    with open_ledger(finished.state / "ledger.db") as ledger:
        run = ledger.latest_run("score", "done")
        assert run is not None
        assert dict(run.details)["rows"] == len(scores)
        pd.testing.assert_frame_equal(ledger.scores(run.run_id), scores, check_dtype=False)
    assert json.loads(run.config_text) == json.loads(
        (finished.state / "runs" / run.run_id / "config.json").read_text(encoding="utf-8")
    )


def test_each_row_names_the_model_and_the_card_that_judged_it(finished: World, scores: pd.DataFrame):
    judges = scores[["target", "model_version", "card", "card_version"]].drop_duplicates().to_numpy().tolist()
    assert judges == [["churn", "1", "starter_customer", "1"], ["conversion", "1", "starter_deal", "1"]]
    bundles = {path.name for path in (finished.state / "bundles").iterdir()}
    assert set(scores["bundle_sha256"]) == bundles


def test_the_same_extract_is_not_scored_again(world: World):
    before = {path: path.stat().st_mtime_ns for path in (world.state / "runs").rglob("*")}
    (run,) = (world.state / "runs").iterdir()
    answer = world.run("score", "--json").document
    assert (answer["run_id"], answer["is_new"]) == (run.name, False)
    assert {path: path.stat().st_mtime_ns for path in (world.state / "runs").rglob("*")} == before
    assert world.run("score").out.endswith("(scored before, unchanged)\n")


def test_scoring_anew_gives_the_same_run_and_the_same_scores(world: World, scores: pd.DataFrame):
    (run,) = (world.state / "runs").iterdir()
    shutil.rmtree(run)  # as when its retention has ended
    (world.state / "runs" / ".part-score-killed").mkdir()
    answer = world.run("score", "--json").document
    assert (answer["run_id"], answer["is_new"]) == (run.name, True)
    assert answer["rows"] == {name: int((scores["target"] == name).sum()) for name in ("conversion", "churn")}
    pd.testing.assert_frame_equal(read_scores(world), scores, check_exact=True)
    assert [path.name for path in (world.state / "runs").iterdir()] == [run.name]  # what a killed job left is gone


def test_a_run_that_was_killed_before_the_ledger_had_its_scores_is_done_again(world: World, scores: pd.DataFrame):
    world.sql("UPDATE runs SET state = 'running', finished_at = NULL", file="state/small/ledger.db")
    world.sql("DELETE FROM scores", file="state/small/ledger.db")
    answer = world.run("score", "--json").document
    assert answer["is_new"] is True
    with open_ledger(world.state / "ledger.db") as ledger:
        (run,) = ledger.runs()
        assert (run.run_id, run.state) == (answer["run_id"], "done")
        pd.testing.assert_frame_equal(ledger.scores(run.run_id), scores, check_dtype=False, check_exact=True)


def score_churn(world: World) -> pd.DataFrame:
    """Score, and return what the ledger has of the run."""
    answer = world.run("score", "--json").document
    assert answer["is_new"] is True
    with open_ledger(world.state / "ledger.db") as ledger:
        return ledger.scores(answer["run_id"])


def test_another_card_is_another_run_and_the_first_one_stays(world: World, scores: pd.DataFrame):
    world.change_config(**CHURN_ONLY)
    card = world.folder / "configs" / "scorecards" / "starter_customer.yaml"
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace('version: "1"', 'version: "2"'), encoding="utf-8")
    new = score_churn(world)
    assert new["card_version"].unique().tolist() == ["2"]
    assert new["probability"].tolist() == scores[scores["target"] == "churn"]["probability"].tolist()
    card.write_text(card.read_text(encoding="utf-8") + "# a comment changes nothing\n", encoding="utf-8")
    assert world.run("score", "--json").document["is_new"] is False
    with open_ledger(world.state / "ledger.db") as ledger:
        assert len(ledger.scores(scores["run_id"][0])) == len(scores)


def test_a_target_that_has_nobody_tonight_does_not_stop_the_others(world: World):
    from features.spine import build_scoring_spine

    def nobody_is_open(tables, target):
        spine = build_scoring_spine(tables, target)
        return spine.iloc[:0] if target.name == "conversion" else spine

    shutil.rmtree(world.state / "runs")
    with patch("pipeline.score.build_scoring_spine", nobody_is_open):
        answer = world.run("score")
    assert (answer.code, answer.err) == (0, "")
    assert re.search(r": 0 conversion, [1-9]\d* churn", answer.out)
    world.change_config(seed=8)
    with patch("pipeline.score.build_scoring_spine", lambda tables, target: nobody_is_open(tables, target).iloc[:0]):
        answer = world.run("score")
    assert answer.code == 3
    assert "At 2025-06-30 22:00:00 nobody is eligible for conversion, churn" in answer.err


def test_a_deployment_without_cards_is_scored_by_its_models_alone(world: World, scores: pd.DataFrame):
    world.change_config(**CHURN_ONLY, targets__churn__scorecard=None)
    new = score_churn(world)
    assert new["probability"].tolist() == scores[scores["target"] == "churn"]["probability"].tolist()
    assert new[["points", "grade", "coverage", "card", "card_version"]].isna().all(axis=None)
