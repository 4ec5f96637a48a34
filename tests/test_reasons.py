"""Reasons: the three strongest each way, the exact remainder, in words."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.reasons import EVERYTHING_ELSE, make_reasons


@dataclass(frozen=True)
class Info:
    en: str
    zh: str


COLUMNS = ["a", "b", "c", "d", "e", "f"]
PARTS = np.array([[0.5, -0.25, 0.125, 1.0, 0.0, 0.0625]])


def explain(parts: Any = PARTS, log_odds: float = 0.1, infos: Any = None, values: Any = None, shown: int = 3) -> Any:
    frame = pd.DataFrame(values or {name: [float(at)] for at, name in enumerate(COLUMNS)})
    return make_reasons(frame, parts, np.array([log_odds]), COLUMNS, infos or {}, shown)[0]


def test_three_for_three_against_and_everything_else() -> None:
    found = explain()
    assert [reason["feature"] for reason in found] == ["d", "a", "c", "b", EVERYTHING_ELSE]
    assert [reason["contribution"] for reason in found[:4]] == [1.0, 0.5, 0.125, -0.25]


def test_contributions_sum_to_the_written_log_odds() -> None:
    assert sum(reason["contribution"] for reason in explain(log_odds=0.1)) == pytest.approx(0.1, abs=1e-15)
    assert explain(log_odds=0.5, shown=1)[-1]["contribution"] == 0.5 - (1.0 - 0.25)


def test_a_reason_that_is_no_column_is_told_by_the_columns_it_names() -> None:
    frame = pd.DataFrame({"orders": [7.0], "last": [40.4]})
    words = {"en": "{orders:,.0f} orders, the last {last:,.0f} days ago", "zh": "下单 {orders:,.0f} 次"}
    parts, names = np.array([[0.0, 0.0, 1.5]]), ["orders", "last", "rhythm"]
    found = make_reasons(frame, parts, np.array([1.5]), names, {"rhythm": words})
    told = {"en": "7 orders, the last 40 days ago", "zh": "下单 7 次"}
    assert found[0][0] == {"feature": "rhythm", "value": None, "contribution": 1.5, **told}


def test_a_column_that_says_nothing_is_no_reason() -> None:
    assert "e" not in [reason["feature"] for reason in explain(shown=6)]


def test_words_come_from_the_features_templates() -> None:
    infos = {
        "d": Info("{value:,.0f} overdue", "逾期金额 {value:,.0f}"),
        "b": {"en": "source is {value}", "zh": "来源 {value}"},
    }
    values = {**{name: [0.0] for name in COLUMNS}, "d": [1234.4], "b": ["web"]}
    found = {reason["feature"]: reason for reason in explain(infos=infos, values=values)}
    assert (found["d"]["en"], found["d"]["zh"]) == ("1,234 overdue", "逾期金额 1,234")
    assert (found["b"]["en"], found["b"]["zh"]) == ("source is web", "来源 web")
    assert found["d"]["value"] == 1234.4
    assert found["a"]["en"] == "a = 0.0"


def test_a_value_that_is_not_known_is_said_so() -> None:
    infos = {"d": Info("{value:,.0f} overdue", "逾期金额 {value:,.0f}")}
    values = {**{name: [0.0] for name in COLUMNS}, "d": [np.nan]}
    found = explain(infos=infos, values=values)[0]
    assert (found["value"], found["en"], found["zh"]) == (None, "overdue: not known", "逾期金额：未知")


def test_a_column_name_with_braces_is_no_template() -> None:
    frame = pd.DataFrame({"{odd}": [1.0]})
    assert make_reasons(frame, np.array([[1.0]]), np.array([1.0]), ["{odd}"], {})[0][0]["en"] == "(odd) = 1.0"


def test_no_rows_no_reasons() -> None:
    assert make_reasons(pd.DataFrame({"a": []}), np.zeros((0, 1)), np.zeros(0), ["a"], {}) == []
