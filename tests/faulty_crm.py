"""A CRM that fails on purpose, and counts every value that really changes in it.

It is the far side of an adapter: requests go in, replies with a status and a body come out. It lives in memory, or in
a file that every request commits to, so that it survives the job that talks to it. What goes wrong is planned by the
number of the request, counted over its whole life (see `faulty_plan`).
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from faulty_plan import LAG, RETRY_AFTER_SECONDS, Delete, Edit, Plan, nothing_fails
from faulty_store import JOB, CrmStore

BUSY, CONFLICT, MISSING, REFUSED, DONE = "busy", "conflict", "missing", "refused", "done"


@dataclass(frozen=True)
class Reply:
    """What comes back from a request."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class FaultyCrm(CrmStore):
    """Tables of records with fields, a history of scores and tasks.

    Parameters
    ----------
    place : Path or None
        The file that it lives in, None for the memory of this process.
    plan : Plan
        What goes wrong.
    failure : "partial" or "atomic"
        Whether one record that is refused or missing fails its whole batch.
    compares : bool
        Whether a write compares what it expects with what is there, within the CRM.
    refused : collection of values
        Values that it refuses.
    dropped : collection of str
        Fields that it takes and does not store.

    """

    def __init__(
        self,
        place: Path | None = None,
        plan: Plan = nothing_fails,
        failure: Literal["atomic", "partial"] = "partial",
        compares: bool = True,
        refused: Collection[Any] = (),
        dropped: Collection[str] = (),
    ) -> None:
        self.plan, self.failure, self.compares = plan, failure, compares
        self._refused, self._dropped = frozenset(refused), frozenset(dropped)
        super().__init__(place)

    # What an adapter may ask.

    def ask_fields(self, table: str) -> Reply:
        """Key and fields of a table: name to kind."""
        return self._answer(lambda number: self._describe(table))

    def ask_records(self, table: str, ids: Sequence[str], fields: Sequence[str]) -> Reply:
        """Fields of the records that exist."""

        def read(number: int) -> Reply:
            late = number - LAG if self.plan(number) == "stale" else None
            found = {one: self.read(table, one, late) for one in ids if self.exists(table, one)}
            return Reply(200, {one: {name: row.get(name) for name in fields} for one, row in found.items()})

        return self._answer(read)

    def ask_write(
        self,
        table: str,
        action: str,
        rows: Mapping[str, Mapping[str, Any]],
        expected: Mapping[str, Mapping[str, Any]],
    ) -> Reply:
        """Update, insert or delete records; the body has the verdict for each."""

        def write(number: int) -> Reply:
            busy = set(list(rows)[1::2]) if self.plan(number) == "partial" else set()
            verdicts = {
                one: BUSY if one in busy else self._judge(table, action, one, values, expected[one])
                for one, values in rows.items()
            }
            bad = [verdict for verdict in verdicts.values() if verdict in (REFUSED, MISSING)]
            if self.failure == "atomic" and bad:
                return Reply(500 if REFUSED in bad else 404, "one record fails the whole batch")
            for one, verdict in verdicts.items():
                if verdict == DONE:
                    self._carry_out(table, action, one, rows[one])
            return Reply(200 if set(verdicts.values()) == {DONE} else 207, verdicts)

        return self._answer(write)

    def ask_keys(self, run_id: str) -> Reply:
        """Keys of the history rows of a run."""
        rows = "SELECT key FROM history WHERE run_id = ?"
        return self._answer(lambda number: Reply(200, [key for (key,) in self.run(rows, run_id)]))

    def ask_history(self, rows: Sequence[tuple[str, str, str, Any]]) -> Reply:
        """Add history rows (run, key, entity, content): all or none; it does not look whether they are there."""

        def add(number: int) -> Reply:
            for run_id, key, entity, content in rows:
                self.run("INSERT INTO history VALUES (?, ?, ?, ?)", run_id, key, entity, json.dumps(content))
                self.log(JOB, "history", key, "+")
            return Reply(200, len(rows))

        return self._answer(add)

    def ask_forget(self, column: Literal["run_id", "entity"], value: str) -> Reply:
        """Remove the history rows of a run, or of an entity."""

        def remove(number: int) -> Reply:
            keys = [key for (key,) in self.run(f"DELETE FROM history WHERE {column} = ? RETURNING key", value)]
            for key in keys:
                self.log(JOB, "history", key, "-")
            return Reply(200, len(keys))

        return self._answer(remove)

    def ask_tasks(self) -> Reply:
        """Open tasks: (key, id)."""
        return self._answer(lambda number: Reply(200, self.run("SELECT key, id FROM tasks WHERE closed_by IS NULL")))

    def ask_new_tasks(self, tasks: Sequence[tuple[str, str, str, str]]) -> Reply:
        """Add tasks (key, table, record, text), whatever is there; the body has the id of each that was added."""

        def add(number: int) -> Reply:
            made = {}
            for key, table, record_id, text in tasks:
                if self.exists(table, record_id) and self.read(table, record_id).get("owner") is not None:
                    statement = "INSERT INTO tasks (key, text) VALUES (?, ?) RETURNING id"
                    made[key] = str(self.run(statement, key, text)[0][0])
                    self.log(JOB, "tasks", key, "+")
            return Reply(200, made)

        return self._answer(add)

    def ask_close(self, task_ids: Sequence[str]) -> Reply:
        """Close the tasks that are open."""
        return self._answer(lambda number: Reply(200, self.close_tasks(task_ids, JOB)))

    def ask_no_tasks(self, task_ids: Sequence[str]) -> Reply:
        """Remove tasks, closed or not."""

        def remove(number: int) -> Reply:
            for one in task_ids:
                self.run("DELETE FROM tasks WHERE id = ?", one)
            return Reply(200)

        return self._answer(remove)

    # Within.

    def _answer(self, work: Callable[[int], Reply]) -> Reply:
        """Carry a request out, or fail as the plan says; what is stored is stored at once."""
        number = int(self.run("INSERT INTO requests DEFAULT VALUES RETURNING number")[0][0])
        fault = self.plan(number)
        if isinstance(fault, Edit) and self.exists(fault.table, fault.record_id):
            self.put(fault.table, fault.record_id, {fault.field: fault.value})
        if isinstance(fault, Delete):
            self.remove(fault.table, fault.record_id)
        if fault == "rate_limit":
            return Reply(429, "too many requests", {"Retry-After": str(RETRY_AFTER_SECONDS)})
        if fault == "unavailable":
            return Reply(503, "restarting")
        if fault == "error_body":
            return Reply(200, {"errorCode": 30004, "errorMessage": "too many calls per second"})
        if fault == "drop_before":
            raise ConnectionResetError("the connection dropped")
        with self.transaction():
            reply = work(number)
        if fault == "drop_after":
            raise ConnectionResetError("the connection dropped")
        if fault == "timeout_after":
            raise TimeoutError("no answer in time")
        return reply

    def _describe(self, table: str) -> Reply:
        found = self.run("SELECT key FROM tables WHERE name = ?", table)
        if not found:
            return Reply(404, [name for (name,) in self.run("SELECT name FROM tables")])
        fields = dict(self.run("SELECT name, kind FROM fields WHERE tbl = ?", table))
        return Reply(200, {"key": found[0][0], "fields": fields})

    def _judge(
        self, table: str, action: str, record_id: str, values: Mapping[str, Any], expected: Mapping[str, Any]
    ) -> str:
        """What becomes of one record of a write."""
        exists = self.exists(table, record_id)
        if action != "delete" and self._refused.intersection(values.values()):
            return REFUSED
        if not exists:
            return {"insert": DONE, "delete": DONE}.get(action, MISSING)
        found = self.read(table, record_id)
        is_there = action != "delete" and all(found.get(name) == value for name, value in values.items())
        is_expected = action != "insert" and all(found.get(name) == value for name, value in expected.items())
        return DONE if is_there or is_expected or (action == "update" and not self.compares) else CONFLICT

    def _carry_out(self, table: str, action: str, record_id: str, values: Mapping[str, Any]) -> None:
        if action == "delete":
            self.erase(JOB, table, record_id)
        else:
            kept = {name: value for name, value in values.items() if name not in self._dropped}
            self.store(JOB, table, record_id, kept)
