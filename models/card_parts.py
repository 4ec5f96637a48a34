"""What a card says of each row beside points and grade: the weakest group, and what to ask a person next."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.card_values import question_values
from models.scorecard import Scorecard
from models.scorecard_schema import UNITS_PER_POINT, Card, Group

_MISSING_FIRST = 100 * UNITS_PER_POINT + 1
"""More than any criterion can lose."""
_WEAKEST_FIRST = 2 * _MISSING_FIRST


def weakest_groups(card: Card, scored: pd.DataFrame) -> NDArray[np.int64]:
    """Place of the group with the fewest points among the card's groups; the first of equals, -1 where none counts."""
    groups = [scored[f"group_{group.id}"].to_numpy(np.float64) for group in card.groups]
    if not groups:
        return np.full(len(scored), -1, dtype=np.int64)
    points = np.nan_to_num(np.column_stack(groups), nan=np.inf)
    return np.where(np.isinf(points.min(axis=1)), -1, points.argmin(axis=1))


def next_questions(card: Card, frame: pd.DataFrame, scored: pd.DataFrame) -> NDArray[np.int64]:
    """Place of the criterion to ask a person about next; -1 where nothing is left to ask.

    Of the criteria that have an `ask` and have not won all their points: those of the weakest group go first,
    then those that are missing, then those that lose most weight; the first of equals.
    """
    weakest = weakest_groups(card, scored)
    places = {group.id: at for at, group in enumerate(card.groups)}
    chosen = np.full(len(frame), -1, dtype=np.int64)
    best = np.zeros(len(frame), dtype=np.int64)
    for at, criterion in enumerate(card.criteria):
        if criterion.ask is None or not criterion.units:
            continue
        values = question_values(criterion, frame, card)
        missing = np.ones(len(frame), dtype=bool) if values is None else values.isna().to_numpy()
        won = scored[f"points_{criterion.id}"].to_numpy()
        lost = np.rint((criterion.weight - won) * UNITS_PER_POINT).astype(np.int64)
        urgency = lost + _MISSING_FIRST * missing
        if criterion.group is not None:
            urgency += _WEAKEST_FIRST * (weakest == places[criterion.group])
        urgency[lost <= 0] = 0
        chosen[urgency > best] = at
        best = np.maximum(best, urgency)
    return chosen


def card_parts(card: Scorecard, frame: pd.DataFrame, scored: pd.DataFrame | None = None) -> pd.DataFrame:
    """Everything a card says of each row, to be stored beside the features.

    Parameters
    ----------
    card : Scorecard
    frame : DataFrame
        Features, with entity_id.
    scored : DataFrame, optional
        What `card.score(frame)` gave, if it was asked before.

    Returns
    -------
    DataFrame
        On the index of `frame`: entity_id, points, grade, coverage, `points_<criterion>`, `group_<id>` and, where
        the group has levels, `level_<id>`, weakest_group, vetoes and flags (lists as JSON text, null when none),
        next_question (id of a criterion), next_question_en, next_question_zh.

    """
    scored = card.score(frame) if scored is None else scored
    parts: dict[str, Any] = {name: scored[name] for name in ("points", "grade", "coverage")}
    parts |= {str(name): scored[name] for name in scored if str(name).startswith(("points_", "group_"))}
    for group in card.groups:
        if group.levels:
            parts[f"level_{group.id}"] = _levels(group, scored[f"group_{group.id}"].to_numpy(np.float64))
    parts["weakest_group"] = _pick([group.id for group in card.groups], weakest_groups(card, scored))
    parts |= {name: pd.array(list_as_json(scored[name]), dtype="str") for name in ("vetoes", "flags")}
    chosen = next_questions(card, frame, scored)
    parts["next_question"] = _pick([one.id for one in card.criteria], chosen)
    for language in ("en", "zh"):
        asks = [None if one.ask is None else str(getattr(one.ask, language)) for one in card.criteria]
        parts[f"next_question_{language}"] = _pick(asks, chosen)
    return pd.DataFrame({"entity_id": frame["entity_id"], **parts}, index=frame.index)


def list_as_json(lists: Iterable[Sequence[str]]) -> list[str | None]:
    """Lists of ids as JSON text; None for an empty one.

    >>> list_as_json([["lawsuit"], []])
    ['["lawsuit"]', None]
    """
    tuples = [tuple(ids) for ids in lists]
    texts = {ids: json.dumps(ids) if ids else None for ids in set(tuples)}
    return [texts[ids] for ids in tuples]


def _levels(group: Group, points: NDArray[np.float64]) -> Any:
    """Level of a group in each row; null where no criterion of it has weight."""
    ascending = group.levels[::-1]
    place = np.searchsorted([level.at_least for level in ascending], points, side="right") - 1
    return _pick([level.id for level in ascending], np.where(np.isnan(points), -1, place))


def _pick(names: Sequence[str | None], places: NDArray[np.int64]) -> Any:
    """Return the name at each place as text, null at -1; of one type, also where all are null."""
    return pd.array(np.array([*names, None], dtype=object)[places], dtype="str")
