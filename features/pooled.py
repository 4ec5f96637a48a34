"""Rates that many entities share: running sums instead of a range join.

An owner has thousands of deals and thousands of snapshots; joining each snapshot to all earlier
deals of its owner is quadratic. Here snapshots and settled rows are laid in one line per owner,
ordered by time, and summed up from the left: n log n, and the same SQL on any engine.
"""

from typing import Any

import ibis

from features.engine import Database
from features.group import FeatureInfo, Pooled, PooledGroup
from features.tables import TABLES
from features.view import as_of_view, visible_columns
from features.view_columns import NEVER, STAGE_RANK, stage_rank

RECENT_DAYS = 365


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
    settled = settled.mutate(**{f"hit_{i}": _whole(member.hit) for i, member in enumerate(members.values())})
    hits = tuple(name for name in settled.columns if name.startswith("hit_"))
    left = spine.select("row", "as_of").left_join(own_key(database, spine, group), "row")
    none = {name: ibis.literal(0, "int64") for name in ("rows", "recent", *hits)}
    snapshots = left.select(row=left.row, pool=left.pool, time=left.as_of, is_event=0, **none)
    counted = settled.filter(*(settled[hit].notnull() for hit in hits))
    sums = _running_sums(ibis.union(*_events(counted, group.by, hits), snapshots), hits)
    columns: dict[str, Any] = {"row": sums.row}
    infos = []
    for i, (name, member) in enumerate(members.items()):
        rate, count = _shrunk(sums, f"hit_{i}", member)
        columns |= {name: rate, member.count: count}
        infos += _describe(name, member, group)
    return sums.filter(sums.is_event == 0).select(**columns), infos


def own_key(database: Database, spine: Any, group: PooledGroup) -> Any:
    """What each snapshot shares with the rows: `row` and `pool`."""
    if group.via:
        view = as_of_view(database, spine, group.via, "customer_id")
        return view.group_by("row").agg(pool=view[group.by].max())
    key = "deal_id" if group.own else str(TABLES[group.table].key)
    view = as_of_view(database, spine, group.table, key, wanted=[STAGE_RANK])
    return view.group_by("row").agg(pool=group.own(view) if group.own else view[group.by].max())


def _whole(hit: Any) -> Any:
    return hit.fill_null(False).cast("int64") if hit.type().is_boolean() else hit.cast("int64")


def _settled(database: Database, group: PooledGroup) -> Any:
    """Versions that count, and the stretch `(counts_from, counts_until]` of the `as_of` they count at.

    Until `recent_until` they are of the last 365 days.
    """
    table = database.table(group.table)
    stored = database.tables.tables[group.table]
    is_event = TABLES[group.table].key is None
    clock = table.known_at if is_event else table[f"{group.at}_known_at"]
    settled = table.filter(clock.notnull())
    counts_from = settled.known_at if is_event else ibis.greatest(settled[f"{group.at}_known_at"], settled.known_at)
    columns = visible_columns(settled, table.columns, stored, lambda clock: clock <= counts_from)
    until = settled.known_until if "known_until" in table.columns else NEVER
    versions = settled.select(**columns, counts_from=counts_from, counts_until=until)
    versions = versions.filter(versions.counts_until.isnull() | (versions.counts_from < versions.counts_until))
    if is_event:
        versions = _with_previous(versions, database.tables.stages)
    if group.via:
        versions = _with_customer(versions, database.table(group.via), group.by)
    old = versions[group.at] + ibis.interval(days=RECENT_DAYS)
    return versions.mutate(recent_until=ibis.least(old, versions.counts_until.fill_null(old)))


def _with_previous(versions: Any, stages: tuple[str, ...]) -> Any:
    """Add `previous_<column>`: the value in the row of the same deal that was known before."""
    if "stage" in versions.columns:
        versions = versions.mutate(**{STAGE_RANK: stage_rank(versions.stage, stages)})
    known = ibis.window(
        group_by=versions.deal_id, order_by=[versions.known_at, versions.occurred_at, versions[STAGE_RANK]]
    )
    return versions.mutate(**{f"previous_{column}": versions[column].lag().over(known) for column in versions.columns})


def _with_customer(versions: Any, customers: Any, column: str) -> Any:
    """Add a column of the customer as it was known when the row began to count."""
    until = customers.known_until if "known_until" in customers.columns else NEVER
    known = customers.select(
        known_customer=customers.customer_id, from_=customers.known_at, until_=until, shared=customers[column]
    )
    holds = (known.from_ <= versions.counts_from) & (known.until_.isnull() | (versions.counts_from < known.until_))
    joined = versions.left_join(known, [versions.customer_id == known.known_customer, holds])
    return joined.drop("known_customer", "from_", "until_").rename({column: "shared"})


def _events(settled: Any, by: str, names: tuple[str, ...]) -> tuple[Any, ...]:
    """What is added when a version begins to count, and taken off when it ended or is no longer recent."""
    row = {"row": ibis.null("int64"), "pool": settled[by], "is_event": 1}
    zero, one = ibis.literal(0, "int64"), ibis.literal(1, "int64")
    hits = {name: settled[name] for name in names}
    is_recent = settled.recent_until > settled.counts_from
    recent = is_recent.cast("int64")
    begun = settled.select(**row, time=settled.counts_from, rows=one, recent=recent, **hits)
    ended = settled.filter(settled.counts_until.notnull())
    taken = ended.select(
        **row, time=ended.counts_until, rows=-one, recent=zero, **{name: -hit for name, hit in hits.items()}
    )
    grown_old = settled.filter(is_recent)
    left = grown_old.select(**row, time=grown_old.recent_until, rows=zero, recent=-one, **dict.fromkeys(hits, zero))
    return begun, taken, left


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
    sums["pool_recent"] = _sum(line.recent, pool)
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
    mean = (sums[f"pool_{hit}"].cast("float64") + member.strength * overall) / (count + float(member.strength))
    return mean if member.divisor == 1.0 else mean / member.divisor, sums.pool_recent.cast("float64")


def _describe(name: str, member: Pooled, group: PooledGroup) -> list[FeatureInfo]:
    shared = group.by.removeprefix("previous_").removesuffix("_id").removesuffix("_rank")
    en = f"{{value:,.0f}} {group.table.replace('_', ' ')} with the same {shared} in {RECENT_DAYS} days"
    zh = f"{RECENT_DAYS} 天内同类 {{value:,.0f}} 个"
    about = (group.name, group.description)
    return [
        FeatureInfo(name, "number", member.unit, member.en, member.zh, *about, member.direction),
        FeatureInfo(member.count, "number", "count", en, zh, *about),
    ]
