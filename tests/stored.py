"""Tables as an extract leaves them, written directly: worlds whose rows ended, changed hands or came back."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from conftest import Rows, read_rows

from features.tables import MANIFEST, PROTOCOL, TABLES, ColumnType, CrmTables, load_tables

ARROW: Mapping[str, Any] = {
    "text": pa.string(),
    "time": pa.timestamp("us"),
    "date": pa.date32(),
    "money": pa.decimal128(18, 4),
    "number": pa.float64(),
    "integer": pa.int64(),
    "flag": pa.bool_(),
}


def stored_world(
    folder: Path,
    *,
    data_end: str | datetime = "2024-07-01",
    stages: Sequence[str] = (),
    questions: Sequence[str] = (),
    sensitive: Mapping[str, tuple[str, ...]] | None = None,
    **tables: Rows,
) -> CrmTables:
    """Write stored tables and their manifest, and load them.

    Parameters
    ----------
    folder : Path
    data_end : str or datetime, default "2024-07-01"
        UTC.
    stages, questions : sequence of str
    sensitive : mapping of table to columns
    **tables
        One row per version, as in `conftest.read_rows`. `known_at` is the row's time where it is not
        given, and `<time>_known_at` of a revealed column that time; `known_until` is null (`-`) while
        the version holds, and entity tables always have it.

    """
    folder.mkdir(parents=True, exist_ok=True)
    end = datetime.fromisoformat(data_end) if isinstance(data_end, str) else data_end
    entries = {name: _write(folder, name, rows, (sensitive or {}).get(name, ())) for name, rows in tables.items()}
    manifest = {
        "protocol": PROTOCOL, "data_end": end.isoformat(), "time_zone": "UTC", "currency": "EUR",
        "stages": list(stages), "questions": list(questions), "tables": entries,
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return load_tables(folder)


def _write(folder: Path, name: str, rows: Rows, sensitive: tuple[str, ...]) -> dict[str, Any]:
    spec = TABLES[name]
    read = read_rows(name, rows)
    records = [_with_clocks(name, row, read.column_names) for row in read.to_pylist()]
    columns = {column: _kind(name, column) for record in records[:1] for column in record}
    revealed = {column: time for column, time in spec.revealed.items() if {column, time} <= set(columns)}
    table = pa.table({c: _array([row[c] for row in records], kind) for c, kind in columns.items()})
    file = folder / f"{name}.parquet"
    pq.write_table(table, file)
    content = file.read_bytes()
    return {
        "file": file.name, "rows": len(records), "bytes": len(content), "columns": columns,
        "sha256": hashlib.sha256(content).hexdigest(), "revealed": revealed, "sensitive": list(sensitive),
    }  # fmt: skip


def _with_clocks(name: str, row: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    spec = TABLES[name]
    full = {**row, "known_at": row.get("known_at") or row[spec.time]}
    for time in dict.fromkeys(spec.revealed.values()):
        if time in columns:
            full[f"{time}_known_at"] = row.get(f"{time}_known_at") or row[time]
    if spec.is_entity or "known_until" in columns:
        until = row.get("known_until")
        full["known_until"] = datetime.fromisoformat(until) if isinstance(until, str) else until
    return full


def _kind(name: str, column: str) -> ColumnType:
    is_clock = column.endswith(("_at", "known_until"))
    return TABLES[name].columns.get(column, "time" if is_clock else "text")


def _array(values: list[Any], kind: ColumnType) -> pa.Array:
    if kind == "money" and any(isinstance(value, str) for value in values):
        return pa.array(values).cast(ARROW[kind])
    if kind in ("integer", "number"):
        values = [None if value is None else float(value) for value in values]
        return pa.array(values, pa.float64()).cast(ARROW[kind])
    return pa.array(values, ARROW[kind])
