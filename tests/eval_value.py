"""Print how well revenue is predicted on public data: `python tests/eval_value.py [NAME ...]`.

The shipped configs with a target of kind `value` in place of their own: revenue within 180 days (cdnow) or 90 days
(online_retail), the same customers and test block. Ours stands beside the mean of the training rows, beside what
the customer brought in during a past window as long as the horizon, scaled, and beside the same as a fitted curve.
LEADSIEVE_DATA names the folder with the data sets (default: ../shared/data); state goes to a temporary folder.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np

from features.targets import local_midnight
from models.candidate import Floats
from models.recipe import RecipeSettings
from models.training_set import TrainingSet
from models.value import evaluate_value, split_value_test
from models.value_metrics import measure_value
from pipeline.config import Config, load_config
from pipeline.deployment import load_extract
from pipeline.extract import extract
from pipeline.training import make_training_set
from pipeline.value_training import past_revenue_column

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("cdnow", "online_retail")
SHOWN = ("mae", "rmse", "deviance", "spearman", "gini", "captured_at_10", "predicted_over_observed")


def value_config(path: Path, state: Path) -> Config:
    """Return a shipped config whose churn target asks for revenue instead."""
    config = load_config(path)
    churn = config.targets["churn"].model_dump()
    target = {**churn, "kind": "value", "by": None}
    document = {**config.model_dump(), "state": state, "targets": {"value": target}, "write_back": None}
    return Config.model_validate(document)


def naive(train: TrainingSet, test: TrainingSet, column: str) -> Floats:
    """Past revenue times the factor that was right in training; a cent where there was none, for the deviance."""
    past = train.frame[column].to_numpy(), test.frame[column].to_numpy()
    return np.maximum(past[1] * train.label.sum() / past[0].sum(), 0.01)


def header(shown: Sequence[str] = SHOWN) -> str:
    """Names above the cells of `line`."""
    return f"{'deployment':<15}{'predicted by':<27}" + "".join(f"{name:>27}" for name in shown)


def line(name: str, what: str, figures: dict[str, Any], shown: Sequence[str] = SHOWN) -> str:
    """One line: each figure with its 95 % interval."""
    cells = []
    for one in shown:
        low, high = figures["interval"][one]
        value = figures[one]
        cells.append("-" if value is None else f"{value:.3f} [{low:.3f}, {high:.3f}]")
    return f"{name:<15}{what:<27}" + "".join(f"{cell:>27}" for cell in cells)


def run(name: str, state: Path) -> Iterator[str]:
    """Lines of one deployment."""
    config = value_config(Path("configs") / f"{name}.yaml", state)
    extract(config)
    tables = load_extract(config)
    rows = make_training_set(config, tables, "value")
    pinned = config.targets["value"].test_as_of
    train, test = split_value_test(rows, local_midnight(pinned, tables.time_zone))
    column = past_revenue_column(rows)
    evaluation = evaluate_value(train, test, column, RecipeSettings(seed=config.seed))

    def figures(value: Floats) -> dict[str, Any]:
        return measure_value(test.label, value, test.group)

    yield line(name, f"ours ({evaluation.selected})", evaluation.to_json()["test"])
    yield line(name, "mean", figures(np.full(len(test), float(train.label.mean()))))
    if column is not None:
        yield line(name, "past revenue, scaled", figures(naive(train, test, column)))
    document = evaluation.to_json()
    yield f"{name}: {len(train):,} rows to train on, {len(test):,} to test, {evaluation.seconds:.0f} s; out of fold:"
    for one in document["candidates"]:
        yield line(name, f"  {one['name']}", one)
    yield f"{name}: calibrator {document['calibrator']}; tenths of the test rows (predicted / observed): " + ", ".join(
        f"{tenth['predicted']:.0f} / {tenth['observed']:.0f}" for tenth in document["test"]["tenths"]
    )


def main() -> None:
    """Print the lines of the deployments named, or of both."""
    folder = Path(os.environ.setdefault("LEADSIEVE_DATA", str(ROOT.parent / "shared" / "data")))
    if not folder.is_dir():
        raise SystemExit(f"{folder} is absent: the data are not part of the project. Set LEADSIEVE_DATA to it.")
    os.environ["LEADSIEVE_DATA"] = str(folder.resolve())
    print(header(), flush=True)
    with chdir(ROOT), tempfile.TemporaryDirectory() as state:
        for name in sys.argv[1:] or NAMES:
            for text in run(name, Path(state)):
                print(text, flush=True)


if __name__ == "__main__":
    main()
