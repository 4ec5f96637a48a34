"""Everything between a source and the disk: read, cast, check."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import duckdb

from features.errors import DataError
from features.tables import TABLES
from pipeline.adapters.protocol import SourceAdapter
from pipeline.compare import Before, Stored, check_columns, check_previous, check_types, describe_delivered
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.findings import Findings, Period
from pipeline.history import CHANGES, check_history, count_strangers
from pipeline.incremental import Reading, read_table
from pipeline.left_out import leave_out
from pipeline.mapping import TablePlan, plan_table
from pipeline.previous import Previous
from pipeline.quarantine import is_held_back, set_aside
from pipeline.row_checks import NEVER_EMPTY, check_rows
from pipeline.rows import Rows
from pipeline.staging import Delivered, quote
from pipeline.validate import check_casts, check_currency, check_references


@dataclass
class Intake:
    """The tables of one extract in DuckDB, and all that was found in them.

    Parameters
    ----------
    period : Period
        When rows may have happened.
    plans : dict of table to TablePlan
        Tables that were read, those that `customers` and `deals` point at first.
    rows_read, rows : dict of table to int
        Rows delivered, and rows left after the checks. Of a table that is read incrementally `rows` is
        to become all rows that hold, before `check_previous` is called.
    findings : dict of table to Findings
        Per table; its problems are in `problems` too. Rows that are `quarantined` are in
        `quarantine_<table>`.
    mistakes, problems : list of str
        One sentence each: what is wrong with the config, and with the rows.
    before : mapping of table to Before
        What the extract before was delivered.
    accept_schema : bool
        Whether a person goes on with columns that are gone or have another type.
    delivered : dict of table to dict
        What this extract was delivered, for the manifest.
    keys_read : dict of table to str
        Tables of which not all rows were read, or used; see `Memory`.
    known_rows, source_rows : dict of table to int
        Rows of each table, those that were not read too; and rows that the source has of it.
    swept : dict of table to datetime
        When all keys of tables that are read incrementally were last compared (UTC).

    """

    period: Period
    before: Mapping[str, Before] = field(default_factory=dict)
    accept_schema: bool = False
    plans: dict[str, TablePlan] = field(default_factory=dict)
    rows_read: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    findings: dict[str, Findings] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    delivered: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys_read: dict[str, str] = field(default_factory=dict)
    known_rows: dict[str, int] = field(default_factory=dict)
    source_rows: dict[str, int] = field(default_factory=dict)
    swept: dict[str, datetime] = field(default_factory=dict)

    def raise_problems(self) -> None:
        """Raise everything that was found wrong, one line each."""
        lines = "\n".join([*self.mistakes, *self.problems])
        if self.mistakes:
            raise ConfigError(lines)
        if self.problems:
            raise DataError(lines)

    def same_selects(self) -> set[str]:
        """Tables that the extract before read with the same SELECT."""
        selects = {name: one.select for name, one in self.before.items()}
        return {name for name, one in self.delivered.items() if one["select"] == selects.get(name)}

    def quarantined(self) -> list[str]:
        """Tables that have rows in `quarantine_<table>`."""
        return [name for name, found in self.findings.items() if found.quarantined]

    def check_previous(self, stored: Stored | None, config: Config, *, accept_shrink: bool) -> None:
        """Compare the end of the data and the rows that hold now with the stored tables.

        The rows of a table that has problems are not counted yet.
        """
        rows = {name: count for name, count in self.rows.items() if not self.findings[name].problems}
        share = config.source.shrink_share
        self.problems += check_previous(
            stored, rows, self.period.data_end, shrink_share=share, accept_shrink=accept_shrink
        )

    def note(self, table: str, reading: Reading) -> None:
        """Note how a table was read."""
        self.known_rows[table], self.source_rows[table] = reading.rows, reading.source_rows
        if reading.still_there is not None:
            self.keys_read[table] = reading.still_there
        if reading.swept_at is not None:
            self.swept[table] = reading.swept_at
        self.add(table, Findings(warnings=list(reading.warnings)))

    def add(self, table: str, found: Findings) -> None:
        """Add what a check found in a table."""
        self.problems += found.problems
        self.findings.setdefault(table, Findings()).add(found)


def take_in(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    adapter: SourceAdapter,
    stored: Stored | None = None,
    *,
    accept_schema: bool = False,
    previous: Previous | None = None,
) -> Intake:
    """Read all tables of a deployment into `typed_<table>` and check them.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        An empty database.
    config : Config
        The deployment.
    adapter : SourceAdapter
        Where to read.
    stored : Stored, optional
        What the extract before stored and was delivered.
    accept_schema : bool
        Go on with columns that are gone or have another type.
    previous : Previous, optional
        What this extract remembers.

    """
    intake = Intake(Period(adapter.data_end()), stored.before if stored else {}, accept_schema)
    delivered = _stage_all(connection, config, adapter, intake, previous)
    intake.period = replace(intake.period, read_until=adapter.clock())
    for name, found in leave_out(connection, config, delivered).items():
        intake.add(name, found)
    typed = [name for name, table in delivered.items() if _type_table(connection, config, intake, name, table)]
    keys = {name: _known_keys(name, previous) for name in typed if TABLES[name].key and intake.rows[name]}
    for name in typed:
        plan = intake.plans[name]
        known = intake.known_rows[name]
        intake.add(name, check_references(connection, plan, keys, config.source.orphan_share, known))
    if CHANGES in typed:
        entities = [intake.plans[name] for name in typed if TABLES[name].is_entity]
        _check_changes(connection, config, intake, entities, keys)
    for name in typed:
        _count_left(connection, intake, name)
    return intake


def _known_keys(name: str, previous: Previous | None) -> str:
    """Return the SELECT of all keys of a table, those that the source had once and has no longer too."""
    key = quote(str(TABLES[name].key))
    known = f"SELECT {key} FROM {quote(f'typed_{name}')} WHERE {key} IS NOT NULL"  # noqa: S608
    if previous is None or previous.stored(name) is None:
        return known
    path = str(previous.tables.path(name)).replace("'", "''")
    return f"{known} UNION ALL SELECT {key} FROM read_parquet('{path}')"  # noqa: S608


def _stage_all(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    adapter: SourceAdapter,
    intake: Intake,
    previous: Previous | None,
) -> dict[str, Delivered]:
    """Load every table of the config that can be read into `raw_<table>`."""
    delivered: dict[str, Delivered] = {}
    for name in (name for name in TABLES if name in config.tables):
        try:
            reading = read_table(connection, config, adapter, name, previous)
        except ConfigError as error:
            intake.mistakes.append(str(error))
        except DataError as error:
            intake.problems.append(str(error))
        else:
            delivered[name] = reading.delivered
            intake.note(name, reading)
    return delivered


def _count_left(connection: duckdb.DuckDBPyConnection, intake: Intake, name: str) -> None:
    """Count what the checks left of a table; some tables must not end up empty."""
    found = intake.findings[name]
    if found.dropped or found.quarantined:
        left = Rows(connection, f"typed_{name}").counts({})["rows"]
        intake.rows[name] = intake.known_rows[name] - intake.rows_read[name] + left
    if name in NEVER_EMPTY and not intake.rows[name] and not found.problems:
        intake.problems.append(
            f"Table '{name}': none of {intake.rows_read[name]:,} rows are left, expected at least one. "
            "See what `leadsieve extract --dry-run` says was dropped."
        )


def _type_table(
    connection: duckdb.DuckDBPyConnection, config: Config, intake: Intake, name: str, delivered: Delivered
) -> bool:
    """Make `typed_<table>` of `raw_<table>`; False if that cannot be done."""
    before, accept = intake.before.get(name), intake.accept_schema
    schema = check_columns(TABLES[name], config.tables[name], delivered, before, accept_schema=accept)
    plan = plan_table(TABLES[name], schema.mapping, delivered.columns, config.time_zone, schema.stored)
    intake.plans[name] = plan
    intake.rows_read[name], intake.rows[name] = delivered.rows, intake.known_rows[name]
    intake.add(name, schema.findings)
    intake.add(name, Findings(problems=list(plan.problems)))
    intake.mistakes += plan.mistakes
    if plan.mistakes or plan.problems:
        return False
    connection.execute(f"CREATE TABLE {quote(f'typed_{name}')} AS {plan.select()}")
    unreadable = check_casts(connection, plan)
    intake.add(name, check_types(plan, delivered, before, unreadable, accept_schema=accept))
    intake.delivered[name] = describe_delivered(plan, delivered, before, schema, unreadable)
    bad = list(unreadable.values())
    if "currency" in delivered.columns:
        bad += check_currency(connection, plan, config.currency)
    known = intake.known_rows[name]
    found = check_rows(connection, plan, intake.period) if delivered.rows or not known else Findings()
    intake.add(name, found)
    intake.add(name, set_aside(connection, plan, [*bad, *found.bad], known, config.source.bad_share))
    if plan.spec.key and intake.findings[name].quarantined:
        parts = [intake.keys_read.get(name), is_held_back(name)]
        intake.keys_read[name] = " OR ".join(f"({part})" for part in parts if part)
    if name != CHANGES:  # whose values are checked against all other tables
        connection.execute(f"DROP TABLE {quote(f'raw_{name}')}")
    return True


def _check_changes(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    intake: Intake,
    entities: list[TablePlan],
    keys: Mapping[str, str],
) -> None:
    """Check the attribute history of all entity tables."""
    bad = []
    for plan in entities:
        found = check_history(connection, plan)
        intake.add(plan.name, found)
        bad += found.bad
    earlier = sum(intake.findings[CHANGES].quarantined.values())
    read, share = intake.rows_read[CHANGES], config.source.bad_share
    intake.add(CHANGES, set_aside(connection, intake.plans[CHANGES], bad, read, share, earlier))
    intake.add(CHANGES, Findings(warnings=count_strangers(connection, entities, keys)))
