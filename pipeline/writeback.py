"""Scores into the CRM: apply a plan, undo a run.

The whole plan is in the ledger before anything is sent. Before a batch is sent its writes are noted as
intended, with old and new value; after it, what became of each. A job killed anywhere in between, or
stopped by a CRM that is down, is continued by running it again (see `pipeline.write_view`).

A record is written whole or not at all: if somebody edits one of its fields between plan and apply, none of
the fields that were to change is written, and all are a conflict.

Where the budget of requests (`write_back.max_requests`) does not last, the rest waits for the next run, or
for the same one applied again: both plan anew.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import islice

import pandas as pd

from pipeline.collector import no_search_for_cycles
from pipeline.config import Config
from pipeline.crm import Crm, find_place, make_sql_target, open_crm
from pipeline.database import make_engine
from pipeline.errors import ConfigError
from pipeline.field_values import check_write_back
from pipeline.ledger import Ledger
from pipeline.ledger_writes import Write
from pipeline.own_rows import begin_own_rows, check_undo, plan_own_rows, undo_own_rows, write_own_rows
from pipeline.plan_file import tell_changes
from pipeline.read_back import read_back
from pipeline.run_log import part_of_job
from pipeline.undo_plan import make_undo_plan
from pipeline.write_batches import send_batches
from pipeline.write_plan import WritePlan, make_plan
from pipeline.write_report import TableReport, WriteReport, list_problems, make_table_report
from pipeline.write_view import keep_for_read_back

Advance = Callable[[int, int], None]
"""Told after each batch how many values it had, and how many the plan has."""


def install_target(config: Config) -> list[str]:
    """Make the tables of our own that the config writes to and the database does not have.

    Returns
    -------
    list of str
        Tables that were made; none unless `insert_missing` is set. (Writing makes them too.)

    """
    section = check_write_back(config)
    with closing(make_sql_target(section, make_engine(find_place(section)))) as target:
        return target.install()


def write_back(
    config: Config,
    ledger: Ledger,
    scores: pd.DataFrame,
    run_id: str,
    advance: Advance = lambda values, of: None,
    take_over: bool = False,
) -> WriteReport:
    """Write the scores of a run to the CRM; what has not changed is not written. Then raise its tasks, add its history.

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
        Told after each batch how many values it had, and how many there are.
    take_over : bool
        Whether fields that somebody edited are overwritten too.

    Returns
    -------
    WriteReport
        What was written; call `check` on it to fail on leftovers.

    """
    with open_crm(config) as crm:
        own = plan_own_rows(config, ledger, crm, scores, run_id)
        plan = make_plan(config, ledger, crm, scores, run_id, take_over)
        begin_own_rows(ledger, crm, run_id)
        report = apply_plan(config, ledger, crm, plan, advance)
        return report.adding(write_own_rows(config, ledger, crm, own), crm.patience.spent)


def undo_run(config: Config, ledger: Ledger, run_id: str) -> WriteReport:
    """Give the fields that a run wrote their previous values, except those edited since.

    Its tasks that nobody has closed are taken back, and its history rows removed. The undo is a run of its
    own in the ledger; the caller holds the lock.
    """
    with open_crm(config) as crm:
        plan = make_undo_plan(config, ledger, crm, run_id)
        check_undo(ledger, crm, run_id)
        ledger.start_run(plan.run_id, "undo", {"of": run_id}, "")
        report = apply_plan(config, ledger, crm, plan)
        report = report.adding(undo_own_rows(ledger, crm, run_id), crm.patience.spent)
    ledger.finish_run(plan.run_id, "done", {"records": report.records})
    return report


@no_search_for_cycles()
def apply_plan(
    config: Config,
    ledger: Ledger,
    crm: Crm,
    plan: WritePlan,
    advance: Advance = lambda values, of: None,
) -> WriteReport:
    """Write what a plan says, batch by batch, and read a sample back.

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
    is_begun = bool(ledger.writes.counts(plan.run_id))
    changed = None if is_begun else tell_changes(config, plan)
    numbers = iter(_store(ledger, plan))
    keep_for_read_back(crm, len(plan.tables))
    tables: list[TableReport] = []
    problems: list[Write] = []
    for table in plan.tables:
        batches = list(zip(islice(numbers, len(table.batches)), table.batches, strict=True))
        sent = send_batches(ledger, crm.target, plan.run_id, batches, lambda values: advance(values, plan.value_count))
        keep_for_read_back(crm, len(plan.tables) - len(tables) - 1)
        with part_of_job("read_back") as step:
            checked = read_back(ledger, crm.target, plan.run_id, table.table, sent)
            step.rows_in = step.rows_out = step.rows_out + checked.records
        problems += list_problems(plan.run_id, table.table.name, sent, checked)
        tables.append(make_table_report(table, sent, checked))
    report = WriteReport(plan.run_id, time.perf_counter() - begun, tuple(tables), crm.patience.spent, tuple(problems))
    return _with_notes(report, changed)


def _store(ledger: Ledger, plan: WritePlan) -> list[int]:
    """Note in the ledger how earlier jobs ended and what this one is going to do; returns the batches' numbers."""
    return ledger.writes.store_plan(
        plan.run_id,
        [batch for table in plan.tables for batch in table.batches],
        [write for table in plan.tables for write in table.refused],
        [write for table in plan.tables for write in table.resolved],
        dict.fromkeys(table.table.name for table in plan.tables),
    )


def _with_notes(report: WriteReport, changed: str | None) -> WriteReport:
    """Add what people should know beside the counts."""
    waits = (
        f"{report.waiting:,} values wait for the next run: this one has used its {report.requests:,} requests "
        "(write_back.max_requests). Applying it again goes on, too."
        if report.waiting
        else None
    )
    return replace(report, notes=tuple(note for note in (changed, waits) if note))
