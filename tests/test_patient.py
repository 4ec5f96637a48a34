"""Trying again, pacing and the budget, on a CRM that fails as told; nothing sleeps."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pipeline.adapters.patient import ALL_WAITS_S, TRIES, BudgetError, Patience, PatientFollowUps, PatientHistory
from pipeline.adapters.target import FollowUp, HistoryRow, RecordResult, TargetTable
from pipeline.errors import ConfigError, CrmError, PassingCrmError


class Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def make_patience(clock: Clock, **options: Any) -> Patience:
    return Patience(wait=clock.wait, clock=lambda: clock.now, **options)


def failing(errors: Sequence[Exception], answer: str = "done") -> Callable[[], str]:
    """What raises these errors one after the other, and then answers."""
    left = list(errors)

    def act() -> str:
        if left:
            raise left.pop(0)
        return answer

    return act


def test_an_error_that_passes_is_tried_again_after_waits_that_double() -> None:
    clock = Clock()
    errors = [PassingCrmError("503"), PassingCrmError("time-out"), PassingCrmError("locked")]
    assert make_patience(clock).call(failing(errors)) == "done"
    assert [1 <= clock.waits[0] <= 2, 2 <= clock.waits[1] <= 3, 4 <= clock.waits[2] <= 5] == [True] * 3


def test_every_wait_is_told_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    make_patience(Clock()).call(failing([PassingCrmError("503."), PassingCrmError("429", wait_s=17)]))
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("503. Tried 1 of 8 times, again in ")
    assert second == "429. Tried 2 of 8 times, again in 17 s."


@pytest.mark.parametrize("error", [CrmError("a bad value"), ConfigError("no such field"), ValueError("a defect")])
def test_what_does_not_pass_is_never_tried_again(error: Exception) -> None:
    clock = Clock()
    with pytest.raises(type(error), match=str(error)):
        make_patience(clock).call(failing([error]))
    assert clock.waits == []


def test_it_is_given_up_after_a_bounded_number_of_tries() -> None:
    clock = Clock()
    patience = make_patience(clock)
    with pytest.raises(PassingCrmError, match="still away"):
        patience.call(failing([PassingCrmError("still away")] * 99))
    assert (len(clock.waits), patience.spent) == (TRIES - 1, TRIES)
    assert max(clock.waits) <= 60


def test_the_crm_is_left_alone_for_as_long_as_it_asks_and_no_longer_than_the_bound() -> None:
    clock = Clock()
    assert make_patience(clock).call(failing([PassingCrmError("429", wait_s=17)])) == "done"
    assert clock.waits == [17]
    with pytest.raises(PassingCrmError, match="the quota of the day"):  # tomorrow is the next run's
        make_patience(clock).call(failing([PassingCrmError("the quota of the day", wait_s=ALL_WAITS_S + 1)]))
    assert clock.waits == [17]


def test_requests_come_no_faster_than_the_rate() -> None:
    clock = Clock()
    patience = make_patience(clock, rate_per_second=2.0)
    sent = iter([0, 3, 3, 4])  # the first call sends three requests at once, the second one
    for _ in range(2):
        patience.call(lambda: clock.now, 1, lambda: next(sent))
    assert clock.waits == [1.5]
    patience.call(lambda: clock.now)
    assert clock.waits == [1.5, 0.5]


def test_a_request_that_would_go_over_the_budget_is_not_sent() -> None:
    clock = Clock()
    patience = make_patience(clock, max_requests=4)
    patience.call(failing([PassingCrmError("503")]))  # two requests: a failed one costs, too
    patience.kept = 1
    assert patience.left == 1
    with pytest.raises(BudgetError, match="2 more requests would go over the 4 of this run"):
        patience.call(failing([]), expected=2)
    assert (patience.call(failing([])), patience.left) == ("done", 0)
    patience.kept = 0
    assert patience.left == 1


class Keeper:
    """Holds history rows and tasks; its first answer gets lost, after or before it did what it was told."""

    def __init__(self, arrives: bool) -> None:
        self.lost: PassingCrmError | None = PassingCrmError("no answer")
        self.arrives = arrives
        self.there: list[str] = []

    def _add(self, keys: list[str]) -> None:
        lost, self.lost = self.lost, None
        if lost is None or self.arrives:
            self.there += keys
        if lost is not None:
            raise lost

    def history_keys(self, run_id: str) -> set[str]:
        return set(self.there)

    def add_history(self, rows: Sequence[HistoryRow]) -> None:
        self._add([row.key for row in rows])

    def open_follow_ups(self) -> dict[str, str]:
        return {key: f"task of {key}" for key in self.there}

    def add_follow_ups(self, tasks: Sequence[FollowUp]) -> dict[str, RecordResult]:
        self._add([task.key for task in tasks])
        return {task.key: RecordResult(f"task of {task.key}", "done") for task in tasks}


@pytest.mark.parametrize("arrives", [True, False])
def test_what_may_have_arrived_is_looked_for_before_it_is_added_again(arrives: bool) -> None:
    rows = [HistoryRow("r1", one, "2024-05-01", "churn", 90, 0.1, "A", None, None, "3") for one in ("a", "b")]
    history: Any = Keeper(arrives)
    PatientHistory(history, make_patience(Clock())).add_history(rows)
    assert history.there == [row.key for row in rows]
    tasks = [FollowUp(key, TargetTable("deals", "id"), "1", "call", "", "2024-05-03") for key in ("k1", "k2")]
    keeper: Any = Keeper(arrives)
    found = PatientFollowUps(keeper, make_patience(Clock())).add_follow_ups(tasks)
    assert keeper.there == ["k1", "k2"]
    assert {key: result.record_id for key, result in found.items()} == {"k1": "task of k1", "k2": "task of k2"}
