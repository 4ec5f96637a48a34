"""Print our figures on the fixed frames beside the best peer: `python tests/eval_frames.py [FOLDER] [TASK ...]`.

FOLDER holds one folder per task (train.parquet, test.parquet, meta.json; or all.parquet and
folds.csv) and a README.md with the peers' figures. Nothing here tells the recipe which task it is on.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.flat_frames import read_flat_frames
from models.metrics import log_losses, measure
from models.recipe import RecipeSettings, evaluate

DATA = Path(os.environ.get("LEADSIEVE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


class Result(NamedTuple):
    """One task: labels and probabilities of the test rows, fold after fold."""

    selected: str
    seconds: float
    label: list[NDArray[np.float64]]
    probability: list[NDArray[np.float64]]

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
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for train, test, options in frames_of(folder, Path(scratch)):
            rows = read_flat_frames(train, test, "y", **options)
            found.append(evaluate(*rows, RecipeSettings(resamples=0)))
    return Result(
        "/".join(dict.fromkeys(one.selected for one in found)),
        sum(one.seconds for one in found),
        [one.test_label for one in found],
        [one.test_probability for one in found],
    )


def read_peers(readme: Path, title: str) -> pd.DataFrame:
    """Peers' figures: one row per peer, one column per task."""
    lines = readme.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0].strip().splitlines()
    cells = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines]
    table = pd.DataFrame(cells[2:], columns=cells[0]).set_index("peer")
    return table.apply(pd.to_numeric, errors="coerce")


def main() -> None:
    """Print one line per task."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "frames"
    if not (folder / "README.md").is_file():
        raise SystemExit(f"{folder} is absent: the frames are not part of the project. Pass their folder.")
    aucs, losses = read_peers(folder / "README.md", "ROC AUC"), read_peers(folder / "README.md", "log loss")
    tasks = sys.argv[2:] or list(aucs.columns)
    print(f"{'task':<26}{'AUC':>7}  {'best peer':<32}{'log loss':>9}  {'best peer':<32}{'s':>5}  selected")
    for task in tasks:
        result = run_task(folder / task)
        best = [f"{aucs[task].max():.3f} {aucs[task].idxmax()}", f"{losses[task].min():.3f} {losses[task].idxmin()}"]
        print(
            f"{task:<26}{result.auc:>7.3f}  {best[0]:<32}{result.log_loss:>9.4f}  {best[1]:<32}"
            f"{result.seconds:>5.0f}  {result.selected}",
            flush=True,
        )


if __name__ == "__main__":
    main()
