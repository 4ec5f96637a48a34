"""`leadsieve override`: a grade given by hand, with a reason, until it expires or is withdrawn."""

import getpass
from dataclasses import asdict
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from pipeline.commands.options import ConfigOption, JsonOption, TargetOption, answer, print_json, say
from pipeline.config import Config, load_config
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.ledger import Ledger
    from pipeline.ledger_overrides import Override


def parse_day(text: str) -> date:
    """Day of a text such as 2025-07-31.

    >>> parse_day("2025-07-31")
    datetime.date(2025, 7, 31)
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no day, such as 2025-07-31") from None


def override(
    config: ConfigOption,
    entity: Annotated[str | None, typer.Argument(help="Id of a deal or customer that has a score.")] = None,
    grade: Annotated[str | None, typer.Option("--grade", help="Id of a grade of the target.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, in a sentence.")] = None,
    target: TargetOption = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help="Hold for so many days of data.")] = None,
    until: Annotated[
        date | None, typer.Option("--until", parser=parse_day, metavar="DAY", help="First day it does not hold.")
    ] = None,
    author: Annotated[str | None, typer.Option("--author", help="Who says so; default: the user's name.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Withdraw what the entity has.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Show those in force; with ENTITY, all it ever had.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Give an entity a grade by hand. The next score shows it; points and probability are computed all the same."""
    from pipeline.ledger import open_ledger
    from pipeline.lock import hold_lock
    from pipeline.overrides import add_override, today_of, withdraw_override

    settings = load_config(config)
    _check(entity, grade, reason, withdraw, show, days, until)
    if show:
        with open_ledger(settings.folder / "ledger.db") as ledger:
            _show_all(settings, ledger, entity, target, as_json)
        return
    with hold_lock(settings.folder, "override"), open_ledger(settings.folder / "ledger.db") as ledger:
        if withdraw:
            count = withdraw_override(settings, ledger, str(entity), target)
            _tell(
                {"withdrawn": count}, f"Withdrawn: {count}. The next score grades '{entity}' as it comes out.", as_json
            )
            return
        ends = until if days is None else today_of(settings, ledger) + timedelta(days=days)
        by = author or getpass.getuser()
        made = add_override(
            settings, ledger, str(entity), str(grade), str(reason), target=target, author=by, expires_on=ends
        )
    held = "until it is withdrawn" if made.expires_on is None else f"on days before {made.expires_on}"
    said = f"'{made.entity_id}' is graded {made.grade} for target '{made.target}' {held}, from the next score on."
    _tell(asdict(made), said, as_json)


def _check(
    entity: str | None,
    grade: str | None,
    reason: str | None,
    withdraw: bool,
    show: bool,
    days: int | None,
    until: date | None,
) -> None:
    """Check that the options ask for one thing."""
    if show and withdraw:
        raise ConfigError("override got both --list and --withdraw, expected one. Pass one.")
    if (show or withdraw) and (grade or reason or days or until):
        asked = "--list" if show else "--withdraw"
        raise ConfigError(f"override {asked} takes no --grade, --reason, --days or --until. Leave them out.")
    if show:
        return
    if entity is None:
        raise ConfigError("override got no ENTITY. Name a deal or customer, or pass --list.")
    if not withdraw and not (grade and reason):
        missing = "--reason" if grade else "--grade"
        raise ConfigError(f"override of '{entity}' lacks {missing}. Pass --grade GRADE --reason \"...\".")
    if days is not None and until is not None:
        raise ConfigError("override got both --days and --until, expected one. Pass one, or neither.")


def _show_all(config: Config, ledger: "Ledger", entity: str | None, target: str | None, as_json: bool) -> None:
    """List overrides: those in force, or all of one entity."""
    from pipeline.overrides import today_of

    today = today_of(config, ledger)
    found = ledger.overrides.find(target, entity) if entity else ledger.overrides.in_force(today)
    found = [one for one in found if target in (None, one.target)]
    if as_json:
        print_json([{**asdict(one), "is_in_force": one.holds(today)} for one in found])
        return
    if not found:
        say("No grade was given by hand." if entity else "No grade given by hand is in force.")
        return
    table = Table("id", "target", "grade", "by", "made", "ends", "state", "reason", box=None, pad_edge=False)
    for one in found:
        cells = (one.entity_id, one.target, one.grade, one.author, f"{one.made_at:%Y-%m-%d}")
        table.add_row(*map(Text, (*cells, str(one.expires_on or ""), _state(one, today), one.reason)))
    answer.print(table)


def _state(one: "Override", today: date) -> str:
    if one.withdrawn_at is not None:
        return "withdrawn"
    return "in force" if one.holds(today) else "expired"


def _tell(document: object, sentence: str, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        say(sentence)
