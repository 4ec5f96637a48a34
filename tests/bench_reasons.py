"""Benchmark: how fast a model scores many rows, and how fast it says why.

    .venv/bin/python tests/bench_reasons.py [--rows 1000000] [--columns 100] [--trees 300] [--leaves 12] [--threads 2]

Prints rows per second of the bundle's scores beside those of its members' own `predict`, and of its reasons beside
LightGBM's `pred_contrib`, which is measured on a sample and scaled up in proportion to the rows. Times are those on
the clock; CPU seconds stand beside them, as they bear a busy machine better.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TRAINING_ROWS = 20_000
WORDS = {"en": "{value:,.2f} in 90 days", "zh": "90 天内 {value:,.2f}"}


class Took(NamedTuple):
    """Seconds on the clock and of the CPUs, and what came out."""

    wall: float
    cpu: float
    found: Any


def measure(work: Callable[[], Any]) -> Took:
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return Took(time.perf_counter() - wall, time.process_time() - cpu, found)


def make_frame(rows: int, columns: int, seed: int) -> Any:
    """Half counts, half amounts, a tenth of them null, and one text column."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, columns - 1))
    values[:, ::2] = np.round(3 * np.abs(values[:, ::2]))
    values[rng.random(values.shape) < 0.1] = np.nan
    frame = pd.DataFrame(values, columns=[f"feature_{at}" for at in range(columns - 1)])
    frame["region"] = np.array(["north", "south", "east", "west"])[rng.integers(0, 4, rows)]
    return frame.astype({"region": "str"})


def make_bundle(columns: int, trees: int, leaves: int) -> Any:
    """A blend of trees and a logistic line, fitted on rows of the same kind."""
    import numpy as np

    from models.recipe import Choice, fit_choice
    from models.training_set import TrainingSet

    frame = make_frame(TRAINING_ROWS, columns, seed=1)
    known = np.nan_to_num(frame.drop(columns="region").to_numpy())
    weights = np.random.default_rng(2).normal(size=known.shape[1]) / np.sqrt(columns)
    log_odds = known @ weights + 0.5 * known[:, 0] * known[:, 1] + 0.4 * (frame["region"] == "north")
    label = np.random.default_rng(3).random(TRAINING_ROWS) < 1 / (1 + np.exp(-log_odds))
    shape = {"encoding": "levels", "leaves": leaves, "random_cuts": True, "learning_rate": 0.05, "trees": trees}
    settings = {"logistic": {"ramps": 8, "penalty": 3.0}, "lightgbm": shape}
    choice = Choice(
        "blend", {"weights": {"logistic": 0.4, "lightgbm": 0.6}, "settings": settings}, {"kind": "identity"}
    )
    return fit_choice(choice, TrainingSet(frame, label.astype(float))).bundle


def own_predict(bundle: Any, frame: Any) -> Took:
    """Members' own predict, one after the other, on input that is ready for each."""
    from models.predict import TreeMember, read_columns

    columns = read_columns(frame, bundle.columns)
    wall = cpu = 0.0
    for _, member in bundle.members:
        if isinstance(member, TreeMember):
            matrix = member._matrix(columns, len(frame))
            took = measure(lambda member=member, matrix=matrix: member.booster.predict(matrix, raw_score=True))
        else:
            took = measure(lambda member=member: member.log_odds(columns, len(frame)))
        wall, cpu = wall + took.wall, cpu + took.cpu
        print(f"  own predict of {type(member).__name__}: {took.wall:.1f} s on the clock, {took.cpu:.1f} s of CPU")
    return Took(wall, cpu, None)


def slow_reasons(bundle: Any, frame: Any) -> Took:
    """`pred_contrib` of the trees, on a sample."""
    from models.predict import TreeMember, read_columns

    (trees,) = (member for _, member in bundle.members if isinstance(member, TreeMember))
    matrix = trees._matrix(read_columns(frame, bundle.columns), len(frame))
    return measure(lambda: trees.booster.predict(matrix, pred_contrib=True))


def run(rows: int, columns: int, trees: int, leaves: int, sample: int) -> dict[str, Any]:
    import numpy as np

    from models.predict import MANY_ROWS
    from models.reasons import write_reasons

    bundle = make_bundle(columns, trees, leaves)
    frame = make_frame(rows, columns, seed=4)
    print(f"{rows:,} rows x {columns} columns, {trees} trees of {leaves} leaves and a logistic line")
    own = own_predict(bundle, frame)
    scored = measure(lambda: bundle.log_odds(frame))
    tables = measure(lambda: [getattr(member, "_tables", None) for _, member in bundle.members])
    explained = measure(lambda: bundle.explain(frame))
    log_odds, base, parts = explained.found
    infos = {name: WORDS for name in frame.columns if name != "region"}
    written = measure(lambda: write_reasons(frame, parts, log_odds, bundle.reason_names, infos))
    few = frame.head(sample)
    slow = slow_reasons(bundle, few)
    assert len(few) <= MANY_ROWS
    reference = bundle.contributions(few)[1]
    worst_sum = float(np.abs(base + parts.sum(axis=1) - scored.found).max())
    scale = rows / len(few)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    looked_up = explained.wall + tables.wall
    print(f"scores: {rows / scored.wall:,.0f} rows/s ({scored.wall:.1f} s; {scored.cpu:.1f} s of CPU)")
    cpu = explained.cpu + tables.cpu
    print(f"reasons: {rows / looked_up:,.0f} rows/s with scores ({looked_up:.1f} s; {cpu:.1f} s of CPU)")
    print(f"  of which making the tables {tables.wall:.1f} s; words and JSON beside that {written.wall:.1f} s")
    print(
        f"pred_contrib: {len(few) / slow.wall:,.0f} rows/s, measured on {len(few):,} rows; all rows in proportion: "
        f"{scale * slow.wall:,.0f} s ({scale * slow.cpu:,.0f} s of CPU)"
    )
    worst = float(np.abs(parts[: len(few)] - reference).max())
    print(f"largest difference to pred_contrib {worst:.1e}, of a sum to the log-odds {worst_sum:.1e}")
    return {
        "scores_to_own_predict": own.wall / scored.wall,
        "scores_to_own_predict_cpu": own.cpu / scored.cpu,
        "reasons_to_pred_contrib": scale * slow.wall / looked_up,
        "reasons_to_pred_contrib_cpu": scale * slow.cpu / cpu,
        "with_words_to_pred_contrib": scale * slow.wall / (looked_up + written.wall),
        "peak_gb": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 1_000_000), ("columns", 100), ("trees", 300), ("leaves", 12), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--sample", type=int, default=4_000, help="rows on which pred_contrib is measured")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)  # read when LightGBM is loaded
    print(json.dumps(run(asked.rows, asked.columns, asked.trees, asked.leaves, asked.sample), indent=1))


if __name__ == "__main__":
    main()
