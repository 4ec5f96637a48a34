"""`leadsieve rollback`: go back to the version that was live before."""

from typing import Annotated

import typer

from pipeline.commands.options import ConfigOption, JsonOption, TargetOption, WhyOption, print_json, say
from pipeline.config import load_config


def rollback(
    config: ConfigOption,
    target: TargetOption = None,
    to: Annotated[int | None, typer.Option("--to", help="Default: what the live version replaced.")] = None,
    why: WhyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the version live again that the live one replaced; it needs no lock and is done in a second."""
    from pipeline.ledger import open_ledger
    from pipeline.versions import choose_target, make_live, plan_rollback

    settings = load_config(config)
    name = choose_target(settings, target)
    with open_ledger(settings.folder / "ledger.db") as ledger:
        move = plan_rollback(settings, ledger, name, to)
        make_live(settings, ledger, move, "rollback", why=why)
    if as_json:
        print_json({"target": name, **move.to_json()})
    elif move.is_new:
        say(f"{name}: version {move.version} is live again, version {move.replaced} was. The next scoring uses it.")
    else:
        say(f"{name}: version {move.version} is live already.")
