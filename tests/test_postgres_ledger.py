"""The ledger's tables and statements on PostgreSQL, where a deployment cannot put it yet."""

from datetime import date, datetime

from crm_world import make_scores
from postgres_server import Database

from pipeline.adapters.target import RecordResult, TargetTable, WriteBatch
from pipeline.ledger import open_ledger
from pipeline.ledger_writes import LastValues


def test_runs_scores_and_writes_are_kept_on_a_server_too(postgres: Database) -> None:
    scores = make_scores("r1", [("1", 0.5, "A", ["逾期"]), ("2", None, None, [])])
    with open_ledger(postgres.url) as ledger:
        ledger.start_run("r1", "score", {"rows": 2}, "name: demo")
        ledger.replace_scores("r1", scores)
        ledger.finish_run("r1", "done")
        planned = WriteBatch(TargetTable("deals", "id"), "update", ("score",), ["1"], [[None]], [[0.5]], "")
        [number] = ledger.writes.store_plan("r1", [planned], [])
        ledger.writes.intend(number)
    with open_ledger(postgres.url) as ledger:  # migrated once
        assert [(write.record_id, write.new) for write in ledger.writes.outstanding()] == [("1", 0.5)]
        ledger.writes.settle(number, [RecordResult("1", "done")])
        assert ledger.writes.last_values("deals", ["score"]) == {"score": LastValues(["1"], [0.5], ["r1"])}
        assert ledger.latest_scored_run().state == "done"
        assert ledger.scores("r1")["reasons"].tolist() == scores["reasons"].tolist()


def test_overrides_and_grades_of_the_run_before_are_kept_on_a_server_too(postgres: Database) -> None:
    with open_ledger(postgres.url) as ledger:
        ledger.start_run("r1", "score", {"data_end": "2024-05-01T00:00:00"}, "")
        ledger.replace_scores("r1", make_scores("r1", [("1", 0.5, "A", []), ("2", 0.1, None, [])]))
        ledger.finish_run("r1", "done", {"grading": {"conversion": {"by": "points"}}})
        ledger.overrides.add("conversion", "1", "B", "逾期", "Li", date(2024, 5, 3))
    with open_ledger(postgres.url) as ledger:
        before = ledger.grades.run_before(datetime(2024, 5, 2))
        assert before is not None
        assert (before.run_id, before.grading["conversion"]["by"]) == ("r1", "points")
        assert ledger.grades.of_run("r1", "conversion", 90)["grade"].fillna("-").tolist() == ["A", "-"]
        [held] = ledger.overrides.in_force(date(2024, 5, 2))
        assert (held.grade, held.reason, held.expires_on) == ("B", "逾期", date(2024, 5, 3))
        assert ledger.overrides.in_force(date(2024, 5, 3)) == []
        assert ledger.overrides.withdraw("conversion", "1") == 1
        assert ledger.overrides.in_force(date(2024, 5, 2)) == []
