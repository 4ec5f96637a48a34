"""Write-back to a real PostgreSQL: its types, its rights, its locks, and connections that die."""

import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from crm_world import CRM_URL, make_config, make_scores, open_run
from fuse import Fuse, Killed
from postgres_server import Database
from sqlalchemy import event
from test_writeback_resume import ALL_MOMENTS, CRM_STEPS, LEDGER_STEPS, SCORES

from pipeline.adapters.sql_target import SqlTarget
from pipeline.adapters.target import RecordResult, WriteBatch
from pipeline.config import Config
from pipeline.crm import make_crm
from pipeline.database import make_engine
from pipeline.errors import ConfigError, CrmError
from pipeline.undo_plan import make_undo_plan
from pipeline.write_plan import make_plan
from pipeline.write_report import WriteReport
from pipeline.writeback import apply_plan, install_target, undo_run, write_back

ScoreRows = Sequence[tuple[str, float | None, str | None, Sequence[str]]]


@pytest.fixture
def crm(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv(CRM_URL, postgres.url)
    return postgres


def make_deals(crm: Database, columns: str, *rows: str) -> None:
    crm.execute(f"CREATE TABLE deals (deal_id bigint PRIMARY KEY, {columns})")
    for row in rows:
        crm.execute(f"INSERT INTO deals VALUES ({row})")


def config_of(folder: Path, fields: dict[str, str], target: str = "deals", **write_back: Any) -> Config:
    mapping = {"target": target, "key": "deal_id", "fields": fields, "decimals": 4}
    return make_config(folder, url_env=CRM_URL, sqlite=None, tables={"conversion": mapping}, **write_back)


def write(config: Config, run_id: str, rows: ScoreRows) -> WriteReport:
    with open_run(config, run_id) as ledger:
        return write_back(config, ledger, make_scores(run_id, rows), run_id)


def undo(config: Config, run_id: str) -> WriteReport:
    with open_run(config) as ledger:
        return undo_run(config, ledger, run_id)


@pytest.mark.parametrize(
    ("declared", "old", "value", "stored"),
    [
        ("real", "0.7", "probability", "0.1235"),
        ("double precision", "0.1", "probability", "0.1235"),
        ("numeric", "12345678.9012", "probability", "0.1235"),
        ("numeric(5, 2)", "0.70", "probability", "0.12"),
        ("share", "0.5", "probability", "0.1235"),  # a domain
        ("integer", "3", "horizon_days", "90"),
        ("smallint", "3", "horizon_days", "90"),
        ("text", "'alt'", "grade", "A"),
        ("varchar(8)", "NULL", "reasons_en", "a long …"),
        ("grade", "'B'", "grade", "A"),  # an enum
        ("timestamp", "'2024-01-01 10:00:00.5'", "as_of", "2024-05-01 00:00:00"),
        ("timestamptz", "'2024-01-01 10:00:00.5+08'", "as_of", "2024-05-01 08:00:00+08"),
        ("timestamptz", "'infinity'", "as_of", "2024-05-01 08:00:00+08"),
    ],
)
def test_a_field_of_any_type_is_written_once_and_given_back(crm, tmp_path, declared, old, value, stored) -> None:
    crm.execute("CREATE DOMAIN share AS numeric CHECK (value >= 0)")
    crm.execute("CREATE TYPE grade AS ENUM ('A', 'B')")
    make_deals(crm, f"field {declared}", f"1, {old}", "2, NULL")
    before = crm.execute("SELECT deal_id, field::text FROM deals ORDER BY 1")
    config = config_of(tmp_path, {"field": value})
    rows: ScoreRows = [("1", 0.123456, "A", ["a long reason"]), ("2", 0.123456, "A", ["a long reason"])]
    assert write(config, "r1", rows).records == 2
    assert crm.execute("SELECT DISTINCT field::text FROM deals") == [(stored,)]
    assert write(config, "r2", rows).records == 0  # what was read back is what was written
    undo(config, "r1")
    assert crm.execute("SELECT deal_id, field::text FROM deals ORDER BY 1") == before


@pytest.mark.parametrize("declared", ["jsonb", "bytea", "text[]"])
def test_a_field_that_cannot_hold_a_score_is_refused(crm, tmp_path, declared) -> None:
    make_deals(crm, f"field {declared}")
    with pytest.raises(ConfigError, match=r"'deals\.field' is .* field and cannot hold grade"):
        write(config_of(tmp_path, {"field": "grade"}), "r1", [("1", 0.1, "A", [])])


def test_a_table_of_another_schema_is_written(crm, tmp_path) -> None:
    crm.execute("CREATE SCHEMA crm")
    crm.execute("CREATE TABLE crm.deals (deal_id int PRIMARY KEY, score float8)")
    crm.execute("INSERT INTO crm.deals VALUES (1, NULL)")
    assert write(config_of(tmp_path, {"score": "probability"}, "crm.deals"), "r1", [("1", 0.5, "A", [])]).records == 1
    assert crm.execute("SELECT * FROM crm.deals") == [(1, 0.5)]
    with pytest.raises(ConfigError, match=r"has no table 'crm\.nope'"):
        write(config_of(tmp_path, {"score": "probability"}, "crm.nope"), "r2", [("1", 0.5, "A", [])])


@pytest.mark.parametrize("name", ["lead_scores", "scoring.lead_scores"])
def test_a_table_of_our_own_is_made_filled_and_emptied_again(crm, tmp_path, name) -> None:
    crm.execute("CREATE SCHEMA scoring")
    fields = {"score": "probability", "why": "reasons_en", "scored_at": "as_of"}
    config = config_of(tmp_path, fields, name, insert_missing=True)
    assert (install_target(config), install_target(config)) == ([name], [])
    assert write(config, "r1", [("A-1", 0.5, "A", ["逾期"]), ("2", None, "B", [])]).records == 2
    assert crm.execute(f"SELECT deal_id, score, why, scored_at::text FROM {name} ORDER BY deal_id") == [
        ("2", None, "", "2024-05-01 00:00:00"),
        ("A-1", 0.5, "逾期", "2024-05-01 00:00:00"),
    ]
    assert undo(config, "r1").tables[0].removed == 2
    assert crm.execute(f"SELECT * FROM {name}") == []


def test_rights_on_the_key_and_the_fields_are_enough_and_less_is_named(crm, tmp_path, monkeypatch) -> None:
    make_deals(crm, "name text, score float8, grade text", "1, 'Ann', NULL, NULL")
    crm.execute("CREATE ROLE writer LOGIN PASSWORD 'wr1ter-secret'")
    try:
        monkeypatch.setenv(CRM_URL, crm.url_of("writer", "wr1ter-secret"))
        config = config_of(tmp_path, {"score": "probability"})
        with pytest.raises(ConfigError, match=r"permission denied for table deals\. Grant its account SELECT on the"):
            write(config, "r1", [("1", 0.5, "A", [])])
        crm.execute("GRANT SELECT (deal_id, score), UPDATE (score) ON deals TO writer")
        assert write(config, "r1", [("1", 0.5, "A", [])]).records == 1
        with pytest.raises(ConfigError, match=r"permission denied for table deals\. Grant"):
            write(config_of(tmp_path, {"grade": "grade"}), "r2", [("1", 0.5, "A", [])])
    finally:
        crm.execute("DROP OWNED BY writer")
        crm.execute("DROP ROLE writer")
    assert crm.execute("SELECT * FROM deals") == [(1, "Ann", 0.5, None)]


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("text CHECK (grade <> 'Z')", 'new row for relation "deals" violates check constraint "deals_grade_check"'),
        ("grade", 'invalid input value for enum grade: "Z"'),
    ],
)
def test_one_bad_record_costs_one_record(crm, tmp_path, declared, said) -> None:
    crm.execute("CREATE TYPE grade AS ENUM ('A', 'B')")
    make_deals(crm, f"grade {declared}", *(f"{i}, NULL" for i in range(8)))
    config = config_of(tmp_path, {"grade": "grade"})
    report = write(config, "r1", [(str(i), 0.5, "Z" if i == 5 else "A", []) for i in range(8)])
    assert (report.records, report.tables[0].rejected) == (7, 1)
    with open_run(config) as ledger:
        [bad] = ledger.writes.of_run("r1", ["rejected"])
    assert (bad.record_id, bad.error) == ("5", said)


def test_a_value_that_a_trigger_alters_is_put_back_and_rejected(crm, tmp_path) -> None:
    make_deals(crm, "score float8", "1, 0.7")
    crm.execute(
        "CREATE FUNCTION clip() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN new.score := greatest(new.score, 0.5); RETURN new; END'"
    )
    crm.execute("CREATE TRIGGER clip BEFORE UPDATE ON deals FOR EACH ROW EXECUTE FUNCTION clip()")
    assert write(config_of(tmp_path, {"score": "probability"}), "r1", [("1", 0.3, "A", [])]).tables[0].rejected == 1
    assert crm.execute("SELECT score FROM deals") == [(0.7,)]


@pytest.mark.parametrize("moment", ["BEFORE", "AFTER"])
def test_a_trigger_is_seen_whenever_it_alters_a_value(crm, tmp_path, moment) -> None:
    make_deals(crm, "score float8", "1, 0.7", "2, 0.7")
    statement = {
        "BEFORE": "new.score := greatest(new.score, 0.5);",
        "AFTER": "UPDATE deals SET score = 0.5 WHERE deal_id = new.deal_id AND score < 0.5;",
    }[moment]
    crm.execute(f"CREATE FUNCTION clip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement} RETURN new; END $$")
    crm.execute(f"CREATE TRIGGER clip {moment} UPDATE ON deals FOR EACH ROW EXECUTE FUNCTION clip()")
    report = write(config_of(tmp_path, {"score": "probability"}), "r1", [("1", 0.3, "A", []), ("2", 0.9, "A", [])])
    assert (report.tables[0].rejected, report.records) == (1, 1)
    assert crm.execute("SELECT score FROM deals ORDER BY deal_id") == [(0.7,), (0.9,)]


def test_an_id_that_only_looks_like_a_key_is_missing(crm, tmp_path) -> None:
    make_deals(crm, "score float8", "7, NULL", "0, NULL")
    rows: ScoreRows = [("007", 0.1, "A", []), ("0", 0.2, "A", []), ("7\x1f", 0.3, "A", []), ("9" * 25, 0.4, "A", [])]
    report = write(config_of(tmp_path, {"score": "probability"}), "r1", rows)
    assert (report.records, report.tables[0].missing) == (1, 3)
    assert crm.execute("SELECT * FROM deals ORDER BY deal_id") == [(0, 0.2), (7, None)]


def test_an_edit_that_is_committed_while_we_wait_for_it_is_a_conflict(crm, tmp_path) -> None:
    make_deals(crm, "grade text", "1, NULL", "2, NULL")
    config = config_of(tmp_path, {"grade": "grade"})
    reports: list[WriteReport] = []
    with crm.engine.connect().execution_options(isolation_level="READ COMMITTED") as rep:
        rep.exec_driver_sql("UPDATE deals SET grade = 'mine' WHERE deal_id = 1")
        rows: ScoreRows = [("1", 0.1, "A", []), ("2", 0.1, "A", [])]
        job = Thread(target=lambda: reports.append(write(config, "r1", rows)))
        job.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while crm.execute(waits) == [(0,)]:
            assert job.is_alive()
        rep.commit()
        job.join()
    assert (reports[0].tables[0].updated, reports[0].tables[0].conflicts) == (1, 1)
    assert crm.execute("SELECT grade FROM deals ORDER BY deal_id") == [("mine",), ("A",)]


def test_a_record_that_stays_locked_does_not_hold_the_job_for_ever(crm, tmp_path) -> None:
    make_deals(crm, "grade text", "1, NULL")
    config = config_of(tmp_path, {"grade": "grade"})
    with crm.engine.connect().execution_options(isolation_level="READ COMMITTED") as rep:
        rep.exec_driver_sql("UPDATE deals SET grade = 'mine' WHERE deal_id = 1")
        with open_run(config, "r1") as ledger:
            target = SqlTarget(make_engine(crm.url, busy_seconds=0.01))
            patient = make_crm(target, wait=lambda seconds: None)
            plan = make_plan(config, ledger, patient, make_scores("r1", [("1", 0.1, "A", [])]), "r1")
            with pytest.raises(CrmError, match=r"while writing 'deals': canceling statement due to lock timeout"):
                apply_plan(config, ledger, patient, plan)
            target.close()
        rep.rollback()
    assert write(config, "r1", [("1", 0.1, "A", [])]).records == 1


def log_writes(crm: Database) -> None:
    """Three deals; every value that changes in the CRM is logged by the CRM."""
    make_deals(crm, "score float8, grade text, why text", "1, NULL, NULL, NULL", "2, 0.9, NULL, NULL", "3, NULL")
    crm.execute("CREATE TABLE log (deal_id bigint, field text)")
    crm.execute(
        "CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log "
        "SELECT new.deal_id, n.key FROM jsonb_each(to_jsonb(new)) n WHERE to_jsonb(old) -> n.key <> n.value; "
        "RETURN new; END $$"
    )
    crm.execute("CREATE TRIGGER log AFTER UPDATE ON deals FOR EACH ROW EXECUTE FUNCTION log()")


EVERY_FIELD = sorted((deal, field) for deal in (1, 2, 3) for field in ("score", "grade", "why"))
FIELDS = {"score": "probability", "grade": "grade", "why": "reasons_en"}


def test_two_batches_at_a_time_write_every_value_once_also_after_one_of_them_failed(crm, tmp_path) -> None:
    deals = range(1, 31)
    make_deals(crm, "score float8", *(f"{deal}, NULL" for deal in deals))
    crm.execute("CREATE TABLE log (deal_id bigint, score float8, process int)")
    crm.execute(
        "CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO log VALUES (new.deal_id, new.score, pg_backend_pid()); RETURN new; END $$"
    )
    crm.execute("CREATE TRIGGER log AFTER UPDATE ON deals FOR EACH ROW EXECUTE FUNCTION log()")
    config = config_of(tmp_path, {"score": "probability"}, batch_rows=1)
    scores = make_scores("r1", [(str(deal), deal / 100, "A", []) for deal in deals])
    began: list[str] = []

    class Failing(SqlTarget):
        def write_batch(self, batch: WriteBatch) -> list[RecordResult]:
            began.append(batch.ids[0])
            if batch.ids == ["12"]:
                raise CrmError("the CRM is gone")
            return super().write_batch(batch)

    with open_run(config, "r1") as ledger:
        target = Failing(make_engine(crm.url))
        patient = make_crm(target)
        plan = make_plan(config, ledger, patient, scores, "r1")
        with pytest.raises(CrmError, match="the CRM is gone"):
            apply_plan(config, ledger, patient, plan)
        target.close()
        assert len(began) < len(deals)
        assert crm.execute("SELECT count(*) FROM log") == [(len(began) - 1,)]  # the one beside it came to its end
        report = write_back(config, ledger, scores, "r1")
        assert report.records == len(deals) - (len(began) - 1)
        assert ledger.writes.outstanding() == []
    assert crm.execute("SELECT deal_id, score FROM log ORDER BY 1") == [(deal, deal / 100) for deal in deals]
    assert len(crm.execute("SELECT DISTINCT process FROM log")) > 1


def run_until(config: Config, crm: Database, fuse: Fuse, undo: bool = False) -> None:
    """Write scores, or take them back, until the fuse blows."""
    with open_run(config, "r1", "undo-r1") as ledger:
        target = SqlTarget(make_engine(crm.url))
        fuse.guard(ledger.writes, LEDGER_STEPS)
        fuse.guard(target, CRM_STEPS)
        try:
            patient = make_crm(target)
            if undo:
                plan = make_undo_plan(config, ledger, patient, "r1")
            else:
                plan = make_plan(config, ledger, patient, make_scores("r1", SCORES), "r1")
            apply_plan(config, ledger, patient, plan)
        finally:
            target.close()


def test_killed_anywhere_a_rerun_writes_every_value_once_and_an_undo_takes_it_back(crm, tmp_path) -> None:
    log_writes(crm)
    before = crm.execute("SELECT * FROM deals ORDER BY deal_id")
    for moment in range(0, ALL_MOMENTS, 5):
        config = config_of(tmp_path / str(moment), FIELDS, batch_rows=1)
        (tmp_path / str(moment)).mkdir()
        with pytest.raises(Killed, match="fuse"):
            run_until(config, crm, Fuse(moment))
        write(config, "r1", SCORES)
        assert sorted(crm.execute("SELECT * FROM log")) == EVERY_FIELD, moment
        with pytest.raises(Killed, match="fuse"):
            run_until(config, crm, Fuse(moment), undo=True)
        undo(config, "r1")
        assert sorted(crm.execute("SELECT * FROM log")) == sorted(EVERY_FIELD * 2), moment
        assert crm.execute("SELECT * FROM deals ORDER BY deal_id") == before
        crm.execute("DELETE FROM log")


def test_a_connection_that_dies_during_a_batch_is_tried_again_and_writes_every_value_once(crm, tmp_path) -> None:
    log_writes(crm)
    config = config_of(tmp_path, FIELDS)
    deaths = iter([True, True])
    with open_run(config, "r1") as ledger:
        target = SqlTarget(make_engine(crm.url))
        patient = make_crm(target, wait=lambda seconds: None)

        @event.listens_for(target._engine, "after_cursor_execute")
        def die(connection: Any, cursor: Any, statement: str, *others: Any) -> None:
            if "UPDATE deals" in statement and next(deaths, False):
                [(pid,)] = connection.exec_driver_sql("SELECT pg_backend_pid()").all()
                crm.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

        plan = make_plan(config, ledger, patient, make_scores("r1", SCORES), "r1")
        assert apply_plan(config, ledger, patient, plan).records == 3
        target.close()
    assert sorted(crm.execute("SELECT * FROM log")) == EVERY_FIELD


def test_without_the_driver_one_sentence_says_what_to_install(crm, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pg8000", None)
    with pytest.raises(ConfigError, match=r"'pg8000', which is not installed\. Install it with .*postgres"):
        write(config_of(tmp_path, FIELDS), "r1", SCORES)


@pytest.mark.parametrize("option", ["sslmode=require", "channel_binding=hunter2", "sslmode=hunter2"])
def test_options_that_cannot_be_met_are_errors_that_show_no_value(crm, tmp_path, monkeypatch, option) -> None:
    monkeypatch.setenv(CRM_URL, f"{crm.url}?{option}")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises((ConfigError, CrmError), match=r"refuses SSL|has the option 'channel_b|sslmode") as caught:
        write(config_of(tmp_path, FIELDS), "r1", SCORES)
    assert crm.password not in str(caught.value)
    assert "hunter2" not in str(caught.value)
