"""The public data sets through the shipped configs: rows, labels and features that were counted by hand.

What takes longer (training the large ones) is in `eval_real_data.py`.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from small_crm import run_cli

from features.build import build_features
from features.catalog import CATALOG
from features.engine import open_database
from features.labels import build_labels
from features.spine import build_scoring_spine, build_spine
from features.tables import CrmTables, load_tables
from features.view import as_of_view
from pipeline.config import Config, load_config
from pipeline.deployment import make_spine_plan, make_target
from pipeline.extract import ExtractReport, extract

pytestmark = pytest.mark.data

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
Deployment = tuple[Config, ExtractReport]
Deploy = Callable[[str], Deployment]


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Deploy:
    """Extract a deployment, once for all tests."""
    state = tmp_path_factory.mktemp("state")

    @cache
    def run(name: str) -> Deployment:
        config = load_config(CONFIGS / f"{name}.yaml").model_copy(update={"state": state})
        return config, extract(config)

    return run


@pytest.fixture
def deploy(public_data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, extracted: Deploy) -> Deploy:
    """Return the config and the extract of a deployment, or skip if its data are not there."""

    def find(name: str) -> Deployment:
        monkeypatch.setenv("LEADSIEVE_DATA", str(public_data(name)))
        return extracted(name)

    return find


def tables_of(deployment: Deployment) -> CrmTables:
    return load_tables(deployment[1].folder)


def labelled_spine(deployment: Deployment, target: str) -> pd.DataFrame:
    """Ripe snapshots of the training spine with their labels, and days since the first of each entity."""
    config, _ = deployment
    tables = tables_of(deployment)
    spine = build_spine(tables, make_target(config, target), make_spine_plan(config, target))
    labels = build_labels(tables, spine, make_target(config, target)).dropna(subset="label")
    born = labels.groupby("entity_id")["as_of"].transform("min")
    return labels.assign(age=(labels["as_of"] - born).dt.round("D").dt.days)


def count(labels: pd.DataFrame) -> tuple[int, int]:
    """Rows and ones."""
    return len(labels), int(labels["label"].sum())


@pytest.mark.parametrize(
    ("name", "rows", "warnings"),
    [
        ("olist", {"deals": 8000}, []),
        (
            "bpic2012",  # 54,153 = 2 x 13,087 submitted, 7,367, 5,113, 5,015, 7,030 offers sent, 3,454 sent back
            {"deals": 13087, "stage_changes": 54153, "activities": 72413},
            [],
        ),
        (
            "maven_crm",  # 8,800 deals without the 500 that have no date; 501 open ones name their account
            {"customers": 85, "deals": 8300},
            ["501 rows have account but no closed_at: it counts as never filled"],
        ),
        ("cdnow", {"customers": 23570, "orders": 67591}, []),  # 69,659 lines on 67,591 days of customers
    ],
)
def test_an_extract_keeps_the_rows_that_its_publisher_counts(deploy, name, rows, warnings):
    _, report = deploy(name)
    assert {table.name: table.rows_read for table in report.tables} == rows
    assert {table.name: table.rows for table in report.tables} == rows
    assert [dropped for table in report.tables for dropped in table.dropped] == []
    assert [warning for table in report.tables for warning in table.warnings] == warnings


def test_leads_are_won_within_90_days_of_first_contact_as_often_as_in_the_fixed_frames(deploy):
    labels = labelled_spine(deploy("olist"), "conversion")
    day = labels["as_of"].dt.normalize()
    # The frames have 557 of 4,648 and 127 of 1,550; their cut goes through 25 April, and one lead of 8 March
    # that was won two days before its first contact counts there: it was never open.
    assert count(labels[day < "2018-04-25"]) == (4612, 555)
    assert count(labels[day == "2018-04-25"]) == (66, 4)
    assert count(labels[day > "2018-04-25"]) == (1519, 124)
    assert round(4648 * 0.11983648881239242) + round(1550 * 0.08193548387096775) == 555 + 4 + 124 + 1
    assert "b91cf8812365f50ff4bda4bcd6206b05" not in set(labels["entity_id"])


def test_what_only_won_leads_have_is_unknown_until_they_are_won(deploy):
    tables = tables_of(deploy("olist"))
    stored = tables.tables["deals"]
    assert len([column for column, time in stored.revealed.items() if time == "closed_at"]) == 14
    won_at = pd.Timestamp("2018-02-26 19:58:54")
    moments = pd.DataFrame({"row": [0, 1], "as_of": [won_at, won_at + pd.Timedelta(microseconds=1)]})
    with open_database(tables) as database:
        spine = database.add("spine", moments.assign(deal_id="5420aad7fec3549a85876ba1c529bd84"))
        view = as_of_view(database, spine, "deals", "deal_id").order_by("row")
        seen = database.frame(view.select("source", *stored.revealed))
    before, after = seen.to_dict("records")
    assert [column for column, value in before.items() if pd.notna(value)] == ["source"]
    assert (after["outcome"], after["business_segment"], after["lead_type"]) == ("won", "pet", "online_medium")


def test_applications_end_approved_declined_cancelled_or_still_open(deploy):
    tables = tables_of(deploy("bpic2012"))
    deals = pd.read_parquet(tables.path("deals"))
    ends = deals.groupby(["outcome", "lost_reason"], dropna=False).size()
    assert sorted(ends.to_list()) == [399, 2246, 2807, 7635]
    assert (ends["lost", "declined"], ends["lost", "cancelled"]) == (7635, 2807)
    assert deals["closed_at"].isna().sum() == 399


def test_applications_are_looked_at_while_they_are_open(deploy):
    labels = labelled_spine(deploy("bpic2012"), "conversion")
    counted = {age: count(rows) for age, rows in labels.groupby("age")}
    assert counted == {0: (11390, 1825), 1: (5401, 1802), 7: (4436, 1724), 14: (2675, 946), 28: (1174, 190)}


def test_stages_and_work_of_an_application_are_those_logged_before(deploy):
    tables = tables_of(deploy("bpic2012"))
    sent_back = pd.Timestamp("2011-10-10 09:33:03.668")  # 11:33:03.668+02:00 in the log
    spine = pd.DataFrame({"entity_id": "173688", "as_of": [sent_back, sent_back + pd.Timedelta(microseconds=1)]})
    built = build_features(tables, spine.assign(customer_id=None), CATALOG, "deals").frame
    assert built["deal_amount"].to_list() == [20000, 20000]
    assert built["deal_stage_rank"].to_list() == [6, 7]
    assert built["deal_stage_changes_count"].to_list() == [6, 7]
    assert built["deal_activities_count"].to_list() == [3, 3]  # the call that ended two seconds later is not known
    work = pd.read_parquet(tables.path("activities")).query("deal_id == '173688'").sort_values("occurred_at")
    assert work["duration_s"].to_list() == [507, 88, 303, 43, 1930]


def test_products_are_joined_however_they_are_spelt(deploy):
    deals = pd.read_parquet(tables_of(deploy("maven_crm")).path("deals"))
    assert deals["amount"].notna().all()
    assert deals.loc[deals["product"] == "GTX Pro", "amount"].astype(float).to_list() == [4821.0] * 1400
    assert deals["product"].nunique() == 7


def test_the_account_of_an_open_deal_says_nothing_as_it_was_filled_in_later(deploy):
    deployment = deploy("maven_crm")
    tables = tables_of(deployment)
    deals = pd.read_parquet(tables.path("deals"))
    assert deals.loc[deals["closed_at"].isna(), "account"].notna().sum() == 501
    assert deals.loc[deals["closed_at"].notna(), "account"].notna().all()
    assert tables.tables["deals"].revealed["account"] == "closed_at"
    spine = build_spine(tables, make_target(deployment[0], "conversion"), make_spine_plan(deployment[0], "conversion"))
    assert spine["customer_id"].isna().all()
    assert count(labelled_spine(deployment, "conversion")) == (6037, 2330)


def test_customers_come_back_within_180_days_as_often_as_in_the_fixed_frames(deploy):
    config, _ = deployment = deploy("cdnow")
    tables, target = tables_of(deployment), make_target(config, "churn")
    spines = [build_scoring_spine(tables, target, pd.Timestamp(day)) for day in ("1997-07-01", "1998-01-01")]
    labels = build_labels(tables, pd.concat(spines), target)
    assert count(labels[labels["as_of"] == "1997-07-01"]) == (23570, 17190)  # 0.72932
    assert count(labels[labels["as_of"] == "1998-01-01"]) == (23570, 18207)  # 0.77246


MOMENTS = {  # days on which something happened, well before the end of each data set
    "olist": "2018-05-14 12:00",
    "maven_crm": "2017-08-15",
    "bpic2012": "2012-01-10 10:00",
    "cdnow": "1998-01-01",
    "online_retail": "2011-06-01",
}


@pytest.mark.parametrize("name", MOMENTS)
def test_an_extract_of_all_and_one_that_ends_then_give_the_same_features_of_a_moment(deploy, tmp_path, name):
    config, report = deploy(name)
    target, at = make_target(config, next(iter(config.targets))), pd.Timestamp(MOMENTS[name])
    then = config.model_copy(
        update={
            "state": tmp_path,
            "source": config.source.model_copy(update={"data_end": at.to_pydatetime()}),
            "tables": {name: one.model_copy(update={"late_rows": "drop"}) for name, one in config.tables.items()},
        }
    )
    ended = extract(then)
    assert sum(table.rows for table in ended.tables) < 0.95 * sum(table.rows for table in report.tables)
    later, then_known = load_tables(report.folder), load_tables(ended.folder)
    spine = build_scoring_spine(then_known, target)
    pd.testing.assert_frame_equal(spine, build_scoring_spine(later, target, at.to_pydatetime()))
    some = spine.sample(min(len(spine), 2000), random_state=0)
    built = [build_features(tables, some, CATALOG, target.table).frame for tables in (later, then_known)]
    assert len(built[0].columns) > 10
    pd.testing.assert_frame_equal(*built, check_exact=True)


def test_where_outcomes_are_noise_training_says_so_and_the_card_grades_alone(public_data, tmp_path, monkeypatch):
    monkeypatch.setenv("LEADSIEVE_DATA", str(public_data("maven_crm")))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(CONFIGS)
    place = ("--config", "configs/maven_crm.yaml")
    assert run_cli("extract", *place).code == 0
    trained = run_cli("train", *place)
    assert trained.code == 1
    assert "No signal beyond the base rate for conversion: nothing was registered" in trained.err
    assert "1,589 conversion scores" in run_cli("score", *place).out  # all open deals
    scores = pd.read_parquet(next(tmp_path.glob(".leadsieve/maven_crm/runs/*/scores.parquet")))
    assert scores["probability"].isna().all()
    assert scores["grade"].notna().all()


def test_leads_are_ranked_better_than_by_chance_on_the_newest_month(public_data, tmp_path, monkeypatch):
    monkeypatch.setenv("LEADSIEVE_DATA", str(public_data("olist")))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(CONFIGS)
    place = ("--config", "configs/olist.yaml")
    assert run_cli("extract", *place).code == 0
    document = run_cli("train", *place, "--json").document["targets"]["conversion"]
    assert (document["test"]["rows"], document["evaluated_on"]["from"][:10]) == (1303, "2018-05-01")
    assert document["test"]["interval"]["auc"][0] > 0.6
    scored = run_cli("score", *place, "--json").document["rows"]
    assert scored == {"conversion": 8000 - 842}
