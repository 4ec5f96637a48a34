"""Hours that happen twice, because clocks are put back: which ones those may be in a time zone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

FIRST_YEAR, LAST_YEAR = 1970, 2050
_QUARTER = timedelta(minutes=15)


def may_repeat(local: str, zone: str) -> str:
    """Return the SQL condition that a local time is in a month and an hour in which clocks were ever put back.

    It is cheap, and spares most rows the look at the rules of the time zone.

    >>> may_repeat("x", "Europe/Berlin"), may_repeat("x", "Asia/Dubai")
    ('month(x) IN (9, 10) AND hour(x) IN (2)', 'false')
    """
    times = _repeated_times(zone)
    months, hours = (", ".join(map(str, sorted(set(part)))) for part in zip(*times, strict=True)) if times else ("", "")
    return f"month({local}) IN ({months}) AND hour({local}) IN ({hours})" if times else "false"


@lru_cache
def _repeated_times(zone: str) -> frozenset[tuple[int, int]]:
    """Months and hours of local times that happened twice."""
    return frozenset((local.month, local.hour) for day in _days_put_back(zone) for local in _repeated_on(day, zone))


def _days_put_back(zone: str) -> Iterator[datetime]:
    """Days (UTC) at whose end clocks show less than the day before."""
    place, day = ZoneInfo(zone), datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
    before = day.astimezone(place).utcoffset() or timedelta()
    while day.year <= LAST_YEAR:
        day += timedelta(days=1)
        now = day.astimezone(place).utcoffset() or timedelta()
        if now < before:
            yield day
        before = now


def _repeated_on(day: datetime, zone: str) -> Iterator[datetime]:
    """Quarters of an hour around a day that clocks show twice."""
    local = day.replace(tzinfo=ZoneInfo(zone)) - timedelta(days=2)
    for _ in range(4 * 24 * 4):
        first, second = (local.replace(fold=fold).utcoffset() or timedelta() for fold in (0, 1))
        if first > second:
            yield local
        local += _QUARTER
