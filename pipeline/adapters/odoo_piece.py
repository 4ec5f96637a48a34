"""One record that `leadsieve crm install` makes in Odoo."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET


@dataclass(frozen=True)
class Piece:
    """One record that Odoo gets.

    Parameters
    ----------
    name : str
        Its external id, after `leadsieve.`; text `@{name}` within values stands for the id of another piece,
        `@{module.name}` for that of a record of Odoo, `@{model:crm.lead}` for that of a model.
    model : str
        Model of the record.
    title : str
        What people are told.
    values : mapping
        What it is made of; a list is a set of records.
    found_by : tuple of str
        Names of the values by which one that was made earlier is known.
    kept : tuple of str
        Names of the values that are put right when they differ; others are the administrator's to change.
    chinese : mapping
        Text in English to text in Chinese, by the name of the value.

    """

    name: str
    model: str
    title: str
    values: Mapping[str, Any]
    found_by: tuple[str, ...] = ("name",)
    kept: tuple[str, ...] = ()
    chinese: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def make_access(name: str, model: str, group: str, rights: str) -> Piece:
    """Right of a group to a model: letters of (r)ead, (w)rite, (c)reate, (u)nlink."""
    perms = {f"perm_{word}": word[0] in rights for word in ("read", "write", "create", "unlink")}
    title = f"right to {', '.join(perm.removeprefix('perm_') for perm, given in perms.items() if given)} {model}"
    values = {"name": f"leadsieve.{name}", "model_id": f"@{{model:{model}}}", "group_id": group, **perms}
    return Piece(name, "ir.model.access", title, values, kept=("group_id", *perms))


def make_rule(name: str, model: str, groups: Sequence[str], domain: str) -> Piece:
    """Rule that limits which records groups see and change; no group means everybody."""
    values = {
        "name": f"leadsieve.{name}",
        "model_id": f"@{{model:{model}}}",
        "groups": list(groups),
        "domain_force": domain,
    }
    return Piece(
        name, "ir.rule", f"rule for {model}: {name.replace('_', ' ')}", values, kept=("groups", "domain_force")
    )


def make_field(model: str, name: str, ttype: str, label: tuple[str, str], **more: Any) -> Piece:
    """Field of a model."""
    values = {
        "name": name,
        "model": model,
        "model_id": f"@{{model:{model}}}",
        "ttype": ttype,
        "field_description": label[0],
        "copied": False,
        **more,
    }
    return Piece(
        f"field_{model.replace('.', '_')}__{name}",
        "ir.model.fields",
        f"field {model}.{name}",
        values,
        found_by=("model", "name"),
        chinese={"field_description": {label[0]: label[1]}},
    )


def write_commands(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as Odoo takes them: a set of records is added to, records to be made are made."""

    def command(each: Any) -> list[Any]:
        return [0, 0, each] if isinstance(each, dict) else [4, each]

    return {
        name: [command(each) for each in value] if isinstance(value, list) else value for name, value in values.items()
    }


def agree(wanted: Any, actual: Any) -> bool:
    """Whether Odoo has what it should."""
    if isinstance(wanted, list):
        return set(wanted) <= set(actual)
    if isinstance(actual, list) and actual and isinstance(wanted, int):  # a link reads as id and name
        return bool(actual[0] == wanted)
    if isinstance(wanted, str) and wanted.startswith("<"):
        return ET.canonicalize(wanted, strip_text=True) == ET.canonicalize(actual or "<none/>", strip_text=True)
    return bool((wanted or False) == (actual or False))
