"""Writing scores to Odoo 19: fields of ours on its records, through the JSON-2 API."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.adapters.odoo_action import find_action, run_action
from pipeline.adapters.odoo_batch import OdooBatch, is_id
from pipeline.adapters.odoo_client import OdooClient, OdooRefusal
from pipeline.adapters.odoo_fields import ATTRIBUTES, OdooField, find_fields
from pipeline.adapters.target import (
    Capabilities,
    FieldValues,
    RecordResult,
    TargetField,
    TargetTable,
    WriteBatch,
)
from pipeline.errors import ConfigError

CONTEXT = {"active_test": False, "lang": "en_US"}
"""Archived records are there; messages in English."""


class OdooTarget:
    """Models of an Odoo that scores are written to; `TargetTable("crm.lead", "id")`.

    Records are only updated, by an action within Odoo (see `odoo_action`): it locks them, and leaves alone
    those that somebody changed. Who saves one of them meanwhile waits for the end of the batch. A batch is
    one transaction of Odoo; the answer is what Odoo holds at the end of it.

    Parameters
    ----------
    client : OdooClient
        The user that writes.

    """

    def __init__(self, client: OdooClient) -> None:
        self._client = client
        self._models: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        self._actions: dict[str, int] = {}

    @property
    def requests(self) -> int:
        """Requests sent by the client."""
        return self._client.requests

    def capabilities(self) -> Capabilities:
        """Limits of Odoo: it has none of its own; the larger a batch, the longer its records are locked."""
        return Capabilities(
            max_batch=1000,
            per_record_values=True,
            failure="atomic",
            rate_per_second=None,
            max_read=2000,
            requests_per_batch=1,
        )

    def describe(self, target: TargetTable, fields: Sequence[str]) -> dict[str, TargetField]:
        """Look fields up in Odoo; see `TargetAdapter.describe`.

        Raises
        ------
        ConfigError
            If there is no such model, a field may not be written, or the user may not write the model or
            run the action that does it.

        """
        found = self._open(target, fields)
        if not self._client.call(target.name, "has_access", operation="write"):
            raise ConfigError(
                f"write_back: this user of Odoo may not change '{target.name}'. Put it into a group that may, such as "
                "'User: All Documents' of Sales for leads."
            )
        self._find_action(target.name)
        return {name: field.target for name, field in found.items()}

    def read_fields(self, table: TargetTable, ids: Sequence[str], fields: Sequence[str]) -> FieldValues:
        """Read fields of records, archived ones too; see `TargetAdapter.read_fields`."""
        described = self._open(table, fields)
        numbers = [int(record_id) for record_id in ids if is_id(record_id)]
        rows: list[dict[str, Any]] = []
        if numbers:
            domain = [["id", "in", numbers]]
            try:
                rows = self._client.call(
                    table.name, "search_read", domain=domain, fields=list(fields), order="id", context=CONTEXT
                )
            except OdooRefusal as refusal:
                self._check_deployment(table, fields, refusal)
                raise
        columns = {name: described[name].read([row[name] for row in rows]) for name in fields}
        return FieldValues([str(row["id"]) for row in rows], columns)

    def write_batch(self, batch: WriteBatch) -> list[RecordResult]:
        """Write one batch; see `TargetAdapter.write_batch`."""
        if batch.action != "update":
            message = f"records of Odoo are only updated, never with '{batch.action}'"
            return [RecordResult(record_id, "rejected", message) for record_id in batch.ids]
        made = OdooBatch(batch, self._open(batch.table, batch.fields))
        if rows := made.make_rows():
            try:
                made.settle(*run_action(self._client, self._find_action(batch.table.name), batch.fields, rows))
            except OdooRefusal as refusal:
                self._check_deployment(batch.table, batch.fields, refusal)
                made.reject(f"Odoo refuses it: {refusal.said}")
        return made.list_results()

    def _find_action(self, model: str) -> int:
        """Id of the action that writes to a model, asked for once."""
        if model not in self._actions:
            self._actions[model] = find_action(self._client, model)
        return self._actions[model]

    def _check_deployment(self, table: TargetTable, fields: Sequence[str], refusal: OdooRefusal) -> None:
        """Raise a ConfigError where not a record is at fault: a model, field or our action is gone, or a right."""
        if refusal.kind != "value" or "Invalid field" in str(refusal):
            self._models.pop(table.name, None)
            self._actions.pop(table.name, None)
            self.describe(table, fields)

    def _open(self, table: TargetTable, fields: Sequence[str]) -> dict[str, OdooField]:
        """Fields of a model that may be written."""
        if table.key != "id":
            raise ConfigError(
                f"write_back: the key of Odoo's model '{table.name}' is 'id', got '{table.key}'. Set key: id."
            )
        return find_fields(table.name, fields, self._declare(table.name))

    def _declare(self, model: str) -> Mapping[str, Mapping[str, Any]]:
        """All fields of a model, asked for once."""
        if model not in self._models:
            try:
                self._models[model] = self._client.call(model, "fields_get", attributes=ATTRIBUTES)
            except OdooRefusal as refusal:
                if refusal.kind not in ("model", "right"):
                    raise
                raise ConfigError(
                    f"write_back: {refusal}. Check the name of the model, that its app is installed, and that this "
                    "user may read it."
                ) from None
        return self._models[model]
