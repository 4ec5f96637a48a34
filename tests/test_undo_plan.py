"""What an undo does with a value, whatever became of it since: each case once, with its answer by hand."""

from pathlib import Path

import pytest
from crm_world import make_config, make_crm, make_scores, open_run, read_deals, run_sql

from pipeline.config import Config
from pipeline.crm import open_crm
from pipeline.ledger import Ledger
from pipeline.undo_plan import make_undo_plan
from pipeline.write_plan import TablePlan
from pipeline.writeback import undo_run, write_back

SCORE = {"score": "probability"}
BOTH = {"score": "probability", "grade": "grade"}


def write(config: Config, ledger: Ledger, run_id: str, ids: str, probability: float) -> None:
    """Write the same score to some deals."""
    rows = [(deal, probability, "A", ["x"]) for deal in ids.split()]
    write_back(config, ledger, make_scores(run_id, rows), run_id)


def plan_undo(config: Config, ledger: Ledger, run_id: str = "r1") -> TablePlan:
    with open_crm(config) as crm:
        [table] = make_undo_plan(config, ledger, crm, run_id).tables
    return table


def sent(plan: TablePlan) -> list[tuple[str, tuple[str, ...], list[str]]]:
    """What is sent, by action, fields and records."""
    return sorted((batch.action, batch.fields, sorted(batch.ids)) for batch in plan.batches)


def test_every_case_of_one_value(crm_folder: Path) -> None:
    made = [(deal, "n", 77.5, None, None) for deal in (1, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13)]
    make_crm(crm_folder, [*made, (2, "n", None, None, None), (11, "n", 0.1, None, None)])
    config = make_config(crm_folder, SCORE)
    with open_run(config, "r1", "r2", "r3", "r4") as ledger:
        write(config, ledger, "r1", "1 2 3 4 5 6 7 8 9 10 11 12 13", 0.1)  # 11 has it already
        write(config, ledger, "r2", "6 7 8 12 13", 0.2)
        write(config, ledger, "r3", "9", 0.3)
        undo_run(config, ledger, "r3")
        write(config, ledger, "r4", "13", 0.1)
        edits = {3: 5.0, 4: 77.5, 5: None, 7: 9.0, 8: 77.5, 12: 0.1}
        for deal, score in edits.items():
            run_sql(crm_folder, "UPDATE deals SET score = ? WHERE deal_id = ?", (score, deal))
        run_sql(crm_folder, "DELETE FROM deals WHERE deal_id = 10")
        plan = plan_undo(config, ledger)
        undo_run(config, ledger, "r1")
    assert [row[:2] for row in read_deals(crm_folder)] == [
        (1, 77.5),  # nobody touched it: put back
        (2, None),  # nothing is a value too: put back
        (3, 5.0),  # edited: conflict
        (4, 77.5),  # somebody put it back: unchanged
        (5, None),  # cleared, which is an edit: conflict
        (6, 0.2),  # a later run wrote it: superseded
        (7, 9.0),  # edited after a later run, so that is the affair of its undo: superseded
        (8, 77.5),  # a later run wrote it, and somebody put it back: unchanged
        (9, 77.5),  # a later run wrote it and was undone: put back
        # 10 was removed by somebody: missing
        (11, 0.1),  # the run never wrote it
        (12, 0.1),  # ours again, but by hand after a later run: superseded
        (13, 0.1),  # later runs wrote another value and this one again: superseded, too
    ]
    assert sent(plan) == [("update", ("score",), ["1", "2", "9"])]
    [batch] = plan.batches
    assert (batch.expected, batch.values) == ([[0.1, 0.1, 0.1]], [[77.5, None, 77.5]])
    assert (plan.unchanged, plan.superseded, plan.waiting) == (2, 4, 0)
    assert {(w.run_id, w.record_id, w.state, w.old, w.new, w.error) for w in plan.refused} == {
        ("undo-r1", "3", "conflict", 5.0, 77.5, "run 'r1' wrote 0.1, found 5.0"),
        ("undo-r1", "5", "conflict", None, 77.5, "run 'r1' wrote 0.1, found None"),
        ("undo-r1", "10", "missing", 0.1, 77.5, "the record does not exist"),
    }


def test_every_case_of_a_record_that_the_run_added(crm_folder: Path) -> None:
    make_crm(crm_folder, [(5, "n", None, None, "here before")])
    config = make_config(crm_folder, BOTH, insert_missing=True)
    only_score = make_config(crm_folder, SCORE, insert_missing=True)
    with open_run(config, "r1", "r2") as ledger:
        write(only_score, ledger, "r1", "6", 0.1)
        write(config, ledger, "r1", "1 2 3 4 5 6 7", 0.1)  # the same run goes on, with one field more
        write(config, ledger, "r2", "4", 0.2)
        run_sql(crm_folder, "UPDATE deals SET score = 5 WHERE deal_id = 2")
        run_sql(crm_folder, "DELETE FROM deals WHERE deal_id = 3")
        run_sql(crm_folder, "UPDATE deals SET score = NULL, grade = NULL WHERE deal_id = 7")
        plan = plan_undo(config, ledger)
        undo_run(config, ledger, "r1")
    assert read_deals(crm_folder) == [
        # 1 is as the run added it: removed
        (2, 5.0, None, None),  # an edit keeps the record; the other field gets back what it had: nothing
        # 3 was removed by somebody: unchanged
        (4, 0.2, None, None),  # a later run wrote the score: the record stays for its undo
        (5, None, None, "here before"),  # was there before the run: put back, not removed
        (6, None, None, None),  # the grade came with an update, not with the record: it stays
        (7, None, None, None),  # cleared, which is an edit of what the run added: conflict, twice
    ]
    assert sent(plan) == [
        ("delete", ("score", "grade"), ["1"]),
        ("update", ("grade",), ["2", "4"]),
        ("update", ("score", "grade"), ["5", "6"]),
    ]
    assert {(w.record_id, w.field, w.state) for w in plan.refused} == {
        ("2", "score", "conflict"),
        ("7", "score", "conflict"),
        ("7", "grade", "conflict"),
    }
    assert (plan.unchanged, plan.superseded) == (2, 1)  # both fields of 3; the score of 4


def test_records_whose_same_fields_are_put_back_go_together_in_batches_of_the_size_asked_for(crm_folder: Path) -> None:
    make_crm(crm_folder, [(deal, "n", None, "A" if deal == 3 else None, None) for deal in range(1, 7)])
    config = make_config(crm_folder, BOTH, batch_rows=2)
    with open_run(config, "r1") as ledger:
        write(config, ledger, "r1", "1 2 3 4 5 6", 0.1)  # 3 has the grade already
        run_sql(crm_folder, "UPDATE deals SET grade = 'mine' WHERE deal_id = 5")
        assert sent(plan_undo(config, ledger)) == [
            ("update", ("score",), ["3", "5"]),
            ("update", ("score", "grade"), ["1", "2"]),
            ("update", ("score", "grade"), ["4", "6"]),
        ]


@pytest.mark.parametrize("arrived", [True, False])
def test_an_interrupted_write_is_undone_field_by_field_if_it_arrived(
    crm_folder: Path, monkeypatch: pytest.MonkeyPatch, arrived: bool
) -> None:
    make_crm(crm_folder, [(1, "n", 77.5, "gold", None), (2, "n", None, None, None)])
    config = make_config(crm_folder, BOTH)
    before = read_deals(crm_folder)
    with open_run(config, "r1") as ledger:
        with monkeypatch.context() as patch:
            patch.setattr(ledger.writes, "settle", _die)
            with pytest.raises(KeyboardInterrupt, match="killed"):
                write(config, ledger, "r1", "1 2", 0.1)
        if not arrived:  # the CRM lost it
            run_sql(crm_folder, "UPDATE deals SET score = 77.5, grade = 'gold' WHERE deal_id = 1")
            run_sql(crm_folder, "UPDATE deals SET score = NULL, grade = NULL WHERE deal_id = 2")
        run_sql(crm_folder, "UPDATE deals SET grade = 'mine' WHERE deal_id = 1")
        plan = plan_undo(config, ledger)
        ends = sorted((w.record_id, w.field, w.state) for w in plan.resolved)
        end = "done" if arrived else "dropped"
        assert ends == [("1", "grade", "conflict"), *((one, name, end) for one, name in CERTAIN)]
        assert plan.value_count == (3 if arrived else 0)
        assert (plan.refused, plan.unchanged, plan.superseded) == ((), 0, 0)  # the conflict is noted with the end of r1
        for expected_unchanged in (0, 3 if arrived else 0):  # the second time most ends are stored value by value
            report = undo_run(config, ledger, "r1")
            assert sum(table.unchanged for table in report.tables) == expected_unchanged
            assert read_deals(crm_folder) == [(1, 77.5, "mine", None), before[1]]


CERTAIN = [("1", "score"), ("2", "grade"), ("2", "score")]
"""Fields that nobody has edited since the kill."""


def _die(number: int, results: object) -> None:
    raise KeyboardInterrupt("killed")


def test_a_value_that_was_edited_after_a_later_write_was_interrupted_stays_even_if_it_is_ours_again(
    crm_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_crm(crm_folder, [(1, "n", 77.5, None, None)])
    config = make_config(crm_folder, SCORE)
    with open_run(config, "r1", "r2") as ledger:
        write(config, ledger, "r1", "1", 0.1)
        run_sql(crm_folder, "UPDATE deals SET score = 5")
        monkeypatch.setattr(ledger.writes, "settle", _die)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            write_back(config, ledger, make_scores("r2", [("1", 0.2, "A", ["x"])]), "r2", take_over=True)
        run_sql(crm_folder, "UPDATE deals SET score = 0.1")  # neither 5 nor 0.2: somebody's own doing
        plan = plan_undo(config, ledger)
    assert plan.batches == ()
    assert [(write.record_id, write.state) for write in plan.refused] == [("1", "conflict")]


def test_a_record_that_the_crm_refused_has_nothing_to_undo_while_the_rest_of_its_batch_has(crm_folder: Path) -> None:
    check = "CREATE TABLE deals (deal_id INTEGER PRIMARY KEY, name TEXT, score REAL, grade TEXT, why TEXT, {})"
    make_crm(crm_folder, [], check.format("CHECK (deal_id <> 2 OR score > 70)"))
    for deal in (1, 2, 3):
        run_sql(crm_folder, "INSERT INTO deals VALUES (?, 'n', 77.5, NULL, NULL)", (deal,))
    config = make_config(crm_folder, BOTH)
    with open_run(config, "r1") as ledger:
        write(config, ledger, "r1", "1 2 3", 0.1)
        assert [row[1] for row in read_deals(crm_folder)] == [0.1, 77.5, 0.1]
        assert sent(plan_undo(config, ledger)) == [("update", ("score", "grade"), ["1", "3"])]


def test_undone_twice_after_the_run_was_written_again_it_is_undone_again(crm_folder: Path) -> None:
    make_crm(crm_folder, [(1, "n", 77.5, "gold", None), (2, "n", None, None, None)])
    config = make_config(crm_folder, BOTH)
    before = read_deals(crm_folder)
    with open_run(config, "r1") as ledger:
        for ids in ("1 2", "1", "2"):  # the second and third time only a part of what the ledger has
            write(config, ledger, "r1", ids, 0.1)
            undo_run(config, ledger, "r1")
            assert read_deals(crm_folder) == before
            plan = plan_undo(config, ledger)
            assert (plan.batches, plan.unchanged) == ((), 4)
        run_sql(crm_folder, "UPDATE deals SET grade = 'mine' WHERE deal_id = 1")
        plan = plan_undo(config, ledger)  # the run has been undone: what is edited later is no affair of its undo
        assert (plan.batches, plan.refused, plan.unchanged, plan.superseded) == ((), (), 4, 0)
