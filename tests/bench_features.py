"""Benchmark: all features of the customers beside hand-written DuckDB queries for the same columns.

    python tests/bench_features.py [--customers 100000] [--events 100] [--months 12] [--runs 3]

Simulates a CRM with everything that the demo's config maps, extracts it, and builds the whole catalog on a monthly
calendar spine of all customers, in turn with `bench_features_*.sql`; each run is a process of its own, so that its
peak memory is its own. Prints seconds, of the clock and of the processors, their ratios, memory, and whether both
gave the same values. Exit 1 where a bar is missed.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import duckdb
import pandas as pd
from large_crm import Stopwatch, count_events, months_spine, open_tables, prepare_world, run_apart, verdict

from features.build import build_features
from features.catalog import CATALOG

HERE = Path(__file__).resolve().parent
PARTS = ("customers", "orders", "activities", "payments", "service", "joined")
MOST_RATIO, MOST_GB, MOST_GAP = 1.5, 8.0, 1e-12

ANSWERS = """
max(answer) FILTER (question = '{q}' AND is_latest) AS assessment_{q}_answer,
max(CASE WHEN regexp_full_match(answer, '-?[0-9]{{1,15}}([.][0-9]{{1,15}})?') THEN answer END)
    FILTER (question = '{q}' AND is_latest)::DOUBLE AS assessment_{q}_score,
days(max(occurred_at) FILTER (question = '{q}'), any_value(as_of)) AS assessment_{q}_days_since_last,
count(*) FILTER (question = '{q}' AND answer <> previous)::DOUBLE AS assessment_{q}_changes_count"""


def build_ours(folder: Path) -> pd.DataFrame:
    """Features by the catalog."""
    return build_features(open_tables(folder), pd.read_parquet(folder / "spine.parquet"), CATALOG, "customers").frame


def build_by_hand(folder: Path) -> pd.DataFrame:
    """Features by the queries."""
    tables = open_tables(folder)
    places = {name: str(tables.path(name)) for name in tables.tables}
    answers = ",".join(ANSWERS.format(q=question) for question in tables.questions)
    with duckdb.connect() as connection, tempfile.TemporaryDirectory(prefix="leadsieve-bench-") as spill:
        connection.execute(f"SET memory_limit = '6GB'; SET temp_directory = '{spill}'")
        connection.execute(
            "CREATE TABLE spine AS SELECT row_number() OVER () AS row, customer_id, as_of "
            f"FROM '{folder / 'spine.parquet'}'"
        )
        for part in PARTS:
            query = (HERE / f"bench_features_{part}.sql").read_text(encoding="utf-8")
            connection.execute(query.format(answers=answers, **places) if part != "joined" else query)
        return connection.sql("SELECT * FROM by_hand").to_arrow_table().to_pandas()


def measure(what: str, folder: Path) -> None:
    """Build once, print seconds and peak memory, and leave the frame for comparison."""
    watch = Stopwatch()
    frame = {"ours": build_ours, "hand": build_by_hand}[what](folder)
    print(json.dumps(watch.read(rows=len(frame), columns=frame.shape[1] - 2)))
    frame.to_parquet(folder / f"{what}.parquet")


def compare(folder: Path) -> dict[str, float]:
    """Largest relative difference of the values of each column that differs; infinite where only one is null."""
    ours = pd.read_parquet(folder / "ours.parquet")
    hand = pd.read_parquet(folder / "hand.parquet")
    if sorted(ours.columns) != sorted(hand.columns):
        sys.exit(f"different columns: {sorted(set(ours.columns) ^ set(hand.columns))}")
    worst = {}
    for name in ours.columns:
        a, b = ours[name], hand[name]
        if not (a.isna() == b.isna()).all():
            worst[name] = float("inf")
        elif a.dtype == "float64":
            gap = (a - b).abs() / b.abs().clip(lower=1.0)
            worst[name] = float(gap.max()) if gap.notna().any() else 0.0
        elif not (a.fillna("") == b.fillna("")).all() if a.dtype == "str" else not (a == b).all():
            worst[name] = float("inf")
    return {name: gap for name, gap in worst.items() if gap > 0}


def report(runs: dict[str, list[dict[str, float]]], gaps: dict[str, float]) -> bool:
    """Print the figures; return whether all bars are reached."""
    for what, done in runs.items():
        seconds, busy = ([run[key] for run in done] for key in ("seconds", "busy"))
        print(
            f"{what}: {done[0]['rows']:,} rows x {done[0]['columns']} features, "
            f"median {statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f}), "
            f"{statistics.median(busy):.1f} s of processors, peak memory {max(run['peak_gb'] for run in done):.1f} GB"
        )
    pairs = list(zip(runs["ours"], runs["hand"], strict=True))
    ratio = statistics.median(ours["seconds"] / hand["seconds"] for ours, hand in pairs)
    busy_ratio = statistics.median(ours["busy"] / hand["busy"] for ours, hand in pairs)
    peak = max(run["peak_gb"] for run in runs["ours"])
    gap = max(gaps.values(), default=0.0)
    return all(
        [
            verdict(ratio, MOST_RATIO, f"ours / by hand {ratio:.2f} by the clock, {busy_ratio:.2f} by the processors"),
            verdict(peak, MOST_GB, f"peak memory {peak:.1f} GB"),
            verdict(gap, MOST_GAP, f"largest relative difference {gap:.1e} {sorted(gaps, key=gaps.__getitem__)[-5:]}"),
        ]
    )


def main() -> None:
    """Run the benchmark; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--events", type=float, default=100.0, help="event rows per customer")
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the tables here and use what is there")
    parser.add_argument("--one", choices=["ours", "hand"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one, options.folder)
        return
    with tempfile.TemporaryDirectory(prefix="leadsieve-bench-") as temporary:
        folder = prepare_world(options.folder or Path(temporary), options.customers, options.events)
        tables = open_tables(folder)
        print(f"{count_events(tables):,} rows of events, {os.getloadavg()[0]:.1f} load", flush=True)
        months_spine(tables, options.months).to_parquet(folder / "spine.parquet")
        runs: dict[str, list[dict[str, float]]] = {"ours": [], "hand": []}
        for _ in range(options.runs):
            for what, done in runs.items():
                done.append(run_apart(__file__, "--one", what, "--folder", str(folder)))
        if not report(runs, compare(folder)):
            sys.exit(1)


if __name__ == "__main__":
    main()
