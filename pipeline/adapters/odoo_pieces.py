"""What `leadsieve crm install` makes in Odoo, as a list: groups, rights, fields, views and the rest."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pipeline.adapters.odoo_action import CODE, NAME
from pipeline.adapters.odoo_own import ACTIONS, HISTORY, LINKS, TASK_KEY, TASK_TYPE
from pipeline.adapters.odoo_piece import Piece, make_access, make_field, make_rule
from pipeline.adapters.odoo_unique import make_history_unique, make_tasks_unique
from pipeline.adapters.odoo_views import Shown, list_history_views, list_views
from pipeline.adapters.target import FieldKind
from pipeline.config import Config, FieldMap
from pipeline.errors import ConfigError
from pipeline.field_values import SCORE_VALUES, check_write_back

GROUP = "nightly_job"
"""External id of the group of the nightly user."""

ADMINISTRATORS = "base.group_system"
EVERYTHING = "[(1, '=', 1)]"
"""Domain of all records: a rule of this kind lets administrators see them, whatever groups they are in."""

_SALESMAN = "@{sales_team.group_sale_salesman}"
_ALL_LEADS = "@{sales_team.group_sale_salesman_all_leads}"


_TYPES: Mapping[FieldKind, str] = MappingProxyType({"number": "float", "integer": "integer", "time": "datetime"})
_LONG = frozenset({"reasons_en", "reasons_zh", "vetoes", "flags"})
_KINDS = MappingProxyType({"conversion": ("Lead", "线索"), "churn": ("Churn", "流失"), "value": ("Value", "价值")})
_LABELS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "probability": ("score", "评分"),
        "grade": ("grade", "等级"),
        "reasons_en": ("reasons", "原因(英文)"),
        "reasons_zh": ("reasons (Chinese)", "原因"),
        "points": ("points", "分数"),
        "as_of": ("score: as of", "评分时间"),
        "value": ("forecast", "预测"),
        "model_version": ("score: model", "评分模型"),
        "run_id": ("score: run", "评分批次"),
        "vetoes": ("vetoes", "否决项"),
        "flags": ("warnings", "预警"),
    }
)


def label_field(kind: str, value: str) -> tuple[str, str]:
    """Label of a CRM field in English and Chinese.

    Examples
    --------
    >>> label_field("conversion", "grade")
    ('Lead grade', '线索等级')
    >>> label_field("churn", "log_odds")
    ('Churn log odds', '流失 log odds')

    """
    (english, chinese), plain = _KINDS[kind], value.replace("_", " ")
    words = _LABELS.get(value, (plain, f" {plain}"))
    return f"{english} {words[0]}", f"{chinese}{words[1]}"


def list_pieces(config: Config, models: frozenset[str]) -> list[Piece]:
    """Return everything that a deployment needs in Odoo, in the order in which it is made.

    Parameters
    ----------
    config : Config
        The deployment.
    models : frozenset of str
        Models that this Odoo has, out of those that an app may bring.

    Raises
    ------
    ConfigError
        If the config maps a field whose name does not begin with `x_`.

    """
    section = check_write_back(config)
    tables = section.tables
    pieces = [_make_group(), *_list_read_rights(models)]
    for name, table in tables.items():
        pieces += _list_fields(name, config.targets[name].kind, table)
    pieces += _list_writing({table.target for table in tables.values()})
    if section.history:
        pieces += [_make_history(), make_history_unique(), *_list_history_rights()]
    if section.follow_ups:
        pieces += _list_task_pieces()
    return [*pieces, *_list_views(config, tables, bool(section.history))]


def _make_group() -> Piece:
    return Piece(
        GROUP,
        "res.groups",
        "group 'Lead scores: nightly job'",
        {
            "name": "Lead scores: nightly job",
            "comment": "Writes scores, keeps their history and reads what they are made of. For one user, no person.",
            "implied_ids": ["@{base.group_user}", _ALL_LEADS],
        },
        kept=("implied_ids",),
        chinese={"name": {"Lead scores: nightly job": "线索评分: 夜间任务"}},
    )


def _list_read_rights(models: frozenset[str]) -> Iterator[Piece]:
    """Rights that the nightly job needs to read what a salesman may not: field history, invoices."""
    tracked = sorted({"crm.lead", "res.partner", "sale.order"} & models)
    yield make_access("read_field_history", "mail.tracking.value", f"@{{{GROUP}}}", "r")
    yield make_access("read_field_names", "ir.model.fields", f"@{{{GROUP}}}", "r")  # whose history it is
    yield make_rule(
        "only_sales_history", "mail.tracking.value", [f"@{{{GROUP}}}"], f"[('field_id.model', 'in', {tracked})]"
    )
    yield make_rule("all_history", "mail.tracking.value", [f"@{{{ADMINISTRATORS}}}"], EVERYTHING)
    for model in sorted({"account.move", "account.move.line"} & models):
        name = model.replace(".", "_")
        yield make_access(f"read_{name}", model, f"@{{{GROUP}}}", "r")
        prefix = "" if model == "account.move" else "move_id."
        yield make_rule(
            f"only_invoices_{name}",
            model,
            [f"@{{{GROUP}}}"],
            f"[('{prefix}move_type', 'in', ('out_invoice', 'out_refund'))]",
        )


def _list_fields(target: str, kind: str, table: FieldMap) -> Iterator[Piece]:
    """Fields of ours that the config maps."""
    for name, value in table.fields.items():
        if not name.startswith("x_"):
            raise ConfigError(
                f"write_back.tables.{target}.fields: '{name}' does not begin with 'x_'. Odoo's own fields are never "
                f"written; map a field of ours, such as 'x_{name}'."
            )
        ttype = "text" if value in _LONG else _TYPES.get(SCORE_VALUES[value], "char")
        text = "Written by leadsieve. A value that somebody else writes is kept, and reported as a conflict."
        yield make_field(table.target, name, ttype, label_field(kind, value), help=text)


def _list_writing(models: Iterable[str]) -> Iterator[Piece]:
    """Actions that write scores; the nightly job may see and run those of its own group."""
    for model in sorted(models):
        values = {
            "name": NAME,
            "model_id": f"@{{model:{model}}}",
            "state": "code",
            "code": CODE,
            "group_ids": [f"@{{{GROUP}}}"],
        }
        name, title = f"write_{model.replace('.', '_')}", f"action that writes scores to {model}"
        yield Piece(name, ACTIONS, title, values, ("name", "model_id"), kept=("name", "code", "group_ids"))
    yield make_access("read_actions", ACTIONS, f"@{{{GROUP}}}", "r")
    yield make_rule("only_own_actions", ACTIONS, [f"@{{{GROUP}}}"], f"[('group_ids', 'in', [@{{{GROUP}}}])]")
    yield make_rule("all_actions", ACTIONS, [f"@{{{ADMINISTRATORS}}}"], EVERYTHING)


def _make_history() -> Piece:
    """Model of the history, with its fields."""
    fields: list[tuple[str, str, str, dict[str, Any]]] = [
        ("x_name", "char", "Key", {"required": True, "index": True}),
        ("x_run_id", "char", "Run", {"required": True, "index": True}),
        ("x_entity_id", "char", "Record id", {"required": True, "index": True}),
        ("x_as_of", "datetime", "As of", {"required": True}),
        ("x_target", "char", "Target", {"required": True}),
        ("x_horizon_days", "integer", "Days ahead", {}),
        ("x_probability", "float", "Score", {}),
        ("x_value", "float", "Value", {}),
        ("x_grade", "char", "Grade", {}),
        ("x_reasons_en", "text", "Reasons", {}),
        ("x_reasons_zh", "text", "Reasons (Chinese)", {}),
        ("x_model_version", "char", "Model", {}),
        *(
            (name, "many2one", label, {"relation": model, "on_delete": "cascade", "index": True})
            for (model, name), label in zip(LINKS.items(), ("Lead", "Partner"), strict=True)
        ),
    ]
    made = [
        {"name": name, "ttype": ttype, "field_description": label, "copied": False, **more}
        for name, ttype, label, more in fields
    ]
    values = {"name": "Lead score", "model": HISTORY, "order": "x_as_of desc, id desc", "field_id": made}
    chinese = {"name": {"Lead score": "评分记录"}}
    return Piece("model_history", "ir.model", f"model {HISTORY}", values, found_by=("model",), chinese=chinese)


HISTORY_LABELS = MappingProxyType(
    {
        "Run": "批次",
        "Record id": "记录编号",
        "As of": "评分时间",
        "Target": "目标",
        "Days ahead": "预测天数",
        "Score": "评分",
        "Value": "价值",
        "Grade": "等级",
        "Reasons": "原因(英文)",
        "Reasons (Chinese)": "原因",
        "Model": "模型",
        "Lead": "线索",
        "Partner": "客户",
        "Key": "键",
    }
)
"""Labels of the history's fields in Chinese."""


def _list_history_rights() -> Iterator[Piece]:
    """The nightly job adds and removes rows; salesmen read those of the leads that they may read."""
    yield make_access("write_history", HISTORY, f"@{{{GROUP}}}", "rcu")
    yield make_access("read_history", HISTORY, _SALESMAN, "r")
    yield make_access("clear_history", HISTORY, f"@{{{ADMINISTRATORS}}}", "ru")
    own = (
        "['|', '|', ('x_partner_id', '!=', False), ('x_lead_id.user_id', '=', user.id), "
        "'&', ('x_lead_id', '!=', False), ('x_lead_id.user_id', '=', False)]"
    )
    yield make_rule("history_of_own_leads", HISTORY, [_SALESMAN], own)
    yield make_rule("history_of_all_leads", HISTORY, [_ALL_LEADS], EVERYTHING)
    company = " ".join(
        f"'|', ('{name}', '=', False), ('{name}.company_id', 'in', company_ids + [False])," for name in LINKS.values()
    )
    yield make_rule("history_of_own_companies", HISTORY, [], f"[{company.rstrip(',')}]")


def _list_task_pieces() -> Iterator[Piece]:
    """Our key on activities, and our type of activity."""
    yield make_field("mail.activity", TASK_KEY, "char", ("Key of leadsieve", "leadsieve 键"), index=True)
    yield make_tasks_unique()
    yield Piece(
        TASK_TYPE,
        "mail.activity.type",
        "type of activity 'Follow up'",
        {
            "name": "Follow up (early warning)",
            "summary": "Early warning",
            "icon": "fa-bell",
            "category": "default",
            "delay_count": 3,
        },
        chinese={
            "name": {"Follow up (early warning)": "跟进提醒"},
            "summary": {"Early warning": "预警"},
        },
    )


def _list_views(config: Config, tables: Mapping[str, FieldMap], has_history: bool) -> Iterator[Piece]:
    """Views, actions and menus."""
    shown: dict[str, list[Shown]] = {}
    for name, table in tables.items():
        fields = {value: name for name, value in table.fields.items()}
        shown.setdefault(table.target, []).append(Shown(config.targets[name].kind, fields))
    yield from list_views(shown)
    if has_history:
        yield from list_history_views([model for model in LINKS if model in shown])
