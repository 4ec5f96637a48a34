"""Records in memory that answer as Odoo 19's models do: what a fake server serves."""

import fnmatch
import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

EMPTY: Mapping[str, Any] = {"float": 0.0, "integer": 0, "monetary": 0.0, "one2many": [], "many2many": []}
"""What a field without a value is read as; False for all other types."""

MAGIC = {
    "id": {"type": "integer", "readonly": True},
    "create_date": {"type": "datetime", "readonly": True},
    "write_date": {"type": "datetime", "readonly": True},
    "write_uid": {"type": "integer", "readonly": True},
}

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class OdooError(Exception):
    """An exception of Odoo: its status, its name and its message."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = name


def refuse_value(message: str) -> OdooError:
    """What Odoo answers where Python raised a ValueError."""
    return OdooError(500, "builtins.ValueError", message)


@dataclass
class FakeModel:
    """One model: its fields as `fields_get` tells them, and its records by id.

    `written` counts how often each (id, field) got another value; `before` are called once each, before
    the next call of a method, as another user who is faster.
    """

    name: str
    fields: dict[str, dict[str, Any]]
    records: dict[int, dict[str, Any]] = field(default_factory=dict)
    written: Counter[tuple[int, str]] = field(default_factory=Counter)
    forbidden: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fields = {**deepcopy(MAGIC), **self.fields}

    def add(self, values: Mapping[str, Any], user: str = "admin", record_id: int | None = None) -> int:
        """Add a record and return its id."""
        now = _now()
        number = record_id or max(self.records, default=0) + 1
        start = {"active": True} if "active" in self.fields else {}
        stored = {name: self.store(name, value) for name, value in {**start, **values}.items()}
        self.records[number] = {**stored, "create_date": now, "write_date": now, "write_uid": user}
        return number

    def change(self, numbers: Sequence[int], values: Mapping[str, Any], user: str = "admin") -> None:
        """Write the same values to records."""
        for name in values:
            if name not in self.fields:
                raise refuse_value(f"Invalid field {name!r} in {self.name!r}")
        for number in numbers:
            if number not in self.records:
                raise OdooError(
                    404,
                    "odoo.exceptions.MissingError",
                    f"Record does not exist or has been deleted.\n(Record: {self.name}({number},), User: 5)",
                )
            record = self.records[number]
            for name, value in values.items():
                if name in MAGIC:
                    continue
                stored = self.store(name, value)
                if self.value(number, name) != stored:
                    self.written[number, name] += 1
                record[name] = stored
            record.update(write_date=_now(), write_uid=user)

    def store(self, name: str, value: Any) -> Any:
        """Return what Odoo keeps of a value."""
        if name not in self.fields:
            raise refuse_value(f"Invalid field {name!r} on model {self.name!r}")
        described = self.fields[name]
        kind = described["type"]
        if value is None or value is False:
            return EMPTY.get(kind, False)
        if isinstance(value, str) and "\0" in value:
            raise refuse_value("A string literal cannot contain NUL (0x00) characters.")
        if kind == "selection":
            return self._choose(name, value)
        convert = _CONVERT.get(kind)
        return convert(value, described) if convert else value

    def _choose(self, name: str, value: str) -> Any:
        """Return a value of a selection, which must be one of it."""
        if value and value not in [key for key, _ in self.fields[name]["selection"]]:
            raise refuse_value(f"Wrong value for {self.name}.{name}: {value!r}")
        return value or False

    def find(self, domain: Sequence[Any], context: Mapping[str, Any]) -> list[int]:
        """Return the ids of the records that a domain holds for; archived ones only where they are asked for."""
        names = {str(term[0]) for term in domain if not isinstance(term, str)}
        hidden = "active" in self.fields and context.get("active_test", True) and "active" not in names
        found = [number for number in sorted(self.records) if self._holds(number, list(domain))]
        return [number for number in found if not (hidden and not self.records[number].get("active"))]

    def sort(self, numbers: list[int], order: str | None) -> list[int]:
        """Sort ids by an order such as `write_date desc, id`."""
        for term in reversed((order or "id").split(",")):
            name, *direction = term.split()
            numbers = sorted(numbers, key=lambda number: self.value(number, name), reverse=direction == ["desc"])
        return numbers

    def value(self, number: int, name: str) -> Any:
        """Return the value of a field of a record as it is stored."""
        if name not in self.fields:
            raise refuse_value(f"Invalid field {name!r} on {self.name!r}")
        if name == "id":
            return number
        return self.records[number].get(name, EMPTY.get(self.fields[name]["type"], False))

    def _holds(self, number: int, domain: list[Any]) -> bool:
        """Whether a domain in prefix notation holds for a record."""
        results: list[bool] = []
        for term in reversed(domain):
            if term == "!":
                results.append(not results.pop())
            elif term in ("&", "|"):
                first, second = results.pop(), results.pop()
                results.append((first and second) if term == "&" else (first or second))
            else:
                results.append(self._test(number, *term))
        return all(results)

    def _test(self, number: int, name: str, test: str, wanted: Any) -> bool:
        """Whether one condition holds for a record."""
        if name not in self.fields:
            raise refuse_value(f"Invalid field {self.name}.{name} in condition {(name, test, wanted)!r}")
        found = self.value(number, name)
        if test in ("in", "not in"):
            if name == "id" and any(isinstance(entry, str) for entry in wanted):
                raise OdooError(
                    500, "psycopg2.errors.InvalidTextRepresentation", "invalid input syntax for type integer"
                )
            return (found in wanted) == (test == "in")
        if test in ("=", "!="):
            return (found == wanted) == (test == "=")
        if test in _COMPARE:
            return found is not False and _COMPARE[test](found, wanted)
        pattern = str(wanted).replace("%", "*").replace("_", "?")
        text, low = str(found or ""), test in ("ilike", "=ilike", "not ilike")
        pattern = pattern if test.startswith("=") else f"*{pattern}*"
        holds = fnmatch.fnmatchcase(text.lower() if low else text, pattern.lower() if low else pattern)
        return holds != test.startswith("not")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _make_float(value: Any, described: Mapping[str, Any]) -> float:
    try:
        number = float(value)
    except ValueError as error:
        raise refuse_value(str(error)) from None
    return round(number, described["digits"][1]) if described.get("digits") else number


def _make_char(value: Any, described: Mapping[str, Any]) -> str:
    return str(value)[: described.get("size") or None]


def _make_integer(value: Any, _described: Mapping[str, Any]) -> int:
    number = int(value)
    if abs(number) >= 2**31:
        raise OdooError(500, "psycopg2.errors.NumericValueOutOfRange", "integer out of range\n")
    return number


def _make_time(value: str, _described: Mapping[str, Any]) -> str:
    if len(value) > 19:
        raise refuse_value(f"unconverted data remains: {value[19:]}")
    try:
        return f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        raise refuse_value(f"time data {value!r} does not match format '%Y-%m'") from None


def _make_links(value: Any, _described: Mapping[str, Any]) -> list[int]:
    return [entry for command in value for entry in (command[2] if command[0] == 6 else [command[1]])]


_CONVERT: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "char": _make_char,
    "float": _make_float,
    "monetary": _make_float,
    "integer": _make_integer,
    "datetime": _make_time,
    "one2many": _make_links,
    "many2many": _make_links,
}
