# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""The rows of one DuckDB table, to be counted, shown and dropped by a condition."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import duckdb

from pipeline.sentences import NOT_SHOWN
from pipeline.staging import ROW, quote

SHOWN = 5
"""Values that a sentence shows."""


@dataclass(frozen=True)
class Rows:
    """One table of a connection; conditions and expressions are SQL. Values of `sensitive` columns are not shown."""

    connection: duckdb.DuckDBPyConnection
    table: str
    sensitive: Collection[str] = ()

    def counts(self, conditions: Mapping[str, str], distinct: str | None = None) -> dict[str, int]:
        """Count the rows that meet each condition, in one pass.

        The count of all rows comes as `rows`; with a column in `distinct`, that of its values as `distinct`.
        """
        parts = ["count(*) AS rows", f"count(DISTINCT {quote(distinct)})" if distinct else "0"]
        parts += [f"count(*) FILTER (WHERE {condition})" for condition in conditions.values()]
        row = self.connection.execute(f"SELECT {', '.join(parts)} FROM {quote(self.table)}").fetchone() or ()
        return dict(zip(["rows", "distinct", *conditions], row, strict=True))

    def shown(self, expression: str, condition: str) -> str:
        """Up to five different values, in order of appearance; none if a sensitive column is part of them."""
        if any(re.search(rf"\b{re.escape(column)}\b", expression) for column in self.sensitive):
            return NOT_SHOWN
        values = self.connection.execute(
            f"SELECT {expression} FROM {quote(self.table)} WHERE {condition} GROUP BY 1 "
            f"ORDER BY min({ROW}) LIMIT {SHOWN + 1}"
        ).fetchall()
        shown = ["null" if value is None else str(value)[:40] for (value,) in values]
        return ", ".join(shown[:SHOWN] + ["..."] * (len(shown) > SHOWN))

    def delete(self, condition: str) -> int:
        """Drop the rows that meet a condition and count them."""
        query = f"DELETE FROM {quote(self.table)} WHERE {condition}"
        return int((self.connection.execute(query).fetchone() or (0,))[0])

    def clear(self, columns: Iterable[str], condition: str) -> int:
        """Set columns to null where a condition is met, and count those rows."""
        values = ", ".join(f"{quote(column)} = NULL" for column in columns)
        query = f"UPDATE {quote(self.table)} SET {values} WHERE {condition}"
        return int((self.connection.execute(query).fetchone() or (0,))[0])
