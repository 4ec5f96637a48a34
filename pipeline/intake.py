"""Everything between a source and the disk: read, cast, check."""

from dataclasses import dataclass, field, replace

import duckdb

from features.errors import DataError
from features.tables import TABLES
from pipeline.adapters.protocol import SourceAdapter
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.findings import Findings, Period
from pipeline.history import CHANGES, check_history, count_strangers
from pipeline.left_out import leave_out
from pipeline.mapping import TablePlan, plan_table
from pipeline.quarantine import set_aside
from pipeline.row_checks import NEVER_EMPTY, check_rows
from pipeline.rows import Rows
from pipeline.staging import Delivered, quote, stage
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
        Rows delivered, and rows left after the checks.
    findings : dict of table to Findings
        Per table; its problems are in `problems` too. Rows that are `quarantined` are in
        `quarantine_<table>`.
    mistakes, problems : list of str
        One sentence each: what is wrong with the config, and with the rows.

    """

    period: Period
    plans: dict[str, TablePlan] = field(default_factory=dict)
    rows_read: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    findings: dict[str, Findings] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def filled(self) -> list[TablePlan]:
        """Tables that have rows to store."""
        return [plan for name, plan in self.plans.items() if self.rows[name]]

    def raise_problems(self) -> None:
        """Raise everything that was found wrong, one line each."""
        lines = "\n".join([*self.mistakes, *self.problems])
        if self.mistakes:
            raise ConfigError(lines)
        if self.problems:
            raise DataError(lines)

    def quarantined(self) -> list[str]:
        """Tables that have rows in `quarantine_<table>`."""
        return [name for name, found in self.findings.items() if found.quarantined]

    def add(self, table: str, found: Findings) -> None:
        """Add what a check found in a table."""
        self.problems += found.problems
        self.findings.setdefault(table, Findings()).add(found)


def take_in(connection: duckdb.DuckDBPyConnection, config: Config, adapter: SourceAdapter) -> Intake:
    """Read all tables of a deployment into `typed_<table>` and check them.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        An empty database.
    config : Config
        The deployment.
    adapter : SourceAdapter
        Where to read.

    """
    intake = Intake(Period(adapter.data_end()))
    delivered = _stage_all(connection, config, adapter, intake)
    intake.period = replace(intake.period, read_until=adapter.clock())
    for name, dropped in leave_out(connection, config, delivered).items():
        intake.add(name, Findings(dropped=dropped))
    typed = [name for name, table in delivered.items() if _type_table(connection, config, intake, name, table)]
    keys = {name: str(TABLES[name].key) for name in typed if TABLES[name].key and intake.rows_read[name]}
    for name in typed:
        plan = intake.plans[name]
        intake.add(name, check_references(connection, plan, keys, config.source.orphan_share))
    if CHANGES in typed:
        _check_changes(connection, config, intake, [intake.plans[name] for name in typed if TABLES[name].is_entity])
    for name in typed:
        _count_left(connection, intake, name)
    return intake


def _stage_all(
    connection: duckdb.DuckDBPyConnection, config: Config, adapter: SourceAdapter, intake: Intake
) -> dict[str, Delivered]:
    """Load every table of the config that can be read into `raw_<table>`."""
    delivered: dict[str, Delivered] = {}
    for name in (name for name in TABLES if name in config.tables):
        try:
            delivered[name] = stage(connection, name, adapter.read(name))
        except ConfigError as error:
            intake.mistakes.append(str(error))
        except DataError as error:
            intake.problems.append(str(error))
    return delivered


def _count_left(connection: duckdb.DuckDBPyConnection, intake: Intake, name: str) -> None:
    """Count what the checks left of a table; some tables must not end up empty."""
    found = intake.findings[name]
    if found.dropped or found.quarantined:
        intake.rows[name] = Rows(connection, f"typed_{name}").counts({})["rows"]
    if name in NEVER_EMPTY and not intake.rows[name] and not found.problems:
        intake.problems.append(
            f"Table '{name}': none of {intake.rows_read[name]:,} rows are left, expected at least one. "
            "See what `leadsieve extract --dry-run` says was dropped."
        )


def _type_table(
    connection: duckdb.DuckDBPyConnection, config: Config, intake: Intake, name: str, delivered: Delivered
) -> bool:
    """Make `typed_<table>` of `raw_<table>`; False if that cannot be done."""
    plan = plan_table(TABLES[name], config.tables[name], delivered.columns, config.time_zone)
    intake.plans[name] = plan
    intake.rows_read[name] = intake.rows[name] = delivered.rows
    intake.add(name, Findings(problems=list(plan.problems)))
    intake.mistakes += plan.mistakes
    if plan.mistakes or plan.problems:
        return False
    connection.execute(f"CREATE TABLE {quote(f'typed_{name}')} AS {plan.select()}")
    bad = check_casts(connection, plan)
    if "currency" in delivered.columns:
        bad += check_currency(connection, plan, config.currency)
    found = check_rows(connection, plan, intake.period)
    intake.add(name, found)
    intake.add(name, set_aside(connection, plan, [*bad, *found.bad], delivered.rows, config.source.bad_share))
    if name != CHANGES:  # whose values are checked against all other tables
        connection.execute(f"DROP TABLE {quote(f'raw_{name}')}")
    return True


def _check_changes(
    connection: duckdb.DuckDBPyConnection, config: Config, intake: Intake, entities: list[TablePlan]
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
    intake.add(CHANGES, Findings(warnings=count_strangers(connection, entities)))
