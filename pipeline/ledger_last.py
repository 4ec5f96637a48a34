"""What the ledger tells of all writes together: the newest values of ours, and how many writes are in which state."""

from collections import Counter
from collections.abc import Collection, Mapping
from itertools import repeat

from sqlalchemy import Connection, and_, func, select

from pipeline.adapters.target import Value
from pipeline.ledger_batches import BATCHES, EXCEPTIONS, StoredBatch
from pipeline.ledger_singles import SINGLES, decode

Newest = Mapping[str, tuple[dict[str, Value], dict[str, str]]]
"""By field: record to value, and record to the run that wrote it."""


def add_last(batch: StoredBatch, known: Newest) -> None:
    """Add what a batch has done to what newer ones have."""
    for name, news in zip(batch.fields, batch.new, strict=True):
        if name not in known:
            continue
        ids = batch.ids
        if batch.exceptions:
            done = [at for at, one in enumerate(ids) if batch.end_of(one, name).state == "done"]
            ids, news = [ids[at] for at in done], [news[at] for at in done]
        elif batch.end.state != "done":
            continue
        values, run_ids = known[name]
        for _ in map(values.setdefault, ids, news):
            pass
        for _ in map(run_ids.setdefault, ids, repeat(batch.run_id)):
            pass


def add_last_singles(
    connection: Connection, table_name: str, known: Mapping[str, tuple[dict[str, Value], dict[str, str]]]
) -> None:
    """Add what was done before there were batches."""
    done = and_(SINGLES.c.table_name == table_name, SINGLES.c.field.in_(tuple(known)), SINGLES.c.state == "done")
    query = select(SINGLES.c.record_id, SINGLES.c.field, SINGLES.c.run_id, SINGLES.c.new).where(done)
    for record_id, name, run_id, new in connection.execute(query.order_by(SINGLES.c.batch.desc())):
        values, run_ids = known[name]
        if record_id not in values:
            values[record_id], run_ids[record_id] = decode(new), run_id


def read_contested(connection: Connection, table_name: str, fields: Collection[str]) -> dict[str, set[str]]:
    """By field: the records that plans left to people, because somebody had edited them."""
    here = and_(SINGLES.c.table_name == table_name, SINGLES.c.field.in_(tuple(fields)), SINGLES.c.state == "conflict")
    found: dict[str, set[str]] = {name: set() for name in fields}
    for record_id, name in connection.execute(select(SINGLES.c.record_id, SINGLES.c.field).where(here)):
        found[name].add(record_id)
    return found


def count_writes(connection: Connection, run_id: str | None) -> Counter[tuple[str, str, str]]:
    """How many writes there are, by run, table and state."""
    found: Counter[tuple[str, str, str]] = Counter()
    here = [] if run_id is None else [BATCHES.c.run_id == run_id]
    live = and_(BATCHES.c.replaced == 0, *here)
    by = (BATCHES.c.run_id, BATCHES.c.table_name, BATCHES.c.state)
    for *key, count in connection.execute(select(*by, func.sum(BATCHES.c.cells)).where(live).group_by(*by)):
        found[tuple(key)] += int(count)
    joined = BATCHES.join(EXCEPTIONS, EXCEPTIONS.c.batch == BATCHES.c.number)
    others = (EXCEPTIONS.c.state.label("ended"), EXCEPTIONS.c.replaced)
    query = select(*by, *others, func.count()).select_from(joined).where(live).group_by(*by, *others)
    for run, table_name, state, ended, is_replaced, count in connection.execute(query):
        found[run, table_name, state] -= count
        found[run, table_name, ended] += 0 if is_replaced else count
    alone = [SINGLES.c.replaced == 0] + ([] if run_id is None else [SINGLES.c.run_id == run_id])
    by = (SINGLES.c.run_id, SINGLES.c.table_name, SINGLES.c.state)
    for *key, count in connection.execute(select(*by, func.count()).where(*alone).group_by(*by)):
        found[tuple(key)] += count
    return found
