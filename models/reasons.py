"""Reasons in words: what speaks for, what speaks against, and the exact remainder."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reason = dict[str, Any]

EVERYTHING_ELSE = "everything else"
_FIELD = re.compile(r"\s*\{value[^}]*\}\s*")
_COLUMN = re.compile(r"\{(\w+)")


def _words(template: str, value: Any, unknown: str, colon: str) -> str:
    """Fill in a template; without a value, say that it is not known."""
    if value is None:
        return f"{_FIELD.sub(' ', template).strip()}{colon}{unknown}"
    return template.format(**value) if isinstance(value, dict) else template.format(value=value)


def _read_info(infos: Mapping[str, Any], name: str) -> tuple[str, str]:
    """English and Chinese templates of a feature, from an object or a mapping; else its own name."""
    info = infos.get(name)
    words = info if isinstance(info, Mapping) else {key: getattr(info, key, None) for key in ("en", "zh")}
    plain = name.replace("{", "(").replace("}", ")") + " = {value}"
    return words.get("en") or plain, words.get("zh") or plain


def _reason(name: str, value: Any, contribution: float, infos: Mapping[str, Any]) -> Reason:
    en, zh = _read_info(infos, name)
    return {
        "feature": name,
        "value": None if isinstance(value, dict) else value,
        "contribution": contribution,
        "en": _words(en, value, "not known", ": "),
        "zh": _words(zh, value, "未知", "："),
    }


def make_reasons(
    frame: pd.DataFrame,
    contributions: Floats,
    log_odds: Floats,
    columns: list[str],
    infos: Mapping[str, Any],
    shown: int = 3,
) -> list[list[Reason]]:
    """Turn contributions into reasons.

    Parameters
    ----------
    frame : DataFrame
        Feature values, one row per score.
    contributions : array, rows x columns
        From `Bundle.contributions`.
    log_odds : array
        The written log-odds of each row.
    columns : list of str
        Names of the contributions' columns.
    infos : mapping of feature to FeatureInfo
        With `en` and `zh` templates; a feature without one is named as it is. A reason that is no column of the
        frame has templates whose fields are columns, and no value.
    shown : int
        How many reasons for, and how many against.

    Returns
    -------
    list of lists of dict
        Per row: the strongest reasons for, the strongest against, then "everything else" (base
        included), so that the contributions sum to the log-odds.

    """
    order = np.argsort(-contributions, axis=1, kind="stable")
    values = [_plain_values(frame[name]) if name in frame else _values_of_many(frame, name, infos) for name in columns]
    found = []
    for row, ranked in enumerate(order):
        parts = contributions[row]
        up = [at for at in ranked[:shown] if parts[at] > 0]
        down = [at for at in ranked[::-1][:shown] if parts[at] < 0]
        reasons = [_reason(columns[at], values[at][row], float(parts[at]), infos) for at in (*up, *down)]
        rest = float(log_odds[row]) - sum(reason["contribution"] for reason in reasons)
        last = {
            "feature": EVERYTHING_ELSE,
            "value": None,
            "contribution": rest,
            "en": EVERYTHING_ELSE,
            "zh": "其他因素",
        }
        found.append([*reasons, last])
    return found


def _values_of_many(frame: pd.DataFrame, name: str, infos: Mapping[str, Any]) -> list[dict[str, Any] | None]:
    """What the templates of a reason that is no column ask for; None where a part of it is missing."""
    asked = list(dict.fromkeys(column for text in _read_info(infos, name) for column in _COLUMN.findall(text)))
    rows = zip(*(_plain_values(frame[column]) for column in asked), strict=True)
    return [None if None in row else dict(zip(asked, row, strict=True)) for row in rows]


def _plain_values(column: "pd.Series[Any]") -> list[Any]:
    """Values as Python numbers and strings; null is None."""
    return [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]
