"""Where people see scores in Odoo: columns of lists, a group and a button of forms, filters, the history.

Every view is an extension of one of Odoo's own, so that those stay as they are. Scores are shown, never
asked for: the fields are read-only there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from xml.sax.saxutils import quoteattr

from pipeline.adapters.odoo_own import HISTORY, LINKS
from pipeline.adapters.odoo_piece import Piece


@dataclass(frozen=True)
class Shown:
    """The fields of one target on one model: its kind, and score value to field."""

    kind: str
    fields: Mapping[str, str]


_PLACES: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "crm.lead": {
            "list": ("crm.crm_case_tree_view_leads", "crm.crm_case_tree_view_oppor"),
            "kanban": ("crm.crm_case_kanban_view_leads",),
            "form": ("crm.crm_lead_view_form",),
            "search": ("crm.view_crm_case_leads_filter", "crm.view_crm_case_opportunities_filter"),
        },
        "res.partner": {
            "list": ("base.view_partner_tree",),
            "kanban": (),
            "form": ("base.view_partner_form",),
            "search": ("base.view_res_partner_filter",),
        },
    }
)
"""Odoo's own views that are extended."""

_TITLES = MappingProxyType(
    {
        "conversion": ("Lead score", "线索评分"),
        "churn": ("Churn risk", "流失风险"),
        "value": ("Customer value", "客户价值"),
    }
)
_WORDS = MappingProxyType({"Scores": "评分记录", "Scored": "已评分", "Reasons": "原因", "Lead scores": "线索评分"})
_RATES = frozenset({"probability", "probability_low", "probability_high", "coverage", "unseen_share"})
_LONG = frozenset({"reasons_en", "reasons_zh", "vetoes", "flags"})
_FIRST = ("grade", "probability", "points")


def list_views(shown: Mapping[str, Sequence[Shown]]) -> Iterator[Piece]:
    """Views with the scores of each model; models other than leads and partners have none."""
    makers = {"list": _extend_list, "kanban": _extend_kanban, "form": _extend_form, "search": _extend_search}
    for model, targets in shown.items():
        for kind, parents in _PLACES.get(model, {}).items():
            arch = makers[kind](targets)
            for parent in parents if arch else ():
                yield _make_view(model, kind, parent, f"<data>{arch}</data>")


def list_history_views(models: Sequence[str]) -> Iterator[Piece]:
    """List, form and filters of the history, its menu, and a button for it on the forms of some models."""
    fields = ("x_as_of", "x_target", "x_horizon_days", "x_grade", "x_probability", "x_reasons_en", "x_reasons_zh")
    links = tuple(LINKS.values())
    yield _make_own_view(
        "list", f'<list create="0" edit="0">{_tags((fields[0], *links, *fields[1:], "x_run_id"))}</list>'
    )
    body = _tags((*links, *fields, "x_model_version", "x_run_id", "x_entity_id"))
    yield _make_own_view("form", f'<form create="0" edit="0"><sheet><group>{body}</group></sheet></form>')
    found = "".join(f'<field name="{name}"/>' for name in (*links, "x_grade", "x_target", "x_run_id"))
    yield _make_own_view("search", f"<search>{found}</search>")
    action = {"name": "Lead scores", "res_model": HISTORY, "view_mode": "list,form"}
    chinese = {"name": {"Lead scores": _WORDS["Lead scores"]}}
    model = "ir.actions.act_window"
    yield Piece("history_action", model, "action 'Lead scores'", action, chinese=chinese)
    menu = {
        "name": "Lead scores",
        "action": "ir.actions.act_window,@{history_action}",
        "parent_id": "@{crm.crm_menu_report}",
        "sequence": 90,
    }
    yield Piece("history_menu", "ir.ui.menu", "menu 'Lead scores'", menu, ("name", "parent_id"), chinese=chinese)
    for model in models:
        name = f"history_of_{LINKS[model]}"
        values = {
            "name": f"Scores ({model})",
            "res_model": HISTORY,
            "view_mode": "list,form",
            "domain": f"[('{LINKS[model]}', '=', active_id)]",
        }
        said, title = {"name": {values["name"]: _WORDS["Scores"]}}, f"action 'Scores' of {model}"
        yield Piece(name, "ir.actions.act_window", title, values, kept=("domain",), chinese=said)
        button = (
            f'<button name="@{{{name}}}" type="action" class="oe_stat_button" icon="fa-line-chart" invisible="not id" '
            'string="Scores"/>'
        )
        arch = f'<data><xpath expr="//div[@name=\'button_box\']" position="inside">{button}</xpath></data>'
        yield _make_view(model, "button", _PLACES[model]["form"][0], arch)


def _make_view(model: str, kind: str, parent: str, arch: str) -> Piece:
    name = f"{kind}_of_{parent.replace('.', '_')}"
    values = {
        "name": f"leadsieve.{kind}.{parent}",
        "model": model,
        "mode": "extension",
        "inherit_id": f"@{{{parent}}}",
        "arch_base": arch,
        "priority": 90,
    }
    words = {word: said for word, said in {**dict(_TITLES.values()), **_WORDS}.items() if word in arch}
    return Piece(
        name, "ir.ui.view", f"{kind} of {model} ({parent})", values, kept=("arch_base",), chinese={"arch_db": words}
    )


def _make_own_view(kind: str, arch: str) -> Piece:
    values = {"name": f"leadsieve.history.{kind}", "model": HISTORY, "type": kind, "arch_base": arch}
    return Piece(f"history_{kind}", "ir.ui.view", f"{kind} of {HISTORY}", values, kept=("arch_base",))


def _tags(names: Sequence[str]) -> str:
    return "".join(_tag(name, name.removeprefix("x_")) for name in names)


def _tag(name: str, value: str, scored: str = "", **more: str) -> str:
    """One field, read-only, as its score value is shown best; numbers only where there is a score.

    Odoo shows a number that is not there as 0; `scored` is the field that tells the two apart.
    """
    attributes = {"name": name, "readonly": "1", **more}
    if value in _RATES:
        attributes["widget"] = "percentage"
    if scored and scored != name and value not in _LONG:
        attributes["invisible"] = f"not {scored}"
    return f"<field {' '.join(f'{key}={quoteattr(text)}' for key, text in attributes.items())}/>"


def _find_mark(target: Shown) -> str:
    """Field of a target that is filled where there is a score; none if no text or time is written."""
    marks = ("grade", "as_of", "run_id", "model_version", "card", "card_version")
    return next((target.fields[value] for value in marks if value in target.fields), "")


def _ordered(target: Shown) -> list[tuple[str, str]]:
    """Values and fields of a target: what is looked at first, then the rest, long texts last."""
    rest = [value for value in target.fields if value not in _FIRST]
    values = [*(value for value in _FIRST if value in target.fields), *sorted(rest, key=lambda value: value in _LONG)]
    return [(value, target.fields[value]) for value in values]


def _extend_list(targets: Sequence[Shown]) -> str:
    """Columns: grade and probability are shown, the others can be."""
    columns = [
        _tag(name, value, _find_mark(target), optional="show" if value in ("grade", "probability") else "hide")
        for target in targets
        for value, name in _ordered(target)
    ]
    return f'<xpath expr="//field[@name=\'user_id\']" position="after">{"".join(columns)}</xpath>'


def _extend_kanban(targets: Sequence[Shown]) -> str:
    """Grade and probability below the name of a card."""
    parts = []
    for target in targets:
        first = [(value, name) for value, name in _ordered(target) if value in ("grade", "probability")]
        if first:
            tags = " ".join(_tag(name, value) for value, name in first)
            parts.append(f'<div class="d-flex gap-2 text-muted" invisible="not {first[0][1]}">{tags}</div>')
    if not parts:
        return ""
    place = "//t[@t-name='card']/field[@name='name']"
    return f'<xpath expr="{place}" position="after">{"".join(parts)}</xpath>'


def _extend_form(targets: Sequence[Shown]) -> str:
    """A group for each target, before the pages: short values left, long texts right; none without a score."""
    groups = []
    for target in targets:
        mark = _find_mark(target)
        hidden = f' invisible="not {mark}"' if mark else ""
        short = "".join(_tag(name, value) for value, name in _ordered(target) if value not in _LONG)
        long = "".join(_tag(name, value) for value, name in _ordered(target) if value in _LONG)
        title = quoteattr(_TITLES[target.kind][0])
        right = f'<group string="Reasons">{long}</group>' if long else ""
        groups.append(f"<group{hidden}><group string={title}>{short}</group>{right}</group>")
    return f'<xpath expr="//sheet/notebook" position="before">{"".join(groups)}</xpath>'


def _extend_search(targets: Sequence[Shown]) -> str:
    """What can be searched for, filtered and grouped by: the grade."""
    grades = {target.fields["grade"]: _TITLES[target.kind][0] for target in targets if "grade" in target.fields}
    if not grades:
        return ""
    parts = [f'<field name="{name}"/>' for name in grades]
    parts += [
        f'<separator/><filter name="scored_{name}" string="Scored" domain="[(\'{name}\', \'!=\', False)]"/>'
        f"<filter name=\"by_{name}\" string={quoteattr(title)} context=\"{{'group_by': '{name}'}}\"/>"
        for name, title in grades.items()
    ]
    return f'<xpath expr="//search" position="inside">{"".join(parts)}</xpath>'
