"""What was written to the CRM, value by value: intended before, settled after.

The states of a write
---------------------
planned     it is going to be written and nothing has been sent yet
intended    it was sent, or is just about to be; only the CRM knows whether it arrived
done        the CRM has the new value
conflict    somebody else had changed the value, so it was left alone
missing     the record is no longer in the CRM
rejected    the CRM refused the value
dropped     the run ended before it was written, and a later one decides anew
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    Integer,
    String,
    and_,
    bindparam,
    column,
    func,
    insert,
    null,
    select,
    table,
    update,
)

from pipeline.adapters.target import Action, Value, WriteResult
from pipeline.database import answering, execute_many, writing

State = Literal["planned", "intended", "done", "conflict", "missing", "rejected", "dropped"]

OUTSTANDING: tuple[State, ...] = ("planned", "intended")
"""States of writes whose end is not known."""

KEY = ("run_id", "table_name", "record_id", "field")

WRITES = table(
    "writes",
    *(column(name, String) for name in (*KEY, "old", "new", "state", "action", "error")),
    *(column(name, Integer) for name in ("attempts", "batch")),
    column("settled_at", DateTime),
)


@dataclass(frozen=True, slots=True)
class Write:
    """One value of one field of one record, as the ledger has it."""

    run_id: str
    table_name: str
    record_id: str
    field: str
    old: Value
    new: Value
    state: State = "planned"
    action: Action = "update"
    attempts: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class LastWrite:
    """The newest value of ours that a field got, and the run that wrote it."""

    run_id: str
    value: Value


@dataclass(frozen=True)
class WriteCount:
    """How many writes of a run are in a state, for one table."""

    run_id: str
    table_name: str
    state: State
    count: int


class WriteLedger:
    """The `writes` table of a ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def store_plan(self, batches: Sequence[Sequence[Write]], refused: Sequence[Write]) -> list[int]:
        """Store what is going to be written and what is not, before anything is sent.

        Parameters
        ----------
        batches : sequence of sequences of Write
            Writes in the order in which they will be sent; a write that this run has stored before is
            planned anew.
        refused : sequence of Write
            Writes that end here (conflict, missing); one that this run has done stays done.

        Returns
        -------
        list of int
            The number of each batch, larger than any before.

        """
        run_ids = {write.run_id for batch in (*batches, refused) for write in batch}
        with answering(self._engine, "storing the plan"), writing(self._engine).begin() as connection:
            states = _read_states(connection, run_ids)
            first = (connection.scalar(select(func.max(WRITES.c.batch))) or 0) + 1
            numbers = list(range(first, first + len(batches)))
            for number, batch in zip(numbers, batches, strict=True):
                _save(connection, [_to_row(write, number) for write in batch], states)
            ended = [
                write
                for write in refused
                if states.get((write.run_id, write.table_name, write.record_id, write.field)) != "done"
            ]
            _save(connection, [_to_row(write, None) for write in ended], states)
            _settle(connection, ended)
        return numbers

    def intend(self, batch: int) -> None:
        """Note that a batch is about to be sent."""
        values = {"state": "intended", "attempts": WRITES.c.attempts + 1}
        with answering(self._engine, "noting what is about to be written"), writing(self._engine).begin() as connection:
            connection.execute(update(WRITES).where(WRITES.c.batch == batch).values(values))

    def settle(self, batch: int, run_id: str, table_name: str, results: Sequence[WriteResult]) -> None:
        """Note what became of a batch; results with status `retry` stay intended."""
        is_split = any(result.status == "retry" for result in results)
        rows = [
            _to_settled(run_id, table_name, result.record_id, result.field, result.status, result.message)
            for result in results
            if result.status != "retry" and (is_split or result.status != "done")
        ]
        arrived = and_(WRITES.c.batch == batch, WRITES.c.state == "intended")
        with answering(self._engine, "noting what was written"), writing(self._engine).begin() as connection:
            if rows:
                connection.execute(_SETTLE, rows)
            if not is_split:
                connection.execute(update(WRITES).where(arrived).values(state="done", error=None, settled_at=now()))

    def resolve(self, writes: Sequence[Write]) -> None:
        """Note the ends of interrupted writes, which were found out by reading."""
        with answering(self._engine, "settling interrupted writes"), writing(self._engine).begin() as connection:
            _settle(connection, writes)

    def outstanding(self, run_id: str | None = None, table_name: str | None = None) -> list[Write]:
        """Return writes whose end is not known, of a run or a table if given, oldest first."""
        conditions: list[ColumnElement[bool]] = [WRITES.c.state.in_(OUTSTANDING)]
        conditions += [] if run_id is None else [WRITES.c.run_id == run_id]
        conditions += [] if table_name is None else [WRITES.c.table_name == table_name]
        return self._read(*conditions)

    def of_run(self, run_id: str, states: Iterable[State] | None = None) -> list[Write]:
        """Return the writes of a run, in some states if given, in the order in which they were sent."""
        conditions = [WRITES.c.run_id == run_id]
        conditions += [] if states is None else [WRITES.c.state.in_(tuple(states))]
        return self._read(*conditions)

    def _read(self, *conditions: ColumnElement[bool]) -> list[Write]:
        """Writes that meet conditions."""
        names = tuple(Write.__dataclass_fields__)
        order = (WRITES.c.batch, WRITES.c.table_name, WRITES.c.record_id, WRITES.c.field)
        query = select(*(WRITES.c[name] for name in names)).where(*conditions).order_by(*order)
        with answering(self._engine, "reading writes"), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [
            Write(run_id, table_name, record_id, field, decode(old), decode(new), state, action, attempts, error)
            for run_id, table_name, record_id, field, old, new, state, action, attempts, error in rows
        ]

    def last_writes(self, table_name: str, fields: Iterable[str]) -> dict[tuple[str, str], LastWrite]:
        """Return, by (record_id, field), the newest value of ours that each field of a table got."""
        done = and_(WRITES.c.table_name == table_name, WRITES.c.field.in_(tuple(fields)), WRITES.c.state == "done")
        newest = (
            select(WRITES.c.field, WRITES.c.record_id, func.max(WRITES.c.batch).label("batch"))
            .where(done)
            .group_by(WRITES.c.field, WRITES.c.record_id)
            .subquery()
        )
        same = and_(*(WRITES.c[name] == newest.c[name] for name in ("field", "record_id", "batch")))
        query = select(WRITES.c.record_id, WRITES.c.field, WRITES.c.run_id, WRITES.c.new)
        with answering(self._engine, "reading the last writes"), self._engine.connect() as connection:
            rows = connection.execute(query.select_from(WRITES.join(newest, same)).where(done)).all()
        return {(record_id, field): LastWrite(run_id, decode(new)) for record_id, field, run_id, new in rows}

    def counts(self, run_id: str | None = None) -> list[WriteCount]:
        """Return how many writes are in each state, by run and table."""
        by = (WRITES.c.run_id, WRITES.c.table_name, WRITES.c.state)
        query = select(*by, func.count()).group_by(*by).order_by(*by)
        if run_id is not None:
            query = query.where(WRITES.c.run_id == run_id)
        with answering(self._engine, "counting writes"), self._engine.connect() as connection:
            return [WriteCount(*row) for row in connection.execute(query)]


_BY_KEY = and_(*(WRITES.c[name] == bindparam(f"its_{name}") for name in KEY))
_SETTLE = (
    update(WRITES)
    .where(_BY_KEY)
    .values(state=bindparam("its_state"), error=bindparam("its_error"), settled_at=bindparam("its_time"))
)
_PLANNED = ("old", "new", "state", "action", "error", "batch")
_REPLACE = (
    update(WRITES)
    .where(_BY_KEY)
    .values({**{name: bindparam(f"its_{name}") for name in _PLANNED}, "settled_at": null()})
)

_to_json = json.JSONEncoder(ensure_ascii=False).encode


def now() -> datetime:
    """Return the present, UTC, without a time zone, as all times of the ledger are."""
    return datetime.now(UTC).replace(tzinfo=None)


def encode(value: Value) -> str | None:
    """JSON text of a value; null stays null.

    Examples
    --------
    >>> encode(0.25), encode("A"), encode(None)
    ('0.25', '"A"', None)

    """
    if value is None:
        return None
    return _to_json({"base64": b64encode(value).decode()} if isinstance(value, bytes) else value)


def decode(text: str | None) -> Value:
    """Value of a JSON text that `encode` made."""
    value: Any = None if text is None else json.loads(text)
    return b64decode(value["base64"]) if isinstance(value, dict) else value


def _to_settled(
    run_id: str, table_name: str, record_id: str, field: str, state: str, error: str | None
) -> dict[str, Any]:
    """Parameters of `_SETTLE`."""
    key = {"its_run_id": run_id, "its_table_name": table_name, "its_record_id": record_id, "its_field": field}
    return {**key, "its_state": state, "its_error": error, "its_time": now()}


def _settle(connection: Connection, writes: Sequence[Write]) -> None:
    """Give writes that are stored the states and errors that they have here."""
    rows = [_to_settled(w.run_id, w.table_name, w.record_id, w.field, w.state, w.error) for w in writes]
    if rows:
        connection.execute(_SETTLE, rows)


def _read_states(connection: Connection, run_ids: Iterable[str]) -> dict[tuple[str, ...], State]:
    """State of every write these runs have stored, by key."""
    query = select(*(WRITES.c[name] for name in KEY), WRITES.c.state).where(WRITES.c.run_id.in_(tuple(run_ids)))
    return {tuple(key): state for *key, state in connection.execute(query)}


def _to_row(write: Write, batch: int | None) -> dict[str, Any]:
    """Row of the table for a write that is stored now."""
    return {
        "run_id": write.run_id,
        "table_name": write.table_name,
        "record_id": write.record_id,
        "field": write.field,
        "old": encode(write.old),
        "new": encode(write.new),
        "state": write.state,
        "action": write.action,
        "attempts": write.attempts,
        "error": write.error,
        "batch": batch,
    }


def _save(connection: Connection, rows: Sequence[dict[str, Any]], known: Collection[tuple[str, ...]]) -> None:
    """Insert rows, or replace those that exist, whose attempts go on counting."""
    key = itemgetter(*KEY)
    execute_many(connection, insert(WRITES), [row for row in rows if not known or key(row) not in known])
    again = [row for row in rows if known and key(row) in known]
    execute_many(connection, _REPLACE, [{f"its_{name}": value for name, value in row.items()} for row in again])
