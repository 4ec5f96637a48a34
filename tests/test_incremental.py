"""Reading only what changed: which rows are asked for, what stays, and how vanished keys are found."""

import sqlite3
from contextlib import closing
from datetime import datetime

import pytest
from conftest import extract_world, make_config, read_rows
from test_remember import ORDER, counts, day, stored

from pipeline.adapters.memory import MemorySource
from pipeline.adapters.protocol import read_from
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.extract import extract
from pipeline.previous import load_previous

CUSTOMERS = "customer_id  created_at\nC1  2024-01-01\nC2  2024-01-02\n"
HEAD = "order_id  occurred_at  customer_id  amount  modified_at\n"
O1 = "O1  2024-02-01  C1  10  2024-02-01\n"
O2 = "O2  2024-02-02  C1  20  2024-02-02\n"
O3 = "O3  2024-02-03  C2  30  2024-02-03\n"
MAPPING = {"orders": {"modified_at": "modified_at"}}


class Watched(MemorySource):
    """A source that notes what it was asked for."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.asked = []

    def read(self, table, since=None):
        self.asked.append((table, since))
        return super().read(table, since)

    def keys(self, table):
        self.asked.append((table, "keys"))
        return super().keys(table)


def extract_days(tmp_path, *states, sweep_days=7, mapping=MAPPING, customers=CUSTOMERS):
    """Extract the orders of each day; returns the last report and what was asked of the source on that day."""
    for number, orders in enumerate(states, start=1):
        delivered = {"customers": read_rows("customers", customers), "orders": read_rows("orders", HEAD + orders)}
        config = make_config(
            tmp_path,
            {name: mapping.get(name, {}) for name in delivered},
            data_end=str(day(number)),
            source={"sweep_days": sweep_days},
        )
        source = Watched(delivered, day(number), modified={"orders": "modified_at"})
        report = extract(config, source=source, accept_shrink=True)
    return report, [what for table, what in source.asked if table == "orders"]


def test_only_rows_that_were_modified_since_the_last_extract_are_read_and_the_others_stay(tmp_path):
    changed = O1 + O2.replace("20  2024-02-02", "25  2024-07-01 12:00") + "O4  2024-07-01  C2  40  2024-07-01 13:00\n"
    report, asked = extract_days(tmp_path, O1 + O2, changed)
    assert asked == [datetime(2024, 6, 30, 23)]  # an hour before the end of the data of the first extract
    assert next(table for table in report.tables if table.name == "orders").rows_read == 2
    assert stored(report, "orders", ORDER) == [
        ("O1", "10", "02-01", "02-01", None),
        ("O2", "20", "02-02", "02-02", "1+"),
        ("O2", "25", "02-02", "1+", None),
        ("O4", "40", "07-01", "1+", None),
    ]
    assert counts(report, "orders") == (1, 1, 0, 1)


def test_a_row_without_a_moment_of_change_is_always_read(tmp_path):
    changed = O1 + O2.replace("20  2024-02-02", "25  -")
    report, _ = extract_days(tmp_path, O1 + O2, changed)
    assert [row[1] for row in stored(report, "orders", ORDER)] == ["10", "20", "25"]


def test_a_vanished_key_that_no_count_gives_away_is_found_by_the_sweep(tmp_path):
    states = [O1 + O2, O1 + O3, O1 + O3]  # one vanished, and a backdated one came: as many as before
    report, asked = extract_days(tmp_path / "before", *states, sweep_days=7)
    assert asked == [datetime(2024, 7, 1, 23)]
    assert [row[0] for row in stored(report, "orders", ORDER)] == ["O1", "O2"]
    report, asked = extract_days(tmp_path / "after", *states, sweep_days=2)
    assert asked == [datetime(2024, 7, 1, 23), "keys", None]
    assert stored(report, "orders", ORDER)[1:] == [
        ("O2", "20", "02-02", "02-02", "2+"),
        ("O3", "30", "02-03", "2+", None),
    ]
    assert load_previous(report.folder, day(9)).notes.swept["orders"] == day(3)


def test_a_row_that_vanishes_while_another_comes_is_found_at_once(tmp_path):
    late = "O4  2024-02-04  C2  40  2024-07-01 13:00\n"
    report, asked = extract_days(tmp_path, O1 + O2, O1 + late)
    assert asked == [datetime(2024, 6, 30, 23), "keys"]  # of three rows that there should be, there are two
    assert stored(report, "orders", ORDER)[1:] == [
        ("O2", "20", "02-02", "02-02", "1+"),
        ("O4", "40", "02-04", "1+", None),
    ]


def test_fewer_rows_than_there_should_be_begin_a_sweep_at_once(tmp_path):
    report, asked = extract_days(tmp_path, O1 + O2, O1)
    assert asked == [datetime(2024, 6, 30, 23), "keys"]
    assert stored(report, "orders", ORDER)[1] == ("O2", "20", "02-02", "02-02", "1+")


def test_more_rows_than_modified_at_tells_of_are_read_in_full_and_said(tmp_path):
    report, asked = extract_days(tmp_path, O1 + O2, O1 + O2 + O3)  # O3 was backdated
    assert asked == [datetime(2024, 6, 30, 23), None]
    assert stored(report, "orders", "order_id, known_at")[2] == ("O3", "1+")
    warnings = next(table for table in report.tables if table.name == "orders").warnings
    assert "1 row has a modified_at before the last extract and was not there then: the table was read in full" in (
        warnings
    )


def test_rows_that_are_dropped_every_time_do_not_make_it_read_in_full(tmp_path):
    many = "".join(f"O{n}  2024-02-01  C1  10  2024-02-01\n" for n in range(10, 40))
    orphan = "O9  2024-02-09  C9  90  2024-02-09\n"
    _, asked = extract_days(tmp_path, many + orphan, many + orphan, many + orphan)
    assert asked == [datetime(2024, 7, 1, 23)]


def test_rows_that_were_left_out_are_tried_again_when_the_keys_are_due(tmp_path):
    many = "".join(f"O{n}  2024-02-01  C1  10  2024-02-01\n" for n in range(10, 40))
    orphan = "O9  2024-02-09  C9  90  2024-02-09\n"
    _, asked = extract_days(tmp_path, many + orphan, many + orphan, many + orphan, sweep_days=2)
    assert asked == [datetime(2024, 7, 1, 23), None]  # its customer may have come since


def test_a_changed_row_that_is_left_out_now_ends(tmp_path):
    many = "".join(f"O{n}  2024-02-01  C1  10  2024-02-01\n" for n in range(10, 40))
    report, _ = extract_days(tmp_path, many + O1, many + O1.replace("C1  10  2024-02-01", "C9  10  2024-07-01 12:00"))
    assert stored(report, "orders", ORDER)[0] == ("O1", "10", "02-01", "02-01", "1+")  # an orphan is in no table


def test_nothing_new_is_nothing_lost(tmp_path):
    report, _ = extract_days(tmp_path, O1 + O2, O1 + O2)
    assert counts(report, "orders") == (0, 0, 0, 2)
    assert report.tables[1].rows == 2


def test_a_table_of_customers_may_be_read_incrementally_too(tmp_path):
    head = "customer_id  created_at  owner_id  changed_at\n"
    both = "C1  2024-01-01  anna  2024-02-01\nC2  2024-01-02  boris  {}\n"
    config = {"customers": {"remembered": ["owner_id"], "modified_at": "changed_at"}}
    for number, text in enumerate((both.format("2024-02-01"), both.format("2024-02-01")), start=1):
        report = extract_world(tmp_path, config, data_end=str(day(number)), customers=head + text)
    assert counts(report, "customers") == (0, 0, 0, 2)
    changed = both.replace("boris", "dora").format("2024-07-02 10:00")
    report = extract_world(tmp_path, config, data_end=str(day(3)), customers=head + changed)
    assert stored(report, "customers", "customer_id, owner_id, known_at, known_until") == [
        ("C1", "anna", "06-30+", None),
        ("C1", None, "01-01", "06-30+"),
        ("C2", "boris", "06-30+", "2+"),
        ("C2", "dora", "2+", None),
        ("C2", None, "01-02", "06-30+"),
    ]


def test_another_select_is_read_in_full(tmp_path):
    mappings = [{"orders": {"modified_at": "changed_at", "select": select}} for select in ("one", "another", "another")]
    orders = (HEAD + O1).replace("modified_at", "changed_at")
    read = []
    for number, mapping in enumerate(mappings, start=1):
        report = extract_world(tmp_path, mapping, data_end=str(day(number)), customers=CUSTOMERS, orders=orders)
        read.append(report.tables[1].rows_read)
    assert read == [1, 1, 0]


def test_a_table_without_a_key_cannot_be_read_incrementally(tmp_path):
    mapping = {"stage_changes": {"modified_at": "changed_at"}}
    deals = "deal_id  created_at  closed_at  outcome\nD1  2024-01-01  -  -\n"
    changes = "deal_id  occurred_at  stage  changed_at\nD1  2024-02-01  new  2024-02-01\n"
    expected = "tables.stage_changes.modified_at reads only what changed and puts it in its place by key"
    with pytest.raises(ConfigError, match=expected):
        extract_world(tmp_path, mapping, deals=deals, stage_changes=changes)


def test_a_few_bad_rows_among_the_changed_ones_are_few_of_the_table(tmp_path):
    many = "".join(f"O{n}  2024-02-01  C1  10  2024-02-01\n" for n in range(100, 250))
    bad = "O9  2024-07-01  C1  ten  2024-07-01 12:00\n"
    report, _ = extract_days(tmp_path, many, many + bad)
    assert sum(report.tables[1].quarantined.values()) == 1


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize(
    "text", ["2024-07-01 22:00:00", "2024-07-01T22:00:00", "2024-07-01", "2024-07-01T22:00:00+00:00"]
)
def test_whatever_the_column_holds_no_change_is_missed(zone, text):
    since = datetime(2024, 7, 1, 21)
    assert str(read_from(since, zone)) < text


def test_a_database_is_asked_for_the_changed_rows_only(tmp_path):
    path = tmp_path / "crm.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as crm:
        crm.execute("CREATE TABLE customers (customer_id, created_at, region, changed)")
        rows = [(str(n), "2024-01-01", "x", "2024-02-01 10:00:00") for n in range(5)]
        crm.executemany("INSERT INTO customers VALUES (?, ?, ?, ?)", rows)
        for number in (1, 2):
            values = {
                "name": "shop",
                "state": str(tmp_path / "state"),
                "source": {"adapter": "sql", "sqlite": str(path), "data_end": str(day(number))},
                "tables": {
                    "customers": {
                        "select": "SELECT * FROM customers WHERE region LIKE '%x%' -- 100 %",
                        "modified_at": "changed",
                        "remembered": ["region"],
                    }
                },
                "targets": {},
            }
            report = extract(Config.model_validate(values))
            crm.execute("UPDATE customers SET region = 'xy', changed = '2024-07-01 09:00:00' WHERE customer_id = '3'")
    assert (report.tables[0].rows_read, counts(report, "customers")) == (1, (0, 1, 0, 4))
    assert ("3", "xy", "1+", None) in stored(report, "customers", "customer_id, region, known_at, known_until")


def test_files_are_asked_for_the_changed_rows_only(tmp_path):
    text = "customer_id,created_at,changed\n1,2024-01-01,2024-02-01\n2,2024-01-01,2024-02-01\n"
    (tmp_path / "customers.csv").write_text(text)
    for number in (1, 2):
        values = {
            "name": "shop",
            "state": str(tmp_path / "state"),
            "source": {"adapter": "files", "folder": str(tmp_path), "data_end": str(day(number))},
            "tables": {"customers": {"select": "SELECT * FROM 'customers.csv'", "modified_at": "changed"}},
            "targets": {},
        }
        report = extract(Config.model_validate(values))
        (tmp_path / "customers.csv").write_text(text + "3,2024-07-01,2024-07-01\n")
    assert (report.tables[0].rows_read, counts(report, "customers")) == (1, (1, 0, 0, 2))


def test_changes_of_customers_that_were_not_read_again_are_about_known_ones(tmp_path):
    customers = "customer_id  created_at  owner_id  changed_at\nC1  2024-01-01  anna  2024-02-01\n"
    changes = "occurred_at  table_name  entity_id  field  old_value  new_value\n"
    changes += "2024-02-01  customers  C1  owner_id  boris  anna\n"
    config = {"customers": {"tracked": ["owner_id"], "modified_at": "changed_at"}}
    for number in (1, 2):
        report = extract_world(
            tmp_path, config, data_end=str(day(number)), customers=customers, attribute_changes=changes
        )
    assert [(table.name, table.rows_read, table.warnings) for table in report.tables] == [
        ("customers", 0, ()),
        ("attribute_changes", 1, ()),
    ]
