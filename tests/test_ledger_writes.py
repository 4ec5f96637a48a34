"""What the ledger keeps of writes: batches column by column, exceptions and refusals one by one."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.target import Action, RecordResult, TargetTable, Value, WriteBatch
from pipeline.database import make_engine
from pipeline.ledger import Ledger, open_ledger
from pipeline.ledger_batches import PART_RECORDS, decode_column, encode_column
from pipeline.ledger_removed import remove_records, tables_of_record
from pipeline.ledger_writes import DROPPED, Write, WriteCount, WriteLedger
from pipeline.migrations import MIGRATIONS, migrate

RUNS = ("r1", "r2", "r3", "undo-r1")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    place = tmp_path / "ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgres").url
    with open_ledger(place) as opened:
        for run_id in RUNS:
            opened.start_run(run_id, "score", {}, "name: demo")
        yield opened


@pytest.fixture
def writes(ledger: Ledger) -> WriteLedger:
    return ledger.writes


def batch(
    ids: Sequence[str],
    values: dict[str, tuple[list[Any], list[Any]]],
    table: str = "deals",
    action: Action = "update",
) -> WriteBatch:
    """Batch of records; by field the old and the new values."""
    olds, news = [old for old, _ in values.values()], [new for _, new in values.values()]
    return WriteBatch(TargetTable(table, "id"), action, tuple(values), list(ids), olds, news, "")


def score(ids: Sequence[str], new: Sequence[Value], old: Sequence[Value] | None = None) -> WriteBatch:
    return batch(ids, {"score": (list(old or [None] * len(ids)), list(new))})


def send(writes: WriteLedger, run_id: str, planned: WriteBatch, *ends: Any) -> int:
    """Plan and settle one batch; ends are statuses, done by default."""
    [number] = writes.store_plan(run_id, [planned], [])
    writes.intend(number)
    statuses = ends or ["done"] * len(planned.ids)
    writes.settle(number, [RecordResult(one, end) for one, end in zip(planned.ids, statuses, strict=True)])
    return number


def ends(found: Sequence[Write]) -> list[tuple[str, str, str]]:
    return [(write.record_id, write.field, write.state) for write in found]


def rows(ledger: Ledger, query: str) -> list[tuple[Any, ...]]:
    with ledger.writes._engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_a_batch_is_planned_then_intended_then_settled_record_by_record(writes: WriteLedger) -> None:
    plan = [
        batch(["1", "2"], {"score": ([None, 0.5], [0.1, 0.2]), "grade": (["B", "B"], ["A", None])}),
        score(["3"], [0.3]),
    ]
    refused = Write("r1", "deals", "4", "score", 1.0, 0.4, "conflict", error="mine")
    first, second = writes.store_plan("r1", plan, [refused])
    assert second > first
    assert ends(writes.outstanding("r1")) == [
        ("1", "score", "planned"),
        ("1", "grade", "planned"),
        ("2", "score", "planned"),
        ("2", "grade", "planned"),
        ("3", "score", "planned"),
    ]
    writes.intend(first)
    assert {write.record_id for write in writes.interrupted("deals")} == {"1", "2"}
    writes.settle(first, [RecordResult("1", "done"), RecordResult("2", "missing", "gone")])
    found = {(w.record_id, w.field): (w.old, w.new, w.state, w.attempts, w.error) for w in writes.of_run("r1")}
    assert found == {
        ("1", "score"): (None, 0.1, "done", 1, None),
        ("1", "grade"): ("B", "A", "done", 1, None),
        ("2", "score"): (0.5, 0.2, "missing", 1, "gone"),
        ("2", "grade"): ("B", None, "missing", 1, "gone"),
        ("3", "score"): (None, 0.3, "planned", 0, None),  # its batch was never sent
        ("4", "score"): (1.0, 0.4, "conflict", 0, "mine"),
    }
    assert ends(writes.of_run("r1", ["conflict", "planned"])) == [("4", "score", "conflict"), ("3", "score", "planned")]


def test_a_batch_of_three_with_a_conflict_and_a_missing_record_counts_each_value_once(writes: WriteLedger) -> None:
    values: dict[str, Any] = {"score": ([0.5] * 3, [0.1, 0.2, 0.3]), "grade": (["B"] * 3, ["A"] * 3)}
    send(writes, "r1", batch(["1", "2", "3"], values), "conflict", "missing", "done")
    assert writes.counts("r1") == [
        WriteCount("r1", "deals", "conflict", 2),
        WriteCount("r1", "deals", "done", 2),
        WriteCount("r1", "deals", "missing", 2),
    ]
    assert writes.counts("r2") == []
    assert writes.last_values("deals", ["score"])["score"].ids == ["3"]


def test_a_record_to_be_tried_again_stays_intended(writes: WriteLedger) -> None:
    send(writes, "r1", score(["1", "2"], [0.1, 0.2]), "done", "retry")
    assert writes.counts() == [WriteCount("r1", "deals", "done", 1), WriteCount("r1", "deals", "intended", 1)]
    assert ends(writes.interrupted("deals")) == [("2", "score", "intended")]
    assert writes.last_values("deals", ["score"])["score"].ids == ["1"]


def test_the_last_value_is_the_newest_one_that_was_done(writes: WriteLedger) -> None:
    send(writes, "r2", score(["1", "2"], [0.2, 0.7]))  # the order of sending counts, not of names
    send(writes, "r1", score(["1"], [0.1]))
    send(writes, "r3", score(["1"], [0.3]), "conflict")
    send(writes, "r3", batch(["1"], {"score": ([None], [0.9])}, table="others"))
    last = writes.last_values("deals", ["score", "grade"])
    assert sorted(zip(last["score"].ids, last["score"].values, last["score"].run_ids, strict=True)) == [
        ("1", 0.1, "r1"),
        ("2", 0.7, "r2"),
    ]
    assert last["grade"].ids == []


def test_runs_before_the_one_that_has_every_record_are_not_read(writes: WriteLedger) -> None:
    send(writes, "r1", score(["1", "2", "9"], [0.1, 0.2, 0.9]))
    send(writes, "r2", score(["1", "2"], [0.3, 0.4]))
    assert writes.last_values("deals", ["score"], ["1", "2"])["score"].ids == ["1", "2"]
    assert sorted(writes.last_values("deals", ["score"], ["1", "9"])["score"].ids) == ["1", "2", "9"]


def test_what_was_planned_and_never_sent_is_dropped(writes: WriteLedger) -> None:
    sent, _, _ = writes.store_plan(
        "r1", [score(["1"], [0.1]), score(["2"], [0.2]), batch(["3"], {"a": ([1], [2])}, "others")], []
    )
    writes.intend(sent)
    assert writes.store_plan("r2", [], [], tables=["deals"]) == []
    found = {write.record_id: (write.state, write.error) for write in writes.of_run("r1")}
    assert found == {"1": ("intended", None), "2": ("dropped", DROPPED.error), "3": ("planned", None)}


def resolve(writes: WriteLedger, *ends: Any) -> None:
    """Say what became of the interrupted writes, in their order."""
    pairs = zip(writes.interrupted("deals"), ends, strict=True)
    writes.resolve([replace(write, state=end, error=None) for write, end in pairs])


def test_an_interrupted_batch_is_resolved_value_by_value(writes: WriteLedger) -> None:
    [number] = writes.store_plan("r1", [batch(["1", "2"], {"a": ([1, 1], [2, 2]), "b": ([3, 3], [4, 4])})], [])
    writes.intend(number)
    resolve(writes, "done", "conflict", "done", "done")
    assert writes.outstanding() == []
    assert ends(writes.of_run("r1")) == [
        ("1", "a", "done"),
        ("1", "b", "conflict"),
        ("2", "a", "done"),
        ("2", "b", "done"),
    ]
    assert rows_of(writes, "SELECT count(*) FROM batch_exceptions") == 1


def test_what_nobody_resolved_is_still_outstanding(writes: WriteLedger) -> None:
    [number] = writes.store_plan("r1", [score(["1", "2"], [0.1, 0.2])], [])
    writes.intend(number)
    first, _ = writes.interrupted("deals")
    for state in ("done", "rejected"):  # said twice about the same one
        writes.resolve([replace(first, state=state)])  # type: ignore[arg-type]
    assert ends(writes.of_run("r1")) == [("1", "score", "rejected"), ("2", "score", "intended")]


def rows_of(writes: WriteLedger, query: str) -> Any:
    with writes._engine.connect() as connection:
        return connection.exec_driver_sql(query).scalar()


def test_a_run_tells_of_each_value_what_it_planned_last(writes: WriteLedger) -> None:
    values: dict[str, Any] = {"score": ([0.5, 0.5], [0.1, 0.2]), "grade": (["B", "B"], ["A", "A"])}
    send(writes, "r1", batch(["1", "2"], values))
    writes.store_plan("r1", [score(["2"], [0.3], [0.9])], [])
    assert [(w.record_id, w.field, w.old, w.state) for w in writes.of_run("r1")] == [
        ("1", "score", 0.5, "done"),
        ("1", "grade", "B", "done"),
        ("2", "grade", "B", "done"),
        ("2", "score", 0.9, "planned"),
    ]
    last = writes.last_values("deals", ["score"])["score"]
    assert dict(zip(last.ids, last.values, strict=True)) == {"1": 0.1, "2": 0.2}  # that is still what we wrote
    assert sum(count.count for count in writes.counts()) == 4


def test_a_batch_that_is_planned_anew_as_a_whole_is_hidden_as_a_whole(writes: WriteLedger) -> None:
    for new in ([0.1, 0.2], [0.3, 0.4]):
        send(writes, "r1", score(["1", "2"], new))
    assert [(w.record_id, w.new) for w in writes.of_run("r1")] == [("1", 0.3), ("2", 0.4)]
    assert rows_of(writes, "SELECT count(*) FROM batch_exceptions") == 0


def test_what_a_run_has_done_is_not_undone_by_a_later_refusal(writes: WriteLedger) -> None:
    send(writes, "r1", score(["1"], [0.1]))
    writes.store_plan("r1", [], [Write("r1", "deals", "1", "score", 0.9, 0.1, "conflict")])
    [write] = writes.of_run("r1")
    assert (write.state, write.old, write.new) == ("done", None, 0.1)


def test_a_refusal_is_replaced_by_the_next_one_and_by_a_plan(writes: WriteLedger) -> None:
    for error in ("first", "second"):
        writes.store_plan("r1", [], [Write("r1", "deals", "1", "score", 0.9, 0.1, "conflict", error=error)])
    assert [(w.state, w.error) for w in writes.of_run("r1")] == [("conflict", "second")]
    writes.store_plan("r1", [score(["1"], [0.1])], [])
    assert ends(writes.of_run("r1")) == [("1", "score", "planned")]


def test_a_run_is_read_batch_by_batch_for_its_undo(writes: WriteLedger) -> None:
    send(writes, "r1", score(["1", "2", "3"], [0.1, 0.2, 0.3]), "done", "conflict", "done")
    [number] = writes.store_plan("r1", [score(["4"], [0.4]), score(["5"], [0.5])], [])[:1]
    writes.intend(number)
    whole, single = writes.written("r1")
    assert [(one.end.state, one.ids, one.new) for one in whole] == [
        ("done", ["1", "3"], [[0.1, 0.3]]),
        ("intended", ["4"], [[0.4]]),
    ]
    assert single == []


def test_the_view_shows_every_value_once_with_its_end(ledger: Ledger) -> None:
    many = [str(number) for number in range(PART_RECORDS + 1)]
    send(ledger.writes, "r1", score(many, [number / 8 for number in range(len(many))]))
    values: dict[str, Any] = {"score": ([None, b"x"], [0.1, 0.2]), "grade": (["B", "B"], ["逾期", None])}
    send(ledger.writes, "r2", batch(["1", "2"], values), "done", "missing")
    ledger.writes.store_plan("r2", [], [Write("r2", "deals", "3", "score", 1.0, 0.4, "conflict", error="mine")])
    query = "SELECT {} FROM writes WHERE run_id = 'r2' ORDER BY record_id, field"
    assert rows(ledger, query.format("record_id, field, old, new, state, attempts, error")) == [
        ("1", "grade", '"B"', '"逾期"', "done", 1, None),
        ("1", "score", None, "0.1", "done", 1, None),
        ("2", "grade", '"B"', None, "missing", 1, None),
        ("2", "score", '{"base64":"eA=="}', "0.2", "missing", 1, None),
        ("3", "score", "1.0", "0.4", "conflict", 0, "mine"),
    ]
    found = rows(ledger, "SELECT record_id, new FROM writes WHERE run_id = 'r1'")
    assert {record_id: float(new) for record_id, new in found} == {one: int(one) / 8 for one in many}


@pytest.mark.parametrize(
    "values",
    [[], [None], [0.1 + 0.2, -0.0, 1e300, float("inf"), -7, 2**70, True, "", "\x00\n", b"\x00\xff", '逾期 "x"']],
)
def test_columns_come_back_as_they_were_written(values: list[Any]) -> None:
    back = decode_column(encode_column(values))
    assert back == values
    assert [type(one) for one in back] == [type(one) for one in values]
    assert str(back) == str(values)  # minus zero too


def test_what_is_noted_is_on_the_disk_before_the_call_returns(tmp_path: Path) -> None:
    statements: list[str] = []
    with open_ledger(tmp_path / "ledger.db") as ledger:
        ledger.start_run("r1", "score", {}, "")
        assert rows(ledger, "PRAGMA synchronous") == [(2,)]  # FULL: each commit is synced
        with sqlite3.connect(tmp_path / "ledger.db") as other:
            see = "SELECT state FROM batches"
            [number] = ledger.writes.store_plan("r1", [score(["1"], [0.1])], [])
            statements += [state for (state,) in other.execute(see)]
            ledger.writes.intend(number)
            statements += [state for (state,) in other.execute(see)]
            ledger.writes.settle(number, [RecordResult("1", "done")])
            statements += [state for (state,) in other.execute(see)]
        other.close()
    assert statements == ["planned", "intended", "done"]  # another program sees each at once


def test_a_forgotten_record_is_taken_out_of_its_batches_with_what_became_of_it(ledger: Ledger) -> None:
    values: dict[str, Any] = {"score": ([0.5] * 3, [0.1, 0.2, 0.3]), "grade": (["B"] * 3, ["A"] * 3)}
    send(ledger.writes, "r1", batch(["1", "22", "3"], values), "done", "missing", "done")
    send(ledger.writes, "r2", score(["22"], [0.9]))  # a batch of nobody else goes as a whole
    with ledger.writes._engine.begin() as connection:
        assert [tables_of_record(connection, one) for one in ("22", "2")] == [{"deals"}, set()]
        gone = remove_records(connection, lambda table_name, ids: {"22"}.intersection(ids))
        again = remove_records(connection, lambda table_name, ids: {"22"}.intersection(ids))
    assert (gone, again) == ({"r1": 2, "r2": 1}, {})
    assert [(w.record_id, w.new) for w in ledger.writes.of_run("r1")] == [
        ("1", 0.1),
        ("1", "A"),
        ("3", 0.3),
        ("3", "A"),
    ]
    assert ledger.writes.counts() == [WriteCount("r1", "deals", "done", 4)]
    assert rows(ledger, "SELECT * FROM batch_exceptions") == []


OLD_WRITES = [
    ("r1", "1", "done", 0.5, 0.1, 1),
    ("r1", "2", "conflict", 0.5, 0.2, None),
    ("r2", "1", "done", 0.1, 0.3, 2),
    ("r2", "3", "intended", None, 0.4, 3),
    ("r2", "4", "planned", None, 0.5, 4),
    ("r2", "5", "rejected", None, 0.6, 2),
    ("r2", "6", "missing", None, 0.7, None),
    ("r2", "7", "dropped", None, 0.8, 1),
]
"""Run, record, state, old, new and batch, as migration 4 kept them."""


@pytest.fixture(params=["sqlite", "postgresql"])
def old_place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """A ledger from before there were batches, with writes in every state."""
    place = tmp_path / "ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgres").url
    engine = make_engine(place)
    migrate(engine, MIGRATIONS[:4])
    with engine.begin() as connection:
        for run_id in RUNS:
            values = f"'{run_id}', 'score', 'done', '2024-05-01', NULL, '{{}}', ''"
            connection.exec_driver_sql(f"INSERT INTO runs VALUES ({values})")
        for run_id, record_id, state, old, new, number in OLD_WRITES:
            before, after = ("NULL" if value is None else f"'{value}'" for value in (old, new))
            values = f"'{run_id}', 'deals', '{record_id}', 'score', {before}, {after}, '{state}', 'update', 1, NULL"
            connection.exec_driver_sql(f"INSERT INTO writes VALUES ({values}, {number or 'NULL'}, '2024-05-01')")
    engine.dispose()
    return place


def test_every_write_of_an_old_ledger_is_still_there(old_place: Path | str) -> None:
    with open_ledger(old_place) as ledger:
        found = [
            (w.run_id, w.record_id, w.state, w.old, w.new) for run in ("r1", "r2") for w in ledger.writes.of_run(run)
        ]
        assert sorted(found) == sorted(row[:5] for row in OLD_WRITES)
        assert len(rows(ledger, "SELECT * FROM writes")) == len(OLD_WRITES)
        last = ledger.writes.last_values("deals", ["score"])["score"]
        assert (last.ids, last.values, last.run_ids) == (["1"], [0.3], ["r2"])


def test_an_old_ledger_is_written_on(old_place: Path | str) -> None:
    with open_ledger(old_place) as ledger:
        writes = ledger.writes
        assert ends(writes.interrupted("deals")) == [("3", "score", "intended")]
        resolve(writes, "done")
        assert writes.store_plan("r2", [], [], tables=["deals"]) == []
        assert writes.outstanding() == []
        assert send(writes, "r3", score(["1"], [0.9])) == 5  # after every number of old
        send(writes, "r2", score(["3", "5"], [0.4, 0.6]))  # done and rejected before, now planned anew
        last = writes.last_values("deals", ["score"])["score"]
        assert dict(zip(last.ids, last.run_ids, strict=True)) == {"1": "r3", "3": "r2", "5": "r2"}
        assert [w.record_id for w in writes.of_run("r2") if w.state == "done"] == ["1", "3", "5"]
        whole, single = writes.written("r2")
        assert ([one.ids for one in whole], [w.record_id for w in single]) == ([["3", "5"]], ["1"])
