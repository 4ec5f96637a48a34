"""Versions of customers and deals: one row for each time during which what was known did not change."""

from datetime import date

import duckdb
import pytest
from conftest import extract_world, make_tables

from features.errors import DataError

OWNER = {"customers": {"tracked": ["owner_id"]}}
ONE_CUSTOMER = """
    customer_id  created_at  owner_id
    C1           2024-01-01  dora
"""


def change(occurred_at, old, new, **other):
    return {
        "occurred_at": occurred_at,
        "table_name": "customers",
        "entity_id": "C1",
        "field": "owner_id",
        "old_value": old,
        "new_value": new,
        **other,
    }


def versions(tables, columns="owner_id", name="customers"):
    path = tables.path(name)
    rows = duckdb.sql(f"SELECT {columns}, known_at, known_until FROM '{path}' ORDER BY 1, known_at").fetchall()
    return sorted(
        (tuple(None if v is None else str(v).removesuffix(" 00:00:00") for v in row) for row in rows),
        key=lambda row: row[-2],
    )


def owners(tmp_path, changes, customers=ONE_CUSTOMER, mapping=OWNER, **config):
    return versions(make_tables(tmp_path, mapping, customers=customers, attribute_changes=changes, config=config))


def test_without_changes_the_current_value_has_always_held(tmp_path):
    other = change("2024-02-01", "x", "y", entity_id="C9")
    assert owners(tmp_path, [other]) == [("dora", "2024-01-01", None)]


def test_the_opening_value_is_the_first_old_value_and_not_todays(tmp_path):
    assert owners(tmp_path, [change("2024-02-01", "anna", "dora")]) == [
        ("anna", "2024-01-01", "2024-02-01"),
        ("dora", "2024-02-01", None),
    ]


def test_every_change_ends_one_version_and_begins_the_next(tmp_path):
    changes = [change("2024-03-01", "boris", "dora"), change("2024-02-01", "anna", "boris")]
    assert owners(tmp_path, changes) == [
        ("anna", "2024-01-01", "2024-02-01"),
        ("boris", "2024-02-01", "2024-03-01"),
        ("dora", "2024-03-01", None),
    ]


def test_a_version_begins_when_the_change_became_known(tmp_path):
    changes = [change("2024-02-01", "anna", "dora", known_at="2024-02-10")]
    assert owners(tmp_path, changes)[1] == ("dora", "2024-02-10", None)


def test_a_change_known_late_does_not_overwrite_one_that_occurred_after_it(tmp_path):
    changes = [
        change("2024-02-01", "anna", "boris", known_at="2024-04-01"),  # occurred first, known last
        change("2024-03-01", "boris", "dora", known_at="2024-03-01"),
    ]
    assert owners(tmp_path, changes) == [("boris", "2024-01-01", "2024-03-01"), ("dora", "2024-03-01", None)]


def test_the_opening_value_is_that_of_the_change_known_first_and_no_later_one_rewrites_it(tmp_path):
    known = change("2024-03-08", "anna", "boris", known_at="2024-03-09")
    late = change("2024-03-04", "boris", "dora", known_at="2024-03-13")  # occurred first, known after
    answer = [("anna", "2024-01-01", "2024-03-09"), ("boris", "2024-03-09", None)]
    assert owners(tmp_path / "before", [known]) == answer
    assert owners(tmp_path / "after", [known, late]) == answer


def test_of_two_changes_at_the_same_instant_the_later_row_wins(tmp_path):
    changes = [change("2024-02-01", "anna", "boris"), change("2024-02-01", "boris", "dora")]
    assert owners(tmp_path, changes) == [("anna", "2024-01-01", "2024-02-01"), ("dora", "2024-02-01", None)]


def test_of_two_changes_at_the_same_instant_the_one_known_later_wins(tmp_path):
    changes = [
        change("2024-02-01", "boris", "dora", known_at="2024-02-03"),
        change("2024-02-01", "anna", "boris", known_at="2024-02-02"),
    ]
    assert owners(tmp_path, changes) == [
        ("anna", "2024-01-01", "2024-02-02"),
        ("boris", "2024-02-02", "2024-02-03"),
        ("dora", "2024-02-03", None),
    ]


def test_a_change_known_before_the_entity_counts_from_the_entity(tmp_path):
    customers = """
        customer_id  created_at  known_at    owner_id
        C1           2024-01-01  2024-03-01  dora
    """
    changes = [change("2024-02-01", "anna", "dora")]  # the customer is backfilled a month later
    assert owners(tmp_path, changes, customers) == [("dora", "2024-03-01", None)]


def test_a_value_that_is_set_to_null_is_null_and_not_unchanged(tmp_path):
    changes = [change("2024-02-01", "anna", None), change("2024-03-01", None, "dora")]
    assert owners(tmp_path, changes) == [
        ("anna", "2024-01-01", "2024-02-01"),
        (None, "2024-02-01", "2024-03-01"),
        ("dora", "2024-03-01", None),
    ]


def test_a_first_old_value_of_null_means_that_it_was_null(tmp_path):
    assert owners(tmp_path, [change("2024-02-01", None, "dora")])[0] == (None, "2024-01-01", "2024-02-01")


def test_a_change_to_the_same_value_makes_no_version(tmp_path):
    assert owners(tmp_path, [change("2024-02-01", "dora", "dora")]) == [("dora", "2024-01-01", None)]


def test_before_history_since_the_value_is_null(tmp_path):
    mapping = {"customers": {"tracked": ["owner_id"], "history_since": {"owner_id": date(2024, 2, 15)}}}
    changes = [change("2024-02-01", "anna", "boris"), change("2024-03-01", "boris", "dora")]
    assert owners(tmp_path, changes, mapping=mapping) == [
        (None, "2024-01-01", "2024-02-15"),
        ("boris", "2024-02-15", "2024-03-01"),
        ("dora", "2024-03-01", None),
    ]


def test_history_since_is_a_day_in_the_time_zone_of_the_deployment(tmp_path):
    mapping = {"customers": {"tracked": ["owner_id"], "history_since": {"owner_id": date(2024, 2, 15)}}}
    changes = [change("2024-03-01", "dora", "dora")]
    found = owners(tmp_path, changes, mapping=mapping, time_zone="Europe/Berlin")
    assert [row[1] for row in found] == ["2023-12-31 23:00:00", "2024-02-14 23:00:00"]


def test_an_entity_that_begins_after_history_since_has_its_value_at_once(tmp_path):
    mapping = {"customers": {"tracked": ["owner_id"], "history_since": {"owner_id": date(2023, 1, 1)}}}
    assert owners(tmp_path, [change("2024-02-01", "anna", "dora")], mapping=mapping)[0][0] == "anna"


def test_two_columns_change_independently_and_static_ones_are_on_every_version(tmp_path):
    customers = """
        customer_id  created_at  owner_id  employees  region
        C1           2024-01-01  dora      30         north
    """
    changes = [
        change("2024-02-01", "anna", "dora"),
        change("2024-03-01", "10", "30", field="employees"),
        change("2024-03-01", "dora", "dora"),
    ]
    mapping = {"customers": {"tracked": ["owner_id", "employees"]}}
    tables = make_tables(tmp_path, mapping, customers=customers, attribute_changes=changes)
    assert versions(tables, "owner_id, employees, region") == [
        ("anna", "10", "north", "2024-01-01", "2024-02-01"),
        ("dora", "10", "north", "2024-02-01", "2024-03-01"),
        ("dora", "30", "north", "2024-03-01", None),
    ]


def test_changed_values_have_the_type_of_their_column(tmp_path):
    deals = """
        deal_id  created_at  amount  owner_id  expected_close_on  closed_at   outcome
        D1       2024-01-01  250.5   7         2024-06-30         2024-05-01  won
    """
    rows = [
        {"field": "amount", "old_value": "1e2", "new_value": "250.50", "occurred_at": "2024-02-01"},
        {"field": "owner_id", "old_value": "6.0", "new_value": "7.0", "occurred_at": "2024-03-01"},
        {
            "field": "expected_close_on",
            "old_value": "2024-04-30",
            "new_value": "2024-06-30",
            "occurred_at": "2024-04-01",
        },
    ]
    changes = [{"table_name": "deals", "entity_id": "D1", **row} for row in rows]
    mapping = {"deals": {"tracked": ["amount", "owner_id", "expected_close_on"]}}
    tables = make_tables(tmp_path, mapping, deals=deals, attribute_changes=changes)
    assert versions(tables, "amount, owner_id, expected_close_on, closed_at, outcome", "deals") == [
        ("100.0000", "6", "2024-04-30", "2024-05-01", "won", "2024-01-01", "2024-02-01"),
        ("250.5000", "6", "2024-04-30", "2024-05-01", "won", "2024-02-01", "2024-03-01"),
        ("250.5000", "7", "2024-04-30", "2024-05-01", "won", "2024-03-01", "2024-04-01"),
        ("250.5000", "7", "2024-06-30", "2024-05-01", "won", "2024-04-01", None),
    ]


def test_a_tracked_column_without_any_change_rows_keeps_its_value(tmp_path):
    empty = []
    tables = make_tables(tmp_path, OWNER, customers=ONE_CUSTOMER, attribute_changes=empty)
    assert versions(tables) == [("dora", "2024-01-01", None)]
    assert "attribute_changes" not in tables.tables  # an empty table is left out


def test_a_changed_value_that_cannot_be_read_stops_the_extract(tmp_path):
    customers = "customer_id  created_at  employees\nC1  2024-01-01  30"
    changes = [change("2024-02-01", "ten", "30", field="employees")]
    expected = r"1 values of old_value for customers.employees cannot be read \(ten\), expected a whole number"
    with pytest.raises(DataError, match=expected):
        make_tables(tmp_path, {"customers": {"tracked": ["employees"]}}, customers=customers, attribute_changes=changes)


def test_a_newest_change_that_disagrees_with_the_current_value_is_reported(tmp_path):
    report = extract_world(
        tmp_path, OWNER, customers=ONE_CUSTOMER, attribute_changes=[change("2024-02-01", "anna", "zoe")]
    )
    assert report.tables[0].warnings == ("1 customers have another owner_id than their newest change says",)


def test_changes_that_nothing_can_use_are_counted(tmp_path):
    changes = [
        change("2024-02-01", "a", "b", table_name="tickets"),
        change("2024-02-01", "a", "b", field="colour"),
        change("2024-02-01", "a", "dora", entity_id="C7"),
    ]
    report = extract_world(tmp_path, OWNER, customers=ONE_CUSTOMER, attribute_changes=changes)
    assert report.tables[-1].warnings == (
        "1 rows are about tables without history (tickets)",
        "1 rows are about columns that are not tracked (customers.colour)",
        "1 rows are about unknown entities (C7)",
    )
