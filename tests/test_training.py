"""From tables to a training set and a registered model, and what stops on the way."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
from conftest import make_config, make_tables
from small_crm import CHURN_ONLY, CONFIG, SIMPLE, World, only_candidates

from features.errors import DataError
from features.tables import CrmTables
from models.training_set import TrainingSet, load_training_set
from pipeline import __version__
from pipeline.config import Config
from pipeline.ledger import open_ledger
from pipeline.registry import read_champion
from pipeline.training import make_training_set, train_target

CUSTOMERS = """
customer_id  created_at
C1           2024-01-01
C2           2024-01-01
"""
ORDERS = """
order_id  occurred_at  customer_id  amount
O1        2024-01-10   C1           100
O2        2024-03-10   C1           50
O3        2024-01-20   C2           70
"""
DEALS = """
deal_id  created_at  customer_id  closed_at   outcome  owner_id
D1       2024-01-10  C1           2024-03-10  won      U1
D2       2024-01-20  -            2024-02-20  lost     U1
C1       2024-01-20  -            -           -        U1       # open still, and named like a customer
"""
CHURN = {"kind": "churn", "by": "orders", "horizons_days": [30], "settle_days": 0, "spine": {"grid": "month"}}
CONVERSION = {"kind": "conversion", "horizons_days": [30], "settle_days": 0, "spine": {"grid": "month"}}


def make_world(folder: Path, data_end: str = "2024-05-01", **target: object) -> tuple[Config, CrmTables]:
    """The tables above with one target, named after its kind."""
    rows = {"customers": CUSTOMERS, "orders": ORDERS, "deals": DEALS}
    tables = make_tables(folder, data_end=data_end, **rows)
    config = make_config(folder, {name: {} for name in rows}, targets={str(target["kind"]): target})
    return config, tables


@pytest.fixture(scope="module")
def churn_rows(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    config, tables = make_world(tmp_path_factory.mktemp("churn"), **CHURN)
    return make_training_set(config, tables, "churn")


def test_ripe_snapshots_become_rows_and_others_do_not(churn_rows: TrainingSet):
    days = churn_rows.keys["as_of"].dt.strftime("%Y-%m-%d")
    assert list(zip(churn_rows.keys["entity_id"], days, churn_rows.label, strict=True)) == [
        ("C1", "2024-02-01", 1),  # [02-01, 03-02) has no order: the next one is on 03-10
        ("C1", "2024-03-01", 0),  # ordered on 03-10
        ("C1", "2024-04-01", 1),  # ripe at its very end: 04-01 + 30 days = 05-01, where the data end
        ("C2", "2024-02-01", 1),
        ("C2", "2024-03-01", 1),
        ("C2", "2024-04-01", 1),
    ]  # 2024-01-01 has no customer with a purchase, 2024-05-01 is not ripe
    assert churn_rows.time.tolist() == churn_rows.keys["as_of"].tolist()
    assert churn_rows.horizon == 30


def test_features_are_those_known_at_each_snapshot(churn_rows: TrainingSet):
    assert churn_rows.frame["orders_count"].tolist() == [1, 1, 2, 1, 1, 1]
    assert churn_rows.frame["orders_days_since_last"].tolist() == [22, 51, 22, 12, 41, 72]
    assert churn_rows.frame.index.equals(pd.RangeIndex(6))
    assert not {"entity_id", "as_of", "customer_id"} & set(churn_rows.frame.columns)


def test_the_group_of_a_customer_is_the_customer(churn_rows: TrainingSet):
    assert churn_rows.group.tolist() == ["C1", "C1", "C1", "C2", "C2", "C2"]


def test_directions_are_those_that_the_groups_give_for_this_kind_of_target(churn_rows: TrainingSet):
    assert churn_rows.directions["orders_days_since_last"] == +1
    assert set(churn_rows.directions.values()) <= {-1, +1}
    assert "orders_count" not in churn_rows.directions  # no group is sure of it
    assert set(churn_rows.directions) <= set(churn_rows.frame.columns)


def test_the_manifest_says_where_the_rows_come_from(churn_rows: TrainingSet):
    facts = dict(churn_rows.manifest)
    features, skipped, groups = facts.pop("features"), facts.pop("skipped"), facts.pop("groups")
    assert facts.pop("tables_sha256")
    assert facts == {
        "target": "churn",
        "kind": "churn",
        "horizons_days": [30],
        "data_end": "2024-05-01T00:00:00",
        "catalog_version": __version__,
        "currency": "EUR",
        "unripe": 2,  # both customers on 1 May, when the data end
        "ages_days": [31.0, 91.0],  # both became known on 1 January; looked at from 1 February to 1 April
    }
    assert [feature["name"] for feature in features] == list(churn_rows.frame.columns)
    assert skipped["customer_activity"] == "table 'activities' is not mapped"
    assert skipped["deal_profile"] == "it describes deals"
    assert {"customer_activity", "deal_profile", "order_demand"} <= set(groups)
    json.dumps(churn_rows.manifest)


CARD = """
id: regulars
version: "1"
entity: customer
criteria:
  - id: often
    name: {en: Orders in a year, zh: 一年内订单}
    feature: orders_count_365d
    weight: 100
    bands: [{below: 2, points: 0}, {at_least: 2, points: 100}]
    missing: 0
grades:
  - {id: wanted, at_least: 50, name: {en: wanted, zh: 要}}
  - {id: unwanted, at_least: 0, name: {en: not wanted, zh: 不要}}
"""


def test_the_scorecard_of_a_target_comes_along_with_its_columns(tmp_path: Path):
    (tmp_path / "card.yaml").write_text(CARD, encoding="utf-8")
    config, tables = make_world(tmp_path, **CHURN, scorecard=str(tmp_path / "card.yaml"))
    rows = make_training_set(config, tables, "churn")
    assert rows.card is not None
    assert (rows.card.card.id, rows.card.sign) == ("regulars", -1)  # who is wanted is expected to stay
    # all orders are of the last year: of two equal columns the one that the card reads stays
    assert rows.frame["orders_count_365d"].tolist() == [1, 1, 2, 1, 1, 1]
    assert "orders_count" not in rows.frame


def test_a_deal_without_customer_is_a_group_of_its_own(tmp_path: Path):
    config, tables = make_world(tmp_path, **CONVERSION)
    rows = make_training_set(config, tables, "conversion")
    days = rows.keys["as_of"].dt.strftime("%m-%d")
    assert list(zip(rows.keys["entity_id"], days, rows.label, rows.group, strict=True)) == [
        ("C1", "02-01", 0, "deals C1"),  # not together with the customer C1
        ("C1", "03-01", 0, "deals C1"),
        ("C1", "04-01", 0, "deals C1"),
        ("D1", "02-01", 0, "C1"),  # won on 03-10, later than 03-02
        ("D1", "03-01", 1, "C1"),
        ("D2", "02-01", 0, "deals D2"),
    ]
    assert rows.directions == {"owner_deals_won_rate": +1}  # those of orders are about churn


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            {**CHURN, "lookback_days": 1},
            r"^Target 'churn': nobody is eligible \(no open deal, or no customer with a purchase in the lookback\)\. ",
        ),
        (
            {**CHURN, "horizons_days": [200]},
            r"none of 8 snapshots is ripe: the first label settles on 2024-08-19, 200 days .* end on 2024-05-01\.",
        ),
        (
            {**CONVERSION, "horizons_days": [5]},  # D1 is won on 03-10, later than 03-01 + 5 days
            r"^The 6 ripe rows of target 'conversion' hold only label 0, expected both 0 and 1\. Check the definition",
        ),
        (
            {**CHURN, "lookback_days": 15},  # only C2 bought within 15 days of a month's start, and never again
            r"^The 1 ripe rows of target 'churn' hold only label 1, expected both 0 and 1\. ",
        ),
    ],
)
def test_rows_that_nothing_can_be_learned_from_are_refused(tmp_path: Path, target: dict, expected: str):
    config, tables = make_world(tmp_path, **target)
    with pytest.raises(DataError, match=expected):
        make_training_set(config, tables, target["kind"])


def test_one_snapshot_cannot_be_trained_on_and_nothing_is_decided(tmp_path: Path):
    spine = {"grid": "month", "start": "2024-03-01"}
    config, tables = make_world(tmp_path, "2024-04-15", **{**CHURN, "spine": spine})
    with (
        open_ledger(tmp_path / "ledger.db") as ledger,
        pytest.raises(
            DataError, match=r"^All ripe rows are of one snapshot, expected at least two: .* Start the spine"
        ),
    ):
        train_target(config, tables, "churn", ledger, tmp_path / "none.yaml")
    assert read_champion(config, "churn") is None
    with open_ledger(tmp_path / "ledger.db") as ledger:
        assert ledger.decisions() == []


def decisions_of(world: World, name: str) -> list[tuple[str, str, dict]]:
    with open_ledger(world.state / "ledger.db") as ledger:
        return [(one.kind, one.outcome, dict(one.details)) for one in ledger.decisions(name)]


@pytest.mark.parametrize("name", ["conversion", "churn"])
def test_a_training_makes_its_model_champion_and_notes_the_decision(finished: World, name: str):
    champion = read_champion(finished.config, name)
    assert champion is not None
    assert champion.version == 1
    ((kind, outcome, details),) = decisions_of(finished, name)
    assert (kind, outcome, details["selected"]) == ("train", "champion", "logistic")
    assert (details["version"], details["bundle_sha256"]) == (1, champion.bundle_sha256)
    assert details["data_end"] == "2025-06-30T22:00:00"
    manifest = json.loads((champion.folder / "manifest.json").read_text(encoding="utf-8"))
    rows = load_training_set(finished.state / "training" / name)
    assert manifest["fitted_on"]["sha256"] == rows.sha256  # all ripe rows
    assert manifest["evaluated_on"]["from"] > str(rows.time.min())
    assert manifest["extras"]["training_set"]["tables_sha256"] == rows.manifest["tables_sha256"]
    assert manifest["extras"]["config"]["name"] == "small"


def test_train_prints_one_document_and_nothing_else_on_stdout(world: World, capfd: pytest.CaptureFixture[str]):
    with only_candidates(*SIMPLE):
        answer = world.run("train", "--target", "churn", "--json")
    document = answer.document["targets"]["churn"]
    assert list(answer.document) == ["targets"]
    assert list(answer.document["targets"]) == ["churn"]
    assert capfd.readouterr().out == ""  # nor past Python, as libraries in C print
    assert [candidate["name"] for candidate in document["candidates"]] == list(SIMPLE)
    assert {"selected", "seconds", "test", "candidates", "version", "bundle_sha256"} <= set(document)
    assert document["test"]["rows"] > 0
    assert set(document["test"]["interval"]) >= {"auc", "log_loss"}
    champion = read_champion(world.config, "churn")
    assert champion is not None
    assert (document["version"], document["bundle_sha256"]) == (champion.version, champion.bundle_sha256)
    assert champion.version == 2  # the demo's was the first


def forget_training(world: World) -> None:
    """Leave the tables of a world, and nothing of its models and scores."""
    for path in world.state.iterdir():
        if path.name.startswith(("mlflow.db", "ledger.db")):
            path.unlink()


def test_without_signal_nothing_is_registered_and_the_card_grades_alone(world: World):
    forget_training(world)
    world.change_config(**CHURN_ONLY)
    with only_candidates("base_rate"):  # what is left when no feature tells anything
        answer = world.run("train", "--json")
    assert answer.code == 1
    assert answer.err == (
        "Error: No signal beyond the base rate for churn: nothing was registered, and what was live stays live. "
        "Extract a longer history, add features, or let the scorecard grade alone.\n"
    )
    assert json.loads(answer.out)["targets"]["churn"]["version"] is None
    assert read_champion(world.config, "churn") is None
    assert [outcome for _, outcome, _ in decisions_of(world, "churn")] == ["no_signal"]
    run_id = world.run("score", "--json").document["run_id"]
    with open_ledger(world.state / "ledger.db") as ledger:
        scores = ledger.scores(run_id)
    assert scores[["probability", "log_odds", "model_version", "bundle_sha256"]].isna().all(axis=None)
    assert set(scores["reasons"]) == {"[]"}
    assert scores["points"].between(0, 100).all()
    assert scores["grade"].isin(["priority", "nurture", "hold", "drop"]).all()
    world.change_config(targets__churn__scorecard=None)
    answer = world.run("score")
    assert answer.code == 2
    assert "Target 'churn' has neither a model, as training found no signal, nor a scorecard. " in answer.err


def test_a_training_without_signal_leaves_the_champion(world: World):
    before = world.fingerprint()
    with only_candidates("base_rate"):
        assert world.run("train", "--target", "churn").code == 1
    assert world.fingerprint() == before
    assert [outcome for _, outcome, _ in decisions_of(world, "churn")] == ["no_signal", "champion"]
    assert world.run("score", "--json").document["is_new"] is False  # by the same models


def test_people_see_what_was_compared_and_how_the_choice_does(world: World):
    with only_candidates("base_rate"):
        shown = world.run("train", "--target", "churn").out
    assert "churn: base_rate chosen among candidates out of fold on the training rows\n" in shown
    assert "candidate" in shown
    assert "AUC 0.500 [0.500, 0.500]; fitted in " in shown


def test_an_unknown_target_is_named_before_anything_is_read(finished: World):
    answer = finished.run("train", "--target", "chrun")
    assert answer.code == 2
    assert answer.err.startswith("Error: Target 'chrun' is not in the config, expected one of: conversion, churn. ")


def test_a_pinned_test_block_begins_at_local_midnight(tmp_path: Path):
    seen = []

    def stop(rows: TrainingSet, begin: object):
        seen.append(begin)
        raise DataError("stopped")

    config, tables = make_world(tmp_path, **{**CHURN, "test_as_of": "2024-04-01"})
    with (
        patch("pipeline.training.split_test", stop),
        pytest.raises(DataError, match="stopped"),
        open_ledger("sqlite://") as ledger,
    ):
        train_target(config, replace(tables, time_zone="Europe/Berlin"), "churn", ledger, Path(CONFIG))
    assert [str(begin) for begin in seen] == ["2024-03-31 22:00:00"]
