"""Options that several commands share, and how a command reports."""

import json
import math
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.ledger import Ledger

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="YAML file of the deployment.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]
TargetOption = Annotated[str | None, typer.Option("--target", help="Needed where there are several targets.")]
WhyOption = Annotated[str | None, typer.Option("--why", help="A sentence for the history.")]

progress = Console(stderr=True, highlight=False)
"""Where progress and logs go: never stdout, which belongs to the answer."""

answer = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)
"""Where a command's answer goes; into a file or pipe 160 columns wide, unless COLUMNS says otherwise."""


def open_scores(config: "Config") -> "Ledger":
    """Open the ledger of a deployment in which something was scored; DataError if there is none."""
    from features.errors import DataError
    from pipeline.ledger import open_ledger

    place = config.folder / "ledger.db"
    if not place.is_file():
        raise DataError(f"There is no ledger at {place}, so nothing was scored yet. Run `leadsieve score` first.")
    return open_ledger(place)


def parse_moment(text: str) -> datetime:
    """Moment in UTC without a zone, as all times of the tables are."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is not a time, expected such as 2024-07-01 or '2024-07-01 22:00:00'"
        ) from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def say(text: str) -> None:
    """Print a sentence whole, whatever the width; texts of the data are no markup."""
    answer.print(text, markup=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; NaN and infinity become null."""
    typer.echo(json.dumps(_finite(document), indent=2, ensure_ascii=False, default=str))


def _finite(value: Any) -> Any:
    """Return a document with null for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
