"""Replay retraining on the bank's calls: `python tests/eval_replay.py [--anew] [--html FOLDER] [FOLDER]`.

FOLDER holds bank_ordered/train.parquet and test.parquet, calls in the order they were made. The first
30,891 are only learned from, the last 10,297 are scored; the configured policy retrains every 1,030 calls on the
last 20,000. Played with a small LightGBM of fixed settings, and with what the recipe chooses on the first
30,891; with --anew also with what it chooses at every training (minutes).
"""

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console

from models.advice import recommend
from models.flat_frames import read_flat_frames
from models.policy import Policy
from models.replay import replay
from models.replay_figures import Contacts, sum_up
from models.training_set import TrainingSet
from pipeline.replay import Replayed, policies_around, replay_rows
from pipeline.replay_page import make_tables, write_page

DATA = Path(os.environ.get("LEADSIEVE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
START, EVERY, WINDOW = 30_891, 1_030, 20_000
CONFIGURED = Policy(EVERY, WINDOW)
PRICES = Contacts(value_per_event=10.0, cost_per_contact=1.0)
"""Made up: a subscription is worth ten calls."""
SMALL: dict[str, Any] = {"n_estimators": 100, "num_leaves": 15, "learning_rate": 0.05, "n_jobs": 1, "verbose": -1}


def read_calls(folder: Path) -> TrainingSet:
    """All calls in the order they were made."""
    parts = read_flat_frames(folder / "train.parquet", folder / "test.parquet", "y", time="time")
    return TrainingSet(
        frame=pd.concat([part.frame for part in parts], ignore_index=True),
        label=np.concatenate([part.label for part in parts]),
        time=np.concatenate([part.time for part in parts if part.time is not None]),
        manifest={"target": "bank calls"},
    )


def small_lightgbm(rows: TrainingSet) -> Callable[[pd.DataFrame], NDArray[np.float64]]:
    """LightGBM alone, text as its own categories: the yardstick."""
    text = {str(name): pd.unique(column.dropna()) for name, column in rows.frame.items() if column.dtype != np.float64}

    def coded(frame: pd.DataFrame) -> pd.DataFrame:
        known = {name: frame[name].where(frame[name].isin(levels)) for name, levels in text.items()}
        return frame.assign(**{name: pd.Categorical(column, text[name]) for name, column in known.items()})

    model = lgb.LGBMClassifier(**SMALL).fit(coded(rows.frame), rows.label)
    return lambda frame: np.asarray(model.predict_proba(coded(frame)))[:, 1]


def replay_small(rows: TrainingSet) -> Replayed:
    """Play the policies with the small LightGBM."""
    policies = policies_around(CONFIGURED)
    summary = sum_up(replay(rows, policies, small_lightgbm, START), PRICES, EVERY)
    compared = f"Every training fits LightGBM with {SMALL['n_estimators']} trees of {SMALL['num_leaves']} leaves."
    return Replayed("bank calls", "EUR", CONFIGURED, compared, summary, recommend(summary, gate=False))


def replay_recipe(rows: TrainingSet, *, anew: bool) -> Replayed:
    """Play the policies with the recipe; never and as configured alone where it chooses anew."""
    policies = (Policy(None), CONFIGURED) if anew else policies_around(CONFIGURED)
    return replay_rows(rows, CONFIGURED, policies, start=START, contacts=PRICES, period_length=EVERY, choose_anew=anew)


def main() -> None:
    """Print the tables and, with --html, write the pages."""
    warnings.simplefilter("ignore")
    arguments = sys.argv[1:]
    anew = "--anew" in arguments
    html = Path(arguments[arguments.index("--html") + 1]) if "--html" in arguments else None
    named = [one for one in arguments if not one.startswith("--") and one != str(html)]
    folder = Path(named[0]) if named else DATA / "frames" / "bank_ordered"
    if not (folder / "train.parquet").is_file():
        raise SystemExit(f"{folder} is absent: the frames are not part of the project. Pass their folder.")
    rows, console = read_calls(folder), Console(width=180)
    played = {"small": replay_small(rows), "recipe": replay_recipe(rows, anew=False)}
    if anew:
        played["anew"] = replay_recipe(rows, anew=True)
    for name, replayed in played.items():
        console.print(replayed.compared, *make_tables(replayed), replayed.sentence, "", sep="\n")
        if html is not None:
            write_page(replayed, html / f"replay-{name}.html")


if __name__ == "__main__":
    main()
