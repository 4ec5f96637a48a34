"""What a card's question reads from a feature frame: a feature, a formula over features, or people's answers."""

from typing import Any

import numpy as np
import pandas as pd

from features.errors import DataError
from models.card_conditions import fold, spellings
from models.scorecard_schema import Card, Criterion, Flag, Question, Veto

_KINDS: dict[type[Question], str] = {Criterion: "criterion", Veto: "veto", Flag: "flag"}


def question_values(question: Question, frame: pd.DataFrame, card: Card) -> "pd.Series[Any] | None":
    """Value of a question in each row, a number or a text; null where it is not known.

    Parameters
    ----------
    question : Question
        A criterion, veto or flag of the card.
    frame : DataFrame
        One column per feature; one that is absent (its table is) is null in every row.
    card : Card

    Returns
    -------
    Series or None
        A text that the card names is spelt as there, whatever its case and blanks.
        None if the frame has nothing of what the question reads.

    Raises
    ------
    DataError
        If a value is a text where the card expects a number, or the reverse.

    """
    names = [name for name in question.reads(card.entity) if name in frame]
    if not names:
        return None
    for name in names:
        _check_kind(question, frame[name], card)
    if question.parsed is not None:
        missing = np.full(len(frame), np.nan)
        columns = {name: _numbers(frame[name]) if name in frame else missing for name in question.parsed.names}
        return pd.Series(question.parsed.evaluate(columns), index=frame.index)
    values = frame[names[0]]
    for name in names[1:]:
        values = frame[name] if values.isna().all() else values.where(values.notna(), frame[name])
    return _as_spelt(values, question) if question.condition.kind == "text" else values


def _as_spelt(values: "pd.Series[Any]", question: Question) -> "pd.Series[Any]":
    """Spell the texts that the card names as it does: people write Yes, YES and yes."""
    spelt = spellings(question.listed)
    codes, distinct = pd.factorize(values, use_na_sentinel=True)
    named = [spelt.get(fold(value), value) for value in distinct]
    if named == list(distinct):
        return values
    return pd.Series(pd.array(np.array([*named, None], dtype=object)[codes], dtype="str"), index=values.index)


def _numbers(values: "pd.Series[Any]") -> Any:
    return np.full(len(values), np.nan) if values.isna().all() else values.to_numpy(np.float64, na_value=np.nan)


def _check_kind(question: Question, values: "pd.Series[Any]", card: Card) -> None:
    """Check that a condition on numbers meets numbers and one on text meets text."""
    is_text = not pd.api.types.is_numeric_dtype(values)
    if is_text == (question.condition.kind == "text") or values.isna().all():
        return
    got, expected = ("text", "numbers") if is_text else ("numbers", "text")
    where = f"{_KINDS[type(question)]} '{question.id}' of scorecard '{card.id}'"
    doing = f"compares it with {expected}"
    remedy = "Use equals or in with texts" if is_text else "Use at_least and below"
    if question.formula is not None:
        doing, remedy = "computes with it", "Leave it out of the formula"
    raise DataError(f"Feature '{values.name}' holds {got}, but {where} {doing}. {remedy}, or another feature.")
