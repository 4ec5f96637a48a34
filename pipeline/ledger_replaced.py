"""Values that a run plans anew: what it stored about them before is hidden, and what it had written stays known."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, select, update

from pipeline.adapters.target import WriteBatch
from pipeline.ledger_batches import BATCHES, read_batches, save_exceptions
from pipeline.ledger_singles import Write, now, read_ends, replace_singles


def replace_stored(
    connection: Connection, run_id: str, batches: Sequence[WriteBatch], refused: Sequence[Write]
) -> list[Write]:
    """Make room for what a run plans anew; returns the refused writes that it has not done."""
    live = select(BATCHES.c.number).where(BATCHES.c.run_id == run_id, BATCHES.c.replaced == 0)
    stored = list(read_batches(connection, live, with_old=False))
    singles = read_ends(connection, run_id)
    done = {key for key, state in singles.items() if state == "done"}
    if refused:
        done |= {(old.table_name, *cell) for old in stored for cell in old.done_cells()}
    refused = [write for write in refused if (write.table_name, write.record_id, write.field) not in done]
    if not (stored or singles):
        return refused
    cells: dict[tuple[str, str], set[str]] = {}
    for batch in batches:
        for name in batch.fields:
            cells.setdefault((batch.table.name, name), set()).update(batch.ids)
    for write in refused:
        cells.setdefault((write.table_name, write.field), set()).add(write.record_id)
    replace_singles(connection, run_id, cells, singles)
    for old in stored:
        again = [cells.get((old.table_name, name), set()) for name in old.fields]
        if all(ids.issuperset(old.ids) for ids in again):
            connection.execute(update(BATCHES).where(BATCHES.c.number == old.number).values(replaced=1))
            continue
        hidden = [(one, name) for name, ids in zip(old.fields, again, strict=True) for one in old.ids if one in ids]
        ends = {cell: replace(old.end_of(*cell), replaced=True) for cell in hidden}
        save_exceptions(connection, old.number, ends, now())
    return refused
