"""How a source of CRM tables is read. A new CRM needs one class with these methods."""

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

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

    def count(self, table: str, since: datetime | None = None) -> int:
        """Count the rows of a table, or those that occurred in `[since, now)`."""

    def keys(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the key column of a table, as delivered."""

    def read(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a table, as delivered; at least one batch, so that an empty table has columns too."""

    def close(self) -> None:
        """Let go of files and connections."""


def without_semicolon(select: str) -> str:
    """Return a SELECT that can stand inside another one.

    >>> without_semicolon("SELECT 1; ")
    'SELECT 1'
    """
    return select.strip().rstrip(";").rstrip()
