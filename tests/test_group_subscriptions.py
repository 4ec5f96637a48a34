"""Subscription features: one literal world, each version with the reason beside it, and the answers by hand."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from conftest import read_rows
from stored import stored_world

from features.build import FeatureFrame, build_features
from features.groups.subscriptions import subscription_changes, subscription_moves, subscription_status
from features.tables import CrmTables

GROUPS = (subscription_status, subscription_moves, subscription_changes)
NOW = "2024-06-01"
SUBSCRIPTIONS = """
    subscription_id  customer_id  occurred_at  known_at    known_until  mrr  renews_on   ended_at    ended_at_known_at
    S1               C1           2023-07-01   2023-07-01  2023-08-01   100  2023-12-31  2024-05-01  2024-05-01  # began within 365 days
    S1               C1           2023-07-01   2023-08-01  2024-03-01   150  2024-03-31  2024-05-01  2024-05-01  # upgraded by 50
    S1               C1           2023-07-01   2024-03-01  -            120  2024-09-30  2024-05-01  2024-05-01  # downgraded by 30, then ended; its renewal is void
    S2               C1           2022-06-01   2022-06-01  2023-06-02   200  2024-06-11  -           -           # the oldest; renews in 10 days
    S2               C1           2022-06-01   2023-06-02  2024-06-01   260  2024-06-11  -           -           # upgraded by 60, exactly 365 days before
    S2               C1           2022-06-01   2024-06-01  -            300  2024-06-11  -           -           # an upgrade known at as_of: unseen
    S3               C1           2024-04-01   2024-04-01  -            40   2024-05-15  -           -           # its renewal is past
    S4               C1           2023-02-01   2023-02-01  2023-06-01   80   2024-07-01  -           -
    S4               C1           2023-02-01   2023-06-01  2024-01-10   90   2024-07-01  -           -           # upgraded 366 days before
    S4               C1           2023-02-01   2024-01-10  -            85   2024-07-01  -           -           # corrected: counts as a downgrade by 5
    S5               C1           2024-06-01   2024-06-01  -            999  2025-06-01  -           -           # began exactly at as_of: unseen
    S6               C1           2024-03-03   2024-03-03  -            25   2024-08-03  2024-05-20  2024-06-01  # end known at as_of: live; began 90 days before
    S7               C2           2024-01-01   2024-01-01  2024-04-01   50   2024-12-31  2024-04-01  2024-04-01
    S7               C2           2024-01-01   2024-04-01  -            0    2024-12-31  2024-04-01  2024-04-01  # set to nothing as it ended: no downgrade
    S8               C2           2023-06-01   2023-06-01  2024-02-01   -    -           -           -           # its value was not known
    S8               C2           2023-06-01   2024-02-01  -            70   -           -           -           # so this is no upgrade
    S9               C2           2022-01-01   2022-01-01  -            15   2023-01-01  2023-12-01  2023-12-01  # ended 183 days before
    S10              C3           2024-01-01   2024-01-01  -            10   2024-06-01  2024-07-01  2024-05-01  # an end announced for later: live; renews on the day of as_of
    S11              C4           2024-01-01   2024-01-01  -            10   -           2024-06-01  2024-05-01  # an end announced for as_of: still live
"""  # noqa: E501  (one version per line)


def world(folder: Path) -> CrmTables:
    versions = read_rows("subscriptions", SUBSCRIPTIONS).to_pylist()
    renewals = [version["renews_on"] and date.fromisoformat(version["renews_on"]) for version in versions]
    dated = [{**version, "renews_on": day} for version, day in zip(versions, renewals, strict=True)]
    return stored_world(folder, subscriptions=dated)


def build(tables: CrmTables, *snapshots: tuple[str, str]) -> FeatureFrame:
    spine = pd.DataFrame(snapshots, columns=["entity_id", "as_of"])
    spine = spine.assign(as_of=pd.to_datetime(spine["as_of"], format="ISO8601"), customer_id=spine["entity_id"])
    return build_features(tables, spine, GROUPS, "customers")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """All snapshots of the world in one build, by (entity_id, as_of), without the prefix of the names."""
    snapshots = [("C1", NOW), ("C1", "2024-06-02"), ("C1", "2024-01-10"), ("C2", NOW), ("C9", NOW)]
    renewals = [("C3", NOW), ("C3", "2024-06-01 18:00:00"), ("C3", "2024-06-02"), ("C4", NOW)]
    frame = build(world(tmp_path_factory.mktemp("subscriptions")), *snapshots, *renewals).frame
    return frame.set_index(["entity_id", "as_of"]).rename(columns=lambda name: name.removeprefix("subscriptions_"))


def row_of(rows: pd.DataFrame, entity: str, at: str = NOW) -> pd.Series:
    return rows.loc[(entity, pd.Timestamp(at))]


def test_what_is_live_and_what_has_ended_by_hand(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C1")
    answers = {
        "mrr": 410,  # S2 260, S3 40, S4 85, S6 25
        "live_count": 4,
        "days_to_renewal": 10,  # S2; that of S3 is past, S1 has ended
        "live_days_max": 731,  # S2, since 1 June 2022
        "ended_count": 1,  # S1
        "days_since_end": 31,
        "started_mrr_90d": 65,  # S3, S6
        "started_mrr_365d": 185,  # and S1, in its newest version
        "ended_mrr_90d": 120,
        "ended_mrr_365d": 120,
    }
    assert {name: row[name] for name in answers} == answers


def test_up_and_downgrades_by_hand(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C1")
    answers = {
        "upgrades_count_365d": 2,  # S1 in August, S2
        "upgrades_amount_365d": 110,
        "downgrades_count_365d": 2,  # S1 in March, S4
        "downgrades_amount_365d": 35,
    }
    assert {name: row[name] for name in answers} == answers


def test_a_day_later_the_upgrade_and_the_end_are_known_and_the_window_has_moved_on(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C1", "2024-06-02")
    answers = {
        "mrr": 1424,  # S2 300, S3 40, S4 85, S5 999
        "live_count": 4,
        "ended_count": 2,
        "days_since_end": 13,  # S6
        "ended_mrr_90d": 145,
        "upgrades_count_365d": 2,  # S1, and S2 by 40; that of S2 by 60 is 366 days old
        "upgrades_amount_365d": 90,
    }
    assert {name: row[name] for name in answers} == answers


def test_a_correction_known_at_as_of_is_unseen(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C1", "2024-01-10")
    assert (row["mrr"], row["downgrades_count_365d"]) == (500, 0)  # S1 150, S2 260, S4 90
    assert (row["upgrades_count_365d"], row["upgrades_amount_365d"]) == (3, 120)  # S1, S2, S4


def test_neither_an_unknown_value_nor_the_end_is_a_change(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C2")
    answers = {
        "mrr": 70,
        "live_count": 1,
        "live_days_max": 366,
        "ended_count": 2,
        "days_since_end": 61,
        "started_mrr_365d": 0,  # S7, at nothing
        "ended_mrr_90d": 0,
        "ended_mrr_365d": 15,  # S9
        "upgrades_count_365d": 0,
        "upgrades_amount_365d": 0,
        "downgrades_count_365d": 0,
        "downgrades_amount_365d": 0,
    }
    assert {name: row[name] for name in answers} == answers
    assert pd.isna(row["days_to_renewal"])


def test_a_renewal_is_due_until_the_end_of_its_day_and_an_end_announced_for_later_is_none_yet(
    rows: pd.DataFrame,
) -> None:
    moments = [NOW, "2024-06-01 18:00:00", "2024-06-02"]
    assert [row_of(rows, "C3", at)["live_count"] for at in moments] == [1, 1, 1]
    assert [row_of(rows, "C3", at)["days_to_renewal"] for at in moments[:2]] == [0, 0]
    assert pd.isna(row_of(rows, "C3", moments[2])["days_to_renewal"])
    assert row_of(rows, "C4")[["live_count", "ended_count", "ended_mrr_90d"]].tolist() == [1, 0, 0]


def test_without_subscriptions_counts_and_amounts_are_zero_and_the_rest_is_unknown(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C9")
    unknown = {"days_to_renewal", "live_days_max", "days_since_end"}
    assert set(row.index[row.isna()]) == unknown
    assert (row.drop(list(unknown)) == 0).all()


def test_a_deal_without_customer_knows_nothing_of_subscriptions(tmp_path: Path) -> None:
    spine = pd.DataFrame({"entity_id": ["D1"], "as_of": [pd.Timestamp(NOW)], "customer_id": [None]})
    built = build_features(world(tmp_path), spine, GROUPS, "deals")
    assert built.frame[built.columns].isna().all(axis=None)


def test_without_ends_nobody_knows_what_is_live_but_changes_count(tmp_path: Path) -> None:
    versions = [
        {"subscription_id": "S1", "customer_id": "C1", "occurred_at": "2024-01-01", "known_at": at, "mrr": mrr,
         "known_until": until, "renews_on": date(2024, 7, 1)}
        for at, until, mrr in (("2024-01-01", "2024-02-01", 10), ("2024-02-01", None, 30))
    ]  # fmt: skip
    built = build(stored_world(tmp_path, subscriptions=versions), ("C1", NOW))
    answers = {
        "started_mrr_90d": 0,
        "started_mrr_365d": 30,
        "upgrades_count_365d": 1,
        "upgrades_amount_365d": 20,
        "downgrades_count_365d": 0,
        "downgrades_amount_365d": 0,
    }
    found = built.frame.iloc[0].to_dict()
    assert {name.removeprefix("subscriptions_"): found[name] for name in built.columns} == answers
    assert built.skipped["subscriptions_mrr"] == "table 'subscriptions' has no column 'ended_at'"
