"""The numbers behind every plot, worked out by hand, and the pictures themselves."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from sklearn.metrics import average_precision_score, roc_auc_score

from features.errors import DataError
from pipeline import curves
from pipeline.plots import Subject, draw_all, draw_importance

# Four customers, the likeliest leaver first: left, stayed, left, stayed.
Y = np.array([1.0, 0.0, 1.0, 0.0])
P = np.array([0.9, 0.8, 0.3, 0.1])


def columns(frame: pd.DataFrame) -> dict[str, list[object]]:
    return {str(name): frame[name].tolist() for name in frame}


def test_the_roc_curve_counts_leavers_and_stayers_above_each_threshold() -> None:
    roc = curves.roc_curve(Y, P)
    assert columns(roc) == {
        "threshold": [np.inf, 0.9, 0.8, 0.3, 0.1],
        "false_positive_rate": [0, 0, 0.5, 0.5, 1],
        "true_positive_rate": [0, 0.5, 0.5, 1, 1],
    }
    assert curves.roc_area(roc) == 0.75  # three of the four pairs of leaver and stayer are in order


def test_rows_with_one_probability_are_one_step_of_the_roc_curve() -> None:
    roc = curves.roc_curve(np.array([1, 0, 1]), np.array([0.4, 0.4, 0.4]))
    assert roc["true_positive_rate"].tolist() == [0, 1]
    assert curves.roc_area(roc) == 0.5


def test_precision_is_the_share_of_leavers_among_those_flagged() -> None:
    curve = curves.precision_recall_curve(Y, P)
    assert columns(curve) == {
        "threshold": [0.9, 0.8, 0.3, 0.1],
        "recall": [0.5, 0.5, 1, 1],
        "precision": [1, 1 / 2, 2 / 3, 2 / 4],
    }
    assert curves.average_precision(curve) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3, abs=1e-15)


def test_gains_and_lift_compare_with_contacting_in_any_order() -> None:
    gains = curves.gains_curve(Y, P)
    assert columns(gains) == {
        "contacted": [0, 0.25, 0.5, 0.75, 1],
        "captured": [0, 0.5, 0.5, 1, 1],
        "lift": [2, 2, 1, 1 / 0.75, 1],
    }
    assert curves.captured_at(gains, 0.25) == 0.5
    assert curves.captured_at(gains, 0.1) == pytest.approx(0.2)  # 0.4 of the first customer


def test_calibration_bins_hold_equally_many_rows() -> None:
    y = np.array([0, 0, 1, 0, 1, 1])
    p = np.array([0.1, 0.2, 0.4, 0.5, 0.8, 0.9])
    bins = curves.calibration_bins(y, p, bins=3)
    assert bins["rows"].tolist() == [2, 2, 2]
    assert bins["predicted"].tolist() == pytest.approx([0.15, 0.45, 0.85])
    assert bins["observed"].tolist() == [0, 0.5, 1]
    # Wilson, n = 2, z = 1.96: 0 of 2 -> z2 / (2 + z2) = 0.6576; 1 of 2 -> 0.5 -+ 0.4055
    assert bins["low"].tolist() == pytest.approx([0, 0.0945, 0.3424], abs=1e-4)
    assert bins["high"].tolist() == pytest.approx([0.6576, 0.9055, 1], abs=1e-4)


def test_rows_with_one_probability_share_a_calibration_bin() -> None:
    bins = curves.calibration_bins(np.array([0, 1, 0, 1]), np.array([0.3, 0.3, 0.3, 0.9]), bins=4)
    assert bins["rows"].tolist() == [3, 1]
    assert bins["observed"].tolist() == pytest.approx([1 / 3, 1])


def test_importance_is_a_share_and_the_tail_is_summed_up() -> None:
    shares = curves.importance_shares({"a": 1.0, "b": 5.0, "unused": 0.0, "d": 3.0, "c": 1.0}, top=2)
    assert columns(shares) == {"feature": ["b", "d", "other features (2)"], "share": [0.5, 0.3, 0.2]}


def test_equal_importances_are_listed_by_name_and_none_is_an_empty_list() -> None:
    assert curves.importance_shares({"b": 1.0, "a": 1.0})["feature"].tolist() == ["a", "b"]
    assert len(curves.importance_shares({})) == 0


def test_the_histogram_counts_each_row_once_up_to_the_highest_tenth() -> None:
    y = np.array([0, 0, 1, 1])
    p = np.array([0.0, 0.05, 0.1, 0.2])
    counts = curves.score_histogram(y, p, bins=2)
    assert counts["low"].tolist() == [0, 0.1]
    assert counts["high"].tolist() == [0.1, 0.2]
    assert counts["others"].tolist() == [2, 0]  # 0.1 itself opens the second bin
    assert counts["events"].tolist() == [0, 2]  # 0.2 is in the last bin, which is closed


@pytest.mark.parametrize(
    ("y", "p", "sentence"),
    [
        ([1, 0], [0.5], r"Labels have shape \(2,\) and probabilities \(1,\)"),
        ([1, np.nan], [0.5, 0.5], r"1 of 2 labels are not 0 or 1 \(such as nan\)"),
        ([1, 0], [0.5, 1.5], r"1 of 2 probabilities are outside \[0, 1\] \(such as 1.5\)"),
        ([1, 0], [0.5, np.nan], "1 of 2 probabilities are outside"),
        ([1, 1], [0.5, 0.5], "All 2 labels are equal, so nothing can be ranked"),
    ],
)
def test_rows_that_cannot_be_judged_are_refused(y: list[float], p: list[float], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        curves.roc_curve(np.array(y), np.array(p))


def test_a_negative_importance_is_refused() -> None:
    with pytest.raises(DataError, match=r"Importance of 'b' is -1\.0, expected 0 or more"):
        curves.importance_shares({"a": 1.0, "b": -1.0})


ROWS = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])), min_size=2, max_size=30)


@settings(max_examples=50, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 9))
def test_areas_are_those_of_scikit_learn_in_any_order_of_rows(rows: list[tuple[bool, float]], seed: int) -> None:
    y, p = np.array([1.0, 0.0, *(r[0] for r in rows)]), np.array([0.5, 0.5, *(r[1] for r in rows)])
    order = np.random.default_rng(seed).permutation(len(y))
    roc, curve = curves.roc_curve(y[order], p[order]), curves.precision_recall_curve(y[order], p[order])
    assert curves.roc_area(roc) == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    assert curves.average_precision(curve) == pytest.approx(average_precision_score(y, p), abs=1e-12)
    assert curves.calibration_bins(y, p)["rows"].sum() == len(y)
    pd.testing.assert_frame_equal(curves.gains_curve(y[order], p[order]), curves.gains_curve(y, p))


def test_draw_all_writes_six_pictures_that_are_the_same_each_time(tmp_path: Path) -> None:
    subject = Subject("online_retail, churn within 90 days", rows="customers", event="leavers")
    importances = {f"orders_amount_{days}d": float(days) for days in range(30)} | {"客户行业": 5.0}
    first = draw_all(tmp_path / "a", Y, P, importances, subject)
    assert [path.name for path in first] == [
        "roc.png",
        "precision_recall.png",
        "calibration.png",
        "gains_and_lift.png",
        "score_histogram.png",
        "importance.png",
    ]
    second = draw_all(tmp_path / "b", Y, P, importances, subject)
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        picture = imread(one)
        assert min(picture.shape[:2]) > 300
        assert picture.std() > 0.05  # something is drawn


def test_a_model_without_features_still_gets_a_picture(tmp_path: Path) -> None:
    assert draw_importance(tmp_path / "importance.png", {}).stat().st_size > 1000


def test_drawing_leaves_no_state_in_pyplot(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    draw_importance(tmp_path / "importance.png", {"a": 1.0})
    assert plt.get_fignums() == []
