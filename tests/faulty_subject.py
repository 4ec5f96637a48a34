"""A faulty CRM on a good day, as the conformance suite sees it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from conformance import Row, Traits
from faulty_crm import FaultyCrm
from faulty_target import FaultyTarget

from pipeline.adapters.target import TargetTable, Value

REFUSED = "a word that is refused"


class FaultySubject:
    """A faulty CRM on a good day."""

    table = TargetTable("deals", "deal_id")
    fields = ("score", "grade", "why")
    absent = "404"
    traits = Traits(refused=(0.5, REFUSED, "x"))

    def __init__(self, **options: Any) -> None:
        self._crm = FaultyCrm(refused=[REFUSED], **options)
        self._crm.make_table("deals", "deal_id", {"score": "number", "grade": "text", "why": "text"})

    @contextmanager
    def open(self) -> Iterator[FaultyTarget]:
        yield FaultyTarget(self._crm)

    def open_history(self) -> AbstractContextManager[FaultyTarget]:
        return self.open()

    def open_follow_ups(self) -> AbstractContextManager[FaultyTarget]:
        return self.open()

    def make(self, rows: Sequence[Row]) -> list[str]:
        ids = [str(number + 1) for number in range(len(rows))]
        for one, row in zip(ids, rows, strict=True):
            self._crm.put("deals", one, dict(zip(self.fields, row, strict=True)))
        return ids

    def edit(self, record_id: str, name: str, value: Value) -> None:
        self._crm.put("deals", record_id, {name: value})

    def delete(self, record_id: str) -> None:
        self._crm.remove("deals", record_id)

    def archive(self, record_id: str) -> None:
        raise NotImplementedError

    def read(self, record_id: str) -> Any:
        row = self._crm.read_all("deals").get(record_id)
        return row and tuple(row[name] for name in self.fields)

    def count(self) -> int:
        return len(self._crm.read_all("deals"))

    def writes(self) -> Counter[tuple[str, str]]:
        return Counter({(one, name): times for (_, one, name), times in self._crm.writes().items()})

    def close_task(self, task_id: str) -> None:
        self._crm.close_tasks([task_id])
