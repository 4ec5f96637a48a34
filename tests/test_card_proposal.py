"""Proposed cards: valid, readable, and with the points that rows of a known making ask for."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from review_cards import card_of, criterion

from models.card_bands import learned_bands, own_bands, rate_bands, round_cuts
from models.card_changes import CriterionChange, Proposal
from models.card_comparison import compare_cards, expected_gain
from models.card_conditions import in_order
from models.card_cutoffs import move_cutoffs
from models.card_proposal import propose_card
from models.scorecard import Scorecard, load_scorecard
from pipeline.card_text import write_proposal

ROWS = 2000
GROUP = np.arange(ROWS)


def make_rows(seed: int = 3) -> tuple[pd.DataFrame, np.ndarray]:
    """2,000 customers: good ones are common where `strong` and, less so, `weak` are high; `null` says nothing."""
    generator = np.random.default_rng(seed)
    strong, weak, null = generator.normal(size=(3, ROWS))
    log_odds = -1 + 1.6 * strong + 0.5 * weak
    good = (generator.random(ROWS) < 1 / (1 + np.exp(-log_odds))).astype(float)
    level = np.where(generator.random(ROWS) < 0.25, "rare", np.where(strong > 0.5, "gold", "tin"))
    return pd.DataFrame({"strong": strong, "weak": weak, "null": null, "level": level}), good


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, np.ndarray]:
    return make_rows()


@pytest.fixture(scope="module")
def card() -> Scorecard:
    return card_of(criterion("strong", 0.0), criterion("weak", 0.0), criterion("null", 0.0), criterion("gone", 0.0))


@pytest.fixture(scope="module")
def proposal(card: Scorecard, rows: tuple[pd.DataFrame, np.ndarray]) -> Proposal:
    return propose_card(card, *rows, GROUP)


def change_of(proposal: Proposal, name: str) -> CriterionChange:
    return next(change for change in proposal.changes if change.id == name)


def points_of(card: Scorecard, name: str) -> list[int]:
    found = next(one for one in card.criteria if one.id == name)
    return [band.points for band in in_order(found.bands)]


def test_a_proposed_card_is_the_next_version_with_weights_that_sum_to_100(proposal: Proposal):
    assert (proposal.card.id, proposal.card.version) == ("tried", "2")
    assert sum(one.weight for one in proposal.card.criteria) == pytest.approx(100)
    assert [(one.id, one.name, one.feature) for one in proposal.card.criteria] == [
        (one.id, one.name, one.feature) for one in proposal.today.criteria
    ]


def test_what_tells_more_weighs_more_what_tells_nothing_goes_down_to_the_floor(proposal: Proposal):
    weights = {one.id: one.weight for one in proposal.card.criteria}
    assert weights["strong"] > 1.5 * weights["weak"]
    assert weights["null"] == 2.5  # on the way from 25 to the floor of 1, as far as some 600 good customers are trusted
    assert points_of(proposal.card, "null") == [0, 100]  # today's
    assert change_of(proposal, "null").note == "no effect: kept at weight 2.5 with today's points"


def test_what_too_little_is_known_of_stays_as_it_is(proposal: Proposal):
    assert next(one for one in proposal.card.criteria if one.id == "gone").weight == 25
    assert change_of(proposal, "gone").note == "too few rows: as today"


def test_bands_are_cut_finer_where_that_tells_more(proposal: Proposal):
    points = points_of(proposal.card, "strong")
    assert len(points) > 2
    assert (points[0], points[-1]) == (0, 100)
    assert all(one % 5 == 0 for one in points)


def test_the_difference_counts_rows_and_the_points_they_get_today(
    proposal: Proposal, rows: tuple[pd.DataFrame, np.ndarray]
):
    frame, good = rows
    change = change_of(proposal, "null")
    below = frame["null"] < 0
    first = change.bands[0]
    assert (first.band, first.today, first.proposed) == ("below 0", 0.0, 0)
    assert (first.rows, first.good) == (int(below.sum()), int(good[below].sum()))
    assert first.low < first.rate < first.high
    assert sum(band.rows for band in change_of(proposal, "strong").bands) == ROWS


def test_shares_of_grades_stay(proposal: Proposal, rows: tuple[pd.DataFrame, np.ndarray]):
    before, after = (one.score(rows[0])["grade"].value_counts() for one in (proposal.today, proposal.card))
    assert after.to_dict() == pytest.approx(before.to_dict(), abs=0.05 * ROWS)  # points have ties


def test_a_proposed_file_loads_again_as_the_same_card(proposal: Proposal, tmp_path: Path):
    path = tmp_path / "tried-2.yaml"
    path.write_text(write_proposal(proposal, "By 2,000 rows."), encoding="utf-8")
    loaded = load_scorecard(path, known_features=["strong", "weak", "null", "gone"])
    assert loaded == proposal.card
    assert "# Proposed version 2 of card 'tried'. By 2,000 rows." in path.read_text(encoding="utf-8")
    assert "{below: 0, points: 0}  # today 0; " in path.read_text(encoding="utf-8")


def test_a_second_proposal_says_only_what_the_second_review_found(
    proposal: Proposal, rows: tuple[pd.DataFrame, np.ndarray]
):
    again = propose_card(proposal.card, *rows, GROUP)
    assert again.card.version == "3"
    assert [one.source.count("review of") for one in again.card.criteria] == [1, 1, 1, 1]


def test_the_same_rows_give_the_same_card(card: Scorecard, proposal: Proposal, rows: tuple[pd.DataFrame, np.ndarray]):
    assert propose_card(card, *rows, GROUP).card == proposal.card


def test_points_that_were_wrong_are_turned_round_unless_the_card_says_that_more_is_better(
    rows: tuple[pd.DataFrame, np.ndarray],
):
    frame, good = rows
    frame = frame.assign(against=-frame["strong"])
    free = propose_card(card_of(criterion("against", 0.0), criterion("weak", 0.0)), frame, good, GROUP)
    points = points_of(free.card, "against")
    assert (points[0], points[-1]) == (100, 0)
    assert change_of(free, "against").note == "points turned round"
    held = card_of(criterion("against", 0.0, direction=1), criterion("weak", 0.0))
    kept = propose_card(held, frame, good, GROUP)
    assert points_of(kept.card, "against") == [0, 100]
    assert change_of(kept, "against").note == "the data say the opposite of its direction: kept at weight 4.5"


def test_a_criterion_with_a_direction_has_bands_that_never_fall():
    generator = np.random.default_rng(8)
    uneven = generator.normal(size=ROWS)
    rate = np.select([uneven < -0.5, uneven < 0.5, uneven < 1.0], [0.2, 0.55, 0.3], 0.7)  # falls in between
    good = (generator.random(ROWS) < rate).astype(float)
    frame = pd.DataFrame({"uneven": uneven, "null": generator.normal(size=ROWS)})
    free = propose_card(card_of(criterion("uneven", 0.0), criterion("null", 0.0)), frame, good, GROUP)
    held = card_of(criterion("uneven", 0.0, direction=1), criterion("null", 0.0))
    kept = propose_card(held, frame, good, GROUP)
    assert (np.diff(points_of(free.card, "uneven")) < 0).any()
    points = points_of(kept.card, "uneven")
    assert len(points) > 1
    assert (np.diff(points) > 0).all()


def test_levels_that_were_lumped_together_are_told_apart(rows: tuple[pd.DataFrame, np.ndarray]):
    frame, good = rows
    lumped = criterion("level", bands=[{"in": ["gold", "tin"], "points": 100}], otherwise=0)
    proposed = propose_card(card_of(lumped, criterion("weak", 0.0)), frame, good, GROUP).card.criteria[0]
    points = {value: band.points for band in proposed.bands for value in band.listed}
    assert points["gold"] == 100
    assert points["tin"] < points["rare"] < points["gold"]  # rare is a mixture of all


def test_a_level_that_people_write_in_many_ways_is_listed_once(rows: tuple[pd.DataFrame, np.ndarray]):
    frame, good = rows
    shouted = frame.assign(level=frame["level"].where(GROUP % 4 > 0, frame["level"].str.upper() + " "))
    lumped = criterion("level", bands=[{"in": ["gold"], "points": 100}], otherwise=0)
    card = card_of(lumped, criterion("weak", 0.0))
    assert propose_card(card, shouted, good, GROUP).card == propose_card(card, frame, good, GROUP).card


def test_where_nothing_tells_the_card_stays_as_it_is():
    generator = np.random.default_rng(2)
    frame = pd.DataFrame({"null": generator.normal(size=400), "other": generator.normal(size=400)})
    today = card_of(criterion("null", 0.0), criterion("other", 0.0))
    found = propose_card(today, frame, np.arange(400) % 2 * 1.0, np.arange(400))
    assert [one.weight for one in found.card.criteria] == [50, 50]
    assert [one.bands for one in found.card.criteria] == [one.bands for one in today.criteria]
    assert found.remarks == ("No criterion tells good from bad on these rows, so points and weights are today's.",)


def test_with_few_customers_the_weights_stay_near_those_of_today(rows: tuple[pd.DataFrame, np.ndarray]):
    frame, good = rows
    today = card_of(criterion("strong", 0.0), criterion("weak", 0.0))
    few = np.flatnonzero(np.arange(ROWS) < 160)
    shift = {}
    for count, at in ((160, few), (ROWS, np.arange(ROWS))):
        found = propose_card(today, frame.iloc[at].reset_index(drop=True), good[at], GROUP[at])
        shift[count] = abs(found.card.criteria[0].weight - 50)
    assert shift[160] <= shift[ROWS]


def test_presets_are_left_out_and_that_is_said(rows: tuple[pd.DataFrame, np.ndarray]):
    preset = {"kind": "stage", "name": {"en": "s", "zh": "s"}, "criteria": {"weak": {"missing": 50}}}
    today = card_of(criterion("strong", 0.0), criterion("weak", 0.0), presets={"startup": preset})
    found = propose_card(today, *rows, GROUP)
    assert found.card.presets == {}
    assert found.remarks == ("Presets were left out: their weights were for the weights of today. Write them anew.",)


def test_a_proposed_card_is_worth_it_on_customers_it_was_not_made_of(
    card: Scorecard, rows: tuple[pd.DataFrame, np.ndarray]
):
    gain = expected_gain(card, *rows, GROUP)
    assert gain is not None
    assert gain.today < gain.proposed
    assert 0 < gain.low < gain.proposed - gain.today < gain.high


def test_what_a_card_is_worth_is_not_said_of_a_handful(card: Scorecard, rows: tuple[pd.DataFrame, np.ndarray]):
    frame, good = rows
    assert expected_gain(card, frame.iloc[:40], good[:40], GROUP[:40]) is None


def test_equal_points_are_no_gain():
    points, good = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 1.0, 0.0, 1.0])
    gain = compare_cards(points, points * 2, good, np.arange(4), resamples=20)
    assert (gain.today, gain.proposed, gain.low, gain.high) == (0.75, 0.75, 0.0, 0.0)


def test_few_rows_move_a_band_little():
    found = card_of(criterion("x", 0.5))
    values = pd.Series([0.0] * 100 + [1.0] * 2)
    good = np.array([0.0, 1.0] * 50 + [1.0, 1.0])
    rates = rate_bands(own_bands(found.criteria[0], values), good, 0)
    assert rates.rows.tolist() == [100, 2, 0, 0]
    base = 52.5 / 103
    shrunk = (2 + 20 * base) / 22  # its 2 rows beside 20 imagined ones of the mean rate
    assert rates.evidence[1] == pytest.approx(np.log(shrunk / (1 - shrunk)) - np.log(base / (1 - base)))
    assert rates.evidence[2:].tolist() == pytest.approx([0.0, 0.0])


def test_cuts_are_round_numbers_that_move_few_rows():
    assert round_cuts(np.array([1234.7]), np.linspace(0, 5000, 10_000)) == [1230.0]
    counts = np.repeat([0.0, 1.0, 2.0], 50)
    assert round_cuts(np.array([0.5]), counts) == [1.0]  # between whole numbers the upper one: at_least 1


def test_bands_are_learned_from_some_rows_and_hold_for_all():
    values = pd.Series([0.0] * 50 + [10.0] * 50 + [np.nan, 20.0])
    good = np.array([0.0] * 50 + [1.0] * 50 + [0.0, 0.0])
    learn = np.arange(102) < 100
    found = learned_bands(card_of(criterion("x")).criteria[0], values, good, learn)
    assert found.conditions == ({"below": 10}, {"at_least": 10})
    assert found.place.tolist() == [0] * 50 + [1] * 50 + [3, 1]  # missing is the last place


def test_cut_offs_move_to_where_the_same_rows_are():
    grades = [{"id": "a", "at_least": 80}, {"id": "b", "at_least": 50}, {"id": "c", "at_least": 0}]
    before, after = pd.Series([90.0, 60.0, 60.0, 10.0]), pd.Series([40.0, 20.0, 22.0, 3.0])
    moved = move_cutoffs(grades, before, after, np.arange(101.0))
    assert [one["at_least"] for one in moved] == [31, 12, 0]  # between 22 and 40, and between 3 and 20


def test_each_grade_keeps_points_that_can_be_given_and_one_that_cannot_be_is_left_out():
    grades = [{"id": "a", "at_least": 80}, {"id": "b", "at_least": 50}, {"id": "c", "at_least": 0}]
    before, after = pd.Series([90.0, 60.0, 10.0]), pd.Series([100.0, 100.0, 0.0])
    three = move_cutoffs(grades, before, after, np.array([0.0, 50.0, 100.0]))
    # half of the rows with 100 points had b before; all of them have a now, and b is kept for those of 50
    assert [(one["id"], one["at_least"]) for one in three] == [("a", 100), ("b", 50), ("c", 0)]
    thirds = move_cutoffs(grades, pd.Series([60.0, 10.0]), pd.Series([50.0, 0.0]), np.array([0.0, 100 / 3, 200 / 3]))
    assert thirds[0]["at_least"] == 51  # nobody has a, and 200 / 3 points still reach it
    sixths = move_cutoffs(grades, pd.Series([60.0, 10.0]), pd.Series([90.0, 0.0]), np.array([0.0, 100 / 3, 200 / 3]))
    assert sixths[0]["at_least"] == 66.6666  # never above the points that are to reach it
    two = move_cutoffs(grades, before, after, np.array([0.0, 100.0]))
    assert [(one["id"], one["at_least"]) for one in two] == [("a", 100), ("c", 0)]


def test_a_level_of_a_group_that_no_points_give_any_more_is_left_out_and_that_is_said(
    rows: tuple[pd.DataFrame, np.ndarray],
):
    bands = [{"below": 0, "points": 0}, {"at_least": 0, "below": 0.01, "points": 50}, {"at_least": 0.01, "points": 100}]
    levels = [
        {"id": one, "at_least": at, "name": {"en": one, "zh": one}} for one, at in (("a", 80), ("b", 40), ("c", 0))
    ]
    group = {"id": "lonely", "name": {"en": "lonely", "zh": "lonely"}, "levels": levels}
    lonely = criterion("halves", group="lonely", bands=bands, missing=0)
    frame, good = rows
    frame = frame.assign(halves=np.sign(frame["strong"]))  # -1 or 1: no row is in the band between
    found = propose_card(card_of(lonely, criterion("weak", 0.0), groups=[group]), frame, good, GROUP)
    given = {band.points for band in found.card.criteria[0].bands} | {found.card.criteria[0].missing}
    kept = [level.id for level in found.card.groups[0].levels]
    assert len(kept) <= len(given)
    assert [one for one in found.remarks if "was left out" in one] == [
        f"Level '{one}' of group 'lonely' was left out: no points give it any more."
        for one in ("a", "b", "c")
        if one not in kept
    ]
