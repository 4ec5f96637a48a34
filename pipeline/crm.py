"""The CRM that a config writes to: its tables, the history of scores, and tasks for people."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from pipeline.adapters.patient import Count, Patience, PatientFollowUps, PatientHistory, PatientTarget
from pipeline.adapters.sql_target import SqlTarget
from pipeline.adapters.target import FieldKind, FollowUpAdapter, HistoryAdapter, TargetAdapter, TargetTable
from pipeline.config import Config, WriteBack, read_environment
from pipeline.database import make_engine
from pipeline.field_values import SCORE_VALUES, check_write_back


@dataclass(frozen=True)
class Crm:
    """What a run writes to, asked with patience and within one budget.

    Parameters
    ----------
    target : PatientTarget
        The records of the CRM.
    history : PatientHistory or None
        The table or model of our own with every score, None if the config has no such section.
    follow_ups : PatientFollowUps or None
        Tasks for people, None if the config has no such section.

    """

    target: PatientTarget
    history: PatientHistory | None = None
    follow_ups: PatientFollowUps | None = None

    @property
    def patience(self) -> Patience:
        """How it is asked; one for all three."""
        return self.target.patience


def make_crm(
    target: TargetAdapter,
    history: HistoryAdapter | None = None,
    follow_ups: FollowUpAdapter | None = None,
    max_requests: int | None = None,
    count: Count | None = None,
    wait: Callable[[float], None] | None = None,
) -> Crm:
    """Make a CRM of adapters.

    Parameters
    ----------
    target, history, follow_ups
        The adapters.
    max_requests : int or None
        Requests that may be sent; None for no limit.
    count : callable or None
        Tells how many requests history and follow-ups have sent; None counts one for each call.
    wait : callable or None
        What waits for some seconds, None for the clock.

    """
    patience = Patience(target.capabilities().rate_per_second, max_requests, wait or time.sleep)
    return Crm(
        PatientTarget(target, patience),
        None if history is None else PatientHistory(history, patience, count),
        None if follow_ups is None else PatientFollowUps(follow_ups, patience, count),
    )


@contextmanager
def open_crm(config: Config) -> Iterator[Crm]:
    """Open the CRM that a config writes to; nothing is read or written yet.

    Raises
    ------
    ConfigError
        If the config has no usable `write_back` section or an environment variable is not set.

    """
    section = check_write_back(config)
    with _open_odoo(section) if section.adapter == "odoo" else _open_sql(section) as crm:
        yield crm


@contextmanager
def _open_sql(section: WriteBack) -> Iterator[Crm]:
    """Open a database."""
    engine = make_engine(find_place(section))
    with closing(make_sql_target(section, engine)) as target:
        history: HistoryAdapter | None = None
        follow_ups: FollowUpAdapter | None = None
        if section.history:
            from pipeline.adapters.sql_history import SqlHistory

            history = SqlHistory(engine, section.history.table, section.insert_missing)
        if section.follow_ups:
            from pipeline.adapters.sql_follow_ups import SqlFollowUps

            follow_ups = SqlFollowUps(engine, section.follow_ups, section.insert_missing)
        yield make_crm(target, history, follow_ups, section.max_requests)


@contextmanager
def _open_odoo(section: WriteBack) -> Iterator[Crm]:
    """Open Odoo as the user whose key is in the environment."""
    from pipeline.adapters.odoo_client import OdooClient
    from pipeline.adapters.odoo_follow_ups import OdooFollowUps
    from pipeline.adapters.odoo_history import OdooHistory
    from pipeline.adapters.odoo_target import OdooTarget

    url = read_environment(str(section.url_env), "the address of the Odoo that scores go to")
    key = read_environment(str(section.key_env), "the API key of Odoo's user for the write-back")
    with closing(OdooClient(url, str(section.database), key)) as client:
        tables = {name: TargetTable(table.target, table.key) for name, table in section.tables.items()}
        history = OdooHistory(client, tables) if section.history else None
        follow_ups = OdooFollowUps(client) if section.follow_ups else None
        yield make_crm(OdooTarget(client), history, follow_ups, section.max_requests, lambda: client.requests)


def make_sql_target(section: WriteBack, engine: Engine) -> SqlTarget:
    """Make the adapter of a database, with the tables of our own that the section fills; it closes the engine."""
    own: dict[TargetTable, dict[str, FieldKind]] = {}
    if section.insert_missing:
        for table in section.tables.values():
            kinds = {field: SCORE_VALUES[value] for field, value in table.fields.items()}
            own.setdefault(TargetTable(table.target, table.key), {}).update(kinds)
    return SqlTarget(engine, own)


def find_place(section: WriteBack) -> Path | str:
    """Return the URL of the environment, or else the SQLite file."""
    if section.sqlite is None or (section.url_env is not None and section.url_env in os.environ):
        return read_environment(str(section.url_env), "the SQLAlchemy URL of the CRM database that scores go to")
    if section.insert_missing:
        section.sqlite.parent.mkdir(parents=True, exist_ok=True)
    return section.sqlite
