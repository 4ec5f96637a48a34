"""The history of scores and the tasks for people in Odoo, on a fake server after an install."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_odoo import FakeOdoo
from fake_odoo_install import FakeInstall, fake_install  # noqa: F401  (a fixture)
from odoo_deployment import make_deployment

from pipeline.adapters.odoo_client import OdooClient, OdooRefusal
from pipeline.adapters.odoo_follow_ups import OdooFollowUps
from pipeline.adapters.odoo_history import OdooHistory
from pipeline.adapters.odoo_install import OdooInstaller
from pipeline.adapters.target import FollowUp, HistoryRow, TargetTable
from pipeline.errors import ConfigError, PassingCrmError

LEADS, PARTNERS = TargetTable("crm.lead", "id"), TargetTable("res.partner", "id")
TABLES = {"conversion": LEADS, "churn": PARTNERS}


@pytest.fixture
def world(fake_install: FakeInstall, tmp_path: Path) -> FakeInstall:  # noqa: F811
    """An Odoo with an install, leads 1 (owned by 3), 2 (of nobody), 3 (of a user who left) and partner 1."""
    with closing(OdooClient(fake_install.fake.url, "crm", "fake-admin-key")) as client:
        OdooInstaller(client, make_deployment(tmp_path)).install()
    leads = fake_install.fake.models["crm.lead"]
    for owner, is_active in ((3, True), (False, False), (2, False)):
        leads.add({"name": "lead", "user_id": owner, "user_id.active": is_active})
    fake_install.fake.models["res.partner"].add({"name": "shop", "user_id": 3, "user_id.active": True})
    return fake_install


@pytest.fixture
def client(world: FakeInstall) -> Iterator[OdooClient]:
    with closing(OdooClient(world.fake.url, "crm", "fake-nightly-key")) as client:
        yield client


@pytest.fixture
def history(client: OdooClient) -> OdooHistory:
    return OdooHistory(client, TABLES)


@pytest.fixture
def tasks(client: OdooClient) -> OdooFollowUps:
    return OdooFollowUps(client)


def make_row(entity: str, run: str = "r1", target: str = "conversion", **more: Any) -> HistoryRow:
    values = {
        "probability": 0.25,
        "grade": "B",
        "reasons_en": "few visits",
        "reasons_zh": "来访少",
        "model_version": "3",
    }
    return HistoryRow(run, entity, "2024-05-01 02:00:00", target, 90, **{**values, **more})


def make_task(record: str, flag: str = "silent", table: TargetTable = LEADS, note: str = "no call") -> FollowUp:
    return FollowUp(f"{table.name}/{record}/{flag}", table, record, "Call them", note, "2024-05-04", "r1")


def test_a_row_is_linked_to_the_record_that_it_scores(world: FakeInstall, history: OdooHistory):
    history.add_history([make_row("1"), make_row("1", target="churn"), make_row("999")])
    rows = world.find("x_lead_score")
    assert [(row["x_name"], row.get("x_lead_id"), row.get("x_partner_id")) for row in rows] == [
        ("r1/conversion/90/1", 1, None),
        ("r1/churn/90/1", None, 1),
        ("r1/conversion/90/999", None, None),  # a lead that is gone has been scored all the same
    ]
    assert rows[0]["x_as_of"] == "2024-05-01 02:00:00"
    assert (rows[0]["x_probability"], rows[0]["x_grade"], rows[0]["x_reasons_zh"]) == (0.25, "B", "来访少")


def test_a_score_without_a_probability_has_none(world: FakeInstall, history: OdooHistory):
    history.add_history([make_row("1", probability=None)])
    assert "x_probability" not in world.find("x_lead_score")[0]


def test_rows_are_there_once_however_often_they_are_sent(world: FakeInstall, history: OdooHistory):
    history.add_history([make_row("1")])
    history.add_history([make_row("1"), make_row("2")])
    history.add_history([])
    assert history.history_keys("r1") == {"r1/conversion/90/1", "r1/conversion/90/2"}
    assert len(world.find("x_lead_score")) == 2
    assert history.history_keys("r2") == set()


def test_a_call_that_was_done_and_never_answered_adds_nothing_when_sent_again(world: FakeInstall, history: OdooHistory):
    world.fake.fail("drop_after", "create")
    with pytest.raises(PassingCrmError, match="connection"):
        history.add_history([make_row("1"), make_row("2")])
    history.add_history([make_row("1"), make_row("2")])
    assert len(world.find("x_lead_score")) == 2


def test_a_call_that_is_still_under_way_is_found_done_by_the_unique_index(world: FakeInstall, history: OdooHistory):
    slow = {"x_name": "r1/conversion/90/1", "x_run_id": "r1", "x_entity_id": "1"}
    world.fake.before("create", lambda: world.fake.models["x_lead_score"].add(slow))
    history.add_history([make_row("1")])
    assert len(world.find("x_lead_score")) == 1


def test_rows_that_odoo_refuses_are_not_taken_for_done(world: FakeInstall, history: OdooHistory):
    with pytest.raises(OdooRefusal, match="NUL"):
        history.add_history([make_row("1", grade="\0")])
    assert world.find("x_lead_score") == []


def test_a_run_is_removed_and_so_are_entities_that_are_forgotten(world: FakeInstall, history: OdooHistory):
    history.add_history([make_row("1"), make_row("2"), make_row("1", target="churn"), make_row("1", run="r2")])
    assert history.remove_history("r2") == 1
    assert history.remove_history("r2") == 0
    assert history.forget_history({"conversion": ["1", "77"], "churn": []}) == 1
    assert history.history_keys("r1") == {"r1/conversion/90/2", "r1/churn/90/1"}


def test_a_task_is_for_the_owner_of_its_record_and_its_text_is_no_markup(world: FakeInstall, tasks: OdooFollowUps):
    made = tasks.add_follow_ups([make_task("1", note="<b>\nno call"), make_task("1", table=PARTNERS)])
    assert [result.status for result in made.values()] == ["done", "done"]
    first, second = world.find("mail.activity")
    assert (first["user_id"], first["res_id"], first["note"]) == (3, 1, "&lt;b&gt;<br/>no call")
    assert (first["summary"], first["date_deadline"], first["automated"]) == ("Call them", "2024-05-04", True)
    contexts = [arguments["context"] for model, method, arguments in world.fake.calls
                if (model, method) == ("mail.activity", "create")]  # fmt: skip
    assert [context["default_res_model"] for context in contexts] == ["crm.lead", "res.partner"]
    assert {context["mail_activity_quick_update"] for context in contexts} == {True}  # nobody gets a mail
    assert second["x_lead_score_key"] == "res.partner/1/silent"


def test_records_without_an_active_owner_get_no_task(world: FakeInstall, tasks: OdooFollowUps):
    made = tasks.add_follow_ups([make_task("2"), make_task("3"), make_task("999"), make_task("1")])
    assert [made[f"crm.lead/{lead}/silent"].status for lead in ("2", "3", "999", "1")] == [
        "missing", "missing", "missing", "done",
    ]  # fmt: skip
    assert made["crm.lead/2/silent"].message == "the record does not exist, or no active user owns it"
    assert len(world.find("mail.activity")) == 1


def test_a_task_that_is_open_is_found_and_not_added_again(world: FakeInstall, tasks: OdooFollowUps):
    first = tasks.add_follow_ups([make_task("1")])
    again = tasks.add_follow_ups([make_task("1"), make_task("1", flag="late")])
    assert again["crm.lead/1/silent"] == first["crm.lead/1/silent"]
    assert tasks.open_follow_ups() == {"crm.lead/1/silent": "1", "crm.lead/1/late": "2"}
    world.fake.models["mail.activity"].change([1], {"active": False})  # somebody has done it
    assert set(tasks.open_follow_ups()) == {"crm.lead/1/late"}
    assert tasks.add_follow_ups([make_task("1")])["crm.lead/1/silent"].record_id == "3"


def test_a_task_of_a_call_that_is_still_under_way_is_found_and_the_others_are_added(
    world: FakeInstall, tasks: OdooFollowUps
):
    slow = {"x_lead_score_key": "crm.lead/1/silent", "res_id": 1}  # of a job that died while Odoo was at work
    world.fake.before("create", lambda: world.fake.models["mail.activity"].add(slow))
    made = tasks.add_follow_ups([make_task("1"), make_task("1", flag="late"), make_task("1", flag="bad", note="\0")])
    assert {key.rpartition("/")[2]: (one.record_id, one.status) for key, one in made.items()} == {
        "silent": ("1", "done"), "late": ("2", "done"), "bad": ("1", "rejected"),
    }  # fmt: skip
    assert [record["x_lead_score_key"] for record in world.find("mail.activity")] == [
        "crm.lead/1/silent",
        "crm.lead/1/late",
    ]


def test_tasks_that_are_open_twice_keep_the_index_from_being_made_and_are_named(
    fake_install: FakeInstall,  # noqa: F811
    tmp_path: Path,
):
    with closing(OdooClient(fake_install.fake.url, "crm", "fake-admin-key")) as client:
        installer = OdooInstaller(client, make_deployment(tmp_path))
        installer.install()
        fake_install.fake.models["ir.actions.server"].records = {}  # as an install was before there was an index
        double = {"x_lead_score_key": "crm.lead/1/silent", "res_id": 1}
        first, _ = (fake_install.fake.models["mail.activity"].add(double) for _ in range(2))
        text = (
            r"a unique index could not be made: .*more than once: crm\.lead/1/silent.* run the same command again once"
        )
        with pytest.raises(ConfigError, match=text):
            installer.install()
        titles = [one.piece.title for one in OdooInstaller(client, make_deployment(tmp_path)).look()
                  if one.state == "missing"]  # fmt: skip
        assert titles == ["unique index on the key of open activities"]
        fake_install.fake.models["mail.activity"].change([first], {"active": False})
        assert {one.state for one in OdooInstaller(client, make_deployment(tmp_path)).install()} == {"there", "made"}
    assert fake_install.find("ir.actions.server", state="ran", model_name="mail.activity")


def test_tasks_are_taken_back_and_what_a_person_has_done_stays(world: FakeInstall, tasks: OdooFollowUps):
    tasks.add_follow_ups([make_task("1"), make_task("1", flag="late")])
    world.fake.models["mail.activity"].change([1], {"active": False})
    tasks.close_follow_ups(["1", "2", "99"])
    assert [record["id"] for record in world.find("mail.activity")] == [1]
    tasks.forget_follow_ups(["1", "2"])
    assert world.find("mail.activity") == []


def test_activities_of_people_are_never_touched(world: FakeInstall, tasks: OdooFollowUps):
    own = world.fake.models["mail.activity"].add({"summary": "mine", "res_id": 1})
    assert tasks.open_follow_ups() == {}
    tasks.forget_follow_ups([str(own)])
    assert [record["summary"] for record in world.find("mail.activity")] == ["mine"]


def test_one_task_that_odoo_refuses_costs_one_task(world: FakeInstall, tasks: OdooFollowUps):
    made = tasks.add_follow_ups(
        [make_task("1"), make_task("1", flag="bad", note="nul \0"), make_task("1", flag="late")]
    )
    assert {key.rpartition("/")[2]: result.status for key, result in made.items()} == {
        "silent": "done", "bad": "rejected", "late": "done",
    }  # fmt: skip
    assert len(world.find("mail.activity")) == 2


def test_an_activity_that_a_person_removes_meanwhile_is_no_error(world: FakeInstall, tasks: OdooFollowUps):
    tasks.add_follow_ups([make_task("1"), make_task("1", flag="late")])
    world.fake.before("unlink", lambda: world.fake.models["mail.activity"].records.pop(1))
    tasks.close_follow_ups(["1", "2"])
    assert world.find("mail.activity") == []


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda client: OdooHistory(client, TABLES).history_keys("r1"), r"x_lead_score.*`leadsieve crm install --user"),
        (lambda client: OdooHistory(client, TABLES).add_history([make_row("1")]), "`leadsieve crm install"),
        (
            lambda client: OdooFollowUps(client).open_follow_ups(),
            r"lacks the type of activity.*`leadsieve crm install`",
        ),
    ],
    ids=["history", "adding to it", "tasks"],
)
def test_where_nothing_was_installed_the_remedy_is_to_install(
    act: Callable[[OdooClient], object],
    text: str,
    fake_install: FakeInstall,  # noqa: F811
):
    with (
        closing(OdooClient(fake_install.fake.url, "crm", "fake-nightly-key")) as client,
        pytest.raises(ConfigError, match=text),
    ):
        act(client)


def test_a_user_outside_the_group_is_told_so(world: FakeInstall, history: OdooHistory, fake_odoo: FakeOdoo):
    fake_odoo.forbid("x_lead_score", "nightly", "create")
    with pytest.raises(ConfigError, match=r"not allowed for this user.*`leadsieve crm install --user LOGIN`"):
        history.add_history([make_row("1")])
