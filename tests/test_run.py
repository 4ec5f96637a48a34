"""`leadsieve run`, the nightly job: extract, score, write back, and nothing twice."""

import contextlib
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import kill_run
import pytest
from small_crm import CHURN_ONLY, CONFIG, ROOT, World
from test_run_metrics import parse_strictly

from pipeline.ledger import open_ledger

STEP = re.compile(r"step=(\w+) seconds=\d+\.\d+ rows_in=(\d+) rows_out=(\d+)(.*)")


def steps_of(err: str) -> list[tuple[str, int, int, str]]:
    """Name, rows in, rows out and the rest of each line on stderr, which has nothing but steps."""
    found = [STEP.fullmatch(line) for line in err.splitlines()]
    return [(one[1], int(one[2]), int(one[3]), one[4]) for one in found if one] if all(found) else []


def outstanding(world: World) -> int:
    with open_ledger(world.state / "ledger.db") as ledger:
        return len(ledger.writes.outstanding())


def test_a_night_reads_scores_and_writes_what_changed_and_the_next_run_writes_nothing(world: World):
    ((edited,),) = world.sql("SELECT deal_id FROM deals ORDER BY lead_score DESC LIMIT 1")
    world.sql("UPDATE deals SET lead_score = 0.123 WHERE deal_id = ?", edited)
    world.pass_a_day()
    first = world.run("run", "--json")
    document = first.document
    assert document["run_id"].startswith("score-20250701-")
    assert document["data_end"] == "2025-07-01T22:00:00"
    extracted, judged, looked_at, (_, given, written, left) = steps_of(first.err)
    (_, read, stored, _), (_, scored_from, scored, _), (_, checked, _, _) = extracted, judged, looked_at
    assert [step["step"] for step in document["steps"]] == ["extract", "score", "read_back", "write_back"]
    assert [step[0] for step in steps_of(first.err)] == ["extract", "score", "read_back", "write_back"]
    assert (scored_from, given) == (stored, scored)
    assert read > 20_000
    assert 0 < written <= scored
    counted = {name: int(count) for name, count in (one.split("=") for one in left.split())}
    assert counted.pop("requests") > 0
    assert 0 < counted.pop("read_back") == checked <= written
    edits = {"conflicts": 1}  # what a person edited stays, and is counted
    assert counted == {**dict.fromkeys(("skipped", "missing", "rejected", "outstanding", "waiting"), 0), **edits}
    assert world.sql("SELECT lead_score FROM deals WHERE deal_id = ?", edited) == [(0.123,)]
    before, crm = world.fingerprint(), world.hash_crm()
    second = world.run("run", "--metrics", "leadsieve.prom")
    assert (second.code, second.out) == (0, "")
    assert steps_of(second.err)[-1][1:3] == (scored, 0)
    found = parse_strictly((world.folder / "leadsieve.prom").read_text(encoding="utf-8"))
    records, values = (
        {dict(labels)["outcome"]: count for (name, labels), count in found.items() if name.endswith(f"{what}_total")}
        for what in ("records", "values")
    )
    assert (records["written"], records["conflict"], values["written"]) == (0, 1, 0)
    assert values["unchanged"] > 0
    assert found["leadsieve_run_exit_code", frozenset({("deployment", "small")})] == 0
    assert world.fingerprint() == before
    assert world.hash_crm() == crm  # to the byte
    assert outstanding(world) == 0


def test_a_run_goes_on_where_a_failed_one_stopped(world: World, monkeypatch: pytest.MonkeyPatch):
    metrics = world.folder / "leadsieve.prom"
    monkeypatch.setenv("LEADSIEVE_METRICS", str(metrics))
    world.change_config(**CHURN_ONLY)
    world.pass_a_day()
    crm, away = world.folder / "crm.db", world.folder / "away.db"
    tables = (world.state / "tables" / "manifest.json").read_text(encoding="utf-8")
    shutil.copy(crm, away)
    world.change_config(source__sqlite="away.db")  # the CRM can be read, and where scores go is down
    crm.unlink()
    before = world.fingerprint()
    answer = world.run("run")
    assert answer.code == 4
    *steps, failed, error = answer.err.splitlines()
    assert [line.split()[0] for line in steps] == ["step=extract", "step=score"]
    assert re.fullmatch(r"step=write_back seconds=\d+\.\d+ rows_in=\d+ rows_out=0 exit_code=4", failed)
    assert re.fullmatch(
        r"Error: SQLite file crm\.db does not exist, so the CRM cannot be reached\. .* then run again\.", error
    )
    found = parse_strictly(metrics.read_text(encoding="utf-8"))
    own = ("deployment", "small")
    assert found["leadsieve_run_exit_code", frozenset({own})] == 4
    failures = {dict(labels)["step"]: value for (name, labels), value in found.items() if name.endswith("_failed")}
    assert failures == {"extract": 0, "score": 0, "write_back": 1}
    assert not crm.exists()
    after = world.fingerprint()
    assert after["writes"] == before["writes"]
    assert set(before["scores"]) < set(after["scores"])
    assert after["tables"] != tables
    shutil.copy(away, crm)
    again = world.run("run")
    assert again.code == 0
    assert steps_of(again.err)[-1][2] > 0
    assert outstanding(world) == 0


def test_values_that_the_crm_refuses_are_told_and_written_once_it_takes_them(world: World):
    world.change_config(**CHURN_ONLY, write_back__tables__churn__decimals=3)
    world.sql(
        "CREATE TRIGGER frozen BEFORE UPDATE ON customers WHEN NEW.customer_id = 'C0000001' "
        "BEGIN SELECT RAISE(ABORT, 'this customer is frozen'); END"
    )
    answer = world.run("run", "--json")
    run_id = json.loads(answer.out)["run_id"]
    assert answer.code == 4
    assert answer.err.splitlines()[-1].startswith(
        "Error: The CRM refused 1 values ('customers.churn_risk' of record 'C0000001': this customer is frozen) and "
        f"has yet to take 0 of run '{run_id}'."
    )
    world.sql("DROP TRIGGER frozen")
    again = world.run("run")
    assert (again.code, steps_of(again.err)[-1][2]) == (0, 1)


def test_metrics_that_cannot_be_written_are_told_and_hide_no_error(world: World):
    world.change_config(write_back=None)
    answer = world.run("run", "--metrics", "nowhere/leadsieve.prom")
    assert answer.code == 2
    assert answer.err.splitlines()[0] == (
        "Warning: the metrics could not be written to nowhere/leadsieve.prom (No such file or directory); the job "
        "itself ended with exit code 2. Make the folder, or let this user write there."
    )
    assert answer.err.splitlines()[1].startswith("Error: The config 'small' has no write_back section. ")


def test_a_config_without_write_back_stops_before_anything_is_read(world: World):
    world.change_config(write_back=None)
    before = world.fingerprint()
    world.pass_a_day()
    answer = world.run("run")
    assert answer.code == 2
    assert answer.err.startswith("Error: The config 'small' has no write_back section. ")
    assert world.fingerprint()["tables"] == before["tables"]


RUN_WITH_FEW_GROUPS = """
from unittest.mock import patch
from small_crm import FEW_GROUPS
from pipeline.cli import main
with patch("pipeline.deployment.CATALOG", FEW_GROUPS):
    main()
"""


def test_a_job_killed_at_random_moments_ends_like_an_unkilled_one(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = tmp_path / "kills"
    target.mkdir()
    with contextlib.chdir(world.folder):
        prepared = kill_run.prepare_config(Path(CONFIG), target)
    paths = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]"
    command = (sys.executable, "-c", paths + RUN_WITH_FEW_GROUPS, *prepared.command[3:])
    prepared = replace(prepared, command=command)
    assert kill_run.run_trials(prepared, kills=2, seed=11, scratch=tmp_path) == 0
    assert "2 of 2 equal to the unkilled run." in capsys.readouterr().out
