"""A training of revenue, told to people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

FIGURES = {
    "mae": "mean error",
    "deviance": "deviance",
    "spearman": "rank corr.",
    "gini": "Gini",
    "captured_at_10": "in top tenth",
    "predicted_over_observed": "predicted / observed",
}
"""Figures of a candidate that are shown, and the titles of their columns."""


def value_table(document: Mapping[str, Any]) -> Table:
    """Candidates out of fold on the training rows, then the chosen one on the test rows."""
    table = Table(box=None)
    for column in ("candidate", *FIGURES.values()):
        table.add_column(column, justify="left" if column == "candidate" else "right")
    for one in document["candidates"]:
        table.add_row(one["name"], *_cells(one))
    table.add_row(f"test: {document['selected']}", *_cells(document["test"]), style="bold")
    return table


def _cells(figures: Mapping[str, Any]) -> list[str]:
    shown = []
    for name in FIGURES:
        value = figures.get(name)
        shape = ".1%" if name == "captured_at_10" else ",.2f"
        shown.append("" if value is None else format(value, shape))
    return shown


def value_lines(document: Mapping[str, Any]) -> Sequence[str]:
    """What the figures on the test rows mean: how far off, how well ranked, how well the sum was met."""
    test, span = document["test"], document["evaluated_on"]
    low, high = test["interval"]["captured_at_10"]
    rows = (
        f"test rows {test['rows']:,} ({span['from'][:10]} to {span['to'][:10]}), mean revenue {test['mean']:,.2f}, "
        f"mean error {test['mae']:,.2f}; fitted in {document['seconds']:.0f} s"
    )
    top = ""
    if test["captured_at_10"] is not None and low is not None:
        top = (
            f"the tenth of the customers with the highest predictions brought in {test['captured_at_10']:.1%} of all "
            f"revenue [{low:.1%}, {high:.1%}]"
        )
    return [line for line in (rows, top, *(f"note: {note}" for note in document["notes"])) if line]
