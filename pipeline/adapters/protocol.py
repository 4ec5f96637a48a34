"""How a source of CRM tables is read. A new CRM needs one class with these methods."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

import pyarrow as pa

BATCH_ROWS = 50_000
"""Rows that are held as Python objects at a time."""


class SourceAdapter(Protocol):
    """Reads the canonical tables of one deployment, each through the SELECT of its config.

    All methods raise `ConfigError` when a SELECT is wrong, `DataError` when what it reads is broken,
    and `CrmError` when the source does not answer; none of them changes the source.
    """

    def data_end(self) -> datetime:
        """Moment at which the data ends (UTC, naive): nothing at or after it is read as having happened."""

    def clock(self) -> datetime | None:
        """Return the source's clock now (UTC, naive); None if its data does not grow while it is read."""

    def warnings(self, table: str) -> Sequence[str]:
        """What a person should know about how a table is read, without a full stop."""

    def count(self, table: str, since: datetime | None = None) -> int:
        """Count the rows of a table, or those that occurred in `[since, now)`."""

    def keys(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the key column of a table, as delivered."""

    def read(self, table: str, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a table, as delivered; at least one batch, so that an empty table has columns too.

        With `since` (UTC), only rows that were modified then or later, or of which nobody knows: the table's
        `modified_at` in the config names the column. More than these may be delivered, never less.
        """

    def close(self) -> None:
        """Let go of files and connections."""


def read_from(since: datetime, zone: str) -> datetime:
    """Return a moment from which a column of changes is read, whatever it holds: UTC, local time, or days.

    >>> read_from(datetime(2024, 7, 1, 15), "UTC"), read_from(datetime(2024, 7, 1, 3), "America/New_York")
    (datetime.datetime(2024, 6, 30, 23, 59, 59, 999999), datetime.datetime(2024, 6, 29, 23, 59, 59, 999999))
    """
    local = since.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    day = min(since, local).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(microseconds=1)  # as text, a day comes before its first moment


def without_semicolon(select: str) -> str:
    """Return a SELECT that can stand inside another one.

    >>> without_semicolon("SELECT 1; ")
    'SELECT 1'
    """
    return select.strip().rstrip(";").rstrip()
