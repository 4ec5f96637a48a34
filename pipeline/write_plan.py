"""What a run is going to do to the CRM, decided from what the CRM has now; nothing is written here.

A field is compared with its current value in the CRM:

- equal to the new value: unchanged;
- equal to what we last wrote, or never written by us: it is changed. A field that the config maps is
  ours, so its first value may replace one that was there before; the ledger keeps that for undo;
- anything else: somebody edited it since our last write, be it by clearing it. That is a conflict, and
  the edit stays, unless the run is told to take the field over;
- no record: missing, or added if `insert_missing` is set.

A job that was killed leaves interrupted writes in the ledger. They are resolved by the same reading:
the field has the new value: it was written; the old one: it was not; anything else: a conflict.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from features.errors import DataError
from pipeline.adapters.target import Action, TargetAdapter, TargetTable, Value
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.field_values import build_values, check_write_back, describe_fields
from pipeline.forgotten_scores import scores_to_write
from pipeline.ledger import Ledger
from pipeline.ledger_writes import LastWrite, State, Write

Records = Mapping[str, Mapping[str, Value]]

UNDO_PREFIX = "undo-"
"""The undo of run R is itself a run, named `undo-R`."""


@dataclass(frozen=True)
class TablePlan:
    """What a run is going to do to one table, and what it leaves alone.

    Parameters
    ----------
    table : TargetTable
        Table and key.
    changes : tuple of Write
        To be written, record by record.
    refused : tuple of Write
        Conflicts and missing records.
    unchanged : int
        Fields that have their values already.
    resolved : tuple of Write
        Interrupted writes of earlier jobs, and what became of them.
    superseded : int
        Undo only: fields that a later run has written since.

    """

    table: TargetTable
    changes: tuple[Write, ...]
    refused: tuple[Write, ...]
    unchanged: int
    resolved: tuple[Write, ...]
    superseded: int = 0

    @property
    def conflicts(self) -> tuple[Write, ...]:
        """Fields that somebody edited since our last write."""
        return tuple(write for write in self.refused if write.state == "conflict")

    @property
    def missing(self) -> tuple[str, ...]:
        """Records that the CRM does not have."""
        return tuple(dict.fromkeys(write.record_id for write in self.refused if write.state == "missing"))

    def count_records(self, action: Action) -> int:
        """Count the records that are updated, inserted or deleted."""
        return len({write.record_id for write in self.changes if write.action == action})


@dataclass(frozen=True)
class WritePlan:
    """What a run is going to do to the CRM."""

    run_id: str
    tables: tuple[TablePlan, ...]


@dataclass(frozen=True)
class _View:
    """One table as the CRM has it now, and what the ledger knows of it."""

    table: TargetTable
    current: Records
    last: Mapping[tuple[str, str], LastWrite]
    resolved: tuple[Write, ...]
    contested: frozenset[tuple[str, str]]

    def is_ours(self, record_id: str, field: str, value: Value) -> bool:
        """Whether a field has the value that we left in it, or was never written by us."""
        last = self.last.get((record_id, field))
        return (record_id, field) not in self.contested and (last is None or last.value == value)


def make_plan(
    config: Config,
    ledger: Ledger,
    adapter: TargetAdapter,
    scores: pd.DataFrame,
    run_id: str,
    take_over: bool = False,
) -> WritePlan:
    """Compare the scores of a run with the CRM's current values.

    Parameters
    ----------
    config : Config
        Its `write_back` section maps targets to tables, and score values to fields.
    ledger : Ledger
        What was written before.
    adapter : TargetAdapter
        The CRM.
    scores : DataFrame
        Score frame; of each target the primary horizon is written.
    run_id : str
        The scoring run.
    take_over : bool
        Whether fields that somebody edited are overwritten too, for instance after the CRM was restored
        from a backup; the ledger keeps the edits for undo.

    Raises
    ------
    ConfigError
        If the mapping does not fit the config or the CRM's catalogue.
    DataError
        If the scores cannot be written, or have changed since this run wrote them.
    CrmError
        If the CRM does not answer.

    """
    section = check_write_back(config)
    scores = scores_to_write(config, scores)
    plans = []
    for name, mapping in section.tables.items():
        fields = describe_fields(adapter, name, mapping)
        values = build_values(scores, name, config.targets[name].horizons_days[0], mapping, fields)
        table = TargetTable(mapping.target, mapping.key)
        view = _read_view(ledger, adapter, table, list(mapping.fields), values)
        writes = [write for record in values for write in _compare(view, run_id, record, values[record])]
        if take_over:
            writes = [replace(w, state="planned", error=None) if w.state == "conflict" else w for w in writes]
        plans.append(_make_table_plan(view, writes, len(values) * len(fields), section.insert_missing))
    return WritePlan(run_id, tuple(plans))


def make_undo_plan(config: Config, ledger: Ledger, adapter: TargetAdapter, run_id: str) -> WritePlan:
    """Plan to give every field that a run wrote the value it had before, unless it was edited since.

    A record that the run added is removed, unless one of its fields was edited since. Fields that a
    later run has written are left to the undo of that run.

    Raises
    ------
    ConfigError
        If the run is not in the ledger, or wrote a table that the config no longer names.

    """
    section = check_write_back(config)
    if run_id.startswith(UNDO_PREFIX):
        first = run_id.removeprefix(UNDO_PREFIX)
        raise ConfigError(
            f"An undo cannot be undone. Write run '{first}' again: `leadsieve writeback apply --run {first}`."
        )
    if ledger.find_run(run_id) is None:
        newest = ledger.latest_scored_run()
        hint = f"The newest one is '{newest.run_id}'." if newest else "The ledger has no scores."
        raise ConfigError(f"Run '{run_id}' is not in the ledger, so it cannot be undone. {hint}")
    keys = {mapping.target: mapping.key for mapping in section.tables.values()}
    plans = []
    for name, writes in _group(ledger.writes.of_run(run_id, ("done", "intended")), lambda w: w.table_name).items():
        if name not in keys:
            raise ConfigError(f"Run '{run_id}' wrote table '{name}', which write_back.tables does not name. Add it.")
        fields = list(dict.fromkeys(write.field for write in writes))
        adapter.describe(TargetTable(name, keys[name]), fields)
        ids = [write.record_id for write in writes]
        view = _read_view(ledger, adapter, TargetTable(name, keys[name]), fields, ids)
        plans.append(_plan_undo(view, run_id, writes))
    return WritePlan(UNDO_PREFIX + run_id, tuple(plans))


def _read_view(
    ledger: Ledger, adapter: TargetAdapter, table: TargetTable, fields: Sequence[str], ids: Iterable[str]
) -> _View:
    """Read what records have now, what became of interrupted writes, and what we wrote last."""
    interrupted = [write for write in ledger.writes.outstanding(table_name=table.name) if write.field in fields]
    every_id = list(dict.fromkeys([*ids, *(write.record_id for write in interrupted)]))
    current = adapter.current_values(table, every_id, fields)
    resolved = tuple(_resolve(write, current.get(write.record_id)) for write in interrupted)
    last = ledger.writes.last_writes(table.name, fields)
    last |= {(w.record_id, w.field): LastWrite(w.run_id, w.new) for w in resolved if w.state == "done"}
    contested = frozenset((w.record_id, w.field) for w in resolved if w.state == "conflict")
    return _View(table, current, last, resolved, contested)


def _resolve(write: Write, record: Mapping[str, Value] | None) -> Write:
    """Find out what became of an interrupted write from what its record has now."""
    if write.state == "planned":
        return replace(write, state="dropped", error="the job ended before it was sent")
    if record is None:
        ends: dict[str, State] = {"delete": "done", "insert": "dropped"}
        return replace(write, state=ends.get(write.action, "missing"), error=None)
    found = record[write.field]
    if found == write.new and write.action != "delete":
        return replace(write, state="done", error=None)
    if found == write.old:
        return replace(write, state="dropped", error="the job ended before it was written")
    return replace(write, state="conflict", error=f"expected {write.old!r}, found {found!r}")


def _compare(view: _View, run_id: str, record_id: str, values: Mapping[str, Value]) -> list[Write]:
    """Writes of one record, each with the state it starts in; none for fields that have their values."""
    record = view.current.get(record_id)
    table = view.table.name
    if record is None:
        error = "the record does not exist"
        return [
            Write(run_id, table, record_id, field, None, new, "missing", error=error) for field, new in values.items()
        ]
    writes = []
    for field, new in values.items():
        old = record[field]
        if old == new:
            continue
        last = view.last.get((record_id, field))
        if not view.is_ours(record_id, field, old):
            error = f"we wrote {last.value if last else None!r}, found {old!r}"
            writes.append(Write(run_id, table, record_id, field, old, new, "conflict", error=error))
        elif last is None or last.run_id != run_id:
            writes.append(Write(run_id, table, record_id, field, old, new))
        else:
            raise DataError(
                f"Run '{run_id}' wrote {old!r} to '{table}.{field}' of record '{record_id}' and now has {new!r}: its "
                "scores or their rounding changed after they were written. Score again, under a new run."
            )
    return writes


def _make_table_plan(view: _View, writes: Sequence[Write], fields: int, insert_missing: bool) -> TablePlan:
    """Sort the writes of a table by what is to be done with them."""
    if insert_missing:
        writes = [
            replace(write, state="planned", action="insert", error=None) if write.state == "missing" else write
            for write in writes
        ]
    return TablePlan(
        view.table,
        changes=tuple(write for write in writes if write.state == "planned"),
        refused=tuple(write for write in writes if write.state != "planned"),
        unchanged=fields - len(writes),
        resolved=view.resolved,
    )


def _plan_undo(view: _View, run_id: str, writes: Sequence[Write]) -> TablePlan:
    """Plan the undo of what a run wrote to one table."""
    resolved = {(w.run_id, w.record_id, w.field): w for w in view.resolved}
    ended = [resolved.get((w.run_id, w.record_id, w.field), w) for w in writes]
    changes: list[Write] = []
    refused: list[Write] = []
    unchanged = superseded = 0
    for group in _group([w for w in ended if w.state == "done"], lambda w: w.record_id).values():
        backs = [_put_back(view, run_id, write) for write in group]
        superseded += backs.count(None)
        here = [back for back in backs if back is not None]
        if all(w.action == "insert" for w in group) and all(back and back.state == "planned" for back in backs):
            here = [replace(back, action="delete") for back in here]
        unchanged += sum(back.state == "done" for back in here)
        changes += [back for back in here if back.state == "planned"]
        refused += [back for back in here if back.state not in ("done", "planned")]
    return TablePlan(view.table, tuple(changes), tuple(refused), unchanged, view.resolved, superseded)


def _put_back(view: _View, run_id: str, write: Write) -> Write | None:
    """Return the write that undoes one, with the state it starts in; None if a later run has written the field."""
    undo_id = UNDO_PREFIX + run_id
    record = view.current.get(write.record_id)
    last = view.last[write.record_id, write.field]
    found = write.new if record is None else record[write.field]
    state: State = "planned"
    error: str | None = None
    if record is None:
        state, error = ("done" if write.action == "insert" else "missing"), "the record does not exist"
    elif last.run_id == undo_id or (found == write.old and write.action == "update"):
        state = "done"
    elif last.run_id != run_id and not (last.run_id.startswith(UNDO_PREFIX) and last.value == write.new):
        return None
    elif found != write.new or (write.record_id, write.field) in view.contested:
        state, error = "conflict", f"run '{run_id}' wrote {write.new!r}, found {found!r}"
    return Write(undo_id, write.table_name, write.record_id, write.field, found, write.old, state, error=error)


def _group(writes: Iterable[Write], by: Callable[[Write], str]) -> dict[str, list[Write]]:
    """Writes by something, in the order in which they come."""
    groups: dict[str, list[Write]] = {}
    for write in writes:
        groups.setdefault(by(write), []).append(write)
    return groups
