"""Benchmark: do grades hold steady while models are trained again? `python tests/bench_grades.py [--customers N]`.

One simulated CRM; a model of churn is trained eleven times as months pass, on all labels that were ripe by then, with
settings that stay (`--model lightgbm`, `logistic`, or `both` in turn, which is the worst that a change of candidate can
do). At each of the ten retrainings every customer is scored twice on the same features, by the old model and by the new
one: nobody has changed, so each difference in grade is a flip. Between them a month passes.

Grades are by probability: with cut-offs by capacity (so many contacts a week), and with fixed ones. Printed for every
retraining, without and with hysteresis: the share of the best grade after it, and the share of customers that flipped.
Then, for the ten models in turn on the last snapshot alone, the share that flipped at least once. What steadiness
costs is the last figure: how many of the best grade churned.

Fails if, by capacity and with hysteresis, more than 5 % flip at a retraining, or at least once over all ten on the last
snapshot, or if the share of the best grade moves by more than 2 points, over the months or there.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.calibration import IDENTITY
from models.grades import NOWHERE, Places, Wanted, apart, place_rows, share_counts, spread
from models.recipe import Choice, fit_choice
from models.training_set import TrainingSet
from pipeline.config import load_config
from pipeline.config_grading import STEADY, Grading
from pipeline.deployment import features_of, load_extract
from pipeline.extract import extract
from pipeline.simulate import simulate_crm, write_sql
from pipeline.training import RipeRows, as_training_set, label_spine

Floats = NDArray[np.float64]

RETRAININGS = 10
CHOICES = {
    "logistic": Choice("logistic", {"ramps": 0, "penalty": 30.0}, IDENTITY),
    "lightgbm": Choice(
        "lightgbm",
        {"encoding": "log_odds", "leaves": 12, "random_cuts": True, "learning_rate": 0.1, "trees": 80},
        IDENTITY,
    ),
}
CONTACTS = 0.1
"""Share of the customers of the first month that can be called in a week."""
SHARES = (0.0, 0.3, 0.3)
FIXED = (0.1, 0.25, 0.5)
MOST_FLIPS, MOST_POINTS = 0.05, 0.02


@dataclass(frozen=True)
class World:
    """Months of one simulated CRM: the rows of each, with what came of them."""

    rows: TrainingSet
    settled_at: NDArray[np.datetime64]
    months: NDArray[np.datetime64]

    def at(self, month: int) -> NDArray[np.int64]:
        """Rows of a month."""
        return np.flatnonzero(self.rows.time == self.months[month])

    def known(self, month: int) -> TrainingSet:
        """Rows whose labels were ripe by a month."""
        return self.rows.take(~np.isnan(self.rows.label) & (self.settled_at <= self.months[month]))


@dataclass
class Played:
    """What one way to grade gave: shares of the best grade, flips at retrainings, on the last snapshot, churners."""

    shares: list[float] = field(default_factory=list)
    flips: list[float] = field(default_factory=list)
    month_moves: list[float] = field(default_factory=list)
    last_shares: list[float] = field(default_factory=list)
    ever: float = 0.0
    hits: list[float] = field(default_factory=list)


def make_world(folder: Path, customers: int, seed: int) -> World:
    """Simulate, extract, and build all months at once; every feature is as it was known in its month."""
    config = load_config(Path(__file__).resolve().parent.parent / "configs" / "demo.yaml")
    churn = config.targets["churn"]
    spine = churn.spine.model_copy(update={"start": date(2023, 3, 1)})
    config = config.model_copy(
        update={
            "state": folder,
            "source": config.source.model_copy(update={"sqlite": folder / "crm.db"}),
            "targets": {"churn": churn.model_copy(update={"spine": spine, "scorecard": None})},
        }
    )
    write_sql(simulate_crm(customers, seed), folder / "crm.db", force=True)
    extract(config, start_over=True)
    tables = load_extract(config)
    labelled = label_spine(config, tables, "churn")
    keys = labelled.drop(columns=["label", "settled_at"])
    label = labelled["label"].to_numpy(dtype=np.float64)
    built = features_of(config, tables, "churn", keys)
    ripe = RipeRows(keys, np.nan_to_num(label), built, 0)
    made = as_training_set(config, tables, "churn", ripe)
    rows = TrainingSet(made.frame, label, made.time, made.horizon, made.group, made.keys, made.directions)
    settled_at, ripe = labelled["settled_at"].to_numpy(), ~np.isnan(label)
    months = np.unique(made.time)
    counts = [int((ripe & (settled_at <= month)).sum()) for month in months]
    is_news = np.diff(counts, prepend=0) > 0  # else the same model would come out again
    return World(rows, settled_at, months[is_news][-RETRAININGS - 1 :])


def score_all(world: World, models: Sequence[str]) -> dict[tuple[int, int], Floats]:
    """Log-odds of the model of each month on the snapshots of that month, of the next one and of the last."""
    said: dict[tuple[int, int], Floats] = {}
    for month in range(RETRAININGS + 1):
        bundle = fit_choice(CHOICES[models[month % len(models)]], world.known(month)).bundle
        for other in {month, min(month + 1, RETRAININGS), RETRAININGS}:
            said[month, other] = bundle.log_odds(world.rows.frame.iloc[world.at(other)])
    return said


class Grader:
    """Grades run after run, with the grades and cut-offs of the one before."""

    def __init__(self, world: World, margin: float, contacts: int | None) -> None:
        self._world, self._margin, self._contacts = world, margin, contacts
        self._places: dict[str, int] = {}
        self._last: tuple[int, tuple[float, ...]] | None = None

    def grade(self, model: int, month: int, log_odds: Floats) -> tuple[float, float]:
        """Grade a snapshot: the share of the best grade, and of those graded before that have another grade now."""
        ids = self._world.rows.keys["entity_id"].iloc[self._world.at(month)].tolist()
        before = np.array([self._places.get(one, NOWHERE) for one in ids])
        last = self._last[1] if self._last and self._last[0] == model else None
        strength = apart(log_odds, ids)
        previous = before if self._margin else np.full(len(ids), NOWHERE)
        places, cuts = place_rows(strength, self._cut_offs(len(ids)), previous, self._margin * spread(strength), last)
        self._places, self._last = dict(zip(ids, places.tolist(), strict=True)), (model, cuts)
        self.best: Places = places == len(SHARES)
        self.moved = (places != before) & (before != NOWHERE)
        return float(self.best.mean()), float(self.moved[before != NOWHERE].mean()) if (before >= 0).any() else 0.0

    def _cut_offs(self, rows: int) -> Sequence[float | Wanted]:
        if self._contacts is None:
            return [float(np.log(one / (1 - one))) for one in FIXED]
        return share_counts(rows, SHARES, self._contacts, Grading().tolerance)


def play(world: World, said: Mapping[tuple[int, int], Floats], margin: float, contacts: int | None) -> Played:
    """Play ten retrainings over the months, then the same models on the last snapshot alone."""
    played, grader = Played(), Grader(world, margin, contacts)
    for month in range(RETRAININGS + 1):
        if month:
            played.month_moves.append(grader.grade(month - 1, month, said[month - 1, month])[1])
        share, flips = grader.grade(month, month, said[month, month])
        played.shares.append(share)
        played.flips += [flips] if month else []
        label = world.rows.label[world.at(month)][grader.best]
        played.hits += label[~np.isnan(label)].tolist()
    grader = Grader(world, margin, contacts)
    ever = np.zeros(len(world.at(RETRAININGS)), dtype=bool)
    for month in range(RETRAININGS + 1):
        played.last_shares.append(grader.grade(month, RETRAININGS, said[month, RETRAININGS])[0])
        ever |= grader.moved
    played.ever = float(ever.mean())
    return played


def show(title: str, ways: Mapping[str, Played], world: World) -> None:
    """Print a table: one line per retraining, columns per way."""
    print(f"\n{title}")
    print("month       customers " + "".join(f"{name:>26}" for name in ways))
    print("                      " + "      best grade   flipped" * len(ways))
    for month in range(1, RETRAININGS + 1):
        cells = "".join(f"{one.shares[month]:16.2%}{one.flips[month - 1]:10.2%}" for one in ways.values())
        print(f"{world.months[month].astype('datetime64[D]')}{len(world.at(month)):11,} {cells}")
    for name, one in ways.items():
        print(
            f"{name}: at a retraining at most {max(one.flips):.2%} flip (mean {np.mean(one.flips):.2%}), in a month "
            f"of news {np.mean(one.month_moves):.2%} move; on the last snapshot {one.ever:.2%} flip at least once over "
            f"ten and the best grade has {min(one.last_shares):.2%} to {max(one.last_shares):.2%}; of the best grade "
            f"{np.mean(one.hits):.2%} of {len(one.hits):,} churned"
        )


def is_steady(played: Played) -> bool:
    """Whether the promise holds."""
    moved = max(max(shares) - min(shares) for shares in (played.shares, played.last_shares))
    return max(*played.flips, played.ever) <= MOST_FLIPS and moved <= MOST_POINTS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=6_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--model", choices=[*CHOICES, "both"], default="lightgbm")
    asked = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Path(folder), asked.customers, asked.seed)
    models = list(CHOICES) if asked.model == "both" else [asked.model]
    said = score_all(world, models)
    contacts = round(CONTACTS * len(world.at(0)))
    margins = {"as it comes out": 0.0, "with hysteresis": STEADY}
    capacity = {name: play(world, said, margin, contacts) for name, margin in margins.items()}
    fixed = {name: play(world, said, margin, None) for name, margin in margins.items()}
    show(f"{asked.model}, the best grade holds {contacts} contacts", capacity, world)
    show(f"{asked.model}, cut-offs at {', '.join(f'{one:.0%}' for one in FIXED)}", fixed, world)
    steady = is_steady(capacity["with hysteresis"])
    print(f"\n{'steady' if steady else 'NOT steady'}, {time.perf_counter() - began:.0f} s")
    return 0 if steady else 1


if __name__ == "__main__":
    sys.exit(main())
