"""What a reader of an evaluation's figures should know besides."""

from collections.abc import Sequence

import numpy as np

from models.training_set import TrainingSet

SECOND_LOOK = (
    "Too few rows to show anything on folds in time, which are fitted on a part of them: what was chosen was compared "
    "on grouped folds, which do not show change over time."
)


def row_notes(train: TrainingSet, test: TrainingSet) -> list[str]:
    """What a reader of the figures should know about the rows."""
    notes = []
    for what, rows in (("training", train), ("test", test)):
        if rows.manifest.get("censored"):
            notes.append(f"{rows.manifest['censored']:,} {what} rows have no label yet and were left out.")
    if train.manifest.get("left_out"):
        notes.append(f"Dates without a date in time to relate them to were left out: {train.manifest['left_out']}.")
    if train.time is not None and test.time is not None and train.time.dtype.kind == "M":
        late = int((train.time + np.timedelta64(train.horizon, "D") > test.time.min()).sum())
        if late:
            notes.append(
                f"The horizon of {late:,} training rows ends after the test begins: their labels were not known then."
            )
    return notes


def drift_notes(left_out: Sequence[str], gain: float) -> list[str]:
    """What was done about drift."""
    notes = []
    if left_out:
        listed = ", ".join(left_out)
        notes.append(f"Later rows have other values than earlier ones in {listed}: left out, as it cost nothing.")
    if gain:
        notes.append(f"The level of the outcome moves: it follows newer rows with a gain of {gain:g} per block.")
    return notes
