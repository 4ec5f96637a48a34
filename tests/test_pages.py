"""A source that delivers a table page by page, as it pleases."""

import duckdb
import pyarrow as pa
import pytest
from conftest import make_config, read_rows

from features.errors import DataError
from features.tables import load_tables
from pipeline.adapters.memory import MemorySource
from pipeline.extract import extract

CUSTOMERS = read_rows("customers", "customer_id  created_at\nC1  2024-01-01")


class Pages(MemorySource):
    """Delivers orders as the pages that it was given."""

    def __init__(self, pages, data_end):
        super().__init__({"customers": CUSTOMERS}, data_end)
        self._pages = pages

    def read(self, table):
        return iter(self._pages) if table == "orders" else super().read(table)


def make_page(*keys, amount="1", **columns):
    rows = [
        {"order_id": key, "occurred_at": "2024-02-01", "customer_id": "C1", "amount": amount, **columns} for key in keys
    ]
    return read_rows("orders", rows).to_batches()[0]


def extract_pages(state, *pages, **source):
    config = make_config(state, {"customers": {}, "orders": {}}, source=source)
    return extract(config, source=Pages(pages, config.source.data_end))


def read_orders(report, columns="order_id"):
    path = load_tables(report.folder).path("orders")
    return duckdb.sql(f"SELECT {columns} FROM '{path}' ORDER BY 1").fetchall()


NO_COLUMNS = pa.RecordBatch.from_arrays([], names=[])
EMPTY = make_page("O0").slice(0, 0)


@pytest.mark.parametrize("empty", [NO_COLUMNS, EMPTY], ids=["without columns", "with columns"])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_an_empty_page_does_not_end_the_reading(tmp_path, empty, place):
    pages = [make_page("O1"), make_page("O2"), make_page("O3")]
    report = extract_pages(tmp_path, *pages[:place], empty, *pages[place:])
    assert read_orders(report) == [("O1",), ("O2",), ("O3",)]


def test_an_empty_page_has_no_say_in_the_types(tmp_path):
    weights = make_page("O1", weight=1.5)
    nothing = pa.RecordBatch.from_arrays([pa.array([], pa.string())] * 5, names=weights.schema.names)
    report = extract_pages(tmp_path, nothing, weights, nothing)
    assert report.tables[1].columns["weight"] == "number"


def test_only_empty_pages_are_an_empty_table(tmp_path):
    report = extract_pages(tmp_path, EMPTY, NO_COLUMNS)
    assert report.tables[1].warnings == ("the SELECT delivers no rows: the table is left out",)


@pytest.mark.parametrize("pages", [[], [NO_COLUMNS]])
def test_a_table_without_rows_and_columns_is_refused(tmp_path, pages):
    with pytest.raises(DataError, match=r"Table 'orders': the source delivers neither rows nor columns, expected at"):
        extract_pages(tmp_path, *pages)


def test_columns_are_told_by_their_names_whatever_their_order(tmp_path):
    second = make_page("O2", amount="2")
    turned = pa.RecordBatch.from_arrays(second.columns[::-1], names=second.schema.names[::-1])
    assert read_orders(extract_pages(tmp_path, make_page("O1"), turned), "order_id, CAST(amount AS INT)") == [
        ("O1", 1),
        ("O2", 2),
    ]


def test_a_page_with_other_columns_is_refused(tmp_path):
    expected = (
        r"Table 'orders': page 3 delivers other columns than the first: 'weight' is missing and 'mass' is new\. "
        r"Run this again; if it stays so, correct the source"
    )
    with pytest.raises(DataError, match=expected):
        extract_pages(tmp_path, make_page("O1", weight=1), EMPTY, make_page("O2", mass=1))


def test_a_row_that_two_pages_deliver_is_stored_once(tmp_path):
    report = extract_pages(tmp_path, make_page("O1", "O2"), make_page("O2", "O3"))
    assert report.tables[1].dropped == {"copies of a row with the same order_id": 1}
    assert read_orders(report) == [("O1",), ("O2",), ("O3",)]


def test_a_row_that_changed_between_two_pages_is_held_back(tmp_path):
    report = extract_pages(tmp_path, make_page("O1", "O2"), make_page("O2", "O3", amount="7"), bad_share=0.5)
    assert report.tables[1].quarantined == {"order_id is repeated with different content": 2}
    assert read_orders(report) == [("O1",), ("O3",)]
    with pytest.raises(DataError, match=r"2 of 4 rows repeat a order_id \(O2\).*source\.bad_share"):
        extract_pages(tmp_path, make_page("O1", "O2"), make_page("O2", "O3", amount="7"), bad_share=0.49)
