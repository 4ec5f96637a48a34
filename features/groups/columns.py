"""Columns that a deployment names itself, and questions that people worded, as names and phrases of features."""

import re
from typing import Any

from features.expressions import days_between
from features.group import Feature, FeatureDict


def column_name(words: str) -> str:
    """Words as part of a column's name: small letters, digits and single underscores, of any script.

    Examples
    --------
    >>> column_name("Budget allocated (yes/no)?")
    'budget_allocated_yes_no'
    >>> column_name("预算")
    '预算'

    """
    return re.sub(r"[\W_]+", "_", words.lower()).strip("_")


def in_phrase(words: str) -> str:
    """Words as they may stand in a phrase that has `{value}`.

    Examples
    --------
    >>> in_phrase("score {raw}").format(value=1)
    'score {raw}'

    """
    return words.replace("{", "{{").replace("}", "}}")


def own_column(view: Any, column: str, prefix: str) -> FeatureDict:
    """One column of an entity's version as a feature: a number, a flag as 0 or 1, a text, a time as days before."""
    value = view[column]
    kind = value.type()
    unit, shown = "rate", "{value:,.2f}"
    if kind.is_string():
        reduced, unit, shown = value.max(), "text", "{value}"
    elif kind.is_date() or kind.is_timestamp():
        reduced = days_between(value.max().cast("timestamp(6)"), view.as_of.max())
        unit, shown = "days", "{value:,.0f}"
    elif kind.is_boolean():
        reduced, unit, shown = value.cast("int64").max(), "count", "{value:.0f}"
    else:
        reduced = value.max()
        if kind.is_decimal():
            unit, shown = "currency", "{value:,.0f}"
        elif kind.is_integer():
            unit, shown = "count", "{value:,.0f}"
    label = in_phrase(column.replace("_", " "))
    en, zh = (" days ago", " 天前") if unit == "days" else ("", "")
    name = f"{prefix}_{column_name(column)}"
    return {name: Feature(reduced, None, unit, f"{label} {shown}{en}", f"{label} {shown}{zh}")}
