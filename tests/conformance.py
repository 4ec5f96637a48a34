"""What every adapter must pass, whichever CRM it is for.

Write a `Subject` for your CRM, add it to test_conformance.py, and run it: on a fake server first, on the real one
then. What the CRM cannot do, it says in its `Traits`: the classes for that are left out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import pytest

from pipeline.adapters.target import (
    Action,
    FollowUpAdapter,
    HistoryAdapter,
    RecordResult,
    TargetAdapter,
    TargetTable,
    Value,
    WriteBatch,
)
from pipeline.errors import ConfigError

Row = tuple[Value, Value, Value]
"""Score, grade and reasons of a record: a number, a short text, a long text."""

TEXTS = ("A", "客户活跃 · 跟进", "🙂👩‍👧", "two\nlines", 'it\'s "quoted" \\ 100 %', "<b>&amp;</b>", "\u00e9", "e\u0301")
"""The last two look alike and are not equal."""
NUMBERS = (0.1, 1 / 3, -2.5, 123456.789, 1e-9, 0.30000000000000004)
OLD: Row = (0.25, "B", "old reasons")
NEW: Row = (0.75, "A", "客户活跃")


@dataclass
class Traits:
    """What a CRM can do.

    Parameters
    ----------
    refused : tuple or None
        A row that it cannot store, None if it stores everything.
    has_null_numbers : bool
        Whether a number may be null; where it cannot, null is 0.
    archives : bool
        Whether records may be archived.
    adds_records : bool
        Whether records may be inserted and deleted.
    has_history, has_tasks : bool
        Whether there is an adapter for the history of scores, and one for tasks.
    many : int
        How many records a large batch of these tests has, where the CRM takes as many.

    """

    refused: Row | None = None
    has_null_numbers: bool = True
    archives: bool = False
    adds_records: bool = True
    has_history: bool = True
    has_tasks: bool = True
    many: int = 250


class Subject(Protocol):
    """One CRM with an empty table, and what another program can do to it."""

    table: TargetTable
    fields: tuple[str, str, str]
    absent: str
    traits: Traits

    def open(self) -> AbstractContextManager[TargetAdapter]:
        """Open the adapter."""
        ...

    def make(self, rows: Sequence[Row]) -> list[str]:
        """Add records whose owner is somebody; returns their ids."""
        ...

    def edit(self, record_id: str, name: str, value: Value) -> None:
        """Edit a field as a person does."""
        ...

    def delete(self, record_id: str) -> None:
        """Delete a record as a person does."""
        ...

    def archive(self, record_id: str) -> None:
        """Archive a record as a person does."""
        ...

    def read(self, record_id: str) -> Row | None:
        """Fields of a record as another program sees them."""
        ...

    def count(self) -> int:
        """Count the records, archived ones too."""
        ...

    def writes(self) -> Counter[tuple[str, str]] | None:
        """How often the adapter has changed the value of each (record, field); None if that is not known."""
        ...

    def open_history(self) -> AbstractContextManager[HistoryAdapter]:
        """Open the adapter of the history, whose table or model is there."""
        ...

    def open_follow_ups(self) -> AbstractContextManager[FollowUpAdapter]:
        """Open the adapter of the tasks."""
        ...

    def close_task(self, task_id: str) -> None:
        """Close a task as a person does."""
        ...


def batch_of(
    subject: Subject,
    rows: Mapping[str, tuple[Row, Row]],
    action: Action = "update",
    fields: Sequence[int] = (0, 1, 2),
) -> WriteBatch:
    """A batch of records, each with what it is expected to have and what it gets."""
    columns = [[[row[side][k] for row in rows.values()] for k in fields] for side in (0, 1)]
    names = tuple(subject.fields[k] for k in fields)
    return WriteBatch(subject.table, action, names, list(rows), columns[0], columns[1], "r1/1")


def write(subject: Subject, rows: Mapping[str, tuple[Row, Row]], action: Action = "update") -> list[RecordResult]:
    """Write one batch through an adapter of its own, as a job does."""
    with subject.open() as adapter:
        return list(adapter.write_batch(batch_of(subject, rows, action)))


def statuses(results: Sequence[RecordResult]) -> list[tuple[str, str]]:
    return [(result.record_id, result.status) for result in results]


def read_rows(subject: Subject, ids: Sequence[str]) -> dict[str, Row]:
    """Fields of records as the adapter reads them."""
    with subject.open() as adapter:
        found = adapter.read_fields(subject.table, ids, subject.fields)
    assert set(found.columns) == set(subject.fields)
    assert all(len(column) == len(found.ids) for column in found.columns.values())
    assert len(found.ids) == len(set(found.ids))
    return {one: tuple(found.columns[name][i] for name in subject.fields) for i, one in enumerate(found.ids)}  # type: ignore[misc]


def check_written_once(subject: Subject, ids: Sequence[str]) -> None:
    """Every field of these records has been changed once, and nothing else."""
    counted = subject.writes()
    if counted is not None:
        assert counted == Counter((one, name) for one in ids for name in subject.fields)


class DescribeConformance:
    """The catalogue of the CRM, and what the adapter says of itself."""

    def test_fields_are_described_by_name(self, subject: Subject) -> None:
        with subject.open() as adapter:
            described = adapter.describe(subject.table, subject.fields)
        assert list(described) == list(subject.fields)
        kinds = [described[name].kind for name in subject.fields]
        assert kinds[0] in ("number", "unknown")
        assert {*kinds[1:]} <= {"text", "unknown"}

    def test_an_unknown_field_is_an_error_that_names_the_nearest(self, subject: Subject) -> None:
        wrong = subject.fields[1] + "x"
        with subject.open() as adapter, pytest.raises(ConfigError, match=f"{wrong}'.*'{subject.fields[1]}'"):
            adapter.describe(subject.table, [wrong])

    def test_an_unknown_table_is_an_error(self, subject: Subject) -> None:
        wrong = TargetTable(subject.table.name + "x", subject.table.key)
        with subject.open() as adapter, pytest.raises(ConfigError, match=f"'{wrong.name}'"):
            adapter.describe(wrong, subject.fields)

    def test_an_unknown_key_is_an_error(self, subject: Subject) -> None:
        wrong = TargetTable(subject.table.name, "nothing_like_it")
        with subject.open() as adapter, pytest.raises(ConfigError, match="nothing_like_it"):
            adapter.describe(wrong, subject.fields)

    def test_the_limits_are_told(self, subject: Subject) -> None:
        with subject.open() as adapter:
            limits = adapter.capabilities()
        assert limits.max_batch >= 1
        assert limits.failure in ("atomic", "partial")
        assert limits.rate_per_second is None or limits.rate_per_second > 0

    def test_requests_are_counted_from_the_opening(self, subject: Subject) -> None:
        ids = subject.make([OLD])
        with subject.open() as adapter:
            counts = [adapter.requests]
            adapter.read_fields(subject.table, ids, subject.fields)
            counts.append(adapter.requests)
            adapter.write_batch(batch_of(subject, {ids[0]: (OLD, NEW)}))
            counts.append(adapter.requests)
        assert counts == sorted(set(counts))
        with subject.open() as adapter:
            assert adapter.requests <= counts[0]


class ReadConformance:
    """What is read is what is there."""

    def test_records_that_do_not_exist_are_absent(self, subject: Subject) -> None:
        here, gone = subject.make([OLD, NEW])
        subject.delete(gone)
        assert read_rows(subject, [here, gone, subject.absent, "no id", ""]) == {here: OLD}

    def test_nothing_is_read_of_nobody(self, subject: Subject) -> None:
        assert read_rows(subject, []) == {}

    def test_nulls_are_none(self, subject: Subject) -> None:
        (one,) = subject.make([(None, None, None)])
        assert read_rows(subject, [one]) == {one: (None if subject.traits.has_null_numbers else 0.0, None, None)}

    def test_texts_of_any_kind_are_read_as_they_are(self, subject: Subject) -> None:
        rows: list[Row] = [(0.5, text, text) for text in TEXTS]
        ids = subject.make(rows)
        assert read_rows(subject, ids) == dict(zip(ids, rows, strict=True))

    def test_numbers_are_read_to_the_bit(self, subject: Subject) -> None:
        rows: list[Row] = [(number, "A", None) for number in NUMBERS]
        ids = subject.make(rows)
        assert read_rows(subject, ids) == dict(zip(ids, rows, strict=True))

    def test_more_records_than_a_batch_holds_are_read(self, subject: Subject) -> None:
        with subject.open() as adapter:
            many = min(adapter.capabilities().max_batch + 1, subject.traits.many)
        ids = subject.make([OLD] * many)
        assert read_rows(subject, ids) == dict.fromkeys(ids, OLD)
