"""Seconds, rows and peak memory of simulating a large CRM into files, in a process of its own.

    python tests/bench_simulate.py [--customers 1000000] [--events 20] [--truth]

Promised for 1,000,000 customers with about 20 million rows of events: at most 4 minutes and 10 GB.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.simulate import EVENT_TABLES

MOST_SECONDS, MOST_GB = 240, 10


def main() -> None:
    """Run the command and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--events", type=float, default=20.0)
    parser.add_argument("--truth", action="store_true", help="write the truth as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leadsieve-bench-") as folder:
        command = [sys.executable, "-m", "pipeline.cli", "simulate", "--json", "--out", folder]
        command += ["--customers", str(arguments.customers), "--events-per-customer", str(arguments.events)]
        began = time.perf_counter()
        run = subprocess.run(
            command + ([] if arguments.truth else ["--no-truth"]), check=True, stdout=subprocess.PIPE, text=True
        )
        seconds = time.perf_counter() - began
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
    rows = json.loads(run.stdout)["rows"]
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak, busy = usage.ru_maxrss / 1e6, usage.ru_utime + usage.ru_stime
    events = sum(rows[name] for name in EVENT_TABLES)
    print(f"{rows['customers']:,} customers, {events:,} rows of events, {size / 1e9:.2f} GB on disk")
    print(f"{seconds:.0f} s, of which {busy:.0f} s on a processor (promised: {MOST_SECONDS} s)")
    print(f"peak {peak:.1f} GB (promised: {MOST_GB} GB)")


if __name__ == "__main__":
    main()
