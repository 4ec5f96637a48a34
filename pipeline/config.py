"""The configuration of one deployment: one YAML file, complete and strict.

Unknown, missing and mistyped keys are errors that name the nearest key. Secrets are never in the
file: a key that ends in `_env` holds the name of an environment variable.
"""

import difflib
import os
import re
from datetime import UTC, date, datetime
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from features.tables import TABLES
from pipeline.errors import ConfigError


def _check_time_zone(name: str) -> str:
    try:
        is_named = ZoneInfo(name).key != "localtime"  # which differs between machines
    except (KeyError, ValueError, OSError):
        is_named = False
    if not is_named:
        raise ValueError(f"'{name}' is not a time zone, expected a name such as 'Europe/Berlin' or 'UTC'")
    return name


def _check_environment_name(name: str) -> str:
    """Refuse a value where the name of a variable belongs; it may be a secret, so it is not shown."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(
            "this key names an environment variable and holds something else (not shown, it may be a secret). "
            "Put the value into the environment and its name here, such as CRM_URL"
        )
    return name


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


EnvironmentName = Annotated[str, AfterValidator(_check_environment_name)]
Moment = Annotated[datetime, AfterValidator(_to_utc)]


class Section(BaseModel):
    """A part of the config: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Section):
    """Where the CRM's tables are read."""

    adapter: Literal["files", "sql"]
    folder_env: EnvironmentName | None = Field(
        None, description="files: environment variable that holds the data folder"
    )
    folder: Path | None = Field(None, description="files: the data folder, when it is no secret and fixed")
    url_env: EnvironmentName | None = Field(None, description="sql: environment variable that holds the SQLAlchemy URL")
    sqlite: Path | None = Field(None, description="sql: path of a SQLite file, used when url_env is not set")
    data_end: Moment | None = Field(None, description="the source's 'now' (UTC), required for files")
    data_end_select: str | None = Field(None, description="sql: a SELECT that returns the source's 'now' in UTC")
    orphan_share: float = Field(0.05, ge=0, le=1, description="share of rows with an unknown key that is tolerated")

    @model_validator(mode="after")
    def _check_place(self) -> "Source":
        if self.adapter == "files" and not (self.folder or self.folder_env):
            raise ValueError("adapter 'files' needs folder or folder_env")
        if self.adapter == "files" and self.data_end is None:
            raise ValueError("adapter 'files' needs data_end, the moment at which the files were written (UTC)")
        if self.adapter == "sql" and not (self.sqlite or self.url_env):
            raise ValueError("adapter 'sql' needs sqlite or url_env")
        return self


class TableMapping(Section):
    """One canonical table: the SELECT that delivers it and the clocks of its rows."""

    select: str
    known_at: str | None = Field(None, description="the column that says when a row became known; null: its own time")
    static: tuple[str, ...] = Field((), description="columns that are true since creation and never change")
    tracked: tuple[str, ...] = Field((), description="columns whose history is in attribute_changes")
    history_since: dict[str, date] = Field({}, description="tracked column: before this day its value is unknown")
    revealed: dict[str, str] = Field({}, description="column: the time column that says when it was filled")
    late_rows: Literal["stop", "drop"] = Field("stop", description="rows that are known before they occurred")


def _check_history(name: str, table: TableMapping, has_changes: bool) -> None:
    """Check what a table says about the history of its columns."""
    spec = TABLES[name]
    if (table.static or table.tracked) and not spec.is_entity:
        raise ValueError(f"tables.{name} has static or tracked, which only customers and deals have. Remove it")
    if table.tracked and not has_changes:
        raise ValueError(
            f"tables.{name}.tracked needs tables.attribute_changes, the CRM's field history. "
            "Add that table, or leave these columns out"
        )
    for column in ("customer_id", "deal_id"):
        if column in (*table.tracked, *table.revealed):
            raise ValueError(
                f"tables.{name}: '{column}' joins tables, so it cannot be tracked or revealed. Leave it out there, "
                "and if it is filled later, deliver it under another name"
            )
    dated = {spec.key, spec.time, *spec.revealed, *table.revealed, *table.revealed.values()}
    for column in (*table.static, *table.tracked):
        if column in table.static and column in table.tracked:
            raise ValueError(f"tables.{name}: column '{column}' is both static and tracked. Choose one")
        if column in dated:
            raise ValueError(
                f"tables.{name}: column '{column}' is static or tracked, but it is the key, the time, or filled "
                "later. Remove it there"
            )
    for column in table.history_since:
        if column not in table.tracked:
            raise ValueError(f"tables.{name}.history_since names '{column}', which is not tracked. Add it to tracked")


class Spine(Section):
    """At which moments entities are looked at, for training."""

    grid: Literal["month", "week"] | None = None
    start: date | None = Field(None, description="no moment before this day; default: when the data begins")
    ages_days: tuple[int, ...] = Field((), description="days since an entity began; 0 is its birth")


class Target(Section):
    """What is predicted."""

    kind: Literal["conversion", "churn"]
    by: Literal["orders"] | None = Field(None, description="churn: what counts as staying")
    lookback_days: int | None = Field(None, gt=0, description="churn: an order within, null = ever")
    horizons_days: tuple[int, ...] = Field(min_length=1, max_length=1, description="days that a label looks forward")
    settle_days: int | None = Field(None, ge=0, description="default: the p95 lateness of the outcome")
    spine: Spine
    test_as_of: date | None = Field(None, description="pinned test block; default: the newest ripe one")
    scorecard: Path | None = None

    @model_validator(mode="after")
    def _check_kind(self) -> "Target":
        if self.kind == "churn" and self.by is None:
            raise ValueError("kind 'churn' needs by: orders")
        if self.spine.grid is None and not self.spine.ages_days:
            raise ValueError("spine needs grid, ages_days, or both")
        return self


class FieldMap(Section):
    """The CRM table and fields that the scores of one target are written to."""

    target: str = Field(description="the table of the CRM")
    key: str = Field(description="its column with the id of the entity")
    fields: dict[str, str] = Field(
        description="CRM field: probability | points | grade | reasons_en | reasons_zh | ..."
    )
    decimals: int = Field(4, ge=0, le=12, description="numbers are rounded to this before diff, write and ledger")


class WriteBack(Section):
    """Where scores go."""

    adapter: Literal["sql"] = "sql"
    url_env: EnvironmentName | None = None
    sqlite: Path | None = None
    batch_rows: int = Field(1000, ge=1)
    insert_missing: bool = Field(False, description="add rows the CRM table lacks (a table of our own)")
    tables: dict[str, FieldMap]

    @model_validator(mode="after")
    def _check_place(self) -> "WriteBack":
        if not (self.sqlite or self.url_env):
            raise ValueError("write_back needs sqlite or url_env")
        return self


class MlflowPlace(Section):
    """Where model versions are tracked; default: SQLite under the state folder."""

    tracking_uri_env: EnvironmentName | None = None
    experiment: str | None = None


class Config(Section):
    """One deployment."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    state: Path = Path(".leadsieve")
    time_zone: Annotated[str, AfterValidator(_check_time_zone)] = "UTC"
    currency: str = Field("EUR", pattern=r"^[A-Za-z]{3}$")
    stages: tuple[str, ...] = Field((), description="the order of deal stages")
    seed: int = 0
    source: Source
    tables: dict[str, TableMapping]
    feature_modules: tuple[Path, ...] = Field((), description="Python files with feature groups of your own")
    targets: dict[str, Target]
    write_back: WriteBack | None = None
    mlflow: MlflowPlace = MlflowPlace()

    @model_validator(mode="after")
    def _check_tables(self) -> "Config":
        for name in self.tables:
            if name not in TABLES:
                near = difflib.get_close_matches(name, TABLES, n=1)
                hint = f"Did you mean '{near[0]}'?" if near else f"Known tables: {', '.join(TABLES)}."
                raise ValueError(f"unknown table '{name}' in tables. {hint}")
            _check_history(name, self.tables[name], "attribute_changes" in self.tables)
        if not {"customers", "deals"} & set(self.tables):
            raise ValueError("tables needs 'customers' or 'deals'")
        return self

    @property
    def folder(self) -> Path:
        """State folder of this deployment: everything local lives below it."""
        return self.state / self.name


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
        return f"{path}: {message.rstrip('.')}{f' (in {full})' if full else ''}."
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
