"""The model MLflow stores is complete: it loads where leadsieve is not installed, and says the same."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_registry import FRAME, make_config, train, write_bundle

from models.boosted_trees import BoostedTrees
from models.bundle import save_bundle
from models.predict import load_bundle
from models.recipe import Choice, fit_choice
from models.training_set import TrainingSet
from pipeline.config import Config
from pipeline.registry import open_mlflow
from pipeline.tracking import log_training

# Intercept 0.5, then by hand (see write_bundle):
LOG_ODDS = [
    0.5 + 0.0 + 1.0,  # no order, pharma
    0.5 - 0.75 + 0.125,  # three orders, industry unknown
    0.5 - 1.0 + 0.0,  # orders unknown, an industry the model has not met
]

ALONE = """
import importlib.abc, sys, warnings
warnings.simplefilter("ignore")

class NotInstalled(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("features", "models", "pipeline"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, NotInstalled())
for name in ("features", "models", "pipeline"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} is importable")

import mlflow.pyfunc, pandas as pd
model, rows, answer = sys.argv[1:]
mlflow.pyfunc.load_model(model).predict(pd.read_parquet(rows)).to_parquet(answer)
print([name for name in sys.modules if name.partition(".")[0] in ("features", "models", "pipeline")])
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A deployment with one training."""
    folder = tmp_path_factory.mktemp("model")
    made = make_config(folder)
    train(made, folder)
    return made


@pytest.fixture(scope="module")
def stored(config: Config) -> Path:
    """Folder of the logged model, as MLflow keeps it."""
    return next((config.folder / "mlartifacts").rglob("MLmodel")).parent


def predict_alone(model: Path, rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Predict in a new interpreter that cannot import leadsieve."""
    rows.to_parquet(folder / "rows.parquet")
    arguments = [str(model), str(folder / "rows.parquet"), str(folder / "answer.parquet")]
    done = subprocess.run([sys.executable, "-I", "-c", ALONE, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    return pd.read_parquet(folder / "answer.parquet")


def test_the_stored_model_says_the_same_to_the_bit_without_leadsieve(stored: Path, tmp_path: Path) -> None:
    answer = predict_alone(stored, FRAME, tmp_path)
    bundle = load_bundle(write_bundle(tmp_path / "bundle"))
    assert answer["log_odds"].tolist() == LOG_ODDS
    assert answer["log_odds"].to_numpy().tobytes() == bundle.log_odds(FRAME).tobytes()
    assert answer["probability"].to_numpy().tobytes() == bundle.predict(FRAME).tobytes()


def test_trees_and_a_calibration_curve_survive_too_in_any_order_of_columns(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    orders, industry = generator.poisson(2.0, 300), generator.choice(["pharma", "mining", "retail"], 300)
    frame = pd.DataFrame({"orders": np.where(orders == 0, np.nan, orders), "industry": industry})
    label = (generator.random(300) < np.where(industry == "pharma", 0.7, 0.2)).astype(float)
    curve = {"kind": "curve", "x": [-2.0, 0.0, 2.0], "y": [-1.0, 0.1, 3.0], "first_slope": 0.5, "last_slope": 0.25}
    setting = {"encoding": "log_odds", "leaves": 4, "random_cuts": False, "learning_rate": 0.1, "trees": 20}
    fitted = fit_choice(Choice(BoostedTrees.name, setting, curve), TrainingSet(frame, label))
    save_bundle(tmp_path / "bundle", fitted)
    config = make_config(tmp_path)
    log_training(config, "churn", {}, [], tmp_path / "bundle", {}, frame)
    model = next((config.folder / "mlartifacts").rglob("MLmodel")).parent

    rows = frame[["industry", "orders"]].sample(frac=1, random_state=1)
    answer = predict_alone(model, rows, tmp_path)
    assert answer.index.tolist() == rows.index.tolist()
    assert answer["log_odds"].to_numpy().tobytes() == fitted.bundle.log_odds(rows).tobytes()
    assert answer["probability"].to_numpy().tobytes() == fitted.bundle.predict(rows).tobytes()
    assert answer["probability"].nunique() > 10


def test_the_stored_model_names_its_columns_types_and_requirements(config: Config, stored: Path) -> None:
    with open_mlflow(config) as mlflow:
        info = mlflow.models.get_model_info(str(stored))
        kinds = [(column.name, column.type.name) for column in info.signature.inputs.inputs]
        example = mlflow.models.Model.load(str(stored)).load_input_example(str(stored))
    assert kinds == [("orders_count_365d", "double"), ("customers_industry", "string")]
    assert [column.name for column in info.signature.outputs.inputs] == ["probability", "log_odds"]
    assert example["orders_count_365d"].tolist() == [1.5]  # the median: no row of anybody
    lines = (stored / "requirements.txt").read_text().split()
    assert f"numpy=={np.__version__}" in lines
    assert "code_paths" not in (stored / "MLmodel").read_text()
    assert not (stored / "code").exists()


def test_a_stored_model_that_was_changed_is_refused(stored: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(stored, tmp_path / "copy"))
    document = next(copy.rglob("model.json"))
    document.write_text(document.read_text().replace("0.125", "0.126"))
    with open_mlflow(make_config(tmp_path)) as mlflow, pytest.raises(Exception, match="changed after it was saved"):
        mlflow.pyfunc.load_model(str(copy))
