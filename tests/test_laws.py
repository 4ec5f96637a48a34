"""The laws of time, for any CRM: hypothesis draws worlds, a dozen side by side in each build.

`make laws` runs many more examples (LEADSIEVE_LAWS=N).
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from worlds import DAYS, END, HOURS, START, World, export, extract_world, merge, worlds

from features.build import build_features
from features.catalog import CATALOG
from features.group import Group, PooledGroup
from features.labels import build_labels
from features.spine import build_scoring_spine, build_spine
from features.tables import CrmTables
from features.targets import SpinePlan, Target

EXAMPLES = int(os.environ.get("LEADSIEVE_LAWS", "4"))
law = settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if "LEADSIEVE_LAWS" in os.environ else [])],
    deadline=None,
    derandomize="LEADSIEVE_LAWS" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
many = st.lists(worlds(), min_size=8, max_size=12).map(merge)
moments = st.integers(10, DAYS - 5).map(lambda day: START + timedelta(days=day))
CONVERSION = Target("conversion", "conversion", 10, settle_days=0)
CHURN = Target("churn", "churn", 10, settle_days=0)
TARGETS = (CONVERSION, CHURN)
ALONE: tuple[Group, ...] = tuple(group for group in CATALOG if not isinstance(group, PooledGroup))
"""Groups whose values depend on the entity's own rows only."""


@contextmanager
def extracted(world: World, at: datetime = END) -> Iterator[CrmTables]:
    with tempfile.TemporaryDirectory() as folder:
        yield extract_world(Path(folder), export(world, at), at)


def possible(*extracts: CrmTables) -> list[Target]:
    """Targets whose tables have rows in all of the extracts."""
    return [t for t in TARGETS if all({t.table, t.outcome[0]} <= set(tables.tables) for tables in extracts)]


def features(
    tables: CrmTables, spine: pd.DataFrame, target: Target, catalog: tuple[Group, ...] = CATALOG
) -> pd.DataFrame:
    return build_features(tables, spine, catalog, target.table).frame.set_index(["entity_id", "as_of"])


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Equal to the bit, on the columns both have; a column may lack where its table was still empty."""
    columns = [name for name in left.columns if name in right.columns]
    assert len(columns) > 8
    pd.testing.assert_frame_equal(left[columns], right[columns], check_exact=True)


@law
@given(many, moments)
def test_features_of_a_snapshot_are_what_an_extract_taken_at_that_moment_gives(world: World, at: datetime) -> None:
    with extracted(world) as later, extracted(world, at) as then:
        for target in possible(later, then):
            spine = build_scoring_spine(then, target)
            looking_back = build_scoring_spine(later, target, at)
            pd.testing.assert_frame_equal(spine, looking_back)
            if len(spine):
                same(features(later, looking_back, target), features(then, spine, target))


@law
@given(many, moments)
def test_whatever_becomes_known_at_or_after_as_of_changes_nothing(world: World, at: datetime) -> None:
    with extracted(world) as tables, extracted(scrambled(world, at)) as other:
        for target in possible(tables, other):
            spine = build_scoring_spine(tables, target, at)
            if len(spine):
                same(features(tables, spine, target), features(other, spine, target))


def scrambled(world: World, at: datetime) -> World:
    """Same past, another future: later rows doubled or removed, later outcomes turned round."""
    rows = {}
    for table, found in world.rows.items():
        entity = table in ("customers", "deals")
        kept = [turned(row, at) for row in found if entity or row["known_at"] < at or hash(str(row)) % 2]
        extra = [row for row in found if not entity and row["known_at"] >= at and table != "stage_changes"]
        key = {"orders": "order_id", "activities": "activity_id"}.get(table, "")
        rows[table] = kept + [{**row, key: f"{row[key]}-again"} for row in extra]
    later = [replace(c, value="Q" if c.field == "owner_id" else 77) if c.known_at >= at else c for c in world.changes]
    return World(rows, tuple(later))


def turned(row: dict[str, object], at: datetime) -> dict[str, object]:
    known = row.get("closed_at_known_at")
    if not isinstance(known, datetime) or known < at:
        return row
    return {
        **row,
        "outcome": "lost" if row["outcome"] == "won" else "won",
        "closed_at_known_at": known + timedelta(hours=5),
    }


@law
@given(many)
def test_a_snapshot_alone_gives_what_it_gives_in_a_training_spine(world: World) -> None:
    with extracted(world) as tables:
        for target in possible(tables):
            spine = build_spine(tables, target, SpinePlan("week", None, (0, 7)))
            if spine.empty:
                continue
            together = features(tables, spine, target)
            row = spine.iloc[[len(spine) // 2]].reset_index(drop=True)
            alone = features(tables, row, target)
            same(together.loc[alone.index], alone)


@law
@given(many, st.randoms(use_true_random=False))
def test_the_order_of_rows_in_the_source_does_not_matter(world: World, random: object) -> None:
    shuffled = World(
        {name: sorted(rows, key=lambda _: random.random()) for name, rows in world.rows.items()}, world.changes
    )  # type: ignore[attr-defined]
    with extracted(world) as tables, extracted(shuffled) as other:
        for target in possible(tables):
            spine = build_spine(tables, target, SpinePlan("week"))
            if len(spine):
                same(features(tables, spine, target), features(other, spine, target))


@law
@given(st.lists(worlds(), min_size=2, max_size=6))
def test_rows_of_other_entities_matter_to_pooled_groups_only(drawn: list[World]) -> None:
    with extracted(merge(drawn)) as crowd, extracted(merge(drawn[:1])) as few:
        for target in possible(few):
            spine = build_spine(few, target, SpinePlan("week"))
            if len(spine):
                same(features(crowd, spine, target, ALONE), features(few, spine, target, ALONE))


@law
@given(many)
def test_a_wider_window_never_counts_less_and_none_counts_more_than_ever(world: World) -> None:
    with extracted(world) as tables:
        if CHURN not in possible(tables):
            return
        spine = build_spine(tables, CHURN, SpinePlan("week"))
        if spine.empty:
            return
        frame = features(tables, spine, CHURN)
        counts = [frame[f"orders_count_{days}d"] for days in (30, 90, 180, 365)] + [frame["orders_count"]]
        for narrow, wide in pairwise(counts):
            assert (narrow <= wide).all()


@law
@given(many)
def test_a_later_as_of_never_un_knows(world: World) -> None:
    with extracted(world) as tables:
        spine = build_spine(tables, CONVERSION, SpinePlan("week"))
        if spine.empty:
            return
        frame = features(tables, spine, CONVERSION).sort_index()
        for name in ("deal_activities_count", "deals_won_count", "deal_age_days"):
            if name in frame:
                steps = frame[name].groupby(level="entity_id").diff().dropna()
                assert (steps >= 0).all(), name


@law
@given(many, st.integers(1, 60), st.integers(0, 20))
def test_a_label_is_censored_exactly_when_its_horizon_and_settling_end_after_the_data(
    world: World, horizon: int, settle: int
) -> None:
    with extracted(world) as tables:
        for target in (
            Target("x", "conversion", horizon, settle_days=settle),
            Target("x", "churn", horizon, settle_days=settle),
        ):
            if target.outcome[0] not in tables.tables:
                continue
            spine = build_spine(tables, target, SpinePlan("week", None, (0,)))
            if spine.empty:
                continue
            labels = build_labels(tables, spine, target)
            unripe = spine["as_of"] + pd.Timedelta(days=horizon + settle) > tables.data_end
            assert labels["label"].isna()[unripe].all()
            if target.kind == "churn":
                assert (labels["label"].isna() == unripe).all()
            assert set(np.unique(labels["label"].dropna())) <= {0.0, 1.0}


@law
@given(many, st.integers(1, 30))
def test_labels_keep_their_direction_as_the_horizon_grows(world: World, horizon: int) -> None:
    with extracted(world) as tables:
        for kind, sign in (("conversion", 1), ("churn", -1)):
            short, long = (Target("x", kind, days, settle_days=0) for days in (horizon, horizon + 7))  # type: ignore[arg-type]
            if short.outcome[0] not in tables.tables:
                continue
            spine = build_spine(tables, short, SpinePlan("week"))
            if spine.empty:
                continue
            change = build_labels(tables, spine, long)["label"] - build_labels(tables, spine, short)["label"]
            assert (change.dropna() * sign >= 0).all()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.kind)
def test_the_laws_are_not_idle(target: Target) -> None:
    """Nearly every feature has a value somewhere, so comparing features compares something."""
    with tempfile.TemporaryDirectory() as folder:
        tables = extract_world(Path(folder), export(busy_world(), END), END)
        frame = features(tables, build_spine(tables, target, SpinePlan("week", None, (0, 7))), target)
    assert frame.notna().any().mean() > 0.8


def busy_world() -> World:
    """One world in which nearly every feature has a value."""
    hour = [START + timedelta(hours=h) for h in range(HOURS)]
    customers = [
        {"customer_id": f"C{i}", "created_at": hour[0], "known_at": hour[0], "employees": 5, "industry": "a"}
        for i in range(2)
    ]
    deals = [
        {
            "deal_id": f"D{i}", "customer_id": f"C{i % 2}", "created_at": hour[5], "known_at": hour[5], "owner_id": "X",
            "source": "web", "amount": 100, "closed_at": hour[200 * i] if i else None,
            "closed_at_known_at": hour[200 * i] if i else None, "outcome": "won" if i % 2 else ("lost" if i else None),
        }
        for i in range(5)
    ]  # fmt: skip
    orders = [
        {"order_id": f"O{i}", "customer_id": f"C{i % 2}", "occurred_at": hour[60 * i + 6], "known_at": hour[60 * i + 6],
         "amount": 50 + i, "quantity": -1.0 if i == 3 else 1.0}
        for i in range(16)
    ]  # fmt: skip
    stages = [
        {"deal_id": "D0", "occurred_at": hour[6 + i], "known_at": hour[6 + i], "stage": s}
        for i, s in enumerate(("new", "demo"))
    ]
    activities = [
        {"activity_id": f"A{i}", "customer_id": "C0", "deal_id": "D0", "occurred_at": hour[7 + 90 * i],
         "known_at": hour[7 + 90 * i], "kind": "meeting", "direction": "inbound"}
        for i in range(9)
    ]  # fmt: skip
    return World(
        {"customers": customers, "deals": deals, "orders": orders, "stage_changes": stages, "activities": activities}
    )
