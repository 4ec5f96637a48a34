"""`leadsieve explain`: why an entity got its score, on any day, and what moved it."""

from datetime import UTC, datetime, time
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipeline.commands.options import ConfigOption, JsonOption, answer, open_scores, print_json
from pipeline.config import load_config

SHOWN = 10
"""Contributions and moved features that are shown unless all are asked for."""

SUMS = {"log_odds": ("log-odds", "对数几率"), "log_value": ("log of the value", "价值的对数")}
"""What the contributions sum to, in words."""


def parse_until(text: str) -> datetime:
    """Moment in UTC without a zone; a day alone is its end.

    >>> parse_until("2024-07-01"), parse_until("2024-07-01T06:00:00+02:00")
    (datetime.datetime(2024, 7, 1, 23, 59, 59, 999999), datetime.datetime(2024, 7, 1, 4, 0))
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no day and no time, such as 2024-07-01 or '2024-07-01 22:00'") from None
    if len(text) <= len("2024-07-01"):
        return datetime.combine(moment, time.max)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def explain(
    entity: Annotated[str, typer.Argument(help="Id of a deal or customer.")],
    config: ConfigOption,
    at: Annotated[
        datetime | None,
        typer.Option(
            "--at",
            parser=parse_until,
            metavar="TIME",
            help="Day or time (UTC): the newest score up to then; default: of all.",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Target, where the entity has scores of several.")
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show all contributions, not the largest only.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compute a past score again, to the bit, with all reasons and what moved it since the one before."""
    from pipeline.explain import explain as explain_score

    settings = load_config(config)
    with open_scores(settings) as ledger:
        explanation = explain_score(settings, ledger, entity, at, target)
    document = explanation.to_json()
    if as_json:
        print_json(document)
    else:
        _print(document, None if show_all else SHOWN)
    explanation.check()


def _print(document: dict[str, Any], shown: int | None) -> None:
    score = document["score"]
    values = ", ".join(f"{name} {_short(value)}" for name, value in score.items() if value is not None)
    about = f"{document['target']}, {document['horizon_days']} days"
    _say(f"{document['entity_id']} ({about}) as of {document['as_of']}: {values}")
    model = f"model version {document['model_version']}" if document["model_version"] else "no model"
    card = f"card {document['card']} {document['card_version']}" if document["card"] else "no card"
    verdict = "equal to the ledger to the bit" if document["is_equal"] else "NOT equal to the ledger"
    _say(f"run {document['run_id']}, {model}, {card}; computed again: {verdict}")
    if document["graded_by"] not in (None, "points"):
        by_card = f"; the card alone gives {document['card_grade']}" if document["card_grade"] else ""
        _say(f"grade {score['grade']} by {document['graded_by']}{by_card}")
    if document["contributions"]:
        _print_contributions(document["contributions"], shown, SUMS[document["explained"]])
    if document["change"]:
        _print_change(document["change"], shown, SUMS[document["explained"]][0])
    for note in document["notes"]:
        _say(f"note: {note}")


def _print_contributions(reasons: list[dict[str, Any]], shown: int | None, names: tuple[str, str]) -> None:
    """Print what is added to the log-odds (or to the logarithm of a value), and their sum."""
    *parts, base = reasons
    table = Table("adds", "reason", "原因", "feature", box=None)
    for one in parts[:shown]:
        table.add_row(_signed(one["contribution"]), Text(one["en"]), Text(one["zh"]), one["feature"])
    if rest := parts[len(parts[:shown]) :]:
        table.add_row(
            _signed(sum(one["contribution"] for one in rest)), f"{len(rest)} smaller ones (--all)", "其余", ""
        )
    table.add_row(_signed(base["contribution"]), base["en"], base["zh"], base["feature"])
    table.add_row(_signed(sum(one["contribution"] for one in reasons)), f"= {names[0]}", f"= {names[1]}", "")
    answer.print(table)


def _print_change(change: dict[str, Any], shown: int | None, whole: str) -> None:
    """Print the previous score and the parts of the change."""
    before = change["previous"]
    values = ", ".join(
        f"{name} {_short(before[name])}" for name in ("probability", "value", "grade") if before[name] is not None
    )
    _say(f"before, as of {before['as_of']}: {values}")
    if not change["parts"]:
        return
    parts = ", ".join(
        f"{name} {'part of data' if part is None else _signed(part)}" for name, part in change["parts"].items()
    )
    _say(f"{whole} {_signed(change['log_odds'])} since: {parts}")
    if not change["features"]:
        return
    table = Table("time", "data", "feature", "before", "now", box=None)
    for one in change["features"][:shown]:
        moved = ["" if one[name] is None else _signed(one[name]) for name in ("time", "data")]
        table.add_row(*moved, one["feature"], Text(_short(one["before"])), Text(_short(one["after"])))
    answer.print(table)


def _say(text: str) -> None:
    answer.print(text, markup=False, soft_wrap=True)


def _signed(number: float) -> str:
    return f"{number:+.4f}"


def _short(value: Any) -> str:
    """Return a value as a cell shows it."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "" if value is None else str(value)
