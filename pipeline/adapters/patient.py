"""How a CRM is asked: again where an error may pass, no faster than it likes, and within the budget of a run.

This is the one place where something is tried again. Adapters raise `PassingCrmError` for what may pass;
everything else, bad input above all, goes through at once.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from threading import Lock
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from pipeline.adapters.target import (
    Capabilities,
    FieldValues,
    FollowUp,
    FollowUpAdapter,
    HistoryAdapter,
    HistoryRow,
    RecordResult,
    TargetAdapter,
    TargetField,
    TargetTable,
    WriteBatch,
)
from pipeline.errors import ConfigError, PassingCrmError

Result = TypeVar("Result")
Count = Callable[[], int]

_log = logging.getLogger(__name__)

TRIES = 8
ALL_WAITS_S = 300.0
"""A request is given up after so many tries, or before the waits between them get longer than this together."""

LONGEST_WAIT_S = 60.0
"""Waits are about 1, 2, 4, ... seconds long, with up to a second of chance, at most this."""


class BudgetError(ConfigError):
    """The next request would go over the budget of this run; it was not sent.

    Where nothing can be written before it, the budget is too small for this config.
    """


@dataclass
class Patience:
    """Calls a CRM, and counts what that costs.

    Parameters
    ----------
    rate_per_second : float or None
        Requests per second that the CRM takes.
    max_requests : int or None
        Requests that this run may send.
    wait, clock : callable
        What waits for some seconds, and what tells the time; tests give their own and do not sleep.
    spent : int
        Requests sent so far.
    kept : int
        Requests of the budget that are not for `call` now, but for what comes after it.

    """

    rate_per_second: float | None = None
    max_requests: int | None = None
    wait: Callable[[float], None] = field(default_factory=lambda: time.sleep)
    clock: Callable[[], float] = time.monotonic
    spent: int = 0
    kept: int = 0
    _free_at: float = 0.0
    _counting: Lock = field(default_factory=Lock, repr=False)

    @property
    def left(self) -> int | None:
        """Requests of the budget that are left, None where there is none."""
        return None if self.max_requests is None else max(self.max_requests - self.spent - self.kept, 0)

    def call(
        self,
        action: Callable[[], Result],
        expected: int = 1,
        count: Count | None = None,
        again: Callable[[], Result] | None = None,
    ) -> Result:
        """Call a CRM, again where the error may pass.

        Parameters
        ----------
        action : callable
            What calls it.
        expected : int
            Requests that this sends, at most.
        count : callable or None
            Tells how many requests were sent by now; None counts one for each call.
        again : callable or None
            What is called from the second try on, when nobody knows whether the first one arrived.

        Raises
        ------
        BudgetError
            If the budget has no room for it.
        PassingCrmError
            If it did not pass in time.

        """
        actions = chain([action], repeat(again or action))
        retrying = Retrying(
            retry=retry_if_exception_type(PassingCrmError),
            wait=_find_wait,
            stop=_is_given_up,
            sleep=self.wait,
            before_sleep=_tell,
            reraise=True,
        )
        return retrying(lambda: self._call_once(next(actions), expected, count))

    def _call_once(self, action: Callable[[], Result], expected: int, count: Count | None) -> Result:
        """Call when it is time, if the budget has room."""
        if self.left is not None and expected > self.left:
            raise BudgetError(
                f"{expected:,} more requests would go over the {self.max_requests:,} of this run "
                "(write_back.max_requests). Allow more."
            )
        if self.rate_per_second is not None:
            if (seconds := self._free_at - self.clock()) > 0:
                self.wait(seconds)
            began = max(self.clock(), self._free_at)
        before = count() if count else 0
        try:
            return action()
        finally:
            sent = count() - before if count else 1
            with self._counting:
                self.spent += sent
            if self.rate_per_second is not None:
                self._free_at = began + sent / self.rate_per_second


_backoff = wait_exponential_jitter(initial=1, max=LONGEST_WAIT_S, exp_base=2, jitter=1)


def _find_wait(state: RetryCallState) -> float:
    """Seconds until the next try: longer each time, and never less than the CRM asks for."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait_s if isinstance(error, PassingCrmError) else None
    return max(_backoff(state), asked or 0.0)


def _tell(state: RetryCallState) -> None:
    """Say why nothing happens for a while."""
    error = str(state.outcome.exception() if state.outcome else "").rstrip(".")
    _log.warning("%s. Tried %d of %d times, again in %.0f s.", error, state.attempt_number, TRIES, state.upcoming_sleep)


def _is_given_up(state: RetryCallState) -> bool:
    """Whether the last try was the last one."""
    return state.attempt_number >= TRIES or state.idle_for + state.upcoming_sleep > ALL_WAITS_S


class PatientTarget:
    """An adapter that is asked with patience; see `TargetAdapter`. Reads are cut into single requests."""

    def __init__(self, target: TargetAdapter, patience: Patience) -> None:
        self._target = target
        self.patience = patience
        self._seen = 0

    @property
    def requests(self) -> int:
        """Requests sent to the CRM since the adapter was opened."""
        return self._target.requests

    @property
    def per_batch(self) -> int:
        """Requests that writing a batch takes, at most, as far as was seen."""
        return self._seen or self.capabilities().requests_per_batch

    def capabilities(self) -> Capabilities:
        """Limits of this CRM."""
        return self._target.capabilities()

    @property
    def read_size(self) -> int:
        """Records per request that only reads."""
        limits = self._target.capabilities()
        return limits.max_read or limits.max_batch

    def describe(self, target: TargetTable, fields: Sequence[str]) -> Mapping[str, TargetField]:
        """Look fields up in the CRM's own catalogue."""
        return self.patience.call(lambda: self._target.describe(target, fields), 1, self._count)

    def read_fields(self, table: TargetTable, ids: Sequence[str], fields: Sequence[str]) -> FieldValues:
        """Read fields of records."""
        found: list[str] = []
        columns: dict[str, list[object]] = {name: [] for name in fields}
        for part in self.read_parts(table, ids, fields):
            found += part.ids
            for name in fields:
                columns[name] += part.columns[name]
        return FieldValues(found, columns)  # type: ignore[arg-type]

    def read_parts(self, table: TargetTable, ids: Sequence[str], fields: Sequence[str]) -> Iterator[FieldValues]:
        """Read fields of records, one request after the other."""
        size = self.read_size
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            yield self.patience.call(lambda part=part: self._target.read_fields(table, part, fields), 1, self._count)  # type: ignore[misc]

    def write_batch(self, batch: WriteBatch) -> Sequence[RecordResult]:
        """Write one batch; one whose end is not known is sent again, which writes nothing twice."""
        count = self._count if self.capabilities().writers == 1 else None
        return self.patience.call(lambda: self._write_once(batch), self.per_batch, count)

    def _write_once(self, batch: WriteBatch) -> Sequence[RecordResult]:
        before = self.requests
        results = self._target.write_batch(batch)
        self._seen = max(self._seen, self.requests - before)
        return results

    def _count(self) -> int:
        return self._target.requests


@dataclass(frozen=True)
class PatientHistory:
    """A history that is asked with patience; see `HistoryAdapter`."""

    history: HistoryAdapter
    patience: Patience
    count: Count | None = None

    def history_keys(self, run_id: str) -> set[str]:
        """Return the keys of the rows of a run that are there."""
        return self.patience.call(lambda: self.history.history_keys(run_id), 1, self.count)

    def add_history(self, rows: Sequence[HistoryRow]) -> None:
        """Add rows; when nobody knows whether they arrived, that is read before they are sent again."""

        def add_again() -> None:
            there = {key for run_id in {row.run_id for row in rows} for key in self.history.history_keys(run_id)}
            if left := [row for row in rows if row.key not in there]:
                self.history.add_history(left)

        self.patience.call(lambda: self.history.add_history(rows), 1, self.count, add_again)

    def remove_history(self, run_id: str) -> int:
        """Remove the rows of a run; returns how many there were."""
        return self.patience.call(lambda: self.history.remove_history(run_id), 1, self.count)

    def forget_history(self, entities: Mapping[str, Sequence[str]]) -> int:
        """Remove every row of some entities."""
        return self.patience.call(lambda: self.history.forget_history(entities), 1, self.count)


@dataclass(frozen=True)
class PatientFollowUps:
    """Tasks that are asked for with patience; see `FollowUpAdapter`."""

    follow_ups: FollowUpAdapter
    patience: Patience
    count: Count | None = None

    def open_follow_ups(self) -> Mapping[str, str]:
        """Return the tasks of ours that nobody has closed."""
        return self.patience.call(self.follow_ups.open_follow_ups, 1, self.count)

    def add_follow_ups(self, tasks: Sequence[FollowUp]) -> Mapping[str, RecordResult]:
        """Add tasks; when nobody knows whether they arrived, that is read before they are sent again."""

        def add_again() -> Mapping[str, RecordResult]:
            there = self.follow_ups.open_follow_ups()
            left = [task for task in tasks if task.key not in there]
            found = {task.key: RecordResult(there[task.key], "done") for task in tasks if task.key in there}
            return found | (dict(self.follow_ups.add_follow_ups(left)) if left else {})

        return self.patience.call(lambda: self.follow_ups.add_follow_ups(tasks), 1, self.count, add_again)

    def close_follow_ups(self, task_ids: Sequence[str]) -> None:
        """Take tasks back."""
        self.patience.call(lambda: self.follow_ups.close_follow_ups(task_ids), 1, self.count)

    def forget_follow_ups(self, task_ids: Sequence[str]) -> None:
        """Remove tasks, closed ones too, with all that they say."""
        self.patience.call(lambda: self.follow_ups.forget_follow_ups(task_ids), 1, self.count)
