"""Every score in a model of our own in Odoo: one record per run, entity, target and horizon."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.adapters.odoo_client import OdooClient, OdooRefusal
from pipeline.adapters.odoo_own import HISTORY, LINKS, QUIET, cut, expecting_install, find_ids, read_where, remove
from pipeline.adapters.target import HistoryRow, TargetTable


class OdooHistory:
    """The model `x_lead_score`; see `HistoryAdapter`.

    A row is linked to its lead or partner, if that exists, so that their forms can show it. Odoo has an
    index of its own making that lets no key in twice, whatever is sent again and when.

    Parameters
    ----------
    client : OdooClient
        Odoo, as the nightly user.
    tables : mapping of str to TargetTable
        Target to the model that its scores are written to.

    """

    def __init__(self, client: OdooClient, tables: Mapping[str, TargetTable]) -> None:
        self._client = client
        self._tables = tables

    def history_keys(self, run_id: str) -> set[str]:
        """Read the keys of a run's rows; see `HistoryAdapter.history_keys`."""
        return self._find_keys([("x_run_id", "=", run_id)])

    def add_history(self, rows: Sequence[HistoryRow]) -> None:
        """Add rows in one transaction; see `HistoryAdapter.add_history`.

        Rows that are there already are left out: a call that is sent again, because nobody knows what
        became of it, adds nothing twice.
        """
        keys = [row.key for row in rows]
        if not keys:
            return
        there = self._find_keys([("x_name", "in", keys)])
        links = self._find_links([row for row in rows if row.key not in there])
        values = [{**_values(row), **links.get(row.key, {})} for row in rows if row.key not in there]
        if not values:
            return
        try:
            with expecting_install(f"The history of scores ({HISTORY})"):
                self._client.call(HISTORY, "create", vals_list=values, context=QUIET)
        except OdooRefusal:
            if self._find_keys([("x_name", "in", keys)]) != set(keys):  # else an earlier call was done after all
                raise

    def remove_history(self, run_id: str) -> int:
        """Remove the rows of a run; see `HistoryAdapter.remove_history`."""
        return self._remove([("x_run_id", "=", run_id)])

    def forget_history(self, entities: Mapping[str, Sequence[str]]) -> int:
        """Remove the rows of entities; see `HistoryAdapter.forget_history`."""
        gone = 0
        for target, ids in entities.items():
            for some in cut(list(ids)):
                gone += self._remove([("x_target", "=", target), ("x_entity_id", "in", list(some))])
        return gone

    def _find_keys(self, domain: Sequence[Any]) -> set[str]:
        with expecting_install(f"The history of scores ({HISTORY})"):
            return {row["x_name"] for row in read_where(self._client, HISTORY, domain, ["x_name"])}

    def _remove(self, domain: Sequence[Any]) -> int:
        with expecting_install(f"The history of scores ({HISTORY})"):
            return remove(self._client, HISTORY, find_ids(self._client, HISTORY, domain))

    def _find_links(self, rows: Sequence[HistoryRow]) -> dict[str, dict[str, int]]:
        """Key of a row to the field and id of its record; rows whose record is gone are absent."""
        links: dict[str, dict[str, int]] = {}
        for target in {row.target for row in rows}:
            table = self._tables.get(target)
            if table is None or table.name not in LINKS:
                continue
            some = [row for row in rows if row.target == target]
            found = find_records(self._client, table, [row.entity_id for row in some], [])
            links |= {
                row.key: {LINKS[table.name]: int(found[row.entity_id]["id"])} for row in some if row.entity_id in found
            }
        return links


def find_records(
    client: OdooClient, table: TargetTable, ids: Sequence[str], fields: Sequence[str], condition: Sequence[Any] = ()
) -> dict[str, dict[str, Any]]:
    """Return the records that exist (and fulfil a condition): id as we have it to `id` and the fields."""
    wanted: list[Any] = [int(one) for one in ids if one.isdecimal()] if table.key == "id" else list(ids)
    names = list(dict.fromkeys(["id", table.key, *fields]))
    rows = read_where(client, table.name, [(table.key, "in", wanted), *condition], names) if wanted else []
    return {str(row[table.key]): row for row in rows}


def _values(row: HistoryRow) -> dict[str, Any]:
    """Return a row as Odoo takes it; what is null is left out, since Odoo would make it 0."""
    values = {
        "x_name": row.key,
        "x_run_id": row.run_id,
        "x_entity_id": row.entity_id,
        "x_as_of": row.as_of,
        "x_target": row.target,
        "x_horizon_days": row.horizon_days,
        "x_probability": row.probability,
        "x_grade": row.grade,
        "x_reasons_en": row.reasons_en,
        "x_reasons_zh": row.reasons_zh,
        "x_model_version": row.model_version,
        "x_value": row.value,
    }
    return {name: value for name, value in values.items() if value is not None}
