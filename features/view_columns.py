"""Columns that the as-of view adds to a table's own: of earlier rows, and of the contact that a row names.

All are computed among the rows that were known at `as_of`, and where times tie the order of rows in
the source does not matter.
"""

from collections.abc import Collection, Sequence
from typing import Any

import ibis

from features.engine import Database
from features.tables import TableSpec
from features.targets import is_purchase

FAMILY = "family_id"
"""The customer that heads the family, in the view of a family's rows (null elsewhere)."""

PREVIOUS = "previous_occurred_at"
"""When the entity's row before this one occurred, among those known at `as_of` (null for its first).

In orders: the purchase before, as returns are no part of a buying rhythm.
"""

STAGE_RANK = "stage_rank"
"""Position of the stage in the config's order of stages, from 1 (null for an unlisted stage)."""

NEVER = ibis.null("timestamp(6)")


def previous_purchase(view: Any, time: str) -> Any:
    """Add `PREVIOUS`."""
    counts = is_purchase(view) if "quantity" in view.columns else ibis.literal(True)
    earlier = ibis.window(group_by=view.row, order_by=view[time], preceding=(None, 1))
    return view.mutate(**{PREVIOUS: ibis.ifelse(counts, view[time], NEVER).max().over(earlier)})


def previous_values(view: Any, spec: TableSpec, wanted: Collection[str]) -> Any:
    """Add `previous_<column>`: the value in the version of the row before, in the order of becoming known."""
    versions = ibis.window(group_by=[view.row, view[spec.key]], order_by=view.known_at)
    names = [name for name in sorted(wanted) if name.startswith("previous_")]
    lagged = {name: view[name.removeprefix("previous_")].lag().over(versions) for name in names}
    return view.mutate(**lagged) if lagged else view


def stage_rank(stage: Any, stages: Sequence[str]) -> Any:
    """Rank of a stage."""
    ranks = [(name, rank) for rank, name in enumerate(stages, start=1)]
    return stage.cases(*ranks, else_=ibis.null("int64")).cast("int64") if ranks else ibis.null("int64")


def stage_columns(view: Any, stages: Sequence[str]) -> Any:
    """Add `STAGE_RANK` and that of the deal's stage before; of two at once the lower one comes first."""
    ranked = view.mutate(**{STAGE_RANK: stage_rank(view.stage, stages)})
    earlier = ibis.window(group_by=ranked.row, order_by=[ranked.occurred_at, ranked[STAGE_RANK]])
    return ranked.mutate(**{f"previous_{STAGE_RANK}": ranked[STAGE_RANK].lag().over(earlier)})


def answer_columns(view: Any) -> Any:
    """Add `is_latest` and `previous_answer`; of two answers at once the greater one is the newer."""
    same = [view.row, view.question]
    newest = ibis.window(group_by=same, order_by=[view.occurred_at.desc(), view.answer.desc()])
    earlier = ibis.window(group_by=same, order_by=[view.occurred_at, view.answer])
    return view.mutate(is_latest=ibis.row_number().over(newest) == 0, previous_answer=view.answer.lag().over(earlier))


def previous_touch(view: Any, wanted: Collection[str]) -> Any:
    """Add when the newest earlier activity of each direction was; at equal times inbound comes first."""
    earlier = ibis.window(group_by=view.row, order_by=[view.occurred_at, view.direction], preceding=(None, 1))
    added = {
        name: ibis.ifelse(view.direction == direction, view.occurred_at, NEVER).max().over(earlier)
        for direction in ("inbound", "outbound")
        if (name := f"previous_{direction}_at") in wanted
    }
    return view.mutate(**added) if added else view


def contact_columns(view: Any, database: Database) -> Any:
    """Add what was known of the row's contact at `as_of`."""
    stored = database.tables.tables["contacts"]
    rows = database.table("contacts")
    shown = {
        f"contact_{column}": ibis.null(rows[column].type()) if column in stored.sensitive else rows[column]
        for column in ("seniority", "is_decision_maker")
    }
    until = rows.known_until if "known_until" in rows.columns else NEVER
    contacts = rows.select(known_contact=rows.contact_id, met_at=rows.known_at, met_until=until, **shown)
    holds = (contacts.met_at < view.as_of) & (contacts.met_until.isnull() | (view.as_of <= contacts.met_until))
    joined = view.left_join(contacts, [view.contact_id == contacts.known_contact, holds])
    return joined.drop("known_contact", "met_at", "met_until")
