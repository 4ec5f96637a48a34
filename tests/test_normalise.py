"""Casts from what sources deliver to the canonical types, value by value."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest

from pipeline.normalise import can_fail, cast, day_start, delivered


def read(values, kind, zone="UTC", is_id=False, arrow=None):
    """Values of one delivered column as a canonical type."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("rows", pa.table({"place": range(len(values)), "x": pa.array(values, arrow)}))
        duck_type = connection.execute("SELECT typeof(x) FROM rows LIMIT 1").fetchone()[0]
        expression = cast("x", duck_type, kind, zone, is_id)
        if expression is None:
            return None
        rows = connection.execute(f"SELECT {expression} FROM rows ORDER BY place").fetchall()
    return [value for (value,) in rows]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([13085.0, None], ["13085", None]),
        ([13085.5, 13085.0], ["13085.5", "13085"]),
        ([float("nan"), 7.0], [None, "7"]),
        ([13085, 7], ["13085", "7"]),
        ([Decimal("13085.00"), Decimal("7.50")], ["13085", "7.5"]),
        ([Decimal("100"), None], ["100", None]),
        (["13085.0", "00123", " A7 ", "", "1.05", "v1.0"], ["13085", "00123", "A7", None, "1.05", "v1.0"]),
    ],
    ids=["whole doubles", "other doubles", "nan", "integers", "decimals", "whole decimals", "text"],
)
def test_ids_are_text_whatever_delivers_them(values, expected):
    assert read(values, "text", is_id=True) == expected


def test_text_that_is_no_id_keeps_its_blanks_and_empty_text_is_null():
    assert read([" A7 ", "", "1.0"], "text") == [" A7 ", None, "1.0"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.00005, "0.0001"),
        (-0.00005, "-0.0001"),
        (1.00005, "1.0001"),  # in binary just below the half
        (0.00004999, "0.0000"),
        (Decimal("2.345650"), "2.3457"),
        (Decimal("-2.345650"), "-2.3457"),
        ("12.34565", "12.3457"),
        (" 7 ", "7.0000"),
        ("", None),
        (float("nan"), None),
        (3, "3.0000"),
        ("1.234,50", None),
        (float("inf"), None),
        (1e15, None),  # more digits than DECIMAL(18, 4) holds
    ],
)
def test_money_is_rounded_half_away_from_zero_to_four_places(value, expected):
    assert read([value], "money") == [None if expected is None else Decimal(expected)]


def test_text_is_read_as_a_time_value_by_value():
    values = [
        "2024-03-01 09:30:00",
        "2024-03-01T09:30:00.123456",
        "2024-03-01T09:30:00Z",
        "2024-03-01 09:30:00+02:00",
        "2024-03-01 09:30:00-0530",
        "2024-03-01",  # a day: its last microsecond
        "soon",
        "",
    ]
    assert read(values, "time") == [
        datetime(2024, 3, 1, 9, 30),
        datetime(2024, 3, 1, 9, 30, 0, 123456),
        datetime(2024, 3, 1, 9, 30),
        datetime(2024, 3, 1, 7, 30),
        datetime(2024, 3, 1, 15, 0),
        datetime(2024, 3, 1, 23, 59, 59, 999999),
        None,
        None,
    ]


def test_a_local_time_becomes_utc_with_daylight_saving():
    winter, summer = datetime(2024, 1, 15, 12), datetime(2024, 7, 15, 12)
    assert read([winter, summer], "time", "Europe/Berlin") == [winter - timedelta(hours=1), summer - timedelta(hours=2)]


def test_of_an_hour_that_happens_twice_the_later_one_counts_so_that_nothing_is_known_too_early():
    assert read([datetime(2024, 10, 27, 2, 30)], "time", "Europe/Berlin") == [datetime(2024, 10, 27, 1, 30)]


def test_an_hour_that_never_happens_is_read_as_the_one_after():
    assert read([datetime(2024, 3, 31, 2, 30)], "time", "Europe/Berlin") == [datetime(2024, 3, 31, 1, 30)]


def test_a_time_with_a_zone_does_not_care_about_the_zone_of_the_deployment():
    moment = datetime(2024, 7, 15, 12, tzinfo=timezone(timedelta(hours=8)))
    kind = pa.timestamp("us", tz="UTC")
    assert read([moment], "time", "Europe/Berlin", arrow=kind) == [datetime(2024, 7, 15, 4)]


def test_a_date_counts_from_the_last_microsecond_of_its_local_day():
    assert read([date(2024, 7, 15)], "time") == [datetime(2024, 7, 15, 23, 59, 59, 999999)]
    assert read([date(2024, 7, 15)], "time", "Europe/Berlin") == [datetime(2024, 7, 15, 21, 59, 59, 999999)]
    assert read([date(2024, 3, 31)], "time", "Europe/Berlin") == [datetime(2024, 3, 31, 21, 59, 59, 999999)]  # 23 hours


def test_a_time_becomes_the_local_date():
    late = datetime(2024, 7, 15, 23, tzinfo=UTC)
    assert read([late], "date", "Europe/Berlin", arrow=pa.timestamp("us", tz="UTC")) == [date(2024, 7, 16)]
    assert read([datetime(2024, 7, 15, 23)], "date", "Europe/Berlin") == [date(2024, 7, 15)]
    assert read(["2024-07-15", "2024-07-15 23:00:00", "x"], "date") == [date(2024, 7, 15), date(2024, 7, 15), None]


def test_whole_numbers_are_not_rounded_into_being():
    assert read([12.0, 12.5, float("nan")], "integer") == [12, None, None]
    assert read(["12", "12.0", "12.5", "twelve"], "integer") == [12, 12, None, None]
    assert read([Decimal("12.0"), Decimal("12.5")], "integer") == [12, None]


def test_numbers_are_finite_or_null():
    assert read([1.5, float("nan"), float("inf")], "number") == [1.5, None, None]
    assert read(["1.5", "x"], "number") == [1.5, None]


def test_flags_are_booleans_zero_or_one_or_words():
    assert read([True, None], "flag") == [True, None]
    assert read([1, 0, 2], "flag") == [True, False, None]
    assert read(["true", "no", "1", "maybe"], "flag") == [True, False, True, None]


@pytest.mark.parametrize("kind", ["time", "date"])
def test_a_number_is_never_a_time(kind):
    assert read([1709280000], kind) is None
    assert read([1709280000.0], kind) is None


def test_a_time_is_never_a_number_and_bytes_are_nothing():
    assert read([datetime(2024, 1, 1)], "money") is None
    assert read([b"x"], "text") is None
    assert read([[1]], "text") is None


def test_only_a_day_has_a_start():
    with duckdb.connect() as connection:
        query = "SELECT {} FROM (VALUES ('2024-07-15'), ('2024-07-15 10:00:00')) AS rows(x)"
        found = connection.execute(query.format(day_start("x", "VARCHAR", "Europe/Berlin"))).fetchall()
    assert found == [(datetime(2024, 7, 14, 22),), (None,)]
    assert day_start("x", "TIMESTAMP", "UTC") is None


def test_casts_that_cannot_fail_are_known():
    assert not can_fail("BIGINT", "number")
    assert can_fail("TIMESTAMP", "time")  # infinity
    assert can_fail("VARCHAR", "time")
    assert can_fail("DOUBLE", "integer")


def test_nan_and_blank_text_are_no_values():
    with duckdb.connect() as connection:
        expressions = (
            delivered("'  '", "VARCHAR"),
            delivered("CAST('nan' AS DOUBLE)", "DOUBLE"),
            delivered("3", "INTEGER"),
        )
        assert connection.execute(f"SELECT {', '.join(expressions)}").fetchone() == (None, None, 3)


@pytest.mark.parametrize("kind", ["time", "date"])
@pytest.mark.parametrize("typed", ["TEXT", "DATE", "TIMESTAMP", "TIMESTAMPTZ"])
@pytest.mark.parametrize("value", ["infinity", "-Infinity"])
def test_an_infinite_moment_is_none(kind, typed, value):
    duck_type = {"TEXT": "VARCHAR", "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}.get(typed, typed)
    expression = cast("x", duck_type, kind, "Europe/Berlin")
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT {expression} FROM (SELECT CAST('{value}' AS {typed}) AS x)").fetchall()
    assert rows == [(None,)]
    assert can_fail(duck_type, kind)
