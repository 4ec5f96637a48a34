"""The methods of models that a fake Odoo answers to, with the arguments and the answers of the real ones."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from fake_odoo_models import FakeModel, OdooError, refuse_value


@dataclass(frozen=True)
class Call:
    """A call of a method by a user."""

    model: FakeModel
    user: str
    arguments: Mapping[str, Any]
    models: Mapping[str, FakeModel] = field(default_factory=dict)

    @property
    def ids(self) -> list[int]:
        return list(self.arguments.get("ids", ()))

    @property
    def context(self) -> Mapping[str, Any]:
        return self.arguments.get("context") or {}

    def check(self, operation: str) -> None:
        """Refuse what the user may not do."""
        if operation in self.model.forbidden.get(self.user, ()):
            message = f"You are not allowed to {operation} '{self.model.name}' records.\n\nContact your administrator."
            raise OdooError(403, "odoo.exceptions.AccessError", message)

    def take(self, name: str) -> Any:
        """Return an argument that must be there."""
        if name not in self.arguments:
            message = f"missing a required argument: '{name}'"
            raise OdooError(422, "werkzeug.exceptions.UnprocessableEntity", message)
        return self.arguments[name]

    def read(self, numbers: list[int], fields: list[str] | None, load: str | None = "_classic_read") -> list[Any]:
        """Return records as Odoo reads them."""
        names = fields or list(self.model.fields)
        return [
            {"id": number, **{name: self._show(number, name, load) for name in names if name != "id"}}
            for number in numbers
            if number in self.model.records
        ]

    def _show(self, number: int, name: str, load: str | None) -> Any:
        found = self.model.value(number, name)
        kind = self.model.fields[name]["type"]
        if kind == "datetime" and found:
            return found[:19]
        if kind == "many2one" and found and load:
            return [found, f"{self.model.fields[name].get('relation', 'record')},{found}"]
        return found


def _search(call: Call) -> list[int]:
    call.check("read")
    found = call.model.sort(call.model.find(call.take("domain"), call.context), call.arguments.get("order"))
    start, limit = call.arguments.get("offset") or 0, call.arguments.get("limit")
    return found[start : start + limit if limit else None]


def _search_read(call: Call) -> list[Any]:
    call = Call(call.model, call.user, {"domain": [], **call.arguments})
    return call.read(_search(call), call.arguments.get("fields"), call.arguments.get("load", "_classic_read"))


def _search_count(call: Call) -> int:
    call.check("read")
    return len(call.model.find(call.take("domain"), call.context))


def _read(call: Call) -> list[Any]:
    call.check("read")
    return call.read(call.ids, call.arguments.get("fields"), call.arguments.get("load", "_classic_read"))


def _fields_get(call: Call) -> dict[str, Any]:
    names = call.arguments.get("allfields") or list(call.model.fields)
    wanted = call.arguments.get("attributes")
    usual = {"store": True, "readonly": False, "required": False, "company_dependent": False, "depends": []}
    described = {
        name: {**usual, **call.model.fields[name], "name": name} for name in names if name in call.model.fields
    }
    return {
        name: {key: value for key, value in entry.items() if not wanted or key in wanted}
        for name, entry in described.items()
    }


def _write(call: Call) -> bool:
    call.check("write")
    call.model.change(call.ids, call.take("vals"), call.user)
    return True


def _create(call: Call) -> list[int]:
    call.check("create")
    return [call.model.add(values, call.user) for values in call.take("vals_list")]


def _unlink(call: Call) -> bool:
    call.check("unlink")
    call.model.change(call.ids, {})
    for number in call.ids:
        del call.model.records[number]
    return True


def _has_access(call: Call) -> bool:
    return call.take("operation") not in call.model.forbidden.get(call.user, ())


def _is_kept(name: str, described: Mapping[str, Any]) -> bool:
    """Whether the action writes a field: a plain one of ours, kept in the very record."""
    elsewhere = ("readonly", "related", "depends", "company_dependent", "translate")
    is_plain = described.get("type") in ("char", "text", "selection", "float", "integer", "boolean", "datetime", "date")
    return name.startswith("x_") and is_plain and not any(map(described.get, elsewhere))


def run_write(call: Call) -> dict[str, Any]:
    """What the code of our action does, whole or not at all."""
    [number] = call.ids
    if number not in call.model.records:
        raise OdooError(404, "odoo.exceptions.MissingError", f"Record does not exist: {call.model.name}({number},)")
    action = call.model.records[number]
    own = Call(call.models[action["model_name"]], call.user, {})
    names, rows = call.context["fields"], call.context["rows"]
    for name in names:
        if not _is_kept(name, own.model.fields.get(name, {})):
            raise OdooError(422, "odoo.exceptions.UserError", f"Invalid field '{name}' on '{own.model.name}'")
    own.check("write")
    found = {row["id"]: [row[name] for name in names] for row in own.read([row[0] for row in rows], names)}
    there = [row for row in rows if row[0] in found]
    before = deepcopy((own.model.records, own.model.written))
    try:
        for number, expected, values in there:
            if found[number] == expected:
                own.model.change([number], dict(zip(names, values, strict=True)), call.user)
    except OdooError as error:
        own.model.records, own.model.written = before
        raise refuse_value(f"{ValueError(str(error))!r} while evaluating\n'names, rows = ...'") from None
    written = [number for number, expected, _ in there if found[number] == expected]
    sent = {number: values for number, _, values in there}
    for row in own.read(written, names):
        for name, value in zip(names, sent[row["id"]], strict=True):
            if row[name] != value:
                own.model.records, own.model.written = before
                message = f"Odoo does not keep what is sent for '{name}' of record {row['id']}"
                raise OdooError(422, "odoo.exceptions.UserError", message)
    return {
        "left": [[number, found[number]] for number in found if number not in written],
        "written": [[row["id"], [row[name] for name in names]] for row in own.read(written, names)],
    }


METHODS: Mapping[str, Callable[[Call], Any]] = {
    "search": _search,
    "search_read": _search_read,
    "search_count": _search_count,
    "read": _read,
    "fields_get": _fields_get,
    "write": _write,
    "create": _create,
    "unlink": _unlink,
    "has_access": _has_access,
    "run": run_write,
}

WRITES = frozenset({"write", "create", "unlink"})
