# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""What is wrong with the rows of a source, one sentence per problem.

Nothing here changes a table unless the config says that such rows are dropped; what was dropped
is counted. Rows are compared with two limits: they cannot be known before they occurred, and
nothing can have happened at or after `data_end`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import duckdb

from pipeline.mapping import KNOWN_AT, TablePlan
from pipeline.normalise import EXPECTED, can_fail, delivered
from pipeline.rows import Rows
from pipeline.staging import quote

NEVER_EMPTY = ("customers", "deals")
"""Tables without which nothing can be predicted."""

_MAY_BE_NULL = ("amount", "old_value", "new_value", "answer", "outcome", "closed_at")


@dataclass(frozen=True)
class Period:
    """Until when rows may have happened.

    A source that grows while it is read has rows in `[data_end, read_until]`: they are left to the
    next extract. Rows after that, and rows at or after `data_end` of a source that stands still, are wrong.
    """

    data_end: datetime
    read_until: datetime | None = None


@dataclass
class Findings:
    """What checks found in one table: problems stop the extract, the rest is reported."""

    problems: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Add what another check found."""
        self.problems += other.problems
        self.dropped |= other.dropped
        self.warnings += other.warnings


def check_casts(connection: duckdb.DuckDBPyConnection, plan: TablePlan) -> list[str]:
    """One sentence per column of `raw_<table>` that has values which cannot be read as its type."""
    raw = Rows(connection, f"raw_{plan.name}")
    doubtful = [one for one in plan.casts if can_fail(one.duck_type, one.kind)]
    bad = {
        one.name: f"({delivered(quote(one.source), one.duck_type)}) IS NOT NULL AND ({one.expression}) IS NULL"
        for one in doubtful
    }
    counts = raw.counts(bad) if bad else {}
    return [
        (
            f"Table '{plan.name}': {counts[one.name]:,} of {counts['rows']:,} values of column '{one.source}' "
            f"cannot be read ({raw.shown(f'CAST({quote(one.source)} AS VARCHAR)', bad[one.name])}), expected "
            f"{EXPECTED[one.kind]}. Fix them at the source or convert the column in tables.{plan.name}.select."
        )
        for one in doubtful
        if counts[one.name]
    ]


def check_currency(connection: duckdb.DuckDBPyConnection, table: str, currency: str) -> list[str]:
    """One sentence if a `currency` column of `raw_<table>` has another currency than the deployment's."""
    raw = Rows(connection, f"raw_{table}")
    other = f"upper(trim(CAST(currency AS VARCHAR))) NOT IN ('', '{currency.upper()}')"
    count = raw.counts({"other": other})["other"]
    if not count:
        return []
    sentence = (
        f"Table '{table}': {count:,} rows have another currency than {currency} "
        f"({raw.shown('CAST(currency AS VARCHAR)', other)}). A deployment has one currency. Convert the amounts "
        f"or filter the rows in tables.{table}.select, or correct `currency`."
    )
    return [sentence]


def check_rows(connection: duckdb.DuckDBPyConnection, plan: TablePlan, period: Period) -> Findings:
    """Check `typed_<table>` by itself: required values, keys, both clocks; drop what the config drops."""
    table = _Table(plan, Rows(connection, f"typed_{plan.name}"), period)
    counts = table.rows.counts(table.conditions(), distinct=plan.spec.key)
    found = Findings()
    if counts["rows"]:
        table.check_nulls(counts, found)
        table.check_unique(counts, found)
        table.check_late(counts, found)
        table.check_outside(counts, found)
        table.warn_undated(counts, found)
        table.check_outcomes(found)
    elif plan.name in NEVER_EMPTY:
        found.problems.append(
            f"Table '{plan.name}': the SELECT delivers no rows, expected at least one. Check that the source is "
            f"filled and that the WHERE of tables.{plan.name}.select lets rows through."
        )
    else:
        found.warnings.append("the SELECT delivers no rows: the table is left out")
    return found


@dataclass(frozen=True)
class _Table:
    """One typed table and the conditions that its rows should not meet."""

    plan: TablePlan
    rows: Rows
    period: Period

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def late(self) -> str:
        return f"{KNOWN_AT} < {quote(self.plan.spec.time)}"

    @property
    def nulls(self) -> dict[str, str]:
        """Required columns."""
        required = (column for column in self.plan.spec.required if column not in _MAY_BE_NULL)
        return {f"null {column}": f"{quote(column)} IS NULL" for column in required}

    @property
    def undated(self) -> dict[str, str]:
        """A value that is filled later, without the time at which it was."""
        return {
            f"undated {column}": f"{quote(column)} IS NOT NULL AND {quote(time)} IS NULL"
            for column, time in self.plan.revealed.items()
            if column != time
        }

    @property
    def outside(self) -> dict[str, str]:
        """Rows, and values that were revealed, after the end of the data (beyond) or while reading (arrived)."""
        row = f"greatest({quote(self.plan.spec.time)}, {KNOWN_AT})"
        moments = {self.plan.spec.time: row, **{time: quote(clock) for time, clock in self.plan.clocks.items()}}
        end = f"TIMESTAMP '{self.period.data_end}'"
        if self.period.read_until is None:
            return {f"beyond {time}": f"{moment} >= {end}" for time, moment in moments.items()}
        last = f"TIMESTAMP '{self.period.read_until + timedelta(seconds=1)}'"
        arrived = {f"arrived {time}": f"{moment} >= {end} AND {moment} <= {last}" for time, moment in moments.items()}
        return arrived | {f"beyond {time}": f"{moment} > {last}" for time, moment in moments.items()}

    def conditions(self) -> dict[str, str]:
        return {"late": self.late, **self.nulls, **self.outside, **self.undated}

    def examples(self, condition: str) -> str:
        """Name up to five rows by their key, or by an entity's where rows have none."""
        keys = (self.plan.spec.key or "", "deal_id", "entity_id", "customer_id")
        key = next((key for key in keys if key in self.plan.columns), self.plan.spec.time)
        return f"{key} {self.rows.shown(quote(key), condition)}"

    def check_nulls(self, counts: Mapping[str, int], found: Findings) -> None:
        for name, condition in self.nulls.items():
            column = name.removeprefix("null ")
            if counts[name]:
                where = "" if column == self.plan.spec.key else f" ({self.examples(condition)})"
                found.problems.append(
                    f"Table '{self.name}': {counts[name]:,} of {counts['rows']:,} rows have no {column}{where}. Every "
                    "row needs one. Fill it at the source or add `WHERE ... IS NOT NULL` to "
                    f"tables.{self.name}.select."
                )

    def check_unique(self, counts: Mapping[str, int], found: Findings) -> None:
        key = self.plan.spec.key
        if key is None or counts["distinct"] == counts["rows"] - counts[f"null {key}"]:
            return
        repeated = f"{key} IN (SELECT {key} FROM {quote(self.rows.table)} GROUP BY 1 HAVING count(*) > 1)"
        count = self.rows.counts({"repeated": repeated})["repeated"]
        found.problems.append(
            f"Table '{self.name}': {count:,} of {counts['rows']:,} rows repeat a {key} "
            f"({self.rows.shown(key, repeated)}), expected one row for each. Group or filter the rows in "
            f"tables.{self.name}.select."
        )

    def check_outcomes(self, found: Findings) -> None:
        """Deals end won or lost, in these words: labels and features count on it."""
        if self.name != "deals":
            return
        strange = "outcome NOT IN ('won', 'lost')"
        if count := self.rows.counts({"strange": strange})["strange"]:
            found.problems.append(
                f"Table 'deals': {count:,} rows have another outcome than 'won', 'lost' or null "
                f"({self.rows.shown('outcome', strange)}). Translate it in tables.deals.select, for example with "
                "CASE stage WHEN 'Closed Won' THEN 'won' WHEN 'Closed Lost' THEN 'lost' END."
            )

    def check_late(self, counts: Mapping[str, int], found: Findings) -> None:
        time = self.plan.spec.time
        if counts["late"] and self.plan.mapping.late_rows == "drop":
            found.dropped[f"known before {time}"] = self.rows.delete(self.late)
        elif counts["late"]:
            found.problems.append(
                f"Table '{self.name}': {counts['late']:,} of {counts['rows']:,} rows have known_at before {time} "
                f"({self.examples(self.late)}). A row cannot be known before it happens. "
                "Fix them at the source or set `late_rows: drop`."
            )

    def check_outside(self, counts: Mapping[str, int], found: Findings) -> None:
        """Rows after the end of the data are dropped, values revealed after it cleared, or it stops the extract."""
        for name, condition in self.outside.items():
            what, _, time = name.partition(" ")
            reason = "arrived while reading" if what == "arrived" else "at or after data_end"
            if not counts[name]:
                continue
            if what == "beyond" and self.plan.mapping.late_rows == "stop":
                found.problems.append(
                    f"Table '{self.name}': {counts[name]:,} of {counts['rows']:,} rows have {time} or its known_at at "
                    f"or after data_end {self.period.data_end} ({self.examples(condition)}). Nothing can have "
                    "happened after the end of the data. Correct source.data_end or the rows, or set "
                    "`late_rows: drop`."
                )
            elif time == self.plan.spec.time:
                found.dropped[reason] = self.rows.delete(condition)
            else:
                columns = [column for column, shown_by in self.plan.revealed.items() if shown_by == time]
                count = self.rows.clear([*columns, self.plan.clocks[time]], condition)
                found.warnings.append(f"{count:,} rows have {time} {reason}: {', '.join(columns)} cleared")

    def warn_undated(self, counts: Mapping[str, int], found: Findings) -> None:
        for name in self.undated:
            column = name.removeprefix("undated ")
            if counts[name]:
                time = self.plan.revealed[column]
                found.warnings.append(f"{counts[name]:,} rows have {column} but no {time}: it counts as never filled")


def check_references(
    connection: duckdb.DuckDBPyConnection, plan: TablePlan, keys: Mapping[str, str], orphan_share: float
) -> Findings:
    """Check foreign keys of `typed_<table>`; drop orphans up to a share of the rows.

    A customer whose parent is unknown stays and loses its parent.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Holds the typed tables.
    plan : TablePlan
        The table whose keys are checked.
    keys : mapping of table to key column
        Tables that keys can point at; references to others are not checked.
    orphan_share : float
        Share of rows that may point at nothing.

    """
    found = Findings()
    rows = Rows(connection, f"typed_{plan.name}")
    targets = {column: to for column, to in plan.spec.references.items() if column in plan.columns and to in keys}
    orphans = {
        column: f"{quote(column)} NOT IN (SELECT {keys[to]} FROM {quote(f'typed_{to}')} WHERE {keys[to]} IS NOT NULL)"
        for column, to in targets.items()
    }
    counts = rows.counts(orphans) if orphans else {}
    for column, orphan in orphans.items():
        count, to = counts[column], targets[column]
        if count > orphan_share * counts["rows"]:
            found.problems.append(
                f"Table '{plan.name}': {count:,} of {counts['rows']:,} rows have a {column} that is not in {to} "
                f"({rows.shown(quote(column), orphan)}), more than the share of {orphan_share:g} that "
                f"source.orphan_share allows. Deliver those {to}, filter the rows in tables.{plan.name}.select, "
                "or raise source.orphan_share."
            )
        elif count and to == plan.name:
            rows.clear([column], orphan)
            found.warnings.append(f"{count:,} rows have a {column} that is not in {to}: it was cleared")
        elif count:
            found.dropped[f"{column} is not in {to}"] = rows.delete(orphan)
    return found
