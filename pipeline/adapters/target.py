"""What every CRM that scores are written to must be able to do.

A value is plain: text, number, flag or null. Times are text in UTC (`2024-05-01 02:00:00`). An
adapter translates between plain values and what its CRM stores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Value = str | float | bool | bytes | None
"""A plain value; bytes only ever come from a CRM, they are never written."""

Action = Literal["update", "insert", "delete"]
Status = Literal["done", "conflict", "missing", "rejected", "retry"]
FieldKind = Literal["text", "number", "integer", "flag", "time", "date", "unknown", "other"]


@dataclass(frozen=True)
class Capabilities:
    """The limits of a CRM.

    Parameters
    ----------
    max_batch : int
        Records per request.
    per_record_values : bool
        Whether one request may carry different values for different records.
    failure : "atomic" or "partial"
        Whether one bad record fails its whole batch.
    rate_per_second : float or None
        Requests per second, None for no limit.
    max_read : int or None
        Records per request that only reads, None for `max_batch`.
    requests_per_batch : int
        What writing a batch is taken to cost until it is seen: reading, writing, reading back.
    writers : int
        Batches that it takes at the same time, from threads of ours; each is then one request.

    """

    max_batch: int
    per_record_values: bool
    failure: Literal["atomic", "partial"]
    rate_per_second: float | None
    max_read: int | None = None
    requests_per_batch: int = 3
    writers: int = 1


@dataclass(frozen=True)
class TargetTable:
    """A table of the CRM and the column that identifies its records."""

    name: str
    key: str


@dataclass(frozen=True)
class TargetField:
    """One field as the CRM declares it.

    Parameters
    ----------
    name : str
        Name of the field.
    kind : str
        What it holds; "unknown" takes anything, "other" takes nothing that we have.
    decimals : int or None
        Digits after the point it keeps (of the seconds, in a time), None for as many as there are.
    length : int or None
        Characters it keeps, None for as many as there are.
    empty : Value
        What it has where a value is null: 0.0 in a number of Odoo, which knows no null.

    """

    name: str
    kind: FieldKind
    decimals: int | None = None
    length: int | None = None
    empty: Value = None


@dataclass(frozen=True, slots=True)
class FieldValues:
    """What records have in some fields now, column by column.

    Parameters
    ----------
    ids : list of str
        The records that exist, each once, in any order.
    columns : mapping of str to list of Value
        Field to its value in each of these records.

    """

    ids: list[str]
    columns: Mapping[str, list[Value]]


@dataclass(frozen=True, slots=True)
class WriteBatch:
    """Records of one table that get values in the same fields, column by column.

    Parameters
    ----------
    table : TargetTable
        Which table.
    action : "update", "insert" or "delete"
        insert: the records do not exist yet and are added; delete: they are removed.
    fields : tuple of str
        Fields that are written.
    ids : list of str
        The records, each once.
    expected : list of lists of Value
        One list for each field, as long as `ids`: what each record must still have. Nulls for an insert.
    values : list of lists of Value
        The same for what each record gets; not looked at for a delete.
    key : str
        Names this batch: sent twice, it must count once.

    """

    table: TargetTable
    action: Action
    fields: tuple[str, ...]
    ids: list[str]
    expected: list[list[Value]]
    values: list[list[Value]]
    key: str


class RecordResult(NamedTuple):
    """What became of one record of a batch; a record is written whole or not at all.

    Parameters
    ----------
    record_id : str
        Which record.
    status : str
        done: all of its fields were read back with their new values; conflict: one of them no longer had
        the expected value, so nothing was written; missing: the record does not exist; rejected: the CRM
        refuses a value, now and later; retry: nothing was written and it may work later.
    message : str or None
        The reason, if it is not done.

    """

    record_id: str
    status: Status
    message: str | None = None


class TargetAdapter(Protocol):
    """A CRM that scores are written to."""

    def capabilities(self) -> Capabilities:
        """Limits of this CRM."""
        ...

    def describe(self, target: TargetTable, fields: Sequence[str]) -> Mapping[str, TargetField]:
        """Look fields up in the CRM's own catalogue.

        Raises
        ------
        ConfigError
            If the table, its key or a field does not exist; the text names the nearest one.

        """
        ...

    @property
    def requests(self) -> int:
        """Requests sent to the CRM since this adapter was opened; what a budget is counted in."""
        ...

    def read_fields(self, table: TargetTable, ids: Sequence[str], fields: Sequence[str]) -> FieldValues:
        """Read fields of records; records that do not exist are absent.

        Raises
        ------
        PassingCrmError
            If it may work when tried again.
        CrmError
            If the CRM did not answer as it should.

        """
        ...

    def write_batch(self, batch: WriteBatch) -> Sequence[RecordResult]:
        """Write one batch and say for each record, in the order of `ids`, what became of it.

        A record that has all of the values already is done: a batch that is sent again, because nobody
        knows what became of it, writes nothing twice. Where the CRM is atomic, a batch that it refuses
        as a whole is `rejected` for every record, and the caller halves it.

        Raises
        ------
        PassingCrmError
            If it may work when tried again; what was written is found out by sending the batch again.
        CrmError
            If the CRM did not answer as it should.

        """
        ...


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One score as it was given; unique for each run, entity, target and horizon. `value` is that of a value target."""

    run_id: str
    entity_id: str
    as_of: str
    target: str
    horizon_days: int
    probability: float | None
    grade: str | None
    reasons_en: str | None
    reasons_zh: str | None
    model_version: str | None
    value: float | None = None

    @property
    def key(self) -> str:
        """What is unique, in one text."""
        return f"{self.run_id}/{self.target}/{self.horizon_days}/{self.entity_id}"


class HistoryAdapter(Protocol):
    """A table or model of our own in the CRM with every score that was given."""

    def history_keys(self, run_id: str) -> set[str]:
        """Return the keys of the rows of a run that are there."""
        ...

    def add_history(self, rows: Sequence[HistoryRow]) -> None:
        """Add rows, all or none of one call, none of which is there; at most `max_batch` of the CRM's capabilities."""
        ...

    def remove_history(self, run_id: str) -> int:
        """Remove the rows of a run; returns how many there were."""
        ...

    def forget_history(self, entities: Mapping[str, Sequence[str]]) -> int:
        """Remove every row of some entities, given as target to ids, whatever the run; returns how many there were."""
        ...


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A task for the owner of a record: one early-warning flag that somebody should look after.

    Parameters
    ----------
    key : str
        Target, entity and flag: what must not be there twice while it is open.
    table : TargetTable
        Table of the record.
    record_id : str
        The record.
    summary, note : str
        One line, and what else is known; plain text.
    due_on : str
        Day by which it should be done, such as `2024-05-03`.
    run_id : str
        The run that raised it.

    """

    key: str
    table: TargetTable
    record_id: str
    summary: str
    note: str
    due_on: str
    run_id: str = ""


class FollowUpAdapter(Protocol):
    """Tasks for people in the CRM."""

    def open_follow_ups(self) -> Mapping[str, str]:
        """Return the tasks of ours that nobody has closed: key to the CRM's id of the task."""
        ...

    def add_follow_ups(self, tasks: Sequence[FollowUp]) -> Mapping[str, RecordResult]:
        """Add tasks for the owners of their records: key to what became of it.

        `record_id` of a result that is done is the CRM's id of the task; a record without an owner, or
        that does not exist, is `missing`.
        """
        ...

    def close_follow_ups(self, task_ids: Sequence[str]) -> None:
        """Take tasks back; one that somebody has closed stays as it is."""
        ...

    def forget_follow_ups(self, task_ids: Sequence[str]) -> None:
        """Remove tasks, closed ones too, with all that they say; those that are not there are no error."""
        ...
