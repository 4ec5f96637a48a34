"""Calibrators are increasing, finite, and only taken when they help on folds they have not seen."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration import choose_calibrator, fit_curve, fit_sigmoid, shift
from models.level import fit_level
from models.predict import calibrate, to_probability
from models.split import Fold, Folds


def simulate(seed: int, rows: int, slope: float = 1.0, level: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Raw log-odds, and labels drawn at level + slope * raw."""
    generator = np.random.default_rng(seed)
    raw = generator.normal(0.0, 1.5, rows)
    return raw, (generator.random(rows) < to_probability(level + slope * raw)).astype(float)


def folds(kind: str, count: int) -> Folds:
    nobody = np.zeros(0, dtype=np.intp)
    return Folds(kind, (Fold(nobody, nobody),) * count)


def choose(kind: str, count: int, rows: int, **truth: float) -> Any:
    parts = [simulate(seed, rows, **truth) for seed in range(count)]
    return choose_calibrator([raw for raw, _ in parts], [label for _, label in parts], folds(kind, count))


def test_a_sigmoid_finds_intercept_and_slope() -> None:
    found = fit_sigmoid(*simulate(0, 20_000, slope=0.5, level=-1.0))
    assert found["intercept"] == pytest.approx(-1.0, abs=0.06)
    assert found["slope"] == pytest.approx(0.5, abs=0.03)


def test_a_sigmoid_stays_increasing_when_the_score_is_upside_down() -> None:
    assert fit_sigmoid(*simulate(0, 2_000, slope=-1.0))["slope"] == 0.05


def test_few_rows_leave_the_sigmoid_near_the_identity() -> None:
    found = fit_sigmoid(np.array([3.0, 2.0, -1.0]), np.array([1.0, 1.0, 0.0]))
    assert 0.5 < found["slope"] < 2.0
    assert abs(found["intercept"]) < 1.0


def test_a_curve_on_few_rows_is_a_sigmoid() -> None:
    assert fit_curve(*simulate(0, 120))["kind"] == "sigmoid"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(5, 3_000), slope=st.floats(-1, 3), level=st.floats(-3, 3))
def test_every_calibrator_is_strictly_increasing_finite_and_survives_json(
    seed: int, rows: int, slope: float, level: float
) -> None:
    raw, label = simulate(seed, rows, slope, level)
    grid = np.concatenate([np.linspace(-50, 50, 801), np.linspace(-3, 3, 1201)])
    grid.sort()
    grid = grid[np.append(True, np.diff(grid) > 1e-9)]
    for fitted in (fit_sigmoid(raw, label), fit_curve(raw, label), shift(fit_curve(raw, label), 0.7)):
        calibrator = json.loads(json.dumps(fitted))
        value, steepness = calibrate(calibrator, grid)
        assert np.isfinite(value).all()
        assert (np.diff(value) > 0).all()
        assert (steepness > 0).all()


def test_shifting_a_calibrator_is_calibrating_the_shifted_log_odds() -> None:
    raw, label = simulate(0, 3_000, slope=0.5)
    for fitted in ({"kind": "identity"}, fit_sigmoid(raw, label), fit_curve(raw, label)):
        expected = calibrate(fitted, raw + 0.3)[0]
        np.testing.assert_allclose(calibrate(shift(fitted, 0.3), raw)[0], expected, atol=1e-9)


def test_scores_that_are_right_are_left_alone() -> None:
    assert choose("grouped", 5, 400) == {"kind": "identity"}


def test_overconfident_scores_are_pulled_in() -> None:
    found = choose("grouped", 5, 400, slope=0.4)
    assert found["kind"] == "sigmoid"
    assert found["slope"] == pytest.approx(0.4, abs=0.1)


def test_a_level_is_no_matter_of_the_calibrator() -> None:
    assert choose("time", 4, 800, level=0.8) == {"kind": "identity"}


def test_the_level_of_a_fold_without_positives_is_finite() -> None:
    assert -10 < fit_level(np.zeros(50), np.zeros(50)) < -2
