"""`leadsieve writeback`: what is going to be written to the CRM, writing it, undoing it, and what is outstanding."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from pipeline.commands.options import ConfigOption, JsonOption, answer, print_json, progress, say
from pipeline.config import Config, load_config
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.ledger import Ledger
    from pipeline.ledger_writes import Write
    from pipeline.write_plan import WritePlan
    from pipeline.write_report import WriteReport

app = typer.Typer(help="Write scores to the CRM, undo that, and see how it stands.", no_args_is_help=True)

RunOption = Annotated[str | None, typer.Option("--run", help="Scoring run; default: the newest one.")]

TakeOverOption = Annotated[
    bool, typer.Option("--take-over", help="Overwrite fields that somebody edited, too; undo brings the edits back.")
]

SHOWN = 20
"""Conflicts, missing records and the like that are listed one by one."""


@app.command()
def plan(
    config: ConfigOption, run_id: RunOption = None, take_over: TakeOverOption = False, as_json: JsonOption = False
) -> None:
    """Compare the scores with what the CRM has now, and store every change as a file. Nothing is written."""
    from pipeline.crm import open_crm
    from pipeline.ledger import open_ledger
    from pipeline.own_rows import describe_own_rows, plan_own_rows
    from pipeline.plan_file import save_plan
    from pipeline.write_plan import make_plan

    settings = load_config(config)
    with open_ledger(settings.folder / "ledger.db") as ledger, open_crm(settings) as crm:
        name = _find_run(ledger, run_id)
        scores = ledger.scores(name)
        own = plan_own_rows(settings, ledger, crm, scores, name)
        made = make_plan(settings, ledger, crm, scores, name, take_over)
    path = save_plan(settings, made)
    if as_json:
        print_json({**_describe_plan(made), **own.to_json(), "file": str(path)})
    else:
        _show_plan(made, describe_own_rows(own), path)


@app.command("apply")
def apply_(
    config: ConfigOption, run_id: RunOption = None, take_over: TakeOverOption = False, as_json: JsonOption = False
) -> None:
    """Write the scores that changed. Safe to run again, also after it was killed."""
    from pipeline.ledger import open_ledger
    from pipeline.lock import hold_lock

    settings = load_config(config)
    with hold_lock(settings.folder, "writeback apply"), open_ledger(settings.folder / "ledger.db") as ledger:
        name = _find_run(ledger, run_id)
        report = _apply(settings, ledger, name, take_over)
    _show_report(report, as_json)
    report.check()


@app.command()
def undo(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Run whose writes are taken back.")],
    config: ConfigOption,
    as_json: JsonOption = False,
) -> None:
    """Give every field that a run wrote its previous value, except those that somebody has edited since."""
    from pipeline.ledger import open_ledger
    from pipeline.lock import hold_lock
    from pipeline.writeback import undo_run

    settings = load_config(config)
    with hold_lock(settings.folder, "writeback undo"), open_ledger(settings.folder / "ledger.db") as ledger:
        report = undo_run(settings, ledger, run_id)
        forgotten = ledger.forgotten.writes_of(run_id)
    if forgotten:
        progress.print(
            f"{forgotten:,} values of run {run_id} were written for entities that were forgotten since; what was there "
            "before is not known any more, so these were left as they are.",
            markup=False,
            soft_wrap=True,
        )
    _show_report(report, as_json)
    report.check()


@app.command()
def status(config: ConfigOption, run_id: RunOption = None, as_json: JsonOption = False) -> None:
    """Tell what every run wrote, what is outstanding and what the CRM refused; with --run all that needs a look."""
    from pipeline.ledger import open_ledger
    from pipeline.ledger_writes import OUTSTANDING
    from pipeline.own_rows import read_own_status
    from pipeline.write_report import read_status

    settings = load_config(config)
    with open_ledger(settings.folder / "ledger.db") as ledger:
        runs = read_status(ledger, None if run_id is None else _find_run(ledger, run_id))
        ends = ("conflict", "missing", "rejected", *OUTSTANDING)
        if run_id is None:  # dead letters of the newest run
            problems = ledger.writes.of_run(runs[0].run_id, ("rejected",)) if runs else []
        else:
            problems = ledger.writes.of_run(run_id, ends)
        own = read_own_status(ledger, run_id)
    if as_json:
        print_json({"runs": [asdict(run) for run in runs], **own.to_json(), "problems": _list_writes(problems)})
        return
    table = Table(box=None)
    table.add_column("run", no_wrap=True, overflow="fold", min_width=max((len(run.run_id) for run in runs), default=3))
    for name in ("table", "outstanding", "done", "conflict", "missing", "rejected", "dropped"):
        table.add_column(name)
    for run in runs:
        counts = (run.outstanding, run.done, run.conflict, run.missing, run.rejected, run.dropped)
        table.add_row(run.run_id, run.table, *(f"{count:,}" for count in counts))
    answer.print(table if runs else "Nothing has been written yet.")
    for sentence in own.describe():
        say(sentence)
    _show_writes(problems)


def _find_run(ledger: "Ledger", run_id: str | None) -> str:
    """Return the run that is meant, or else the newest one with scores."""
    newest = ledger.latest_scored_run()
    if run_id is None:
        if newest is None:
            raise ConfigError("The ledger has no scores to write. Run `leadsieve score` first.")
        return newest.run_id
    if ledger.find_run(run_id) is None:
        hint = f"The newest one is '{newest.run_id}'." if newest else "Run `leadsieve score` first."
        raise ConfigError(f"Run '{run_id}' is not in the ledger. {hint}")
    return run_id


def _apply(settings: Config, ledger: "Ledger", run_id: str, take_over: bool) -> "WriteReport":
    """Plan and apply, with a progress bar on a terminal."""
    from pipeline.writeback import write_back

    with Progress(console=progress, transient=True, disable=not progress.is_terminal) as bar:
        task = bar.add_task("Writing to the CRM", total=None)

        def advance(values: int, of: int) -> None:
            bar.update(task, advance=values, total=of)

        return write_back(settings, ledger, ledger.scores(run_id), run_id, advance, take_over)


def _describe_plan(made: "WritePlan") -> dict[str, Any]:
    """Return the JSON document of a plan."""
    tables = [
        {
            "table": plan.table.name,
            "update": plan.count_records("update"),
            "add": plan.count_records("insert"),
            "fields": plan.value_count,
            "unchanged": plan.unchanged,
            "skipped": plan.skipped,
            "conflicts": len(plan.conflicts),
            "missing": len(plan.missing),
            "waiting": plan.waiting,
            "interrupted": len(plan.resolved),
        }
        for plan in made.tables
    ]
    refused = [write for plan in made.tables for write in plan.refused]
    return {"run": made.run_id, "tables": tables, "refused": _list_writes(refused)}


def _show_plan(made: "WritePlan", own: list[str], path: Path) -> None:
    """Print a plan for people."""
    document = _describe_plan(made)
    answer.print(f"Run {made.run_id}")
    _show_tables(document["tables"])
    _show_writes([write for plan in made.tables for write in plan.refused])
    for sentence in own:
        say(sentence)
    records = sum(entry["update"] + entry["add"] for entry in document["tables"])
    answer.print(f"{records:,} rows to write. Nothing has been written; `leadsieve writeback apply` does it.")
    say(f"Every change is in {path}")


def _show_report(report: "WriteReport", as_json: bool) -> None:
    """Print what was written."""
    from pipeline.own_rows import describe_own_rows

    tables = [asdict(table) for table in report.tables]
    if as_json:
        facts = {"rows": report.records, "seconds": report.seconds, "requests": report.requests}
        problems = _list_writes(list(report.problems))
        own = report.own.to_json() if report.own else {}
        print_json(
            {"run": report.run_id, **facts, "tables": tables, **own, "problems": problems, "notes": report.notes}
        )
        return
    _show_tables(tables)
    _show_writes(list(report.problems))
    for sentence in (*(describe_own_rows(report.own) if report.own else ()), *report.notes):
        say(sentence)
    if report.records:
        answer.print(f"{report.records:,} rows written in {report.seconds:.1f} s (run {report.run_id}).")
    elif not (report.waiting or report.problems):
        answer.print(f"0 rows written: the CRM has everything that run {report.run_id} can write.")


def _show_tables(tables: list[dict[str, Any]]) -> None:
    """Print counts, one row per CRM table; columns that are all zero are left out."""
    names = [name for name in (tables[0] if tables else {}) if any(entry[name] for entry in tables)]
    shown = Table(*names, box=None)
    for entry in tables:
        shown.add_row(*(f"{entry[name]:,}" if isinstance(entry[name], int) else entry[name] for name in names))
    answer.print(shown)


def _list_writes(writes: "list[Write]") -> list[dict[str, Any]]:
    """First few writes that did not go through, for JSON."""
    names = ("table_name", "record_id", "field", "state", "old", "new", "error")
    return [{name: getattr(write, name) for name in names} for write in writes[:SHOWN]]


def _show_writes(writes: "list[Write]") -> None:
    """First few writes that did not go through, for people."""
    for write in writes[:SHOWN]:
        reason = f": {write.error}" if write.error else ""
        answer.print(f"{write.state} {write.table_name} {write.record_id} {write.field}{reason}", markup=False)
    if len(writes) > SHOWN:
        answer.print(f"... and {len(writes) - SHOWN:,} more.")
