"""Benchmark: how feature building grows with the rows of events, and features of a million customers at one date.

    python tests/bench_growth.py [--customers 10000] [--times 1 5 20] [--scored 1000000] [--folder DIR]

A simulated CRM with 100 rows of events per customer, and copies of it side by side; the whole catalog on two spines
as training makes them: the first days of the last twelve months for churn (customers), ages 0, 7 and 30 days for
conversion (deals, whose results are pooled by owner, source, product, customer and region). The exponent is the
slope of log seconds over log rows. Then the features of all of a million customers with 20 rows of events each, and
of their open deals, at the end of the tables. Each build is a process of its own. Exit 1 where a bar is missed.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from large_crm import (
    Stopwatch,
    count_events,
    months_spine,
    multiply_world,
    open_tables,
    prepare_world,
    run_apart,
    verdict,
)

from features.build import build_features
from features.catalog import CATALOG
from features.spine import build_scoring_spine, build_spine
from features.tables import CrmTables
from features.targets import SpinePlan, Target

CHURN = Target("churn", "churn", 90, lookback_days=365)
CONVERSION = Target("conversion", "conversion", 90)
MOST_EXPONENT, MOST_GB, MOST_SECONDS = 1.1, 8.0, 240.0
COPIES = 20
GROWING = {"calendar": "churn by months", "ages": "conversion by ages"}
SCORED = {"customers": "all customers at one date", "deals": "open deals at one date"}


def make_spine(what: str, tables: CrmTables) -> pd.DataFrame:
    """Snapshots of one of the builds."""
    if what == "calendar":
        start = (pd.Timestamp(tables.data_end) - pd.DateOffset(months=12)).date()
        return build_spine(tables, CHURN, SpinePlan(grid="month", start=start))
    if what == "ages":
        return build_spine(tables, CONVERSION, SpinePlan(ages_days=(0, 7, 30)))
    if what == "deals":
        return build_scoring_spine(tables, CONVERSION)
    return months_spine(tables, 1).assign(as_of=pd.Timestamp(tables.data_end).tz_localize(None).as_unit("us"))


def measure(what: str, folder: Path) -> None:
    """Build once; print rows, seconds and peak memory as JSON."""
    tables = open_tables(folder)
    whole = Stopwatch()
    spine = make_spine(what, tables)
    spine_seconds = whole.read()["seconds"]
    watch = Stopwatch()
    frame = build_features(tables, spine, CATALOG, "deals" if what in ("ages", "deals") else "customers").frame
    figures = {"events": count_events(tables), "rows": len(frame), "columns": frame.shape[1] - 2}
    print(json.dumps(watch.read(spine_seconds=spine_seconds, **figures)))


def run(what: str, title: str, folder: Path) -> dict[str, Any]:
    """Measure a build in a process of its own, and print what it took."""
    load = os.getloadavg()[0]
    one = run_apart(__file__, "--one", what, "--folder", str(folder))
    print(
        f"{title}: {one['events']:,} rows of events, {one['rows']:,} snapshots x {one['columns']} features: "
        f"{one['seconds']:.1f} s, {one['busy']:.1f} s of processors, peak memory {one['peak_gb']:.1f} GB "
        f"(spine {one['spine_seconds']:.1f} s; load {load:.1f} before)",
        flush=True,
    )
    return one


def exponent(runs: Sequence[dict[str, Any]], key: str) -> float:
    """Slope of the logarithm of seconds over that of rows of events, by least squares."""
    sizes = [math.log(one["events"]) for one in runs]
    return statistics.linear_regression(sizes, [math.log(one[key]) for one in runs]).slope


def check_growth(folders: Sequence[Path], builds: Sequence[str]) -> bool:
    """Build over worlds that grow; return whether the bars are reached."""
    reached = []
    for what in builds:
        title = GROWING[what]
        runs = [run(what, title, folder) for folder in folders]
        slope, busy_slope = (exponent(runs, key) for key in ("seconds", "busy"))
        peak = max(one["peak_gb"] for one in runs)
        reached += [
            verdict(slope, MOST_EXPONENT, f"{title}: exponent {slope:.2f} by the clock, {busy_slope:.2f} by CPU"),
            verdict(peak, MOST_GB, f"{title}: peak memory {peak:.1f} GB"),
        ]
    return all(reached)


def check_scoring(folder: Path, builds: Sequence[str]) -> bool:
    """Build for one date; return whether the bars are reached."""
    reached = []
    for what in builds:
        title = SCORED[what]
        one = run(what, title, folder)
        reached += [
            verdict(one["seconds"], MOST_SECONDS, f"{title}: {one['seconds']:.0f} s"),
            verdict(one["peak_gb"], MOST_GB, f"{title}: peak memory {one['peak_gb']:.1f} GB"),
        ]
    return all(reached)


def main() -> None:
    """Run the benchmark; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=10_000, help="of the CRM that grows, with 100 events each")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 5, 20], help="how often it is laid side by side")
    parser.add_argument("--scored", type=int, default=1_000_000, help="customers at one date; 0: leave it out")
    parser.add_argument("--only", choices=[*GROWING, *SCORED], nargs="+", default=[*GROWING, *SCORED])
    parser.add_argument("--folder", type=Path, help="keep the tables here and use what is there")
    parser.add_argument("--one", choices=[*GROWING, *SCORED], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one, options.folder)
        return
    with tempfile.TemporaryDirectory(prefix="leadsieve-bench-") as temporary:
        base = options.folder or Path(temporary)
        reached = True
        growing, scored = ([what for what in some if what in options.only] for some in (GROWING, SCORED))
        if growing:
            world = prepare_world(base, options.customers, 100)
            reached = check_growth([multiply_world(world, times) for times in options.times], growing)
        if options.scored and scored:
            world = prepare_world(base, options.scored // COPIES, 20)
            reached &= check_scoring(multiply_world(world, COPIES), scored)
    if not reached:
        sys.exit(1)


if __name__ == "__main__":
    main()
