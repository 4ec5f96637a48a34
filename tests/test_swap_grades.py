"""Who changes the grade that drives action when another version goes live: five customers, counted by hand."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_crm import World
from test_grading import CARD, HALF, grade, make_config, store

from models.scorecard import Scorecard
from pipeline.errors import GateError
from pipeline.ledger import Ledger, open_ledger
from pipeline.swap_bands import SwapGrades
from pipeline.swap_population import Population
from pipeline.swap_report import SwapReport, compare_grades
from pipeline.swap_text import make_page, sum_up
from pipeline.swap_versions import Said, grade_versions

NOW = datetime(2024, 7, 1)
FIXED = {"by": "probability", "cut_offs": "fixed", "at_least": HALF, "margin": 0}

BEFORE = (0.60, 0.55, 0.30, 0.25, 0.10)
AFTER = (0.45, 0.70, 0.52, 0.08, 0.15)
GRADES = [  # a from 0.5, b from 0.2
    ("K1", "a", "b"),
    ("K2", "a", "a"),
    ("K3", "b", "a"),
    ("K4", "b", "c"),
    ("K5", "c", "c"),
]


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with open_ledger("sqlite://") as opened:
        yield opened


def said(chances: Sequence[float], judge: str) -> Said:
    probability = np.array(chances)
    log_odds = np.log(probability / (1 - probability))
    return Said(probability, log_odds, np.full(len(chances), np.nan), judge)


def make_population(
    count: int = 5, card: Scorecard | None = CARD, features: Mapping[str, Sequence[float]] | None = None, **columns: Any
) -> Population:
    """Customers K1, K2, ... to whom the card gives c."""
    ids = [f"K{at}" for at in range(1, count + 1)]
    people = pd.DataFrame({"entity_id": ids, "owner": "ann", "region": None, "grade": "c", "points": 0.0})
    people = people.assign(**{"vetoes": None, "flags": None, **columns})
    frame = pd.DataFrame({"entity_id": ids, **(features or {})})
    return Population("churn", "customers", NOW, frame, people, card, pd.DataFrame())


def compare(
    folder: Path,
    ledger: Ledger,
    grading: Mapping[str, Any],
    before: Sequence[float] | None = BEFORE,
    after: Sequence[float] = AFTER,
    **columns: Any,
) -> SwapGrades:
    config = make_config(folder, grading)
    live = None if before is None else said(before, "m1")
    found = grade_versions(config, ledger, make_population(len(after), **columns), live, said(after, "m2"))
    assert found is not None
    return found


def grades_of(found: SwapGrades) -> list[tuple[str, str, str]]:
    return list(found.people[["entity_id", "grade_before", "grade_after"]].itertuples(index=False, name=None))


def report_on(found: SwapGrades, **changes: Any) -> SwapReport:
    settings = {"as_of": NOW, "live_version": 1, "version": 2}
    return compare_grades("churn", found, **{**settings, **changes})


def test_both_versions_are_graded_as_the_config_grades(tmp_path: Path, ledger: Ledger) -> None:
    found = compare(tmp_path, ledger, FIXED)
    assert grades_of(found) == GRADES
    assert [(band.name, round(band.at_least, 9)) for band in found.bands] == [("a", 0.5), ("b", 0.2), ("c", 0.0)]
    report = report_on(found)
    assert report.crossing == (
        (1, 1, 0),  # of a: K2 stays, K1 falls
        (1, 0, 1),  # of b: K3 rises, K4 falls
        (0, 0, 1),  # K5
    )
    assert (report.up, report.down, report.movers_share) == (1, 2, 0.6)
    # the best grade is who is contacted: K1 and K2, then K2 and K3; of the first two by probability K3 is new
    assert (report.contacts.before, report.contacts.after) == (2, 2)
    assert (report.contacts.size, report.contacts.entering, report.contacts.leaving) == (2, 1, 1)
    assert [(one.name, one.up, one.down) for one in report.by_owner] == [("ann", 1, 2)]
    assert [one.entity_id for one in report.largest] == ["K3", "K4", "K1"]  # +0.22, -0.17, -0.15


def test_who_had_a_grade_keeps_it_until_a_cut_off_is_crossed_clearly(tmp_path: Path, ledger: Ledger) -> None:
    before = 1 / (1 + np.exp([-0.5, -2, 0.5, 1, 2]))  # log-odds 0.5, 2, -0.5, -1, -2
    after = 1 / (1 + np.exp([0.3, -2, -1, 1, 2]))  # log-odds -0.3, 2, 1, -1, -2
    steady = {**FIXED, "margin": None}
    # The middle half of -2, -1, -0.3, 1, 2 goes from -1 to 1, so the spread is 2 / 1.349 and a quarter of it 0.37.
    # a begins at 0, b at -1.39: K1 at -0.3 is not 0.37 below 0 and stays; K3 at 1 is 0.37 above it and rises.
    assert grades_of(compare(tmp_path, ledger, steady, before, after)) == [
        ("K1", "a", "a"),
        ("K2", "a", "a"),
        ("K3", "b", "a"),
        ("K4", "b", "b"),
        ("K5", "c", "c"),
    ]
    assert grades_of(compare(tmp_path, ledger, FIXED, before, after))[0] == ("K1", "a", "b")


def test_cut_offs_by_capacity_move_with_the_version_so_that_only_the_order_counts(
    tmp_path: Path, ledger: Ledger
) -> None:
    capacity = {"by": "probability", "cut_offs": "capacity", "contacts_per_week": 2, "margin": 0}
    higher = [0.9, 0.8, 0.7, 0.6, 0.5]  # everybody, in the same order
    found = compare(tmp_path, ledger, capacity, after=higher)
    # a takes two of five, b three tenths: one and a half more, so four in all
    assert grades_of(found) == [
        ("K1", "a", "a"),
        ("K2", "a", "a"),
        ("K3", "b", "b"),
        ("K4", "b", "b"),
        ("K5", "c", "c"),
    ]
    report_on(found, max_movers_share=0.0).check()
    turned = compare(tmp_path, ledger, capacity, after=[0.9, 0.7, 0.8, 0.6, 0.5])  # K3 before K2
    assert [one for one in grades_of(turned) if one[1] != one[2]] == [("K2", "a", "b"), ("K3", "b", "a")]
    with pytest.raises(GateError, match=r"2 of 5 customers would change grade \(40\.0%\), more than"):
        report_on(turned, max_movers_share=0.39).check()


def test_vetoes_and_flags_hold_whatever_the_model_says(tmp_path: Path, ledger: Ledger) -> None:
    columns = {"vetoes": [None, '["fraud"]', None], "flags": [None, None, '["silent"]']}
    found = compare(tmp_path, ledger, FIXED, (0.1, 0.9, 0.3), (0.6, 0.1, 0.1), **columns)
    assert grades_of(found) == [
        ("K1", "c", "a"),
        ("K2", "c", "c"),  # vetoed
        ("K3", "b", "b"),  # 0.1 would be c; the flag lifts to b
    ]
    assert report_on(found).contacts.before == 0  # K2 has 0.9, and nobody calls one who is vetoed


def test_who_was_graded_by_hand_stays_there(tmp_path: Path, ledger: Ledger) -> None:
    ledger.overrides.add("churn", "K1", "a", "knows us", "ann", None)
    found = compare(tmp_path, ledger, FIXED, (0.1, 0.1), (0.1, 0.6))
    assert grades_of(found) == [("K1", "a", "a"), ("K2", "c", "a")]


def test_the_grade_of_now_is_what_the_next_night_of_the_live_version_would_give(tmp_path: Path, ledger: Ledger) -> None:
    steady = {**FIXED, "margin": 1.0}
    config = make_config(tmp_path, steady)
    store(ledger, "r1", "2024-06-01", grade(tmp_path, config, {"K1": {"p": 0.6}, "K2": {"p": 0.1}}))  # a and c
    # K1 falls to 0.45 and K2 rises to 0.9, log-odds -0.2 and 2.2, a spread of 1.2 / 1.349: K1 keeps a, K2 rises.
    # The other version says 0.1 and 0.9, log-odds -2.2 and 2.2, a spread of 1.63: K1 falls, to b and no further.
    found = compare(tmp_path, ledger, steady, (0.45, 0.9), (0.1, 0.9))
    assert grades_of(found) == [("K1", "a", "b"), ("K2", "a", "a")]


def test_an_expected_value_grades_and_is_what_is_shown(tmp_path: Path, ledger: Ledger) -> None:
    grading = {"by": "value", "cut_offs": "fixed", "at_least": {"a": 400, "b": 100}, "margin": 0}
    config = make_config(tmp_path, {**grading, "value_feature": "worth"})
    population = make_population(3, features={"worth": [1000, 1000, 200]}, vetoes=[None, None, '["fraud"]'])
    found = grade_versions(config, ledger, population, said((0.5, 0.3, 0.9), "m1"), said((0.3, 0.4, 0.9), "m2"))
    assert found is not None
    assert grades_of(found) == [("K1", "a", "b"), ("K2", "b", "a"), ("K3", "c", "c")]
    assert found.measure == "value"
    assert found.people["before"].round(6).tolist() == [500, 300, 0]  # 0.5 x 1000, 0.3 x 1000, vetoed
    assert found.people["after"].round(6).tolist() == [300, 400, 0]


def test_the_value_may_be_what_another_target_predicts(tmp_path: Path, ledger: Ledger) -> None:
    worth = {"kind": "value", "horizons_days": [90], "spine": {"grid": "month"}}
    grading = {"by": "value", "cut_offs": "fixed", "at_least": {"a": 400, "b": 100}, "margin": 0}
    config = make_config(tmp_path, {**grading, "value_target": "worth"}, {"worth": worth})
    values = pd.DataFrame({"target": "worth", "horizon_days": 90, "entity_id": ["K2", "K1"], "value": [240.0, 1000.0]})
    population = make_population(2)
    population = Population(*(vars(population) | {"worth": values}).values())
    found = grade_versions(config, ledger, population, said((0.5, 0.5), "m1"), said((0.3, 0.6), "m2"))
    assert found is not None
    assert grades_of(found) == [("K1", "a", "b"), ("K2", "b", "b")]  # 500 and 300; 120 and 144


def test_without_a_live_version_nobody_moves(tmp_path: Path, ledger: Ledger) -> None:
    found = compare(tmp_path, ledger, FIXED, before=None)
    assert [(name, before) for name, before, _ in grades_of(found)] == [(name, after) for name, _, after in GRADES]
    assert report_on(found, live_version=None).movers == 0


def test_without_a_card_the_default_grades_are_used(tmp_path: Path, ledger: Ledger) -> None:
    grading = {**FIXED, "at_least": {"priority": 0.5, "nurture": 0.3, "hold": 0.2}}
    found = compare(tmp_path, ledger, grading, card=None, grade=None)
    assert [one[1] for one in grades_of(found)] == ["priority", "priority", "nurture", "hold", "drop"]


def test_where_points_give_the_grade_no_version_changes_it_and_bands_are_compared(
    tmp_path: Path, ledger: Ledger
) -> None:
    config = make_config(tmp_path, {"by": "points"})
    assert grade_versions(config, ledger, make_population(), said(BEFORE, "m1"), said(AFTER, "m2")) is None


def test_a_cut_off_that_nobody_can_reach_is_told_as_such(tmp_path: Path, ledger: Ledger) -> None:
    profit = {"value_per_event": 10.0, "cost_per_contact": 9.0}  # break-even 0.9 for b, twice as much for a
    config = make_config(tmp_path, {"by": "probability", "cut_offs": "profit", "margin": 0}, profit=profit)
    found = grade_versions(config, ledger, make_population(), said(BEFORE, "m1"), said(AFTER, "m2"))
    assert found is not None
    assert [band.at_least for band in found.bands] == [np.inf, pytest.approx(0.9), 0.0]
    assert [one[1:] for one in grades_of(found)] == [("c", "c")] * 5
    assert "nobody" in make_page(report_on(found))


def test_the_sentences_and_the_page_say_what_grades(tmp_path: Path, ledger: Ledger) -> None:
    report = report_on(compare(tmp_path, ledger, FIXED), capacity=1)
    assert sum_up(report) == [
        "churn: 3 of 5 customers change grade (60.0%): 1 up, 2 down.",
        "Contacts, those graded a by probability: 2 now, 2 then, 1 more than the 1 a week that can be made.",
        "Of the first 1 in order of probability, 1 are new.",  # K1, then K2
    ]
    assert "as the config grades them" in make_page(report)
    assert "the next 20 %" not in make_page(report)


def test_the_command_compares_the_grades_that_drive_action(world: World) -> None:
    world.change_config(targets__churn__grading={"by": "probability", "contacts_per_week": 20})
    swap = world.run("promote --target churn --version 1 --dry-run", "--json").document["swap"]
    assert swap["graded_by"] == "probability"
    assert [band["name"] for band in swap["bands"]] == ["priority", "nurture", "hold", "drop"]
    assert sum(swap["crossing"][0]) == swap["contacts"]["before"] == 20  # what the team can call in a week
    assert swap["movers"] == 0  # version 1 is live
