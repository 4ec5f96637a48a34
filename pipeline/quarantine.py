# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Bad rows: a few are left out and kept in a file with their reason, more of them stop the extract.

A bad row stands in `quarantine_<table>` as it was delivered, with all of its reasons in `reason`,
and no longer in `typed_<table>`. The files `<state>/<name>/quarantine/<table>.csv` hold what the
newest extract left out, and nothing of earlier ones; sensitive columns are blank.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import duckdb

from pipeline.findings import Bad, Findings
from pipeline.mapping import TablePlan
from pipeline.staging import ROW, quote

REASON = "reason"
_OWN = ("__reason", "__key")
"""Columns of ours beside the delivered ones: what is wrong, and the key as it is stored."""


def quarantine_table(name: str) -> str:
    """Name of the DuckDB table that holds the bad rows of a table; it is there if the table has any."""
    return f"quarantine_{name}"


def set_aside(
    connection: duckdb.DuckDBPyConnection,
    plan: TablePlan,
    bad: Sequence[Bad],
    rows_read: int,
    share: float,
    earlier: int = 0,
) -> Findings:
    """Move bad rows from `typed_<table>` to `quarantine_<table>`, or say that there are too many.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Holds `typed_<table>` and `raw_<table>`.
    plan : TablePlan
        The table.
    bad : sequence of Bad
        What is wrong; a row with several faults counts once, under the first.
    rows_read : int
        Rows that the source delivered.
    share : float
        Share of them that may be bad: exactly so many are allowed.
    earlier : int
        Rows of the table that an earlier check has set aside.

    Returns
    -------
    Findings
        `quarantined` by reason; or problems, one sentence per kind of fault.

    """
    if not bad:
        return Findings()
    faults = quote(f"bad_{plan.name}")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {faults} AS {_faults(plan, bad)}")
    counts = connection.execute(f"SELECT first, count(*) FROM {faults} GROUP BY ALL ORDER BY min(place)").fetchall()
    quarantined = {str(reason): int(count) for reason, count in counts}
    total = earlier + sum(quarantined.values())
    if total > share * rows_read:
        connection.execute(f"DROP TABLE {faults}")
        return Findings(problems=_say_too_many([one.sentence for one in bad], total, rows_read, share))
    _move(connection, plan, faults)
    return Findings(quarantined=quarantined)


def _faults(plan: TablePlan, bad: Sequence[Bad]) -> str:
    """One row per bad row that is still in the typed table: its reasons, the first of them and its place."""
    found = " UNION ALL ".join(
        f"SELECT {ROW}, {_text(one.reason)} AS {REASON}, {place} AS place FROM {quote(one.table)} WHERE {one.condition}"
        for place, one in enumerate(bad)
    )
    return (
        f"SELECT {ROW}, string_agg({REASON}, '; ' ORDER BY place) AS {REASON}, min_by({REASON}, place) AS first, "
        f"min(place) AS place FROM ({found}) WHERE {ROW} IN (SELECT {ROW} FROM {quote(f'typed_{plan.name}')}) "
        f"GROUP BY {ROW}"
    )


def _move(connection: duckdb.DuckDBPyConnection, plan: TablePlan, faults: str) -> None:
    held = quote(quarantine_table(plan.name))
    key = f"CAST(typed.{quote(plan.spec.key)} AS VARCHAR)" if plan.spec.key else "CAST(NULL AS VARCHAR)"
    rows = (
        f"SELECT faults.{REASON} AS {_OWN[0]}, {key} AS {_OWN[1]}, raw.* FROM {quote(f'raw_{plan.name}')} AS raw "
        f"JOIN {faults} AS faults USING ({ROW}) JOIN {quote(f'typed_{plan.name}')} AS typed USING ({ROW})"
    )
    connection.execute(f"CREATE TABLE IF NOT EXISTS {held} AS FROM ({rows}) LIMIT 0")
    connection.execute(f"INSERT INTO {held} {rows}")
    connection.execute(f"DELETE FROM {quote(f'typed_{plan.name}')} WHERE {ROW} IN (SELECT {ROW} FROM {faults})")
    connection.execute(f"DROP TABLE {faults}")


def _say_too_many(sentences: list[str], total: int, rows_read: int, share: float) -> list[str]:
    """Sentences about one table, the last of which names the share."""
    verb = "is" if total == 1 else "are"
    last = (
        f"{sentences[-1]} {total:,} of {rows_read:,} rows {verb} bad, more than the share of {share:g} that "
        "source.bad_share lets into the quarantine. Correct them, or raise source.bad_share."
    )
    return [*sentences[:-1], last]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def is_held_back(name: str) -> str:
    """Return the condition on `{key}`, to be formatted in: a row with this key is in the quarantine.

    What is stored of such a row stands: it is neither changed nor gone.
    """
    return f"{{key}} IN (SELECT {_OWN[1]} FROM {quote(quarantine_table(name))} WHERE {_OWN[1]} IS NOT NULL)"


def write_quarantine(
    connection: duckdb.DuckDBPyConnection, plans: Mapping[str, TablePlan], names: Collection[str], folder: Path
) -> None:
    """Write one CSV file per table that has bad rows, each atomically, and remove the files of all others.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Holds `quarantine_<table>` of the named tables.
    plans : mapping of table to TablePlan
        All tables of the extract.
    names : collection of str
        Tables that have bad rows.
    folder : Path
        Made if a file needs it.

    """
    for name in names:
        folder.mkdir(parents=True, exist_ok=True)
        _write(connection, name, plans[name].mapping.sensitive, folder / f"{name}.csv")
    for path in folder.glob("*"):
        if path.name not in {f"{name}.csv" for name in names} and path.is_file():
            path.unlink()


def _write(connection: duckdb.DuckDBPyConnection, name: str, sensitive: Collection[str], path: Path) -> None:
    held = quote(quarantine_table(name))
    columns = [str(column) for column, *_ in connection.execute(f"DESCRIBE {held}").fetchall()]
    shown = [f"{_OWN[0]} AS {quote(REASON)}"]
    shown += [
        f"NULL AS {quote(column)}" if column in sensitive else quote(column)
        for column in columns
        if column not in (ROW, *_OWN)
    ]
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    connection.execute(
        f"COPY (SELECT {', '.join(shown)} FROM {held} ORDER BY {ROW}) TO {_text(str(partial))} (FORMAT csv, HEADER)"
    )
    if path.is_file() and path.read_bytes() == partial.read_bytes():
        partial.unlink()
        return
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
