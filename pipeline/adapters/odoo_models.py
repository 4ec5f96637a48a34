"""Models of Odoo as Arrow: which fields they have, their records page by page, and whether all of them came."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.adapters.odoo_answers import OdooRefusal
from pipeline.config_source import OdooModel
from pipeline.errors import ConfigError
from pipeline.mapping import nearest

PAGE = 2000
"""Records per request."""

WRITTEN = "write_date"
"""Field that Odoo sets whenever a record is written."""

Call = Callable[..., Any]
"""`call(model, method, **arguments)`."""

_TIME = pa.timestamp("us", tz="UTC")
_TYPES: Mapping[str, pa.DataType] = {
    **dict.fromkeys(("integer", "many2one", "many2one_reference"), pa.int64()),
    **dict.fromkeys(("float", "monetary"), pa.float64()),
    **dict.fromkeys(("char", "text", "html", "selection", "reference"), pa.string()),
    **dict.fromkeys(("many2many", "one2many"), pa.string()),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "datetime": _TIME,
}
_NEVER_EMPTY = frozenset({"boolean", "integer", "float", "monetary"})
"""Types of which `false` is no missing value."""


@dataclass(frozen=True)
class Shape:
    """One model as the SELECTs see it.

    Parameters
    ----------
    name : str
        Its entry in `source.models`.
    model : str
        Its name in Odoo.
    kinds : mapping of field to str
        Odoo's type of each field that is read, `id` first.
    domain : tuple
        Which records.
    context : mapping
        With `active_test: false` where archived records count too.
    absent : str or None
        Why there is nothing to read, of a model that is optional.

    """

    name: str
    model: str
    kinds: Mapping[str, str]
    domain: tuple[Any, ...]
    context: Mapping[str, Any]
    absent: str | None = None

    @property
    def table(self) -> str:
        """Name of the table in the SELECTs."""
        return self.name.replace(".", "_")

    @property
    def schema(self) -> pa.Schema:
        """Arrow types of the fields."""
        return pa.schema([(field, _TYPES[kind]) for field, kind in self.kinds.items()])

    def batch(self, records: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
        """Records as Odoo returns them, as Arrow."""
        columns = [_column([record[field] for record in records], kind) for field, kind in self.kinds.items()]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _column(values: list[Any], kind: str) -> pa.Array:
    """Values of one field as Arrow; Odoo says `false` where there is none."""
    if kind in ("many2many", "one2many"):
        return pa.array([",".join(map(str, value)) if value else None for value in values], pa.string())
    if kind not in _NEVER_EMPTY:
        values = [None if value is False else value for value in values]
    elif kind in ("float", "monetary"):
        return pa.array([float(value) for value in values], pa.float64())
    elif kind == "integer":
        return pa.array([int(value) for value in values], pa.int64())
    if kind == "datetime":
        return pc.assume_timezone(pa.array(values, pa.string()).cast(pa.timestamp("us")), "UTC")
    if kind == "date":
        return pa.array(values, pa.string()).cast(pa.date32())
    return pa.array(values, _TYPES[kind])


def describe_model(call: Call, name: str, asked: OdooModel) -> Shape:
    """Look the fields of a model up in Odoo, and try whether its records may be read.

    Parameters
    ----------
    call : Call
        Calls Odoo.
    name : str
        Its entry in `source.models`.
    asked : OdooModel
        What the entry says.

    Raises
    ------
    ConfigError
        If the model or a field does not exist, cannot be read as a table, or may not be read by this user.

    """
    model = asked.model or name
    fields = tuple(dict.fromkeys(("id", *asked.fields, *((WRITTEN,) if asked.rows_of else ()))))
    context = {"active_test": False} if asked.archived else {}
    kinds: dict[str, str] = {}
    try:
        found = call(model, "fields_get", allfields=list(fields), attributes=["type"])
        kinds = {field: found[field]["type"] for field in fields if field in found}
        _check_fields(call, name, model, fields, kinds)
        call(model, "search", domain=list(asked.domain), limit=1, context=context)
    except OdooRefusal as refusal:
        if refusal.kind == "value":
            raise ConfigError(f"source.models.{name}: {refusal}. Correct its domain.") from None
        if not asked.optional:
            raise ConfigError(f"source.models.{name}: {refusal}. {_remedy(refusal, model)}") from None
        reason = "is not installed" if refusal.kind == "model" else f"may not be read. {_remedy(refusal, model)}"
        kinds = kinds or {field: _guess_kind(field) for field in fields}
        return Shape(name, model, kinds, asked.domain, context, reason)
    return Shape(name, model, kinds, asked.domain, context)


def _check_fields(call: Call, name: str, model: str, fields: Sequence[str], kinds: Mapping[str, str]) -> None:
    """Refuse fields that Odoo does not have, or that are no values."""
    if missing := [field for field in fields if field not in kinds]:
        there = call(model, "fields_get", attributes=["type"])
        raise ConfigError(
            f"source.models.{name} reads field '{missing[0]}', which {model} does not have, or not for this user."
            f"{nearest(missing[0], there)} Correct its fields."
        )
    for field, kind in kinds.items():
        if kind not in _TYPES:
            raise ConfigError(
                f"source.models.{name} reads field '{field}', which is of type {kind} and no value of a table. "
                "Leave it out of its fields."
            )


def _remedy(refusal: OdooRefusal, model: str) -> str:
    """What somebody can do about a model that cannot be read."""
    if refusal.kind == "model":
        return "Install its app, or say `optional: true` and it is an empty table"
    if model in ("mail.tracking.value", "ir.model.fields"):
        return (
            "`leadsieve crm install`, run once by an administrator, makes a group that may read the history of "
            "fields; put this user into it"
        )
    return "Give this user the right to read it, or say `optional: true` and it is an empty table"


def _guess_kind(field: str) -> str:
    """Type of a field of a model that is not there, by how Odoo names fields.

    >>> [_guess_kind(field) for field in ("partner_id", "date_order", "invoice_date", "amount_total", "state")]
    ['many2one', 'datetime', 'date', 'monetary', 'char']
    """
    if field in ("id", "res_id") or field.endswith(("_id", "_uid")):
        return "many2one"
    if field in ("create_date", WRITTEN, "date_order") or field.endswith("_datetime"):
        return "datetime"
    if field == "date" or field.startswith("date_") or field.endswith(("_date", "_date_due")):
        return "date"
    if field == "active" or field.startswith(("is_", "has_")):
        return "boolean"
    return "monetary" if field.startswith("amount_") or field.endswith(("_rate", "_revenue")) else "char"


def since_condition(since: datetime) -> list[Any]:
    """Part of a domain: written at a moment (UTC) or later."""
    return [WRITTEN, ">=", f"{since:%Y-%m-%d %H:%M:%S}"]


def read_pages(call: Call, shape: Shape, domain: Sequence[Any]) -> Iterator[pa.RecordBatch]:
    """Yield the records of a model in the order of their ids, up to the first page that is not full.

    That one need not be the last: of messages Odoo takes out what the user may not see after it has cut the page.
    Whether all came is for Odoo's count to say.

    Parameters
    ----------
    call : Call
        Calls Odoo.
    shape : Shape
        The model.
    domain : sequence
        Which records.

    """
    records: list[dict[str, Any]] = [{"id": 0}] * PAGE
    while len(records) == PAGE:
        records = _read(call, shape, [*domain, ["id", ">", records[-1]["id"]]])
        if records:
            yield shape.batch(records)


def read_some(call: Call, shape: Shape, ids: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """Yield the records of a model with these ids that are still there."""
    for start in range(0, len(ids), PAGE):
        if records := _read(call, shape, [["id", "in", list(ids[start : start + PAGE])]]):
            yield shape.batch(records)


def _read(call: Call, shape: Shape, domain: Sequence[Any]) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = call(
        shape.model,
        "search_read",
        domain=list(domain),
        fields=list(shape.kinds),
        limit=PAGE,
        order="id",
        load=None,  # ids without names, which would each be looked up
        context=dict(shape.context),
    )
    return records


def read_ids(call: Call, shape: Shape, domain: Iterable[Any]) -> list[int]:
    """Ids of the records of a model, rising."""
    ids: list[int] = call(shape.model, "search", domain=list(domain), order="id", context=dict(shape.context))
    return ids


def count_records(call: Call, shape: Shape, domain: Iterable[Any]) -> int:
    """How many records Odoo says there are."""
    return int(call(shape.model, "search_count", domain=list(domain), context=dict(shape.context)))
