"""What every CRM that scores are written to must be able to do.

A value is plain: text, number, flag or null. Times are text in UTC (`2024-05-01 02:00:00`). An
adapter translates between plain values and what its CRM stores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

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

    """

    max_batch: int
    per_record_values: bool
    failure: Literal["atomic", "partial"]
    rate_per_second: float | None


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
        Digits after the point it keeps, None for as many as there are.
    length : int or None
        Characters it keeps, None for as many as there are.

    """

    name: str
    kind: FieldKind
    decimals: int | None = None
    length: int | None = None


@dataclass(frozen=True, slots=True)
class FieldWrite:
    """One value to write.

    Parameters
    ----------
    record_id : str
        Which record.
    field : str
        Which field of it.
    expected_old : Value
        The value it must still have; anything else is a conflict.
    new : Value
        The value it gets.
    key : str
        Names this write: sent twice, it must count once.
    action : "update", "insert" or "delete"
        insert: the record does not exist yet and is added with all of its writes; delete: the record
        is removed if all of its fields still have their expected values. All writes of one record in
        one call have the same action.

    """

    record_id: str
    field: str
    expected_old: Value
    new: Value
    key: str
    action: Action = "update"


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of one value; `retry` means that nothing was written and it may work later."""

    record_id: str
    field: str
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

    def current_values(
        self, target: TargetTable, ids: Sequence[str], fields: Sequence[str]
    ) -> Mapping[str, Mapping[str, Value]]:
        """Read fields of records: record id to field to plain value; records that do not exist are absent."""
        ...

    def write(self, target: TargetTable, writes: Sequence[FieldWrite]) -> Sequence[WriteResult]:
        """Write one batch and say for each value what became of it, by reading it back.

        Raises
        ------
        CrmError
            If the CRM did not answer; what was written then is found out by reading.

        """
        ...
