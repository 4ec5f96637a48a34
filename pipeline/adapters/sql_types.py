"""Between plain values and what a database stores.

SQLite stores values, not types, so there the stored values are the plain ones: what was read is
exactly what an undo puts back. Other databases are read and written through their column types.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Date, DateTime, Double, Float, Integer, Numeric, String, Text, Uuid
from sqlalchemy.types import NullType, TypeEngine

from pipeline.adapters.target import FieldKind, TargetField, Value

LARGEST_INTEGER = 2**63 - 1


def describe_type(name: str, declared: TypeEngine[Any]) -> TargetField:
    """Describe a column by its declared type.

    Examples
    --------
    >>> describe_type("score", Numeric(5, 2))
    TargetField(name='score', kind='number', decimals=2, length=None, empty=None)

    """
    kinds: tuple[tuple[type[TypeEngine[Any]], FieldKind], ...] = (
        (Boolean, "flag"),
        (DateTime, "time"),
        (Date, "date"),
        (String, "text"),
        (Integer, "integer"),
        (Float, "number"),
        (Numeric, "number"),
        (NullType, "unknown"),
    )
    kind: FieldKind = next((kind for known, kind in kinds if isinstance(declared, known)), "other")
    if isinstance(declared, Numeric) and not isinstance(declared, Float):
        # SQLite reports NUMERIC without digits for any type name it has never heard of
        return TargetField(name, "unknown" if declared.precision is None else kind, decimals=declared.scale)
    return TargetField(name, kind, length=getattr(declared, "length", None) if kind == "text" else None)


def base_type(declared: TypeEngine[Any]) -> TypeEngine[Any]:
    """Type that a column stores: of a domain, the type that it restricts."""
    inner = getattr(declared, "data_type", None)
    return base_type(inner) if isinstance(inner, TypeEngine) else declared


def make_type(kind: FieldKind, is_key: bool = False) -> TypeEngine[Any]:
    """Make the column type of a table of our own."""
    if is_key:
        return String(200)
    types: dict[FieldKind, TypeEngine[Any]] = {
        "number": Double(),
        "integer": Integer(),
        "flag": Boolean(),
        "time": DateTime(),
        "date": Date(),
    }
    return types.get(kind, Text())


def make_bindable(declared: TypeEngine[Any], is_sqlite: bool) -> TypeEngine[Any]:
    """Make the type through which a column is read and compared."""
    if is_sqlite:
        return NullType()
    if isinstance(declared, Numeric) and not isinstance(declared, Float):
        return Numeric(declared.precision, declared.scale, asdecimal=False)
    return declared


def to_plain(stored: Any) -> Value:
    """Plain value of what a database returned."""
    if isinstance(stored, datetime):
        in_utc = stored.astimezone(UTC).replace(tzinfo=None) if stored.tzinfo else stored
        return in_utc.isoformat(sep=" ")
    if isinstance(stored, date):
        return stored.isoformat()
    if isinstance(stored, Decimal):
        return float(stored)
    if isinstance(stored, UUID):
        return str(stored)
    plain: Value = bytes(stored) if isinstance(stored, memoryview) else stored
    return plain


def to_stored(value: Value, bindable: TypeEngine[Any]) -> Any:
    """Return what a column takes for a plain value."""
    try:
        if isinstance(value, str) and isinstance(bindable, DateTime):
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if bindable.timezone else moment
        if isinstance(value, str) and isinstance(bindable, Date):
            return date.fromisoformat(value)
    except ValueError:
        pass  # a moment that only the database knows, such as infinity
    return value


def to_record_id(stored: Any) -> str:
    """Record id, always text, of a key as stored.

    Examples
    --------
    >>> to_record_id(17), to_record_id(13085.0), to_record_id("A-1")
    ('17', '13085', 'A-1')

    """
    if isinstance(stored, float) and stored.is_integer():
        stored = int(stored)
    return str(to_plain(stored))


def to_key(record_id: str, bindable: TypeEngine[Any]) -> Any:
    """Key as stored for a record id; None if no record can have it. SQLite converts text itself."""
    try:
        if isinstance(bindable, Integer):
            return int(record_id) if abs(int(record_id)) <= LARGEST_INTEGER else None
        if isinstance(bindable, Numeric | Float):
            return float(record_id)
        if isinstance(bindable, Uuid):
            return UUID(record_id)
    except ValueError:
        return None
    return record_id
