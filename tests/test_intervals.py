"""Intervals of scores: what Venn-ABERS says by hand, and whether the truth lies inside where it is known."""

import json
import re
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from small_crm import SIMPLE, World, only_candidates
from test_recipe import QUICK, simulate

from models.bundle import save_bundle
from models.candidate import Floats
from models.intervals import (
    DRIFTS,
    USUAL_DRIFT,
    check_honesty,
    fit_interval,
    horizon_blocks,
    likely_drifts,
    venn_abers,
)
from models.predict import Bundle, load_bundle, to_probability
from models.recipe import Evaluation, RecipeSettings, evaluate, refit
from models.split import Folds
from models.training_set import TrainingSet
from pipeline.ledger import open_ledger
from pipeline.score import score

FOLDS = 4
IN_TIME = Folds("time", (), apart=tuple(range(FOLDS)))


def make_bundle(interval: object) -> Bundle:
    """A bundle without members: all that is asked is its interval."""
    found = {} if interval is None else {"interval": interval}
    return Bundle({}, {"columns": [], "calibrator": {"kind": "identity"}, "members": [], **found}, {})


def test_venn_abers_is_isotonic_regression_with_the_row_itself_in_it():
    # step 0 has one event in two rows, step 1 two in two, step 2 two in four
    score = np.array([0, 0, 1, 1, 2, 2, 2, 2])
    label = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    low, high = venn_abers(score, label, np.array([0, 1, 2]))
    # a row more at 0: (1, 0, 0) = 1/3 or (1, 0, 1) = 2/3, and 1 and 2 pool to 4/6 = 2/3
    # a row more at 1 pools with 2: 4/7 or 5/7; a row more at 2: 4/7 or 5/7 as well
    assert low == pytest.approx([1 / 3, 4 / 7, 4 / 7])
    assert high == pytest.approx([2 / 3, 5 / 7, 5 / 7])


def test_the_library_leaves_numpys_warnings_as_they_were():
    before = np.geterr()
    venn_abers(np.array([0, 1]), np.array([0.0, 1.0]), np.array([0]))
    assert np.geterr() == before


def typical(rates: list[Floats], customers: list[np.ndarray], apart: int = 3) -> float:
    """Root mean square of the drift where one half was predicted for everybody."""
    shares = likely_drifts([np.zeros(len(one)) for one in rates], rates, customers, apart)
    return float(np.sqrt(shares @ DRIFTS**2))


def test_drift_is_what_the_folds_differ_by_beyond_their_customers():
    many, high, low = (
        np.tile([1.0, 0.0], 2000),
        np.tile([1.0, 1.0, 1.0, 0.0], 1000),
        np.tile([0.0, 0.0, 0.0, 1.0], 1000),
    )
    each = [np.arange(4000)] * 3
    assert typical([many] * 3, each) < 0.1  # as predicted, thrice
    assert 0.5 < typical([high, high, low], each) < 1.2  # each log(3) = 1.1 away, where 0.5 is usual
    # the same from four customers a fold, each always the same: log(3) is within what four customers show
    four = [np.tile([0, 1, 2, 3], 1000)] * 3
    assert typical([high, high, low], four) < 0.5
    # few rows leave open what many rule out, and folds that overlap leave more open than others
    assert typical([many[:40]] * 3, [np.arange(40)] * 3) > typical([many] * 3, each) + 0.1
    assert typical([many] * 3, each, apart=1) > typical([many] * 3, each)


def draw(rows: int, seed: int, moved: float) -> tuple[list[Floats], list[Floats], Floats, Floats]:
    """Four months, and twenty that may follow; the score bends and exaggerates, every month has its own level."""
    generator = np.random.default_rng(seed)
    scores = [generator.normal(-1.0, 1.3, rows // FOLDS) for _ in range(FOLDS + 20)]
    bent = [0.8 * score - 0.2 + 0.3 * np.sin(2 * score) for score in scores]
    truth = [to_probability(part + level) for part, level in zip(bent, moved * generator.normal(size=24), strict=True)]
    labels = [(generator.random(len(one)) < one).astype(float) for one in truth[:FOLDS]]
    return scores[:FOLDS], labels, np.concatenate(scores[FOLDS:]), np.concatenate(truth[FOLDS:])


def cover(rows: int, moved: float, tries: int = 4) -> tuple[float, float]:
    """Share of later rows whose true probability lies within the interval, and its mean width."""
    inside, width = [], []
    for seed in range(tries):
        scores, labels, later, truth = draw(rows, seed, moved)
        low, high = make_bundle(fit_interval(scores, labels, np.arange(rows), IN_TIME)).interval(later)
        inside.append(float(((low <= truth) & (truth <= high)).mean()))
        width.append(float((high - low).mean()))
    return float(np.mean(inside)), float(np.mean(width))


@pytest.mark.parametrize("moved", [0.0, 0.3])
def test_nine_in_ten_true_probabilities_lie_within_and_more_rows_make_it_narrower(moved: float):
    few, many = cover(400, moved), cover(2000, moved)
    assert min(few[0], many[0]) >= 0.88
    if moved == 0.0:
        assert many[1] < few[1] / 1.3
    else:
        assert many[1] > cover(2000, 0.0)[1]  # no number of customers tells what another month brings


def test_folds_that_are_not_in_time_look_for_drift_between_stretches_of_time():
    scores, labels, _, _ = draw(1600, 0, 0.6)
    months = np.repeat(np.arange(4), 400)
    mixed = np.random.default_rng(0).permutation(1600)
    parts = [[np.concatenate(one)[at] for at in np.split(mixed, 4)] for one in (scores, labels)]
    grouped = Folds("grouped", ())

    def drift(blocks: np.ndarray | None) -> float:
        return float(fit_interval(*parts, np.arange(1600), grouped, blocks)["drift"])

    usual = np.sqrt(np.mean(np.random.default_rng(0).normal(0, USUAL_DRIFT, 10_000) ** 2))
    assert drift(None) == 0.0  # rows without dates come again as they were
    assert drift(np.zeros(1600, dtype=np.int64)) == pytest.approx(usual, rel=0.05)  # one stretch shows none
    assert drift(months[mixed]) > 0.35  # months differ by 0.6
    assert drift(np.arange(1600) % 4) < 0.9 * usual  # and rows by chance do not


def test_stretches_of_time_are_as_long_as_the_horizon():
    days = np.array(["2024-01-01", "2024-01-30", "2024-01-31", "2024-03-01"], dtype="datetime64[us]")
    rows = TrainingSet(pd.DataFrame({"a": np.zeros(4)}), np.zeros(4), days, horizon=30)
    at = np.arange(4)
    assert horizon_blocks(rows, at).tolist() == [0, 0, 1, 2]  # days 0, 29, 30 and 60
    assert horizon_blocks(rows, np.array([3, 1])).tolist() == [2, 0]
    order = replace(rows, time=np.array([10, 20, 20, 70]), horizon=2)
    assert horizon_blocks(order, at).tolist() == [0, 0, 0, 1]  # places 0, 1, 1 and 3
    assert horizon_blocks(replace(order, horizon=0), at).tolist() == [0, 1, 1, 3]
    assert horizon_blocks(replace(rows, time=None), at) is None


def test_the_interval_holds_the_probability_and_lies_between_0_and_1():
    bundle = make_bundle({"log_odds": [0.0], "low": [0.1, 0.6], "high": [0.3, 0.9]})
    log_odds = np.array([-np.inf, -2.0, -1e-9, 0.0, 5.0, np.inf])
    low, high = bundle.interval(log_odds)
    # steps are [-inf, 0) and [0, inf); expit(-2) = 0.119, expit(5) = 0.9933
    assert low.round(4).tolist() == [0.0, 0.1, 0.1, 0.5, 0.6, 0.6]
    assert high.round(4).tolist() == [0.3, 0.3, 0.5, 0.9, 0.9933, 1.0]


def test_a_bundle_without_a_table_has_no_interval():
    low, high = make_bundle(None).interval(np.array([0.0, 1.0]))
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_honesty_counts_bins_whose_rate_lies_inside_and_those_it_could():
    log_odds = np.repeat(np.arange(15.0), 100)
    rates = np.full(15, 0.5)
    label = np.tile(np.tile([0.0, 1.0], 50), 15)
    low, high = np.repeat(rates - 0.1, 100), np.repeat(rates + 0.1, 100)
    low[:100], high[:100] = 0.55, 0.65  # beside 0.5, and 50 of 100 may be 0.6: compatible
    low[100:200], high[100:200] = 0.7, 0.8  # 50 of 100 is not 0.7: its 95 % interval ends at 0.596
    found = check_honesty(log_odds, low, high, label)
    assert (found["bins"], found["bins_inside"], found["bins_compatible"]) == (15, 13 / 15, 14 / 15)
    assert found["mean_width"] == pytest.approx((13 * 0.2 + 2 * 0.1) / 15)


def draw_customers(rows: int, seed: int) -> tuple[TrainingSet, TrainingSet, Floats]:
    """Seven months of customers with two features, the last one to test on; and the true probabilities there."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, 2))
    truth = to_probability(1.2 * features[:, 0] - 0.7 * features[:, 1] - 0.5)
    month = np.sort(generator.integers(0, 7, rows))
    made = TrainingSet(
        frame=pd.DataFrame(features, columns=["a", "b"]),
        label=(generator.random(rows) < truth).astype(float),
        time=np.datetime64("2024-01-01", "us") + month * np.timedelta64(30, "D"),
        horizon=30,
        group=np.arange(rows).astype(str).astype(object),
    )
    return made.take(month < 6), made.take(month == 6), truth[month == 6]


def test_the_recipe_s_intervals_hold_most_true_probabilities_of_customers():
    inside = []
    with only_candidates(*SIMPLE):
        for seed in range(4):
            train, test, truth = draw_customers(2000, seed)
            found = evaluate(train, test, RecipeSettings(resamples=0)).fitted.bundle
            low, high = found.interval(found.log_odds(test.frame))
            inside.append(float(((low <= truth) & (truth <= high)).mean()))
    # the interval is about customers with one score; that they differ (the model errs about each) is not in it
    assert np.mean(inside) > 0.8


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(simulate(1200), simulate(900, seed=1), QUICK)


def test_the_recipe_measures_its_intervals_on_the_test_rows(evaluation: Evaluation):
    found = evaluation.to_json()["score_interval"]
    assert found["bins"] == 15
    assert found["bins_compatible"] >= 0.8
    assert 0.02 < found["mean_width"] < 0.3


def test_the_table_travels_with_the_bundle_and_stays_when_it_is_refitted(evaluation: Evaluation, tmp_path: Path):
    rows = simulate(900, seed=2)
    fitted = refit(evaluation, rows)
    sha256 = save_bundle(tmp_path / "bundle", fitted)
    document = json.loads((tmp_path / "bundle" / "model.json").read_text(encoding="utf-8"))["interval"]
    assert document == evaluation.choice.interval
    assert len(document["low"]) == len(document["high"]) == len(document["log_odds"]) + 1 <= 200
    bundle = load_bundle(tmp_path / "bundle", sha256)
    low, high = bundle.interval(bundle.log_odds(rows.frame))
    probability = bundle.predict(rows.frame)
    assert ((low >= 0) & (low <= probability) & (probability <= high) & (high <= 1)).all()


def test_a_model_without_signal_has_no_interval():
    rows = simulate(400, strength=0.0)
    noise = np.random.default_rng(0).permutation(rows.label)
    found = evaluate(replace(rows, label=noise), simulate(300, seed=1, strength=0.0), QUICK)
    assert found.selected == "base_rate"
    assert found.to_json()["score_interval"] is None


def test_scores_carry_their_interval(finished: World):
    with open_ledger(finished.state / "ledger.db") as ledger:
        scores = ledger.scores(next(run.run_id for run in ledger.runs() if run.kind == "score"))
    low, high = scores["probability_low"], scores["probability_high"]
    assert ((low <= scores["probability"]) & (scores["probability"] <= high)).all()
    assert (high - low).between(0.001, 0.9).all()


def test_people_hear_how_wide_intervals_are(finished: World):
    with patch("pipeline.score.score", lambda *known: replace(score(*known), is_new=True)):
        shown = finished.run("score").out
    assert re.search(r"^churn: intervals of the probability are \d+\.\d% wide on average$", shown, re.MULTILINE)
