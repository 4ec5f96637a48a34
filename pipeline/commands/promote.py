"""`leadsieve promote`: make the challenger, or another version, the live one."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.options import (
    ConfigOption,
    JsonOption,
    TargetOption,
    WhyOption,
    answer,
    print_json,
    progress,
    say,
)
from pipeline.config import Config, load_config

if TYPE_CHECKING:
    from models.predict import Bundle
    from pipeline.ledger import Ledger
    from pipeline.swap_report import SwapReport
    from pipeline.versions import Move


def promote(
    config: ConfigOption,
    target: TargetOption = None,
    version: Annotated[int | None, typer.Option("--version", help="Default: the challenger.")] = None,
    why: WhyOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show who would change grade; change nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if more change grade than the config allows.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the swap report as a page.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show who changes grade if a version goes live, and make it the live one.

    Where more people change grade than `retrain.max_movers_share`, nothing changes and the command ends with exit
    code 1.
    """
    from pipeline.ledger import open_ledger
    from pipeline.lock import hold_lock
    from pipeline.versions import choose_target, make_live, plan_promotion, read_history

    settings = load_config(config)
    name = choose_target(settings, target)
    lock = contextlib.nullcontext() if dry_run else hold_lock(settings.folder, "promote")
    with lock, open_ledger(settings.folder / "ledger.db") as ledger:
        move = plan_promotion(settings, name, version)
        was_noted = read_history(settings, ledger, name).note is None
        with progress.status(f"Scoring with both versions of {name} ..."):
            challenger, report = _compare(settings, ledger, move)
        if html is not None:
            from pipeline.swap_text import write_page

            write_page(report, html)
        if not dry_run:
            if not force:
                report.check()
            test = challenger.manifest.get("test")
            make_live(settings, ledger, move, "promote", why=why, test=test, swap=report.summary())
    if as_json:
        print_json({"target": name, **move.to_json(), "is_dry_run": dry_run, "swap": report.to_json()})
    else:
        _show(report, move, dry_run=dry_run, was_noted=was_noted)


def _compare(settings: Config, ledger: "Ledger", move: "Move") -> tuple["Bundle", "SwapReport"]:
    """Load both versions and compare them on everybody to score at the end of the data."""
    from models.predict import load_bundle
    from pipeline.deployment import load_extract
    from pipeline.registry import find_bundle, read_champion
    from pipeline.swap_population import make_population
    from pipeline.swap_versions import Version, make_swap_report

    folder = find_bundle(settings, move.target, move.version, move.bundle_sha256)
    challenger = Version(load_bundle(folder, move.bundle_sha256), move.version, move.bundle_sha256)
    champion = read_champion(settings, move.target)
    live = None
    if champion is not None:
        live = Version(load_bundle(champion.folder, champion.bundle_sha256), move.replaced, champion.bundle_sha256)
    population = make_population(settings, load_extract(settings), move.target)
    return challenger.bundle, make_swap_report(settings, ledger, population, challenger, live)


def _show(report: "SwapReport", move: "Move", *, dry_run: bool, was_noted: bool) -> None:
    """Print the swap report and what became of the promotion."""
    from pipeline.swap_text import make_tables, sum_up

    for sentence in sum_up(report):
        say(sentence)
    for table in make_tables(report):
        answer.print(table)
    if not move.is_new:
        noted = "" if was_noted or dry_run else "; the ledger says so now"
        say(f"{move.target}: version {move.version} is live already{noted}.")
    elif dry_run:
        say(f"{move.target}: nothing was changed. Without --dry-run version {move.version} goes live.")
    else:
        before = "nothing was live" if move.replaced is None else f"version {move.replaced} was"
        say(f"{move.target}: version {move.version} is live, {before}. `leadsieve rollback` goes back.")
