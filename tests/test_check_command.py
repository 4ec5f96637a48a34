"""`leadsieve check`: what it prints, its exit codes, and that it says in one sentence what it cannot do."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from small_crm import Answer, run_cli

from features.groups.orders import order_history
from pipeline.audit import Audit, audit
from pipeline.audit_verdict import ColumnVerdict
from pipeline.config import load_config

CONFIG = """
name: shop
source: {adapter: files, folder: exports, data_end: 2024-07-01 00:00:00}
tables:
  customers:
    select: SELECT customer_id, created_at, name, region FROM read_csv('customers.csv')
    sensitive: [name]
    static: [region]
  orders:
    select: SELECT * FROM read_csv('orders.csv')
targets:
  churn:
    kind: churn
    by: orders
    horizons_days: [30]
    spine: {grid: month, start: 2024-04-01}
"""
CUSTOMERS = "customer_id,created_at,name,region\nC1,2024-01-01,ZZSecret AG,north\nC2,2024-01-02,zzsecret,[red]south\n"
ORDERS = """order_id,occurred_at,known_at,customer_id,amount
O1,2024-02-01 10:00:00,2024-02-01 10:00:00,C1,10
O2,2024-02-03 10:00:00,2024-02-05 10:00:00,C2,20
"""
LEADS = "Lead Source,Tags,Won\nweb,x,1\nweb,,0\nads,y,1\nads,z,0\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a small deployment that was extracted, and a flat frame; nobody changes it."""
    place = tmp_path_factory.mktemp("shop")
    (place / "exports").mkdir()
    for name, text in {
        "shop.yaml": CONFIG, "exports/customers.csv": CUSTOMERS, "exports/orders.csv": ORDERS, "leads.csv": LEADS,
    }.items():  # fmt: skip
        (place / name).write_text(text, encoding="utf-8")
    with contextlib.chdir(place), patch("pipeline.deployment.CATALOG", (order_history,)):
        answer = run_cli("extract", "-c", "shop.yaml")
        assert answer.code == 0, answer.err
        yield place


@pytest.fixture(scope="module")
def printed(folder: Path) -> Answer:
    return run_cli("check", "-c", "shop.yaml", "--html", "pages/check.html")


@pytest.fixture(scope="module")
def found(folder: Path) -> Audit:
    return audit(load_config(folder / "shop.yaml"))


def leaking(column: str, table: str = "customers") -> ColumnVerdict:
    return ColumnVerdict(table, column, "leak", "static", True, "Only with an outcome [red].", "Who fills it?", 0.9)


def test_everything_is_printed_and_ends_with_the_verdict(printed: Answer) -> None:
    assert (printed.code, printed.err) == (0, "")
    lines = printed.out.splitlines()
    parts = [line for line in lines if line.startswith(("Columns", "Lateness", "Maturity", "Missing", "What to do"))]
    assert [line.split()[0] for line in parts] == ["Columns", "Lateness:", "Maturity", "What"]  # no value is missing
    assert lines[-2:] == ["Passed: no leak is in use.", "The page is pages/check.html."]
    rows = [line.split() for line in lines]
    assert ["orders", "occurred_at", "2", "50.0", "%", "0", "2.0", "days", "2.0", "days"] in rows
    assert [row[0] for row in rows if row and row[0].startswith("2024-0")] == [
        "2024-04",
        "2024-05",
        "2024-06",
        "2024-07",
    ]
    assert " and 1 month before spine.start, in --json and on the page" in lines


def test_no_value_of_a_sensitive_column_is_shown(folder: Path, printed: Answer, found: Audit) -> None:
    page = (folder / "pages" / "check.html").read_text(encoding="utf-8")
    document = json.dumps(found.to_json())
    assert "C1, C2" in printed.out  # they are found by their name
    assert not [text for text in (printed.out, page, document) if "zzsecret" in text.casefold()]


def test_json_is_one_document_on_stdout(folder: Path, found: Audit) -> None:
    with patch("pipeline.audit.audit", return_value=found):
        answer = run_cli("check", "-c", "shop.yaml", "--json", "--html", "other.html")
    document = answer.document
    assert (document["name"], document["passed"], document["verdict"]) == ("shop", True, "Passed: no leak is in use.")
    assert {"columns", "lateness", "maturity", "quality", "parity", "findings"} <= document.keys()
    assert {one["level"] for one in document["findings"]} <= {"look", "note"}
    assert (folder / "other.html").is_file()


@pytest.mark.usefixtures("folder")
def test_a_leak_in_use_ends_with_exit_code_1_and_says_what_to_do(found: Audit) -> None:
    with patch("pipeline.audit.audit", return_value=replace(found, columns=(leaking("region"),))):
        answer = run_cli("check", "-c", "shop.yaml")
        document = run_cli("check", "-c", "shop.yaml", "--json")
    assert answer.code == document.code == 1
    assert "Only with an outcome [red]." in answer.out  # brackets are no markup
    assert "Take 'region' out of tables.customers.static in the config" in answer.out
    error = "Error: Not passed: 1 column that leaks is in use. What to do is said above.\n"
    assert answer.err == document.err == error
    assert json.loads(document.out)["passed"] is False


@pytest.mark.usefixtures("folder")
def test_a_flat_frame_is_checked_without_a_deployment() -> None:
    arguments = ("check", "--frame", "leads.csv", "--label", "Won", "--known", "Lead Source", "--known", "Tags")
    answer = run_cli(*arguments)
    assert answer.code in (0, 1), answer.err
    assert "Lateness" not in answer.out
    document = json.loads(run_cli(*arguments, "--json").out)
    assert {one["column"]: one["in_use"] for one in document["columns"]} == {"Lead Source": True, "Tags": True}
    assert (document["data_end"], document["parity"], document["maturity"]) == (None, None, [])


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        ("", 2, "Pass --config FILE for a deployment, or --frame FILE --label COLUMN for a flat frame"),
        ("-c shop.yaml --frame leads.csv --label Won", 2, "one of the two"),
        ("-c shop.yaml --label Won", 2, "--label and --known are for --frame"),
        ("--frame leads.csv", 2, "--frame leads.csv needs --label, the column with the outcome. Pass it."),
        ("--frame leads.csv --label Won --known Lead_Source", 2, "does not have. Did you mean 'Lead Source'?"),
        ("--frame nowhere.csv --label Won", 3, "nowhere.csv does not exist. Pass a Parquet or CSV file."),
        ("--frame shop.yaml --label Won", 3, "shop.yaml cannot be read as Parquet or CSV"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments: str, code: int, expected: str) -> None:
    answer = run_cli("check", *arguments.split())
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    assert expected in answer.err


def test_without_an_extract_the_remedy_is_named(folder: Path) -> None:
    (folder / "new.yaml").write_text(CONFIG.replace("name: shop", "name: fresh"), encoding="utf-8")
    answer = run_cli("check", "-c", "new.yaml")
    assert (answer.code, answer.out) == (3, "")
    assert "No extracted tables in" in answer.err
    assert "Run `leadsieve extract` first." in answer.err
    assert not (folder / ".leadsieve" / "fresh").exists()  # a check changes nothing
