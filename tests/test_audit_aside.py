"""Columns that nobody declared: kept for the audit alone, without what could name somebody, and forgotten with it."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import extract_world, make_config

from features.errors import DataError
from features.tables import load_tables
from pipeline.audit_aside import AUDIT, RARE, load_aside
from pipeline.forget import forget
from pipeline.ledger import open_ledger

CUSTOMERS = [
    {
        "customer_id": f"C{i:02}",
        "created_at": "2024-01-01",
        "region": "north",
        "mail": f"someone{i}@zzpersonal.test",
        "status": "key" if i % 2 else "small",
        "points": i,
        "seen_at": datetime(2024, 2, 1) + timedelta(days=i),
        "tax": "DE1",
    }
    for i in range(60)
]
MAPPINGS: dict[str, dict[str, Any]] = {"customers": {"static": ["region"], "sensitive": ["tax"]}}


def _tables(state: Path) -> Path:
    return state / "world" / "tables"


def _kept(state: Path, column: str, where: str = "true") -> list[Any]:
    folder = _tables(state)
    file = folder / load_aside(folder)["customers"].file
    return [row[0] for row in duckdb.sql(f"SELECT {column} FROM '{file}' WHERE {where} ORDER BY ALL").fetchall()]


def test_undeclared_columns_are_kept_aside_and_no_feature_can_see_them(tmp_path):
    extract_world(tmp_path, MAPPINGS, customers=CUSTOMERS)
    folder = _tables(tmp_path)
    columns = load_aside(folder)["customers"].columns
    assert columns == {
        "customer_id": "text", "mail": "text", "status": "text", "points": "integer", "seen_at": "time"
    }  # fmt: skip
    assert set(load_tables(folder).tables) == {"customers"}
    assert not {"mail", "status", "points", "seen_at"} & set(load_tables(folder).tables["customers"].columns)
    assert _kept(tmp_path, "points") == list(range(60))


def test_a_text_that_few_share_is_not_kept(tmp_path):
    extract_world(tmp_path, MAPPINGS, customers=CUSTOMERS)
    assert set(_kept(tmp_path, "mail")) == {RARE}
    assert _kept(tmp_path, "status") == ["key"] * 30 + ["small"] * 30
    assert all(b"zzpersonal" not in path.read_bytes() for path in _tables(tmp_path).rglob("*") if path.is_file())


def test_an_extract_of_the_same_rows_changes_nothing(tmp_path):
    for _ in range(2):
        extract_world(tmp_path, MAPPINGS, customers=CUSTOMERS)
    extract_world(tmp_path, MAPPINGS, customers=CUSTOMERS, data_end="2024-07-02")
    before = {path.name: path.read_bytes() for path in _tables(tmp_path).iterdir()}
    report = extract_world(tmp_path, MAPPINGS, customers=CUSTOMERS, data_end="2024-07-02")
    assert not report.changed
    assert {path.name: path.read_bytes() for path in _tables(tmp_path).iterdir()} == before


def test_the_files_of_the_extract_before_are_swept(tmp_path):
    extract_world(tmp_path, MAPPINGS, customers=CUSTOMERS)
    others = [{**row, "points": 7} for row in CUSTOMERS]
    extract_world(tmp_path, MAPPINGS, customers=others, data_end="2024-07-02")
    assert len(list(_tables(tmp_path).glob("audit_customers-*.parquet"))) == 1
    assert _kept(tmp_path, "DISTINCT points") == [7]


def test_rows_that_were_not_read_again_are_kept(tmp_path):
    """An incremental read delivers only the one customer that was modified."""
    mappings = {"customers": {"static": ["region"], "modified_at": "modified_at"}}
    rows = [{**row, "modified_at": datetime(2024, 6, 1)} for row in CUSTOMERS]
    extract_world(tmp_path, mappings, customers=rows)
    later = [{**rows[0], "points": 99, "modified_at": datetime(2024, 7, 1, 12)}, *rows[1:]]
    extract_world(tmp_path, mappings, customers=later, data_end="2024-07-02")
    assert _kept(tmp_path, "points") == [*range(1, 60), 99]


def test_a_forgotten_entity_is_gone_from_what_is_kept_aside(tmp_path):
    extract_world(tmp_path, MAPPINGS, customers=CUSTOMERS)
    config = make_config(tmp_path, MAPPINGS)
    with open_ledger(config.folder / "ledger.db") as ledger:
        forget(config, ledger, "C05")
    assert _kept(tmp_path, "customer_id", "customer_id IN ('C04', 'C05', 'C06')") == ["C04", "C06"]
    assert len(list(_tables(tmp_path).glob("audit_customers-*.parquet"))) == 1
    extract_world(tmp_path, MAPPINGS, customers=CUSTOMERS, data_end="2024-07-02")
    assert _kept(tmp_path, "count(*)") == [59]


def test_a_damaged_file_is_an_error_for_the_audit_and_made_again_by_an_extract(tmp_path):
    extract_world(tmp_path, MAPPINGS, customers=CUSTOMERS)
    (path,) = _tables(tmp_path).glob("audit_customers-*.parquet")
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"Undeclared columns of 'customers': .* is missing or damaged, expected what"):
        load_aside(_tables(tmp_path))
    extract_world(tmp_path, MAPPINGS, customers=CUSTOMERS, data_end="2024-07-02")
    assert _kept(tmp_path, "count(*)") == [60]


def test_nothing_is_kept_where_everything_is_declared(tmp_path):
    declared = {"customers": {"static": ["region", "mail", "status", "points", "seen_at"], "sensitive": ["tax"]}}
    extract_world(tmp_path, declared, customers=CUSTOMERS)
    manifest = json.loads((_tables(tmp_path) / "manifest.json").read_text())
    assert manifest[AUDIT] == {"tables": {}, "changes": {}}
