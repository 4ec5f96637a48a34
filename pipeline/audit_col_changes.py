"""What the counts of successive extracts prove: a static column that changes is not, least of all with the outcome."""

from pipeline.audit_changes import Changes
from pipeline.audit_entities import Entities
from pipeline.audit_evidence import Evidence

LEAST_CHANGES = 10
"""Fewer are clerical corrections."""

_CORRECTED_SHARE = 0.01
"""The share of rows that people correct anyhow: what an extract tolerates as bad."""

_LEAST_SHARE = 0.05
_TIMES_AS_OFTEN = 10.0


def look_at_changes(entities: Entities, column: str, changes: Changes, rows: int) -> list[Evidence]:
    """Judge the changes of a column that nobody dates.

    Parameters
    ----------
    entities : Entities
        The table.
    column : str
        A static or undeclared column.
    changes : Changes
        Counted over all pairs of successive extracts.
    rows : int
        Rows of the table today.

    Returns
    -------
    list of Evidence
        One, or none where nothing changed but for a few corrections.

    """
    others, others_changed = changes.rows - changes.settled_rows, changes.changed - changes.settled_changed
    share = changes.settled_changed / changes.settled_rows if changes.settled_rows else 0.0
    other_share = others_changed / others if others else 0.0
    figures = {
        "rows_between_extracts": changes.rows,
        "changed_between_extracts": changes.changed,
        "filled_later": changes.filled,
        "settled_between": changes.settled_rows,
        "settled_changed": changes.settled_changed,
    }
    if changes.settled_changed >= LEAST_CHANGES and share >= max(_LEAST_SHARE, _TIMES_AS_OFTEN * other_share):
        sentence = (
            f"{column} changed between extracts in {share:.0%} of {changes.settled_rows:,} {entities.name} whose "
            f"outcome became known in that time, and in {other_share:.1%} of all others"
        )
        question = f"Is {column} set when the outcome is known? Then declare it revealed with that time, or remembered."
        return [Evidence("leak", sentence, question, 1.0, figures)]
    if changes.changed >= LEAST_CHANGES and changes.changed > _CORRECTED_SHARE * rows:
        sentence = (
            f"{column} changed {changes.changed:,} times between extracts of {rows:,} {entities.name}: it is not known "
            "since their creation"
        )
        question = f"Who changes {column}, and when? Declare it remembered, or tracked if the CRM keeps its history."
        return [Evidence("suspicious", sentence, question, 0.7, figures)]
    return []
