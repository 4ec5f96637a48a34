"""The laws of time where rows end, change, change hands and come back; as in test_laws."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from ended_worlds import OWNED, Fate, Stored, cut, fates, live, scramble, store, write
from hypothesis import given
from hypothesis import strategies as st
from laws import CHURN, SEARCHES, WEEKS, WORLDS, Crowd, crowds, features, label_law, law, possible, same
from test_laws import by_target
from worlds import END, START

from features.engine import open_database
from features.labels import build_labels
from features.spine import build_scoring_spine, build_spine
from features.tables import CrmTables
from features.targets import Target
from features.view import as_of_view

any_fates = fates("delete", "restore", "change", "move", "turn", "merge")


@contextmanager
def written(stored: Stored, at: datetime = END) -> Iterator[CrmTables]:
    with tempfile.TemporaryDirectory() as folder:
        yield write(Path(folder), stored, at)


@by_target
@law
@given(st.data(), any_fates)
def test_a_row_that_ends_or_changes_at_or_after_as_of_is_as_if_it_had_not(
    target: Target, data: Any, happening: list[Fate]
) -> None:
    crowd = data.draw(crowds[target.kind])
    stored, at = live(store(crowd.world), happening), crowd.at
    with written(stored) as later, written(cut(stored, at), at) as then, written(scramble(stored, at)) as other:
        spine = build_scoring_spine(later, target, at)
        known = features(later, spine, target.table)
        for tables, moment in ((then, None), (other, at)):
            if not possible(target, tables):
                continue
            pd.testing.assert_frame_equal(spine, build_scoring_spine(tables, target, moment))
            same(known, features(tables, spine, target.table), few=SEARCHES)


@by_target
@law
@given(st.data(), any_fates)
def test_a_snapshot_alone_gives_what_it_gives_beside_others_where_rows_end(
    target: Target, data: Any, happening: list[Fate]
) -> None:
    crowd = data.draw(crowds[target.kind])
    with written(live(store(crowd.world), happening)) as tables:
        spine = build_spine(tables, target, WEEKS)
        if spine.empty:
            return
        together = features(tables, spine, target.table)
        alone = spine.groupby(spine["entity_id"].str.split("-").str[0]).nth(len(spine) % 5).reset_index(drop=True)
        frame = features(tables, alone, target.table)
        same(together.loc[frame.index], frame)


@by_target
@label_law
@given(st.data(), any_fates)
def test_of_the_versions_of_a_row_at_most_one_is_visible(target: Target, data: Any, happening: list[Fate]) -> None:
    crowd = data.draw(crowds[target.kind])
    with written(live(store(crowd.world), happening)) as tables, open_database(tables) as database:
        spine = build_spine(tables, target, WEEKS)
        keys = pd.DataFrame({"row": range(len(spine)), "as_of": spine["as_of"], "deal_id": spine["entity_id"]})
        rows = database.add("asked", keys.assign(customer_id=spine["customer_id"].astype("str")))
        for name, by, key in (
            ("orders", "customer_id", "order_id"), ("customers", "customer_id", "customer_id"),
            ("deals", "deal_id", "deal_id"), ("deals", "customer_id", "deal_id"),
            ("subscriptions", "customer_id", "subscription_id"), ("activities", "customer_id", "activity_id"),
        ):  # fmt: skip
            view = as_of_view(database, rows, name, by)
            seen = database.frame(view.group_by("row").agg(rows=view.row.count(), ids=view[key].nunique()))
            assert (seen["rows"] == seen["ids"]).all(), (name, by)


@by_target
@label_law
@given(st.data(), fates("restore", "change", "move", "turn"))
def test_labels_count_a_row_once_whatever_becomes_of_it_but_deletion(
    target: Target, data: Any, happening: list[Fate]
) -> None:
    before = store(data.draw(crowds[target.kind]).world)
    with written(before) as tables, written(live(before, happening)) as other:
        spine = build_spine(tables, target, WEEKS)
        pd.testing.assert_frame_equal(build_labels(tables, spine, target), build_labels(other, spine, target))


@by_target
@label_law
@given(st.data(), fates("delete"))
def test_deletion_adds_no_win_and_no_purchase_and_censors_what_was_open(
    target: Target, data: Any, happening: list[Fate]
) -> None:
    before = store(data.draw(crowds[target.kind]).world)
    better = 0.0 if target == CHURN else 1.0
    with written(before) as tables, written(live(before, happening)) as other:
        spine = build_spine(tables, target, WEEKS)
        old, new = (build_labels(one, spine, target)["label"] for one in (tables, other))
        assert not ((new == better) & (old != better)).any()
        assert not (new.notna() & old.isna()).any()


def test_these_laws_are_not_idle() -> None:
    """What happens ends rows of every table before the moment that is looked at, and after it."""
    crowd = Crowd(0, tuple(range(WORLDS)))
    kinds = ("delete", "restore", "change", "move", "turn", "merge")
    tables = (*OWNED, "customers", "stage_changes", "assessments")
    happening = [
        Fate(kinds[n % 6], tables[n % 10], 37 * n, START + timedelta(days=1 + n % 48), n)  # type: ignore[arg-type]
        for n in range(200)
    ]
    for name, rows in live(store(crowd.world), happening).items():
        ends = [row["known_until"] for row in rows if row["known_until"]]
        assert min(ends) < crowd.at <= max(ends), name
