"""A CRM in memory that counts its requests: two of them for each batch (to write, to read back), one for a read."""

from collections.abc import Collection, Sequence
from typing import Any

from pipeline.adapters.target import (
    Capabilities,
    FieldValues,
    RecordResult,
    TargetField,
    TargetTable,
    Value,
    WriteBatch,
)

FIELDS = ("score", "grade", "why")


class SmallTarget:
    """Holds records of one table, whatever its name.

    Parameters
    ----------
    ids : sequence of str
        Records, all of whose fields are null.
    refused : collection of str
        Records that it refuses, and with them the whole batch.
    forgetful : collection of str
        Records that it says it has written, and has not.
    late : int
        Reads after a write that still show what was there before.
    max_batch : int
        Records per request.

    """

    def __init__(
        self,
        ids: Sequence[str],
        refused: Collection[str] = (),
        forgetful: Collection[str] = (),
        late: int = 0,
        max_batch: int = 2,
    ) -> None:
        self.records: dict[str, dict[str, Value]] = {one: dict.fromkeys(FIELDS) for one in ids}
        self.refused, self.forgetful, self.late, self.max_batch = refused, forgetful, late, max_batch
        self.requests = 0
        self.sent: list[list[str]] = []
        self._before: dict[str, dict[str, Value]] = {}

    def capabilities(self) -> Capabilities:
        return Capabilities(self.max_batch, per_record_values=True, failure="atomic", rate_per_second=None)

    def describe(self, target: TargetTable, fields: Sequence[str]) -> dict[str, TargetField]:
        self.requests += 1
        return {name: TargetField(name, "number" if name == "score" else "text") for name in fields}

    def read_fields(self, table: TargetTable, ids: Sequence[str], fields: Sequence[str]) -> FieldValues:
        assert len(ids) <= self.max_batch
        self.requests += 1
        shown = self.records
        if self._before and self.late:
            self.late, shown = self.late - 1, self._before
        found = [one for one in ids if one in shown]
        return FieldValues(found, {name: [shown[one][name] for one in found] for name in fields})

    def write_batch(self, batch: WriteBatch) -> list[RecordResult]:
        assert len(batch.ids) <= self.max_batch
        self.requests += 2
        self.sent.append(batch.ids)
        if set(self.refused) & set(batch.ids):
            return [RecordResult(one, "rejected", "one of the values is bad") for one in batch.ids]
        if self.late:
            self._before = {one: dict(record) for one, record in self.records.items()}
        return [self._write(batch, at, one) for at, one in enumerate(batch.ids)]

    def _write(self, batch: WriteBatch, at: int, one: str) -> RecordResult:
        news: dict[str, Any] = {name: column[at] for name, column in zip(batch.fields, batch.values, strict=True)}
        if one not in self.forgetful:
            self.records[one] |= news
        return RecordResult(one, "done")
