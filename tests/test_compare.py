"""An extract against the one before: columns, the clock, and how many rows are left."""

import json
from datetime import UTC, datetime

import duckdb
import pytest
from conftest import extract_world

from features.errors import DataError
from features.tables import load_tables
from pipeline.errors import ConfigError

CUSTOMERS = "customer_id  created_at  region\nC1  2024-01-01  north\nC2  2024-01-02  south"


def make_orders(count=4, **columns):
    """Orders O1, O2, ...; a column is a value, or a list with one per row."""
    rows = [
        {"order_id": f"O{i}", "occurred_at": "2024-02-01", "customer_id": "C1", "amount": i}
        for i in range(1, count + 1)
    ]
    for name, values in columns.items():
        for i, row in enumerate(rows):
            row[name] = values[i] if isinstance(values, list) else values
    return rows


def world(state, mappings=None, *, customers=CUSTOMERS, orders=None, data_end="2024-07-01", options=None, **more):
    orders = make_orders() if orders is None else orders
    return extract_world(
        state, mappings, customers=customers, orders=orders, data_end=data_end, options=options, **more
    )


def refuse(state, match, error=DataError, **keys):
    """Check that an extract stops and leaves the tables of the one before."""
    before = load_tables(state / "world" / "tables")
    with pytest.raises(error, match=match):
        world(state, **keys)
    assert load_tables(before.folder) == before


def read(report, column, table="orders"):
    path = load_tables(report.folder).path(table)
    return [value for (value,) in duckdb.sql(f"SELECT {column} FROM '{path}' ORDER BY 1").fetchall()]


def test_the_first_extract_has_nothing_to_compare_with(tmp_path):
    assert world(tmp_path).changed
    assert world(tmp_path).changed is False


# types


def test_a_column_of_ones_own_that_changes_its_type_stops_the_extract(tmp_path):
    world(tmp_path, orders=make_orders(weight=12))
    expected = (
        r"Table 'orders': column 'weight' was delivered as BIGINT by the extract before and is BOOLEAN now\. What "
        r"was learned from it may no longer hold\. Correct it at the source or convert it in tables\.orders\.select, "
        r"or go on with `leadsieve extract --accept-schema`\.$"
    )
    refuse(tmp_path, expected, orders=make_orders(weight=True))


def test_numbers_that_are_delivered_as_text_stop_the_extract(tmp_path):
    world(tmp_path, orders=make_orders(weight=12))
    refuse(tmp_path, "column 'weight' was delivered as BIGINT .* and is VARCHAR now", orders=make_orders(weight="12"))


def test_amounts_that_are_delivered_as_text_stop_the_extract(tmp_path):
    world(tmp_path)
    refuse(
        tmp_path,
        "column 'amount' was delivered as BIGINT .* and is VARCHAR now",
        orders=[{**row, "amount": str(row["amount"])} for row in make_orders()],
    )


def test_a_word_among_numbers_is_a_bad_value_and_no_other_type(tmp_path):
    config = {"source": {"bad_share": 0.25}}
    world(tmp_path, orders=make_orders(weight=12))
    report = world(tmp_path, orders=make_orders(weight=["12", "12", "12", "n/a"]), config=config)
    assert report.tables[1].quarantined == {"weight cannot be read": 1}
    assert read(report, "weight") == [12, 12, 12]
    healed = world(tmp_path, orders=make_orders(weight=12))
    assert read(healed, "weight") == [12, 12, 12, 12]


def test_numbers_may_get_decimals_and_lose_them(tmp_path):
    world(tmp_path, orders=make_orders(weight=12))
    wider = world(tmp_path, orders=make_orders(weight=12.5))
    again = world(tmp_path, orders=make_orders(weight=12))
    assert wider.tables[1].columns["weight"] == again.tables[1].columns["weight"] == "number"


def test_a_column_without_values_keeps_its_type_and_has_none_at_first(tmp_path):
    world(tmp_path, orders=make_orders(weight=12, note=None))
    report = world(tmp_path, orders=make_orders(weight=None, note=7))
    assert (report.tables[1].columns["weight"], report.tables[1].columns["note"]) == ("integer", "integer")


def test_ids_may_be_numbers_or_text(tmp_path):
    world(tmp_path, orders=make_orders(order_id=[1, 2, 3, 4]))
    report = world(tmp_path, orders=make_orders(order_id=["1", "2", "3", "A4"]))
    assert read(report, "order_id") == ["1", "2", "3", "A4"]


def test_a_local_time_that_gets_a_zone_stops_the_extract(tmp_path):
    local, moment = datetime(2024, 2, 1, 10), datetime(2024, 2, 1, 10, tzinfo=UTC)
    world(tmp_path, orders=make_orders(occurred_at=local))
    refuse(
        tmp_path,
        r"column 'occurred_at' was delivered as TIMESTAMP by the extract before and is TIMESTAMP WITH TIME ZONE now",
        orders=make_orders(occurred_at=moment),
    )


def test_an_accepted_type_is_the_type_from_then_on(tmp_path):
    world(tmp_path, orders=make_orders(weight=12))
    report = world(tmp_path, orders=make_orders(weight="heavy"), options={"accept_schema": True})
    assert report.tables[1].columns["weight"] == "text"
    assert report.tables[1].warnings == ("weight was delivered as BIGINT and is VARCHAR now: stored as text",)
    assert world(tmp_path, orders=make_orders(weight="light")).tables[1].warnings == ()


# lost columns


def test_a_column_that_is_gone_stops_the_extract(tmp_path):
    world(tmp_path, orders=make_orders(weight=12))
    expected = (
        r"Table 'orders': column 'weight' was delivered as BIGINT by the extract before and is not there now; the "
        r"SELECT delivers order_id, occurred_at, customer_id, amount\. Bring it back at the source, or go on without "
        r"it with `leadsieve extract --accept-schema`\.$"
    )
    refuse(tmp_path, expected)


def test_a_column_that_the_config_names_and_that_is_gone_is_an_error_of_the_data(tmp_path):
    static = {"customers": {"static": ["region"]}}
    world(tmp_path, static)
    refuse(
        tmp_path,
        r"^Table 'customers': column 'region' was delivered as VARCHAR by the extract before and is not there now",
        mappings=static,
        customers="customer_id  created_at\nC1  2024-01-01\nC2  2024-01-02",
    )


def test_a_column_given_up_stays_out_until_it_is_delivered_again(tmp_path):
    static = {"customers": {"static": ["region"]}}
    without = "customer_id  created_at\nC1  2024-01-01\nC2  2024-01-02"
    said = "region is no longer delivered and was given up: remove it from the config"
    world(tmp_path, static)
    given_up = world(tmp_path, static, customers=without, options={"accept_schema": True})
    assert "region" not in given_up.tables[0].columns
    assert given_up.tables[0].warnings == (said,)
    next_night = world(tmp_path, static, customers=without)
    assert next_night.tables[0].warnings == (said,)
    back = world(tmp_path, static)
    assert (back.tables[0].warnings, read(back, "region", "customers")) == ((), ["north", "south"])


def test_a_column_that_was_never_kept_may_go(tmp_path):
    mappings = {"customers": {"static": []}}
    world(tmp_path, mappings)
    without = "customer_id  created_at\nC1  2024-01-01\nC2  2024-01-02"
    assert world(tmp_path, mappings, customers=without).tables[0].rows == 2


def test_another_select_may_deliver_other_columns(tmp_path):
    world(tmp_path, orders=make_orders(weight=12))
    report = world(tmp_path, {"orders": {"select": "SELECT less"}})
    assert "weight" not in report.tables[1].columns
    world(tmp_path, {"orders": {"select": "SELECT words"}}, orders=make_orders(weight=True))


def test_a_required_column_cannot_be_given_up(tmp_path):
    world(tmp_path)
    orders = [{key: value for key, value in row.items() if key != "amount"} for row in make_orders()]
    for options in ({}, {"accept_schema": True}):
        refuse(tmp_path, "^Table 'orders': column 'amount' is missing", orders=orders, options=options)


def test_a_clock_column_cannot_be_given_up(tmp_path):
    mappings = {"orders": {"known_at": "synced_at"}}
    world(tmp_path, mappings, orders=make_orders(synced_at="2024-02-02"))
    refuse(tmp_path, "^Table 'orders': column 'synced_at' was delivered as TIMESTAMP", mappings=mappings)
    refuse(
        tmp_path,
        r"tables\.orders\.known_at names column 'synced_at'",
        ConfigError,
        mappings=mappings,
        options={"accept_schema": True},
    )


# the clock


def test_a_clock_that_went_back_stops_the_extract(tmp_path):
    world(tmp_path)
    expected = (
        r"The data ends at 2024-06-30 00:00:00, before 2024-07-01 00:00:00 as in the tables that are stored: the clock "
        r"of the source went back\. Correct that clock or source\.data_end, or begin anew with `leadsieve extract "
        r"--start-over`, which forgets what earlier extracts saw\.$"
    )
    refuse(tmp_path, expected, data_end="2024-06-30")


def test_starting_over_goes_back_and_compares_nothing(tmp_path):
    world(tmp_path, orders=make_orders(8, weight=12))
    report = world(tmp_path, orders=make_orders(2), data_end="2024-06-30", options={"start_over": True})
    assert (report.tables[1].rows, report.tables[1].warnings) == (2, ())


def test_starting_over_removes_nothing_before_the_new_tables_are_there(tmp_path):
    world(tmp_path)
    refuse(tmp_path, "cannot be read", orders=make_orders(amount="x"), options={"start_over": True})


# how many rows


def test_a_table_that_shrinks_by_half_stops_the_extract(tmp_path):
    world(tmp_path)
    expected = (
        r"Table 'orders': 2 rows, where the tables that are stored have 4: a loss of 50 %, and source\.shrink_share "
        r"stops at 50 %\. See whether the source is complete; if these rows are really gone, go on with `leadsieve "
        r"extract --accept-shrink`\.$"
    )
    refuse(tmp_path, expected, orders=make_orders(2))


@pytest.mark.parametrize(
    ("left", "share", "stops"), [(3, 0.5, False), (3, 0.25, True), (4, 0.0, False), (3, 0.0, True)]
)
def test_the_share_of_the_loss_decides(tmp_path, left, share, stops):
    world(tmp_path)
    keys = {"orders": make_orders(left), "config": {"source": {"shrink_share": share}}}
    if stops:
        refuse(tmp_path, f"Table 'orders': {left} rows", **keys)
    else:
        assert world(tmp_path, **keys).tables[1].rows == left


def test_a_shrunk_table_is_taken_when_a_person_says_so_and_is_the_measure_from_then_on(tmp_path):
    world(tmp_path)
    assert world(tmp_path, orders=make_orders(2), options={"accept_shrink": True}).changed
    assert world(tmp_path, orders=make_orders(2)).changed is False


def test_a_table_that_is_empty_now_has_shrunk(tmp_path):
    world(tmp_path)
    nothing = {"orders": [], "config": {"source": {"shrink_share": 1}}}
    refuse(tmp_path, r"Table 'orders': 0 rows, where the tables that are stored have 4", **nothing)


def test_versions_of_one_customer_are_one_row(tmp_path):
    changes = [
        {
            "occurred_at": f"2024-02-0{day}",
            "table_name": "customers",
            "entity_id": "C1",
            "field": "region",
            "old_value": f"r{day - 1}",
            "new_value": f"r{day}",
        }
        for day in range(1, 9)
    ]
    mappings = {"customers": {"tracked": ["region"]}}
    first = world(tmp_path, mappings, attribute_changes=changes)
    assert first.tables[0].rows > 4
    assert world(tmp_path, mappings, attribute_changes=changes).changed is False


def test_a_dry_run_reports_it_all_and_raises_nothing(tmp_path):
    world(tmp_path, orders=make_orders(weight=12, height=3))
    report = world(tmp_path, orders=make_orders(2, weight=True), data_end="2024-06-30", dry_run=True)
    expected = ["'height' was delivered", "'weight' was delivered", "The data ends at"]
    assert len(report.problems) == len(expected)
    assert all(part in sentence for part, sentence in zip(expected, report.problems, strict=True))
    shrunk = world(tmp_path, orders=make_orders(2, weight=12, height=3), dry_run=True)
    assert "Table 'orders': 2 rows, where" in shrunk.problems[0]


def test_tables_of_an_older_leadsieve_are_compared_as_far_as_they_go(tmp_path):
    report = world(tmp_path)
    path = report.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["delivered"]
    path.write_text(json.dumps(manifest))
    assert world(tmp_path, orders=make_orders(weight=12)).tables[1].rows == 4
