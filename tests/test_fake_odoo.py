"""The fake server answers as a real Odoo does: the same calls, the same answers written by hand."""

from contextlib import closing
from typing import Any

import pytest
from odoo_place import EVERYBODY, Place

from pipeline.adapters.odoo_client import OdooRefusal

SHOWN = {"x_trial_probability": 0.25, "x_trial_grade": "B"}
GONE = 2**31 - 1

ANSWERS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "archived records do not count": ("search_count", {"domain": [["id", "in", "IDS"]]}, 2),
    "they do when they are asked for": ("search_count", {"domain": [["id", "in", "IDS"]], "context": EVERYBODY}, 3),
    "and when a condition names them": (
        "search_count",
        {"domain": [["id", "in", "IDS"], ["active", "in", [True, False]]]},
        3,
    ),
    "order and limit": (
        "search_read",
        {"domain": [["id", "in", "IDS"]], "fields": ["id"], "order": "id desc", "limit": 2, "context": EVERYBODY},
        [{"id": 2}, {"id": 1}],
    ),
    "conditions in prefix notation": (
        "search_read",
        {
            "domain": ["&", ["id", "in", "IDS"], "|", ["x_trial_grade", "=", "B"], ["x_trial_probability", ">", 0.5]],
            "fields": ["x_trial_grade"],
        },
        [{"id": 0, "x_trial_grade": "B"}],
    ),
    "a number is 0 and a text False where nothing is": (
        "read",
        {"ids": "IDS", "fields": ["x_trial_grade", "x_trial_probability"]},
        [
            {"id": 0, "x_trial_grade": "B", "x_trial_probability": 0.25},
            {"id": 1, "x_trial_grade": False, "x_trial_probability": 0.0},
            {"id": 2, "x_trial_grade": False, "x_trial_probability": 0.0},
        ],
    ),
    "what is gone is not read": ("read", {"ids": [GONE], "fields": ["name"]}, []),
    "and cannot be written": ("write", {"ids": [GONE], "vals": {"x_trial_grade": "Z"}}, "missing"),
    "one that is gone fails all": (
        "write",
        {"ids": ["FIRST", GONE], "vals": {"x_trial_grade": "Z"}},
        "missing",
    ),
    "reading a field that is not there": ("read", {"ids": "IDS", "fields": ["x_no"]}, "value"),
    "asking for a field that is not there": ("search", {"domain": [["x_no", "=", 1]]}, "value"),
    "writing a field that is not there": ("write", {"ids": "IDS", "vals": {"x_no": 1}}, "value"),
    "text is no number": ("write", {"ids": "IDS", "vals": {"x_trial_probability": "many"}}, "value"),
    "not a choice": ("write", {"ids": "IDS", "vals": {"x_trial_choice": "C"}}, "value"),
    "parts of a second": ("write", {"ids": "IDS", "vals": {"x_trial_at": "2024-05-01 02:00:00.5"}}, "value"),
    "an argument is forgotten": ("search", {}, "value"),
    "a method that is not there": ("search_most", {"domain": []}, "model"),
    "fields, those that are not there left out": (
        "fields_get",
        {"allfields": ["x_trial_grade", "x_no"], "attributes": ["type", "size", "readonly"]},
        {"x_trial_grade": {"type": "char", "size": 10, "readonly": False}},
    ),
    "rights": ("has_access", {"operation": "write"}, True),
}
"""Method, arguments, and the answer or the kind of refusal; the records of the test are 0, 1 and 2 in it."""


@pytest.mark.parametrize("case", ANSWERS)
def test_the_fake_answers_as_the_real_one(place: Place, case: str) -> None:
    method, arguments, answer = ANSWERS[case]
    ids = [int(lead) for lead in place.add(SHOWN, {}, {"active": False})]
    with closing(place.connect()) as client:
        try:
            found: Any = client.call("crm.lead", method, **_fill(arguments, ids))
        except OdooRefusal as refusal:
            found = refusal.kind
    if isinstance(found, list):
        found = [{**row, "id": ids.index(row["id"])} for row in found]
    assert found == answer
    assert place.read([str(ids[0])], "x_trial_grade") == [("B",)]  # a call that fails changes nothing


def _fill(argument: Any, ids: list[int]) -> Any:
    """Argument with the ids of the records of the test."""
    if argument == "IDS":
        return ids
    if argument == "FIRST":
        return ids[0]
    if isinstance(argument, dict):
        return {name: _fill(value, ids) for name, value in argument.items()}
    return [_fill(value, ids) for value in argument] if isinstance(argument, list) else argument
