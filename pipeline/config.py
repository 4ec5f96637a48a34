"""Load the configuration of one deployment: one YAML file, complete and strict.

Unknown, missing and mistyped keys are errors that name the nearest key. Secrets are never in the
file: a key that ends in `_env` holds the name of an environment variable.
"""

import difflib
import os
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import ValidationError

from pipeline.config_schema import Config, TableMapping
from pipeline.config_section import Section
from pipeline.config_write_back import FieldMap, WriteBack
from pipeline.errors import ConfigError

__all__ = ["Config", "FieldMap", "TableMapping", "WriteBack", "load_config", "read_environment"]


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that occurs twice is an error; the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping whose keys differ."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                problem = f"key '{key}' occurs twice"
                raise yaml.constructor.ConstructorError(None, None, problem, node.value[place][0].start_mark)
        return super().construct_mapping(node, deep)


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """Return the keys allowed at a place of the config, for 'did you mean'."""
    section: Any = Config
    for step in location:
        if isinstance(section, type) and issubclass(section, Section):
            section = section.model_fields[str(step)].annotation if step in section.model_fields else None
            if get_origin(section) in (Union, UnionType):
                section = next(part for part in get_args(section) if part is not type(None))
        else:  # a mapping of names to sections
            section = get_args(section)[-1] if get_args(section) else None
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, Section) else []


def _describe(path: Path, error: ValidationError) -> str:
    """One sentence for the first problem of a config; a misspelt key comes before the key that is missing for it."""
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    location = first["loc"]
    place = ".".join(str(part) for part in location[:-1])
    where = f" in {place}" if place else ""
    key = location[-1] if location else ""
    if first["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = difflib.get_close_matches(str(key), known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else f" Known keys: {', '.join(known)}."
        return f"{path}: unknown key '{key}'{where}.{hint}"
    if first["type"] == "missing":
        return f"{path}: key '{key}' is missing{where}. Add it."
    message = first["msg"].removeprefix("Value error, ")
    full = ".".join(map(str, location))
    if first["type"] == "value_error":
        end = "" if message.endswith("?") and not full else "."
        return f"{path}: {message.rstrip('.')}{f' (in {full})' if full else ''}{end}"
    return f"{path}: key '{full}' is {first['input']!r}: {message}."


def load_config(path: Path) -> Config:
    """Read and check a config file.

    Raises
    ------
    ConfigError
        With one sentence that names the file, the key and the nearest known key.

    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Pass an existing file with --config.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not text in UTF-8. Pass a YAML file with --config.") from None
    try:
        values = yaml.load(text, _StrictLoader)  # noqa: S506  (a safe loader)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{path}: not valid YAML: {problem}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, got {type(values).__name__}.")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_describe(path, error)) from None


def read_environment(name: str, purpose: str) -> str:
    """Value of an environment variable that the config names.

    Raises
    ------
    ConfigError
        If it is not set; the text names the variable and what it is for, never a value.

    """
    value = os.environ.get(name)
    if not value:
        raise ConfigError(f"Environment variable {name} is not set. Set it to {purpose}.")
    return value
