# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""What is wrong with the rows of one table by themselves: required values, keys, both clocks.

Dropped, and counted, are copies of a row, rows that the next extract will have, and what the config
says. Rows are compared with two limits: they cannot be known before they occurred, and nothing can
have happened at or after `data_end`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from pipeline.findings import Bad, Findings, Period
from pipeline.mapping import KNOWN_AT, TablePlan
from pipeline.normalise import is_said_twice
from pipeline.rows import Rows
from pipeline.sentences import rows_have
from pipeline.staging import ROW, quote

NEVER_EMPTY = ("customers", "deals")
"""Tables without which nothing can be predicted."""

_MAY_BE_NULL = ("amount", "old_value", "new_value", "answer", "outcome", "closed_at")


def check_rows(connection: duckdb.DuckDBPyConnection, plan: TablePlan, period: Period) -> Findings:
    """Check `typed_<table>` by itself, `raw_<table>` beside it: required values, keys, both clocks.

    Drops what needs no judgement: copies, rows of the next extract, what the config says.
    """
    table = _Table(plan, Rows(connection, f"typed_{plan.name}", plan.mapping.sensitive), period)
    counts = table.rows.counts(table.conditions(), distinct=plan.spec.key)
    found = Findings()
    if counts["rows"]:
        table.drop_copies(counts, found)
        table.drop_outside(counts, found)
        if found.dropped:
            counts = table.rows.counts(table.conditions(), distinct=plan.spec.key)
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
    def moments(self) -> dict[str, str]:
        """The clock of the row, and of each value that is filled later."""
        row = f"greatest({quote(self.plan.spec.time)}, {KNOWN_AT})"
        return {self.plan.spec.time: row, **{time: quote(clock) for time, clock in self.plan.clocks.items()}}

    @property
    def next_time(self) -> dict[str, str]:
        """What the next extract will have: it arrived while reading, or its local time happens twice.

        An hour that happens twice is read as the later one, which may lie after the end of the data.
        """
        end, last = f"TIMESTAMP '{self.period.data_end}'", f"TIMESTAMP '{self._last}'"
        conditions: dict[str, str] = {}
        if self.period.read_until is not None:
            conditions |= {
                f"arrived {t}": f"{moment} >= {end} AND {moment} <= {last}" for t, moment in self.moments.items()
            }
        if self.plan.zone != "UTC":  # CASE, since AND would look at the time zone in every row
            doubled = {
                t: f"CASE WHEN {moment} >= {end} THEN {is_said_twice(moment, self.plan.zone, last)} ELSE false END"
                for t, moment in self.moments.items()
            }
            conditions |= {f"doubled {t}": condition for t, condition in doubled.items()}
        return conditions

    @property
    def _last(self) -> datetime:
        """Last moment at which a row may have arrived."""
        if self.period.read_until is None:
            return self.period.data_end - timedelta(microseconds=1)
        return self.period.read_until + timedelta(seconds=1)

    @property
    def beyond(self) -> dict[str, str]:
        """Rows, and values that were revealed, after the end of the data."""
        return {f"beyond {time}": f"{moment} > TIMESTAMP '{self._last}'" for time, moment in self.moments.items()}

    def conditions(self) -> dict[str, str]:
        return {"late": self.late, **self.nulls, **self.next_time, **self.beyond, **self.undated}

    def examples(self, condition: str) -> str:
        """Name up to five rows by their key, or by an entity's where rows have none."""
        keys = (self.plan.spec.key or "", "deal_id", "entity_id", "customer_id")
        key = next((key for key in keys if key in self.plan.columns), self.plan.spec.time)
        return f"{key} {self.rows.shown(quote(key), condition)}"

    def bad(self, reason: str, condition: str, sentence: str) -> Bad:
        return Bad(reason, self.rows.table, condition, f"Table '{self.name}': {sentence}")

    def drop_copies(self, counts: Mapping[str, int], found: Findings) -> None:
        """Drop rows that a source delivered twice, with the same key and the same content."""
        key = self.plan.spec.key
        if key is None or not self._repeats(counts):
            return
        names = [name for name, *_ in self.rows.connection.execute(f"DESCRIBE {quote(f'raw_{self.name}')}").fetchall()]
        content = ", ".join(quote(name) for name in names if name != ROW)
        copies = (
            f"{ROW} IN (SELECT {ROW} FROM {quote(f'raw_{self.name}')} WHERE {ROW} IN (SELECT {ROW} FROM "
            f"{quote(self.rows.table)} WHERE {self._repeated}) "
            f"QUALIFY row_number() OVER (PARTITION BY {content} ORDER BY {ROW}) > 1)"
        )
        if count := self.rows.delete(copies):
            found.dropped[f"copies of a row with the same {key}"] = count

    def drop_outside(self, counts: Mapping[str, int], found: Findings) -> None:
        """Drop rows that the next extract will have, and rows that the config says so about; clear such values."""
        reasons = {
            "arrived": "arrived while reading",
            "doubled": "in an hour that happens twice, perhaps after data_end",
            "beyond": "at or after data_end",
        }
        conditions = dict(self.next_time)
        if self.plan.mapping.late_rows == "drop":
            conditions |= {"late": self.late, **self.beyond}
        for name, condition in conditions.items():
            what, _, time = name.partition(" ")
            if not counts[name]:
                continue
            if what == "late":
                found.dropped[f"known before {self.plan.spec.time}"] = self.rows.delete(condition)
            elif time == self.plan.spec.time:
                found.dropped[reasons[what]] = self.rows.delete(condition)
            else:
                columns = [column for column, shown_by in self.plan.revealed.items() if shown_by == time]
                if count := self.rows.clear([*columns, self.plan.clocks[time]], condition):
                    found.warnings.append(f"{rows_have(count)} {time} {reasons[what]}: {', '.join(columns)} cleared")

    def check_nulls(self, counts: Mapping[str, int], found: Findings) -> None:
        for name, condition in self.nulls.items():
            column = name.removeprefix("null ")
            if counts[name]:
                where = "" if column == self.plan.spec.key else f" ({self.examples(condition)})"
                sentence = (
                    f"{counts[name]:,} of {counts['rows']:,} rows have no {column}{where}. Every "
                    "row needs one. Fill it at the source or add `WHERE ... IS NOT NULL` to "
                    f"tables.{self.name}.select."
                )
                found.bad.append(self.bad(f"no {column}", condition, sentence))

    @property
    def _repeated(self) -> str:
        key = self.plan.spec.key
        return f"{key} IN (SELECT {key} FROM {quote(self.rows.table)} GROUP BY 1 HAVING count(*) > 1)"

    def _repeats(self, counts: Mapping[str, int]) -> bool:
        key = self.plan.spec.key
        return key is not None and counts["distinct"] < counts["rows"] - counts[f"null {key}"]

    def check_unique(self, counts: Mapping[str, int], found: Findings) -> None:
        if not self._repeats(counts):
            return
        key = str(self.plan.spec.key)
        count = self.rows.counts({"repeated": self._repeated})["repeated"]
        sentence = (
            f"{count:,} of {counts['rows']:,} rows repeat a {key} "
            f"({self.rows.shown(key, self._repeated)}), expected one row for each. Group or filter the rows in "
            f"tables.{self.name}.select."
        )
        found.bad.append(self.bad(f"{key} is repeated with different content", self._repeated, sentence))

    def check_outcomes(self, found: Findings) -> None:
        """Deals end won or lost, in these words: labels and features count on it."""
        if self.name != "deals":
            return
        strange = "outcome NOT IN ('won', 'lost')"
        if count := self.rows.counts({"strange": strange})["strange"]:
            sentence = (
                f"{rows_have(count)} another outcome than 'won', 'lost' or null "
                f"({self.rows.shown('outcome', strange)}). Translate it in tables.deals.select, for example with "
                "CASE stage WHEN 'Closed Won' THEN 'won' WHEN 'Closed Lost' THEN 'lost' END."
            )
            found.bad.append(self.bad("outcome is not 'won', 'lost' or null", strange, sentence))

    def check_late(self, counts: Mapping[str, int], found: Findings) -> None:
        time = self.plan.spec.time
        if counts["late"]:
            sentence = (
                f"{counts['late']:,} of {counts['rows']:,} rows have known_at before {time} "
                f"({self.examples(self.late)}). A row cannot be known before it happens. "
                "Fix them at the source or set `late_rows: drop`."
            )
            found.bad.append(self.bad(f"known_at before {time}", self.late, sentence))

    def check_outside(self, counts: Mapping[str, int], found: Findings) -> None:
        """Nothing can have happened, or been revealed, after the end of the data."""
        for name, condition in self.beyond.items():
            time = name.removeprefix("beyond ")
            if counts[name]:
                sentence = (
                    f"{counts[name]:,} of {counts['rows']:,} rows have {time} or its known_at at "
                    f"or after data_end {self.period.data_end} ({self.examples(condition)}). Nothing can have "
                    "happened after the end of the data. Correct source.data_end or the rows, or set "
                    "`late_rows: drop`."
                )
                found.bad.append(self.bad(f"{time} or its known_at at or after data_end", condition, sentence))

    def warn_undated(self, counts: Mapping[str, int], found: Findings) -> None:
        for name in self.undated:
            column = name.removeprefix("undated ")
            if counts[name]:
                time = self.plan.revealed[column]
                found.warnings.append(f"{rows_have(counts[name])} {column} but no {time}: it counts as never filled")
