"""The ladder: `python tests/bench_ladder.py [--draws N] [--rows N ...] [TASK ...]`.

At 40, 80, 160, ... 2,560 labelled rows the rung that the recipe chooses, against the logistic line alone on the same
rows: log loss on the test rows that come later. Rows are drawn from the training frame and keep their order in time.
A positive difference means that the chosen rung is worse; it counts beyond two standard errors, which take in both the
test customers and the draws. Where rows show nothing beyond noise, the base rate is chosen. What the line would have
saved on these draws, had one trusted it unseen, is printed beside it: that is the price of not taking noise for a
signal. Exit 1 if the chosen rung is worse where it is a model. LEADSIEVE_DATA names the folder with the frames.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from models.calibration import IDENTITY
from models.encoding import code_rows, make_contract
from models.flat_frames import read_flat_frames
from models.logistic import Logistic
from models.metrics import log_losses
from models.recipe import Choice, RecipeSettings, evaluate, fit_choice
from models.selection import clustered_error
from models.split import make_folds, row_groups
from models.training_set import TrainingSet
from models.tuning import try_candidate

DATA = Path(os.environ.get("LEADSIEVE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
TASKS = ("olist_90d", "ibm_ar_hist", "xedu_clean")
SIZES = tuple(40 * 2**step for step in range(7))
TEST_ROWS = 4_000
NOISE = 2.0

Floats = NDArray[np.float64]


@dataclass
class Rung:
    """What came out at one number of rows: log losses of the test rows, one array per draw."""

    rows: int
    chosen: list[Floats] = field(default_factory=list)
    line: list[Floats] = field(default_factory=list)
    selected: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def part(self, is_shown: bool) -> "Rung":
        """Draws that showed a signal, or those that showed none, where everybody gets the base rate."""
        at = [place for place, one in enumerate(self.selected) if (one != "base_rate") == is_shown]
        kept = ([values[place] for place in at] for values in (self.chosen, self.line))
        return Rung(self.rows, *kept, [self.selected[place] for place in at])

    def difference(self, group: NDArray[np.int64]) -> tuple[float, float]:
        """Mean of chosen less line, and its standard error."""
        apart = np.array(self.chosen) - np.array(self.line)
        between = apart.mean(axis=1).var(ddof=1) / len(apart) if len(apart) > 1 else 0.0
        return float(apart.mean()), float(np.sqrt(clustered_error(apart.mean(axis=0), group) ** 2 + between))

    def is_worse(self, group: NDArray[np.int64]) -> bool:
        """Whether the chosen is worse than the line beyond noise."""
        if not self.chosen:
            return False
        mean, error = self.difference(group)
        return mean > NOISE * error

    def tell(self, name: str, group: NDArray[np.int64]) -> str:
        """One line of the table."""
        mean, error = self.difference(group)
        names = ", ".join(f"{one} {times}" for one, times in Counter(self.selected).most_common())
        told = f"{np.mean(self.chosen):>9.4f}{np.mean(self.line):>9.4f}{mean:>+12.4f}{error:>9.4f}"
        return f"{name:<14}{self.rows:>6}{told}  {names}{self.part(is_shown=False).price(group)}"

    def price(self, group: NDArray[np.int64]) -> str:
        """Say what the line would have saved on these draws, if there are any."""
        if not self.chosen:
            return ""
        mean, error = self.difference(group)
        return f" (there the line, unseen, would save {mean:+.4f} +- {error:.4f})"


def read_task(name: str) -> tuple[TrainingSet, TrainingSet]:
    """Training and test rows of a frame."""
    folder = DATA / "frames" / name
    facts = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    columns = {"time": "time" if facts["time"] else None, "group": "group" if facts["group"] else None}
    return read_flat_frames(
        folder / "train.parquet", folder / "test.parquet", "y", horizon=facts.get("horizon", 0), **columns
    )


def draw(rows: TrainingSet, count: int, seed: int) -> TrainingSet:
    """Rows drawn at random, in the order they had."""
    at = np.sort(np.random.default_rng(seed).choice(len(rows), count, replace=False))
    return rows.take(at)


def fit_line(rows: TrainingSet, test: TrainingSet, seed: int) -> Floats:
    """Probabilities of the logistic line, its penalty chosen on the same folds as the recipe's."""
    coded = code_rows(rows, make_contract(rows.frame))
    trial = try_candidate(Logistic(), coded, make_folds(rows, seed))
    return fit_choice(Choice("logistic", trial.setting, IDENTITY), rows).bundle.predict(test.frame)


def climb(name: str, sizes: list[int], draws: int) -> Iterator[tuple[Rung, NDArray[np.int64]]]:
    """Each number of rows with what was chosen and what the line did, and the groups of the test rows."""
    train, test = read_task(name)
    test = test.take(np.linspace(0, len(test) - 1, min(len(test), TEST_ROWS)).astype(np.intp))
    group = row_groups(test)
    for count in (size for size in sizes if size <= len(train)):
        rung = Rung(count)
        for seed in range(draws):
            rows = draw(train, count, seed)
            try:
                evaluation = evaluate(rows, test, RecipeSettings(seed=seed, resamples=2))
            except DataError as error:
                rung.refused[str(error)] += 1
                continue
            rung.selected.append(evaluation.selected)
            rung.chosen.append(log_losses(test.label, evaluation.test_probability))
            rung.line.append(log_losses(test.label, fit_line(rows, test, seed)))
        yield rung, group


def main() -> None:
    """Print the curves; exit 1 where the chosen rung is worse than the line beyond noise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES))
    options = parser.parse_args()
    worse, unseen = [], []
    print(f"{'task':<14}{'rows':>6}{'chosen':>9}{'line':>9}{'difference':>12}{'+-':>9}  chosen how often")
    for name in options.tasks:
        for rung, group in climb(name, options.rows, options.draws):
            for sentence, times in rung.refused.items():
                print(f"{name:<14}{rung.rows:>6} refused {times} of {options.draws}: {sentence}", flush=True)
            if not rung.chosen:
                continue
            verdict = " WORSE" if rung.part(is_shown=True).is_worse(group) else ""
            worse += [f"{name} at {rung.rows}"] if verdict else []
            unseen += [f"{name} at {rung.rows}"] if rung.is_worse(group) and not verdict else []
            print(f"{rung.tell(name, group)}{verdict}", flush=True)
    print(f"Where a model is chosen, it is worse than the line beyond noise: {', '.join(worse) or 'nowhere'}.")
    print(
        f"Too few rows to show what the line is worth, so that the base rate costs: {', '.join(unseen) or 'nowhere'}."
    )
    if worse:
        sys.exit(1)


if __name__ == "__main__":
    main()
