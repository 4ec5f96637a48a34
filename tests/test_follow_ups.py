"""Tasks for the owners of records: the flag of a card over some nights, with the tasks by hand and why."""

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from crm_world import make_config, make_crm, make_scores, open_run, run_sql
from fuse import Fuse, Killed

from models.scorecard import load_scorecard
from pipeline.adapters.patient import BudgetError
from pipeline.config import Config
from pipeline.config_write_back import ScoreHistory
from pipeline.crm import open_crm
from pipeline.errors import ConfigError, CrmError
from pipeline.follow_up_plan import check_follow_ups, plan_follow_ups
from pipeline.follow_up_text import write_note
from pipeline.follow_ups import FollowUpReport, raise_follow_ups, withdraw_follow_ups
from pipeline.forget import forget
from pipeline.ledger import Ledger
from pipeline.ledger_follow_ups import Task
from pipeline.own_rows import plan_own_rows, write_own_rows

CARD = """
id: small
version: '1'
entity: deal
criteria:
  - {id: age, name: {en: Age, zh: 时间}, weight: 100, feature: deal_age_days, missing: 50,
     bands: [{below: 30, points: 100}, {at_least: 30, points: 0}]}
vetoes:
  - {id: lawsuit, name: {en: In a lawsuit, zh: 涉及诉讼}, answer: lawsuit, when: {in: ["yes"]}}
flags:
  - {id: early_warning, name: {en: Gone quiet, zh: 预警：久未联系}, feature: deal_age_days, when: {at_least: 30}}
  - {id: cultivate, name: {en: Cultivate, zh: 重点培育}, feature: deal_age_days, when: {below: 5}}
grades:
  - {id: priority, at_least: 60, name: {en: Priority, zh: 重点跟进}}
  - {id: drop, at_least: 0, name: {en: Drop, zh: 直接放弃}}
"""
DEALS = [(1, "Ann", None, None, None), (2, "Bob", None, None, None), (3, None, None, None, None)]
"""Deals by id; `name` is who owns them, and nobody owns deal 3."""

TODAY = date(2024, 5, 10)
UP = ("early_warning",)


def make_world(folder: Path, **follow_ups: Any) -> Config:
    """Three deals whose card warns, with an empty mapping: only tasks are written."""
    make_crm(folder, DEALS)
    return make_deployment(folder, **follow_ups)


def make_deployment(folder: Path, **follow_ups: Any) -> Config:
    (folder / "card.yaml").write_text(CARD, encoding="utf-8")
    section = {"flags": {"conversion": ["early_warning"]}, "owner_field": "name", **follow_ups}
    mapping = {"target": "deals", "key": "deal_id", "fields": {}}
    config = make_config(folder, tables={"conversion": mapping}, follow_ups=section)
    target = config.targets["conversion"].model_copy(update={"scorecard": folder / "card.yaml"})
    return config.model_copy(update={"targets": {"conversion": target}})


def make_night(number: int, flags: Mapping[str, Sequence[str]], vetoed: Sequence[str] = ()) -> pd.DataFrame:
    """Scores of deals by id with the flags that are up, as of a night in May."""
    scores = make_scores(f"r{number}", [(deal, 0.25, "drop", ["30 days old", "no call"]) for deal in flags])
    raised = [json.dumps(list(some)) if some else None for some in flags.values()]
    vetoes = ['["lawsuit"]' if deal in vetoed else None for deal in flags]
    texts = {"flags": pd.Series(raised, dtype="str"), "vetoes": pd.Series(vetoes, dtype="str")}
    return scores.assign(as_of=pd.Timestamp(2024, 5, number), **texts)


def store(config: Config, scores: pd.DataFrame) -> Ledger:
    """Ledger in which the run of some scores is finished."""
    run_id = str(scores["run_id"].iloc[0])
    ledger = open_run(config, run_id)
    ledger.replace_scores(run_id, scores)
    ledger.finish_run(run_id, "done")
    return ledger


def run_night(config: Config, scores: pd.DataFrame) -> FollowUpReport:
    with store(config, scores) as ledger, open_crm(config) as crm:
        assert crm.follow_ups is not None
        plan = plan_follow_ups(config, ledger, crm.follow_ups, scores, str(scores["run_id"].iloc[0]), TODAY)
        return raise_follow_ups(ledger, crm.follow_ups, plan)


def undo_night(config: Config, run_id: str) -> FollowUpReport:
    with open_run(config) as ledger, open_crm(config) as crm:
        assert crm.follow_ups is not None
        ledger.start_run(f"undo-{run_id}", "undo", {"of": run_id}, "")
        report = withdraw_follow_ups(ledger, crm.follow_ups, run_id)
        ledger.finish_run(f"undo-{run_id}", "done")
        return report


def close_tasks(folder: Path) -> None:
    """What a person does who has done all tasks."""
    run_sql(folder, "UPDATE leadsieve_follow_ups SET state = 'closed' WHERE state = 'open'")


def read_tasks(folder: Path) -> list[tuple[Any, ...]]:
    """Tasks as record, run and state, in the order in which they were made."""
    with contextlib.suppress(Exception):
        return run_sql(folder, "SELECT record_id, run_id, state FROM leadsieve_follow_ups ORDER BY run_id, record_id")
    return []


def ledger_states(config: Config) -> list[tuple[str, str, str]]:
    states: Any = ("intended", "open", "closed", "withdrawing", "withdrawn", "missing", "rejected", "dropped")
    with open_run(config) as ledger:
        return [(task.entity_id, task.run_id, task.state) for task in ledger.follow_ups.tasks(states)]


NIGHTS: Mapping[str, Sequence[tuple[str, str, str]]] = {
    # what a person did since the last night; the flag; the tasks after the night, oldest first
    "repeated when it is raised anew, and not before": [
        ("", "up", "open"),  # a new task
        ("", "up", "open"),  # not repeated while it is open
        ("close", "up", "closed"),  # still the same rise of the flag: whoever closed it knows
        ("", "down", "closed"),  # the rise is over
        ("", "up", "closed, open"),  # a new rise, a new task
    ],
    "left to its owner when the flag goes down": [
        ("", "up", "open"),
        ("", "down", "open"),  # somebody may be at work on it
        ("", "up", "open"),  # not repeated: it is still there
        ("close", "up", "closed"),  # up without a break since the run that last found it open
        ("", "up", "closed"),
    ],
    "raised anew if it was closed while the flag was down": [
        ("", "up", "open"),
        ("", "down", "open"),
        ("close", "up", "closed, open"),  # closed for the first rise; this is another
    ],
    "raised anew after the entity was not scored": [
        ("", "up", "open"),
        ("close", "gone", "closed"),  # the deal was closed, and opened again the day after
        ("", "up", "closed, open"),
    ],
    "not for an entity with a veto": [
        ("", "veto", ""),  # who must not be pursued is not chased
        ("", "up", "open"),  # the veto is lifted
        ("", "veto", "open"),  # and back: what is in somebody's list stays there
        ("close", "veto", "closed"),
        ("", "up", "closed"),  # the flag was up all the time
    ],
    "never without a flag": [("", "down", ""), ("", "gone", ""), ("", "down", "")],
}


@pytest.mark.parametrize("nights", NIGHTS.values(), ids=NIGHTS.keys())
def test_a_task_is(tmp_path: Path, nights: Sequence[tuple[str, str, str]]) -> None:
    config = make_world(tmp_path)
    for number, (person, flag, expected) in enumerate(nights, start=1):
        if person == "close":
            close_tasks(tmp_path)
        flags = {"2": ()} if flag == "gone" else {"1": () if flag == "down" else UP, "2": ()}
        scores = make_night(number, flags, vetoed="1" if flag == "veto" else "")
        for again in range(2):  # twice is once
            run_night(config, scores)
            assert ", ".join(state for *_, state in read_tasks(tmp_path)) == expected, (number, again)


def test_a_task_says_what_is_known_to_the_owner_of_the_record(crm_folder: Path) -> None:
    config = make_world(crm_folder)
    report = run_night(config, make_night(1, {"1": UP, "2": (), "3": UP, "9": UP}))
    rows = run_sql(
        crm_folder,
        "SELECT task_key, table_name, record_id, owner, summary, note, due_on, state, run_id FROM leadsieve_follow_ups",
    )
    note = "Grade: Drop\nLikely to win within 90 days: 25%\nReasons: 30 days old; no call\nAs of 2024-05-01 (leadsieve)"
    due = str(rows[0][6])
    assert due == "2024-05-13"  # three days from today
    expected = ("conversion/1/early_warning", "deals", "1", "Ann", "Gone quiet", note, rows[0][6], "open", "r1")
    assert rows == [expected]
    assert (report.raised, report.missing) == (1, 2)  # nobody owns deal 3, and there is no deal 9
    assert ledger_states(config) == [("1", "r1", "open"), ("3", "r1", "missing"), ("9", "r1", "missing")]


def test_a_task_in_chinese(tmp_path: Path) -> None:
    run_night(make_world(tmp_path, language="zh", due_days=0), make_night(1, {"1": UP}))
    [row] = run_sql(tmp_path, "SELECT summary, note, due_on FROM leadsieve_follow_ups")
    note = "等级：直接放弃\n90 天内成交可能性：25%\n原因：原因；原因\n截至 2024-05-01（leadsieve）"
    assert row == ("预警：久未联系", note, "2024-05-10")


def test_a_task_about_a_target_of_value_names_the_value(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(CARD, encoding="utf-8")
    score: Any = {"grade": None, "probability": float("nan"), "value": 1234.5, "horizon_days": 90, "reasons": "[]"}
    score["as_of"] = pd.Timestamp("2024-05-01")
    card = load_scorecard(tmp_path / "card.yaml")
    assert write_note(card, "value", score, "en").splitlines()[0] == "Likely to spend within 90 days: 1,234"
    assert write_note(card, "value", {**score, "value": None}, "zh") == "截至 2024-05-01（leadsieve）"


def test_without_a_column_for_it_tasks_have_no_owner(tmp_path: Path) -> None:
    report = run_night(make_world(tmp_path, owner_field=None), make_night(1, {"3": UP, "9": UP}))
    assert run_sql(tmp_path, "SELECT record_id, owner FROM leadsieve_follow_ups") == [("3", None)]
    assert (report.raised, report.missing) == (1, 1)


def test_only_the_flags_that_the_config_names_make_tasks_and_each_makes_its_own(tmp_path: Path) -> None:
    both = ("early_warning", "cultivate")
    config = make_world(tmp_path)
    run_night(config, make_night(1, {"1": both}))
    asked = make_deployment(tmp_path, flags={"conversion": ["early_warning", "cultivate"]})
    report = run_night(asked, make_night(2, {"1": both, "2": ("cultivate",)}))
    assert (report.raised, report.still_open) == (2, 1)
    assert run_sql(tmp_path, "SELECT task_key FROM leadsieve_follow_ups ORDER BY task_key") == [
        ("conversion/1/cultivate",),
        ("conversion/1/early_warning",),
        ("conversion/2/cultivate",),
    ]


def test_what_became_of_flags_that_made_no_task_is_counted(tmp_path: Path) -> None:
    config = make_world(tmp_path, owner_field=None)
    run_night(config, make_night(1, {"1": UP, "2": UP}))
    run_sql(tmp_path, "UPDATE leadsieve_follow_ups SET state = 'closed' WHERE record_id = '1'")
    report = run_night(config, make_night(2, {"1": UP, "2": (), "3": UP}, vetoed="3"))
    assert report == FollowUpReport(standing=1, fallen=1, vetoed=1)


def test_an_undo_takes_back_what_is_open_of_its_run_and_nothing_else(crm_folder: Path) -> None:
    config = make_world(crm_folder, owner_field=None)
    run_night(config, make_night(1, {"1": UP, "2": UP}))
    run_sql(crm_folder, "UPDATE leadsieve_follow_ups SET state = 'closed' WHERE record_id = '1'")
    run_night(config, make_night(2, {"1": UP, "2": UP, "3": UP}))
    assert undo_night(config, "r1").withdrawn == 1
    expected = [("1", "r1", "closed"), ("2", "r1", "withdrawn"), ("3", "r2", "open")]
    assert read_tasks(crm_folder) == expected
    assert undo_night(config, "r1").withdrawn == 0  # twice is once
    assert read_tasks(crm_folder) == expected
    assert ledger_states(config) == expected


def test_a_run_that_is_written_again_after_its_undo_raises_its_tasks_again(tmp_path: Path) -> None:
    config = make_world(tmp_path, owner_field=None)
    run_night(config, make_night(1, {"1": UP}))
    undo_night(config, "r1")
    assert run_night(config, make_night(1, {"1": UP})).raised == 1
    assert read_tasks(tmp_path) == [("1", "r1", "open")]


def test_a_night_that_was_undone_is_no_break(tmp_path: Path) -> None:
    config = make_world(tmp_path)
    run_night(config, make_night(1, {"1": UP}))
    close_tasks(tmp_path)
    run_night(config, make_night(2, {"1": (), "2": ()}))  # bad data: no flag was up
    undo_night(config, "r2")
    assert run_night(config, make_night(3, {"1": UP, "2": ()})).standing == 1
    assert read_tasks(tmp_path) == [("1", "r1", "closed")]


def test_a_task_that_a_person_opens_again_is_not_repeated(tmp_path: Path) -> None:
    config = make_world(tmp_path)
    run_night(config, make_night(1, {"1": UP}))
    close_tasks(tmp_path)
    run_night(config, make_night(2, {"1": ()}))
    run_sql(tmp_path, "UPDATE leadsieve_follow_ups SET state = 'open'")
    assert run_night(config, make_night(3, {"1": UP})).still_open == 1
    assert read_tasks(tmp_path) == ledger_states(config) == [("1", "r1", "open")]


def test_a_run_that_is_written_again_looks_at_no_run_after_it(tmp_path: Path) -> None:
    config = make_world(tmp_path)
    run_night(config, make_night(1, {"1": UP}))
    close_tasks(tmp_path)
    run_night(config, make_night(2, {"1": UP}))
    run_night(config, make_night(3, {"1": (), "2": ()}))  # down, but later
    assert run_night(config, make_night(2, {"1": UP})).standing == 1
    assert read_tasks(tmp_path) == [("1", "r1", "closed")]


def test_a_task_that_a_person_closes_while_it_is_taken_back_stays_closed(crm_folder: Path) -> None:
    config = make_world(crm_folder)
    run_night(config, make_night(1, {"1": UP}))
    with open_crm(config) as crm:
        assert crm.follow_ups is not None
        [task_id] = crm.follow_ups.open_follow_ups().values()
        close_tasks(crm_folder)
        crm.follow_ups.close_follow_ups([task_id])
    assert read_tasks(crm_folder) == [("1", "r1", "closed")]


def test_the_most_valuable_come_first(tmp_path: Path) -> None:
    config = make_world(tmp_path)
    scores = make_night(1, {"1": UP, "2": UP, "3": UP, "4": UP})
    scores = scores.assign(
        probability=[0.1, 0.9, 0.5, 0.6],
        value=[float("nan"), float("nan"), 100.0, 10.0],  # 50 and 6 at stake; of the others nothing is known
        points=[80.0, 20.0, 20.0, 20.0],
    )
    with store(config, scores) as ledger, open_crm(config) as crm:
        assert crm.follow_ups is not None
        plan = plan_follow_ups(config, ledger, crm.follow_ups, scores, "r1")
    assert [task.entity_id for task in plan.tasks] == ["3", "4", "1", "2"]


LEDGER_STEPS = ("intend", "settle")
CRM_STEPS = ("open_follow_ups", "add_follow_ups", "close_follow_ups")


def guarded(config: Config, fuse: Fuse, step: Callable[[Ledger, Any], Any]) -> None:
    """Do something until the fuse blows."""
    with open_run(config) as ledger, open_crm(config) as crm:
        assert crm.follow_ups is not None
        fuse.guard(ledger.follow_ups, LEDGER_STEPS)
        inner = crm.follow_ups.follow_ups
        fuse.guard(inner, CRM_STEPS)
        step(ledger, inner)


RAISING = 2 * len(("open", "settle", *2 * ("intend", "add", "settle")))
WITHDRAWING = 2 * len(("open", "settle", *2 * ("settle", "close", "settle")))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three deals, and a finished run that flags two of them."""
    folder = tmp_path_factory.mktemp("template")
    store(make_world(folder), make_night(1, {"1": UP, "2": UP})).close()
    return folder


@pytest.mark.parametrize("again", [1, 2])  # the same run continued, or the run of the next night
def test_killed_before_or_after_any_step_every_task_is_there_once(tmp_path: Path, template: Path, again: int) -> None:
    scores = make_night(1, {"1": UP, "2": UP})
    for moment in range(RAISING + 1):
        folder = tmp_path / str(moment)
        shutil.copytree(template, folder)
        config = make_deployment(folder)

        def raise_all(ledger: Ledger, crm: Any, config: Config = config) -> None:
            raise_follow_ups(ledger, crm, plan_follow_ups(config, ledger, crm, scores, "r1", TODAY), max_batch=1)

        fuse = Fuse(moment)
        with pytest.raises(Killed, match="fuse") if moment < RAISING else contextlib.nullcontext():
            guarded(config, fuse, raise_all)
        run_night(config, make_night(again, {"1": UP, "2": UP}))
        tasks = read_tasks(folder)
        assert [(deal, state) for deal, _, state in sorted(tasks)] == [("1", "open"), ("2", "open")], moment
        assert [one for one in ledger_states(config) if one[2] == "open"] == tasks, moment
        assert not [one for one in ledger_states(config) if one[2] == "intended"], moment
    assert fuse.left == 0  # there are no more moments than were tried


def test_killed_before_or_after_any_step_an_undo_is_continued_and_exact(tmp_path: Path, template: Path) -> None:
    raised = tmp_path / "raised"
    shutil.copytree(template, raised)
    run_night(make_deployment(raised), make_night(1, {"1": UP, "2": UP}))
    for moment in range(WITHDRAWING + 1):
        folder = tmp_path / str(moment)
        shutil.copytree(raised, folder)
        config = make_deployment(folder)
        fuse = Fuse(moment)
        with pytest.raises(Killed, match="fuse") if moment < WITHDRAWING else contextlib.nullcontext():
            guarded(config, fuse, lambda ledger, crm: withdraw_follow_ups(ledger, crm, "r1", max_batch=1))
        undo_night(config, "r1")
        expected = [("1", "r1", "withdrawn"), ("2", "r1", "withdrawn")]
        assert (read_tasks(folder), ledger_states(config)) == (expected, expected), moment
    assert fuse.left == 0


def test_an_undo_that_was_killed_and_is_not_continued_leaves_nothing_unknown(tmp_path: Path) -> None:
    config = make_world(tmp_path)
    run_night(config, make_night(1, {"1": UP, "2": UP}))
    closed_one = 2 * len(("open", "settle", "settle", "close")) - 1
    with pytest.raises(Killed, match="fuse"):
        guarded(config, Fuse(closed_one), lambda ledger, crm: withdraw_follow_ups(ledger, crm, "r1", max_batch=1))
    run_night(config, make_night(2, {"1": UP, "2": UP}))
    assert read_tasks(tmp_path) == [("1", "r1", "withdrawn"), ("2", "r1", "open"), ("1", "r2", "open")]
    assert sorted(ledger_states(config)) == sorted(read_tasks(tmp_path))


def test_a_budget_ends_between_batches_and_the_next_night_goes_on(tmp_path: Path) -> None:
    config = make_world(tmp_path)

    class Spent:
        """Takes one batch."""

        def __init__(self, inner: Any) -> None:
            self.inner, self.left = inner, 1

        def open_follow_ups(self) -> Mapping[str, str]:
            return self.inner.open_follow_ups()  # type: ignore[no-any-return]

        def add_follow_ups(self, tasks: Any) -> Any:
            if not self.left:
                raise BudgetError("1 more request would go over the 2 of this run.")
            self.left -= 1
            return self.inner.add_follow_ups(tasks)

    scores = make_night(1, {"1": UP, "2": UP})
    with store(config, scores) as ledger, open_crm(config) as crm:
        spent: Any = Spent(crm.follow_ups)
        plan = plan_follow_ups(config, ledger, spent, scores, "r1", TODAY)
        report = raise_follow_ups(ledger, spent, plan, max_batch=1)
    assert (report.raised, report.waiting) == (1, 1)
    assert run_night(config, make_night(2, {"1": UP, "2": UP})).raised == 1
    assert sorted(read_tasks(tmp_path)) == [("1", "r1", "open"), ("2", "r2", "open")]


def test_who_is_forgotten_has_no_task_and_no_history_in_the_crm(crm_folder: Path) -> None:
    config = make_world(crm_folder, owner_field=None)
    assert config.write_back is not None
    section = config.write_back.model_copy(update={"history": ScoreHistory.model_validate({})})
    config = config.model_copy(update={"write_back": section})
    for number in (1, 2):
        scores = make_night(number, {"1": UP, "2": UP})
        with store(config, scores) as ledger, open_crm(config) as crm:
            write_own_rows(config, ledger, crm, plan_own_rows(config, ledger, crm, scores, f"r{number}"))
    run_sql(crm_folder, "UPDATE leadsieve_follow_ups SET state = 'closed' WHERE record_id = '1'")  # done, not gone
    with open_run(config) as ledger:
        report = forget(config, ledger, "1", "deals")
        assert (report.in_crm, report.follow_ups) == (2 + 1, 1)  # of the history and of the tasks
        assert forget(config, ledger, "1", "deals").in_crm == 0  # twice is no error
    assert read_tasks(crm_folder) == ledger_states(config) == [("2", "r1", "open")]
    rows = run_sql(crm_folder, "SELECT DISTINCT entity_id FROM leadsieve_scores")
    assert rows == [("2",)]


def test_a_crm_that_does_not_answer_keeps_a_forgetting_from_being_finished(tmp_path: Path) -> None:
    config = make_world(tmp_path, owner_field=None)
    run_night(config, make_night(1, {"1": UP}))
    (tmp_path / "crm.db").rename(tmp_path / "away.db")
    with open_run(config) as ledger:
        with pytest.raises(CrmError, match="does not exist, so the CRM cannot be reached"):
            forget(config, ledger, "1", "deals")
        (tmp_path / "away.db").rename(tmp_path / "crm.db")
        assert forget(config, ledger, "1", "deals").in_crm == 1
    assert read_tasks(tmp_path) == []


@pytest.mark.parametrize(
    ("section", "text"),
    [
        (
            {"flags": {"conversoin": ["early_warning"]}},
            r"flags\.conversoin: there is no target 'conversoin'\. Did you mean 'conversion'\?",
        ),
        (
            {"flags": {"conversion": ["early_warnings"]}},
            r"card 'small' has no flag 'early_warnings'\. Did you mean 'early_warning'\?",
        ),
    ],
)
def test_an_unknown_target_or_flag_is_refused_with_the_nearest(
    tmp_path: Path, section: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        check_follow_ups(make_world(tmp_path, **section))


def test_a_target_without_a_card_or_a_table_is_refused(tmp_path: Path) -> None:
    config = make_world(tmp_path)
    bare = config.targets["conversion"].model_copy(update={"scorecard": None})
    with pytest.raises(ConfigError, match=r"target 'conversion' has no card, so nothing raises flags\. Set its"):
        check_follow_ups(config.model_copy(update={"targets": {"conversion": bare}}))
    assert config.write_back is not None
    nowhere = config.write_back.model_copy(update={"tables": {}})
    with pytest.raises(ConfigError, match=r"write_back\.tables has no 'conversion', so it is not known whose"):
        check_follow_ups(config.model_copy(update={"write_back": nowhere}))


def test_a_table_of_the_crm_is_not_taken_for_one_of_ours(crm_folder: Path) -> None:
    config = make_world(crm_folder, table="deals")
    with pytest.raises(ConfigError, match=r"follow_ups\.table: table 'deals' of .* has no column 'task_id', so it is"):
        run_night(config, make_night(1, {"1": UP}))


def test_a_column_of_owners_that_is_not_there_is_named(crm_folder: Path) -> None:
    config = make_world(crm_folder, owner_field="nane")
    with pytest.raises(ConfigError, match=r"has no column 'nane'\. Did you mean 'name'\?"):
        run_night(config, make_night(1, {"1": UP}))


def test_a_task_has_one_key_in_crm_and_ledger() -> None:
    moment = datetime(2024, 5, 1)
    assert Task("r1", "churn", "K1", "early_warning", moment, moment).key == "churn/K1/early_warning"
