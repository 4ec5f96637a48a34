"""Taking forgotten records out of the batches of a ledger."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import groupby
from operator import itemgetter

from sqlalchemy import Connection, delete, select, update

from pipeline.ledger_batches import (
    BATCH_IDS,
    BATCH_VALUES,
    BATCHES,
    EXCEPTIONS,
    StoredBatch,
    decode_column,
    insert_columns,
    read_batches,
)

_PARTS = (
    select(BATCHES.c.number, BATCHES.c.table_name, BATCH_IDS.c.ids)
    .select_from(BATCHES.join(BATCH_IDS, BATCH_IDS.c.batch == BATCHES.c.number))
    .order_by(BATCHES.c.number, BATCH_IDS.c.part)
)


def tables_of_record(connection: Connection, record_id: str) -> set[str]:
    """Return the CRM tables of which a batch has a record."""
    text = json.dumps(record_id, ensure_ascii=False)
    found = connection.execute(_PARTS.where(BATCH_IDS.c.ids.contains(text, autoescape=True)))
    return {table_name for _, table_name, ids in found if record_id in decode_column(ids)}


def remove_records(connection: Connection, among: Callable[[str, Iterable[str]], set[str]]) -> Counter[str]:
    """Remove records from all batches.

    Parameters
    ----------
    connection : Connection
        A connection to the ledger.
    among : callable
        Given a CRM table and ids of its records, returns those that go.

    Returns
    -------
    Counter
        Values that were removed, by run.

    """
    gone: Counter[str] = Counter()
    doomed: dict[int, set[str]] = {}
    for (number, table_name), parts in groupby(connection.execute(_PARTS), key=itemgetter(0, 1)):
        found = among(table_name, [one for *_, ids in parts for one in decode_column(ids)])
        if found:
            doomed[number] = found
    for number, records in doomed.items():
        [batch] = read_batches(connection, select(BATCHES.c.number).where(BATCHES.c.number == number))
        gone[batch.run_id] += _remove(connection, batch, records)
    return gone


def _remove(connection: Connection, batch: StoredBatch, records: set[str]) -> int:
    """Store a batch anew without some records; returns how many values it lost."""
    left = batch.without(records)
    for part in (BATCH_IDS, BATCH_VALUES):
        connection.execute(delete(part).where(part.c.batch == batch.number))
    odd = {one for one, _ in batch.exceptions if one in records}
    for one in odd:
        connection.execute(delete(EXCEPTIONS).where(EXCEPTIONS.c.batch == batch.number, EXCEPTIONS.c.record_id == one))
    if left.ids:
        insert_columns(connection, batch.number, left.ids, left.fields, left.old, left.new)
        cells = len(left.ids) * len(left.fields)
        connection.execute(update(BATCHES).where(BATCHES.c.number == batch.number).values(cells=cells))
    else:
        connection.execute(delete(BATCHES).where(BATCHES.c.number == batch.number))
    return (len(batch.ids) - len(left.ids)) * len(batch.fields)
