"""Sensitive columns are stored, and shown to nobody."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import extract_world, make_config, make_tables
from search_state import search
from small_crm import CONFIG, SIMPLE, Answer, World, only_candidates, run_cli

from features.catalog import CATALOG
from features.tables import load_tables
from pipeline.errors import ConfigError

CUSTOMERS = """
    customer_id  created_at  name          email              region
    C1           2024-01-01  ZZSECRETNAME  a@zzsecret.test    north
    C2           2024-02-01  Other         b@zzsecret.test    south
"""
ORDERS = """
    order_id  customer_id  occurred_at  amount  note
    O1        C1           2024-03-01   10      ZZSECRETNOTE
"""
MAPPINGS = {"customers": {"sensitive": ["name", "email"], "static": ["region"]}, "orders": {"sensitive": ["note"]}}


def test_a_sensitive_column_is_stored_without_a_history_and_marked(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, MAPPINGS, customers=CUSTOMERS, orders=ORDERS)
    assert tables.tables["customers"].sensitive == ("name", "email")
    assert tables.tables["orders"].sensitive == ("note",)
    rows = duckdb.sql(f"SELECT name, email FROM '{tables.path('customers')}' ORDER BY 1").fetchall()
    assert rows == [("Other", "b@zzsecret.test"), ("ZZSECRETNAME", "a@zzsecret.test")]


def test_a_column_that_is_no_longer_sensitive_needs_a_history_again(tmp_path: Path) -> None:
    make_tables(tmp_path, MAPPINGS, customers=CUSTOMERS)
    extract_world(tmp_path, {"customers": {"static": ["region"]}}, customers=CUSTOMERS)
    stored = load_tables(tmp_path / "world" / "tables").tables["customers"]
    assert (stored.sensitive, set(stored.columns) & {"name", "email"}) == ((), set())


def test_the_order_in_the_config_does_not_matter(tmp_path: Path) -> None:
    first = make_tables(tmp_path / "a", MAPPINGS, customers=CUSTOMERS)
    turned = {"customers": {**MAPPINGS["customers"], "sensitive": ["email", "name"]}}
    assert make_tables(tmp_path / "b", turned, customers=CUSTOMERS).tables["customers"] == first.tables["customers"]


def test_changes_of_a_sensitive_column_are_not_stored(tmp_path: Path) -> None:
    changes = """
        occurred_at  table_name  entity_id  field      old_value     new_value
        2024-03-01   customers   C1         name       ZZSECRETOLD   ZZSECRETNAME
        2024-03-02   customers   C1         region     south         north
    """
    mappings = {"customers": {"sensitive": ["name", "email"], "tracked": ["region"]}}
    report = extract_world(tmp_path, mappings, customers=CUSTOMERS, attribute_changes=changes)
    tables = load_tables(tmp_path / "world" / "tables")
    assert duckdb.sql(f"SELECT field FROM '{tables.path('attribute_changes')}'").fetchall() == [("region",)]
    dropped = {one.name: one.dropped for one in report.tables}
    assert dropped["attribute_changes"] == {"changes of sensitive columns": 1}


@pytest.mark.parametrize(
    ("table", "keys", "expected"),
    [
        ("customers", {"sensitive": ["name"], "static": ["name"]}, "column 'name' is sensitive and static. Choose one"),
        (
            "customers",
            {"sensitive": ["name"], "remembered": ["name"]},
            "column 'name' is sensitive and remembered. Choose one",
        ),
        (
            "orders",
            {"sensitive": ["note"], "revealed": {"note": "noted_at"}},
            "column 'note' is sensitive and revealed. Choose one",
        ),
        (
            "orders",
            {"sensitive": ["noted_at"], "revealed": {"note": "noted_at"}},
            "column 'noted_at' is sensitive and revealed. Choose one",
        ),
        ("customers", {"sensitive": ["customer_id"]}, "column 'customer_id' cannot be sensitive: tables are joined"),
        ("customers", {"sensitive": ["created_at"]}, "column 'created_at' cannot be sensitive: "),
        ("customers", {"sensitive": ["parent_id"]}, "column 'parent_id' cannot be sensitive: "),
        ("customers", {"sensitive": ["merged_into"]}, "column 'merged_into' cannot be sensitive: "),
        ("orders", {"sensitive": ["amount"]}, "column 'amount' cannot be sensitive: "),
        ("orders", {"sensitive": ["quantity"]}, "column 'quantity' cannot be sensitive: "),
        ("deals", {"sensitive": ["outcome"]}, "column 'outcome' cannot be sensitive: "),
        ("orders", {"sensitive": ["entered_at"], "known_at": "entered_at"}, "'entered_at' cannot be sensitive: "),
        ("orders", {"sensitive": ["changed_at"], "modified_at": "changed_at"}, "'changed_at' cannot be sensitive: "),
        ("orders", {"sensitive": ["note", "note"]}, "column 'note' is sensitive twice. Name it once"),
    ],
)
def test_a_column_that_something_is_computed_from_cannot_be_sensitive(
    tmp_path: Path, table: str, keys: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=rf"tables\.{table}.*{expected}"):
        make_config(tmp_path, {"customers": {}, table: keys})


def test_a_sensitive_column_that_is_not_delivered_is_a_mistake(tmp_path: Path) -> None:
    mapping = {"customers": {"sensitive": ["nmae"], "static": ["region"]}}
    with pytest.raises(ConfigError, match=r"tables\.customers\.sensitive names column 'nmae', .* Did you mean 'name'"):
        extract_world(tmp_path, mapping, customers=CUSTOMERS)


SELECT = """
    SELECT customer_id, created_at, known_at, name, industry, region, employees, annual_revenue, founded_on, parent_id,
    owner_id, source, credit_grade, tax_number, mail FROM customers
"""
STORED = ("crm.db*", "customers-*.parquet", "activities-*.parquet")
"""Where sensitive values are allowed: the CRM, and the stored tables."""


@pytest.fixture
def secret_world(world: World) -> World:
    """A deployment whose customers and activities have sensitive columns; it has not learned anything yet."""
    for name in ("mlflow.db", "ledger.db"):
        (world.state / name).unlink()
    for name in ("tables", "runs", "bundles", "training"):
        shutil.rmtree(world.state / name)
    world.sql("ALTER TABLE customers ADD COLUMN mail TEXT")
    values = "name = 'ZZSECRETNAME ' || customer_id, tax_number = 'ZZSECRETTAX' || customer_id, mail = 'a@b.zzsecret'"
    world.sql(f"UPDATE customers SET {values}")
    world.sql("UPDATE activities SET author = 'ZZSECRETAUTHOR ' || activity_id")
    world.sql(
        "INSERT INTO attribute_changes (occurred_at, known_at, table_name, entity_id, field, old_value, new_value) "
        "SELECT created_at, created_at, 'customers', customer_id, 'name', 'ZZSECRETOLD', name FROM customers LIMIT 5"
    )
    static = [
        name for name in world.config.tables["customers"].static if name not in ("name", "tax_number", "founded_on")
    ]
    world.change_config(
        source__orphan_share=0.9,  # what a quarantined customer leaves behind is not the point here
        tables__customers__select=SELECT,
        tables__customers__static=static,
        tables__customers__sensitive=["name", "tax_number", "mail", "founded_on"],
        tables__activities__sensitive=["author"],
    )
    return world


def test_no_sensitive_value_leaves_the_stored_tables(secret_world: World) -> None:
    world, said = secret_world, []

    def run(command: str, *arguments: str, codes: tuple[int, ...] = (0,)) -> Answer:
        answer = world.run(command, *arguments)
        assert answer.code in codes, answer.err
        said.append(answer.out + answer.err)
        return answer

    run("extract --dry-run")
    run("extract", "--json")
    with only_candidates(*SIMPLE):
        run("train", codes=(0, 1))  # 1: no signal for one of the targets, whose card grades alone
    first = run("score", "--json").document["run_id"]
    for command in ("features list", "features list --json", "writeback plan", "writeback apply", "writeback status"):
        run(command)
    entity = str(world.sql("SELECT entity_id FROM scores LIMIT 1", file="state/small/ledger.db")[0][0])
    run("features show", "--entity", entity, "--json")
    shown = world.run("features show", "--entity", entity, groups=CATALOG)  # whatever any shipped group can show
    assert shown.code == 0, shown.err
    said.append(shown.out)
    run("writeback undo", first)
    world.pass_a_day()
    run("run", "--json")
    assert search(world.state, "zzsecret") != []
    assert search(world.folder, "zzsecret", without=STORED) == []
    assert not [text for text in said if "zzsecret" in text.lower()]


FIRST = "(SELECT min(customer_id) FROM customers)"
KEPT = 40


@pytest.fixture
def few_secrets(secret_world: World) -> World:
    """The same with forty customers, and what belongs to them: read in a moment."""
    world = secret_world
    there = f"SELECT customer_id FROM customers ORDER BY customer_id LIMIT {KEPT}"
    world.sql(f"DELETE FROM customers WHERE customer_id NOT IN ({there})")
    for table in ("contacts", "deals", "activities", "orders", "invoices", "tickets", "subscriptions"):
        world.sql(f"DELETE FROM {table} WHERE customer_id NOT IN (SELECT customer_id FROM customers)")
    for table in ("stage_changes", "activities"):
        world.sql(f"DELETE FROM {table} WHERE deal_id NOT IN (SELECT deal_id FROM deals)")
    world.change_config(source__bad_share=1.5 / KEPT)  # one customer, but not two
    return world


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE customers SET founded_on = 'ZZSECRETDAY ' || customer_id", 3),
        (f"UPDATE customers SET founded_on = 'ZZSECRETDAY' WHERE customer_id IN {FIRST}", 0),
        ("UPDATE customers SET created_at = 'soon' WHERE customer_id < 'C0000010'", 3),
        (f"UPDATE customers SET created_at = 'soon' WHERE customer_id IN {FIRST}", 0),
        ("UPDATE activities SET occurred_at = '2099-01-01'", 3),
        ("UPDATE activities SET customer_id = 'nobody', deal_id = NULL", 3),
    ],
)
def test_no_error_and_no_quarantine_shows_a_sensitive_value(few_secrets: World, statement: str, code: int) -> None:
    world = few_secrets
    world.sql(statement)
    answers = [world.run("extract --dry-run"), world.run("extract"), world.run("extract --json")]
    with contextlib.chdir(world.folder):
        answers.append(run_cli("--debug", "extract", "--config", CONFIG))
    assert {answer.code for answer in answers} == {code}, answers[0].err
    assert not [answer for answer in answers if "zzsecret" in (answer.out + answer.err).lower()]
    assert search(world.folder, "zzsecret", without=STORED) == []


MODULE = """
from features.group import Feature, feature_group

@feature_group(table="customers", by="customer_id")
def names(customers):
    return {"customers_name": Feature(customers.name.max(), empty=None, unit="text", en="{value}", zh="{value}")}
"""


def test_no_feature_can_be_made_of_a_sensitive_column(few_secrets: World) -> None:
    world = few_secrets
    assert world.run("extract").code == 0
    (world.folder / "names.py").write_text(MODULE, encoding="utf-8")
    world.change_config(feature_modules=["names.py"])
    answer = world.run("features list --target churn")
    assert "zzsecret" not in (answer.out + answer.err).lower()
    assert "customers_name" not in [line.split()[0] for line in answer.out.splitlines() if line.strip()]
