"""A small CRM, a config that writes to it, and scores: what the write-back tests share.

The CRM of a folder is its crm.db; in a folder that `crm_folder` made for PostgreSQL it is a database there.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from postgres_server import Database

from pipeline.config import Config
from pipeline.ledger import Ledger, open_ledger

DEALS = "CREATE TABLE deals (deal_id INTEGER PRIMARY KEY, name TEXT, score REAL, grade TEXT, why TEXT)"
FIELDS = {"score": "probability", "grade": "grade", "why": "reasons_en"}
CRM_URL = "LEADSIEVE_TEST_CRM"
SERVED: dict[Path, Database] = {}
"""Folders whose CRM is on a server."""


@pytest.fixture(params=["sqlite", "postgresql"])
def crm_folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of a deployment: the test runs with each database that it may write to."""
    if request.param == "postgresql":
        SERVED[tmp_path] = request.getfixturevalue("postgres")
        monkeypatch.setenv(CRM_URL, SERVED[tmp_path].url)
    yield tmp_path
    SERVED.pop(tmp_path, None)


def make_config(folder: Path, fields: Mapping[str, str] = FIELDS, **write_back: Any) -> Config:
    """A deployment whose conversion scores go to the table `deals` of crm.db."""
    mapping = {"target": "deals", "key": "deal_id", "fields": dict(fields), "decimals": 4}
    place = {"url_env": CRM_URL} if folder in SERVED else {"sqlite": folder / "crm.db"}
    section = {**place, "tables": {"conversion": mapping}, **write_back}
    owned: dict[str, list[str]] = {}
    for table in section["tables"].values():
        owned.setdefault(table["target"], []).extend(table["fields"])
    section.setdefault("owned_fields", owned)
    return Config.model_validate(
        {
            "name": "demo",
            "state": folder,
            "source": {"adapter": "sql", **place},
            "tables": {"deals": {"select": "SELECT 1"}},
            "targets": {"conversion": {"kind": "conversion", "horizons_days": [90], "spine": {"grid": "month"}}},
            "write_back": section,
        }
    )


def make_crm(folder: Path, deals: Sequence[tuple[Any, ...]], table: str = DEALS) -> None:
    """Make crm.db with deals (deal_id, name, score, grade, why)."""
    run_sql(folder, table)
    if folder in SERVED:
        for deal in deals:
            run_sql(folder, "INSERT INTO deals VALUES (?, ?, ?, ?, ?)", deal)
        return
    with sqlite3.connect(folder / "crm.db") as connection:
        connection.executemany("INSERT INTO deals VALUES (?, ?, ?, ?, ?)", deals)


def run_sql(folder: Path, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement in the CRM, as another program would; types are those of SQLite."""
    if folder in SERVED:
        rows = SERVED[folder].execute(statement.replace("?", "%s").replace(" REAL", " DOUBLE PRECISION"), parameters)
        return [tuple(float(value) if isinstance(value, Decimal) else value for value in row) for row in rows]
    connection = sqlite3.connect(folder / "crm.db", isolation_level=None)
    try:
        return connection.execute(statement, parameters).fetchall()
    finally:
        connection.close()


def read_deals(folder: Path) -> list[tuple[Any, ...]]:
    """Rows (deal_id, score, grade, why) of the CRM, by id."""
    return run_sql(folder, "SELECT deal_id, score, grade, why FROM deals ORDER BY deal_id")


def make_scores(run_id: str, rows: Sequence[tuple[str, float | None, str | None, Sequence[str]]]) -> pd.DataFrame:
    """Score frame of rows (entity_id, probability, grade, reasons in English)."""
    records = [
        {
            "run_id": run_id,
            "target": "conversion",
            "horizon_days": 90,
            "entity_id": entity,
            "as_of": pd.Timestamp("2024-05-01"),
            "probability": probability,
            "probability_low": None,
            "probability_high": None,
            "log_odds": 0.5,
            "value": None,
            "days_to_event": None,
            "unseen_share": None,
            "points": 61.25,
            "grade": grade,
            "card_grade": grade,
            "graded_by": "points",
            "vetoes": None,
            "flags": None,
            "coverage": 0.8,
            "model_version": "3",
            "bundle_sha256": "ab" * 32,
            "card": "conversion",
            "card_version": "1",
            "reasons": json.dumps([{"feature": "f", "en": phrase, "zh": "原因"} for phrase in phrases]),
        }
        for entity, probability, grade, phrases in rows
    ]
    absent = ("probability", "probability_low", "probability_high", "value", "days_to_event", "unseen_share")
    return pd.DataFrame(records).astype({**dict.fromkeys(absent, "float64"), "vetoes": "str", "flags": "str"})


def open_run(config: Config, *run_ids: str) -> Ledger:
    """Ledger of a deployment in which scoring runs have been started."""
    ledger = open_ledger(config.folder / "ledger.db")
    for run_id in run_ids:
        ledger.start_run(run_id, "score", {}, "name: demo")
    return ledger
