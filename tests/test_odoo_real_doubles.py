"""No task is open twice in a real Odoo: neither by a call that ends after its job has died, nor by anything else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from odoo_deployment import make_deployment
from odoo_server import RealOdoo

from pipeline.adapters.odoo_client import OdooRefusal
from pipeline.adapters.odoo_follow_ups import OdooFollowUps
from pipeline.adapters.odoo_install import OdooInstaller
from pipeline.adapters.target import FollowUp, TargetTable
from pipeline.errors import ConfigError

LEADS = TargetTable("crm.lead", "id")
INDEX = "leadsieve_this_task_is_open_already"
ARCHIVED = {"active_test": False}


@pytest.fixture
def installer(odoo: RealOdoo, tmp_path: Path) -> OdooInstaller:
    made = OdooInstaller(odoo.admin, make_deployment(tmp_path))
    made.install()
    if not made.is_member("nightly"):
        made.add_member("nightly")
    return made


@pytest.fixture
def lead(odoo: RealOdoo, installer: OdooInstaller) -> Iterator[str]:
    """A lead of the nightly user's own; its activities go with it."""
    [owner] = odoo.admin.call("res.users", "search", domain=[["login", "=", "nightly"]])
    [made] = odoo.add_leads([{"name": "A press for the works", "user_id": owner}])
    yield made
    odoo.remove_leads([made])


@pytest.fixture
def tasks(odoo: RealOdoo, installer: OdooInstaller) -> Iterator[OdooFollowUps]:
    with closing(odoo.connect("nightly")) as client:
        yield OdooFollowUps(client)


def make_task(lead: str, flag: str, note: str = "no call") -> FollowUp:
    return FollowUp(f"{lead}/{flag}", LEADS, lead, "Call them", note, "2024-05-04", "r1")


def read_keys(odoo: RealOdoo, lead: str) -> list[tuple[str, bool]]:
    """Keys of the activities of a lead, and whether they are open."""
    rows: list[dict[str, Any]] = odoo.admin.call(
        "mail.activity",
        "search_read",
        domain=[["res_id", "=", int(lead)], ["res_model", "=", "crm.lead"]],
        fields=["x_lead_score_key", "active"],
        order="id",
        context=ARCHIVED,
    )
    return [(row["x_lead_score_key"], row["active"]) for row in rows]


def test_a_call_that_ends_after_its_job_has_died_makes_no_task_twice(
    odoo: RealOdoo, tasks: OdooFollowUps, lead: str
) -> None:
    late = tasks.add_follow_ups([make_task(lead, "x")])[f"{lead}/x"].record_id
    both = [make_task(lead, "silent"), make_task(lead, "late")]
    set_key = "UPDATE mail_activity SET x_lead_score_key = %s WHERE id = %s"
    with ThreadPoolExecutor(1) as thread:
        with odoo.saving(set_key, (f"{lead}/silent", int(late))):  # the call that nobody waits for any more
            adding = thread.submit(tasks.add_follow_ups, both)  # sees no task, as that one is not committed
            odoo.await_lock()
            assert not adding.done()
        results = adding.result(timeout=60)
    assert (results[f"{lead}/silent"].record_id, results[f"{lead}/silent"].status) == (late, "done")
    assert results[f"{lead}/late"].status == "done"
    assert read_keys(odoo, lead) == [(f"{lead}/silent", True), (f"{lead}/late", True)]


def test_a_person_can_do_a_task_again_and_again_and_reopen_it_while_no_other_is_open(
    odoo: RealOdoo, tasks: OdooFollowUps, lead: str
) -> None:
    for _ in range(2):
        number = int(tasks.add_follow_ups([make_task(lead, "silent")])[f"{lead}/silent"].record_id)
        odoo.admin.call("mail.activity", "action_feedback", ids=[number], feedback="called")
    assert read_keys(odoo, lead) == [(f"{lead}/silent", False)] * 2  # as many as are done
    odoo.admin.call("mail.activity", "action_unarchive", ids=[number])
    assert tasks.add_follow_ups([make_task(lead, "silent")])[f"{lead}/silent"].record_id == str(number)
    [other] = odoo.admin.call(
        "mail.activity", "search", domain=[["res_id", "=", int(lead)], ["active", "=", False]], context=ARCHIVED
    )
    with pytest.raises(OdooRefusal, match=f'violates unique constraint "{INDEX}"'):
        odoo.admin.call("mail.activity", "action_unarchive", ids=[other])  # the same task is open already
    odoo.admin.call("mail.activity", "copy", ids=[number])  # a copy is a person's own, without the key
    assert [key for key, _ in read_keys(odoo, lead)] == [f"{lead}/silent"] * 2 + [False]
    odoo.admin.call("mail.activity", "action_cancel", ids=[number])
    odoo.admin.call("mail.activity", "action_unarchive", ids=[other])
    assert (f"{lead}/silent", True) in read_keys(odoo, lead)


def test_tasks_that_are_open_twice_already_are_named_by_the_install(
    odoo: RealOdoo, installer: OdooInstaller, tasks: OdooFollowUps, lead: str
) -> None:
    odoo.execute(f"DROP INDEX {INDEX}")
    made = tasks.add_follow_ups([make_task(lead, "silent"), make_task(lead, "late")])
    first, second = (int(result.record_id) for result in made.values())
    odoo.execute("UPDATE mail_activity SET x_lead_score_key = %s WHERE id = %s", (f"{lead}/silent", second))
    text = (
        rf"unique index could not be made: .*Open activities with the same key are there more than once: {lead}/silent "
    )
    with pytest.raises(ConfigError, match=rf"{text}\(ids {first}, {second}\)\. Mark all but one of each as done, or"):
        installer.install()
    assert [one.piece.name for one in installer.look() if one.state == "missing"] == ["tasks_unique"]
    odoo.admin.call("mail.activity", "action_feedback", ids=[second], feedback="called")
    assert [one.piece.name for one in installer.install() if one.state == "made"] == ["tasks_unique"]
    assert odoo.query("SELECT count(*) FROM pg_indexes WHERE indexname = %s", (INDEX,)) == [(1,)]
