"""The canonical CRM tables: what they are called, what identifies a row, and when it became known."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from features.errors import DataError

ColumnType = Literal["text", "time", "date", "money", "number", "integer", "flag"]

Engine = Literal["duckdb", "spark"]
"""What runs the feature groups."""

DUCKDB_TYPES: Mapping[ColumnType, str] = MappingProxyType(
    {
        "text": "VARCHAR",
        "time": "TIMESTAMP",
        "date": "DATE",
        "money": "DECIMAL(18, 4)",
        "number": "DOUBLE",
        "integer": "BIGINT",
        "flag": "BOOLEAN",
    }
)

MANIFEST = "manifest.json"
PROTOCOL = 1


@dataclass(frozen=True)
class TableSpec:
    """One canonical table.

    Parameters
    ----------
    name : str
        Name of the table.
    key : str or None
        Column that identifies a row; None for tables that are only ever summed up.
    time : str
        Column that says when the row occurred.
    columns : mapping of column to type
        Known columns; a source may leave out all but the required ones and may add its own.
    required : tuple of str
        Columns the source must deliver.
    references : mapping of column to table
        Foreign keys; rows whose key is not found there are orphans.
    revealed : mapping of column to time column
        Columns that are filled later than the row occurs, each with the column that says when.
    is_entity : bool
        Whether attributes change over time and need a declared history (`static` or `tracked`).

    """

    name: str
    key: str | None
    time: str
    columns: Mapping[str, ColumnType]
    required: tuple[str, ...]
    references: Mapping[str, str] = field(default_factory=dict)
    revealed: Mapping[str, str] = field(default_factory=dict)
    is_entity: bool = False


def _specs() -> dict[str, TableSpec]:
    specs = [
        TableSpec(
            "customers",
            "customer_id",
            "created_at",
            {
                "customer_id": "text",
                "created_at": "time",
                "name": "text",
                "domain": "text",
                "tax_number": "text",
                "industry": "text",
                "region": "text",
                "employees": "integer",
                "annual_revenue": "money",
                "founded_on": "date",
                "parent_id": "text",
                "owner_id": "text",
                "source": "text",
                "credit_grade": "text",
                "merged_into": "text",
            },
            required=("customer_id", "created_at"),
            references={"parent_id": "customers"},
            is_entity=True,
        ),
        TableSpec(
            "contacts",
            "contact_id",
            "created_at",
            {
                "contact_id": "text",
                "created_at": "time",
                "customer_id": "text",
                "title": "text",
                "seniority": "text",
                "is_decision_maker": "flag",
            },
            required=("contact_id", "created_at", "customer_id"),
            references={"customer_id": "customers"},
        ),
        TableSpec(
            "deals",
            "deal_id",
            "created_at",
            {
                "deal_id": "text",
                "created_at": "time",
                "customer_id": "text",
                "source": "text",
                "product": "text",
                "owner_id": "text",
                "amount": "money",
                "expected_close_on": "date",
                "closed_at": "time",
                "outcome": "text",
                "lost_reason": "text",
            },
            required=("deal_id", "created_at", "closed_at", "outcome"),
            references={"customer_id": "customers"},
            revealed={"closed_at": "closed_at", "outcome": "closed_at", "lost_reason": "closed_at"},
            is_entity=True,
        ),
        TableSpec(
            "stage_changes",
            None,
            "occurred_at",
            {"deal_id": "text", "occurred_at": "time", "stage": "text"},
            required=("deal_id", "occurred_at", "stage"),
            references={"deal_id": "deals"},
        ),
        TableSpec(
            "activities",
            "activity_id",
            "occurred_at",
            {
                "activity_id": "text",
                "occurred_at": "time",
                "customer_id": "text",
                "deal_id": "text",
                "contact_id": "text",
                "kind": "text",
                "direction": "text",
                "outcome": "text",
                "duration_s": "integer",
                "author": "text",
            },
            required=("activity_id", "occurred_at"),
            references={"customer_id": "customers", "deal_id": "deals", "contact_id": "contacts"},
        ),
        TableSpec(
            "orders",
            "order_id",
            "occurred_at",
            {
                "order_id": "text",
                "occurred_at": "time",
                "customer_id": "text",
                "amount": "money",
                "cost": "money",
                "product": "text",
                "quantity": "number",
            },
            required=("order_id", "occurred_at", "customer_id", "amount"),
            references={"customer_id": "customers"},
        ),
        TableSpec(
            "invoices",
            "invoice_id",
            "occurred_at",
            {
                "invoice_id": "text",
                "occurred_at": "time",
                "customer_id": "text",
                "amount": "money",
                "due_at": "time",
                "paid_at": "time",
                "written_off_at": "time",
            },
            required=("invoice_id", "occurred_at", "customer_id", "amount"),
            references={"customer_id": "customers"},
            revealed={"paid_at": "paid_at", "written_off_at": "written_off_at"},
        ),
        TableSpec(
            "tickets",
            "ticket_id",
            "occurred_at",
            {
                "ticket_id": "text",
                "occurred_at": "time",
                "customer_id": "text",
                "kind": "text",
                "severity": "text",
                "closed_at": "time",
                "satisfaction": "number",
            },
            required=("ticket_id", "occurred_at", "customer_id"),
            references={"customer_id": "customers"},
            revealed={"closed_at": "closed_at", "satisfaction": "closed_at"},
        ),
        TableSpec(
            "subscriptions",
            "subscription_id",
            "occurred_at",
            {
                "subscription_id": "text",
                "occurred_at": "time",
                "customer_id": "text",
                "plan": "text",
                "mrr": "money",
                "renews_on": "date",
                "ended_at": "time",
                "end_reason": "text",
            },
            required=("subscription_id", "occurred_at", "customer_id"),
            references={"customer_id": "customers"},
            revealed={"ended_at": "ended_at", "end_reason": "ended_at"},
            is_entity=True,
        ),
        TableSpec(
            "assessments",
            None,
            "occurred_at",
            {
                "occurred_at": "time",
                "entity": "text",
                "entity_id": "text",
                "question": "text",
                "answer": "text",
                "author": "text",
            },
            required=("occurred_at", "entity", "entity_id", "question", "answer"),
        ),
        TableSpec(
            "attribute_changes",
            None,
            "occurred_at",
            {
                "occurred_at": "time",
                "table_name": "text",
                "entity_id": "text",
                "field": "text",
                "old_value": "text",
                "new_value": "text",
            },
            required=("occurred_at", "table_name", "entity_id", "field", "old_value", "new_value"),
        ),
    ]
    return {spec.name: spec for spec in specs}


TABLES: Mapping[str, TableSpec] = MappingProxyType(_specs())


@dataclass(frozen=True)
class StoredTable:
    """One extracted table as its manifest entry describes it.

    `columns` maps every usable column to its type. Beyond what the source delivered there are
    `known_at` (never null), `<time>_known_at` for each time column that reveals others, and, on
    entity tables (one row per version of an entity), `known_until`: the version holds for
    `known_at < as_of <= known_until`, null meaning that it still does. Other tables have `known_until`
    too once a row was changed, deleted or merged away between two extracts. `sensitive` columns are
    stored, but no view shows them.
    """

    name: str
    file: str
    rows: int
    bytes: int
    sha256: str
    columns: Mapping[str, ColumnType]
    revealed: Mapping[str, str]
    sensitive: tuple[str, ...] = ()


@dataclass(frozen=True)
class CrmTables:
    """Extracted tables in a folder, as of `data_end` (UTC, naive), and the engine that reads them."""

    folder: Path
    data_end: datetime
    time_zone: str
    currency: str
    tables: Mapping[str, StoredTable]
    stages: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    engine: Engine = "duckdb"

    def path(self, name: str) -> Path:
        """Parquet file of a table; KeyError if the deployment has no such table."""
        return self.folder / self.tables[name].file

    @property
    def sha256(self) -> str:
        """Hash over all tables and the end of the data: two equal extracts have equal hashes."""
        lines = [self.data_end.isoformat(), *(f"{n} {t.sha256}" for n, t in sorted(self.tables.items()))]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load_tables(folder: Path) -> CrmTables:
    """Read the manifest of an extract.

    Raises
    ------
    DataError
        If there is no manifest, it has another protocol number, or a file is missing, cut short or damaged.

    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"No extracted tables in {folder}: {MANIFEST} is missing. Run `leadsieve extract` first.")
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if manifest.get("protocol") != PROTOCOL:
        raise DataError(
            f"{path} has protocol {manifest.get('protocol')}, expected {PROTOCOL}. Run `leadsieve extract` again."
        )
    stored = {
        name: StoredTable(name=name, **{**entry, "sensitive": tuple(entry.get("sensitive", ()))})
        for name, entry in manifest["tables"].items()
    }
    for table in stored.values():
        file = folder / table.file
        size = file.stat().st_size if file.is_file() else 0
        if size != table.bytes:
            raise DataError(
                f"Table '{table.name}': {file} has {size:,} bytes, expected {table.bytes:,}: the file is missing or "
                "only half there. Run `leadsieve extract` again."
            )
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if digest != table.sha256:
            raise DataError(
                f"Table '{table.name}': {file} has hash {digest[:12]}, expected {table.sha256[:12]}: its content was "
                "changed or damaged. Run `leadsieve extract` again."
            )
    return CrmTables(
        folder=folder,
        data_end=datetime.fromisoformat(manifest["data_end"]),
        time_zone=manifest["time_zone"],
        currency=manifest["currency"],
        tables=MappingProxyType(stored),
        stages=tuple(manifest.get("stages", ())),
        questions=tuple(manifest.get("questions", ())),
    )
