"""Benchmark: seconds per row beside featuretools, with one cutoff time per row.

    python tests/bench_featuretools.py [--customers 100000] [--events 100] [--months 12] [--rows 300] [--folder DIR]

The same aggregations on both sides: count, sum, largest and mean amount of purchases and time since the last, count
of activities and time since the last, each in the training windows of 90 and 365 days. No two customers are looked
at in the same second of a month. featuretools needs pandas 2, so the script makes an environment for it; without
one it says so and ends. It gets a sample of the rows, and of the tables only what belongs to the sample's customers;
ours builds all rows from all tables. Exit 1 where ours is less than 500 times faster per row, or values disagree.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PINNED = ("featuretools==1.31.0", "pandas<3")
WINDOWS = (90, 365)
LEAST_RATIO, MOST_GAP = 500.0, 1e-9


def make_environment(folder: Path) -> Path | None:
    """Return the Python of an environment with featuretools; None where it cannot be installed."""
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
        if subprocess.run([str(python), "-c", "import featuretools"], capture_output=True).returncode:
            command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINNED]
            subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        print(f"Left out: {' and '.join(PINNED)} cannot be installed ({said[-1] if said else error}).")
        return None
    return python


def make_catalog() -> tuple[Any, ...]:
    """Return our groups with the aggregations that featuretools is asked for."""
    from features.expressions import days_between, ratio
    from features.group import Feature, feature_group
    from features.targets import is_purchase

    def named(name: str, value: Any, empty: float | None) -> dict[str, Any]:
        return {name: Feature(value, empty, "rate", "{value}", "{value}")}

    @feature_group("orders", windows=WINDOWS)
    def purchases(orders: Any, window: Any) -> dict[str, Any]:
        """Purchases in the window."""
        bought = is_purchase(orders) & window.mask
        total, count = orders.amount.sum(where=bought), bought.sum()
        return (
            named(f"orders_count_{window}", count, 0)
            | named(f"orders_sum_{window}", total, 0)
            | named(f"orders_max_{window}", orders.amount.max(where=bought), None)
            | named(f"orders_mean_{window}", ratio(total, count), None)
            | named(
                f"orders_last_{window}",
                days_between(orders.occurred_at.max(where=bought), orders.as_of.max()),
                None,
            )
        )

    @feature_group("activities", windows=WINDOWS)
    def contacts(activities: Any, window: Any) -> dict[str, Any]:
        """Activities in the window."""
        last = activities.occurred_at.max(where=window.mask)
        return named(f"activities_count_{window}", window.mask.sum(), 0) | named(
            f"activities_last_{window}", days_between(last, activities.as_of.max()), None
        )

    return (purchases, contacts)


def make_spine(folder: Path, months: int) -> Any:
    """Customers once a month, each at a second of its own."""
    import pandas as pd
    from large_crm import months_spine, open_tables

    spine = months_spine(open_tables(folder), months)
    return spine.assign(as_of=spine["as_of"] - pd.to_timedelta(spine.index % 2_400_000, unit="s"))


def write_sample(folder: Path, spine: Any, rows: int) -> None:
    """Choose rows whose customers have nothing that was known late, and write what is known of these customers.

    featuretools has one clock: a row counts from when it occurred.
    """
    import duckdb
    from large_crm import open_tables

    tables = open_tables(folder)
    with duckdb.connect() as connection:
        connection.register("spine", spine)
        for name in ("orders", "activities"):
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM '{tables.path(name)}'")
        connection.execute(
            f"""CREATE TABLE sample AS SELECT * FROM spine s
            WHERE customer_id NOT IN (SELECT customer_id FROM orders WHERE known_at > occurred_at)
              AND customer_id NOT IN (SELECT customer_id FROM activities
                                      WHERE known_at > occurred_at AND customer_id IS NOT NULL)
              AND customer_id IN (SELECT customer_id FROM orders)
            ORDER BY hash(customer_id, as_of) LIMIT {rows}"""
        )
        chosen = "customer_id IN (SELECT customer_id FROM sample)"
        queries = {
            "sample": "SELECT customer_id, as_of AS time FROM sample",
            "customers": "SELECT DISTINCT customer_id FROM sample",
            "orders": "SELECT order_id, customer_id, occurred_at, amount::DOUBLE AS amount FROM orders "
            f"WHERE coalesce(quantity, amount::DOUBLE) > 0 AND {chosen}",
            "activities": f"SELECT activity_id, customer_id, occurred_at FROM activities WHERE {chosen}",
        }
        for name, query in queries.items():
            connection.execute(f"COPY ({query}) TO '{folder / f'featuretools_{name}.csv'}' (HEADER)")


def run_featuretools(folder: Path) -> None:
    """Run in the other environment: print seconds, and write the values."""
    import warnings

    warnings.simplefilter("ignore")
    ft = import_module("featuretools")
    import pandas as pd

    frames = {
        name: pd.read_csv(folder / f"featuretools_{name}.csv", parse_dates=dates, dtype={"customer_id": "string"})
        for name, dates in {
            "sample": ["time"],
            "customers": [],
            "orders": ["occurred_at"],
            "activities": ["occurred_at"],
        }.items()
    }
    world = ft.EntitySet("crm")
    world.add_dataframe(dataframe_name="customers", dataframe=frames["customers"], index="customer_id")
    for name, key in {"orders": "order_id", "activities": "activity_id"}.items():
        world.add_dataframe(dataframe_name=name, dataframe=frames[name], index=key, time_index="occurred_at")
        world.add_relationship("customers", "customer_id", name, "customer_id")
    seconds, parts = 0.0, []
    for days in WINDOWS:
        started = time.perf_counter()
        matrix, _ = ft.dfs(
            entityset=world,
            target_dataframe_name="customers",
            cutoff_time=frames["sample"],
            training_window=f"{days} days",
            include_cutoff_time=False,
            cutoff_time_in_index=True,
            agg_primitives=["count", "sum", "max", "mean", "time_since_last"],
            trans_primitives=[],
            max_depth=1,
            n_jobs=1,
        )
        seconds += time.perf_counter() - started
        names = {
            "COUNT(orders)": "orders_count",
            "SUM(orders.amount)": "orders_sum",
            "MAX(orders.amount)": "orders_max",
            "MEAN(orders.amount)": "orders_mean",
            "TIME_SINCE_LAST(orders.occurred_at)": "orders_last",
            "COUNT(activities)": "activities_count",
            "TIME_SINCE_LAST(activities.occurred_at)": "activities_last",
        }
        parts.append(matrix[list(names)].rename(columns={old: f"{name}_{days}d" for old, name in names.items()}))
    whole = pd.concat(parts, axis=1).astype("float64")
    whole.reset_index().to_csv(folder / "featuretools_values.csv", index=False)
    print(json.dumps({"seconds": seconds, "rows": len(whole)}))


def run_ours(folder: Path, months: int) -> None:
    """Build all rows in this process; print seconds, and write the values of the sample."""
    import pandas as pd
    from large_crm import Stopwatch, open_tables

    from features.build import build_features

    spine = make_spine(folder, months)
    watch = Stopwatch()
    frame = build_features(open_tables(folder), spine, make_catalog(), "customers").frame
    print(json.dumps(watch.read(rows=len(frame), columns=frame.shape[1] - 2)))
    sample = pd.read_csv(folder / "featuretools_sample.csv", parse_dates=["time"], dtype={"customer_id": "str"})
    sample["time"] = sample["time"].astype("datetime64[us]")
    sample = sample.rename(columns={"customer_id": "entity_id", "time": "as_of"})
    sample.merge(frame, on=["entity_id", "as_of"]).to_parquet(folder / "featuretools_ours.parquet")


def compare(folder: Path) -> tuple[int, float]:
    """Values compared, and their largest relative difference; infinite where only one is null."""
    import pandas as pd

    ours = pd.read_parquet(folder / "featuretools_ours.parquet")
    theirs = pd.read_csv(folder / "featuretools_values.csv", parse_dates=["time"])
    theirs["time"] = theirs["time"].astype("datetime64[us]")
    both = ours.merge(theirs, left_on=["entity_id", "as_of"], right_on=["customer_id", "time"], suffixes=("", "_ft"))
    worst, count = 0.0 if len(both) == len(ours) else float("inf"), 0
    for name in (column for column in ours.columns if f"{column}_ft" in both):
        a, b = both[name], both[f"{name}_ft"] / (86_400 if "_last_" in name else 1)
        b = b.fillna(0.0) if "_count_" in name or "_sum_" in name else b
        gap = (a - b).abs() / b.abs().clip(lower=1.0)
        worst = max(worst, float(gap.fillna(0.0).max()), 0.0 if (a.isna() == b.isna()).all() else float("inf"))
        count += len(both)
    return count, worst


def main() -> None:
    """Run the benchmark; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--events", type=float, default=100.0, help="event rows per customer")
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--rows", type=int, default=300, help="rows that featuretools is given")
    parser.add_argument("--folder", type=Path, help="keep the tables here and use what is there")
    parser.add_argument("--environment", type=Path, help="keep featuretools here and use what is there")
    parser.add_argument("--one", choices=["ours", "featuretools"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one == "featuretools":
        run_featuretools(options.folder)
    elif options.one:
        run_ours(options.folder, options.months)
    else:
        with tempfile.TemporaryDirectory(prefix="leadsieve-bench-") as temporary:
            run_all(options, Path(temporary))


def run_all(options: argparse.Namespace, temporary: Path) -> None:
    """Measure both in turn and print the figures."""
    from large_crm import prepare_world, run_apart, verdict

    python = make_environment(options.environment or temporary / "environment")
    if python is None:
        return
    folder = prepare_world(options.folder or temporary, options.customers, options.events)
    write_sample(folder, make_spine(folder, options.months), options.rows)
    theirs = run_apart(__file__, "--one", "featuretools", "--folder", str(folder), python=python)
    ours = run_apart(__file__, "--one", "ours", "--folder", str(folder), "--months", str(options.months))
    for what, one in {"featuretools": theirs, "ours": ours}.items():
        per_row = one["seconds"] / one["rows"]
        print(f"{what}: {one['rows']:,} rows in {one['seconds']:.1f} s, {per_row * 1000:.4f} ms per row")
    ratio = (theirs["seconds"] / theirs["rows"]) / (ours["seconds"] / ours["rows"])
    count, gap = compare(folder)
    reached = [
        verdict(ratio, LEAST_RATIO, f"{ratio:,.0f} times faster per row than featuretools", at_least=True),
        verdict(gap, MOST_GAP, f"largest relative difference of {count:,} values {gap:.1e}"),
    ]
    if not all(reached):
        sys.exit(1)


if __name__ == "__main__":
    main()
