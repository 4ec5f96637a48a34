"""Classes by buying potential, profit and strategic value: one fact at a time."""

from typing import Any

import pandas as pd
import pytest

from models.customer_classes import class_customers

NOTHING: dict[str, Any] = {
    "abc_revenue": None, "abc_profit": None, "abc_value": None, "lifecycle": None, "employees": None,
    "annual_revenue": None, "parent_employees": None, "parent_annual_revenue": None, "children": None, "flags": None,
}  # fmt: skip
CROWD = [{"employees": size, "annual_revenue": size * 10} for size in range(1, 20)]
"""Nineteen customers beside the one that is asked for: of twenty sizes four are the top fifth, and one the top 5 %."""


def judge(**facts: Any) -> list[Any]:
    """Classes of a customer beside the crowd: buying potential, profit class, strategic value."""
    frame = pd.DataFrame([{**NOTHING, **one} for one in (facts, *CROWD)])
    numbers = [name for name in NOTHING if name.endswith(("employees", "annual_revenue")) or name == "children"]
    classed = class_customers(frame.astype(dict.fromkeys(numbers, "float64")), ["cultivate"], ["strategic"])
    return [None if pd.isna(one) else one for one in classed.iloc[0].tolist()]


@pytest.mark.parametrize(
    ("facts", "potential"),
    [
        ({}, None),  # nothing is known
        ({"abc_value": "B"}, "low"),
        ({"abc_value": "A"}, "high"),  # much is expected
        ({"lifecycle": "mature"}, "low"),
        ({"lifecycle": "growing"}, "high"),
        ({"employees": 2}, "low"),
        ({"employees": 16}, "high"),  # 19, 18, 17, 16 are the four largest of twenty, and this one ties
        ({"parent_annual_revenue": 170}, "high"),  # small, or of unknown size, but the parent is large
        ({"employees": 1, "parent_employees": 2}, "low"),
        ({"flags": frozenset({"cultivate"})}, "high"),  # the card says so
        ({"flags": frozenset({"early_warning"})}, "low"),
        ({"flags": frozenset()}, "low"),  # the card was asked and did not
    ],
)
def test_buying_potential_is_high_for_any_good_reason(facts: dict[str, Any], potential: str | None) -> None:
    assert judge(**facts)[0] == potential


@pytest.mark.parametrize(("abc", "expected"), [("A", "high"), ("B", "low"), ("C", "low"), (None, None)])
def test_profit_is_high_in_class_a(abc: str | None, expected: str | None) -> None:
    assert judge(abc_profit=abc)[1] == expected


KEY = {"abc_revenue": "A", "lifecycle": "mature", "children": 1}
"""Valuable, stable and influential."""


@pytest.mark.parametrize(
    ("facts", "strategic"),
    [
        (KEY, "key"),
        ({**KEY, "abc_revenue": "B", "abc_value": "A"}, "key"),
        ({**KEY, "abc_revenue": "B"}, "ordinary"),  # not valuable
        ({**KEY, "lifecycle": "declining"}, "ordinary"),  # not stable
        ({**KEY, "children": 0}, "ordinary"),  # nobody's parent
        ({**KEY, "children": 0, "employees": 20}, "key"),  # the largest of twenty is their top 5 %
        ({**KEY, "children": 0, "employees": 18}, "ordinary"),
        ({**KEY, "children": 0, "parent_employees": 99}, "ordinary"),  # the parent is influential, not this one
        ({**KEY, "children": None}, None),  # neither parents nor sizes are recorded
        ({"flags": frozenset({"strategic"})}, "key"),  # the card says so, whatever else is known
        ({"flags": frozenset()}, "ordinary"),
    ],
)
def test_a_key_customer_is_valuable_stable_and_influential(facts: dict[str, Any], strategic: str | None) -> None:
    assert judge(**facts)[2] == strategic


def test_without_flags_that_matter_a_card_says_nothing_of_classes() -> None:
    frame = pd.DataFrame([{**NOTHING, "flags": frozenset({"cultivate"})}])
    assert class_customers(frame).iloc[0].tolist() == [None, None, None]
    assert class_customers(frame.head(0)).empty
