"""Rows of the history made of scores: what is null stays null, and reasons read as they were written."""

import json
from typing import Any

import pandas as pd
import pytest
from crm_world import make_scores

from pipeline.adapters.history_rows import HistoryRows, make_rows, make_table
from pipeline.adapters.target import HistoryRow


def join(*reasons: str | None) -> list[tuple[str | None, str | None]]:
    """Reasons of rows in English and Chinese, from their JSON."""
    scores = make_scores("r1", [(str(number), 0.5, "A", []) for number in range(len(reasons))])
    rows = make_rows(scores.assign(reasons=pd.Series(reasons, dtype="str")), "r1")
    return [(row.reasons_en, row.reasons_zh) for row in rows]


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (None, ("", "")),
        ("[]", ("", "")),
        ('[{"feature": "f", "value": NaN, "en": "a", "zh": null}]', ("a", "")),  # as Python writes a value
        ('[{"en": "a", "zh": "甲"}, {"en": "", "zh": "乙"}, {"zh": "丙"}]', ("a", "甲; 乙; 丙")),  # empty is not said
        ('[{"en": "\\ud83d\\ude00 \\"x\\"\\n}"}]', ('😀 "x"\n}', "")),
        ('[{"value": "\\"en\\": \\"no\\"", "en": "yes"}, {"value": {"en": "no"}, "en": "so"}]', ("yes; so", "")),
        ('[\n  {"en": "over"},\n  {"en": "lines"}\n]', ("over; lines", "")),
        ('[{"value": 1, "en": "a"}, {"value": "text", "en": "b"}, {"value": true, "en": "c"}]', ("a; b; c", "")),
    ],
)
def test_reasons_are_joined_in_each_language(reasons: str | None, expected: tuple[str, str]) -> None:
    assert join(reasons) == [expected]
    one = '[{"en": "z", "zh": "末"}]'
    assert join(one, reasons, None, one) == [("z", "末"), expected, ("", ""), ("z", "末")]  # alone as among others


def test_reasons_are_what_json_makes_of_them() -> None:
    words = ["", "silent for 60 days", 'said "no"', "a\\b", "60 天未联系", "tab\tand\nline", "; ", "😀"]
    many = [[{"feature": "f", "value": n, "en": words[n % 8], "zh": words[n % 5]}] * (n % 4) for n in range(40)]
    for is_ascii in (True, False):
        expected = [tuple("; ".join(one[name] for one in some if one[name]) for name in ("en", "zh")) for some in many]
        assert join(*(json.dumps(some, ensure_ascii=is_ascii) for some in many)) == expected


def test_a_frame_of_other_types_has_the_same_rows() -> None:
    scores = make_scores("r1", [("1", 0.25, "A", ["x"]), ("2", None, None, [])]).assign(
        horizon_days=[30, 90], as_of=[pd.Timestamp("2024-05-01 02:00"), pd.Timestamp("2024-05-01 02:00:00.000250")]
    )
    odd = scores.astype({"entity_id": "object", "target": "category", "grade": "object", "horizon_days": "int16"})
    odd.index = pd.Index([7, 7])
    expected = [
        HistoryRow("r1", "1", "2024-05-01 02:00:00", "conversion", 30, 0.25, "A", "x", "原因", "3"),
        HistoryRow("r1", "2", "2024-05-01 02:00:00.000250", "conversion", 90, None, None, "", "", "3"),
    ]
    assert list(make_rows(scores, "r1")) == list(make_rows(odd, "r1")) == expected
    assert list(make_rows(scores.iloc[:0], "r1")) == []
    assert list(make_rows(scores.iloc[1:], "r1")) == expected[1:]


def test_rows_are_a_sequence_and_a_table_whoever_made_them() -> None:
    rows = make_rows(make_scores("r1", [("1", 0.25, "A", ["x"]), ("2", None, None, [])]), "r1")
    plain: list[Any] = list(rows)
    assert (len(rows), rows[1], rows[:1]) == (2, plain[1], plain[:1])
    assert make_table(rows) is rows.table
    assert list(HistoryRows(make_table(plain))) == plain
    assert make_table([]).num_rows == 0
