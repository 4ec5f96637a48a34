"""Columns that a model can learn from: neither empty or constant, nor the same as another."""

from collections.abc import Collection

import pandas as pd


def dull_columns(frame: pd.DataFrame, preferred: Collection[str] = ()) -> dict[str, str]:
    """Columns that tell nothing beyond the others, each with the reason; of equal ones a preferred or the first stays.

    Examples
    --------
    >>> frame = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [3.0, 3.0], "d": [None, None]})
    >>> dull_columns(frame)
    {'b': "the same as 'a' in every row", 'c': '3.0 in every row', 'd': 'empty in every row'}

    """
    dull: dict[str, str] = {}
    seen: dict[int, list[str]] = {}
    for name in sorted(map(str, frame.columns), key=lambda name: name not in preferred):
        column = frame[name]
        filled = column.notna()
        if not filled.any():
            dull[name] = "empty in every row"
        elif filled.all() and (column == column.iloc[0]).all():
            dull[name] = f"{column.iloc[0]} in every row"
        else:
            alike = seen.setdefault(int(pd.util.hash_pandas_object(column, index=False).sum()), [])
            twin = next((other for other in alike if frame[other].equals(column)), None)
            if twin is None:
                alike.append(name)
            else:
                dull[name] = f"the same as '{twin}' in every row"
    return dull
