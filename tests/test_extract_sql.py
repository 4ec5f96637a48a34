"""Tables in a database: its types, its clock, and what happens when it does not answer."""

import sqlite3
from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from sqlalchemy import create_engine

from features.errors import DataError
from features.tables import load_tables
from pipeline.adapters.memory import MemorySource
from pipeline.adapters.sql import SqlSource
from pipeline.adapters.sql_reader import to_array
from pipeline.config import Config
from pipeline.errors import ConfigError, CrmError
from pipeline.extract import extract
from pipeline.staging import open_duckdb, stage

CUSTOMERS = "SELECT customer_id, created_at FROM {}"


def make_config(state, source, **selects):
    tables = {name: {"select": select} for name, select in selects.items()}
    values = {"name": "shop", "state": str(state / "state"), "source": source, "tables": tables, "targets": {}}
    return Config.model_validate(values)


def sqlite_config(tmp_path, *statements, data_end="2024-07-01", **selects):
    with sqlite3.connect(tmp_path / "crm.db") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return make_config(
        tmp_path, {"adapter": "sql", "sqlite": str(tmp_path / "crm.db"), "data_end": data_end}, **selects
    )


def stored(report, name, columns="*"):
    return duckdb.sql(f"SELECT {columns} FROM '{load_tables(report.folder).path(name)}'").fetchall()


MAKE_CUSTOMERS = "CREATE TABLE customers (customer_id INTEGER, created_at TEXT)"
ONE_CUSTOMER = "INSERT INTO customers VALUES (7, '2024-01-01 10:00:00')"


def test_sqlite_text_becomes_the_canonical_types(tmp_path):
    config = sqlite_config(
        tmp_path,
        MAKE_CUSTOMERS,
        ONE_CUSTOMER,
        "CREATE TABLE sales (id REAL, day TEXT, client INTEGER, total)",
        "INSERT INTO sales VALUES (1.0, '2024-02-01', 7, 10), (2.0, '2024-02-02T08:00:00Z', 7, '12.345678')",
        customers="SELECT * FROM customers;",
        orders="SELECT id AS order_id, day AS occurred_at, client AS customer_id, total AS amount FROM sales",
    )
    assert stored(extract(config), "orders", "order_id, occurred_at, customer_id, amount") == [
        ("1", datetime(2024, 2, 1, 23, 59, 59, 999999), "7", Decimal("10.0000")),
        ("2", datetime(2024, 2, 2, 8), "7", Decimal("12.3457")),
    ]


def test_values_that_a_database_delivers_in_the_wrong_type_are_shown(tmp_path):
    bad = "INSERT INTO customers VALUES (8, 'soon'), (9, 'later')"
    config = sqlite_config(tmp_path, MAKE_CUSTOMERS, ONE_CUSTOMER, bad, customers=CUSTOMERS.format("customers"))
    expected = (
        r"Table 'customers': 2 of 3 values of column 'created_at' cannot be read \(soon, later\), expected a time"
    )
    with pytest.raises(DataError, match=expected):
        extract(config)


def test_a_missing_sqlite_file_is_an_error_and_not_a_new_file(tmp_path):
    path = tmp_path / "crm.db"
    config = make_config(tmp_path, {"adapter": "sql", "sqlite": str(path)}, customers="SELECT 1")
    with pytest.raises(CrmError, match=r"SQLite file .*crm.db does not exist, .* Nothing was changed"):
        extract(config)
    assert not path.exists()


def test_a_file_that_is_no_database_does_not_answer(tmp_path):
    path = tmp_path / "crm.db"
    path.write_bytes(b"this is not a database, it only has the name of one" * 50)
    config = make_config(tmp_path, {"adapter": "sql", "sqlite": str(path)}, customers="SELECT 1")
    with pytest.raises(CrmError, match=r"does not answer: file is not a database. Nothing was changed"):
        extract(config)


def test_a_database_that_goes_down_leaves_the_tables_of_the_run_before(tmp_path):
    config = sqlite_config(tmp_path, MAKE_CUSTOMERS, ONE_CUSTOMER, customers="SELECT * FROM customers")
    before = load_tables(extract(config).folder)
    (tmp_path / "crm.db").rename(tmp_path / "gone.db")
    with pytest.raises(CrmError, match="Nothing was changed"):
        extract(config)
    assert load_tables(before.folder) == before


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("SELECT * FROM clients", "tables.customers.select fails: no such table: clients. Correct the SELECT."),
        ("SELECT customer FROM customers", "tables.customers.select fails: no such column: customer"),
        ("SELEKT", "tables.customers.select fails: near .* syntax error"),
    ],
)
def test_a_select_that_a_database_refuses_is_named_with_what_it_says(tmp_path, select, expected):
    config = sqlite_config(tmp_path, MAKE_CUSTOMERS, customers=select)
    with pytest.raises(ConfigError, match=expected):
        extract(config)


def test_a_url_comes_from_the_environment_and_is_never_shown(tmp_path, monkeypatch):
    config = make_config(tmp_path, {"adapter": "sql", "url_env": "SHOP_URL"}, customers="SELECT 1")
    monkeypatch.setenv("SHOP_URL", "postgresql+nodriver://job:s3cret@crm.example/sales")
    with pytest.raises(ConfigError, match=r"SQLAlchemy knows no database 'postgresql.nodriver'") as caught:
        extract(config)
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(CrmError, match=r"other.db does not exist"):
        extract(config)


def test_data_ends_when_the_config_says_so_or_its_select_or_the_clock_of_the_database(tmp_path):
    base = sqlite_config(tmp_path, MAKE_CUSTOMERS, customers="SELECT * FROM customers").model_dump()
    sections = [
        {"data_end": datetime(2024, 7, 1)},
        {"data_end": None, "data_end_select": "SELECT '2024-06-30T22:00:00+02:00'"},
        {"data_end": None},
    ]
    sources = [SqlSource(Config.model_validate({**base, "source": {**base["source"], **keys}})) for keys in sections]
    fixed, selected, clock = (source.data_end() for source in sources)
    assert (fixed, selected) == (datetime(2024, 7, 1), datetime(2024, 6, 30, 20))
    assert abs((clock - datetime.now(UTC).replace(tzinfo=None)).total_seconds()) < 60
    assert [source.clock() is None for source in sources] == [True, True, False]
    for source in sources:
        source.close()


@pytest.mark.parametrize("select", ["SELECT 'soon'", "SELECT 7", "SELECT NULL"])
def test_a_select_of_data_end_that_returns_no_time_is_named(tmp_path, select):
    config = sqlite_config(tmp_path, MAKE_CUSTOMERS, data_end=None, customers="SELECT * FROM customers")
    source = config.source.model_copy(update={"data_end_select": select})
    with pytest.raises(ConfigError, match=r"source.data_end_select returns .*, expected one time in UTC"):
        SqlSource(config.model_copy(update={"source": source}))


def test_rows_that_arrive_while_a_database_is_read_are_left_to_the_next_extract(tmp_path):
    rows = {
        "deal_id": ["D1", "D2", "D3"],
        "created_at": [datetime(2024, 6, 1), datetime(2024, 7, 1, 0, 0, 30), datetime(2024, 6, 1)],
        "closed_at": [datetime(2024, 7, 1, 0, 0, 30), None, None],  # D1 closes and D2 begins while we read
        "outcome": ["won", None, None],
    }

    class Growing(MemorySource):
        def clock(self):
            return datetime(2024, 7, 1, 0, 1)

    config = make_config(tmp_path, {"adapter": "sql", "sqlite": "unused.db"}, deals="unused")
    report = extract(config, source=Growing({"deals": pa.table(rows)}, datetime(2024, 7, 1)))
    assert stored(report, "deals", "deal_id, outcome") == [("D1", None), ("D3", None)]
    assert report.tables[0].dropped == {"arrived while reading": 1}
    assert report.tables[0].warnings == ("1 row has closed_at arrived while reading: closed_at, outcome cleared",)


def test_a_database_is_read_in_one_transaction_and_closed_after_it(tmp_path):
    config = sqlite_config(tmp_path, MAKE_CUSTOMERS, ONE_CUSTOMER, customers="SELECT * FROM customers")
    extract(config)
    engine = create_engine(f"sqlite:///{tmp_path / 'crm.db'}")
    with engine.begin() as connection:  # would wait for a reader that holds on
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        connection.exec_driver_sql("DELETE FROM customers")
    engine.dispose()


def test_rows_of_a_database_are_counted_and_keys_listed(tmp_path):
    more = "INSERT INTO customers VALUES (8, '2024-02-01 10:00:00')"
    select = "SELECT customer_id, created_at FROM customers -- all;"
    config = sqlite_config(tmp_path, MAKE_CUSTOMERS, ONE_CUSTOMER, more, customers=select)
    source = SqlSource(config)
    assert (source.count("customers"), source.count("customers", datetime(2024, 1, 15))) == (2, 1)
    assert [key for batch in source.keys("customers") for key in batch.column(0).to_pylist()] == [7, 8]
    source.close()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ((1, None), "int64"),
        ((1, 2.5), "double"),
        ((True, None), "bool"),
        ((Decimal("1.50"), Decimal("2")), "decimal128(3, 2)"),
        ((date(2024, 1, 1),), "date32[day]"),
        ((datetime(2024, 1, 1), None), "timestamp[us]"),
        ((None, None), "null"),
        (("a", 1), "string"),
        ((True, 2), "string"),
        ((2**70,), "string"),
        ((Decimal(10) ** 50,), "string"),
        ((date(2024, 1, 1), datetime(2024, 1, 1)), "string"),
        (({"a": 1},), "string"),
    ],
)
def test_values_of_one_type_make_a_column_of_it_and_others_make_text(values, kind):
    assert str(to_array(values).type) == kind


def test_batches_of_different_types_are_united_in_order(tmp_path):
    batches = [
        pa.RecordBatch.from_pydict({"K": [1, 2], "v": pa.nulls(2), "n": pa.nulls(2)}),
        pa.RecordBatch.from_pydict({"K": ["x", "4"], "v": [1.5, None], "n": pa.nulls(2)}),
        pa.RecordBatch.from_pydict({"K": [5, 6], "v": pa.nulls(2), "n": pa.nulls(2)}),
    ]
    with open_duckdb(tmp_path / "spill") as connection:
        delivered = stage(connection, "orders", iter(batches))
        found = connection.execute("SELECT k, v, n FROM raw_orders ORDER BY __row").fetchall()
    assert (delivered.columns, delivered.rows) == ({"k": "VARCHAR", "v": "DOUBLE", "n": "VARCHAR"}, 6)
    assert found == [
        ("1", None, None),
        ("2", None, None),
        ("x", 1.5, None),
        ("4", None, None),
        ("5", None, None),
        ("6", None, None),
    ]


def test_tables_in_memory_can_be_counted_and_listed():
    source = MemorySource(
        {"customers": pa.table({"customer_id": ["C1"], "created_at": [datetime(2024, 1, 1)]})}, datetime(2024, 7, 1)
    )
    assert (source.count("customers"), source.count("customers", datetime(2024, 2, 1))) == (1, 0)
    assert [batch.to_pydict() for batch in source.keys("customers")] == [{"customer_id": ["C1"]}]
