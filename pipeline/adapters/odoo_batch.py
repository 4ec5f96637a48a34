"""One batch on its way to Odoo: what of it is sent, and what became of its records."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.adapters.odoo_fields import OdooField
from pipeline.adapters.target import RecordResult, Status, Value, WriteBatch

GONE = "the record does not exist"


class OdooBatch:
    """A batch: what is sent of it, and what its records became by the answer.

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
            if not is_id(record_id):
                self._end(record_id, "missing", GONE)
                continue
            faults = map(OdooField.find_fault, self._fields, self._values[record_id])
            if fault := next(filter(None, faults), None):
                self._end(record_id, "rejected", fault)
        self._keep_left()

    def make_rows(self) -> list[list[Any]]:
        """Rows of id, expected and new values for the action, as Odoo has them."""
        return [
            [int(record_id), _show(self._expected[record_id]), _show(self._values[record_id])]
            for record_id in self.left
        ]

    def settle(self, left: Sequence[Any], written: Sequence[Any]) -> None:
        """End what was sent, by the rows that Odoo left as they were and those it wrote, as they are now."""
        found, kept = self._read(left), self._read(written)
        for record_id in self.left:
            wanted = self._values[record_id]
            row = kept.get(record_id, found.get(record_id))
            if row is None:
                self._end(record_id, "missing", GONE)
            elif row == wanted:
                self._end(record_id, "done")
            elif record_id in kept:
                difference = self._describe_difference(wanted, row)
                self._end(record_id, "rejected", f"Odoo did not keep what was sent: {difference}")
            elif row == self._expected[record_id]:
                self._end(record_id, "rejected", "Odoo left it, though it is as expected")
            else:
                self._end(record_id, "conflict", self._describe_difference(self._expected[record_id], row))
        self._keep_left()

    def reject(self, reason: str) -> None:
        """End what was sent: Odoo refuses it as a whole, and has written none of it."""
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

    def _read(self, rows: Sequence[Any]) -> dict[str, tuple[Value, ...]]:
        """Record to its values, from rows of id and values."""
        columns = [field.read([values[at] for _, values in rows]) for at, field in enumerate(self._fields)]
        return dict(zip((str(number) for number, _ in rows), zip(*columns, strict=True), strict=True))

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


def _show(row: Sequence[Value]) -> list[Any]:
    """Values as Odoo shows them: False where there is none."""
    return [False if value is None else value for value in row]


def is_id(record_id: str) -> bool:
    """Whether a text can be the id of a record of Odoo, and is how we write that id."""
    return record_id.isascii() and record_id.isdigit() and record_id[0] != "0" and int(record_id) < 2**31
