"""What a follow-up task says: the flag, the grade, how likely it is and why, in the language of the config."""

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from models.reasons import EVERYTHING_ELSE
from models.scorecard import Scorecard
from pipeline.grading import grades_of

REASONS = 3
"""Reasons that a task names."""

Language = Literal["en", "zh"]

_LIKELY: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "conversion": {
            "en": "Likely to win within {days} days: {likely:.0%}",
            "zh": "{days} 天内成交可能性：{likely:.0%}",
        },
        "churn": {
            "en": "Likely to leave within {days} days: {likely:.0%}",
            "zh": "{days} 天内流失可能性：{likely:.0%}",
        },
        "value": {
            "en": "Likely to spend within {days} days: {value:,.0f}",
            "zh": "{days} 天内预计采购额：{value:,.0f}",
        },
    }
)
_LINES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "grade": {"en": "Grade: {}", "zh": "等级：{}"},
        "reasons": {"en": "Reasons: {}", "zh": "原因：{}"},
        "seen": {"en": "As of {} (leadsieve)", "zh": "截至 {}（leadsieve）"},
    }
)
_BETWEEN = {"en": "; ", "zh": "；"}


def flag_name(card: Scorecard, flag: str, language: Language) -> str:
    """Name of a flag of a card."""
    return next(str(getattr(one.name, language)) for one in card.flags if one.id == flag)


def write_note(card: Scorecard, kind: str, score: Mapping[str, Any], language: Language) -> str:
    """Return the lines of a task: grade, likelihood, first reasons, and as of when; what is not known is left out.

    Parameters
    ----------
    card : Scorecard
        Of the target.
    kind : str
        Of the target: conversion, churn or value.
    score : mapping
        A row of a score frame.
    language : "en" or "zh"

    """
    names = {grade.id: getattr(grade, language) for grade in grades_of(card)}
    lines = []
    if isinstance(score["grade"], str):
        lines.append(_LINES["grade"][language].format(names.get(score["grade"], score["grade"])))
    likely, value = score["probability"], score["value"]
    said = value if kind == "value" else likely
    if said is not None and not math.isnan(said):
        lines.append(_LIKELY[kind][language].format(days=score["horizon_days"], likely=likely, value=value))
    if why := _first_reasons(score["reasons"], language):
        lines.append(_LINES["reasons"][language].format(why))
    lines.append(_LINES["seen"][language].format(f"{score['as_of']:%Y-%m-%d}"))
    return "\n".join(lines)


def _first_reasons(text: Any, language: Language) -> str:
    """Join the first reasons that say something."""
    reasons = json.loads(text) if isinstance(text, str) else []
    told = [str(one[language]) for one in reasons if one.get(language) and one.get("feature") != EVERYTHING_ELSE]
    return _BETWEEN[language].join(told[:REASONS])
