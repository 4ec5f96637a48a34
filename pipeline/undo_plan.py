"""What an undo is going to do: fields that a run wrote get the values they had before, unless edited since."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from pipeline.adapters.target import TargetTable, WriteBatch
from pipeline.collector import no_search_for_cycles
from pipeline.config import Config, WriteBack
from pipeline.crm import Crm
from pipeline.errors import ConfigError
from pipeline.field_values import check_write_back
from pipeline.ledger import Ledger
from pipeline.ledger_writes import State, Write
from pipeline.write_compare import Current
from pipeline.write_plan import TablePlan, WritePlan
from pipeline.write_view import CountChanges, View, find_size, keep_for_read_back, read_view

UNDO_PREFIX = "undo-"
"""The undo of run R is itself a run, named `undo-R`."""


@no_search_for_cycles()
def make_undo_plan(config: Config, ledger: Ledger, crm: Crm, run_id: str) -> WritePlan:
    """Plan to give every field that a run wrote the value it had before, unless it was edited since.

    A record that the run added is removed, unless one of its fields was edited since. Fields that a
    later run has written are left to the undo of that run.

    Raises
    ------
    ConfigError
        If the run is not in the ledger, or wrote a table that the config no longer names.

    """
    section = check_write_back(config)
    _check_run(ledger, run_id)
    keys = {mapping.target: mapping.key for mapping in section.tables.values()}
    by_table = _group(ledger.writes.of_run(run_id, ("done", "intended")), lambda write: write.table_name)
    keep_for_read_back(crm, len(by_table))
    plans = []
    for name, writes in by_table.items():
        if name not in keys:
            raise ConfigError(f"Run '{run_id}' wrote table '{name}', which write_back.tables does not name. Add it.")
        table = TargetTable(name, keys[name])
        fields = list(dict.fromkeys(write.field for write in writes))
        _check_owned(section, run_id, name, fields)
        crm.target.describe(table, fields)
        ids = list(dict.fromkeys(write.record_id for write in writes))
        size = find_size(config, crm)
        view = read_view(ledger, crm.target, table, fields, ids, _counter(writes), size)
        plan = _plan_undo(view, run_id, writes, size)
        crm.patience.kept += len(plan.batches) * crm.target.per_batch
        plans.append(plan)
    return WritePlan(UNDO_PREFIX + run_id, tuple(plans))


def _check_run(ledger: Ledger, run_id: str) -> None:
    """Check that a run can be undone."""
    if run_id.startswith(UNDO_PREFIX):
        first = run_id.removeprefix(UNDO_PREFIX)
        raise ConfigError(
            f"An undo cannot be undone. Write run '{first}' again: `leadsieve writeback apply --run {first}`."
        )
    if ledger.find_run(run_id) is None:
        newest = ledger.latest_scored_run()
        hint = f"The newest one is '{newest.run_id}'." if newest else "The ledger has no scores."
        raise ConfigError(f"Run '{run_id}' is not in the ledger, so it cannot be undone. {hint}")


def _check_owned(section: WriteBack, run_id: str, table: str, fields: Sequence[str]) -> None:
    """Check that the fields are still ours."""
    foreign = [name for name in fields if name not in section.owned_fields.get(table, ())]
    if foreign and not section.insert_missing:
        raise ConfigError(
            f"Run '{run_id}' wrote '{table}.{foreign[0]}', which write_back.owned_fields does not name any more. "
            f"Add it until the undo is done, or leave the run as it is."
        )


def _counter(writes: Sequence[Write]) -> CountChanges:
    """Return what tells how many records still have a value that the run wrote."""
    by_record = _group(writes, lambda write: write.record_id)

    def count(part: Current, start: int) -> int:
        return sum(
            any(part.columns[write.field][at] == write.new for write in by_record[record_id])
            for at, record_id in enumerate(part.ids)
            if part.there[at]
        )

    return count


def _plan_undo(view: View, run_id: str, writes: Sequence[Write], size: int) -> TablePlan:
    """Plan the undo of what a run wrote to one table."""
    place = {record_id: at for at, record_id in enumerate(view.current.ids)}
    waiting = sum(write.record_id not in place for write in writes)
    resolved = {(w.run_id, w.record_id, w.field): w for w in view.resolved}
    ended = [resolved.get((w.run_id, w.record_id, w.field), w) for w in writes if w.record_id in place]
    changes: list[Write] = []
    refused: list[Write] = []
    unchanged = superseded = 0
    for group in _group([w for w in ended if w.state == "done"], lambda w: w.record_id).values():
        backs = [_put_back(view, place[write.record_id], run_id, write) for write in group]
        superseded += backs.count(None)
        here = [back for back in backs if back is not None]
        if all(w.action == "insert" for w in group) and all(back and back.state == "planned" for back in backs):
            here = [replace(back, action="delete") for back in here]
        unchanged += sum(back.state == "done" for back in here)
        changes += [back for back in here if back.state == "planned"]
        refused += [back for back in here if back.state not in ("done", "planned")]
    return TablePlan(
        view.table,
        _make_batches(view.table, changes, size),
        tuple(refused),
        unchanged,
        waiting=waiting,
        resolved=view.resolved,
        superseded=superseded,
    )


def _put_back(view: View, at: int, run_id: str, write: Write) -> Write | None:
    """Return the write that undoes one, with the state it starts in; None if a later run has written the field."""
    undo_id = UNDO_PREFIX + run_id
    known, is_there = view.known[write.field], view.current.there[at]
    last_run, last_value = known.run_ids[write.record_id], known.values[write.record_id]
    found = view.current.columns[write.field][at] if is_there else write.new
    state: State = "planned"
    error: str | None = None
    if not is_there:
        state, error = ("done" if write.action == "insert" else "missing"), "the record does not exist"
    elif last_run == undo_id or (found == write.old and write.action == "update"):
        state = "done"
    elif last_run != run_id and not (last_run.startswith(UNDO_PREFIX) and last_value == write.new):
        return None
    elif found != write.new or write.record_id in known.contested:
        state, error = "conflict", f"run '{run_id}' wrote {write.new!r}, found {found!r}"
    return Write(undo_id, write.table_name, write.record_id, write.field, found, write.old, state, error=error)


def _make_batches(table: TargetTable, changes: Sequence[Write], size: int) -> tuple[WriteBatch, ...]:
    """Batches of records whose same fields are put back, in the order in which they come."""
    kinds: dict[tuple[str, ...], list[list[Write]]] = {}
    for record in _group(changes, lambda write: write.record_id).values():
        kinds.setdefault((record[0].action, *(write.field for write in record)), []).append(record)
    found = []
    for records in kinds.values():
        for start in range(0, len(records), size):
            part = records[start : start + size]
            columns = list(zip(*part, strict=True))
            found.append(
                WriteBatch(
                    table,
                    part[0][0].action,
                    tuple(write.field for write in part[0]),
                    [record[0].record_id for record in part],
                    [[write.old for write in column] for column in columns],
                    [[write.new for write in column] for column in columns],
                    "",
                )
            )
    return tuple(found)


def _group(writes: Iterable[Write], by: Callable[[Write], str]) -> dict[str, list[Write]]:
    """Writes by something, in the order in which they come."""
    groups: dict[str, list[Write]] = {}
    for write in writes:
        groups.setdefault(by(write), []).append(write)
    return groups
