"""A source with local times, on the days on which clocks are changed: nothing is ever known too early."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pytest
from conftest import extract_world, make_config, read_rows
from test_normalise import read

from features.errors import DataError
from features.tables import load_tables
from pipeline.adapters.memory import MemorySource
from pipeline.extract import extract
from pipeline.normalise import day_start

MOMENTS = """
    Europe/Berlin        2024-10-27 01:59:59  2024-10-26 23:59:59  # still summer, two hours ahead
    Europe/Berlin        2024-10-27 02:00     2024-10-27 01:00     # happens at 00:00 and at 01:00 UTC: the later
    Europe/Berlin        2024-10-27 02:59:59  2024-10-27 01:59:59
    Europe/Berlin        2024-10-27 03:00     2024-10-27 02:00     # winter
    Europe/Berlin        2024-03-31 01:59:59  2024-03-31 00:59:59
    Europe/Berlin        2024-03-31 02:30     2024-03-31 01:30     # never happens: half an hour after 02:00
    Europe/Berlin        2024-03-31 03:00     2024-03-31 01:00
    Australia/Sydney     2024-04-07 01:59     2024-04-06 14:59     # summer ends in April: eleven hours ahead
    Australia/Sydney     2024-04-07 02:30     2024-04-06 16:30     # happens twice: the later, ten hours ahead
    Australia/Sydney     2024-10-06 02:30     2024-10-05 16:30     # never happens
    Australia/Sydney     2024-10-06 03:00     2024-10-05 16:00
    Australia/Lord_Howe  2024-04-07 01:45     2024-04-06 15:15     # half an hour happens twice
    America/Santiago     2024-04-06 23:30     2024-04-07 03:30     # the hour before midnight happens twice
    America/Santiago     2024-09-08 00:00     2024-09-08 04:00     # a midnight that never happens
"""
DAYS = """
    Europe/Berlin     2024-03-31  2024-03-31 21:59:59.999999  # 23 hours
    Europe/Berlin     2024-10-27  2024-10-27 22:59:59.999999  # 25 hours
    Australia/Sydney  2024-04-07  2024-04-07 13:59:59.999999  # 25 hours
    Australia/Sydney  2024-10-06  2024-10-06 12:59:59.999999  # 23 hours
    America/Santiago  2024-04-06  2024-04-07 03:59:59.999999  # 25 hours, the last of them twice
    America/Santiago  2024-09-07  2024-09-08 03:59:59.999999  # the midnight after it never happens
    America/Havana    2024-11-02  2024-11-03 03:59:59.999999  # the midnight after it happens twice: the first ends it
    America/Havana    2024-11-03  2024-11-04 04:59:59.999999  # 25 hours
    Atlantic/Azores   2024-10-26  2024-10-26 23:59:59.999999
"""


def split(text):
    lines = [line.split("#")[0].split() for line in text.strip().splitlines()]
    return [(zone, first, rest) for zone, first, *rest in lines]


@pytest.mark.parametrize(("zone", "day", "rest"), split(MOMENTS))
def test_a_local_time_on_the_day_of_the_change(zone, day, rest):
    time, *utc = rest
    local, expected = f"{day} {time}", datetime.fromisoformat(" ".join(utc))
    assert read([datetime.fromisoformat(local)], "time", zone) == [expected]
    assert read([local], "time", zone) == [expected]


@pytest.mark.parametrize(("zone", "day", "rest"), split(DAYS))
def test_a_day_on_which_clocks_change_ends_with_its_last_microsecond(zone, day, rest):
    expected = datetime.fromisoformat(" ".join(rest))
    assert read([date.fromisoformat(day)], "time", zone) == [expected]
    assert read([day], "time", zone) == [expected]


@pytest.mark.parametrize("zone", ["America/Havana", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe"])
def test_a_day_starts_when_the_one_before_it_ends(zone):
    days = [date(2024, 1, 1) + timedelta(days=day) for day in range(366)]
    starts = f"SELECT {day_start('x', 'DATE', zone)} FROM (SELECT unnest(?) AS x) ORDER BY x"
    found = [start for (start,) in duckdb.execute(starts, [days]).fetchall()]
    ends = read(days, "time", zone)
    assert found[1:] == [end + timedelta(microseconds=1) for end in ends[:-1]]


@pytest.mark.parametrize(
    "zone",
    [
        "Europe/Berlin",
        "America/New_York",
        "America/Havana",
        "America/Santiago",
        "Australia/Sydney",
        "Australia/Lord_Howe",
    ],
)
def test_of_all_moments_that_a_clock_may_mean_the_last_is_taken(zone):
    quarters = [datetime(2024, 1, 1) + timedelta(minutes=15 * step) for step in range(366 * 96)]
    place = ZoneInfo(zone)
    meant = [
        max(local.replace(tzinfo=place, fold=fold).astimezone(UTC).replace(tzinfo=None) for fold in (0, 1))
        for local in quarters
    ]
    assert read(quarters, "time", zone) == meant


CUSTOMERS = "customer_id  created_at\nC1  2024-01-01"
ORDERS = """
    order_id  occurred_at       customer_id  amount
    O1        2024-10-27 01:50  C1           1       # 23:50 UTC the day before
    O2        2024-10-27 02:50  C1           2       # 00:50 or 01:50 UTC
"""
BERLIN = {"time_zone": "Europe/Berlin"}


def stored(report, columns):
    path = load_tables(report.folder).path("orders")
    return duckdb.sql(f"SELECT {columns} FROM '{path}' ORDER BY 1").fetchall()


def test_a_row_whose_hour_is_about_to_repeat_is_left_to_the_next_extract(tmp_path):
    report = extract_world(tmp_path, customers=CUSTOMERS, orders=ORDERS, config=BERLIN, data_end="2024-10-27 00:55")
    assert report.tables[1].dropped == {"in an hour that happens twice, perhaps after data_end": 1}
    assert stored(report, "order_id") == [("O1",)]
    later = extract_world(tmp_path, customers=CUSTOMERS, orders=ORDERS, config=BERLIN, data_end="2024-10-27 03:00")
    assert stored(later, "order_id, occurred_at")[1] == ("O2", datetime(2024, 10, 27, 1, 50))


def test_a_row_that_lies_after_data_end_either_way_is_bad(tmp_path):
    with pytest.raises(DataError, match="1 of 2 rows have occurred_at or its known_at at or after data_end"):
        extract_world(tmp_path, customers=CUSTOMERS, orders=ORDERS, config=BERLIN, data_end="2024-10-27 00:45")


def test_a_row_that_arrives_while_reading_in_the_hour_that_happens_twice_is_left_to_the_next_extract(tmp_path):
    class Growing(MemorySource):
        def clock(self):
            return datetime(2024, 10, 27, 0, 59)

    config = make_config(tmp_path, {"customers": {}, "orders": {}}, data_end="2024-10-27 00:45", **BERLIN)
    tables = {"customers": read_rows("customers", CUSTOMERS), "orders": read_rows("orders", ORDERS)}
    report = extract(config, source=Growing(tables, datetime(2024, 10, 27, 0, 45)))
    assert report.tables[1].dropped == {"in an hour that happens twice, perhaps after data_end": 1}


def test_a_row_known_when_its_hour_came_again_is_not_known_before_it_happened(tmp_path):
    orders = """
        order_id  occurred_at       known_at          customer_id  amount
        O1        2024-10-27 02:50  2024-10-27 02:10  C1           1       # 00:50 UTC, known at 01:10: read as 01:50
    """
    report = extract_world(tmp_path, customers=CUSTOMERS, orders=orders, config=BERLIN, data_end="2024-12-01")
    moment = datetime(2024, 10, 27, 1, 50)
    assert stored(report, "occurred_at, known_at") == [(moment, moment)]


def test_a_row_known_before_its_hour_was_there_at_all_stays_an_error(tmp_path):
    orders = "order_id  occurred_at  known_at  customer_id  amount\nO1  2024-10-27 02:50  2024-10-27 01:10  C1  1"
    with pytest.raises(DataError, match="1 of 1 rows have known_at before occurred_at"):
        extract_world(tmp_path, customers=CUSTOMERS, orders=orders, config=BERLIN, data_end="2024-12-01")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "America/Santiago"])
def test_a_time_that_happens_twice_may_have_been_an_hour_earlier(zone):
    quarters = [datetime(2024, 1, 1) + timedelta(minutes=15 * step) for step in range(366 * 96)]
    place = ZoneInfo(zone)
    first, second = (
        [local.replace(tzinfo=place, fold=fold).astimezone(UTC).replace(tzinfo=None) for local in quarters]
        for fold in (0, 1)
    )
    starts = f"SELECT {day_start('x', 'TIMESTAMP', zone)} FROM (SELECT unnest(?) AS x) ORDER BY x"
    found = [start for (start,) in duckdb.execute(starts, [quarters]).fetchall()]
    assert found == [one if one < other else None for one, other in zip(first, second, strict=True)]
