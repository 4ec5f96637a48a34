"""Benchmark: extract from a real Odoo.

    LEADSIEVE_ODOO=PREFIX/env python tests/bench_odoo_extract.py [--customers 17000] [--keep]

PREFIX is the folder of a server that `odoo_up.sh` started with crm, sale_management and account, where a group lets
the user of the nightly key read the history of fields (`leadsieve crm install`). Simulates a CRM with 20,000 leads and
more into its database (--keep: takes what is there), and extracts it as configs/odoo.yaml says, twice: all, and what
changed since. Prints records and seconds per model, and processor seconds of this side. Exit code 1 below 5,000
records/s of all models together, the count of each asserted.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import yaml
from large_crm import verdict
from odoo_world import load_world, read_server, simulate

from pipeline.adapters.odoo_source import OdooSource
from pipeline.config import Config
from pipeline.extract import extract

ROOT = Path(__file__).resolve().parent.parent
BAR = 5000
EVENTS = 40


def prepare(server: Path, customers: int) -> None:
    """Put a simulated CRM into the server."""
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder), customers, EVENTS)
        load_world(server, Path(folder))


def configure(server: Path, state: str) -> Config:
    """Return the config that is shipped, for this server, with the key of the unprivileged user in the environment."""
    found = read_server(server)
    os.environ |= {"ODOO_URL": found["ODOO_URL"], "ODOO_KEY": found["ODOO_NIGHTLY_KEY"]}
    values = yaml.safe_load((ROOT / "configs" / "odoo.yaml").read_text(encoding="utf-8"))
    values["source"]["database"] = found["ODOO_DB"]
    kept = {key: value for key, value in values.items() if key not in ("write_back", "targets")}
    return Config.model_validate(kept | {"state": state, "currency": "USD", "targets": {}})


def measure(config: Config, title: str, scratch: Path) -> float:
    """Extract once and print what each model took; returns records per second."""
    began, busy = time.perf_counter(), time.process_time()
    source = OdooSource(config, scratch)
    with closing(source):
        report = extract(config, source=source)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    records, reading = sum(one.records for one in source.reads), sum(one.seconds for one in source.reads)
    print(f"{title}: {records:,} records of {len(source.reads)} models")
    for one in source.reads:
        print(f"  {one.name:28} {one.records:>9,} in {one.seconds:6.1f} s  {one.records / one.seconds:>9,.0f}/s")
    rows = sum(table.rows_read for table in report.tables)
    print(f"  reading {reading:.1f} s; with {rows:,} rows of tables checked and stored {seconds:.1f} s")
    print(f"  processor seconds of this side: {busy:.1f}", flush=True)
    return records / reading


def main() -> int:
    """Run the benchmark; 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=17_000)
    parser.add_argument("--keep", action="store_true", help="take what is in the server")
    arguments = parser.parse_args()
    place = os.environ.get("LEADSIEVE_ODOO")
    if not place:
        print("LEADSIEVE_ODOO does not name the env file of a real Odoo.", file=sys.stderr)
        return 1
    server = Path(place).resolve().parent
    if not arguments.keep:
        prepare(server, arguments.customers)
    with tempfile.TemporaryDirectory() as folder:
        config = configure(server, f"{folder}/state")
        rate = measure(config, "All", Path(folder) / "spill")
        measure(config, "What changed since", Path(folder) / "spill")
    return 0 if verdict(rate, BAR, f"{rate:,.0f} records/s", at_least=True) else 1


if __name__ == "__main__":
    sys.exit(main())
