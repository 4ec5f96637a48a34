"""`leadsieve writeback`: what people and jobs see of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crm_world import make_config, make_crm, make_scores, open_run, read_deals, run_sql
from typer.testing import CliRunner

from pipeline.commands.writeback import app
from pipeline.errors import ConfigError, CrmError, LockError
from pipeline.lock import hold_lock

DEALS = [(1, "Ann", None, None, None), (2, "Bob", None, None, None)]
Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command on two deals with scores of run r1."""
    make_crm(tmp_path, DEALS)
    config = make_config(tmp_path)
    (tmp_path / "demo.yaml").write_text(config.model_dump_json(), encoding="utf-8")
    with open_run(config, "r1") as ledger:
        ledger.replace_scores("r1", make_scores("r1", [("1", 0.1, "A", ["x"]), ("2", 0.2, "B", ["y"])]))

    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "--config", str(tmp_path / "demo.yaml")])

    return invoke


def document(result: Any) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # exactly one JSON document


def test_plan_tells_and_apply_writes_and_a_second_apply_writes_nothing(tmp_path: Path, run: Run) -> None:
    planned = document(run("plan", "--json"))
    zero = dict.fromkeys(("add", "unchanged", "skipped", "conflicts", "missing", "waiting", "interrupted"), 0)
    path = str(tmp_path / "demo" / "runs" / "r1" / "write_plan.parquet")
    tables = [{"table": "deals", "update": 2, "fields": 6, **zero}]
    assert planned == {"run": "r1", "tables": tables, "refused": [], "file": path}
    assert "2 rows to write. Nothing has been written" in run("plan").stdout
    assert read_deals(tmp_path)[0] == (1, None, None, None)
    applied = document(run("apply", "--json"))
    assert (applied["run"], applied["rows"], applied["tables"][0]["fields"]) == ("r1", 2, 6)
    assert read_deals(tmp_path)[0] == (1, 0.1, "A", "x")
    assert "0 rows written: the CRM has everything that run r1 can write" in run("apply").stdout
    assert document(run("apply", "--json"))["rows"] == 0


def test_conflicts_are_listed_with_what_was_found(tmp_path: Path, run: Run) -> None:
    document(run("apply", "--json"))
    run_sql(tmp_path, "UPDATE deals SET grade = '[mine]' WHERE deal_id = 1")
    with open_run(make_config(tmp_path), "r2") as ledger:
        ledger.replace_scores("r2", make_scores("r2", [("1", 0.1, "C", ["x"]), ("9", 0.2, "B", ["y"])]))
    shown = run("plan")
    assert "conflict deals 1 grade: we wrote 'A', found '[mine]'" in shown.stdout.replace("\n", " ")
    assert document(run("plan", "--run", "r1", "--json"))["run"] == "r1"
    refused = document(run("plan", "--json"))["refused"]
    assert [(entry["state"], entry["record_id"], entry["new"]) for entry in refused] == [
        ("conflict", "1", "C"),
        ("missing", "9", 0.2),
        ("missing", "9", "B"),
        ("missing", "9", "y"),
    ]
    assert document(run("plan", "--take-over", "--json"))["tables"][0]["conflicts"] == 0
    document(run("apply", "--json"))
    problems = document(run("status", "--run", "r2", "--json"))["problems"]
    assert {entry["state"] for entry in problems} == {"conflict", "missing"}
    assert document(run("apply", "--take-over", "--json"))["rows"] == 1
    assert read_deals(tmp_path)[0] == (1, 0.1, "C", "x")


def test_undo_takes_a_run_back_and_status_counts(tmp_path: Path, run: Run) -> None:
    assert "Nothing has been written yet" in run("status").stdout
    document(run("apply", "--json"))
    assert document(run("undo", "r1", "--json"))["rows"] == 2
    assert read_deals(tmp_path) == [(1, None, None, None), (2, None, None, None)]
    found = document(run("status", "--json"))["runs"]
    assert [(entry["run_id"], entry["done"], entry["outstanding"]) for entry in found] == [
        ("undo-r1", 6, 0),
        ("r1", 6, 0),
    ]
    assert "undo-r1" in run("status").stdout


@pytest.mark.parametrize("command", [("apply",), ("undo", "r1")])
def test_a_second_job_does_not_write(tmp_path: Path, run: Run, command: tuple[str, ...]) -> None:
    with hold_lock(tmp_path / "demo", "run"):
        result = run(*command)
    assert isinstance(result.exception, LockError)
    assert read_deals(tmp_path)[0] == (1, None, None, None)


def test_plan_and_status_need_no_lock(tmp_path: Path, run: Run) -> None:
    with hold_lock(tmp_path / "demo", "run"):
        assert [run(command).exit_code for command in ("plan", "status")] == [0, 0]


def test_what_the_crm_refuses_ends_in_an_error_after_the_report(tmp_path: Path, run: Run) -> None:
    run_sql(
        tmp_path, "CREATE TRIGGER t BEFORE UPDATE ON deals WHEN new.grade = 'B' BEGIN SELECT raise(ABORT, 'no'); END"
    )
    result = run("apply", "--json")
    assert json.loads(result.stdout)["tables"][0]["rejected"] == 3
    assert isinstance(result.exception, CrmError)
    assert read_deals(tmp_path)[0] == (1, 0.1, "A", "x")
    letters = document(run("status", "--json"))["problems"]
    assert [(one["record_id"], one["field"], one["state"], one["error"]) for one in letters] == [
        ("2", field, "rejected", "no") for field in ("score", "grade", "why")
    ]


def test_an_unknown_run_names_the_newest(run: Run) -> None:
    for command in ("plan", "apply", "status"):
        result = run(command, "--run", "r9")
        assert isinstance(result.exception, ConfigError)
        assert str(result.exception) == "Run 'r9' is not in the ledger. The newest one is 'r1'."


def test_without_scores_there_is_nothing_to_write(tmp_path: Path, run: Run) -> None:
    (tmp_path / "demo" / "ledger.db").unlink()
    result = run("apply")
    assert str(result.exception) == "The ledger has no scores to write. Run `leadsieve score` first."
