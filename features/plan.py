"""Which feature groups run in which pass over which table, and which cannot run here at all."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.operations as ops
from ibis.common.exceptions import IbisError

from features.engine import ibis_type
from features.errors import DataError
from features.group import DerivedGroup, Entity, FeatureGroup, Group, PooledGroup, window_start
from features.tables import TABLES, CrmTables, StoredTable
from features.view import BOOKKEEPING, FUTURE, PREVIOUS, STAGE_RANK, view_schema


@dataclass(frozen=True)
class Pass:
    """One range join of the snapshots with one table, for all groups that read it by the same key.

    `names` come out; `within` is the widest window in days when no group looks
    further back.
    """

    table: str
    by: str
    groups: tuple[FeatureGroup, ...]
    names: frozenset[str]

    @property
    def windows(self) -> tuple[int, ...]:
        """All windows of the groups, in days."""
        return tuple(sorted({days for group in self.groups for days in group.windows}))

    @property
    def within(self) -> int | None:
        """The widest window, if every group has windows."""
        return max(self.windows) if all(group.windows for group in self.groups) else None


def plan_passes(tables: CrmTables, catalog: Iterable[Group], entity: Entity) -> tuple[list[Pass], dict[str, str]]:
    """Sort the groups into passes, one per (table, key).

    Returns
    -------
    list of Pass
    dict of group or feature to the reason why this deployment does not have it

    """
    check_catalog(catalog)
    skipped: dict[str, str] = {}
    buckets: dict[tuple[str, str], list[FeatureGroup]] = {}
    for group in catalog:
        if isinstance(group, PooledGroup):
            reason = _cannot_pool(tables, group, entity)
        elif isinstance(group, FeatureGroup):
            reason = _cannot_join(tables, group, entity)
            if reason is None:
                buckets.setdefault((group.table, group.by), []).append(group)
        else:
            continue
        if reason is not None:
            skipped[group.name] = reason
    passes = [
        _make_pass(tables.tables[table], groups, skipped, tables.stages) for (table, _), groups in buckets.items()
    ]
    return [one for one in passes if one.names], skipped


def check_catalog(catalog: Iterable[Group]) -> None:
    """Check that every group names a canonical table.

    Raises
    ------
    DataError
        With the nearest known name.

    """
    for group in catalog:
        if not isinstance(group, DerivedGroup) and group.table not in TABLES:
            near = difflib.get_close_matches(group.table, TABLES, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Known tables: {', '.join(TABLES)}."
            raise DataError(f"Feature group '{group.name}' reads table '{group.table}', which does not exist. {hint}")


def _cannot_join(tables: CrmTables, group: FeatureGroup, entity: Entity) -> str | None:
    if group.by == "deal_id" and entity != "deals":
        return "it describes deals"
    if group.table not in tables.tables:
        return f"table '{group.table}' is not mapped"
    if group.by not in tables.tables[group.table].columns:
        return f"table '{group.table}' has no column '{group.by}'"
    return None


def _cannot_pool(tables: CrmTables, group: PooledGroup, entity: Entity) -> str | None:
    if group.table != entity:
        return f"it describes {group.table}"
    stored = tables.tables[group.table]
    if group.by not in stored.columns:
        return f"table '{group.table}' has no column '{group.by}'"
    if group.by in FUTURE:
        raise _not_for_features(stored, group, group.by)
    used = {group.by}.union(*_used_columns(stored, group).values())
    return _absent(stored, used & set(stored.sensitive)) if used & set(stored.sensitive) else None


def _make_pass(
    stored: StoredTable, groups: Sequence[FeatureGroup], skipped: dict[str, str], stages: tuple[str, ...]
) -> Pass:
    names: set[str] = set()
    for group in groups:
        own = set(stored.columns) - set(stored.sensitive)
        present = {*own, *BOOKKEEPING, PREVIOUS, *group.optional, *map(window_start, group.windows)}
        if stages:
            present.add(STAGE_RANK)
        for name, used in _used_columns(stored, group).items():
            if used <= present:
                names.add(name)
            else:
                skipped[name] = _absent(stored, used - present)
    return Pass(stored.name, groups[0].by, tuple(groups), frozenset(names))


def _used_columns(stored: StoredTable, group: FeatureGroup | PooledGroup) -> dict[str, set[str]]:
    """Columns each feature of a group reads, found by calling it on an empty view."""
    view: Any = ibis.table(view_schema(stored, _windows(group)), name="view")
    try:
        values = _values(group, view)
    except (AttributeError, IbisError) as error:
        raise _unreadable(stored, group, error) from None
    used = {name: _fields(value, view) for name, (value, _) in values.items()}
    for name, (_, days) in values.items():
        if days is not None and window_start(days) not in used[name]:
            raise DataError(
                f"Feature '{name}' of group '{group.name}' does not use its window of {days} days. "
                "Put window.mask into its `where=`, or make a group without windows."
            )
    return used


def _windows(group: FeatureGroup | PooledGroup) -> tuple[int, ...]:
    return group.windows if isinstance(group, FeatureGroup) else ()


def _values(group: FeatureGroup | PooledGroup, view: Any) -> dict[str, tuple[Any, int | None]]:
    """Expressions of a group over a view, by feature, each with its window in days."""
    if isinstance(group, PooledGroup):
        return {name: (member.hit, None) for name, member in group.function(view).items()}
    features = group.features(view, TABLES[group.table].time)
    return {name: (feature.value, days) for name, (feature, days) in features.items()}


def _fields(value: Any, view: Any) -> set[str]:
    return {field.name for field in value.op().find(ops.Field) if field.rel == view.op()}


def _unreadable(stored: StoredTable, group: FeatureGroup | PooledGroup, error: Exception) -> DataError:
    """Say why a group cannot be called: it reads what no feature may see, or what is not there."""
    hidden = dict.fromkeys(FUTURE, "timestamp(6)") | {c: ibis_type(kind) for c, kind in stored.columns.items()}
    everything: Any = ibis.table(view_schema(stored, _windows(group)) | hidden, name="view")
    try:
        used = {column for value, _ in _values(group, everything).values() for column in _fields(value, everything)}
    except (AttributeError, IbisError):
        used = set()
    for column in sorted(used & (FUTURE | set(stored.sensitive))):
        return _not_for_features(stored, group, column)
    return DataError(f"Feature group '{group.name}': {error}. Use a column that table '{stored.name}' has.")


def _not_for_features(stored: StoredTable, group: FeatureGroup | PooledGroup, column: str) -> DataError:
    why = "it tells what became of the row later" if column in FUTURE else "it is declared sensitive"
    return DataError(
        f"Feature group '{group.name}' reads column '{column}' of table '{stored.name}', which no feature may see: "
        f"{why}. Leave it out."
    )


def _absent(stored: StoredTable, columns: set[str]) -> str:
    """Why features that use these columns are left out."""
    column = min(columns)
    if column in stored.sensitive:
        return f"column '{column}' of table '{stored.name}' is sensitive"
    return f"table '{stored.name}' has no column '{column}'"


def feature_names(catalog: Iterable[Group], tables: CrmTables) -> set[str]:
    """Names of all features the catalog could give, also those this deployment lacks the tables for."""
    names: set[str] = set()
    for group in catalog:
        if isinstance(group, DerivedGroup):
            view: Any = ibis.table(dict.fromkeys(group.needs, "float64"), name="features")
            names |= set(group.function(view))
            continue
        stored = tables.tables.get(group.table) or StoredTable(group.table, "", 0, 0, "", {}, {})
        windows = group.windows if isinstance(group, FeatureGroup) else ()
        view = ibis.table(view_schema(stored, windows), name="view")
        if isinstance(group, FeatureGroup):
            names |= set(group.features(view, TABLES[group.table].time))
        else:
            pooled = group.function(view)
            names |= {*pooled, *(member.count for member in pooled.values())}
    return names
