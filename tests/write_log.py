"""A database that counts what really changes: a trigger logs every value of a table that an UPDATE makes another."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

Run = Callable[[str], list[Any]]
"""Runs one statement as another program would, committed at once."""

LOG = "leadsieve_test_log"


def install_log(run: Run, table: str, key: str, fields: Sequence[str], is_sqlite: bool = False) -> None:
    """Log, from now on, every change of a field and every record that is added or removed (`+`, `-`)."""
    run(f"CREATE TABLE {LOG} (record_id TEXT, field TEXT)")
    if is_sqlite:
        for name in fields:
            run(
                f"CREATE TRIGGER log_{name} AFTER UPDATE OF {name} ON {table} WHEN old.{name} IS NOT new.{name} "
                f"BEGIN INSERT INTO {LOG} VALUES (new.{key}, '{name}'); END"
            )
        for event, row, name in (("INSERT", "new", "+"), ("DELETE", "old", "-")):
            run(
                f"CREATE TRIGGER log_{event} AFTER {event} ON {table} "
                f"BEGIN INSERT INTO {LOG} VALUES ({row}.{key}, '{name}'); END"
            )
        return
    run(f"GRANT INSERT, SELECT ON {LOG} TO PUBLIC")
    changes = "".join(
        f"IF new.{name} IS DISTINCT FROM old.{name} THEN INSERT INTO {LOG} VALUES (new.{key}, '{name}'); END IF; "
        for name in fields
    )
    run(
        f"CREATE FUNCTION {LOG}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'INSERT' THEN INSERT INTO {LOG} VALUES (new.{key}, '+'); RETURN NULL; END IF; "
        f"IF TG_OP = 'DELETE' THEN INSERT INTO {LOG} VALUES (old.{key}, '-'); RETURN NULL; END IF; "
        f"{changes} RETURN NULL; END $$"
    )
    run(f"CREATE TRIGGER {LOG} AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {LOG}()")


def remove_log(run: Run, table: str) -> None:
    """Take the log out of a PostgreSQL database."""
    run(f"DROP TRIGGER IF EXISTS {LOG} ON {table}")
    run(f"DROP FUNCTION IF EXISTS {LOG}()")
    run(f"DROP TABLE IF EXISTS {LOG}")


def read_log(run: Run) -> Counter[tuple[str, str]]:
    """How often each field of each record has changed since the log was installed or emptied."""
    return Counter((str(record_id), name) for record_id, name in run(f"SELECT record_id, field FROM {LOG}"))


def empty_log(run: Run) -> None:
    """Count from here on."""
    run(f"DELETE FROM {LOG}")
