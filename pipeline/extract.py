"""Extract: read the canonical tables of a CRM, check them, and keep them as Parquet.

Source rows pass through DuckDB: `raw_<table>` as delivered, `typed_<table>` with canonical types and the
clocks that the source delivers, and `versions_<table>`, which lays them beside what earlier extracts stored.
Nothing is written before every table is checked.
"""

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb

from features.tables import ColumnType, StoredTable
from pipeline.adapters.protocol import SourceAdapter
from pipeline.assemble import Output, assemble
from pipeline.audit_aside import find_aside, to_json
from pipeline.compare import DELIVERED, load_stored
from pipeline.config import Config
from pipeline.intake import Intake, take_in
from pipeline.left_out import keep_forgotten
from pipeline.previous import load_previous
from pipeline.quarantine import write_quarantine
from pipeline.remember import Counts
from pipeline.staging import open_duckdb
from pipeline.table_store import commit, has_same_rows, write_table

_SPILL = ".spill-"


@dataclass(frozen=True)
class TableReport:
    """What an extract did with one table.

    Parameters
    ----------
    name : str
        Canonical table.
    rows_read : int
        Rows the SELECT delivered.
    rows : int
        Rows that are stored, ended versions too. 0 if the table is left out.
    rows_new, rows_changed, rows_ended, rows_carried : int
        Rows that the extract before did not have; that have another value, or one more, since then; that
        were deleted, merged away or vanished; and that are carried over as they were. On a dry run with
        problems nothing is compared: all are 0.
    columns : mapping of column to type
        Columns that are stored.
    left_out : mapping of column to reason
        Delivered columns that are not stored.
    not_delivered : tuple of str
        Canonical columns that the source does not deliver and need not.
    dropped : mapping of reason to int
        Rows that are not stored.
    quarantined : mapping of reason to int
        Bad rows that are not stored either; they are in the quarantine file. Each counts once, under the
        first thing that is wrong with it.
    warnings : tuple of str
        What a person should know, without a full stop.

    """

    name: str
    rows_read: int
    rows: int
    rows_new: int
    rows_changed: int
    rows_ended: int
    rows_carried: int
    columns: Mapping[str, ColumnType]
    left_out: Mapping[str, str]
    not_delivered: tuple[str, ...]
    dropped: Mapping[str, int]
    quarantined: Mapping[str, int]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ExtractReport:
    """What an extract did, and on a dry run, which writes nothing, what it would have raised.

    `mistakes` are sentences about the config, `problems` sentences about the rows.
    """

    folder: Path
    data_end: datetime
    changed: bool
    tables: tuple[TableReport, ...]
    mistakes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def open_source(config: Config, spill: Path) -> SourceAdapter:
    """Open the source that a config names."""
    if config.source.adapter == "files":
        from pipeline.adapters.files import FilesSource

        return FilesSource(config, spill)
    if config.source.adapter == "odoo":
        from pipeline.adapters.odoo_source import OdooSource

        return OdooSource(config, spill)
    from pipeline.adapters.sql import SqlSource

    return SqlSource(config)


def extract(
    config: Config,
    *,
    dry_run: bool = False,
    source: SourceAdapter | None = None,
    accept_shrink: bool = False,
    accept_schema: bool = False,
    start_over: bool = False,
) -> ExtractReport:
    """Read, check and store the canonical tables of a deployment.

    Parameters
    ----------
    config : Config
        The deployment.
    dry_run : bool
        Write nothing, and report problems instead of raising them.
    source : SourceAdapter or None
        Where to read; None: what the config says. It is closed at the end.
    accept_shrink : bool
        Go on where a table lost more rows than `source.shrink_share` allows.
    accept_schema : bool
        Go on where a column is gone or has another type.
    start_over : bool
        Forget what earlier extracts saw; the tables stay until the new ones are there.

    Returns
    -------
    ExtractReport
        `changed` is False when the stored tables were already the same.

    Raises
    ------
    DataError
        With one line per problem of the rows; the tables stored before stay.
    ConfigError
        If the config names columns that are not there, or a SELECT fails.
    CrmError
        If the source does not answer.

    """
    folder = config.folder / "tables"
    with ExitStack() as stack:
        spill = _spill_folder(folder, dry_run)
        stack.callback(shutil.rmtree, spill, ignore_errors=True)
        adapter = stack.enter_context(closing(source or open_source(config, spill / "source")))
        connection = stack.enter_context(closing(open_duckdb(spill)))
        before = None if start_over else load_stored(folder)
        previous = None if start_over else load_previous(folder, adapter.data_end())
        intake = take_in(connection, config, adapter, before, accept_schema=accept_schema, previous=previous)
        intake.check_previous(before, config, accept_shrink=accept_shrink)
        assembly = None if intake.mistakes or intake.problems else assemble(connection, config, intake, previous)
        if dry_run:
            return _report(folder, intake, {}, assembly.counts if assembly else {}, changed=False)
        if assembly is None:
            intake.raise_problems()
            raise AssertionError("nothing was assembled, and nothing is wrong")
        keep_forgotten(connection, config.folder)
        write_quarantine(connection, intake.plans, intake.quarantined(), folder.parent / "quarantine")
        held = previous.tables.tables if previous else {}
        stored = {one.name: _write(connection, one, folder, held.get(one.name)) for one in assembly.outputs}
        kept = find_aside(previous)
        asides = {name: _write(connection, one, folder, kept.get(name)) for name, one in assembly.asides.items()}
        audit = to_json(asides, assembly.changes)
        memory = {DELIVERED: intake.delivered, **assembly.notes.to_json(), **audit}
        changed = commit(folder, intake.period.data_end, config, [*stored.values()], memory, asides.values())
        return _report(folder, intake, stored, assembly.counts, changed)


def _spill_folder(folder: Path, dry_run: bool) -> Path:
    """Where DuckDB may spill: beside the tables, where there is room; folders of killed extracts go."""
    if dry_run:
        return Path(tempfile.mkdtemp(prefix="leadsieve-"))
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_SPILL}*"):
        shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=_SPILL, dir=folder))


def _write(connection: duckdb.DuckDBPyConnection, one: Output, folder: Path, before: StoredTable | None) -> StoredTable:
    """Write one table; the file of the extract before stays if it has the same rows in the same order."""
    written = write_table(connection, one.query, folder, one.name, one.columns, one.revealed, one.sensitive)
    if before is None or replace(before, file="", bytes=0, sha256="") != replace(written, file="", bytes=0, sha256=""):
        return written
    return before if has_same_rows(connection, folder, before, written) else written


def _report(
    folder: Path, intake: Intake, stored: Mapping[str, StoredTable], counts: Mapping[str, Counts], changed: bool
) -> ExtractReport:
    nothing = Counts(0)
    tables = tuple(
        TableReport(
            name=name,
            rows_read=intake.rows_read[name],
            rows=stored[name].rows if name in stored else intake.rows[name],
            rows_new=counts.get(name, nothing).new,
            rows_changed=counts.get(name, nothing).changed,
            rows_ended=counts.get(name, nothing).ended,
            rows_carried=counts.get(name, nothing).carried,
            columns=stored[name].columns if name in stored else plan.columns if intake.rows[name] else {},
            left_out=plan.left_out,
            not_delivered=plan.not_delivered,
            dropped=intake.findings[name].dropped,
            quarantined=intake.findings[name].quarantined,
            warnings=tuple(intake.findings[name].warnings),
        )
        for name, plan in intake.plans.items()
    )
    return ExtractReport(
        folder, intake.period.data_end, changed, tables, tuple(intake.mistakes), tuple(intake.problems)
    )
