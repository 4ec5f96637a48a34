"""The ledger's tables and statements on PostgreSQL, where a deployment cannot put it yet."""

from crm_world import make_scores
from postgres_server import Database

from pipeline.adapters.target import WriteResult
from pipeline.ledger import open_ledger
from pipeline.ledger_writes import LastWrite, Write


def test_runs_scores_and_writes_are_kept_on_a_server_too(postgres: Database) -> None:
    scores = make_scores("r1", [("1", 0.5, "A", ["逾期"]), ("2", None, None, [])])
    with open_ledger(postgres.url) as ledger:
        ledger.start_run("r1", "score", {"rows": 2}, "name: demo")
        ledger.replace_scores("r1", scores)
        ledger.finish_run("r1", "done")
        [number] = ledger.writes.store_plan([[Write("r1", "deals", "1", "score", None, 0.5)]], [])
        ledger.writes.intend(number)
    with open_ledger(postgres.url) as ledger:  # migrated once
        assert [(write.record_id, write.new) for write in ledger.writes.outstanding()] == [("1", 0.5)]
        ledger.writes.settle(number, "r1", "deals", [WriteResult("1", "score", "done")])
        assert ledger.writes.last_writes("deals", ["score"]) == {("1", "score"): LastWrite("r1", 0.5)}
        assert ledger.latest_scored_run().state == "done"
        assert ledger.scores("r1")["reasons"].tolist() == scores["reasons"].tolist()
