"""From a score frame to the values that CRM fields get, column by column: rounded, cut to length, in order of worth."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import DataError
from pipeline.adapters.target import TargetField, Value
from pipeline.config import FieldMap
from pipeline.field_values import SCORE_VALUES

Column = list[Value]

EXACT = 1e15
"""Numbers beyond this have no digits after the point."""


@dataclass(frozen=True)
class Wanted:
    """What the records of one table are to have, the most valuable record first.

    Parameters
    ----------
    ids : list of str
        The records, each once.
    columns : mapping of str to list of Value
        CRM field to its value for each record, as the CRM will store it; a score that is null
        stays null, where the field knows null.

    """

    ids: list[str]
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.ids)


def build_values(
    scores: pd.DataFrame,
    name: str,
    horizon_days: int,
    table: FieldMap,
    fields: Mapping[str, TargetField],
    grades: Sequence[str] = (),
    by_grade_only: bool = False,
) -> Wanted:
    """Return the value of each mapped field for each scored entity.

    Parameters
    ----------
    scores : DataFrame
        A score frame.
    name : str
        Target to write.
    horizon_days : int
        Its primary horizon; scores of others are not written.
    table : FieldMap
        CRM field to score value, and the number of decimals.
    fields : mapping of str to TargetField
        The fields as the CRM declares them.
    grades : sequence of str
        Grades of the target, from the best to the lowest.
    by_grade_only : bool
        Whether records of one grade go by id, as databases store them, and not by worth.

    Raises
    ------
    DataError
        If an entity is scored twice, or a number is infinite.

    """
    here = (scores["target"] == name) & (scores["horizon_days"] == horizon_days)
    rows = scores if here.all() else scores[here]
    twice = rows["entity_id"][rows["entity_id"].duplicated()]
    if len(twice):
        raise DataError(
            f"Scores of '{name}': {len(twice):,} entities appear more than once (entity_id "
            f"{', '.join(map(str, twice.unique()[:5]))}). Score each entity once per run."
        )
    sources = [_find_source(rows, value, field) for field, value in table.fields.items()]
    order = order_by_worth(rows, grades, by_grade_only)
    rows = rows[list(dict.fromkeys(["entity_id", *sources]))].iloc[order]
    reasons = _join_reasons(rows, set(table.fields.values()))
    columns = {
        field: _cut_column(reasons[value], fields[field])
        if value in reasons
        else _field_column(rows[value], value, fields[field], table.decimals)
        for field, value in table.fields.items()
    }
    filled = {field: _fill(column, fields[field]) for field, column in columns.items()}
    return Wanted(rows["entity_id"].astype(str).tolist(), filled)


def _fill(column: Column, field: TargetField) -> Column:
    """Values with what the field has in place of null."""
    if field.empty is None or None not in column:
        return column
    return [field.empty if value is None else value for value in column]


def order_by_worth(rows: pd.DataFrame, grades: Sequence[str], by_grade_only: bool = False) -> NDArray[np.intp]:
    """Places of the rows from the most valuable one: best grade first, then probability or value, then id.

    Parameters
    ----------
    rows : DataFrame
        Scores of one target.
    grades : sequence of str
        Its grades from the best to the lowest; others come after them by name, and no grade comes last.
    by_grade_only : bool
        Whether probability and value do not matter.

    Examples
    --------
    >>> rows = pd.DataFrame({"entity_id": ["a", "b", "c"], "grade": ["hold", "priority", "priority"],
    ...                      "probability": [0.9, 0.2, 0.3], "value": [None, None, None]})
    >>> order_by_worth(rows, ["priority", "hold"]).tolist()
    [2, 1, 0]

    """
    by_id: NDArray[Any] = np.arange(len(rows), dtype=np.intp)
    if not rows["entity_id"].is_monotonic_increasing:
        by_id = rows["entity_id"].argsort(kind="stable").to_numpy(dtype=np.intp)
    codes, names = pd.factorize(rows["grade"].to_numpy(dtype=object))
    known = {name: rank for rank, name in enumerate(grades)}
    others = {name: len(known) + rank for rank, name in enumerate(sorted(set(map(str, names)) - set(known)))}
    ranks = np.array([*({**known, **others}[str(name)] for name in names), len(known) + len(others)])
    if by_grade_only:
        return np.asarray(by_id[np.argsort(ranks[codes][by_id], kind="stable")], dtype=np.intp)
    worth = _numbers(rows["probability"])
    if "value" in rows:
        worth = np.where(np.isnan(worth), _numbers(rows["value"]), worth)
    order = np.lexsort((-np.where(np.isnan(worth), -np.inf, worth)[by_id], ranks[codes][by_id]))
    return np.asarray(by_id[order], dtype=np.intp)


def _find_source(rows: pd.DataFrame, value: str, field: str) -> str:
    """Column of the score frame that a value comes from."""
    source = "reasons" if value.startswith("reasons_") else value
    if source not in rows.columns:
        raise DataError(f"The score frame has no column '{source}', which field '{field}' needs. Score again.")
    return source


def _field_column(cells: pd.Series, value: str, field: TargetField, decimals: int) -> Column:
    """Values of one field, in the order of the rows."""
    kind = SCORE_VALUES[value]
    if kind in ("number", "integer"):
        return _number_column(cells, value, field, decimals)
    there = cells.notna()
    if kind == "time":
        return _each(cells, there, lambda cell: _format_time(cell, field))
    if value in ("vetoes", "flags"):
        return _cut_column(_each(cells, there, lambda cell: ", ".join(json.loads(cell))), field)
    texts = cells.tolist() if there.all() else [cell if has else None for cell, has in zip(cells, there, strict=True)]
    return _cut_column([None if text is None else str(text) for text in texts], field)


def _each(cells: pd.Series, there: pd.Series, convert: Callable[[Any], Value]) -> Column:
    """Values converted one by one, each different one once."""
    known: dict[Any, Value] = {}
    found: Column = []
    for cell, has in zip(cells.tolist(), there.tolist(), strict=True):
        if has and cell not in known:
            known[cell] = convert(cell)
        found.append(known[cell] if has else None)
    return found


def _number_column(cells: pd.Series, value: str, field: TargetField, decimals: int) -> Column:
    """Numbers rounded to what the field keeps; -0.0 becomes 0.0."""
    numbers = _numbers(cells)
    there = ~np.isnan(numbers)
    odd = numbers[there & np.isinf(numbers)]
    if len(odd):
        raise DataError(f"A score has {value} = {odd[0]}, expected a finite number or null. Score again.")
    digits = decimals if field.decimals is None else min(decimals, field.decimals)
    is_whole = field.kind == "integer"
    rounded = round_numbers(numbers, 0 if is_whole else digits).tolist()
    if is_whole or SCORE_VALUES[value] == "integer":
        found: Column = [int(number) if number == number else None for number in rounded]
    else:
        found = rounded if there.all() else [number if number == number else None for number in rounded]
    return found if field.kind != "text" else [None if number is None else str(number) for number in found]


def _numbers(cells: pd.Series) -> NDArray[np.float64]:
    """Numbers of a column, NaN for null."""
    return np.asarray(pd.to_numeric(cells).to_numpy(dtype=np.float64, na_value=np.nan))


def round_numbers(numbers: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Round as Python does, which is to the nearest decimal number of what is really stored, many at once.

    Multiplying moves a number by less than the distance to the next one, so only those near the middle
    between two decimal numbers can come out wrong; Python decides these.

    Examples
    --------
    >>> round_numbers(np.array([0.123456, 2.675, -0.00001, np.nan]), 2).tolist()
    [0.12, 2.67, 0.0, nan]

    """
    scale = 10.0**digits
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = numbers * scale
        unsure = (np.abs(np.abs(scaled - np.trunc(scaled)) - 0.5) < 1e-3) | (np.abs(scaled) > EXACT)
        rounded = np.rint(scaled) / scale + 0.0
    for place in np.flatnonzero(unsure):
        rounded[place] = round(float(numbers[place]), digits) + 0.0
    return np.asarray(rounded, dtype=np.float64)


def _format_time(cell: Any, field: TargetField) -> str:
    """Time as plain text, UTC."""
    text = pd.Timestamp(cell).to_pydatetime().isoformat(sep=" ")
    if field.kind == "date":
        return text[:10]
    return text[:19] if field.decimals == 0 else text


def _join_reasons(rows: pd.DataFrame, values: set[str]) -> dict[str, Column]:
    """Phrases of the reasons in each language that is asked for; every cell is read once."""
    asked = {value: value.removeprefix("reasons_") for value in sorted(values) if value.startswith("reasons_")}
    found: dict[str, Column] = {value: [] for value in asked}
    if not asked:
        return found
    for cell, there in zip(rows["reasons"].tolist(), rows["reasons"].notna().tolist(), strict=True):
        reasons: Sequence[Mapping[str, Any]] = (json.loads(cell) if isinstance(cell, str) else cell) if there else ()
        for value, language in asked.items():
            words = [str(reason[language]) for reason in reasons if reason.get(language)]
            found[value].append("; ".join(words) if there else None)
    return found


def _cut_column(texts: Column, field: TargetField) -> Column:
    """Texts that fit the field, with an ellipsis where something had to go."""
    length = field.length
    if length is None:
        return texts
    return [text if not isinstance(text, str) or len(text) <= length else _cut(text, length) for text in texts]


def _cut(text: str, length: int) -> str:
    return text[: length - 1] + "…" if length else ""
