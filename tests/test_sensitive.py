"""Sensitive columns are stored, and shown to nobody."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import extract_world, make_config, make_tables

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
