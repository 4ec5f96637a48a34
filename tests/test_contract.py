"""The contract: rows that are not what the model was fitted on stop the job, where LightGBM would score on."""

from functools import cache
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from small_crm import CHURN_ONLY, World
from test_recipe import simulate

from features.build import FeatureFrame
from features.errors import DataError
from features.group import FeatureInfo
from models.bundle import save_bundle
from models.errors import BundleError
from models.input_facts import describe_input, novelty
from models.predict import Bundle, load_bundle
from models.recipe import Choice, fit_choice
from models.training_set import TrainingSet
from pipeline.contract import check_contract, unseen_shares
from pipeline.ledger import open_ledger

TREES = {"encoding": "log_odds", "leaves": 8, "random_cuts": False, "learning_rate": 0.1, "trees": 20}
UNITS = {"amount": "currency", "age": "days", "region": "text", "same": "count"}
FRAME = simulate(200, seed=1).frame


@cache
def model() -> tuple[Bundle, lgb.Booster]:
    """A bundle of trees that knows what it was fitted on, and what LightGBM itself has of it."""
    rows = simulate(600)
    features = [{"name": name, "unit": unit} for name, unit in UNITS.items()]
    told = TrainingSet(rows.frame, rows.label, manifest={"currency": "EUR", "features": features})
    fitted = fit_choice(Choice("lightgbm", TREES, {"kind": "identity"}), told)
    return Bundle({"input": describe_input(told)}, fitted.model, fitted.texts), fitted.bundle.members[0][1].booster


def build(frame: pd.DataFrame, units: dict[str, str] = UNITS, skipped: dict[str, str] | None = None) -> FeatureFrame:
    infos = [
        FeatureInfo(name, "text" if unit == "text" else "number", unit, "", "", "", "") for name, unit in units.items()
    ]
    return FeatureFrame(frame, tuple(infos), skipped or {})


def check(frame: pd.DataFrame, bundle: Bundle | None = None, currency: str = "EUR", **built: Any) -> None:
    check_contract("churn", bundle or model()[0], build(frame, **built), currency, 0.2)


def test_rows_like_those_of_training_pass() -> None:
    check(FRAME)
    check(FRAME.head(1))
    check(FRAME.head(0))


def test_lightgbm_alone_scores_on_whatever_comes() -> None:
    """Renamed, empty, in cents, in text that nobody met: a booster answers, and as confidently as ever."""
    bundle, booster = model()
    broken = FRAME.assign(amount=FRAME["amount"] * 100, region="mars", age=np.nan)
    assert len(bundle.log_odds(broken)) == 200  # our own reader lets values pass too: only names and types stop it
    matrix = pd.DataFrame(np.ones((3, booster.num_feature())), columns=[f"renamed_{i}" for i in range(4)])
    assert booster.predict(matrix).shape == (3,)


def test_a_renamed_column_is_named_with_what_may_have_replaced_it() -> None:
    sentence = r"Target 'churn': column 'amount' is missing from the 200 rows .*Did 'amount_eur' replace it\? Rename"
    with pytest.raises(BundleError, match=sentence):
        check(FRAME.rename(columns={"amount": "amount_eur"}))


def test_a_column_whose_table_is_gone_is_named_with_the_reason() -> None:
    sentence = r"'region' is missing .* needs it: there is no column 'region' in customers\. Deliver it again, or train"
    with pytest.raises(BundleError, match=sentence):
        check(FRAME.drop(columns="region"), skipped={"region": "there is no column 'region' in customers"})


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        ("amount", "12.5", r"Target 'churn': column 'amount' holds str, expected numbers as when .* or train again\."),
        ("region", 3.0, r"Target 'churn': column 'region' holds float64, expected text as when .* or train again\."),
    ],
)
def test_a_retyped_column_is_named(column: str, values: Any, sentence: str) -> None:
    with pytest.raises(BundleError, match=sentence):
        check(FRAME.assign(**{column: values}))


def test_a_feature_in_another_unit_is_named_with_both() -> None:
    sentence = r"feature 'age' is in count now and was in days when the model was trained.*Deliver it in days again, or"
    with pytest.raises(DataError, match=sentence):
        check(FRAME, units={**UNITS, "age": "count"})


def test_amounts_in_another_currency_are_in_another_unit() -> None:
    with pytest.raises(DataError, match=r"feature 'amount' is in USD now and was in EUR when the model was trained"):
        check(FRAME, currency="USD")


def test_amounts_in_cents_are_seen_by_their_size() -> None:
    times_100 = FRAME.assign(amount=FRAME["amount"] * 10_000)
    with pytest.raises(DataError, match=r"values of column 'amount' are around [\d,.]+, in training .* another unit"):
        check(times_100)
    check(FRAME.assign(age=FRAME["age"] * 10_000))  # days are counted here: customers are old, their unit is not new
    check(times_100.head(29))  # too few to tell


@pytest.mark.parametrize(
    ("unseen", "stops"),
    [
        (40, False),  # a fifth of 200: as many as may be
        (41, True),
    ],
)
def test_more_new_categories_than_the_share_stop_the_job(unseen: int, stops: bool) -> None:
    region = FRAME["region"].fillna("north").to_list()
    frame = FRAME.assign(region=["mars", "venus"] * (unseen // 2) + ["mars"] * (unseen % 2) + region[unseen:])
    if not stops:
        check(frame)
        return
    sentence = (
        r"Target 'churn': 41 of the 200 values of column 'region' \(20\.5%\) are categories the model has never met "
        r"\('mars', 'venus'\), expected at most 20%\. If they were renamed .* raise targets\.churn\.max_unseen_share\."
    )
    with pytest.raises(DataError, match=sentence):
        check(frame)


def test_missing_values_are_no_categories_and_do_not_dilute_those_that_are() -> None:
    few = FRAME.assign(region=[None] * 150 + ["mars"] * 11 + ["north"] * 39)  # 11 of 50 values: 22 %
    with pytest.raises(DataError, match=r"11 of the 50 values of column 'region' \(22\.0%\)"):
        check(few)
    check(few.iloc[:159])  # 9 of 9: so few may be chance


def test_as_many_new_categories_as_training_itself_met_are_expected() -> None:
    bundle = model()[0]
    columns = bundle.manifest["input"]["columns"]
    seasoned = {**columns, "region": {**columns["region"], "unseen": 0.5}}
    used_to_it = Bundle.__new__(Bundle)
    used_to_it.__dict__ = {**vars(bundle), "manifest": {"input": {**bundle.manifest["input"], "columns": seasoned}}}
    region = FRAME["region"].fillna("north").to_list()
    check(FRAME.assign(region=["mars"] * 140 + region[140:]), used_to_it)
    sentence = r"\(72\.0%\) .* expected at most 70% \(50% were new in the newest training rows\)"
    with pytest.raises(DataError, match=sentence):
        check(FRAME.assign(region=["mars"] * 144 + region[144:]), used_to_it)


def test_a_column_that_is_empty_all_at_once_stops_the_job() -> None:
    sentence = r"column 'age' is empty in all 200 rows to score and had a value in \d+% of the training rows: what it"
    with pytest.raises(DataError, match=sentence):
        check(FRAME.assign(age=None))
    check(FRAME.head(1).assign(age=np.nan))  # one row may lack what a tenth of all rows lack


def test_a_bundle_that_was_saved_before_there_were_facts_is_checked_for_names_and_types(tmp_path: Path) -> None:
    fitted = fit_choice(Choice("lightgbm", TREES, {"kind": "identity"}), simulate(600))
    old = load_bundle(tmp_path / "bundle", save_bundle(tmp_path / "bundle", fitted))
    assert "input" not in old.manifest
    check(FRAME.assign(region="mars", amount=FRAME["amount"] * 1e6, age=np.nan), old, currency="USD")
    with pytest.raises(BundleError, match=r"column 'age' is missing"):
        check(FRAME.drop(columns="age"), old)


def test_novelty_is_the_share_of_the_newest_values_that_older_rows_do_not_have() -> None:
    values = pd.Series(["web", "fair", None] + ["web"] * 45 + ["app"] * 15 + [None] * 7)
    older = np.arange(70) < 3
    assert novelty(values, older, ~older) == 0.25  # 15 of 60
    assert novelty(values[:40], older[:40], ~older[:40]) is None  # 37 values are too few


def test_what_older_rows_know_ends_a_horizon_before_the_newest() -> None:
    days = np.arange("2024-01-01", "2024-12-26", dtype="datetime64[D]").astype("datetime64[us]")  # 360 days
    source = np.where(np.arange(360) < 200, "web", "app")  # `app` begins on day 200
    frame = pd.DataFrame({"source": source})
    label = np.tile([0.0, 1.0], 180)
    facts = {
        horizon: describe_input(TrainingSet(frame, label, days, horizon))["columns"]["source"]["unseen"]
        for horizon in (30, 90, 300)
    }
    # The newest fifth begins on day 288: a model for it knows the rows up to day 258, 198, -12.
    assert facts == {30: 0.0, 90: 1.0, 300: None}


def test_the_share_of_unseen_values_is_told_per_row() -> None:
    bundle = model()[0]
    frame = FRAME.head(3).assign(region=["north", "mars", None])
    assert unseen_shares(bundle, frame).tolist() == [0.0, 1.0, 0.0]


def test_a_job_with_new_categories_stops_before_ledger_and_crm_and_says_so(world: World) -> None:
    world.change_config(**CHURN_ONLY)
    world.sql("UPDATE customers SET industry = 'Segment ' || industry")
    world.pass_a_day()
    assert world.run("extract").code == 0
    before = world.fingerprint()
    answer = world.run("score")
    assert answer.code == 3
    assert "values of column 'customers_industry' (100.0%) are categories the model has never met ('Seg" in answer.err
    assert world.fingerprint() == before
    with open_ledger(world.state / "ledger.db") as ledger:
        run = ledger.latest_run("score")
        assert run is not None
        assert run.state == "failed"
        assert "customers_industry" in run.details["error"]
        assert ledger.scores(run.run_id).empty
    world.change_config(targets__churn__max_unseen_share=1.0)
    assert world.run("score").code == 0  # the way out that the sentence names
    with open_ledger(world.state / "ledger.db") as ledger:
        scores = ledger.scores(ledger.latest_scored_run().run_id)
    assert (scores["unseen_share"] >= 0.25).sum() == 241  # one text column of four; 1 of 242 customers has none
