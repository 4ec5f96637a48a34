"""What the README shows works: the configs, the feature group and the conversion of the real data set."""

import re
import sys
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from test_readme import ROOT, find_blocks

from features.build import build_features
from features.spine import build_scoring_spine
from features.tables import load_tables
from models.scorecard import load_scorecard
from pipeline.card_sources import known_features
from pipeline.config import Config, load_config
from pipeline.deployment import load_catalog, make_target
from pipeline.extract import extract
from pipeline.field_values import check_write_back
from pipeline.simulate import simulate_crm, write_files

CARD = "id: ours\n"
"""How the scorecard of the example begins, which is no piece of a config."""
RETAIL = """
Invoice  Quantity  InvoiceDate          Price  Customer ID  Country
489434   12        2009-12-01 07:45:00  6.95   13085        United Kingdom
C489449  -1        2009-12-02 10:33:00  2.95   13085        United Kingdom
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The example config, loaded where the files that it reads are."""
    monkeypatch.chdir(tmp_path)
    [text] = find_blocks("yaml", "config: shop")
    Path("shop.yaml").write_text(text, encoding="utf-8")
    Path("exports").mkdir()
    accounts = "Account ID,Country,Created On,Owner\nA17,DE,2023-01-05 10:00:00,Eva\nA18,FR,2023-02-06 09:30:00,Jan\n"
    Path("exports/accounts.csv").write_text(accounts, encoding="utf-8")
    for year in (2023, 2024):
        sales = f"Invoice No,Account ID,Date,Total\n{year}1,A17,{year}-11-05,99.50\n{year}2,A18,{year}-12-06,20\n"
        Path(f"exports/sales_{year}.csv").write_text(sales, encoding="utf-8")
    return load_config(Path("shop.yaml"))


def test_the_example_config_reads_the_files_that_it_names(shop: Config) -> None:
    report = extract(shop)
    assert {table.name: table.rows for table in report.tables} == {"customers": 2, "orders": 4}
    [customers] = [table for table in report.tables if table.name == "customers"]
    assert list(customers.left_out) == ["owner_id"]  # as the comment in the example says


def test_the_example_config_names_targets_fields_and_a_card_that_exist(shop: Config) -> None:
    assert list(check_write_back(shop).tables) == list(shop.targets) == ["churn"]
    card = shop.targets["churn"].scorecard
    assert card is not None
    assert (ROOT / card).is_file()


def test_every_other_piece_of_config_fits_into_the_demo_config(tmp_path: Path) -> None:
    [complete] = find_blocks("yaml", "config: shop")
    pieces = [text for text in find_blocks("yaml") if text != complete and not text.startswith(CARD)]
    assert len(pieces) >= 2
    for number, piece in enumerate(pieces):
        keys = re.findall(r"^(\w+):", piece, re.MULTILINE)
        demo = (ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8")
        path = tmp_path / f"piece{number}.yaml"
        for key in keys:
            demo = re.sub(rf"^{key}:.*\n(?:[ #].*\n|\n)*", "", demo, flags=re.MULTILINE)
        path.write_text(demo + piece, encoding="utf-8")
        config = load_config(path)
        assert keys
        assert all(getattr(config, key) for key in keys)


def test_the_card_of_the_example_has_no_mistakes_with_any_preset(tmp_path: Path) -> None:
    [text] = [text for text in find_blocks("yaml") if text.startswith(CARD)]
    (tmp_path / "card.yaml").write_text(text, encoding="utf-8")
    demo = load_config(ROOT / "configs" / "demo.yaml").model_copy(update={"state": tmp_path})
    card = load_scorecard(tmp_path / "card.yaml", known_features(demo))
    chosen = load_scorecard(tmp_path / "card.yaml", presets=("startup", "pharma"))
    assert {one.id: one.weight for one in card.criteria} == {"amount": 40, "basket": 20, "need": 40}
    assert {one.id: one.weight for one in chosen.criteria} == {"amount": 20, "basket": 40, "need": 40}
    assert chosen.version == "1+startup+pharma"  # as the text below the card says


def test_the_feature_of_the_example_can_be_built(tmp_path: Path) -> None:
    [module] = find_blocks("python", "feature: payments")
    assert len(module.strip().splitlines()) <= 10
    (tmp_path / "payments.py").write_text(module, encoding="utf-8")
    crm = simulate_crm(60, seed=3)
    write_files(crm, tmp_path / "crm")
    demo = load_config(ROOT / "configs" / "demo.yaml")
    selects = {name: f"SELECT * FROM read_parquet('{name}.parquet')" for name in ("customers", "orders", "invoices")}
    made = Config.model_validate(
        {
            "name": "world",
            "state": tmp_path,
            "source": {"adapter": "files", "folder": tmp_path / "crm", "data_end": crm["clock"]["now"][0].as_py()},
            "tables": {name: {"select": select} for name, select in selects.items()},
            "feature_modules": [tmp_path / "payments.py"],
            "targets": {"churn": demo.targets["churn"]},
        }
    )
    extract(made)
    tables, churn = load_tables(made.folder / "tables"), make_target(made, "churn")
    spine = build_scoring_spine(tables, churn, datetime(2025, 1, 1))
    built = build_features(tables, spine, load_catalog(made), churn.table)
    quick = built.frame["invoices_quick_count_365d"]
    assert (quick >= built.frame["invoices_quick_count_90d"]).all()
    assert quick.max() > 0


@pytest.fixture
def workbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sheets as the publisher's workbook has them, whether or not a reader of workbooks is installed."""
    header, *rows = [re.split(r"\s{2,}", line) for line in RETAIL.strip().splitlines()]
    first = pd.DataFrame(rows, columns=header).assign(StockCode="85048", Description="LIGHTS")
    first["InvoiceDate"] = pd.to_datetime(first["InvoiceDate"])
    first[["Quantity", "Price", "Customer ID"]] = first[["Quantity", "Price", "Customer ID"]].astype(float)
    second = first.assign(Invoice=["536365", "C536366"], InvoiceDate=first["InvoiceDate"] + pd.DateOffset(years=1))
    sheets = {"Year 2009-2010": first, "Year 2010-2011": second}

    def read_excel(path: str, *, sheet_name: list[str], dtype: dict[str, type]) -> dict[str, pd.DataFrame]:
        assert path == str(tmp_path / "online_retail_II.xlsx")
        return {name: sheets[name].astype(dtype) for name in sheet_name}

    monkeypatch.setattr(pd, "read_excel", read_excel)
    return tmp_path / "online_retail_II.xlsx"


def test_the_conversion_makes_the_files_that_the_config_reads(
    workbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [script] = find_blocks("python", "script: convert_online_retail")
    monkeypatch.setattr(sys, "argv", ["convert_online_retail.py", str(workbook), str(tmp_path / "data")])
    exec(compile(script, "convert_online_retail.py", "exec"), {})
    monkeypatch.setenv("LEADSIEVE_DATA", str(tmp_path / "data"))
    config = load_config(ROOT / "configs" / "online_retail.yaml").model_copy(update={"state": tmp_path})
    report = extract(config)
    assert {table.name: table.rows for table in report.tables} == {"customers": 1, "orders": 4}
    orders = pd.read_parquet(load_tables(config.folder / "tables").path("orders"))
    assert orders["order_id"].tolist() == ["489434", "C489449", "536365", "C536366"]
    assert [float(amount) for amount in orders["amount"]] == [83.4, -2.95, 83.4, -2.95]
