"""Every score of a run is in the history table once, the CRM's own records are not touched, and an undo is exact."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from crm_world import CRM_URL, SERVED, make_config, make_crm, make_scores, open_run, run_sql
from fuse import Fuse, Killed
from postgres_server import Database
from sqlalchemy import event

from pipeline.adapters.history_rows import make_rows
from pipeline.adapters.sql_history import SqlHistory
from pipeline.config import Config, TableMapping
from pipeline.crm import open_crm
from pipeline.database import make_engine
from pipeline.errors import ConfigError, CrmError, PassingCrmError
from pipeline.extract import extract
from pipeline.score_history import HistoryReport, add_history, plan_history, remove_history
from pipeline.writeback import write_back

ROWS = """SELECT run_id, target, horizon_days, entity_id, probability, grade, model_version
    FROM leadsieve_scores ORDER BY 1, 2, 3, 4"""


def make_world(folder: Path, **history: Any) -> Config:
    make_crm(folder, [(1, "Ann", None, None, None), (2, "Bob", None, None, None)])
    return make_deployment(folder, **history)


def make_deployment(folder: Path, **history: Any) -> Config:
    return make_config(folder, tables={}, history=history)


def make_all(run_id: str) -> pd.DataFrame:
    """Two deals for two horizons, of which the further one has no grade and no reasons, and a customer."""
    deals = make_scores(run_id, [("1", 1 / 3, "A", ["2 calls", 'said "no, thanks"\n\\N']), ("2", None, "D", [])])
    further = deals.assign(horizon_days=30, probability=[0.125, 0.5], grade=None, reasons="[]")
    churn = make_scores(run_id, [("K1", 0.75, "C", ["逾期"])]).assign(target="churn", model_version=None)
    return pd.concat([deals, further.astype({"grade": "str"}), churn], ignore_index=True)


def add(config: Config, run_id: str, scores: pd.DataFrame | None = None) -> HistoryReport:
    with open_run(config, run_id) as ledger, open_crm(config) as crm:
        assert crm.history is not None
        wanted = make_all(run_id) if scores is None else scores
        return add_history(config, ledger, crm.history, plan_history(config, crm.history, wanted, run_id))


def remove(config: Config, run_id: str) -> HistoryReport:
    with open_run(config) as ledger, open_crm(config) as crm:
        assert crm.history is not None
        return remove_history(ledger, crm.history, run_id)


ALL = [
    ("churn", 90, "K1", 0.75, "C", None),
    ("conversion", 30, "1", 0.125, None, "3"),
    ("conversion", 30, "2", 0.5, None, "3"),
    ("conversion", 90, "1", 1 / 3, "A", "3"),  # to the bit: nothing is rounded
    ("conversion", 90, "2", None, "D", "3"),
]


def test_every_score_of_all_targets_and_horizons_is_a_row(crm_folder: Path) -> None:
    config = make_world(crm_folder)
    assert add(config, "r1") == HistoryReport(added=5)
    assert run_sql(crm_folder, ROWS) == [("r1", *row) for row in ALL]
    texts = "SELECT as_of, reasons_en, reasons_zh FROM leadsieve_scores WHERE horizon_days = 90"
    rows = [(str(as_of), *reasons) for as_of, *reasons in run_sql(crm_folder, f"{texts} ORDER BY target, entity_id")]
    assert rows == [
        ("2024-05-01 00:00:00", "逾期", "原因"),
        ("2024-05-01 00:00:00", '2 calls; said "no, thanks"\n\\N', "原因; 原因"),
        ("2024-05-01 00:00:00", "", ""),
    ]


def test_a_target_of_value_has_a_value_in_place_of_a_probability(crm_folder: Path) -> None:
    scores = make_scores("r1", [("K1", None, "A", [])]).assign(target="worth", value=1234.5)
    add(make_world(crm_folder), "r1", scores)
    assert run_sql(crm_folder, "SELECT target, probability, value FROM leadsieve_scores") == [("worth", None, 1234.5)]


def test_twice_is_once_and_another_run_is_another_row(crm_folder: Path) -> None:
    config = make_world(crm_folder)
    add(config, "r1")
    assert add(config, "r1") == HistoryReport(unchanged=5)
    assert add(config, "r2") == HistoryReport(added=5)
    assert run_sql(crm_folder, ROWS) == [(run, *row) for run in ("r1", "r2") for row in ALL]


def test_an_undo_removes_exactly_the_rows_of_its_run(crm_folder: Path) -> None:
    config = make_world(crm_folder)
    for run_id in ("r1", "r11", "r2"):
        add(config, run_id)
    assert [remove(config, "r1").removed, remove(config, "r1").removed] == [5, 0]
    assert run_sql(crm_folder, ROWS) == [(run, *row) for run in ("r11", "r2") for row in ALL]
    assert add(config, "r1") == HistoryReport(added=5)  # written again after the undo


def test_the_database_keeps_a_row_from_being_there_twice(crm_folder: Path) -> None:
    add(make_world(crm_folder), "r1")
    with pytest.raises(Exception, match=r"(?i)unique"):
        run_sql(crm_folder, "INSERT INTO leadsieve_scores SELECT * FROM leadsieve_scores")


def test_a_plan_has_what_is_missing_and_writes_nothing(tmp_path: Path) -> None:
    config = make_world(tmp_path)
    with open_crm(config) as crm:
        assert crm.history is not None
        assert len(plan_history(config, crm.history, make_all("r1"), "r1").missing) == 5
        assert run_sql(tmp_path, "SELECT count(*) FROM sqlite_master WHERE name = 'leadsieve_scores'") == [(0,)]
        add(config, "r1", make_all("r1").iloc[:2])
        plan = plan_history(config, crm.history, make_all("r1"), "r1")
    assert (plan.missing.index.tolist(), plan.unchanged) == ([2, 3, 4], 2)
    assert len(run_sql(tmp_path, ROWS)) == 2


LEDGER_STEPS, CRM_STEPS = ("begin", "finish"), ("history_keys", "add_history", "remove_history")
ADDING = 2 * len(("keys", "begin", *5 * ("add",), "finish"))
REMOVING = 2 * len(("begin", "remove", "finish"))


def guarded(config: Config, fuse: Fuse, removing: bool) -> None:
    with open_run(config, "r1") as ledger, open_crm(config) as crm:
        assert crm.history is not None
        inner: Any = crm.history.history
        fuse.guard(ledger.history, LEDGER_STEPS)
        fuse.guard(inner, CRM_STEPS)
        if removing:
            remove_history(ledger, inner, "r1")
        else:
            add_history(config, ledger, inner, plan_history(config, inner, make_all("r1"), "r1"), max_batch=1)


def test_killed_before_or_after_any_step_the_next_night_finishes_it_and_every_row_is_there_once(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.mkdir()
    with open_run(make_world(template), "r1") as ledger:
        ledger.replace_scores("r1", make_all("r1"))
    for moment in range(ADDING + 1):
        folder = tmp_path / str(moment)
        shutil.copytree(template, folder)
        config = make_deployment(folder)
        fuse = Fuse(moment)
        with pytest.raises(Killed, match="fuse") if moment < ADDING else contextlib.nullcontext():
            guarded(config, fuse, removing=False)
        add(config, "r2")
        runs = ("r1", "r2") if moment > 2 else ("r2",)  # killed before it was noted, the run never began
        assert run_sql(folder, ROWS) == [(run, *row) for run in runs for row in ALL], moment
        with open_run(config) as ledger:
            assert set(ledger.history.states().values()) == {("done", 5)}, moment
    assert fuse.left == 0  # there are no more moments than were tried


def test_killed_before_or_after_any_step_an_undo_is_continued_and_exact(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.mkdir()
    for run_id in ("r1", "r2"):
        add(make_world(template) if run_id == "r1" else make_deployment(template), run_id)
    for moment in range(REMOVING + 1):
        folder = tmp_path / str(moment)
        shutil.copytree(template, folder)
        config = make_deployment(folder)
        fuse = Fuse(moment)
        with pytest.raises(Killed, match="fuse") if moment < REMOVING else contextlib.nullcontext():
            guarded(config, fuse, removing=True)
        remove(config, "r1")
        assert run_sql(folder, ROWS) == [("r2", *row) for row in ALL], moment
    assert fuse.left == 0


def test_a_spent_budget_ends_between_batches_and_the_next_night_goes_on(tmp_path: Path) -> None:
    config = make_world(tmp_path)
    assert config.write_back is not None
    poor = config.model_copy(update={"write_back": config.write_back.model_copy(update={"max_requests": 3})})
    with open_run(poor, "r1") as ledger, open_crm(poor) as crm:
        assert crm.history is not None
        ledger.replace_scores("r1", make_all("r1"))
        plan = plan_history(poor, crm.history, make_all("r1"), "r1")
        report = add_history(poor, ledger, crm.history, plan, max_batch=2)
        assert report == HistoryReport(added=4, waiting=1)  # one request for the keys, two batches
        assert ledger.history.unfinished() == ["r1"]
    assert add(config, "r2") == HistoryReport(added=5, earlier=1)
    assert run_sql(tmp_path, ROWS) == [(run, *row) for run in ("r1", "r2") for row in ALL]


DATED = """CREATE TABLE deals (deal_id INTEGER PRIMARY KEY, name TEXT, score TEXT,
    created_at TEXT DEFAULT '2024-01-01', modified_at TEXT DEFAULT '2024-01-01')"""
TOUCH = """CREATE TRIGGER touch AFTER UPDATE OF score ON deals
    BEGIN UPDATE deals SET modified_at = datetime('now') WHERE deal_id = new.deal_id; END"""


@pytest.mark.parametrize(("fields", "read_again"), [({}, 0), ({"score": "grade"}, 2)])
def test_an_incremental_extract_is_woken_by_fields_and_not_by_history(
    tmp_path: Path, fields: dict[str, str], read_again: int
) -> None:
    run_sql(tmp_path, DATED)
    for deal in (1, 2):
        run_sql(tmp_path, "INSERT INTO deals (deal_id, name) VALUES (?, 'n')", (deal,))
    run_sql(tmp_path, TOUCH)  # as CRMs do
    mapping = {"target": "deals", "key": "deal_id", "fields": fields}
    config = make_config(tmp_path, tables={"conversion": mapping} if fields else {}, history={})
    select = "SELECT deal_id, created_at, modified_at, NULL AS closed_at, NULL AS outcome FROM deals"
    query = {"select": select, "modified_at": "modified_at"}
    tables = {"deals": TableMapping.model_validate({**query, "static": []})}
    config = config.model_copy(update={"tables": tables})
    assert [one.rows_read for one in extract(config).tables if one.name == "deals"] == [2]
    deals = make_all("r1")
    with open_run(config, "r1") as ledger:
        write_back(config, ledger, deals[deals["target"] == "conversion"], "r1")
    assert len(run_sql(tmp_path, ROWS)) == 4
    assert [one.rows_read for one in extract(config).tables if one.name == "deals"] == [read_again]


def test_a_table_of_the_crm_is_not_taken_for_one_of_ours(crm_folder: Path) -> None:
    config = make_world(crm_folder, table="deals")
    with pytest.raises(ConfigError, match=r"history\.table: table 'deals' of .* has no column 'run_id', so it is not"):
        add(config, "r1")


def test_a_name_that_needs_quotes_is_quoted(crm_folder: Path) -> None:
    name = 'sco"res; DROP TABLE deals'
    add(make_world(crm_folder, table=name), "r1")
    quoted = '"sco""res; DROP TABLE deals"'
    assert run_sql(crm_folder, f"SELECT count(*) FROM {quoted}") == [(5,)]
    assert run_sql(crm_folder, "SELECT count(*) FROM deals") == [(2,)]


def test_a_database_that_is_not_there_is_no_new_one(tmp_path: Path) -> None:
    config = make_config(tmp_path, tables={}, history={})
    with pytest.raises(CrmError, match=r"crm\.db does not exist, so the CRM cannot be reached"):
        add(config, "r1")
    assert not (tmp_path / "crm.db").exists()


def test_a_connection_that_dies_in_a_copy_is_no_defect_and_the_next_try_adds_every_row(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CRM_URL, postgres.url)
    monkeypatch.setitem(SERVED, tmp_path, postgres)
    engine = make_engine(postgres.url)
    history, rows = SqlHistory(engine, "leadsieve_scores"), make_rows(make_all("r1"), "r1")
    history.install()
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    moments = iter(["now"])

    def cut(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("COPY") and next(moments, None):
            postgres.execute(f"SELECT pg_terminate_backend(pid) {others}")

    event.listen(engine, "before_cursor_execute", cut)
    with pytest.raises(PassingCrmError, match=r"failed while adding to the history of scores: .* Nothing is lost"):
        history.add_history(rows)
    assert run_sql(tmp_path, ROWS) == []
    history.add_history(rows)
    assert len(run_sql(tmp_path, ROWS)) == 5
    engine.dispose()


def test_ids_of_any_text_are_found_again(crm_folder: Path) -> None:
    odd = ["a/b", 'say "x"', "back\\slash", "two\nlines", "客户一", "😀", " ", "\x01", "{1,2}", "NULL", "null"]
    scores = make_scores("r1", [(one, 0.5, "A", []) for one in odd])
    config = make_world(crm_folder)
    assert add(config, "r1", scores) == HistoryReport(added=len(odd))
    assert add(config, "r1", scores) == HistoryReport(unchanged=len(odd))
    stored = run_sql(crm_folder, "SELECT entity_id FROM leadsieve_scores")
    assert {one for (one,) in stored} == set(odd)
