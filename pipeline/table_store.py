"""Extracted tables on disk: Parquet files named by their content, and a manifest that names them.

The rename of the manifest is the only moment at which an extract takes effect: until then the files
of the previous one are in place, and files that no manifest names are swept away later.
"""

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import duckdb

from features.tables import MANIFEST, PROTOCOL, ColumnType, StoredTable
from pipeline.config import Config


def write_table(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    folder: Path,
    name: str,
    columns: Mapping[str, ColumnType],
    revealed: Mapping[str, str],
    sensitive: tuple[str, ...] = (),
) -> StoredTable:
    """Write the rows of a query as Parquet; the same rows in the same order give the same file.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Where the query runs.
    query : str
        A SELECT with a total order.
    folder : Path
        Where extracted tables live.
    name, columns, revealed, sensitive
        As in the manifest.

    """
    partial = folder / f".{name}-{os.getpid()}.parquet"
    place = str(partial).replace("'", "''")
    copied = connection.execute(f"COPY ({query}) TO '{place}' (FORMAT parquet, COMPRESSION zstd)").fetchone()
    with partial.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    size = partial.stat().st_size
    file_name = f"{name}-{sha256[:16]}.parquet"
    target = folder / file_name
    if target.is_file() and target.stat().st_size == size:
        partial.unlink()
    else:
        partial.replace(target)
    rows = int((copied or (0,))[0])
    return StoredTable(name, file_name, rows, size, sha256, dict(columns), dict(revealed), sensitive)


def has_same_rows(connection: duckdb.DuckDBPyConnection, folder: Path, one: StoredTable, other: StoredTable) -> bool:
    """Whether two files of a table have the same rows in the same order, however they were encoded."""
    columns = ", ".join('"' + column.replace('"', '""') + '"' for column in one.columns)
    hashes = []
    for table in (one, other):
        place = str(folder / table.file).replace("'", "''")
        rows = f"read_parquet('{place}', file_row_number=true)"
        hashes += connection.execute(f"SELECT sum(hash(file_row_number, {columns})) FROM {rows}").fetchall()  # noqa: S608
    return bool(hashes[0] == hashes[1])


def commit(
    folder: Path,
    data_end: datetime,
    config: Config,
    tables: list[StoredTable],
    memory: Mapping[str, object] = MappingProxyType({}),
    asides: Collection[StoredTable] = (),
) -> bool:
    """Make the written tables the current ones; return whether that changed anything.

    An extract that equals the one before leaves the manifest untouched. `memory` is what the next
    extract needs to know of this one: further keys of the manifest, which name the `asides`.
    """
    entries = {table.name: {k: v for k, v in asdict(table).items() if k != "name"} for table in tables}
    manifest = {
        "protocol": PROTOCOL,
        "data_end": data_end.isoformat(),
        "time_zone": config.time_zone,
        "currency": config.currency,
        "stages": list(config.stages),
        "questions": list(config.questions),
        "tables": entries,
        **memory,
    }
    text = json.dumps(manifest, indent=2) + "\n"
    path = folder / MANIFEST
    is_new = not path.is_file() or path.read_text(encoding="utf-8") != text
    if is_new:
        partial = folder / f".{MANIFEST}-{os.getpid()}"
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    sweep(folder, {table.file for table in (*tables, *asides)})
    return is_new


def sweep(folder: Path, kept: set[str]) -> None:
    """Remove what the manifest does not name: older tables, and what a killed extract left."""
    for path in folder.iterdir():
        is_ours = path.suffix == ".parquet" or path.name.startswith(f".{MANIFEST}-")
        if is_ours and path.is_file() and path.name not in kept:
            path.unlink()
