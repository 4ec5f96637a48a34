"""`leadsieve simulate`: make a CRM to try things on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.options import JsonOption, answer, print_json, progress
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.simulate import Plan


def simulate(
    customers: Annotated[
        int, typer.Option("--customers", help="Rows of customers, idle addresses and duplicates among them.")
    ] = 5_000,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same tables.", min=0)] = 7,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for one Parquet file per table.")] = None,
    sql: Annotated[str | None, typer.Option("--sql", help="SQLAlchemy URL, such as sqlite:///crm.db.")] = None,
    events_per_customer: Annotated[
        float, typer.Option("--events-per-customer", help="Rows of all event tables together, per customer.")
    ] = 80.0,
    duplicates: Annotated[
        float, typer.Option("--duplicates", help="Share of the customers that are entered a second time.")
    ] = 0.02,
    dirt: Annotated[float, typer.Option("--dirt", help="Share of typed values with a clerical error.")] = 0.01,
    leaks: Annotated[bool, typer.Option("--leaks", help="Plant columns that know the outcome.")] = False,
    policy: Annotated[
        float | None, typer.Option("--policy", help="Work only this share of the deals, and a random slice.")
    ] = None,
    no_truth: Annotated[bool, typer.Option("--no-truth", help="Leave out the folder truth/ of --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier simulation (and nothing else).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Simulate three years of a CRM, into Parquet files (--out DIR) or a database (--sql URL)."""
    from pipeline.simulate import Plan
    from pipeline.simulation_world import NOW

    if (out is None) == (sql is None):
        given = "neither" if out is None else "both"
        raise ConfigError(f"simulate got {given} of --out and --sql, expected one. Pass --out DIR or --sql URL.")
    plan = Plan(customers, seed, events_per_customer, duplicates, dirt, has_leaks=leaks, policy=policy)
    plan.check()
    rows = _write_files(plan, out, not no_truth, force) if out is not None else _write_sql(plan, str(sql), force)
    if as_json:
        print_json({"customers": customers, "seed": seed, "now": NOW, "rows": rows})
        return
    for name, count in rows.items():
        answer.print(f"{name:<18}{count:>12,}")


def _write_files(plan: "Plan", folder: Path, has_truth: bool, force: bool) -> dict[str, int]:
    """Simulate into a folder, a part at a time; return the rows of each file but the clock."""
    from rich.progress import Progress

    from pipeline.simulation_output import write_parts

    with Progress(console=progress, transient=True, disable=not progress.is_terminal) as bar:
        task = bar.add_task("Simulating customers", total=plan.customers)
        rows = write_parts(_shown(plan, has_truth, lambda count: bar.advance(task, count)), folder, force=force)
    return {name: count for name, count in rows.items() if name != "clock"}


def _shown(plan: "Plan", has_truth: bool, say: Callable[[int], None]) -> Iterator[Mapping[str, "pa.Table"]]:
    """Simulate part by part; say how many customers each had."""
    from pipeline.simulate import simulate_parts
    from pipeline.simulation_criteria import criteria_table, manifest_table
    from pipeline.simulation_truth import build_truth

    for part in simulate_parts(plan):
        tables = dict(part.tables)
        if has_truth:
            truth = build_truth(part.world, part.numbers, part.tables)
            tables |= {"truth/conversion": truth.conversion, "truth/churn": truth.churn}
        say(part.tables["customers"].num_rows)
        yield tables
    if has_truth:
        yield {"truth/criteria": criteria_table(), "truth/manifest": manifest_table(asdict(plan))}


def _write_sql(plan: "Plan", url: str, force: bool) -> dict[str, int]:
    """Simulate into a database, the tables of the CRM alone; return the rows of each but the clock."""
    from pipeline.simulate import join_parts, simulate_parts
    from pipeline.simulation_sql import write_sql

    with progress.status(f"Simulating {plan.customers:,} customers ..."):
        tables = join_parts(simulate_parts(plan))
    tables.pop("leaks", None)
    with progress.status("Writing tables ..."):
        write_sql(tables, url, force=force)
    return {name: table.num_rows for name, table in tables.items() if name != "clock"}
