"""`leadsieve extract`: read the CRM's tables, check them, and keep them."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from features.errors import DataError
from pipeline.commands.options import ConfigOption, JsonOption, answer, print_json, progress
from pipeline.config import load_config
from pipeline.errors import EXIT_CODES, ConfigError

if TYPE_CHECKING:
    from pipeline.extract import ExtractReport, TableReport


def extract(
    config: ConfigOption,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Run the SELECTs, show what would be kept and what is wrong; write nothing."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read the CRM's tables into Parquet files; a second run with nothing new changes nothing."""
    from pipeline.extract import extract as extract_tables
    from pipeline.lock import hold_lock

    loaded = load_config(config)
    with progress.status("Reading tables ..."):
        if dry_run:
            report = extract_tables(loaded, dry_run=True)
        else:
            with hold_lock(loaded.folder, "extract"):
                report = extract_tables(loaded)
    if as_json:
        print_json({**asdict(report), "folder": str(report.folder), "data_end": report.data_end.isoformat()})
    else:
        _print(report, dry_run)
    if report.mistakes or report.problems:
        raise typer.Exit(EXIT_CODES[ConfigError if report.mistakes else DataError])


def _print(report: "ExtractReport", dry_run: bool) -> None:
    table = Table("table", "rows read", "rows kept", "columns", box=None)
    for one in report.tables:
        table.add_row(one.name, f"{one.rows_read:,}", f"{one.rows:,}", str(len(one.columns)))
    answer.print(table)
    for one in report.tables:
        for line in _notes(one, dry_run):
            _say(f"{one.name}: {line}")
    for sentence in (*report.mistakes, *report.problems):
        _say(f"Problem: {sentence}")
    if dry_run:
        _say("Nothing was written.")
    else:
        what = "New tables" if report.changed else "Nothing new"
        _say(f"{what} in {report.folder}, data until {report.data_end} (UTC).")


def _notes(one: "TableReport", dry_run: bool) -> list[str]:
    kept = ", ".join(f"{column} ({kind})" for column, kind in one.columns.items())
    lines = [f"kept {kept}"] if dry_run and one.columns else []
    if dry_run and one.not_delivered:
        lines.append(f"not delivered, and not needed: {', '.join(one.not_delivered)}")
    for reason in dict.fromkeys(one.left_out.values()):
        columns = ", ".join(column for column, why in one.left_out.items() if why == reason)
        lines.append(f"left out {columns}: {reason}")
    lines += [f"{count:,} rows dropped: {reason}" for reason, count in one.dropped.items()]
    return [*lines, *one.warnings]


def _say(text: str) -> None:
    answer.print(text, markup=False, soft_wrap=True)
