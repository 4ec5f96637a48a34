"""Which version was live when: literal decisions, and the intervals by hand."""

from datetime import datetime
from typing import Any

import pytest

from pipeline.ledger import Decision
from pipeline.model_history import make_history, version_before

TEST = {"auc": 0.8, "log_loss": 0.4}


def decide(day: int, kind: str, outcome: str, version: int | None = None, **details: Any) -> Decision:
    named = {} if version is None else {"version": version}
    return Decision(datetime(2026, 1, day), kind, "churn", outcome, {**named, **details})


FIRST = decide(1, "train", "champion", 1, test=TEST)
REFUSED = decide(5, "retrain", "refused", 2, why="no better beyond noise")
SECOND = decide(9, "retrain", "promoted", 3, test=TEST, why="better by 0.02", bundle_sha256="ab")
BACK = decide(12, "rollback", "rolled_back", 1, why="owners complained")
THIRD = decide(20, "promote", "promoted", 4)
SILENT = decide(21, "train", "no_signal", test=TEST)


def spans(decisions: list[Decision], alias: int | None) -> list[tuple[int, int | None, int | None, str]]:
    """Version, first day, day on which it no longer was live, and what brought it."""
    history = make_history("churn", decisions[::-1], alias)  # the ledger gives the newest first
    day = [(one.live_from and one.live_from.day, one.live_to and one.live_to.day) for one in history.tenures]
    return [(one.version, *span, one.kind) for one, span in zip(history.tenures, day, strict=True)]


@pytest.mark.parametrize(
    ("decisions", "alias", "expected"),
    [
        ([], None, []),
        ([SILENT], None, []),  # training that found nothing makes nothing live
        ([FIRST], 1, [(1, 1, None, "train")]),
        ([FIRST, REFUSED], 1, [(1, 1, None, "train")]),  # a refused challenger was never live
        ([FIRST, REFUSED, SECOND], 3, [(1, 1, 9, "train"), (3, 9, None, "retrain")]),
        (
            [FIRST, REFUSED, SECOND, BACK],
            1,
            [(1, 1, 9, "train"), (3, 9, 12, "retrain"), (1, 12, None, "rollback")],
        ),
        (
            [FIRST, SECOND, BACK, THIRD, SILENT],
            4,
            [(1, 1, 9, "train"), (3, 9, 12, "retrain"), (1, 12, 20, "rollback"), (4, 20, None, "promote")],
        ),
        ([FIRST, decide(3, "promote", "promoted", 1)], 1, [(1, 1, None, "train")]),  # live already: no new interval
    ],
)
def test_a_version_is_live_from_its_decision_until_the_next_one_that_changes_it(decisions, alias, expected):
    assert spans(decisions, alias) == expected
    assert make_history("churn", decisions[::-1], alias).note is None


def test_an_alias_that_moved_without_a_note_is_told_and_no_day_is_made_up():
    history = make_history("churn", [FIRST], 2)  # killed after the alias was written, before the decision was
    assert spans([FIRST], 2) == [(1, 1, None, "train"), (2, None, None, "unnoted")]
    assert [one.is_live for one in history.tenures] == [False, True]
    assert history.note == (
        "MLflow says version 2 of 'churn' is live, the last decision in the ledger (train, 2026-01-01 00:00:00) says "
        "version 1: a job was killed between the two, or somebody moved the alias by hand. Run `leadsieve promote "
        "--target churn --version 2` to note it, or `--version 1` to make that one live."
    )


def test_an_alias_without_any_decision_is_told():
    history = make_history("churn", [SILENT], 2)
    assert [(one.version, one.live_from, one.is_live) for one in history.tenures] == [(2, None, True)]
    assert history.note is not None
    assert "is live, and the ledger has no decision that made it so: a job was killed" in history.note


def test_an_alias_that_was_taken_away_is_told():
    history = make_history("churn", [FIRST], None)
    assert [one.is_live for one in history.tenures] == [False]
    assert history.note == (
        "MLflow says no version of 'churn' is live, the last decision in the ledger (train, 2026-01-01 00:00:00) says "
        "version 1: somebody removed the alias. Run `leadsieve promote --target churn --version 1` to set it again."
    )


def test_each_interval_has_its_evidence_and_decisions_that_changed_nothing_are_listed():
    history = make_history("churn", [SILENT, BACK, SECOND, REFUSED, FIRST], 1)
    assert [(one.kind, one.why, dict(one.test)) for one in history.tenures] == [
        ("train", None, TEST),
        ("retrain", "better by 0.02", TEST),
        ("rollback", "owners complained", TEST),  # the figures of version 1, from when it was trained
    ]
    assert [(one.kind, one.outcome, one.decided_at.day) for one in history.unchanged] == [
        ("retrain", "refused", 5),
        ("train", "no_signal", 21),
    ]


@pytest.mark.parametrize(
    ("decisions", "alias", "expected"),
    [
        ([], None, None),
        ([FIRST], 1, None),  # nothing was live before the first
        ([FIRST, SECOND], 3, 1),
        ([FIRST, SECOND, THIRD], 4, 3),
        ([FIRST, SECOND, THIRD, decide(22, "rollback", "rolled_back", 3)], 3, 1),  # twice goes back twice, not to 4
        ([FIRST, SECOND, BACK], 1, None),  # version 1 was the first
        ([FIRST, SECOND, BACK, decide(22, "promote", "promoted", 3)], 3, 1),
        ([FIRST], 2, 1),  # version 2 came without a note, on top of what the ledger knows
    ],
)
def test_what_was_live_before_is_what_the_live_version_replaced(decisions, alias, expected):
    assert version_before(make_history("churn", decisions[::-1], alias)) == expected


def test_a_history_as_json_names_times_in_utc_and_null_for_what_is_not_known():
    document = make_history("churn", [SECOND, FIRST], 3).to_json()
    assert document["live"] == 3
    assert document["versions"][1] == {
        "version": 3,
        "from": "2026-01-09T00:00:00Z",
        "to": None,
        "is_live": True,
        "kind": "retrain",
        "why": "better by 0.02",
        "test": TEST,
        "evidence": {"bundle_sha256": "ab"},
    }
    assert document["versions"][0]["to"] == "2026-01-09T00:00:00Z"
    assert (document["unchanged"], document["note"]) == ([], None)
