"""One table as the CRM has it now, beside what the ledger knows of it.

A job that was killed leaves interrupted writes in the ledger. They are resolved by the same reading: the
field has the new value: it was written; the old one: it was not; anything else: a conflict.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from pipeline.adapters.patient import BudgetError, PatientTarget
from pipeline.adapters.target import FieldValues, TargetTable, Value
from pipeline.config import Config
from pipeline.crm import Crm
from pipeline.field_values import check_write_back
from pipeline.ledger import Ledger
from pipeline.ledger_writes import State, Write
from pipeline.write_compare import Column, Current, Known, align

CountChanges = Callable[[Current, int], int]

SAMPLE = 1000
"""Records of a table that are read back in the end, at most."""


@dataclass(frozen=True)
class View:
    """What records of one table have now, and what the ledger knows of its fields."""

    table: TargetTable
    current: Current
    known: Mapping[str, Known]
    resolved: tuple[Write, ...]


def find_size(config: Config, crm: Crm) -> int:
    """Records per batch."""
    most = crm.target.capabilities().max_batch
    return min(check_write_back(config).batch_rows or most, most)


def keep_for_read_back(crm: Crm, tables: int) -> None:
    """Keep as many requests of the budget as reading a sample of every table takes."""
    crm.patience.kept = tables * ceil(SAMPLE / crm.target.read_size)


def read_view(
    ledger: Ledger,
    target: PatientTarget,
    table: TargetTable,
    fields: Sequence[str],
    ids: list[str],
    count: CountChanges,
    size: int,
) -> View:
    """Read what records have now, what became of interrupted writes, and what we wrote last.

    Parameters
    ----------
    ledger : Ledger
        What was written before.
    target : PatientTarget
        The CRM.
    table, fields
        What is looked at.
    ids : list of str
        Records, the most valuable first; of these the view has as many as the budget has room for.
    count : callable
        Tells how many of some records, read from a place on, are going to be written.
    size : int
        Records per batch.

    """
    interrupted = [write for write in ledger.writes.interrupted(table.name) if write.field in fields]
    before = list(dict.fromkeys(write.record_id for write in interrupted))
    known_before = align(target.read_fields(table, before, fields), before, fields) if before else None
    places = {record_id: at for at, record_id in enumerate(before)}
    resolved = tuple(_resolve(write, _record(known_before, places[write.record_id])) for write in interrupted)
    current = _read_current(target, table, fields, ids, count, size)
    last = ledger.writes.last_values(table.name, fields, current.ids)
    ended: dict[str, list[Write]] = {name: [] for name in fields}
    for write in resolved:
        ended[write.field].append(write)
    contested = ledger.writes.contested(table.name, fields)
    known = {name: Known.of(last.get(name), ended[name], contested[name]) for name in fields}
    return View(table, current, known, resolved)


def _read_current(
    target: PatientTarget,
    table: TargetTable,
    fields: Sequence[str],
    ids: list[str],
    count: CountChanges,
    size: int,
) -> Current:
    """Read as many records as the budget has room for, which includes writing those of them that change."""
    if target.patience.left is None:
        return align(target.read_fields(table, ids, fields), ids, fields)
    found = FieldValues([], {name: [] for name in fields})
    read = changes = 0
    parts = target.read_parts(table, ids, fields)
    while read < len(ids) and target.patience.left > ceil(changes / size) * target.per_batch:
        try:
            part = next(parts)
        except BudgetError:
            break
        some = ids[read : read + target.read_size]
        changes += count(align(part, some, fields), read)
        read += len(some)
        found.ids.extend(part.ids)
        for name in fields:
            found.columns[name].extend(part.columns[name])
    return align(found, ids[:read], fields)


def count_changes(wanted: Mapping[str, Column], part: Current, start: int) -> int:
    """How many records, of those from a place on, do not have what is wanted."""
    end = start + len(part.ids)
    columns = [(part.columns[name], column[start:end]) for name, column in wanted.items()]
    return sum(any(olds[at] != news[at] for olds, news in columns) for at in np.flatnonzero(part.there))


def _record(found: Current | None, at: int) -> Mapping[str, Value] | None:
    """What the record at a place has now, None if it is gone."""
    if found is None:
        return None
    return {name: column[at] for name, column in found.columns.items()} if found.there[at] else None


def _resolve(write: Write, record: Mapping[str, Value] | None) -> Write:
    """Find out what became of an interrupted write from what its record has now."""
    if record is None:
        ends: dict[str, State] = {"delete": "done", "insert": "dropped"}
        return replace(write, state=ends.get(write.action, "missing"), error=None)
    found = record[write.field]
    if found == write.new and write.action != "delete":
        return replace(write, state="done", error=None)
    if found == write.old:
        return replace(write, state="dropped", error="the job ended before it was written")
    return replace(write, state="conflict", error=f"expected {write.old!r}, found {found!r}")
