"""The audit as one document: what is in it, in which order, what it comes to, and what to do."""

import gzip
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pytest
from conftest import make_config, read_rows

from features.errors import DataError
from features.groups.orders import order_history
from pipeline.adapters.memory import MemorySource
from pipeline.audit import Audit, audit, audit_frame
from pipeline.audit_alike import Alike
from pipeline.audit_duplicates import Duplicates
from pipeline.audit_findings import find, sum_up
from pipeline.audit_lateness import Lateness
from pipeline.audit_maturity import Cohort, Maturity
from pipeline.audit_quality import BusyDay, Filling, Quality
from pipeline.audit_verdict import ColumnVerdict
from pipeline.errors import ConfigError
from pipeline.extract import extract

CUSTOMERS = """
    customer_id  created_at  name          region
    C1           2024-01-01  ZZSecret AG   north
    C2           2024-01-02  zzsecret      south
    C3           2024-01-03  Other         south
"""
ORDERS = """
    order_id  occurred_at  known_at     customer_id  amount
    O1        2024-02-01   2024-02-01   C1           10
    O2        2024-02-03   2024-02-04   C1           20
    O3        2024-03-05   2024-03-05   C2           30
"""
CHURN = {"kind": "churn", "by": "orders", "horizons_days": [30], "settle_days": 0, "spine": {"grid": "month"}}


def verdict(column: str, kind: str, in_use: bool, suspicion: float = 0.5, table: str = "deals") -> ColumnVerdict:
    declared = "static" if table == "deals" else "known"
    return ColumnVerdict(table, column, kind, declared, in_use, "It is so.", "Is it so?", suspicion)  # type: ignore[arg-type]


COLUMNS = (
    verdict("a", "use", True, 0.3), verdict("b", "undated", False, 0.2), verdict("c", "leak", True, 0.6),
    verdict("d", "suspicious", True, 0.9), verdict("e", "leak", False, 0.9), verdict("f", "undated", False, 0.4),
)  # fmt: skip


def make_audit(*columns: ColumnVerdict, data_end: datetime | None = datetime(2024, 7, 1), **parts: Any) -> Audit:
    return Audit("world", data_end, {}, columns, parts.pop("quality", Quality((), (), ())), **parts)


def sentences(found: Audit, level: str) -> list[str]:
    return [one.what for one in find(found) if one.level == level]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the audit says of a small deployment, as JSON has it."""
    state = tmp_path_factory.mktemp("audit")
    mappings = {"customers": {"static": ["region"], "sensitive": ["name"]}, "orders": {}}
    config = make_config(state, mappings, targets={"churn": CHURN})
    delivered = {"customers": read_rows("customers", CUSTOMERS), "orders": read_rows("orders", ORDERS)}
    extract(config, source=MemorySource(delivered, config.source.data_end, {}))
    with patch("pipeline.deployment.CATALOG", (order_history,)), patch("pipeline.audit.check_columns") as columns:
        columns.return_value = list(COLUMNS)
        found = audit(config)
    document: dict[str, Any] = json.loads(json.dumps(found.to_json()))
    return document


def test_the_document_has_every_part(document: dict[str, Any]) -> None:
    assert (document["name"], document["data_end"], document["passed"]) == ("world", "2024-07-01T00:00:00", False)
    assert document["rows"] == {"customers": 3, "orders": 3}
    late = {
        (one["table"], one["event"]): (one["late"], one["late_share"], one["p95_s"]) for one in document["lateness"]
    }
    assert late["orders", "occurred_at"] == (1, pytest.approx(1 / 3), 86_400)
    [churn] = document["maturity"]
    assert [(one["month"], one["rows"], one["state"]) for one in churn["cohorts"]] == [
        ("2024-03", 1, "ripe"),  # C2 orders in March
        ("2024-04", 2, "ripe"), ("2024-05", 2, "ripe"), ("2024-06", 2, "ripe"),
        ("2024-07", 2, "not yet"),  # the data end on the first of July
    ]  # fmt: skip
    assert document["parity"]["state"] == "no run"
    assert document["quality"]["duplicates"]["groups"] == [["C1", "C2"]]


def test_the_most_suspicious_columns_come_first(document: dict[str, Any]) -> None:
    assert [one["column"] for one in document["columns"]] == ["c", "e", "d", "f", "b", "a"]


def test_no_sensitive_value_is_in_it(document: dict[str, Any]) -> None:
    assert "zzsecret" not in json.dumps(document).casefold()


def test_a_leak_in_use_does_not_pass_and_a_leak_that_nobody_reads_does() -> None:
    found = make_audit(*COLUMNS)
    assert ([one.column for one in found.leaks_in_use], found.is_passed) == (["c"], False)
    assert sum_up(found) == "Not passed: 1 column that leaks is in use."
    assert make_audit(*[one for one in COLUMNS if one.column != "c"]).is_passed
    assert sum_up(make_audit(COLUMNS[1])) == "Passed: no leak is in use. Of 1 column nothing proves when it was filled."


def test_an_error_says_what_leaks_and_what_to_do_about_it() -> None:
    [error] = [one for one in find(make_audit(*COLUMNS)) if one.level == "error"]
    assert error.what == "deals.c is a leak and in use: It is so."
    assert error.remedy.startswith(
        "Take 'c' out of tables.deals.static in the config, or say under revealed which time"
    )
    [error] = find(make_audit(verdict("tags", "leak", True, table="frame"), data_end=None))
    assert (error.what, error.remedy) == ("tags is a leak and in use: It is so.", "Leave it out of --known.")


def test_what_somebody_should_decide_comes_before_what_is_good_to_know() -> None:
    found = find(make_audit(*COLUMNS))
    assert [(one.level, one.what) for one in found] == [
        ("error", "deals.c is a leak and in use: It is so."),
        ("look", "deals.d: suspicious and in use."),
        ("note", "deals.e: a leak, read by no feature."),
        ("note", "deals.b, deals.f: nothing proves when filled, so not in use."),
    ]


def make_maturity(*cohorts: Cohort) -> Maturity:
    return Maturity("conversion", "conversion", 90, 0, "the deal was closed", cohorts)


def cohort(month: str, *, settled: int = 10, in_training: bool = True, looks_dead: bool = False) -> Cohort:
    return Cohort(month, 10, settled, settled, 0.1 if settled else None, {90: 0.1}, in_training, looks_dead)


def test_dead_cohorts_in_training_say_where_to_start() -> None:
    dead = [cohort("2024-01", looks_dead=True), cohort("2024-02", looks_dead=True)]
    found = make_audit(maturity=(make_maturity(*dead, cohort("2024-03")),))
    [finding] = find(found)
    assert (finding.level, finding.what) == (
        "look",
        "conversion: dead by the look of it: 2024-01, 2024-02, of which next to nothing is known after 90 days.",
    )
    assert finding.remedy == (
        "Set targets.conversion.spine.start to 2024-03-01, or ask since when outcomes are recorded."
    )
    left_out = [replace(one, in_training=False) for one in dead]
    assert sentences(make_audit(maturity=(make_maturity(*left_out, cohort("2024-03")),)), "note") == [
        "conversion: dead by the look of it: 2024-01, 2024-02, which spine.start leaves out."
    ]


def test_cohorts_that_are_not_ripe_are_named_and_without_any_nothing_can_be_learnt() -> None:
    found = make_audit(maturity=(make_maturity(cohort("2024-03"), cohort("2024-04", settled=0)),))
    assert sentences(found, "note") == [
        "conversion: not all labels are ripe yet: 2024-04; nobody learns from those that are not."
    ]
    found = make_audit(maturity=(make_maturity(cohort("2024-04", settled=0)),))
    assert sentences(found, "look") == ["conversion: no cohort is ripe, so nothing can be learnt yet."]


def test_a_crm_that_knows_everything_at_once_is_told_of() -> None:
    on_time = Lateness("orders", "occurred_at", "known_at", 10, 0, 0, 0, 0)
    [note] = sentences(make_audit(lateness=(on_time,)), "note")
    assert note.startswith("No row was known later than it occurred")
    assert find(make_audit(lateness=(on_time, replace(on_time, late=1)))) == []


def test_each_defect_of_quality_has_a_sentence() -> None:
    quality = Quality(
        (Filling("deals", "x", 10, 10, None), Filling("deals", "y", 10, 0, "won"), Filling("deals", "z", 10, 9, None)),
        (BusyDay("deals", "created_at", "2020-01-01", 30, 0.15),),
        (Alike("orders", "lines", "products", "same order", 200, 0.9994),),
    )
    twins = Duplicates(("name", "domain"), 100, 4, (("C1", "C2"), ("C3", "C4")), {}, {})
    found = make_audit(quality=quality, duplicates=twins)
    assert sentences(found, "look") == [
        "deals.x: without any value.",
        "deals.created_at: 30 rows, 15.0 % of all, lie on 2020-01-01.",
        "4 of 100 customers are there more than once, in 2 groups such as C1, C2 (by name, domain).",
    ]
    assert sentences(found, "note") == [
        "deals.y (always won): only one value.",
        "orders.lines and orders.products have the same order (rank correlation 0.9994), in 200 rows.",
    ]


FLAT = pd.DataFrame(
    {"Lead Source": ["web", "web", "ads", "web"], "Tags": ["x", None, "y", "x"], "Won": [1, 0, 1, None]}
)


def write(path: Path, text: str | None = None) -> Path:
    path.write_text(FLAT.to_csv(index=False) if text is None else text, encoding="utf-8")
    return path


def test_a_flat_frame_has_columns_and_quality_and_rows_without_label_do_not_count(tmp_path: Path) -> None:
    found = audit_frame(write(tmp_path / "leads.csv"), "Won", ["Lead Source"])
    assert (found.name, found.data_end, dict(found.rows), found.parity) == ("leads.csv", None, {"frame": 3}, None)
    assert {one.column: one.in_use for one in found.columns} == {"Lead Source": True, "Tags": False}
    assert [(one.column, one.missing) for one in found.quality.fillings] == [("Lead Source", 0), ("Tags", 1)]


def test_parquet_and_any_separator_are_read(tmp_path: Path) -> None:
    FLAT.to_parquet(tmp_path / "leads.parquet")
    semicolons = FLAT.to_csv(index=False, sep=";")
    with gzip.open(tmp_path / "leads.csv.gz", "wt", encoding="utf-8") as file:
        file.write(semicolons)
    for name in ("leads.parquet", "leads.csv.gz"):
        assert dict(audit_frame(tmp_path / name, "Won", []).rows) == {"frame": 3}


@pytest.mark.parametrize(
    ("label", "known", "expected"),
    [
        ("Wonn", [], r"--label names column 'Wonn', which .*leads\.csv does not have\. Did you mean 'Won'\?"),
        ("Won", ["Lead source"], r"--known names column 'Lead source', which .* Did you mean 'Lead Source'\?"),
        ("Won", ["Won"], "--known names 'Won', which is the label. Leave it out there"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_the_nearest(
    tmp_path: Path, label: str, known: list[str], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        audit_frame(write(tmp_path / "leads.csv"), label, known)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv does not exist\. Pass a Parquet or CSV file\."):
        audit_frame(tmp_path / "nowhere.csv", "Won", [])
    for name, text in (("empty.csv", ""), ("broken.parquet", "no parquet"), ("broken.csv.gz", "no gzip")):
        with pytest.raises(DataError, match=rf"{name} cannot be read as Parquet or CSV: [^\n]+\. Write it again\."):
            audit_frame(write(tmp_path / name, text), "Won", [])


def test_a_label_of_three_values_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "leads.csv", "x,Won\n1,yes\n2,no\n3,maybe\n")
    with pytest.raises(DataError, match="label column 'Won' has 3 different values, expected two"):
        audit_frame(path, "Won", [])
