# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Numbers that count or sum up what happened to an entity until the extract: they hold its future."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from features.tables import TABLES, ColumnType
from pipeline.audit_entities import BORN, Entities
from pipeline.audit_evidence import EXPECTED, Evidence
from pipeline.audit_outcome import is_purchase, moment
from pipeline.audit_times import TOLERANCE_DAYS
from pipeline.staging import quote

NUMBERS = ("integer", "number", "money")

_EQUAL_SHARE = 0.9
"""A tenth may differ: rows that the CRM has deleted, or counts of last night."""

_CHANCE_SHARE = 0.5
"""Two numbers that are mostly 1 agree by chance."""


@dataclass(frozen=True)
class Aggregate:
    """Something that can be counted or summed up per entity: its words, and the SQL."""

    words: str
    value: str


def look_at_aggregates(entities: Entities, columns: Sequence[str]) -> dict[str, list[Evidence]]:
    """Look for numbers that equal an aggregate of the entity's own rows up to the end of the data.

    Only entities count of which something happened after their creation.

    Parameters
    ----------
    entities : Entities
        The table.
    columns : sequence of str
        Its columns of numbers.

    Returns
    -------
    dict of column to list of Evidence
        One aggregate per column, where there is one.

    """
    found: dict[str, list[Evidence]] = {}
    if not columns:
        return found
    for name in entities.tables.tables:
        key = str(TABLES[entities.name].key)
        if name == entities.name or key not in entities.tables.tables[name].columns:
            continue
        aggregates = list(_aggregates(name, entities.events(name)[1]))
        _make_sums(entities, name, aggregates)
        for column in columns:
            for place, aggregate in enumerate(aggregates):
                if column not in found and (evidence := _compare(entities, column, f"v{place}", aggregate)):
                    found[column] = [evidence]
    return found


def _aggregates(name: str, columns: Mapping[str, ColumnType]) -> Iterator[Aggregate]:
    words = name.replace("_", " ")
    yield Aggregate(f"the number of {words}", "count(*)")
    if name == "orders":
        yield Aggregate("the number of purchases", f"count(*) FILTER (WHERE {is_purchase(columns)})")
        yield Aggregate("the sum of amount of purchases", f"sum(amount) FILTER (WHERE {is_purchase(columns)})")
    for column, kind in columns.items():
        if kind in NUMBERS:
            yield Aggregate(f"the sum of {column} of {words}", f"sum({quote(column)})")


def _make_sums(entities: Entities, name: str, aggregates: Sequence[Aggregate]) -> None:
    """Make the table `sums`: per entity of which something happened after its creation, all aggregates."""
    rows, _ = entities.events(name)
    time, end = quote(TABLES[name].time), moment(entities.tables.data_end)
    values = ", ".join(f"CAST({one.value} AS DOUBLE) AS v{place}" for place, one in enumerate(aggregates))
    entities.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE sums AS SELECT {entities.key}, max({time}) AS last, {values} "
        f"FROM {rows} WHERE {time} < {end} GROUP BY 1"
    )


def _compare(entities: Entities, column: str, value: str, aggregate: Aggregate) -> Evidence | None:
    name = f"CAST({quote(column)} AS DOUBLE)"
    rows = (
        f"SELECT {name} AS number, s.{value} AS total FROM {entities.rows(column)} AS r JOIN sums AS s "
        f"USING ({entities.key}) WHERE s.last > r.{BORN} + INTERVAL {TOLERANCE_DAYS} DAY AND {name} IS NOT NULL "
        f"AND s.{value} IS NOT NULL"
    )
    count, equal = entities.connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE abs(number - total) < 0.005) FROM ({rows})"
    ).fetchone() or (0, 0)
    if count < EXPECTED or equal < _EQUAL_SHARE * count or _chance(entities, rows) > _CHANCE_SHARE:
        return None
    share = equal / count
    return Evidence(
        "leak",
        f"{column} equals {aggregate.words} up to the extract in {share:.0%} of {count:,} {entities.name} of which "
        "something happened after their creation",
        f"Does {column} go on counting? Then leave it out: features count the rows as of their date.",
        1.0,
        {"compared": int(count), "equal": round(share, 4), "aggregate": aggregate.words},
    )


def _chance(entities: Entities, rows: str) -> float:
    """Share of rows in which both numbers would agree if they had nothing to do with each other."""
    number, total = (
        f"(SELECT round({one}, 2) AS v, count(*) / sum(count(*)) OVER () AS share FROM ({rows}) GROUP BY 1)"
        for one in ("number", "total")
    )
    query = f"SELECT coalesce(sum(a.share * b.share), 0) FROM {number} AS a JOIN {total} AS b USING (v)"
    return float((entities.connection.execute(query).fetchone() or (0,))[0])
