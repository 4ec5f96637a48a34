"""`leadsieve init` drafts a config that loads, and marks what a person must check."""

import sqlite3

import duckdb
import pytest
import typer
from typer.testing import CliRunner

from features.tables import TABLES
from pipeline.commands.init import init
from pipeline.config import load_config
from pipeline.errors import ConfigError, CrmError
from pipeline.extract import extract
from pipeline.guess import guess_columns

ACCOUNTS = "Account ID,Country,Created On,Colour\nA1,DE,2024-01-05 10:00:00,red\nA2,FR,2024-01-06 10:00:00,blue\n"
SALES = "Invoice No,Invoice Date,Customer ID,Total\n1,2024-02-{0:02} 10:00:00,A1,10.5\n"


def run(*arguments):
    app = typer.Typer()
    app.command()(init)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def draft(tmp_path, *arguments):
    path = tmp_path / "draft.yaml"
    assert run(*arguments, "--out", path).exit_code == 0
    return path.read_text(), load_config(path)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "export"
    (place / "sales").mkdir(parents=True)
    (place / "accounts.csv").write_text(ACCOUNTS)
    for number in (1, 2):
        (place / "sales" / f"sales_{number}.csv").write_text(SALES.format(number).replace("\n1,", f"\n{number},"))
    (place / "notes.txt").write_text("not a table\n")
    (place / "logo.png").write_bytes(b"\x89PNG")
    return place


def test_the_draft_of_a_folder_maps_what_it_recognises(tmp_path, folder):
    text, config = draft(tmp_path, "--source", "files", "--folder", folder, "--name", "shop")
    assert list(config.tables) == ["customers", "orders"]
    assert '"Account ID" AS customer_id' in config.tables["customers"].select
    assert '"Country" AS region' in config.tables["customers"].select
    assert "FROM read_csv('sales/sales_*.csv')" in config.tables["orders"].select
    assert "# not used: Colour" in text
    assert "static: []    # CHECK: which of these never change? region" in text
    assert "data_end: 2024-02-03" in text  # the day after the newest order
    assert list(config.targets) == ["churn"]
    assert "# Not recognised: notes.txt" in text


def test_the_draft_of_a_folder_can_be_extracted_at_once(tmp_path, folder):
    _, config = draft(tmp_path, "--source", "files", "--folder", folder)
    report = extract(config.model_copy(update={"state": tmp_path / "state"}))
    assert {table.name: table.rows for table in report.tables} == {"customers": 2, "orders": 2}


def test_without_customers_they_are_made_of_their_orders(tmp_path, folder):
    (folder / "accounts.csv").unlink()
    text, config = draft(tmp_path, "--folder", folder)
    assert 'SELECT "Customer ID" AS customer_id, min("Invoice Date") AS created_at' in config.tables["customers"].select
    assert "# CHECK: no table looks like customers or deals" in text


def test_required_columns_that_nothing_looks_like_are_marked(tmp_path, folder):
    (folder / "accounts.csv").write_text(ACCOUNTS.replace("Created On", "Shade"))
    text, config = draft(tmp_path, "--folder", folder)
    assert "# CHECK: nothing looks like created_at, which the table needs" in text
    assert "NULL AS created_at" in config.tables["customers"].select
    dry = extract(config.model_copy(update={"state": tmp_path / "state"}), dry_run=True)
    assert "Table 'customers': 2 of 2 rows have no created_at" in dry.problems[0]


def test_a_second_table_that_looks_the_same_is_mentioned(tmp_path, folder):
    (folder / "clients.csv").write_text(ACCOUNTS)
    text, _ = draft(tmp_path, "--folder", folder)
    assert "# CHECK: also looks like customers: clients.csv (UNION ALL?)" in text


def test_a_source_that_nothing_is_known_of_still_gives_a_draft_that_loads(tmp_path):
    (tmp_path / "weather.csv").write_text("town,rain\nBonn,3\n")
    text, config = draft(tmp_path, "--folder", tmp_path)
    assert config.targets == {}
    assert "# Not recognised: weather.csv" in text


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "crm.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE opportunities (id TEXT, created TIMESTAMP, account TEXT, value REAL, "
                           "close_date TIMESTAMP, status TEXT)")  # fmt: skip
        connection.execute("INSERT INTO opportunities VALUES ('D1', '2024-01-01 10:00', 'A1', 10, NULL, NULL)")
    connection.close()
    return path


def test_the_draft_of_a_sqlite_file_can_be_extracted_at_once(tmp_path, database):
    text, config = draft(tmp_path, "--source", "sqlite", "--path", database)
    assert config.source.sqlite == database
    assert list(config.targets) == ["conversion"]
    assert '"close_date" AS closed_at' in text
    report = extract(config.model_copy(update={"state": tmp_path / "state"}))
    assert report.tables[0].rows == 1


def test_the_draft_of_a_database_names_the_variable_and_never_the_url(tmp_path, database, monkeypatch):
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{database}?timeout=5")
    text, config = draft(tmp_path, "--url-env", "SHOP_URL")
    assert config.source.url_env == "SHOP_URL"
    assert str(database) not in text


def test_without_out_the_draft_is_printed(folder):
    assert run("--folder", folder).stdout.startswith("# Draft of `leadsieve init`")


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        ([], ConfigError, "init needs one source. Pass `--source files --folder DIR`"),
        (["--source", "files"], ConfigError, "init needs one source"),
        (["--source", "oracle", "--folder", "."], ConfigError, "init needs one source"),
        (["--folder", ".", "--path", "x.db"], ConfigError, "init needs one source"),
        (["--folder", "nowhere"], ConfigError, "The folder nowhere does not exist"),
        (["--folder", ".", "--name", "My Shop"], ConfigError, "'My Shop' is no name for a deployment"),
        (["--path", "nowhere.db"], CrmError, r"SQLite file nowhere.db does not exist. Pass the path"),
        (["--url-env", "UNSET_URL"], ConfigError, "Environment variable UNSET_URL is not set"),
        (["--url-env", "postgresql://job:secret@host/db"], ConfigError, r"got something else \(not shown"),
    ],
)
def test_a_source_that_cannot_be_used_is_named(tmp_path, monkeypatch, arguments, error, expected):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=expected):
        run(*arguments)


def test_an_empty_folder_and_an_empty_database_are_named(tmp_path):
    with pytest.raises(ConfigError, match="No CSV or Parquet file can be read below"):
        run("--folder", tmp_path)
    sqlite3.connect(tmp_path / "empty.db").execute("VACUUM").connection.close()
    with pytest.raises(ConfigError, match=r"has no tables. Pass a database that has some"):
        run("--path", tmp_path / "empty.db")


def test_a_file_that_exists_is_not_overwritten(tmp_path, folder):
    path = tmp_path / "mine.yaml"
    path.write_text("precious")
    with pytest.raises(ConfigError, match=r"mine.yaml exists already. Pass another file with --out"):
        run("--folder", folder, "--out", path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("table", "delivered", "expected"),
    [
        (
            "orders",
            ["InvoiceNo", "CustomerID", "InvoiceDate", "UnitPrice"],
            ["order_id", "occurred_at", "customer_id", "amount"],
        ),
        (
            "deals",
            ["opportunity_id", "engage_date", "close_date", "deal_stage"],
            ["deal_id", "created_at", "closed_at", "outcome"],
        ),
        ("invoices", ["invoiceNumber", "DueDate", "SettledDate"], ["invoice_id", "due_at", "paid_at"]),
    ],
)
def test_names_of_real_exports_are_recognised(table, delivered, expected):
    assert list(guess_columns(TABLES[table], dict.fromkeys(delivered, "VARCHAR"))) == expected


def test_a_number_is_not_taken_for_a_time():
    assert "occurred_at" not in guess_columns(TABLES["orders"], {"date": "BIGINT"})


def test_drafts_quote_what_must_be_quoted(tmp_path):
    place = tmp_path / 'it\'s "here"'
    place.mkdir()
    duckdb.sql('SELECT \'A1\' AS "Account ""ID""", TIMESTAMP \'2024-01-01\' AS created').write_csv(
        str(place / "accounts.csv")
    )
    text, config = draft(tmp_path, "--folder", place)
    assert config.source.folder == place
    assert '"Account ""ID""" AS customer_id' in text
    assert extract(config.model_copy(update={"state": tmp_path / "state"})).tables[0].rows == 1


def test_for_odoo_there_is_a_config_to_copy_and_the_address_is_not_shown(monkeypatch):
    monkeypatch.setenv("CRM_ADDRESS", "https://crm.secret.example")
    with pytest.raises(ConfigError, match=r"CRM_ADDRESS holds a web address.*copy configs/odoo.yaml") as error:
        run("--url-env", "CRM_ADDRESS")
    assert "secret" not in str(error.value)
