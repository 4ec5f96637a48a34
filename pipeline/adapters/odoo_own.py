"""What is ours in Odoo: the names that `leadsieve crm install` gives, and how our records are looked up."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pipeline.adapters.odoo_client import OdooClient, OdooRefusal
from pipeline.errors import ConfigError

MODULE = "leadsieve"
"""Module of our external ids, by which everything of ours is found (and removed)."""

HISTORY = "x_lead_score"
"""Model of our own with every score that was given."""

LINKS = {"crm.lead": "x_lead_id", "res.partner": "x_partner_id"}
"""Model to the field of a history row that leads to its record."""

ACTIONS = "ir.actions.server"
"""Model of the actions that run within Odoo."""

TASK_KEY = "x_lead_score_key"
"""Field of activities by which we know ours."""

TASK_TYPE = "follow_up_type"
"""External id of our type of activity."""

AT_ONCE = 2000
"""Records per call."""

QUIET = {"active_test": False, "tracking_disable": True, "mail_activity_quick_update": True, "lang": "en_US"}
"""Context of our calls: archived records count, no chatter, no mail to the owner of a task."""


def find_ids(client: OdooClient, model: str, domain: Sequence[Any], *, archived: bool = True) -> list[int]:
    """Ids of the records that a domain names."""
    return [
        int(found)
        for found in client.call(model, "search", domain=list(domain), order="id", context=make_context(archived))
    ]


def read_where(
    client: OdooClient, model: str, domain: Sequence[Any], fields: Sequence[str], *, archived: bool = True
) -> list[dict[str, Any]]:
    """Fields of the records that a domain names."""
    rows: list[dict[str, Any]] = client.call(
        model, "search_read", domain=list(domain), fields=list(fields), order="id", context=make_context(archived)
    )
    return rows


def remove(client: OdooClient, model: str, ids: Sequence[int]) -> int:
    """Remove records; returns how many there were."""
    for some in cut(ids):
        client.call(model, "unlink", ids=list(some), context=QUIET)
    return len(ids)


def cut(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut into pieces of what goes into one call."""
    for at in range(0, len(values), AT_ONCE):
        yield values[at : at + AT_ONCE]


def make_context(archived: bool) -> Mapping[str, Any]:
    """Return the context of a call that sees archived records, or does not."""
    return {**QUIET, "active_test": not archived}


@contextmanager
def expecting_install(what: str) -> Iterator[None]:
    """Say that `crm install` is due where Odoo does not know, or not allow, what that makes.

    Raises
    ------
    ConfigError
        If Odoo has no such model, or its user no right to it.

    """
    try:
        yield
    except OdooRefusal as refusal:
        if refusal.kind not in ("model", "right"):
            raise
        raise ConfigError(
            f"{what}: {refusal}. An administrator makes it, and gives this user the right to it, with "
            "`leadsieve crm install --user LOGIN`."
        ) from None
