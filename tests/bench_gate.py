"""Benchmark: how often the gate promotes what it should not, and what it should.

    python tests/bench_gate.py [--tries 200]

Each try draws a world of its own from one law (16 columns, some of which interact, about one row in
five positive), fits LightGBM and a logistic line on 5,000 rows and asks the gate on 4,000 fresh ones.
Prints the share that was promoted of challengers that are

(a) the champion under another seed, for the recipe's LightGBM and for one with LightGBM's own defaults
    and row sampling, whose seeds differ more;
(b) 0.02 AUC worse;   (c) 0.02 AUC better.

For (b) and (c) one of two models does not see a column (`nested`), or each sees one the other does not
(`apart`), the columns' weights set so that the mean AUC differs by 0.02. Beside the share are printed the
share whose interval against the champion alone is on the right side (the gate also asks how much is saved,
and for the logistic line and the base rate); the measured difference in AUC; and the correlation of the
two models' log-odds within a class. Fails if (a) is above 5 %, (b) above 0, or (c) below 80 %.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.boosted_trees import FAST, SHAPES, _parameters
from models.gate import compare, decide
from models.metrics import measure
from models.predict import to_probability

Floats = NDArray[np.float64]

TRAIN_ROWS, TEST_ROWS, COLUMNS = 5_000, 4_000, 16
WEIGHTS = np.array([0.7, -0.5, 0.4, 0.3, -0.3, 0.2, 0.2, -0.1, 0.1, 0.1, 0.0, 0.0, 0.0, 0.0])
BASE = -2.22
NESTED, APART = (0.452, 0.0), (0.555, 0.312)
"""Weights of the last two columns, of which one model or the other does not see one."""
ALL = tuple(range(COLUMNS))
WITHOUT_FIRST, WITHOUT_SECOND = (*ALL[:-2], 15), ALL[:-1]
RECIPE = {**_parameters(0, TRAIN_ROWS, {**SHAPES[1], "learning_rate": FAST[0]}, ()), "rounds": 80}
DEFAULTS = {
    "objective": "binary",
    "rounds": 100,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "feature_fraction": 0.6,
    "num_threads": 1,
    "deterministic": True,
    "verbose": -1,
}


class Rows(NamedTuple):
    """Rows of a world: columns and label."""

    columns: Floats
    label: Floats


class Try(NamedTuple):
    """One meeting of two models: what the gate said, and what it was about."""

    promoted: bool
    better: bool
    auc_difference: float
    correlation: float


def draw(generator: np.random.Generator, count: int, last: tuple[float, float]) -> Rows:
    """Rows of the law, with weights of the last two columns."""
    x = generator.normal(size=(count, COLUMNS))
    log_odds = BASE + x[:, :14] @ WEIGHTS + 0.5 * x[:, 0] * x[:, 1] + 0.5 * np.abs(x[:, 2]) + x[:, 14:] @ np.array(last)
    return Rows(x, (generator.random(count) < to_probability(log_odds)).astype(float))


def fit_trees(rows: Rows, seen: tuple[int, ...], parameters: dict[str, Any], seed: int) -> Callable[[Floats], Floats]:
    """LightGBM on the columns it may see."""
    own = {key: value for key, value in parameters.items() if key != "rounds"} | {"seed": seed}
    booster = lgb.train(own, lgb.Dataset(rows.columns[:, list(seen)], rows.label), parameters["rounds"])
    return lambda x: np.asarray(booster.predict(x[:, list(seen)]))


def meet(test: Rows, challenger: Floats, others: Mapping[str, Floats], seed: int) -> Try:
    """Ask the gate, and see how far the challenger and the champion are apart."""
    found = compare(test.label, challenger, others, seed=seed)
    models = (challenger, others["champion"])
    auc = [measure(test.label, one, resamples=0)["auc"] for one in models]
    odds = [np.log(one / (1 - one)) for one in models]
    within = [np.corrcoef(odds[0][at], odds[1][at])[0, 1] for at in (test.label == 0, test.label == 1)]
    better = found.differences["champion"].is_better
    return Try(decide(found).promote, better, auc[0] - auc[1], float(np.mean(within)))


def fit_simple(rows: Rows, seen: tuple[int, ...], x: Floats) -> dict[str, Floats]:
    """Return the further opponents' scores: a logistic line on the challenger's columns, and the base rate."""
    line = LogisticRegression(C=0.1).fit(rows.columns[:, list(seen)], rows.label)
    return {"logistic": line.predict_proba(x[:, list(seen)])[:, 1], "base_rate": np.full(len(x), rows.label.mean())}


def try_seeds(at: int, parameters: dict[str, Any]) -> Try:
    """One model under two seeds, with no other opponent that could refuse it."""
    generator = np.random.default_rng(at)
    rows, test = draw(generator, TRAIN_ROWS, NESTED), draw(generator, TEST_ROWS, NESTED)
    one, other = (fit_trees(rows, ALL, parameters, 2 * at + extra)(test.columns) for extra in (1, 2))
    return meet(test, one, {"champion": other}, at)


def try_pair(at: int, last: tuple[float, float], better: tuple[int, ...], worse: tuple[int, ...]) -> tuple[Try, Try]:
    """Two models that see different columns: the worse as challenger, and the better."""
    generator = np.random.default_rng(10_000 + at)
    rows, test = draw(generator, TRAIN_ROWS, last), draw(generator, TEST_ROWS, last)
    good, bad = (
        fit_trees(rows, seen, RECIPE, 2 * at + extra)(test.columns) for extra, seen in ((1, better), (2, worse))
    )
    down = meet(test, bad, {"champion": good, **fit_simple(rows, worse, test.columns)}, at)
    return down, meet(test, good, {"champion": bad, **fit_simple(rows, better, test.columns)}, at)


def show(name: str, tries: list[Try], bar: str, holds: Callable[[float], bool]) -> bool:
    """Print one line and say whether its bar holds."""
    share = float(np.mean([one.promoted for one in tries]))
    auc = np.mean([one.auc_difference for one in tries])
    correlation = np.mean([one.correlation for one in tries])
    alone = float(np.mean([one.better for one in tries]))
    met = holds(share)
    spread = np.std([one.auc_difference for one in tries])
    print(
        f"{name:<31} {share:7.1%} promoted ({bar}: {'met' if met else 'MISSED'}), "
        f"{alone:.1%} by the interval alone; AUC {auc:+.4f} (sd {spread:.4f}), correlation {correlation:.3f}",
        flush=True,
    )
    return met


def main() -> int:
    """Print the shares; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=200)
    tries = range(parser.parse_args().tries)
    started = time.perf_counter()
    met = []
    for name, parameters in (("recipe", RECIPE), ("defaults", DEFAULTS)):
        met.append(
            show(
                f"(a) another seed, {name}", [try_seeds(at, parameters) for at in tries], "<= 5 %", lambda s: s <= 0.05
            )
        )
    pairs = (("nested", NESTED, ALL, WITHOUT_FIRST), ("apart", APART, WITHOUT_SECOND, WITHOUT_FIRST))
    for name, last, better, worse in pairs:
        met_twice = [try_pair(at, last, better, worse) for at in tries]
        met.append(show(f"(b) 0.02 AUC worse, {name}", [one[0] for one in met_twice], "never", lambda s: s == 0))
        met.append(show(f"(c) 0.02 AUC better, {name}", [one[1] for one in met_twice], ">= 80 %", lambda s: s >= 0.8))
    print(f"{len(tries)} tries each, {TEST_ROWS:,} rows, {time.perf_counter() - started:.0f} s")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
