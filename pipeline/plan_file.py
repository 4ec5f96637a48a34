"""A plan as a file: every change with its old and new value, in the folder of its run.

It is for people and for `writeback apply`, which plans anew and says what the CRM has changed meanwhile.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic_files import replace_file
from pipeline.config import Config
from pipeline.ledger_writes import encode
from pipeline.write_plan import TablePlan, WritePlan

COLUMNS = ("target", "table_name", "entity_id", "field", "action", "old", "new", "error")
"""`entity_id` is the record; `action` is update, insert or delete, or why nothing is done: conflict or missing."""

Row = tuple[str | None, ...]


@dataclass(frozen=True)
class StoredPlan:
    """A plan that was stored: when, and its rows."""

    made_at: datetime
    rows: frozenset[Row]


def plan_path(config: Config, run_id: str) -> Path:
    """Path of the plan of a run."""
    return config.folder / "runs" / run_id / "write_plan.parquet"


def save_plan(config: Config, plan: WritePlan) -> Path:
    """Store a plan in place of the one before; old and new values are JSON."""
    rows = list(_rows(plan))
    columns = {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)}
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    table = pa.table(columns, schema).replace_schema_metadata({"made_at": datetime.now(UTC).isoformat()})
    path = plan_path(config, plan.run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda partial: pq.write_table(table, partial))
    return path


def load_plan(config: Config, run_id: str) -> StoredPlan | None:
    """Load the plan of a run, None if none was stored."""
    path = plan_path(config, run_id)
    if not path.is_file():
        return None
    table = pq.read_table(path)
    made_at = datetime.fromisoformat((table.schema.metadata or {})[b"made_at"].decode())
    return StoredPlan(made_at, frozenset(zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)))


def tell_changes(config: Config, plan: WritePlan) -> str | None:
    """Say how many values the plan decides otherwise than the stored one, None if none or nothing was stored."""
    stored = load_plan(config, plan.run_id)
    if stored is None:
        return None
    rows = frozenset(_rows(plan))
    cells = {row[1:4] for row in rows ^ stored.rows}
    if not cells:
        return None
    return (
        f"The CRM has changed since the plan of {stored.made_at:%Y-%m-%d %H:%M} UTC: {len(cells):,} values are decided "
        "otherwise now."
    )


def _rows(plan: WritePlan) -> Iterator[Row]:
    """Rows of a plan: what is going to be written, then what is refused."""
    for table in plan.tables:
        yield from _changes(table)
        for write in table.refused:
            key = (table.target, write.table_name, write.record_id, write.field, write.state)
            yield (*key, encode(write.old), encode(write.new), write.error)


def _changes(table: TablePlan) -> Iterator[Row]:
    for batch in table.batches:
        for name, olds, news in zip(batch.fields, batch.expected, batch.values, strict=True):
            for record_id, old, new in zip(batch.ids, olds, news, strict=True):
                yield table.target, table.table.name, record_id, name, batch.action, encode(old), encode(new), None
