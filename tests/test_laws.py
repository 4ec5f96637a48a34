"""The laws of time, for any CRM: hypothesis draws crowds of small worlds (`laws`).

`make laws` runs many more examples (LEADSIEVE_LAWS=N).
"""

import re
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import (
    SEARCHES,
    TARGETS,
    WEEKS,
    WORLDS,
    Crowd,
    at_moment,
    crowd_law,
    crowds,
    extracted,
    features,
    in_training,
    indexed,
    label_law,
    possible,
    same,
)
from made_worlds import another_value
from worlds import REVEALED, World, end_of_day

from features.catalog import CATALOG
from features.group import FeatureGroup, Group, PooledGroup
from features.labels import build_labels
from features.spine import build_scoring_spine, build_spine
from features.tables import TABLES
from features.targets import Target

SHARED = tuple(
    g for g in CATALOG if isinstance(g, PooledGroup) or (isinstance(g, FeatureGroup) and g.by == "parent_id")
)
"""Groups to which rows of other entities matter."""
ALONE: tuple[Group, ...] = tuple(group for group in CATALOG if group not in SHARED)
MONOTONE = (
    "orders_count", "orders_returns_count", "orders_amount_max", "orders_days_since_first", "orders_repeat_days",
    "activities_count", "activities_inbound_count", "contacts_count", "contacts_decision_maker_count", "invoices_count",
    "invoices_written_off_amount", "deals_won_count", "deals_lost_count", "subscriptions_ended_count",
    "assessments_questions_count", "assessment_need_changes_count", "customers_age_days", "deal_age_days",
    "deal_stage_rank_max", "deal_stage_changes_count", "deal_activities_count", "deal_activities_inbound_count",
    "deal_close_pushes_count", "deal_close_pushed_days", "deal_amount_changes_count", "deal_owner_changes_count",
    "deal_assessments_questions_count", "deal_assessment_budget_changes_count",
)  # fmt: skip
"""Features that only grow as more becomes known."""
by_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.kind)


@by_target
@crowd_law
@given(st.data())
def test_features_of_a_snapshot_are_what_an_extract_taken_at_that_moment_gives(target: Target, data: Any) -> None:
    crowd = data.draw(crowds[target.kind])
    looking_back, known = at_moment(crowd, target)
    with extracted(crowd.world, crowd.at) as then:
        if not possible(target, then):
            return
        spine = build_scoring_spine(then, target)
        pd.testing.assert_frame_equal(spine, looking_back)
        same(known, features(then, spine, target.table), few=SEARCHES)


@by_target
@crowd_law
@given(st.data())
def test_whatever_becomes_known_at_or_after_as_of_changes_nothing(target: Target, data: Any) -> None:
    crowd = data.draw(crowds[target.kind])
    spine, known = at_moment(crowd, target)
    with extracted(scrambled(crowd)) as other:
        if not possible(target, other):
            return
        pd.testing.assert_frame_equal(spine, build_scoring_spine(other, target, crowd.at))
        same(known, features(other, spine, target.table), few=SEARCHES)


def scrambled(crowd: Crowd) -> World:
    """Same past, another future: later rows gone, doubled or other; what is revealed later other, never, or at all."""
    luck = Random(crowd.seed)
    world, at = crowd.world, crowd.at
    rows = {name: [other for row in found for other in _other_future(name, row, crowd, luck)]
            for name, found in world.rows.items()}  # fmt: skip
    changes = [
        replace(c, value=another_value(luck, c.field, [])) if c.known_at >= at else c
        for c in world.changes
        if c.known_at < at or luck.random() < 0.7
    ]
    return World(rows, tuple(changes), world.zone)


def _other_future(name: str, row: dict[str, Any], crowd: Crowd, luck: Random) -> list[dict[str, Any]]:
    key, late = TABLES[name].key, row["known_at"] >= crowd.at
    other = dict(row)
    for clock, columns in REVEALED.get(name, {}).items():
        known = row[f"{clock}_known_at"]
        if known is None or known >= crowd.at:
            never = luck.random() < 0.5
            day = end_of_day(
                max(crowd.at, row["known_at"]).date() + timedelta(days=luck.randint(1, 9)), crowd.world.zone
            )
            other |= {clock: None if never else day, f"{clock}_known_at": None if never else day}
            values = {"outcome": luck.choice(["won", "lost"]), "satisfaction": 3.0}
            other |= {column: None if never else values.get(column, "x") for column in columns}
    if not late or name in ("customers", "deals", "contacts"):  # to which other rows point
        return [other | ({"seniority": "owner"} if late and name == "contacts" else {})]
    if "amount" in row:
        other["amount"] = row["amount"] + 5
    again = {**other, key: f"{row[key]}-again"} if key else other
    return [other, again][: luck.randint(0, 2)]


@by_target
@crowd_law
@given(st.data())
def test_a_snapshot_alone_gives_what_it_gives_in_a_training_spine(target: Target, data: Any) -> None:
    """On one date, and with no more than one entity of each world."""
    crowd = data.draw(crowds[target.kind])
    together = indexed(in_training(crowd, target))
    with extracted(crowd.world) as tables:
        spine = build_spine(tables, target, WEEKS)
        weeks = spine[spine["origin"] == "grid"]["as_of"]
        if weeks.empty:
            return
        one_date = spine[spine["as_of"] == weeks.value_counts().index[0]]
        alone = one_date.groupby(one_date["entity_id"].str.split("-").str[0]).head(1).reset_index(drop=True)
        same(
            together.loc[pd.MultiIndex.from_frame(alone[["entity_id", "as_of"]])], features(tables, alone, target.table)
        )


@by_target
@crowd_law
@given(st.data())
def test_the_order_of_rows_in_the_source_does_not_matter(target: Target, data: Any) -> None:
    crowd = data.draw(crowds[target.kind])
    luck, world = Random(crowd.seed), crowd.world
    shuffled = {name: luck.sample(rows, len(rows)) for name, rows in world.rows.items()}
    with extracted(World(shuffled, world.changes, world.zone)) as other:
        spine = build_spine(other, target, WEEKS)
        if len(spine):
            same(indexed(in_training(crowd, target)), features(other, spine, target.table))


@by_target
@crowd_law
@given(st.data())
def test_rows_of_other_entities_matter_to_pooled_and_family_groups_only(target: Target, data: Any) -> None:
    crowd = data.draw(crowds[target.kind])
    with extracted(of_first_customers(crowd.world)) as few:
        if not possible(target, few):
            return
        spine = build_spine(few, target, WEEKS)
        if len(spine):
            alone = features(few, spine, target.table, ALONE)
            among = indexed(in_training(crowd, target))
            same(among.loc[alone.index, alone.columns], alone)


def of_first_customers(world: World) -> World:
    """All customers, but of their rows only those of each world's first one and its deals, and contacts named there."""
    ours = {row["customer_id"] for row in world.rows["customers"] if row["customer_id"].endswith("-C0")}
    deals = {row["deal_id"] for row in world.rows["deals"] if row["customer_id"] in ours}
    rows = {
        name: [
            row for row in found if {row.get(key) for key in ("customer_id", "deal_id", "entity_id")} & (ours | deals)
        ]
        for name, found in world.rows.items()
    }
    rows["activities"] = [r if r["deal_id"] in deals else {**r, "deal_id": None} for r in rows["activities"]]
    met = {row["contact_id"] for row in rows["activities"]}
    rows["contacts"] = [r for r in world.rows["contacts"] if r["customer_id"] in ours or r["contact_id"] in met]
    return World(rows | {"customers": world.rows["customers"]}, world.changes, world.zone)


@by_target
@crowd_law
@given(st.data())
def test_a_wider_window_never_counts_less_and_none_counts_more_than_ever(target: Target, data: Any) -> None:
    built = in_training(data.draw(crowds[target.kind]), target)
    frame, compared = built.frame, 0
    counts: dict[str, list[tuple[int, str]]] = {}
    for info in built.infos:
        found = re.fullmatch(r"(\w+_count)(?:_(\d+)d)?", info.name)
        if found:
            counts.setdefault(found[1], []).append((int(found[2] or 10**6), info.name))
    for names in counts.values():
        for (_, narrow), (_, wide) in pairwise(sorted(names)):
            compared += 1
            assert (frame[narrow].isna() == frame[wide].isna()).all(), narrow
            assert (frame[narrow].dropna() <= frame[wide].dropna()).all(), (narrow, wide)
    assert compared >= 15


@by_target
@crowd_law
@given(st.data())
def test_a_later_as_of_never_un_knows(target: Target, data: Any) -> None:
    frame = indexed(in_training(data.draw(crowds[target.kind]), target)).sort_index()
    for name in MONOTONE:
        if name in frame:
            steps = frame[name].groupby(level="entity_id").diff().dropna()
            assert (steps >= 0).all(), name
    assert {name for name in MONOTONE if not name.startswith("deal_")} <= set(frame)


@by_target
def test_a_group_gives_the_same_whatever_others_look_further_back(target: Target) -> None:
    """Groups with windows alone, of which no other asks for older rows."""
    crowd = Crowd(0, tuple(range(WORLDS)))
    windowed = [g for g in CATALOG if isinstance(g, FeatureGroup) and g.windows]
    with extracted(crowd.world) as tables:
        alone = features(tables, build_spine(tables, target, WEEKS), target.table, windowed)
    same(indexed(in_training(crowd, target))[list(alone.columns)], alone)


@by_target
@label_law
@given(st.data(), st.integers(1, 60), st.integers(0, 20))
def test_a_label_is_censored_exactly_when_its_horizon_and_settling_end_after_the_data(
    target: Target, data: Any, horizon: int, settle: int
) -> None:
    target = replace(target, horizon_days=horizon, settle_days=settle)
    with extracted(data.draw(crowds[target.kind]).world) as tables:
        spine = build_spine(tables, target, WEEKS)
        labels = build_labels(tables, spine, target)
        unripe = spine["as_of"] + pd.Timedelta(days=horizon + settle) > tables.data_end
        assert labels["label"].isna()[unripe].all()
        if target.kind == "churn":
            assert (labels["label"].isna() == unripe).all()
        assert set(np.unique(labels["label"].dropna())) <= {0.0, 1.0}


@by_target
@label_law
@given(st.data(), st.integers(1, 30))
def test_labels_keep_their_direction_as_the_horizon_grows(target: Target, data: Any, horizon: int) -> None:
    sign = {"conversion": 1, "churn": -1}[target.kind]
    with extracted(data.draw(crowds[target.kind]).world) as tables:
        spine = build_spine(tables, target, WEEKS)
        short, long = (
            build_labels(tables, spine, replace(target, horizon_days=days))["label"] for days in (horizon, horizon + 7)
        )
        assert ((long - short).dropna() * sign >= 0).all()


@by_target
def test_every_group_takes_part_in_the_laws(target: Target) -> None:
    """No feature is left out for lack of a table or a column, and each has more than one value."""
    built = in_training(Crowd(0, tuple(range(WORLDS))), target)
    skipped = set(built.skipped.values())
    if target.kind == "churn":
        skipped -= {why for why in skipped if why == "it describes deals" or "feature 'deal_" in why}
    assert skipped == set()
    assert [name for name in built.columns if built.frame[name].nunique() < 2] == []
