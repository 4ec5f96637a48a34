# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Forgetting in the stored tables: new files without the rows, one rename of the manifest, the old files deleted."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from features.tables import MANIFEST, TABLES, CrmTables, StoredTable, load_tables
from pipeline.atomic_files import replace_text
from pipeline.audit_aside import AUDIT, load_aside
from pipeline.entity_rows import (
    OWNED,
    OWNERS,
    Relation,
    find_owned,
    is_owned,
    pointers,
    start_with,
    start_with_tombstones,
)
from pipeline.staging import open_duckdb, quote
from pipeline.table_store import sweep, write_table
from pipeline.tombstones import Tombstones

_SPILL = ".spill-forget-"
_PLACE = "file_row_number"


@dataclass(frozen=True)
class StoredRows:
    """The stored tables of a deployment, to be asked whose rows are whose.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Where the queries run.
    tables : CrmTables or None
        None before the first extract.
    relations : mapping of table to Relation
        Empty before the first extract.
    asides : mapping of table to StoredTable
        What is kept of entities for the audit.

    """

    connection: duckdb.DuckDBPyConnection
    tables: CrmTables | None
    relations: Mapping[str, Relation]
    asides: Mapping[str, StoredTable]

    def knows(self, table: str, entity_id: str) -> bool:
        """Whether any row names an entity as its owner."""
        columns = [column for column, to in OWNERS.items() if to == table]
        return any(
            self.connection.execute(
                f"SELECT 1 FROM {relation.source} WHERE {quote(column)} = ? LIMIT 1", [entity_id]
            ).fetchone()
            for relation in self.relations.values()
            for column in columns
            if column in relation.texts
        )

    def find(self, table: str, entity_id: str) -> dict[str, list[str]]:
        """Find an entity and all that belong to it: ids by table."""
        start_with(self.connection, {table: [entity_id]})
        return find_owned(self.connection, self.relations)

    def find_forgotten(self, tombstones: Tombstones) -> dict[str, list[str]]:
        """Find whoever was forgotten and is still there: ids by table."""
        start_with_tombstones(self.connection, self.relations, tombstones)
        return find_owned(self.connection, self.relations)

    def count(self) -> dict[str, int]:
        """Count the rows, per table, of those that were found last."""
        counts = {}
        for name, relation in self.relations.items():
            query = f"SELECT count(*) FILTER (WHERE {is_owned(relation, name)}) FROM {relation.source}"
            counts[name] = int((self.connection.execute(query).fetchone() or (0,))[0])
        return {name: count for name, count in counts.items() if count}

    def remove(self) -> dict[str, int]:
        """Remove the rows of those that were found last, and what points at them; count the rows per table.

        Until the manifest is renamed everything is as before; afterwards the old files go.
        """
        if self.tables is None:
            return {}
        counts, folder = self.count(), self.tables.folder
        stored = self.tables.tables.values()
        rewritten = [self._rewrite(one, folder) for one in stored if one.name in counts or self._points(one.name)]
        asides = {name: self._without(one, name, folder) for name, one in self.asides.items()}
        if rewritten or asides != self.asides:
            _switch(folder, rewritten, asides)
        _sweep(folder)
        return counts

    def _points(self, name: str) -> bool:
        """Whether a table has rows of others that point at those that were found."""
        relation = self.relations[name]
        condition = " OR ".join(pointers(relation, name).values()) or "false"
        return bool(self.connection.execute(f"SELECT 1 FROM {relation.source} WHERE {condition} LIMIT 1").fetchone())

    def _rewrite(self, stored: StoredTable, folder: Path) -> StoredTable:
        """Write a table again, in its order, without the rows that go."""
        name, relation = stored.name, self.relations[stored.name]
        cleared = pointers(relation, name)
        columns = ", ".join(
            f"CASE WHEN {cleared[column]} THEN NULL ELSE {quote(column)} END AS {quote(column)}"
            if column in cleared
            else quote(column)
            for column in stored.columns
        )
        query = f"SELECT {columns} FROM {relation.source} WHERE NOT ({is_owned(relation, name)}) ORDER BY {_PLACE}"
        return write_table(self.connection, query, folder, name, stored.columns, stored.revealed, stored.sensitive)

    def _without(self, aside: StoredTable, name: str, folder: Path) -> StoredTable:
        """Write what is kept of entities for the audit again, without those that go."""
        path = str(folder / aside.file).replace("'", "''")
        key = quote(str(TABLES[name].key))
        columns = ", ".join(map(quote, aside.columns))
        query = f"SELECT {columns} FROM read_parquet('{path}', file_row_number=true)"
        gone = f"{key} IN (SELECT id FROM {OWNED} WHERE table_name = '{name}')"
        if not self.connection.execute(f"{query} WHERE {gone} LIMIT 1").fetchone():
            return aside
        query = f"{query} WHERE NOT ({gone}) ORDER BY {_PLACE}"
        return write_table(self.connection, query, folder, aside.name, aside.columns, {})


@contextmanager
def open_stored_rows(folder: Path) -> Iterator[StoredRows]:
    """Open the tables of a state folder; there may be none yet.

    Raises
    ------
    DataError
        If the tables are damaged.

    """
    place = folder / "tables"
    tables = load_tables(place) if (place / MANIFEST).is_file() else None
    spill = Path(tempfile.mkdtemp(prefix=_SPILL, dir=place if tables else None))
    try:
        with closing(open_duckdb(spill)) as connection:
            names = tables.tables if tables else {}
            relations = {name: _describe(tables, name) for name in names if tables}
            yield StoredRows(connection, tables, relations, load_aside(place))
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _describe(tables: CrmTables, name: str) -> Relation:
    path = str(tables.path(name)).replace("'", "''")
    stored = tables.tables[name]
    texts = {column: quote(column) for column, kind in stored.columns.items() if kind == "text"}
    return Relation(f"read_parquet('{path}', file_row_number=true)", texts, newest="known_at")


def _switch(folder: Path, rewritten: Iterable[StoredTable], asides: Mapping[str, StoredTable]) -> None:
    """Make the rewritten files the current ones; whatever else the manifest says stays."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    entries = [(manifest["tables"][table.name], table) for table in rewritten]
    entries += [(manifest[AUDIT]["tables"][name], table) for name, table in asides.items()]
    for entry, table in entries:
        entry.update({"file": table.file, "rows": table.rows, "bytes": table.bytes, "sha256": table.sha256})
    replace_text(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def clear_leftovers(folder: Path) -> None:
    """Delete what killed jobs left beside the tables of a state folder; the caller holds its lock."""
    for left in (folder / "tables").glob(".*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink()


def _sweep(folder: Path) -> None:
    """Delete the files that the manifest does not name."""
    sweep(folder, set(_texts(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))))


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON document."""
    if isinstance(value, str):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(one)
