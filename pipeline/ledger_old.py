"""Writes stored one by one, until the core plans in batches."""

from collections.abc import Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Engine, and_, bindparam, func, insert, null, select, update

from pipeline.adapters.target import WriteResult
from pipeline.database import answering, execute_many, writing
from pipeline.ledger_batches import State
from pipeline.ledger_singles import KEY, SINGLES, Write, encode, now


def store_plan(engine: Engine, batches: Sequence[Sequence[Write]], refused: Sequence[Write]) -> list[int]:
    """Store what is going to be written and what is not, before anything is sent."""
    run_ids = {write.run_id for batch in (*batches, refused) for write in batch}
    with answering(engine, "storing the plan"), writing(engine).begin() as connection:
        states = _read_states(connection, run_ids)
        first = (connection.scalar(select(func.max(SINGLES.c.batch))) or 0) + 1
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


def intend(connection: Connection, batch: int) -> None:
    """Note that a batch is about to be sent."""
    values = {"state": "intended", "attempts": SINGLES.c.attempts + 1}
    connection.execute(update(SINGLES).where(SINGLES.c.batch == batch).values(values))


def settle(engine: Engine, batch: int, run_id: str, table_name: str, results: Sequence[WriteResult]) -> None:
    """Note what became of a batch; results with status `retry` stay intended."""
    is_split = any(result.status == "retry" for result in results)
    rows = [
        _to_settled(run_id, table_name, result.record_id, result.field, result.status, result.message)
        for result in results
        if result.status != "retry" and (is_split or result.status != "done")
    ]
    arrived = and_(SINGLES.c.batch == batch, SINGLES.c.state == "intended")
    with answering(engine, "noting what was written"), writing(engine).begin() as connection:
        if rows:
            connection.execute(_SETTLE, rows)
        if not is_split:
            connection.execute(update(SINGLES).where(arrived).values(state="done", error=None, settled_at=now()))


_BY_KEY = and_(*(SINGLES.c[name] == bindparam(f"its_{name}") for name in KEY))
_SETTLE = (
    update(SINGLES)
    .where(_BY_KEY)
    .values(state=bindparam("its_state"), error=bindparam("its_error"), settled_at=bindparam("its_time"))
)
_PLANNED = ("old", "new", "state", "action", "error", "batch")
_REPLACE = (
    update(SINGLES)
    .where(_BY_KEY)
    .values({**{name: bindparam(f"its_{name}") for name in _PLANNED}, "settled_at": null()})
)


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
    query = select(*(SINGLES.c[name] for name in KEY), SINGLES.c.state).where(SINGLES.c.run_id.in_(tuple(run_ids)))
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
    execute_many(connection, insert(SINGLES), [row for row in rows if not known or key(row) not in known])
    again = [row for row in rows if known and key(row) in known]
    execute_many(connection, _REPLACE, [{f"its_{name}": value for name, value in row.items()} for row in again])
