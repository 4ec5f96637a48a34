"""Undo gives back what was there, except where somebody has edited since."""

from pathlib import Path
from typing import Any

import pytest
from crm_world import (
    make_config,
    make_crm,
    make_scores,
    open_run,
    read_deals,
    run_sql,
)

from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.write_report import WriteReport, read_status
from pipeline.writeback import undo_run, write_back

DEALS = [(1, "Ann", 77.5, "gold", None), (2, "Bob", None, None, "old words")]
BEFORE = [(1, 77.5, "gold", None), (2, None, None, "old words")]


def write(config: Config, run_id: str, probability: float, grade: str = "A") -> WriteReport:
    scores = make_scores(run_id, [("1", probability, grade, ["x"]), ("2", probability, grade, ["y"])])
    with open_run(config, run_id) as ledger:
        return write_back(config, ledger, scores, run_id)


def undo(config: Config, run_id: str) -> WriteReport:
    with open_run(config) as ledger:
        return undo_run(config, ledger, run_id)


@pytest.fixture
def config(crm_folder: Path) -> Config:
    make_crm(crm_folder, DEALS)
    return make_config(crm_folder)


def test_undo_restores_every_value_to_the_bit(crm_folder: Path, config: Config) -> None:
    write(config, "r1", 0.1)
    report = undo(config, "r1")
    assert read_deals(crm_folder) == BEFORE
    assert (report.run_id, report.records, report.tables[0].fields) == ("undo-r1", 2, 6)


def test_undo_twice_is_undo_once(crm_folder: Path, config: Config) -> None:
    write(config, "r1", 0.1)
    undo(config, "r1")
    report = undo(config, "r1")
    assert read_deals(crm_folder) == BEFORE
    assert (report.records, report.tables[0].unchanged) == (0, 6)


def test_undo_leaves_what_somebody_has_edited_since(crm_folder: Path, config: Config) -> None:
    write(config, "r1", 0.1)
    run_sql(crm_folder, "UPDATE deals SET grade = 'mine' WHERE deal_id = 1")
    report = undo(config, "r1")
    assert read_deals(crm_folder) == [(1, 77.5, "mine", None), BEFORE[1]]
    assert (report.tables[0].fields, report.tables[0].conflicts) == (5, 1)


def test_a_value_that_somebody_has_put_back_already_is_unchanged(crm_folder: Path, config: Config) -> None:
    write(config, "r1", 0.1)
    run_sql(crm_folder, "UPDATE deals SET grade = 'gold' WHERE deal_id = 1")
    report = undo(config, "r1")
    assert read_deals(crm_folder) == BEFORE
    assert (report.tables[0].unchanged, report.tables[0].conflicts) == (1, 0)


def test_what_a_later_run_has_written_is_left_to_the_undo_of_that_run(crm_folder: Path, config: Config) -> None:
    write(config, "r1", 0.1)
    write(config, "r2", 0.2)  # the score changes, grade and reasons do not
    report = undo(config, "r1")
    assert read_deals(crm_folder) == [(1, 0.2, "gold", None), (2, 0.2, None, "old words")]
    assert (report.tables[0].superseded, report.tables[0].fields) == (2, 4)


def test_runs_are_undone_one_after_the_other_from_the_newest(crm_folder: Path, config: Config) -> None:
    write(config, "r1", 0.1)
    write(config, "r2", 0.2, "B")
    undo(config, "r2")
    assert read_deals(crm_folder) == [(1, 0.1, "A", "x"), (2, 0.1, "A", "y")]
    undo(config, "r1")
    assert read_deals(crm_folder) == BEFORE


def test_after_an_undo_the_next_run_writes_again(crm_folder: Path, config: Config) -> None:
    for run_id in ("r1", "r2", "r1"):  # another run, and the same one again
        report = write(config, run_id, 0.1)
        assert (report.records, report.tables[0].conflicts) == (2, 0)
        undo(config, run_id)
        assert read_deals(crm_folder) == BEFORE


def test_a_record_that_is_gone_is_missing(crm_folder: Path, config: Config) -> None:
    write(config, "r1", 0.1)
    run_sql(crm_folder, "DELETE FROM deals WHERE deal_id = 1")
    report = undo(config, "r1")
    assert read_deals(crm_folder) == BEFORE[1:]
    assert (report.records, report.tables[0].missing) == (1, 1)


def test_rows_that_a_run_added_are_removed_unless_edited(crm_folder: Path) -> None:
    make_crm(crm_folder, DEALS[:1])  # deal 2 is added by the run
    config = make_config(crm_folder, insert_missing=True)
    write(config, "r1", 0.1)
    run_sql(crm_folder, "UPDATE deals SET why = 'mine' WHERE deal_id = 2")
    undo(config, "r1")
    assert read_deals(crm_folder) == [BEFORE[0], (2, None, None, "mine")]  # a row with an edit is not removed
    run_sql(crm_folder, "DELETE FROM deals WHERE deal_id = 2")
    write(config, "r2", 0.2)
    report = undo(config, "r2")
    assert read_deals(crm_folder) == BEFORE[:1]
    assert report.tables[0].removed == 1


def test_a_run_that_wrote_nothing_has_nothing_to_undo(crm_folder: Path, config: Config) -> None:
    write(config, "r1", 0.1)
    write(config, "r2", 0.1)
    assert undo(config, "r2").records == 0


def test_status_counts_what_every_run_did(crm_folder: Path, config: Config) -> None:
    write(config, "r1", 0.1)
    run_sql(crm_folder, "UPDATE deals SET grade = 'mine' WHERE deal_id = 1")
    write(config, "r2", 0.2, "B")
    undo(config, "r2")
    with open_run(config) as ledger:
        found = {(s.run_id, s.kind): (s.outstanding, s.done, s.conflict) for s in read_status(ledger)}
        assert [status.run_id for status in read_status(ledger, "r1")] == ["r1"]
    assert found == {("undo-r2", "undo"): (0, 3, 0), ("r2", "score"): (0, 3, 1), ("r1", "score"): (0, 6, 0)}


@pytest.mark.parametrize(
    ("run_id", "message"),
    [
        ("r9", r"Run 'r9' is not in the ledger, so it cannot be undone\. The ledger has no scores"),
        ("undo-r1", r"An undo cannot be undone\. Write run 'r1' again: `leadsieve writeback apply --run r1`"),
    ],
)
def test_what_cannot_be_undone_says_why(config: Config, run_id: str, message: str) -> None:
    write(config, "r1", 0.1)
    with pytest.raises(ConfigError, match=message):
        undo(config, run_id)


def test_a_run_on_a_table_that_the_config_no_longer_names_is_refused(crm_folder: Path, config: Config) -> None:
    write(config, "r1", 0.1)
    mapping: dict[str, Any] = {"target": "others", "key": "deal_id", "fields": {"score": "probability"}}
    with pytest.raises(ConfigError, match=r"'r1' wrote table 'deals', which write_back\.tables does not name\. Add it"):
        undo(make_config(crm_folder, tables={"conversion": mapping}), "r1")
