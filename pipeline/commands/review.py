"""`leadsieve review`: what came of the scores since a day, and which rules to change."""

from datetime import date
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipeline.commands.options import ConfigOption, JsonOption, answer, open_scores, print_json, progress, say
from pipeline.config import load_config

EVENTS = {"conversion": "won", "churn": "left"}
"""What a label of 1 is called."""
SHOWN_SLICES = 12


def _parse_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no day, expected such as 2024-07-01") from None


def review(
    config: ConfigOption,
    since: Annotated[
        date,
        typer.Option("--since", parser=_parse_day, metavar="DAY", help="Scores as of this day and later are reviewed."),
    ],
    target: Annotated[str | None, typer.Option("--target", help="Only this target; default: all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what came of past scores by grade, team, criterion and override, and propose the next card."""
    from pipeline.review import review as review_scores

    settings = load_config(config)
    with open_scores(settings) as ledger, progress.status("Reviewing ..."):
        document = review_scores(settings, ledger, since, target)
    if as_json:
        print_json(document)
        return
    show_review(document)


def show_review(document: dict[str, Any]) -> None:
    """Print what a review found, target by target."""
    for name, found in document["targets"].items():
        _show(name, found, document["since"])


def _show(name: str, found: dict[str, Any], since: str) -> None:
    """Print one target."""
    say(
        f"{name}: {found['scores']:,} scores since {since}, of which {found['counted']:,} count (one per entity and "
        f"{found['horizon_days']} days); {found['settled']:,} have settled, {found['unripe']:,} not yet, "
        f"of {found['unknown']:,} nobody can say"
    )
    if found["settled"]:
        _show_grades(found)
        _show_slices(found["slices"])
        _show_comparison(found["model_against_card"])
        if found["card"]:
            show_card(found["card"])
        _show_people(found)
    for note in found["notes"]:
        say(f"note: {note}")


def _share(one: dict[str, Any], start: str = "") -> str:
    """Return a share with its interval."""
    rate = one.get(f"{start}rate")
    return "" if rate is None else f"{rate:.1%} ({one['low']:.1%} to {one['high']:.1%})"


def _show_grades(found: dict[str, Any]) -> None:
    table = Table("grade", "rows", EVENTS.get(found["kind"], ""), "revenue per customer", box=None)
    for one in found["grades"]:
        revenue = ""
        if one.get("revenue") is not None:
            revenue = f"{one['revenue']:,.0f} ({one['revenue_low']:,.0f} to {one['revenue_high']:,.0f})"
        table.add_row(one["grade"], f"{one['rows']:,}", _share(one), revenue)
    answer.print(table)


def _show_slices(slices: list[dict[str, Any]]) -> None:
    """Print where the best grade does not do better than the next, and how many there are of each kind."""
    if not slices:
        return
    counts = {
        verdict: sum(one["verdict"] == verdict for one in slices) for verdict in ("holds", "reversed", "not shown")
    }
    best, following = (one["grade"] for one in slices[0]["grades"][:2])
    few = len(slices) - sum(counts.values())
    say(
        f"{best} does better than {following} beyond noise in {counts['holds']} of {len(slices)} teams and regions, "
        f"worse in {counts['reversed']}; not shown in {counts['not shown']}, too few rows in {few}"
    )
    table = Table("by", "", "verdict", best, following, box=None)
    order = {"reversed": 0, "not shown": 1, "holds": 2}
    told = sorted((one for one in slices if one["verdict"] in order), key=lambda one: order[one["verdict"]])
    for one in told[:SHOWN_SLICES]:
        first, second = (f"{_share(part)} of {part['rows']:,}" for part in one["grades"][:2])
        table.add_row(one["by"], Text(one["level"]), one["verdict"], first, second)
    if told:
        answer.print(table)


def _show_comparison(compared: dict[str, Any] | None) -> None:
    if compared is None:
        return
    table = Table("", "AUC", "log loss", "average precision", box=None)
    for name in ("model", "card", "both"):
        one = compared[name]
        table.add_row(name, f"{one['auc']:.4f}", f"{one['log_loss']:.4f}", f"{one['average_precision']:.4f}")
    answer.print(table)
    for name, one in compared["both_minus"].items():
        interval = f"{one['low']:+.4f} to {one['high']:+.4f}"
        say(f"log loss of both less that of the {name} alone: {one['mean']:+.4f} ({interval})")


def show_card(card: dict[str, Any]) -> None:
    """Print criteria, what would change, and where the proposed card is."""
    proposal = card["proposal"]
    say(f"card '{card['card']}' {card['version']} by {card['rows']:,} rows of {card['groups']:,} customers:")
    table = Table("criterion", "verdict", "information value", "more of it", "weight", "proposed", "why", box=None)
    for one, change in zip(card["criteria"], proposal["criteria"], strict=True):
        value = (
            "" if one["verdict"] == "too few rows" else f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
        )
        weights = f"{change['weight_today']:g}", f"{change['weight']:g}"
        table.add_row(one["id"], one["verdict"], value, one["shape"], *weights, change["note"])
    answer.print(table)
    for one in proposal["grades"]:
        if one["at_least"] != one["at_least_today"]:
            say(f"grade {one['id']}: from {one['at_least']:g} points, {one['at_least_today']:g} today")
    gain = proposal["gain"]
    if gain:
        say(
            f"such a card, made of half of the customers and asked about the other: AUC {gain['proposed']:.4f}, "
            f"today's {gain['today']:.4f} (difference {gain['low']:+.4f} to {gain['high']:+.4f})"
        )
    for remark in proposal["remarks"]:
        say(f"note: {remark}")
    say(f"proposed version {proposal['version']}: {proposal['path']}")


def _show_people(found: dict[str, Any]) -> None:
    """Print disagreements and overrides."""
    if found["disagreements"]:
        for name, one in found["disagreements"].items():
            say(f"{name.replace('_', ' ')} grade: {one['rows']:,} rows, {_share(one) or 'none'} turned out well")
    made = found["overrides"]
    if made["made"]:
        by = "" if made["by"] is None else f", by {made['by']:+.3f} on average"
        say(
            f"overrides: {made['made']:,} made, {made['settled']:,} settled: {made['helped']:,} helped, "
            f"{made['hurt']:,} hurt{by}"
        )
