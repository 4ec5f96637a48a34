"""Writes that the ledger stores one by one: what was refused, and everything from before there were batches."""

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    String,
    and_,
    bindparam,
    column,
    delete,
    insert,
    literal_column,
    select,
    table,
    update,
)

from pipeline.adapters.target import Action, Value
from pipeline.database import execute_many
from pipeline.ledger_batches import End, State, StoredBatch

KEY = ("run_id", "table_name", "record_id", "field")

SINGLES = table(
    "single_writes",
    *(column(name, String) for name in (*KEY, "old", "new", "state", "action", "error")),
    *(column(name, Integer) for name in ("attempts", "batch", "replaced")),
    column("settled_at", DateTime),
)


@dataclass(frozen=True, slots=True)
class Write:
    """One value of one field of one record, as the ledger has it; `batch` is its batch, None if it is stored alone."""

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
    batch: int | None = None


_BY_KEY = and_(*(SINGLES.c[name] == bindparam(f"its_{name}") for name in KEY))
_SETTLE = (
    update(SINGLES)
    .where(_BY_KEY)
    .values(state=bindparam("its_state"), error=bindparam("its_error"), settled_at=bindparam("its_time"))
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


def read_singles(connection: Connection, *conditions: ColumnElement[bool]) -> list[Write]:
    """Return writes that meet conditions, oldest first; not those that their run has planned anew since."""
    names = [name for name in Write.__dataclass_fields__ if name != "batch"]
    order = (SINGLES.c.batch, SINGLES.c.table_name, SINGLES.c.record_id, SINGLES.c.field)
    query = select(*(SINGLES.c[name] for name in names)).where(SINGLES.c.replaced == 0, *conditions).order_by(*order)
    return [
        Write(run_id, table_name, record_id, field, decode(old), decode(new), *rest)
        for run_id, table_name, record_id, field, old, new, *rest in connection.execute(query)
    ]


def explode(
    batch: StoredBatch, states: Collection[State] | None, among: Collection[str] | None = None
) -> Iterator[Write]:
    """Yield the values of a batch that are in some states, of some records if given."""
    for at, record_id in enumerate(batch.ids):
        if among is not None and record_id not in among:
            continue
        for name, old, new in zip(batch.fields, batch.old, batch.new, strict=True):
            end = batch.end_of(record_id, name)
            if not end.replaced and (states is None or end.state in states):
                yield Write(
                    batch.run_id,
                    batch.table_name,
                    record_id,
                    name,
                    old[at],
                    new[at],
                    end.state,
                    batch.action,
                    batch.attempts,
                    end.error,
                    batch.number,
                )


def read_ends(connection: Connection, run_id: str) -> dict[tuple[str, str, str], State]:
    """State of every single write of a run, by (table, record, field)."""
    query = select(*(SINGLES.c[name] for name in (*KEY[1:], "state"))).where(SINGLES.c.run_id == run_id)
    return {(table_name, record_id, field): state for table_name, record_id, field, state in connection.execute(query)}


def settle_singles(connection: Connection, ends: Iterable[tuple[Write, End]]) -> None:
    """Note what became of single writes."""
    time = now()
    rows = [
        {
            **{f"its_{name}": getattr(write, name) for name in KEY},
            "its_state": end.state,
            "its_error": end.error,
            "its_time": time,
        }
        for write, end in ends
    ]
    if rows:
        connection.execute(_SETTLE, rows)


def insert_refused(connection: Connection, writes: Sequence[Write]) -> None:
    """Store writes that end before they are sent."""
    time = now()
    rows = [
        {
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
            "batch": None,
            "replaced": 0,
            "settled_at": time,
        }
        for write in writes
    ]
    if rows:
        connection.execute(insert(SINGLES), rows)


def replace_singles(
    connection: Connection, run_id: str, cells: Mapping[tuple[str, str], set[str]], ends: Mapping[Any, State]
) -> None:
    """Make room for values that a run plans anew: what was done is kept as replaced, all else goes.

    Parameters
    ----------
    connection : Connection
        A connection to the ledger.
    run_id : str
        The run.
    cells : mapping of (table, field) to set of str
        Records whose values are planned anew.
    ends : mapping
        What `read_ends` returned.

    """
    again = [key for key in ends if key[1] in cells.get((key[0], key[2]), ())]
    done = [_to_key(run_id, key) for key in again if ends[key] == "done"]
    others = [_to_key(run_id, key) for key in again if ends[key] != "done"]
    execute_many(connection, update(SINGLES).where(_BY_KEY).values(replaced=literal_column("1")), done)
    execute_many(connection, delete(SINGLES).where(_BY_KEY), others)


def _to_key(run_id: str, key: tuple[str, str, str]) -> dict[str, str]:
    """Parameters of `_BY_KEY`."""
    return dict(zip((f"its_{name}" for name in KEY), (run_id, *key), strict=True))
