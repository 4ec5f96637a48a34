# ruff: noqa: S608  (SQL is put together from quoted names and expressions of our own)
"""Which rows of the canonical tables are an entity's: its own, and all that hang on it.

A customer owns the customers that were merged into it, its deals, contacts and subscriptions, and with
them every row that names one of these. Where several versions of a row name different customers, the
newest one owns it. Rows of others that only point at it (`parent_id`) stay and lose the pointer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import duckdb

from features.tables import TABLES
from pipeline.tombstones import Tombstones

OWNERS: Mapping[str, str] = {
    "customer_id": "customers",
    "deal_id": "deals",
    "contact_id": "contacts",
    "subscription_id": "subscriptions",
}
"""Columns that say whose a row is, each with the table in which the owner is a row itself."""

POINTERS: Mapping[str, str] = {
    column: to for spec in TABLES.values() for column, to in spec.references.items() if column not in OWNERS
}
"""Columns that point at an entity without belonging to it."""

OWNED = "owned"
"""Table of a connection with the ids that were found: table_name, id."""


@dataclass(frozen=True)
class Relation:
    """A table as DuckDB has it.

    Parameters
    ----------
    source : str
        SQL that can stand after FROM.
    texts : mapping of column to str
        For every column, the SQL that reads it as text, ids as in the canonical tables.
    newest : str
        SQL to order versions by; empty if a row has one version only.

    """

    source: str
    texts: Mapping[str, str]
    newest: str = ""


def is_owned(relation: Relation, name: str) -> str:
    """Return the condition that a row of a table is one of the `owned` entities' rows; false rather than null."""
    texts = relation.texts
    parts = [_among(texts[column], to) for column, to in OWNERS.items() if column in texts]
    if name == "customers" and "merged_into" in texts:
        parts.append(_among(texts["merged_into"], "customers"))
    if name == "assessments" and {"entity", "entity_id"} <= texts.keys():
        about = f"lower({texts['entity']})"
        parts += [
            f"(NOT coalesce(starts_with({about}, '{other}'), false) AND {_among(texts['entity_id'], table)})"
            for table, other in (("customers", "deal"), ("deals", "customer"))
        ]
    if name == "attribute_changes" and {"table_name", "entity_id"} <= texts.keys():
        parts.append(f"({texts['table_name']}, {texts['entity_id']}) IN (SELECT (table_name, id) FROM {OWNED})")
    return " OR ".join(f"coalesce({part}, false)" for part in parts) or "false"


def pointers(relation: Relation, name: str) -> dict[str, str]:
    """Columns of a table that may point at `owned` entities, each with the condition that it does."""
    texts = relation.texts
    found = {column: _among(texts[column], to) for column, to in POINTERS.items() if column in texts}
    if name == "attribute_changes" and "field" in texts:
        names = ", ".join(f"'{column}'" for column in (*OWNERS, *POINTERS, "merged_into"))
        for column in ("old_value", "new_value"):
            if column in texts:
                found[column] = f"{texts['field']} IN ({names}) AND {texts[column]} IN (SELECT id FROM {OWNED})"
    return {column: f"coalesce({condition}, false)" for column, condition in found.items()}


def _among(expression: str, table: str) -> str:
    return f"{expression} IN (SELECT id FROM {OWNED} WHERE table_name = '{table}')"


def start_with(connection: duckdb.DuckDBPyConnection, ids: Mapping[str, Iterable[str]]) -> None:
    """Make the table of `owned` entities from ids that are known."""
    connection.execute(f"CREATE OR REPLACE TABLE {OWNED} (table_name VARCHAR, id VARCHAR)")
    for table, some in ids.items():
        for one in some:
            connection.execute(f"INSERT INTO {OWNED} VALUES (?, ?)", [table, one])


def start_with_tombstones(
    connection: duckdb.DuckDBPyConnection, relations: Mapping[str, Relation], tombstones: Tombstones
) -> None:
    """Make the table of `owned` entities from all ids in the tables whose hashes are among the tombstones."""
    start_with(connection, {})
    for name, relation in relations.items():
        every = {**OWNERS, **POINTERS, "merged_into": "customers"}
        places = [(column, to) for column, to in every.items() if column in relation.texts]
        if name in ("assessments", "attribute_changes") and "entity_id" in relation.texts:
            places += [("entity_id", to) for to in OWNERS.values()]
        for column, to in places:
            _insert_hashed(connection, relation, relation.texts[column], to, tombstones)


def _insert_hashed(
    connection: duckdb.DuckDBPyConnection, relation: Relation, text: str, table: str, tombstones: Tombstones
) -> None:
    hashes = sorted(tombstones.hashes.get(table, ()))
    if hashes:
        connection.execute(
            f"INSERT INTO {OWNED} SELECT '{table}', id FROM (SELECT DISTINCT {text} AS id FROM {relation.source}) "
            f"WHERE {tombstones.digest_sql(table, 'id')} IN (SELECT unnest(?)) AND ('{table}', id) NOT IN "
            f"(SELECT (table_name, id) FROM {OWNED})",
            [hashes],
        )


def find_owned(connection: duckdb.DuckDBPyConnection, relations: Mapping[str, Relation]) -> dict[str, list[str]]:
    """Add to the table of `owned` entities all that belong to those in it, however far.

    Returns
    -------
    dict of table to list of str
        Ids, sorted.

    """
    before = -1
    while (found := _count(connection)) != before:
        before = found
        for column, name in OWNERS.items():
            relation = relations.get(name)
            if relation is not None and column in relation.texts:
                _insert_owned(connection, relation, name, relation.texts[column])
    return owned(connection)


def owned(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Ids in the table of `owned` entities, by table, sorted."""
    rows = connection.execute(f"SELECT DISTINCT table_name, id FROM {OWNED} ORDER BY ALL").fetchall()
    return {table: [one for name, one in rows if name == table] for table in dict.fromkeys(name for name, _ in rows)}


def _insert_owned(connection: duckdb.DuckDBPyConnection, relation: Relation, name: str, key: str) -> None:
    newest = (
        f"QUALIFY row_number() OVER (PARTITION BY id ORDER BY {relation.newest} DESC) = 1" if relation.newest else ""
    )
    rows = f"SELECT {key} AS id, {is_owned(relation, name)} AS is_owned FROM {relation.source} {newest}"
    connection.execute(
        f"INSERT INTO {OWNED} SELECT DISTINCT '{name}', id FROM ({rows}) WHERE is_owned AND id IS NOT NULL "
        f"AND id NOT IN (SELECT id FROM {OWNED} WHERE table_name = '{name}')"
    )


def _count(connection: duckdb.DuckDBPyConnection) -> int:
    return int((connection.execute(f"SELECT count(*) FROM {OWNED}").fetchone() or (0,))[0])
