"""From a source to the tables on disk: what is kept, and that it is kept safely."""

import hashlib
import json
import signal
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest
from conftest import extract_world, make_tables

from features.errors import DataError
from features.tables import load_tables
from pipeline import extract as extract_module
from pipeline import table_store
from pipeline.errors import ConfigError

CUSTOMERS = """
    customer_id  created_at  region
    C2           2024-01-02  south
    C1           2024-01-01  north
"""
ORDERS = """
    order_id  occurred_at       customer_id  amount
    O2        2024-02-02        C2           20
    O1        2024-02-01 09:30  C1           10
"""


def rows(tables, name, columns="*"):
    return duckdb.sql(f"SELECT {columns} FROM '{tables.path(name)}'").fetchall()


def snapshot(folder: Path):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def test_rows_are_typed_sorted_and_known_at_their_time(tmp_path):
    tables = make_tables(tmp_path, customers=CUSTOMERS, orders=ORDERS)
    assert tables.tables["orders"].columns == {
        "order_id": "text",
        "occurred_at": "time",
        "customer_id": "text",
        "amount": "money",
        "known_at": "time",
    }
    assert [row[0] for row in rows(tables, "orders")] == ["O1", "O2"]  # by time
    assert [row[0] for row in rows(tables, "customers")] == ["C1", "C2"]  # by key
    assert rows(tables, "orders", "known_at = occurred_at, typeof(amount)") == [(True, "DECIMAL(18,4)")] * 2


def test_the_manifest_says_what_the_files_hold(tmp_path):
    tables = make_tables(tmp_path, customers=CUSTOMERS, config={"time_zone": "Europe/Berlin", "stages": ["new", "won"]})
    stored = tables.tables["customers"]
    content = tables.path("customers").read_bytes()
    assert (stored.rows, stored.bytes) == (2, len(content))
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert stored.file == f"customers-{stored.sha256[:16]}.parquet"
    assert (tables.data_end, tables.time_zone, tables.currency) == (datetime(2024, 7, 1), "Europe/Berlin", "EUR")
    assert tables.stages == ("new", "won")


def test_a_second_extract_of_the_same_rows_touches_nothing(tmp_path):
    first = extract_world(tmp_path, customers=CUSTOMERS, orders=ORDERS)
    before = snapshot(first.folder)
    second = extract_world(tmp_path, customers=CUSTOMERS, orders=ORDERS)
    assert (first.changed, second.changed) == (True, False)
    assert snapshot(first.folder) == before


def test_the_order_of_the_source_does_not_matter(tmp_path):
    lines = ORDERS.rstrip().splitlines()
    turned = "\n".join([*lines[:2], lines[3], lines[2]])
    first = make_tables(tmp_path / "a", customers=CUSTOMERS, orders=ORDERS)
    assert make_tables(tmp_path / "b", customers=CUSTOMERS, orders=turned).sha256 == first.sha256


def test_only_the_table_that_changed_gets_a_new_file_and_the_old_one_goes(tmp_path):
    first = make_tables(tmp_path, customers=CUSTOMERS, orders=ORDERS)
    more = ORDERS + "    O3        2024-03-01        C1           30\n"
    second = make_tables(tmp_path, customers=CUSTOMERS, orders=more)
    assert second.path("customers") == first.path("customers")
    assert second.path("orders") != first.path("orders")
    assert not first.path("orders").exists()


def test_a_later_data_end_is_a_change_of_the_manifest_alone(tmp_path):
    first = make_tables(tmp_path, customers=CUSTOMERS)
    report = extract_world(tmp_path, customers=CUSTOMERS, data_end="2024-08-01")
    assert report.changed
    assert load_tables(report.folder).tables == first.tables


@pytest.mark.parametrize("step", ["orders is written", "orders is renamed", "the manifest is renamed"])
def test_a_run_that_dies_leaves_the_tables_of_the_one_before(tmp_path, monkeypatch, step):
    before = make_tables(tmp_path, customers=CUSTOMERS, orders=ORDERS)
    more = ORDERS + "    O3        2024-03-01        C1           30\n"
    write, replace = table_store.write_table, Path.replace

    def dying_write(*arguments):
        if step == "orders is written" and arguments[3] == "orders":
            raise KeyboardInterrupt("killed here")
        return write(*arguments)

    def dying_replace(path, target):
        name = "orders" if step == "orders is renamed" else "manifest.json"
        if step != "orders is written" and Path(target).name.startswith(name):
            raise KeyboardInterrupt("killed here")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(extract_module, "write_table", dying_write)
        patch.setattr(Path, "replace", dying_replace)
        with pytest.raises(KeyboardInterrupt, match="killed here"):
            extract_world(tmp_path, customers=CUSTOMERS, orders=more)
    assert load_tables(before.folder) == before
    assert make_tables(tmp_path, customers=CUSTOMERS, orders=more).tables["orders"].rows == 3
    named = {"manifest.json", *(table.file for table in load_tables(before.folder).tables.values())}
    assert {path.name for path in before.folder.iterdir()} == named  # what the dead run left is swept away


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from conftest import extract_world
from pipeline import extract
extract.commit = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
rows = "customer_id  created_at  region\\nC8  2024-01-01  east\\nC9  2024-01-01  west"
extract_world(Path(sys.argv[1]), customers=rows)
"""


def test_a_killed_run_leaves_the_tables_of_the_one_before_and_no_litter(tmp_path):
    before = make_tables(tmp_path, customers=CUSTOMERS, orders=ORDERS)
    tests = Path(__file__).parent
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(tests), str(tests.parent)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert list(before.folder.glob(".spill-*"))
    assert load_tables(before.folder) == before
    assert extract_world(tmp_path, customers=CUSTOMERS, orders=ORDERS).changed is False
    named = {"manifest.json", *(table.file for table in before.tables.values())}
    assert {path.name for path in before.folder.iterdir()} == named


def test_a_half_written_table_is_refused_and_the_next_extract_repairs_it(tmp_path):
    tables = make_tables(tmp_path, customers=CUSTOMERS, orders=ORDERS)
    path = tables.path("orders")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"Table 'orders': .* the file is missing or only half there. Run `leadsieve"):
        load_tables(tables.folder)
    assert extract_world(tmp_path, customers=CUSTOMERS, orders=ORDERS).changed is False
    assert path.read_bytes() == whole
    assert load_tables(tables.folder) == tables


def test_a_dry_run_writes_nothing_and_reports_problems_instead_of_raising_them(tmp_path):
    orders = ORDERS + "    O1        2024-02-01        C1           10\n"
    report = extract_world(tmp_path / "state", dry_run=True, customers=CUSTOMERS, orders=orders)
    assert [table.rows for table in report.tables] == [2, 3]
    assert "repeat a order_id (O1)" in report.problems[0]
    assert "cost" in report.tables[1].not_delivered
    assert not (tmp_path / "state").exists()


def test_known_at_comes_from_the_column_that_the_config_names(tmp_path):
    orders = """
        order_id  occurred_at  synced_at   customer_id  amount
        O1        2024-02-01   2024-02-07  C1           10
        O2        2024-02-01   -           C1           10      # never synced: its own time
    """
    tables = make_tables(tmp_path, {"orders": {"known_at": "synced_at"}}, customers=CUSTOMERS, orders=orders)
    assert rows(tables, "orders", "known_at") == [(datetime(2024, 2, 7),), (datetime(2024, 2, 1),)]
    assert "synced_at" not in tables.tables["orders"].columns


def test_a_known_at_that_is_not_delivered_is_refused(tmp_path):
    orders = "order_id  occurred_at  known_at  customer_id  amount\nO1  2024-02-01  2024-02-07  C1  10"
    with pytest.raises(ConfigError, match=r"tables\.orders\.known_at names column 'synced_at'"):
        extract_world(tmp_path, {"orders": {"known_at": "synced_at"}}, customers=CUSTOMERS, orders=orders)


def test_a_value_that_is_filled_later_has_its_own_clock(tmp_path):
    deals = """
        deal_id  created_at  closed_at   closed_at_known_at  outcome
        D1       2024-02-01  2024-03-01  2024-03-05          won
        D2       2024-02-01  2024-03-01  -                   lost     # known when it closed
        D3       2024-02-01  -           2024-03-05          -        # open: nothing to know
    """
    tables = make_tables(tmp_path, deals=deals)
    known = [(datetime(2024, 3, 5),), (datetime(2024, 3, 1),), (None,)]
    assert rows(tables, "deals", "closed_at_known_at") == known
    assert tables.tables["deals"].revealed == {"closed_at": "closed_at", "outcome": "closed_at"}


def test_a_column_of_ones_own_can_be_revealed_by_a_time_of_ones_own(tmp_path):
    orders = "order_id  occurred_at  customer_id  amount  rating  rated_at\nO1  2024-02-01  C1  10  5  2024-02-09"
    tables = make_tables(tmp_path, {"orders": {"revealed": {"rating": "rated_at"}}}, customers=CUSTOMERS, orders=orders)
    assert tables.tables["orders"].revealed == {"rating": "rated_at", "rated_at": "rated_at"}
    assert rows(tables, "orders", "rated_at_known_at") == [(datetime(2024, 2, 9),)]


def test_a_value_that_nothing_dates_is_left_out(tmp_path):
    tickets = "ticket_id  occurred_at  customer_id  satisfaction\nT1  2024-02-01  C1  5"
    report = extract_world(tmp_path, customers=CUSTOMERS, tickets=tickets)
    assert report.tables[1].left_out == {
        "satisfaction": "nothing says when it was filled: 'closed_at' is not delivered"
    }


def test_columns_of_entities_without_a_declared_history_are_left_out(tmp_path):
    report = extract_world(tmp_path, {"customers": {"static": []}}, customers=CUSTOMERS)
    assert report.tables[0].left_out == {"region": "no history declared: name it in static, tracked or remembered"}
    assert list(report.tables[0].columns) == ["customer_id", "created_at", "known_at", "known_until"]


def test_extra_columns_of_events_are_kept_with_the_types_they_have(tmp_path):
    order = {"order_id": 1.0, "occurred_at": "2024-02-01", "customer_id": "C1", "amount": 10}
    extras = {
        "lines": 3,
        "weight": 1.5,
        "gift": True,
        "note": "x",
        "picked_at": "2024-02-02",
        "due_on": date(2024, 3, 1),
    }
    blob = {"scan": b"x"}
    report = extract_world(tmp_path, customers=CUSTOMERS, orders=[{**order, **extras, **blob}])
    kinds = dict(list(report.tables[1].columns.items())[4:-1])
    assert kinds == {
        "lines": "integer",
        "weight": "number",
        "gift": "flag",
        "note": "text",
        "picked_at": "time",
        "due_on": "date",
    }
    assert report.tables[1].left_out == {"scan": "nothing can be done with type BLOB"}


def test_a_local_source_is_stored_in_utc(tmp_path):
    orders = """
        order_id  occurred_at       customer_id  amount
        O1        2024-02-01 12:00  C1           10      # winter: one hour ahead
        O2        2024-06-01 12:00  C1           10      # summer: two
    """
    tables = make_tables(tmp_path, customers=CUSTOMERS, orders=orders, config={"time_zone": "Europe/Berlin"})
    assert rows(tables, "orders", "occurred_at") == [(datetime(2024, 2, 1, 11),), (datetime(2024, 6, 1, 10),)]


def test_a_manifest_of_another_protocol_is_refused(tmp_path):
    tables = make_tables(tmp_path, customers=CUSTOMERS)
    path = tables.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "protocol": 99}))
    with pytest.raises(DataError, match="has protocol 99, expected 1"):
        load_tables(tables.folder)
