# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Merged customers: who took over whom, and when.

A customer's rows follow the survivor from the merge on, not before, along chains to their end. The
moment of a merge is `merged_at`, or `seen`, just before the extract that first saw it; a `merged_at` at
which an earlier extract still saw the customer unmerged is not believed. Later extracts keep the moment.
"""

from dataclasses import dataclass, field
from datetime import datetime

import duckdb

from pipeline.findings import Findings
from pipeline.mapping import MERGED_AT, MERGED_INTO, TablePlan
from pipeline.previous import TICK, Previous
from pipeline.rows import Rows

CUSTOMERS = "customers"
MERGES = "merges"
"""DuckDB table: customer_id, merged_into, moment."""

STEPS = "merge_steps"
"""DuckDB table: to whom the rows of `origin` belong (`target`), known in `[begins, ends)`; the first step is itself.

There are two sets of steps. Those for rows that are stored (`is_stored`) do not reach back behind the extract
before, which still showed these rows where they were: a survivor may come after its merge.
"""

SURVIVORS = "survivors"
"""DuckDB table: origin, target: to whom its rows belong in the end."""


@dataclass(frozen=True)
class Merges:
    """Whether the deployment has merges at all, whether any moves rows, and what is wrong with them."""

    is_mapped: bool = False
    moves_rows: bool = False
    found: Findings = field(default_factory=Findings)

    def of(self, table: str) -> bool:
        """Whether rows of a table may have to follow a survivor."""
        return self.moves_rows and table != CUSTOMERS


def find_merges(
    connection: duckdb.DuckDBPyConnection, plan: TablePlan | None, previous: Previous | None, data_end: datetime
) -> Merges:
    """Make the tables of merges from `typed_customers` and from what was stored.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Holds `typed_customers` if there is a plan.
    plan : TablePlan or None
        That of the customers.
    previous : Previous or None
        The extract before.
    data_end : datetime
        Merges at or after it have not happened yet (UTC).

    """
    stored = previous.stored(CUSTOMERS) if previous else None
    remembers = stored is not None and MERGED_INTO in stored.columns
    if plan is None or not (MERGED_INTO in plan.ends or remembers):
        return Merges()
    _read_merges(connection, plan, previous, data_end)
    count = _count(connection, f"SELECT count(*) FROM {MERGES}")
    if not count:
        return Merges(is_mapped=True)
    _reach(connection)
    if circle := _find_circle(connection):
        return Merges(is_mapped=True, found=Findings(problems=[circle]))
    found = Findings(warnings=_lost(connection, plan, previous))
    _make_steps(connection, previous, data_end)
    return Merges(True, _count(connection, f"SELECT count(*) FROM {STEPS}") > 0, found)


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int((connection.execute(query).fetchone() or (0,))[0])


def _read_merges(
    connection: duckdb.DuckDBPyConnection, plan: TablePlan, previous: Previous | None, data_end: datetime
) -> None:
    """Make `merges`: what the source says now, and what it said of customers that it no longer delivers."""
    stored = previous.stored(CUSTOMERS) if previous else None
    before = "SELECT NULL::VARCHAR AS customer_id, NULL::VARCHAR AS merged_into, NULL::TIMESTAMP AS moment WHERE false"
    if previous and stored:
        path = str(previous.tables.path(CUSTOMERS)).replace("'", "''")
        known = MERGED_INTO in stored.columns
        columns = f"any_value({MERGED_INTO}), any_value({MERGED_AT})" if known else "NULL::VARCHAR, NULL::TIMESTAMP"
        before = f"SELECT customer_id, {columns} FROM read_parquet('{path}') GROUP BY customer_id"
    connection.execute(f"CREATE TABLE merged_before(customer_id, merged_into, moment) AS {before}")
    seen, end = (f"TIMESTAMP '{moment}'" for moment in (data_end - TICK, data_end))
    says = "" if MERGED_INTO in plan.ends else "WHERE false"
    into, at = (name if name in plan.ends else "NULL" for name in (MERGED_INTO, MERGED_AT))
    unmerged = f"TIMESTAMP '{previous.data_end}'" if previous else "NULL"
    connection.execute(
        f"CREATE TABLE {MERGES} AS "
        f"SELECT now.customer_id, now.merged_into, CASE WHEN old.merged_into = now.merged_into THEN old.moment "
        f"WHEN old.customer_id IS NOT NULL AND now.merged_at < {unmerged} THEN {seen} "
        f"ELSE coalesce(now.merged_at, {seen}) END AS moment "
        f"FROM (SELECT customer_id, {into} AS merged_into, {at}::TIMESTAMP AS merged_at FROM typed_customers {says}) "
        f"AS now LEFT JOIN merged_before AS old USING (customer_id) "
        f"WHERE now.merged_into IS NOT NULL AND coalesce(now.merged_at < {end}, true) "
        f"UNION ALL SELECT * FROM merged_before WHERE merged_into IS NOT NULL "
        f"AND customer_id NOT IN (SELECT customer_id FROM typed_customers)"
    )


def _reach(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `reached`: everyone at the end of a step of a chain, however long; a circle comes back to its start."""
    connection.execute(
        f"CREATE TABLE reached AS WITH RECURSIVE reached(origin, target, moment, depth) AS ("
        f"SELECT customer_id, merged_into, moment, 1 FROM {MERGES} UNION ALL "
        f"SELECT r.origin, m.merged_into, greatest(r.moment, m.moment), depth + 1 FROM reached AS r "
        f"JOIN {MERGES} AS m ON m.customer_id = r.target WHERE r.target <> r.origin AND depth < 1000) "
        f"SELECT * FROM reached"
    )


def _find_circle(connection: duckdb.DuckDBPyConnection) -> str | None:
    in_circle = connection.execute("SELECT DISTINCT origin FROM reached WHERE origin = target ORDER BY 1").fetchall()
    if not in_circle:
        return None
    shown = ", ".join([str(one) for (one,) in in_circle[:5]] + ["..."] * (len(in_circle) > 5))
    return (
        f"Table 'customers': {len(in_circle):,} customers are merged in a circle ({shown}), expected a survivor at the "
        "end of every chain of merged_into. Correct merged_into at the source or set it to null in "
        "tables.customers.select."
    )


def _lost(connection: duckdb.DuckDBPyConnection, plan: TablePlan, previous: Previous | None) -> list[str]:
    """Leave merges into nobody out of the chains, and count them."""
    condition = (
        "merged_into NOT IN (SELECT customer_id FROM typed_customers UNION ALL SELECT customer_id FROM merged_before)"
    )
    connection.execute(f"CREATE TABLE lost AS SELECT row_number() OVER () AS __row, * FROM {MERGES} WHERE {condition}")
    rows = Rows(connection, "lost", plan.mapping.sensitive)
    count = rows.counts({})["rows"]
    if not count:
        return []
    shown = rows.shown(MERGED_INTO, "true")
    connection.execute("DELETE FROM reached WHERE target IN (SELECT merged_into FROM lost)")
    return [f"{count:,} rows are merged into a customer that is not there ({shown}): their rows stay"]


def _make_steps(connection: duckdb.DuckDBPyConnection, previous: Previous | None, data_end: datetime) -> None:
    """Make `merge_steps` and `survivors` of the chains; of several steps at one moment the last one counts."""
    sets = "SELECT origin, target, moment, depth, false AS is_stored FROM reached"
    if previous is not None:
        late = f"CASE WHEN moment < TIMESTAMP '{previous.data_end}' THEN TIMESTAMP '{data_end - TICK}' ELSE moment END"
        moment = f"max({late}) OVER (PARTITION BY origin ORDER BY depth)"
        sets += f" UNION ALL SELECT origin, target, {moment}, depth, true FROM reached"
    connection.execute(
        f"CREATE TABLE {STEPS} AS WITH sets AS ({sets}), moves AS (SELECT origin, target, moment, is_stored FROM sets "
        "QUALIFY row_number() OVER (PARTITION BY is_stored, origin, moment ORDER BY depth DESC) = 1), "
        "steps AS (SELECT DISTINCT origin, origin AS target, TIMESTAMP '-infinity' AS begins, is_stored FROM moves "
        "UNION ALL SELECT * FROM moves) "
        "SELECT *, lead(begins) OVER (PARTITION BY is_stored, origin ORDER BY begins) AS ends FROM steps"
    )
    connection.execute(
        f"CREATE TABLE {SURVIVORS} AS SELECT origin, target FROM {STEPS} WHERE ends IS NULL AND NOT is_stored"
    )


def follow_survivors(rows: str, is_stored: bool) -> str:
    """Return the SELECT in which rows with a `customer_id` belong to the survivor from each merge on."""
    until = "least(r.known_until, s.ends)"  # which passes over nulls
    return (
        "SELECT r.* REPLACE (coalesce(s.target, r.customer_id) AS customer_id, "
        f"greatest(r.known_at, s.begins) AS known_at, {until} AS known_until) "
        f"FROM {rows} AS r LEFT JOIN {STEPS} AS s ON s.origin = r.customer_id AND s.is_stored = {is_stored} "
        f"WHERE s.origin IS NULL OR coalesce(greatest(r.known_at, s.begins) < {until}, true)"
    )
