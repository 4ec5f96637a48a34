"""What a run wrote to one table, column by column, and what an undo does with each of its values."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import eq, ne
from typing import Any

import numpy as np

from pipeline.adapters.target import Value
from pipeline.ledger_batches import StoredBatch
from pipeline.ledger_writes import Write
from pipeline.write_compare import Column, Current, Known, Mask

UNDO_PREFIX = "undo-"
"""The undo of run R is itself a run, named `undo-R`."""


@dataclass(frozen=True)
class WrittenField:
    """What a run wrote to one field, by place of a record.

    Parameters
    ----------
    old, new : list of Value
        What the record had before, and what it got.
    done : mask
        Values that the CRM got.
    intended : mask
        Values of a job that was killed, which it may have got.
    added : mask
        Values that came with a record that the run added.

    """

    old: Column
    new: Column
    done: Mask
    intended: Mask
    added: Mask

    @classmethod
    def empty(cls, count: int) -> "WrittenField":
        """Return a field of which no record was written."""
        done, intended, added = np.zeros((3, count), dtype=bool)
        return cls([None] * count, [None] * count, done, intended, added)

    @property
    def looked_for(self) -> Mask:
        """Which values the CRM has got, or may have."""
        return np.asarray(self.done | self.intended, dtype=bool)

    def upto(self, count: int) -> "WrittenField":
        """Return the first records."""
        masks = self.done[:count], self.intended[:count], self.added[:count]
        return WrittenField(self.old[:count], self.new[:count], *masks)


@dataclass(frozen=True)
class Written:
    """What a run wrote to one table: records in the order in which they were sent, and their place in it."""

    places: Mapping[str, int]
    fields: Mapping[str, WrittenField]

    @classmethod
    def of(cls, batches: Sequence[StoredBatch], singles: Sequence[Write]) -> "Written":
        """Make it of batches, and of values that are stored one by one."""
        ids = dict.fromkeys(one for batch in batches for one in batch.ids)
        ids.update(dict.fromkeys(write.record_id for write in singles))
        places = dict(zip(ids, range(len(ids)), strict=True))
        names = [name for batch in batches for name in batch.fields] + [write.field for write in singles]
        found = cls(places, {name: WrittenField.empty(len(ids)) for name in dict.fromkeys(names)})
        for batch in batches:
            at = [places[one] for one in batch.ids]
            for name, old, new in zip(batch.fields, batch.old, batch.new, strict=True):
                found._put(name, at, old, new, batch.end.state == "done", batch.action == "insert")
        for write in singles:
            at = [places[write.record_id]]
            found._put(write.field, at, [write.old], [write.new], write.state == "done", write.action == "insert")
        return found

    def _put(
        self, name: str, places: list[int], old: Sequence[Value], new: Sequence[Value], is_done: bool, is_added: bool
    ) -> None:
        """Put values of a field in their places."""
        field = self.fields[name]
        for at, was, became in zip(places, old, new, strict=True):
            field.old[at], field.new[at] = was, became
        (field.done if is_done else field.intended)[places] = True
        field.added[places] = is_added

    def resolve(self, run_id: str, ended: Sequence[Write]) -> None:
        """Note which of the run's intended values the CRM has got, of all that were found out by reading."""
        for write in ended:
            if write.run_id == run_id and write.state == "done":
                self.fields[write.field].done[self.places[write.record_id]] = True

    def count_still(self, part: Current, start: int) -> int:
        """How many records, of those from a place on, still have a value that the run wrote."""
        still = np.zeros(len(part.ids), dtype=bool)
        for name, field in self.fields.items():
            here = slice(start, start + len(part.ids))
            still |= field.looked_for[here] & _where(eq, part.columns[name], field.new[here])
        return int((still & part.there).sum())

    def count_waiting(self, looked_at: int) -> int:
        """How many values are of records that were not looked at."""
        return sum(int(field.looked_for[looked_at:].sum()) for field in self.fields.values())


@dataclass(frozen=True)
class Undone:
    """What an undo does with the values of one field: at each place at most one of these is true."""

    unchanged: Mask
    missing: Mask
    superseded: Mask
    conflict: Mask
    put_back: Mask

    @classmethod
    def of(cls, written: WrittenField, current: Current, found: Column, known: Known, run_id: str) -> "Undone":
        """Judge what a run wrote to a field by what its records have now; all are as long.

        A value is unchanged if it is back already, or if it went with a record that the run had added; missing
        if another record went; superseded if a later run has written the field since, and was not undone; a
        conflict if somebody edited it. Any other one is put back.
        """
        there = written.done & current.there
        gone = written.done & ~current.there
        unchanged = there & ~written.added & _where(eq, found, written.old)
        runs = list(map(known.run_ids.get, current.ids))
        other = there & _where(ne, runs, repeat(run_id))
        superseded = np.zeros_like(there)
        for at in np.flatnonzero(other).tolist():  # few, or all of a run that is not the newest
            last_run = runs[at] or ""
            unchanged[at] |= last_run == UNDO_PREFIX + run_id
            given_back = last_run.startswith(UNDO_PREFIX) and known.values[current.ids[at]] == written.new[at]
            superseded[at] = not (unchanged[at] or given_back)
        open_ones = there & ~unchanged & ~superseded
        edited = _where(ne, found, written.new)
        if known.contested:
            edited |= np.fromiter(map(known.contested.__contains__, current.ids), bool, len(edited))
        return cls(
            unchanged | (gone & written.added),
            gone & ~written.added,
            superseded,
            open_ones & edited,
            open_ones & ~edited,
        )


def _where(test: Callable[[Any, Any], bool], some: Sequence[Any], others: Iterable[Any]) -> Mask:
    """Where a test holds between two columns, as plain values compare."""
    return np.fromiter(map(test, some, others), bool, len(some))
