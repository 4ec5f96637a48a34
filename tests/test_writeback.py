"""Plan and apply on a literal CRM of a few deals: only what changed is written, and no edit is overwritten."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from crm_world import (
    DEALS,
    make_config,
    make_crm,
    make_scores,
    open_run,
    read_deals,
    run_sql,
)
from sqlalchemy import event

from features.errors import DataError
from pipeline.config import Config
from pipeline.crm import open_crm
from pipeline.errors import ConfigError, CrmError
from pipeline.write_plan import TablePlan, make_plan
from pipeline.write_report import TableReport, WriteReport
from pipeline.writeback import apply_plan, install_target, undo_run, write_back

EMPTY = [(1, "Ann", None, None, None), (2, "Bob", None, None, None)]
ScoreRows = Sequence[tuple[str, float | None, str | None, Sequence[str]]]


def write(config: Config, run_id: str, rows: ScoreRows) -> WriteReport:
    with open_run(config, run_id) as ledger:
        return write_back(config, ledger, make_scores(run_id, rows), run_id)


def plan(config: Config, run_id: str, rows: ScoreRows) -> TablePlan:
    with open_run(config, run_id) as ledger, open_crm(config) as crm:
        [table] = make_plan(config, ledger, crm, make_scores(run_id, rows), run_id).tables
    return table


def states(config: Config, run_id: str) -> list[tuple[str, str, Any, Any, str]]:
    with open_run(config) as ledger:
        return sorted((w.record_id, w.field, w.old, w.new, w.state) for w in ledger.writes.of_run(run_id))


def test_scores_land_rounded_in_the_fields_of_their_records(crm_folder: Path) -> None:
    make_crm(crm_folder, EMPTY)
    config = make_config(crm_folder)
    report = write(config, "r1", [("1", 0.123456, "A", ["2 calls", "old"]), ("2", None, "D", [])])
    assert read_deals(crm_folder) == [(1, 0.1235, "A", "2 calls; old"), (2, None, "D", "")]
    assert (report.tables[0].updated, report.tables[0].fields, report.tables[0].unchanged) == (2, 5, 1)
    assert states(config, "r1") == [
        ("1", "grade", None, "A", "done"),
        ("1", "score", None, 0.1235, "done"),  # the ledger has the rounded value
        ("1", "why", None, "2 calls; old", "done"),
        ("2", "grade", None, "D", "done"),  # score was null and stays null: nothing to write
        ("2", "why", None, "", "done"),
    ]


def test_a_second_apply_writes_nothing(tmp_path: Path) -> None:
    make_crm(tmp_path, EMPTY)
    config = make_config(tmp_path)
    rows: ScoreRows = [("1", 0.1, "A", ["x"]), ("2", 0.2, "B", ["逾期"])]
    write(config, "r1", rows)
    run_sql(tmp_path, "CREATE TABLE touched (what TEXT)")
    run_sql(tmp_path, "CREATE TRIGGER t AFTER UPDATE ON deals BEGIN INSERT INTO touched VALUES (new.name); END")
    again, next_night = write(config, "r1", rows), write(config, "r2", rows)
    assert [report.records for report in (again, next_night)] == [0, 0]
    assert next_night.tables[0].unchanged == 6
    assert run_sql(tmp_path, "SELECT * FROM touched") == []
    assert states(config, "r2") == []


def test_only_the_fields_that_changed_are_written(crm_folder: Path) -> None:
    make_crm(crm_folder, EMPTY)
    config = make_config(crm_folder)
    write(config, "r1", [("1", 0.1, "A", ["x"]), ("2", 0.2, "B", ["y"])])
    report = write(config, "r2", [("1", 0.1, "A", ["x"]), ("2", 0.20001, "C", ["y"])])  # 0.20001 rounds to 0.2
    assert states(config, "r2") == [("2", "grade", "B", "C", "done")]
    assert (report.tables[0].updated, report.tables[0].fields) == (1, 1)


def test_plan_sorts_the_fields_and_writes_nothing(crm_folder: Path) -> None:
    make_crm(crm_folder, [*EMPTY, (3, "Cy", None, None, None)])
    config = make_config(crm_folder)
    write(config, "r1", [("1", 0.1, "A", ["x"]), ("2", 0.2, "B", ["y"]), ("3", 0.3, "C", ["z"])])
    run_sql(crm_folder, "UPDATE deals SET grade = 'mine' WHERE deal_id = 2")  # a rep
    run_sql(crm_folder, "DELETE FROM deals WHERE deal_id = 3")
    before = read_deals(crm_folder)
    made = plan(config, "r2", [("1", 0.1, "A", ["x"]), ("2", 0.5, "C", ["y"]), ("3", 0.3, "C", ["z"])])
    assert list(made.changes) == [("2", "score", 0.2, 0.5)]
    assert [(w.record_id, w.field, w.old, w.error) for w in made.conflicts] == [
        ("2", "grade", "mine", "we wrote 'B', found 'mine'")
    ]
    assert made.missing == ("3",)
    assert made.unchanged == 4  # all of deal 1, and the reasons of deal 2
    assert read_deals(crm_folder) == before
    assert states(config, "r2") == []


def test_an_edit_of_a_rep_is_a_conflict_every_night_until_our_value_is_back(crm_folder: Path) -> None:
    make_crm(crm_folder, EMPTY)
    config = make_config(crm_folder)
    write(config, "r1", [("1", 0.1, "A", ["x"])])
    run_sql(crm_folder, "UPDATE deals SET grade = NULL WHERE deal_id = 1")  # clearing is an edit too
    for night in ("r2", "r3"):
        report = write(config, night, [("1", 0.1, "B", ["x"])])
        assert (report.records, report.tables[0].conflicts) == (0, 1)
        assert states(config, night) == [("1", "grade", None, "B", "conflict")]
    run_sql(crm_folder, "UPDATE deals SET grade = 'A' WHERE deal_id = 1")
    assert write(config, "r4", [("1", 0.1, "B", ["x"])]).records == 1


def test_a_run_that_is_told_to_takes_edited_fields_over_and_undo_brings_the_edits_back(crm_folder: Path) -> None:
    make_crm(crm_folder, EMPTY)
    config = make_config(crm_folder)
    write(config, "r1", [("1", 0.1, "A", ["x"])])
    run_sql(crm_folder, "UPDATE deals SET score = NULL, grade = 'mine' WHERE deal_id = 1")  # as after a restore
    with open_run(config, "r2") as ledger:
        scores = make_scores("r2", [("1", 0.2, "B", ["x"])])
        report = write_back(config, ledger, scores, "r2", take_over=True)
        assert (report.tables[0].fields, report.tables[0].conflicts) == (2, 0)
        assert read_deals(crm_folder)[0] == (1, 0.2, "B", "x")
        undo_run(config, ledger, "r2")
    assert read_deals(crm_folder)[0] == (1, None, "mine", "x")


def test_a_rep_who_sets_our_new_value_is_no_conflict(tmp_path: Path) -> None:
    make_crm(tmp_path, EMPTY)
    config = make_config(tmp_path)
    write(config, "r1", [("1", 0.1, "A", ["x"])])
    run_sql(tmp_path, "UPDATE deals SET grade = 'B' WHERE deal_id = 1")
    report = write(config, "r2", [("1", 0.1, "B", ["x"])])
    assert (report.records, report.tables[0].conflicts, report.tables[0].unchanged) == (0, 0, 3)


def test_the_first_write_takes_a_field_over_and_the_ledger_keeps_what_was_there(tmp_path: Path) -> None:
    make_crm(tmp_path, [(1, "Ann", 77.0, "gold", None)])  # filled by an older tool
    config = make_config(tmp_path)
    write(config, "r1", [("1", 0.1, "A", ["x"])])
    assert states(config, "r1")[:2] == [("1", "grade", "gold", "A", "done"), ("1", "score", 77.0, 0.1, "done")]


def test_a_record_that_is_gone_is_missing_and_said_so(crm_folder: Path) -> None:
    make_crm(crm_folder, EMPTY)
    config = make_config(crm_folder, {"score": "probability"})
    report = write(config, "r1", [("1", 0.1, "A", []), ("99", 0.9, "A", []), ("no number", 0.9, "A", [])])
    assert (report.records, report.tables[0].missing) == (1, 2)
    assert states(config, "r1")[1] == ("99", "score", None, 0.9, "missing")


def test_a_record_that_is_edited_between_plan_and_apply_is_a_conflict_as_a_whole(crm_folder: Path) -> None:
    make_crm(crm_folder, [*EMPTY, (3, "Cy", None, None, None)])
    config = make_config(crm_folder)
    scores = make_scores("r1", [("1", 0.1, "A", ["x"]), ("2", 0.2, "B", ["y"]), ("3", 0.3, "C", ["z"])])
    with open_run(config, "r1") as ledger, open_crm(config) as crm:
        made = make_plan(config, ledger, crm, scores, "r1")
        run_sql(crm_folder, "UPDATE deals SET grade = 'mine' WHERE deal_id = 1")
        run_sql(crm_folder, "DELETE FROM deals WHERE deal_id = 2")
        [table] = apply_plan(config, ledger, crm, made).tables
    assert read_deals(crm_folder) == [(1, None, "mine", None), (3, 0.3, "C", "z")]
    assert (table.updated, table.fields, table.conflicts, table.missing) == (1, 3, 1, 1)
    ends = {(record, field): state for record, field, _, _, state in states(config, "r1")}
    assert [ends["1", field] for field in ("score", "grade", "why")] == ["conflict"] * 3
    assert [ends["2", field] for field in ("score", "grade", "why")] == ["missing"] * 3


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_the_result_does_not_depend_on_the_batches(crm_folder: Path, batch_rows: int) -> None:
    make_crm(crm_folder, [(i, "n", None, None, None) for i in range(5)])
    config = make_config(crm_folder, batch_rows=batch_rows)
    report = write(config, "r1", [(str(i), i / 10, "A", [str(i)]) for i in range(5)])
    assert read_deals(crm_folder) == [(i, i / 10, "A", str(i)) for i in range(5)]
    assert (report.records, report.tables[0].fields) == (5, 15)


def test_a_batch_is_one_transaction_of_the_crm(crm_folder: Path) -> None:
    make_crm(crm_folder, [(i, "n", None, None, None) for i in range(4)])
    config = make_config(crm_folder, batch_rows=2)
    with open_run(config, "r1") as ledger, open_crm(config) as crm:
        scores = make_scores("r1", [(str(i), 0.5, "A", ["x"]) for i in range(4)])
        begun: list[str] = []
        engine = crm.target._target._engine  # type: ignore[attr-defined]
        event.listen(engine, "begin", lambda connection: begun.extend(connection.get_execution_options()))
        apply_plan(config, ledger, crm, make_plan(config, ledger, crm, scores, "r1"))
    assert begun == ["writes", "writes"]  # two batches; everything else only read


def test_text_of_any_kind_survives(crm_folder: Path) -> None:
    text = '逾期金额 12,000; O\'Brien said "no"; 100% \\ {x} :name ?1 -- 🙂'
    make_crm(crm_folder, EMPTY)
    write(make_config(crm_folder), "r1", [("1", 0.1, "高", [text])])
    assert read_deals(crm_folder)[0] == (1, 0.1, "高", text)


def test_odd_names_of_tables_and_columns_are_quoted(crm_folder: Path) -> None:
    name, key, field = 'de"als; DROP TABLE deals', "the key", "score (%) :x"
    quoted = name.replace('"', '""')
    make_crm(crm_folder, [])
    run_sql(crm_folder, f'CREATE TABLE "{quoted}" ("{key}" TEXT UNIQUE, "{field}" REAL)')
    run_sql(crm_folder, f'INSERT INTO "{quoted}" VALUES (?, NULL)', ["'; DROP TABLE deals; --"])
    config = make_config(
        crm_folder, tables={"conversion": {"target": name, "key": key, "fields": {field: "probability"}}}
    )
    assert write(config, "r1", [("'; DROP TABLE deals; --", 0.5, "A", [])]).records == 1
    assert run_sql(crm_folder, f'SELECT "{field}" FROM "{quoted}"') == [(0.5,)]
    assert read_deals(crm_folder) == []  # still there


def test_sql_in_a_field_name_is_just_an_unknown_column(crm_folder: Path) -> None:
    make_crm(crm_folder, EMPTY)
    config = make_config(crm_folder, {"score = 1; DROP TABLE deals; --": "probability"})
    with pytest.raises(ConfigError, match=r"has no column 'score = 1; DROP TABLE deals; --'\. Known columns: deal_id"):
        write(config, "r1", [("1", 0.5, "A", [])])
    assert len(read_deals(crm_folder)) == 2


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"target": "deal"}, r"has no table 'deal'\. Did you mean 'deals'\?"),
        ({"key": "dealid"}, r"table 'deals' of SQLite file .* has no column 'dealid'\. Did you mean 'deal_id'\?"),
        ({"fields": {"scor": "probability"}}, r"has no column 'scor'\. Did you mean 'score'\?"),
        ({"fields": {"score": "grade"}}, r"'deals\.score' is a number field and cannot hold grade \(text\)"),
    ],
)
def test_what_the_crm_does_not_have_is_a_config_error(tmp_path: Path, mapping: dict[str, Any], message: str) -> None:
    make_crm(tmp_path, EMPTY)
    whole = {"target": "deals", "key": "deal_id", "fields": {"score": "probability"}, **mapping}
    with pytest.raises(ConfigError, match=message):
        write(make_config(tmp_path, tables={"conversion": whole}), "r1", [("1", 0.5, "A", [])])


def test_a_key_that_is_not_unique_is_refused(tmp_path: Path) -> None:
    make_crm(tmp_path, [], "CREATE TABLE deals (deal_id TEXT, name TEXT, score REAL, grade TEXT, why TEXT)")
    for _ in range(2):
        run_sql(tmp_path, "INSERT INTO deals VALUES ('7', 'n', NULL, NULL, NULL)")
    with pytest.raises(
        ConfigError, match="column 'deal_id' of table 'deals' is not a key: '7' is there more than once"
    ):
        write(make_config(tmp_path), "r1", [("7", 0.5, "A", [])])


def test_the_precision_of_the_column_counts_when_it_is_coarser(crm_folder: Path) -> None:
    make_crm(
        crm_folder, EMPTY, DEALS.replace("score REAL", "score NUMERIC(5, 2)").replace("why TEXT", "why VARCHAR(8)")
    )
    config = make_config(crm_folder)
    rows: ScoreRows = [("1", 0.126, "A", ["a long reason"])]
    write(config, "r1", rows)
    assert read_deals(crm_folder)[0] == (1, 0.13, "A", "a long …")
    assert write(config, "r2", rows).records == 0


@pytest.mark.parametrize(("kind", "key"), [("TEXT", "7"), ("INTEGER", 7), ("REAL", 7.0), ("VARCHAR(9)", "007")])
def test_ids_are_text_whatever_the_key_is(tmp_path: Path, kind: str, key: object) -> None:
    make_crm(tmp_path, [(key, "n", None, None, None)], DEALS.replace("INTEGER PRIMARY KEY", f"{kind} UNIQUE"))
    entity = "007" if key == "007" else "7"
    assert write(make_config(tmp_path), "r1", [(entity, 0.5, "A", [])]).records == 1


def test_one_bad_record_costs_one_record(tmp_path: Path) -> None:
    make_crm(
        tmp_path,
        [(i, "n", None, None, None) for i in range(8)],
        DEALS.replace("grade TEXT", "grade TEXT CHECK (grade <> 'Z')"),
    )
    config = make_config(tmp_path, {"grade": "grade"})
    report = write(config, "r1", [(str(i), 0.5, "Z" if i == 5 else "A", []) for i in range(8)])
    assert [grade for _, _, grade, _ in read_deals(tmp_path)] == ["A"] * 5 + [None] + ["A"] * 2
    assert (report.records, report.tables[0].rejected) == (7, 1)
    with open_run(config) as ledger:
        [bad] = ledger.writes.of_run("r1", ["rejected"])
    assert (bad.record_id, bad.error) == ("5", "CHECK constraint failed: grade <> 'Z'")
    with pytest.raises(CrmError, match=r"refused 1 values .* `leadsieve writeback status --run r1` lists them"):
        report.check()


def test_a_value_that_the_database_alters_is_put_back_and_rejected(tmp_path: Path) -> None:
    make_crm(tmp_path, [(1, "Ann", 0.7, None, None)])
    run_sql(
        tmp_path,
        "CREATE TRIGGER t AFTER UPDATE OF score ON deals WHEN new.score < 0.5 "
        "BEGIN UPDATE deals SET score = 0.5 WHERE deal_id = new.deal_id; END",
    )
    config = make_config(tmp_path)
    report = write(config, "r1", [("1", 0.3, "A", ["x"])])
    assert read_deals(tmp_path) == [(1, 0.7, None, None)]  # the record as a whole
    assert report.tables[0].rejected == 3
    assert states(config, "r1")[1] == ("1", "score", 0.7, 0.3, "rejected")


def test_scores_that_changed_after_they_were_written_need_a_new_run(tmp_path: Path) -> None:
    make_crm(tmp_path, EMPTY)
    config = make_config(tmp_path)
    write(config, "r1", [("1", 0.1, "A", ["x"])])
    with pytest.raises(
        DataError, match=r"'r1' wrote 0\.1 to 'deals\.score' of record '1' and now has 0\.2: its scores"
    ):
        write(config, "r1", [("1", 0.2, "A", ["x"])])


def test_a_run_that_is_not_in_the_ledger_is_not_written(tmp_path: Path) -> None:
    make_crm(tmp_path, EMPTY)
    config = make_config(tmp_path)
    with open_run(config) as ledger, pytest.raises(ConfigError, match="Run 'r9' is not in the ledger"):
        write_back(config, ledger, make_scores("r9", [("1", 0.1, "A", [])]), "r9")
    assert read_deals(tmp_path)[0] == (1, None, None, None)


def test_a_table_of_our_own_is_made_and_filled(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    fields = {"churn": "probability", "as_of": "as_of", "days": "horizon_days", "why": "reasons_zh"}
    mapping = {"target": "our_scores", "key": "customer_id", "fields": fields}
    config = make_config(folder, tables={"conversion": mapping}, insert_missing=True)
    made = plan(config, "r1", [("13085", 0.25, "A", ["x"])])
    assert made.count_records("insert") == 1
    assert not (folder / "crm.db").exists()  # a plan writes nothing, not even a table
    report = write(config, "r1", [("13085", 0.25, "A", ["x"]), ("12346", None, "B", [])])
    assert run_sql(folder, "SELECT * FROM our_scores ORDER BY 1") == [
        ("12346", None, "2024-05-01 00:00:00", 90, ""),
        ("13085", 0.25, "2024-05-01 00:00:00", 90, "原因"),
    ]
    types = {row[1]: (row[2], row[5]) for row in run_sql(folder, "PRAGMA table_info(our_scores)")}
    assert types == {
        "customer_id": ("VARCHAR(200)", 1),
        "churn": ("DOUBLE", 0),
        "as_of": ("DATETIME", 0),
        "days": ("INTEGER", 0),
        "why": ("TEXT", 0),
    }
    assert (report.tables[0].added, report.tables[0].updated) == (2, 0)
    again = write(config, "r2", [("13085", 0.5, "A", ["x"]), ("12346", None, "B", []), ("9", 0.1, "A", [])])
    assert (again.tables[0].added, again.tables[0].updated, again.tables[0].unchanged) == (1, 1, 7)


def test_installing_twice_makes_the_table_once(tmp_path: Path) -> None:
    mapping = {"target": "our_scores", "key": "id", "fields": {"p": "probability"}}
    config = make_config(tmp_path, tables={"conversion": mapping}, insert_missing=True)
    assert [install_target(config), install_target(config)] == [["our_scores"], []]


def test_a_table_that_is_not_our_own_is_never_made(tmp_path: Path) -> None:
    make_crm(tmp_path, EMPTY)
    assert install_target(make_config(tmp_path)) == []


def test_empty_scores_write_nothing(tmp_path: Path) -> None:
    make_crm(tmp_path, EMPTY)
    config = make_config(tmp_path)
    with open_run(config, "r1") as ledger:
        report = write_back(config, ledger, make_scores("r1", [("1", 0.1, "A", [])]).iloc[:0], "r1")
    assert report.tables == (TableReport("deals"),)


def test_two_targets_can_share_a_table(tmp_path: Path) -> None:
    make_crm(tmp_path, EMPTY)
    one = {"target": "deals", "key": "deal_id", "fields": {"score": "probability"}}
    two = {"target": "deals", "key": "deal_id", "fields": {"grade": "grade"}}
    config = make_config(tmp_path, tables={"conversion": one, "other": two})
    config = config.model_copy(update={"targets": {**config.targets, "other": config.targets["conversion"]}})
    scores = pd.concat(
        [make_scores("r1", [("1", 0.1, "A", [])]), make_scores("r1", [("1", 0.9, "B", [])]).assign(target="other")]
    )
    with open_run(config, "r1") as ledger:
        report = write_back(config, ledger, scores, "r1")
    assert read_deals(tmp_path)[0] == (1, 0.1, "B", None)
    assert [table.fields for table in report.tables] == [1, 1]


def test_stored_values_of_any_kind_can_be_replaced(tmp_path: Path) -> None:
    make_crm(tmp_path, [(1, "Ann", "no number", b"\x00\xff", 5)])  # SQLite stores whatever it is given
    config = make_config(tmp_path)
    write(config, "r1", [("1", 0.1, "A", ["x"])])
    assert read_deals(tmp_path)[0] == (1, 0.1, "A", "x")
    assert [old for _, _, old, _, _ in states(config, "r1")] == [b"\x00\xff", "no number", "5"]


def test_a_password_never_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(tmp_path, url_env="CRM_URL", sqlite=None)
    for url in (
        "postgresql+psycopg://job:hunter2@crm.example/sales",
        "nothing://job:hunter2@crm.example",
        "hunter2 no url",
    ):
        monkeypatch.setenv("CRM_URL", url)
        with pytest.raises(ConfigError, match=r"Install it|Use one|Expected dial") as caught:
            write(config, "r1", [("1", 0.1, "A", [])])
        assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__} {caught.value.__suppress_context__}"
    assert b"hunter2" not in b"".join(path.read_bytes() for path in config.folder.iterdir())


def test_an_address_that_is_not_set_is_named(tmp_path: Path) -> None:
    config = make_config(tmp_path, url_env="LEADSIEVE_NOT_SET", sqlite=None)
    with open_run(config, "r1") as ledger, pytest.raises(ConfigError, match="variable LEADSIEVE_NOT_SET is not set"):
        write_back(config, ledger, make_scores("r1", [("1", 0.1, "A", [])]), "r1")


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_crm(other, EMPTY)
    monkeypatch.setenv("CRM_URL", f"sqlite:///{other / 'crm.db'}")
    write(make_config(tmp_path, url_env="CRM_URL"), "r1", [("1", 0.1, "A", ["x"])])
    assert read_deals(other)[0] == (1, 0.1, "A", "x")
    assert not (tmp_path / "crm.db").exists()


def test_a_crm_file_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(CrmError, match=r"crm\.db does not exist, so the CRM cannot be reached\. Check the path"):
        write(make_config(tmp_path), "r1", [("1", 0.1, "A", [])])
    assert not (tmp_path / "crm.db").exists()


def test_a_crm_file_that_is_no_database_is_a_crm_error(tmp_path: Path) -> None:
    (tmp_path / "crm.db").write_text("this is a text, and a long one, and no database at all")
    with pytest.raises(CrmError, match="reading its catalogue: file is not a database"):
        write(make_config(tmp_path), "r1", [("1", 0.1, "A", [])])


def test_the_crm_keeps_its_journal_mode(tmp_path: Path) -> None:
    make_crm(tmp_path, EMPTY)
    write(make_config(tmp_path), "r1", [("1", 0.1, "A", [])])
    with sqlite3.connect(tmp_path / "crm.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()
