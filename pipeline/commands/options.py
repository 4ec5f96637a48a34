"""Options that several commands share, and how a command reports."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="YAML file of the deployment.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]

progress = Console(stderr=True, highlight=False)
"""Where progress and logs go: never stdout, which belongs to the answer."""

answer = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)
"""Where a command's answer goes; into a file or pipe 160 columns wide, unless COLUMNS says otherwise."""


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; NaN becomes null."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))
