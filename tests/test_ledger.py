"""The ledger: runs, scores, writes, decisions, and how its tables come about."""

import sqlite3
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from crm_world import make_scores
from sqlalchemy.exc import OperationalError

from features.errors import DataError
from pipeline.database import make_engine
from pipeline.errors import ConfigError, CrmError
from pipeline.ledger import SCORE_COLUMNS, Ledger, open_ledger
from pipeline.ledger_singles import decode, encode
from pipeline.migrations import MIGRATIONS, Migration, migrate


def open_started(folder: Path, *run_ids: str) -> Ledger:
    ledger = open_ledger(folder / "ledger.db")
    for run_id in run_ids:
        ledger.start_run(run_id, "score", {}, "name: demo")
    return ledger


def test_a_run_keeps_its_start_when_it_is_continued_and_adds_details_when_it_ends(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "state" / "ledger.db") as ledger:
        ledger.start_run("r1", "score", {"rows": 2, "at": datetime(2024, 5, 1)}, "name: demo")
        first = ledger.find_run("r1")
        ledger.start_run("r1", "score", {"rows": 3}, "name: demo")
        ledger.finish_run("r1", "done", {"seconds": 1.5})
        run = ledger.find_run("r1")
    assert first is not None
    assert run is not None
    assert (first.state, first.details) == ("running", {"rows": 2, "at": "2024-05-01 00:00:00"})
    assert (run.state, run.details, run.started_at) == ("done", {"rows": 3, "seconds": 1.5}, first.started_at)
    assert run.finished_at is not None


def test_the_latest_run_is_found_by_kind_and_state(tmp_path: Path) -> None:
    with open_started(tmp_path, "r1", "r2") as ledger:
        ledger.start_run("t1", "train", {}, "")
        ledger.finish_run("r1", "done")
        found = [ledger.latest_run(*conditions) for conditions in [("score",), ("score", "done"), (), ("undo",)]]
    assert [run.run_id if run else None for run in found] == ["r2", "r1", "t1", None]


def test_finishing_a_run_that_never_began_is_an_error(tmp_path: Path) -> None:
    with (
        open_started(tmp_path) as ledger,
        pytest.raises(DataError, match=r"'r9' is not in the ledger\. Call start_run"),
    ):
        ledger.finish_run("r9", "done")


def test_scores_come_back_as_they_were_stored(tmp_path: Path) -> None:
    scores = make_scores("r1", [("b", 0.1 + 0.2, "A", ["逾期金额"]), ("a", np.nan, None, [])])
    with open_started(tmp_path, "r1") as ledger:
        ledger.replace_scores("r1", scores)
        back = ledger.scores("r1")
    expected = scores.sort_values("entity_id", ignore_index=True)[list(SCORE_COLUMNS)]
    pd.testing.assert_frame_equal(back, expected, check_dtype=False)
    assert back["probability"].iloc[1] == 0.1 + 0.2  # to the bit
    assert back["as_of"].dtype == "datetime64[us]"


def test_scores_of_a_run_are_replaced_not_added_to(tmp_path: Path) -> None:
    with open_started(tmp_path, "r1") as ledger:
        ledger.replace_scores("r1", make_scores("r1", [("a", 0.1, "C", []), ("b", 0.2, "B", [])]))
        ledger.replace_scores("r1", make_scores("r1", [("a", 0.3, "A", [])]))
        assert ledger.scores("r1")[["entity_id", "probability"]].to_numpy().tolist() == [["a", 0.3]]
        ledger.replace_scores("r1", make_scores("r1", [("a", 0.3, "A", [])]).iloc[:0])
        assert ledger.scores("r1").shape == (0, len(SCORE_COLUMNS))
        assert ledger.latest_scored_run() is None


def test_a_past_score_of_an_entity_can_be_read(tmp_path: Path) -> None:
    with open_started(tmp_path, "r1", "r2") as ledger:
        later = make_scores("r2", [("a", 0.4, "B", [])]).assign(as_of=pd.Timestamp("2024-06-01"))
        ledger.replace_scores("r2", later)
        ledger.replace_scores("r1", make_scores("r1", [("a", 0.1, "C", []), ("b", 0.2, "B", [])]))
        past = ledger.entity_scores("a", "conversion")
        newest = ledger.latest_scored_run()
        assert ledger.entity_scores("a", "churn").empty
    assert past[["run_id", "probability"]].to_numpy().tolist() == [["r1", 0.1], ["r2", 0.4]]
    assert newest is not None
    assert newest.run_id == "r2"


def test_scores_without_a_column_are_refused_and_the_old_ones_stay(tmp_path: Path) -> None:
    with open_started(tmp_path, "r1") as ledger:
        ledger.replace_scores("r1", make_scores("r1", [("a", 0.1, "C", [])]))
        with pytest.raises(DataError, match=r"'r1' lack grade, reasons; expected run_id, .* Add the columns"):
            ledger.replace_scores("r1", make_scores("r1", [("a", 0.2, "B", [])]).drop(columns=["grade", "reasons"]))
        assert len(ledger.scores("r1")) == 1


def test_scores_of_a_run_that_never_began_are_refused(tmp_path: Path) -> None:
    with open_started(tmp_path) as ledger, pytest.raises(CrmError, match="storing scores: FOREIGN KEY"):
        ledger.replace_scores("r9", make_scores("r9", [("a", 0.1, "C", [])]))


@pytest.mark.parametrize("value", [None, 0.1 + 0.2, 7, True, "逾期 'quoted' \"text\"", "", b"\x00\xff"])
def test_values_come_back_as_they_were_written(value: object) -> None:
    assert decode(encode(value)) == value  # type: ignore[arg-type]
    assert type(decode(encode(value))) is type(value)  # type: ignore[arg-type]


def test_decisions_are_kept_newest_first(tmp_path: Path) -> None:
    with open_started(tmp_path) as ledger:
        ledger.record_decision("promotion", "churn", "refused", {"gain": -0.01})
        ledger.record_decision("promotion", "conversion", "promoted", {"gain": 0.02})
        ledger.record_decision("promotion", "churn", "promoted", {"gain": 0.03})
        assert [(d.outcome, d.details["gain"]) for d in ledger.decisions("churn")] == [
            ("promoted", 0.03),
            ("refused", -0.01),
        ]
        assert len(ledger.decisions()) == 3


def test_a_new_ledger_gets_every_migration_and_one_up_to_date_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_ledger(path).close()
    connection = sqlite3.connect(path)
    before = connection.execute("PRAGMA data_version").fetchone()
    open_ledger(path).close()
    assert connection.execute("PRAGMA data_version").fetchone() == before  # no other connection has written
    assert connection.execute("SELECT number FROM migrations").fetchall() == [(step.number,) for step in MIGRATIONS]
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [step.number for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_an_older_ledger_gets_only_what_it_lacks(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "ledger.db")
    one = Migration(1, "one", ("CREATE TABLE one (a INTEGER)", "INSERT INTO one VALUES (7)"))
    two = Migration(2, "two", ("ALTER TABLE one ADD COLUMN b INTEGER",))
    assert [migrate(engine, [one]), migrate(engine, [one, two]), migrate(engine, [one, two])] == [1, 1, 0]
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT a, b FROM one").all() == [(7, None)]


def test_scores_of_a_ledger_from_before_intervals_stay_as_they_are_without_one(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "ledger.db")
    assert migrate(engine, MIGRATIONS[:2]) == 2
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO runs VALUES ('r1', 'score', 'done', '2024-05-01', NULL, '{}', '')")
        connection.exec_driver_sql(
            "INSERT INTO scores (run_id, target, horizon_days, entity_id, as_of, probability) "
            "VALUES ('r1', 'churn', 90, 'a', '2024-05-01 00:00:00.000000', 0.25)"
        )
    engine.dispose()
    with open_ledger(tmp_path / "ledger.db") as ledger:
        [row] = ledger.scores("r1").to_dict("records")
    assert (row["probability"], row["as_of"]) == (0.25, pd.Timestamp("2024-05-01"))
    assert np.isnan([row[name] for name in ("probability_low", "probability_high", "value", "days_to_event")]).all()
    assert np.isnan(row["unseen_share"])


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "ledger.db")
    broken = Migration(1, "broken", ("CREATE TABLE one (a INTEGER)", "CREATE TABLE one (a INTEGER)"))
    with pytest.raises(OperationalError, match="already exists"):
        migrate(engine, [broken])
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0


def test_a_ledger_of_a_newer_leadsieve_is_refused(tmp_path: Path) -> None:
    open_ledger(tmp_path / "ledger.db").close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("INSERT INTO migrations VALUES (99, 'later', '')")
    connection.close()
    with pytest.raises(ConfigError, match=r"has migration 99, this leadsieve knows \d at most. Use the leadsieve"):
        open_ledger(tmp_path / "ledger.db")


def test_a_ledger_that_another_program_has_locked_is_safe_to_try_again(tmp_path: Path) -> None:
    with open_started(tmp_path) as ledger:
        ledger.start_run("r1", "score", {}, "")
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with (
        open_ledger(tmp_path / "ledger.db", busy_seconds=0) as ledger,
        pytest.raises(CrmError, match=r"noting the end of a run: database is locked\. Nothing is lost"),
    ):
        ledger.finish_run("r1", "done")
    other.close()


def test_a_ledger_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("this is a text, and a long one, and no database at all")
    with pytest.raises(CrmError, match=r"ledger\.db failed while opening the ledger: file is not a database"):
        open_ledger(tmp_path / "ledger.db")


def test_the_schema_has_the_columns_that_the_design_names(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.db"):
        pass
    connection = sqlite3.connect(tmp_path / "ledger.db")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    writes = [row[1] for row in connection.execute("PRAGMA table_info(writes)")]
    scores = [row[1] for row in connection.execute("PRAGMA table_info(scores)")]
    connection.close()
    of_writes = {
        "single_writes",
        "batches",
        "batch_ids",
        "batch_values",
        "batch_exceptions",
    }  # shown by the view `writes`
    assert tables >= {"runs", "scores", *of_writes, "decisions", "overrides", "forgotten", "migrations"}
    assert {"run_id", "table_name", "record_id", "field", "old", "new", "state", "attempts", "error"} <= set(writes)
    assert set(scores) == set(SCORE_COLUMNS)
