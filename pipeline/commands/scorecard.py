"""`leadsieve scorecard`: is a card well formed, how would it grade everybody, and why does somebody have a grade."""

import math
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipeline.commands.options import ConfigOption, JsonOption, answer, parse_moment, print_json, progress, say
from pipeline.config import load_config

app = typer.Typer(help="Check a scorecard, grade with it alone, and explain a grade.", no_args_is_help=True)

TargetOption = Annotated[str | None, typer.Option("--target", help="Target whose card and entities are meant.")]
CardOption = Annotated[
    Path | None, typer.Option("--card", help="A card file to try in place of the config's.", show_default=False)
]
PresetOption = Annotated[
    list[str] | None, typer.Option("--preset", help="A preset to lay over the card file.", show_default=False)
]
AsOfOption = Annotated[
    datetime | None,
    typer.Option(
        "--as-of", parser=parse_moment, metavar="TIME", help="As of when (UTC); default: the end of the data."
    ),
]


@app.command()
def check(
    config: ConfigOption,
    card: Annotated[Path | None, typer.Argument(help="A card file; default: all that the config names.")] = None,
    target: TargetOption = None,
    preset: PresetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check cards: weights, bands, grades, presets, and which criteria this deployment has data for."""
    from pipeline.card_check import check_cards

    checked = check_cards(load_config(config), card, target, preset or ())
    if as_json:
        print_json({"cards": checked})
        return
    for one in checked:
        _print_card(one)


def _print_card(card: dict[str, Any]) -> None:
    used = f", used for {', '.join(card['targets'])}" if card["targets"] else ""
    say(f"{card['path']}: card '{card['card']}', version {card['version']}, for {card['entity']}s{used}: no mistakes")
    table = Table("criterion", "", "weight", "reads", "data", box=None)
    for one in card["criteria"]:
        table.add_row(one["id"], Text(f"{one['en']} {one['zh']}"), f"{one['weight']:g}", Text(_reads(one)), _data(one))
    for kind, title in (("vetoes", "veto"), ("flags", "flag")):
        for one in card[kind]:
            table.add_row(one["id"], Text(f"{one['en']} {one['zh']}"), title, Text(_reads(one)), _data(one))
    answer.print(table)
    for one in (*card["criteria"], *card["vetoes"], *card["flags"]):
        if one["lacks"]:
            say(f"no data: {one['id']} ({one['lacks']})")
    if card["coverage"] is None:
        say("coverage: not known before the first `leadsieve extract`")
    else:
        say(f"coverage: {card['coverage']:.0%} of the weight can have data here")
    say("grades: " + ", ".join(f"{one['en']} {one['zh']} from {one['at_least']:g}" for one in card["grades"]))
    if card["presets"]:
        say("presets: " + ", ".join(f"{one['id']} ({one['kind']}: {one['en']} {one['zh']})" for one in card["presets"]))


def _reads(question: dict[str, Any]) -> str:
    """Return the feature, formula or question that is read."""
    if "answer" in question:
        return f"answer: {question['answer']}"
    return str(question.get("feature") or question.get("formula"))


def _data(question: dict[str, Any]) -> str:
    return "none" if question["lacks"] else ""


@app.command()
def score(
    config: ConfigOption,
    target: TargetOption = None,
    as_of: AsOfOption = None,
    card: CardOption = None,
    preset: PresetOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write all rows here (.csv or .parquet).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Grade everybody with a card alone, now or at a past moment. Nothing is kept but `--out`."""
    from pipeline.card_scoring import check_place, run_card, summarise, write_rows

    if out is not None:
        check_place(out)
    with progress.status("Grading ..."):
        run = run_card(load_config(config), target, as_of, card, presets=preset or ())
    summary = summarise(run)
    if out is not None:
        write_rows(run, out)
        summary["out"] = str(out)
    if as_json:
        print_json(summary)
        return
    _print_summary(summary)


def _print_summary(summary: dict[str, Any]) -> None:
    say(
        f"card '{summary['card']}' {summary['version']}, {summary['target']} as of {summary['as_of']}: "
        f"{summary['rows']:,} rows, mean {summary['points']:.1f} points, mean coverage {summary['coverage']:.0%}"
    )
    table = Table("grade", "", "rows", "share", box=None)
    for one in summary["grades"]:
        names = Text(f"{one['en']} {one['zh']}")
        table.add_row(one["id"], names, f"{one['rows']:,}", f"{one['rows'] / max(summary['rows'], 1):.1%}")
    answer.print(table)
    _print_criteria(summary["criteria"])
    for kind in ("vetoes", "flags"):
        if summary[kind]:
            say(f"{kind}: " + ", ".join(f"{name} {count:,}" for name, count in summary[kind].items()))
    if summary["groups"]:
        means = (f"{name} {'none' if math.isnan(mean) else f'{mean:.0f}'}" for name, mean in summary["groups"].items())
        say("mean points of groups: " + ", ".join(means))
    if "out" in summary:
        say(f"all rows are in {summary['out']}")


def _print_criteria(criteria: dict[str, Any]) -> None:
    """Print what each criterion with weight gave on average, and how often it was known."""
    table = Table("criterion", "", "gives", "of", "known", box=None)
    for name, one in criteria.items():
        if one["weight"]:
            names = Text(f"{one['en']} {one['zh']}")
            table.add_row(name, names, f"{one['mean']:.1f}", f"{one['weight']:g}", f"{one['known']:.0%}")
    answer.print(table)


@app.command()
def explain(
    entity: Annotated[str, typer.Argument(help="Id of a deal or customer.")],
    config: ConfigOption,
    as_of: AsOfOption = None,
    target: TargetOption = None,
    card: CardOption = None,
    preset: PresetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each criterion saw and gave, vetoes and flags, and what to ask next."""
    from pipeline.card_scoring import explain_row, run_card

    explained = explain_row(run_card(load_config(config), target, as_of, card, entity, preset or ()))
    if as_json:
        print_json(explained)
        return
    _print_explained(explained)


def _print_explained(explained: dict[str, Any]) -> None:
    name = explained["grade_name"]
    say(
        f"{explained['entity_id']} ({explained['target']}) as of {explained['as_of']}, card '{explained['card']}' "
        f"{explained['version']}: {explained['points']:.4g} points, grade {name['en']} {name['zh']}, "
        f"coverage {explained['coverage']:.0%}"
    )
    table = Table("gives", "of", "criterion", "评分项", box=None)
    for one in sorted(explained["criteria"], key=lambda one: -one["weight"]):
        table.add_row(f"{one['gives']:.4g}", f"{one['weight']:g}", Text(one["en"]), Text(one["zh"]))
    answer.print(table)
    for one in explained["groups"]:
        level = f", {one['level_name']['en']} {one['level_name']['zh']}" if one["level"] else ""
        points = "no weight" if math.isnan(one["points"]) else f"{one['points']:.0f} of 100"
        say(f"{one['en']} {one['zh']}: {points}{level}")
    for kind, title in (("vetoes", "veto"), ("flags", "flag")):
        for one in explained[kind]:
            say(f"{title}: {one['en']} {one['zh']}")
    if explained["next_question"]:
        say(f"ask next: {explained['next_question']['en']} {explained['next_question']['zh']}")


@app.command()
def propose(
    config: ConfigOption,
    target: TargetOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the proposed card here (YAML).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Propose the points that history would give: the card judged on the ripe past moments a model is trained on."""
    from pipeline.card_backtest import propose_from_history
    from pipeline.commands.review import show_card

    with progress.status("Judging ..."):
        found = propose_from_history(load_config(config), target, out)
    if as_json:
        print_json(found)
        return
    show_card(found)
