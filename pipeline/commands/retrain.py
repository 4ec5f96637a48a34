"""`leadsieve retrain`: train challengers when they are due, and promote those that are better."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.status import Status
from rich.table import Table

from pipeline.commands.options import ConfigOption, JsonOption, answer, print_json, progress, say
from pipeline.config import Config, load_config
from pipeline.errors import ConfigError, GateError

ONLY_NOTED = "The ledger has this decision already; nothing was done again."
_NAMES = {"champion": "the live model", "logistic": "the logistic line", "base_rate": "the base rate"}


def retrain(
    config: ConfigOption,
    target: Annotated[str | None, typer.Option("--target", help="Look at this target only.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Train even if no trigger fired.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide, and change nothing.")] = False,
    replay: Annotated[
        bool, typer.Option("--replay", help="Train nothing; tell what this policy would have brought in the past.")
    ] = False,
    start: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="With --replay: the day it starts.")
    ] = None,
    choose_anew: Annotated[
        bool, typer.Option("--choose-anew", help="With --replay: run the whole recipe at every training; slow.")
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", help="With --replay: write it as a page.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a challenger for every target that is due, and make it live only if it is better.

    Where the gate refuses one, what is live stays live and the command ends with exit code 1. Safe to kill and to run
    again: the same data give the same decision. `train` is the way without a gate.
    """
    if replay:
        _replay(load_config(config), target, start, choose_anew, html, as_json)
        return
    if start is not None or choose_anew or html is not None:
        raise ConfigError("--from, --choose-anew and --html belong to --replay. Add it, or leave them out.")
    from pipeline.deployment import load_extract, make_target
    from pipeline.ledger import open_ledger
    from pipeline.lock import hold_lock
    from pipeline.retrain import retrain_target

    settings = load_config(config)
    names = [make_target(settings, target).name] if target else list(settings.targets)
    documents: dict[str, Any] = {}
    with hold_lock(settings.folder, "retrain"), open_ledger(settings.folder / "ledger.db") as ledger:
        tables = load_extract(settings)
        for name in names:
            with progress.status(f"Retraining {name} ..."):
                done = retrain_target(settings, tables, name, ledger, config, force=force, dry_run=dry_run)
            documents[name] = {**done.to_json(), "is_dry_run": dry_run}
    if as_json:
        print_json({"targets": documents})
    else:
        for name, document in documents.items():
            print_retraining(name, document)
    refused = [f"{name}: {document['why']}" for name, document in documents.items() if document["outcome"] == "refused"]
    if refused:
        raise GateError(f"{' '.join(refused)} What was live stays live.")


def _replay(
    settings: Config, target: str | None, start: datetime | None, choose_anew: bool, html: Path | None, as_json: bool
) -> None:
    """Play the policy over the past, for one target or for each that is a chance; nothing is changed."""
    from pipeline.deployment import load_extract, make_target
    from pipeline.replay import replay_deployment
    from pipeline.replay_page import make_tables, write_page

    names = [make_target(settings, target).name] if target else _chances(settings)
    documents: dict[str, Any] = {}
    tables = load_extract(settings)
    day = None if start is None else start.date()
    for name in names:
        with progress.status(f"Replaying {name} ...") as status:

            def tell(fitted: int, rows: int, name: str = name, status: Status = status) -> None:
                status.update(f"Replaying {name}: {fitted:,} models fitted, the next one on {rows:,} rows ...")

            found = replay_deployment(settings, tables, name, start=day, choose_anew=choose_anew, tell=tell)
        documents[name] = found.to_json()
        if html is not None:
            write_page(found, html if len(names) == 1 else html.with_stem(f"{html.stem}-{name}"))
        if not as_json:
            for line in (f"{name}: {found.sentence}", found.compared, *found.notes):
                say(line)
            for table in make_tables(found):
                answer.print(table)
    if as_json:
        print_json({"targets": documents})


def _chances(settings: Config) -> list[str]:
    """Targets that the gate can judge."""
    return [name for name, target in settings.targets.items() if target.kind != "value"]


def print_retraining(name: str, document: Mapping[str, Any]) -> None:
    """Print what was decided, why, and what it rests on."""
    outcome = document["outcome"].replace("_", " ")
    version = f" (version {document['version']})" if "version" in document else ""
    say(f"{name}: {outcome}{version}{', if this were no dry run' if document['is_dry_run'] else ''}")
    say(document["why"])
    for trigger in document.get("triggers", ()):
        say(f"{'due' if trigger['fired'] else 'not due'}: {trigger['why']}")
    if "comparison" in document:
        _print_comparison(document["comparison"])
        _print_slices(document["slices"])
    if not document["is_new"]:
        say(ONLY_NOTED)


def _print_comparison(comparison: Mapping[str, Any]) -> None:
    table = Table(box=None)
    for column in ("challenger against", "its log loss", "that of the other", "difference", "97 % interval"):
        table.add_column(column, justify="left" if column == "challenger against" else "right")
    for name, one in comparison["differences"].items():
        figures = (one["challenger_loss"], one["opponent_loss"])
        interval = f"[{one['low']:+.4f}, {one['high']:+.4f}]"
        table.add_row(_NAMES[name], *(f"{figure:.4f}" for figure in figures), f"{one['mean']:+.4f}", interval)
    answer.print(table)


def _print_slices(slices: list[Mapping[str, Any]]) -> None:
    """Print the parts where the challenger does worst, at most three."""
    worst = sorted(slices, key=lambda one: -one["difference"]["mean"])[:3]
    for one in worst:
        if one["difference"]["mean"] > 0:
            held = "below its floor" if one["is_below"] else "above its floor"
            difference = f"{one['difference']['mean']:+.4f}"
            say(f"{one['column']} {one['value']}: {one['rows']:,} rows, difference {difference}, {held}")
