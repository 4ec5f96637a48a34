"""The statements that build a feature frame: written once for a catalog and the columns of the tables.

They do not depend on rows, so a nightly job, a notebook or a test that builds again runs them again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import ibis
import pandas as pd

from features.engine import Database, ibis_type
from features.errors import DataError
from features.family import find_families
from features.group import AS_OF_LOCAL, DerivedGroup, Entity, Feature, FeatureGroup, FeatureInfo, Group, PooledGroup
from features.plan import Pass, plan_passes
from features.pooled import pooled_features
from features.tables import CrmTables
from features.view import as_of_view

SPINE_KEY = ["entity_id", "as_of"]
SPINE = "spine"
"""Name of the table of snapshots: `row` from 0, SPINE_KEY, customer_id, AS_OF_LOCAL, and deal_id where deals are."""


@dataclass(frozen=True)
class Program:
    """What an engine has to run.

    `tables` are read; `steps` are names and statements whose rows are kept under the name, in order;
    `frame` gives the features, typed as `schema` says; `infos` describe the columns; `skipped` says
    what was left out and why.
    """

    tables: tuple[str, ...]
    steps: tuple[tuple[str, str], ...]
    frame: str
    schema: Any
    infos: tuple[FeatureInfo, ...]
    skipped: Mapping[str, str]

    def run(self, database: Database) -> pd.DataFrame:
        """Run it where the table `SPINE` is; rows in the order of SPINE_KEY."""
        for name in self.tables:
            database.table(name)
        for name, statement in self.steps:
            database.run(name, statement)
        return database.fetch(self.frame, self.schema)


def write_program(tables: CrmTables, catalog: Sequence[Group], entity: Entity, dialect: str) -> Program:
    """Write the statements for all features of a catalog.

    Raises
    ------
    DataError
        If a group uses a column or window in a way it cannot, or two features have one name.

    """
    stored = tuple(
        (name, tuple(one.columns.items()), tuple(one.revealed.items()), one.sensitive)
        for name, one in tables.tables.items()
    )
    return _write(_Shape(stored, tables.stages, tables.questions, tuple(catalog), entity, dialect, tables))


@dataclass(frozen=True)
class _Shape:
    """All that statements depend on."""

    stored: tuple[Any, ...]
    stages: tuple[str, ...]
    questions: tuple[str, ...]
    catalog: tuple[Group, ...]
    entity: Entity
    dialect: str
    tables: CrmTables = field(compare=False)


@dataclass(frozen=True)
class _Draft(Database):
    """Tables without rows: what is kept is written down."""

    used: dict[str, None] = field(default_factory=dict)
    steps: list[tuple[str, str]] = field(default_factory=list)
    language: str = "duckdb"

    def _stored(self, name: str) -> Any:
        self.used[name] = None
        columns = self.tables.tables[name].columns
        return ibis.table({column: ibis_type(kind) for column, kind in columns.items()}, name=f"stored_{name}")

    def keep(self, name: str, expression: Any) -> Any:
        self.steps.append((name, self.statement(expression)))
        return ibis.table(expression.schema(), name=name)

    def statement(self, expression: Any) -> str:
        return str(ibis.to_sql(expression, dialect=self.language, pretty=False))


@dataclass(frozen=True)
class _Part:
    """Features that come out of one pass: kept rows keyed by `row`, and what fills their gaps."""

    rows: Any
    infos: Sequence[FeatureInfo]
    empty: Mapping[str, float | str | None] = field(default_factory=dict)
    by: str | None = None


@lru_cache(maxsize=32)
def _write(shape: _Shape) -> Program:
    tables, catalog = shape.tables, shape.catalog
    passes, skipped = plan_passes(tables, catalog, shape.entity)
    draft = _Draft(None, tables, language=shape.dialect)
    spine = _spine(shape.entity)
    families = find_families(draft, spine) if any(one.by == "parent_id" for one in passes) else None
    parts = [_reduce(draft, spine, families, one) for one in passes]
    for group in catalog:
        if isinstance(group, PooledGroup) and group.name not in skipped:
            expression, described = pooled_features(draft, spine, group)
            parts.append(_Part(draft.keep(f"pooled_{group.name}", expression), described))
    infos = [info for part in parts for info in part.infos]
    _check_names(infos)
    snapshots = _join(spine, parts)
    values = {name: snapshots[name] for name in (AS_OF_LOCAL, *(info.name for info in infos))}
    for group in catalog:
        if isinstance(group, DerivedGroup):
            _derive(values, group, infos, skipped)
    _check_names(infos)
    order = {group.name: place for place, group in enumerate(catalog)}
    infos.sort(key=lambda info: order[info.group])
    frame = snapshots.select(*SPINE_KEY, **{info.name: values[info.name] for info in infos}).order_by(SPINE_KEY)
    return Program(tuple(draft.used), tuple(draft.steps), draft.statement(frame), frame.schema(), tuple(infos), skipped)


def _spine(entity: Entity) -> Any:
    columns = {
        "row": "int64",
        "entity_id": "string",
        "as_of": "timestamp(6)",
        "customer_id": "string",
        AS_OF_LOCAL: "timestamp(6)",
    }
    return ibis.table(columns | ({"deal_id": "string"} if entity == "deals" else {}), name=SPINE)


def _check_names(infos: Sequence[FeatureInfo]) -> None:
    """Check that names are unique and that phrases can be filled in."""
    seen: dict[str, str] = {}
    for info in infos:
        if info.name in seen:
            raise DataError(
                f"Feature '{info.name}' is in group '{seen[info.name]}' and in group '{info.group}'. Rename one."
            )
        seen[info.name] = info.group
        try:
            info.en.format(value=1.0 if info.kind == "number" else "x")
            info.zh.format(value=1.0 if info.kind == "number" else "x")
        except (LookupError, ValueError) as error:
            raise DataError(
                f"Feature '{info.name}' of group '{info.group}' has a phrase that cannot be filled in "
                f"({type(error).__name__}: {error}). Use {{value}}, and only that."
            ) from None


def _reduce(draft: _Draft, spine: Any, families: tuple[Any, Any] | None, one: Pass) -> _Part:
    """Run one pass over one table: all its features at once."""
    whose = families[1] if families and one.by == "parent_id" else spine
    view = as_of_view(draft, whose, one.table, one.by, one.windows, one.within, history=one.history, wanted=one.wanted)
    values, infos, empty = {}, [], {}
    for group in one.groups:
        for name, feature in one.features(group, view).items():
            values[name] = _plain(name, feature.value)
            infos.append(_info(name, feature, group))
            empty[name] = feature.empty
    reduced = view.group_by("row").agg(**values)
    if families is None or one.by != "parent_id":
        return _Part(draft.keep(one.name, reduced), infos, empty, one.by)
    of_families = draft.keep(f"{one.name}_families", reduced.rename(family_row="row"))
    rows = families[0].join(of_families, "family_row").drop("family_row")
    return _Part(draft.keep(one.name, rows), infos, empty, "customer_id")


def _plain(name: str, value: Any) -> Any:
    """Cast a feature to one of the two types that leave the engine."""
    kind = value.type()
    if kind.is_string():
        return value
    if kind.is_numeric() or kind.is_boolean():
        return value.cast("float64")
    raise DataError(f"Feature '{name}' is a {kind}. Make it a number or a text, for example days before as_of.")


def _info(name: str, feature: Feature, group: FeatureGroup | DerivedGroup) -> FeatureInfo:
    return FeatureInfo(
        name,
        "text" if feature.value.type().is_string() else "number",
        feature.unit,
        feature.en,
        feature.zh,
        group.name,
        group.description,
        feature.direction,
        feature.role,
    )


def _join(spine: Any, parts: Sequence[_Part]) -> Any:
    """Put the parts beside the snapshots: without rows the empty value, without the key null."""
    joined = spine
    for place, part in enumerate(parts):
        joined = joined.left_join(part.rows, spine.row == part.rows.row, rname=f"{{name}}_{place}")
    filled = {}
    for part in parts:
        for info in part.infos:
            value = joined[info.name]
            empty = part.empty.get(info.name)
            if empty is not None and part.by is not None:
                has_key = joined[part.by].notnull()
                value = ibis.ifelse(has_key, value.fill_null(empty), ibis.null(value.type()))
            filled[info.name] = value
    return joined.select(*SPINE_KEY, AS_OF_LOCAL, **filled)


class _Columns(dict[str, Any]):
    """What a derived group sees: the features it needs, as attributes or by name."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise DataError(
                f"A derived group reads feature '{name}', which is not among those it needs ({', '.join(self)}). "
                "Add it to `needs`."
            )
        return self[name]


def _derive(values: dict[str, Any], group: DerivedGroup, infos: list[FeatureInfo], skipped: dict[str, str]) -> None:
    """Add row-wise features to `values`, when all they need is there."""
    absent = [name for name in group.needs if name not in values]
    if absent:
        skipped[group.name] = f"feature '{absent[0]}' is not there"
        return
    needed = _Columns({name: values[name] for name in (AS_OF_LOCAL, *group.needs)})
    for name, feature in group.function(needed).items():
        value = _plain(name, feature.value)
        infos.append(_info(name, feature, group))
        values[name] = value if feature.empty is None else value.fill_null(feature.empty)
