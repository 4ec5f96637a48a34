"""Print our figures on the fixed frames beside the best peer: `python tests/eval_frames.py [FOLDER] [TASK ...]`.

Printed are also paired differences from two peers fitted in the same run.
FOLDER holds one folder per task (train.parquet, test.parquet, meta.json; or all.parquet and
folds.csv) and a README.md with the peers' figures. Nothing here tells the recipe which task it is on.
"""

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from models.flat_frames import read_flat_frames
from models.metrics import log_losses, measure
from models.recipe import RecipeSettings, evaluate
from models.training_set import TrainingSet

DATA = Path(os.environ.get("LEADSIEVE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


class Result(NamedTuple):
    """One task: labels and probabilities of the test rows, fold after fold."""

    selected: str
    seconds: float
    label: list[NDArray[np.float64]]
    probability: list[NDArray[np.float64]]
    peers: Mapping[str, list[NDArray[np.float64]]]

    @property
    def auc(self) -> float:
        """Mean over folds."""
        pairs = zip(self.label, self.probability, strict=True)
        return float(np.mean([measure(label, probability, resamples=0)["auc"] for label, probability in pairs]))

    @property
    def log_loss(self) -> float:
        """Over all rows."""
        return float(log_losses(np.concatenate(self.label), np.concatenate(self.probability)).mean())


def frames_of(folder: Path, scratch: Path) -> Iterator[tuple[Path, Path, dict[str, Any]]]:
    """Training file, test file and options of each run of a task."""
    if (folder / "meta.json").is_file():
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        columns = {name: name if meta[name] else None for name in ("time", "group")}
        yield folder / "train.parquet", folder / "test.parquet", {**columns, "horizon": meta.get("horizon", 0)}
        return
    rows, fold = pd.read_parquet(folder / "all.parquet"), pd.read_csv(folder / "folds.csv")["fold"].to_numpy()
    rows = rows.drop(columns="fold")
    for k in np.unique(fold):
        train, test = scratch / f"train-{k}.parquet", scratch / f"test-{k}.parquet"
        rows[fold != k].to_parquet(train)
        rows[fold == k].to_parquet(test)
        yield train, test, {"group": "group"}


def run_task(folder: Path) -> Result:
    """Evaluate every run of a task."""
    found, peers = [], {name: [] for name in PEERS}
    with tempfile.TemporaryDirectory() as scratch:
        for train, test, options in frames_of(folder, Path(scratch)):
            rows = read_flat_frames(train, test, "y", **options)
            found.append(evaluate(*rows, RecipeSettings(resamples=0)))
            for name, fit in PEERS.items():
                peers[name].append(fit(*rows))
    return Result(
        "/".join(dict.fromkeys(one.selected for one in found)),
        sum(one.seconds for one in found),
        [one.test_label for one in found],
        [one.test_probability for one in found],
        peers,
    )


def read_peers(readme: Path, title: str) -> pd.DataFrame:
    """Peers' figures: one row per peer, one column per task."""
    lines = readme.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0].strip().splitlines()
    cells = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines]
    table = pd.DataFrame(cells[2:], columns=cells[0]).set_index("peer")
    return table.apply(pd.to_numeric, errors="coerce")


def plain_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Missing text as a level of its own, as the peers' figures were made."""
    return frame.assign(
        **{
            str(name): column.astype(object).where(column.notna(), "missing").astype("category")
            for name, column in frame.items()
            if column.dtype != np.float64
        }
    )


def fit_logistic(train: TrainingSet, test: TrainingSet) -> NDArray[np.float64]:
    """Standardised numbers, one column per level: scikit-learn's defaults."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler())
    levels = OneHotEncoder(handle_unknown="ignore", min_frequency=10)
    pick = make_column_selector
    columns = make_column_transformer(
        (numbers, pick(dtype_include=np.number)), (levels, pick(dtype_include="category"))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(plain_rows(train.frame), train.label)
    return np.asarray(fitted.predict_proba(plain_rows(test.frame))[:, 1])


def fit_lightgbm(train: TrainingSet, test: TrainingSet) -> NDArray[np.float64]:
    """LightGBM's defaults, text as its categories."""
    seen, unseen = plain_rows(train.frame), plain_rows(test.frame)
    for name in seen.columns[[dtype == "category" for dtype in seen.dtypes]]:
        unseen[name] = unseen[name].cat.set_categories(seen[name].cat.categories)
    data = lgb.Dataset(seen, train.label)
    booster = lgb.train({"objective": "binary", "verbose": -1, "num_threads": 2, "seed": 0}, data)
    return np.asarray(booster.predict(unseen))


PEERS: Mapping[str, Callable[[TrainingSet, TrainingSet], NDArray[np.float64]]] = {
    "logistic": fit_logistic,
    "LightGBM": fit_lightgbm,
}
"""Fitted here on the same rows, so that differences have a paired standard error."""


def difference(result: Result, peer: str) -> str:
    """How much less log loss than a peer, with its standard error over rows."""
    label = np.concatenate(result.label)
    ours, theirs = (log_losses(label, np.concatenate(part)) for part in (result.probability, result.peers[peer]))
    saved = theirs - ours
    return f"{saved.mean():+.4f} ± {saved.std(ddof=1) / np.sqrt(len(saved)):.4f}"


class Bar(NamedTuple):
    """How far a task is from its best peer; what is better is above zero for AUC, below for log loss."""

    auc: float
    log_loss: float
    seconds: float


def judge(bars: Mapping[str, Bar]) -> list[str]:
    """Sentences on what was missed; none when all is reached."""
    missed = []
    worse = {task: bar.log_loss for task, bar in bars.items() if bar.log_loss > 0}
    if len(worse) > 1 or any(share > 0.01 for share in worse.values()):
        missed.append(f"log loss above the best peer's on {worse}: at most one task, and by 1 % at most")
    behind = {task: bar.auc for task, bar in bars.items() if bar.auc < -0.005}
    if len(behind) > 1 or any(gap < -0.015 for gap in behind.values()):
        missed.append(f"AUC more than 0.005 below the best peer's on {behind}: at most one task, and by 0.015 at most")
    slow = {task: bar.seconds for task, bar in bars.items() if bar.seconds > 120}
    if slow:
        missed.append(f"more than 120 s on {slow}")
    return missed


def main() -> None:
    """Print one line per task, and exit with 1 if a bar is missed."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "frames"
    if not (folder / "README.md").is_file():
        raise SystemExit(f"{folder} is absent: the frames are not part of the project. Pass their folder.")
    aucs, losses = read_peers(folder / "README.md", "ROC AUC"), read_peers(folder / "README.md", "log loss")
    tasks, bars = sys.argv[2:] or list(aucs.columns), {}
    print(
        f"{'task':<24}{'AUC':>6}  {'best peer':<30}{'log loss':>8}  {'best peer':<30}{'s':>4}  {'selected':<14}"
        "log loss saved on logistic, on LightGBM's defaults (± paired standard error)"
    )
    for task in tasks:
        result = run_task(folder / task)
        best = [f"{aucs[task].max():.3f} {aucs[task].idxmax()}", f"{losses[task].min():.3f} {losses[task].idxmin()}"]
        saved = ", ".join(difference(result, peer) for peer in PEERS)
        print(
            f"{task:<24}{result.auc:>6.3f}  {best[0]:<30}{result.log_loss:>8.4f}  {best[1]:<30}"
            f"{result.seconds:>4.0f}  {result.selected:<14}{saved}",
            flush=True,
        )
        least, most = losses[task].min(), aucs[task].max()
        bars[task] = Bar(result.auc - most, result.log_loss / least - 1.0, result.seconds / len(result.label))
    missed = judge(bars)
    print("\n".join(missed) if missed else "Every bar is reached.")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
