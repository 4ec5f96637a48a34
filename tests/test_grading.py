"""Grading scores of literal runs: by probability and by value, within vetoes and flags, with the grades of before."""

import re
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from small_crm import CHURN_ONLY, World

from features.errors import DataError
from models.scorecard import Scorecard
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.grading import Graded, check_grading, grade_scores
from pipeline.ledger import SCORE_COLUMNS, Ledger, open_ledger

CARD = Scorecard.model_validate(
    {
        "id": "card",
        "version": "1",
        "entity": "customer",
        "criteria": [
            {
                "id": "size",
                "name": {"en": "Size", "zh": "规模"},
                "feature": "size",
                "weight": 100,
                "bands": [
                    {"below": 1, "points": 0},
                    {"at_least": 1, "below": 2, "points": 50},
                    {"at_least": 2, "points": 100},
                ],
                "missing": 0,
            }
        ],
        "vetoes": [{"id": "fraud", "name": {"en": "Fraud", "zh": "欺诈"}, "feature": "fraud", "when": {"equals": 1}}],
        "flags": [
            {
                "id": "silent",
                "name": {"en": "Silent", "zh": "沉默"},
                "feature": "silent",
                "when": {"equals": 1},
                "grade_at_least": "b",
            }
        ],
        "grades": [
            {"id": "a", "at_least": 80, "name": {"en": "A", "zh": "甲"}},
            {"id": "b", "at_least": 40, "name": {"en": "B", "zh": "乙"}},
            {"id": "c", "at_least": 0, "name": {"en": "C", "zh": "丙"}},
        ],
    }
)  # fmt: skip

HALF = {"a": 0.5, "b": 0.2}
"""Cut-offs of a probability: 0.5 and 0.2."""


def make_config(
    folder: Path, grading: Mapping[str, Any], others: Mapping[str, Any] | None = None, **target: Any
) -> Config:
    churn = {"kind": "churn", "by": "orders", "horizons_days": [90], "spine": {"grid": "month"}, "grading": grading}
    return Config.model_validate(
        {
            "name": "world",
            "state": folder,
            "source": {"adapter": "files", "folder": folder, "data_end": "2024-07-01"},
            "tables": {"customers": {"select": "in memory"}, "orders": {"select": "in memory"}},
            "targets": {"churn": churn | target, **(others or {})},
        }
    )


def make_scores(rows: Mapping[str, Mapping[str, Any]], run_id: str = "r1") -> pd.DataFrame:
    """Scores of rows such as {"x": {"p": 0.7, "points": 50, "vetoes": '["fraud"]'}}; the card's grade is 'c'."""
    absent = dict.fromkeys(SCORE_COLUMNS)
    made = [
        absent
        | {"run_id": run_id, "target": "churn", "horizon_days": 90, "entity_id": entity}
        | {"as_of": pd.Timestamp("2024-07-01")}
        | {"grade": "c", "card_grade": "c", "graded_by": "points", "model_version": "1", "bundle_sha256": "m1"}
        | {"card": "card", "card_version": "1", "reasons": "[]", "points": 0.0, "p": None}
        | row
        for entity, row in rows.items()
    ]  # fmt: skip
    frame = pd.DataFrame(made)
    probability = frame.pop("p").astype("float64")
    frame = frame.assign(probability=probability, log_odds=np.log(probability / (1 - probability)))
    return frame.astype({"value": "float64", "points": "float64"})


def store(ledger: Ledger, run_id: str, day: str, graded: Graded) -> None:
    """Store a run whose data ended on a day, as `score` does."""
    ledger.start_run(run_id, "score", {"data_end": f"{day}T00:00:00"}, "")
    ledger.replace_scores(run_id, graded.scores.assign(run_id=run_id))
    ledger.finish_run(run_id, "done", {"grading": graded.states})


def play(folder: Path, grading: Mapping[str, Any], runs: list[Mapping[str, Mapping[str, Any]]]) -> list[dict[str, str]]:
    """Grade run after run, a month apart, and return the grades of each."""
    config, told = make_config(folder, grading), []
    with open_ledger(folder / "ledger.db") as ledger:
        for at, rows in enumerate(runs, start=1):
            before = ledger.grades.run_before(datetime(2024, at, 1))
            graded = grade_scores(config, ledger.grades, make_scores(rows), {"churn": CARD}, before, folder)
            store(ledger, f"r{at}", f"2024-{at:02}-01", graded)
            told.append(dict(zip(graded.scores["entity_id"], graded.scores["grade"], strict=True)))
    return told


def grade(folder: Path, config: Config, rows: Mapping[str, Mapping[str, Any]], card: Scorecard | None = CARD) -> Graded:
    """Grade one run without a history."""
    with open_ledger("sqlite://") as ledger:
        return grade_scores(config, ledger.grades, make_scores(rows), {"churn": card}, None, folder)


def grades_in(graded: Graded) -> dict[str, str]:
    return dict(zip(graded.scores["entity_id"], graded.scores["grade"], strict=True))


def test_by_default_the_cards_own_grades_stay_and_nothing_is_kept_of_them(tmp_path: Path) -> None:
    config = make_config(tmp_path, {})
    graded = grade(tmp_path, config, {"x": {"p": 0.9, "grade": "b", "card_grade": "b"}})
    assert (grades_in(graded), graded.states, graded.notes) == ({"x": "b"}, {}, ())


def test_a_probability_grades_within_vetoes_and_flags_and_the_cards_grade_stays_beside_it(tmp_path: Path) -> None:
    config = make_config(tmp_path, {"by": "probability", "cut_offs": "fixed", "at_least": HALF})
    rows = {
        "high": {"p": 0.9},
        "on the line": {"p": 0.5},
        "middle": {"p": 0.3},
        "low": {"p": 0.1},
        "vetoed": {"p": 0.9, "vetoes": '["fraud"]'},
        "flagged": {"p": 0.1, "flags": '["silent"]'},
        "flagged and high": {"p": 0.9, "flags": '["silent"]'},
        "flagged and vetoed": {"p": 0.9, "vetoes": '["fraud"]', "flags": '["silent"]'},
    }
    graded = grade(tmp_path, config, rows)
    assert grades_in(graded) == {
        "high": "a",
        "on the line": "a",
        "middle": "b",
        "low": "c",
        "vetoed": "c",
        "flagged": "b",  # lifted to at least b
        "flagged and high": "a",
        "flagged and vetoed": "c",  # a veto is a veto
    }
    assert set(graded.scores["card_grade"]) == {"c"}
    assert set(graded.scores["graded_by"]) == {"probability"}
    assert graded.states["churn"]["at_least"] == {"b": pytest.approx(0.2), "a": 0.5}
    assert graded.states["churn"]["rows"] == {"c": 3, "b": 2, "a": 3}


def test_grades_are_kept_over_three_runs_unless_a_cut_off_is_crossed_clearly(tmp_path: Path) -> None:
    """By points, where the margin of 5 is in points: 80 is an A, 40 a B.

    The veto of run 2 gives c whatever the points, and leaves nothing to keep: run 3 grades by points alone. What
    a flag lifted to b is not kept either.
    """
    grading = {"by": "points", "margin": 5}
    points = {
        "falls": (82, 76, 74),
        "rises": (78, 84, 85),
        "vetoed": (90, 90, 81),
        "lifted": (10, 37, None),
        "later": (None, None, 41),
    }
    runs = [{who: {"points": float(of[run])} for who, of in points.items() if of[run] is not None} for run in range(3)]
    runs[0]["lifted"]["flags"] = '["silent"]'
    runs[1]["vetoed"]["vetoes"] = '["fraud"]'
    assert play(tmp_path, grading, runs) == [
        {"falls": "a", "rises": "b", "vetoed": "a", "lifted": "b"},
        {"falls": "a", "rises": "b", "vetoed": "c", "lifted": "c"},  # 76 > 75, 84 < 85; a kept b would hold at 37
        {"falls": "b", "rises": "a", "vetoed": "a", "later": "b"},  # 74 < 75, 85 reached, 81 needs no 85, 41 no 45
    ]


def test_what_a_person_or_something_else_graded_is_not_kept(tmp_path: Path) -> None:
    config = make_config(tmp_path, {"by": "points", "margin": 5})
    with open_ledger(tmp_path / "ledger.db") as ledger:
        graded_by = {"model": "points", "hand": "override", "other": "probability"}
        rows = {who: {"points": 90.0, "grade": "a", "graded_by": by} for who, by in graded_by.items()}
        store(ledger, "r1", "2024-01-01", Graded(make_scores(rows), {}, ()))
        now = make_scores({who: {"points": 78.0} for who in graded_by})
        before = ledger.grades.run_before(datetime(2024, 2, 1))
        graded = grade_scores(config, ledger.grades, now, {"churn": CARD}, before, tmp_path)
    assert grades_in(graded) == {"model": "a", "hand": "b", "other": "b"}  # 78 is not below 75, and not 80


def test_cut_offs_by_capacity_let_through_as_many_as_can_be_called(tmp_path: Path) -> None:
    # Two calls a week for two weeks: 4 of 10 rows are a. Of the rest, 30 % of all rows are b.
    grading = {"by": "probability", "contacts_per_week": 2, "weeks": 2, "shares": {"b": 0.3}, "tolerance": 0}
    rows = {f"C{number}": {"p": number / 20} for number in range(1, 11)}
    graded = grade(tmp_path, make_config(tmp_path, grading), rows)
    assert graded.states["churn"]["rows"] == {"c": 3, "b": 3, "a": 4}
    assert grades_in(graded)["C7"] == "a"
    assert grades_in(graded)["C6"] == "b"
    halves = {"by": "probability", "contacts_per_week": 4}  # no shares: b and c halve the six that are left
    assert grade(tmp_path, make_config(tmp_path, halves), rows).states["churn"]["rows"] == {"c": 3, "b": 3, "a": 4}


def test_the_capacity_of_the_deployment_counts_unless_the_target_has_its_own(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"cut-offs by capacity, and capacity\.contacts_per_week is not known"):
        make_config(tmp_path, {"by": "probability"})
    rows = {f"C{number}": {"p": number / 20} for number in range(1, 11)}
    config = make_config(tmp_path, {"by": "probability", "contacts_per_week": 9})
    config = config.model_copy(update={"capacity": config.capacity.model_copy(update={"contacts_per_week": 3})})
    assert grade(tmp_path, config, rows).states["churn"]["rows"]["a"] == 9


def test_equal_points_are_told_apart_by_probability_where_not_all_can_be_called(tmp_path: Path) -> None:
    grading = {"by": "points", "cut_offs": "capacity", "contacts_per_week": 2, "shares": {"b": 0}, "tolerance": 0}
    rows = {name: {"points": 50.0, "p": p} for name, p in (("x", 0.1), ("y", 0.7), ("z", 0.4))}
    assert grades_in(grade(tmp_path, make_config(tmp_path, grading), rows)) == {"x": "c", "y": "a", "z": "a"}


def test_the_cut_off_of_the_run_before_stays_while_the_count_allows_and_the_model_is_the_same(tmp_path: Path) -> None:
    """Four of eight, or three: at least 0.75 of four. The cut-off of run 1 lies between 0.45 and 0.5."""
    grading = {"by": "probability", "contacts_per_week": 4, "shares": {"b": 0}, "tolerance": 0.25, "margin": 0}
    first = {f"C{number}": {"p": number / 20} for number in range(6, 14)}  # 0.3 to 0.65
    fell = first | {"C10": {"p": 0.4}}  # below: three are left, which is enough
    other = {name: row | {"bundle_sha256": "m2"} for name, row in fell.items()}  # another model: four again
    grades = play(tmp_path, grading, [first, fell, other])
    assert [sorted(name for name, one in run.items() if one == "a") for run in grades] == [
        ["C10", "C11", "C12", "C13"],
        ["C11", "C12", "C13"],
        ["C11", "C12", "C13", "C9"],  # 0.45 is the fourth
    ]


def test_the_value_at_risk_is_probability_times_value_and_pays_or_not(tmp_path: Path) -> None:
    """A contact costs 10. Cut-offs by profit: b from 10 of expected value on, a from 30."""
    pd.DataFrame(
        {"entity_id": ["big", "small", "sure", "none", "owed", "unknown"], "worth": [1000, 40, 50, 0, -5, np.nan]}
    ).to_parquet(tmp_path / "features_churn.parquet")
    grading = {"by": "value", "cut_offs": "profit", "at_least": {"a": 3, "b": 1}, "value_feature": "worth"}
    config = make_config(tmp_path, grading, profit={"value_per_event": 100, "cost_per_contact": 10})
    rows = {
        "big": {"p": 0.05},  # 50
        "small": {"p": 0.2},  # 8
        "sure": {"p": 0.5},  # 25
        "none": {"p": 0.9},  # 0
        "owed": {"p": 0.9},  # less than nothing
        "unknown": {"p": 0.5},  # the median of 1000, 50, 40, 0 and -5 is 40: 20
    }
    expected = {"big": "a", "small": "c", "sure": "b", "none": "c", "owed": "c", "unknown": "b"}
    graded = grade(tmp_path, config, rows)
    assert grades_in(graded) == expected
    assert graded.states["churn"]["at_least"] == {"b": pytest.approx(10), "a": pytest.approx(30)}
    mistyped = make_config(tmp_path, grading | {"value_feature": "wroth"}, profit=config.targets["churn"].profit)
    with pytest.raises(ConfigError, match=r"value_feature: unknown feature 'wroth'\. Did you mean 'worth'\?"):
        grade(tmp_path, mistyped, rows)
    with pytest.raises(DataError, match=r"graded by value, and 'worth' is null in all 1 rows"):
        grade(tmp_path, config, {"unknown": {"p": 0.5}})


def test_a_probability_pays_from_the_cost_over_the_value_on(tmp_path: Path) -> None:
    # Cost 10, value 100: 0.1 for the lowest grade but one, and by default twice as much for the next.
    by_profit = {"by": "probability", "cut_offs": "profit"}
    config = make_config(tmp_path, by_profit, profit={"value_per_event": 100, "cost_per_contact": 10})
    graded = grade(tmp_path, config, {"x": {"p": 0.09}, "y": {"p": 0.11}, "z": {"p": 0.21}})
    assert grades_in(graded) == {"x": "c", "y": "b", "z": "a"}
    dear = make_config(tmp_path, by_profit, profit={"value_per_event": 1, "cost_per_contact": 10})
    graded = grade(tmp_path, dear, {"x": {"p": 0.99}})
    assert (grades_in(graded), graded.states["churn"]["at_least"]) == ({"x": "c"}, {"b": None, "a": None})


def test_a_value_model_says_what_customers_are_worth(tmp_path: Path) -> None:
    config = make_config(
        tmp_path, {"by": "value", "cut_offs": "fixed", "at_least": {"a": 100, "b": 10}, "value_constant": 200}
    )
    assert grades_in(grade(tmp_path, config, {"x": {"p": 0.6}, "y": {"p": 0.4}, "z": {"p": 0.01}})) == {
        "x": "a",  # 120
        "y": "b",  # 80
        "z": "c",  # 2
    }
    target = config.targets["churn"].model_copy(update={"kind": "value"})
    revenue = config.model_copy(update={"targets": {"churn": target}})
    assert grades_in(grade(tmp_path, revenue, {"x": {"value": 500.0}, "y": {"value": 50.0}})) == {"x": "a", "y": "b"}


def test_the_value_at_risk_is_what_a_target_of_kind_value_expects(tmp_path: Path) -> None:
    value = {"kind": "value", "horizons_days": [365], "spine": {"grid": "month"}}
    grading = {"by": "value", "cut_offs": "fixed", "at_least": {"a": 100, "b": 10}, "value_target": "worth"}
    config = make_config(tmp_path, grading, {"worth": value})
    expected = {"target": "worth", "horizon_days": 365, "grade": None, "graded_by": None}
    rows = {"x": {"p": 0.5}, "y": {"p": 0.9}, "z": {"p": 0.1}, "new": {"p": 0.4}}
    worth = {"x": expected | {"value": 1000.0}, "y": expected | {"value": 100.0}, "z": expected | {"value": 50.0}}
    scores = pd.concat([make_scores(rows), make_scores(worth)], ignore_index=True)
    with open_ledger("sqlite://") as ledger:
        graded = grade_scores(config, ledger.grades, scores, {"churn": CARD, "worth": None}, None, tmp_path)
    found = graded.scores[graded.scores["target"] == "churn"].set_index("entity_id")["grade"].to_dict()
    assert found == {"x": "a", "y": "b", "z": "c", "new": "b"}  # 500, 90, 5; the median of 100 is 40
    assert graded.scores.loc[graded.scores["target"] == "worth", "grade"].isna().all()


def test_without_a_card_grades_have_their_usual_names(tmp_path: Path) -> None:
    at_least = {"priority": 0.6, "nurture": 0.4, "hold": 0.2}
    config = make_config(tmp_path, {"by": "probability", "cut_offs": "fixed", "at_least": at_least})
    graded = grade(
        tmp_path, config, {name: {"p": p, "card_version": None} for name, p in (("x", 0.7), ("y", 0.1))}, None
    )
    assert grades_in(graded) == {"x": "priority", "y": "drop"}


def test_without_a_model_the_card_grades_and_a_note_says_so(tmp_path: Path) -> None:
    config = make_config(tmp_path, {"by": "probability", "cut_offs": "fixed", "at_least": HALF})
    graded = grade(tmp_path, config, {"x": {"grade": "b", "model_version": None}})
    assert grades_in(graded) == {"x": "b"}
    assert graded.notes == ("churn: without a model there is no probability to grade by, so the card's points grade.",)


@pytest.mark.parametrize(
    ("grading", "message"),
    [
        ({"by": "probability", "cut_offs": "card"}, "cut_offs: card are in points"),
        ({"cut_offs": "profit"}, "profit needs by: probability or by: value"),
        ({"cut_offs": "fixed"}, "fixed needs at_least, such as"),
        ({"at_least": {"a": 3}}, "at_least is for cut_offs fixed or profit, and they are card"),
        ({"shares": {"b": 0.2}}, "shares and contacts_per_week are for cut_offs: capacity, not card"),
        ({"cut_offs": "capacity", "shares": {"b": 0.7, "c": 0.5}}, "shares are parts of all rows"),
        ({"cut_offs": "fixed", "at_least": {"a": 0}}, "at_least must be above 0"),
        ({"by": "probability", "cut_offs": "fixed", "at_least": {"a": 1.2}}, "lies between 0 and 1"),
        ({"value_constant": 3}, "value_constant is for by: value"),
        ({"by": "value", "value_constant": 3, "value_feature": "x"}, "value_feature and value_constant both say"),
        ({"by": "value", "contacts_per_week": 5}, "by: value needs value_feature, value_target, value_constant or"),
        ({"by": "probability", "cut_offs": "profit"}, "profit needs profit: "),
        ({"by": "value", "contacts_per_week": 5, "value_target": "worth"}, "is no target of kind value"),
    ],
)  # fmt: skip
def test_a_grading_that_makes_no_sense_is_refused_when_the_config_is_read(
    tmp_path: Path, grading: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        make_config(tmp_path, grading)


@pytest.mark.parametrize(
    ("grading", "message"),
    [
        ({"cut_offs": "fixed", "at_least": {"a": 0.5}}, "names a, expected each grade but the lowest: b, a"),
        ({"cut_offs": "fixed", "at_least": {"a": 0.2, "b": 0.5}}, "has a 0.2, b 0.5, expected more for each better"),
        ({"contacts_per_week": 1, "shares": {"hold": 0.5}}, "names hold, expected each grade between the best and the"),
    ],
)
def test_cut_offs_that_do_not_fit_the_grades_are_named(tmp_path: Path, grading: dict[str, Any], message: str) -> None:
    config = make_config(tmp_path, grading | {"by": "probability"})
    with pytest.raises(ConfigError, match=message):
        check_grading(config, "churn", CARD)  # before anything is computed
    with pytest.raises(ConfigError, match=message):
        grade(tmp_path, config, {"x": {"p": 0.5}})


@pytest.mark.parametrize(
    "grading",
    [{}, {"by": "probability", "contacts_per_week": 3}, {"by": "probability", "cut_offs": "fixed", "at_least": HALF}],
)
def test_cut_offs_that_fit_are_let_through(tmp_path: Path, grading: dict[str, Any]) -> None:
    config = make_config(tmp_path, grading)
    check_grading(config, "churn", CARD)
    if not grading:
        check_grading(config, "churn", None)  # nothing grades, which is no mistake


def test_the_nightly_job_grades_as_many_as_can_be_called_and_comes_out_the_same_again(world: World) -> None:
    world.change_config(**CHURN_ONLY, capacity={"contacts_per_week": 20}, targets__churn__grading={"by": "probability"})
    first = world.run("score", "--json").document
    world.pass_a_day()
    assert world.run("extract").code == 0
    second = world.run("score", "--json").document
    assert re.fullmatch(r"churn: graded by probability: 20 priority \(0\.\d+ or more\), .*", first["notes"][-1])
    with open_ledger(world.state / "ledger.db") as ledger:
        runs = [ledger.find_run(one["run_id"]) for one in (first, second)]
        before, scores = (ledger.scores(one["run_id"]) for one in (first, second))
    assert [run.details.get("follows") for run in runs if run] == [None, first["run_id"]]
    assert set(scores["graded_by"]) == {"probability"}
    assert (before["grade"] == "priority").sum() == 20
    assert 18 <= (scores["grade"] == "priority").sum() <= 20
    shutil.rmtree(world.folder / second["folder"])  # as when its retention has ended
    assert world.run("score", "--json").document["is_new"] is True
    with open_ledger(world.state / "ledger.db") as ledger:
        again, run = ledger.scores(second["run_id"]), ledger.find_run(second["run_id"])
    pd.testing.assert_frame_equal(again, scores, check_exact=True)
    assert run is not None
    assert run.details["grading"] == runs[1].details["grading"]
    entity = str(scores.loc[scores["grade"] != scores["card_grade"], "entity_id"].iloc[0])
    document = world.run("explain", entity, "--json").document
    assert (document["is_equal"], document["graded_by"]) == (True, "probability")  # the grade itself is not recomputed


def test_the_run_before_is_the_newest_finished_one_whose_data_ended_earlier(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.db") as ledger:
        for run_id, day, state in (
            ("march", "2024-03-01", "done"),
            ("january", "2024-01-01", "done"),  # scored again later: its data are older all the same
            ("failed", "2024-03-15", "failed"),
            ("april", "2024-04-01", "done"),
            ("april, other model", "2024-04-01", "done"),
        ):
            ledger.start_run(run_id, "score", {"data_end": f"{day}T00:00:00"}, "")
            ledger.finish_run(run_id, state)
        ledger.start_run("undo-march", "undo", {}, "")
        ledger.finish_run("undo-march", "done")

        def before(day: datetime, followed: str | None = None) -> str | None:
            found = ledger.grades.run_before(day, followed)
            return None if found is None else found.run_id

        assert before(datetime(2024, 1, 1)) is None
        assert before(datetime(2024, 4, 1)) == "march"  # never one of the same data, nor one that failed
        assert before(datetime(2024, 5, 1)) == "april, other model"
        assert before(datetime(2024, 5, 1), "march") == "march"  # as when it was made
        assert before(datetime(2024, 5, 1), "gone") == "april, other model"
