"""Reading a sample of what was written back from the CRM, in requests of its own.

A value that is as it was before was not kept by the CRM, whatever it said: it is rejected, loudly. A value
that is neither was changed by somebody since: a conflict, which the next run finds, too, and does not
overwrite.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from pipeline.adapters.patient import BudgetError, PatientTarget
from pipeline.adapters.target import TargetTable, Value, WriteBatch
from pipeline.ledger import Ledger
from pipeline.ledger_writes import State, Write
from pipeline.write_batches import Sent
from pipeline.write_view import SAMPLE

LATE_S = (1.0, 2.0, 4.0)
"""Seconds until an old value is read once more: a CRM may answer from a copy that is a little late."""


@dataclass(frozen=True)
class ReadBack:
    """What reading back a table found.

    Parameters
    ----------
    records : int
        Records that were read.
    rejected : tuple of Write
        Values that the CRM did not keep.
    conflicts : tuple of Write
        Values that somebody has changed since.

    """

    records: int = 0
    rejected: tuple[Write, ...] = ()
    conflicts: tuple[Write, ...] = ()


@dataclass(frozen=True)
class _Place:
    """One record of a batch that was sent."""

    number: int
    batch: WriteBatch
    at: int

    @property
    def record_id(self) -> str:
        return self.batch.ids[self.at]

    def cells(self) -> Iterator[tuple[str, Value, Value]]:
        """Yield field, old and new value."""
        for name, olds, news in zip(self.batch.fields, self.batch.expected, self.batch.values, strict=True):
            yield name, olds[self.at], news[self.at]


def read_back(ledger: Ledger, target: PatientTarget, run_id: str, table: TargetTable, sent: Sequence[Sent]) -> ReadBack:
    """Read a sample of the records that were written, and note in the ledger what the CRM did not keep.

    Parameters
    ----------
    ledger : Ledger
        Where it is noted.
    target : PatientTarget
        The CRM.
    run_id : str
        The run; the sample depends on it and on nothing else.
    table : TargetTable
        The table.
    sent : sequence of Sent
        What was written to it.

    """
    places = _sample(sent, run_id)
    fields = list(dict.fromkeys(name for place in places for name in place.batch.fields))
    try:
        found = _read(target, table, places, fields)
        for seconds in LATE_S:
            late = [place for place in places if _is_as_before(place, found)]
            if not late:
                break
            target.patience.wait(seconds)
            found |= _read(target, table, late, fields)
    except BudgetError:
        return ReadBack()
    odd = [write for place in places for write in _judge(place, found, run_id, table)]
    rejected = [write for write in odd if write.state == "rejected"]
    conflicts = [write for write in odd if write.state == "conflict"]
    ledger.writes.resolve(rejected)
    return ReadBack(len(places), tuple(rejected), tuple(conflicts))


def _sample(sent: Sequence[Sent], run_id: str) -> list[_Place]:
    """Records that were written: all, or as many as are read back."""
    counts = [_done(one) for one in sent]
    total = sum(map(len, counts))
    chosen = range(total) if total <= SAMPLE else _choose(total, run_id)
    starts = np.cumsum([0, *map(len, counts)])
    found = []
    for number in chosen:
        which = int(np.searchsorted(starts, number, side="right")) - 1
        found.append(_Place(sent[which].number, sent[which].batch, counts[which][number - int(starts[which])]))
    return found


def _choose(total: int, run_id: str) -> list[int]:
    chosen = np.random.default_rng(crc32(run_id.encode())).choice(total, SAMPLE, replace=False)
    return sorted(chosen.tolist())


def _done(sent: Sent) -> Sequence[int]:
    """Places of the records of a batch that are done."""
    if sent.is_done:
        return range(len(sent.results))
    return [at for at, result in enumerate(sent.results) if result.status == "done"]


def _read(
    target: PatientTarget, table: TargetTable, places: Sequence[_Place], fields: Sequence[str]
) -> dict[str, dict[str, Value] | None]:
    """What records have now; None for those that are not there."""
    ids = [place.record_id for place in places]
    values = target.read_fields(table, ids, fields) if ids else None
    found: dict[str, dict[str, Value] | None] = dict.fromkeys(ids)
    for at, record_id in enumerate(values.ids if values else ()):
        found[record_id] = {name: column[at] for name, column in values.columns.items()}  # type: ignore[union-attr]
    return found


def _is_as_before(place: _Place, found: Mapping[str, Mapping[str, Value] | None]) -> bool:
    """Whether a record looks as if it had not been written."""
    record = found[place.record_id]
    if place.batch.action != "update":
        return (record is None) == (place.batch.action == "insert")
    return record is not None and any(record[name] == old != new for name, old, new in place.cells())


def _judge(
    place: _Place, found: Mapping[str, Mapping[str, Value] | None], run_id: str, table: TargetTable
) -> Iterator[Write]:
    """Values of a record that are not what was written."""
    record, action = found[place.record_id], place.batch.action
    if _is_as_before(place, found) and action != "update":
        yield from _lose(place, run_id, table, "it is there" if action == "delete" else "there is no record")
    elif record is not None:
        odd = [(name, old, new) for name, old, new in place.cells() if record[name] != new]
        for name, old, new in odd:
            state: State = "rejected" if record[name] == old and action == "update" else "conflict"
            said = "the CRM did not keep it, it has" if state == "rejected" else "changed since it was written to"
            write = Write(run_id, table.name, place.record_id, name, old, new, state, action, batch=place.number)
            yield replace(write, error=f"{said} {record[name]!r}")


def _lose(place: _Place, run_id: str, table: TargetTable, found: str) -> Iterator[Write]:
    """Values of a record that the CRM did not add or remove, whatever it said."""
    error = f"the CRM did not keep it, {found}"
    for name, old, new in place.cells():
        yield Write(
            run_id, table.name, place.record_id, name, old, new, "rejected", place.batch.action, 0, error, place.number
        )
