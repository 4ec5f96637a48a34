"""Tasks for people in Odoo: activities of our own type on leads and partners, for whoever owns them."""

import html
from collections.abc import Iterable, Mapping, Sequence

from pipeline.adapters.odoo_client import OdooClient, OdooRefusal
from pipeline.adapters.odoo_history import find_records
from pipeline.adapters.odoo_own import (
    MODULE,
    QUIET,
    TASK_KEY,
    TASK_TYPE,
    expecting_install,
    find_ids,
    read_where,
    remove,
)
from pipeline.adapters.target import FollowUp, RecordResult, Status, TargetTable
from pipeline.errors import ConfigError

ACTIVITY = "mail.activity"

NOBODY = "the record does not exist, or no active user owns it"


class OdooFollowUps:
    """Activities (`mail.activity`) with a key of ours; see `FollowUpAdapter`.

    An activity is open until somebody marks it as done, which archives it, or cancels it, which removes
    it. Its owner is the salesperson (`user_id`) of the record. Nobody gets a mail.

    Parameters
    ----------
    client : OdooClient
        Odoo, as the nightly user.

    """

    def __init__(self, client: OdooClient) -> None:
        self._client = client
        self._type: int | None = None

    def open_follow_ups(self) -> dict[str, str]:
        """Read our activities that nobody has closed; see `FollowUpAdapter.open_follow_ups`."""
        self._find_type()
        return self._find_open([(TASK_KEY, "!=", False)])

    def add_follow_ups(self, tasks: Sequence[FollowUp]) -> dict[str, RecordResult]:
        """Add activities; see `FollowUpAdapter.add_follow_ups`. One that is open already is found, not added."""
        self._find_type()
        there = self._find_open([(TASK_KEY, "in", [task.key for task in tasks])])
        results = {key: RecordResult(found, "done") for key, found in there.items()}
        for table in dict.fromkeys(task.table for task in tasks):
            some = {task.key: task for task in tasks if task.table == table and task.key not in results}
            results |= self._add(table, list(some.values()))
        return results

    def close_follow_ups(self, task_ids: Sequence[str]) -> None:
        """Remove activities that are still open; see `FollowUpAdapter.close_follow_ups`."""
        self._remove(task_ids, archived=False)

    def forget_follow_ups(self, task_ids: Sequence[str]) -> None:
        """Remove activities, also those that are done; see `FollowUpAdapter.forget_follow_ups`."""
        self._remove(task_ids, archived=True)

    def _find_type(self) -> int:
        """Return the id of our type of activity.

        Raises
        ------
        ConfigError
            If Odoo lacks it, or the field of activities that holds our keys.

        """
        if self._type is None:
            fields = self._client.call(ACTIVITY, "fields_get", allfields=[TASK_KEY], attributes=["type"])
            try:
                if TASK_KEY not in fields:
                    raise ConfigError
                found = self._client.call(
                    "ir.model.data", "check_object_reference", module=MODULE, xml_id=TASK_TYPE, context=QUIET
                )
            except (OdooRefusal, ConfigError) as refusal:
                if isinstance(refusal, OdooRefusal) and refusal.kind != "value":
                    raise
                raise ConfigError(
                    f"{self._client.place} lacks the type of activity, or the field {TASK_KEY} of activities, that "
                    "tasks of leadsieve have. An administrator makes them with `leadsieve crm install`."
                ) from None
            self._type = int(found[1])
        return self._type

    def _find_open(self, domain: Sequence[object]) -> dict[str, str]:
        rows = read_where(self._client, ACTIVITY, domain, [TASK_KEY], archived=False)
        return {row[TASK_KEY]: str(row["id"]) for row in rows}

    def _add(self, table: TargetTable, tasks: Sequence[FollowUp]) -> dict[str, RecordResult]:
        """Add the activities of one model, for the owners of its records."""
        if not tasks:
            return {}
        active = [("user_id.active", "=", True)]
        found = find_records(self._client, table, [task.record_id for task in tasks], ["user_id"], active)
        results = {
            task.key: RecordResult(task.record_id, "missing", NOBODY) for task in tasks if task.record_id not in found
        }
        owned = [task for task in tasks if task.record_id in found]
        values = [
            {
                **self._values(task),
                "res_id": found[task.record_id]["id"],
                "user_id": found[task.record_id]["user_id"][0],
            }
            for task in owned
        ]
        return results | self._create(table.name, owned, values)

    def _create(
        self, model: str, tasks: Sequence[FollowUp], values: Sequence[Mapping[str, object]]
    ) -> dict[str, RecordResult]:
        """Create activities; of a call that Odoo refuses what is there is found, the rest halved until it stands alone.

        What was not there a moment ago can be: a call of a job that died was still under way.
        """
        if not tasks:
            return {}
        context = {**QUIET, "default_res_model": model}
        try:
            with expecting_install("A task for the owner of a record"):
                made = self._client.call(ACTIVITY, "create", vals_list=list(values), context=context)
        except OdooRefusal as refusal:
            if there := self._find_open([(TASK_KEY, "in", [task.key for task in tasks])]):
                left = [pair for pair in zip(tasks, values, strict=True) if pair[0].key not in there]
                found = {key: RecordResult(one, "done") for key, one in there.items()}
                return found | self._create(model, [task for task, _ in left], [one for _, one in left])
            if len(tasks) == 1:
                status: Status = "missing" if refusal.kind == "missing" else "rejected"
                return {tasks[0].key: RecordResult(tasks[0].record_id, status, str(refusal))}
            half = len(tasks) // 2
            parts = ((tasks[:half], values[:half]), (tasks[half:], values[half:]))
            return {key: result for some, given in parts for key, result in self._create(model, some, given).items()}
        return {task.key: RecordResult(str(one), "done") for task, one in zip(tasks, made, strict=True)}

    def _values(self, task: FollowUp) -> dict[str, object]:
        """Return a task as Odoo takes it: its note is HTML."""
        return {
            TASK_KEY: task.key,
            "activity_type_id": self._find_type(),
            "summary": task.summary,
            "note": "<br/>".join(html.escape(line) for line in task.note.splitlines()),
            "date_deadline": task.due_on,
            "automated": True,
        }

    def _remove(self, task_ids: Iterable[str], *, archived: bool) -> None:
        """Remove activities of ours; one that is gone meanwhile is looked for once more."""
        domain = [("id", "in", [int(one) for one in task_ids]), (TASK_KEY, "!=", False)]
        try:
            remove(self._client, ACTIVITY, find_ids(self._client, ACTIVITY, domain, archived=archived))
        except OdooRefusal as refusal:
            if refusal.kind != "missing":
                raise
            remove(self._client, ACTIVITY, find_ids(self._client, ACTIVITY, domain, archived=archived))
