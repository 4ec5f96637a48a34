"""Options that several commands share, and how a command reports."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="YAML file of the deployment.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]

progress = Console(stderr=True, highlight=False)
"""Where progress and logs go: never stdout, which belongs to the answer."""

answer = Console(highlight=False)
"""Where a command's answer goes."""


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; NaN becomes null."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))
