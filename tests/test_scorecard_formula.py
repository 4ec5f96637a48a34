"""Formulas of criteria: what they give, worked out by hand, and what they refuse."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.card_formula import DEEPEST, LONGEST, parse_formula

NULL = np.nan


def evaluate(text: str, **columns: list[float]) -> list[float | None]:
    arrays = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
    return [None if math.isnan(value) else value for value in parse_formula(text).evaluate(arrays).tolist()]


@pytest.mark.parametrize(
    ("text", "a", "b", "answer"),
    [
        ("a + 2 * b", [1.0], [3.0], [7.0]),  # times before plus
        ("(a + 2) * b", [1.0], [3.0], [9.0]),
        ("a - b - 1", [9.0], [3.0], [5.0]),  # from the left
        ("-a / b", [6.0], [4.0], [-1.5]),
        ("a + b", [1.0, NULL], [NULL, 2.0], [None, None]),  # null in, null out
        ("a / b", [1.0, 0.0, -1.0], [0.0, 0.0, 0.0], [None, None, None]),  # nothing is divided by zero
        ("1 / (a / b)", [1.0], [0.0], [None]),  # a quotient that is null stays so, and is no 1 / infinity = 0
        ("coalesce(a / b, 5)", [1.0, 6.0], [0.0, 3.0], [5.0, 2.0]),
        ("coalesce(a, b, 0)", [NULL, NULL, 1.0], [NULL, 2.0, 2.0], [0.0, 2.0, 1.0]),
        ("min(a, b, 4)", [1.0, 9.0, NULL], [2.0, 8.0, 1.0], [1.0, 4.0, None]),
        ("max(a, b)", [1.0, NULL], [2.0, 8.0], [2.0, None]),
        ("abs(a - b)", [1.0], [4.0], [3.0]),
        ("log1p(a) + 0 * b", [0.0, -1.0, -2.0], [0.0, 0.0, 0.0], [0.0, None, None]),  # minus infinity, and not real
        ("clip(a, 0, b)", [-1.0, 0.5, 7.0, NULL], [1.0, 1.0, 1.0, 1.0], [0.0, 0.5, 1.0, None]),
        ("a > b", [1.0, 2.0, 3.0, NULL], [2.0, 2.0, 2.0, 2.0], [0.0, 0.0, 1.0, None]),
        ("(a >= b) * 10 + (a == b)", [1.0, 2.0], [2.0, 2.0], [0.0, 11.0]),
        ("a * b * 1e300", [1e10], [1.0], [None]),  # too large for a number
    ],
)
def test_a_formula_gives_what_is_worked_out_by_hand(
    text: str, a: list[float], b: list[float], answer: list[float | None]
):
    assert evaluate(text, a=a, b=b) == answer


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a.real", r"'a\.real' has 'a\.real', which is not allowed\. Use numbers, names of features, \+ - \* /"),
        ("__import__('os')", r"has '__import__\('os'\)', which is not allowed"),
        ("exp(a)", r"has 'exp\(a\)', which is not allowed\. Use .* coalesce"),
        ("max(a, b, key=c)", r"has 'max\(a, b, key=c\)', which is not allowed"),
        ("min(*a)", r"gives min 1 arguments, expected 2 or more"),
        ("max(a, *b)", r"has '\*b', which is not allowed"),
        ("a ** 9999", r"has 'a \*\* 9999', which is not allowed"),
        ("a // 2", r"has 'a // 2', which is not allowed"),
        ("a + 'x'", r"has ''x'', which is not allowed"),
        ("a + True", r"has 'True', which is not allowed"),
        ("a + 1j", r"has '1j', which is not allowed"),
        ("0 < a < 1", r"has '0 < a < 1', which is not allowed"),
        ("a and b", r"has 'a and b', which is not allowed"),
        ("not a", r"has 'not a', which is not allowed"),
        ("a if b else 1", "which is not allowed"),
        ("lambda: a", "which is not allowed"),
        ("[a for a in b]", "which is not allowed"),
        ("a[0]", r"has 'a\[0\]', which is not allowed"),
        ("(a := 1)", "which is not allowed"),
        ("a; b", r"cannot be read \(invalid syntax\)"),
        ("a +", r"the formula 'a \+' cannot be read"),
        ("", "cannot be read"),
        ("a\0", "cannot be read"),
        ("abs(a, b)", "gives abs 2 arguments, expected 1. Correct it"),
        ("clip(a, 1)", "gives clip 2 arguments, expected 3"),
        ("max + a", r"names function 'max' without \(\.\.\.\)"),
        ("1 + 1", "reads no feature, so all rows get the same"),
        ("a + 1e999", "has a number that is too large"),
        ("a * 1" + "0" * 400, "has a number that is too large"),
        ("a" + "+a" * LONGEST, "has 1,001 characters, at most 500 are read. Shorten it"),
        ("-" * (DEEPEST + 1) + "a", "nested more than 50 deep"),
        ("(" * 240 + "a" + ")" * 240, r"cannot be read \(too many nested parentheses\)"),
    ],
)
def test_a_formula_that_is_more_than_arithmetic_is_refused(text: str, sentence: str):
    with pytest.raises(ValueError, match=sentence) as caught:
        parse_formula(text)
    assert "\n" not in str(caught.value)


def test_a_formula_over_several_lines_is_one():
    assert parse_formula("a\n  + b\n").names == ("a", "b")


@pytest.mark.parametrize(
    ("text", "present", "answer"),
    [
        ("a + b", {"a"}, False),
        ("a + b", {"a", "b"}, True),
        ("coalesce(a, 0) + b", {"b"}, True),
        ("coalesce(a, c) + b", {"b"}, False),
        ("max(coalesce(a > 1, 0), b)", {"a"}, False),
    ],
)
def test_which_features_a_formula_cannot_do_without(text: str, present: set[str], answer: bool):
    assert parse_formula(text).can_have_value(present) is answer


NUMBERS = st.integers(-5, 5).map(str)
EXPRESSIONS = st.recursive(
    st.one_of(NUMBERS, st.sampled_from(["a", "b"])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(inner, inner).map(lambda parts: f"max({parts[0]}, min({parts[1]}, a))"),
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(text=EXPRESSIONS, a=st.integers(-9, 9), b=st.integers(-9, 9))
def test_a_formula_agrees_with_arithmetic_by_hand(text: str, a: int, b: int):
    expected = eval(text, {"max": max, "min": min}, {"a": a, "b": b})
    assert evaluate(f"0 * a + {text}", a=[a], b=[b]) == [expected]


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="ab0.()[]'+-*/<=, :\\_lmx\n", max_size=30))
def test_no_text_does_anything_but_parse_or_be_refused(text: str):
    try:
        formula = parse_formula(text)
    except ValueError:
        return
    assert len(formula.evaluate({name: np.ones(2) for name in formula.names})) == 2
