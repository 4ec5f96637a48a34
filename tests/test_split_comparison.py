"""The three splits and the learning curve: what each is fitted on, and what it shows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_recipe import simulate

from models.calibration import IDENTITY
from models.learning_curve import drawn_choice, learning_curve, part_sizes
from models.recipe import Choice, Evaluation, fit_choice
from models.split_comparison import compare_splits
from models.training_set import TrainingSet

LOGISTIC = Choice("logistic", {"ramps": 0, "penalty": 30.0}, IDENTITY)
TREES = Choice(
    "lightgbm",
    {"encoding": "log_odds", "leaves": 16, "random_cuts": False, "learning_rate": 0.2, "trees": 60},
    IDENTITY,
)

WEIGHTS = {"logistic": 2 / 3, "logistic_newest_half": 1 / 3}
BLEND = Choice("blend", {"weights": WEIGHTS, "settings": dict.fromkeys(WEIGHTS, LOGISTIC.setting)}, IDENTITY)


def remembered(customers: int, seed: int = 0) -> TrainingSet:
    """Twelve monthly snapshots of customers whose label never changes and is in no column, but who have a number."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 2, customers).astype(float)
    months = pd.date_range("2023-01-01", periods=12, freq="MS").to_numpy().astype("datetime64[us]")
    who, when = np.repeat(np.arange(customers), 12), np.tile(months, customers)
    return TrainingSet(
        frame=pd.DataFrame({"number": generator.random(customers)[who], "noise": generator.random(len(who))}),
        label=label[who],
        time=when,
        horizon=60,
        group=np.array([f"C{at}" for at in who], dtype=object),
    )


def test_a_random_split_promises_what_it_remembers_of_the_same_customer() -> None:
    found = compare_splits(TREES, remembered(60))
    by_kind = {one.kind: one for one in found.splits}
    assert list(by_kind) == ["random", "grouped", "temporal"]
    assert by_kind["random"].auc > 0.9  # the number tells who it is, and the label of any other month is the answer
    assert by_kind["grouped"].auc < 0.7  # nothing is known of a customer whose rows are all held back
    assert by_kind["random"].log_loss < by_kind["temporal"].log_loss
    lax = by_kind["random"]
    assert lax.gain == pytest.approx(by_kind["temporal"].log_loss - lax.log_loss)
    assert lax.gain > 2 * lax.error > 0
    assert (by_kind["temporal"].gain, by_kind["temporal"].error) == (0.0, 0.0)
    assert found.notes == ()


def test_the_temporal_split_is_fitted_on_rows_whose_horizon_was_over() -> None:
    rows = remembered(60)
    found = compare_splits(LOGISTIC, rows)
    blocks = np.unique(rows.time)
    predicted = found.rows // 60  # months that are predicted
    begin = blocks[-predicted]
    assert found.splits[-1].fitted_rows <= 60 * int((blocks + np.timedelta64(60, "D") <= blocks[-1]).sum())
    assert begin > blocks[2]
    assert found.splits[0].fitted_rows == round(len(rows) - found.rows / 3)  # all but a third of the predicted ones


def test_without_time_two_splits_are_left_and_the_page_is_told() -> None:
    found = compare_splits(LOGISTIC, replace(simulate(300), time=None))
    assert [one.kind for one in found.splits] == ["random", "grouped"]
    assert found.rows == 300
    assert found.notes == ("There is no time column, so nobody can say what a split in time would show.",)


def test_without_groups_identical_rows_stay_together() -> None:
    found = compare_splits(LOGISTIC, replace(simulate(600), group=None))
    assert found.notes == ("There is no group column: rows are grouped where they are identical.",)
    assert len(found.splits) == 3


def test_two_times_are_too_few_for_a_split_in_time() -> None:
    found = compare_splits(LOGISTIC, simulate(300, snapshots=1))
    assert [one.kind for one in found.splits] == ["random", "grouped"]
    assert found.notes == ("There are too few times, a horizon apart, for a split in time within the training rows.",)


def test_a_blend_is_compared_without_its_members_of_the_newest_rows() -> None:
    found = compare_splits(BLEND, simulate(400))
    assert found.notes == ("Fitted here is the blend without its members that learn from the newest rows only.",)
    assert found.splits == compare_splits(LOGISTIC, simulate(400)).splits  # which is what is left of it
    assert drawn_choice(LOGISTIC) is LOGISTIC


def test_a_handful_of_rows_is_not_split() -> None:
    found = compare_splits(LOGISTIC, replace(simulate(60), time=None))
    assert found.splits == ()
    assert found.notes[-1] == "There are too few rows to compare splits."


def test_the_same_rows_are_compared_in_the_same_way_each_time() -> None:
    assert compare_splits(LOGISTIC, simulate(400)) == compare_splits(LOGISTIC, simulate(400))


def evaluated(train: TrainingSet, test: TrainingSet, choice: Choice = LOGISTIC) -> Evaluation:
    """An evaluation as far as the curve looks at it."""
    fitted = fit_choice(choice, train)
    probability = fitted.bundle.predict(test.frame)
    return Evaluation(choice, fitted, [], {}, test.label, probability, {}, "", (), 0.0)


def test_the_curve_grows_by_whole_customers_and_ends_in_the_model_itself() -> None:
    train, test = simulate(1000), simulate(400, seed=1)
    points = learning_curve(evaluated(train, test), train, test)
    rows = [one.rows for one in points]
    assert rows == sorted(rows)
    assert rows[-1] == 1000
    assert len(points) == 5  # 62, 125, 250, 500 and all, each but the last up to a customer's rows more
    assert all(size <= row <= size + 10 for size, row in zip(part_sizes(1000, 4), rows, strict=False))
    assert points[-1].log_loss < points[0].log_loss
    assert points[-1].interval[0] < points[-1].log_loss < points[-1].interval[1]


def test_few_rows_have_a_curve_of_one_point() -> None:
    train, test = simulate(80), simulate(100, seed=1)
    assert [one.rows for one in learning_curve(evaluated(train, test), train, test)] == [80]


def test_the_curve_of_a_blend_is_that_without_its_members_of_the_newest_rows_to_the_last_point() -> None:
    train, test = simulate(1000), simulate(400, seed=1)
    whole, line = evaluated(train, test, BLEND), evaluated(train, test)
    assert whole.test_probability.tolist() != line.test_probability.tolist()
    assert learning_curve(whole, train, test) == learning_curve(line, train, test)


def test_many_columns_are_fitted_on_fewer_rows() -> None:
    assert part_sizes(100_000, 2000)[-1] == 400
    assert part_sizes(100, 5) == []
