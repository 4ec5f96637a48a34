# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Reading only what changed since the last extract, and finding what that misses.

Rows that are not read stay as they are stored. All keys are compared every `sweep_days` (what has vanished),
and at once when the source has fewer rows than it should; where it has more, `modified_at` cannot be
trusted and the table is read in full. Rows that the source has and we do not keep (orphans, bad rows, deleted and
merged ones) are counted by every extract (`unread`), so that the next one does not miss them; where there are any,
the table is read in full every `sweep_days`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from features.tables import TABLES
from pipeline.adapters.protocol import SourceAdapter
from pipeline.config import Config
from pipeline.mapping import plan_table
from pipeline.normalise import cast
from pipeline.previous import Previous, fingerprint
from pipeline.sentences import rows_have
from pipeline.staging import Delivered, quote, stage


@dataclass(frozen=True)
class Reading:
    """How one table was read.

    Parameters
    ----------
    delivered : Delivered
        What is in `raw_<table>`.
    rows : int
        Rows of the table, those that were not read too.
    source_rows : int
        Rows that the source has, those that we do not keep too.
    still_there : str or None
        None if all rows were read; else a condition over `{key}`: a stored row is still there though it was not read.
    swept_at : datetime or None
        When all keys were last compared (UTC); None for tables that are always read in full.
    warnings : tuple of str
        What a person should know.

    """

    delivered: Delivered
    rows: int
    source_rows: int
    still_there: str | None = None
    swept_at: datetime | None = None
    warnings: tuple[str, ...] = ()


def read_table(
    connection: duckdb.DuckDBPyConnection, config: Config, adapter: SourceAdapter, name: str, previous: Previous | None
) -> Reading:
    """Load a table into `raw_<table>`: all of it, or what changed where the config says how to tell.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Where rows go.
    config : Config
        The deployment.
    adapter : SourceAdapter
        Where rows are read.
    name : str
        Canonical table.
    previous : Previous or None
        The extract before.

    """
    warnings = tuple(adapter.warnings(name))
    if previous is not None and _can_be_partial(config, name, previous):
        part = _Part(connection, config, adapter, name, previous)
        if (reading := part.read()) is not None:
            return reading
        warnings += part.warnings
        connection.execute(f"DROP TABLE {quote(f'raw_{name}')}")
    delivered = stage(connection, name, adapter.read(name))
    swept_at = adapter.data_end() if config.tables[name].modified_at else None
    return Reading(delivered, delivered.rows, delivered.rows, swept_at=swept_at, warnings=warnings)


def _can_be_partial(config: Config, name: str, previous: Previous) -> bool:
    """Whether a table says what changed, and what is stored of it is what its SELECT delivers."""
    return (
        config.tables[name].modified_at is not None
        and TABLES[name].key is not None
        and previous.stored(name) is not None
        and name in previous.notes.unread
        and previous.notes.mappings.get(name) == fingerprint(config, name)
    )


class _Part:
    """The changed rows of one table, laid beside the keys that are stored."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        config: Config,
        adapter: SourceAdapter,
        name: str,
        previous: Previous,
    ) -> None:
        self.connection, self.config, self.adapter = connection, config, adapter
        self.name, self.previous = name, previous
        self.key = str(TABLES[name].key)
        self.unread = previous.notes.unread[name]
        self.warnings: tuple[str, ...] = ()

    def read(self) -> Reading | None:
        """Read what changed, and all keys if need be; None if the table must be read in full."""
        since = self.previous.data_end - timedelta(minutes=self.config.source.overlap_minutes)
        delivered = stage(self.connection, self.name, self.adapter.read(self.name, since))
        if not self._has_stored_columns(delivered):
            return None
        self._keep_keys("stored", self._stored_keys())
        self._keep_keys("read", self._delivered_keys(f"raw_{self.name}", delivered))
        known = self._count(f"SELECT id FROM {self._keys('stored')} UNION SELECT id FROM {self._keys('read')}")
        source_rows = self.adapter.count(self.name)
        missing = source_rows - known - self.unread
        end, swept_at = self.adapter.data_end(), self.previous.notes.swept.get(self.name)
        is_due = swept_at is None or end - swept_at >= timedelta(days=self.config.source.sweep_days)
        if is_due and self.unread:  # an orphan whose customer has come since, a bad row that others made good
            return None
        still_there = f"{{key}} NOT IN (SELECT id FROM {self._keys('read')})"  # what was read and is left out is not
        if missing <= 0 and (missing < 0 or is_due):
            swept_at, still_there = end, f"{still_there} AND {{key}} IN (SELECT id FROM {self._keys('swept')})"
            known, missing = self._sweep()
        if missing > 0:
            self.warnings = (self._say_missing(missing),)
            return None
        return Reading(delivered, known, source_rows, still_there, swept_at, tuple(self.adapter.warnings(self.name)))

    def _say_missing(self, count: int) -> str:
        was = "was" if count == 1 else "were"
        return (
            f"{rows_have(count)} a {self.config.tables[self.name].modified_at} before the last extract and {was} not "
            "there then: the table was read in full"
        )

    def _has_stored_columns(self, delivered: Delivered) -> bool:
        """Whether the changed rows have no column that is not stored yet, which the others would lack."""
        mapping, stored = self.config.tables[self.name], self.previous.stored(self.name)
        plan = plan_table(TABLES[self.name], mapping, delivered.columns, self.config.time_zone)
        return stored is not None and set(plan.columns) <= set(stored.columns)

    def _sweep(self) -> tuple[int, int]:
        """Read all keys; return how many rows there are, and how many should have been read and were not."""
        delivered = stage(self.connection, f"keys_{self.name}", self.adapter.keys(self.name))
        raw = f"raw_keys_{self.name}"
        self._keep_keys("swept", self._delivered_keys(raw, delivered))
        self.connection.execute(f"DROP TABLE {quote(raw)}")
        stored, read, swept = (f"SELECT id FROM {self._keys(what)}" for what in ("stored", "read", "swept"))
        known = self._count(f"({stored} INTERSECT {swept}) UNION {read}")
        return known, self._count(f"{swept} EXCEPT ({stored} UNION {read})") - self.unread

    def _keys(self, what: str) -> str:
        return quote(f"{what}_keys_{self.name}")

    def _keep_keys(self, what: str, select: str) -> None:
        self.connection.execute(f"CREATE TABLE {self._keys(what)} AS SELECT id FROM ({select}) AS keys(id)")

    def _count(self, select: str) -> int:
        return int(self.connection.execute(f"SELECT count(*) FROM ({select})").fetchall()[0][0])

    def _stored_keys(self) -> str:
        """Return the SELECT of the keys of rows that hold."""
        stored = self.previous.stored(self.name)
        path = str(self.previous.tables.path(self.name)).replace("'", "''")
        holds = " WHERE known_until IS NULL" if stored and "known_until" in stored.columns else ""
        return f"SELECT {quote(self.key)} FROM read_parquet('{path}'){holds}"

    def _delivered_keys(self, table: str, delivered: Delivered) -> str:
        """Return the SELECT of delivered keys as they are stored."""
        text = cast(quote(self.key), delivered.columns[self.key], "text", "UTC", is_id=True) or "NULL"
        return f"SELECT DISTINCT {text} AS id FROM {quote(table)} WHERE {text} IS NOT NULL"
