"""What the rows a model was fitted on look like, column by column: what rows to score are compared with later."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.encoding import MAX_CATEGORIES
from models.training_set import TrainingSet

NEWEST = 0.2
"""Share of the rows, the newest ones, whose categories are looked for among older rows."""
MIN_ROWS = 50
"""Rows on either side that it takes to say how many of the newest categories are new."""
MIDDLE = (0.1, 0.5, 0.9)


def describe_input(rows: TrainingSet) -> dict[str, Any]:
    """Facts about each column, for the manifest of a bundle.

    Parameters
    ----------
    rows : TrainingSet
        What the model is fitted on; its manifest may tell the units of the columns and the currency.

    Returns
    -------
    dict
        `rows` (int), `currency` (None if not known) and `columns`: by name `unit` (None if not known),
        `filled` (share of rows with a value), for text `unseen` (see `novelty`), for numbers `middle`: the
        10 %, 50 % and 90 % quantiles of the sizes of values other than 0 (None without any).

    Examples
    --------
    >>> frame = pd.DataFrame({"amount": [0.0, 10.0, -30.0, None], "source": ["web", "web", "fair", None]})
    >>> facts = describe_input(TrainingSet(frame, np.array([0.0, 1.0, 0.0, 1.0])))
    >>> facts["columns"]["amount"]
    {'unit': None, 'filled': 0.75, 'middle': [12.0, 20.0, 28.0]}
    >>> facts["columns"]["source"]
    {'unit': None, 'filled': 0.75, 'unseen': None}

    """
    units = {str(info["name"]): info.get("unit") for info in rows.manifest.get("features", ())}
    parts = _older_and_newest(rows)
    columns = {}
    for name, column in rows.frame.items():
        facts = {"unit": units.get(str(name)), "filled": float(column.notna().mean())}
        if pd.api.types.is_numeric_dtype(column):
            facts["middle"] = middle_sizes(column)
        else:
            facts["unseen"] = None if parts is None else novelty(column, *parts)
        columns[str(name)] = facts
    return {"rows": len(rows), "currency": rows.manifest.get("currency"), "columns": columns}


def middle_sizes(column: "pd.Series[Any]") -> list[float] | None:
    """Return the 10 %, 50 % and 90 % quantiles of |value| where it is neither null nor 0; None if it never is."""
    sizes = np.abs(column.to_numpy(dtype=np.float64, na_value=np.nan))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    return [float(size) for size in np.quantile(sizes, MIDDLE)] if len(sizes) else None


def novelty(column: "pd.Series[Any]", older: NDArray[np.bool_], newest: NDArray[np.bool_]) -> float | None:
    """Share of the newest values that no older row has; None if few of the newest have a value.

    >>> novelty(pd.Series(["web", "fair"] + ["web", "app"] * 30), np.arange(62) < 2, np.arange(62) >= 2)
    0.5
    """
    values = column[newest].dropna()
    if len(values) < MIN_ROWS:
        return None
    known = column[older].dropna().value_counts().index[:MAX_CATEGORIES]
    return float((~values.isin(known)).mean())


def _older_and_newest(rows: TrainingSet) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Masks of the newest fifth and of the rows whose horizon ended before it, as a model for it would be fitted on.

    None where rows have no time, or one side has too few.
    """
    if rows.time is None or not len(rows):
        return None
    start = np.sort(rows.time)[min(int(len(rows) * (1 - NEWEST)), len(rows) - 1)]
    newest = rows.time >= start
    gap = np.timedelta64(rows.horizon, "D") if rows.time.dtype.kind == "M" else rows.horizon
    older = rows.time + gap <= start
    return (older, newest) if min(older.sum(), newest.sum()) >= MIN_ROWS else None
