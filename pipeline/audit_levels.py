# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Values that only entities have whose outcome is known: nobody could know them when the entity was created.

Entities are compared with those created in the same month, so that neither a product that is no longer sold nor
one that is new looks like an outcome. A level is expected among the open ones as often as entities of its
months are open, and no more often than the level's own speed allows: what always closes within days is
never seen open for long.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.audit_aside import FEW, RARE
from pipeline.audit_entities import BORN, MONTH, SETTLED, SETTLED_AT, Entities
from pipeline.audit_evidence import EXPECTED, NEARLY_NONE, Evidence, expected_later, is_absent, is_impossible
from pipeline.audit_outcome import SETTLED_BY
from pipeline.audit_verdict import Figure
from pipeline.staging import quote

MISSING, FILLED = "(missing)", "(filled)"
_FILL_SHARE = 0.1
"""Whether a field is filled at all says more about the work of people than about the entity: with a tenth of the
fills expected among open ones, somebody should be asked."""

_RELEVANT_SHARE = 0.1
"""Levels that come only with an outcome make a leak of a column if together they have a tenth of the outcomes."""

_SUSPICION = 0.8


def look_at_levels(entities: Entities, column: str, *, only_fill: bool = False) -> list[Evidence]:
    """Look for levels of a column that hardly any open entity has.

    Parameters
    ----------
    entities : Entities
        The table.
    column : str
        One of its columns, of any type.
    only_fill : bool
        Whether only being filled counts: values of an id say nothing.

    Returns
    -------
    list of Evidence
        The strongest level first; the first one also has how the fill rates and levels differ.

    """
    counts = _count(entities, column)
    if counts.empty or not counts["settled"].sum() or not counts["open"].sum():
        return []
    levels = _expect(counts)
    is_filled = levels.index != MISSING
    rates = {
        "settled": int(counts["settled"].sum()),
        "open": int(counts["open"].sum()),
        "filled_settled": _share(levels.loc[is_filled, "settled"].sum(), counts["settled"].sum()),
        "filled_open": _share(levels.loc[is_filled, "open"].sum(), counts["open"].sum()),
    }
    if is_filled.any() and not is_filled.all():
        levels.loc[FILLED] = levels[is_filled].sum()
    shown = levels.drop(RARE, errors="ignore").iloc[::-1]  # being filled comes before a level that says the same
    shown = shown.sort_values("expected", ascending=False, kind="stable")
    if only_fill:
        shown = shown[shown.index.isin((MISSING, FILLED))]
    distance = float(np.maximum(levels["expected"] - levels["open"], 0.0).max() / max(rates["open"], 1))
    found = [_judge(entities, column, str(level), row, rates) for level, row in shown.iterrows()]
    proofs = sorted((one for one in found if one), key=lambda one: one.verdict != "leak")
    if not any(one.figures["level"] in (MISSING, FILLED) for one in proofs):
        proofs = _weigh(proofs, rates["settled"])
    return proofs or [Evidence("none", "", "", min(distance, 1.0), rates)]


def _weigh(proofs: list[Evidence], settled: float) -> list[Evidence]:
    """Make levels that few have suspicious at most: one sales person without open deals is no overwritten column."""
    held = sum(float(one.figures["level_settled"] or 0) for one in proofs if one.verdict == "leak")
    if held >= _RELEVANT_SHARE * settled:
        return proofs
    return [replace(one, verdict="suspicious", suspicion=_SUSPICION) for one in proofs]


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _count(entities: Entities, column: str) -> pd.DataFrame:
    """Count entities by month and level, settled and open; levels that few have are one."""
    value = f"coalesce(CAST({quote(column)} AS VARCHAR), '{MISSING}')"
    query = (
        f"WITH seen AS (SELECT {MONTH} AS month, {SETTLED} AS settled, {value} AS level "
        f"FROM {entities.rows(column)} WHERE {SETTLED} IS NOT NULL), "
        f"kept AS (SELECT level FROM seen GROUP BY 1 HAVING count(*) >= {FEW} OR level = '{MISSING}') "
        f"SELECT month, CASE WHEN level IN (SELECT level FROM kept) THEN level ELSE '{RARE}' END AS level, "
        f"count(*) FILTER (WHERE settled) AS settled, count(*) FILTER (WHERE NOT settled) AS open "
        f"FROM seen GROUP BY ALL ORDER BY ALL"
    )
    frame: pd.DataFrame = entities.connection.execute(query).df()
    return frame


def _expect(counts: pd.DataFrame) -> pd.DataFrame:
    """Per level: settled, open, and how many open ones are expected if it is like all others of its months."""
    months = counts.groupby("month")[["settled", "open"]].transform("sum")
    share = months["open"] / (months["open"] + months["settled"])
    made = counts.assign(expected=(counts["settled"] + counts["open"]) * share)
    return made.groupby("level")[["settled", "open", "expected"]].sum()


def _judge(
    entities: Entities, column: str, level: str, row: "pd.Series[Any]", rates: dict[str, float]
) -> Evidence | None:
    """Return what one level proves; None if nothing."""
    expected, seen = row["expected"], row["open"]
    share = _FILL_SHARE if level == FILLED else NEARLY_NONE
    if expected < EXPECTED or seen > share * expected:
        return None
    in_time = min(expected, _expected_by_speed(entities, column, level))
    is_leak = is_absent(seen, in_time) and is_impossible(seen, in_time)
    if entities.name in SETTLED_BY:  # what takes long enough ends; but a customer may buy forever
        expected = in_time
    if not is_leak and (expected < EXPECTED or seen > share * expected):
        return None
    settled, other = entities.words
    what = {FILLED: "is filled in", MISSING: "is empty in"}.get(level, f"is '{level}' in")
    sentence = (
        f"{column} {what} {row['settled']:,.0f} of {rates['settled']:,} {settled} {entities.name} and in "
        f"{row['open']:,.0f} of {rates['open']:,} {other} ones, where {expected:,.0f} were expected by the months of "
        "their creation"
    )
    becomes = "empty" if level == MISSING else f"'{level}'"
    question = f"When does {column} become {becomes}: at the outcome, or is it changed later?"
    if level == FILLED:
        question = f"Who fills {column}, and when: before or after the outcome is known?"
    figures: dict[str, Figure] = {
        **rates,
        "level": level,
        "level_settled": int(row["settled"]),
        "level_open": int(row["open"]),
        "level_open_expected": round(float(expected), 1),
    }
    return Evidence("leak" if is_leak else "suspicious", sentence, question, 1.0 if is_leak else _SUSPICION, figures)


def _expected_by_speed(entities: Entities, column: str, level: str) -> float:
    """How many entities of a level should still be open, by how long those took whose outcome is known.

    However strong a value is that was known in time: so many are open at least.
    """
    name = quote(column)
    is_it = {FILLED: f"{name} IS NOT NULL", MISSING: f"{name} IS NULL"}.get(level, f"CAST({name} AS VARCHAR) = $level")
    seconds = "date_diff('second', {}, {}) / 86400.0"
    lag = seconds.format(BORN, SETTLED_AT)
    age = seconds.format(BORN, f"TIMESTAMP '{entities.tables.data_end}'")
    query = f"SELECT {lag} AS lag, {age} AS age FROM {entities.rows(column)} WHERE {SETTLED} AND {is_it}"
    frame = entities.connection.execute(query, {"level": level} if "$level" in is_it else None).df()
    lags = np.maximum(frame["lag"].to_numpy(), 0.0)
    return expected_later(lags, np.maximum(frame["age"].to_numpy(), lags))
