# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Columns with a history: how often they were filled or changed with the outcome, which the as-of view hides."""

from pipeline.audit_aside import read
from pipeline.audit_entities import SETTLED, SETTLED_AT, Entities
from pipeline.audit_evidence import Evidence
from pipeline.audit_outcome import moment
from pipeline.staging import quote


def look_at_history(entities: Entities, column: str) -> Evidence:
    """Count the changes of a tracked or remembered column before and after the outcome was known.

    Parameters
    ----------
    entities : Entities
        The table.
    column : str
        A column with one row per version.

    Returns
    -------
    Evidence
        It proves nothing: features see each value from the moment at which it was known.

    """
    name, key = quote(column), entities.key
    versions = (
        f"SELECT {key}, known_at, {name} AS value, lag({name}) OVER w AS before, row_number() OVER w AS turn "
        f"FROM {read(entities.tables.path(entities.name))} WHERE known_at < {moment(entities.tables.data_end)} "
        f"WINDOW w AS (PARTITION BY {key} ORDER BY known_at)"
    )
    is_after = f"{SETTLED} AND v.known_at >= {SETTLED_AT}"
    fill = "before IS NULL"
    changes, settled, after, fills, late_fills = entities.connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE {SETTLED}), count(*) FILTER (WHERE {is_after}), "
        f"count(*) FILTER (WHERE {SETTLED} AND {fill}), count(*) FILTER (WHERE {is_after} AND {fill}) "
        f"FROM ({versions}) AS v JOIN rows USING ({key}) WHERE turn > 1 AND value IS DISTINCT FROM before"
    ).fetchone() or (0, 0, 0, 0, 0)
    figures = {
        "changes": int(changes),
        "changes_settled": int(settled),
        "changes_after_outcome": int(after),
        "fills_settled": int(fills),
        "fills_after_outcome": int(late_fills),
    }
    if not changes:
        return Evidence("none", f"{column} never changed, and its history would show it", "", 0.0, figures)
    share = f", {after / max(settled, 1):.0%} of those in {entities.words[0]} {entities.name} with or after the outcome"
    late = f" and {late_fills:,} of {fills:,} first fills after it" if fills else ""
    sentence = (
        f"{column} changed {changes:,} times{share if settled else ''}{late}; features see each value only from the "
        "moment at which it was known"
    )
    return Evidence("none", sentence, "", 0.0, figures)


def look_at_revealed(entities: Entities, column: str, time: str) -> Evidence:
    """Compare how often a revealed column is filled where the outcome is known and where it is not."""
    name = quote(column)
    counts = entities.connection.execute(
        f"SELECT count(*) FILTER (WHERE {SETTLED}), count(*) FILTER (WHERE {SETTLED} AND {name} IS NOT NULL), "
        f"count(*) FILTER (WHERE NOT {SETTLED}), count(*) FILTER (WHERE NOT {SETTLED} AND {name} IS NOT NULL) FROM rows"
    ).fetchone() or (0, 0, 0, 0)
    settled, filled, others, filled_others = map(int, counts)
    sentence = (
        f"{column} is filled in {filled:,} of {settled:,} {entities.words[0]} {entities.name} and in {filled_others:,} "
        f"of {others:,} {entities.words[1]} ones; features see it only after {time}"
    )
    figures = {
        "settled": settled,
        "open": others,
        "filled_settled": filled / settled if settled else None,
        "filled_open": filled_others / others if others else None,
    }
    return Evidence("none", sentence, "", 0.0, figures)
