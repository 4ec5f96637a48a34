"""Grades over several runs, as literal tables: who crosses a cut-off clearly moves, who wavers stays."""

import numpy as np
import pytest

from models.grades import NOWHERE, Wanted, apart, cut_by_count, place_rows, share_counts, spread

FIXED = (40.0, 70.0)
"""From 40 on place 1, from 70 on place 2; the margin is 5."""

THREE_RUNS = {
    # who: (strength, expected place) of runs 1, 2, 3; None: not scored in that run
    "falls slowly": ((72, 2), (66, 2), (64, 1)),  # 66 is not below 65, 64 is
    "rises slowly": ((68, 1), (74, 1), (75, 2)),  # 74 does not reach 75
    "jumps": ((30, 0), (80, 2), (38, 1)),  # two places up at once; then below 65, but not below 35
    "comes later": (None, (69, 1), (71, 1)),  # new in run 2: the cut-off as it is, then 71 does not reach 75
    "wavers": ((41, 1), (34, 0), (41, 0)),  # below 35; then 41 does not reach 45
    "was away": ((72, 2), None, (68, 1)),  # no grade in run 2, so none to keep
    "on the line": ((70, 2), (65, 2), (75, 2)),  # 65 is within the margin, which is part of it
}


def play(runs: int, cut_offs, margin: float, strengths: dict[str, list[float | None]]) -> list[dict[str, int]]:
    """Grade run after run, each with the places of the one before."""
    before: dict[str, int] = {}
    told, last = [], None
    for run in range(runs):
        present = {who: row[run] for who, row in strengths.items() if row[run] is not None}
        previous = np.array([before.get(who, NOWHERE) for who in present])
        places, last = place_rows(np.array(list(present.values()), float), cut_offs, previous, margin, last)
        before = dict(zip(present, places.tolist(), strict=True))
        told.append(before)
    return told


def test_who_wavers_keeps_the_grade_and_who_crosses_by_more_than_the_margin_moves() -> None:
    strengths = {who: [None if one is None else float(one[0]) for one in row] for who, row in THREE_RUNS.items()}
    expected = [{who: row[run][1] for who, row in THREE_RUNS.items() if row[run] is not None} for run in range(3)]
    assert play(3, FIXED, 5.0, strengths) == expected


def test_without_a_margin_every_run_stands_for_itself() -> None:
    strengths = {"a": [72.0, 66.0, 70.0], "b": [68.0, 74.0, 69.9]}
    assert play(3, FIXED, 0.0, strengths) == [{"a": 2, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1}]


def test_a_cut_off_by_count_holds_the_count_and_lets_in_who_is_clearly_better() -> None:
    strengths = {
        "a": [9.0, 9.0, 9.0],
        "b": [8.0, 8.0, 8.0],
        "c": [7.0, 8.4, 10.1],  # 8.4 - 1 is not above b's 8 + 1; 10.1 - 1 is above it
        "d": [6.0, 6.0, 6.0],
    }
    held = play(3, [Wanted(2, 2, 2)], 1.0, strengths)
    assert held == [
        {"a": 1, "b": 1, "c": 0, "d": 0},
        {"a": 1, "b": 1, "c": 0, "d": 0},
        {"a": 1, "b": 0, "c": 1, "d": 0},
    ]


def test_a_count_may_fall_short_before_the_cut_off_moves_and_never_goes_beyond() -> None:
    # One place, at most 3 and at least 2. The first cut-off is 6.5, between 7 and 6.
    first = cut_by_count(np.array([9.0, 8.0, 7.0, 6.0]), Wanted(3, 3, 2))
    assert first == 6.5
    assert cut_by_count(np.array([9.0, 8.0, 6.2, 6.0]), Wanted(3, 3, 2), first) == 6.5  # two are enough
    assert cut_by_count(np.array([9.0, 6.3, 6.2, 6.0]), Wanted(3, 3, 2), first) == 6.25  # one is not: two again
    assert cut_by_count(np.array([9.0, 8.0, 7.0, 6.6]), Wanted(3, 3, 2), first) == 6.8  # four are too many: three


def test_a_count_that_may_be_exceeded_is_met_at_first_and_followed_within_its_bounds() -> None:
    # 3 are aimed at, 2 to 4 will do.
    first = cut_by_count(np.array([9.0, 8.0, 7.0, 6.0, 5.0]), Wanted(3, 4, 2))
    assert first == 6.5
    assert cut_by_count(np.array([9.0, 8.0, 7.0, 6.6, 5.0]), Wanted(3, 4, 2), first) == 6.5  # four will do
    assert cut_by_count(np.array([9.0, 8.0, 7.0, 6.8, 6.6]), Wanted(3, 4, 2), first) == pytest.approx(6.7)  # not five


def test_given_grades_take_part_in_the_count_and_are_not_moved_by_it() -> None:
    strength = np.array([3.0, 5.0, 9.0, -np.inf, 7.0])  # the first is lifted, the fourth vetoed
    floor, new = np.array([1, 0, 0, 0, 0]), np.full(5, NOWHERE)
    places, cuts = place_rows(strength, [Wanted(2, 2, 2)], new, 0.0, floor=floor)
    assert (places.tolist(), cuts) == ([1, 0, 1, 0, 0], (8.0,))  # one of the two calls is for who is lifted
    nobody, _ = place_rows(strength, [Wanted(0, 0, 0)], new, 0.0, floor=floor)
    assert nobody.tolist() == [1, 0, 0, 0, 0]
    everybody, _ = place_rows(strength, [Wanted(5, 5, 5)], new, 0.0, floor=floor)
    assert everybody.tolist() == [1, 1, 1, 0, 1]  # a veto is a veto


def test_a_floor_lifts_to_its_grade_and_no_further() -> None:
    strength, floor = np.array([10.0, 50.0, 80.0]), np.array([1, 1, 1])
    assert place_rows(strength, FIXED, np.full(3, NOWHERE), 5.0, floor=floor)[0].tolist() == [1, 1, 2]


def test_a_lower_cut_off_never_stands_above_a_higher_one() -> None:
    # By count the lower one would stay at 8, where it was; the higher one has moved down to 5.5.
    places, cuts = place_rows(
        np.array([6.0, 5.0]), [Wanted(2, 2, 0), Wanted(1, 1, 1)], np.full(2, NOWHERE), 0.0, [8.0, 9.0]
    )
    assert (places.tolist(), cuts) == ([2, 0], (5.5, 5.5))


def test_rows_of_one_strength_are_told_apart_in_the_same_order_always() -> None:
    ids = [f"C{number}" for number in range(100)]
    one = apart(np.full(100, 3.0), ids)
    assert len(set(one.tolist())) == 100
    assert np.abs(one - 3.0).max() <= 1e-9
    assert apart(np.full(50, 3.0), ids[50:]).tolist() == one[50:].tolist()  # alone as in a crowd
    places, _ = place_rows(one, [Wanted(30, 30, 30)], np.full(100, NOWHERE), 0.0)
    assert places.sum() == 30


def test_equal_strengths_that_nothing_tells_apart_stay_out_together() -> None:
    assert cut_by_count(np.array([5.0, 5.0, 5.0]), Wanted(2, 2, 2)) > 5.0


def test_shares_add_up_from_the_best_grade_down() -> None:
    # 40 of 400 by capacity, then 100 and 200 by share: 40, 140 and 340 with those above.
    assert share_counts(400, [0, 0.25, 0.5], 40, 0.0) == (
        Wanted(340, 340, 340),
        Wanted(140, 140, 140),
        Wanted(40, 40, 40),
    )
    assert share_counts(30, [0, 0.25, 0.5], 40, 0.0)[-1] == Wanted(30, 30, 30)  # no more than there are
    assert share_counts(400, [0.1], None, 0.1) == (Wanted(40, 40, 36),)


def test_a_few_who_differ_make_a_spread_where_most_are_equal() -> None:
    assert spread(np.array([0.0, 0.0, 0.0, 0.0, 5.0])) == 2.0  # mean 1: (1 + 1 + 1 + 1 + 16) / 5 = 4


@pytest.mark.parametrize(("strengths", "expected"), [([], 0.0), ([np.inf, -np.inf], 0.0), ([2.0, 2.0], 0.0)])
def test_the_spread_of_nothing_is_nothing(strengths: list[float], expected: float) -> None:
    assert spread(np.array(strengths, dtype=np.float64)) == expected
