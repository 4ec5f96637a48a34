"""Forget an entity: a customer with all that belongs to it, or a deal alone.

The order makes it safe to kill: first the tombstone, which keeps the entity from coming back, then the
tables, the training sets, the quarantine, the scoring runs, the tables of our own in the CRM (the history of scores,
follow-up tasks) and the ledger, which knows whose rows are there. Each step removes whatever has a
tombstone, so a second run, for the same entity or for another, finishes what the first one began.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from features.errors import DataError
from pipeline.config import Config
from pipeline.crm import open_crm
from pipeline.errors import ConfigError
from pipeline.forget_files import (
    forget_in_quarantine,
    forget_in_report,
    forget_in_review,
    forget_in_runs,
    forget_in_training,
)
from pipeline.forget_tables import StoredRows, clear_leftovers, open_stored_rows
from pipeline.ledger import Ledger
from pipeline.own_rows import forget_own_rows
from pipeline.tombstones import Tombstones, load_tombstones, save_tombstones

Forgettable = Literal["customers", "deals"]

OUT_OF_REACH = (
    "the CRM's records: delete the entity there too, with its score fields; until then extract leaves it out",
    "models: they hold no rows, but were fitted on what is gone now; train again to have new ones",
    "backups and copies of the state folder, and what commands printed or a log kept",
    "pages that `leadsieve report --folder` wrote elsewhere: write them again, or delete them",
)
"""What this cannot remove, in words."""


@dataclass(frozen=True)
class Found:
    """An entity and what is stored about it in the tables.

    Parameters
    ----------
    entity_table : str
        customers or deals.
    entity_id : str
        Its id.
    was_forgotten : bool
        Whether it has a tombstone already.
    owned : mapping of table to int
        Entities that go with it, itself included: customers, deals, contacts, subscriptions.
    rows : mapping of table to int
        Rows that are theirs.

    """

    entity_table: Forgettable
    entity_id: str
    was_forgotten: bool
    owned: Mapping[str, int]
    rows: Mapping[str, int]


@dataclass(frozen=True)
class ForgetReport:
    """What was removed: rows by place, `in_crm` those of tables of our own there; `found` is how it was before."""

    found: Found
    tables: Mapping[str, int]
    training: int
    quarantine: int
    runs: int
    scores: int
    writes: int
    overrides: int
    follow_ups: int
    in_crm: int

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document, which does not repeat the id."""
        removed = {
            "tables": dict(self.tables),
            "training": self.training,
            "quarantine": self.quarantine,
            "runs": self.runs,
            "ledger": {
                "scores": self.scores,
                "writes": self.writes,
                "overrides": self.overrides,
                "follow_ups": self.follow_ups,
            },
            "crm": self.in_crm,
        }
        return {
            "table": self.found.entity_table,
            "was_forgotten": self.found.was_forgotten,
            "entities": dict(self.found.owned),
            "removed": removed,
            "out_of_reach": list(OUT_OF_REACH),
        }


def find_entity(config: Config, ledger: Ledger, entity_id: str, table: Forgettable | None = None) -> Found:
    """Find an entity and count what is stored about it; nothing is changed.

    Raises
    ------
    DataError
        If nothing is known of it.
    ConfigError
        If the id is both a customer's and a deal's.

    """
    tombstones = load_tombstones(config.folder)
    with open_stored_rows(config.folder) as rows:
        return _find(config, ledger, rows, tombstones, entity_id, table)


def _find(
    config: Config,
    ledger: Ledger,
    rows: StoredRows,
    tombstones: Tombstones,
    entity_id: str,
    table: Forgettable | None,
) -> Found:
    asked: tuple[Forgettable, ...] = (table,) if table else get_args(Forgettable)
    known = [name for name in asked if rows.knows(name, entity_id) or tombstones.holds(name, entity_id)]
    known = known or [name for name in asked if ledger.forgotten.knows(config, name, entity_id)]
    if not known:
        where = " or ".join(name.removesuffix("s") for name in asked)
        raise DataError(
            f"No {where} '{entity_id}' in the tables, scores or writes of this deployment, expected an id as the CRM "
            "has it. Check the id; if the CRM has got it since, extract first."
        )
    if len(known) > 1:
        raise ConfigError(
            f"Id '{entity_id}' is that of a customer and that of a deal. Pass --table {known[0]} or deals."
        )
    owned = rows.find(known[0], entity_id)
    was_forgotten = tombstones.holds(known[0], entity_id)
    return Found(known[0], entity_id, was_forgotten, {name: len(ids) for name, ids in owned.items()}, rows.count())


def forget(config: Config, ledger: Ledger, entity_id: str, table: Forgettable | None = None) -> ForgetReport:
    """Remove an entity from the state folder; the caller holds the lock.

    Safe to kill at any moment and to run again; forgetting twice changes nothing.

    Parameters
    ----------
    config : Config
        The deployment.
    ledger : Ledger
        Its ledger.
    entity_id : str
        Id of a customer or deal.
    table : {"customers", "deals"}, optional
        Which of the two; needed where the id is both.

    Raises
    ------
    DataError
        If nothing is known of the entity, or stored tables are damaged.
    ConfigError
        If the id is ambiguous.
    CrmError
        If the ledger is in use, or the CRM holds tables of ours and does not answer.

    """
    folder = config.folder
    clear_leftovers(folder)
    with open_stored_rows(folder) as rows:
        tombstones = load_tombstones(folder)
        found = _find(config, ledger, rows, tombstones, entity_id, table)
        tombstones = tombstones.adding(rows.find(found.entity_table, entity_id))
        save_tombstones(folder, tombstones)
        tombstones = tombstones.adding(rows.find_forgotten(tombstones))
        save_tombstones(folder, tombstones)
        removed = rows.remove()
    tables = ledger.forgotten.target_tables(config)
    training = forget_in_training(folder, tombstones, tables)
    quarantine = forget_in_quarantine(folder, tombstones)
    runs = forget_in_runs(folder, tombstones, tables)
    forget_in_report(folder)
    forget_in_review(folder)
    in_crm = _forget_in_crm(config, ledger, tombstones)
    counts = ledger.forgotten.remove(config, tombstones)
    save_tombstones(folder, replace(tombstones, is_finished=True))
    gone = (counts.scores, counts.writes, counts.overrides, counts.follow_ups)
    return ForgetReport(found, removed, training, quarantine, runs, *gone, in_crm)


def _forget_in_crm(config: Config, ledger: Ledger, tombstones: Tombstones) -> int:
    """Remove history rows and tasks from the CRM; how many."""
    section = config.write_back
    found = ledger.forgotten.in_crm(config, tombstones)
    if section is None or not (section.history or section.follow_ups) or not (found.entities or found.task_ids):
        return 0
    with open_crm(config) as crm:
        return forget_own_rows(crm, found.entities, found.task_ids)
