"""Past scores as a review counts them: the first of every entity in each horizon, out of many runs."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd
from sqlalchemy import Connection, DateTime, Engine, String, column, select, table

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
FEW = 500
"""So many ids are asked for by name; more are looked for among all rows of a run."""
_SCORES = table("scores", *(column(name, kind) for name, kind in SCORE_COLUMNS.items()))
_RUNS = table("runs", column("run_id", String), column("state", String), column("started_at", DateTime))


@dataclass(frozen=True)
class FirstScores:
    """The scores that count, by entity and time, with `COLUMNS`; `found` is how many there are in all."""

    rows: pd.DataFrame
    found: int


class ReviewLedger:
    """Scores of all finished runs of one deployment."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def first_scores(self, target: str, horizon_days: int, since: datetime) -> FirstScores:
        """Return the first score of each entity since a moment, the first that is a horizon later or more, and so on.

        Of several runs as of one moment the oldest counts. A nightly job leaves hundreds of runs behind, so ids are
        read run by run, and the rest of a row only if it counts.
        """
        free_from: dict[str, datetime] = {}
        parts, found = [], 0
        with answering(self._engine, "reading past scores"), self._engine.connect() as connection:
            for run, as_of in _runs(connection, target, horizon_days, since):
                mine = (_SCORES.c.run_id == run, _SCORES.c.target == target, _SCORES.c.horizon_days == horizon_days)
                ids = list(connection.scalars(select(_SCORES.c.entity_id).where(*mine)))
                found += len(ids)
                first = {one for one in ids if free_from.get(one, as_of) <= as_of}
                free_from.update(dict.fromkeys(first, as_of + timedelta(days=horizon_days)))
                if first:
                    named = (_SCORES.c.entity_id.in_(first),) if len(first) <= FEW else ()
                    query = select(*(_SCORES.c[name] for name in COLUMNS)).where(*mine, *named)
                    parts += [tuple(row) for row in connection.execute(query) if row.entity_id in first]
        return FirstScores(_frame(parts), found)


def _runs(connection: Connection, target: str, horizon_days: int, since: datetime) -> list[tuple[str, datetime]]:
    """Finished runs that scored a target, with their `as_of`, which all rows of a run share; the oldest first."""
    done = connection.execute(select(_RUNS.c.run_id, _RUNS.c.started_at).where(_RUNS.c.state == "done")).all()
    found = []
    for run, started_at in done:
        mine = (_SCORES.c.run_id == run, _SCORES.c.target == target, _SCORES.c.horizon_days == horizon_days)
        as_of = connection.scalar(select(_SCORES.c.as_of).where(*mine).limit(1))
        if as_of is not None and as_of >= since:
            found.append((as_of, started_at, run))
    return [(run, as_of) for as_of, _, run in sorted(found)]


def _frame(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    """Frame with the dtypes of scores, whatever the rows."""
    frame = pd.DataFrame.from_records(rows, columns=list(COLUMNS))
    numbers = dict.fromkeys(("probability", "log_odds", "points"), "float64")
    texts = dict.fromkeys(("run_id", "entity_id", "grade", "card_grade", "graded_by"), "str")
    frame = frame.astype({**numbers, **texts, "as_of": "datetime64[us]"})
    return frame.sort_values(["entity_id", "as_of"], kind="stable", ignore_index=True)
