"""Sending batches to the CRM: what is noted before and after, and what is done with a batch that is refused."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from operator import attrgetter
from threading import Event

from pipeline.adapters.patient import BudgetError, PatientTarget
from pipeline.adapters.target import RecordResult, WriteBatch
from pipeline.ledger import Ledger

AHEAD_FROM = 8
"""Batches from which on threads pay."""

WAITS = "the requests of this run are used up; the next run goes on"
"""Why a record waits."""


@dataclass(frozen=True)
class Sent:
    """A batch that was sent, under its number in the ledger, and what became of its records."""

    number: int
    batch: WriteBatch
    results: Sequence[RecordResult]

    @cached_property
    def is_done(self) -> bool:
        """Whether every record was written."""
        return set(map(attrgetter("status"), self.results)) <= {"done"}


Numbered = Sequence[tuple[int, WriteBatch]]
SendOne = Callable[[int, WriteBatch], Sent]


def send_batches(
    ledger: Ledger,
    target: PatientTarget,
    run_id: str,
    batches: Numbered,
    advance: Callable[[int], None],
) -> list[Sent]:
    """Send batches one after the other, until the budget has no room for the next one.

    Every batch is noted as intended before it is sent, and what became of it after. Many batches without a
    budget are noted by a thread, ahead of those that are sent: the CRM works while the ledger waits for its disk.
    Where it takes several at a time, they are sent by threads, too: it works while the next ones are made.

    Parameters
    ----------
    ledger : Ledger
        Where it is noted.
    target : PatientTarget
        The CRM.
    run_id : str
        The run.
    batches : sequence of int and WriteBatch
        Number in the ledger, and batch.
    advance : callable
        Told after each batch how many values it had.

    Returns
    -------
    list of Sent
        As far as it went; the others are still planned.

    """
    send_one = partial(_send_one, target, run_id)
    writers = target.capabilities().writers
    if target.patience.left is not None or len(batches) < AHEAD_FROM:
        steps = _send_each(ledger, batches, send_one, target)
    elif writers == 1:  # an adapter that does not say that it may be called from threads is not
        steps = _send_ahead(ledger, batches, send_one)
    else:
        steps = _send_side_by_side(ledger, batches, send_one, writers)
    found = []
    for one in steps:
        found.append(one)
        advance(len(one.batch.ids) * len(one.batch.fields))
    return found


def _send_each(ledger: Ledger, batches: Numbered, send_one: SendOne, target: PatientTarget) -> Iterator[Sent]:
    """Note, send and note the end of one batch after the other."""
    for number, batch in batches:
        left = target.patience.left
        if left is not None and left < target.per_batch:
            return
        ledger.writes.intend(number)
        sent = send_one(number, batch)
        ledger.writes.settle(number, sent.results)
        yield sent
        if sent.results and sent.results[-1].message == WAITS:
            return


def _send_ahead(ledger: Ledger, batches: Numbered, send_one: SendOne) -> Iterator[Sent]:
    """Send batches while a thread notes the end of the one before and the intent of the next one."""
    with ThreadPoolExecutor(1) as clerk:
        intended = clerk.submit(ledger.writes.intend, batches[0][0])
        settled: Future[None] | None = None
        for at, (number, batch) in enumerate(batches, start=1):
            intended.result()
            if at < len(batches):
                intended = clerk.submit(ledger.writes.intend, batches[at][0])
            sent = send_one(number, batch)
            if settled is not None:
                settled.result()
            settled = clerk.submit(ledger.writes.settle, number, sent.results)
            yield sent
        if settled is not None:
            settled.result()


def _send_side_by_side(ledger: Ledger, batches: Numbered, send_one: SendOne, writers: int) -> Iterator[Sent]:
    """Send several batches at a time, each by a thread, while another thread notes intents and ends.

    After an error the batches that were begun come to their end, and no other is sent.
    """
    under_way: deque[Future[tuple[Sent, Future[None]]]] = deque()
    failed = Event()
    with ThreadPoolExecutor(1) as clerk, ThreadPoolExecutor(writers) as senders:

        def send_noted(number: int, batch: WriteBatch, intended: Future[None]) -> tuple[Sent, Future[None]]:
            intended.result()
            if failed.is_set():
                raise CancelledError
            try:
                sent = send_one(number, batch)
            except BaseException:
                failed.set()
                raise
            return sent, clerk.submit(ledger.writes.settle, number, sent.results)

        def end_first() -> Sent:
            sent, settled = under_way.popleft().result()
            settled.result()
            return sent

        try:
            for number, batch in batches:
                if len(under_way) > writers:
                    yield end_first()
                intended = clerk.submit(ledger.writes.intend, number)
                under_way.append(senders.submit(send_noted, number, batch, intended))
            while under_way:
                yield end_first()
        finally:
            senders.shutdown(cancel_futures=True)


def _send_one(target: PatientTarget, run_id: str, number: int, planned: WriteBatch) -> Sent:
    batch = replace(planned, key=f"{run_id}/{number}")
    return Sent(number, batch, send(target, batch))


def send(target: PatientTarget, batch: WriteBatch) -> list[RecordResult]:
    """Write a batch; what an atomic CRM refuses together is halved until only the bad records are refused.

    With k bad records among n this takes about 2 k log2(n / k) requests more, and never more than 2 n.
    """
    try:
        results = list(target.write_batch(batch))
    except BudgetError:
        return [RecordResult(record_id, "retry", WAITS) for record_id in batch.ids]
    refused = [at for at, result in enumerate(results) if result.status == "rejected"]
    if len(refused) < 2 or target.capabilities().failure != "atomic":
        return results
    middle = len(refused) // 2
    parts = [_pick(batch, refused[:middle]), _pick(batch, refused[middle:])]
    ends = {result.record_id: result for part in parts for result in send(target, part)}
    return [ends.get(result.record_id, result) for result in results]


def _pick(batch: WriteBatch, places: Sequence[int]) -> WriteBatch:
    """Return a batch of some of its records."""
    return replace(
        batch,
        ids=[batch.ids[at] for at in places],
        expected=[[column[at] for at in places] for column in batch.expected],
        values=[[column[at] for at in places] for column in batch.values],
        key=f"{batch.key}/{places[0]}-{places[-1]}",
    )
