"""Models of revenue: the loss and the figures by hand, what is chosen, and bundles that say the same anywhere."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest

from features.errors import DataError
from models.base_rate import BaseRate
from models.bundle import save_bundle
from models.candidate import Floats
from models.logistic import Logistic
from models.predict import load_bundle, to_probability
from models.recipe import RecipeSettings
from models.split import Folds
from models.training_set import TrainingSet
from models.tweedie import deviances, fit_log_linear_path
from models.value import ValueEvaluation, check_revenue, evaluate_value, refit_value, split_value_test
from models.value_candidates import ValueTrial
from models.value_metrics import measure_value
from models.value_selection import agreed_level, choose_level, choose_slope, select_value

QUICK = RecipeSettings(resamples=20)
CANDIDATES = ["mean", "past_revenue", "log_linear", "tweedie", "hurdle", "blend"]


def simulate(rows: int, seed: int = 0, strength: float = 1.0) -> TrainingSet:
    """Six monthly snapshots of customers who buy the more the keener they are; a few bring something back."""
    generator = np.random.default_rng(seed)
    keen = generator.normal(size=rows)
    past = np.where(generator.random(rows) < 0.6, np.exp(3 + strength * keen + generator.normal(0, 0.7, rows)), 0.0)
    region = generator.choice(["north", "south", "west"], rows)
    buys = generator.random(rows) < to_probability(strength * (0.8 * keen + (region == "west")) - 0.5)
    spent = np.exp(3.2 + strength * (0.8 * keen + 0.5 * (region == "south")) + generator.normal(0, 0.8, rows))
    revenue = np.where(buys, spent, np.where(generator.random(rows) < 0.02, -10.0, 0.0))
    months = pd.date_range("2024-01-01", periods=6, freq="MS").to_numpy().astype("datetime64[us]")
    return TrainingSet(
        frame=pd.DataFrame({"past": past, "keen": keen + generator.normal(0, 0.4, rows), "region": region}),
        label=revenue,
        time=np.sort(generator.choice(months, rows)),
        horizon=30,
        group=np.array([f"C{at}" for at in generator.integers(0, rows // 2, rows)], dtype=object),
    )


@pytest.fixture(scope="module", autouse=True)
def few_settings() -> Iterator[None]:
    """Small grids: what is tried here is how candidates are compared and fitted, not how well."""
    grids = {"models.value_candidates": {"TREES": (20, 60), "CAPS": (0.99,), "POWERS": (1.5,), "PENALTIES": (30.0,)}}
    grids["models.hurdle"] = {"TREES": (20, 60), "LEAVES": (4,), "CANDIDATES": (BaseRate(), Logistic())}
    one = [{"ramps": 0, "penalty": 30.0}]
    with ExitStack() as stack:
        for module, values in grids.items():
            stack.enter_context(patch.multiple(module, **values))
        stack.enter_context(patch.object(Logistic, "settings", return_value=one))
        yield


@pytest.fixture(scope="module")
def evaluation() -> ValueEvaluation:
    return evaluate_value(simulate(900), simulate(600, seed=1), "past", QUICK)


def test_the_deviance_is_least_for_the_mean_even_with_returns():
    revenue = np.array([-10.0, 0.0, 0.0, 50.0])  # mean 10
    guesses = np.array([5.0, 9.0, 10.0, 11.0, 20.0])
    losses = [float(deviances(revenue, np.full(4, guess)).mean()) for guess in guesses]
    assert int(np.argmin(losses)) == 2


def test_a_log_linear_fit_without_columns_is_the_mean_and_follows_a_group_it_is_given():
    revenue = np.array([0.0, 2.0, 4.0, 4.0, 8.0, 12.0])  # means 2 and 8
    group = np.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]])
    alone = fit_log_linear_path(np.zeros((6, 0)), revenue, [1.0])[0]
    assert np.exp(alone) == pytest.approx([5.0])
    free = fit_log_linear_path(group, revenue, [100.0, 1e-6])
    assert np.exp(free[1]) == pytest.approx([2.0, 4.0], rel=1e-3)  # 2, and 4 times as much
    assert abs(free[0][1]) < abs(free[1][1])  # a penalty shrinks


def test_figures_of_four_customers_by_hand():
    revenue, value = np.array([0.0, 10.0, 0.0, 30.0]), np.array([5.0, 4.0, 1.0, 20.0])
    found = measure_value(revenue, value, resamples=0)
    assert found["mae"] == (5 + 6 + 1 + 10) / 4
    assert found["rmse"] == pytest.approx(np.sqrt((25 + 36 + 1 + 100) / 4))
    assert found["predicted_over_observed"] == 30 / 40
    # by prediction 30, 0, 10, 0: money lies at places 0.5 and 2.5 of 4, mean (30 * 0.5 + 10 * 2.5) / 40 = 1
    # of 4 places: 0.5 - 1/4; at best 30, 10: (15 + 15) / 40 = 0.75, 0.5 - 0.1875
    assert found["gini"] == pytest.approx(0.25 / 0.3125)
    assert found["captured_at_10"] == pytest.approx(0.4 * 30 / 40)  # a tenth of four rows is 0.4 of the first
    # ranks 1.5, 3, 1.5, 4 against 3, 2, 1, 4: covariance 3.0 / sqrt(4.5 * 5)
    assert found["spearman"] == pytest.approx(3.0 / np.sqrt(4.5 * 5.0))
    assert found["mean"] == 10.0
    assert [tenth["observed"] for tenth in found["tenths"]] == [0.0, 10.0, 0.0, 30.0]


def test_intervals_hold_the_figures_and_customers_are_drawn_whole():
    generator = np.random.default_rng(0)
    value = np.exp(generator.normal(size=400))
    revenue = value * np.where(generator.random(400) < 0.5, 0.0, 2.0)
    found = measure_value(revenue, value, resamples=100)
    for name, (low, high) in found["interval"].items():
        assert low < found[name] < high
    twice = measure_value(np.tile(revenue, 2), np.tile(value, 2), np.tile(np.arange(400), 2), resamples=100)
    apart = measure_value(np.tile(revenue, 2), np.tile(value, 2), resamples=100)
    width = [np.ptp(one["interval"]["mae"]) for one in (found, twice, apart)]
    assert width[1] == pytest.approx(width[0], rel=0.2)  # the same customers again tell nothing new
    assert width[2] < 0.85 * width[0]


def test_the_level_is_what_folds_agree_on():
    predicted = [np.zeros(4)] * 3
    agreed = [np.array([8.0, 0.0, 0.0, 0.0])] * 3  # 8 where 4 were predicted
    assert agreed_level(predicted, agreed) == pytest.approx(np.log(2))
    split = [np.full(4, 2.0), np.full(4, 0.5), np.full(4, 1.0)]  # twice, half and as predicted
    assert agreed_level(predicted, split) == 0.0
    assert agreed_level(predicted[:1], agreed[:1]) == pytest.approx(np.log(2) / 2)  # one fold: half of it


def test_in_time_a_level_is_moved_only_where_that_would_have_helped_later():
    predicted = [np.zeros(40)] * 4
    steady = [np.full(40, 2.0)] * 4
    waning = [np.full(40, level) for level in (4.0, 2.0, 1.0, 0.5)]
    apart = Folds("time", (), apart=(0, 1, 2, 3))
    assert choose_level(predicted, steady, apart) == pytest.approx(np.log(2))
    assert choose_level(predicted, waning, apart) == 0.0  # what one fold asks for is wrong in the next
    assert choose_level(predicted, steady, Folds("time", (), apart=(2, 3))) == 0.0  # two are too few to tell
    assert choose_level(predicted, steady, Folds("grouped", ())) == pytest.approx(np.log(2))


def test_predictions_that_exaggerate_are_bent_and_others_are_not():
    generator = np.random.default_rng(0)
    truth = [generator.normal(size=400) for _ in range(3)]
    revenue = [np.exp(part) * generator.exponential(size=400) for part in truth]
    assert choose_slope([2.0 * part for part in truth], revenue, "time") == pytest.approx(0.5, abs=0.1)
    assert choose_slope(truth, revenue, "time") == pytest.approx(1.0, abs=0.1)


def make_trials(**parts: Floats) -> list[ValueTrial]:
    return [ValueTrial(name, {}, (part[:200], part[200:])) for name, part in parts.items()]


def test_past_revenue_stays_where_nothing_beats_it_and_the_mean_where_nothing_beats_that():
    generator = np.random.default_rng(0)
    good, noise = generator.normal(size=400), generator.normal(size=400)
    revenue = [np.exp(part) * generator.exponential(size=200) for part in (good[:200], good[200:])]
    group, flat = np.arange(400), np.zeros(400)
    chosen = select_value(make_trials(mean=flat, past_revenue=good, tweedie=good + 0.01 * noise), revenue, group)
    assert chosen.name == "past_revenue"
    chosen = select_value(make_trials(mean=flat, past_revenue=0.2 * good, tweedie=good), revenue, group)
    assert chosen.name == "tweedie"
    chosen = select_value(make_trials(mean=flat, past_revenue=0.3 * noise, tweedie=0.2 * noise), revenue, group)
    assert chosen.name == "mean"


def test_all_candidates_are_measured_and_the_best_beat_the_mean(evaluation: ValueEvaluation):
    document = evaluation.to_json()
    assert document["task"] == "value"
    assert [one["name"] for one in document["candidates"]] == CANDIDATES
    assert evaluation.selected in {"blend", "hurdle", "log_linear", "tweedie"}
    loss = {one["name"]: one["level_free_deviance"] for one in document["candidates"]}
    assert loss[evaluation.selected] < 0.9 * loss["mean"]
    low, high = document["test"]["interval"]["predicted_over_observed"]
    assert low < 1.05
    assert high > 0.95  # the sum is met, within what a few hundred customers tell
    assert document["test"]["gini"] > 0.4


def test_without_signal_the_mean_is_chosen():
    found = evaluate_value(simulate(700, strength=0.0), simulate(300, seed=1, strength=0.0), "past", QUICK)
    assert found.selected == "mean"
    assert np.ptp(found.test_value) == 0.0


def test_the_same_rows_give_the_same_model():
    first, second = (evaluate_value(simulate(400), simulate(200, seed=1), None, QUICK) for _ in range(2))
    assert first.fitted.model == second.fitted.model
    assert first.fitted.texts == second.fitted.texts


@pytest.mark.parametrize("name", CANDIDATES)
def test_reasons_of_a_loaded_bundle_sum_to_the_log_of_the_value(evaluation: ValueEvaluation, name: str, tmp_path: Path):
    settings = {one["name"]: one for one in evaluation.to_json()["candidates"]}
    assert name in settings
    blend = evaluation.choice.setting.get("settings", {})
    setting = evaluation.choice.setting if name == "blend" else blend.get(name, {})
    if name == "past_revenue":
        setting = {"column": "past", "ramps": 8, "penalty": 10.0, "cap": 0.99}
    choice = replace(evaluation.choice, name=name, setting=setting)
    rows = simulate(500, seed=2)
    fitted = refit_value(replace(evaluation, choice=choice), rows)
    sha256 = save_bundle(tmp_path / "bundle", fitted)
    bundle = load_bundle(tmp_path / "bundle", sha256)
    assert bundle.is_value
    frame = rows.frame.assign(region=rows.frame["region"].where(rows.frame.index % 7 > 0, "east"))  # never met
    value = bundle.value(frame)
    assert (value > 0).all()
    assert value.tolist() == fitted.bundle.value(frame).tolist() == bundle.predict(frame).tolist()
    base, parts = bundle.contributions(frame)
    assert base + parts.sum(axis=1) == pytest.approx(np.log(value), abs=1e-9)
    alone = bundle.value(frame.iloc[[3]])
    assert alone[0] == value[3]


def test_enough_to_test_on_is_customers_with_and_without_revenue():
    rows = simulate(900)
    train, test = split_value_test(rows)
    assert test.time.min() > train.time.max()
    assert (test.label > 0).sum() >= 20
    assert len(train) >= 2 * len(test) > 200
    assert set(test.frame.columns) == {"past", "keen", "region"}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ([], r"^No training rows: no revenue is ripe yet\. "),
        ([0.0, 0.0], r"^The 2 training rows bring in 0\.00 in all, expected revenue that differs between customers\. "),
        ([5.0, 5.0], r"bring in 10\.00 in all, expected revenue that differs"),
        ([-5.0, 1.0], r"bring in -4\.00 in all"),
    ],
)
def test_rows_without_revenue_are_refused(label: list[float], expected: str):
    rows = TrainingSet(pd.DataFrame({"a": np.zeros(len(label))}), np.array(label))
    with pytest.raises(DataError, match=expected):
        check_revenue(rows)
