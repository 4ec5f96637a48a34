"""The grants of the README are enough for the nightly user of a PostgreSQL CRM, and what is left out is named."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from crm_world import CRM_URL, SERVED, make_config, open_run
from postgres_server import Database
from test_follow_ups import CARD, UP, make_night
from test_readme import find_blocks
from typer.testing import CliRunner

from pipeline.cli import make_app
from pipeline.errors import ConfigError, exit_code_of

ROLE, PASSWORD = "leadsieve_writer", "wr1ter-secret"
DEALS = """CREATE TABLE crm.deals (deal_id integer PRIMARY KEY, name text, owner_id text,
    lead_score double precision, lead_grade text, lead_reasons text)"""
FIELDS = {"lead_score": "probability", "lead_grade": "grade", "lead_reasons": "reasons_en"}
SCORES = "SELECT deal_id, lead_score, lead_grade, lead_reasons FROM crm.deals ORDER BY deal_id"
Run = Callable[..., Any]


def read_grants() -> list[str]:
    """Statements of the README's block that has the tables of our own, one right each."""
    [block] = [one for one in find_blocks("sql") if "leadsieve_follow_ups" in one and "GRANT" in one]
    statements = [" ".join(one.split()) for one in re.sub(r"--.*", "", block).split(";")]
    return [one.replace("'...'", f"'{PASSWORD}'") for one in statements if one]


GRANTS = read_grants()


def find_grant(part: str) -> str:
    """The one statement that has a part."""
    [found] = [one for one in GRANTS if part in one]
    return found


@pytest.fixture
def crm(postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A CRM with three deals, of which Ann has the first and nobody the last, and our tables, made by its owner."""
    for statement in ("CREATE SCHEMA crm", DEALS, "REVOKE ALL ON SCHEMA public FROM PUBLIC"):
        postgres.execute(statement)
    for deal, owner in ((1, "Ann"), (2, "Bob"), (3, None)):
        postgres.execute("INSERT INTO crm.deals (deal_id, owner_id) VALUES (%s, %s)", (deal, owner))
    SERVED[tmp_path] = postgres
    (tmp_path / "card.yaml").write_text(CARD, encoding="utf-8")
    tables = {"conversion": {"target": "crm.deals", "key": "deal_id", "fields": FIELDS, "decimals": 4}}
    tasks = {"table": "crm.leadsieve_follow_ups", "flags": {"conversion": ["early_warning"]}, "owner_field": "owner_id"}
    config = make_config(tmp_path, tables=tables, history={"table": "crm.leadsieve_scores"}, follow_ups=tasks)
    document = json.loads(config.model_dump_json())
    document["targets"]["conversion"]["scorecard"] = str(tmp_path / "card.yaml")
    (tmp_path / "demo.yaml").write_text(json.dumps(document), encoding="utf-8")
    monkeypatch.setenv(CRM_URL, postgres.url)
    assert invoke(tmp_path, "crm", "install").exit_code == 0
    monkeypatch.setenv(CRM_URL, postgres.url_of(ROLE, PASSWORD))
    try:
        yield postgres
    finally:
        SERVED.pop(tmp_path)
        if postgres.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,)):
            postgres.execute(f"DROP OWNED BY {ROLE}")
            postgres.execute(f"DROP ROLE {ROLE}")


def invoke(folder: Path, *arguments: str) -> Any:
    """Run a command on the deployment of a folder."""
    return CliRunner().invoke(make_app(), [*arguments, "--config", str(folder / "demo.yaml")])


@pytest.fixture
def run(crm: Database, tmp_path: Path) -> Run:
    """Run a command as whoever has the grants, and return its JSON."""

    def run_command(*arguments: str) -> Any:
        ran = invoke(tmp_path, *arguments, "--json")
        assert ran.exit_code == 0, (ran.output, ran.exception)
        return json.loads(ran.stdout)

    return run_command


def store(folder: Path, number: int, scores: pd.DataFrame) -> None:
    """Let a run have given scores."""
    with open_run(make_config(folder), f"r{number}") as ledger:
        ledger.replace_scores(f"r{number}", scores)
        ledger.finish_run(f"r{number}", "done")


def grant(crm: Database, *statements: str) -> None:
    for statement in statements:
        crm.execute(statement)


def count_own(crm: Database) -> tuple[int, int]:
    """Rows of the history and of the tasks that are open."""
    [(rows,)] = crm.execute("SELECT count(*) FROM crm.leadsieve_scores")
    [(tasks,)] = crm.execute("SELECT count(*) FROM crm.leadsieve_follow_ups WHERE state = 'open'")
    return rows, tasks


def test_the_grants_of_the_readme_are_enough_for_everything_that_the_nightly_user_does(
    crm: Database, tmp_path: Path, run: Run
) -> None:
    grant(crm, *GRANTS)
    assert run("crm", "install", "--check")["complete"]
    night = make_night(1, {"1": UP, "2": (), "3": UP})
    store(tmp_path, 1, night)
    assert run("writeback", "plan")["follow_ups"]["raise"] == 2
    first = run("writeback", "apply")
    assert (first["rows"], first["history"], first["follow_ups"]) == (3, {"added": 3}, {"raised": 1, "missing": 1})
    assert crm.execute(SCORES)[0] == (1, 0.25, "drop", "30 days old; no call")
    again = run("writeback", "apply")
    assert (again["rows"], again["history"]) == (0, {"unchanged": 3})
    store(tmp_path, 2, make_night(2, {"1": UP, "2": UP, "3": ()}).assign(probability=0.5))
    assert run("writeback", "apply")["rows"] == 3
    assert count_own(crm) == (6, 2)
    undone = run("writeback", "undo", "r2")
    assert (undone["history"], undone["follow_ups"]) == ({"removed": 3}, {"withdrawn": 1})
    assert crm.execute(SCORES)[0] == (1, 0.25, "drop", "30 days old; no call")
    assert run("forget", "1", "--table", "deals", "--yes")["removed"]["crm"] == 2  # a row of the history and a task
    assert count_own(crm) == (2, 0)
    assert run("writeback", "status")


def test_they_allow_nothing_else(crm: Database, postgres: Database) -> None:
    grant(crm, *GRANTS)
    held = """SELECT table_name, string_agg(DISTINCT privilege_type, ' ' ORDER BY privilege_type)
        FROM information_schema.table_privileges WHERE grantee = %s GROUP BY 1 ORDER BY 1"""
    every = "DELETE INSERT SELECT UPDATE"
    assert crm.execute(held, (ROLE,)) == [("leadsieve_follow_ups", every), ("leadsieve_scores", every)]
    columns = """SELECT column_name, string_agg(privilege_type, ' ' ORDER BY privilege_type)
        FROM information_schema.column_privileges WHERE grantee = %s AND table_name = 'deals' GROUP BY 1 ORDER BY 1"""
    assert crm.execute(columns, (ROLE,)) == [
        ("deal_id", "SELECT"),
        ("lead_grade", "SELECT UPDATE"),
        ("lead_reasons", "SELECT UPDATE"),
        ("lead_score", "SELECT UPDATE"),
        ("owner_id", "SELECT"),
    ]


OWN = "crm.leadsieve_scores, crm.leadsieve_follow_ups"


@pytest.mark.parametrize(
    ("revoked", "text"),
    [
        ("USAGE ON SCHEMA crm", r"permission denied for schema crm\. Grant its account .* on its schema USAGE, and"),
        ("SELECT (lead_grade) ON crm.deals", r"permission denied for table deals\. Grant its account SELECT on the"),
        ("UPDATE (lead_grade) ON crm.deals", r"permission denied for table deals\. Grant its account .* UPDATE on the"),
        (
            "SELECT (owner_id) ON crm.deals",
            r"permission denied for table deals\. Grant its account SELECT .* need SELECT on .* 'owner_id'",
        ),
        ("SELECT ON crm.leadsieve_scores", r"history\.table: .* denied for table leadsieve_scores\. Grant its account"),
        ("INSERT ON crm.leadsieve_scores", r"history\.table: .* denied for table leadsieve_scores\. Grant its account"),
        ("SELECT ON crm.leadsieve_follow_ups", r"follow_ups\.table: .* denied for table leadsieve_follow_ups\. Grant"),
        ("INSERT ON crm.leadsieve_follow_ups", r"follow_ups\.table: .* denied for table leadsieve_follow_ups\. Grant"),
    ],
)
def test_a_grant_that_is_left_out_is_one_sentence_and_no_dead_letter(
    crm: Database, tmp_path: Path, run: Run, revoked: str, text: str
) -> None:
    grant(crm, *GRANTS, f"REVOKE {revoked} FROM {ROLE}")
    store(tmp_path, 1, make_night(1, {"1": UP, "2": ()}))
    ran = invoke(tmp_path, "writeback", "apply")
    assert isinstance(ran.exception, ConfigError)
    assert re.search(text, str(ran.exception)), ran.exception
    assert (exit_code_of(ran.exception), "\n" in str(ran.exception)) == (2, False)
    with open_run(make_config(tmp_path)) as ledger:
        assert ledger.writes.of_run("r1", ["rejected"]) == []
    tasks = run("writeback", "status", "--run", "r1").get("task_problems", [])
    assert {task["state"] for task in tasks} <= {"intended"}  # noted before it was sent, and not refused
    grant(crm, f"GRANT {revoked} TO {ROLE}")
    run("writeback", "apply")  # the same run goes on where it stopped
    assert count_own(crm) == (2, 1)
    assert [row[2] for row in crm.execute(SCORES)] == ["drop", "drop", None]


@pytest.mark.parametrize(
    ("revoked", "text"),
    [
        ("DELETE ON crm.leadsieve_scores", r"history\.table: .* denied for table leadsieve_scores\. Grant its account"),
        ("UPDATE ON crm.leadsieve_follow_ups", r"follow_ups\.table: .* denied for table leadsieve_follow_ups\. Grant"),
        ("UPDATE (lead_score) ON crm.deals", r"permission denied for table deals\. Grant its account .* UPDATE on the"),
    ],
)
def test_an_undo_that_lacks_a_grant_says_so_and_goes_on_with_it(
    crm: Database, tmp_path: Path, run: Run, revoked: str, text: str
) -> None:
    grant(crm, *GRANTS)
    store(tmp_path, 1, make_night(1, {"1": UP, "2": ()}))
    run("writeback", "apply")
    grant(crm, f"REVOKE {revoked} FROM {ROLE}")
    ran = invoke(tmp_path, "writeback", "undo", "r1")
    assert isinstance(ran.exception, ConfigError)
    assert re.search(text, str(ran.exception)), ran.exception
    grant(crm, f"GRANT {revoked} TO {ROLE}")
    run("writeback", "undo", "r1")
    assert (count_own(crm), crm.execute(SCORES)[0]) == ((0, 0), (1, None, None, None))


def test_tables_that_nobody_has_made_need_a_right_that_is_named(crm: Database, tmp_path: Path) -> None:
    crm.execute(f"DROP TABLE {OWN}")
    grant(crm, *(one for one in GRANTS if "leadsieve_scores" not in one))
    assert invoke(tmp_path, "crm", "install", "--check").exit_code == 1  # they are missing
    ran = invoke(tmp_path, "crm", "install")
    assert isinstance(ran.exception, ConfigError)
    text = r"history\.table: .* permission denied for schema crm\. Grant .* on its schema USAGE, and CREATE until"
    assert re.search(text, str(ran.exception)), ran.exception
