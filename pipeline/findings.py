"""What checks find in the rows of a source, and the limits that rows are compared with."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Period:
    """Until when rows may have happened.

    A source that grows while it is read has rows in `[data_end, read_until]`: they are left to the
    next extract. Rows after that, and rows at or after `data_end` of a source that stands still, are wrong.
    """

    data_end: datetime
    read_until: datetime | None = None


@dataclass(frozen=True)
class Bad:
    """Rows that cannot be used, for one reason.

    Parameters
    ----------
    reason : str
        In a few words, for the report and the quarantine file; without values.
    table, condition : str
        The rows: a DuckDB table (`raw_<table>` or `typed_<table>`) and SQL over it.
    sentence : str
        What is said when there are too many of them.

    """

    reason: str
    table: str
    condition: str
    sentence: str


@dataclass
class Findings:
    """What checks found in one table: problems stop the extract, so do too many bad rows; the rest is reported."""

    problems: list[str] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    quarantined: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Add what another check found."""
        self.problems += other.problems
        self.bad += other.bad
        self.quarantined |= other.quarantined
        self.dropped |= other.dropped
        self.warnings += other.warnings
