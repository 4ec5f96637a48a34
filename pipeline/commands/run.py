"""`leadsieve run`: the nightly job."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.options import ConfigOption, JsonOption, print_json
from pipeline.config import Config, load_config

if TYPE_CHECKING:
    from pipeline.run_log import RunLog, Step
    from pipeline.write_report import WriteReport

METRICS_VARIABLE = "LEADSIEVE_METRICS"
RECORDS = {"skipped": "skipped", "conflict": "conflicts", "missing": "missing"}
VALUES = {
    "written": "fields",
    "unchanged": "unchanged",
    "rejected": "rejected",
    "outstanding": "outstanding",
    "waiting": "waiting",
}
"""What may become of a record and of a value: what a report of write-back calls it."""
LOGGED = ("skipped", "conflicts", "missing", "rejected", "outstanding", "waiting", "read_back")
"""What the log says of write-back beside the rows."""


def run(
    config: ConfigOption,
    metrics: Annotated[
        Path | None,
        typer.Option(
            "--metrics", help=f"Write what was done for Prometheus, as a .prom file; default: ${METRICS_VARIABLE}."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Extract, score and write back, under the deployment's lock. Safe to kill and to run again.

    One line per step on stderr: name, seconds, rows in, rows out, and the exit code if it failed. The parts of
    write-back (read_back, follow_ups, history) come before its own line, whose seconds have theirs in them.
    """
    from pipeline.run_log import RunLog

    log = RunLog(lambda line: typer.echo(line, err=True))
    with log.under_way(), _measured(log, metrics or _place_of_environment(), config):
        settings = load_config(config)
        log.deployment = settings.name
        _run(settings, log, as_json)


def _run(settings: Config, log: "RunLog", as_json: bool) -> None:
    from pipeline.extract import extract
    from pipeline.field_values import check_write_back
    from pipeline.follow_up_plan import check_follow_ups
    from pipeline.horizon_scores import primary_scores
    from pipeline.ledger import open_ledger
    from pipeline.lock import hold_lock
    from pipeline.score import score
    from pipeline.writeback import write_back

    check_write_back(settings)
    check_follow_ups(settings)
    with hold_lock(settings.folder, "run"), open_ledger(settings.folder / "ledger.db") as ledger:
        with log.step("extract") as step:
            extracted = extract(settings)
            log.data_end = extracted.data_end
            step.rows_in, step.rows_out = (
                sum(getattr(one, key) for one in extracted.tables) for key in ("rows_read", "rows")
            )
        with log.step("score", step.rows_out) as step:
            scored = score(settings, ledger)
            step.rows_out = len(scored.scores)
        with log.step("write_back", len(primary_scores(settings, scored.scores))) as step:
            report = write_back(settings, ledger, scored.scores, scored.run_id)
            _count(report, step, log)
    if as_json:
        facts = {"run_id": scored.run_id, "data_end": extracted.data_end.isoformat(), "notes": scored.notes}
        print_json({**facts, "steps": [step.to_json() for step in log.steps]})
    report.check()


def _count(report: "WriteReport", step: "Step", log: "RunLog") -> None:
    """Count what became of records and values of the CRM."""

    def total(name: str) -> int:
        return sum(getattr(table, name) for table in report.tables)

    log.records.update(written=report.records, **{end: total(name) for end, name in RECORDS.items()})
    log.values.update({end: total(name) for end, name in VALUES.items()})
    log.requests = report.requests
    step.rows_out = report.records
    step.more = {name: total(name) for name in LOGGED} | {"requests": report.requests}
    step.more |= report.own.to_log() if report.own else {}


def _place_of_environment() -> Path | None:
    place = os.environ.get(METRICS_VARIABLE)
    return Path(place) if place else None


@contextmanager
def _measured(log: "RunLog", path: Path | None, config: Path) -> Iterator[None]:
    """Write the metrics of a job that ended or failed; a file that cannot be written is told and stops nothing."""
    from pipeline.errors import exit_code_of

    try:
        yield
    except Exception as error:
        _write(log, path, config, exit_code_of(error))
        raise
    _write(log, path, config, 0)


def _write(log: "RunLog", path: Path | None, config: Path, code: int) -> None:
    if path is None:
        return
    from pipeline.run_metrics import RunEnd, write_metrics

    try:
        write_metrics(path, log, RunEnd(code, round(time.time(), 3)), otherwise=config.stem)
    except OSError as error:
        typer.echo(
            f"Warning: the metrics could not be written to {path} ({error.strerror}); the job itself ended with exit "
            f"code {code}. Make the folder, or let this user write there.",
            err=True,
        )
