"""The kill test itself: it passes on a job that resumes, and sees what it is there to see."""

import re
import sys
from pathlib import Path

import kill_run
import pytest
from crm_world import make_config, make_crm, make_scores, open_run, run_sql
from kill_run import World, hash_tables, run_trials

from pipeline.writeback import write_back

DEALS = [(1, "Ann", 0.5, "A", None), (2, "Bob", None, None, None)]


def test_a_job_killed_at_random_ends_like_an_unkilled_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert kill_run.main(["--kills", "2", "--seed", "3", "--deals", "60"]) == 0
    told = capsys.readouterr().out
    assert "180 values written" in told
    assert re.search(r"(\d+) of \1 equal to the unkilled run", told)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE deals SET score = 0.50001 WHERE deal_id = 1",
        "UPDATE deals SET grade = '' WHERE deal_id = 2",  # empty is not null
        "DELETE FROM deals WHERE deal_id = 2",
        "ALTER TABLE deals ADD COLUMN extra TEXT",
        "CREATE TABLE another (a TEXT)",
    ],
)
def test_the_hash_sees_every_change(tmp_path: Path, change: str) -> None:
    make_crm(tmp_path, DEALS)
    before = hash_tables(tmp_path / "crm.db")
    run_sql(tmp_path, change)
    assert hash_tables(tmp_path / "crm.db") != before


def test_the_hash_does_not_see_the_order_of_rows(tmp_path: Path) -> None:
    make_crm(tmp_path, DEALS)
    before = hash_tables(tmp_path / "crm.db")
    run_sql(tmp_path, "DELETE FROM deals WHERE deal_id = 1")
    run_sql(tmp_path, "INSERT INTO deals VALUES (?, ?, ?, ?, ?)", DEALS[0])
    assert hash_tables(tmp_path / "crm.db") == before


CARELESS = """
import sqlite3
crm, ledger = sqlite3.connect("crm.db"), sqlite3.connect("ledger.db")
crm.execute("CREATE TABLE IF NOT EXISTS runs (n INTEGER)")
crm.execute("INSERT INTO runs VALUES (1)")
one = "SELECT 't' AS table_name, '1' AS record_id, 'f' AS field, 'x' AS new, 'done' AS state"
ledger.execute(f"CREATE TABLE IF NOT EXISTS writes AS {one}")
crm.commit(), ledger.commit()
"""


def make_world(folder: Path, program: str) -> World:
    folder.mkdir()
    make_crm(folder, DEALS)
    return World(folder, Path("crm.db"), Path("ledger.db"), (sys.executable, "-c", program))


def test_a_job_that_does_something_again_is_caught(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_trials(make_world(tmp_path / "world", CARELESS), 0, 0, tmp_path) == 1
    assert "A second unkilled run has written something" in capsys.readouterr().out


def test_a_job_that_writes_nothing_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has written nothing, so killing it would show nothing"):
        run_trials(make_world(tmp_path / "world", "pass"), 1, 0, tmp_path)


def test_a_job_that_fails_stops_the_test(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="ended with exit code 1: no bundle"):
        run_trials(make_world(tmp_path / "world", "raise SystemExit('no bundle')"), 1, 0, tmp_path)


def test_a_world_is_copied_from_a_config_and_its_scores_are_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("configs/cards", "demo/tables", "world"):
        Path(name).mkdir(parents=True)
    make_crm(Path(), DEALS)
    before = hash_tables(Path("crm.db"))
    config = make_config(Path())
    for file in ("configs/cards/one.yaml", "demo/tables/manifest.json", "demo/champion.txt"):
        Path(file).write_text("here")
    Path("configs/demo.yaml").write_text(config.model_dump_json())
    with open_run(config, "r1") as ledger:
        scores = make_scores("r1", [("1", 0.1, "B", ["x"])])
        ledger.replace_scores("r1", scores)
        write_back(config, ledger, scores, "r1")
    world = kill_run.prepare_config(Path("configs/demo.yaml"), Path("world"))
    copied = {str(path.relative_to("world")) for path in Path("world").rglob("*") if path.is_file()}
    expected = {"configs/cards/one.yaml", "configs/demo.yaml", "crm.db", "demo/ledger.db", "demo/champion.txt"}
    assert copied - {"demo/ledger.db-wal", "demo/ledger.db-shm"} == expected
    assert (world.crm, world.ledger) == (Path("crm.db"), Path("demo/ledger.db"))
    assert hash_tables(Path("world/crm.db")) == before != hash_tables(Path("crm.db"))
    assert kill_run.count_writes(world, world.folder) == 0
