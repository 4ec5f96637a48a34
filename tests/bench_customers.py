"""Benchmark: facts of a million customers.

    python tests/bench_customers.py [--customers 20000] [--copies 50] [--events 20] [--folder FOLDER]

Simulates a CRM like the demo's, extracts it, puts copies of it beside each other, and writes the facts of all
customers once, in a process of its own. Prints seconds, of the clock and of the processors, and peak memory.
Exit 1 where a bar is missed.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import pandas as pd
from large_crm import (
    Stopwatch,
    count_events,
    like_the_demo,
    multiply_world,
    open_tables,
    prepare_world,
    run_apart,
    verdict,
)

from pipeline.customer_facts import CUSTOMERS_FILE, write_customer_facts

MOST_SECONDS, MOST_GB = 30.0, 4.0


def measure(folder: Path, world: Path) -> None:
    """Write the facts once, and print seconds and peak memory."""
    run = folder / "run"
    run.mkdir(exist_ok=True)
    config, tables = like_the_demo(world), open_tables(folder)
    watch = Stopwatch()
    notes = write_customer_facts(config, tables, run)
    facts = pd.read_parquet(run / CUSTOMERS_FILE, columns=["lifetime_value", "lifecycle"])
    counts = {name: int(facts[name].notna().sum()) for name in facts}
    print(json.dumps(watch.read(rows=len(facts), **counts, notes=len(notes))))


def main() -> None:
    """Run the benchmark; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=20_000, help="customers that are simulated")
    parser.add_argument("--copies", type=int, default=50)
    parser.add_argument("--events", type=float, default=20.0, help="event rows per customer")
    parser.add_argument("--folder", type=Path, help="keep the tables here and use what is there")
    parser.add_argument("--one", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(*options.one)
        return
    with tempfile.TemporaryDirectory(prefix="leadsieve-bench-") as temporary:
        world = prepare_world(options.folder or Path(temporary), options.customers, options.events)
        folder = multiply_world(world, options.copies)
        print(f"{count_events(open_tables(folder)):,} rows of events, {os.getloadavg()[0]:.1f} load", flush=True)
        done = run_apart(__file__, "--one", str(folder), str(world))
        print(
            f"{done['rows']:,} customers, {done['lifetime_value']:,} with a lifetime value, "
            f"{done['lifecycle']:,} with a stage: {done['seconds']:.1f} s, {done['busy']:.1f} s of processors"
        )
        bars = [
            verdict(done["busy"], MOST_SECONDS, f"{done['busy']:.1f} s of processors"),
            verdict(done["peak_gb"], MOST_GB, f"peak memory {done['peak_gb']:.1f} GB"),
        ]
        if not all(bars):
            sys.exit(1)


if __name__ == "__main__":
    main()
