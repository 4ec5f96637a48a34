# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Times in a column that lie after the creation of their row, and never after the end of the data.

What was planned when a row was created reaches beyond the end of the data where the row is young; what was
recorded later does not.
"""

import numpy as np

from pipeline.audit_entities import BORN, SETTLED, SETTLED_AT, Entities
from pipeline.audit_evidence import EXPECTED, Evidence, expected_later, is_absent
from pipeline.staging import quote

TOLERANCE_DAYS = 2
"""Days after the creation that are none: a date has no time of day, and no time zone."""

_LEAST_SHARE = 0.02
"""Twice the share of bad rows that an extract tolerates as errors of people."""

_SAME_SHARE = 0.9


def look_at_times(entities: Entities, column: str) -> list[Evidence]:
    """Look for times that were recorded after the row was created.

    Parameters
    ----------
    entities : Entities
        The table.
    column : str
        A column of times or dates.

    Returns
    -------
    list of Evidence
        Empty if nothing speaks against it.

    """
    found = [_same_as_outcome(entities, column), _after_creation(entities, column)]
    return [one for one in found if one]


def _after_creation(entities: Entities, column: str) -> Evidence | None:
    value, end = f"CAST({quote(column)} AS TIMESTAMP)", f"TIMESTAMP '{entities.tables.data_end}'"
    days = "date_diff('second', {}, {}) / 86400.0"
    frame = entities.connection.execute(
        f"SELECT {days.format(BORN, value)} AS lag, {days.format(BORN, end)} AS age FROM {entities.rows(column)} "
        f"WHERE {value} IS NOT NULL"
    ).df()
    later = frame[frame["lag"] > TOLERANCE_DAYS]
    if len(later) < max(EXPECTED, _LEAST_SHARE * len(frame)):
        return None
    past = later[later["lag"] <= later["age"]]
    beyond = len(later) - len(past)
    expected = expected_later(past["lag"].to_numpy(), past["age"].to_numpy())
    if beyond and beyond >= expected / 2:
        return None
    figures = {"filled": len(frame), "later": len(later), "beyond": beyond, "beyond_expected": round(expected, 1)}
    is_leak = is_absent(beyond, expected)
    sentence = (
        f"{column} lies after the creation of the row in {len(later):,} of {len(frame):,} {entities.name}, and after "
        f"the end of the data in {beyond:,}"
    )
    if is_leak:
        sentence = f"{sentence}, where planned dates would lie too: it was recorded later"
    question = f"What sets {column}, and when? If it changes, declare it tracked or remembered."
    share = len(later) / max(len(frame), 1)
    return Evidence("leak" if is_leak else "suspicious", sentence, question, 1.0 if is_leak else 0.8 * share, figures)


def _same_as_outcome(entities: Entities, column: str) -> Evidence | None:
    """Find times that are those of the outcome itself."""
    value = f"CAST({quote(column)} AS TIMESTAMP)"
    is_late = f"{SETTLED} AND date_diff('second', {BORN}, {SETTLED_AT}) > {TOLERANCE_DAYS * 86400}"
    rows, same = entities.connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE abs(date_diff('second', {value}, {SETTLED_AT})) <= 86400) "
        f"FROM {entities.rows(column)} WHERE {value} IS NOT NULL AND {is_late}"
    ).fetchone() or (0, 0)
    if rows < EXPECTED or same < _SAME_SHARE * rows:
        return None
    share = float(np.round(same / rows, 4))
    return Evidence(
        "leak",
        f"{column} is the day of the outcome in {share:.0%} of {rows:,} {entities.words[0]} {entities.name}",
        f"Is {column} overwritten when the outcome is known?",
        1.0,
        {"settled": int(rows), "same_as_outcome": share},
    )
