"""Forgetting in the ledger: scores become anonymous counts, all else about an entity goes."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Integer,
    Select,
    String,
    TableClause,
    column,
    delete,
    func,
    insert,
    select,
    table,
    update,
)

from pipeline.config import Config
from pipeline.database import answering, describe_place, writing
from pipeline.errors import CrmError
from pipeline.ledger_follow_ups import TASKS
from pipeline.ledger_removed import remove_records, tables_of_record
from pipeline.ledger_singles import SINGLES
from pipeline.target_tables import TargetTables, collect_target_tables
from pipeline.tombstones import Tombstones

FORGOTTEN = table(
    "forgotten",
    *(column(name, String) for name in ("run_id", "target", "grade")),
    *(column(name, Integer) for name in ("horizon_days", "count")),
)
_BY = ("run_id", "target", "horizon_days", "grade")
_SCORES = table("scores", *(column(name) for name in ("run_id", "target", "horizon_days", "grade", "entity_id")))
_OVERRIDES = table("overrides", *(column(name) for name in ("target", "entity_id")))
_RUNS = table("runs", *(column(name) for name in ("run_id", "state", "details", "config_text")))
_AT_ONCE = 500
_EVERY_TABLE = frozenset(TargetTables({}, {}).of_target(""))

WITHOUT_ERROR = "(its error text was removed when an entity was forgotten)"


@dataclass(frozen=True)
class LedgerCounts:
    """Rows that a forgetting removed from the ledger."""

    scores: int
    writes: int
    overrides: int
    follow_ups: int = 0


@dataclass(frozen=True)
class InCrm:
    """What tables of our own in the CRM hold of forgotten entities, as far as the ledger still knows.

    Parameters
    ----------
    entities : mapping of target to list of str
        Ids of entities that were scored.
    task_ids : list of str
        The CRM's ids of tasks about them.

    """

    entities: Mapping[str, list[str]]
    task_ids: list[str]


class ForgottenLedger:
    """What a ledger knows of forgotten entities: how many scores each run gave them, and nothing else."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def target_tables(self, config: Config) -> TargetTables:
        """Return what the targets of this config and of all runs are about."""
        with answering(self._engine, "reading runs"), self._engine.connect() as connection:
            texts = connection.scalars(select(_RUNS.c.config_text).distinct()).all()
        return collect_target_tables(config, texts)

    def knows(self, config: Config, entity_table: str, entity_id: str) -> bool:
        """Whether any score, write or override is about an entity."""
        tables = self.target_tables(config)
        queries = {
            select(_SCORES.c.target).where(_SCORES.c.entity_id == entity_id): tables.of_target,
            select(_OVERRIDES.c.target).where(_OVERRIDES.c.entity_id == entity_id): tables.of_target,
            select(SINGLES.c.table_name).where(SINGLES.c.record_id == entity_id): tables.of_crm_table,
        }
        with answering(self._engine, "looking for an entity"), self._engine.connect() as connection:
            of_batches = tables_of_record(connection, entity_id)
            return any(entity_table in tables.of_crm_table(name) for name in of_batches) or any(
                entity_table in of(name)
                for query, of in queries.items()
                for name in connection.scalars(query.distinct()).all()
            )

    def in_crm(self, config: Config, tombstones: Tombstones) -> InCrm:
        """Find forgotten entities that still have scores or tasks, which `remove` will remove."""
        tables = self.target_tables(config).of_targets
        with answering(self._engine, "looking for forgotten entities"), self._engine.connect() as connection:
            pairs = select(_SCORES.c.target, _SCORES.c.entity_id).distinct()
            scored = _forgotten(connection, pairs, tombstones, tables)
            chased = _forgotten(connection, select(TASKS.c.target, TASKS.c.entity_id).distinct(), tombstones, tables)
            found: dict[str, list[str]] = {}
            for target, entity_id in dict.fromkeys([*scored, *chased]):
                found.setdefault(target, []).append(entity_id)
            task_ids: list[str] = []
            for target, ids in _by_name(chased):
                mine = (TASKS.c.target == target) & TASKS.c.entity_id.in_(ids) & TASKS.c.task_id.is_not(None)
                task_ids += connection.scalars(select(TASKS.c.task_id).where(mine)).all()
        return InCrm(found, task_ids)

    def remove(self, config: Config, tombstones: Tombstones) -> LedgerCounts:
        """Remove all that is about forgotten entities, in one transaction, and wipe it from the file.

        Scores are counted in the table `forgotten`, by run, target, horizon and grade; `details` of each
        run say how many of its scores and writes are gone. Errors of failed runs, which may name
        entities, go. Done again, it changes nothing.

        Raises
        ------
        CrmError
            If the ledger does not answer, or another program keeps its file from being wiped.

        """
        tables = self.target_tables(config)
        with answering(self._engine, "forgetting an entity"), writing(self._engine).begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            pairs = select(_SCORES.c.target, _SCORES.c.entity_id).distinct()
            scores = _move_scores(connection, _forgotten(connection, pairs, tombstones, tables.of_targets))
            pairs = select(SINGLES.c.table_name, SINGLES.c.record_id).distinct()
            writes = _remove(connection, SINGLES, _forgotten(connection, pairs, tombstones, tables.of_crm_tables))
            writes += remove_records(
                connection,
                lambda name, ids: {
                    one
                    for entity_table in tables.of_crm_tables.get(name, _EVERY_TABLE)
                    for one in tombstones.among(entity_table, ids)
                },
            )
            pairs = select(_OVERRIDES.c.target, _OVERRIDES.c.entity_id).distinct()
            overrides = _remove(connection, _OVERRIDES, _forgotten(connection, pairs, tombstones, tables.of_targets))
            pairs = select(TASKS.c.target, TASKS.c.entity_id).distinct()
            tasks = _remove(connection, TASKS, _forgotten(connection, pairs, tombstones, tables.of_targets))
            _mark_runs(connection, scores, writes)
        self._wipe()
        return LedgerCounts(scores.total(), writes.total(), overrides.total(), tasks.total())

    def _wipe(self) -> None:
        """SQLite: write the file anew, so that no page holds what was deleted, and empty its log."""
        if self._engine.dialect.name != "sqlite":
            return
        with answering(self._engine, "wiping the ledger"), closing(self._engine.raw_connection()) as pooled:
            try:
                pooled.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                pooled.execute("VACUUM")
                is_busy = pooled.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.OperationalError as error:
                is_busy = str(error)
        if is_busy:
            raise CrmError(
                f"{describe_place(self._engine.url)} is in use by another program, so what was deleted is still in "
                "its file. Close that program and run the same command again."
            )

    def counts(self, run_id: str) -> list[dict[str, Any]]:
        """Return the forgotten scores of a run: target, horizon_days, grade (None without one), count."""
        names = ("target", "horizon_days", "grade", "count")
        query = select(*(FORGOTTEN.c[name] for name in names)).where(FORGOTTEN.c.run_id == run_id).order_by(*_BY[1:])
        with answering(self._engine, "reading forgotten scores"), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [{**row._asdict(), "grade": row.grade or None} for row in rows]

    def writes_of(self, run_id: str) -> int:
        """Return how many writes of a run are gone."""
        query = select(_RUNS.c.details).where(_RUNS.c.run_id == run_id)
        with answering(self._engine, "reading runs"), self._engine.connect() as connection:
            details = connection.scalar(query)
        return int(json.loads(details or "{}").get("forgotten", {}).get("writes", 0))


def _forgotten(
    connection: Connection,
    pairs: Select[Any],
    tombstones: Tombstones,
    tables: Mapping[str, Iterable[str]],
) -> list[tuple[str, str]]:
    """Pairs of (target or CRM table, id) whose entity was forgotten."""
    return [
        (name, entity_id)
        for name, entity_id in connection.execute(pairs)
        if any(tombstones.holds(entity_table, entity_id) for entity_table in tables.get(name, _EVERY_TABLE))
    ]


def _by_name(pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Names, each with some ids at a time, as many as a statement takes."""
    for name in dict.fromkeys(name for name, _ in pairs):
        ids = [one for other, one in pairs if other == name]
        for at in range(0, len(ids), _AT_ONCE):
            yield name, ids[at : at + _AT_ONCE]


def _move_scores(connection: Connection, pairs: Sequence[tuple[str, str]]) -> Counter[str]:
    """Turn scores into counts; how many there were, by run."""
    gone: Counter[str] = Counter()
    for target, ids in _by_name(pairs):
        found = (_SCORES.c.target == target) & _SCORES.c.entity_id.in_(ids)
        grade = func.coalesce(_SCORES.c.grade, "")
        by = (_SCORES.c.run_id, _SCORES.c.target, _SCORES.c.horizon_days, grade)
        for *key, count in connection.execute(select(*by, func.count()).where(found).group_by(*by)).all():
            _count(connection, dict(zip(_BY, key, strict=True)), int(count))
            gone[key[0]] += int(count)
        connection.execute(delete(_SCORES).where(found))
    return gone


def _count(connection: Connection, key: Mapping[str, Any], count: int) -> None:
    """Add to the anonymous count of a run, target, horizon and grade."""
    same = [FORGOTTEN.c[name] == value for name, value in key.items()]
    if connection.execute(update(FORGOTTEN).where(*same).values(count=FORGOTTEN.c.count + count)).rowcount == 0:
        connection.execute(insert(FORGOTTEN).values(**key, count=count))


def _remove(connection: Connection, rows: TableClause, pairs: Sequence[tuple[str, str]]) -> Counter[str]:
    """Delete rows by name and id; how many there were, by run where rows have one."""
    gone: Counter[str] = Counter()
    name_column, id_column = ("table_name", "record_id") if rows is SINGLES else ("target", "entity_id")
    for name, ids in _by_name(pairs):
        found = (rows.c[name_column] == name) & rows.c[id_column].in_(ids)
        if "run_id" in rows.c:
            query = select(rows.c.run_id, func.count()).where(found).group_by(rows.c.run_id)
            gone.update({run_id: int(count) for run_id, count in connection.execute(query)})
            connection.execute(delete(rows).where(found))
        else:
            gone[""] += connection.execute(delete(rows).where(found)).rowcount
    return gone


def _mark_runs(connection: Connection, scores: Mapping[str, int], writes: Mapping[str, int]) -> None:
    """Note in the details of runs what is gone, and remove error texts."""
    for run_id, text in connection.execute(select(_RUNS.c.run_id, _RUNS.c.details)).all():
        details = json.loads(text)
        gone = {"scores": scores.get(run_id, 0), "writes": writes.get(run_id, 0)}
        if any(gone.values()):
            before = details.get("forgotten", {})
            details["forgotten"] = {name: count + before.get(name, 0) for name, count in gone.items()}
        if "error" in details:
            details["error"] = WITHOUT_ERROR
        changed = json.dumps(details, ensure_ascii=False)
        if details != json.loads(text):
            connection.execute(update(_RUNS).where(_RUNS.c.run_id == run_id).values(details=changed))
