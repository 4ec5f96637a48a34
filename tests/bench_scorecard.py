"""Benchmark: how long a card takes over many customers, beyond their features.

    .venv/bin/python tests/bench_scorecard.py [--rows 1000000]

The card has 25 criteria (intervals, texts, listed numbers, formulas, answers), five groups, vetoes and flags that
hit many rows. What is timed is what a scoring run does with it: points and grades, the parts that are stored, and
their file. Times are those on the clock; CPU seconds stand beside them, as they bear a busy machine better.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from models.card_parts import card_parts
from models.scorecard import Scorecard

LIMIT_SECONDS = 30
NAMES = {"en": "name", "zh": "名称"}
BANDS = [{"below": 1, "points": 0}, {"at_least": 1, "below": 2, "points": 50}, {"at_least": 2, "points": 100}]
WORDS = ["retail", "trade", "pharma", "mining"]


def make_card() -> Scorecard:
    """Return a card of 25 criteria of weight 4: 12 intervals, 5 formulas, 4 texts, 2 listed numbers, 2 answers."""
    sources = [{"feature": f"number_{at}", "bands": BANDS} for at in range(12)]
    sources += [
        {"formula": f"coalesce(number_{at}, 1) / max(number_{at + 5}, 0.5) + log1p(abs(number_2))", "bands": BANDS}
        for at in range(5)
    ]
    listed = [{"equals": "pharma", "points": 100}, {"in": ["retail", "trade"], "points": 50}]
    sources += [{"feature": f"text_{at}", "bands": listed, "otherwise": 20} for at in range(4)]
    ranks = [{"in": [0, 1], "points": 10}, {"equals": 2, "points": 90}]
    sources += [{"feature": f"rank_{at}", "bands": ranks, "otherwise": 0} for at in range(2)]
    sources += [{"answer": f"question {at}", "bands": BANDS} for at in range(2)]
    criteria = [
        {"id": f"c{at}", "name": NAMES, "group": f"g{at % 5}", "weight": 4, "missing": 30, "ask": NAMES, **source}
        for at, source in enumerate(sources)
    ]
    levels = [{"id": "high", "at_least": 50, "name": NAMES}, {"id": "low", "at_least": 0, "name": NAMES}]
    vetoes = [{"id": f"v{at}", "name": NAMES, "feature": f"number_{at}", "when": {"below": 0.05}} for at in range(3)]
    flags = [
        {"id": f"f{at}", "name": NAMES, "formula": f"number_{at} > number_{at + 1}", "when": {"equals": 1}}
        for at in range(2)
    ]
    grades = [{"id": name, "at_least": least, "name": NAMES} for name, least in (("a", 60), ("b", 40), ("c", 0))]
    return Scorecard.model_validate(
        {
            "id": "bench",
            "version": "1",
            "entity": "customer",
            "groups": [{"id": f"g{at}", "name": NAMES, "levels": levels} for at in range(5)],
            "criteria": criteria,
            "vetoes": vetoes,
            "flags": [*flags, {**flags[0], "id": "lift", "grade_at_least": "b"}],
            "grades": grades,
        }
    )


def make_features(rows: int) -> pd.DataFrame:
    """Return features with a tenth missing."""
    rng = np.random.default_rng(0)
    numbers = {f"number_{at}": rng.uniform(0, 3, rows) for at in range(12)}
    numbers |= {f"rank_{at}": rng.integers(0, 5, rows).astype(float) for at in range(2)}
    numbers |= {f"assessment_question_{at}_score": rng.uniform(0, 3, rows) for at in range(2)}
    for values in numbers.values():
        values[rng.random(rows) < 0.1] = np.nan
    texts = {f"text_{at}": pd.Series(rng.choice([*WORDS, None], rows)).astype("str") for at in range(4)}
    ids = pd.Series(np.arange(rows)).astype("str")
    return pd.DataFrame({"entity_id": ids, **numbers, **texts})


def memory() -> float:
    """Return the peak memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def main() -> None:
    """Time each part once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    card, features = make_card(), make_features(rows)
    before = memory()
    marks = [(time.perf_counter(), time.process_time())]

    def mark() -> None:
        marks.append((time.perf_counter(), time.process_time()))

    scored = card.score(features)
    mark()
    parts = card_parts(card, features, scored)
    mark()
    with tempfile.TemporaryDirectory() as folder:
        parts.to_parquet(Path(folder) / "card.parquet", index=False)
        mark()
    vetoed, flagged = parts["vetoes"].notna().mean(), parts["flags"].notna().mean()
    print(f"{rows:,} rows, {len(card.criteria)} criteria; {vetoed:.0%} with a veto, {flagged:.0%} with a flag")
    for what, first, last in (("points and grades", 0, 1), ("parts", 1, 2), ("file", 2, 3), ("all", 0, 3)):
        wall, cpu = (marks[last][clock] - marks[first][clock] for clock in (0, 1))
        print(f"{what:18} {wall:6.1f} s on the clock, {cpu:6.1f} s of CPU")
    print(f"limit {LIMIT_SECONDS} s; peak memory {memory():.2f} GB, of which {before:.2f} GB before the card was asked")


if __name__ == "__main__":
    main()
