"""What one entity's feature is made of: rows of a table, other features, or what it shares with others."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.operations as ops
import pandas as pd

from features.build import FeatureFrame
from features.engine import Database, open_database
from features.family import find_families
from features.group import AS_OF_LOCAL, DerivedGroup, FeatureGroup, FeatureInfo, Group, PooledGroup
from features.plan import Pass, plan_passes
from features.pooled import own_key
from features.reductions import counted_rows, window_conditions
from features.tables import TABLES, CrmTables, StoredTable
from features.view import BOOKKEEPING, as_of_view, view_schema
from features.view_columns import FAMILY

SHOWN_ROWS = 20


def in_words(info: FeatureInfo, built: FeatureFrame) -> dict[str, Any]:
    """Name, value, unit and phrases of a feature in a frame of one row; the phrases are null where the value is."""
    column = built.frame[info.name]
    value = None if column.isna().iloc[0] else column.tolist()[0]
    phrases = {kind: None if value is None else getattr(info, kind).format(value=value) for kind in ("en", "zh")}
    return {"name": info.name, "value": value, "unit": info.unit, **phrases}


def show_behind(
    tables: CrmTables, catalog: Sequence[Group], snapshot: pd.DataFrame, built: FeatureFrame, name: str
) -> dict[str, Any]:
    """What a feature of one snapshot was made of, by the kind of its group.

    Parameters
    ----------
    tables : CrmTables
    catalog : sequence of feature groups
    snapshot : DataFrame
        A spine of one row.
    built : FeatureFrame
        Features of that snapshot.
    name : str
        One of them.

    Returns
    -------
    dict
        `kind` is `rows` (of the as-of view, newest first, at most `SHOWN_ROWS` and `more` that are not shown; what
        was revealed at or after `as_of` is null), `features` (that a derived one needs) or `pool` (what it shares
        with other entities).

    """
    [info] = [one for one in built.infos if one.name == name]
    [group] = [one for one in catalog if one.name == info.group]
    if isinstance(group, DerivedGroup):
        return {"kind": "features", "needs": _needed(tables, group, snapshot, built, name)}
    with open_database(tables) as database:
        columns = {"row": [0], "as_of": snapshot["as_of"].astype("datetime64[us]").to_numpy()}
        keys = {"customer_id": snapshot["customer_id"], "deal_id": snapshot["entity_id"]}
        texts = {key: values.astype("str").to_numpy() for key, values in keys.items()}
        spine = database.add("spine", pd.DataFrame({**columns, **texts}))
        if isinstance(group, PooledGroup):
            return {"kind": "pool", **_pool(database, spine, group, built)}
        [one], _ = plan_passes(tables, (group,), "deals")
        return {"kind": "rows", **_rows(database, spine, one, group, name)}


def _needed(
    tables: CrmTables, group: DerivedGroup, snapshot: pd.DataFrame, built: FeatureFrame, name: str
) -> list[dict[str, Any]]:
    """Return the features that a derived one is computed from, and `as_of` in local time where it uses that."""
    kinds = {info.name: "string" if info.kind == "text" else "float64" for info in built.infos}
    features: Any = ibis.table(kinds | {AS_OF_LOCAL: "timestamp(6)"}, name="features")
    used = _fields(group.function(features)[name].value)
    needs = [in_words(info, built) for info in built.infos if info.name in used]
    if AS_OF_LOCAL in used:
        local = snapshot["as_of"].dt.tz_localize("UTC").dt.tz_convert(tables.time_zone).dt.tz_localize(None)
        needs.append({"name": AS_OF_LOCAL, "value": str(local.iloc[0]), "unit": "time", "en": None, "zh": None})
    return needs


def _fields(value: Any) -> set[str]:
    return {field.name for field in value.op().find(ops.Field)}


def _pool(database: Database, spine: Any, group: PooledGroup, built: FeatureFrame) -> dict[str, Any]:
    """Return what a snapshot shares, and the features made of all rows that share it."""
    stored = database.tables.tables[group.table]
    view: Any = ibis.table(view_schema(stored, (), history=TABLES[group.table].key is None), name="view")
    return {
        "table": group.table,
        "by": group.by,
        "of": group.via or group.table,
        "value": _plain(database.value(own_key(database, spine, group).pool.max())),
        "strength": {name: member.strength for name, member in group.function(view).items()},
        "features": [in_words(info, built) for info in built.infos if info.group == group.name],
    }


def _rows(database: Database, spine: Any, one: Pass, group: FeatureGroup, name: str) -> dict[str, Any]:
    """Return the rows that a group was given for one feature, and which of them count."""
    whose = find_families(database, spine)[1] if one.by == "parent_id" else spine
    rows = as_of_view(database, whose, one.table, one.by, one.windows, history=one.history, wanted=one.wanted)
    view = database.keep("behind", rows)
    spec = TABLES[one.table]
    feature, days = group.features(view, spec.time, one.levels.get(group.each or "", ()))[name]
    flags = {"counts": counted_rows(feature.value)}
    if days is not None:
        inside = [condition.fill_null(False) for condition in window_conditions(feature.value, days)]
        flags = {"in_window": ibis.or_(*inside), **flags}
    columns = _columns(database.tables.tables[one.table], view, one, _fields(feature.value))
    totals = {flag: view.count(where=condition) for flag, condition in flags.items()}
    [total] = _records(database, view.agg(known=view.count(), **totals))
    clocks = [spec.time, "known_at"]
    newest = [*(view[clock].desc() for clock in clocks), *(view[column] for column in columns if column not in clocks)]
    shown = _records(database, view.order_by(newest).limit(SHOWN_ROWS).select(*columns, **flags))
    return {
        "table": one.table,
        "by": one.by,
        "history": one.history,
        "window_days": days,
        "known": total["known"],
        "in_window": total.get("in_window"),
        "counted": total["counts"],
        "rows": shown,
        "more": total["known"] - len(shown),
    }


def _columns(stored: StoredTable, view: Any, one: Pass, used: set[str]) -> list[str]:
    """Columns that are shown: the key, the clocks, and what the feature reads; never a sensitive one."""
    spec = TABLES[stored.name]
    first = [*([spec.key] if spec.key else []), *(["customer_id"] if one.by == "parent_id" else [])]
    wanted = dict.fromkeys([*first, spec.time, "known_at", *(column for column in view.columns if column in used)])
    hidden = {*stored.sensitive, *(set(spec.columns) - set(stored.columns)), *BOOKKEEPING, FAMILY}
    return [
        column
        for column in wanted
        if column.removeprefix("previous_") not in hidden and not column.startswith("as_of_minus_")
    ]


def _records(database: Database, expression: Any) -> list[dict[str, Any]]:
    table = database.connection.to_pyarrow(expression)
    return [{column: _plain(value) for column, value in row.items()} for row in table.to_pylist()]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, datetime | date) else value
