"""Which runs' scores are in the history table of the CRM: noted before rows are added or removed, and after.

The states of a history
-----------------------
adding      rows of the run are being added; the next run finishes what a kill or a spent budget left
done        all rows are there
removing    an undo is removing them
removed     none is there
"""

from collections.abc import Mapping
from typing import Literal

from sqlalchemy import DateTime, Engine, Integer, String, column, insert, select, table, update

from pipeline.database import answering, writing
from pipeline.ledger_writes import now

HistoryState = Literal["adding", "done", "removing", "removed"]

HISTORIES = table(
    "histories",
    column("run_id", String),
    column("state", String),
    column("row_count", Integer),
    column("begun_at", DateTime),
    column("settled_at", DateTime),
)


class HistoryLedger:
    """The `histories` table of a ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, run_id: str, state: HistoryState) -> None:
        """Note what is about to be done with the rows of a run."""
        values = {"state": state, "begun_at": now(), "settled_at": None}
        with answering(self._engine, "noting a history"), writing(self._engine).begin() as connection:
            known = update(HISTORIES).where(HISTORIES.c.run_id == run_id)
            if connection.execute(known.values(values)).rowcount == 0:
                connection.execute(insert(HISTORIES).values(run_id=run_id, row_count=0, **values))

    def finish(self, run_id: str, state: HistoryState, rows: int) -> None:
        """Note that it was done, with how many rows."""
        values = {"state": state, "row_count": rows, "settled_at": now()}
        with answering(self._engine, "noting a history"), writing(self._engine).begin() as connection:
            connection.execute(update(HISTORIES).where(HISTORIES.c.run_id == run_id).values(values))

    def unfinished(self) -> list[str]:
        """Return the runs whose rows were being added when their job stopped, oldest first."""
        query = select(HISTORIES.c.run_id).where(HISTORIES.c.state == "adding").order_by(HISTORIES.c.begun_at)
        with answering(self._engine, "reading histories"), self._engine.connect() as connection:
            return list(connection.scalars(query))

    def states(self, run_id: str | None = None) -> Mapping[str, tuple[str, int]]:
        """Return state and number of rows by run, of one run if given."""
        query = select(HISTORIES.c.run_id, HISTORIES.c.state, HISTORIES.c.row_count).order_by(HISTORIES.c.begun_at)
        query = query if run_id is None else query.where(HISTORIES.c.run_id == run_id)
        with answering(self._engine, "reading histories"), self._engine.connect() as connection:
            return {run: (state, rows) for run, state, rows in connection.execute(query)}
