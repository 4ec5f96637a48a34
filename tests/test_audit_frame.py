"""The audit of flat frames: nothing is dated there, so nothing is clean until it is declared known."""

import numpy as np
import pandas as pd
import pytest

from features.errors import DataError
from pipeline.audit_evidence import expected_later
from pipeline.audit_frame import check_frame

ROWS = 400
WON = np.arange(ROWS) % 4 == 0  # a hundred of four hundred
TURN = np.arange(ROWS) // 4 % 25


def _pick(with_it, without) -> list[str | None]:
    return [with_it(turn) if won else without(turn) for won, turn in zip(WON, TURN, strict=True)]


@pytest.fixture(scope="module")
def verdicts():
    frame = pd.DataFrame(
        {
            "lead": [f"L{i}" for i in range(ROWS)],
            "source": _pick(lambda t: "web" if t < 20 else "fair", lambda t: "web" if t < 15 else "fair"),
            # empty in 20 % of those that were won and in 60 % of the others
            "quality": _pick(lambda t: "Select" if t < 5 else "high", lambda t: "Select" if t < 15 else "high"),
            # 40 of the 400 are 'signed', and all of them were won
            "tag": _pick(lambda t: "signed" if t < 10 else "called", lambda t: "called"),
            # 4 rows are 'odd' and won: too few to say anything
            "oddity": _pick(lambda t: "odd" if t == 0 else "even", lambda t: "even"),
            # empty in 8 % of those that were won and in none of the others: a difference of eight points
            "phone": _pick(lambda t: None if t < 2 else "yes", lambda t: "yes"),
            "minutes": np.where(WON, 100 + TURN, TURN),  # tells the outcome exactly
            "visits": TURN,
            "won": np.where(WON, "yes", "no"),
        }
    )
    return check_frame(frame, "won", known=["visits", "source"])


def _verdict(verdicts, column):
    return next(one for one in verdicts if one.column == column)


def test_what_is_declared_known_is_used_and_all_else_is_undated_or_suspicious(verdicts):
    assert {one.column: one.verdict for one in verdicts} == {
        "lead": "undated",
        "source": "use",
        "quality": "suspicious",
        "tag": "suspicious",
        "oddity": "undated",
        "phone": "undated",
        "minutes": "undated",
        "visits": "use",
    }
    assert {one.column for one in verdicts if one.in_use} == {"source", "visits"}


def test_the_most_suspicious_comes_first_and_what_is_used_last(verdicts):
    columns = [one.column for one in verdicts]
    assert set(columns[:2]) == {"quality", "tag"}
    assert columns[2] == "minutes"
    assert set(columns[-2:]) == {"source", "visits"}


def test_a_placeholder_of_a_form_is_no_value(verdicts):
    one = _verdict(verdicts, "quality")
    assert one.evidence.startswith(
        "quality: nothing dates it; empty in 20% of rows with won = yes and in 60% of others"
    )
    assert one.figures["empty_without"] == 0.6


def test_a_level_that_decides_the_outcome_is_named(verdicts):
    one = _verdict(verdicts, "tag")
    assert "'signed' has won = yes in 100.0% of 40 rows" in one.evidence
    assert one.question.startswith("When is tag filled, and by whom?")


def test_strength_ranks_and_does_not_condemn(verdicts):
    one = _verdict(verdicts, "minutes")
    assert (one.verdict, one.figures["auc"], one.suspicion) == ("undated", 1.0, 0.5)
    assert one.evidence == "minutes: nothing dates it; never empty; AUC alone 1.00."


def test_an_id_is_not_strong(verdicts):
    assert _verdict(verdicts, "lead").figures["auc"] == 0.5


def test_rows_without_a_label_are_left_out():
    frame = pd.DataFrame({"note": ["x"] * 30 + [None] * 30 + ["x"] * 40, "won": [1] * 30 + [0] * 30 + [None] * 40})
    assert check_frame(frame, "won", [])[0].figures["empty_without"] == 1.0


@pytest.mark.parametrize(
    ("label", "known", "message"),
    [
        ("wno", [], r"The frame has no column 'wno', it has note, won, \.\.\. Did you mean 'won'\? Correct the name\."),
        ("won", ["notes"], r"The frame has no column 'notes', .* Did you mean 'note'\?"),
        ("note", [], r"Column 'note' of the frame has 3 values \(a, b, c\), expected 2\."),
    ],
)
def test_a_column_that_is_missing_or_no_outcome_is_an_error(label, known, message):
    frame = pd.DataFrame({"note": ["a", "b", "c"], "won": [0, 1, 0]})
    with pytest.raises(DataError, match=message):
        check_frame(frame, label, known)


def test_what_is_still_to_come_is_estimated_from_what_came():
    """Lags of 1 and 10 days are as frequent; of rows 5 days old only those of 1 day are there."""
    old = np.full(100, 365.0)
    young = np.full(50, 5.0)
    lags, ages = np.concatenate([np.tile([1.0, 10.0], 50), np.ones(50)]), np.concatenate([old, young])
    assert expected_later(lags, ages) == pytest.approx(50.0)  # as many again as are there
    assert expected_later(lags[:100], old) == 0.0
    assert expected_later(np.array([]), np.array([])) == 0.0
