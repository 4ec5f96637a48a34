"""One batch on its way to Odoo: which of its records may still be written, and what became of the others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.adapters.odoo_fields import OdooField
from pipeline.adapters.target import FieldValues, RecordResult, Status, Value, WriteBatch


class OdooBatch:
    """A batch whose records are compared, written and compared again.

    Parameters
    ----------
    batch : WriteBatch
        The batch; its values are taken as Odoo keeps them.
    fields : mapping of str to OdooField
        Its fields, as Odoo declares them.

    """

    def __init__(self, batch: WriteBatch, fields: Mapping[str, OdooField]) -> None:
        self._batch = batch
        self._fields = [fields[name] for name in batch.fields]
        self._expected = self._make_rows(batch.expected)
        self._values = self._make_rows(batch.values)
        self._ends: dict[str, RecordResult] = {}
        self.left = list(batch.ids)
        for record_id in batch.ids:
            faults = map(OdooField.find_fault, self._fields, self._values[record_id])
            if fault := next(filter(None, faults), None):
                self._end(record_id, "rejected", fault)
        self._keep_left()

    def compare(self, found: FieldValues) -> None:
        """Take out of what is left: records that are gone, that have their values, or that somebody changed."""
        columns = [found.columns[name] for name in self._batch.fields]
        current = dict(zip(found.ids, zip(*columns, strict=True), strict=True))
        for record_id in self.left:
            row = current.get(record_id)
            if row is None:
                self._end(record_id, "missing", "the record does not exist")
            elif row == self._values[record_id]:
                self._end(record_id, "done")
            elif row != self._expected[record_id]:
                self._end(record_id, "conflict", self._describe_difference(self._expected[record_id], row))
        self._keep_left()

    def make_arguments(self) -> dict[str, Any]:
        """Return what `web_save_multi` gets for what is left."""
        names = self._batch.fields
        return {
            "ids": [int(record_id) for record_id in self.left],
            "vals_list": [dict(zip(names, self._values[record_id], strict=True)) for record_id in self.left],
            "specification": {name: {} for name in names},
        }

    def verify(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """End what is left: it is done where Odoo now has what was sent."""
        names = self._batch.fields
        columns = [field.read([row[name] for row in rows]) for name, field in zip(names, self._fields, strict=True)]
        kept = dict(zip((str(row["id"]) for row in rows), zip(*columns, strict=True), strict=True))
        for record_id in self.left:
            row = kept.get(record_id)
            if row == self._values[record_id]:
                self._end(record_id, "done")
            elif row is None:
                self._end(record_id, "rejected", "Odoo did not say what it wrote")
            else:
                difference = self._describe_difference(self._values[record_id], row)
                self._end(record_id, "rejected", f"Odoo did not keep what was sent: {difference}")
        self._keep_left()

    def reject(self, reason: str) -> None:
        """End what is left: Odoo refuses it as a whole, and has written none of it."""
        for record_id in self.left:
            self._end(record_id, "rejected", reason)
        self._keep_left()

    def list_results(self) -> list[RecordResult]:
        """Return what became of each record, in the order of the batch."""
        return [self._ends[record_id] for record_id in self._batch.ids]

    def _make_rows(self, columns: Sequence[Sequence[Value]]) -> dict[str, tuple[Value, ...]]:
        """Record to its values, as Odoo keeps them."""
        kept = [field.keep(column) for field, column in zip(self._fields, columns, strict=True)]
        return dict(zip(self._batch.ids, zip(*kept, strict=True), strict=True))

    def _describe_difference(self, expected: Sequence[Value], found: Sequence[Value]) -> str:
        """First field that is not as expected."""
        names = self._batch.fields
        differ = (entry for entry in zip(names, expected, found, strict=True) if entry[1] != entry[2])
        name, before, now = next(differ)
        return f"{name}: expected {before!r}, found {now!r}"

    def _end(self, record_id: str, status: Status, message: str | None = None) -> None:
        self._ends[record_id] = RecordResult(record_id, status, message)

    def _keep_left(self) -> None:
        self.left = [record_id for record_id in self.left if record_id not in self._ends]


def cut_batch(batch: WriteBatch, start: int, end: int | None) -> WriteBatch:
    """Return a part of a batch."""
    part = slice(start, end)
    return replace(
        batch,
        ids=batch.ids[part],
        expected=[column[part] for column in batch.expected],
        values=[column[part] for column in batch.values],
    )
