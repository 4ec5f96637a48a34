"""Bad rows up to a share go to a file with the reason; above it the extract stops."""

import csv
import sqlite3

import duckdb
import pytest
from conftest import extract_world, make_config

from features.errors import DataError
from features.tables import load_tables
from pipeline.adapters.sql_reader import AlchemyReader
from pipeline.errors import ConfigError
from pipeline.extract import extract

CUSTOMERS = "customer_id  created_at\nC1  2024-01-01\nC2  2024-01-02"
TENTH = {"source": {"bad_share": 0.1}}
"""One bad row of ten is allowed."""


def make_orders(*others, good=9):
    """Nine good orders O1 to O9, and others."""
    rows = [
        {"order_id": f"O{i}", "occurred_at": f"2024-02-0{i}", "customer_id": "C1", "amount": str(i)}
        for i in range(1, good + 1)
    ]
    return [*rows, *({**rows[0], **other} for other in others)]


def read_quarantine(report, table="orders"):
    path = report.folder.parent / "quarantine" / f"{table}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_ids(report, table="orders", key="order_id"):
    path = load_tables(report.folder).path(table)
    return [value for (value,) in duckdb.sql(f"SELECT {key} FROM '{path}' ORDER BY 1").fetchall()]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"amount": "ten"}, "amount cannot be read"),
        ({"occurred_at": None}, "no occurred_at"),
        ({"customer_id": None}, "no customer_id"),
        ({"order_id": None}, "no order_id"),
        ({"occurred_at": "2024-02-05", "known_at": "2024-02-04"}, "known_at before occurred_at"),
        ({"occurred_at": "2024-07-01"}, "occurred_at or its known_at at or after data_end"),
        ({"currency": "USD"}, "another currency than EUR"),
    ],
)
def test_a_bad_row_is_left_out_counted_and_written_with_its_reason(tmp_path, bad, reason):
    report = extract_world(tmp_path, customers=CUSTOMERS, orders=make_orders({"order_id": "B", **bad}), config=TENTH)
    assert report.tables[1].quarantined == {reason: 1}
    assert (report.tables[1].rows_read, report.tables[1].rows) == (10, 9)
    (row,) = read_quarantine(report)
    assert (row["reason"], row["order_id"]) == (reason, bad.get("order_id", "B") or "")
    assert read_ids(report) == [f"O{i}" for i in range(1, 10)]


def test_the_file_has_the_columns_as_they_were_delivered(tmp_path):
    orders = make_orders({"order_id": "B", "amount": "ten", "note": 'a, "b"'})
    (row,) = read_quarantine(extract_world(tmp_path, customers=CUSTOMERS, orders=orders, config=TENTH))
    assert list(row) == ["reason", "order_id", "occurred_at", "customer_id", "amount", "note"]
    assert (row["amount"], row["note"], row["occurred_at"]) == ("ten", 'a, "b"', "2024-02-01 00:00:00")


def test_an_outcome_in_other_words_is_bad(tmp_path):
    deals = [
        {"deal_id": f"D{i}", "created_at": "2024-02-01", "closed_at": "2024-03-01", "outcome": "won"} for i in range(9)
    ]
    deals.append({**deals[0], "deal_id": "B", "outcome": "Closed Won"})
    report = extract_world(tmp_path, deals=deals, config=TENTH)
    assert read_quarantine(report, "deals")[0]["reason"] == "outcome is not 'won', 'lost' or null"


def test_a_change_that_cannot_be_read_is_bad(tmp_path):
    customers = [{"customer_id": "C1", "created_at": "2024-01-01", "employees": 7}]
    change = {
        "occurred_at": "2024-02-01",
        "table_name": "customers",
        "entity_id": "C1",
        "field": "employees",
        "old_value": "5",
        "new_value": "7",
    }
    changes = [*([change] * 9), {**change, "new_value": "many"}]
    mappings = {"customers": {"tracked": ["employees"]}}
    report = extract_world(tmp_path, mappings, customers=customers, attribute_changes=changes, config=TENTH)
    (row,) = read_quarantine(report, "attribute_changes")
    assert (row["reason"], row["new_value"]) == ("new_value cannot be read as customers.employees", "many")
    assert report.tables[1].rows == 9


def test_a_row_with_two_faults_counts_once_and_shows_both(tmp_path):
    orders = make_orders({"order_id": "B", "amount": "ten", "customer_id": None})
    report = extract_world(tmp_path, customers=CUSTOMERS, orders=orders, config=TENTH)
    assert report.tables[1].quarantined == {"amount cannot be read": 1}
    assert read_quarantine(report)[0]["reason"] == "amount cannot be read; no customer_id"


def test_above_the_share_the_extract_stops_and_what_was_there_stays(tmp_path):
    first = extract_world(
        tmp_path, customers=CUSTOMERS, orders=make_orders({"order_id": "B", "amount": "ten"}), config=TENTH
    )
    before, held_back = load_tables(first.folder), read_quarantine(first)
    worse = make_orders({"order_id": "A", "amount": "two"}, {"order_id": "B", "customer_id": None})
    expected = (
        r"Table 'orders': 1 of 11 values of column 'amount' cannot be read \(two\).*\n"
        r"Table 'orders': 1 of 11 rows have no customer_id \(order_id B\).* 2 of 11 rows are bad, more than the share "
        r"of 0\.1 that source\.bad_share lets into the quarantine\. Correct them, or raise source\.bad_share\.$"
    )
    with pytest.raises(DataError, match=expected):
        extract_world(tmp_path, customers=CUSTOMERS, orders=worse, config=TENTH)
    assert (load_tables(first.folder), read_quarantine(first)) == (before, held_back)


def test_exactly_the_share_is_allowed(tmp_path):
    orders = make_orders({"order_id": "B", "amount": "ten"})
    with pytest.raises(DataError, match=r"1 of 10 rows is bad, more than the share of 0\.09"):
        extract_world(tmp_path, customers=CUSTOMERS, orders=orders, config={"source": {"bad_share": 0.09}})
    assert extract_world(tmp_path, customers=CUSTOMERS, orders=orders, config=TENTH).tables[1].rows == 9


def test_a_dry_run_counts_and_writes_nothing(tmp_path):
    orders = make_orders({"order_id": "B", "amount": "ten"})
    report = extract_world(tmp_path, customers=CUSTOMERS, orders=orders, config=TENTH, dry_run=True)
    assert (report.problems, report.tables[1].quarantined) == ((), {"amount cannot be read": 1})
    assert not (tmp_path / "world").exists()


def test_the_next_extract_replaces_the_files_and_removes_those_of_good_tables(tmp_path):
    customers = [{"customer_id": f"C{i}", "created_at": "2024-01-01"} for i in range(1, 10)]
    bad_customer, bad_order = {"customer_id": "X", "created_at": None}, {"order_id": "B", "amount": "ten"}
    first = extract_world(tmp_path, customers=[*customers, bad_customer], orders=make_orders(bad_order), config=TENTH)
    assert {path.name for path in (tmp_path / "world" / "quarantine").iterdir()} == {"customers.csv", "orders.csv"}
    extract_world(tmp_path, customers=customers, orders=make_orders({**bad_order, "amount": "two"}), config=TENTH)
    assert {path.name for path in (tmp_path / "world" / "quarantine").iterdir()} == {"orders.csv"}
    assert read_quarantine(first)[0]["amount"] == "two"


def test_the_same_bad_rows_leave_the_file_untouched(tmp_path):
    world = {"customers": CUSTOMERS, "orders": make_orders({"order_id": "B", "amount": "ten"}), "config": TENTH}
    extract_world(tmp_path, **world)
    path = tmp_path / "world" / "quarantine" / "orders.csv"
    before = path.stat().st_mtime_ns
    assert extract_world(tmp_path, **world).changed is False
    assert path.stat().st_mtime_ns == before


def test_what_points_at_a_bad_row_is_an_orphan(tmp_path):
    customers = [{"customer_id": f"C{i}", "created_at": "2024-01-01"} for i in range(1, 10)]
    customers.append({"customer_id": "X", "created_at": None})
    orders = make_orders({"order_id": "B", "customer_id": "X"})
    config = {"source": {"bad_share": 0.1, "orphan_share": 0.1}}
    report = extract_world(tmp_path, customers=customers, orders=orders, config=config)
    assert report.tables[1].dropped == {"customer_id is not in customers": 1}
    assert report.tables[1].quarantined == {}


def test_identical_copies_of_a_row_with_a_key_are_dropped_and_not_bad(tmp_path):
    orders = make_orders({}, {})  # O1 three times
    report = extract_world(tmp_path, customers=CUSTOMERS, orders=orders)
    assert report.tables[1].dropped == {"copies of a row with the same order_id": 2}
    assert (report.tables[1].quarantined, report.tables[1].rows) == ({}, 9)


def test_a_key_with_different_content_is_bad_in_all_of_its_rows(tmp_path):
    orders = make_orders({"order_id": "O2", "amount": "99"})  # O2 with 2 and with 99: nobody knows which holds
    report = extract_world(tmp_path, customers=CUSTOMERS, orders=orders, config={"source": {"bad_share": 0.2}})
    assert report.tables[1].quarantined == {"order_id is repeated with different content": 2}
    assert read_ids(report) == ["O1", *(f"O{i}" for i in range(3, 10))]
    assert [row["amount"] for row in read_quarantine(report)] == ["2", "99"]


def test_equal_rows_without_a_key_are_two_events(tmp_path):
    deals = "deal_id  created_at  closed_at  outcome\nD1  2024-02-01  -  -"
    stages = "deal_id  occurred_at  stage\nD1  2024-02-01  new\nD1  2024-02-01  new"
    assert extract_world(tmp_path, deals=deals, stage_changes=stages).tables[1].rows == 2


def test_a_table_whose_rows_are_all_good_makes_no_folder(tmp_path):
    extract_world(tmp_path, customers=CUSTOMERS, orders=make_orders())
    assert not (tmp_path / "world" / "quarantine").exists()


SENSITIVE = {"orders": {"sensitive": ["phone"]}}


def test_sensitive_columns_are_blank_in_the_file(tmp_path):
    orders = make_orders({"order_id": "B", "amount": "ten", "phone": "+49 30 1234567"})
    extract_world(tmp_path, SENSITIVE, customers=CUSTOMERS, orders=orders, config=TENTH)
    text = (tmp_path / "world" / "quarantine" / "orders.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0] == "reason,order_id,occurred_at,customer_id,amount,phone"
    assert "1234567" not in text


def test_changes_of_a_sensitive_column_are_not_in_the_file(tmp_path):
    customers = [{"customer_id": "C1", "created_at": "2024-01-01", "email": "max@secret.test"}]
    change = {"table_name": "customers", "entity_id": "C1", "field": "email", "old_value": "old@secret.test"}
    bad = {"occurred_at": None, **change, "new_value": "max@secret.test"}
    changes = [{**bad, "occurred_at": "2024-02-01", "field": "region"} for _ in range(9)] + [bad]
    mappings = {"customers": {"sensitive": ["email"]}}
    changes[0]["occurred_at"] = None  # bad, too, and about a column that may be seen
    report = extract_world(tmp_path, mappings, customers=customers, attribute_changes=changes, config=TENTH)
    (row,) = read_quarantine(report, "attribute_changes")
    assert (row["field"], row["reason"]) == ("region", "no occurred_at")


@pytest.mark.parametrize("dry_run", [False, True])
def test_no_sentence_shows_a_sensitive_value(tmp_path, dry_run):
    orders = [{**row, "lines": "three-secret"} for row in make_orders()]
    world = {"customers": CUSTOMERS, "orders": orders, "config": {}}
    deals = [
        {"deal_id": "D1", "created_at": "2024-02-01", "closed_at": "2024-03-01", "outcome": "won", "amount": "secret"}
    ]
    mappings = {"orders": {"sensitive": ["lines"]}, "deals": {"sensitive": ["amount"]}}
    if dry_run:
        report = extract_world(tmp_path, mappings, **world, deals=deals, dry_run=True)
        said = str(report)
    else:
        with pytest.raises(DataError, match=r"cannot be read \(not shown: sensitive\)") as caught:
            extract_world(tmp_path, mappings, **world, deals=deals)
        said = str(caught.value)
    assert "Table 'deals': 1 of 1 values of column 'amount' cannot be read (not shown: sensitive)" in said
    assert "secret" not in said


def test_a_row_that_is_bad_today_stands_as_it_was_stored(tmp_path):
    first = make_orders()
    extract_world(tmp_path, customers=CUSTOMERS, orders=first, config=TENTH)
    spoilt = [
        {**row, "amount": "?"} if row["order_id"] == "O2" else row
        for row in [*first, *make_orders({"order_id": "O10"})[-1:]]
    ]
    report = extract_world(tmp_path, customers=CUSTOMERS, orders=spoilt, config=TENTH, data_end="2024-07-02")
    assert report.tables[1].quarantined == {"amount cannot be read": 1}
    path = load_tables(report.folder).path("orders")
    rows = duckdb.sql(
        f"SELECT order_id, CAST(amount AS INT), known_at = occurred_at FROM '{path}' ORDER BY 1"
    ).fetchall()
    assert rows[:3] == [("O1", 1, True), ("O10", 1, False), ("O2", 2, True)]  # O10 is new, known since this extract
    assert "known_until" not in load_tables(report.folder).tables["orders"].columns  # nothing has ended


@pytest.mark.parametrize("sensitive", [["phone"], []])
def test_what_a_file_reader_says_shows_no_line_of_a_file_with_sensitive_columns(tmp_path, sensitive):
    (tmp_path / "customers.csv").write_text("customer_id,created_at,phone\nC1,2024-01-01,secret\n")
    select = (
        "SELECT * FROM read_csv('customers.csv', columns = {customer_id: 'TEXT', created_at: 'DATE', phone: 'INT'})"
    )
    tables = {"customers": {"select": select, "sensitive": sensitive}}
    with pytest.raises(DataError, match=r"the files in .* cannot be read") as caught:
        extract(make_config(tmp_path, tables))
    assert ("secret" in str(caught.value), "not shown: sensitive" in str(caught.value)) == (
        (False, True) if sensitive else (True, False)
    )


def test_what_a_database_says_shows_no_value_of_a_table_with_sensitive_columns(tmp_path, monkeypatch):
    def refuse(*_):
        raise ConfigError(
            'tables.customers.select fails: column "phone": invalid integer: "secret". Correct the SELECT.'
        )
        yield

    sqlite3.connect(tmp_path / "crm.db").execute("CREATE TABLE one (x)").connection.close()
    source = {"adapter": "sql", "sqlite": str(tmp_path / "crm.db")}
    tables = {"customers": {"select": "SELECT phone FROM customers", "sensitive": ["phone"]}}
    config = make_config(tmp_path, tables, source=source)
    monkeypatch.setattr(AlchemyReader, "batches", refuse)
    expected = r'column "phone": invalid integer: \(not shown: sensitive\)\. Correct the SELECT'
    with pytest.raises(ConfigError, match=expected):
        extract(config)
