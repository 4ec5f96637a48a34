"""Which score goes into which field of the CRM, checked against both catalogues, and that the fields are ours."""

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pipeline.adapters.target import FieldKind, TargetAdapter, TargetField, TargetTable
from pipeline.config import Config, FieldMap, WriteBack
from pipeline.errors import ConfigError

SCORE_VALUES: Mapping[str, FieldKind] = MappingProxyType(
    {
        "run_id": "text",
        "target": "text",
        "horizon_days": "integer",
        "entity_id": "text",
        "as_of": "time",
        "probability": "number",
        "probability_low": "number",
        "probability_high": "number",
        "log_odds": "number",
        "value": "number",
        "days_to_event": "number",
        "unseen_share": "number",
        "points": "number",
        "grade": "text",
        "card_grade": "text",
        "graded_by": "text",
        "vetoes": "text",
        "flags": "text",
        "coverage": "number",
        "model_version": "text",
        "bundle_sha256": "text",
        "card": "text",
        "card_version": "text",
        "reasons_en": "text",
        "reasons_zh": "text",
    }
)
"""What a CRM field may be filled with, and the kind of each."""

_FITS: Mapping[FieldKind, frozenset[FieldKind]] = MappingProxyType(
    {
        "number": frozenset({"number", "integer", "text", "unknown"}),
        "integer": frozenset({"number", "integer", "text", "unknown"}),
        "text": frozenset({"text", "unknown"}),
        "time": frozenset({"time", "date", "text", "unknown"}),
    }
)


def nearest(name: str, known: Iterable[str], kind: str) -> str:
    """Return a hint for an unknown name: the nearest known one, or all of them.

    Examples
    --------
    >>> nearest("grde", ["grade", "points"], "fields")
    "Did you mean 'grade'?"
    >>> nearest("x", ["grade", "points"], "fields")
    'Known fields: grade, points.'

    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean '{near[0]}'?" if near else f"Known {kind}: {', '.join(names)}."


def check_write_back(config: Config) -> WriteBack:
    """Return the write-back section after checking it within the config.

    Raises
    ------
    ConfigError
        If there is none, or it names an unknown target or score value, or writes a key, a field that is
        not ours, or one field twice.

    """
    section = config.write_back
    if section is None:
        raise ConfigError(f"The config '{config.name}' has no write_back section. Add one with the CRM fields to fill.")
    owners: dict[tuple[str, str], str] = {}
    for name, table in section.tables.items():
        place = f"write_back.tables.{name}"
        if name not in config.targets:
            raise ConfigError(f"{place}: there is no target '{name}'. {nearest(name, config.targets, 'targets')}")
        for field, value in table.fields.items():
            if value not in SCORE_VALUES:
                hint = nearest(value, SCORE_VALUES, "score values")
                raise ConfigError(f"{place}.fields.{field}: unknown score value '{value}'. {hint}")
            if field == table.key:
                raise ConfigError(f"{place}.fields: '{field}' is the key of '{table.target}'. Map another field.")
            if not (section.insert_missing or field in section.owned_fields.get(table.target, ())):
                raise ConfigError(_explain_owner(place, table.target, field, section))
            other = owners.setdefault((table.target, field), name)
            if other != name:
                raise ConfigError(
                    f"{place}.fields: '{table.target}.{field}' is also written by '{other}'. Map a field of its own."
                )
    return section


def _explain_owner(place: str, table: str, field: str, section: WriteBack) -> str:
    """Say how a field becomes ours."""
    ours = section.owned_fields.get(table, ())
    near = difflib.get_close_matches(field, ours, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return (
        f"{place}.fields: field '{field}' of '{table}' is not one of ours. If nobody else writes it, add it: "
        f"write_back.owned_fields: {{{table}: [{', '.join((*ours, field))}]}}.{hint}"
    )


def describe_fields(adapter: TargetAdapter, name: str, table: FieldMap) -> dict[str, TargetField]:
    """Look the mapped fields up in the CRM's catalogue, and check that each can hold its value.

    Parameters
    ----------
    adapter : TargetAdapter
        The CRM.
    name : str
        Target whose scores are written, for error texts.
    table : FieldMap
        Its mapping.

    Raises
    ------
    ConfigError
        If the table or a field does not exist, or a field cannot hold its value.

    """
    described = dict(adapter.describe(TargetTable(table.target, table.key), list(table.fields)))
    for field, value in table.fields.items():
        kind = described[field].kind
        if kind not in _FITS[SCORE_VALUES[value]]:
            raise ConfigError(
                f"write_back.tables.{name}.fields.{field}: '{table.target}.{field}' is a {kind} field and cannot hold "
                f"{value} ({SCORE_VALUES[value]}). Map a {SCORE_VALUES[value]} field."
            )
    return described
