"""What a loaded bundle says: exact sums, one row like a batch, and a contract that stops drifted input."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_recipe import simulate

import models.predict
from models.bundle import save_bundle
from models.errors import BundleError
from models.predict import Bundle, calibrate, load_bundle, to_probability
from models.recipe import Choice, FittedModel, fit_choice

TREES = {"encoding": "levels", "leaves": 12, "random_cuts": True, "learning_rate": 0.1, "trees": 40}
CURVES = {"ramps": 8, "penalty": 3.0}
BLEND = {"weights": {"logistic": 0.4, "lightgbm": 0.6}, "settings": {"logistic": CURVES, "lightgbm": TREES}}
BENT = {"kind": "curve", "x": [-1.0, 0.0, 2.0], "y": [-2.0, 0.1, 1.0], "first_slope": 0.7, "last_slope": 0.3}
CHOICES = {
    "base_rate": Choice("base_rate", {}, {"kind": "identity"}),
    "logistic": Choice("logistic", CURVES, {"kind": "sigmoid", "intercept": 0.3, "slope": 0.7}),
    "lightgbm": Choice("lightgbm", {**TREES, "encoding": "log_odds"}, BENT),
    "blend": Choice("blend", BLEND, BENT),
}
FRAME = simulate(200, seed=1).frame
NAMES = pytest.mark.parametrize("name", list(CHOICES))


@cache
def fit(name: str) -> FittedModel:
    return fit_choice(CHOICES[name], simulate(600))


@NAMES
def test_base_and_contributions_sum_to_the_log_odds(name: str) -> None:
    bundle = fit(name).bundle
    base, parts = bundle.contributions(FRAME)
    np.testing.assert_allclose(base + parts.sum(axis=1), bundle.log_odds(FRAME), rtol=0, atol=1e-11)
    assert bundle.explain(FRAME)[0].tobytes() == bundle.log_odds(FRAME).tobytes()
    assert parts.shape == (len(FRAME), len(bundle.columns))


@NAMES
def test_the_calibrator_keeps_the_sign_of_every_contribution(name: str) -> None:
    model = fit(name)
    raw = Bundle({}, {**model.model, "calibrator": {"kind": "identity"}}, model.texts)
    assert (np.sign(raw.contributions(FRAME)[1]) == np.sign(model.bundle.contributions(FRAME)[1])).all()


@NAMES
def test_one_row_says_the_same_as_a_batch_to_the_bit(name: str) -> None:
    bundle = fit(name).bundle
    log_odds, (base, parts) = bundle.log_odds(FRAME), bundle.contributions(FRAME)
    for at in range(0, len(FRAME), 7):
        alone = FRAME.iloc[[at]]
        assert bundle.log_odds(alone).tobytes() == log_odds[at : at + 1].tobytes()
        assert bundle.contributions(alone)[0] == base
        assert bundle.contributions(alone)[1].tobytes() == parts[at : at + 1].tobytes()


@NAMES
def test_chunks_rows_and_columns_in_another_order_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = fit(name).bundle
    whole = bundle.log_odds(FRAME)
    monkeypatch.setattr(models.predict, "CHUNK_ROWS", 13)
    assert bundle.log_odds(FRAME).tobytes() == whole.tobytes()
    assert bundle.log_odds(FRAME.iloc[::-1])[::-1].tobytes() == whole.tobytes()
    assert bundle.log_odds(FRAME[FRAME.columns[::-1]].assign(extra=1.0)).tobytes() == whole.tobytes()
    assert bundle.contributions(FRAME)[1].shape == (200, 4)


@NAMES
def test_save_then_load_is_the_same_to_the_bit(name: str, tmp_path: Path) -> None:
    bundle = load_bundle(tmp_path / "bundle", save_bundle(tmp_path / "bundle", fit(name)))
    assert bundle.log_odds(FRAME).tobytes() == fit(name).bundle.log_odds(FRAME).tobytes()


@NAMES
def test_probabilities_lie_between_0_and_1_and_rank_like_the_log_odds(name: str) -> None:
    bundle = fit(name).bundle
    probability, log_odds = bundle.predict(FRAME), bundle.log_odds(FRAME)
    assert ((probability > 0) & (probability < 1)).all()
    assert (np.diff(probability[np.argsort(log_odds, kind="stable")]) >= 0).all()


def test_no_rows_give_no_scores() -> None:
    bundle = fit("blend").bundle
    assert bundle.predict(FRAME.head(0)).shape == (0,)
    assert bundle.contributions(FRAME.head(0))[1].shape == (0, 4)
    assert bundle.unseen_share(FRAME.head(0)) == {"region": 0.0}


def test_a_row_at_the_base_gets_the_slope_of_the_calibrator_there() -> None:
    model = {
        "columns": [{"name": name, "kind": "number"} for name in ("a", "b")],
        "calibrator": {"kind": "sigmoid", "intercept": 1.0, "slope": 0.5},
        "members": [
            {
                "kind": "linear",
                "weight": 1.0,
                "intercept": 0.25,
                "terms": [
                    {"column": name, "kind": "number", "knots": [0, 1], "values": [-1, 1], "missing": 0}
                    for name in ("a", "b")
                ],
            }
        ],
    }
    base, parts = Bundle({}, model, {}).contributions(pd.DataFrame({"a": [1.0], "b": [0.0]}))
    assert base == 1.0 + 0.5 * 0.25
    assert parts.tolist() == [[0.5, -0.5]]  # +1 and -1 cancel, so the row is the base; the slope there is 0.5


def test_a_bent_calibrator_goes_through_its_points_and_on_beyond_them() -> None:
    value, slope = calibrate(BENT, np.array([-2.0, -1.0, -0.5, 1.0, 4.0]))
    assert value.tolist() == pytest.approx([-2.7, -2.0, -0.95, 0.55, 1.6])
    assert slope.tolist() == pytest.approx([0.7, 2.1, 2.1, 0.45, 0.3])


def test_probabilities_of_huge_log_odds_do_not_overflow() -> None:
    assert to_probability(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0.0, 0.5, 1.0]


def test_a_renamed_column_stops_the_job_and_the_nearest_is_named() -> None:
    with pytest.raises(BundleError, match=r"Column 'amount' is missing from the 200 rows.*Did 'amounts' replace it\?"):
        fit("logistic").bundle.predict(FRAME.rename(columns={"amount": "amounts"}))


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        ("amount", "12.5", "Column 'amount' holds str, expected numbers"),
        ("region", 3.0, "Column 'region' holds float64, expected text"),
    ],
)
def test_a_retyped_column_stops_the_job(column: str, values: object, sentence: str) -> None:
    with pytest.raises(BundleError, match=sentence):
        fit("logistic").bundle.predict(FRAME.assign(**{column: values}))


def test_other_containers_of_the_same_values_give_the_same_scores() -> None:
    bundle = fit("blend").bundle
    whole = bundle.log_odds(FRAME)
    assert bundle.log_odds(FRAME.astype({"region": object})).tobytes() == whole.tobytes()
    assert bundle.log_odds(FRAME.astype({"region": "category", "age": "Float64"})).tobytes() == whole.tobytes()


def test_a_column_with_no_value_at_all_is_missing_whatever_its_type() -> None:
    bundle = fit("blend").bundle
    empty = [bundle.log_odds(FRAME.assign(age=value, region=value)) for value in (None, np.nan)]
    assert empty[0].tobytes() == empty[1].tobytes()


def test_unseen_categories_are_counted_and_missing_ones_are_not() -> None:
    frame = pd.DataFrame({"amount": 1.0, "age": 1.0, "region": ["north", "mars", None, "mars"], "same": 1.0})
    assert fit("lightgbm").bundle.unseen_share(frame) == {"region": 0.5}


ALONE = """
import sys
sys.modules["models"] = None  # as where leadsieve is not installed: importing it fails
import pandas as pd
import predict
bundle = predict.load_bundle(sys.argv[1])
print(repr(float(bundle.predict(pd.read_parquet(sys.argv[2]))[0])))
try:
    bundle.predict(pd.DataFrame({"amount": [1.0]}))
except predict.BundleError as error:
    print(error)
"""


def test_the_file_works_alone_copied_out_of_the_project(tmp_path: Path) -> None:
    shutil.copy(str(models.predict.__file__), tmp_path / "predict.py")
    save_bundle(tmp_path / "bundle", fit("blend"))
    FRAME.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "alone.py").write_text(ALONE)
    command = [sys.executable, "alone.py", "bundle", "rows.parquet"]
    hidden = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    answer = subprocess.run(
        ["env", "-i", *(f"{key}={value}" for key, value in hidden.items()), *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    first, second = answer.stdout.splitlines()
    assert float(first) == fit("blend").bundle.predict(FRAME)[0]
    assert second.startswith("Column 'age' is missing")
