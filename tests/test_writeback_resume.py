"""Stopped at any point, the write-back is continued by running it again: nothing lost, nothing twice."""

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from crm_world import DEALS, make_config, make_crm, make_scores, open_run, read_deals, run_sql
from fuse import Fuse, Killed

from pipeline.adapters.patient import TRIES
from pipeline.adapters.sql_target import SqlTarget
from pipeline.adapters.target import RecordResult, TargetTable, WriteBatch
from pipeline.config import Config
from pipeline.crm import make_crm as make_crm_of
from pipeline.database import make_engine
from pipeline.errors import CrmError, PassingCrmError
from pipeline.ledger import Ledger
from pipeline.undo_plan import make_undo_plan
from pipeline.write_batches import AHEAD_FROM
from pipeline.write_plan import make_plan
from pipeline.writeback import apply_plan, undo_run, write_back

DEAL_IDS = (1, 2, 3)
OLD = [(deal, "n", 0.9 if deal == 2 else None, None, None) for deal in DEAL_IDS]
WRITTEN = [(1, 0.3, "A", "reason 1"), (2, 0.2, "A", "reason 2"), (3, 0.1, "A", "reason 3")]
SCORES = [(str(deal), score, grade, [why]) for deal, score, grade, why in WRITTEN]  # the best first, as they are sent

LEDGER_STEPS = ("store_plan", "intend", "settle", "resolve")
CRM_STEPS = ("read_fields", "write_batch")
BEFORE_SENDING = ("read_fields", "store_plan")
FIRST_BATCH = ("intend", "write_batch", "settle")
ALL_MOMENTS = 2 * (len(BEFORE_SENDING) + len(DEAL_IDS) * len(FIRST_BATCH) + len(("read_fields", "resolve")))
"""Before and after every step of a write-back in three batches, which ends with reading back."""

INTENDED = 2 * len(BEFORE_SENDING) + 2
"""The ledger has just noted that deal 1, the first batch, is going to be sent."""


MakeWorld = Callable[[Path], Config]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three deals, one batch each; every value that changes in the CRM is logged by the CRM."""
    folder = tmp_path_factory.mktemp("template")
    make_crm(folder, OLD)
    run_sql(folder, "CREATE TABLE log (deal_id INTEGER, field TEXT)")
    for field in ("score", "grade", "why"):
        run_sql(
            folder,
            f"CREATE TRIGGER log_{field} AFTER UPDATE OF {field} ON deals WHEN old.{field} IS NOT new.{field} "
            f"BEGIN INSERT INTO log VALUES (new.deal_id, '{field}'); END",
        )
    open_run(make_config(folder)).close()
    return folder


@pytest.fixture
def make_world(template: Path) -> MakeWorld:
    def copy(folder: Path) -> Config:
        shutil.copytree(template, folder)
        return make_config(folder, batch_rows=1)

    return copy


def effective_writes(folder: Path) -> list[tuple[int, str]]:
    return sorted(run_sql(folder, "SELECT deal_id, field FROM log"))


def guarded_run(config: Config, run_id: str, undo: bool, fuse: Fuse) -> None:
    """Write scores, or take them back, until the fuse blows."""
    with open_run(config, run_id, f"undo-{run_id}") as ledger:
        target = SqlTarget(make_engine(config.folder.parent / "crm.db"))
        fuse.guard(ledger.writes, LEDGER_STEPS)
        fuse.guard(target, CRM_STEPS)
        crm = make_crm_of(target)
        if undo:
            plan = make_undo_plan(config, ledger, crm, run_id)
        else:
            plan = make_plan(config, ledger, crm, make_scores(run_id, SCORES), run_id)
        apply_plan(config, ledger, crm, plan)


def done_fields(ledger: Ledger, *run_ids: str) -> list[tuple[str, str]]:
    writes = [write for run_id in run_ids for write in ledger.writes.of_run(run_id, ["done"])]
    return sorted((write.record_id, write.field) for write in writes)


EVERY_FIELD = sorted((deal, field) for deal in DEAL_IDS for field in ("score", "grade", "why"))
EVERY_LEDGER_FIELD = [(str(deal), field) for deal, field in EVERY_FIELD]


@pytest.mark.parametrize("again", ["r1", "r2"])  # the same run continued, or the run of the next night
def test_killed_before_or_after_any_step_a_rerun_writes_every_value_once(
    tmp_path: Path, make_world: MakeWorld, again: str
) -> None:
    for moment in range(ALL_MOMENTS):
        folder = tmp_path / str(moment)
        config = make_world(folder)
        with pytest.raises(Killed, match="fuse"):
            guarded_run(config, "r1", undo=False, fuse=Fuse(moment))
        with open_run(config, again) as ledger:
            write_back(config, ledger, make_scores(again, SCORES), again)
            assert ledger.writes.outstanding() == []
            assert done_fields(ledger, *{"r1", again}) == EVERY_LEDGER_FIELD, f"moment {moment}"
        assert read_deals(folder) == WRITTEN
        assert effective_writes(folder) == EVERY_FIELD, f"moment {moment}"


def test_without_a_kill_there_are_no_more_moments_than_were_tried(tmp_path: Path, make_world: MakeWorld) -> None:
    fuse = Fuse(ALL_MOMENTS)
    guarded_run(make_world(tmp_path / "world"), "r1", undo=False, fuse=fuse)
    assert fuse.left == 0


def test_killed_before_or_after_any_step_an_undo_is_continued_and_exact(tmp_path: Path, make_world: MakeWorld) -> None:
    for moment in range(ALL_MOMENTS):
        folder = tmp_path / str(moment)
        config = make_world(folder)
        guarded_run(config, "r1", undo=False, fuse=Fuse(None))
        with pytest.raises(Killed, match="fuse"):
            guarded_run(config, "r1", undo=True, fuse=Fuse(moment))
        with open_run(config) as ledger:
            undo_run(config, ledger, "r1")
            assert ledger.writes.outstanding() == []
            assert done_fields(ledger, "undo-r1") == EVERY_LEDGER_FIELD, f"moment {moment}"
        assert read_deals(folder) == [(deal, score, grade, why) for deal, _, score, grade, why in OLD]
        assert effective_writes(folder) == sorted(EVERY_FIELD * 2), f"moment {moment}"


def test_a_run_that_was_killed_anywhere_can_be_undone_without_finishing_it(
    tmp_path: Path, make_world: MakeWorld
) -> None:
    for moment in range(INTENDED - 2, ALL_MOMENTS):  # from the stored plan on
        folder = tmp_path / str(moment)
        config = make_world(folder)
        with pytest.raises(Killed, match="fuse"):
            guarded_run(config, "r1", undo=False, fuse=Fuse(moment))
        with open_run(config) as ledger:
            undo_run(config, ledger, "r1")
            assert [write for write in ledger.writes.outstanding() if write.state == "intended"] == []
        assert read_deals(folder) == [(deal, score, grade, why) for deal, _, score, grade, why in OLD], moment


def test_killed_three_times_in_a_row_it_still_ends_with_every_value_once(tmp_path: Path, make_world: MakeWorld) -> None:
    config = make_world(tmp_path / "world")
    for moment in (INTENDED + 3, INTENDED + 1, INTENDED + 4):  # each time a little further
        with pytest.raises(Killed, match="fuse"):
            guarded_run(config, "r1", undo=False, fuse=Fuse(moment))
    guarded_run(config, "r1", undo=False, fuse=Fuse(None))
    assert read_deals(tmp_path / "world") == WRITTEN
    assert effective_writes(tmp_path / "world") == EVERY_FIELD
    with open_run(config) as ledger:
        assert {write.attempts for write in ledger.writes.of_run("r1")} <= {1, 2}


def test_an_edit_after_the_kill_is_a_conflict_and_stays(tmp_path: Path, make_world: MakeWorld) -> None:
    folder = tmp_path / "world"
    config = make_world(folder)
    with pytest.raises(Killed, match="fuse"):  # the CRM has committed deal 1, the ledger does not know
        guarded_run(config, "r1", undo=False, fuse=Fuse(INTENDED + 1))
    assert read_deals(folder)[0] == WRITTEN[0]
    run_sql(folder, "UPDATE deals SET grade = 'mine' WHERE deal_id = 1")
    with open_run(config, "r2") as ledger:
        report = write_back(config, ledger, make_scores("r2", SCORES), "r2")
        interrupted = {
            write.field: (write.state, write.error) for write in ledger.writes.of_run("r1") if write.attempts
        }
    assert interrupted == {
        "score": ("done", None),
        "why": ("done", None),
        "grade": ("conflict", "expected None, found 'mine'"),
    }
    assert read_deals(folder) == [(1, 0.3, "mine", "reason 1"), *WRITTEN[1:]]
    assert report.tables[0].conflicts == 1


def test_an_edit_after_a_kill_stays_wherever_the_next_job_is_killed_too(tmp_path: Path, make_world: MakeWorld) -> None:
    for moment in range(ALL_MOMENTS - 2 * len(FIRST_BATCH)):  # two batches are left to the second job
        folder = tmp_path / str(moment)
        config = make_world(folder)
        with pytest.raises(Killed, match="fuse"):
            guarded_run(config, "r1", undo=False, fuse=Fuse(INTENDED + 1))
        run_sql(folder, "UPDATE deals SET grade = 'mine' WHERE deal_id = 1")
        open_run(config, "r2", "r3").close()
        with pytest.raises(Killed, match="fuse"):
            guarded_run(config, "r2", undo=False, fuse=Fuse(moment))
        guarded_run(config, "r3", undo=False, fuse=Fuse(None))
        assert read_deals(folder) == [(1, 0.3, "mine", "reason 1"), *WRITTEN[1:]], f"moment {moment}"


def test_a_record_that_is_deleted_after_the_kill_is_missing(tmp_path: Path, make_world: MakeWorld) -> None:
    config = make_world(tmp_path / "world")
    with pytest.raises(Killed, match="fuse"):
        guarded_run(config, "r1", undo=False, fuse=Fuse(INTENDED))
    run_sql(tmp_path / "world", "DELETE FROM deals WHERE deal_id = 1")
    with open_run(config, "r2") as ledger:
        report = write_back(config, ledger, make_scores("r2", SCORES), "r2")
        assert {w.state for w in ledger.writes.of_run("r1") if w.record_id == "1"} == {"missing"}
    assert (report.records, report.tables[0].missing) == (2, 1)


@pytest.mark.parametrize("moment", range(ALL_MOMENTS + 2))
def test_killed_anywhere_rows_of_our_own_table_are_added_once_and_removed_by_undo(tmp_path: Path, moment: int) -> None:
    mapping = {"target": "ours", "key": "id", "fields": {"p": "probability", "g": "grade"}}
    config = make_config(tmp_path, tables={"conversion": mapping}, insert_missing=True, batch_rows=1)

    def run(ledger: Ledger, fuse: Fuse) -> None:
        own = {TargetTable("ours", "id"): {"p": "number", "g": "text"}}
        target = SqlTarget(make_engine(tmp_path / "crm.db"), own)  # type: ignore[arg-type]
        fuse.guard(target, CRM_STEPS)
        fuse.guard(ledger.writes, LEDGER_STEPS)
        crm = make_crm_of(target)
        apply_plan(config, ledger, crm, make_plan(config, ledger, crm, make_scores("r1", SCORES), "r1"))

    with open_run(config, "r1") as ledger, contextlib.suppress(Killed):
        run(ledger, Fuse(moment))
    with open_run(config, "r2") as ledger:
        write_back(config, ledger, make_scores("r2", SCORES), "r2")
        assert run_sql(tmp_path, "SELECT id, p, g FROM ours ORDER BY id") == [
            (str(deal), score, grade) for deal, score, grade, _ in WRITTEN
        ]
        for run_id in ("r2", "r1"):
            undo_run(config, ledger, run_id)
    assert run_sql(tmp_path, "SELECT * FROM ours") == []


class Lossy(SqlTarget):
    """Commits, and then the connection drops."""

    error: CrmError = CrmError("the connection dropped")
    drops = 1

    def write_batch(self, batch: WriteBatch) -> list[RecordResult]:
        results = super().write_batch(batch)
        if self.drops:
            self.drops -= 1
            raise self.error
        return results


def test_a_crm_that_fails_after_its_commit_loses_nothing_and_writes_nothing_twice(
    tmp_path: Path, make_world: MakeWorld
) -> None:
    folder = tmp_path / "world"
    config = make_world(folder)
    with open_run(config, "r1") as ledger:
        crm = make_crm_of(Lossy(make_engine(folder / "crm.db")))
        for expected_left in (3, 0):
            plan = make_plan(config, ledger, crm, make_scores("r1", SCORES), "r1")
            if expected_left:
                with pytest.raises(CrmError, match="the connection dropped"):
                    apply_plan(config, ledger, crm, plan)
            else:
                apply_plan(config, ledger, crm, plan)
            assert sum(write.state == "intended" for write in ledger.writes.outstanding()) == expected_left
    assert read_deals(folder) == WRITTEN
    assert effective_writes(folder) == EVERY_FIELD


def test_a_batch_that_timed_out_after_its_commit_is_sent_again_and_written_once(
    tmp_path: Path, make_world: MakeWorld
) -> None:
    folder = tmp_path / "world"
    config = make_world(folder)
    waits: list[float] = []
    target = Lossy(make_engine(folder / "crm.db"))
    target.error, target.drops = PassingCrmError("time-out"), 2
    with open_run(config, "r1") as ledger:
        crm = make_crm_of(target, wait=waits.append)
        plan = make_plan(config, ledger, crm, make_scores("r1", SCORES), "r1")
        assert apply_plan(config, ledger, crm, plan).tables[0].fields == 9
    assert len(waits) == 2
    assert read_deals(folder) == WRITTEN
    assert effective_writes(folder) == EVERY_FIELD


def test_many_batches_are_noted_ahead_and_a_failure_among_them_is_continued(tmp_path: Path) -> None:
    deals = range(1, 3 * AHEAD_FROM)
    make_crm(tmp_path, [(deal, "n", None, None, None) for deal in deals])
    config = make_config(tmp_path, batch_rows=1)
    rows = [(str(deal), deal / 100, "A", ["x"]) for deal in deals]

    class Failing(SqlTarget):
        left = AHEAD_FROM + 2

        def write_batch(self, batch: WriteBatch) -> list[RecordResult]:
            states = {w.record_id: w.state for w in ledger.writes.outstanding("r1")}
            assert states[batch.ids[0]] == "intended"  # on disk before it is sent
            self.left -= 1
            if not self.left:
                raise CrmError("the CRM is gone")
            return super().write_batch(batch)

    with open_run(config, "r1") as ledger:
        crm = make_crm_of(Failing(make_engine(tmp_path / "crm.db")))
        plan = make_plan(config, ledger, crm, make_scores("r1", rows), "r1")
        with pytest.raises(CrmError, match="the CRM is gone"):
            apply_plan(config, ledger, crm, plan)
        assert len({write.record_id for write in ledger.writes.of_run("r1", ["done"])}) == AHEAD_FROM + 1
        report = write_back(config, ledger, make_scores("r1", rows), "r1")
        assert report.records == len(deals) - (AHEAD_FROM + 1)
        assert ledger.writes.outstanding() == []
    assert read_deals(tmp_path) == [(deal, deal / 100, "A", "x") for deal in deals]


class Busy(SqlTarget):
    """Does not take record 2 today."""

    def write_batch(self, batch: WriteBatch) -> list[RecordResult]:
        if batch.ids == ["2"]:
            return [RecordResult("2", "retry", "busy")]
        return super().write_batch(batch)


def test_what_the_crm_did_not_take_yet_is_outstanding_and_written_by_the_next_run(
    tmp_path: Path, make_world: MakeWorld
) -> None:
    folder = tmp_path / "world"
    config = make_world(folder)
    with open_run(config, "r1") as ledger:
        crm = make_crm_of(Busy(make_engine(folder / "crm.db")))
        report = apply_plan(config, ledger, crm, make_plan(config, ledger, crm, make_scores("r1", SCORES), "r1"))
        assert sorted(write.field for write in ledger.writes.outstanding()) == ["grade", "score", "why"]
        with pytest.raises(CrmError, match=r"refused 0 values and has yet to take 3 of run 'r1'"):
            report.check()
        write_back(config, ledger, make_scores("r1", SCORES), "r1").check()
    assert read_deals(folder) == WRITTEN
    assert effective_writes(folder) == EVERY_FIELD


def locked(folder: Path) -> sqlite3.Connection:
    """Another program that has the CRM's database to itself."""
    other = sqlite3.connect(folder / "crm.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other


def test_a_locked_database_is_waited_for_a_few_times_and_then_it_is_an_error(
    tmp_path: Path, make_world: MakeWorld
) -> None:
    folder = tmp_path / "world"
    config = make_world(folder)
    waited: list[float] = []
    with open_run(config, "r1") as ledger:
        crm = make_crm_of(SqlTarget(make_engine(folder / "crm.db", busy_seconds=0)), wait=waited.append)
        plan = make_plan(config, ledger, crm, make_scores("r1", SCORES), "r1")
        other = locked(folder)
        with pytest.raises(CrmError, match=r"failed while writing 'deals': database is locked\. Nothing is lost; run"):
            apply_plan(config, ledger, crm, plan)
        other.close()
        assert len(ledger.writes.outstanding("r1")) == 9
        assert len(waited) == TRIES - 1
        write_back(config, ledger, make_scores("r1", SCORES), "r1")
    assert read_deals(folder) == WRITTEN
    assert effective_writes(folder) == EVERY_FIELD


def test_a_lock_that_goes_away_in_time_is_not_noticed(tmp_path: Path, make_world: MakeWorld) -> None:
    folder = tmp_path / "world"
    config = make_world(folder)
    with open_run(config, "r1") as ledger:
        other = locked(folder)
        target = SqlTarget(make_engine(folder / "crm.db", busy_seconds=0))
        crm = make_crm_of(target, wait=lambda seconds: other.close())
        plan = make_plan(config, ledger, crm, make_scores("r1", SCORES), "r1")
        assert apply_plan(config, ledger, crm, plan).records == 3
    assert read_deals(folder) == WRITTEN


def test_a_database_that_goes_away_during_the_write_is_a_crm_error(tmp_path: Path, make_world: MakeWorld) -> None:
    folder = tmp_path / "world"
    config = make_world(folder)
    with open_run(config, "r1") as ledger:
        crm = make_crm_of(SqlTarget(make_engine(folder / "crm.db")))
        plan = make_plan(config, ledger, crm, make_scores("r1", SCORES), "r1")
        (folder / "crm.db").rename(folder / "elsewhere.db")
        with pytest.raises(CrmError, match="does not exist, so the CRM cannot be reached"):
            apply_plan(config, ledger, crm, plan)
        (folder / "elsewhere.db").rename(folder / "crm.db")
        write_back(config, ledger, make_scores("r1", SCORES), "r1")
    assert read_deals(folder) == WRITTEN
    assert effective_writes(folder) == EVERY_FIELD


def test_an_interrupted_run_of_another_table_is_left_alone(tmp_path: Path, make_world: MakeWorld) -> None:
    folder = tmp_path / "world"
    config = make_world(folder)
    with pytest.raises(Killed, match="fuse"):
        guarded_run(config, "r1", undo=False, fuse=Fuse(INTENDED))
    run_sql(folder, DEALS.replace("TABLE deals", "TABLE others"))
    mapping = {"target": "others", "key": "deal_id", "fields": {"score": "probability"}}
    other = make_config(folder, tables={"conversion": mapping})
    with open_run(other, "r2") as ledger:
        write_back(other, ledger, make_scores("r2", SCORES), "r2")
        assert len(ledger.writes.outstanding("r1")) == 9
