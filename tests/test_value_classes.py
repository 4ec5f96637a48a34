"""ABC classes and shares, with the answers by hand."""

import numpy as np
import pytest

from models.value_classes import abc_classes, shares, top_edge

NULL = float("nan")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([100], "A"),  # one customer is everything
        ([80, 15, 5], "ABC"),  # exactly on the lines: 80 % is A, the next begins B; 95 % is reached, the next is C
        ([79, 16, 5], "AAC"),  # 79 % is below the line: the second crosses it, so is A; 95 % is reached with it: C
        ([70, 20, 6, 4], "AABC"),  # 70 < 80: A; 90 is above, below 95: B crosses; 96 is above: C
        ([50, 50], "AA"),  # a tie: both or neither
        ([40, 40, 10, 10], "AABB"),  # 80 before the tens: B for both of them, though they end at 100
        ([60, 20, 20], "AAA"),  # 60 before the twenties: both cross together
        ([10, 0, -5], "ACC"),  # nothing, and less than nothing, is no share
        ([0, 0], "CC"),  # nobody brought in anything
        ([-3, -4], "CC"),
        ([10, NULL, NULL], "A--"),  # what is not known is not classed, and takes no part
        ([NULL], "-"),
        ([], ""),
    ],
)
def test_the_customer_that_crosses_a_line_is_in_the_better_class(values: list[float], expected: str) -> None:
    found = abc_classes(values)
    assert ["-" if one is None else one for one in found] == list(expected)
    order = np.argsort([-1 if one != one else one for one in values], kind="stable")
    assert abc_classes(np.array(values, dtype=float)[order]).tolist() == found[order].tolist()  # order does not matter


def test_the_lines_may_be_elsewhere() -> None:
    assert abc_classes([50, 30, 15, 5], (0.5, 0.9)).tolist() == ["A", "B", "B", "C"]  # 50 | 80 < 90 | 95


def test_a_sum_of_floats_that_misses_the_line_by_rounding_is_on_it() -> None:
    tenths = [0.1] * 3 + [0.05] * 2  # 0.1 + 0.1 + 0.1 is more than 0.3 as floats; the whole is 0.4
    assert abc_classes(tenths, (0.75, 0.95)).tolist() == ["A", "A", "A", "B", "B"]


def test_shares_add_up_to_one_with_losses_in_them() -> None:
    assert shares([30, 20, -10]).tolist() == [0.75, 0.5, -0.25]
    assert np.isnan(shares([5, -5])).all()  # a sum of nothing has no shares
    assert np.isnan(shares([NULL, NULL])).all()


def test_the_edge_of_the_top_share_is_the_last_that_is_in_it() -> None:
    assert top_edge([3, 3, 1, 2, NULL], 0.25) == 3  # one of four known
    assert top_edge([3, 5, 1, 2], 0.5) == 3
    assert top_edge([3, 5, 1], 0.5) == 3  # one and a half of three: two
    assert top_edge([NULL, NULL], 0.5) == np.inf
    assert top_edge([], 0.5) == np.inf
