"""From a spine to a feature frame: the same function for training, scoring and exploring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ibis
import pandas as pd

from features.engine import Database, open_database
from features.errors import DataError
from features.family import find_families
from features.group import (
    AS_OF_LOCAL,
    DerivedGroup,
    Entity,
    Feature,
    FeatureGroup,
    FeatureInfo,
    Group,
    PooledGroup,
)
from features.plan import Pass, plan_passes
from features.pooled import pooled_features
from features.tables import CrmTables
from features.view import as_of_view

SPINE_KEY = ["entity_id", "as_of"]


@dataclass(frozen=True)
class FeatureFrame:
    """Features of all snapshots.

    `frame` has entity_id, as_of and one float64 or text column per feature, sorted by
    (entity_id, as_of); `infos` describes the columns; `skipped` says which groups or features
    were left out and why.
    """

    frame: pd.DataFrame
    infos: tuple[FeatureInfo, ...]
    skipped: Mapping[str, str]

    @property
    def columns(self) -> list[str]:
        """Names of the features."""
        return [info.name for info in self.infos]


@dataclass(frozen=True)
class _Part:
    """Features that come out of one pass: an expression keyed by `row`, and what fills its gaps."""

    name: str
    expression: Any
    infos: Sequence[FeatureInfo]
    empty: Mapping[str, float | str | None] = field(default_factory=dict)
    by: str | None = None


def build_features(tables: CrmTables, spine: pd.DataFrame, catalog: Sequence[Group], entity: Entity) -> FeatureFrame:
    """Compute every feature of every snapshot, as known at its `as_of`.

    Only rows with `known_at < as_of` are seen; windows look back `[as_of - window, as_of)`.

    Parameters
    ----------
    tables : CrmTables
    spine : DataFrame
        entity_id, as_of, customer_id; one row per snapshot.
    catalog : sequence of feature groups
    entity : {"customers", "deals"}
        What entity_id identifies.

    Returns
    -------
    FeatureFrame
        One row per row of the spine.

    Raises
    ------
    DataError
        If the spine has duplicates, or a group uses a column or window in a way it cannot.

    """
    passes, skipped = plan_passes(tables, catalog, entity)
    with open_database(tables) as database:
        spine_rows = database.add("spine", _numbered(spine, entity, tables.time_zone))
        families = find_families(database, spine_rows) if any(one.by == "parent_id" for one in passes) else None
        parts = [_reduce(database, spine_rows, families, one) for one in passes]
        parts += [
            _Part(f"pooled_{group.name}", *pooled_features(database, spine_rows, group))
            for group in catalog
            if isinstance(group, PooledGroup) and group.name not in skipped
        ]
        infos = [info for part in parts for info in part.infos]
        _check_names(infos)
        snapshots = _join(database, spine_rows, parts)
        for group in catalog:
            if isinstance(group, DerivedGroup):
                snapshots = _derive(snapshots, group, infos, skipped)
        _check_names(infos)
        order = {group.name: place for place, group in enumerate(catalog)}
        infos.sort(key=lambda info: order[info.group])
        frame = database.frame(snapshots.select(*SPINE_KEY, *(info.name for info in infos)).order_by(SPINE_KEY))
    return FeatureFrame(frame, tuple(infos), skipped)


def _numbered(spine: pd.DataFrame, entity: Entity, zone: str) -> pd.DataFrame:
    """Return the spine with a row number, the keys that groups join by, and `as_of` in local time."""
    if spine.duplicated(SPINE_KEY).any():
        twice = spine.loc[spine.duplicated(SPINE_KEY), "entity_id"].head(5).tolist()
        raise DataError(f"Spine: {twice} appear twice at one as_of. Keep one row per (entity_id, as_of).")
    rows = pd.DataFrame(
        {
            "row": range(len(spine)),
            "entity_id": spine["entity_id"].astype("str"),
            "as_of": spine["as_of"].astype("datetime64[us]"),
            "customer_id": spine["customer_id"].astype("str"),
        }
    )
    local = rows["as_of"].dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
    rows[AS_OF_LOCAL] = local.astype("datetime64[us]")
    if entity == "deals":
        rows["deal_id"] = rows["entity_id"]
    return rows


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


def _reduce(database: Database, spine: Any, families: tuple[Any, Any] | None, one: Pass) -> _Part:
    """Run one pass over one table: all its features at once."""
    whose = families[1] if families and one.by == "parent_id" else spine
    view = as_of_view(
        database, whose, one.table, one.by, one.windows, one.within, history=one.history, wanted=one.wanted
    )
    values, infos, empty = {}, [], {}
    for group in one.groups:
        for name, feature in one.features(group, view).items():
            values[name] = _plain(name, feature.value)
            infos.append(_info(name, feature, group))
            empty[name] = feature.empty
    reduced = view.group_by("row").agg(**values)
    if families and one.by == "parent_id":
        of_families = database.keep(f"{one.name}_families", reduced.rename(family_row="row"))
        reduced = families[0].join(of_families, "family_row").drop("family_row")
    return _Part(one.name, reduced, infos, empty, "customer_id" if one.by == "parent_id" else one.by)


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
    )


def _join(database: Database, spine: Any, parts: Sequence[_Part]) -> Any:
    """Put the parts beside the snapshots: without rows the empty value, without the key null."""
    joined = spine
    for part in parts:
        kept = database.keep(part.name, part.expression)
        joined = joined.left_join(kept, spine.row == kept.row, rname=f"{{name}}_{part.name}")
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


def _derive(snapshots: Any, group: DerivedGroup, infos: list[FeatureInfo], skipped: dict[str, str]) -> Any:
    """Add row-wise features, when all they need is there."""
    built = {info.name for info in infos}
    absent = [name for name in group.needs if name not in built]
    if absent:
        skipped[group.name] = f"feature '{absent[0]}' is not there"
        return snapshots
    values = {}
    for name, feature in group.function(snapshots).items():
        value = _plain(name, feature.value)
        values[name] = value if feature.empty is None else value.fill_null(feature.empty)
        infos.append(_info(name, feature, group))
    return snapshots.mutate(**values)
