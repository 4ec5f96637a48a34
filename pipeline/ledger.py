"""The ledger: every run, every score, every value written to the CRM, and who decided what."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
from sqlalchemy import (
    DateTime,
    Engine,
    String,
    column,
    delete,
    insert,
    select,
    table,
    update,
)

from features.errors import DataError
from pipeline.database import answering, describe_place, make_engine, read_url, writing
from pipeline.ledger_follow_ups import FollowUpLedger
from pipeline.ledger_forgotten import ForgottenLedger
from pipeline.ledger_grades import GradeLedger
from pipeline.ledger_history import HistoryLedger
from pipeline.ledger_overrides import OverrideLedger
from pipeline.ledger_review import ReviewLedger
from pipeline.ledger_writes import WriteLedger, now
from pipeline.migrations import migrate
from pipeline.score_columns import SCORE_COLUMNS, score_frame, score_rows

__all__ = ["SCORE_COLUMNS", "Decision", "Ledger", "Run", "open_ledger"]

RUNS = table(
    "runs",
    *(column(name, String) for name in ("run_id", "kind", "state", "details", "config_text")),
    *(column(name, DateTime) for name in ("started_at", "finished_at")),
)

SCORES = table("scores", *(column(name, kind) for name, kind in SCORE_COLUMNS.items()))

DECISIONS = table(
    "decisions",
    *(column(name, String) for name in ("decision_id", "kind", "subject", "outcome", "details")),
    column("decided_at", DateTime),
)


@dataclass(frozen=True)
class Run:
    """One run: a scoring, a training, an undo."""

    run_id: str
    kind: str
    state: str
    started_at: datetime
    finished_at: datetime | None
    details: Mapping[str, Any]
    config_text: str


@dataclass(frozen=True)
class Decision:
    """One decision about a model: promoted, refused, rolled back."""

    decided_at: datetime
    kind: str
    subject: str
    outcome: str
    details: Mapping[str, Any]


class Ledger:
    """The ledger of one deployment; `writes` holds what was written to the CRM, `forgotten` removes entities.

    `grades` has those of earlier runs, `overrides` those that people gave by hand, `past` the scores of
    many runs at once. `follow_ups` holds the tasks that flags gave to people, `history` which runs' scores
    are in the CRM's history.

    One job at a time writes to it (see `pipeline.lock`); reading needs no lock. Every method is one
    transaction, synced to disk before it returns.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.writes = WriteLedger(engine)
        self.forgotten = ForgottenLedger(engine)
        self.grades = GradeLedger(engine)
        self.overrides = OverrideLedger(engine)
        self.past = ReviewLedger(engine)
        self.follow_ups = FollowUpLedger(engine)
        self.history = HistoryLedger(engine)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def start_run(self, run_id: str, kind: str, details: Mapping[str, Any], config_text: str) -> None:
        """Note that a run began; one that was begun before is continued, its start unchanged."""
        values = {"kind": kind, "state": "running", "details": _to_json(details), "config_text": config_text}
        with answering(self._engine, "noting the start of a run"), writing(self._engine).begin() as connection:
            known = update(RUNS).where(RUNS.c.run_id == run_id).values(**values, finished_at=None)
            if connection.execute(known).rowcount == 0:
                connection.execute(insert(RUNS).values(run_id=run_id, started_at=now(), **values))

    def finish_run(self, run_id: str, state: str, details: Mapping[str, Any] | None = None) -> None:
        """Note how a run ended; details are added to those of its start."""
        started = self.find_run(run_id)
        if started is None:
            raise DataError(f"Run '{run_id}' is not in the ledger. Call start_run before finish_run.")
        values = {"state": state, "finished_at": now(), "details": _to_json({**started.details, **(details or {})})}
        with answering(self._engine, "noting the end of a run"), writing(self._engine).begin() as connection:
            connection.execute(update(RUNS).where(RUNS.c.run_id == run_id).values(**values))

    def find_run(self, run_id: str) -> Run | None:
        """Return a run, None if there is none of that name."""
        return next(iter(self._runs(RUNS.c.run_id == run_id)), None)

    def runs(self) -> list[Run]:
        """Return all runs, newest first."""
        return self._runs()

    def latest_run(self, kind: str | None = None, state: str | None = None) -> Run | None:
        """Return the newest run, of a kind and in a state if given; None if there is none."""
        conditions = [] if kind is None else [RUNS.c.kind == kind]
        conditions += [] if state is None else [RUNS.c.state == state]
        return next(iter(self._runs(*conditions)), None)

    def latest_scored_run(self) -> Run | None:
        """Return the newest run that has scores; None if there is none."""
        return next(iter(self._runs(RUNS.c.run_id.in_(select(SCORES.c.run_id)))), None)

    def _runs(self, *conditions: Any) -> list[Run]:
        """Runs that meet conditions, newest first."""
        query = select(*(RUNS.c[name] for name in Run.__dataclass_fields__)).where(*conditions)
        with answering(self._engine, "reading runs"), self._engine.connect() as connection:
            rows = connection.execute(query.order_by(RUNS.c.started_at.desc(), RUNS.c.run_id.desc())).all()
        return [Run(**{**row._asdict(), "details": json.loads(row.details)}) for row in rows]

    def replace_scores(self, run_id: str, scores: pd.DataFrame) -> None:
        """Put the scores of a run in place of those it had, if any.

        Parameters
        ----------
        run_id : str
            The run, which has been started.
        scores : DataFrame
            One row per (target, horizon_days, entity_id), with the columns of `SCORE_COLUMNS`.
            NaN is stored as null.

        Raises
        ------
        DataError
            If a column is missing.

        """
        missing = [name for name in SCORE_COLUMNS if name not in scores.columns]
        if missing:
            raise DataError(
                f"The scores of run '{run_id}' lack {', '.join(missing)}; expected {', '.join(SCORE_COLUMNS)}. "
                "Add the columns, null where there is no value."
            )
        rows = score_rows(run_id, scores)
        with answering(self._engine, "storing scores"), writing(self._engine).begin() as connection:
            connection.execute(delete(SCORES).where(SCORES.c.run_id == run_id))
            if rows:
                connection.execute(insert(SCORES), rows)

    def scores(self, run_id: str) -> pd.DataFrame:
        """Return the scores of a run, sorted by target, horizon and entity; no rows if it has none."""
        return self._scores(SCORES.c.run_id == run_id)

    def entity_scores(self, entity_id: str, target: str | None = None) -> pd.DataFrame:
        """Return every score an entity ever got, of one target if given, in the order of `as_of`."""
        conditions = [SCORES.c.entity_id == entity_id]
        conditions += [] if target is None else [SCORES.c.target == target]
        return self._scores(*conditions).sort_values(["as_of", "run_id"], kind="stable", ignore_index=True)

    def scored_entities(self, target: str | None = None) -> list[str]:
        """Return the ids that have scores, of one target if given, sorted."""
        query = select(SCORES.c.entity_id).distinct().order_by(SCORES.c.entity_id)
        query = query if target is None else query.where(SCORES.c.target == target)
        with answering(self._engine, "reading scores"), self._engine.connect() as connection:
            return list(connection.scalars(query))

    def _scores(self, *conditions: Any) -> pd.DataFrame:
        """Scores that meet conditions, in a fixed order."""
        order = (SCORES.c.target, SCORES.c.horizon_days, SCORES.c.entity_id, SCORES.c.run_id)
        with answering(self._engine, "reading scores"), self._engine.connect() as connection:
            rows = connection.execute(select(SCORES).where(*conditions).order_by(*order)).all()
        return score_frame(rows)

    def record_decision(self, kind: str, subject: str, outcome: str, details: Mapping[str, Any]) -> None:
        """Note a decision about a model and the evidence for it."""
        values = {"kind": kind, "subject": subject, "outcome": outcome, "details": _to_json(details)}
        with answering(self._engine, "noting a decision"), writing(self._engine).begin() as connection:
            connection.execute(insert(DECISIONS).values(decision_id=uuid.uuid4().hex, decided_at=now(), **values))

    def decisions(self, subject: str | None = None) -> list[Decision]:
        """Return decisions, newest first, about one subject if given."""
        names = Decision.__dataclass_fields__
        query = select(*(DECISIONS.c[name] for name in names)).order_by(DECISIONS.c.decided_at.desc())
        if subject is not None:
            query = query.where(DECISIONS.c.subject == subject)
        with answering(self._engine, "reading decisions"), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [Decision(**{**row._asdict(), "details": json.loads(row.details)}) for row in rows]


def open_ledger(place: Path | str, *, busy_seconds: float = 10.0) -> Ledger:
    """Open a ledger, and make it or bring it up to date if needed.

    Parameters
    ----------
    place : Path or str
        A SQLite file, or an SQLAlchemy URL.
    busy_seconds : float
        SQLite: seconds to wait for another program's lock.

    Raises
    ------
    CrmError
        If its database does not answer.
    ConfigError
        If it was made by a newer leadsieve.

    Examples
    --------
    >>> with open_ledger("sqlite://") as ledger:
    ...     ledger.start_run("r1", "score", {"rows": 2}, "name: demo")
    ...     ledger.finish_run("r1", "done", {"seconds": 1.5})
    ...     run = ledger.latest_run("score", "done")
    >>> run.run_id, dict(run.details)
    ('r1', {'rows': 2, 'seconds': 1.5})

    """
    url = read_url(place)
    if url.get_backend_name() == "sqlite" and url.database:
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"The ledger {describe_place(url)} cannot be made ({error.strerror}). Make its folder writable."
            ) from None
    engine = make_engine(place, busy_seconds=busy_seconds, write_ahead=True)
    with answering(engine, "opening the ledger"):
        migrate(engine)
    return Ledger(engine)


def _to_json(details: Mapping[str, Any]) -> str:
    """JSON text of details; times and paths as text."""
    return json.dumps(details, ensure_ascii=False, default=str)
