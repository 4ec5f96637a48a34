"""What was written to the CRM, value by value: intended before, settled after.

The states of a write
---------------------
planned     it is going to be written and nothing has been sent yet
intended    it was sent, or is just about to be; only the CRM knows whether it arrived
done        the CRM has the new value
conflict    somebody else had changed the value, so it was left alone
missing     the record is no longer in the CRM
rejected    the CRM refused the value
dropped     the run ended before it was written, and a later one decides anew

What is sent is stored batch by batch (see `pipeline.ledger_batches`), what is refused before it is sent one
by one. The view `writes` of the database shows both, value by value.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, func, select, true, update

from pipeline.adapters.target import RecordResult, Value, WriteBatch
from pipeline.database import answering, writing
from pipeline.ledger_batches import (
    BATCHES,
    EXCEPTIONS,
    Cell,
    End,
    State,
    StoredBatch,
    insert_batches,
    read_batches,
    save_exceptions,
)
from pipeline.ledger_last import add_last, add_last_singles, count_writes, read_contested
from pipeline.ledger_replaced import replace_stored
from pipeline.ledger_singles import (
    SINGLES,
    Write,
    encode,
    explode,
    insert_refused,
    now,
    read_singles,
    settle_singles,
)

__all__ = ["OUTSTANDING", "LastValues", "State", "StoredBatch", "Write", "WriteCount", "WriteLedger", "encode", "now"]

OUTSTANDING: tuple[State, ...] = ("planned", "intended")
"""States of writes whose end is not known."""

INTENDED: tuple[State, ...] = ("intended",)

DROPPED = End("dropped", "the job ended before it was sent")


@dataclass(frozen=True, slots=True)
class LastValues:
    """The newest values of ours that a field got, and the runs that wrote them, column by column."""

    ids: list[str]
    values: list[Value]
    run_ids: list[str]


@dataclass(frozen=True)
class WriteCount:
    """How many writes of a run are in a state, for one table."""

    run_id: str
    table_name: str
    state: State
    count: int


class WriteLedger:
    """The tables of a ledger that tell what was written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def store_plan(
        self,
        run_id: str,
        batches: Sequence[WriteBatch],
        refused: Sequence[Write],
        ended: Sequence[Write] = (),
        tables: Iterable[str] = (),
    ) -> list[int]:
        """Store what is going to be written and what is not, before anything is sent.

        How earlier jobs ended is noted in the same transaction: a conflict that was found with an interrupted
        write of theirs is nowhere else than in this plan.

        Parameters
        ----------
        run_id : str
            The run.
        batches : sequence of WriteBatch
            What will be sent, in that order; a value that this run has stored before is planned anew.
        refused : sequence of Write
            Writes that end here (conflict, missing); one that this run has done stays done.
        ended : sequence of Write
            Interrupted writes of earlier jobs, and how they ended.
        tables : iterable of str
            Tables for which all that was planned before and never sent is dropped.

        Returns
        -------
        list of int
            The number of each batch, larger than any before.

        """
        with answering(self._engine, "storing the plan"), writing(self._engine).begin() as connection:
            _resolve(connection, ended)
            for name in tables:
                _drop_planned(connection, name)
            refused = replace_stored(connection, run_id, batches, refused)
            newest = [connection.scalar(select(func.max(number))) for number in (BATCHES.c.number, SINGLES.c.batch)]
            numbers = insert_batches(connection, run_id, max(number or 0 for number in newest) + 1, batches)
            insert_refused(connection, refused)
        return numbers

    def intend(self, number: int) -> None:
        """Note that a batch is about to be sent."""
        values = {"state": "intended", "attempts": BATCHES.c.attempts + 1}
        with answering(self._engine, "noting what is about to be written"), writing(self._engine).begin() as connection:
            connection.execute(update(BATCHES).where(BATCHES.c.number == number).values(values))

    def settle(self, number: int, results: Sequence[RecordResult]) -> None:
        """Note what became of each record of a batch; records with status `retry` stay intended."""
        ends = {(one.status, one.message) for one in results}
        with answering(self._engine, "noting what was written"), writing(self._engine).begin() as connection:
            for status, message in ends:
                if status != "retry" and len(ends) == 1:
                    _end_batch(connection, number, End(status, message))
                    return
            names = next(read_batches(connection, _only(number))).fields
            settled = {
                (one.record_id, name): End(one.status, one.message)
                for one in results
                if one.status != "retry"
                for name in names
            }
            _settle(connection, number, settled, whole=len(settled) == len(results) * len(names))

    def resolve(self, writes: Sequence[Write]) -> None:
        """Note the ends of writes, which were found out by reading."""
        with answering(self._engine, "settling writes"), writing(self._engine).begin() as connection:
            _resolve(connection, writes)

    def interrupted(self, table_name: str) -> list[Write]:
        """Return writes to a table that were sent, or just about to be, and whose end is not known."""
        return self._read(INTENDED, BATCHES.c.table_name == table_name, SINGLES.c.table_name == table_name)

    def outstanding(self, run_id: str | None = None, table_name: str | None = None) -> list[Write]:
        """Return writes whose end is not known, of a run or a table if given, oldest first."""
        wanted = [("run_id", run_id), ("table_name", table_name)]
        tests = [(BATCHES.c[name] == value, SINGLES.c[name] == value) for name, value in wanted if value is not None]
        return self._read(
            OUTSTANDING, and_(true(), *(one for one, _ in tests)), and_(true(), *(one for _, one in tests))
        )

    def of_run(self, run_id: str, states: Iterable[State] | None = None) -> list[Write]:
        """Return the writes of a run, in some states if given, in the order in which they were sent."""
        known = None if states is None else tuple(states)
        return self._read(known, BATCHES.c.run_id == run_id, SINGLES.c.run_id == run_id)

    def written(self, run_id: str) -> tuple[list[StoredBatch], list[Write]]:
        """Return what a run has written, or may have: batches, oldest first, and what is stored one by one.

        The state of a batch is done or intended; its records with values that ended differently are not
        in it, their values that are done or intended are among the single ones.
        """
        whole, single = [], []
        with answering(self._engine, "reading writes"), self._engine.connect() as connection:
            states = SINGLES.c.state.in_(("done", "intended"))
            single += read_singles(connection, SINGLES.c.run_id == run_id, states)
            numbers = select(BATCHES.c.number).where(BATCHES.c.run_id == run_id, BATCHES.c.replaced == 0)
            for batch in reversed(list(read_batches(connection, numbers))):
                odd = {record_id for record_id, _ in batch.exceptions}
                single += explode(batch, ("done", "intended"), odd)
                if batch.end.state in ("done", "intended"):
                    whole.append(batch.without(odd))
        return whole, single

    def _read(
        self, states: Collection[State] | None, of_batches: ColumnElement[bool], of_singles: ColumnElement[bool]
    ) -> list[Write]:
        """Writes in some states that meet conditions."""
        numbers = select(BATCHES.c.number).where(of_batches, BATCHES.c.replaced == 0)
        if states is not None:
            of_singles = and_(of_singles, SINGLES.c.state.in_(states))
            if set(states) <= set(OUTSTANDING):  # no other batch has values in these states
                numbers = numbers.where(BATCHES.c.state.in_(states))
        with answering(self._engine, "reading writes"), self._engine.connect() as connection:
            found = read_singles(connection, of_singles)
            for batch in reversed(list(read_batches(connection, numbers))):
                found += explode(batch, states)
        return found

    def last_values(
        self, table_name: str, fields: Iterable[str], among: Collection[str] | None = None
    ) -> Mapping[str, LastValues]:
        """Return, by field, the newest values of ours that a table got.

        Parameters
        ----------
        table_name : str
            Table of the CRM.
        fields : iterable of str
            Its fields.
        among : collection of str or None
            Records that are asked about; old runs are not read when newer ones have them all. Others may
            be among those returned.

        """
        known: dict[str, tuple[dict[str, Value], dict[str, str]]] = {name: ({}, {}) for name in fields}
        asked = None if among is None else set(among)
        numbers = select(BATCHES.c.number).where(BATCHES.c.table_name == table_name)
        with answering(self._engine, "reading the last writes"), self._engine.connect() as connection:
            run_id = None
            for batch in read_batches(connection, numbers, with_old=False):
                if asked is not None and batch.run_id != run_id and all(asked <= it.keys() for it, _ in known.values()):
                    break
                run_id = batch.run_id
                add_last(batch, known)
            else:
                add_last_singles(connection, table_name, known)
        return {
            name: LastValues(list(values), list(values.values()), list(run_ids.values()))
            for name, (values, run_ids) in known.items()
        }

    def contested(self, table_name: str, fields: Collection[str]) -> Mapping[str, set[str]]:
        """Return, by field, the records that plans left to people, because somebody had edited them."""
        with answering(self._engine, "reading the conflicts"), self._engine.connect() as connection:
            return read_contested(connection, table_name, fields)

    def counts(self, run_id: str | None = None) -> list[WriteCount]:
        """Return how many writes are in each state, by run and table."""
        with answering(self._engine, "counting writes"), self._engine.connect() as connection:
            found = count_writes(connection, run_id)
        return [WriteCount(*key, count) for key, count in sorted(found.items()) if count]  # type: ignore[arg-type]


def _resolve(connection: Connection, writes: Sequence[Write]) -> None:
    """Note the ends of writes, one by one."""
    of_batch: dict[int, dict[Cell, End]] = {}
    singles = []
    for write in writes:
        end = End(write.state, write.error)
        if write.batch is None:
            singles.append((write, end))
        else:
            of_batch.setdefault(write.batch, {})[write.record_id, write.field] = end
    settle_singles(connection, singles)
    for number, ends in of_batch.items():
        odd = select(EXCEPTIONS.c.record_id, EXCEPTIONS.c.field).where(EXCEPTIONS.c.batch == number)
        settled = ends.keys() | {(record_id, name) for record_id, name in connection.execute(odd)}
        cells = connection.scalar(select(BATCHES.c.cells).where(BATCHES.c.number == number))
        _settle(connection, number, ends, whole=len(settled) == cells)


def _drop_planned(connection: Connection, table_name: str) -> None:
    """Drop what was planned for a table and never sent."""
    end = {"state": DROPPED.state, "error": DROPPED.error, "settled_at": now()}
    for rows in (BATCHES, SINGLES):
        planned = and_(rows.c.table_name == table_name, rows.c.state == "planned")
        connection.execute(update(rows).where(planned).values(end))


def _only(number: int) -> Select[Any]:
    """Query for the number of one batch."""
    return select(BATCHES.c.number).where(BATCHES.c.number == number)


def _end_batch(connection: Connection, number: int, end: End) -> None:
    """Give a batch its end."""
    values = {"state": end.state, "error": end.error, "settled_at": now()}
    connection.execute(update(BATCHES).where(BATCHES.c.number == number).values(values))


def _settle(connection: Connection, number: int, ends: Mapping[Cell, End], whole: bool) -> None:
    """Give values of a batch their ends; if no other is left, the commonest end becomes that of the batch."""
    if whole and ends:
        [(common, _)] = Counter(ends.values()).most_common(1)
        _end_batch(connection, number, common)
        ends = {cell: end for cell, end in ends.items() if end != common}
    save_exceptions(connection, number, ends, now())
