"""Where a faulty CRM keeps its records, and the log of what really changed."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

JOB, PERSON = "job", "person"


class Change(NamedTuple):
    """One value that became another one, whose doing it was, and what it was before."""

    record_id: str
    field: str
    who: str
    old: Any


class CrmStore:
    """Tables of records with fields, in memory or in a SQLite file."""

    def __init__(self, place: Path | None) -> None:
        self._connection = sqlite3.connect(place or ":memory:", isolation_level=None)
        self._connection.execute("PRAGMA synchronous = OFF")  # it outlives processes, not machines
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        self._connection.close()

    def make_table(self, name: str, key: str, fields: Mapping[str, str]) -> None:
        """Make a table; fields by name, with the kind of value each holds."""
        self.run("INSERT INTO tables VALUES (?, ?)", name, key)
        for one, kind in fields.items():
            self.run("INSERT INTO fields VALUES (?, ?, ?)", name, one, kind)

    def put(self, table: str, record_id: str, values: Mapping[str, Any]) -> None:
        """A person adds a record, whose owner is Ann, or edits it."""
        self.store(PERSON, table, record_id, values)

    def remove(self, table: str, record_id: str) -> None:
        """A person deletes a record."""
        self.erase(PERSON, table, record_id)

    def read_all(self, table: str) -> dict[str, dict[str, Any]]:
        """Every record of a table."""
        ids = [record_id for (record_id,) in self.run("SELECT id FROM records WHERE tbl = ? ORDER BY id", table)]
        return {one: self.read(table, one) for one in ids}

    def writes(self) -> Counter[tuple[str, str, str]]:
        """How often the job has changed each (table, record, field); the field is `+` or `-` for a whole record."""
        rows = self.run("SELECT tbl, id, field FROM log WHERE who = ?", JOB)
        return Counter((table, one, name) for table, one, name in rows)

    def changes(self, table: str) -> list[Change]:
        """Every value of a table that was changed, oldest first; not records as a whole."""
        rows = self.run(
            "SELECT who, id, field, old FROM log WHERE tbl = ? AND field NOT IN ('+', '-') ORDER BY rowid", table
        )
        return [Change(one, name, who, json.loads(old)) for who, one, name, old in rows]

    @property
    def requests(self) -> int:
        """Requests in the life of this CRM."""
        return int(self.run("SELECT coalesce(max(number), 0) FROM requests")[0][0])

    def close_tasks(self, task_ids: Sequence[str], who: str = PERSON) -> int:
        """Close tasks as somebody; those that are closed stay as they are."""
        close = "UPDATE tasks SET closed_by = ? WHERE id = ? AND closed_by IS NULL RETURNING key"
        closed = [key for one in task_ids for (key,) in self.run(close, who, one)]
        for key in closed:
            self.log(who, "tasks", key, "-")
        return len(closed)

    def tasks(self) -> list[tuple[str, str, str | None]]:
        """Every task there ever was: key, text, and who closed it."""
        return self.run("SELECT key, text, closed_by FROM tasks ORDER BY id")

    def store(self, who: str, table: str, record_id: str, values: Mapping[str, Any]) -> None:
        if not self.exists(table, record_id):
            self.run("INSERT INTO records VALUES (?, ?)", table, record_id)
            self.log(who, table, record_id, "+")
            values = {"owner": "Ann", **values}
        found = self.read(table, record_id)
        for name, value in values.items():
            if name not in found or found[name] != value:
                self.run("REPLACE INTO cells VALUES (?, ?, ?, ?)", table, record_id, name, json.dumps(value))
                self.log(who, table, record_id, name, found.get(name))

    def erase(self, who: str, table: str, record_id: str) -> None:
        if self.exists(table, record_id):
            self.log(who, table, record_id, "-")
            for statement in ("DELETE FROM records", "DELETE FROM cells"):
                self.run(f"{statement} WHERE tbl = ? AND id = ?", table, record_id)

    def exists(self, table: str, record_id: str) -> bool:
        return bool(self.run("SELECT 1 FROM records WHERE tbl = ? AND id = ?", table, record_id))

    def read(self, table: str, record_id: str, late: int | None = None) -> dict[str, Any]:
        """Fields of a record, as they are or as they were after a request."""
        rows = self.run("SELECT field, value FROM cells WHERE tbl = ? AND id = ?", table, record_id)
        found = {name: json.loads(value) for name, value in rows}
        if late is not None:
            since = "SELECT field, old FROM log WHERE tbl = ? AND id = ? AND request > ? ORDER BY rowid DESC"
            undone = self.run(since, table, record_id, late)
            found |= {name: json.loads(old) for name, old in undone if name in found}
        return found

    def log(self, who: str, table: str, record_id: str, name: str, old: Any = None) -> None:
        self.run(
            "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", self.requests, who, table, record_id, name, json.dumps(old)
        )

    def run(self, statement: str, *parameters: Any) -> list[Any]:
        return self._connection.execute(statement, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.run("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.run("ROLLBACK")
            raise
        self.run("COMMIT")


_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (number INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE IF NOT EXISTS tables (name TEXT PRIMARY KEY, key TEXT);
CREATE TABLE IF NOT EXISTS fields (tbl TEXT, name TEXT, kind TEXT);
CREATE TABLE IF NOT EXISTS records (tbl TEXT, id TEXT, PRIMARY KEY (tbl, id));
CREATE TABLE IF NOT EXISTS cells (tbl TEXT, id TEXT, field TEXT, value TEXT, PRIMARY KEY (tbl, id, field));
CREATE TABLE IF NOT EXISTS log (request INTEGER, who TEXT, tbl TEXT, id TEXT, field TEXT, old TEXT);
CREATE INDEX IF NOT EXISTS log_of ON log (tbl, id, request);
CREATE TABLE IF NOT EXISTS history (run_id TEXT, key TEXT, entity TEXT, content TEXT);
CREATE TABLE IF NOT EXISTS tasks (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, text TEXT, closed_by TEXT);
"""
