"""When a model is trained again: three clocks, in tables with the answer beside each row."""

from datetime import datetime

import pandas as pd
import pytest

from pipeline.config_schema import Retrain
from pipeline.triggers import Facts, Loss, check_triggers, count_newly_ripe, expected_loss

TRAINED = "2024-03-01"


def fired(settings: dict, **facts: object) -> list[str]:
    known = {"data_end": datetime(2024, 3, 20), "trained_at": datetime.fromisoformat(TRAINED), "newly_ripe": 0, **facts}
    return [one.name for one in check_triggers(Retrain.model_validate(settings), Facts(**known)) if one.fired]


@pytest.mark.parametrize(
    ("data_end", "is_due"),
    [
        ("2024-03-30 23:59:59", False),  # 29 days and some hours after 03-01
        ("2024-03-31 00:00:00", True),  # 30 days to the second
        ("2024-06-01 00:00:00", True),
        ("2024-03-01 00:00:00", False),  # trained on this very extract
        ("2024-02-01 00:00:00", False),  # an older extract was restored
    ],
)
def test_the_schedule_counts_days_of_the_data_since_the_last_training(data_end: str, is_due: bool):
    assert fired({"every_days": 30}, data_end=datetime.fromisoformat(data_end)) == (["schedule"] if is_due else [])


LABELS = pd.DataFrame(
    [
        # label, settled_at    data end on 03-20, trained on the data up to 03-01
        (1.0, "2024-02-28"),  # was ripe before
        (0.0, "2024-03-01"),  # ripe at that very moment: it was in the training
        (0.0, "2024-03-02"),  # new
        (1.0, "2024-03-20"),  # new, ripe at the very end
        (float("nan"), "2024-03-21"),  # not ripe yet
        (float("nan"), "2024-03-10"),  # censored for ever: the customer was deleted
    ],
    columns=["label", "settled_at"],
).astype({"settled_at": "datetime64[us]"})


def test_labels_are_newly_ripe_when_they_settled_after_the_last_training():
    assert count_newly_ripe(LABELS, datetime.fromisoformat(TRAINED)) == 2
    assert count_newly_ripe(LABELS, None) == 4
    assert count_newly_ripe(LABELS.head(0), datetime.fromisoformat(TRAINED)) == 0


@pytest.mark.parametrize(("newly_ripe", "is_due"), [(99, False), (100, True), (101, True)])
def test_enough_newly_ripe_labels_are_a_reason(newly_ripe: int, is_due: bool):
    settings = {"every_days": None, "min_ripe_labels": 100}
    assert fired(settings, newly_ripe=newly_ripe) == (["ripe_labels"] if is_due else [])


@pytest.mark.parametrize(
    ("expected", "settled", "newly_ripe", "is_due"),
    [
        (0.50, 0.50, 9, False),  # on the line is not above it
        (0.51, 0.40, 9, True),  # its own probabilities say so
        (0.40, 0.51, 9, True),  # what came of them says so
        (None, 0.51, 9, True),  # nobody was scored by this model yet
        (0.51, None, 9, True),
        (None, None, 9, False),
        (0.51, 0.51, 0, False),  # no label since the last training: a new model would be the same
    ],
)
def test_drift_is_an_expected_loss_above_the_line(
    expected: float | None, settled: float | None, newly_ripe: int, is_due: bool
):
    losses = {name: None if value is None else Loss(value, 40) for name, value in
              (("expected", expected), ("settled", settled))}  # fmt: skip
    settings = {"every_days": None, "max_expected_loss": 0.5}
    assert fired(settings, newly_ripe=newly_ripe, **losses) == (["drift"] if is_due else [])


def test_the_expected_loss_of_calibrated_probabilities_needs_no_label():
    # 0.5: ln 2 = 0.6931; 0.1: -0.1 ln 0.1 - 0.9 ln 0.9 = 0.2303 + 0.0948 = 0.3251; the mean is 0.5091
    found = expected_loss(pd.Series([0.5, 0.1, None]))
    assert found is not None
    assert (round(found.mean, 4), found.rows) == (0.5091, 2)
    assert expected_loss(pd.Series([1.0, 0.0])) == Loss(pytest.approx(0.0, abs=2e-5), 2)
    assert expected_loss(pd.Series([], dtype=float)) is None


def test_without_settings_a_model_is_tried_again_every_thirty_days():
    assert fired({}, data_end=datetime(2024, 3, 31)) == ["schedule"]
    assert fired({}, data_end=datetime(2024, 3, 30)) == []


def test_a_target_that_was_never_trained_is_due():
    assert fired({"every_days": None}, trained_at=None) == ["never_trained"]


def test_each_trigger_is_explained_in_a_sentence():
    settings = Retrain(every_days=30, min_ripe_labels=100, max_expected_loss=0.5)
    facts = Facts(datetime(2024, 4, 1), datetime(2024, 3, 1), 120, Loss(0.52, 800), Loss(0.41, 60))
    assert [one.why for one in check_triggers(settings, facts)] == [
        "The data go 31 days beyond the last training (every_days: 30).",
        "120 labels became ripe since the last training (min_ripe_labels: 100).",
        (
            "The live model's log loss is 0.520 as expected from its probabilities for 800 scored rows and 0.410 on 60 "
            "newly ripe rows (max_expected_loss: 0.5)."
        ),
    ]
    calm = Facts(datetime(2024, 3, 2), datetime(2024, 3, 1), 0)
    assert [one.why for one in check_triggers(settings, calm)] == [
        "The data go 1 day beyond the last training (every_days: 30).",
        "0 labels became ripe since the last training (min_ripe_labels: 100).",
        (
            "The live model's log loss is not known: it has scored nobody yet and no label became ripe "
            "(max_expected_loss: 0.5)."
        ),
    ]
