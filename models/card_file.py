"""Reading a scorecard file: one sentence for the first mistake in it, with its place and the remedy."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from models.errors import ScorecardError
from models.nearest import nearest
from models.scorecard_schema import Card

Place = tuple[int | str, ...]
_PLAIN_WORDS = {
    "tuple_type": "expected a list. Put it in [ ], or on lines that begin with a dash",
    "dict_type": "expected a mapping of names to what they change. Write `name: {...}`",
    "model_type": "expected a mapping of keys to values. Write `{key: value, ...}`",
    "int_type": "expected a whole number. Write one without quotes and decimals",
    "float_type": "expected a number. Write one",
}
"""What the kinds of a file's parts are called by people who know YAML."""


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: the first one would silently not count."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                line = node.value[place][0].start_mark.line + 1
                raise yaml.YAMLError(f"key '{key}' stands twice in one mapping (line {line}). Remove one")
        return super().construct_mapping(node, deep)


def read_card_file(path: Path) -> Mapping[str, Any]:
    """Return what a scorecard file says, unchecked; ScorecardError if it is no mapping in YAML."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 (it is a safe loader)
    except OSError as error:
        raise ScorecardError(f"{path}: cannot be read ({error.strerror}). Give the path of a scorecard file.") from None
    except UnicodeDecodeError:
        raise ScorecardError(f"{path}: is not UTF-8 text. Save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise ScorecardError(f"{path}: not valid YAML: {' '.join(str(error).split()).rstrip('.')}.") from None
    if not isinstance(document, dict):
        raise ScorecardError(f"{path}: expected a mapping of keys to values, got {type(document).__name__}.")
    return document


def _plain(annotation: Any) -> Any:
    """Return what there is when it is not None."""
    kinds = get_args(annotation)
    return next(kind for kind in kinds if kind is not NoneType) if NoneType in kinds else annotation


def _allowed_keys(location: Place) -> list[str]:
    """Return the keys allowed at a place of a card."""
    section: Any = Card
    for step in location:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = _plain(section.model_fields[str(step)].annotation)
        else:  # an item of a list, or of a mapping of names to sections
            section = next(kind for kind in reversed(get_args(section)) if kind is not ...)
    return [field.alias or name for name, field in section.model_fields.items()]


def _place(document: Any, location: Place) -> str:
    """Name a place in words: criteria 'orders'.bands[2] (bands counted from 1)."""
    words = ""
    for step in location:
        if isinstance(step, int):
            document = document[step]
            name = document.get("id") if isinstance(document, dict) else None
            words += f" '{name}'" if name else f"[{step + 1}]"
        else:
            document = document.get(step) if isinstance(document, dict) else None
            words += f".{step}" if words else step
    return words


def describe_problem(path: Path, error: ValidationError, document: Mapping[str, Any], under: str = "") -> str:
    """One sentence for the first problem of a card; a misspelt key counts before the key it leaves missing.

    `under` are the presets under which the card has it.
    """
    first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    location, key = first["loc"], str(first["loc"][-1]) if first["loc"] else ""
    where = f" in {_place(document, location[:-1])}" if location[:-1] else ""
    start = f"{path}: {under + ': ' if under else ''}"
    if first["type"] == "extra_forbidden":
        return f"{start}unknown key '{key}'{where}. {nearest(key, _allowed_keys(location[:-1]), 'keys')}"
    if first["type"] == "missing":
        return f"{start}key '{key}' is missing{where}. Add it."
    if first["type"] == "value_error":
        message = first["msg"].removeprefix("Value error, ")
        end = f" (in {_place(document, location)})." if location else "" if message.endswith(("?", ".")) else "."
        return f"{start}{message}{end}"
    if first["type"] in _PLAIN_WORDS:
        return f"{start}{_place(document, location)} is {first['input']!r}, {_PLAIN_WORDS[first['type']]}."
    hint = " Put it in quotes" if first["type"] == "string_type" and isinstance(first["input"], int | float) else ""
    return f"{start}{_place(document, location)} is {first['input']!r}: {first['msg']}.{hint}".rstrip(".") + "."
