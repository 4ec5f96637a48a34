"""Past scores as a review reads them: many runs at once, without their reasons."""

from datetime import datetime

import pandas as pd
from sqlalchemy import DateTime, Engine, String, column, select, table

from pipeline.database import answering
from pipeline.score_columns import SCORE_COLUMNS

COLUMNS = (
    "run_id",
    "entity_id",
    "as_of",
    "probability",
    "log_odds",
    "points",
    "grade",
    "card_grade",
    "graded_by",
)
_SCORES = table("scores", *(column(name, kind) for name, kind in SCORE_COLUMNS.items()))
_RUNS = table("runs", column("run_id", String), column("state", String), column("started_at", DateTime))


class ReviewLedger:
    """Scores of all finished runs of one deployment."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def scores_since(self, target: str, horizon_days: int, since: datetime) -> pd.DataFrame:
        """Return the scores with `as_of >= since` of a target and horizon, by entity and time; the oldest run first.

        Returns
        -------
        DataFrame
            `COLUMNS`; no rows if there are none.

        """
        query = (
            select(*(_SCORES.c[name] for name in COLUMNS))
            .join(_RUNS, _RUNS.c.run_id == _SCORES.c.run_id)
            .where(_SCORES.c.target == target, _SCORES.c.horizon_days == horizon_days)
            .where(_SCORES.c.as_of >= since, _RUNS.c.state == "done")
            .order_by(_SCORES.c.entity_id, _SCORES.c.as_of, _RUNS.c.started_at, _SCORES.c.run_id)
        )
        with answering(self._engine, "reading past scores"), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        frame = pd.DataFrame.from_records([tuple(row) for row in rows], columns=list(COLUMNS))
        numbers = dict.fromkeys(("probability", "log_odds", "points"), "float64")
        texts = dict.fromkeys(("run_id", "entity_id", "grade", "card_grade", "graded_by"), "str")
        return frame.astype({**numbers, **texts, "as_of": "datetime64[us]"})
