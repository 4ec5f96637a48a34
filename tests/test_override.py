"""Grades given by hand: shown by the next score, expiring, withdrawn, never in its way, forgotten with the rest."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from small_crm import World
from test_grading import CARD, make_config, make_scores

from features.errors import DataError
from pipeline.adapters.target import TargetField
from pipeline.config import Config, FieldMap
from pipeline.errors import ConfigError
from pipeline.field_columns import build_values
from pipeline.ledger import Ledger, open_ledger
from pipeline.overrides import add_override, apply_overrides, day_of, today_of, withdraw_override

CARDS = {"churn": CARD}
ROWS: Mapping[str, Mapping[str, Any]] = {
    "x": {"p": 0.25, "points": 61.0, "grade": "b", "card_grade": "b", "graded_by": "probability"},
    "y": {"p": 0.75, "grade": "a", "card_grade": "c", "graded_by": "probability"},
}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    place = tmp_path / "card.json"
    place.write_text(CARD.model_dump_json(by_alias=True, exclude_unset=True), encoding="utf-8")  # JSON is YAML
    return make_config(tmp_path, {}, scorecard=place)


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    """A ledger in which x and y were scored on data until 1 July 2024."""
    with open_ledger(tmp_path / "ledger.db") as opened:
        opened.start_run("r1", "score", {"data_end": "2024-07-01T00:00:00"}, "")
        opened.replace_scores("r1", make_scores(ROWS))
        opened.finish_run("r1", "done")
        yield opened


def give(config: Config, ledger: Ledger, grade: str, **options: Any) -> Any:
    return add_override(config, ledger, "x", grade, "budget frozen", **{"author": "Li", **options})


def test_an_override_holds_on_days_before_its_end_until_it_is_withdrawn(config: Config, ledger: Ledger) -> None:
    made = give(config, ledger, "c", expires_on=date(2024, 7, 31))
    table = {
        date(2024, 7, 1): True,  # the day it was made
        date(2024, 7, 30): True,  # its last day
        date(2024, 7, 31): False,  # half-open: the end is not in it
    }
    assert {day: made.holds(day) for day in table} == table
    assert [bool(ledger.overrides.in_force(day)) for day in table] == list(table.values())
    assert withdraw_override(config, ledger, "x") == 1
    assert ledger.overrides.in_force(date(2024, 7, 1)) == []
    forever = give(config, ledger, "a")
    assert forever.holds(date(2999, 1, 1))


def test_a_later_override_takes_the_place_of_the_one_before_for_good(config: Config, ledger: Ledger) -> None:
    give(config, ledger, "c")
    give(config, ledger, "a", expires_on=date(2024, 7, 2))
    assert [one.grade for one in ledger.overrides.in_force(date(2024, 7, 1))] == ["a"]
    assert ledger.overrides.in_force(date(2024, 7, 2)) == []  # the first one does not come back
    assert [one.grade for one in ledger.overrides.find(entity_id="x")] == ["c", "a"]  # both are on record


def test_the_days_are_those_of_the_data_and_of_the_deployment(config: Config, ledger: Ledger) -> None:
    assert today_of(config, ledger) == date(2024, 7, 1)
    berlin = config.model_copy(update={"time_zone": "Europe/Berlin"})
    late = ledger.latest_run("score", "done")
    assert late is not None
    assert day_of(berlin, late.started_at.replace(2024, 6, 30, 22, 30)) == date(2024, 7, 1)  # 00:30 there


def test_the_grade_shows_the_override_and_everything_else_stays_as_computed(config: Config, ledger: Ledger) -> None:
    made = give(config, ledger, "c", expires_on=date(2024, 7, 31))
    scores = make_scores(ROWS)
    reasons = json.dumps([{"feature": "f", "value": 1, "contribution": 0.5, "en": "two calls", "zh": "两次通话"}])
    scores["reasons"] = reasons
    shown, notes = apply_overrides(config, scores, [made], CARDS)
    computed = [name for name in scores if name not in ("grade", "graded_by", "reasons")]
    assert shown[computed].equals(scores[computed])
    assert shown["grade"].tolist() == ["c", "a"]
    assert shown["graded_by"].tolist() == ["override", "probability"]
    first, second = json.loads(shown["reasons"][0])
    assert first == {
        "feature": "override",
        "value": "c",
        "contribution": 0.0,  # the reasons still sum to the log-odds
        "en": "graded C by Li until 2024-07-30: budget frozen",
        "zh": "Li评为丙，至2024-07-30：budget frozen",
    }
    assert (second["en"], shown["reasons"][1], notes) == ("two calls", reasons, [])


def test_what_is_written_to_the_crm_says_who_graded(config: Config, ledger: Ledger) -> None:
    shown, _ = apply_overrides(config, make_scores(ROWS), [give(config, ledger, "a")], CARDS)
    fields = {"why": "reasons_en", "by": "graded_by", "grade": "grade", "card": "card_grade"}
    mapping = FieldMap(target="customers", key="customer_id", fields=fields)
    text = {name: TargetField(name, "text") for name in fields}
    wanted = build_values(shown, "churn", 90, mapping, text)
    assert {name: column[wanted.ids.index("x")] for name, column in wanted.columns.items()} == {
        "why": "graded A by Li: budget frozen",
        "by": "override",
        "grade": "a",
        "card": "b",
    }


def test_an_override_of_somebody_who_is_not_scored_or_to_a_grade_that_is_gone_stops_nothing(
    config: Config, ledger: Ledger
) -> None:
    made = give(config, ledger, "c")
    scores = make_scores({"y": ROWS["y"]})
    shown, notes = apply_overrides(config, scores, [made], CARDS)
    assert (shown.equals(scores), notes) == (True, [])
    shown, notes = apply_overrides(config, make_scores(ROWS), [made], {"churn": None})
    assert shown["grade"].tolist() == ["b", "a"]
    assert notes == ["churn: an override to 'c' is left out, a grade that there is no more."]


@pytest.mark.parametrize(
    ("entity", "grade", "options", "kind", "message"),
    [
        ("z", "a", {}, DataError, r"'z' has no score in the ledger\. Scored are ids such as 'x'"),
        ("x", "aa", {}, ConfigError, r"Target 'churn' has no grade 'aa'\. Did you mean 'a'\?"),
        ("x", "priority", {}, ConfigError, r"has no grade 'priority'\. Name one of a, b, c"),
        ("x", "a", {"target": "chrun"}, ConfigError, r"Target 'chrun' is not in the config, expected one of: churn"),
        ("x", "a", {"expires_on": date(2024, 7, 1)}, ConfigError, r"end on 2024-07-01, and the data are of 2024-07-01"),
        ("x", "a", {"reason": "  "}, ConfigError, r"needs a reason, got none"),
    ],
)
def test_an_override_that_cannot_hold_is_refused_in_a_sentence(
    config: Config, ledger: Ledger, entity: str, grade: str, options: dict[str, Any], kind: type, message: str
) -> None:
    asked = {"reason": "why not", "author": "Li"} | options
    with pytest.raises(kind, match=message):
        add_override(config, ledger, entity, grade, **asked)
    assert ledger.overrides.find() == []


def test_there_must_be_something_to_withdraw(config: Config, ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match=r"'x' has no override to withdraw\. `leadsieve override --list`"):
        withdraw_override(config, ledger, "x")


def test_an_override_goes_from_the_command_line_to_the_crm_and_back_and_is_forgotten(world: World) -> None:
    """One customer of the demo: graded by hand, scored again, written, explained, listed, withdrawn, forgotten."""
    with open_ledger(world.state / "ledger.db") as ledger:
        run = ledger.latest_scored_run()
        assert run is not None
        scores = ledger.scores(run.run_id)
    row = scores[(scores["target"] == "churn") & (scores["grade"] != "drop")].iloc[0]
    entity = str(row["entity_id"])
    given = ("--grade", "drop", "--reason", "moved away", "--author", "Li", "--days", "30")
    made = world.run("override", entity, *given, "--json").document
    assert (made["target"], made["grade"], made["expires_on"]) == ("churn", "drop", "2025-07-30")  # data of 30 June
    again = world.run("score", "--json").document
    assert again["is_new"] is True  # with the override it is another run of the same extract
    with open_ledger(world.state / "ledger.db") as ledger:
        later = ledger.scores(again["run_id"]).set_index(["target", "entity_id"])
    found = later.loc[("churn", entity)]
    assert (found["grade"], found["card_grade"], found["graded_by"]) == ("drop", row["card_grade"], "override")
    assert found["probability"] == row["probability"]
    assert (later.drop(("churn", entity))["graded_by"] == "points").all()
    assert world.run("writeback apply").code == 0
    ((grade, text),) = world.sql("SELECT churn_grade, churn_reasons FROM customers WHERE customer_id = ?", entity)
    assert grade == "drop"
    assert text.startswith("graded drop by Li until 2025-07-29: moved away; ")
    assert world.run("explain", entity, "--json").document["is_equal"] is True
    (listed,) = world.run("override", "--list", "--json").document
    assert (listed["entity_id"], listed["is_in_force"], listed["reason"]) == (entity, True, "moved away")
    assert world.run("override", entity, "--withdraw", "--json").document == {"withdrawn": 1}
    assert world.run("override", "--list").out == "No grade given by hand is in force.\n"
    assert "withdrawn" in world.run("override", entity, "--list").out
    assert world.run("score", "--json").document["run_id"] == run.run_id  # as it was without it
    removed = world.run("forget", entity, "--table", "customers", "--yes", "--json").document["removed"]
    assert removed["ledger"]["overrides"] == 1
    with open_ledger(world.state / "ledger.db") as ledger:
        assert ledger.overrides.find() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "override got no ENTITY"),
        (("C1", "--grade", "hold"), "override of 'C1' lacks --reason"),
        (("C1", "--reason", "x"), "override of 'C1' lacks --grade"),
        (("C1", "--list", "--withdraw"), "got both --list and --withdraw"),
        (("C1", "--withdraw", "--grade", "hold"), "--withdraw takes no --grade"),
        (("C1", "--grade", "a", "--reason", "x", "--days", "3", "--until", "2025-01-01"), "both --days and --until"),
        (("C1", "--grade", "a", "--reason", "x", "--until", "soon"), "'soon' is no day, such as 2025-07-31"),
    ],
)
def test_options_that_do_not_go_together_are_refused(finished: World, arguments: tuple[str, ...], message: str) -> None:
    answer = finished.run("override", *arguments)
    assert answer.code == 2
    assert message in answer.err
