"""The laws of time where rows end, change, change hands and come back; as in test_laws."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from ended_worlds import Fate, Stored, cut, fates, live, scramble, store, write
from hypothesis import given, settings
from test_laws import CHURN, CONVERSION, EXAMPLES, TARGETS, features, many, moments, possible, same
from test_laws import law as usual
from worlds import END, World

from features.catalog import CATALOG
from features.engine import open_database
from features.group import Feature, FeatureDict, Group, feature_group
from features.labels import build_labels
from features.spine import build_scoring_spine, build_spine
from features.tables import CrmTables
from features.targets import SpinePlan
from features.view import as_of_view


@feature_group("subscriptions")
def subscription_revenue(subscriptions: Any) -> FeatureDict:
    """Monthly revenue of the customer."""
    return {
        "mrr": Feature(subscriptions.mrr.sum(), 0, "currency", "{value}", "{value}"),
        "subscriptions": Feature(subscriptions.row.count(), 0, "count", "{value}", "{value}"),
    }


WITH_SUBSCRIPTIONS: tuple[Group, ...] = (*CATALOG, subscription_revenue)
law = settings(parent=usual, max_examples=max(2, EXAMPLES // 2))
any_fates = fates("delete", "restore", "change", "move", "turn", "merge")


@contextmanager
def written(stored: Stored, at: datetime = END) -> Iterator[CrmTables]:
    with tempfile.TemporaryDirectory() as folder:
        yield write(Path(folder), stored, at)


@law
@given(many, any_fates, moments)
def test_a_row_that_ends_or_changes_at_or_after_as_of_is_as_if_it_had_not(
    world: World, happening: list[Fate], at: datetime
) -> None:
    stored = live(store(world), happening)
    with written(stored) as later, written(cut(stored, at), at) as then:
        for target in possible(later, then):
            spine = build_scoring_spine(later, target, at)
            pd.testing.assert_frame_equal(spine, build_scoring_spine(then, target))
            if len(spine):
                same(*(features(tables, spine, target, WITH_SUBSCRIPTIONS) for tables in (later, then)))


@law
@given(many, any_fates, moments)
def test_whatever_ends_at_or_after_as_of_changes_nothing(world: World, happening: list[Fate], at: datetime) -> None:
    stored = live(store(world), happening)
    with written(stored) as tables, written(scramble(stored, at)) as other:
        for target in possible(tables, other):
            spine = build_scoring_spine(tables, target, at)
            pd.testing.assert_frame_equal(spine, build_scoring_spine(other, target, at))
            if len(spine):
                same(*(features(one, spine, target, WITH_SUBSCRIPTIONS) for one in (tables, other)))


@law
@given(many, any_fates)
def test_a_snapshot_alone_gives_what_it_gives_beside_others_where_rows_end(world: World, happening: list[Fate]) -> None:
    with written(live(store(world), happening)) as tables:
        for target in possible(tables):
            spine = build_spine(tables, target, SpinePlan("week", None, (0, 7)))
            if spine.empty:
                continue
            together = features(tables, spine, target, WITH_SUBSCRIPTIONS)
            alone = features(tables, spine.iloc[[len(spine) // 2]].reset_index(drop=True), target, WITH_SUBSCRIPTIONS)
            same(together.loc[alone.index], alone)


@law
@given(many, any_fates)
def test_of_the_versions_of_a_row_at_most_one_is_visible(world: World, happening: list[Fate]) -> None:
    with written(live(store(world), happening)) as tables, open_database(tables) as database:
        for target in possible(tables):
            spine = build_spine(tables, target, SpinePlan("week", None, (0, 7)))
            keys = pd.DataFrame({"row": range(len(spine)), "as_of": spine["as_of"], "deal_id": spine["entity_id"]})
            rows = database.add("asked", keys.assign(customer_id=spine["customer_id"].astype("str")))
            for name, by, key in (
                ("orders", "customer_id", "order_id"), ("customers", "customer_id", "customer_id"),
                ("deals", "deal_id", "deal_id"), ("deals", "customer_id", "deal_id"),
                ("subscriptions", "customer_id", "subscription_id"), ("activities", "customer_id", "activity_id"),
            ):  # fmt: skip
                if name in tables.tables:
                    view = as_of_view(database, rows, name, by)
                    seen = database.frame(view.group_by("row").agg(rows=view.row.count(), ids=view[key].nunique()))
                    assert (seen["rows"] == seen["ids"]).all(), (name, by)


@law
@given(many, fates("restore", "change", "move", "turn"))
def test_labels_count_a_row_once_whatever_becomes_of_it_but_deletion(world: World, happening: list[Fate]) -> None:
    before = store(world)
    with written(before) as tables, written(live(before, happening)) as other:
        for target in possible(tables):
            spine = build_spine(tables, target, SpinePlan("week", None, (0, 7)))
            if len(spine):
                pd.testing.assert_frame_equal(build_labels(tables, spine, target), build_labels(other, spine, target))


@law
@given(many, fates("delete"))
def test_deletion_adds_no_win_and_no_purchase_and_censors_what_was_open(world: World, happening: list[Fate]) -> None:
    before = store(world)
    with written(before) as tables, written(live(before, happening)) as other:
        for target, better in ((CONVERSION, 1.0), (CHURN, 0.0)):
            if target not in possible(tables):
                continue
            spine = build_spine(tables, target, SpinePlan("week", None, (0, 7)))
            old, new = (build_labels(one, spine, target)["label"] for one in (tables, other))
            assert not ((new == better) & (old != better)).any()
            assert not (new.notna() & old.isna()).any()


def test_these_laws_are_not_idle() -> None:
    """Worlds as drawn hold rows of every fate."""
    from test_laws import busy_world
    from worlds import START, timedelta

    stored = store(busy_world())
    kinds = ("delete", "restore", "change", "move", "turn")
    happening = [
        Fate(kind, table, place, START + timedelta(days=9 + 3 * place), place + 1)  # type: ignore[arg-type]
        for place, kind in enumerate(kinds)
        for table in ("orders", "deals", "subscriptions")
    ]
    merge = Fate("merge", "customers", 0, START + timedelta(days=30), 1)
    lived = live(stored, [*happening, merge])
    ended = {name: sum(row["known_until"] is not None for row in rows) for name, rows in lived.items()}
    assert min(ended[name] for name in ("customers", "orders", "deals", "subscriptions", "activities")) >= 1
    with written(lived) as tables:
        for target in TARGETS:
            frame = features(tables, build_spine(tables, target, SpinePlan("week", None, (0, 7))), target)
            assert frame.notna().any().mean() > 0.7
