"""What the audit says of a column: whether a feature may use it, and by which evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Verdict = Literal["use", "suspicious", "leak", "undated"]
Figure = float | int | str | None


@dataclass(frozen=True)
class ColumnVerdict:
    """One column of a table, or of a flat frame.

    Parameters
    ----------
    table, column : str
        The table is `frame` where there is only one.
    verdict : {"use", "suspicious", "leak", "undated"}
        use: known by the time a feature reads it. undated: nothing proves when it was filled.
        suspicious: it looks as if it was filled with the outcome. leak: it was.
    declared : str
        What the config says of it: static, tracked, remembered, revealed, canonical, known, not declared.
    in_use : bool
        Whether a feature reads it today.
    evidence : str
        One sentence with figures.
    question : str
        What to ask the owner of the CRM; empty for use.
    suspicion : float
        0 to 1, to rank columns by.
    figures : mapping of str to number or text
        What the evidence rests on.

    """

    table: str
    column: str
    verdict: Verdict
    declared: str
    in_use: bool
    evidence: str
    question: str
    suspicion: float
    figures: Mapping[str, Figure] = field(default_factory=lambda: MappingProxyType({}))
