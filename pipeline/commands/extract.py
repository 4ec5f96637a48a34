"""`leadsieve extract`: read the CRM's tables, check them, and keep them."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from features.errors import DataError
from pipeline.commands.options import ConfigOption, JsonOption, answer, print_json, progress
from pipeline.config import load_config
from pipeline.errors import EXIT_CODES, ConfigError
from pipeline.sentences import count_rows

if TYPE_CHECKING:
    from pipeline.extract import ExtractReport, TableReport


def extract(
    config: ConfigOption,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Run the SELECTs, show what would be kept and what is wrong; write nothing."),
    ] = False,
    accept_shrink: Annotated[
        bool,
        typer.Option("--accept-shrink", help="Go on where a table lost more rows than source.shrink_share allows."),
    ] = False,
    accept_schema: Annotated[
        bool,
        typer.Option(
            "--accept-schema", help="Go on where a column is gone (without it) or has another type (with it)."
        ),
    ] = False,
    start_over: Annotated[
        bool, typer.Option("--start-over", help="Begin anew, and forget what earlier extracts saw.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read the CRM's tables into Parquet files; a second run with nothing new changes nothing.

    It stops where the source changed since the last extract in a way that nobody asked for.
    """
    from pipeline.extract import extract as extract_tables
    from pipeline.lock import hold_lock

    loaded = load_config(config)
    lock = nullcontext() if dry_run else hold_lock(loaded.folder, "extract")
    with progress.status("Reading tables ..."), lock:
        report = extract_tables(
            loaded, dry_run=dry_run, accept_shrink=accept_shrink, accept_schema=accept_schema, start_over=start_over
        )
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
        for line in [*_notes(one, dry_run), *_held_back(one, report, dry_run)]:
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
    lines += [f"{count_rows(count)} dropped: {reason}" for reason, count in one.dropped.items()]
    if one.rows_changed or one.rows_ended or one.rows_carried:
        lines.append(
            f"since the last extract {count_rows(one.rows_new)} new, {one.rows_changed:,} changed, "
            f"{one.rows_ended:,} ended, {one.rows_carried:,} as before"
        )
    return [*lines, *one.warnings]


def _held_back(one: "TableReport", report: "ExtractReport", dry_run: bool) -> list[str]:
    if not one.quarantined:
        return []
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in one.quarantined.items())
    place = "" if dry_run else f" in {report.folder.parent / 'quarantine' / f'{one.name}.csv'}"
    return [f"{count_rows(sum(one.quarantined.values()))} held back{place}: {reasons}"]


def _say(text: str) -> None:
    answer.print(text, markup=False, soft_wrap=True)
