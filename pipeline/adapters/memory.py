"""Tables that are already in memory: small literal worlds."""

from collections.abc import Iterator, Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from features.tables import TABLES


class MemorySource:
    """Delivers Arrow tables as they are; the SELECTs of the config are not used.

    Parameters
    ----------
    tables : mapping of canonical table to Arrow table
        As a source would deliver them.
    data_end : datetime
        UTC, naive.

    """

    def __init__(self, tables: Mapping[str, pa.Table], data_end: datetime) -> None:
        self._tables = tables
        self._data_end = data_end

    def data_end(self) -> datetime:
        """Moment at which the data ends (UTC, naive)."""
        return self._data_end

    def clock(self) -> datetime | None:
        """None: the tables do not grow."""
        return None

    def count(self, table: str, since: datetime | None = None) -> int:
        """Count the rows of a table, or those that occurred in `[since, now)`."""
        rows = self._tables[table]
        if since is not None:
            rows = rows.filter(pc.greater_equal(rows[TABLES[table].time], pa.scalar(since)))
        return int(rows.num_rows)

    def keys(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the key column of a table."""
        yield from self._tables[table].select([TABLES[table].key]).to_batches()

    def read(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a table; at least one batch."""
        rows = self._tables[table]
        yield from rows.to_batches() or [pa.RecordBatch.from_pylist([], schema=rows.schema)]

    def close(self) -> None:
        """Nothing to let go of."""
