"""Benchmark: the pages of `leadsieve report` for a deployment of 50,000 customers.

    python tests/bench_report.py [--customers 50000] [--months 12] [--folder DIR]

A simulated CRM, extracted; scores, reasons and features are drawn instead of trained and built, as many as a
deployment has: a run per month and one a week ago, cards of the demo, 190 columns of features, training rows to
compare with. What is measured is `write_report` alone, in a process of its own. Exit 1 where the bar is missed.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from large_crm import ROOT, Stopwatch, like_the_demo, open_tables, prepare_world, run_apart, verdict

from features.spine import build_scoring_spine
from features.tables import CrmTables
from models.card_parts import card_parts
from models.scorecard import load_scorecard
from models.training_set import TrainingSet, save_training_set
from pipeline.config import Config
from pipeline.customer_facts import write_customer_facts
from pipeline.deployment import make_target
from pipeline.ledger import SCORE_COLUMNS, open_ledger
from pipeline.report import write_report

MOST_SECONDS = 60.0
COLUMNS, TRAINED, REASONS = 190, 120_000, 6
EVENTS = 40.0


def make_config(folder: Path) -> Config:
    """The demo's config over the files of a simulation, with its targets and cards."""
    targets = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8"))["targets"]
    for target in targets.values():
        target["scorecard"] = str(ROOT / target["scorecard"])
    return Config.model_validate(like_the_demo(folder).model_dump(mode="json") | {"targets": targets})


def draw_features(spine: pd.DataFrame, card: Any, generator: np.random.Generator) -> pd.DataFrame:
    """As many columns as a run stores, those of the card among them."""
    names = [*card.features, *(f"column_{at}" for at in range(COLUMNS - len(card.features)))]
    values = generator.gamma(1.0, 50.0, (len(spine), len(names))).round(2)
    return pd.concat([spine[["entity_id", "as_of"]], pd.DataFrame(values, columns=names)], axis=1)


def draw_reasons(count: int, generator: np.random.Generator) -> list[str]:
    """Reasons as the ledger keeps them, each with a number of its own."""
    values, adds = generator.gamma(1.0, 50.0, (count, REASONS)), generator.normal(size=(count, REASONS))
    kinds = generator.integers(0, COLUMNS, (count, REASONS))
    told = []
    for row in range(count):
        some = [
            {
                "feature": f"column_{kinds[row, at]}",
                "value": float(values[row, at]),
                "contribution": float(adds[row, at]),
                "en": f"column {kinds[row, at]} of {values[row, at]:,.0f} in 365 days",
                "zh": f"365 天内第 {kinds[row, at]} 列 {values[row, at]:,.0f}",
            }
            for at in range(REASONS)
        ]
        told.append(json.dumps(some, ensure_ascii=False))
    return told


def draw_run(config: Config, tables: CrmTables, is_last: bool, has_reasons: bool) -> pd.DataFrame:
    """Scores of all targets at the end of the tables; the run's folder has what a run stores."""
    generator = np.random.default_rng(int(tables.data_end.timestamp()))
    folder = config.folder / "runs" / f"score-{tables.data_end:%Y%m%d}-drawn"
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for name, target in config.targets.items():
        spine = build_scoring_spine(tables, make_target(config, name))
        card = load_scorecard(Path(str(target.scorecard)))
        frame = draw_features(spine, card, generator)
        scored = card.score(frame)
        log_odds = generator.normal(-1.5, 1.2, len(spine))
        drawn = {
            "run_id": folder.name,
            "target": name,
            "horizon_days": target.horizons_days[0],
            "entity_id": spine["entity_id"],
            "as_of": spine["as_of"],
            "probability": 1 / (1 + np.exp(-log_odds)),
            "log_odds": log_odds,
            "points": scored["points"],
            "grade": scored["grade"],
            "coverage": scored["coverage"],
            "model_version": "1",
            "card": card.id,
            "reasons": draw_reasons(len(spine), generator) if has_reasons else "[]",
        }
        parts.append(pd.DataFrame({**dict.fromkeys(SCORE_COLUMNS), **drawn}, index=spine.index))
        if is_last:
            text = card.model_dump_json(by_alias=True, exclude_unset=True)
            (folder / f"card_{name}.json").write_text(text, encoding="utf-8")
            frame.to_parquet(folder / f"features_{name}.parquet", index=False)
            card_parts(card, frame, scored).to_parquet(folder / f"card_{name}.parquet", index=False)
            rows = frame.drop(columns=["entity_id", "as_of"]).sample(TRAINED, replace=True, random_state=1)
            label = (generator.random(TRAINED) < 0.2).astype(float)
            save_training_set(config.folder / "training" / name, TrainingSet(rows.reset_index(drop=True), label))
    scores = pd.concat(parts, ignore_index=True)
    scores.to_parquet(folder / "scores.parquet", index=False)
    return scores


def prepare(folder: Path, months: int) -> None:
    """Draw the runs, unless they are there already."""
    config, tables = make_config(folder), open_tables(folder)
    ready = config.folder / "drawn"
    if ready.exists():
        return
    ends = [tables.data_end - pd.Timedelta(days=30 * back) for back in range(months)]
    with open_ledger(config.folder / "ledger.db") as ledger:
        for end in sorted({*ends, tables.data_end - pd.Timedelta(days=7)}):
            is_last, is_recent = end == tables.data_end, end >= tables.data_end - pd.Timedelta(days=7)
            scores = draw_run(config, replace(tables, data_end=end), is_last, is_recent)
            run_id = str(scores["run_id"].iloc[0])
            ledger.start_run(run_id, "score", {"data_end": end.isoformat()}, "{}")
            if is_recent:
                ledger.replace_scores(run_id, scores)
            ledger.finish_run(run_id, "done", {})
    write_customer_facts(config, tables, config.folder / "runs" / run_id)
    ready.touch()


def measure(folder: Path) -> None:
    """Write the report once; print seconds, peak memory and sizes as JSON."""
    config, watch = make_config(folder), Stopwatch()
    with open_ledger(config.folder / "ledger.db") as ledger:
        steps: list[tuple[str, float]] = []
        written = write_report(config, ledger, None, lambda what: steps.append((what, watch.read()["seconds"])))
    megabytes = {name: round(size / 1e6, 1) for name, size in written.bytes.items()}
    print(json.dumps({**watch.read(rows=written.rows), "megabytes": megabytes, "steps": steps}))


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=50_000)
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--folder", type=Path, help="keep the world here, for another run")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.measure)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = prepare_world(asked.folder or Path(scratch), asked.customers, EVENTS)
        prepare(folder, asked.months)
        one = run_apart(__file__, "--measure", str(folder))
    sizes = ", ".join(f"{name} {size} MB" for name, size in one["megabytes"].items())
    steps = ", ".join(f"{what} at {at:.1f} s" for what, at in one["steps"])
    print(f"{asked.customers:,} customers, {one['rows']:,} scores, {asked.months + 1} runs: {sizes} ({steps})")
    what = f"a full report in {one['seconds']:.1f} s, {one['busy']:.1f} s of processors, {one['peak_gb']:.1f} GB"
    return 0 if verdict(one["seconds"], MOST_SECONDS, what) else 1


if __name__ == "__main__":
    sys.exit(main())
