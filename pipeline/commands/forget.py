"""`leadsieve forget`: remove an entity from everything that leadsieve keeps."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.commands.options import ConfigOption, JsonOption, answer, print_json, progress
from pipeline.config import load_config
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.forget import ForgetReport, Found


def forget(
    entity: Annotated[str, typer.Argument(metavar="ENTITY", help="Id of a customer or deal.")],
    config: ConfigOption,
    table: Annotated[
        Literal["customers", "deals"] | None,
        typer.Option("--table", help="What the id is; needed where it is both a customer's and a deal's."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first; there is no undo.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove a customer with all that belongs to it, or a deal, from tables, runs and ledger. There is no undo."""
    from pipeline.forget import find_entity
    from pipeline.forget import forget as forget_entity
    from pipeline.ledger import open_ledger
    from pipeline.lock import hold_lock

    settings = load_config(config)
    with open_ledger(settings.folder / "ledger.db") as ledger:
        if not yes:
            _ask(find_entity(settings, ledger, entity, table))
        with hold_lock(settings.folder, "forget"), progress.status("Forgetting ..."):
            report = forget_entity(settings, ledger, entity, table)
    if as_json:
        print_json(report.to_json())
    else:
        _show(report)


def _ask(found: "Found") -> None:
    """Ask a person whether to go on; where nobody can answer, that is an error."""
    what = f"{_list(found.owned)} with {sum(found.rows.values()):,} rows of the tables"
    if not sys.stdin.isatty():
        raise ConfigError(f"This would remove {what}, and nobody is there to be asked. Pass --yes.")
    if not typer.confirm(f"This removes {what}, and there is no undo. Go on?", err=True):
        raise typer.Exit(1)


def _list(counts: Mapping[str, int]) -> str:
    """Counts with their names."""
    names = {name: name.replace("_", "-") for name in counts}
    return ", ".join(
        f"{count:,} {names[name].removesuffix('s') if count == 1 else names[name]}" for name, count in counts.items()
    )


def _show(report: "ForgetReport") -> None:
    """Print what is gone, and what is out of reach."""
    document = report.to_json()
    removed = document["removed"]
    if document["was_forgotten"]:
        _say("It was forgotten before; what was left of it is gone now.")
    _say(f"Forgotten: {_list(document['entities'])}.")
    _say(f"Rows removed from the tables: {_list(removed['tables']) or 'none'}.")
    _say(
        f"Rows removed elsewhere: {removed['runs']:,} of scoring runs, {removed['training']:,} of training sets, "
        f"{removed['quarantine']:,} of the quarantine."
    )
    _say(f"Ledger: {_list(removed['ledger'])} removed; the scores stay as anonymous counts.")
    if removed["crm"]:
        _say(f"CRM: {removed['crm']:,} rows of the history of scores and follow-up tasks removed.")
    _say("Out of reach:")
    for one in document["out_of_reach"]:
        _say(f"  {one}")


def _say(text: str) -> None:
    answer.print(text, markup=False, soft_wrap=True)
