"""Extract: read the canonical tables of a CRM, check them, and keep them as Parquet.

Source rows pass through three DuckDB tables: `raw_<table>` as delivered, `typed_<table>` with
canonical types and both clocks, and for entities a SELECT of their versions. Nothing is written
before every table is checked.
"""

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from features.tables import ColumnType, StoredTable
from pipeline.adapters.protocol import SourceAdapter
from pipeline.compare import DELIVERED, load_stored
from pipeline.config import Config
from pipeline.history import entity_versions
from pipeline.intake import Intake, take_in
from pipeline.mapping import KNOWN_AT, TablePlan
from pipeline.quarantine import write_quarantine
from pipeline.staging import open_duckdb, quote
from pipeline.table_store import commit, write_table

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
        Rows that are stored: on entity tables, one per version. 0 if the table is left out.
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
        intake = take_in(connection, config, adapter, before, accept_schema=accept_schema)
        intake.check_previous(before, config, accept_shrink=accept_shrink)
        if dry_run:
            return _report(folder, intake, {}, changed=False)
        intake.raise_problems()
        write_quarantine(connection, intake.plans, intake.quarantined(), folder.parent / "quarantine")
        stored = {plan.name: _write(connection, plan, folder) for plan in intake.filled()}
        memory = {DELIVERED: intake.delivered}
        changed = commit(folder, intake.period.data_end, config, list(stored.values()), memory)
        return _report(folder, intake, stored, changed)


def _spill_folder(folder: Path, dry_run: bool) -> Path:
    """Where DuckDB may spill: beside the tables, where there is room; folders of killed extracts go."""
    if dry_run:
        return Path(tempfile.mkdtemp(prefix="leadsieve-"))
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_SPILL}*"):
        shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=_SPILL, dir=folder))


def _write(connection: duckdb.DuckDBPyConnection, plan: TablePlan, folder: Path) -> StoredTable:
    """Write one table in a total order: entities by key and version, events by time."""
    columns = dict(plan.columns)
    rows = quote(f"typed_{plan.name}")
    order = [plan.spec.time, *([plan.spec.key] if plan.spec.key else columns)]
    if plan.spec.is_entity:
        columns["known_until"] = "time"
        rows = f"({entity_versions(plan)})"
        order = [str(plan.spec.key), KNOWN_AT]
    names, by = (", ".join(map(quote, part)) for part in (columns, order))
    query = f"SELECT {names} FROM {rows} ORDER BY {by}"  # noqa: S608
    return write_table(connection, query, folder, plan.name, columns, plan.revealed, plan.sensitive)


def _report(folder: Path, intake: Intake, stored: Mapping[str, StoredTable], changed: bool) -> ExtractReport:
    tables = tuple(
        TableReport(
            name=name,
            rows_read=intake.rows_read[name],
            rows=stored[name].rows if name in stored else intake.rows[name],
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
