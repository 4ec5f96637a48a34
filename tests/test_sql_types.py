"""Between plain values and what a database with column types stores."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import BigInteger, Date, DateTime, Double, Numeric, String, Text, Uuid
from sqlalchemy.types import NullType

from pipeline.adapters.sql_types import make_bindable, make_type, to_key, to_plain, to_record_id, to_stored

ONE = UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("stored", "plain"),
    [
        (datetime(2024, 5, 1, 2, 0), "2024-05-01 02:00:00"),
        (datetime(2024, 5, 1, 2, 0, tzinfo=timezone(timedelta(hours=8))), "2024-04-30 18:00:00"),  # in UTC
        (date(2024, 5, 1), "2024-05-01"),
        (Decimal("0.1235"), 0.1235),
        (ONE, str(ONE)),
        (memoryview(b"ab"), b"ab"),
        ("text", "text"),
        (None, None),
    ],
)
def test_what_a_database_returns_becomes_plain(stored: Any, plain: Any) -> None:
    assert to_plain(stored) == plain
    assert type(to_plain(stored)) is type(plain)


@pytest.mark.parametrize(
    ("value", "column", "stored"),
    [
        ("2024-05-01 02:00:00", DateTime(), datetime(2024, 5, 1, 2, 0)),
        ("2024-05-01 02:00:00", DateTime(timezone=True), datetime(2024, 5, 1, 2, 0, tzinfo=UTC)),
        ("2024-05-01", Date(), date(2024, 5, 1)),
        ("2024-05-01", Text(), "2024-05-01"),
        (0.5, Double(), 0.5),
        (None, DateTime(), None),
    ],
)
def test_a_plain_value_becomes_what_a_column_takes(value: Any, column: Any, stored: Any) -> None:
    assert to_stored(value, column) == stored
    assert to_plain(to_stored(value, column)) == value  # and back


@pytest.mark.parametrize(
    ("record_id", "column", "key"),
    [
        ("17", BigInteger(), 17),
        ("A-1", BigInteger(), None),  # no record can have it
        ("9" * 30, BigInteger(), None),
        ("13085", Double(), 13085.0),
        (str(ONE), Uuid(), ONE),
        ("no uuid", Uuid(), None),
        ("007", String(10), "007"),
        ("17", NullType(), "17"),  # SQLite converts it itself
    ],
)
def test_a_record_id_becomes_a_key(record_id: str, column: Any, key: Any) -> None:
    assert to_key(record_id, column) == key
    assert key is None or to_record_id(key) == record_id


def test_numbers_are_read_as_floats_and_sqlite_values_as_they_are() -> None:
    exact = make_bindable(Numeric(5, 2), is_sqlite=False)
    assert isinstance(exact, Numeric)
    assert (exact.asdecimal, exact.precision, exact.scale) == (False, 5, 2)
    assert isinstance(make_bindable(Numeric(5, 2), is_sqlite=True), NullType)
    assert isinstance(make_bindable(Date(), is_sqlite=False), Date)


def test_tables_of_our_own_have_typed_columns() -> None:
    kinds = ("number", "integer", "time", "text", "unknown")
    assert [type(make_type(kind)).__name__ for kind in kinds] == ["Double", "Integer", "DateTime", "Text", "Text"]  # type: ignore[arg-type]
    assert isinstance(make_type("text", is_key=True), String)
