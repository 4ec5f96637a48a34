"""Reasons in words: what speaks for, what speaks against, and the exact remainder."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reason = dict[str, Any]

EVERYTHING_ELSE = "everything else"
CHUNK_ROWS = 20_000
FEW = 8
"""So many reasons are found faster one after the other than by sorting all."""
_UNKNOWN = {"en": ("not known", ": "), "zh": ("未知", "：")}
_quote = json.JSONEncoder(ensure_ascii=False).encode
_LAST_WORDS = {"en": EVERYTHING_ELSE, "zh": "其他因素"}
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
        "en": _words(en, value, *_UNKNOWN["en"]),
        "zh": _words(zh, value, *_UNKNOWN["zh"]),
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
    chosen = choose(contributions, shown)
    rest = _rest(contributions, chosen, log_odds)
    values = [_values(frame, name, infos) for name in columns]
    found = []
    for row, places in enumerate(chosen.tolist()):
        parts = contributions[row]
        told = [_reason(columns[at], values[at][row], float(parts[at]), infos) for at in places if at >= 0]
        last = {"feature": EVERYTHING_ELSE, "value": None, "contribution": rest[row], **_LAST_WORDS}
        found.append([*told, last])
    return found


def write_reasons(
    frame: pd.DataFrame,
    contributions: Floats,
    log_odds: Floats,
    columns: list[str],
    infos: Mapping[str, Any],
    shown: int = 3,
) -> list[str]:
    """Return the JSON text of each row's reasons: what `json.dumps` makes of `make_reasons`, many rows at a time."""
    found: list[str] = []
    for start in range(0, len(frame), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        found += _write_chunk(frame.iloc[part], contributions[part], log_odds[part], columns, infos, shown)
    return found


def _write_chunk(
    frame: pd.DataFrame,
    contributions: Floats,
    log_odds: Floats,
    columns: list[str],
    infos: Mapping[str, Any],
    shown: int,
) -> list[str]:
    """Fill in the reasons column by column, and words once for each value of a column."""
    chosen = choose(contributions, shown)
    texts = np.full(chosen.size, "", dtype=object)
    flat = chosen.ravel()
    order = np.argsort(flat, kind="stable")
    names, starts = np.unique(flat[order], return_index=True)
    for at, places in zip(names, np.split(order, starts[1:]), strict=True):
        if at >= 0:
            rows = places // chosen.shape[1]
            values = _values(frame, columns[at], infos, rows)
            parts = contributions[rows, at].tolist()
            texts[places] = [
                f"{before}{part!r}{after}"
                for (before, after), part in zip(_frames(columns[at], values, infos), parts, strict=True)
            ]
    told = texts.reshape(chosen.shape).tolist()
    last = f'{{"feature": {_quote(EVERYTHING_ELSE)}, "value": null, "contribution": '
    words = f', "en": {_quote(_LAST_WORDS["en"])}, "zh": {_quote(_LAST_WORDS["zh"])}}}'
    for place, left in enumerate(_rest(contributions, chosen, log_odds)):
        told[place].append(f"{last}{left!r}{words}")
    return [f"[{', '.join(filter(None, row))}]" for row in told]


def _frames(name: str, values: Sequence[Any], infos: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What stands before and after the contribution in the JSON of each reason."""
    en, zh = _read_info(infos, name)
    head = f'{{"feature": {_quote(name)}, "value": '
    known: dict[Any, tuple[str, str]] = {}
    for value in values:
        key = repr(value) if value == 0 or isinstance(value, dict) else value  # 0.0 and -0.0 are not told alike
        if key not in known:
            plain = "null" if isinstance(value, dict) else repr(value) if _is_finite(value) else _quote(value)
            words = _quote(_words(en, value, *_UNKNOWN["en"])), _quote(_words(zh, value, *_UNKNOWN["zh"]))
            known[key] = f'{head}{plain}, "contribution": ', f', "en": {words[0]}, "zh": {words[1]}}}'
        yield known[key]


def _is_finite(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def choose(contributions: Floats, shown: int) -> NDArray[np.intp]:
    """Places of the `shown` largest contributions above zero, then of the `shown` smallest below, -1 for none.

    Of equal ones the first comes first in favour, the last one first against.

    >>> choose(np.array([[0.5, -1.0, 2.0, 0.0, -1.0]]), 3)
    array([[ 2,  0, -1,  4,  1, -1]])

    """
    wanted = min(shown, contributions.shape[1])
    if wanted > FEW:
        order = np.argsort(-contributions, axis=1, kind="stable")
        picked = np.hstack([order[:, :wanted], order[:, ::-1][:, :wanted]])
    else:
        turned = contributions.shape[1] - 1 - _largest(-contributions[:, ::-1], wanted)
        picked = np.hstack([_largest(contributions, wanted), turned])
    parts = np.take_along_axis(contributions, picked, axis=1)
    parts[:, wanted:] *= -1
    found = np.full((len(contributions), 2 * shown), -1, dtype=np.intp)
    kept = np.where(parts > 0, picked, -1)
    found[:, :wanted], found[:, shown : shown + wanted] = kept[:, :wanted], kept[:, wanted:]
    return found


def _largest(parts: Floats, wanted: int) -> NDArray[np.intp]:
    """Places of the largest values of each row, the first of equal ones first."""
    left, rows = np.array(parts, order="C"), np.arange(len(parts))
    found = np.empty((len(parts), wanted), dtype=np.intp)
    for rank in range(wanted):
        found[:, rank] = left.argmax(axis=1)
        left[rows, found[:, rank]] = -np.inf
    return found


def _rest(contributions: Floats, chosen: NDArray[np.intp], log_odds: Floats) -> list[float]:
    """What the chosen contributions leave of the log-odds, added up in their order."""
    told = np.zeros(len(contributions))
    rows = np.arange(len(contributions))
    for places in chosen.T:
        told += np.where(places >= 0, contributions[rows, places], 0.0)
    return [float(left) for left in (log_odds - told).tolist()]


def _values(
    frame: pd.DataFrame, name: str, infos: Mapping[str, Any], rows: NDArray[np.intp] | slice = slice(None)
) -> list[Any]:
    """What the words of a reason are about, one per row; None where it is not known."""
    if name in frame:
        return _plain_values(frame[name].iloc[rows])
    return _values_of_many(frame, name, infos, rows)


def _values_of_many(
    frame: pd.DataFrame, name: str, infos: Mapping[str, Any], where: NDArray[np.intp] | slice
) -> list[dict[str, Any] | None]:
    """What the templates of a reason that is no column ask for; None where a part of it is missing."""
    asked = list(dict.fromkeys(column for text in _read_info(infos, name) for column in _COLUMN.findall(text)))
    rows = zip(*(_plain_values(frame[column].iloc[where]) for column in asked), strict=True)
    return [None if None in row else dict(zip(asked, row, strict=True)) for row in rows]


def _plain_values(column: "pd.Series[Any]") -> list[Any]:
    """Values as Python numbers and strings; null is None."""
    return [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]
