"""What is wrong with the rows of a source beside other things: their types, the deployment, other tables.

Bad rows are named by a condition; `pipeline.quarantine` decides whether there are few enough to go
on without them.
"""

from collections.abc import Mapping

import duckdb

from pipeline.findings import Bad, Findings
from pipeline.mapping import TablePlan
from pipeline.normalise import EXPECTED, can_fail, delivered
from pipeline.rows import Rows
from pipeline.sentences import rows_have
from pipeline.staging import quote


def check_casts(connection: duckdb.DuckDBPyConnection, plan: TablePlan) -> dict[str, Bad]:
    """Find values of `raw_<table>` that cannot be read as the type of their column, by delivered column."""
    raw = Rows(connection, f"raw_{plan.name}", plan.mapping.sensitive)
    doubtful = {one.source: one for one in plan.casts if can_fail(one.duck_type, one.kind)}
    bad = {
        source: f"({delivered(quote(source), one.duck_type)}) IS NOT NULL AND ({one.expression}) IS NULL"
        for source, one in doubtful.items()
    }
    counts = raw.counts(bad) if bad else {}
    return {
        source: Bad(
            f"{source} cannot be read",
            raw.table,
            bad[source],
            f"Table '{plan.name}': {counts[source]:,} of {counts['rows']:,} values of column '{source}' "
            f"cannot be read ({raw.shown(f'CAST({quote(source)} AS VARCHAR)', bad[source])}), expected "
            f"{EXPECTED[one.kind]}. Fix them at the source or convert the column in tables.{plan.name}.select.",
        )
        for source, one in doubtful.items()
        if counts[source]
    }


def check_currency(connection: duckdb.DuckDBPyConnection, plan: TablePlan, currency: str) -> list[Bad]:
    """Find rows of `raw_<table>` whose column `currency` has another one than the deployment's."""
    raw = Rows(connection, f"raw_{plan.name}", plan.mapping.sensitive)
    other = f"upper(trim(CAST(currency AS VARCHAR))) NOT IN ('', '{currency.upper()}')"
    count = raw.counts({"other": other})["other"]
    if not count:
        return []
    sentence = (
        f"Table '{plan.name}': {rows_have(count)} another currency than {currency} "
        f"({raw.shown('CAST(currency AS VARCHAR)', other)}). A deployment has one currency. Convert the amounts "
        f"or filter the rows in tables.{plan.name}.select, or correct `currency`."
    )
    return [Bad(f"another currency than {currency}", raw.table, other, sentence)]


def check_references(
    connection: duckdb.DuckDBPyConnection,
    plan: TablePlan,
    keys: Mapping[str, str],
    orphan_share: float,
    known_rows: int,
) -> Findings:
    """Check foreign keys of `typed_<table>`; drop orphans up to a share of the rows.

    A customer whose parent is unknown stays and loses its parent.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Holds the typed tables.
    plan : TablePlan
        The table whose keys are checked.
    keys : mapping of table to SELECT
        The keys that can be pointed at, null never among them; references to other tables are not checked.
    orphan_share : float
        Share of rows that may point at nothing.
    known_rows : int
        Rows of the table, those that were not read this time too.

    """
    found = Findings()
    rows = Rows(connection, f"typed_{plan.name}", plan.mapping.sensitive)
    targets = {column: to for column, to in plan.spec.references.items() if column in plan.columns and to in keys}
    orphans = {column: f"{quote(column)} NOT IN ({keys[to]})" for column, to in targets.items()}
    counts = rows.counts(orphans) if orphans else {}
    for column, orphan in orphans.items():
        count, to = counts[column], targets[column]
        if count > orphan_share * max(known_rows, counts["rows"]):
            found.problems.append(
                f"Table '{plan.name}': {count:,} of {counts['rows']:,} rows have a {column} that is not in {to} "
                f"({rows.shown(quote(column), orphan)}), more than the share of {orphan_share:g} that "
                f"source.orphan_share allows. Deliver those {to}, filter the rows in tables.{plan.name}.select, "
                "or raise source.orphan_share."
            )
        elif count and to == plan.name:
            rows.clear([column], orphan)
            found.warnings.append(f"{rows_have(count)} a {column} that is not in {to}: it was cleared")
        elif count:
            found.dropped[f"{column} is not in {to}"] = rows.delete(orphan)
    return found
