"""Tasks that a flag gave to people, in the ledger: noted before they are sent to the CRM, and settled after.

The states of a task
--------------------
intended     it was sent, or is just about to be; only the CRM knows whether it arrived
open         the CRM has it, and nobody has closed it
closed       somebody closed it
withdrawing  an undo is taking it back
withdrawn    an undo took it back
missing      its record is not in the CRM, or has no owner
rejected     the CRM refused it
dropped      the job ended before it was sent, and a later run decides anew
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    Connection,
    DateTime,
    Engine,
    Integer,
    String,
    and_,
    bindparam,
    column,
    delete,
    func,
    insert,
    select,
    table,
    update,
)

from pipeline.database import answering, writing
from pipeline.ledger_writes import now

TaskState = Literal["intended", "open", "closed", "withdrawing", "withdrawn", "missing", "rejected", "dropped"]

IN_CRM: tuple[TaskState, ...] = ("intended", "open", "closed", "withdrawing")
"""States of tasks that may be in the CRM, or were and were closed by a person."""

TASKS = table(
    "follow_ups",
    *(column(name, String) for name in ("run_id", "target", "entity_id", "flag", "task_id", "state", "error")),
    *(column(name, DateTime) for name in ("as_of", "seen_at", "made_at", "settled_at")),
)
_SCORES = table(
    "scores",
    *(column(name, String) for name in ("run_id", "target", "entity_id", "flags")),
    column("horizon_days", Integer),
    column("as_of", DateTime),
)
_RUNS = table("runs", *(column(name, String) for name in ("run_id", "kind", "state")))
KEY = ("run_id", "target", "entity_id", "flag")
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Task:
    """One task as the ledger has it.

    Parameters
    ----------
    run_id, target, entity_id, flag : str
        The run that raised it, and for what.
    as_of : datetime
        Of that run (UTC).
    seen_at : datetime
        `as_of` of the newest run that found it open (UTC).
    state : str
        See the module.
    task_id : str or None
        The CRM's id of it, once known.
    error : str or None
        Why it is not in the CRM.

    """

    run_id: str
    target: str
    entity_id: str
    flag: str
    as_of: datetime
    seen_at: datetime
    state: TaskState = "intended"
    task_id: str | None = None
    error: str | None = None

    @property
    def key(self) -> str:
        """Target, entity and flag: what must not be in the CRM twice while it is open."""
        return f"{self.target}/{self.entity_id}/{self.flag}"


def settle(task: Task, there: Mapping[str, str], as_of: datetime) -> Task:
    """Find out what became of a task from the open ones of the CRM."""
    found = there.get(task.key)
    if task.state == "closed" and found != task.task_id:
        return task
    if found is not None:
        return replace(task, state="open", task_id=found, seen_at=max(task.seen_at, as_of), error=None)
    if task.state == "intended":
        return replace(task, state="dropped", error="the job ended before it was sent")
    return replace(task, state="withdrawn" if task.state == "withdrawing" else "closed")


class FollowUpLedger:
    """The `follow_ups` table of a ledger, and what its scores say of flags."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def intend(self, tasks: Sequence[Task]) -> None:
        """Note tasks that are about to be sent; one that this run has noted before is noted anew."""
        rows = [{**asdict(task), "state": "intended", "made_at": now(), "settled_at": None} for task in tasks]
        with answering(self._engine, "noting follow-ups"), writing(self._engine).begin() as connection:
            _execute(connection, _DELETE, [_key(task) for task in tasks])
            _execute(connection, insert(TASKS), rows)

    def settle(self, tasks: Sequence[Task]) -> None:
        """Give tasks that are noted the states, ids, errors and moments that they have here."""
        rows = [
            {
                **_key(task),
                **{f"its_{name}": getattr(task, name) for name in ("state", "task_id", "error", "seen_at")},
                "its_end": now(),
            }
            for task in tasks
        ]
        with answering(self._engine, "settling follow-ups"), writing(self._engine).begin() as connection:
            _execute(connection, _SETTLE, rows)

    def tasks(self, states: Collection[TaskState] = IN_CRM, run_id: str | None = None) -> list[Task]:
        """Return tasks in some states, of one run if given, oldest first."""
        names = [one.name for one in fields(Task)]
        query = select(*(TASKS.c[name] for name in names)).where(TASKS.c.state.in_(tuple(states)))
        query = query if run_id is None else query.where(TASKS.c.run_id == run_id)
        query = query.order_by(TASKS.c.as_of, TASKS.c.made_at, *(TASKS.c[name] for name in KEY))
        with answering(self._engine, "reading follow-ups"), self._engine.connect() as connection:
            return [Task(*row) for row in connection.execute(query)]

    def counts(self, run_id: str | None = None) -> Mapping[str, Mapping[str, int]]:
        """Return how many tasks are in each state, by run."""
        query = select(TASKS.c.run_id, TASKS.c.state, func.count()).group_by(TASKS.c.run_id, TASKS.c.state)
        query = query if run_id is None else query.where(TASKS.c.run_id == run_id)
        found: dict[str, dict[str, int]] = {}
        with answering(self._engine, "counting follow-ups"), self._engine.connect() as connection:
            for run, state, count in connection.execute(query):
                found.setdefault(run, {})[state] = count
        return found

    def looks(self, target: str, horizon_days: int, since: datetime, before: datetime) -> Mapping[str, datetime]:
        """Return the finished runs that scored a target within `[since, before)`, with their `as_of`.

        Runs that were undone are left out: what they said was taken back.
        """
        with answering(self._engine, "reading runs"), self._engine.connect() as connection:
            done = connection.execute(select(_RUNS).where(_RUNS.c.state == "done")).all()
            undone = {run_id.removeprefix("undo-") for run_id, kind, _ in done if kind == "undo"}
            runs = [run_id for run_id, kind, _ in done if kind == "score" and run_id not in undone]
            ends = {run_id: _as_of(connection, run_id, target, horizon_days) for run_id in runs}
        return {run_id: end for run_id, end in ends.items() if end is not None and since <= end < before}

    def flags(
        self, target: str, horizon_days: int, entities: Sequence[str], runs: Collection[str]
    ) -> Iterator[tuple[str, str, str]]:
        """Yield entity, run and flags (JSON text) of the scores of some runs that raised any flag for some entities."""
        columns = (_SCORES.c.entity_id, _SCORES.c.run_id, _SCORES.c.flags)
        mine = and_(_SCORES.c.target == target, _SCORES.c.horizon_days == horizon_days, _SCORES.c.flags.is_not(None))
        with answering(self._engine, "reading flags"), self._engine.connect() as connection:
            for start in range(0, len(entities), _AT_ONCE):
                some = _SCORES.c.entity_id.in_(entities[start : start + _AT_ONCE])
                for entity, run_id, flags in connection.execute(select(*columns).where(some, mine)):
                    if run_id in runs:
                        yield entity, run_id, flags


_BY_KEY = and_(*(TASKS.c[name] == bindparam(f"key_{name}") for name in KEY))
_DELETE = delete(TASKS).where(_BY_KEY)
_SETTLE = (
    update(TASKS)
    .where(_BY_KEY)
    .values(
        {name: bindparam(f"its_{name}") for name in ("state", "task_id", "error", "seen_at")}
        | {"settled_at": bindparam("its_end")}
    )
)


def _key(task: Task) -> dict[str, Any]:
    return {f"key_{name}": getattr(task, name) for name in KEY}


def _execute(connection: Connection, statement: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Execute a statement for many rows, none of them too."""
    if rows:
        connection.execute(statement, rows)


def _as_of(connection: Connection, run_id: str, target: str, horizon_days: int) -> datetime | None:
    """Return what all scores of a run and target share, None if it has none."""
    mine = (_SCORES.c.run_id == run_id, _SCORES.c.target == target, _SCORES.c.horizon_days == horizon_days)
    found: datetime | None = connection.scalar(select(_SCORES.c.as_of).where(*mine).limit(1))
    return found
