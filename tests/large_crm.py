"""Large simulated deployments for the benchmarks: a CRM, extracted by the demo's config, and runs that are measured."""

import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import yaml

from features.tables import MANIFEST, CrmTables, load_tables
from pipeline.config import Config
from pipeline.extract import extract
from pipeline.simulate import EVENT_TABLES

ROOT = Path(__file__).resolve().parent.parent


def prepare_world(base: Path, customers: int, rows: float) -> Path:
    """Simulate and extract, unless it is there already; `rows` are those of event tables per customer.

    No customer is entered twice: queries written by hand know no merges.

    Returns
    -------
    Path
        Folder in `base` for `open_tables`.

    """
    folder = base / f"{customers}x{rows:g}"
    if not (folder / "ready").exists():
        started = time.perf_counter()
        command = [sys.executable, "-m", "pipeline.cli", "simulate", "--json", "--no-truth", "--force"]
        command += ["--duplicates", "0", "--out", str(folder / "source")]
        command += ["--customers", str(customers), "--events-per-customer", str(rows)]
        subprocess.run(command, check=True, stdout=subprocess.PIPE)
        print(f"simulated {customers:,} customers in {time.perf_counter() - started:.0f} s", flush=True)
        started = time.perf_counter()
        extract(like_the_demo(folder))
        print(f"extracted in {time.perf_counter() - started:.0f} s", flush=True)
        (folder / "ready").touch()
    return folder


def multiply_world(folder: Path, times: int) -> Path:
    """Put copies of an extracted CRM beside each other, each with customers, deals and contacts of its own.

    Owners, sources and products are shared, so that what is pooled by them grows with the copies. Simulating and
    extracting as much would take ten times as long and cost the same to build features from.

    Returns
    -------
    Path
        Folder beside the first for `open_tables`; the same one where `times` is 1.

    """
    if times == 1:
        return folder
    copies = folder.with_name(f"{folder.name}x{times}")
    stored, tables = (one / "state" / "demo" / "tables" for one in (folder, copies))
    if (copies / "ready").exists():
        return copies
    tables.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((stored / MANIFEST).read_text(encoding="utf-8"))
    for table in manifest["tables"].values() if isinstance(manifest["tables"], dict) else manifest["tables"]:
        ids = [c for c in table["columns"] if c.endswith("_id") and c != "owner_id"] + ["merged_into"]
        own = ", ".join(f"copy || {c} AS {c}" for c in ids if c in table["columns"])
        rows = f"FROM '{stored / table['file']}', range({times}) AS copies(copy)"
        duckdb.sql(
            f"COPY (SELECT * EXCLUDE (copy) REPLACE ({own}) {rows} ORDER BY copy, known_at) "
            f"TO '{tables / table['file']}' (FORMAT parquet, COMPRESSION zstd)"
        )
        with (tables / table["file"]).open("rb") as file:
            table["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        table |= {"rows": table["rows"] * times, "bytes": (tables / table["file"]).stat().st_size}
    (tables / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    (copies / "ready").touch()
    return copies


def open_tables(folder: Path) -> CrmTables:
    """Open what `prepare_world` extracted."""
    return load_tables(folder / "state" / "demo" / "tables")


def like_the_demo(folder: Path) -> Config:
    """Return the demo's config over Parquet files: the same tables, columns, histories, stages and questions."""
    given: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8"))
    clock = duckdb.sql(f"SELECT now FROM '{folder / 'source' / 'clock.parquet'}'").fetchall()[0]
    tables = {
        name: table | {"select": re.sub(r" FROM (\w+)$", r" FROM read_parquet('\1.parquet')", table["select"])}
        for name, table in given["tables"].items()
    }
    source = {
        "adapter": "files",
        "folder": str(folder / "source"),
        "data_end": clock[0].isoformat(),
        "orphan_share": given["source"]["orphan_share"],
    }
    left_out = ("write_back", "targets", "source", "tables", "state")
    kept = {key: value for key, value in given.items() if key not in left_out}
    return Config.model_validate(
        kept | {"state": str(folder / "state"), "source": source, "tables": tables, "targets": {}}
    )


def months_spine(tables: CrmTables, months: int) -> pd.DataFrame:
    """All customers at the starts of the last months, known by then or not."""
    ids = duckdb.sql(f"SELECT DISTINCT customer_id FROM '{tables.path('customers')}' ORDER BY 1").fetchall()
    first = pd.Timestamp(tables.data_end).tz_localize(None).to_period("M").to_timestamp()
    spine = pd.MultiIndex.from_product(
        [[row[0] for row in ids], [first - pd.DateOffset(months=back) for back in range(months)]],
        names=["entity_id", "as_of"],
    ).to_frame(index=False)
    spine["as_of"] = spine["as_of"].astype("datetime64[us]")
    return spine.assign(customer_id=spine["entity_id"])


def count_events(tables: CrmTables) -> int:
    """Rows of all tables of events."""
    return sum(tables.tables[name].rows for name in EVENT_TABLES)


def run_apart(script: str, *arguments: str, python: Path | str = sys.executable) -> dict[str, Any]:
    """Run a step of a script in a process of its own, and return the JSON it prints last."""
    command = [str(python), script, *arguments]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer


@dataclass(frozen=True)
class Stopwatch:
    """Seconds by the clock and of the processors since it was made, and the peak memory of this process."""

    started: float = field(default_factory=time.perf_counter)
    busy_before: float = field(default_factory=time.process_time)

    def read(self, **figures: float) -> dict[str, float]:
        """Seconds, busy seconds, peak gigabytes, and other figures beside them."""
        return {
            "seconds": time.perf_counter() - self.started,
            "busy": time.process_time() - self.busy_before,
            "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
            **figures,
        }


def verdict(figure: float, bar: float, what: str, *, at_least: bool = False) -> bool:
    """Print one figure beside its bar and the load of the machine; return whether it is reached."""
    reached = figure >= bar if at_least else figure <= bar
    asked = "at least" if at_least else "at most"
    word = "reached" if reached else "MISSED"
    print(f"{what} ({asked} {bar:g}): {word}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors", flush=True)
    return reached
