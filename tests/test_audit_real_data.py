"""The audit on public data: columns that are known to be filled after the fact, and some that are not."""

from pathlib import Path

import pandas as pd
import pytest

from features.tables import load_tables
from pipeline.audit_columns import ColumnVerdict, check_columns
from pipeline.audit_frame import check_frame
from pipeline.config import Config, load_config
from pipeline.extract import extract

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

pytestmark = pytest.mark.data


@pytest.fixture
def olist(public_data, monkeypatch, tmp_path) -> Config:
    monkeypatch.setenv("LEADSIEVE_DATA", str(public_data("olist")))
    return load_config(CONFIGS / "olist.yaml").model_copy(update={"state": tmp_path})


def _audit(config: Config) -> dict[str, ColumnVerdict]:
    extract(config)
    return {one.column: one for one in check_columns(config, load_tables(config.folder / "tables"))}


@pytest.mark.parametrize("is_declared", [True, False])
def test_columns_of_won_leads_are_found_if_they_are_not_declared_revealed(olist, is_declared):
    deals = olist.tables["deals"]
    late = tuple(deals.revealed)
    static = (*deals.static, *late) if is_declared else deals.static
    tables = {"deals": deals.model_copy(update={"static": static, "revealed": {}})}
    found = _audit(olist.model_copy(update={"tables": tables}))
    assert {column for column, one in found.items() if one.verdict == "leak"} == set(late)
    assert len(late) == 12
    assert {column for column, one in found.items() if one.verdict == "suspicious"} == set()
    assert {found[column].verdict for column in ("source", "product")} == {"use"}
    assert {found[column].in_use for column in ("lead_type", "business_segment")} == {is_declared}


def test_columns_that_are_declared_revealed_are_used(olist):
    found = _audit(olist)
    assert {one.verdict for one in found.values()} == {"use"}
    assert found["lead_type"].evidence == (
        "lead_type is filled in 836 of 842 closed deals and in 0 of 7,158 open ones; features see it only after "
        "closed_at."
    )


def test_the_value_of_closed_deals_is_a_leak_and_a_seller_without_open_deals_is_suspicious(
    public_data, monkeypatch, tmp_path
):
    monkeypatch.setenv("LEADSIEVE_DATA", str(public_data("maven_crm")))
    config = load_config(CONFIGS / "maven_crm.yaml").model_copy(update={"state": tmp_path})
    deals = config.tables["deals"]
    late = {"revealed": {}, "static": (*deals.static, "close_value")}
    tables = {**config.tables, "deals": deals.model_copy(update=late)}
    found = _audit(config.model_copy(update={"tables": tables}))
    verdicts = {column: found[column].verdict for column in ("close_value", "owner_id", "product", "amount")}
    assert verdicts == {"close_value": "leak", "owner_id": "suspicious", "product": "use", "amount": "use"}
    assert "owner_id is 'Donn Cantrell' in 275 of 6,711 closed deals and in 0 of 1,589" in found["owner_id"].evidence


def test_after_the_fact_columns_of_x_education_are_suspicious(public_data):
    frame = pd.read_csv(public_data("x_education") / "x_education" / "Leads.csv.gz")
    verdicts = check_frame(frame, "Converted", known=["Lead Source", "Total Time Spent on Website"])
    found = {one.column: one for one in verdicts}
    assert {found[column].verdict for column in ("Tags", "Lead Quality", "Lead Profile")} == {"suspicious"}
    assert verdicts[0].column == "Tags"
    assert found["Lead Profile"].evidence.startswith(
        "Lead Profile: nothing dates it; empty in 58% of rows with Converted = 1 and in 84% of others"
    )
    used = {column for column, one in found.items() if one.verdict == "use"}
    assert used == {"Lead Source", "Total Time Spent on Website"}


def test_the_duration_of_the_call_is_the_most_suspicious_of_the_undated_columns_of_the_bank(public_data):
    frame = pd.read_csv(public_data("bank_marketing") / "bank_marketing" / "bank-additional-full.csv.gz", sep=";")
    verdicts = check_frame(frame, "y", known=[])
    assert {one.verdict for one in verdicts} == {"undated"}
    assert verdicts[0].column == "duration"
