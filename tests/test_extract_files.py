"""Tables in files: CSV, gzip, Parquet and globs, in the data folder and nowhere else."""

import gzip
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import DataError
from features.tables import load_tables
from pipeline.adapters.files import FilesSource
from pipeline.config import Config, load_config
from pipeline.errors import ConfigError
from pipeline.extract import extract

CUSTOMERS = "SELECT customer_id, created_at FROM {}"
CSV = "customer_id,created_at\n13085.0,2024-01-01 10:00:00\n7,2024-01-02\n"


def make_config(state, source, **selects):
    tables = {name: {"select": select} for name, select in selects.items()}
    values = {"name": "shop", "state": str(state / "state"), "source": source, "tables": tables, "targets": {}}
    return Config.model_validate(values)


def files_config(tmp_path, data_end="2024-07-01", **selects):
    (tmp_path / "data").mkdir(exist_ok=True)
    return make_config(
        tmp_path, {"adapter": "files", "folder": str(tmp_path / "data"), "data_end": data_end}, **selects
    )


def stored(report, name, columns="*"):
    return duckdb.sql(f"SELECT {columns} FROM '{load_tables(report.folder).path(name)}'").fetchall()


def test_csv_gzip_and_parquet_are_read_relative_to_the_data_folder(tmp_path):
    selects = {
        "customers": CUSTOMERS.format("read_csv('crm/customers.csv.gz', all_varchar = true)"),
        "orders": "SELECT * FROM read_parquet('orders_*.parquet')",
    }
    config = files_config(tmp_path, **selects)
    data = tmp_path / "data"
    (data / "crm").mkdir()
    (data / "crm" / "customers.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    for number in (1, 2):
        order = {
            "order_id": [number],
            "customer_id": [13085],
            "occurred_at": [datetime(2024, 2, number)],
            "amount": [1.5],
        }
        pq.write_table(pa.table(order), data / f"orders_{number}.parquet")
    report = extract(config)
    assert stored(report, "customers", "customer_id, created_at") == [
        ("13085", datetime(2024, 1, 1, 10)),
        ("7", datetime(2024, 1, 2, 23, 59, 59, 999999)),  # only a day: its end
    ]
    assert stored(report, "orders", "order_id, customer_id, amount") == [
        ("1", "13085", Decimal("1.5000")),
        ("2", "13085", Decimal("1.5000")),
    ]


def test_the_folder_comes_from_the_environment_variable_that_the_config_names(tmp_path, monkeypatch):
    (tmp_path / "customers.csv").write_text(CSV)
    source = {"adapter": "files", "folder_env": "SHOP_DATA", "data_end": "2024-07-01"}
    config = make_config(tmp_path, source, customers=CUSTOMERS.format("'customers.csv'"))
    monkeypatch.delenv("SHOP_DATA", raising=False)
    with pytest.raises(
        ConfigError, match=r"Environment variable SHOP_DATA is not set. Set it to the folder that holds"
    ):
        extract(config)
    monkeypatch.setenv("SHOP_DATA", str(tmp_path))
    assert extract(config).tables[0].rows == 2


def test_a_data_folder_that_does_not_exist_is_named(tmp_path):
    config = make_config(tmp_path, {"adapter": "files", "folder": "nowhere", "data_end": "2024-07-01"}, customers="x")
    with pytest.raises(ConfigError, match=r"The data folder nowhere \(source.folder\) does not exist"):
        extract(config)


def test_a_file_in_the_current_folder_is_not_taken_for_one_in_the_data_folder(tmp_path, monkeypatch):
    config = files_config(tmp_path, customers=CUSTOMERS.format("read_csv('customers.csv')"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    Path("customers.csv").write_text("customer_id,created_at\nWRONG,2024-01-01\n")
    with pytest.raises(ConfigError, match=r"tables.customers.select reads 'customers.csv', which is not in the data"):
        extract(config)
    (tmp_path / "data" / "customers.csv").write_text("customer_id,created_at\nRIGHT,2024-01-01\n")
    assert stored(extract(config), "customers", "customer_id") == [("RIGHT",)]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("SELECT customer FROM 'customers.csv'", 'tables.customers.select fails: .*column "customer" not found'),
        ("SELEKT 1", "tables.customers.select fails: .*syntax error"),
        ("SELECT * FROM clients", "tables.customers.select fails: .*Table with name clients does not exist"),
    ],
)
def test_a_select_that_fails_is_named_with_what_duckdb_says(tmp_path, select, expected):
    config = files_config(tmp_path, customers=select)
    (tmp_path / "data" / "customers.csv").write_text(CSV)
    with pytest.raises(ConfigError, match=expected + ".* Correct the SELECT."):
        extract(config)


def test_a_missing_file_is_named(tmp_path):
    config = files_config(tmp_path, customers=CUSTOMERS.format("read_csv('customers.csv')"))
    with pytest.raises(DataError, match=r"Table 'customers': the files in .* cannot be read: .*customers.csv"):
        extract(config)


def test_a_half_written_parquet_leaves_the_tables_of_the_run_before(tmp_path):
    config = files_config(tmp_path, customers=CUSTOMERS.format("read_parquet('customers.parquet')"))
    path = tmp_path / "data" / "customers.parquet"
    pq.write_table(pa.table({"customer_id": ["C1"], "created_at": [datetime(2024, 1, 1)]}), path)
    before = load_tables(extract(config).folder)
    path.write_bytes(path.read_bytes()[:60])
    expected = "Table 'customers': the files in .* cannot be read: .* Check that they are there, complete"
    with pytest.raises(DataError, match=expected):
        extract(config)
    assert load_tables(before.folder) == before


def test_a_column_delivered_twice_is_named(tmp_path):
    config = files_config(tmp_path, customers="SELECT 1 AS customer_id, 2 AS Customer_ID, now() AS created_at")
    with pytest.raises(ConfigError, match=r"tables.customers.select delivers column 'customer_id' twice"):
        extract(config)


def test_nothing_is_downloaded_to_read_a_file(tmp_path):
    config = files_config(tmp_path, customers=CUSTOMERS.format("read_xlsx('customers.xlsx')"))
    with pytest.raises(ConfigError, match=r"tables.customers.select fails"):
        extract(config)


def test_rows_of_files_are_counted_and_keys_listed(tmp_path):
    config = files_config(tmp_path, customers=CUSTOMERS.format("read_csv('customers.csv')") + ";")
    (tmp_path / "data" / "customers.csv").write_text(CSV)
    source = FilesSource(config, tmp_path / "spill")
    assert source.count("customers") == 2
    assert source.count("customers", datetime(2024, 1, 2)) == 1
    assert [str(key) for batch in source.keys("customers") for key in batch.column(0).to_pylist()] == ["13085.0", "7.0"]
    source.close()


@pytest.mark.data
def test_the_purchases_of_online_retail_are_those_that_others_have_measured(public_data, tmp_path, monkeypatch):
    monkeypatch.setenv("LEADSIEVE_DATA", str(public_data("online_retail")))
    config = load_config(Path(__file__).parent.parent / "configs" / "online_retail.yaml")
    report = extract(config.model_copy(update={"state": tmp_path}))
    orders = load_tables(report.folder).path("orders")
    asked = (
        f"WITH bought AS (SELECT customer_id, occurred_at FROM '{orders}' WHERE quantity > 0), "
        "earlier AS (SELECT DISTINCT customer_id FROM bought WHERE occurred_at < '2011-06-01'), "
        "later AS (SELECT DISTINCT customer_id FROM bought WHERE occurred_at >= '2011-06-01' "
        "AND occurred_at < TIMESTAMP '2011-06-01' + INTERVAL 90 DAY) "
        "SELECT count(*), round(1 - count(later.customer_id) / count(*), 5) FROM earlier "
        "LEFT JOIN later USING (customer_id)"
    )
    assert duckdb.sql(asked).fetchall() == [(4935, 0.67153)]
    assert [table.rows for table in report.tables] == [5942, 44876]
    assert all(not table.dropped and not table.warnings for table in report.tables)


def test_a_test_that_needs_public_data_is_skipped_with_a_clear_sentence(public_data):
    with pytest.raises(pytest.skip.Exception, match="the public data set 'nothing_of_this_name' is not in"):
        public_data("nothing_of_this_name")
