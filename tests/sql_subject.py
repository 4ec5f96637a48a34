"""A database as the conformance suite sees it: SQLite or PostgreSQL, with a log of what really changes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from conformance import Row, Traits
from crm_world import SERVED, run_sql
from sqlalchemy import Engine
from write_log import empty_log, install_log, read_log

from pipeline.adapters.sql_follow_ups import SqlFollowUps
from pipeline.adapters.sql_history import SqlHistory
from pipeline.adapters.sql_target import SqlTarget
from pipeline.adapters.target import TargetTable, Value
from pipeline.config_write_back import FollowUps
from pipeline.database import make_engine

TASKS = FollowUps(flags={"conversion": ("silent",)}, owner_field="owner")


class SqlSubject:
    """The CRM of a folder (see `crm_world.crm_folder`)."""

    table = TargetTable("deals", "deal_id")
    fields = ("score", "grade", "why")
    absent = "404"
    traits = Traits(refused=(0.5, "too long " * 9, "x"))

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._place = SERVED[folder].url if folder in SERVED else folder / "crm.db"
        columns = "deal_id VARCHAR(9) PRIMARY KEY, owner VARCHAR(9), score REAL, grade TEXT, why TEXT"
        self._run(f"CREATE TABLE deals ({columns}, CHECK (length(grade) < 60))")
        install_log(self._run, "deals", "deal_id", self.fields, is_sqlite=folder not in SERVED)
        self._edits: Counter[tuple[str, str]] = Counter()

    def _run(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        return run_sql(self._folder, statement, parameters)

    @contextmanager
    def _engine(self) -> Iterator[Engine]:
        engine = make_engine(self._place)
        try:
            yield engine
        finally:
            engine.dispose()

    @contextmanager
    def open(self) -> Iterator[SqlTarget]:
        with closing(SqlTarget(make_engine(self._place))) as target:
            yield target

    @contextmanager
    def open_history(self) -> Iterator[SqlHistory]:
        with self._engine() as engine:
            yield SqlHistory(engine, "leadsieve_scores")

    @contextmanager
    def open_follow_ups(self) -> Iterator[SqlFollowUps]:
        with self._engine() as engine:
            yield SqlFollowUps(engine, TASKS)

    def make(self, rows: Sequence[Row]) -> list[str]:
        ids = [str(number + 1) for number in range(len(rows))]
        values = [value for one, row in zip(ids, rows, strict=True) for value in (one, *row)]
        places = ", ".join(["(?, 'ann', ?, ?, ?)"] * len(rows))
        self._run(f"INSERT INTO deals VALUES {places}", values)
        empty_log(self._run)
        return ids

    def edit(self, record_id: str, name: str, value: Value) -> None:
        self._run(f"UPDATE deals SET {name} = ? WHERE deal_id = ?", (value, record_id))
        self._edits[record_id, name] += 1

    def delete(self, record_id: str) -> None:
        self._run("DELETE FROM deals WHERE deal_id = ?", (record_id,))
        self._edits[record_id, "-"] += 1

    def archive(self, record_id: str) -> None:
        raise NotImplementedError

    def read(self, record_id: str) -> Any:
        rows = self._run("SELECT score, grade, why FROM deals WHERE deal_id = ?", (record_id,))
        return rows[0] if rows else None

    def count(self) -> int:
        return int(self._run("SELECT count(*) FROM deals")[0][0])

    def writes(self) -> Counter[tuple[str, str]]:
        return read_log(self._run) - self._edits

    def close_task(self, task_id: str) -> None:
        self._run("UPDATE leadsieve_follow_ups SET state = 'done' WHERE task_id = ?", (task_id,))
