"""The calendar of a snapshot, read off a wall calendar by hand."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
from stored import stored_world

from features.build import build_features
from features.groups.calendar import calendar

NAMES = ["calendar_month", "calendar_weekday", "calendar_days_to_month_end", "calendar_days_to_quarter_end"]


def read_off(folder: Path, time_zone: str, moments: list[str]) -> list[tuple[float, ...]]:
    """Return the calendar's columns at moments of UTC, in a deployment of that time zone."""
    tables = stored_world(folder, customers=[{"customer_id": "C1", "created_at": "2020-01-01"}])
    spine = pd.DataFrame({"entity_id": "C1", "as_of": pd.to_datetime(moments, format="ISO8601"), "customer_id": "C1"})
    built = build_features(replace(tables, time_zone=time_zone), spine, [calendar], "customers")
    assert built.columns == NAMES
    return list(built.frame[NAMES].itertuples(index=False, name=None))


def test_month_ends_leap_days_and_quarter_ends_are_counted_in_whole_days(tmp_path: Path) -> None:
    answers = {
        "2023-02-28 12:00": (2, 2, 0, 31),  # a Tuesday, the last of a short February; all of March is left
        "2024-01-01 00:00": (1, 1, 30, 90),  # a Monday; 31 + 29 + 31 days, less the first
        "2024-02-28 12:00": (2, 3, 1, 32),  # a leap year: the 29th is left
        "2024-02-29 23:59:59.999999": (2, 4, 0, 31),  # still the leap day
        "2024-03-01 00:00": (3, 5, 30, 30),
        "2024-03-31 08:00": (3, 7, 0, 0),  # a Sunday, the end of the quarter
        "2024-12-31 08:00": (12, 2, 0, 0),  # the end of the year
    }
    assert read_off(tmp_path, "UTC", list(answers)) == list(answers.values())


def test_the_date_is_that_of_the_deployment_and_not_of_utc(tmp_path: Path) -> None:
    berlin = {
        "2024-02-29 22:59:59": (2, 4, 0, 31),  # 23:59:59 on the leap day, one hour before UTC
        "2024-02-29 23:00:00": (3, 5, 30, 30),  # midnight of Friday 1 March in Berlin, still February in UTC
        "2024-03-31 21:59:59": (3, 7, 0, 0),  # summer time began that night: two hours before UTC
        "2024-03-31 22:00:00": (4, 1, 29, 90),  # midnight of Monday 1 April
    }
    shanghai = {
        "2024-02-28 15:59:59": (2, 3, 1, 32),  # eight hours before UTC: 28 February until 16:00
        "2024-02-28 16:00:00": (2, 4, 0, 31),  # the leap day has begun
    }
    new_york = {"2024-04-01 03:59:59": (3, 7, 0, 0)}  # still Sunday evening, 31 March
    assert read_off(tmp_path / "berlin", "Europe/Berlin", list(berlin)) == list(berlin.values())
    assert read_off(tmp_path / "shanghai", "Asia/Shanghai", list(shanghai)) == list(shanghai.values())
    assert read_off(tmp_path / "new_york", "America/New_York", list(new_york)) == list(new_york.values())
