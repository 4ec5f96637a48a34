"""`leadsieve crm install`: what it makes in Odoo, and that it makes it once."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from fake_odoo import FakeOdoo
from fake_odoo_install import FakeInstall, fake_install  # noqa: F401  (a fixture)
from odoo_deployment import LEAD_FIELDS, describe_deployment, make_deployment
from small_crm import Answer, run_cli

from pipeline.adapters.odoo_client import OdooClient
from pipeline.adapters.odoo_install import OdooInstaller
from pipeline.errors import ConfigError, PassingCrmError


@pytest.fixture
def admin(fake_install: FakeInstall) -> Iterator[OdooClient]:  # noqa: F811
    with closing(OdooClient(fake_install.fake.url, "crm", "fake-admin-key")) as client:
        yield client


@pytest.fixture
def world(fake_install: FakeInstall) -> FakeInstall:  # noqa: F811
    return fake_install


def install(admin: OdooClient, folder: Path, **config: object) -> list[tuple[str, str]]:
    """Install; returns name and end of every piece."""
    found = OdooInstaller(admin, make_deployment(folder, **config)).install()  # type: ignore[arg-type]
    return [(one.piece.name, one.state) for one in found]


def test_looking_finds_everything_missing_and_makes_nothing(world: FakeInstall, admin: OdooClient, tmp_path: Path):
    before = world.count()
    found = OdooInstaller(admin, make_deployment(tmp_path)).look()
    assert ({one.state for one in found}, len(found) > 30) == ({"missing"}, True)
    assert (world.count(), world.writes()) == (before, [])


def test_installing_twice_is_installing_once(world: FakeInstall, admin: OdooClient, tmp_path: Path):
    assert {state for _, state in install(admin, tmp_path)} == {"made"}
    made = world.count()
    world.writes()
    assert {state for _, state in install(admin, tmp_path)} == {"there"}
    assert world.count() == made
    assert world.writes() == 2 * [("ir.actions.server", "run")]  # CREATE UNIQUE INDEX IF NOT EXISTS


def test_fields_have_the_type_of_their_values_and_are_not_copied_with_a_lead(
    world: FakeInstall, admin: OdooClient, tmp_path: Path
):
    install(admin, tmp_path)
    made = world.find("ir.model.fields", model="crm.lead")
    assert {field["name"]: (field["ttype"], field["field_description"]) for field in made} == {
        "x_score": ("float", "Lead score"),
        "x_grade": ("char", "Lead grade"),
        "x_why": ("text", "Lead reasons"),
        "x_scored_at": ("datetime", "Lead score: as of"),
    }
    assert {field["copied"] for field in made} == {False}


def test_the_history_is_added_to_by_the_job_and_read_by_salesmen(world: FakeInstall, admin: OdooClient, tmp_path: Path):
    install(admin, tmp_path)
    [model] = world.find("ir.model", model="x_lead_score")
    [job] = world.find("res.groups", name="Lead scores: nightly job")
    names = {record["id"]: record["name"] for record in world.find("res.groups")}
    rights = {
        names[right["group_id"]]: [word for word in ("read", "write", "create", "unlink") if right[f"perm_{word}"]]
        for right in world.find("ir.model.access", model_id=model["id"])
    }
    assert rights == {
        "Lead scores: nightly job": ["read", "create", "unlink"],
        "sales_team.group_sale_salesman": ["read"],
        "base.group_system": ["read", "unlink"],
    }
    assert "sales_team.group_sale_salesman_all_leads" in {names[implied] for implied in job["implied_ids"]}


def test_rights_to_invoices_are_given_where_there_are_invoices(world: FakeInstall, admin: OdooClient, tmp_path: Path):
    assert "read_account_move" not in dict(install(admin, tmp_path))
    world.fake.add_model("account.move", {"name": {"type": "char"}})
    world.fake.models["ir.model"].add({"model": "account.move"})
    states = dict(install(admin, tmp_path))
    assert {name for name, state in states.items() if state == "made"} == {
        "read_account_move", "only_invoices_account_move",
    }  # fmt: skip


def test_a_field_that_is_mapped_later_is_added_and_shown(world: FakeInstall, admin: OdooClient, tmp_path: Path):
    install(admin, tmp_path)
    ends = dict(install(admin, tmp_path, lead_fields={**LEAD_FIELDS, "x_points": "points"}))
    assert {name for name, state in ends.items() if state == "made"} == {"field_crm_lead__x_points"}
    changed = {name for name, state in ends.items() if state == "changed"}
    assert changed == {
        "list_of_crm_crm_case_tree_view_leads",
        "list_of_crm_crm_case_tree_view_oppor",
        "form_of_crm_crm_lead_view_form",
    }
    [view] = world.find("ir.ui.view", name="leadsieve.form.crm.crm_lead_view_form")
    assert '<field name="x_points" readonly="1"' in view["arch_base"]


def test_what_was_stopped_between_the_making_and_our_note_of_it_is_finished(
    world: FakeInstall, admin: OdooClient, tmp_path: Path
):
    world.fake.fail("drop_after", "create", after=30)
    with pytest.raises(PassingCrmError, match="connection"):
        install(admin, tmp_path)
    install(admin, tmp_path)
    names = [(model, record["name"]) for model in ("ir.ui.view", "ir.rule") for record in world.find(model)]
    assert len(names) == len(set(names))
    assert {one.state for one in OdooInstaller(admin, make_deployment(tmp_path)).look()} == {"there"}


def test_labels_are_in_chinese_where_that_is_used_and_an_administrators_own_stay(
    world: FakeInstall, admin: OdooClient, tmp_path: Path
):
    install(admin, tmp_path)
    grade, score = (world.find("ir.model.fields", model="crm.lead", name=name)[0] for name in ("x_grade", "x_score"))
    world.speak_chinese()
    world.words["ir.model.fields", grade["id"], "field_description"] = "客户等级"
    install(admin, tmp_path)
    assert world.words["ir.model.fields", grade["id"], "field_description"] == "客户等级"
    assert world.words["ir.model.fields", score["id"], "field_description"] == "线索评分"
    [form] = world.find("ir.ui.view", name="leadsieve.form.crm.crm_lead_view_form")
    assert 'string="线索评分"' in world.words["ir.ui.view", form["id"], "arch_db"]
    world.writes()
    assert {state for _, state in install(admin, tmp_path)} == {"there"}


def test_a_view_that_somebody_changed_is_put_right(world: FakeInstall, admin: OdooClient, tmp_path: Path):
    install(admin, tmp_path)
    [form] = world.find("ir.ui.view", name="leadsieve.form.crm.crm_lead_view_form")
    world.fake.models["ir.ui.view"].change([form["id"]], {"arch_base": "<data/>"})
    assert [name for name, state in install(admin, tmp_path) if state == "changed"] == [
        "form_of_crm_crm_lead_view_form"
    ]


def test_what_went_with_its_model_is_made_again(world: FakeInstall, admin: OdooClient, tmp_path: Path):
    install(admin, tmp_path)
    [right] = world.find("ir.model.access", name="leadsieve.read_history")
    del world.fake.models["ir.model.access"].records[right["id"]]  # as PostgreSQL does, without Odoo's noticing
    assert [name for name, state in install(admin, tmp_path) if state == "made"] == ["read_history"]
    assert {state for _, state in install(admin, tmp_path)} == {"there"}


def test_a_config_without_history_and_tasks_needs_fields_and_views_only(
    world: FakeInstall, admin: OdooClient, tmp_path: Path
):
    ends = dict(install(admin, tmp_path, history=None, follow_ups=None))
    assert not any("history_" in name or "follow_up" in name for name in ends)
    assert "x_lead_score" not in world.fake.models


def test_a_user_who_is_no_administrator_is_told_so(world: FakeInstall, tmp_path: Path):
    with closing(OdooClient(world.fake.url, "crm", "fake-nightly-key")) as client:
        installer = OdooInstaller(client, make_deployment(tmp_path))
        with pytest.raises(ConfigError, match=r"may not make fields\. Use the key of an administrator"):
            installer.install()
    assert world.writes() == []


def test_a_field_of_odoo_itself_is_never_mapped(admin: OdooClient, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"'probability' does not begin with 'x_'.*such as 'x_probability'"):
        install(admin, tmp_path, lead_fields={"probability": "probability"})


def test_a_field_that_is_there_with_another_type_is_refused(world: FakeInstall, admin: OdooClient, tmp_path: Path):
    world.fake.models["ir.model.fields"].add({"model": "crm.lead", "name": "x_score", "ttype": "boolean"})
    with pytest.raises(ConfigError, match=r"field crm.lead.x_score is there and is of type 'boolean', which cannot"):
        install(admin, tmp_path)
    assert world.writes() == []


@pytest.mark.parametrize(
    ("lost", "values", "text"),
    [
        (
            "ir.model",
            {"model": "crm.lead"},
            r"has no model 'crm.lead', which field crm.lead.x_score needs. .* app that brings it",
        ),
        (
            "ir.model.data",
            {"module": "crm", "model": "ir.ui.view"},
            r"has no record 'crm.crm_case_tree_view_leads', which list of crm.lead",
        ),
    ],
)
def test_an_app_that_is_not_installed_is_missed_before_anything_is_made(
    world: FakeInstall, admin: OdooClient, tmp_path: Path, lost: str, values: dict[str, str], text: str
):
    for record in world.find(lost, **values):
        del world.fake.models[lost].records[record["id"]]
    with pytest.raises(ConfigError, match=text):
        install(admin, tmp_path)
    assert world.writes() == []


def test_what_odoo_refuses_is_named(world: FakeInstall, admin: OdooClient, tmp_path: Path):
    del world.fake.models["ir.ui.view"].fields["priority"]
    with pytest.raises(
        ConfigError, match=r"list of crm.lead \(crm.crm_case_tree_view_leads\) could not be made: .*Invalid"
    ):
        install(admin, tmp_path)


@pytest.fixture
def run(world: FakeInstall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The command, with the key of an administrator in the environment."""
    monkeypatch.setenv("TEST_ODOO_URL", world.fake.url)
    monkeypatch.setenv("ODOO_ADMIN_KEY", "fake-admin-key")
    config = tmp_path / "sales.yaml"
    config.write_text(yaml.safe_dump(describe_deployment(tmp_path)), encoding="utf-8")
    return lambda *options: run_cli("crm", "install", "--config", str(config), *options)


def test_the_command_tells_makes_and_then_has_nothing_to_do(run, world: FakeInstall):
    looked: Answer = run("--check", "--user", "nightly", "--json")
    assert (looked.code, json.loads(looked.out)["complete"], world.writes()) == (1, False, [])
    assert "pieces, or has them otherwise. Make them: `leadsieve crm install` without --check." in looked.err
    made: Answer = run("--user", "nightly")
    assert (made.code, "user 'nightly' in that group" in made.out) == (0, True)
    [job] = world.find("res.groups", name="Lead scores: nightly job")
    assert world.find("res.users", login="nightly")[0]["group_ids"] == [job["id"]]
    again: Answer = run("--check", "--user", "nightly", "--json")
    assert (again.code, {row["state"] for row in json.loads(again.out)["pieces"]}) == (0, {"there"})


def test_a_login_that_is_not_known_stops_it_before_anything_is_made(run, world: FakeInstall):
    answer: Answer = run("--user", "nihgtly")
    assert (answer.code, world.writes()) == (2, [])
    assert "has no user 'nihgtly'. Did you mean 'nightly'?" in answer.err


def test_the_key_comes_from_the_environment_and_is_never_shown(
    run, monkeypatch: pytest.MonkeyPatch, fake_odoo: FakeOdoo
):
    monkeypatch.setenv("MY_KEY", "key-that-is-refused")
    answer: Answer = run("--admin-key-env", "MY_KEY")
    assert (answer.code, "refuses the API key (401)" in answer.err) == (2, True)
    assert "key-that-is-refused" not in answer.out + answer.err
    monkeypatch.delenv("ODOO_ADMIN_KEY")
    assert "Environment variable ODOO_ADMIN_KEY is not set" in run().err


def test_in_a_database_it_makes_the_tables_of_our_own(tmp_path: Path):
    place = {"adapter": "sql", "url_env": None, "database": None, "key_env": None, "sqlite": str(tmp_path / "crm.db")}
    config = tmp_path / "sales.yaml"
    config.write_text(yaml.safe_dump(describe_deployment(tmp_path, **place)), encoding="utf-8")
    looked = run_cli("crm", "install", "--config", str(config), "--check", "--json")
    names = [row["piece"] for row in json.loads(looked.out)["pieces"]]
    assert (looked.code, names) == (1, ["table leadsieve_scores", "table leadsieve_follow_ups"])
    assert not (tmp_path / "crm.db").exists()
    sqlite3.connect(tmp_path / "crm.db").close()
    (tmp_path / "crm.db").touch()
    assert run_cli("crm", "install", "--config", str(config)).code == 0
    assert run_cli("crm", "install", "--config", str(config), "--check").code == 0
    refused = run_cli("crm", "install", "--config", str(config), "--user", "nightly")
    assert (refused.code, "--user is for Odoo" in refused.err) == (2, True)
