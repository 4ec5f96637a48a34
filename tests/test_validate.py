"""Every problem of a source ends in one sentence, and what was stored before stays."""

from datetime import date

import duckdb
import pytest
from conftest import extract_world, make_tables

from features.errors import DataError
from features.tables import load_tables
from pipeline.errors import ConfigError

CUSTOMERS = """
    customer_id  created_at  region
    C1           2024-01-01  north
    C2           2024-01-02  south
"""
ORDERS = """
    order_id  occurred_at  customer_id  amount
    O1        2024-02-01   C1           10
    O2        2024-02-02   C2           20
"""


@pytest.fixture
def stays(tmp_path):
    """Store good tables, and check at the end that they are still the ones that load."""
    before = make_tables(tmp_path, customers=CUSTOMERS, orders=ORDERS)
    yield tmp_path
    after = load_tables(before.folder)
    assert after == before
    assert sorted(path.name for path in before.folder.iterdir()) == sorted(
        ["manifest.json", *(table.file for table in before.tables.values())]
    )


def refuse(state, match, error=DataError, mappings=None, **world):
    with pytest.raises(error, match=match):
        extract_world(state, mappings, **{"customers": CUSTOMERS, "orders": ORDERS, **world})


def column(report, name):
    table = load_tables(report.folder).path(name)
    return [value for (value,) in duckdb.sql(f"SELECT {name[:-1]}_id FROM '{table}' ORDER BY 1").fetchall()]


def test_a_missing_column_is_named_with_the_nearest_delivered_one(stays):
    rows = "order_id  occurred_at  customer  amount\nO1  2024-02-01  C1  10"
    expected = (
        "Table 'orders': column 'customer_id' is missing, the SELECT delivers order_id, occurred_at, customer, amount. "
        r"Did you mean 'customer'\? Deliver it in tables.orders.select, for example `... AS customer_id`."
    )
    refuse(stays, expected, orders=rows)


def test_a_column_of_the_wrong_type_is_named(stays):
    rows = [{"order_id": "O1", "occurred_at": 1706745600, "customer_id": "C1", "amount": 10}]
    expected = (
        "Table 'orders': column 'occurred_at' is delivered as BIGINT, expected a time such as 2024-03-01 09:30:00"
    )
    refuse(stays, expected, orders=rows)


def test_values_that_cannot_be_read_are_counted_and_five_are_shown(stays):
    rows = [
        {"order_id": f"O{i}", "occurred_at": "2024-02-01", "customer_id": "C1", "amount": f"{i}x"} for i in range(7)
    ]
    rows.append({**rows[0], "order_id": "O9", "amount": "12.5"})
    expected = (
        r"Table 'orders': 7 of 8 values of column 'amount' cannot be read \(0x, 1x, 2x, 3x, 4x, ...\), "
        "expected an amount such as 1250.50"
    )
    refuse(stays, expected, orders=rows)


def test_a_repeated_key_is_counted_and_shown(stays):
    rows = CUSTOMERS + "    C1           2024-01-03  west\n"
    expected = (
        r"Table 'customers': 2 of 3 rows repeat a customer_id \(C1\), expected one row for each. "
        "Group or filter the rows in tables.customers.select."
    )
    refuse(stays, expected, customers=rows)


def test_keys_repeat_when_they_are_the_same_as_text(stays):
    rows = [{"customer_id": key, "created_at": "2024-01-01"} for key in ("7", "7.0")]
    refuse(stays, r"2 of 2 rows repeat a customer_id \(7\)", customers=rows)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("O1  2024-02-01  -   10", r"1 of 1 rows have no customer_id \(order_id O1\). Every row needs one"),
        ("-   2024-02-01  C1  10", r"1 of 1 rows have no order_id. Every row needs one"),
        ("O1  -           C1  10", r"1 of 1 rows have no occurred_at \(order_id O1\)"),
    ],
)
def test_a_row_without_key_time_or_customer_is_refused(stays, rows, expected):
    refuse(stays, expected, orders=f"order_id  occurred_at  customer_id  amount\n{rows}")


def test_an_amount_may_be_missing(tmp_path):
    rows = "order_id  occurred_at  customer_id  amount\nO1  2024-02-01  C1  -"
    assert column(extract_world(tmp_path, customers=CUSTOMERS, orders=rows), "orders") == ["O1"]


def test_more_orphans_than_allowed_stop_the_extract(stays):
    rows = ORDERS + "    O3        2024-02-03   C7           30\n"
    expected = (
        r"Table 'orders': 1 of 3 rows have a customer_id that is not in customers \(C7\), more than the share of 0.2 "
        "that source.orphan_share allows"
    )
    refuse(stays, expected, orders=rows, config={"source": {"orphan_share": 0.2}})


def test_fewer_orphans_are_dropped_and_so_is_what_points_at_them(tmp_path):
    deals = "deal_id  created_at  customer_id  closed_at  outcome\nD1  2024-02-01  C1  -  -\nD2  2024-02-01  C7  -  -"
    stages = "deal_id  occurred_at  stage\nD1  2024-02-01  new\nD2  2024-02-01  new"
    report = extract_world(
        tmp_path, customers=CUSTOMERS, deals=deals, stage_changes=stages, config={"source": {"orphan_share": 0.5}}
    )
    assert {table.name: table.dropped for table in report.tables} == {
        "customers": {},
        "deals": {"customer_id is not in customers": 1},
        "stage_changes": {"deal_id is not in deals": 1},
    }
    assert column(report, "deals") == ["D1"]


def test_a_deal_without_customer_is_no_orphan(tmp_path):
    deals = "deal_id  created_at  customer_id  closed_at  outcome\nD1  2024-02-01  -  -  -"
    assert column(extract_world(tmp_path, customers=CUSTOMERS, deals=deals), "deals") == ["D1"]


def test_keys_of_tables_that_are_not_there_are_not_checked(tmp_path):
    deals = "deal_id  created_at  customer_id  closed_at  outcome\nD1  2024-02-01  C7  -  -"
    assert column(extract_world(tmp_path, deals=deals), "deals") == ["D1"]


def test_a_customer_with_an_unknown_parent_stays_without_it(tmp_path):
    rows = "customer_id  created_at  parent_id\nC1  2024-01-01  C9\nC2  2024-01-01  C1"
    report = extract_world(tmp_path, customers=rows, config={"source": {"orphan_share": 0.5}})
    assert report.tables[0].warnings == ("1 row has a parent_id that is not in customers: it was cleared",)
    path = load_tables(report.folder).path("customers")
    assert duckdb.sql(f"SELECT parent_id FROM '{path}' ORDER BY customer_id").fetchall() == [(None,), ("C1",)]


LATE = """
    order_id  occurred_at  known_at    customer_id  amount
    O1        2024-02-05   2024-02-01  C1           1       # four days too early
    O2        2024-02-05   2024-02-05  C1           1
"""


def test_a_row_known_before_it_happened_stops_the_extract(stays):
    expected = (
        r"Table 'orders': 1 of 2 rows have known_at before occurred_at \(order_id O1\). A row cannot be known before "
        "it happens. Fix them at the source or set `late_rows: drop`."
    )
    refuse(stays, expected, orders=LATE)


def test_a_row_known_before_it_happened_is_dropped_when_the_config_says_so(tmp_path):
    report = extract_world(tmp_path, {"orders": {"late_rows": "drop"}}, customers=CUSTOMERS, orders=LATE)
    assert report.tables[1].dropped == {"known before occurred_at": 1}
    assert column(report, "orders") == ["O2"]


def test_a_day_is_not_late_when_it_became_known_on_that_day(tmp_path):
    known = "2024-02-05 10:00"
    rows = [{"order_id": "O1", "occurred_at": date(2024, 2, 5), "known_at": known, "customer_id": "C1", "amount": 1}]
    report = extract_world(tmp_path, customers=CUSTOMERS, orders=rows)
    path = load_tables(report.folder).path("orders")
    assert duckdb.sql(f"SELECT known_at = occurred_at FROM '{path}'").fetchall() == [(True,)]


def test_a_row_at_data_end_stops_the_extract(stays):
    rows = ORDERS + "    O3        2024-07-01   C1           30\n"  # exactly at data_end, which is not before it
    expected = (
        r"Table 'orders': 1 of 3 rows have occurred_at or its known_at at or after data_end 2024-07-01 00:00:00 "
        r"\(order_id O3\). Nothing can have happened after the end of the data"
    )
    refuse(stays, expected, orders=rows)


def test_a_row_known_after_data_end_stops_the_extract(stays):
    rows = "order_id  occurred_at  known_at  customer_id  amount\nO1  2024-02-01  2024-07-02  C1  1"
    refuse(stays, r"1 of 1 rows have occurred_at or its known_at at or after data_end", orders=rows)


def test_a_row_after_data_end_is_dropped_when_the_config_says_so(tmp_path):
    rows = ORDERS + "    O3        2024-07-01   C1           30\n"
    report = extract_world(tmp_path, {"orders": {"late_rows": "drop"}}, customers=CUSTOMERS, orders=rows)
    assert report.tables[1].dropped == {"at or after data_end": 1}


DEALS_CLOSED_LATER = """
    deal_id  created_at  closed_at   outcome
    D1       2024-02-01  2024-08-01  won
    D2       2024-02-01  2024-06-01  lost
"""


def test_a_value_revealed_after_data_end_stops_the_extract(stays):
    refuse(stays, r"1 of 2 rows have closed_at or its known_at at or after data_end", deals=DEALS_CLOSED_LATER)


def test_a_value_revealed_after_data_end_is_cleared_and_its_row_stays(tmp_path):
    report = extract_world(tmp_path, {"deals": {"late_rows": "drop"}}, deals=DEALS_CLOSED_LATER)
    assert report.tables[0].warnings == ("1 row has closed_at at or after data_end: closed_at, outcome cleared",)
    path = load_tables(report.folder).path("deals")
    rows = duckdb.sql(f"SELECT outcome, closed_at_known_at IS NULL FROM '{path}' ORDER BY deal_id").fetchall()
    assert rows == [(None, True), ("lost", False)]


def test_a_planned_end_that_was_known_in_time_is_kept(tmp_path):
    rows = """
        subscription_id  occurred_at  customer_id  ended_at    ended_at_known_at
        S1               2024-02-01   C1           2024-12-31  2024-06-01         # notice given half a year ahead
    """
    report = extract_world(tmp_path, customers=CUSTOMERS, subscriptions=rows)
    assert report.tables[1].warnings == ()


def test_an_outcome_without_its_time_is_reported(tmp_path):
    rows = "deal_id  created_at  closed_at  outcome\nD1  2024-02-01  -  won"
    report = extract_world(tmp_path, deals=rows)
    assert report.tables[0].warnings == ("1 row has outcome but no closed_at: it counts as never filled",)


def test_a_second_currency_stops_the_extract(stays):
    rows = """
        order_id  occurred_at  customer_id  amount  currency
        O1        2024-02-01   C1           10      EUR
        O2        2024-02-01   C1           10      USD
        O3        2024-02-01   C1           10      -
    """
    expected = r"Table 'orders': 1 row has another currency than EUR \(USD\). A deployment has one currency"
    refuse(stays, expected, orders=rows)


def test_the_one_currency_is_checked_and_not_stored(tmp_path):
    rows = "order_id  occurred_at  customer_id  amount  currency\nO1  2024-02-01  C1  10  eur"
    report = extract_world(tmp_path, customers=CUSTOMERS, orders=rows)
    assert report.tables[1].left_out == {"currency": "checked against the currency of the config"}


@pytest.mark.parametrize("name", ["customers", "deals"])
def test_an_empty_table_of_entities_stops_the_extract(stays, name):
    expected = f"Table '{name}': the SELECT delivers no rows, expected at least one"
    refuse(stays, expected, **{name: []})


def test_entities_that_were_all_dropped_stop_the_extract(stays):
    rows = "customer_id  created_at  region\nC1  2025-01-01  north"
    expected = "Table 'customers': none of 1 rows are left, expected at least one"
    refuse(stays, expected, mappings={"customers": {"late_rows": "drop"}}, customers=rows, orders=[])


def test_another_empty_table_is_left_out_and_said_so(tmp_path):
    report = extract_world(tmp_path, customers=CUSTOMERS, orders=[])
    assert report.tables[1].warnings == ("the SELECT delivers no rows: the table is left out",)
    assert list(load_tables(report.folder).tables) == ["customers"]


def test_all_problems_of_all_tables_are_shown_together(stays):
    with pytest.raises(DataError, match=r"^Table 'customers': ") as caught:
        extract_world(
            stays,
            customers="customer_id  created_at  region\nC1  2024-01-01  north\nC1  2024-08-01  north",
            orders="order_id  occurred_at  customer_id  amount\nO1  2024-02-01  C1  ten\nO2  -  C1  3",
        )
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["Table 'customers'"] * 2 + ["Table 'orders'"] * 2
    assert all(line.endswith(".") for line in lines)


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"static": ["regon"]}, r"tables.customers.static names column 'regon', .*Did you mean 'region'\?"),
        ({"known_at": "synced"}, "tables.customers.known_at names column 'synced', the SELECT delivers customer_id"),
        ({"revealed": {"region": "closed_at"}}, "tables.customers.revealed names column 'closed_at'"),
    ],
)
def test_a_column_that_only_the_config_knows_is_a_config_error(stays, mapping, expected):
    refuse(stays, expected, ConfigError, mappings={"customers": {"static": [], **mapping}})


def test_an_outcome_in_other_words_is_shown_and_refused(stays):
    deals = """
        deal_id  created_at  closed_at   outcome
        D1       2024-02-01  2024-03-01  Closed Won
        D2       2024-02-01  2024-03-01  lost
    """
    refuse(stays, "1 row has another outcome than 'won', 'lost' or null .*Closed Won.* Translate it", deals=deals)
