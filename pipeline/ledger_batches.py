"""Batches of writes as the ledger stores them: column by column, with the values that ended differently one by one.

A batch has one state, which most of its values share; what became of a value that ended differently is a
row of `batch_exceptions`. Columns are JSON lists, cut into parts so that the view `writes` can show single
values without reading a whole batch for each.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    BindParameter,
    Connection,
    DateTime,
    Integer,
    Select,
    String,
    bindparam,
    column,
    delete,
    insert,
    select,
    table,
)

from pipeline.adapters.target import Action, Value, WriteBatch
from pipeline.database import execute_many

State = Literal["planned", "intended", "done", "conflict", "missing", "rejected", "dropped"]

PART_RECORDS = 500
"""Records per part of a column: the view finds a value by its place in a part, so a part is short."""

BATCHES = table(
    "batches",
    *(column(name, Integer) for name in ("number", "cells", "attempts", "replaced")),
    *(column(name, String) for name in ("run_id", "table_name", "action", "fields", "state", "error")),
    column("settled_at", DateTime),
)
BATCH_IDS = table("batch_ids", column("batch", Integer), column("part", Integer), column("ids", String))
BATCH_VALUES = table(
    "batch_values",
    *(column(name, Integer) for name in ("batch", "part")),
    *(column(name, String) for name in ("field", "old", "new")),
)
EXCEPTIONS = table(
    "batch_exceptions",
    *(column(name, Integer) for name in ("batch", "replaced")),
    *(column(name, String) for name in ("record_id", "field", "state", "error")),
    column("settled_at", DateTime),
)

Cell = tuple[str, str]
"""A record and a field of it."""


@dataclass(frozen=True, slots=True)
class End:
    """What became of one value; `replaced`: its run has planned it anew since."""

    state: State
    error: str | None = None
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch as the ledger has it; `exceptions` are the values whose end is not that of the batch."""

    number: int
    run_id: str
    table_name: str
    action: Action
    fields: tuple[str, ...]
    end: End
    attempts: int
    ids: list[str]
    old: list[list[Value]]
    new: list[list[Value]]
    exceptions: Mapping[Cell, End] = field(default_factory=dict)

    def end_of(self, record_id: str, name: str) -> End:
        """Return what became of one value."""
        return self.exceptions.get((record_id, name), self.end)

    def done_cells(self) -> Iterator[Cell]:
        """Yield the values that were written and not planned anew."""
        for cell in ((record_id, name) for name in self.fields for record_id in self.ids):
            end = self.end_of(*cell)
            if end.state == "done" and not end.replaced:
                yield cell

    def without(self, records: Collection[str]) -> "StoredBatch":
        """Return the batch without some records and without exceptions."""
        if not records:
            return self
        kept = [at for at, record_id in enumerate(self.ids) if record_id not in records]
        ids = [self.ids[at] for at in kept]
        old, new = ([[values[at] for at in kept] for values in columns] for columns in (self.old, self.new))
        return replace(self, ids=ids, old=old, new=new, exceptions={})


def cut_parts(count: int) -> Iterator[slice]:
    """Slices that cut a column into parts."""
    return (slice(start, start + PART_RECORDS) for start in range(0, count, PART_RECORDS))


def insert_batches(connection: Connection, run_id: str, first: int, batches: Sequence[WriteBatch]) -> list[int]:
    """Store planned batches under numbers from `first` on; returns the numbers."""
    numbers = list(range(first, first + len(batches)))
    heads = [
        {
            "number": number,
            "run_id": run_id,
            "table_name": batch.table.name,
            "action": batch.action,
            "fields": encode_column(list(batch.fields)),
            "cells": len(batch.ids) * len(batch.fields),
            "state": "planned",
            "attempts": 0,
            "replaced": 0,
        }
        for number, batch in zip(numbers, batches, strict=True)
    ]
    execute_many(connection, insert(BATCHES), heads)
    for number, batch in zip(numbers, batches, strict=True):
        insert_columns(connection, number, batch.ids, batch.fields, batch.expected, batch.values)
    return numbers


def insert_columns(
    connection: Connection,
    number: int,
    ids: list[str],
    fields: Sequence[str],
    old: Sequence[list[Value]],
    new: Sequence[list[Value]],
) -> None:
    """Store the columns of a batch, in parts."""
    cuts = [slice(start, start + PART_RECORDS) for start in range(0, len(ids), PART_RECORDS)]
    parts = [{"batch": number, "part": part, "ids": encode_column(ids[cut])} for part, cut in enumerate(cuts)]
    values = [
        {
            "batch": number,
            "part": part,
            "field": name,
            "old": encode_column(was[cut]),
            "new": encode_column(set_to[cut]),
        }
        for name, was, set_to in zip(fields, old, new, strict=True)
        for part, cut in enumerate(cuts)
    ]
    execute_many(connection, insert(BATCH_IDS), parts)
    execute_many(connection, insert(BATCH_VALUES), values)


def read_batches(connection: Connection, numbers: Select[Any], with_old: bool = True) -> Iterator[StoredBatch]:
    """Yield whole batches, newest first; `old` is empty if it is not asked for.

    Parameters
    ----------
    connection : Connection
        A connection to the ledger.
    numbers : Select
        Query for the numbers of the batches.
    with_old : bool
        Whether the old values are read too.

    """
    heads = connection.execute(
        select(BATCHES).where(BATCHES.c.number.in_(numbers)).order_by(BATCHES.c.number.desc())
    ).all()
    ends = _read_exceptions(connection, numbers)
    for head in heads:
        where = {"batch": head.number}
        ids = _join(text for (text,) in connection.execute(_IDS, where))
        fields = tuple(json.loads(head.fields))
        olds: dict[str, list[Value]] = {name: [] for name in fields}
        news: dict[str, list[Value]] = {name: [] for name in fields}
        for name, old, new in connection.execute(_VALUES if with_old else _NEW_VALUES, where):
            olds[name] += decode_column(old) if with_old else []
            news[name] += decode_column(new)
        end = End(head.state, head.error, bool(head.replaced))
        columns = list(olds.values()), list(news.values())
        exceptions = ends.get(head.number, {})
        yield StoredBatch(
            head.number,
            head.run_id,
            head.table_name,
            head.action,
            fields,
            end,
            head.attempts,
            ids,
            *columns,
            exceptions,
        )


_IN_BATCH: BindParameter[Any] = bindparam("batch")
_IDS = select(BATCH_IDS.c.ids).where(BATCH_IDS.c.batch == _IN_BATCH).order_by(BATCH_IDS.c.part)
_VALUES = (
    select(BATCH_VALUES.c.field, BATCH_VALUES.c.old, BATCH_VALUES.c.new)
    .where(BATCH_VALUES.c.batch == _IN_BATCH)
    .order_by(BATCH_VALUES.c.part)
)
_NEW_VALUES = _VALUES.with_only_columns(BATCH_VALUES.c.field, BATCH_VALUES.c.field.label("no_old"), BATCH_VALUES.c.new)


def _join(texts: Iterator[str]) -> list[Any]:
    """Return a column from its parts."""
    return [value for text in texts for value in decode_column(text)]


def _read_exceptions(connection: Connection, numbers: Select[Any]) -> dict[int, dict[Cell, End]]:
    """Ends of single values, by batch."""
    names = ("batch", "record_id", "field", "state", "error", "replaced")
    query = select(*(EXCEPTIONS.c[name] for name in names)).where(EXCEPTIONS.c.batch.in_(numbers))
    found: dict[int, dict[Cell, End]] = {}
    for batch, record_id, name, state, error, replaced in connection.execute(query):
        found.setdefault(batch, {})[record_id, name] = End(state, error, bool(replaced))
    return found


def save_exceptions(connection: Connection, number: int, ends: Mapping[Cell, End], settled_at: datetime) -> None:
    """Store ends of single values, in place of those that were there."""
    rows = [
        {
            "batch": number,
            "record_id": record_id,
            "field": name,
            "state": end.state,
            "error": end.error,
            "replaced": int(end.replaced),
            "settled_at": settled_at,
        }
        for (record_id, name), end in ends.items()
    ]
    same = [EXCEPTIONS.c[name] == bindparam(f"its_{name}") for name in ("batch", "record_id", "field")]
    keys = [{f"its_{name}": row[name] for name in ("batch", "record_id", "field")} for row in rows]
    execute_many(connection, delete(EXCEPTIONS).where(*same), keys)
    if rows:
        connection.execute(insert(EXCEPTIONS), rows)


def _to_json(value: object) -> dict[str, str]:
    """JSON object for a value that JSON has no form for."""
    if isinstance(value, bytes):
        return {"base64": b64encode(value).decode()}
    raise TypeError(f"a {type(value).__name__} is no plain value")


def _from_json(value: dict[str, str]) -> Value:
    """Value of a JSON object that `_to_json` or `encode_column` made."""
    return float(value["float"]) if "float" in value else b64decode(value["base64"])


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_to_json).encode
_decode = json.JSONDecoder(object_hook=_from_json).decode


def encode_column(values: Sequence[Value]) -> str:
    """JSON list of plain values.

    Examples
    --------
    >>> encode_column([0.25, "A", None, b"x", float("inf")])
    '[0.25,"A",null,{"base64":"eA=="},{"float":"inf"}]'

    """
    try:
        return _encode(values)
    except ValueError:  # JSON has no infinity
        odd = (float("inf"), float("-inf"))
        return _encode([{"float": str(v)} if v in odd or v != v else v for v in values])


def decode_column(text: str) -> list[Any]:
    """Plain values of a JSON list that `encode_column` made."""
    values: list[Any] = _decode(text)
    return values
