"""Sending batches to the CRM: what is noted before and after, and what is done with a batch that is refused."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter

from pipeline.adapters.patient import BudgetError, PatientTarget
from pipeline.adapters.target import RecordResult, WriteBatch
from pipeline.ledger import Ledger

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


def send_batches(
    ledger: Ledger,
    target: PatientTarget,
    run_id: str,
    batches: Iterable[tuple[int, WriteBatch]],
    advance: Callable[[int], None],
) -> list[Sent]:
    """Send batches one after the other, until the budget has no room for the next one.

    Every batch is noted as intended before it is sent, and what became of it after.

    Parameters
    ----------
    ledger : Ledger
        Where it is noted.
    target : PatientTarget
        The CRM.
    run_id : str
        The run.
    batches : iterable of int and WriteBatch
        Number in the ledger, and batch.
    advance : callable
        Told after each batch how many values it had.

    Returns
    -------
    list of Sent
        As far as it went; the others are still planned.

    """
    sent: list[Sent] = []
    for number, planned in batches:
        left = target.patience.left
        if left is not None and left < target.per_batch:
            break
        batch = replace(planned, key=f"{run_id}/{number}")
        ledger.writes.intend(number)
        results = send(target, batch)
        ledger.writes.settle(number, results)
        sent.append(Sent(number, batch, results))
        advance(len(batch.ids) * len(batch.fields))
        if results and results[-1].message == WAITS:
            break
    return sent


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
