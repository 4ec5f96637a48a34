"""Rates that many entities share: running sums instead of a range join.

An owner has thousands of deals and thousands of snapshots; joining each snapshot to all earlier
deals of its owner is quadratic. Here snapshots and settled rows are laid in one line per owner,
ordered by time, and summed up from the left: n log n, and the same SQL on any engine.
"""

from collections.abc import Mapping
from typing import Any

import ibis

from features.engine import Database
from features.group import FeatureInfo, Pooled, PooledGroup
from features.tables import TABLES
from features.view import as_of_view, visible_columns


def pooled_features(database: Database, spine: Any, group: PooledGroup) -> tuple[Any, list[FeatureInfo]]:
    """Shrunk rate and count of every `Pooled` of a group, per snapshot.

    A settled row counts as it was known at `as_of`: in the version that held, `known_at < as_of <= known_until`,
    under the owner (source, ...) of that version, and once its outcome was known, `known_at(outcome) < as_of`.
    Snapshots whose own key is null get the overall rate and count 0.

    Parameters
    ----------
    database : Database
    spine : ibis Table
        row, as_of and the key of the group's table (`deal_id` for deals).
    group : PooledGroup

    Returns
    -------
    ibis Table of `row` and the features, and their descriptions

    """
    settled = _settled(database, group)
    members = group.function(settled)
    hits = {f"hit_{i}": member.hit.fill_null(False).cast("int64") for i, member in enumerate(members.values())}
    by = TABLES[group.table].key
    own = as_of_view(database, spine, group.table, str(by))
    key = own.group_by("row").agg(pool=own[group.by].max())
    left = spine.select("row", "as_of").left_join(key, "row")
    none = {name: ibis.literal(0, "int64") for name in ("rows", *hits)}
    snapshots = left.select(row=left.row, pool=left.pool, time=left.as_of, is_event=0, **none)
    sums = _running_sums(ibis.union(*_events(settled, group.by, hits), snapshots), tuple(hits))
    columns: dict[str, Any] = {"row": sums.row}
    infos = []
    for i, (name, member) in enumerate(members.items()):
        rate, count = _shrunk(sums, f"hit_{i}", member)
        columns |= {name: rate, member.count: count}
        infos += _describe(name, member, group)
    return sums.filter(sums.is_event == 0).select(**columns), infos


def _settled(database: Database, group: PooledGroup) -> Any:
    """Versions with a known outcome, and the stretch `(counts_from, counts_until]` of the `as_of` they count at."""
    table = database.table(group.table)
    stored = database.tables.tables[group.table]
    settled = table.filter(table[f"{group.at}_known_at"].notnull())
    counts_from = ibis.greatest(settled[f"{group.at}_known_at"], settled.known_at)
    columns = visible_columns(settled, table.columns, stored, lambda clock: clock <= counts_from)
    until = settled.known_until if "known_until" in table.columns else ibis.null("timestamp(6)")
    versions = settled.select(**columns, counts_from=counts_from, counts_until=until)
    return versions.filter(versions.counts_until.isnull() | (versions.counts_from < versions.counts_until))


def _events(settled: Any, by: str, hits: Mapping[str, Any]) -> tuple[Any, Any]:
    """What is added when a version begins to count, and taken off when it ended."""
    row = {"row": ibis.null("int64"), "pool": settled[by]}
    begun = settled.select(**row, time=settled.counts_from, is_event=1, rows=ibis.literal(1, "int64"), **hits)
    minus = {name: -hit for name, hit in hits.items()}
    ended = settled.filter(settled.counts_until.notnull())
    taken = ended.select(**row, time=ended.counts_until, is_event=1, rows=ibis.literal(-1, "int64"), **minus)
    return begun, taken


def _running_sums(line: Any, hits: tuple[str, ...]) -> Any:
    """Sums over all settled rows strictly before each snapshot: per pool and overall.

    At equal times snapshots come first, so that a row settled exactly at `as_of` does not count yet,
    and one that ended exactly then still counts.
    """
    order = [line.time, line.is_event]
    pool = ibis.window(group_by=line.pool, order_by=order, preceding=None, following=0)
    everyone = ibis.window(order_by=order, preceding=None, following=0)
    known_pool = line.pool.notnull()
    sums = {"pool_rows": _sum(line.rows, pool), "all_rows": _sum(line.rows, everyone)}
    for hit in hits:
        sums |= {f"pool_{hit}": _sum(line[hit], pool), f"all_{hit}": _sum(line[hit], everyone)}
    zero = ibis.literal(0, "int64")
    for name in [name for name in sums if name.startswith("pool_")]:
        sums[name] = ibis.ifelse(known_pool, sums[name], zero)
    return line.select("row", "is_event", **sums)


def _sum(column: Any, window: Any) -> Any:
    return column.cast("int64").sum().over(window).cast("int64")


def _shrunk(sums: Any, hit: str, member: Pooled) -> tuple[Any, Any]:
    overall = sums[f"all_{hit}"].cast("float64") / sums.all_rows.cast("float64").nullif(0.0)
    count = sums.pool_rows.cast("float64")
    rate = (sums[f"pool_{hit}"].cast("float64") + member.strength * overall) / (count + float(member.strength))
    return rate, count


def _describe(name: str, member: Pooled, group: PooledGroup) -> list[FeatureInfo]:
    what = f"{group.table} closed with the same {group.by.removesuffix('_id')}"
    return [
        FeatureInfo(name, "number", "share", member.en, member.zh, group.name, group.description, member.direction),
        FeatureInfo(
            member.count,
            "number",
            "count",
            f"{{value:,.0f}} {what}",
            "同类已结案 {value:,.0f} 个",
            group.name,
            group.description,
        ),
    ]
