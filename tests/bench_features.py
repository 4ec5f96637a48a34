"""Benchmark: feature building beside a hand-written DuckDB query for the same columns.

    python tests/bench_features.py [--customers 100000] [--events 100] [--months 12] [--runs 3]

Simulates a CRM, extracts it, and builds the churn features of the shipped catalog on a monthly
calendar spine of all customers, in turn with `bench_features.sql`; each run is a process of its own, so that its
peak memory is its own. Prints seconds, their ratio, memory, and whether both gave the same values.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import pandas as pd

from features.build import build_features
from features.catalog import CATALOG
from features.tables import load_tables
from pipeline.config import Config
from pipeline.extract import extract
from pipeline.simulate import simulate_crm, write_files

HERE = Path(__file__).resolve().parent
ORDER_COLUMNS = [
    "orders_count", "orders_amount", "orders_amount_max", "orders_returns_count", "orders_days_since_last",
    "orders_days_since_first", "orders_days_first_to_last", "orders_repeat_days", "orders_gap_mean",
    "orders_gap_max", "orders_gap_spread",
]  # fmt: skip
ZERO_WHEN_EMPTY = ("count", "amount", "repeat_days")


def prepare(folder: Path, customers: int, events: float, months: int) -> None:
    """Simulate, extract, and write the spine."""
    started = time.perf_counter()
    crm = simulate_crm(customers, 7, events_per_customer=events, duplicates=0)  # the query by hand knows no merges
    write_files(crm, folder / "source")
    names = [name for name in crm if name != "clock"]
    rows = {name: crm[name].num_rows for name in names}
    clock = crm["clock"]["now"][0].as_py()
    del crm
    print(f"simulated {sum(rows.values()):,} rows in {time.perf_counter() - started:.1f} s: {rows}", flush=True)
    started = time.perf_counter()
    tracked = {"customers": ("employees", "annual_revenue", "credit_grade", "owner_id"), "deals": ("amount",)}
    static = {"customers": ("industry", "region", "source"), "deals": ("source", "product", "owner_id")}
    mapping = {
        name: {
            "select": f"SELECT * FROM read_parquet('{name}.parquet')",
            "known_at": "known_at",
            "tracked": tracked.get(name, ()),
            "static": static.get(name, ()),
        }
        for name in names
    }
    config = Config.model_validate(
        {
            "name": "bench",
            "state": str(folder / "state"),
            "source": {"adapter": "files", "folder": str(folder / "source"), "data_end": clock.isoformat()},
            "tables": mapping,
            "targets": {},
        }
    )
    extract(config)
    tables = load_tables(config.folder / "tables")
    print(f"extracted in {time.perf_counter() - started:.1f} s", flush=True)
    ids = duckdb.sql(f"SELECT DISTINCT customer_id FROM '{tables.path('customers')}' ORDER BY 1").fetchall()
    first = pd.Timestamp(clock).to_period("M").to_timestamp()
    spine = pd.MultiIndex.from_product(
        [[row[0] for row in ids], [first - pd.DateOffset(months=back) for back in range(months)]],
        names=["entity_id", "as_of"],
    ).to_frame(index=False)
    spine["as_of"] = spine["as_of"].astype("datetime64[us]")
    spine.assign(customer_id=spine["entity_id"]).to_parquet(folder / "spine.parquet")


def build_ours(folder: Path) -> pd.DataFrame:
    """Features by the catalog."""
    tables = load_tables(folder / "state" / "bench" / "tables")
    return build_features(tables, pd.read_parquet(folder / "spine.parquet"), CATALOG, "customers").frame


def build_by_hand(folder: Path) -> pd.DataFrame:
    """Features by the query."""
    tables = load_tables(folder / "state" / "bench" / "tables")
    orders, activities = [], []
    for days in (30, 90, 180, 365):
        inside = f"occurred_at >= as_of - INTERVAL {days} DAY"
        orders += [
            f"count(*) FILTER (bought AND {inside})::DOUBLE AS orders_count_{days}d",
            f"coalesce(sum(amount) FILTER (bought AND {inside}), 0)::DOUBLE AS orders_amount_{days}d",
            f"coalesce(sum(amount) FILTER (NOT bought AND {inside}), 0)::DOUBLE AS orders_returns_amount_{days}d",
        ]
    for days in (14, 30, 90):
        inside = f"a.occurred_at >= s.as_of - INTERVAL {days} DAY"
        activities += [
            f"count(*) FILTER ({inside})::DOUBLE AS activities_count_{days}d",
            f"count(*) FILTER (a.direction = 'inbound' AND {inside})::DOUBLE AS activities_inbound_count_{days}d",
            f"count(*) FILTER (a.kind = 'meeting' AND {inside})::DOUBLE AS activities_meeting_count_{days}d",
        ]
    names = {
        "order_columns": ORDER_COLUMNS + [line.split(" AS ")[1] for line in orders],
        "activity_columns": ["activities_count", "activities_inbound_count", "activities_days_since_last"]
        + [line.split(" AS ")[1] for line in activities],
        "deal_columns": [
            "deals_open_count", "deals_won_count", "deals_lost_count", "deals_won_amount", "deals_days_since_won",
            "deals_won_count_365d", "deals_lost_count_365d",
        ],
    }  # fmt: skip
    filled = {
        key: ", ".join(f"coalesce({n}, 0) AS {n}" if any(z in n for z in ZERO_WHEN_EMPTY) and not n.endswith("_max")
                       else n for n in columns)
        for key, columns in names.items()
    }  # fmt: skip
    query = (HERE / "bench_features.sql").read_text(encoding="utf-8")
    places = {name: str(tables.path(name)) for name in ("customers", "orders", "activities", "deals")}
    with duckdb.connect() as connection:
        connection.execute("SET memory_limit = '6GB'")
        connection.execute(f"CREATE TABLE spine AS SELECT entity_id, as_of FROM '{folder / 'spine.parquet'}'")
        connection.execute(
            query.format(order_windows=",\n".join(orders), activity_windows=",\n".join(activities), **places, **filled)
        )
        return connection.sql("SELECT * FROM by_hand").to_arrow_table().to_pandas()


def measure(what: str, folder: Path) -> None:
    """Build once and print seconds, peak memory, and leave the frame for comparison."""
    started = time.perf_counter()
    frame = {"ours": build_ours, "hand": build_by_hand}[what](folder)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    frame.to_parquet(folder / f"{what}.parquet")
    print(json.dumps({"seconds": seconds, "peak_gb": peak, "rows": len(frame), "columns": frame.shape[1] - 2}))


def compare(folder: Path) -> float:
    """Largest relative difference of any value; infinite where one is null and the other not."""
    ours = pd.read_parquet(folder / "ours.parquet")
    hand = pd.read_parquet(folder / "hand.parquet")
    if sorted(ours.columns) != sorted(hand.columns):
        sys.exit(f"different columns: {sorted(set(ours.columns) ^ set(hand.columns))}")
    worst = 0.0
    for name in ours.columns:
        a, b = ours[name], hand[name]
        if not (a.isna() == b.isna()).all():
            return float("inf")
        if a.dtype == "float64":
            gap = (a - b).abs() / b.abs().clip(lower=1.0)
            worst = max(worst, float(gap.max() if gap.notna().any() else 0.0))
        elif not (a.fillna("") == b.fillna("")).all() if a.dtype == "str" else not (a == b).all():
            return float("inf")
    return worst


def main() -> None:
    """Run the benchmark and print its figures; exit 1 if the two disagree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--events", type=float, default=100.0, help="event rows per customer")
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the data here and use what is there")
    parser.add_argument("--one", choices=["ours", "hand"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one, options.folder)
        return
    with tempfile.TemporaryDirectory(prefix="leadsieve-bench-") as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "spine.parquet").exists():
            prepare(folder, options.customers, options.events, options.months)
        runs: dict[str, list[dict[str, float]]] = {"ours": [], "hand": []}
        for _ in range(options.runs):
            for what, done in runs.items():
                command = [sys.executable, __file__, "--one", what, "--folder", str(folder)]
                done.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        for what, done in runs.items():
            seconds = [run["seconds"] for run in done]
            print(
                f"{what}: {done[0]['rows']:,} rows x {done[0]['columns']} features, "
                f"median {statistics.median(seconds):.1f} s "
                f"({min(seconds):.1f} to {max(seconds):.1f}), peak memory {max(run['peak_gb'] for run in done):.1f} GB"
            )
        ratio = statistics.median(a["seconds"] / b["seconds"] for a, b in zip(runs["ours"], runs["hand"], strict=True))
        worst = compare(folder)
        print(f"ratio ours / by hand: {ratio:.2f} (aim: at most 1.50); largest relative difference {worst:.1e}")
        if worst > 1e-12:
            sys.exit("the two do not agree")


if __name__ == "__main__":
    main()
