"""`leadsieve features`: what features there are, and what one entity's were at a date."""

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipeline.commands.options import ConfigOption, JsonOption, answer, parse_moment, print_json

app = typer.Typer(help="List and describe features, or show one entity's at a date.", no_args_is_help=True)

TargetOption = Annotated[str | None, typer.Option("--target", help="Target whose entities are meant.")]


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
    from pipeline.explore import check_feature, describe_features

    described = describe_features(config, target)
    features = {info["name"]: info for info in described["features"]}
    check_feature(name, list(features), described["skipped"])
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
            "--at", parser=parse_moment, metavar="TIME", help="As of when (UTC); default: the end of the data."
        ),
    ] = None,
    feature: Annotated[str | None, typer.Option("--feature", help="Only this one, and the rows behind it.")] = None,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every feature of one entity as it was known at a date, or one feature and the rows behind it."""
    from pipeline.explore import show_features

    shown = show_features(config, entity, at, target, feature)
    if as_json:
        print_json(shown)
        return
    answer.print(f"{shown['entity_id']} as of {shown['as_of']} ({shown['target']})", markup=False)
    _print_features(shown["features"])
    if feature:
        _print_behind(shown["behind"])


def _print_features(features: list[dict[str, Any]]) -> None:
    table = Table("feature", "value", "in words", box=None)
    for row in features:
        table.add_row(row["name"], Text(_short(row["value"])), Text(row["en"] or ""))
    answer.print(table)


def _short(value: Any) -> str:
    """Return a value as a cell shows it."""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "" if value is None else str(value)


def _print_behind(behind: dict[str, Any]) -> None:
    """Print the rows of a feature, or the features that it is computed from."""
    if behind["kind"] == "rows":
        _print_rows(behind)
    elif behind["kind"] == "features":
        answer.print("computed from:")
        _print_features(behind["needs"])
    else:
        owner = f"{behind['of']}.{behind['by']}"
        answer.print(f"computed from all {behind['table']} that share {owner} = {behind['value']}:", markup=False)
        _print_features(behind["features"])


def _print_rows(behind: dict[str, Any]) -> None:
    days, what = behind["window_days"], "versions" if behind["history"] else "rows"
    inside = "" if days is None else f", {behind['in_window']:,} of them in its {days} days"
    answer.print(
        f"{what} of {behind['table']} by {behind['by']}: {behind['known']:,} known{inside}; {behind['counted']:,} count"
    )
    if not behind["rows"]:
        return
    table = Table(*behind["rows"][0], box=None)
    for row in behind["rows"]:
        table.add_row(*(Text(_short(value)) for value in row.values()))
    answer.print(table)
    if behind["more"]:
        answer.print(f"and {behind['more']:,} older ones")
