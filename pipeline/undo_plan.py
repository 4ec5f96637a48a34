"""What an undo is going to do: fields that a run wrote get the values they had before, unless edited since."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.adapters.target import TargetTable, WriteBatch
from pipeline.collector import no_search_for_cycles
from pipeline.config import Config, WriteBack
from pipeline.crm import Crm
from pipeline.errors import ConfigError
from pipeline.field_values import check_write_back
from pipeline.ledger import Ledger
from pipeline.ledger_writes import Write
from pipeline.undo_columns import UNDO_PREFIX, Undone, Written, WrittenField
from pipeline.write_compare import Difference, Mask, group_changes
from pipeline.write_plan import TablePlan, WritePlan
from pipeline.write_view import View, find_size, keep_for_read_back, read_view


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
    written = _read_written(ledger, run_id)
    keep_for_read_back(crm, len(written))
    plans = []
    for name, wrote in written.items():
        if name not in keys:
            raise ConfigError(f"Run '{run_id}' wrote table '{name}', which write_back.tables does not name. Add it.")
        table, fields = TargetTable(name, keys[name]), list(wrote.fields)
        _check_owned(section, run_id, name, fields)
        crm.target.describe(table, fields)
        size = find_size(config, crm)
        view = read_view(ledger, crm.target, table, fields, list(wrote.places), wrote.count_still, size)
        plan = _plan_undo(view, run_id, wrote, size)
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


def _read_written(ledger: Ledger, run_id: str) -> dict[str, Written]:
    """What a run wrote, or may have written, by table."""
    batches, singles = ledger.writes.written(run_id)
    tables = dict.fromkeys([one.table_name for one in batches] + [one.table_name for one in singles])
    return {
        name: Written.of(
            [one for one in batches if one.table_name == name], [one for one in singles if one.table_name == name]
        )
        for name in tables
    }


def _plan_undo(view: View, run_id: str, written: Written, size: int) -> TablePlan:
    """Plan the undo of what a run wrote to one table."""
    written.resolve(run_id, view.resolved)
    looked_at = len(view.current.ids)
    fields = {name: field.upto(looked_at) for name, field in written.fields.items()}
    undone = {
        name: Undone.of(field, view.current, view.current.columns[name], view.known[name], run_id)
        for name, field in fields.items()
    }
    return TablePlan(
        view.table,
        _make_batches(view, fields, undone, size),
        _refuse(view, run_id, fields, undone),
        unchanged=sum(int(one.unchanged.sum()) for one in undone.values()),
        waiting=written.count_waiting(looked_at),
        resolved=view.resolved,
        superseded=sum(int(one.superseded.sum()) for one in undone.values()),
    )


def _make_batches(
    view: View, fields: Mapping[str, WrittenField], undone: Mapping[str, Undone], size: int
) -> tuple[WriteBatch, ...]:
    """Batches of records whose same fields are put back, then of records that are removed: as the run added them."""
    kept = np.zeros(len(view.current.ids), dtype=bool)
    for name, field in fields.items():
        kept |= field.done & ~(field.added & undone[name].put_back)

    def group(records: Mask) -> tuple[WriteBatch, ...]:
        olds = {name: field.old for name, field in fields.items()}
        changed = {name: one.put_back & records for name, one in undone.items()}
        return group_changes(view.table, Difference(view.current, olds, changed, {}), size)

    return group(kept) + tuple(replace(batch, action="delete") for batch in group(~kept))


def _refuse(
    view: View, run_id: str, fields: Mapping[str, WrittenField], undone: Mapping[str, Undone]
) -> tuple[Write, ...]:
    """Writes that end before they are sent, in the order of their records: edited values, and those of no record."""
    found: list[tuple[int, Write]] = []
    for name, field in fields.items():
        one, nows = undone[name], view.current.columns[name]
        for at in np.flatnonzero(one.conflict | one.missing).tolist():
            old, new, record_id = field.old[at], field.new[at], view.current.ids[at]
            put_back = Write(UNDO_PREFIX + run_id, view.table.name, record_id, name, nows[at], old, "conflict")
            if one.missing[at]:
                refused = replace(put_back, old=new, state="missing", error="the record does not exist")
            else:
                refused = replace(put_back, error=f"run '{run_id}' wrote {new!r}, found {nows[at]!r}")
            found.append((at, refused))
    return tuple(write for _, write in sorted(found, key=lambda one: one[0]))
