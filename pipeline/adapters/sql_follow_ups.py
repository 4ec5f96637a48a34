"""Follow-up tasks in a table of our own in the CRM's database, which the CRM shows to the owners of the records.

Whoever has done a task, or will not do it, sets its `state` to `closed` (anything but `open` counts). `withdrawn` is
what an undo leaves. A run adds a task of a key once, whatever became of it.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Date,
    DateTime,
    Engine,
    Index,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    text,
    update,
)

from pipeline.adapters.sql_own_table import AT_ONCE, OwnTable
from pipeline.adapters.sql_target import SqlTarget
from pipeline.adapters.target import FieldValues, FollowUp, RecordResult, TargetTable
from pipeline.config_write_back import FollowUps
from pipeline.database import writing
from pipeline.errors import ConfigError

OPEN, WITHDRAWN = "open", "withdrawn"


class SqlFollowUps:
    """The tasks of a database; see `FollowUpAdapter`.

    Parameters
    ----------
    engine : Engine
        The CRM's database.
    section : FollowUps
        Names the table, which is made at first use, and the column with the owner of a record. Without
        such a column tasks have no owner, and every record that exists gets its own.
    may_make_file : bool
        See `OwnTable`.

    """

    def __init__(self, engine: Engine, section: FollowUps, may_make_file: bool = False) -> None:
        self._own = OwnTable(engine, section.table, _make_table, "write_back.follow_ups.table", may_make_file)
        self._engine = engine
        self._owner_field = section.owner_field
        self._target = SqlTarget(engine)

    def install(self) -> list[str]:
        """Make the table if it is not there; returns its name then."""
        return self._own.install()

    def open_follow_ups(self) -> dict[str, str]:
        """Read the open tasks; see `FollowUpAdapter.open_follow_ups`."""
        with self._own.asking("reading follow-up tasks"):
            if (found := self._own.find()) is None:
                return {}
            with self._engine.connect() as connection:
                query = select(found.c.task_key, found.c.task_id).where(found.c.state == OPEN)
                return dict(connection.execute(query).all())

    def add_follow_ups(self, tasks: Sequence[FollowUp]) -> dict[str, RecordResult]:
        """Add tasks in one transaction; see `FollowUpAdapter.add_follow_ups`."""
        owners = self._find_owners(tasks)
        results = {task.key: RecordResult(_task_id(task), "done") for task in tasks}
        for task in tasks:
            if (task.table, task.record_id) not in owners:
                said = "the record does not exist" + (", or has no owner" if self._owner_field else "")
                results[task.key] = RecordResult(task.record_id, "missing", said)
        wanted = [task for task in tasks if results[task.key].status == "done"]
        with self._own.asking("adding follow-up tasks"):
            made = self._own.find_or_make()
            with writing(self._engine).begin() as connection:
                open_keys = _find(connection, made, "task_key", [one.key for one in wanted], made.c.state == OPEN)
                states = _find(connection, made, "task_id", [_task_id(one) for one in wanted])
                fresh = [one for one in wanted if one.key not in open_keys and states.get(_task_id(one)) is None]
                again = [one for one in wanted if one.key not in open_keys and states.get(_task_id(one)) == WITHDRAWN]
                ids = [_task_id(one) for one in again]
                for at in range(0, len(ids), AT_ONCE):
                    connection.execute(delete(made).where(made.c.task_id.in_(ids[at : at + AT_ONCE])))
                rows = [_to_row(one, owners[one.table, one.record_id]) for one in (*fresh, *again)]
                if rows:
                    connection.execute(insert(made), rows)
        return results

    def close_follow_ups(self, task_ids: Sequence[str]) -> None:
        """Take open tasks back; see `FollowUpAdapter.close_follow_ups`."""
        with self._own.asking("taking follow-up tasks back"):
            if (found := self._own.find()) is None:
                return
            with writing(self._engine).begin() as connection:
                for at in range(0, len(task_ids), AT_ONCE):
                    some = found.c.task_id.in_(task_ids[at : at + AT_ONCE]) & (found.c.state == OPEN)
                    connection.execute(update(found).where(some).values(state=WITHDRAWN))

    def forget_follow_ups(self, task_ids: Sequence[str]) -> None:
        """Remove tasks; see `FollowUpAdapter.forget_follow_ups`."""
        with self._own.asking("forgetting follow-up tasks"):
            if (found := self._own.find()) is None:
                return
            with writing(self._engine).begin() as connection:
                for at in range(0, len(task_ids), AT_ONCE):
                    connection.execute(delete(found).where(found.c.task_id.in_(task_ids[at : at + AT_ONCE])))

    def _find_owners(self, tasks: Iterable[FollowUp]) -> dict[tuple[TargetTable, str], str | None]:
        """Owners of the records that are there and, if there is a column for it, have one."""
        by_table: dict[TargetTable, list[str]] = {}
        for task in tasks:
            by_table.setdefault(task.table, []).append(task.record_id)
        owners: dict[tuple[TargetTable, str], str | None] = {}
        for table, ids in by_table.items():
            field = self._owner_field or table.key
            self._target.describe(table, [field])
            found = self._read_owners(table, list(dict.fromkeys(ids)), field)
            for record_id, owner in zip(found.ids, found.columns[field], strict=True):
                if self._owner_field is None:
                    owners[table, record_id] = None
                elif owner not in (None, ""):
                    owners[table, record_id] = str(owner)
        return owners

    def _read_owners(self, table: TargetTable, ids: Sequence[str], field: str) -> FieldValues:
        """Read one field; a right that is lacking is not one of those that writing fields needs."""
        try:
            return self._target.read_fields(table, ids, [field])
        except ConfigError as error:
            raise ConfigError(
                f"{error} Follow-up tasks need SELECT on the columns '{table.key}' and '{field}' of '{table.name}' "
                "(write_back.follow_ups.owner_field)."
            ) from None


def _make_table(name: str, schema: str | None) -> Table:
    """Return the table as it is made."""
    made = Table(
        name,
        MetaData(),
        Column("task_id", String(64), primary_key=True),
        Column("task_key", String(600), nullable=False),
        Column("table_name", String(200), nullable=False),
        Column("record_id", String(200), nullable=False),
        Column("owner", String(200)),
        Column("summary", Text, nullable=False),
        Column("note", Text, nullable=False),
        Column("due_on", Date, nullable=False),
        Column("state", String(40), nullable=False),
        Column("run_id", String(200), nullable=False),
        Column("made_at", DateTime, nullable=False),
        Index(f"{name}_by_record", "record_id"),
        schema=schema,
    )
    is_open = text(f"state = '{OPEN}'")
    Index(f"{name}_open", made.c.task_key, unique=True, sqlite_where=is_open, postgresql_where=is_open).ddl_if(
        callable_=lambda *_, dialect, **__: dialect.name in ("sqlite", "postgresql")  # others would not take the WHERE
    )
    return made


def _task_id(task: FollowUp) -> str:
    """Id of the task that a run makes for a key: the same whenever it is sent."""
    return hashlib.sha256(f"{task.run_id}|{task.key}".encode()).hexdigest()[:32]


def _to_row(task: FollowUp, owner: str | None) -> dict[str, Any]:
    return {
        "task_id": _task_id(task),
        "task_key": task.key,
        "table_name": task.table.name,
        "record_id": task.record_id,
        "owner": owner,
        "summary": task.summary,
        "note": task.note,
        "due_on": date.fromisoformat(task.due_on),
        "state": OPEN,
        "run_id": task.run_id,
        "made_at": datetime.now(UTC).replace(tzinfo=None, microsecond=0),
    }


def _find(connection: Connection, made: Table, name: str, values: Sequence[str], *where: Any) -> Mapping[str, str]:
    """Return the states of tasks by one of their columns."""
    found: dict[str, str] = {}
    for at in range(0, len(values), AT_ONCE):
        some = made.c[name].in_(values[at : at + AT_ONCE])
        rows = connection.execute(select(made.c[name], made.c.state).where(some, *where))
        found |= dict(rows.all())
    return found
