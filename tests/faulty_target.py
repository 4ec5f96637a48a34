"""The near side of a faulty CRM: an adapter that makes of its replies what the protocol asks for.

It is written as an adapter for a vendor is: it cannot look into the CRM, only ask. A CRM that compares before it
writes is sent what is expected; of one that does not, the records are read again just before. What was written is
read back, and again as long as it may be a late answer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from faulty_crm import BUSY, CONFLICT, DONE, MISSING, REFUSED, FaultyCrm, Reply
from faulty_plan import LAG

from pipeline.adapters.target import (
    Capabilities,
    FieldValues,
    FollowUp,
    HistoryRow,
    RecordResult,
    Status,
    TargetField,
    TargetTable,
    Value,
    WriteBatch,
)
from pipeline.errors import ConfigError, CrmError, PassingCrmError
from pipeline.field_values import nearest

MAX_BATCH = 200
Rows = dict[str, dict[str, Value]]
RESULTS: dict[str, tuple[Status, str | None]] = {
    BUSY: ("retry", "the record is busy"),
    CONFLICT: ("conflict", "a field has another value than expected"),
    MISSING: ("missing", "the record does not exist"),
    REFUSED: ("rejected", "the CRM refuses a value"),
    DONE: ("done", None),
}


class FaultyTarget:
    """Writes to a faulty CRM."""

    def __init__(self, crm: FaultyCrm, max_batch: int = MAX_BATCH) -> None:
        self._crm, self._max_batch = crm, max_batch
        self.requests = 0

    def close(self) -> None:
        self._crm.close()

    def capabilities(self) -> Capabilities:
        return Capabilities(self._max_batch, per_record_values=True, failure=self._crm.failure, rate_per_second=None)

    def describe(self, target: TargetTable, fields: Sequence[str]) -> dict[str, TargetField]:
        reply = self._send(lambda: self._crm.ask_fields(target.name))
        if reply.status == 404:
            raise ConfigError(f"write_back: no table '{target.name}'. {nearest(target.name, reply.body, 'tables')}")
        kinds = {reply.body["key"]: "text", **reply.body["fields"]}
        for name in (target.key, *fields):
            if name not in kinds:
                hint = nearest(name, kinds, "fields")
                raise ConfigError(f"write_back: table '{target.name}' has no field '{name}'. {hint}")
        return {name: TargetField(name, kinds[name]) for name in fields}

    def read_fields(self, table: TargetTable, ids: Sequence[str], fields: Sequence[str]) -> FieldValues:
        found: Rows = {}
        for start in range(0, len(ids), self._max_batch):
            part = ids[start : start + self._max_batch]
            found |= self._send(lambda part=part: self._crm.ask_records(table.name, part, fields)).body  # type: ignore[misc]
        columns = {name: [row[name] for row in found.values()] for name in fields}
        return FieldValues(list(found), columns)

    def write_batch(self, batch: WriteBatch) -> list[RecordResult]:
        if len(batch.ids) > self._max_batch:
            raise CrmError(f"A batch of {len(batch.ids)} records is too large: at most {self._max_batch}.")
        wanted, expected = _to_rows(batch, batch.values), _to_rows(batch, batch.expected)
        ends: dict[str, tuple[Status, str | None]] = {}
        if not self._crm.compares:
            ends = self._look(batch, wanted, expected)
        ends |= self._write(batch, {one: wanted[one] for one in batch.ids if one not in ends}, expected)
        return [RecordResult(one, *ends[one]) for one in batch.ids]

    def _look(self, batch: WriteBatch, wanted: Rows, expected: Rows) -> dict[str, tuple[Status, str | None]]:
        """Records that need not or must not be written, as they are now."""
        ends: dict[str, tuple[Status, str | None]] = {}
        found = self._read(batch)
        for one in batch.ids:
            if one not in found:
                gone: dict[str, str] = {"update": MISSING, "delete": DONE}
                ends |= {one: RESULTS[gone[batch.action]]} if batch.action in gone else {}
            elif batch.action != "delete" and found[one] == wanted[one]:
                ends[one] = RESULTS[DONE]
            elif batch.action == "insert" or found[one] != expected[one]:
                ends[one] = RESULTS[CONFLICT]
        return ends

    def _write(self, batch: WriteBatch, wanted: Rows, expected: Rows) -> dict[str, tuple[Status, str | None]]:
        """Send records and read back what the CRM says that it has done."""
        if not wanted:
            return {}
        reply = self._send(
            lambda: self._crm.ask_write(batch.table.name, batch.action, wanted, {one: expected[one] for one in wanted})
        )
        if reply.status == 404:  # a record is not there, and the whole batch was rolled back
            found = self._read(batch)
            here = {one: row for one, row in wanted.items() if one in found}
            gone = dict.fromkeys(set(wanted) - set(here), RESULTS[MISSING])
            return gone | self._write(batch, here, expected)
        if reply.status == 500:
            return dict.fromkeys(wanted, RESULTS[REFUSED])
        done = [one for one in wanted if reply.body[one] == DONE]
        return {one: RESULTS[reply.body[one]] for one in wanted} | self._confirm(batch, done, wanted, expected)

    def _confirm(
        self, batch: WriteBatch, done: Sequence[str], wanted: Rows, expected: Rows
    ) -> dict[str, tuple[Status, str | None]]:
        """Read records back; what the CRM did not store is refused, and the rest of its record put back."""
        if batch.action == "delete":
            return {}
        left = list(done)
        found: Rows = {}
        for _ in range(LAG + 1):  # an answer may be late, but not later
            found |= self._read(batch) if left else {}
            left = [one for one in left if one in found and found[one] != wanted[one]]
        self._put_back(batch, {one: found[one] for one in left}, wanted, expected)
        return {one: RESULTS[MISSING] for one in done if one not in found} | {
            one: RESULTS[CONFLICT if _is_edited(found[one], wanted[one], expected[one]) else REFUSED] for one in left
        }

    def _put_back(self, batch: WriteBatch, found: Rows, wanted: Rows, expected: Rows) -> None:
        """Take back the fields that were stored of records that were not stored whole, and no edit of a person."""
        stored: Rows = {}
        for one, row in found.items():
            names = [name for name, value in row.items() if value == wanted[one][name] != expected[one][name]]
            stored |= {one: {name: expected[one][name] for name in names}} if names else {}
        if stored:
            had = {one: {name: wanted[one][name] for name in row} for one, row in stored.items()}
            self._send(lambda: self._crm.ask_write(batch.table.name, "update", stored, had))

    def _read(self, batch: WriteBatch) -> Rows:
        found = self.read_fields(batch.table, batch.ids, batch.fields)
        return {one: {name: found.columns[name][i] for name in batch.fields} for i, one in enumerate(found.ids)}

    def _send(self, ask: Callable[[], Reply]) -> Reply:
        """Send a request; what may pass is raised as such."""
        self.requests += 1
        try:
            reply = ask()
        except (ConnectionError, TimeoutError) as error:
            raise PassingCrmError(f"The CRM did not answer: {error}.") from None
        if reply.status in (429, 503):
            wait = reply.headers.get("Retry-After")
            raise PassingCrmError(f"The CRM answered {reply.status}.", None if wait is None else float(wait))
        if isinstance(reply.body, Mapping) and "errorCode" in reply.body:
            raise PassingCrmError(f"The CRM answered: {reply.body['errorMessage']}.")
        return reply

    # The history of scores, and tasks.

    def history_keys(self, run_id: str) -> set[str]:
        return set(self._send(lambda: self._crm.ask_keys(run_id)).body)

    def add_history(self, rows: Sequence[HistoryRow]) -> None:
        contents = [(row.run_id, row.key, f"{row.target}/{row.entity_id}", row.probability) for row in rows]
        self._send(lambda: self._crm.ask_history(contents))

    def remove_history(self, run_id: str) -> int:
        return int(self._send(lambda: self._crm.ask_forget("run_id", run_id)).body)

    def forget_history(self, entities: Mapping[str, Sequence[str]]) -> int:
        keys = [f"{target}/{one}" for target, ids in entities.items() for one in ids]
        return sum(self._send(lambda key=key: self._crm.ask_forget("entity", key)).body for key in keys)  # type: ignore[misc]

    def open_follow_ups(self) -> dict[str, str]:
        return {key: str(task_id) for key, task_id in self._send(self._crm.ask_tasks).body}

    def add_follow_ups(self, tasks: Sequence[FollowUp]) -> dict[str, RecordResult]:
        rows = [(task.key, task.table.name, task.record_id, task.summary) for task in tasks]
        made: dict[str, Any] = self._send(lambda: self._crm.ask_new_tasks(rows)).body
        nobody = "the record does not exist or has no owner"
        return {
            task.key: RecordResult(made[task.key], "done")
            if task.key in made
            else RecordResult(task.record_id, "missing", nobody)
            for task in tasks
        }

    def close_follow_ups(self, task_ids: Sequence[str]) -> None:
        self._send(lambda: self._crm.ask_close(task_ids))

    def forget_follow_ups(self, task_ids: Sequence[str]) -> None:
        self._send(lambda: self._crm.ask_no_tasks(task_ids))


def _to_rows(batch: WriteBatch, columns: Sequence[Sequence[Value]]) -> Rows:
    """Record to field to value."""
    return {one: {name: columns[k][i] for k, name in enumerate(batch.fields)} for i, one in enumerate(batch.ids)}


def _is_edited(found: Mapping[str, Value], wanted: Mapping[str, Value], expected: Mapping[str, Value]) -> bool:
    """Whether a field has a value that neither we nor the time before us gave it."""
    return any(value not in (wanted[name], expected[name]) for name, value in found.items())
