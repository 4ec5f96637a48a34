"""From scores to the values that CRM fields get: checked against both catalogues, rounded, cut to length."""

import difflib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd

from features.errors import DataError
from pipeline.adapters.target import FieldKind, TargetAdapter, TargetField, TargetTable, Value
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
        If there is none, or it names an unknown target or score value, writes a key, or writes one
        field twice.

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
            other = owners.setdefault((table.target, field), name)
            if other != name:
                raise ConfigError(
                    f"{place}.fields: '{table.target}.{field}' is also written by '{other}'. Map a field of its own."
                )
    return section


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


def build_values(
    scores: pd.DataFrame, name: str, horizon_days: int, table: FieldMap, fields: Mapping[str, TargetField]
) -> dict[str, dict[str, Value]]:
    """Return the value of each mapped field for each scored entity, as the CRM will store it.

    Parameters
    ----------
    scores : DataFrame
        A score frame.
    name : str
        Target to write.
    horizon_days : int
        Its primary horizon; scores of others are not written.
    table : FieldMap
        CRM field to score value, and the number of decimals.
    fields : mapping of str to TargetField
        The fields as the CRM declares them.

    Returns
    -------
    dict of str to dict of str to Value
        Entity to CRM field to value; a score that is null stays null, where the field knows null.

    Raises
    ------
    DataError
        If an entity is scored twice, or a number is infinite.

    """
    rows = scores[(scores["target"] == name) & (scores["horizon_days"] == horizon_days)]
    twice = rows["entity_id"][rows["entity_id"].duplicated()]
    if len(twice):
        raise DataError(
            f"Scores of '{name}': {len(twice):,} entities appear more than once (entity_id "
            f"{', '.join(map(str, twice.unique()[:5]))}). Score each entity once per run."
        )
    columns = [_field_values(rows, value, fields[field], table.decimals) for field, value in table.fields.items()]
    by_row = zip(rows["entity_id"].tolist(), *columns, strict=True)
    return {str(entity): dict(zip(table.fields, values, strict=True)) for entity, *values in by_row}


def _field_values(rows: pd.DataFrame, value: str, field: TargetField, decimals: int) -> list[Value]:
    """Values of one field, in the order of the rows."""
    source = "reasons" if value.startswith("reasons_") else value
    if source not in rows.columns:
        raise DataError(f"The score frame has no column '{source}', which field '{field.name}' needs. Score again.")
    convert = _converter(value, field, decimals)
    cells = zip(rows[source].tolist(), rows[source].notna().tolist(), strict=True)
    return [convert(cell) if there else field.empty for cell, there in cells]


def _converter(value: str, field: TargetField, decimals: int) -> Callable[[Any], Value]:
    """Return what turns a cell of the score frame into a value of the field."""
    if value.startswith("reasons_"):
        language = value.removeprefix("reasons_")
        return lambda cell: _cut(_join_reasons(cell, language), field)
    if value in ("vetoes", "flags"):
        return lambda cell: _cut(", ".join(json.loads(cell)), field)
    kind = SCORE_VALUES[value]
    if kind == "time":
        return lambda cell: _format_time(cell, field)
    if kind == "text":
        return lambda cell: _cut(str(cell), field)
    digits = decimals if field.decimals is None else min(decimals, field.decimals)
    return lambda cell: _round_number(cell, value, field, digits)


def _round_number(cell: Any, value: str, field: TargetField, digits: int) -> Value:
    """Round to what the field keeps; -0.0 becomes 0.0."""
    number = float(cell)
    if not math.isfinite(number):
        raise DataError(f"A score has {value} = {number}, expected a finite number or null. Score again.")
    if field.kind == "integer":
        return round(number)
    rounded = round(number, digits) + 0.0
    if SCORE_VALUES[value] == "integer":
        rounded = int(rounded)
    return str(rounded) if field.kind == "text" else rounded


def _format_time(cell: Any, field: TargetField) -> str:
    """Time as plain text, UTC."""
    text = pd.Timestamp(cell).to_pydatetime().isoformat(sep=" ")
    if field.kind == "date":
        return text[:10]
    return text[:19] if field.decimals == 0 else text


def _join_reasons(cell: Any, language: str) -> str:
    """Phrases of the reasons in one language."""
    reasons: Sequence[Mapping[str, Any]] = json.loads(cell) if isinstance(cell, str) else cell
    return "; ".join(str(reason[language]) for reason in reasons if reason.get(language))


def _cut(text: str, field: TargetField) -> str:
    """Text that fits the field, with an ellipsis if something had to go."""
    if field.length is None or len(text) <= field.length:
        return text
    return text[: field.length - 1] + "…" if field.length else ""
