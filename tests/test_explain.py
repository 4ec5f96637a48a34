"""`leadsieve explain`: the score of a day, to the bit, what it is made of, and what moved it."""

import hashlib
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pytest
from small_crm import CHURN_ONLY, CONFIG, ROOT, World

from pipeline.explain import explain
from pipeline.ledger import open_ledger
from pipeline.lock import hold_lock
from pipeline.past_score import describe_score, load_past_score, plain_row
from pipeline.registry import Champion, bundle_hash, read_champion

LEDGER = "state/small/ledger.db"
DAY = "2025-06-30"


@pytest.fixture(scope="module")
def scores(finished: World) -> pd.DataFrame:
    with open_ledger(finished.state / "ledger.db") as ledger:
        return ledger.scores(ledger.latest_scored_run().run_id)


@pytest.fixture(scope="module")
def customer(scores: pd.DataFrame) -> str:
    return str(scores[scores["target"] == "churn"]["entity_id"].iloc[0])


@pytest.fixture(scope="module")
def document(finished: World, customer: str) -> dict[str, Any]:
    return finished.run("explain", customer, "--json").document


def test_every_score_of_the_ledger_comes_out_again_to_the_bit(finished: World, scores: pd.DataFrame) -> None:
    rows = [plain_row(row) for _, row in scores.iloc[::9].iterrows()]
    again = [load_past_score(finished.config, row) for row in rows]
    assert {one.row["target"] for one in again} == {"churn", "conversion"}
    assert [one.differences() for one in again] == [[]] * len(rows)
    assert [one.recompute()["log_odds"] for one in again] == [row["log_odds"] for row in rows]  # not merely close
    assert [one.recompute()["grade"] for one in again] == [row["grade"] for row in rows]


def test_all_contributions_sum_to_the_log_odds_and_are_in_words(document: dict[str, Any]) -> None:
    parts = document["contributions"]
    assert math.fsum(one["contribution"] for one in parts) == pytest.approx(document["score"]["log_odds"], abs=1e-15)
    assert parts[-1]["feature"] == "base"
    sizes = [abs(one["contribution"]) for one in parts[:-1]]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) > 10  # all of them, not the six that are stored
    assert all(one["en"] and one["zh"] and one["en"] != one["zh"] for one in parts)


def test_the_stored_reasons_are_among_the_contributions(
    document: dict[str, Any], scores: pd.DataFrame, customer: str
) -> None:
    stored = json.loads(scores.set_index("entity_id")["reasons"][customer])[:-1]
    found = {one["feature"]: one for one in document["contributions"]}
    for one in stored:
        assert found[one["feature"]] == {**one, "contribution": pytest.approx(one["contribution"], abs=1e-9)}


def test_the_points_of_the_criteria_sum_to_those_of_the_card(document: dict[str, Any]) -> None:
    assert sum(document["points"].values()) == pytest.approx(document["score"]["points"])
    assert document["is_equal"] is True
    assert document["change"] is None  # there is one score only


def test_what_a_person_reads_ends_in_the_log_odds(finished: World, customer: str) -> None:
    short, long = finished.run("explain", customer).out, finished.run("explain", customer, "--all").out
    assert "computed again: equal to the ledger to the bit" in short
    assert "smaller ones (--all)" in short
    assert "smaller ones" not in long
    assert len(long.splitlines()) > len(short.splitlines())
    for text in (short, long):
        assert "where everybody starts" in text
        assert "= log-odds" in text


@pytest.mark.parametrize(
    ("at", "code"),
    [
        ("2025-06-30", 0),  # the whole day (UTC)
        ("2025-06-30T22:00:00", 0),  # its very moment
        ("2025-07-01 00:00:00+02:00", 0),  # the same one
        ("2025-06-30 21:59:59", 3),
        ("2025-06-29", 3),
        ("monday", 2),
    ],
)
def test_a_score_is_found_by_day_or_moment(finished: World, customer: str, at: str, code: int) -> None:
    answer = finished.run("explain", customer, "--at", at)
    assert answer.code == code
    if code == 3:
        assert f"'{customer}' had no score at" in answer.err
        assert "it got its first at 2025-06-30 22:00:00" in answer.err


def test_an_unknown_entity_is_told_the_nearest_ids(finished: World, customer: str) -> None:
    answer = finished.run("explain", customer[:-1])
    assert answer.code == 3
    assert f"'{customer[:-1]}' has no score in the ledger. Did you mean 'C" in answer.err
    answer = finished.run("explain", customer, "--target", "conversion")
    assert (answer.code, "has no score of target 'conversion'" in answer.err) == (3, True)
    answer = finished.run("explain", customer, "--target", "convertion")
    assert (answer.code, "Target 'convertion' is not in the config" in answer.err) == (2, True)


def test_no_lock_is_needed_and_nothing_changes(finished: World, customer: str) -> None:
    before = finished.fingerprint()
    with hold_lock(finished.state, "a long job"):
        assert finished.run("explain", customer).code == 0
    assert finished.fingerprint() == before


def test_mlflow_is_not_imported(finished: World, customer: str) -> None:
    program = "import sys; from pipeline.cli import main; main(); assert 'mlflow' not in sys.modules"
    command = [sys.executable, "-c", program, "explain", customer, "--config", CONFIG, "--json"]
    answer = subprocess.run(
        command, cwd=finished.folder, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)}
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["is_equal"] is True


def test_a_run_that_was_removed_is_named_with_what_the_ledger_still_says(world: World, customer: str) -> None:
    (run,) = (world.state / "runs").iterdir()
    shutil.rmtree(run)
    answer = world.run("explain", customer, "--at", DAY)
    assert answer.code == 3
    assert f"The score of '{customer}' at 2025-06-30 22:00:00 (probability 0." in answer.err
    assert "features_churn.parquet is gone, which held the features of that run. Restore" in answer.err


def test_a_bundle_that_is_gone_or_changed_is_named(world: World, customer: str) -> None:
    with open_ledger(world.state / "ledger.db") as ledger:
        sha256 = ledger.entity_scores(customer)["bundle_sha256"][0]
    bundle = world.state / "bundles" / sha256
    model = (bundle / "model.json").read_text(encoding="utf-8")
    (bundle / "model.json").write_text(model + " ", encoding="utf-8")
    answer = world.run("explain", customer)
    assert (answer.code, "it was changed after it was saved" in answer.err) == (3, True)
    shutil.rmtree(bundle)
    answer = world.run("explain", customer)
    assert answer.code == 3
    assert f"{sha256} is gone, the bundle of model version 1. Bring it back" in answer.err


def test_a_card_that_is_gone_costs_the_points_alone(world: World, customer: str) -> None:
    (run,) = (world.state / "runs").iterdir()
    (run / "card_churn.json").unlink()
    assert world.run("explain", customer).code == 0  # the config's card is of that version
    card = world.folder / "configs" / "scorecards" / "starter_customer.yaml"
    card.write_text(card.read_text(encoding="utf-8").replace('version: "1"', 'version: "2"'), encoding="utf-8")
    answer = world.run("explain", customer, "--json")
    assert answer.code == 3
    assert "the config does not name version 1 of card 'starter_customer'. Restore either." in answer.err
    document = json.loads(answer.out)
    assert document["is_equal"] is False
    assert document["recomputed"]["log_odds"] == document["score"]["log_odds"]  # the model is there and says the same
    assert "points" not in document["recomputed"]


def test_a_score_that_does_not_come_out_again_ends_in_1_and_says_by_how_much(world: World, customer: str) -> None:
    changes = "log_odds = log_odds + 1e-12, grade = 'A', flags = 'x'"
    world.sql(f"UPDATE scores SET {changes} WHERE entity_id = ?", customer, file=LEDGER)
    answer = world.run("explain", customer)
    assert answer.code == 1
    assert "NOT equal to the ledger" in answer.out
    assert f"The score of '{customer}' at 2025-06-30 22:00:00 does not come out as it was: log_odds is -" in answer.err
    assert ", in the ledger 'A'; flags is None, in the ledger 'x'. Compare the versions" in answer.err


def test_a_forgotten_entity_has_nothing_to_explain(world: World, customer: str) -> None:
    assert world.run("forget", customer, "--yes").code == 0
    answer = world.run("explain", customer)
    assert (answer.code, answer.err) == (
        3,
        f"Error: '{customer}' was forgotten, with its scores. Nothing is left to explain.\n",
    )


def test_a_night_in_which_an_order_came_and_for_others_only_time_passed(world: World) -> None:
    world.change_config(**CHURN_ONLY)
    world.pass_a_day()  # one customer orders
    assert world.run("extract").code == 0
    assert world.run("score").code == 0
    ((buyer,),) = world.sql("SELECT customer_id FROM orders WHERE order_id = 'O-new'")
    change = world.run("explain", buyer, "--json").document["change"]
    parts = change["parts"]
    assert math.fsum(parts.values()) == pytest.approx(change["log_odds"], abs=1e-15)
    assert (parts["model"], parts["calibration"]) == (0.0, 0.0)  # the same bundle
    assert change["previous"]["as_of"] == "2025-06-30 22:00:00"
    by_name = {one["feature"]: one for one in change["features"]}
    assert by_name["orders_count"]["after"] == by_name["orders_count"]["before"] + 1
    assert by_name["orders_count"]["time"] == 0.0  # nothing but the order moves a count
    assert by_name["orders_count"]["data"] != 0.0
    assert by_name["orders_days_since_last"]["data"] != 0.0
    for step in ("time", "data"):
        assert math.fsum(one[step] for one in change["features"]) == pytest.approx(parts[step], abs=1e-12)
    with open_ledger(world.state / "ledger.db") as ledger:
        others = ledger.scores(ledger.latest_scored_run().run_id).set_index("entity_id").drop(buyer).index[:1]
        told = [explain(world.config, ledger, str(other)) for other in others]
    for one in told:  # of whom nothing became known
        assert one.notes == ()
        assert one.split is not None
        assert one.split.parts == {"time": one.split.log_odds, "data": 0.0, "model": 0.0, "calibration": 0.0}
        assert one.split.log_odds != 0.0


def test_another_model_of_the_same_tables_is_model_and_calibration_alone(world: World, customer: str) -> None:
    """The second bundle is the first one, recalibrated by half a unit of log-odds."""
    world.change_config(**CHURN_ONLY)
    champion = read_champion(world.config, "churn")
    assert champion is not None
    shifted = shift_bundle(champion.folder, world.state / "bundles", 0.5)
    with patch("pipeline.judging.read_champion", return_value=Champion(2, shifted.name, shifted)):
        assert world.run("score", "--json").document["is_new"] is True
    document = world.run("explain", customer, "--json").document
    assert (document["model_version"], document["change"]["previous"]["model_version"]) == ("2", "1")
    assert document["is_equal"] is True
    parts = document["change"]["parts"]
    assert [parts[name] for name in ("time", "data", "model")] == [0.0, 0.0, 0.0]
    assert parts["calibration"] == pytest.approx(0.5)
    assert document["change"]["features"] == []


def shift_bundle(source: Path, bundles: Path, shift: float) -> Path:
    """Save a bundle again with a calibrator that says more."""
    model = json.loads((source / "model.json").read_text(encoding="utf-8"))
    calibrator = model["calibrator"]
    if calibrator["kind"] == "sigmoid":
        calibrator["intercept"] += shift
    elif calibrator["kind"] == "identity":
        model["calibrator"] = {"kind": "sigmoid", "intercept": shift, "slope": 1.0}
    else:
        calibrator["y"] = [y + shift for y in calibrator["y"]]
    text = json.dumps(model)
    manifest = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["model.json"] = hashlib.sha256(text.encode()).hexdigest()
    part = bundles / "part"
    shutil.copytree(source, part)
    (part / "model.json").write_text(text, encoding="utf-8")
    (part / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return part.rename(bundles / bundle_hash(part))


def test_a_score_is_described_by_what_it_has() -> None:
    assert describe_score({"probability": None, "points": 61.25, "grade": "A"}) == "points 61.25, grade A"
    assert describe_score({"probability": None, "points": None, "grade": None}) == "no value"
