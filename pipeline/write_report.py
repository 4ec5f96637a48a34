"""What a write-back did, and what it left outstanding."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.errors import CrmError
from pipeline.ledger import Ledger
from pipeline.ledger_writes import OUTSTANDING, Write
from pipeline.own_rows import OwnReport
from pipeline.read_back import ReadBack
from pipeline.write_batches import WAITS, Sent
from pipeline.write_plan import TablePlan


@dataclass(frozen=True)
class TableReport:
    """What was written to one table.

    `fields`, `unchanged`, `rejected`, `outstanding`, `waiting` and `superseded` count values, the others
    records. Outstanding is what the CRM did not take yet, waiting what the budget of requests left for the
    next run, `read_back` how many records were read again in the end.
    """

    table: str
    updated: int = 0
    added: int = 0
    removed: int = 0
    fields: int = 0
    unchanged: int = 0
    skipped: int = 0
    conflicts: int = 0
    missing: int = 0
    rejected: int = 0
    outstanding: int = 0
    waiting: int = 0
    superseded: int = 0
    read_back: int = 0


@dataclass(frozen=True)
class WriteReport:
    """What was written to the CRM by a run.

    Parameters
    ----------
    run_id : str
        The run.
    seconds : float
        How long it took.
    tables : tuple of TableReport
        What became of each table.
    requests : int
        Requests that were sent to the CRM.
    problems : tuple of Write
        Values that the CRM refused or did not keep, or that somebody changed after they were written.
    notes : tuple of str
        What else people should know, in sentences.
    own : OwnReport or None
        What was added to tables of our own, or taken back.

    """

    run_id: str
    seconds: float
    tables: tuple[TableReport, ...]
    requests: int = 0
    problems: tuple[Write, ...] = ()
    notes: tuple[str, ...] = ()
    own: OwnReport | None = None

    def adding(self, own: OwnReport, requests: int) -> "WriteReport":
        """Return the report with what was added beside the fields, and all requests that were sent."""
        return replace(self, own=own, requests=requests)

    @property
    def records(self) -> int:
        """Records that were updated, added or removed."""
        return sum(table.updated + table.added + table.removed for table in self.tables)

    @property
    def waiting(self) -> int:
        """Values that the budget of requests left for the next run."""
        return sum(table.waiting for table in self.tables)

    def check(self) -> None:
        """Check that nothing is left over; what waits for the budget of the next run is not.

        Raises
        ------
        CrmError
            If the CRM refused values, did not keep some, or did not take some yet.

        """
        rejected = sum(table.rejected for table in self.tables)
        outstanding = sum(table.outstanding for table in self.tables)
        if rejected or outstanding:
            lost = next((one for one in self.problems if one.state == "rejected"), None)
            first = f" ('{lost.table_name}.{lost.field}' of record '{lost.record_id}': {lost.error})" if lost else ""
            raise CrmError(
                f"The CRM refused {rejected:,} values{first} and has yet to take {outstanding:,} of run "
                f"'{self.run_id}'. `leadsieve writeback status --run {self.run_id}` lists them with the "
                "reasons; put right what refuses them (a field, a rule of the CRM) and run again."
            )
        if self.own is not None:
            self.own.check()


@dataclass(frozen=True)
class RunStatus:
    """How far the writes of a run to one table have come."""

    run_id: str
    kind: str
    started_at: datetime
    table: str
    outstanding: int
    done: int
    conflict: int
    missing: int
    rejected: int
    dropped: int


def make_table_report(plan: TablePlan, sent: Sequence[Sent], checked: ReadBack) -> TableReport:
    """Count what became of a table's plan."""
    records: Counter[str] = Counter()
    values: Counter[str] = Counter()
    waiting = plan.waiting + plan.value_count
    for one in sent:
        width = len(one.batch.fields)
        ends = _count_ends(one)
        values.update({end: count * width for end, count in ends.items()})
        records.update({end: count for end, count in ends.items() if end != "done"})
        records[one.batch.action] += ends["done"]
        waiting -= (len(one.results) - ends["waiting"]) * width
    late = {write.record_id for write in checked.conflicts}
    lost = Counter(one for one, _ in {(write.action, write.record_id) for write in checked.rejected})
    refused = {write.record_id for write in plan.conflicts}
    odd = [result for one in sent if not one.is_done for result in one.results]
    refused |= {result.record_id for result in odd if result.status == "conflict"}
    return TableReport(
        plan.table.name,
        updated=records["update"] - lost["update"],
        added=records["insert"] - lost["insert"],
        removed=records["delete"] - lost["delete"],
        fields=values["done"] - len(checked.rejected),
        unchanged=plan.unchanged,
        skipped=plan.skipped,
        conflicts=len(refused | late),
        missing=len(plan.missing) + records["missing"],
        rejected=values["rejected"] + len(checked.rejected),
        outstanding=values["retry"],
        waiting=waiting,
        superseded=plan.superseded,
        read_back=checked.records,
    )


def _count_ends(sent: Sent) -> Counter[str]:
    """How many records of a batch ended in which way."""
    if sent.is_done:
        return Counter(done=len(sent.results))
    return Counter("waiting" if result.message == WAITS else result.status for result in sent.results)


def list_problems(run_id: str, table: str, sent: Sequence[Sent], checked: ReadBack) -> list[Write]:
    """Values that the CRM refused, at once or by not keeping them, and those that were changed since."""
    found = [
        Write(
            run_id, one.batch.table.name, result.record_id, name, olds[at], news[at], "rejected", error=result.message
        )
        for one in sent
        if not one.is_done
        for at, result in enumerate(one.results)
        if result.status == "rejected"
        for name, olds, news in zip(one.batch.fields, one.batch.expected, one.batch.values, strict=True)
    ]
    return [*found, *checked.rejected, *checked.conflicts]


def read_status(ledger: Ledger, run_id: str | None = None) -> list[RunStatus]:
    """Tell how far the writes of every run, or of one, have come; newest run first."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for entry in ledger.writes.counts(run_id):
        counts.setdefault((entry.run_id, entry.table_name), Counter())[entry.state] += entry.count
    return [
        RunStatus(
            run.run_id,
            run.kind,
            run.started_at,
            table,
            sum(states[state] for state in OUTSTANDING),
            *(states[state] for state in ("done", "conflict", "missing", "rejected", "dropped")),
        )
        for run in ledger.runs()
        for (owner, table), states in counts.items()
        if owner == run.run_id
    ]
