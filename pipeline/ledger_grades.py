"""Grades of an earlier scoring run, which the next one keeps where it can."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import DateTime, Engine, Integer, String, column, select, table

from pipeline.database import answering

_RUNS = table("runs", *(column(name, String) for name in ("run_id", "kind", "state", "details")))
_STARTED = column("started_at", DateTime)
_GRADES = ("entity_id", "grade", "graded_by", "vetoes", "flags")
_SCORES = table(
    "scores", *(column(name, String) for name in ("run_id", "target", *_GRADES)), column("horizon_days", Integer)
)


@dataclass(frozen=True)
class RunBefore:
    """The scoring run that another one follows: its name, and how it graded each target."""

    run_id: str
    grading: Mapping[str, Mapping[str, Any]]


class GradeLedger:
    """What a ledger knows of earlier grades."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run_before(self, moment: datetime, followed: str | None = None) -> RunBefore | None:
        """Return the newest finished scoring run whose data ended before a moment; None if there is none.

        Parameters
        ----------
        moment : datetime
            End of the data of the run that follows (UTC).
        followed : str, optional
            The run that it followed when it was made, if it is made again: so the grades come out as they were.

        """
        query = select(_RUNS.c.run_id, _RUNS.c.details, _STARTED).select_from(_RUNS)
        query = query.where((_RUNS.c.kind == "score") & (_RUNS.c.state == "done"))
        with answering(self._engine, "reading runs"), self._engine.connect() as connection:
            found = [(row.run_id, json.loads(row.details), row.started_at) for row in connection.execute(query)]
        ended = {run_id: datetime.fromisoformat(told["data_end"]) for run_id, told, _ in found if "data_end" in told}
        earlier = [one for one in found if one[0] in ended and ended[one[0]] < moment]
        if not earlier:
            return None
        run_id, told, _ = max(earlier, key=lambda one: (one[0] == followed, ended[one[0]], one[2], one[0]))
        return RunBefore(run_id, told.get("grading", {}))

    def of_run(self, run_id: str, target: str, horizon_days: int) -> pd.DataFrame:
        """Return entity_id, grade, graded_by, vetoes and flags of a run's scores of one target and horizon."""
        asked = (_SCORES.c.run_id == run_id) & (_SCORES.c.target == target) & (_SCORES.c.horizon_days == horizon_days)
        query = select(*(_SCORES.c[name] for name in _GRADES)).where(asked).order_by(_SCORES.c.entity_id)
        with answering(self._engine, "reading scores"), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return pd.DataFrame.from_records([tuple(row) for row in rows], columns=list(_GRADES)).astype("str")
