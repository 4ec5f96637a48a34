"""Fields of an Odoo model: which of them scores may be written to, and what Odoo makes of a value."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pipeline.adapters.target import FieldKind, TargetField, Value
from pipeline.errors import ConfigError
from pipeline.field_values import nearest

ATTRIBUTES = (
    "type",
    "store",
    "readonly",
    "depends",
    "related",
    "company_dependent",
    "translate",
    "size",
    "digits",
    "selection",
)
"""What `fields_get` is asked for."""

_KINDS: Mapping[str, FieldKind] = MappingProxyType(
    {
        "char": "text",
        "text": "text",
        "selection": "text",
        "float": "number",
        "integer": "integer",
        "boolean": "flag",
        "datetime": "time",
        "date": "date",
    }
)

_EMPTY: Mapping[str, Value] = MappingProxyType({"float": 0.0, "integer": 0, "boolean": False})
"""What a field has that was never filled, or is filled with null; null for all others."""

_OWN_SCORES = frozenset({"probability", "automated_probability"})


@dataclass(frozen=True)
class OdooField:
    """A field that may be written, as Odoo declares it."""

    target: TargetField
    type: str
    choices: frozenset[str] = frozenset()

    def read(self, found: Sequence[Any]) -> list[Value]:
        """Plain values of what Odoo gives: its False is null but in a flag."""
        if self.type == "boolean":
            return list(found)
        return [self.target.empty if value is False else value for value in found]

    def keep(self, values: Sequence[Value]) -> list[Value]:
        """Return the values as they will be read back."""
        return [self.target.empty if value is None else self._convert(value) for value in values]

    def find_fault(self, value: Value) -> str | None:
        """Return why a value cannot be kept, where that is known before it is sent."""
        field = self.target
        if self.type == "selection" and value is not None and value not in self.choices:
            return f"field '{field.name}' has no choice of this name"
        if isinstance(value, str) and field.length is not None and len(value) > field.length:
            return f"field '{field.name}' keeps {field.length} characters, got {len(value)}"
        if isinstance(value, str) and "\0" in value:
            return f"field '{field.name}' cannot keep a NUL character"
        if self.type == "integer" and isinstance(value, int) and abs(value) >= 2**31:
            return f"field '{field.name}' keeps integers below 2,147,483,648"
        return None

    def _convert(self, value: Value) -> Value:
        """Return one value as it will be read back; one of another kind stays, Odoo refuses it."""
        if self.type == "float" and isinstance(value, int | float):
            digits = self.target.decimals
            return (float(value) if digits is None else round(float(value), digits)) + 0.0
        if self.type == "selection" and value == "":
            return None
        if isinstance(value, str) and self.type == "date":
            return value[:10]
        if isinstance(value, str) and self.type == "datetime":
            return f"{value} 00:00:00" if len(value) == len("2024-05-01") else value.replace("T", " ")[:19]
        return value


def find_fields(model: str, fields: Sequence[str], declared: Mapping[str, Mapping[str, Any]]) -> dict[str, OdooField]:
    """Find fields that scores may be written to.

    Parameters
    ----------
    model : str
        The model, for error texts.
    fields : sequence of str
        Names of the fields.
    declared : mapping of str to mapping
        All fields of the model, as `fields_get` tells them.

    Raises
    ------
    ConfigError
        If one does not exist or may not be written; the text says why.

    """
    for name in fields:
        place = f"write_back: field '{name}' of Odoo's model '{model}'"
        if name in _OWN_SCORES:
            raise ConfigError(
                f"{place} is Odoo's own score and is never written: Odoo overwrites it, and sets it to 0 or 100 with "
                "the outcome. Map a field of ours, such as 'x_probability'."
            )
        if not name.startswith("x_"):
            raise ConfigError(f"{place} is not ours: ours begin with 'x_'. Map a field that `crm install` makes.")
        if name not in declared:
            ours = sorted(known for known in declared if known.startswith("x_"))
            hint = nearest(name, ours, "fields of ours") if ours else "It has no field that begins with 'x_'."
            raise ConfigError(f"{place} does not exist. {hint} `leadsieve crm install` makes what the config maps.")
        if reason := _find_obstacle(declared[name]):
            raise ConfigError(f"{place} {reason}. Map a plain field, such as `leadsieve crm install` makes.")
    return {name: make_field(name, declared[name]) for name in fields}


def make_field(name: str, declared: Mapping[str, Any]) -> OdooField:
    """Make a field from what `fields_get` tells of it.

    Examples
    --------
    >>> make_field("x_score", {"type": "float", "digits": [16, 4]}).target
    TargetField(name='x_score', kind='number', decimals=4, length=None, empty=0.0)

    """
    type_, digits = str(declared["type"]), declared.get("digits")
    decimals = int(digits[1]) if digits else 0 if type_ == "datetime" else None
    length = int(declared.get("size") or 0) or None
    target = TargetField(name, _KINDS.get(type_, "other"), decimals, length, _EMPTY.get(type_))
    return OdooField(target, type_, frozenset(str(key) for key, _ in declared.get("selection") or ()))


_OBSTACLES: tuple[tuple[Callable[[Mapping[str, Any]], object], str], ...] = (
    (lambda entry: entry.get("related"), "shows a field of another record"),
    (lambda entry: entry.get("depends"), "is computed by Odoo"),
    (lambda entry: not entry.get("store", True), "is not stored"),
    (lambda entry: entry.get("readonly"), "is read-only"),
    (lambda entry: entry.get("company_dependent"), "has a value for each company"),
    (lambda entry: entry.get("translate"), "has a value for each language"),
)


def _find_obstacle(declared: Mapping[str, Any]) -> str | None:
    """Return why a field may not be written, if it may not."""
    return next((reason for is_so, reason in _OBSTACLES if is_so(declared)), None)
