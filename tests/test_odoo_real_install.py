"""What `leadsieve crm install` makes in a real Odoo, and what people and the nightly user then can do there."""

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import shot_odoo
from browser import Browser, find_chromium
from odoo_deployment import make_deployment
from odoo_server import RealOdoo

from pipeline.adapters.odoo_action import find_action, run_action
from pipeline.adapters.odoo_client import OdooClient, OdooRefusal
from pipeline.adapters.odoo_follow_ups import OdooFollowUps
from pipeline.adapters.odoo_history import OdooHistory
from pipeline.adapters.odoo_install import OdooInstaller
from pipeline.adapters.odoo_own import ACTIONS
from pipeline.adapters.odoo_target import OdooTarget
from pipeline.adapters.target import FollowUp, HistoryRow, TargetTable, WriteBatch
from pipeline.errors import ConfigError

LEADS = TargetTable("crm.lead", "id")
QUIET = {"active_test": False, "tracking_disable": True, "lang": "en_US"}
REMOVAL = (
    "ir.ui.view", "ir.ui.menu", "ir.actions.act_window", "ir.actions.server", "ir.rule", "ir.model.access",
    "mail.activity.type", "ir.model", "ir.model.fields", "res.groups",
)  # fmt: skip
"""The order in which the README has an administrator remove what is ours."""


def remove_everything(admin: OdooClient) -> None:
    """Remove what was installed, as the README says."""
    if "x_lead_score_key" in admin.call("mail.activity", "fields_get", attributes=["type"]):
        tasks = admin.call("mail.activity", "search", domain=[["x_lead_score_key", "!=", False]], context=QUIET)
        admin.call("mail.activity", "unlink", ids=tasks)
    for model in REMOVAL:
        ours = [["module", "=", "leadsieve"], ["model", "=", model]]
        rows = admin.call("ir.model.data", "search_read", domain=ours, fields=["res_id"])
        there = admin.call(model, "search", domain=[["id", "in", [row["res_id"] for row in rows]]], context=QUIET)
        admin.call(model, "unlink", ids=there)


@pytest.fixture(scope="module")
def installed(odoo: RealOdoo, tmp_path_factory: pytest.TempPathFactory) -> OdooInstaller:
    """An Odoo in which nothing of ours was, and now all of it is."""
    remove_everything(odoo.admin)
    installer = OdooInstaller(odoo.admin, make_deployment(tmp_path_factory.mktemp("odoo")))
    assert {found.state for found in installer.look()} == {"missing"}
    assert {found.state for found in installer.install()} == {"made"}
    installer.add_member("nightly")
    return installer


@pytest.fixture
def nightly(odoo: RealOdoo, installed: OdooInstaller) -> Iterator[OdooClient]:
    """The unprivileged user."""
    with closing(odoo.connect("nightly")) as client:
        yield client


@pytest.fixture
def lead(odoo: RealOdoo, installed: OdooInstaller) -> Iterator[int]:
    """A scored opportunity of the administrator."""
    [admin] = odoo.admin.call("res.users", "search", domain=[["login", "=", "admin"]])
    values = {"name": "A press for the works", "type": "opportunity", "user_id": admin}
    [made] = odoo.add_leads([{**values, "x_score": 0.87, "x_grade": "B", "x_why": "Three visits in 30 days"}])
    yield int(made)
    odoo.remove_leads([made])


def make_row(entity: object, run: str = "r1") -> HistoryRow:
    return HistoryRow(run, str(entity), "2024-05-01 02:00:00", "conversion", 90, 0.25, "B", "few visits", "来访少", "3")


def make_task(record: object, flag: str = "silent") -> FollowUp:
    return FollowUp(f"{record}/{flag}", LEADS, str(record), "Call <them>", "no call\n<b>", "2024-05-04", "r1")


def test_installing_again_makes_nothing(odoo: RealOdoo, installed: OdooInstaller):
    def count() -> list[int]:
        return [odoo.admin.call(model, "search_count", domain=[]) for model in (*REMOVAL, "ir.model.data")]

    before = count()
    assert {found.state for found in installed.install()} == {"there"}
    assert count() == before
    assert installed.is_member("nightly")


def test_the_nightly_user_cannot_change_what_odoo_is(nightly: OdooClient):
    [field] = [{"name": "x_more", "model_id": 1, "ttype": "char", "field_description": "More"}]
    for model, method, arguments in (
        ("ir.model.fields", "create", {"vals_list": [field]}),
        ("ir.ui.view", "search", {"domain": []}),
        ("ir.model.data", "search", {"domain": []}),
        ("x_lead_score", "write", {"ids": [1], "vals": {"x_grade": "A"}}),
    ):
        with pytest.raises(OdooRefusal, match="not allowed") as refused:
            nightly.call(model, method, **arguments)
        assert refused.value.kind == "right"


def test_the_nightly_user_reads_the_history_of_leads_and_of_nothing_else(
    odoo: RealOdoo, nightly: OdooClient, lead: int
):
    stages = odoo.admin.call("crm.stage", "search", domain=[["is_won", "=", False]])
    odoo.admin.call("crm.lead", "write", ids=[lead], vals={"stage_id": stages[-1]})
    rows = nightly.call(
        "mail.tracking.value", "search_read", domain=[["mail_message_id.res_id", "=", lead]], fields=["field_id"]
    )
    assert len(rows) >= 1
    models = {row["model"] for row in nightly.call(
        "ir.model.fields", "read", ids=[row["field_id"][0] for row in rows], fields=["model"]
    )}  # fmt: skip
    assert models == {"crm.lead"}


def test_history_is_added_once_read_and_removed(odoo: RealOdoo, nightly: OdooClient, lead: int):
    history = OdooHistory(nightly, {"conversion": LEADS})
    history.add_history([make_row(lead)])
    history.add_history([make_row(lead), make_row(999999999)])
    assert history.history_keys("r1") == {f"r1/conversion/90/{lead}", "r1/conversion/90/999999999"}
    double: dict[str, Any] = {"x_name": f"r1/conversion/90/{lead}", "x_run_id": "r1", "x_entity_id": str(lead)}
    with pytest.raises(OdooRefusal, match="unique constraint"):
        nightly.call("x_lead_score", "create", vals_list=[{**double, "x_as_of": "2024-05-01", "x_target": "x"}])
    assert history.forget_history({"conversion": ["999999999"]}) == 1
    history.add_history([make_row(lead, "r2")])
    odoo.remove_leads([str(lead)])  # its scores go with it
    assert (history.history_keys("r1"), history.remove_history("r2")) == (set(), 0)


def test_a_salesman_reads_the_scores_of_his_own_leads(odoo: RealOdoo, nightly: OdooClient, lead: int):
    rep = make_user(odoo, "sales_team", "group_sale_salesman")
    [own] = odoo.add_leads([{"name": "own", "user_id": rep}])
    history = OdooHistory(nightly, {"conversion": LEADS})
    history.add_history([make_row(lead, "r3"), make_row(own, "r3")])
    key = odoo.make_key("leadsieve-rep")  # type: ignore[arg-type]
    with closing(OdooClient(odoo.url, odoo.database, key)) as client:
        rows = client.call("x_lead_score", "search_read", domain=[["x_run_id", "=", "r3"]], fields=["x_entity_id"])
        assert [row["x_entity_id"] for row in rows] == [own]
        with pytest.raises(OdooRefusal, match="not allowed"):
            client.call("x_lead_score", "unlink", ids=[row["id"] for row in rows])
        with pytest.raises(ConfigError, match=r"there is no action .* that the user of this key may run"):
            find_action(client, "crm.lead")  # the nightly job sees it, and nobody else
        actions = [["module", "=", "leadsieve"], ["model", "=", ACTIONS]]
        for made in odoo.admin.call("ir.model.data", "search_read", domain=actions, fields=["res_id"]):
            with pytest.raises(OdooRefusal, match="not allowed"):
                run_action(client, made["res_id"], ["x_grade"], [[own, [False], ["A"]]])
    odoo.revoke_key(key)
    odoo.remove_leads([own])
    assert history.remove_history("r3") == 1


def make_user(odoo: RealOdoo, module: str, group: str, password: str | None = None) -> int:
    """A user `leadsieve-rep` of one group; made once."""
    [row] = odoo.admin.call(
        "ir.model.data", "search_read", domain=[["module", "=", module], ["name", "=", group]], fields=["res_id"]
    )
    values = {"group_ids": [[6, 0, [row["res_id"]]]], "lang": "en_US", "password": password or secrets.token_hex(16)}
    found = odoo.admin.call("res.users", "search", domain=[["login", "=", "leadsieve-rep"]])
    if found:
        odoo.admin.call("res.users", "write", ids=found, vals=values)
        return int(found[0])
    who = {"name": "A salesman", "login": "leadsieve-rep"}
    return int(odoo.admin.call("res.users", "create", vals_list=[{**who, **values}], context=QUIET)[0])


def test_an_internal_user_needs_nothing_but_the_group(odoo: RealOdoo, installed: OdooInstaller, lead: int):
    make_user(odoo, "base", "group_user")
    installed.add_member("leadsieve-rep")
    key = odoo.make_key("leadsieve-rep")  # type: ignore[arg-type]
    with closing(OdooClient(odoo.url, odoo.database, key)) as client:
        batch = WriteBatch(LEADS, "update", ("x_grade",), [str(lead)], [["B"]], [["A"]], "")
        assert [result.status for result in OdooTarget(client).write_batch(batch)] == ["done"]
        history, tasks = OdooHistory(client, {"conversion": LEADS}), OdooFollowUps(client)
        history.add_history([make_row(lead, "r4")])
        assert history.remove_history("r4") == 1
        made = tasks.add_follow_ups([make_task(lead)])
        assert [result.status for result in made.values()] == ["done"]
        tasks.close_follow_ups([result.record_id for result in made.values()])
        assert client.call("mail.tracking.value", "search_count", domain=[]) >= 0
    odoo.revoke_key(key)
    assert odoo.read_leads([str(lead)], ["x_grade"]) == [("A",)]


def test_tasks_are_opened_once_and_taken_back_unless_a_person_was_faster(
    odoo: RealOdoo, nightly: OdooClient, lead: int
):
    [nobodys] = odoo.add_leads([{"name": "nobody's", "user_id": False}])
    mails = odoo.admin.call("mail.mail", "search_count", domain=[])
    tasks = OdooFollowUps(nightly)
    first = tasks.add_follow_ups([make_task(lead), make_task(lead, "late"), make_task(nobodys), make_task(999999999)])
    assert [first[key].status for key in (f"{lead}/silent", f"{nobodys}/silent", "999999999/silent")] == [
        "done", "missing", "missing",
    ]  # fmt: skip
    assert tasks.add_follow_ups([make_task(lead)]) == {f"{lead}/silent": first[f"{lead}/silent"]}
    number = int(first[f"{lead}/silent"].record_id)
    [shown] = odoo.admin.call("mail.activity", "read", ids=[number], fields=["summary", "note", "user_id", "res_model"])
    assert (shown["summary"], shown["user_id"][1], shown["res_model"]) == ("Call <them>", "Administrator", "crm.lead")
    assert "no call<br>&lt;b&gt;" in shown["note"]
    odoo.admin.call("mail.activity", "action_feedback", ids=[number], feedback="called")
    assert set(tasks.open_follow_ups()) == {f"{lead}/late"}
    tasks.close_follow_ups([result.record_id for result in first.values() if result.status == "done"])
    assert tasks.open_follow_ups() == {}
    left = odoo.admin.call("mail.activity", "search", domain=[["res_id", "=", lead]], context=QUIET)
    assert left == [number]  # done by a person: it stays in the lead's history
    tasks.forget_follow_ups([str(number)])
    assert odoo.admin.call("mail.activity", "search", domain=[["res_id", "=", lead]], context=QUIET) == []
    assert odoo.admin.call("mail.mail", "search_count", domain=[]) == mails
    odoo.remove_leads([nobodys])


def test_an_action_whose_code_fails_is_found_before_anything_is_written(
    odoo: RealOdoo, installed: OdooInstaller, nightly: OdooClient
):
    action = find_action(nightly, "crm.lead")
    odoo.admin.call(ACTIONS, "write", ids=[action], vals={"code": "gone(records)"})
    with pytest.raises(ConfigError, match=r"does not work \(name 'gone' is not defined\)\. .* with `leadsieve crm"):
        OdooTarget(nightly).describe(LEADS, ["x_grade"])
    assert [found.piece.name for found in installed.install() if found.state == "changed"] == ["write_crm_lead"]
    assert OdooTarget(nightly).describe(LEADS, ["x_grade"])


def test_an_administrator_is_no_nightly_user_and_keeps_seeing_everything_in_its_group(
    odoo: RealOdoo, installed: OdooInstaller
):
    with pytest.raises(ConfigError, match=r"user 'admin' is an administrator, who may do more than write scores"):
        installed.find_user("admin")
    rules = odoo.admin.call(
        "ir.rule", "search_count", domain=[["name", "in", ["leadsieve.all_actions", "leadsieve.all_history"]]]
    )
    assert rules == 2
    [admin] = odoo.admin.call("res.users", "search", domain=[["login", "=", "admin"]])
    group = odoo.admin.call("ir.model.data", "check_object_reference", module="leadsieve", xml_id="nightly_job")[1]
    before = odoo.admin.call(ACTIONS, "search_count", domain=[])
    odoo.admin.call("res.users", "write", ids=[admin], vals={"group_ids": [[4, group]]})
    try:
        assert odoo.admin.call(ACTIONS, "search_count", domain=[]) == before
    finally:
        odoo.admin.call("res.users", "write", ids=[admin], vals={"group_ids": [[3, group]]})


@pytest.mark.parametrize("model", ["crm.lead", "res.partner"])
def test_scores_are_in_the_views_that_a_salesman_gets_and_cannot_be_typed_there(nightly: OdooClient, model: str):
    views = nightly.call(model, "get_views", views=[[False, "list"], [False, "form"], [False, "search"]])["views"]
    grade, score = ("x_grade", "x_score") if model == "crm.lead" else ("x_risk_grade", "x_risk")
    for kind in ("list", "form"):
        for name in (grade, score):
            assert f'<field name="{name}" readonly="1"' in views[kind]["arch"]
    assert f'<field name="{grade}"' in views["search"]["arch"]
    assert f"'group_by': '{grade}'" in views["search"]["arch"]
    assert 'string="Scores"' in views["form"]["arch"]


def test_leads_can_be_sorted_by_their_score_and_searched_by_grade(odoo: RealOdoo, nightly: OdooClient, lead: int):
    other = odoo.add_leads(
        [{"name": "low", "x_score": 0.1, "x_grade": "D"}, {"name": "top", "x_score": 0.9, "x_grade": "B"}]
    )
    ids = [lead, *map(int, other)]
    found = nightly.call("crm.lead", "search", domain=[["id", "in", ids]], order="x_score desc")
    assert found == [ids[2], ids[0], ids[1]]
    assert set(nightly.call("crm.lead", "search", domain=[["id", "in", ids], ["x_grade", "=", "B"]])) == {
        ids[0],
        ids[2],
    }
    odoo.remove_leads(other)


def test_a_salesman_sees_the_score_in_odoos_own_list_and_form(odoo: RealOdoo, lead: int, tmp_path: Path):
    program = find_chromium()
    if program is None:
        pytest.skip("there is no chromium")
    password = secrets.token_hex(16)
    make_user(odoo, "sales_team", "group_sale_salesman_all_leads", password)
    browser = Browser(program, tmp_path)
    try:
        browser.look(1500, 1000)
        shot_odoo.sign_in(browser, odoo.url, "leadsieve-rep", password)
        for address, place in (
            ("/odoo/action-crm.crm_lead_opportunities?view_type=list", ".o_list_view"),
            (f"/odoo/action-crm.crm_lead_opportunities/{lead}", ".o_form_view"),
        ):
            browser.call("Page.navigate", url="about:blank")
            browser.call("Page.navigate", url=odoo.url + address)
            words = ("A press for the works", "Lead score", "87%")
            said = f"(document.querySelector('{place}')?.innerText ?? '')"
            browser.wait(" && ".join(f"{said}.includes('{word}')" for word in words))
    finally:
        browser.close()
