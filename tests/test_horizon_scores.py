"""Several horizons from tables to the CRM: rows of each, one bundle, and only the primary one graded and written."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_config
from small_crm import CHURN_ONLY, SIMPLE, World, copy_world, only_candidates
from test_training import CHURN, make_world

from features.errors import DataError
from models.predict import load_bundle, to_probability
from models.time_to_event import days_to_event
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
def trained(finished: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, dict]:
    """A copy of the small CRM whose churn has three horizons, trained and scored; nobody changes it."""
    world = copy_world(finished, tmp_path_factory.mktemp("several") / "small")
    world.change_config(**CHURN_ONLY, **HORIZONS, targets__churn__time_to_event=True)
    with only_candidates(*SIMPLE):
        document = world.run("train", "--json").document["targets"]["churn"]
    assert world.run("score").code == 0
    return world, document


@pytest.fixture
def several(trained: tuple[World, dict]) -> World:
    return trained[0]


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
        assert rows[["points", "grade", "coverage", "card", "days_to_event", "probability_low"]].isna().all(axis=None)
        assert set(rows["reasons"]) == {"[]"}
        assert rows["bundle_sha256"].tolist() == by_days[90]["bundle_sha256"].tolist()


def test_days_to_the_event_are_those_of_the_primary_rows(several: World) -> None:
    scores = newest_scores(several)
    table = scores.pivot_table(index="entity_id", columns="horizon_days", values="log_odds")
    said = {days: table[days].to_numpy() for days in (30, 90, 180)}
    own = scores[scores["horizon_days"] == 90].set_index("entity_id")["days_to_event"].loc[table.index]
    np.testing.assert_array_equal(own.to_numpy(), days_to_event(said, -1))
    known = own[own.notna()]
    assert len(known) > 10
    assert known.between(0, 180).all()
    probable = table[180] < 0  # an order within 180 days is more likely than none
    assert (own.notna() == probable).all()


def test_the_document_has_figures_of_every_horizon_and_of_the_days(trained: tuple[World, dict]) -> None:
    world, document = trained
    assert list(document["horizons"]) == ["30", "180"]
    for figures in document["horizons"].values():
        assert {"selected", "test", "candidates", "coherent"} <= set(figures)
    times = document["time_to_event"]
    low, high = times["interval"]["concordance"]
    assert 0.6 < low < times["concordance"] < high < 0.95
    assert [one["days"] for one in times["by_horizon"]] == [30, 90, 180]
    shares = [one["share"] for one in times["by_horizon"]]
    assert shares == sorted(shares)  # more have ordered the longer one waits
    assert all(abs(one["probability"] - one["share"]) < 0.1 for one in times["by_horizon"])
    assert times["longest_days"] == 180
    file = str((world.state / "mlflow.db").relative_to(world.folder))
    keys = {key for (key,) in world.sql("SELECT DISTINCT key FROM metrics", file=file)}
    assert {"horizon_30_test_auc", "horizon_180_coherent_log_loss", "time_to_event_concordance_low", "test_auc"} <= keys


def test_only_the_primary_horizon_is_written_back(several: World, tmp_path: Path) -> None:
    world = copy_world(several, tmp_path / "small")
    assert world.run("writeback apply").code == 0
    scores = newest_scores(world)
    own = scores[scores["horizon_days"] == 90].set_index("entity_id")["probability"]
    written = dict(world.sql("SELECT customer_id, churn_risk FROM customers WHERE churn_risk IS NOT NULL"))
    assert {key: written[key] for key in own.index} == own.round(4).to_dict()
    counts = world.run("score", "--json").document
    assert (counts["is_new"], counts["rows"]) == (False, {"churn": len(own)})


def test_horizons_of_the_config_and_of_the_model_have_to_meet(several: World, tmp_path: Path) -> None:
    world = copy_world(several, tmp_path / "small")
    world.change_config(targets__churn__horizons_days=[30, 90])
    answer = world.run("score")
    assert answer.code == 3
    assert answer.err == (
        "Error: Target 'churn': the live model was trained for 90 days and targets.churn.horizons_days begins with 30. "
        "Train again, or put 90 first.\n"
    )
    world.change_config(targets__churn__horizons_days=[90, 180, 365])
    document = world.run("score", "--json").document
    assert "churn: the live model has no horizon of 365 days. Train again to score it." in document["notes"]
    assert set(newest_scores(world)["horizon_days"]) == {90, 180}
