"""`leadsieve simulate`: make a CRM to try things on."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import JsonOption, answer, print_json, progress
from pipeline.errors import ConfigError


def simulate(
    customers: Annotated[int, typer.Option("--customers", help="Number of customers.")] = 5_000,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same tables.", min=0)] = 7,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for one Parquet file per table.")] = None,
    sql: Annotated[str | None, typer.Option("--sql", help="SQLAlchemy URL, such as sqlite:///crm.db.")] = None,
    events_per_customer: Annotated[
        float, typer.Option("--events-per-customer", help="Rows of all event tables together, per customer.")
    ] = 80.0,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier simulation (and nothing else).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Simulate three years of a CRM, into Parquet files (--out DIR) or a database (--sql URL)."""
    from pipeline.simulate import simulate_crm, write_files, write_sql

    if (out is None) == (sql is None):
        given = "neither" if out is None else "both"
        raise ConfigError(f"simulate got {given} of --out and --sql, expected one. Pass --out DIR or --sql URL.")
    with progress.status(f"Simulating {customers:,} customers ..."):
        tables = simulate_crm(customers, seed, events_per_customer=events_per_customer)
    with progress.status("Writing tables ..."):
        if out is not None:
            write_files(tables, out, force=force)
        elif sql is not None:
            write_sql(tables, sql, force=force)
    rows = {name: table.num_rows for name, table in tables.items() if name != "clock"}
    if as_json:
        print_json({"customers": customers, "seed": seed, "now": tables["clock"]["now"][0].as_py(), "rows": rows})
        return
    for name, count in rows.items():
        answer.print(f"{name:<18}{count:>12,}")
