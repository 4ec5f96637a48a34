"""What a run is going to do to the CRM, decided from what the CRM has now; nothing is written here.

How a field is judged is told in `pipeline.write_compare`.

The most valuable record comes first: the best grade, within a grade the highest probability (or value),
then by id; targets in the order of the config. Without a budget of requests everything is written, and
records of one grade go by id, which is how a database finds and stores them fastest. Records whose same
fields change are written together, and batches go in the order of their first records. Where the budget
of requests does not last, reading stops while there is enough left to write what has changed so far; the
records that were not looked at wait.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from models.errors import ScorecardError
from models.grades import DEFAULT_GRADES
from pipeline.adapters.target import Action, TargetTable, Value, WriteBatch
from pipeline.cards import load_card
from pipeline.collector import no_search_for_cycles
from pipeline.config import Config, FieldMap
from pipeline.crm import Crm
from pipeline.errors import ConfigError
from pipeline.field_columns import Wanted, build_values
from pipeline.field_values import check_write_back, describe_fields
from pipeline.forgotten_scores import scores_to_write
from pipeline.ledger import Ledger
from pipeline.ledger_writes import Write
from pipeline.write_compare import compare, group_changes, refuse, skip_small
from pipeline.write_view import count_changes, find_size, keep_for_read_back, read_view


@dataclass(frozen=True)
class TablePlan:
    """What a run is going to do to one table, and what it leaves alone.

    Parameters
    ----------
    table : TargetTable
        Table and key.
    batches : tuple of WriteBatch
        To be written, in this order.
    refused : tuple of Write
        Conflicts and missing records, value by value.
    unchanged : int
        Fields that have their values already.
    skipped : int
        Records that change by less than epsilon.
    waiting : int
        Values that the budget left no room to look at.
    resolved : tuple of Write
        Interrupted writes of earlier jobs, and what became of them.
    superseded : int
        Undo only: fields that a later run has written since.
    target : str or None
        Target whose scores these are; None for an undo.

    """

    table: TargetTable
    batches: tuple[WriteBatch, ...]
    refused: tuple[Write, ...] = ()
    unchanged: int = 0
    skipped: int = 0
    waiting: int = 0
    resolved: tuple[Write, ...] = ()
    superseded: int = 0
    target: str | None = None

    @property
    def changes(self) -> Iterator[tuple[str, str, Value, Value]]:
        """Yield record, field, old and new value of what is going to be written."""
        for batch in self.batches:
            for at, record_id in enumerate(batch.ids):
                for name, olds, news in zip(batch.fields, batch.expected, batch.values, strict=True):
                    yield record_id, name, olds[at], news[at]

    @property
    def value_count(self) -> int:
        """How many values are going to be written."""
        return sum(len(batch.ids) * len(batch.fields) for batch in self.batches)

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
        return sum(len(batch.ids) for batch in self.batches if batch.action == action)


@dataclass(frozen=True)
class WritePlan:
    """What a run is going to do to the CRM."""

    run_id: str
    tables: tuple[TablePlan, ...]

    @property
    def value_count(self) -> int:
        """How many values are going to be written."""
        return sum(table.value_count for table in self.tables)


@no_search_for_cycles()
def make_plan(
    config: Config,
    ledger: Ledger,
    crm: Crm,
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
    crm : Crm
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
    keep_for_read_back(crm, len(section.tables))
    plans = []
    for name, mapping in section.tables.items():
        fields = describe_fields(crm.target, name, mapping)
        horizon = config.targets[name].horizons_days[0]
        order = _grades_of(config, name), crm.patience.max_requests is None
        wanted = build_values(scores, name, horizon, mapping, fields, *order)
        plan = _plan_table(config, ledger, crm, mapping, wanted, run_id, take_over)
        crm.patience.kept += len(plan.batches) * crm.target.per_batch
        plans.append(replace(plan, target=name))
    return WritePlan(run_id, tuple(plans))


def _grades_of(config: Config, name: str) -> list[str]:
    """Grades of a target from the best to the lowest; a card that cannot be read now stops no write-back."""
    try:
        card = load_card(config, name)
    except (ConfigError, ScorecardError):
        card = None
    return [grade.id for grade in (card.grades if card else DEFAULT_GRADES)]


def _plan_table(
    config: Config,
    ledger: Ledger,
    crm: Crm,
    mapping: FieldMap,
    wanted: Wanted,
    run_id: str,
    take_over: bool,
) -> TablePlan:
    """Plan what one target's scores change in its table."""
    table, fields, size = TargetTable(mapping.target, mapping.key), list(mapping.fields), find_size(config, crm)
    count = partial(count_changes, wanted.columns)
    view = read_view(ledger, crm.target, table, fields, wanted.ids, count, size)
    looked_at = len(view.current.ids)
    values = {name: column[:looked_at] for name, column in wanted.columns.items()}
    difference = compare(table, run_id, view.current, values, view.known, take_over)
    differing = sum(int(mask.sum()) for masks in (difference.changed, difference.conflicts) for mask in masks.values())
    skipped = skip_small(difference, mapping.fields, mapping.epsilon)
    gone = ~view.current.there
    is_ours = check_write_back(config).insert_missing
    return TablePlan(
        table,
        group_changes(table, difference, size, gone if is_ours else None),
        refuse(run_id, table, difference, view.known, () if is_ours else set(np.flatnonzero(gone).tolist())),
        unchanged=int(view.current.there.sum()) * len(fields) - differing,
        skipped=int(skipped.sum()),
        waiting=(len(wanted) - looked_at) * len(fields),
        resolved=view.resolved,
    )
