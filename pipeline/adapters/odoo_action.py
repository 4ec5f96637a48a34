"""The server action that writes scores within Odoo: rights, comparison and write in one transaction.

Odoo's own methods have no condition in a write, and check the rights of every record by itself, which takes
more than half of a write's time. So `leadsieve crm install` makes an action whose code does for a batch what an
`UPDATE ... WHERE` does in a database. The nightly user may run it, by its group. Its rights to the model, the
records and the fields are asked for once a batch; then plain fields of ours that are kept in these very records,
and no others, are written as Odoo's superuser. So what an app forbids in a `write` of its own is not forbidden
here: scores go to contacts that are colleagues, too.
"""

from collections.abc import Sequence
from typing import Any

from pipeline.adapters.odoo_client import OdooClient, OdooRefusal
from pipeline.adapters.odoo_own import ACTIONS, QUIET
from pipeline.errors import ConfigError

Rows = list[list[Any]]

NAME = "leadsieve: write scores (1)"
"""Name of the action; its number changes with what it is sent or answers."""

CODE = """\
# Made by `leadsieve crm install`, which puts back what is changed here.
# Rows of [id, expected values, new values]: written are those records whose fields are as expected.
names, rows = env.context["fields"], env.context["rows"]
untracked = {"tracking_disable": True, "mail_notrack": True}  # no line in the chatter, and no work for one
own = model.with_context({"lang": "en_US", "active_test": False, "prefetch_fields": False, **untracked})
plain = ("char", "text", "selection", "float", "integer", "boolean", "datetime", "date")
elsewhere = ("readonly", "related", "depends", "company_dependent", "translate")
known = own.fields_get(names, ["type", "store", *elsewhere])
for name in names:
    field = known.get(name, {})
    is_kept = name.startswith("x_") and field.get("type") in plain and field.get("store")
    if not is_kept or any(map(field.get, elsewhere)):
        raise UserError("Invalid field '%s' on '%s'" % (name, own._name))
ids = [row[0] for row in rows]
# Nobody else writes them until the end of this transaction; what was changed since it began makes Odoo begin anew.
env.cr.execute('SELECT id FROM "%s" WHERE id = ANY(%%s) ORDER BY id FOR NO KEY UPDATE' % own._table, [ids])
there = own.browse([number for (number,) in env.cr.fetchall()])
there.check_access("write")  # once for all; each write of its own would ask again
records = there.sudo()


def show(row):  # as JSON has it: moments as texts
    return [value if isinstance(value, (str, int, float)) else str(value) for value in map(row.get, names)]


found = {row["id"]: show(row) for row in records.read(names, load=None)}
by_id = {record.id: record for record in records}
left, written = [], []
for number, expected, values in rows:
    if number in found and found[number] == expected:
        by_id[number].write(dict(zip(names, values)))
        written.append(number)
    elif number in found:
        left.append([number, found[number]])
wanted = {row[0]: row[2] for row in rows}
kept = {row["id"]: show(row) for row in records.browse(written).read(names, load=None)}
for number in written:
    for name, sent, now in zip(names, wanted[number], kept[number]):
        if sent != now:  # an automated rule or a module has another idea: nothing of the batch is written
            raise UserError("Odoo does not keep what is sent for '%s' of record %s" % (name, number))
action = {"left": left, "written": list(kept.items())}
"""

_REMEDY = "An administrator puts it right with `leadsieve crm install`; the next job looks at what was written."


def find_action(client: OdooClient, model: str) -> int:
    """Return the id of the action that writes to a model, tried without any record.

    Raises
    ------
    ConfigError
        If `crm install` has not made it, this user may not run it, or it does not work.

    """
    domain = [("name", "=", NAME), ("model_name", "=", model)]
    try:
        found = client.call(ACTIONS, "search", domain=domain, limit=1, context=QUIET)
    except OdooRefusal as refusal:
        if refusal.kind != "right":
            raise
        found = []
    if not found:
        raise ConfigError(
            f"{client.place}: there is no action '{NAME}' for '{model}' that the user of this key may run. An "
            "administrator makes it, and puts that user into its group, with `leadsieve crm install --user LOGIN`."
        )
    action = int(found[0])
    try:
        run_action(client, action, [], [])
    except OdooRefusal as refusal:
        raise ConfigError(
            f"{client.place}: the action '{NAME}' for '{model}' does not work ({refusal.said}). {_REMEDY}"
        ) from None
    return action


def run_action(client: OdooClient, action: int, fields: Sequence[str], rows: Rows) -> tuple[Rows, Rows]:
    """Run the action.

    Parameters
    ----------
    client : OdooClient
        Odoo.
    action : int
        Id of the action.
    fields : sequence of str
        Fields that are written.
    rows : list
        Id, expected values and new values of each record, as Odoo shows them.

    Returns
    -------
    tuple of list
        Id and values of the records it left as they are, and of those it has written, as they are now.

    Raises
    ------
    ConfigError
        If the action is not as `crm install` makes it.

    """
    answer = client.call(ACTIONS, "run", ids=[action], context={"fields": list(fields), "rows": rows})
    if not isinstance(answer, dict) or set(answer) != {"left", "written"}:
        raise ConfigError(
            f"{client.place}: the action '{NAME}' answers otherwise than it should, so somebody changed it. {_REMEDY}"
        )
    return answer["left"], answer["written"]
