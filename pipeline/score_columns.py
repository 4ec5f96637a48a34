"""The columns of the ledger's scores, and the way from a frame to rows and back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from sqlalchemy import DateTime, Float, Integer, Row, String

SCORE_COLUMNS: Mapping[str, type[String | Integer | Float[float] | DateTime]] = {
    "run_id": String,
    "target": String,
    "horizon_days": Integer,
    "entity_id": String,
    "as_of": DateTime,
    "probability": Float,
    "probability_low": Float,
    "probability_high": Float,
    "log_odds": Float,
    "value": Float,
    "days_to_event": Float,
    "unseen_share": Float,
    "points": Float,
    "grade": String,
    "card_grade": String,
    "graded_by": String,
    "vetoes": String,
    "flags": String,
    "coverage": Float,
    "model_version": String,
    "bundle_sha256": String,
    "card": String,
    "card_version": String,
    "reasons": String,
}
"""Of a score: `grade` drives action, `card_grade` is the card's own, and `graded_by` says what gave `grade`:
points, probability, value or override. `vetoes` and `flags` are JSON lists of ids, null for none."""

_CONVERT: Mapping[Any, Callable[[Any], Any]] = {
    String: str,
    Integer: int,
    Float: float,
    DateTime: lambda time: pd.Timestamp(time).to_pydatetime(),
}


TEXTS: Mapping[str, str] = {name: "str" for name, kind in SCORE_COLUMNS.items() if kind is String}
"""Columns of text, and their dtype: the same whether or not a run has any."""


def score_rows(run_id: str, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows to insert: Python values, null for NaN."""
    columns: dict[str, list[Any]] = {}
    for name, kind in SCORE_COLUMNS.items():
        convert = _CONVERT[kind]
        present = scores[name].notna().tolist()
        values = zip(scores[name].tolist(), present, strict=True)
        columns[name] = [convert(value) if there else None for value, there in values]
    columns["run_id"] = [run_id] * len(scores)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def score_frame(rows: Sequence[Row[Any]]) -> pd.DataFrame:
    """Frame with the dtypes of the scores, whatever the rows."""
    frame = pd.DataFrame.from_records([tuple(row) for row in rows], columns=list(SCORE_COLUMNS))
    dtypes = {Integer: "int64", Float: "float64", DateTime: "datetime64[us]", String: "str"}
    return frame.astype({name: dtypes[kind] for name, kind in SCORE_COLUMNS.items()})
