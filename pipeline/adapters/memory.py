"""Tables that are already in memory: small literal worlds."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

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
    modified : mapping of table to str
        The column of times that says when a row was last modified.

    """

    def __init__(
        self, tables: Mapping[str, pa.Table], data_end: datetime, modified: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._tables = tables
        self._data_end = data_end
        self._modified = modified

    def data_end(self) -> datetime:
        """Moment at which the data ends (UTC, naive)."""
        return self._data_end

    def clock(self) -> datetime | None:
        """None: the tables do not grow."""
        return None

    def warnings(self, table: str) -> Sequence[str]:
        """Nothing to say."""
        return ()

    def count(self, table: str, since: datetime | None = None) -> int:
        """Count the rows of a table, or those that occurred in `[since, now)`."""
        rows = self._tables[table]
        if since is not None:
            rows = rows.filter(pc.greater_equal(rows[TABLES[table].time], pa.scalar(since)))
        return int(rows.num_rows)

    def keys(self, table: str) -> Iterator[pa.RecordBatch]:
        """Yield the key column of a table."""
        yield from self._tables[table].select([TABLES[table].key]).to_batches()

    def read(self, table: str, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a table, or those modified since a moment; at least one batch."""
        rows = self._tables[table]
        if since is not None:
            modified = rows[self._modified[table]]
            rows = rows.filter(pc.or_kleene(pc.is_null(modified), pc.greater_equal(modified, pa.scalar(since))))
        yield from rows.to_batches() or [pa.RecordBatch.from_pylist([], schema=rows.schema)]

    def close(self) -> None:
        """Nothing to let go of."""
