"""Every adapter passes the same tests: databases, a CRM that can fail, Odoo."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

pytest.register_assert_rewrite("conformance", "conformance_write", "conformance_own")

from conformance import DescribeConformance, ReadConformance, Row, Subject, Traits  # noqa: E402
from conformance_own import FollowUpConformance, HistoryConformance  # noqa: E402
from conformance_write import WriteConformance  # noqa: E402
from faulty_crm import FaultyCrm  # noqa: E402
from faulty_target import FaultyTarget  # noqa: E402

from pipeline.adapters.target import TargetTable, Value  # noqa: E402

REFUSED = "a word that is refused"


class FaultySubject:
    """A faulty CRM on a good day."""

    table = TargetTable("deals", "deal_id")
    fields = ("score", "grade", "why")
    absent = "404"

    def __init__(self, **options: Any) -> None:
        self._crm = FaultyCrm(refused=[REFUSED], **options)
        self._crm.make_table("deals", "deal_id", {"score": "number", "grade": "text", "why": "text"})
        self.traits = Traits(refused=(0.5, REFUSED, "x"))

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

    def archive(self, record_id: str) -> bool:
        return False

    def read(self, record_id: str) -> Any:
        row = self._crm.read_all("deals").get(record_id)
        return row and tuple(row[name] for name in self.fields)

    def count(self) -> int:
        return len(self._crm.read_all("deals"))

    def writes(self) -> Counter[tuple[str, str]]:
        return Counter({(one, name): times for (_, one, name), times in self._crm.writes().items()})

    def close_task(self, task_id: str) -> None:
        self._crm.close_tasks([task_id])


@pytest.fixture(
    params=[
        pytest.param({}, id="faulty"),
        pytest.param({"compares": False}, id="faulty, does not compare"),
        pytest.param({"failure": "atomic"}, id="faulty, atomic"),
        pytest.param({"compares": False, "failure": "atomic"}, id="faulty, atomic, does not compare"),
    ]
)
def subject(request: pytest.FixtureRequest) -> Subject:
    return FaultySubject(**request.param)


class TestDescribe(DescribeConformance):
    pass


class TestRead(ReadConformance):
    pass


class TestWrite(WriteConformance):
    pass


class TestHistory(HistoryConformance):
    pass


class TestFollowUps(FollowUpConformance):
    pass
