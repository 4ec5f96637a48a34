"""The leak audit of a flat frame: nothing is dated, so nothing is clean until somebody says that it was known."""

from collections.abc import Sequence

import pandas as pd

from pipeline.audit_verdict import ColumnVerdict

FRAME = "frame"


def check_frame(frame: pd.DataFrame, label: str, known: Sequence[str]) -> list[ColumnVerdict]:
    """Judge the columns of a flat frame, the most suspicious first.

    Parameters
    ----------
    frame : DataFrame
        One row per entity.
    label : str
        The column with the outcome, of two values.
    known : sequence of str
        Columns that are declared to be known before the outcome.

    Returns
    -------
    list of ColumnVerdict
        All columns but the label.

    """
    return [
        ColumnVerdict(FRAME, str(column), "use" if column in known else "undated",
                      "known" if column in known else "not declared", column in known, "", "", 0.0)
        for column in frame
        if column != label
    ]  # fmt: skip
