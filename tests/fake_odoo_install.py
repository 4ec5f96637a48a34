"""What an administrator makes in Odoo, in a fake one: models, fields, rights, views, and what comes of them."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fake_odoo import FakeOdoo
from fake_odoo_methods import METHODS, Call, run_write
from fake_odoo_models import OdooError, refuse_value

from pipeline.adapters.odoo_action import NAME

_TEXT, _LINK, _LINKS, _FLAG, _NUMBER = (
    {"type": kind} for kind in ("char", "many2one", "many2many", "boolean", "integer")
)
MODELS: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "res.lang": {"code": _TEXT, "active": _FLAG},
    "res.users": {"login": _TEXT, "share": _FLAG, "active": _FLAG, "group_ids": _LINKS, "all_group_ids": _LINKS},
    "res.groups": {"name": _TEXT, "comment": _TEXT, "implied_ids": _LINKS},
    "ir.model": {"name": _TEXT, "model": _TEXT, "order": _TEXT, "field_id": {"type": "one2many"}},
    "ir.model.fields": {
        **dict.fromkeys(("name", "model", "ttype", "field_description", "help"), _TEXT),
        **dict.fromkeys(("copied", "index", "required"), _FLAG),
        "model_id": _LINK,
    },
    "ir.model.data": {**dict.fromkeys(("module", "name", "model"), _TEXT), "res_id": _NUMBER, "noupdate": _FLAG},
    "ir.model.access": {
        "name": _TEXT,
        "model_id": _LINK,
        "group_id": _LINK,
        **dict.fromkeys(("perm_read", "perm_write", "perm_create", "perm_unlink"), _FLAG),
    },
    "ir.rule": {"name": _TEXT, "model_id": _LINK, "groups": _LINKS, "domain_force": _TEXT},
    "ir.actions.server": {
        **dict.fromkeys(("name", "model_name", "state", "code"), _TEXT),
        "model_id": _LINK,
        "group_ids": _LINKS,
    },
    "ir.actions.act_window": dict.fromkeys(("name", "res_model", "view_mode", "domain"), _TEXT),
    "ir.ui.menu": {"name": _TEXT, "action": _TEXT, "parent_id": _LINK, "sequence": _NUMBER},
    "ir.ui.view": {
        **dict.fromkeys(("name", "model", "mode", "type", "arch_base", "arch_db"), _TEXT),
        "inherit_id": _LINK,
        "priority": _NUMBER,
    },
    "mail.activity.type": {**dict.fromkeys(("name", "summary", "icon", "category"), _TEXT), "delay_count": _NUMBER},
    "mail.activity": {
        **dict.fromkeys(("summary", "note", "date_deadline"), _TEXT),
        **dict.fromkeys(("automated", "active"), _FLAG),
        **dict.fromkeys(("activity_type_id", "user_id"), _LINK),
        "res_id": _NUMBER,
    },
    "mail.tracking.value": {"field_id": _LINK},
    "res.partner": {"name": _TEXT, "active": _FLAG, "user_id": _LINK, "user_id.active": _FLAG},
    "crm.lead": {"name": _TEXT, "active": _FLAG, "user_id": _LINK, "user_id.active": _FLAG},
}

UNIQUE = {"x_lead_score": "x_name", "mail.activity": "x_lead_score_key"}
"""Fields on which an action of an administrator makes a unique index."""

OF_ODOO = {
    "res.groups": ("base.group_user", "base.group_system", "sales_team.group_sale_salesman",
                   "sales_team.group_sale_salesman_all_leads"),
    "ir.ui.view": ("crm.crm_case_tree_view_leads", "crm.crm_case_tree_view_oppor", "crm.crm_case_kanban_view_leads",
                   "crm.crm_lead_view_form", "crm.view_crm_case_leads_filter", "crm.view_crm_case_opportunities_filter",
                   "base.view_partner_tree", "base.view_partner_form", "base.view_res_partner_filter"),
    "ir.ui.menu": ("crm.crm_menu_report",),
}  # fmt: skip
"""External ids of records that Odoo brings."""


class FakeInstall:
    """A fake Odoo with the models of its administration.

    Parameters
    ----------
    fake : FakeOdoo
        The server.
    words : dict
        (model, id, field) to its text in Chinese.

    """

    def __init__(self, fake: FakeOdoo) -> None:
        self.fake = fake
        self.words: dict[tuple[str, int, str], str] = {}
        for name, fields in MODELS.items():
            fake.add_model(name, fields)
        for name in MODELS:
            fake.models["ir.model"].add({"name": name, "model": name})
        for model, names in OF_ODOO.items():
            for name in names:
                module, _, own = name.partition(".")
                number = fake.models[model].add({"name": name})
                fake.models["ir.model.data"].add({"module": module, "name": own, "model": model, "res_id": number})
        for login in ("admin", "nightly", "rep"):
            fake.models["res.users"].add({"login": login, "share": False})
        fake.forbid("ir.model.fields", "nightly", "create")

    def speak_chinese(self) -> None:
        """Let people use Odoo in Chinese."""
        self.fake.models["res.lang"].add({"code": "zh_CN", "active": True})

    def find(self, model: str, /, **values: Any) -> list[dict[str, Any]]:
        """Records that have some values."""
        records = self.fake.models[model].records
        return [
            {"id": number, **record}
            for number, record in records.items()
            if all(record.get(name) == value for name, value in values.items())
        ]

    def count(self) -> dict[str, int]:
        """Records of each model."""
        return {name: len(model.records) for name, model in self.fake.models.items()}

    def writes(self) -> list[tuple[str, str]]:
        """Calls that change something, since the last time this was asked."""
        reading = ("search", "search_read", "read", "fields_get", "has_access", "check_object_reference")
        found = [(model, method) for model, method, _ in self.fake.calls if method not in reading]
        self.fake.calls.clear()
        return found

    def create(self, call: Call) -> list[int]:
        """Create; a model or field that is made is there from now on."""
        model = call.model.name
        if model in UNIQUE and self.find("ir.actions.server", state="ran", model_name=model):
            keys = self._list_keys(model)
            if any(values.get(UNIQUE[model]) in keys for values in call.take("vals_list")):
                raise OdooError(
                    422, "odoo.exceptions.ValidationError", "duplicate key value violates unique constraint"
                )
        made = CREATE(call)
        for number in made if model == "ir.actions.server" else ():
            action = call.model.records[number]
            action["model_name"] = self.fake.models["ir.model"].records[action["model_id"]]["model"]
        for values in call.take("vals_list"):
            if model == "ir.model":
                parts = [command[2] for command in values["field_id"]]
                self.fake.add_model(values["model"], {part["name"]: {"type": part["ttype"]} for part in parts})
                for part in parts:
                    self.fake.models["ir.model.fields"].add({"model": values["model"], **_known(part)})
            elif model == "ir.model.fields":
                self.fake.models[values["model"]].fields[values["name"]] = {"type": values["ttype"]}
        return made

    def read(self, call: Call) -> list[Any]:
        """Read, in Chinese where that is asked for and there."""
        rows = READ(call)
        for row in rows if call.context.get("lang") == "zh_CN" else ():
            for name in row:
                row[name] = self.words.get((call.model.name, row["id"], name), row[name])
        return [{**row, **({"arch_db": self._arch(call, row)} if "arch_db" in row else {})} for row in rows]

    def _arch(self, call: Call, row: Mapping[str, Any]) -> str:
        said = self.words.get((call.model.name, row["id"], "arch_db"))
        original = call.model.records[row["id"]].get("arch_base", "")
        return said if said and call.context.get("lang") == "zh_CN" else original

    def translate(self, call: Call) -> bool:
        """Keep texts in Chinese."""
        call.check("write")
        [number], name, said = call.ids, call.take("field_name"), call.take("translations")["zh_CN"]
        if isinstance(said, dict):
            arch = call.model.records[number]["arch_base"]
            for english, chinese in said.items():
                arch = arch.replace(f'"{english}"', f'"{chinese}"')
            said = arch
        self.words[call.model.name, number, name] = said
        return True

    def find_reference(self, call: Call) -> list[Any]:
        """Find a record by its external id."""
        name = {key: call.take(argument) for key, argument in (("module", "module"), ("name", "xml_id"))}
        for record in self.find("ir.model.data", **name):
            return [record["model"], record["res_id"]]
        raise refuse_value(f"External ID not found in the system: {name['module']}.{name['name']}")

    def run(self, call: Call) -> Any:
        """Run an action: one that writes scores, or one whose code makes a unique index."""
        [action] = (call.model.records[number] for number in call.ids)
        if action["name"] == NAME:
            return run_write(call)
        doubles = {key for key, times in Counter(self._list_keys(action["model_name"])).items() if times > 1}
        if doubles:
            raise OdooError(422, "odoo.exceptions.UserError", f"there more than once: {', '.join(sorted(doubles))}")
        action["state"] = "ran"
        return False

    def _list_keys(self, model: str) -> list[str]:
        """Keys of what is not archived."""
        records = self.fake.models[model].records.values()
        return [record[UNIQUE[model]] for record in records if record.get(UNIQUE[model]) and record.get("active", True)]


def _known(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name in MODELS["ir.model.fields"]}


CREATE: Callable[[Call], list[int]] = METHODS["create"]
READ: Callable[[Call], list[Any]] = METHODS["read"]


@pytest.fixture
def fake_install(fake_odoo: FakeOdoo, monkeypatch: pytest.MonkeyPatch) -> FakeInstall:
    """A fake Odoo in which nothing of ours is."""
    made = FakeInstall(fake_odoo)
    monkeypatch.setitem(METHODS, "create", made.create)  # type: ignore[arg-type]
    monkeypatch.setitem(METHODS, "read", made.read)  # type: ignore[arg-type]
    monkeypatch.setitem(METHODS, "update_field_translations", made.translate)  # type: ignore[arg-type]
    monkeypatch.setitem(METHODS, "check_object_reference", made.find_reference)  # type: ignore[arg-type]
    monkeypatch.setitem(METHODS, "run", made.run)  # type: ignore[arg-type]
    return made
