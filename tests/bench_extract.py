"""Benchmark: extract from PostgreSQL.

    python tests/bench_extract.py [--rows 20000000]

Starts a server on loopback, lets `leadsieve simulate` fill it with a CRM of so many event rows, and
extracts it as the demo's config says, in a process of its own. Prints seconds, processor seconds of
both sides, rows per second and the peak memory of the extract, and fails if 20,000,000 rows took
more than 6 minutes (fewer rows in proportion) or 2 GB. Seconds depend on what else the machine does;
processor seconds hardly do, and with two cores free the extract takes about as long as they say.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from postgres_server import Database, run_server

from pipeline.config import Config
from pipeline.extract import extract

HERE = Path(__file__).resolve().parent
EVENTS = 80
BAR_SECONDS, BAR_ROWS, BAR_BYTES = 360, 20_000_000, 2_000_000_000
URL = "LEADSIEVE_BENCH_URL"


def fill(server: Database, customers: int) -> None:
    """Simulate a CRM into the server, in a process whose memory is gone afterwards."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "pipeline.cli", "simulate", "--sql", server.url, "--json"]
    size = ["--customers", str(customers), "--events-per-customer", str(EVENTS)]
    done = subprocess.run([*command, *size], check=True, capture_output=True, text=True, cwd=HERE.parent)
    rows = json.loads(done.stdout)["rows"]
    print(f"simulated and loaded {sum(rows.values()):,} rows in {time.perf_counter() - started:.0f} s: {rows}")


def extract_here(state: Path) -> None:
    """Extract and print what it took; run in a process of its own."""
    values = yaml.safe_load((HERE.parent / "configs" / "demo.yaml").read_text(encoding="utf-8"))
    del values["write_back"]
    source = {**values["source"], "url_env": URL}
    del source["sqlite"]
    config = Config.model_validate({**values, "state": str(state), "source": source, "targets": {}})
    started = time.perf_counter()
    report = extract(config)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    rows = sum(table.rows_read for table in report.tables)
    print(
        json.dumps({"seconds": seconds, "processor": used.ru_utime + used.ru_stime, "peak": peak, "rows": rows}),
        flush=True,
    )


def server_seconds(server: Database) -> float:
    """Processor seconds that the server and its ended connections have taken; 0 where nothing tells."""
    pid = server.execute("SELECT pg_read_file('postmaster.pid')")[0][0].split()[0]
    stat = Path(f"/proc/{pid}/stat")
    if not stat.is_file():
        return 0.0
    return sum(map(int, stat.read_text().rpartition(")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Run the benchmark; 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=BAR_ROWS, help="event rows")
    parser.add_argument("--place", type=Path, help="folder for the server and the state")
    parser.add_argument("--state", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.state:
        extract_here(arguments.state)
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.place) as folder, run_server(arguments.place) as server:
        fill(server, arguments.rows // EVENTS)
        before = server_seconds(server)
        command = [sys.executable, __file__, "--state", folder]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, URL: server.url}
        )
        found = json.loads(done.stdout)
        print_result(found, server_seconds(server) - before)
    limit = BAR_SECONDS * found["rows"] / BAR_ROWS
    return int(found["seconds"] > limit or found["peak"] > BAR_BYTES)


def print_result(found: dict[str, float], server: float) -> None:
    """Print what an extract took."""
    rows, seconds, processor = found["rows"], found["seconds"], found["processor"]
    print(f"extracted {rows:,} rows in {seconds:.1f} s: {rows / seconds:,.0f} rows/s")
    print(f"processor: {processor:.1f} s ({rows / processor:,.0f} rows/s), of the server {server:.1f} s")
    print(f"peak memory of the extract: {found['peak'] / 1e9:.2f} GB (bar {BAR_BYTES / 1e9:.0f} GB)")
    print(f"seconds for {BAR_ROWS:,} rows: {seconds * BAR_ROWS / rows:.0f} (bar {BAR_SECONDS})")
    print(f"load of the machine in the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    sys.exit(main())
