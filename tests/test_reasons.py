"""Reasons: the three strongest each way, the exact remainder, in words."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

import models.reasons
from models.reasons import EVERYTHING_ELSE, choose, make_reasons, write_reasons


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


def many_rows() -> dict[str, Any]:
    """Sixty rows with nulls, text that JSON escapes, equal contributions, and a reason about several columns."""
    rng = np.random.default_rng(0)
    parts = rng.integers(-4, 5, size=(60, 12)) / 8  # many are equal, some are zero
    parts[0], parts[1], parts[2] = 0.0, 0.125, -0.125
    frame = pd.DataFrame({f"c{at}": rng.integers(0, 3, 60).astype(float) for at in range(11)})
    frame.loc[::7, "c1"] = np.nan
    frame.loc[::5, "c3"], frame.loc[::6, "c4"] = -0.0, np.inf
    frame["c2"] = rng.choice(['a "quoted"\n[red]', "中文", "plain", None], 60)
    infos = {
        "c1": Info("{value:,.0f} overdue", "逾期 {value:,.0f}"),
        "rhythm": {"en": "{c0:,.0f} orders, {c1:.0f} days ago", "zh": "下单 {c0:,.0f} 次，{c1:.0f} 天前"},
    }
    return {
        "frame": frame,
        "contributions": parts,
        "log_odds": rng.normal(size=60),
        "columns": [*frame.columns, "rhythm"],
        "infos": infos,
    }


@pytest.mark.parametrize("shown", [1, 3, 9, 20])
def test_the_json_of_many_rows_is_that_of_the_reasons(shown: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [json.dumps(row, ensure_ascii=False) for row in make_reasons(**many_rows(), shown=shown)]
    assert write_reasons(**many_rows(), shown=shown) == expected
    monkeypatch.setattr(models.reasons, "CHUNK_ROWS", 7)
    assert write_reasons(**many_rows(), shown=shown) == expected
    told = [[reason["contribution"] for reason in json.loads(text)] for text in expected]
    assert [sum(row) for row in told] == pytest.approx(many_rows()["log_odds"].tolist(), abs=1e-12)


@pytest.mark.parametrize("shown", [1, 3, 5, 12])
def test_the_strongest_are_chosen_whether_found_one_by_one_or_by_sorting(
    shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = many_rows()["contributions"]
    one_by_one = choose(parts, shown)
    monkeypatch.setattr(models.reasons, "FEW", 0)
    assert (choose(parts, shown) == one_by_one).all()


def test_of_equal_contributions_the_first_speaks_for_and_the_last_against() -> None:
    parts = np.array([[1.0, 1.0, -1.0, 1.0, -1.0, 0.0]])
    assert choose(parts, 2).tolist() == [[0, 1, 4, 2]]
    assert choose(parts, 4).tolist() == [[0, 1, 3, -1, 4, 2, -1, -1]]
    assert choose(parts[:, :1], 3).tolist() == [[0, -1, -1, -1, -1, -1]]  # fewer columns than reasons


def test_no_rows_have_no_json() -> None:
    assert write_reasons(pd.DataFrame({"a": []}), np.zeros((0, 1)), np.zeros(0), ["a"], {}) == []
