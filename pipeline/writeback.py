"""Scores into the CRM: apply a plan, undo a run, tell what is outstanding.

The whole plan is in the ledger before anything is sent. Before a batch is sent its writes are noted as
intended, with old and new value; after it, what became of each. A job killed anywhere in between, or
stopped by a CRM that is down, is continued by running it again (see `pipeline.write_plan`).
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from pipeline.adapters.sql_target import SqlTarget
from pipeline.adapters.target import FieldKind, FieldWrite, TargetAdapter, TargetTable, WriteResult
from pipeline.config import Config, WriteBack, read_environment
from pipeline.database import make_engine
from pipeline.errors import ConfigError
from pipeline.field_values import SCORE_VALUES, check_write_back
from pipeline.ledger import Ledger
from pipeline.ledger_writes import Write
from pipeline.write_plan import WritePlan, make_plan, make_undo_plan
from pipeline.write_report import WriteReport, make_table_report


@contextmanager
def open_target(config: Config) -> Iterator[SqlTarget]:
    """Open the CRM that a config writes to; nothing is read or written yet.

    Raises
    ------
    ConfigError
        If the config has no usable `write_back` section or its environment variable is not set.

    """
    section = check_write_back(config)
    own: dict[TargetTable, dict[str, FieldKind]] = {}
    if section.insert_missing:
        for table in section.tables.values():
            kinds = {field: SCORE_VALUES[value] for field, value in table.fields.items()}
            own.setdefault(TargetTable(table.target, table.key), {}).update(kinds)
    target = SqlTarget(make_engine(_find_place(section)), own)
    try:
        yield target
    finally:
        target.close()


def _find_place(section: WriteBack) -> Path | str:
    """Return the URL of the environment, or else the SQLite file."""
    if section.sqlite is None or (section.url_env is not None and section.url_env in os.environ):
        return read_environment(str(section.url_env), "the SQLAlchemy URL of the CRM database that scores go to")
    if section.insert_missing:
        section.sqlite.parent.mkdir(parents=True, exist_ok=True)
    return section.sqlite


def install_target(config: Config) -> list[str]:
    """Make the tables of our own that the config writes to and the CRM does not have.

    Returns
    -------
    list of str
        Tables that were made; none unless `insert_missing` is set. (Writing makes them too.)

    """
    with open_target(config) as target:
        return target.install()


def write_back(
    config: Config,
    ledger: Ledger,
    scores: pd.DataFrame,
    run_id: str,
    advance: Callable[[int], None] = lambda values: None,
    take_over: bool = False,
) -> WriteReport:
    """Write the scores of a run to the CRM; what has not changed is not written.

    Parameters
    ----------
    config : Config
        The deployment; the caller holds its lock.
    ledger : Ledger
        Its ledger, in which the run has been started.
    scores : DataFrame
        Score frame of the run.
    run_id : str
        The run.
    advance : callable
        Told after each batch how many values it had.
    take_over : bool
        Whether fields that somebody edited are overwritten too.

    Returns
    -------
    WriteReport
        What was written; call `check` on it to fail on leftovers.

    """
    with open_target(config) as adapter:
        plan = make_plan(config, ledger, adapter, scores, run_id, take_over)
        return apply_plan(config, ledger, adapter, plan, advance)


def undo_run(config: Config, ledger: Ledger, run_id: str) -> WriteReport:
    """Give the fields that a run wrote their previous values, except those edited since.

    The undo is a run of its own in the ledger; the caller holds the lock.
    """
    with open_target(config) as adapter:
        plan = make_undo_plan(config, ledger, adapter, run_id)
        ledger.start_run(plan.run_id, "undo", {"of": run_id}, "")
        report = apply_plan(config, ledger, adapter, plan)
    ledger.finish_run(plan.run_id, "done", {"records": report.records})
    return report


def apply_plan(
    config: Config,
    ledger: Ledger,
    adapter: TargetAdapter,
    plan: WritePlan,
    advance: Callable[[int], None] = lambda values: None,
) -> WriteReport:
    """Write what a plan says, batch by batch.

    Raises
    ------
    ConfigError
        If the plan's run is not in the ledger.
    CrmError
        If the CRM does not answer; run again to continue.

    """
    begun = time.perf_counter()
    if ledger.find_run(plan.run_id) is None:
        raise ConfigError(f"Run '{plan.run_id}' is not in the ledger. Start it there before writing its scores.")
    records = min(check_write_back(config).batch_rows, adapter.capabilities().max_batch)
    for table in plan.tables:
        ledger.writes.resolve(table.resolved)
    batches = [list(_split(table.changes, records)) for table in plan.tables]
    refused = [write for table in plan.tables for write in table.refused]
    numbers = iter(ledger.writes.store_plan([batch for group in batches for batch in group], refused))
    reports = []
    for table, group in zip(plan.tables, batches, strict=True):
        results: list[WriteResult] = []
        for batch in group:
            results += _write_batch(ledger, adapter, table.table, next(numbers), batch)
            advance(len(batch))
        reports.append(make_table_report(table, results))
    return WriteReport(plan.run_id, time.perf_counter() - begun, tuple(reports))


def _write_batch(
    ledger: Ledger, adapter: TargetAdapter, table: TargetTable, number: int, batch: Sequence[Write]
) -> Sequence[WriteResult]:
    """Note what is about to be written, write it, and note what became of it."""
    ledger.writes.intend(number)
    results = _send(adapter, table, [_to_field_write(write) for write in batch])
    ledger.writes.settle(number, batch[0].run_id, table.name, results)
    return results


def _split(writes: Sequence[Write], records: int) -> Iterator[list[Write]]:
    """Batches of at most so many records, never half a record."""
    batch: list[Write] = []
    seen: set[str] = set()
    for write in writes:
        if write.record_id not in seen and len(seen) == records:
            yield batch
            batch, seen = [], set()
        batch.append(write)
        seen.add(write.record_id)
    if batch:
        yield batch


def _to_field_write(write: Write) -> FieldWrite:
    """Return what the adapter needs of a write."""
    key = f"{write.run_id}/{write.table_name}/{write.record_id}/{write.field}"
    return FieldWrite(write.record_id, write.field, write.old, write.new, key, write.action)


def _send(adapter: TargetAdapter, target: TargetTable, writes: Sequence[FieldWrite]) -> Sequence[WriteResult]:
    """Write a batch; one that is refused as a whole is halved until only the bad record is refused."""
    results = adapter.write(target, writes)
    ids = list(dict.fromkeys(write.record_id for write in writes))
    refused = all(result.status == "rejected" for result in results)
    if not refused or len(ids) == 1 or adapter.capabilities().failure != "atomic":
        return results
    first = set(ids[: len(ids) // 2])
    return [
        *_send(adapter, target, [write for write in writes if write.record_id in first]),
        *_send(adapter, target, [write for write in writes if write.record_id not in first]),
    ]
