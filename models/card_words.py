"""A scorecard in words: what each criterion, veto and flag saw, and what it gave for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from models.card_values import question_values
from models.scorecard import Scorecard, criterion_points
from models.scorecard_schema import Card, Criterion, Question


@dataclass(frozen=True)
class CriterionWords:
    """What one criterion, veto or flag of a card saw in one row.

    Parameters
    ----------
    id : str
    value : number, str or None
        None where it is not known.
    points : int or None
        Of 100, before the weight; None for a veto or flag.
    weight : float or None
    en, zh : str
        One phrase, such as `Revenue in the last year 12,000: 75 of 100 points, weight 25`.

    """

    id: str
    value: float | str | None
    points: int | None
    weight: float | None
    en: str
    zh: str


def card_words(
    card: Scorecard, frame: pd.DataFrame, units: Mapping[str, str] | None = None
) -> list[list[CriterionWords]]:
    """Words for every criterion that has weight, row by row; for few rows, such as one customer's file.

    Parameters
    ----------
    card : Scorecard
    frame : DataFrame
        Features.
    units : mapping of feature to str, optional
        A value of unit `share` is written in percent.

    """
    columns = [_criterion_words(one, frame, card, units or {}) for one in card.criteria if one.units]
    return [list(row) for row in zip(*columns, strict=True)]


def _criterion_words(
    criterion: Criterion, frame: pd.DataFrame, card: Scorecard, units: Mapping[str, str]
) -> list[CriterionWords]:
    """Words for one criterion in all rows."""
    points, known = criterion_points(criterion, frame, card)
    values = plain_values(criterion, frame, card)
    unit = units.get(criterion.feature or "", "")
    return [
        _words(criterion, value if is_known else None, got, unit)
        for value, got, is_known in zip(values, points.tolist(), known.tolist(), strict=True)
    ]


def _words(criterion: Criterion, value: float | str | None, points: int, unit: str) -> CriterionWords:
    name, weight = criterion.name, f"{criterion.weight:g}"
    if value is None:
        en = f"{name.en} not known: {points} of 100 points by default, weight {weight}"
        zh = f"{name.zh}未知：默认得 {points} 分（满分 100），权重 {weight}"
    else:
        en = f"{name.en} {show_value(value, unit)}: {points} of 100 points, weight {weight}"
        zh = f"{name.zh} {show_value(value, unit)}：得 {points} 分（满分 100），权重 {weight}"
    return CriterionWords(criterion.id, value, points, criterion.weight, en, zh)


def met_words(card: Scorecard, frame: pd.DataFrame, ids: Sequence[str], kind: str) -> list[CriterionWords]:
    """Words for the vetoes (`kind` "vetoes") or flags ("flags") that the only row of a frame meets.

    What a formula comes to is not said: it is often a 1 for true.
    """
    asked: Mapping[str, Question] = {one.id: one for one in getattr(card, kind)}
    found = []
    for name in ids:
        value = plain_values(asked[name], frame, card)[0]
        shown = "" if asked[name].formula is not None else f" ({show_value(value)})"
        words = (f"{text}{shown}" for text in (asked[name].name.en, asked[name].name.zh))
        found.append(CriterionWords(name, value, None, None, *words))
    return found


def plain_values(question: Question, frame: pd.DataFrame, card: Card) -> list[float | str | None]:
    """Value of a question in each row as Python has it; None where it is not known."""
    values = question_values(question, frame, card)
    if values is None:
        return [None] * len(frame)
    return [None if pd.isna(value) else value for value in values.tolist()]


def show_value(value: float | str | None, unit: str = "") -> str:
    """Return a value as a person writes it.

    >>> show_value(12000.0), show_value(0.25), show_value(3.0), show_value("pharma"), show_value(None)
    ('12,000', '0.25', '3', 'pharma', '')
    >>> show_value(0.256, "share")
    '25.6%'
    """
    if value is None or isinstance(value, str):
        return value or ""
    if unit == "share":
        return f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.4g}"
