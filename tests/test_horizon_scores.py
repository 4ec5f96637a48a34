"""Several horizons from tables to the CRM: rows of each, one bundle, and only the primary one graded and written."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_config
from small_crm import CHURN_ONLY, SIMPLE, World, copy_world, only_candidates
from test_training import CHURN, make_world

from features.errors import DataError
from models.predict import load_bundle, to_probability
from models.training_set import load_training_set
from pipeline.horizons import make_horizon_sets
from pipeline.ledger import open_ledger
from pipeline.registry import read_champion
from pipeline.training import make_training_set

HORIZONS = {"targets__churn__horizons_days": [90, 30, 180]}


def test_rows_of_each_horizon_are_those_that_are_ripe_for_it(tmp_path: Path) -> None:
    config, tables = make_world(tmp_path, **{**CHURN, "horizons_days": [30, 10, 60]})
    rows = make_training_set(config, tables, "churn")
    sets = make_horizon_sets(config, tables, "churn", rows)
    assert sets[30] is rows
    found = {
        days: [
            (one.entity_id, f"{one.as_of:%m-%d}", label)
            for one, label in zip(sets[days].keys.itertuples(), sets[days].label, strict=True)
        ]
        for days in (10, 60)
    }
    assert found == {
        10: [  # [02-01, 02-11) ...: C1 orders on 03-10 again, the last day of the second
            ("C1", "02-01", 1), ("C1", "03-01", 0), ("C1", "04-01", 1),
            ("C2", "02-01", 1), ("C2", "03-01", 1), ("C2", "04-01", 1),
        ],
        60: [  # 03-01 + 60 days = 04-30 is ripe, 04-01 is not
            ("C1", "02-01", 0), ("C1", "03-01", 0), ("C2", "02-01", 1), ("C2", "03-01", 1),
        ],
    }  # fmt: skip
    assert [(one.horizon, list(one.frame.columns)) for one in sets.values()] == [
        (days, list(rows.frame.columns)) for days in (30, 10, 60)
    ]


def test_snapshots_that_the_primary_horizon_lacks_get_the_features_they_would_have_alone(tmp_path: Path) -> None:
    config, tables = make_world(tmp_path / "several", "2024-04-15", **{**CHURN, "horizons_days": [30, 10]})
    rows = make_training_set(config, tables, "churn")
    short = make_horizon_sets(config, tables, "churn", rows)[10]
    alone, same = make_world(tmp_path / "alone", "2024-04-15", **{**CHURN, "horizons_days": [10]})
    expected = make_training_set(alone, same, "churn")
    assert (len(rows), len(short)) == (4, 6)  # 1 April is ripe for 10 days alone
    assert short.group.tolist() == expected.group.tolist()
    assert short.label.tolist() == expected.label.tolist()
    shared = [name for name in short.frame if name in expected.frame]
    assert "orders_days_since_last" in shared
    pd.testing.assert_frame_equal(short.frame[shared], expected.frame[shared], check_exact=True)


def test_a_horizon_that_is_not_ripe_stops_with_its_days(tmp_path: Path) -> None:
    config, tables = make_world(tmp_path, **{**CHURN, "horizons_days": [30, 200]})
    rows = make_training_set(config, tables, "churn")
    with pytest.raises(DataError, match=r"none of 8 snapshots is ripe: .* 200 days after"):
        make_horizon_sets(config, tables, "churn", rows)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"horizons_days": [90, 30, 90]}, r"horizons_days names a horizon twice\. Name each once, the primary one"),
        ({"horizons_days": [90, 0]}, "greater than 0"),
        ({"horizons_days": []}, "at least 1 item"),
        ({"time_to_event": True}, r"time_to_event needs two horizons_days or more, such as \[90, 30\]\. Add one"),
    ],
)
def test_horizons_that_make_no_sense_are_refused(tmp_path: Path, keys: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make_config(tmp_path, {"customers": {}}, targets={"churn": {**CHURN, **keys}})


@pytest.fixture(scope="module")
def several(finished: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A copy of the small CRM whose churn has three horizons, trained and scored; nobody changes it."""
    world = copy_world(finished, tmp_path_factory.mktemp("several") / "small")
    world.change_config(**CHURN_ONLY, **HORIZONS, targets__churn__time_to_event=True)
    with only_candidates(*SIMPLE):
        assert world.run("train").code == 0
    assert world.run("score").code == 0
    return world


def newest_scores(world: World) -> pd.DataFrame:
    with open_ledger(world.state / "ledger.db") as ledger:
        run = ledger.latest_run("score", "done")
        assert run is not None
        return ledger.scores(run.run_id)


def test_one_bundle_holds_all_models(several: World) -> None:
    champion = read_champion(several.config, "churn")
    assert champion is not None
    bundle = load_bundle(champion.folder, champion.bundle_sha256)
    assert set(bundle.horizons) == {30, 180}
    assert bundle.manifest["horizons"]["direction"] == -1  # the longer one waits, the likelier is an order
    further = bundle.manifest["horizons"]["further"]
    assert {days: facts["horizon"] for days, facts in further.items()} == {"30": 30, "180": 180}
    primary = load_training_set(several.state / "training" / "churn")
    assert bundle.manifest["fitted_on"]["sha256"] == primary.sha256
    assert further["180"]["fitted_on"]["rows"] < len(primary) < further["30"]["fitted_on"]["rows"]


def test_every_customer_has_a_row_per_horizon_and_the_primary_one_is_as_if_alone(
    several: World, finished: World
) -> None:
    scores, before = newest_scores(several), newest_scores(finished)
    by_days = {days: rows.set_index("entity_id") for days, rows in scores.groupby("horizon_days")}
    assert set(by_days) == {30, 90, 180}
    was = before[before["target"] == "churn"].set_index("entity_id")
    same = ["horizon_days", "probability", "log_odds", "points", "grade", "reasons"]
    pd.testing.assert_frame_equal(by_days[90][same], was[same], check_exact=True)
    table = pd.DataFrame({days: rows["log_odds"] for days, rows in by_days.items()})
    assert (table[30] >= table[90]).all()
    assert (table[90] >= table[180]).all()
    assert table[30].mean() > table[90].mean() > table[180].mean()
    for days in (30, 180):
        rows = by_days[days]
        assert rows["probability"].tolist() == to_probability(rows["log_odds"].to_numpy()).tolist()
        assert rows[["points", "grade", "coverage", "card", "days_to_event"]].isna().all(axis=None)
        assert set(rows["reasons"]) == {"[]"}
        assert rows["bundle_sha256"].tolist() == by_days[90]["bundle_sha256"].tolist()


def test_figures_of_further_horizons_are_in_the_document_and_in_mlflow(several: World) -> None:
    file = str((several.state / "mlflow.db").relative_to(several.folder))
    keys = {key for (key,) in several.sql("SELECT DISTINCT key FROM metrics", file=file)}
    assert {"horizon_30_test_auc", "horizon_180_test_log_loss", "horizon_180_coherent_log_loss", "test_auc"} <= keys


def test_only_the_primary_horizon_is_written_back(several: World, tmp_path: Path) -> None:
    world = copy_world(several, tmp_path / "small")
    plan = world.run("writeback plan", "--json").document
    records = next(iter(plan["targets"].values())) if "targets" in plan else plan
    assert json.dumps(records)
    assert world.run("writeback apply", "--json").code == 0
    scores = newest_scores(world)
    own = scores[scores["horizon_days"] == 90]
    written = world.sql("SELECT count(DISTINCT record_id) FROM writes WHERE run_id = ?", scores["run_id"].iloc[0],
                        file=str((world.state / "ledger.db").relative_to(world.folder)))  # fmt: skip
    assert written[0][0] <= len(own)
    assert np.isfinite(own["log_odds"]).all()
