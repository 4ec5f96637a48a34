"""Requests that are counted: the budget of a run, what is sent first, refused batches, and reading back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from crm_world import make_config, make_scores, open_run
from small_target import SmallTarget

from pipeline.adapters.patient import BudgetError
from pipeline.config import Config
from pipeline.crm import make_crm
from pipeline.errors import ConfigError, CrmError, exit_code_of
from pipeline.read_back import LATE_S
from pipeline.undo_plan import make_undo_plan
from pipeline.write_plan import make_plan
from pipeline.write_report import WriteReport, read_status
from pipeline.write_view import SAMPLE
from pipeline.writeback import apply_plan

Row = tuple[str, float | None, str | None, Sequence[str]]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_config(tmp_path, {"score": "probability"})


def write(config: Config, target: SmallTarget, run_id: str, rows: Sequence[Row], **crm: Any) -> WriteReport:
    """One job: plan and apply. `wait` must not be called unless it is given."""
    made = make_crm(target, **{"wait": None, **crm})
    with open_run(config, run_id) as ledger:
        plan = make_plan(config, ledger, made, make_scores(run_id, rows), run_id)
        return apply_plan(config, ledger, made, plan)


def rows_of(*probabilities: float) -> list[Row]:
    """Deals 1, 2, ... of grade A."""
    return [(str(at), probability, "A", []) for at, probability in enumerate(probabilities, start=1)]


@pytest.mark.parametrize(
    ("max_requests", "order"),
    [
        (1000, ["3", "2", "6", "7", "1", "5"]),
        (None, ["2", "3", "6", "7", "1", "5"]),  # all of it is written tonight: by id within a grade
    ],
)
def test_the_best_grade_goes_first_and_with_a_budget_the_highest_probability(
    config: Config, max_requests: int | None, order: list[str]
) -> None:
    target = SmallTarget([str(deal) for deal in range(1, 8)])
    rows: list[Row] = [
        ("1", 0.9, "hold", []),
        ("2", 0.5, "priority", []),
        ("3", 0.7, "priority", []),
        ("4", None, "priority", []),  # no probability comes last in its grade
        ("5", 0.9, None, []),  # no grade comes last of all
        ("7", 0.8, "nurture", []),
        ("6", 0.8, "nurture", []),  # a tie: by id
    ]
    write(config, target, "r1", rows, max_requests=max_requests)
    assert [one for batch in target.sent for one in batch] == order  # deal 4 keeps its null


def test_the_budget_stops_before_the_request_that_goes_over_and_the_next_night_goes_on(config: Config) -> None:
    target = SmallTarget([str(deal) for deal in range(1, 9)])
    rows = rows_of(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    # 500 requests are kept for reading 1,000 records back two by two; 1 asks for the fields, 2 read four deals,
    # which leaves 6: two batches of 3 at most
    report = write(config, target, "r1", rows, max_requests=509)
    assert target.sent == [["8", "7"], ["6", "5"]]
    assert (report.tables[0].updated, report.waiting, report.tables[0].read_back) == (4, 4, 4)
    assert target.requests == report.requests == 1 + 2 + 2 * 2 + 2
    [note] = report.notes
    assert note.startswith("4 values wait for the next run: this one has used its 9 requests (write_back.max_requests)")
    report.check()  # what waits is no error
    target.requests = 0
    report = write(config, target, "r2", rows, max_requests=512)
    assert target.sent[2:] == [["4", "3"], ["2", "1"]]
    assert (report.waiting, report.tables[0].unchanged) == (0, 4)


def test_a_budget_in_which_not_even_the_fields_can_be_looked_up_is_a_config_error(config: Config) -> None:
    target = SmallTarget(["1", "2"])
    with pytest.raises(ConfigError, match=r"over the 1 of this run \(write_back.max_requests\)\. Allow more\."):
        write(config, target, "r1", rows_of(0.1, 0.2), max_requests=1)
    assert (target.requests, exit_code_of(BudgetError("too small"))) == (0, 2)


def test_a_run_that_the_budget_stopped_goes_on_when_it_is_applied_again(config: Config) -> None:
    target = SmallTarget(["1", "2", "3", "4"])
    for night, waiting in enumerate([2, 0]):
        report = write(config, target, "r1", rows_of(0.1, 0.2, 0.3, 0.4), max_requests=505 + night)
        assert report.waiting == waiting
    assert [record["score"] for record in target.records.values()] == [0.1, 0.2, 0.3, 0.4]
    with open_run(config) as ledger:
        [status] = read_status(ledger)
        assert (status.done, status.outstanding) == (4, 0)


def test_what_was_planned_and_waits_is_outstanding_in_the_status(config: Config) -> None:
    target = SmallTarget(["1", "2", "3", "4"])
    made = make_crm(target, max_requests=600)
    with open_run(config, "r1") as ledger:
        plan = make_plan(config, ledger, made, make_scores("r1", rows_of(0.1, 0.2, 0.3, 0.4)), "r1")
        made.patience.max_requests = 500 + made.patience.spent + 3  # as if it had been spent on something else
        report = apply_plan(config, ledger, made, plan)
        assert (report.waiting, target.sent) == (2, [["4", "3"]])
        [status] = read_status(ledger)
    assert (status.done, status.outstanding) == (2, 2)


def test_an_undo_keeps_to_the_budget_too(config: Config) -> None:
    target = SmallTarget(["1", "2", "3", "4"])
    write(config, target, "r1", rows_of(0.1, 0.2, 0.3, 0.4))
    for night, waiting in enumerate([2, 0]):  # the second night reads what the first one has done, too
        made = make_crm(target, max_requests=505 + night)
        with open_run(config, "undo-r1") as ledger:
            report = apply_plan(config, ledger, made, make_undo_plan(config, ledger, made, "r1"))
        assert report.waiting == waiting
        assert sum(record["score"] is not None for record in target.records.values()) == waiting


def test_one_bad_record_costs_one_record(config: Config) -> None:
    target = SmallTarget([str(deal) for deal in range(1, 17)], refused=["5"], max_batch=16)
    report = write(config, target, "r1", rows_of(*[0.5] * 16))
    assert (report.tables[0].updated, report.tables[0].rejected) == (15, 1)
    assert len(target.sent) == 1 + 2 * 4  # halved four times
    with pytest.raises(CrmError, match=r"refused 1 values \('deals\.score' of record '5': one of the values is bad\)"):
        report.check()
    with open_run(config) as ledger:
        [letter] = ledger.writes.of_run("r1", ["rejected"])
    assert (letter.record_id, letter.error) == ("5", "one of the values is bad")


def test_bad_records_cost_two_requests_each_at_most(config: Config) -> None:
    ids = [str(deal) for deal in range(1, 17)]
    target = SmallTarget(ids, refused=ids, max_batch=16)
    report = write(config, target, "r1", rows_of(*[0.5] * 16))
    assert report.tables[0].rejected == 16
    assert len(target.sent) == 2 * 16 - 1


def test_the_budget_can_end_while_a_batch_is_halved(config: Config) -> None:
    target = SmallTarget([str(deal) for deal in range(1, 5)], refused=["4"], max_batch=4)
    # 250 are kept, 2 have been spent; the first batch takes 2, its better half 2, and then there is 1 left
    report = write(config, target, "r1", rows_of(0.9, 0.8, 0.7, 0.6), max_requests=257)
    assert target.sent == [["1", "2", "3", "4"], ["1", "2"]]
    assert (report.tables[0].updated, report.waiting) == (2, 2)
    report = write(config, target, "r2", rows_of(0.9, 0.8, 0.7, 0.6))
    assert (report.tables[0].updated, report.tables[0].rejected) == (1, 1)


def test_a_value_that_the_crm_does_not_keep_is_rejected_loudly(config: Config) -> None:
    target = SmallTarget(["1", "2", "3"], forgetful=["2"])
    waits: list[float] = []
    report = write(config, target, "r1", rows_of(0.1, 0.2, 0.3), wait=waits.append)
    assert waits == list(LATE_S)  # it may have been a late answer
    assert (report.tables[0].fields, report.tables[0].rejected) == (2, 1)
    with pytest.raises(CrmError, match=r"'deals\.score' of record '2': the CRM did not keep it, it has None"):
        report.check()
    with open_run(config) as ledger:
        assert [(w.record_id, w.state) for w in ledger.writes.of_run("r1", ["rejected"])] == [("2", "rejected")]
    target.forgetful = []
    assert write(config, target, "r2", rows_of(0.1, 0.2, 0.3)).records == 1


def test_an_answer_that_is_a_little_late_is_waited_for(config: Config) -> None:
    target = SmallTarget(["1", "2"], late=2)
    waits: list[float] = []
    report = write(config, target, "r1", rows_of(0.1, 0.2), wait=waits.append)
    assert (waits, report.tables[0].rejected, report.tables[0].read_back) == (list(LATE_S[:2]), 0, 2)


class Edited(SmallTarget):
    """A rep edits deal 1 as soon as it is written."""

    def write_batch(self, batch: Any) -> Any:
        results = super().write_batch(batch)
        self.records["1"]["score"] = 77.0
        return results


def test_what_somebody_changed_after_it_was_written_is_a_conflict_and_stays(config: Config) -> None:
    target = Edited(["1", "2"])
    report = write(config, target, "r1", rows_of(0.1, 0.2))
    assert (report.tables[0].conflicts, report.tables[0].rejected) == (1, 0)
    assert report.problems[0].error == "changed since it was written to 77.0"
    report.check()
    report = write(config, target, "r2", rows_of(0.3, 0.2))
    assert (report.tables[0].conflicts, target.records["1"]["score"]) == (1, 77.0)


def test_of_many_records_a_sample_is_read_back(config: Config) -> None:
    ids = [str(deal) for deal in range(1, SAMPLE + 501)]
    target = SmallTarget(ids, max_batch=500)
    config = config.model_copy(update={"write_back": config.write_back.model_copy(update={"batch_rows": 500})})  # type: ignore[union-attr]
    report = write(config, target, "r1", rows_of(*[0.5] * len(ids)))
    assert report.tables[0].read_back == SAMPLE
    assert target.requests == 1 + 3 + 3 * 2 + 2  # fields, read, write, and a thousand read back
