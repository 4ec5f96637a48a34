"""`leadsieve customer`: the file of one customer."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from pipeline.commands.options import ConfigOption, JsonOption, open_scores, print_json, say
from pipeline.config import load_config

SHOWN_REASONS = 5


def customer(
    customer_id: Annotated[str, typer.Argument(help="Id of a customer.", metavar="CUSTOMER")],
    config: ConfigOption,
    run: Annotated[str | None, typer.Option("--run", help="A scoring run; default: that with the newest data.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show everything about one customer: profile, history, worth, scores with reasons, what changed, what to ask."""
    from pipeline.customer_files import read_customer_file

    settings = load_config(config)
    with open_scores(settings) as ledger:
        document = read_customer_file(settings, ledger, customer_id, run).to_json()
    if as_json:
        print_json(document)
    else:
        _print(document, settings.currency)


def _print(document: Mapping[str, Any], currency: str) -> None:
    say(f"{document['customer_id']} as of {_short(document['as_of'])} (run {document['run_id']}, money in {currency})")
    for part in ("profile", "history", "worth"):
        known = {name: value for name, value in document[part].items() if value is not None}
        if known:
            say(f"{part}: " + ", ".join(f"{name} {_short(value)}" for name, value in known.items()))
    if document["lifecycle"]:
        say(f"lifecycle: {document['lifecycle']['en']} {document['lifecycle']['zh']}")
    for score in (*document["scores"], *document["deals"]):
        _print_score(score)
    if not document["scores"] and not document["deals"]:
        say("Not scored: eligible for no target at that moment, and no open deal.")


def _print_score(score: Mapping[str, Any]) -> None:
    of = f" of deal {score['entity_id']}" if score["entity"] == "deal" else ""
    said = [f"{name} {_short(score[name])}" for name in ("probability", "value", "points") if score[name] is not None]
    said += [f"grade {score['grade_en']} {score['grade_zh']}"] if score["grade"] else []
    say(f"\n{score['target']}{of}, {score['horizon_days']} days: {', '.join(said)}")
    for kind in ("vetoes", "flags"):
        if score[kind]:
            say(f"  {kind}: " + ", ".join(f"{one['en']} {one['zh']}" for one in score[kind]))
    for reason in score["reasons"][:SHOWN_REASONS]:
        say(f"  {reason['contribution']:+.2f}  {reason['en']}  {reason['zh']}")
    for one in score["criteria"]:
        value = "not known" if one["value"] is None else _short(one["value"])
        say(f"  {one['points']:g} of {one['weight']:g} points: {one['en']} {one['zh']} ({value})")
    if score["next_question"]:
        say(f"  ask next: {score['next_question']['en']} {score['next_question']['zh']}")
    if score["change"]:
        _print_change(score["change"])


def _print_change(change: Mapping[str, Any]) -> None:
    before = [
        f"{name} {_short(change[name])}"
        for name in ("probability", "value", "points", "grade")
        if change[name] is not None
    ]
    say(f"  before, as of {_short(change['as_of'])}: {', '.join(before)}")
    for sign, name in (("new reason", "reasons_added"), ("no longer a main reason", "reasons_gone")):
        for reason in change[name]:
            say(f"  {sign}: {reason['en']}  {reason['zh']}")


def _short(value: Any) -> str:
    """Return a value as a line shows it.

    >>> _short(12345.6), _short(0.12345), _short("2024-07-01T00:00:00"), _short(True)
    ('12,346', '0.1235', '2024-07-01', 'True')
    """
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value).removesuffix("T00:00:00")
