"""What PostgreSQL delivers in Arrow, as the casts of an extract expect it.

Numerics stay exact, blanks that only fill CHAR(n) go, and the infinite moments that PostgreSQL knows
stay infinite, which makes them values that cannot be read as a time.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

_TYPE, _DIGITS = b"POSTGRESQL:type", b"POSTGRESQL:typmod"
_WIDEST = pa.decimal128(38, 18)
_TOO_LARGE = "^-?[0-9]{21}"
_FIRST_DAY = -2_440_588  # 4714-11-24 BC, the first that PostgreSQL knows, in days since 1970
_DAY = 86_400_000_000
_MINUS = {"time": -9_222_425_352_054_775_808, "date": -2_147_472_691}
"""How the driver delivers minus infinity, after its sum has run over."""


def wrap(query: str, schema: pa.Schema) -> str:
    """Return a query that delivers as text what the driver has no type for (citext, inet, ...).

    Parameters
    ----------
    query : str
        A SELECT.
    schema : pyarrow.Schema
        What it delivers. With a name that comes twice nothing can be wrapped.

    """
    casts = [_cast(field) for field in schema]
    if not any(casts) or len(set(schema.names)) < len(schema.names):
        return query
    names = ['"' + name.replace('"', '""') + '"' for name in schema.names]
    columns = [f"{name}::{cast} AS {name}" if cast else name for name, cast in zip(names, casts, strict=True)]
    return f"SELECT {', '.join(columns)} FROM ({query}\n) AS delivered"  # noqa: S608


def _cast(field: pa.Field) -> str | None:
    kind = _kind(field)
    if kind == "money":
        return "numeric"
    return "text" if isinstance(field.type, pa.OpaqueType) and kind != "numeric" else None


def _kind(field: pa.Field) -> str:
    return str((field.metadata or {}).get(_TYPE, b"").decode())


def to_batch(schema: pa.Schema, columns: Sequence[pa.Array]) -> pa.RecordBatch:
    """Return columns as the driver delivers them in types that an extract can cast."""
    arrays = [_convert(field, column) for field, column in zip(schema, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=schema.names)


def _convert(field: pa.Field, values: pa.Array) -> pa.Array:
    kind = _kind(field)
    if kind == "numeric":
        return _to_decimals(field, values.storage)
    if kind in ("json", "jsonb"):
        return values.storage if isinstance(values, pa.ExtensionArray) else values
    if kind == "bpchar":
        return pc.utf8_rtrim(values, " ")
    if pa.types.is_timestamp(field.type):
        return _mark_infinite(values, pa.int64(), _FIRST_DAY * _DAY, 2**63 - 1, _MINUS["time"])
    if pa.types.is_date32(field.type):
        return _mark_infinite(values, pa.int32(), _FIRST_DAY, 2**31 - 1, _MINUS["date"])
    return values


def _to_decimals(field: pa.Field, texts: pa.Array) -> pa.Array:
    """Exact decimals of as many digits as the column has, else text; NaN is no value.

    A column without declared digits keeps 18 after the point, which are more than any cast keeps.
    """
    kind = _decimal_type(field)
    if kind == _WIDEST and pc.any(pc.match_substring_regex(texts, _TOO_LARGE)).as_py():  # the cast would overflow
        return texts
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        texts = pc.if_else(pc.equal(texts, "nan"), None, texts)
        texts = pc.replace_substring_regex(texts, r"^(-?[0-9]*\.[0-9]{18})[0-9]+$", r"\1")
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        return texts  # infinite, or of more digits than any column of numbers holds


def _decimal_type(field: pa.Field) -> pa.DataType:
    """Return the type of NUMERIC(12, 2), or the widest one for NUMERIC."""
    modifier = int((field.metadata or {}).get(_DIGITS, b"-1")) - 4
    precision, scale = modifier >> 16, modifier & 0x7FF
    return pa.decimal128(precision, scale) if 0 <= scale <= precision <= 38 and precision else _WIDEST


def _mark_infinite(values: pa.Array, kind: pa.DataType, first: int, infinity: int, minus: int) -> pa.Array:
    """Put DuckDB's infinity where PostgreSQL had one, or a moment that no 64 bits hold."""
    numbers = values.cast(kind)
    lowest = pc.min(numbers).as_py()
    if lowest is None or lowest >= first:
        return values
    infinite = pc.if_else(pc.equal(numbers, minus), pa.scalar(-infinity, kind), pa.scalar(infinity, kind))
    return pc.if_else(pc.less(numbers, first), infinite, numbers).cast(values.type)
