"""Fields, tasks and history of one run together: planned before, written after, taken back as one."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from crm_world import make_config, make_crm, open_run, read_deals, run_sql
from fuse import Fuse, Killed
from test_follow_ups import CARD, DEALS, UP, make_night, read_tasks
from typer.testing import CliRunner

from pipeline.commands.writeback import app
from pipeline.config import Config
from pipeline.crm import open_crm
from pipeline.errors import ConfigError, CrmError
from pipeline.follow_ups import FollowUpReport
from pipeline.own_rows import OwnReport, plan_own_rows, undo_own_rows, write_own_rows
from pipeline.score_history import HistoryReport
from pipeline.write_report import WriteReport
from pipeline.writeback import undo_run, write_back

MAPPING = {"target": "deals", "key": "deal_id", "fields": {}}
NIGHT = {"1": UP, "2": ()}
"""Flags by deal: one of two has one."""


def make_world(folder: Path, **write_back: Any) -> Config:
    """A deployment that fills a field, keeps history and raises tasks."""
    make_crm(folder, DEALS)
    return make_deployment(folder, **write_back)


def make_deployment(folder: Path, **write_back: Any) -> Config:
    (folder / "card.yaml").write_text(CARD, encoding="utf-8")
    tasks = {"flags": {"conversion": ["early_warning"]}, "owner_field": "name"}
    sections: dict[str, Any] = {"history": {}, "follow_ups": tasks, **write_back}
    config = make_config(folder, {"score": "probability"}, **sections)
    target = config.targets["conversion"].model_copy(update={"scorecard": folder / "card.yaml"})
    return config.model_copy(update={"targets": {"conversion": target}})


def write_night(config: Config, number: int, scores: pd.DataFrame | None = None) -> WriteReport:
    scores = make_night(number, NIGHT) if scores is None else scores
    with open_run(config, f"r{number}") as ledger:
        ledger.replace_scores(f"r{number}", scores)
        report = write_back(config, ledger, scores, f"r{number}")
        ledger.finish_run(f"r{number}", "done")
    return report


def read_history(folder: Path) -> list[tuple[str, str]]:
    return run_sql(folder, "SELECT run_id, entity_id FROM leadsieve_scores ORDER BY run_id, entity_id")


def test_a_run_writes_fields_tasks_and_history_and_its_undo_takes_all_of_it_back(crm_folder: Path) -> None:
    config = make_world(crm_folder)
    report = write_night(config, 1)
    assert report.own == OwnReport("r1", HistoryReport(added=2), FollowUpReport(raised=1))
    assert [row[1] for row in read_deals(crm_folder)] == [0.25, 0.25, None]
    assert read_tasks(crm_folder) == [("1", "r1", "open")]
    again = write_night(config, 1)  # twice is once
    assert again.own == OwnReport("r1", HistoryReport(unchanged=2), FollowUpReport(still_open=1))
    write_night(config, 2)
    with open_run(config) as ledger:
        undone = undo_run(config, ledger, "r1")
        assert undone.own == OwnReport("r1", HistoryReport(removed=2), FollowUpReport(withdrawn=1))
        twice = undo_run(config, ledger, "r1")
        assert twice.own == OwnReport("r1", HistoryReport())  # no task of it is left to ask about
    assert [row[1] for row in read_deals(crm_folder)] == [None, None, None]
    assert read_tasks(crm_folder) == [("1", "r1", "withdrawn")]
    assert read_history(crm_folder) == [("r2", "1"), ("r2", "2")]


def test_killed_between_the_fields_and_the_history_the_next_night_adds_both_histories(tmp_path: Path) -> None:
    config = make_world(tmp_path)
    scores = make_night(1, NIGHT)
    with open_run(config, "r1") as ledger:
        ledger.replace_scores("r1", scores)
        Fuse(0).guard(ledger.follow_ups, ("settle",))  # the first thing that is done after the fields
        with pytest.raises(Killed, match="fuse"):
            write_back(config, ledger, scores, "r1")
    assert [row[1] for row in read_deals(tmp_path)] == [0.25, 0.25, None]
    report = write_night(config, 2)
    assert report.own == OwnReport("r2", HistoryReport(added=2, earlier=2), FollowUpReport(raised=1))
    assert read_history(tmp_path) == [("r1", "1"), ("r1", "2"), ("r2", "1"), ("r2", "2")]
    assert read_tasks(tmp_path) == [("1", "r2", "open")]


@pytest.mark.parametrize(
    "sections",
    [{"history": {"table": "deals"}}, {"follow_ups": {"flags": {"conversion": ["nothing"]}}}],
    ids=["a table that is not ours", "a flag that no card has"],
)
def test_what_cannot_be_used_is_told_before_a_field_is_written(tmp_path: Path, sections: dict[str, Any]) -> None:
    config = make_world(tmp_path, **sections)
    with pytest.raises(ConfigError, match=r"has no column 'run_id', so it is not|has no flag 'nothing'"):
        write_night(config, 1)
    assert [row[1] for row in read_deals(tmp_path)] == [None, None, None]


def test_an_undo_whose_sections_are_gone_changes_nothing(tmp_path: Path) -> None:
    write_night(make_world(tmp_path), 1)
    bare = make_deployment(tmp_path, history=None, follow_ups=None)
    with open_run(bare) as ledger, pytest.raises(ConfigError, match=r"the config has no write_back\.history\. Add it"):
        undo_run(bare, ledger, "r1")
    half = make_deployment(tmp_path, follow_ups=None)
    with open_run(half) as ledger, pytest.raises(ConfigError, match=r"Run 'r1' raised tasks, and the config has no"):
        undo_run(half, ledger, "r1")
    assert [row[1] for row in read_deals(tmp_path)] == [0.25, 0.25, None]
    assert (read_tasks(tmp_path), len(read_history(tmp_path))) == ([("1", "r1", "open")], 2)


def test_what_the_budget_leaves_is_done_by_the_next_night(tmp_path: Path) -> None:
    make_world(tmp_path)
    poor = make_deployment(tmp_path, max_requests=1)  # enough to see which tasks are open, and no more
    with open_run(poor, "r1") as ledger, open_crm(poor) as crm:
        scores = make_night(1, NIGHT)
        ledger.replace_scores("r1", scores)
        plan = plan_own_rows(poor, ledger, crm, scores, "r1")
        assert (plan.is_postponed, plan.history) == (True, None)
        report = write_own_rows(poor, ledger, crm, plan)
    assert report == OwnReport("r1", None, FollowUpReport(waiting=1), is_postponed=True)
    assert write_night(make_deployment(tmp_path), 2).own == OwnReport(
        "r2", HistoryReport(added=2), FollowUpReport(raised=1)
    )


def test_a_database_of_our_own_is_made_with_all_of_its_tables(tmp_path: Path) -> None:
    config = make_deployment(
        tmp_path,
        tables={"conversion": {"target": "ours", "key": "deal", "fields": {"score": "probability"}}},
        insert_missing=True,
        follow_ups={"flags": {"conversion": ["early_warning"]}},
    )
    own = write_night(config, 1).own
    assert own == OwnReport("r1", HistoryReport(added=2), FollowUpReport(raised=1))
    assert run_sql(tmp_path, "SELECT deal, score FROM ours ORDER BY deal") == [("1", 0.25), ("2", 0.25)]


def test_an_undo_that_the_budget_stops_is_continued_by_another(tmp_path: Path) -> None:
    write_night(make_world(tmp_path, tables={"conversion": MAPPING}), 1)
    for most, expected in (
        (1, OwnReport("r1", HistoryReport(waiting=2), FollowUpReport(waiting=1))),  # to see which tasks are open
        (2, OwnReport("r1", HistoryReport(waiting=2), FollowUpReport(withdrawn=1))),
        (1, OwnReport("r1", HistoryReport(removed=2))),
    ):
        poor = make_deployment(tmp_path, tables={"conversion": MAPPING}, max_requests=most)
        with open_run(poor) as ledger, open_crm(poor) as crm:
            assert undo_own_rows(ledger, crm, "r1") == expected
    assert (read_tasks(tmp_path), read_history(tmp_path)) == ([("1", "r1", "withdrawn")], [])


def test_tasks_that_the_crm_refuses_fail_the_job() -> None:
    report = WriteReport("r1", 1.0, (), own=OwnReport("r1", None, FollowUpReport(raised=1, rejected=2)))
    with pytest.raises(CrmError, match=r"The CRM refused 2 tasks of run 'r1'\. .* says why; correct that and run"):
        report.check()
    assert OwnReport("r1", HistoryReport(added=2, earlier=3), FollowUpReport(raised=1)).to_log() == {
        "tasks": 1, "history": 5
    }  # fmt: skip


def test_the_commands_tell_what_they_add(tmp_path: Path) -> None:
    config = make_world(tmp_path)
    (tmp_path / "demo.yaml").write_text(config.model_dump_json(), encoding="utf-8")
    with open_run(config, "r1") as ledger:
        ledger.replace_scores("r1", make_night(1, {"1": UP, "3": UP}))

    def run(*arguments: str) -> Any:
        ran = CliRunner().invoke(app, [*arguments, "--config", str(tmp_path / "demo.yaml")])
        assert ran.exit_code == 0, ran.output
        return json.loads(ran.stdout) if "--json" in arguments else ran.stdout

    planned = run("plan", "--json")
    assert planned["history"] == {"add": 2, "unchanged": 0}
    assert planned["follow_ups"] == {"raise": 2, "still_open": 0, "standing": 0, "vetoed": 0, "fallen": 0}
    assert "Tasks: 2 to raise." in run("plan")
    assert run_sql(tmp_path, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'leadsieve%'") == [(0,)]
    applied = run("apply", "--json")
    assert (applied["follow_ups"], applied["history"]) == ({"raised": 1, "missing": 1}, {"added": 2})
    status = run("status", "--run", "r1", "--json")
    assert status["history"] == [{"run_id": "r1", "state": "done", "rows": 2}]
    assert status["follow_ups"] == [{"run_id": "r1", "missing": 1, "open": 1}]
    assert [one["error"] for one in status["task_problems"]] == ["the record does not exist, or has no owner"]
    shown = run("status", "--run", "r1")
    assert "r1: history done, 2 rows" in shown
    assert "r1: tasks 1 missing, 1 open" in shown
    assert "missing task conversion/3/early_warning: the record does not exist, or has no owner" in shown
    assert "Tasks: 1 taken back.\nHistory rows: 2 removed." in run("undo", "r1")
