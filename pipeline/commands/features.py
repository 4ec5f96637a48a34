"""`leadsieve features`: what features there are, and what one entity's were at a date."""

import difflib
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pipeline.commands.options import ConfigOption, JsonOption, answer, print_json
from pipeline.errors import ConfigError

app = typer.Typer(help="List and describe features, or show one entity's at a date.", no_args_is_help=True)

TargetOption = Annotated[str | None, typer.Option("--target", help="Target whose entities are meant.")]


def _parse_moment(text: str) -> datetime:
    """Moment in UTC without a zone, as all times of the tables are."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is not a time, expected such as 2024-07-01 or '2024-07-01 22:00:00'"
        ) from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


@app.command("list")
def list_features(config: ConfigOption, target: TargetOption = None, as_json: JsonOption = False) -> None:
    """List the features of a target, and what was left out and why."""
    from pipeline.explore import describe_features

    built = describe_features(config, target)
    if as_json:
        print_json(built)
        return
    table = Table("feature", "unit", "group", box=None)
    for info in built["features"]:
        table.add_row(info["name"], info["unit"], info["group"])
    answer.print(table)
    for name, reason in built["skipped"].items():
        answer.print(f"left out: {name} ({reason})", markup=False, soft_wrap=True)


@app.command()
def describe(name: str, config: ConfigOption, target: TargetOption = None, as_json: JsonOption = False) -> None:
    """Describe one feature: what it means, its unit, and how it reads in a reason."""
    from pipeline.explore import describe_features

    features = {info["name"]: info for info in describe_features(config, target)["features"]}
    if name not in features:
        near = difflib.get_close_matches(name, list(features), n=1)
        hint = f"Did you mean '{near[0]}'?" if near else "See `leadsieve features list`."
        raise ConfigError(f"There is no feature '{name}' in this deployment. {hint}")
    if as_json:
        print_json(features[name])
        return
    for key, value in features[name].items():
        answer.print(f"{key:12} {value}", markup=False, soft_wrap=True)


@app.command()
def show(
    entity: Annotated[str, typer.Option("--entity", help="Id of a deal or customer.")],
    config: ConfigOption,
    at: Annotated[
        datetime | None,
        typer.Option(
            "--at", parser=_parse_moment, metavar="TIME", help="As of when (UTC); default: the end of the data."
        ),
    ] = None,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every feature of one entity as it was known at a date: the values that models and reasons see."""
    from pipeline.explore import show_features

    shown = show_features(config, entity, at, target)
    if as_json:
        print_json(shown)
        return
    answer.print(f"{shown['entity_id']} as of {shown['as_of']} ({shown['target']})", markup=False)
    table = Table("feature", "value", "in words", box=None)
    for row in shown["features"]:
        value = row["value"]
        text = "" if value is None else str(value)
        if isinstance(value, float):
            text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        table.add_row(row["name"], Text(text), Text(row["en"] or ""))
    answer.print(table)
