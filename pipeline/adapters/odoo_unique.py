"""Unique indexes in Odoo, which has none for fields that are made at run time: an action makes them as administrator.

A request that Odoo finishes after the job that sent it has died is unknown to the next job, which looks too early and
sends the same again. With the index one of the two is refused, whichever comes second.
"""

from pipeline.adapters.odoo_client import OdooClient, OdooRefusal
from pipeline.adapters.odoo_own import ACTIONS, HISTORY, QUIET, TASK_KEY
from pipeline.adapters.odoo_piece import Piece
from pipeline.errors import ConfigError

UNIQUE = ("history_unique", "tasks_unique")
"""External ids of the actions."""

_CODE = """\
# Made and run by `leadsieve crm install`. Running it again changes nothing.
env.cr.execute('''
    SELECT {key}, string_agg(CAST(id AS text), ', ' ORDER BY id) FROM {table} WHERE {where}
    GROUP BY {key} HAVING count(*) > 1 ORDER BY {key} LIMIT 5
''')
doubles = env.cr.fetchall()
if doubles:
    listed = "; ".join("%s (ids %s)" % double for double in doubles)
    raise UserError("{what} are there more than once: " + listed + ". {remedy}")
env.cr.execute("CREATE UNIQUE INDEX IF NOT EXISTS {name} ON {table} ({key}) WHERE {where}")
"""


def make_history_unique() -> Piece:
    """Index by which no score is in the history twice."""
    code = _CODE.format(
        table=HISTORY,
        key="x_name",
        name=f"{HISTORY}_key_once",
        where="x_name IS NOT NULL",
        what="Scores with the same key",
        remedy="Delete all but one of each.",
    )
    return _make_piece(UNIQUE[0], HISTORY, "leadsieve: no score twice", f"unique index on the key of {HISTORY}", code)


def make_tasks_unique() -> Piece:
    """Index by which no task is open twice; those that are done are archived and do not count."""
    code = _CODE.format(
        table="mail_activity",
        key=TASK_KEY,
        name="leadsieve_this_task_is_open_already",  # what a person reads who reopens the first of two
        where=f"active AND {TASK_KEY} IS NOT NULL",
        what="Open activities with the same key",
        remedy="Mark all but one of each as done, or cancel them.",
    )
    title = "unique index on the key of open activities"
    return _make_piece(UNIQUE[1], "mail.activity", "leadsieve: no task twice", title, code)


def _make_piece(name: str, model: str, label: str, title: str, code: str) -> Piece:
    values = {
        "name": label,
        "model_id": f"@{{model:{model}}}",
        "state": "code",
        "code": code,
        "group_ids": ["@{base.group_system}"],  # an action without a group may be run by anybody
    }
    return Piece(name, ACTIONS, title, values, kept=("code", "group_ids"))


def forbid_doubles(client: OdooClient, action: int) -> None:
    """Run such an action; it does nothing where the index is there.

    Raises
    ------
    ConfigError
        If there are doubles. The action is gone then, so that `crm install --check` tells what is missing.

    """
    try:
        client.call(ACTIONS, "run", ids=[action], context=QUIET)
    except OdooRefusal as refusal:
        client.call(ACTIONS, "unlink", ids=[action], context=QUIET)
        raise ConfigError(
            f"{client.place}: a unique index could not be made: {refusal}. What was made before it stays; run the same "
            "command again once this is put right."
        ) from None
