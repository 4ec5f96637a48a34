"""Comparing what records are to have with what the CRM has now, a column at a time.

A field is compared with its current value in the CRM:

- equal to the wanted value: unchanged;
- equal to what we last wrote, or never written by us: it is changed. A field that the config maps is
  ours, so its first value may replace one that was there before; the ledger keeps that for undo;
- anything else: somebody edited it since our last write, be it by clearing it. That is a conflict, and
  the edit stays, unless the run is told to take the field over;
- no record: missing, or added if the table is one of our own.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import ne
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from pipeline.adapters.target import Action, FieldValues, TargetTable, Value, WriteBatch
from pipeline.ledger_writes import LastValues, Write

Column = list[Value]
Mask = NDArray[np.bool_]
Item = TypeVar("Item")

NEVER = object()
"""Stands for the last value of a field that we have never written."""

BESIDE = frozenset({"reasons_en", "reasons_zh", "as_of", "run_id"})
"""Score values that go with a score: alone they are no reason to write a record."""


@dataclass(frozen=True)
class Current:
    """What records have now: values in the order of `ids`, null where `there` is false."""

    ids: list[str]
    there: Mask
    columns: Mapping[str, Column]


@dataclass(frozen=True)
class Known:
    """What the ledger knows of one field: our last value of each record, and the run that wrote it.

    `contested` are records that somebody edited after a write of ours that was interrupted, so that nobody knows
    whether the field has ever had our value: the edit stays until a run takes the field over.
    """

    values: Mapping[str, Value] = field(default_factory=dict)
    run_ids: Mapping[str, str] = field(default_factory=dict)
    contested: frozenset[str] = frozenset()

    @classmethod
    def of(cls, last: LastValues | None, ended: Iterable[Write] = (), contested: Collection[str] = ()) -> "Known":
        """Make it of the ledger's columns, of interrupted writes that were just found out, and of old conflicts."""
        values = dict(zip(last.ids, last.values, strict=True)) if last else {}
        run_ids = dict(zip(last.ids, last.run_ids, strict=True)) if last else {}
        for write in ended:
            if write.state == "done":
                values[write.record_id], run_ids[write.record_id] = write.new, write.run_id
        edited = {write.record_id for write in ended if write.state == "conflict"}
        return cls(values, run_ids, frozenset(edited.union(set(contested) - values.keys())))


@dataclass(frozen=True)
class Difference:
    """What has to change in a table, by field and place of a record."""

    current: Current
    wanted: Mapping[str, Column]
    changed: Mapping[str, Mask]
    conflicts: Mapping[str, Mask]

    @property
    def records(self) -> Mask:
        """Which records change."""
        return np.asarray(np.logical_or.reduce(list(self.changed.values())), dtype=bool)


def align(found: FieldValues, ids: list[str], fields: Iterable[str]) -> Current:
    """Bring what was read into the order of some ids."""
    if found.ids == ids:
        return Current(ids, np.ones(len(ids), dtype=bool), found.columns)
    place = dict(zip(found.ids, range(len(found.ids)), strict=True))
    places = [place.get(one, -1) for one in ids]
    columns = {name: [*found.columns[name], None] for name in fields}
    aligned = {name: [column[at] for at in places] for name, column in columns.items()}
    return Current(ids, np.asarray(places, dtype=np.int64) >= 0, aligned)


def compare(
    table: TargetTable,
    run_id: str,
    current: Current,
    wanted: Mapping[str, Column],
    known: Mapping[str, Known],
    take_over: bool = False,
) -> Difference:
    """Find the fields that are to be changed and those that somebody edited.

    Raises
    ------
    DataError
        If this run has written another value than it wants now.

    """
    changed: dict[str, Mask] = {}
    conflicts: dict[str, Mask] = {}
    for name, news in wanted.items():
        olds = current.columns[name]
        changed[name] = current.there & np.fromiter(map(ne, olds, news), bool, len(news))
        conflicts[name] = np.zeros(len(news), dtype=bool)
        if not (known[name].values or known[name].contested):
            continue
        places = np.flatnonzero(changed[name])
        foreign = _find_foreign(known[name], [current.ids[at] for at in places], [olds[at] for at in places])
        conflicts[name][places[foreign]] = True
        _check_run(table, run_id, name, known[name], current, changed[name] & ~conflicts[name], news)
        if take_over:
            conflicts[name][:] = False
        changed[name] &= ~conflicts[name]
    return Difference(current, wanted, changed, conflicts)


def _find_foreign(known: Known, ids: Sequence[str], olds: Sequence[Value]) -> Mask:
    """Which of some values are not the ones that we left there."""
    mine = map(known.values.get, ids, repeat(NEVER))
    foreign = [last is not NEVER and last != old for last, old in zip(mine, olds, strict=True)]
    if known.contested:
        foreign = [was or one in known.contested for was, one in zip(foreign, ids, strict=True)]
    return np.asarray(foreign, dtype=bool)


def _check_run(
    table: TargetTable, run_id: str, name: str, known: Known, current: Current, changed: Mask, news: Column
) -> None:
    """Check that a run does not write a second value over its first one."""
    if run_id not in set(known.run_ids.values()):
        return
    for at in np.flatnonzero(changed):
        if known.run_ids.get(current.ids[at]) == run_id:
            raise DataError(
                f"Run '{run_id}' wrote {current.columns[name][at]!r} to '{table.name}.{name}' of record "
                f"'{current.ids[at]}' and now has {news[at]!r}: its scores or their rounding changed after they were "
                "written. Score again, under a new run."
            )


def skip_small(difference: Difference, values: Mapping[str, str], epsilon: float) -> Mask:
    """Take out of a difference the records that hardly change; returns which ones.

    Parameters
    ----------
    difference : Difference
        Its masks of changed fields are narrowed.
    values : mapping of str to str
        CRM field to score value.
    epsilon : float
        A record is skipped if all its numbers change by less than this and its texts do not change;
        reasons, `as_of` and `run_id` do not count.

    """
    if not epsilon:
        return np.zeros(len(difference.current.ids), dtype=bool)
    matters = np.zeros(len(difference.current.ids), dtype=bool)
    for name, changed in difference.changed.items():
        if values[name] in BESIDE:
            continue
        olds, news = difference.current.columns[name], difference.wanted[name]
        places = np.flatnonzero(changed)
        matters[places] |= np.asarray([not _is_near(olds[at], news[at], epsilon) for at in places], dtype=bool)
    skipped = np.asarray(difference.records & ~matters, dtype=bool)
    for changed in difference.changed.values():
        changed &= ~skipped
    return skipped


def _is_near(old: Value, new: Value, epsilon: float) -> bool:
    """Whether two numbers differ by less than epsilon."""
    both = isinstance(old, int | float) and isinstance(new, int | float)
    return both and abs(float(new) - float(old)) < epsilon  # type: ignore[arg-type]


def group_changes(
    table: TargetTable, difference: Difference, size: int, inserted: Mask | None = None
) -> tuple[WriteBatch, ...]:
    """Make batches of the changes: records that change in the same fields go together, best record first.

    Parameters
    ----------
    table : TargetTable
        The table.
    difference : Difference
        What changes in it.
    size : int
        Records per batch.
    inserted : mask or None
        Records that are added with all fields.

    """
    names = tuple(difference.wanted)
    codes = np.zeros(len(difference.current.ids), dtype=np.int64)
    for at, name in enumerate(names):
        codes |= difference.changed[name].astype(np.int64) << at
    found: list[tuple[int, WriteBatch]] = []
    for code in np.unique(codes[codes > 0]).tolist():
        fields = tuple(name for at, name in enumerate(names) if code >> at & 1)
        found += cut_batches(table, "update", fields, difference, np.flatnonzero(codes == code), size)
    if inserted is not None:
        found += cut_batches(table, "insert", names, difference, np.flatnonzero(inserted), size)
    return tuple(batch for _, batch in sorted(found, key=lambda one: one[0]))


def cut_batches(
    table: TargetTable,
    action: Action,
    fields: tuple[str, ...],
    difference: Difference,
    places: NDArray[np.intp],
    size: int,
) -> list[tuple[int, WriteBatch]]:
    """Batches of some records, each with the place of its first record."""
    ids, olds, news = difference.current.ids, difference.current.columns, difference.wanted
    found = []
    for start in range(0, len(places), size):
        part = places[start : start + size].tolist()
        expected, values = ([_take(columns[name], part) for name in fields] for columns in (olds, news))
        found.append((part[0], WriteBatch(table, action, fields, _take(ids, part), expected, values, "")))
    return found


def _take(column: list[Item], places: list[int]) -> list[Item]:
    """Items at some places, which are in order."""
    first, last = places[0], places[-1]
    return column[first : last + 1] if last - first + 1 == len(places) else [column[at] for at in places]


def refuse(
    run_id: str, table: TargetTable, difference: Difference, known: Mapping[str, Known], absent: Collection[int]
) -> tuple[Write, ...]:
    """Writes that end before they are sent: conflicts, then those of records that do not exist, best record first."""
    ids, olds, news = difference.current.ids, difference.current.columns, difference.wanted
    conflicts = np.logical_or.reduce(list(difference.conflicts.values())) if difference.conflicts else []
    found = []
    for at in sorted({*np.flatnonzero(conflicts).tolist(), *absent}):
        for name in news:
            if at in absent:
                error = "the record does not exist"
                found.append(Write(run_id, table.name, ids[at], name, None, news[name][at], "missing", error=error))
            elif difference.conflicts[name][at]:
                old = olds[name][at]
                error = f"we wrote {known[name].values.get(ids[at])!r}, found {old!r}"
                found.append(Write(run_id, table.name, ids[at], name, old, news[name][at], "conflict", error=error))
    return tuple(sorted(found, key=lambda write: write.state))
