"""What a job did, step by step: a line of its log for each, and what is counted of it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.errors import exit_code_of


@dataclass
class Step:
    """One step of a job; `exit_code` is None unless it failed, `more` is counted beside the rows."""

    name: str
    rows_in: int = 0
    rows_out: int = 0
    seconds: float = 0.0
    exit_code: int | None = None
    more: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, str | int | float]:
        """Return what the log line says.

        >>> Step("score", 40, 0, 1.234, exit_code=3).to_json()
        {'step': 'score', 'seconds': 1.23, 'rows_in': 40, 'rows_out': 0, 'exit_code': 3}
        """
        facts: dict[str, str | int | float] = {
            "step": self.name,
            "seconds": round(self.seconds, 2),
            "rows_in": self.rows_in,
        }
        failed = {} if self.exit_code is None else {"exit_code": self.exit_code}
        return {**facts, "rows_out": self.rows_out, **self.more, **failed}

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the time of the block, and note the exit code that an error in it leads to."""
        begun = time.perf_counter()
        try:
            yield
        except Exception as error:
            self.exit_code = exit_code_of(error)
            raise
        finally:
            self.seconds += time.perf_counter() - begun

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.to_json().items())


class RunLog:
    """The steps of a job as they end, and what the job is measured by.

    Parameters
    ----------
    tell : callable
        Gets the line of each step.

    Attributes
    ----------
    deployment : str or None
        Its name; None as long as its config has not been read.
    steps : list of Step
        Those that have ended, in order.
    records, values : Counter
        Records of the CRM, and values of their fields, by what became of them (see `pipeline.run_metrics`).
    requests : int
        Requests that were sent to the CRM to write.
    data_end : datetime or None
        Until when the extract's data go, in UTC; None before it.

    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.deployment: str | None = None
        self.steps: list[Step] = []
        self.records: Counter[str] = Counter()
        self.values: Counter[str] = Counter()
        self.requests = 0
        self.data_end: datetime | None = None
        self._tell = tell
        self._parts: dict[str, Step] = {}

    @contextmanager
    def step(self, name: str, rows_in: int = 0) -> Iterator[Step]:
        """Time a step, and tell of it when it ends or fails, after its parts."""
        step = Step(name, rows_in)
        try:
            with step.timed():
                yield step
        except Exception:
            self._end(step)
            raise
        self._end(step)

    def _end(self, step: Step) -> None:
        for one in (*self._parts.values(), step):
            self.steps.append(one)
            self._tell(str(one))
        self._parts.clear()

    @contextmanager
    def part(self, name: str, rows_in: int = 0) -> Iterator[Step]:
        """Time a part of the step under way; what is done several times, for one table after the other, is one part."""
        step = self._parts.setdefault(name, Step(name))
        step.rows_in += rows_in
        with step.timed():
            yield step

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Let `part_of_job` find this log."""
        before = _JOB.set(self)
        try:
            yield
        finally:
            _JOB.reset(before)


_JOB: ContextVar[RunLog | None] = ContextVar("job", default=None)


@contextmanager
def part_of_job(name: str, rows_in: int = 0) -> Iterator[Step]:
    """Time a part of whatever step of a job is under way; where there is no job, nobody is told."""
    log = _JOB.get() or RunLog(lambda line: None)
    with log.part(name, rows_in) as step:
        yield step
