"""Metrics on four rows, worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest

from models.metrics import log_losses, measure

LABEL = np.array([1.0, 0.0, 1.0, 0.0])
PROBABILITY = np.array([0.9, 0.8, 0.4, 0.1])


def figures(label: Any = LABEL, probability: Any = PROBABILITY, **options: Any) -> dict[str, Any]:
    return measure(np.array(label, dtype=float), np.array(probability, dtype=float), **{"resamples": 0, **options})


def test_four_rows_by_hand() -> None:
    found = figures()
    assert found["rows"] == 4
    assert found["base_rate"] == 0.5
    assert found["auc"] == 0.75  # of the four pairs only (0.4, 0.8) is the wrong way round
    assert found["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)  # hits at rank 1 and 3
    assert found["log_loss"] == pytest.approx(-sum(map(math.log, (0.9, 0.2, 0.4, 0.9))) / 4)
    assert found["brier"] == pytest.approx((0.1**2 + 0.8**2 + 0.6**2 + 0.1**2) / 4)
    assert found["calibration_error"] == pytest.approx((0.1 + 0.8 + 0.6 + 0.1) / 4)  # each row is a bin of its own
    assert found["lift_at_10"] == 2.0  # a tenth of four rows is one row, a hit, against one in two


def test_ties_count_half_in_auc_and_enter_average_precision_together() -> None:
    found = figures([1, 0, 0, 1], [0.5, 0.5, 0.5, 0.2])
    assert found["auc"] == (0.5 + 0.5 + 0 + 0) / 4
    assert found["average_precision"] == pytest.approx(0.5 * 1 / 3 + 0.5 * 2 / 4)


def test_a_constant_score_has_auc_one_half_and_no_calibration_error_at_the_base_rate() -> None:
    found = figures([1, 0] * 150, [0.5] * 300)
    assert found["auc"] == 0.5
    assert found["calibration_error"] < 0.15  # twenty rows to a bin, drawn by the seed
    assert found["brier"] == 0.25


def test_calibration_error_uses_bins_of_equal_count() -> None:
    # thirty rows, two to a bin: (0.2, 0.2) with one hit in ten bins, (0.9, 0.9) with two hits in five
    probability = [0.2] * 20 + [0.9] * 10
    label = [1, 0] * 10 + [1] * 10
    spread = np.array(probability) + np.arange(30) * 1e-9  # keeps the pairs together
    assert figures(label, spread)["calibration_error"] == pytest.approx(20 / 30 * 0.3 + 10 / 30 * 0.1, abs=1e-6)


def test_log_loss_clips_at_one_in_a_million() -> None:
    assert log_losses(np.array([1.0]), np.array([0.0])).tolist() == [-math.log(1e-6)]


def test_lift_takes_the_top_tenth_rounded_up_and_breaks_ties_by_the_seed() -> None:
    label, probability = [1, 1] + [0] * 13, [0.9, 0.8] + [0.1] * 13
    assert figures(label, probability)["lift_at_10"] == 1 / (2 / 15)
    tied = [figures([1] * 5 + [0] * 15, [0.5] * 20, seed=seed)["lift_at_10"] for seed in (0, 0, 1, 2, 3, 4)]
    assert tied[0] == tied[1]
    assert len(set(tied)) > 1


def test_a_single_class_has_no_auc() -> None:
    assert figures([1, 1, 1], [0.2, 0.3, 0.4])["auc"] is None
    assert figures([0, 0, 0], [0.2, 0.3, 0.4])["lift_at_10"] is None


def test_intervals_hold_the_figure_and_repeat_with_the_seed() -> None:
    generator = np.random.default_rng(1)
    probability = generator.random(400)
    label = (generator.random(400) < probability).astype(float)
    found = figures(label, probability, resamples=100)
    assert set(found["interval"]) == set(found) - {"rows", "base_rate", "interval"}
    for name, (low, high) in found["interval"].items():
        assert low < high
        if name != "calibration_error":  # resamples only ever add noise to it
            assert low < found[name] < high
    assert figures(label, probability, resamples=100) == found


def test_rows_of_one_group_are_resampled_together() -> None:
    generator = np.random.default_rng(1)
    probability = np.repeat(generator.random(50), 20)
    label = np.repeat((generator.random(50) < 0.5).astype(float), 20)
    group = np.repeat(np.arange(50).astype(str), 20)

    def width(**options: Any) -> float:
        low, high = figures(label, probability, resamples=200, **options)["interval"]["auc"]
        return float(high - low)

    assert width(group=group) > 3 * width()  # twenty copies of a row are not twenty times the evidence


def test_resamples_in_chunks_are_the_same_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = figures(resamples=50)
    monkeypatch.setattr("models.metrics.CHUNK_CELLS", 12)
    assert figures(resamples=50) == whole
