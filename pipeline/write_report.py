"""What a write-back did, and what it left outstanding."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.adapters.target import WriteResult
from pipeline.errors import CrmError
from pipeline.ledger import Ledger
from pipeline.ledger_writes import OUTSTANDING
from pipeline.write_plan import TablePlan


@dataclass(frozen=True)
class TableReport:
    """What was written to one table; `fields` counts values, the others but `unchanged` count records."""

    table: str
    updated: int
    added: int
    removed: int
    fields: int
    unchanged: int
    conflicts: int
    missing: int
    rejected: int
    outstanding: int
    superseded: int


@dataclass(frozen=True)
class WriteReport:
    """What was written to the CRM by a run."""

    run_id: str
    seconds: float
    tables: tuple[TableReport, ...]

    @property
    def records(self) -> int:
        """Records that were updated, added or removed."""
        return sum(table.updated + table.added + table.removed for table in self.tables)

    def check(self) -> None:
        """Check that nothing is left over.

        Raises
        ------
        CrmError
            If the CRM refused values or did not take some yet.

        """
        rejected = sum(table.rejected for table in self.tables)
        outstanding = sum(table.outstanding for table in self.tables)
        if rejected or outstanding:
            raise CrmError(
                f"The CRM refused {rejected:,} values and has yet to take {outstanding:,} of run '{self.run_id}'. "
                f"`leadsieve writeback status --run {self.run_id}` lists them; correct the fields and run again."
            )


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


def make_table_report(plan: TablePlan, results: Sequence[WriteResult]) -> TableReport:
    """Count what became of a table's plan."""
    action = {(write.record_id, write.field): write.action for write in plan.changes}
    done = {(result.record_id, result.field) for result in results if result.status == "done"}
    by_action = Counter(how for _, how in {(record, action[record, field]) for record, field in done})
    ends: dict[str, set[str]] = {}
    for result in results:
        ends.setdefault(result.status, set()).add(result.record_id)
    return TableReport(
        plan.table.name,
        updated=by_action["update"],
        added=by_action["insert"],
        removed=by_action["delete"],
        fields=len(done),
        unchanged=plan.unchanged,
        conflicts=len({write.record_id for write in plan.conflicts} | ends.get("conflict", set())),
        missing=len({*plan.missing} | ends.get("missing", set())),
        rejected=sum(result.status == "rejected" for result in results),
        outstanding=sum(result.status == "retry" for result in results),
        superseded=plan.superseded,
    )


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
