"""The ledger's tables, as numbered migrations: each is applied once, in order, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, DateTime, Engine, Integer, String, column, insert, inspect, select, table, text

from pipeline.database import writing
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class Migration:
    """One step of the ledger's schema; once released it never changes."""

    number: int
    name: str
    statements: tuple[str, ...]
    of_dialect: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Statements that follow on one database only."""


_WRITES = """CREATE VIEW writes AS
    SELECT b.run_id, b.table_name, {record_id} AS record_id, v.field, {old} AS old, {new} AS new,
        COALESCE(e.state, b.state) AS state, b.action, b.attempts,
        CASE WHEN e.batch IS NULL THEN b.error ELSE e.error END AS error, b.number AS batch,
        COALESCE(e.settled_at, b.settled_at) AS settled_at
    FROM batches b
        JOIN batch_ids i ON i.batch = b.number
        JOIN batch_values v ON v.batch = b.number AND v.part = i.part
        {rows}
        LEFT JOIN batch_exceptions e ON e.batch = b.number AND e.record_id = {record_id} AND e.field = v.field
    WHERE b.replaced = 0 AND COALESCE(e.replaced, 0) = 0
    UNION ALL
    SELECT run_id, table_name, record_id, field, old, new, state, action, attempts, error, batch, settled_at
    FROM single_writes WHERE replaced = 0"""
"""One row for each value; a null is no JSON text there."""


MIGRATIONS = (
    Migration(
        1,
        "runs, scores, writes, decisions, overrides",
        (
            """CREATE TABLE runs (
                run_id VARCHAR(200) PRIMARY KEY,
                kind VARCHAR(40) NOT NULL,
                state VARCHAR(40) NOT NULL,
                started_at TIMESTAMP NOT NULL,
                finished_at TIMESTAMP,
                details TEXT NOT NULL,
                config_text TEXT NOT NULL)""",
            """CREATE TABLE scores (
                run_id VARCHAR(200) NOT NULL REFERENCES runs (run_id),
                target VARCHAR(200) NOT NULL,
                horizon_days INTEGER NOT NULL,
                entity_id VARCHAR(200) NOT NULL,
                as_of TIMESTAMP NOT NULL,
                probability DOUBLE PRECISION,
                log_odds DOUBLE PRECISION,
                points DOUBLE PRECISION,
                grade VARCHAR(40),
                coverage DOUBLE PRECISION,
                model_version VARCHAR(200),
                bundle_sha256 VARCHAR(64),
                card VARCHAR(200),
                card_version VARCHAR(200),
                reasons TEXT,
                PRIMARY KEY (run_id, target, horizon_days, entity_id))""",
            "CREATE INDEX scores_of_an_entity ON scores (entity_id, target, as_of)",
            """CREATE TABLE writes (
                run_id VARCHAR(200) NOT NULL REFERENCES runs (run_id),
                table_name VARCHAR(200) NOT NULL,
                record_id VARCHAR(200) NOT NULL,
                field VARCHAR(200) NOT NULL,
                old TEXT,
                new TEXT,
                state VARCHAR(40) NOT NULL,
                action VARCHAR(40) NOT NULL,
                attempts INTEGER NOT NULL,
                error TEXT,
                batch INTEGER,
                settled_at TIMESTAMP,
                PRIMARY KEY (run_id, table_name, record_id, field))""",
            "CREATE INDEX writes_of_a_batch ON writes (batch)",
            "CREATE INDEX writes_of_a_field ON writes (table_name, field, record_id, batch)",
            "CREATE INDEX writes_outstanding ON writes (table_name) WHERE state IN ('planned', 'intended')",
            """CREATE TABLE decisions (
                decision_id VARCHAR(40) PRIMARY KEY,
                decided_at TIMESTAMP NOT NULL,
                kind VARCHAR(40) NOT NULL,
                subject VARCHAR(200) NOT NULL,
                outcome VARCHAR(40) NOT NULL,
                details TEXT NOT NULL)""",
            """CREATE TABLE overrides (
                override_id VARCHAR(40) PRIMARY KEY,
                made_at TIMESTAMP NOT NULL,
                target VARCHAR(200) NOT NULL,
                entity_id VARCHAR(200) NOT NULL,
                grade VARCHAR(40) NOT NULL,
                reason TEXT NOT NULL,
                author VARCHAR(200) NOT NULL,
                expires_on DATE,
                withdrawn_at TIMESTAMP)""",
        ),
    ),
    Migration(
        2,
        "anonymous counts of forgotten scores",
        (
            """CREATE TABLE forgotten (
                run_id VARCHAR(200) NOT NULL REFERENCES runs (run_id),
                target VARCHAR(200) NOT NULL,
                horizon_days INTEGER NOT NULL,
                grade VARCHAR(40) NOT NULL,
                count INTEGER NOT NULL,
                PRIMARY KEY (run_id, target, horizon_days, grade))""",
        ),
    ),
    Migration(
        3,
        "intervals, value, time to event and unseen values of scores",
        tuple(
            f"ALTER TABLE scores ADD COLUMN {column} DOUBLE PRECISION"
            for column in ("probability_low", "probability_high", "value", "days_to_event", "unseen_share")
        ),
    ),
    Migration(
        4,
        "grade by the card alone, what graded, vetoes and flags of scores",
        tuple(
            f"ALTER TABLE scores ADD COLUMN {column}"
            for column in ("card_grade VARCHAR(40)", "graded_by VARCHAR(40)", "vetoes TEXT", "flags TEXT")
        ),
    ),
    Migration(
        5,
        "batches of writes, column by column",
        (
            "ALTER TABLE writes RENAME TO single_writes",
            "ALTER TABLE single_writes ADD COLUMN replaced INTEGER NOT NULL DEFAULT 0",
            "DROP INDEX writes_of_a_batch",
            """CREATE TABLE batches (
                number INTEGER PRIMARY KEY,
                run_id VARCHAR(200) NOT NULL REFERENCES runs (run_id),
                table_name VARCHAR(200) NOT NULL,
                action VARCHAR(40) NOT NULL,
                fields TEXT NOT NULL,
                cells INTEGER NOT NULL,
                state VARCHAR(40) NOT NULL,
                error TEXT,
                attempts INTEGER NOT NULL,
                replaced INTEGER NOT NULL,
                settled_at TIMESTAMP)""",
            "CREATE INDEX batches_of_a_run ON batches (run_id)",
            "CREATE INDEX batches_of_a_table ON batches (table_name, state)",
            """CREATE TABLE batch_ids (
                batch INTEGER NOT NULL REFERENCES batches (number),
                part INTEGER NOT NULL,
                ids TEXT NOT NULL,
                PRIMARY KEY (batch, part))""",
            """CREATE TABLE batch_values (
                batch INTEGER NOT NULL REFERENCES batches (number),
                part INTEGER NOT NULL,
                field VARCHAR(200) NOT NULL,
                old TEXT NOT NULL,
                new TEXT NOT NULL,
                PRIMARY KEY (batch, part, field))""",
            """CREATE TABLE batch_exceptions (
                batch INTEGER NOT NULL REFERENCES batches (number),
                record_id VARCHAR(200) NOT NULL,
                field VARCHAR(200) NOT NULL,
                state VARCHAR(40) NOT NULL,
                error TEXT,
                replaced INTEGER NOT NULL,
                settled_at TIMESTAMP,
                PRIMARY KEY (batch, record_id, field))""",
        ),
        {
            "sqlite": (
                _WRITES.format(
                    record_id="r.value",
                    old="NULLIF(v.old -> r.key, 'null')",
                    new="NULLIF(v.new -> r.key, 'null')",
                    rows="JOIN json_each(i.ids) r",
                ),
            ),
            "postgresql": (
                _WRITES.format(
                    record_id="r.id",
                    old="NULLIF(CAST(r.old AS TEXT), 'null')",
                    new="NULLIF(CAST(r.new AS TEXT), 'null')",
                    rows="CROSS JOIN ROWS FROM (json_array_elements_text(CAST(i.ids AS json)), "
                    "json_array_elements(CAST(v.old AS json)), json_array_elements(CAST(v.new AS json))) "
                    "AS r (id, old, new)",
                ),
            ),
        },
    ),
    Migration(
        6,
        "follow-up tasks, and whose scores are in the history of the CRM",
        (
            """CREATE TABLE follow_ups (
                run_id VARCHAR(200) NOT NULL REFERENCES runs (run_id),
                target VARCHAR(200) NOT NULL,
                entity_id VARCHAR(200) NOT NULL,
                flag VARCHAR(200) NOT NULL,
                task_id VARCHAR(200),
                state VARCHAR(40) NOT NULL,
                error TEXT,
                as_of TIMESTAMP NOT NULL,
                seen_at TIMESTAMP NOT NULL,
                made_at TIMESTAMP NOT NULL,
                settled_at TIMESTAMP,
                PRIMARY KEY (run_id, target, entity_id, flag))""",
            """CREATE TABLE histories (
                run_id VARCHAR(200) PRIMARY KEY REFERENCES runs (run_id),
                state VARCHAR(40) NOT NULL,
                row_count INTEGER NOT NULL,
                begun_at TIMESTAMP NOT NULL,
                settled_at TIMESTAMP)""",
        ),
    ),
)


APPLIED = table("migrations", column("number", Integer), column("name", String), column("applied_at", DateTime))


def _applied(connection: Connection) -> set[int]:
    """Return the numbers of the migrations a ledger has had."""
    if not inspect(connection).has_table("migrations"):
        return set()
    return set(connection.scalars(select(APPLIED.c.number)))


def migrate(engine: Engine, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Bring a ledger up to date; on one that is, nothing is written.

    Returns
    -------
    int
        How many migrations were applied.

    Raises
    ------
    ConfigError
        If the ledger was made by a newer leadsieve.

    """
    with engine.connect() as connection:
        applied = _applied(connection)
    newest = max(step.number for step in migrations)
    if max(applied, default=0) > newest:
        raise ConfigError(
            f"The ledger {engine.url.database} has migration {max(applied)}, this leadsieve knows {newest} at most. "
            "Use the leadsieve that wrote it, or a newer one."
        )
    if applied == {step.number for step in migrations}:
        return 0
    with writing(engine).begin() as connection:
        missing = [step for step in migrations if step.number not in _applied(connection)]
        for step in missing:
            _apply(connection, step)
    return len(missing)


def _apply(connection: Connection, step: Migration) -> None:
    """Apply one migration and note that it was."""
    if not inspect(connection).has_table("migrations"):
        connection.execute(
            text("CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT, applied_at TIMESTAMP)")
        )
    for statement in (*step.statements, *step.of_dialect.get(connection.dialect.name, ())):
        connection.execute(text(statement))
    noted_at = datetime.now(UTC).replace(tzinfo=None)
    connection.execute(insert(APPLIED).values(number=step.number, name=step.name, applied_at=noted_at))
