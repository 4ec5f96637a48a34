"""The report that a training leaves: on disk, with the run, and sliced by what sellers know."""

import re
from pathlib import Path

import pandas as pd
import pytest
from conftest import make_config, make_tables
from small_crm import World
from test_audit_page import Page
from test_training import CHURN, make_world

from features.targets import Target
from models.training_set import TrainingSet
from pipeline.slice_columns import cut_by_acquaintance, slices_of_tables
from pipeline.training import make_training_set
from pipeline.training_report import make_subject, report_path

CUSTOMERS = """
customer_id  created_at  industry  region  owner_id  employees
C1           2024-01-01  retail    north   U1        9
C2           2023-01-01  food      south   -         1200
"""
DEALS = """
deal_id  created_at  customer_id  closed_at   outcome  owner_id  product  source
D1       2024-01-10  C1           2024-03-10  won      U1        basic    web
D2       2024-01-20  -            2024-02-20  lost     U2        basic    fair
"""


def test_every_training_leaves_a_report(finished: World):
    for name, event in (
        ("conversion", "deals won within 90 days"),
        ("churn", "customers who bought nothing for 90 days"),
    ):
        path = report_path(finished.config, name)
        assert path == finished.state / "reports" / f"{name}.html"
        said = " ".join(Page(path.read_text(encoding="utf-8")).text.split())
        assert f"small, {name}: evaluation" in said
        assert "that no model saw there were" in said
        assert event in said
        assert f"Set value_per_event and cost_per_contact in targets.{name}.profit of the config." in said
        assert "columns judged by when they were filled" in said
        assert "industry" in said
        assert "snapshots have no ripe label yet" in said


def test_the_report_is_kept_with_the_run(finished: World):
    kept = [path.read_text(encoding="utf-8") for path in finished.state.rglob("mlartifacts/**/report.html")]
    shown = {path.read_text(encoding="utf-8") for path in (finished.state / "reports").iterdir()}
    assert len(shown) == 2
    assert shown <= set(kept)


def test_the_test_rows_of_the_page_are_those_of_the_manifest(finished: World):
    text = report_path(finished.config, "churn").read_text(encoding="utf-8")
    assert re.search(r"<dt>test rows</dt><dd>[\d,]+, [0-9a-f]{16}</dd>", text)


def test_events_are_named_after_the_kind_of_target(tmp_path: Path):
    targets = {
        "conversion": {"kind": "conversion", "horizons_days": [30], "spine": {"grid": "month"}},
        "orders": {"kind": "churn", "by": "orders", "horizons_days": [60], "spine": {"grid": "month"}},
        "plans": {"kind": "churn", "by": "subscription", "horizons_days": [90], "spine": {"grid": "month"}},
    }
    config = make_config(tmp_path, {"customers": {}, "deals": {}}, targets=targets)
    assert [make_subject(config, name).event for name in targets] == [
        "deals won within 30 days",
        "customers who bought nothing for 60 days",
        "customers without a subscription after 90 days",
    ]


def test_deals_are_sliced_by_what_was_known_of_them_and_their_customer(tmp_path: Path):
    tables = make_tables(tmp_path, customers=CUSTOMERS, deals=DEALS)
    at = pd.to_datetime(["2024-02-01", "2024-02-01", "2024-07-01"]).to_numpy().astype("datetime64[us]")
    rows = TrainingSet(
        pd.DataFrame({"x": [1.0, 2.0, 3.0]}),
        label=pd.Series([1.0, 0.0, 0.0]).to_numpy(),
        time=at,
        group=pd.Series(["C1", "deals D2", "C2"], dtype=object).to_numpy(),
        keys=pd.DataFrame({"entity_id": ["D1", "D2", "D1"], "as_of": at}),  # the third as if it were another's
    )
    cuts = slices_of_tables(tables, Target("conversion", "conversion", 30), rows)
    assert {title: cut.tolist() for title, cut in cuts.items() if "owner" not in title} == {
        "industry": ["2 others", "not known", "2 others"],  # too few rows to be named
        "region": ["2 others", "not known", "2 others"],
        "product": ["basic", "basic", "basic"],
        "source of the deal": ["2 others", "2 others", "2 others"],
        "employees": ["under 10", "not known", "1,000 and more"],
        "age of the deal": ["up to 90 days", "up to 90 days", "91 days to a year"],
        "customer for": ["up to 90 days", "not known", "more than a year"],
    }
    assert cuts["owner of the deal"].tolist() == ["2 others", "2 others", "2 others"]
    assert cuts["owner of the customer"].tolist() == ["U1", "not known", "not known"]


def test_customers_are_sliced_without_deals(tmp_path: Path):
    config, tables = make_world(tmp_path, **CHURN)
    rows = make_training_set(config, tables, "churn")
    cuts = slices_of_tables(tables, Target("churn", "churn", 30, None, 0), rows)
    assert set(cuts) == {"customer for"}  # this world has no other columns
    assert cuts["customer for"].astype(str).unique().tolist() == ["up to 90 days", "91 days to a year"]


def test_customers_met_in_training_are_told_from_new_ones(tmp_path: Path):
    config, tables = make_world(tmp_path, **CHURN)
    rows = make_training_set(config, tables, "churn")
    first = rows.take(rows.group == "C1")
    assert (
        cut_by_acquaintance(first, rows)["new or known"].tolist() == ["met in training"] * 3 + ["never met before"] * 3
    )


@pytest.mark.parametrize("missing", ["group", "keys"])
def test_rows_without_keys_or_groups_cannot_be_sliced_by_tables(tmp_path: Path, missing: str):
    config, tables = make_world(tmp_path, **CHURN)
    rows = make_training_set(config, tables, "churn")
    bare = TrainingSet(rows.frame, rows.label, rows.time, **{} if missing == "keys" else {"keys": rows.keys})
    assert slices_of_tables(tables, Target("churn", "churn", 30), bare) == {}
