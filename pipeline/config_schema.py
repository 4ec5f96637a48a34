"""The sections of a deployment's config: what each key means and which values it takes."""

import difflib
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from features.tables import TABLES, Engine
from pipeline.config_grading import Grading
from pipeline.config_section import Section
from pipeline.config_source import Source
from pipeline.config_write_back import EnvironmentName, WriteBack


def _check_time_zone(name: str) -> str:
    try:
        is_named = ZoneInfo(name).key != "localtime"  # which differs between machines
    except (KeyError, ValueError, OSError):
        is_named = False
    if not is_named:
        raise ValueError(f"'{name}' is not a time zone, expected a name such as 'Europe/Berlin' or 'UTC'")
    return name


class TableMapping(Section):
    """One canonical table: the SELECT that delivers it and the clocks of its rows."""

    select: str
    known_at: str | None = Field(None, description="a column, `first_seen`, or `time`: when a row became known")
    modified_at: str | None = Field(None, description="column that says when a row last changed: read incrementally")
    sensitive: tuple[str, ...] = Field((), description="columns that never enter a model or a log")
    static: tuple[str, ...] = Field((), description="columns that are true since creation and never change")
    tracked: tuple[str, ...] = Field((), description="columns whose history is in attribute_changes")
    remembered: tuple[str, ...] = Field((), description="columns whose history we keep by comparing extracts")
    history_since: dict[str, date] = Field({}, description="tracked column: before this day its value is unknown")
    revealed: dict[str, str] = Field({}, description="column: the time column that says when it was filled")
    late_rows: Literal["stop", "drop"] = Field("stop", description="rows that are known before they occurred")


def _check_history(name: str, table: TableMapping, has_changes: bool) -> None:
    """Check what a table says about the history of its columns."""
    spec = TABLES[name]
    if (table.static or table.tracked or table.remembered) and not spec.is_entity:
        raise ValueError(
            f"tables.{name} has static, tracked or remembered, which only customers, deals and subscriptions have. "
            "Remove it"
        )
    if table.tracked and not has_changes:
        raise ValueError(
            f"tables.{name}.tracked needs tables.attribute_changes, the CRM's field history. "
            "Add that table, or leave these columns out"
        )
    for column in ("customer_id", "deal_id"):
        if column in (*table.tracked, *table.remembered, *table.revealed):
            raise ValueError(
                f"tables.{name}: '{column}' joins tables, so it cannot be tracked, remembered or revealed. "
                "Leave it out there, and if it is filled later, deliver it under another name"
            )
    dated = {spec.key, spec.time, *spec.revealed, *table.revealed, *table.revealed.values()}
    declared = (*table.static, *table.tracked, *table.remembered)
    for column in declared:
        if declared.count(column) > 1:
            raise ValueError(f"tables.{name}: column '{column}' is static, tracked or remembered twice. Choose one")
        if column in dated:
            raise ValueError(
                f"tables.{name}: column '{column}' is static, tracked or remembered, but it is the key, the time, "
                "or filled later. Remove it there"
            )
    for column in table.history_since:
        if column not in table.tracked:
            raise ValueError(f"tables.{name}.history_since names '{column}', which is not tracked. Add it to tracked")


_COMPUTED_FROM = {
    "customers": ("merged_into", "merged_at", "deleted_at"),
    "deals": ("outcome", "deleted_at"),
    "orders": ("quantity",),
    "subscriptions": ("deleted_at",),
}
"""Columns beyond keys, times and required ones that the extract or the labels are computed from."""


def _check_sensitive(name: str, table: TableMapping) -> None:
    """Check that nothing is computed from a column that nobody may see."""
    spec = TABLES[name]
    declared = {
        "static": table.static,
        "tracked": table.tracked,
        "remembered": table.remembered,
        "revealed": (*table.revealed, *table.revealed.values()),
    }
    needed = {*spec.required, *spec.references, *spec.revealed.values(), spec.key, *_COMPUTED_FROM.get(name, ())}
    needed |= {"known_at", "known_until", "currency", "customer_id", "deal_id", table.known_at, table.modified_at}
    for column in table.sensitive:
        if table.sensitive.count(column) > 1:
            raise ValueError(f"tables.{name}: column '{column}' is sensitive twice. Name it once")
        for key, columns in declared.items():
            if column in columns:
                raise ValueError(f"tables.{name}: column '{column}' is sensitive and {key}. Choose one")
        if column in needed or column.endswith("_known_at"):
            raise ValueError(
                f"tables.{name}: column '{column}' cannot be sensitive: tables are joined, dated or labelled by it. "
                "Remove it from sensitive, and if its value is personal, deliver a number of its own instead"
            )


class Spine(Section):
    """At which moments entities are looked at, for training."""

    grid: Literal["month", "week"] | None = None
    start: date | None = Field(None, description="no moment before this day; default: when the data begins")
    ages_days: tuple[int, ...] = Field((), description="days since an entity began; 0 is its birth")


class Profit(Section):
    """What a contact costs and brings, for the profit curve of the evaluation report and the replay."""

    value_per_event: float = Field(
        gt=0, description="what contacting a row with the event brings on average: margin, or what is kept"
    )
    cost_per_contact: float = Field(gt=0, description="what contacting any row costs")


class Target(Section):
    """What is predicted."""

    kind: Literal["conversion", "churn", "value"]
    by: Literal["orders", "subscription"] | None = Field(None, description="churn: what counts as staying")
    lookback_days: int | None = Field(None, gt=0, description="churn by orders, value: an order within, null = ever")
    horizons_days: tuple[PositiveInt, ...] = Field(
        min_length=1, description="days that a label looks forward; the first is graded and written back"
    )
    time_to_event: bool = Field(False, description="estimate the days until the event from several horizons")
    settle_days: int | None = Field(None, ge=0, description="default: the p95 lateness of the outcome")
    spine: Spine
    test_as_of: date | None = Field(None, description="pinned test block; default: the newest ripe one")
    scorecard: Path | None = None
    scorecard_presets: tuple[str, ...] = Field((), description="presets of the card: a stage, an industry, or both")
    profit: Profit | None = Field(None, description="what a contact costs and brings, in the deployment's currency")
    grading: Grading = Grading()
    max_unseen_share: float = Field(
        0.2, ge=0, le=1, description="share of a column's values that may be new categories, beyond what training met"
    )

    @model_validator(mode="after")
    def _check_kind(self) -> "Target":
        if self.kind == "churn" and self.by is None:
            raise ValueError("kind 'churn' needs by: orders or by: subscription")
        if self.by == "subscription" and self.lookback_days is not None:
            raise ValueError("lookback_days is for churn by: orders. Remove it: subscribers are those with a live one")
        if self.kind == "value" and len(self.horizons_days) > 1:
            raise ValueError("kind 'value' takes one of horizons_days. Name the others in targets of their own")
        if len(set(self.horizons_days)) < len(self.horizons_days):
            raise ValueError("horizons_days names a horizon twice. Name each once, the primary one first")
        if self.time_to_event and len(self.horizons_days) < 2:
            raise ValueError("time_to_event needs two horizons_days or more, such as [90, 30]. Add one, or remove it")
        if self.spine.grid is None and not self.spine.ages_days:
            raise ValueError("spine needs grid, ages_days, or both")
        self.grading.check_target(self.kind, self.profit is not None)
        if self.scorecard_presets and self.scorecard is None:
            raise ValueError("scorecard_presets change a card, and there is none. Add scorecard, or remove them")
        return self


class MlflowPlace(Section):
    """Where model versions are tracked; default: SQLite under the state folder."""

    tracking_uri_env: EnvironmentName | None = None
    experiment: str | None = None


class Capacity(Section):
    """How many people the sellers can contact."""

    contacts_per_week: int | None = Field(default=None, ge=0, description="of each target; null = not known")


class Retrain(Section):
    """When models are trained again, on which rows, and what a new version must keep to before it goes live."""

    every_days: int | None = Field(
        default=30, ge=1, description="days of data since the last training; null = no schedule"
    )
    min_ripe_labels: int | None = Field(
        default=None, ge=1, description="labels that became ripe since the last training"
    )
    max_expected_loss: float | None = Field(
        default=None, gt=0, description="log loss that the live model may be expected to have; above it is drift"
    )
    window_days: int | None = Field(
        default=None, ge=1, description="train on the newest ripe rows of so many days; null = all"
    )
    min_gain: float = Field(
        default=0.01, ge=0, description="share of the live version's log loss that a new one must save"
    )
    slices: tuple[str, ...] | None = Field(
        default=None,
        description="what the gate cuts the rows by: industry, region, employees, ...; null = all there is",
    )
    slice_rows: int = Field(default=200, ge=20, description="rows that a part needs to be looked at")
    slice_floor: float = Field(
        default=0.05, ge=0, description="share of the live version's log loss that a new one may lose in a part"
    )
    max_movers_share: float | None = Field(
        default=None, ge=0, le=1, description="share of those scored that may change grade; null = any"
    )


class Report(Section):
    """What the pages of `leadsieve report` show."""

    show_names: bool = Field(default=True, description="names of customers, from the stored tables; false: ids only")


class ValueClasses(Section):
    """How customers are classed by what they bring in, and what they are expected to."""

    shares: tuple[float, float] = Field(
        default=(0.8, 0.95), description="shares of the whole value that A, and A and B, hold"
    )
    horizon_days: PositiveInt = Field(default=365, description="days that the lifetime value looks forward")
    annual_discount_rate: float = Field(
        default=0.1, ge=0, description="0.1 = what comes in a year is worth 1 / 1.1 of today's"
    )
    margin: float | None = Field(
        default=None, le=1, description="share of an amount that is profit where its cost is unknown; null = not known"
    )
    potential_flags: tuple[str, ...] = Field(
        default=("cultivate", "cultivate_group"), description="flags of a card that say buying potential is high"
    )
    strategic_flags: tuple[str, ...] = Field(
        default=("strategic",), description="flags of a card that say a customer is a key one"
    )

    @model_validator(mode="after")
    def _check_shares(self) -> "ValueClasses":
        if not 0 < self.shares[0] < self.shares[1] <= 1:
            raise ValueError(f"shares must rise above 0 and not pass 1, got {list(self.shares)}. Such as [0.8, 0.95]")
        return self


def _check_grading(name: str, target: Target, config: "Config") -> None:
    """Check what the grading of a target takes from the rest of the config."""
    grading = target.grading
    if grading.cut_by == "capacity" and not (grading.contacts_per_week or config.capacity.contacts_per_week):
        raise ValueError(
            f"targets.{name}.grading has cut-offs by capacity, and capacity.contacts_per_week is not known. Set it"
        )
    if grading.value_target is not None:
        other = config.targets.get(grading.value_target)
        if other is None or other.kind != "value":
            raise ValueError(
                f"targets.{name}.grading.value_target is '{grading.value_target}', which is no target of kind value. "
                "Name one"
            )
        if target.kind == "conversion":
            raise ValueError(
                f"targets.{name}.grading.value_target predicts what customers bring, and {name} is about deals. Use "
                "value_feature, such as the amount of the deal"
            )


class Config(Section):
    """One deployment."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    state: Path = Path(".leadsieve")
    time_zone: Annotated[str, AfterValidator(_check_time_zone)] = "UTC"
    currency: str = Field("EUR", pattern=r"^[A-Za-z]{3}$")
    stages: tuple[str, ...] = Field((), description="the order of deal stages")
    questions: tuple[str, ...] = Field((), description="questions of the assessments whose answers become features")
    seed: int = 0
    engine: Engine = Field("duckdb", description="what builds the features: DuckDB in this process, or Spark")
    source: Source
    tables: dict[str, TableMapping]
    feature_modules: tuple[Path, ...] = Field((), description="Python files with feature groups of your own")
    targets: dict[str, Target]
    write_back: WriteBack | None = None
    mlflow: MlflowPlace = MlflowPlace()
    capacity: Capacity = Capacity()
    retrain: Retrain = Retrain()
    value_classes: ValueClasses = ValueClasses()
    report: Report = Report()

    @model_validator(mode="after")
    def _check_tables(self) -> "Config":
        for name in self.tables:
            if name not in TABLES:
                near = difflib.get_close_matches(name, TABLES, n=1)
                hint = f"Did you mean '{near[0]}'?" if near else f"Known tables: {', '.join(TABLES)}."
                raise ValueError(f"unknown table '{name}' in tables. {hint}")
            _check_history(name, self.tables[name], "attribute_changes" in self.tables)
            _check_sensitive(name, self.tables[name])
        if not {"customers", "deals"} & set(self.tables):
            raise ValueError("tables needs 'customers' or 'deals'")
        self.source.check_changes({name: table.modified_at for name, table in self.tables.items()})
        for name, target in self.targets.items():
            _check_grading(name, target, self)
        return self

    @property
    def folder(self) -> Path:
        """State folder of this deployment: everything local lives below it."""
        return self.state / self.name
