"""Which feature groups run in which pass over which table, and which cannot run here at all."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.operations as ops
from ibis.common.exceptions import IbisError

from features.engine import ibis_type
from features.errors import DataError
from features.group import (
    AS_OF_LOCAL,
    DerivedGroup,
    Entity,
    Feature,
    FeatureGroup,
    Group,
    Key,
    PooledGroup,
    Window,
    window_start,
)
from features.reductions import stays_within
from features.tables import TABLES, CrmTables, StoredTable
from features.view import ADDED, BOOKKEEPING, FUTURE, view_schema
from features.view_columns import FAMILY, PREVIOUS, STAGE_RANK


@dataclass(frozen=True)
class Pass:
    """One range join of the snapshots with one table, for all groups that read it by the same key.

    `names` come out; `wanted` are the columns that they use. `levels` are what groups with `each` are repeated for.
    Rows that occurred more than `within` days before `as_of` are left out, where no feature takes or rests on them.
    """

    table: str
    by: Key
    history: bool
    groups: tuple[FeatureGroup, ...]
    names: frozenset[str]
    wanted: frozenset[str]
    levels: Mapping[str, tuple[str, ...]]
    within: int | None

    @property
    def name(self) -> str:
        """Name of the pass among all passes."""
        return f"{self.table}_by_{self.by}{'_history' if self.history else ''}"

    @property
    def windows(self) -> tuple[int, ...]:
        """All windows of the groups, in days."""
        return tuple(sorted({days for group in self.groups for days in group.windows}))

    def features(self, group: FeatureGroup, view: Any) -> dict[str, Feature]:
        """Features of one of the groups over the view, those that this deployment has."""
        found = group.features(view, TABLES[self.table].time, self.levels.get(group.each or "", ()))
        return {name: feature for name, (feature, _) in found.items() if name in self.names}


def plan_passes(tables: CrmTables, catalog: Iterable[Group], entity: Entity) -> tuple[list[Pass], dict[str, str]]:
    """Sort the groups into passes, one per table, key, and whether the history is asked for.

    Returns
    -------
    list of Pass
    dict of group or feature to the reason why this deployment does not have it

    """
    check_catalog(catalog)
    skipped: dict[str, str] = {}
    buckets: dict[tuple[str, str, bool], list[FeatureGroup]] = {}
    for group in catalog:
        if isinstance(group, PooledGroup):
            reason = _cannot_pool(tables, group, entity)
        elif isinstance(group, FeatureGroup):
            reason = _cannot_join(tables, group, entity)
            if reason is None:
                buckets.setdefault((group.table, group.by, group.history), []).append(group)
        else:
            continue
        if reason is not None:
            skipped[group.name] = reason
    passes = [_make_pass(tables, groups, skipped) for groups in buckets.values()]
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
    if group.history and TABLES[group.table].key is None:
        raise DataError(
            f"Feature group '{group.name}' asks for the history of table '{group.table}', whose rows have no key. "
            "Leave out `history=True`."
        )
    if group.by == "parent_id" and "parent_id" not in _own(tables, "customers"):
        return "table 'customers' has no column 'parent_id'"
    key = "customer_id" if group.by == "parent_id" else group.by
    if group.table != "assessments" and key not in tables.tables[group.table].columns:
        return f"table '{group.table}' has no column '{key}'"
    if group.each and not _levels(tables, group.table)[group.each]:
        return "the config names no `questions`" if group.each == "questions" else "there are no extra columns"
    return None


def _own(tables: CrmTables, name: str) -> set[str]:
    """Stored columns of a table that features may see."""
    stored = tables.tables.get(name)
    return set(stored.columns) - set(stored.sensitive) if stored else set()


def _levels(tables: CrmTables, name: str) -> dict[str, tuple[str, ...]]:
    """What groups may be repeated for: the questions, and the table's columns of the deployment's own.

    Ids say nothing by themselves, and columns that are revealed with the outcome nothing before it.
    """
    stored = tables.tables[name]
    later = {*stored.revealed, *stored.revealed.values(), *TABLES[name].columns, *FUTURE}
    own = [c for c in stored.columns if c not in later and c in _own(tables, name)]
    extra = [column for column in own if not column.endswith(("_id", "known_at"))]
    return {"questions": tables.questions, "extra_columns": tuple(extra)}


def _cannot_pool(tables: CrmTables, group: PooledGroup, entity: Entity) -> str | None:
    if group.own and entity != "deals":
        return "it describes deals"
    if group.own is None and group.table != entity:
        return f"it describes {group.table}"
    for name in (group.table, *([group.via] if group.via else [])):
        if name not in tables.tables:
            return f"table '{name}' is not mapped"
    home = group.via or group.table
    by = group.by.removeprefix("previous_") if TABLES[home].key is None else group.by
    if by in FUTURE:
        raise _not_for_features(tables.tables[home], group, by)
    if by == STAGE_RANK and not tables.stages:
        return "the config names no `stages`"
    if by not in {*tables.tables[home].columns, STAGE_RANK}:
        return f"table '{home}' has no column '{by}'"
    stored = tables.tables[group.table]
    if group.via and "customer_id" not in stored.columns:
        return f"table '{group.table}' has no column 'customer_id'"
    hidden = {by} & set(tables.tables[home].sensitive)
    hidden |= set().union(*_used_columns(stored, group, {}).values()) & set(stored.sensitive)
    return f"column '{min(hidden)}' of table '{home}' is sensitive" if hidden else None


def _make_pass(tables: CrmTables, groups: Sequence[FeatureGroup], skipped: dict[str, str]) -> Pass:
    stored = tables.tables[groups[0].table]
    levels = _levels(tables, stored.name)
    names: set[str] = set()
    wanted: set[str] = set()
    for group in groups:
        present = _present(tables, group)
        for name, used in _used_columns(stored, group, levels).items():
            if used <= present:
                names.add(name)
                wanted |= used
            else:
                skipped[name] = _absent(stored, used - present)
    first = groups[0]
    within = _within(stored, groups, levels, wanted)
    return Pass(
        stored.name, first.by, first.history, tuple(groups), frozenset(names), frozenset(wanted), levels, within
    )


def _within(
    stored: StoredTable, groups: Sequence[FeatureGroup], levels: Mapping[str, tuple[str, ...]], wanted: set[str]
) -> int | None:
    """Return the widest window, if no feature takes rows from before it, or a column that earlier rows tell.

    A feature without an empty value may tell rows outside its window from no rows at all, so it wants them, too.
    """
    own = {*TABLES[stored.name].columns, *stored.columns, *BOOKKEEPING, FAMILY}
    own |= {window_start(days) for group in groups for days in group.windows}
    if groups[0].history or not wanted <= own:
        return None
    for group in groups:
        view: Any = ibis.table(_schema(stored, group), name="view")
        time = TABLES[stored.name].time
        for feature, days in group.features(view, time, levels.get(group.each or "", ())).values():
            if days is None or feature.empty is None or not stays_within(feature.value, Window(days, view, time).mask):
                return None
    return max(days for group in groups for days in group.windows)


def _present(tables: CrmTables, group: FeatureGroup) -> set[str]:
    """Columns of the view that this deployment can fill, and those that the group takes as null where it cannot."""
    own = _own(tables, group.table)
    present = {*own, *BOOKKEEPING, FAMILY, *group.optional, *map(window_start, group.windows)}
    if group.history:
        return present | {f"previous_{column}" for column in own}
    present.add(PREVIOUS)
    added = set(ADDED.get(group.table, ()))
    if group.table == "stage_changes" and not tables.stages:
        added = set()
    if group.table == "activities":
        met = {f"contact_{column}" for column in _own(tables, "contacts") if "contact_id" in own}
        added = {c for c in added if c in met or (c.startswith("previous_") and "direction" in own)}
    return present | added


def _used_columns(
    stored: StoredTable, group: FeatureGroup | PooledGroup, levels: Mapping[str, tuple[str, ...]]
) -> dict[str, set[str]]:
    """Columns each feature of a group reads, found by calling it on an empty view."""
    view: Any = ibis.table(_schema(stored, group), name="view")
    try:
        values = _values(group, view, levels)
    except (AttributeError, IbisError) as error:
        raise _unreadable(stored, group, levels, error) from None
    used = {name: _fields(value, view) for name, (value, _) in values.items()}
    for name, (_, days) in values.items():
        if days is not None and window_start(days) not in used[name]:
            raise DataError(
                f"Feature '{name}' of group '{group.name}' does not use its window of {days} days. "
                "Put window.mask into its `where=`, or make a group without windows."
            )
    return used


def _schema(stored: StoredTable, group: FeatureGroup | PooledGroup) -> dict[str, str]:
    """Columns of the view that a group is called with."""
    if isinstance(group, FeatureGroup):
        return view_schema(stored, group.windows, history=group.history)
    return view_schema(stored, (), history=TABLES[stored.name].key is None)


def _values(
    group: FeatureGroup | PooledGroup, view: Any, levels: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[Any, int | None]]:
    """Expressions of a group over a view, by feature, each with its window in days."""
    if isinstance(group, PooledGroup):
        return {name: (member.hit, None) for name, member in group.function(view).items()}
    features = group.features(view, TABLES[group.table].time, levels.get(group.each or "", ()))
    return {name: (feature.value, days) for name, (feature, days) in features.items()}


def _fields(value: Any, view: Any) -> set[str]:
    return {field.name for field in value.op().find(ops.Field) if field.rel == view.op()}


def _unreadable(
    stored: StoredTable, group: FeatureGroup | PooledGroup, levels: Mapping[str, tuple[str, ...]], error: Exception
) -> DataError:
    """Say why a group cannot be called: it reads what no feature may see, or what is not there."""
    hidden = dict.fromkeys(FUTURE, "timestamp(6)") | {c: ibis_type(kind) for c, kind in stored.columns.items()}
    everything: Any = ibis.table(_schema(stored, group) | hidden, name="view")
    try:
        used = {
            column for value, _ in _values(group, everything, levels).values() for column in _fields(value, everything)
        }
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
    if column not in stored.columns:
        column = column.removeprefix("previous_")
    if column in stored.sensitive:
        return f"column '{column}' of table '{stored.name}' is sensitive"
    return f"table '{stored.name}' has no column '{column}'"


def feature_names(catalog: Iterable[Group], tables: CrmTables) -> set[str]:
    """Names of all features the catalog could give, also those this deployment lacks the tables for."""
    names: set[str] = set()
    for group in catalog:
        if isinstance(group, DerivedGroup):
            view: Any = ibis.table(
                dict.fromkeys(group.needs, "float64") | {AS_OF_LOCAL: "timestamp(6)"}, name="features"
            )
            names |= set(group.function(view))
            continue
        stored = tables.tables.get(group.table) or _unmapped(group.table)
        view = ibis.table(_schema(stored, group), name="view")
        if isinstance(group, FeatureGroup):
            own = _levels(tables, group.table) if stored.file else {"questions": tables.questions}
            names |= set(group.features(view, TABLES[group.table].time, own.get(group.each or "", ())))
        else:
            pooled = group.function(view)
            names |= {*pooled, *(member.count for member in pooled.values())}
    return names


def _unmapped(name: str) -> StoredTable:
    """Return a table that the deployment lacks, with the clocks that every extract would give it."""
    clocks = {f"{time}_known_at" for time in TABLES[name].revealed.values()}
    return StoredTable(name, "", 0, 0, "", dict.fromkeys(("known_at", *clocks), "time"), {})
