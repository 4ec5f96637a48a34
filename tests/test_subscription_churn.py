"""Churn by subscription: who is looked at and who left, each with the answer by hand.

A customer is looked at while a subscription of theirs is live as known. The label is 1 if none is alive at the end of
`[as_of, as_of + horizon)`: begun before it, and not ended before it.
"""

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_config, make_tables
from hypothesis import given
from hypothesis import strategies as st
from laws import WEEKS, crowds, extracted, law
from stored import stored_world
from test_ended_labels import label
from test_laws import scrambled

from features.errors import DataError
from features.labels import build_labels
from features.spine import build_scoring_spine, build_spine
from features.tables import CrmTables
from features.targets import SpinePlan, Target
from pipeline.audit_maturity import measure_maturity
from pipeline.training import make_training_set

LAPSE = Target("lapse", "churn", 30, settle_days=0, by="subscription")

CUSTOMERS = """
    customer_id  created_at  known_at    known_until  merged_into
    C01          2024-01-01  2024-01-01  -            -
    C02          2024-01-01  2024-01-01  -            -
    C03          2024-01-01  2024-01-01  -            -
    C04          2024-01-01  2024-01-01  -            -
    C05          2024-01-01  2024-01-01  -            -
    C06          2024-01-01  2024-01-01  -            -
    C07          2024-01-01  2024-01-01  -            -
    C08          2024-01-01  2024-01-01  -            -
    C09          2024-01-01  2024-01-01  -            -
    C10          2024-01-01  2024-01-01  -            -
    C11          2024-01-01  2024-01-01  -            -
    C12          2024-01-01  2024-01-01  -            -
    C13          2024-01-01  2024-01-01  -            -
    C14          2024-01-01  2024-01-01  2024-03-15   C15          # merged into C15 on 15 March
    C15          2024-01-01  2024-01-01  -            -
    C16          2024-01-01  2024-01-01  2024-03-15   -            # deleted on 15 March
    C17          2024-01-01  2024-01-01  -            -
    C18          2024-01-01  2024-01-01  -            -
    C19          2024-01-01  2024-01-01  -            -
    C20          2024-01-01  2024-01-01  -            -
    C21          2024-01-01  2024-01-01  -            -
    C22          2024-01-01  2024-01-01  -            -
    C23          2024-01-01  2024-01-01  -            -            # never had one
"""
SUBSCRIPTIONS = """
subscription_id  occurred_at  known_at    known_until  customer_id  ended_at                    ended_at_known_at
S01              2024-01-10   2024-01-10  -            C01          -                           -            # runs on
S02              2024-01-10   2024-01-10  -            C02          2024-03-10                  2024-03-10   # ends
S03              2024-01-10   2024-01-10  -            C03          2024-03-31                  2024-03-31
S04              2024-01-10   2024-01-10  -            C04          2024-03-30 23:59:59.999999  2024-03-31
S05              2024-01-10   2024-01-10  -            C05          2024-03-10                  2024-03-10   # and
S05b             2024-03-20   2024-03-20  -            C05          -                           -            # again
S06              2024-01-10   2024-01-10  -            C06          2024-03-10                  2024-03-10
S06b             2024-03-31   2024-03-31  -            C06          -                           -
S07              2024-01-10   2024-01-10  -            C07          2024-03-10                  2024-04-20   # late
S08              2024-01-10   2024-01-10  -            C08          2024-03-01                  2024-03-01
S09              2024-01-10   2024-01-10  -            C09          2024-02-29                  2024-02-29
S10              2024-01-10   2024-01-10  -            C10          2024-03-20                  2024-02-15   # notice
S11              2024-01-10   2024-01-10  -            C11          2024-03-10                  2024-03-10
S11b             2024-01-20   2024-01-20  -            C11          -                           -
S12              2024-02-20   2024-03-01  -            C12          -                           -
S13              2024-01-10   2024-01-10  -            C13          2024-03-10                  2024-03-10
S13b             2024-03-25   2024-05-01  -            C13          -                           -
S14              2024-01-10   2024-01-10  2024-03-15   C14          -                           -            # merged
S14              2024-01-10   2024-03-15  -            C15          -                           -
S15              2024-01-10   2024-01-10  -            C15          2024-03-10                  2024-03-10
S16              2024-01-10   2024-01-10  -            C16          -                           -
S17              2024-01-10   2024-01-10  2024-03-15   C17          -                           -            # deleted
S18              2024-01-10   2024-01-10  2024-03-15   C18          2024-03-10                  2024-03-10   # deleted
S19              2024-01-10   2024-01-10  2024-03-15   C19          -                           -            # deleted
S19b             2024-01-20   2024-01-20  -            C19          -                           -
S20              2024-01-10   2024-01-10  2024-03-20   C20          2024-03-10                  2024-03-10   # taken
S20              2024-01-10   2024-03-20  -            C20          -                           -            # up again
S21              2024-01-10   2024-01-10  2024-04-05   C21          -                           -            # corrected
S21              2024-01-10   2024-04-05  -            C21          2024-03-10                  2024-04-05
S22              2024-01-10   2024-01-10  2024-03-12   C22          -                           -            # sold on
S22              2024-01-10   2024-03-12  -            C01          -                           -
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> CrmTables:
    return stored_world(tmp_path_factory.mktemp("lapse"), customers=CUSTOMERS, subscriptions=SUBSCRIPTIONS)


@pytest.mark.parametrize(
    ("entity", "at", "days", "expected"),
    [
        ("C01", "2024-03-01", 30, 0.0),
        ("C02", "2024-03-01", 30, 1.0),
        ("C02", "2024-03-01", 9, 0.0),  # ends on 10 March, where the horizon ends: outside
        ("C02", "2024-03-01", 10, 1.0),
        ("C03", "2024-03-01", 30, 0.0),  # ended exactly at as_of + horizon: alive until then
        ("C03", "2024-03-01", 31, 1.0),
        ("C04", "2024-03-01", 30, 1.0),  # a microsecond before
        ("C05", "2024-03-01", 15, 1.0),  # until 16 March, before the new one
        ("C05", "2024-03-01", 19, 1.0),  # until 20 March, where it begins: outside
        ("C05", "2024-03-01", 20, 0.0),  # subscribed again within the horizon
        ("C05", "2024-03-01", 30, 0.0),
        ("C06", "2024-03-01", 30, 1.0),  # begun exactly at the end of the horizon
        ("C06", "2024-03-01", 31, 0.0),
        ("C07", "2024-03-01", 30, 1.0),  # what is known late happened all the same
        ("C07", "2024-04-01", 30, 1.0),  # had ended before, although nobody knew: there is none at the end
        ("C08", "2024-03-01", 30, 1.0),  # ended exactly at as_of
        ("C10", "2024-03-01", 30, 1.0),  # notice was given before
        ("C11", "2024-03-01", 30, 0.0),  # one of two ended
        ("C12", "2024-02-25", 30, 0.0),  # ran, although nobody knew
        ("C13", "2024-03-01", 30, 0.0),  # subscribed again on the 25th, entered in May
        ("C14", "2024-03-01", 30, None),  # merged within the horizon
        ("C14", "2024-02-14", 30, 0.0),  # until 15 March exactly: the merge lies outside
        ("C15", "2024-03-01", 30, 1.0),  # S14 was C14's at as_of
        ("C15", "2024-03-15", 30, 1.0),  # still so: a version holds until its end
        ("C15", "2024-03-16", 30, 0.0),  # S14 went over
        ("C16", "2024-03-01", 30, None),  # deleted within the horizon
        ("C16", "2024-02-14", 30, 0.0),
        ("C17", "2024-03-01", 30, None),  # nobody knows what became of a deleted subscription
        ("C17", "2024-02-14", 30, 0.0),  # until 15 March exactly
        ("C18", "2024-03-01", 30, 1.0),  # ended before it was deleted
        ("C19", "2024-03-01", 30, 0.0),  # the other one runs, whatever became of this one
        ("C20", "2024-02-19", 30, 1.0),  # until 20 March, where it is taken up again: outside
        ("C20", "2024-02-20", 30, 0.0),
        ("C20", "2024-04-01", 30, 0.0),  # the first end is past
        ("C21", "2024-03-01", 30, 1.0),  # corrected in April: it had ended on 10 March
        ("C22", "2024-03-01", 30, 0.0),  # it runs on, if for another customer
        ("C22", "2024-03-12", 30, 0.0),  # still theirs: a version holds until its end
        ("C23", "2024-03-01", 30, 1.0),  # none at as_of, none at the end: not looked at in training
    ],
)
def test_a_customer_left_if_no_subscription_is_alive_at_the_end_of_the_horizon(
    tables: CrmTables, entity: str, at: str, days: int, expected: float | None
) -> None:
    assert label(tables, replace(LAPSE, horizon_days=days), entity, at) == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        # S09 is known to have ended; S12 is known exactly at as_of, so it is not; C23 has none
        ("2024-03-01", "C01 C02 C03 C04 C05 C06 C07 C08 C10 C11 C13 C14 C15 C16 C17 C18 C19 C20 C21 C22"),
        (
            "2024-03-01 00:00:00.000001",
            "C01 C02 C03 C04 C05 C06 C07 C10 C11 C12 C13 C14 C15 C16 C17 C18 C19 C20 C21 C22",
        ),
        ("2024-03-15", "C01 C03 C04 C07 C10 C11 C12 C14 C16 C17 C19 C21"),  # versions hold until their end
        ("2024-03-16", "C01 C03 C04 C07 C10 C11 C12 C15 C19 C21"),  # S14 is C15's; S20 ended, S22 is C01's
        ("2024-03-20", "C01 C03 C04 C07 C10 C11 C12 C15 C19 C21"),  # S10 ends at as_of: alive until then
        ("2024-03-21", "C01 C03 C04 C05 C07 C11 C12 C15 C19 C20 C21"),  # S10 ended as announced; S05b, S20 are back
        ("2024-04-06", "C01 C05 C06 C07 C11 C12 C15 C19 C20"),  # S07 still runs as far as anyone knows
        ("2024-04-20", "C01 C05 C06 C07 C11 C12 C15 C19 C20"),  # its end becomes known at as_of: not before it
        ("2024-04-21", "C01 C05 C06 C11 C12 C15 C19 C20"),
    ],
)
def test_who_has_a_live_subscription_as_known(tables: CrmTables, at: str, expected: str) -> None:
    spine = build_scoring_spine(tables, LAPSE, datetime.fromisoformat(at))
    assert " ".join(spine["entity_id"]) == expected


def test_a_label_waits_for_ends_that_are_entered_late(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path,
        data_end="2024-04-01",
        customers="""
            customer_id  created_at
            C1           2024-01-01
            C2           2024-01-01
        """,
        subscriptions="""
            subscription_id  occurred_at  customer_id  ended_at    ended_at_known_at
            S1               2024-01-10   C1           2024-02-10  2024-02-12
            S2               2024-01-10   C2           -           -
        """,
    )
    late = replace(LAPSE, settle_days=None)  # the only end was known two days late
    spine = pd.DataFrame({"entity_id": ["C2", "C2"], "as_of": pd.to_datetime(["2024-02-29", "2024-03-01"])})
    labels = build_labels(tables, spine, late)
    assert labels["settled_at"].tolist() == [pd.Timestamp("2024-04-01"), pd.Timestamp("2024-04-02")]
    assert labels["label"].tolist()[0] == 0.0
    assert np.isnan(labels["label"].tolist()[1])


def test_an_end_that_was_announced_makes_no_label_ripe_before_the_end_of_its_horizon(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path,
        customers="""
            customer_id  created_at
            C1           2024-01-01
        """,
        subscriptions="""
            subscription_id  occurred_at  customer_id  ended_at    ended_at_known_at
            S1               2024-01-10   C1           2024-06-10  2024-02-10       # notice of four months
        """,
    )
    spine = pd.DataFrame({"entity_id": ["C1"], "as_of": [pd.Timestamp("2024-03-01")]})
    settled = build_labels(tables, spine, replace(LAPSE, settle_days=None))["settled_at"]
    assert settled.tolist() == [pd.Timestamp("2024-03-31")]


def test_cohorts_of_subscribers_ripen_by_their_ends(tables: CrmTables) -> None:
    found = measure_maturity(tables, LAPSE, SpinePlan("month", date(2024, 3, 1)))
    march = next(one for one in found.cohorts if one.month == "2024-03")
    assert found.outcome == "a subscription ended"
    assert (march.rows, march.ripe, march.settled) == (20, 17, 20)  # C14, C16 and C17 are censored
    assert march.base_rate == pytest.approx(9 / 17)  # C02 C04 C06 C07 C08 C10 C15 C18 C21


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (
            "table",
            r"^Target 'lapse' needs table 'subscriptions', which is not mapped, or has no rows\. Add it to ",
        ),
        ("column", r"^Target 'lapse' needs column 'ended_at' of table 'subscriptions', which is not mapped\. Add it"),
    ],
)
def test_a_target_whose_subscriptions_cannot_end_says_so(tmp_path: Path, missing: str, sentence: str) -> None:
    rows = [{"subscription_id": "S1", "occurred_at": "2024-01-01", "customer_id": "C1"}]
    more = {} if missing == "table" else {"subscriptions": rows}
    made = make_tables(tmp_path, customers=[{"customer_id": "C1", "created_at": "2024-01-01"}], **more)
    with pytest.raises(DataError, match=sentence):
        build_spine(made, LAPSE, SpinePlan("month"))


BY_SUBSCRIPTION = {"kind": "churn", "by": "subscription", "horizons_days": [30], "settle_days": 0}


def test_a_training_set_of_subscribers(tables: CrmTables, tmp_path: Path) -> None:
    lapse = {**BY_SUBSCRIPTION, "spine": {"grid": "month", "start": "2024-03-01"}}
    config = make_config(tmp_path, {"customers": {}, "subscriptions": {}}, targets={"lapse": lapse})
    rows = make_training_set(config, tables, "lapse")
    in_march = rows.keys["as_of"] == "2024-03-01"
    assert rows.keys["entity_id"][in_march].str.cat(rows.label[in_march].astype(int).astype(str)).tolist() == [
        "C010", "C021", "C030", "C041", "C050", "C061", "C071", "C081", "C101", "C110", "C130", "C151", "C181", "C190",
        "C200", "C211", "C220",
    ]  # fmt: skip
    assert "subscriptions_live_count" in rows.frame


def test_nothing_is_sure_of_subscribers_because_of_what_buyers_do(tmp_path: Path) -> None:
    """That a long silence means leaving is known of buyers; who pays by the month may never order."""
    orders = [
        {"order_id": f"O{number}", "occurred_at": at, "customer_id": "C1", "amount": number + 1}
        for number, at in enumerate(["2024-01-10", "2024-02-05", "2024-03-10"])
    ]
    made = make_tables(
        tmp_path,
        customers=[{"customer_id": key, "created_at": "2024-01-01"} for key in ("C1", "C2")],
        orders=orders,
        subscriptions=[
            {"subscription_id": "S1", "occurred_at": "2024-01-01", "customer_id": "C1", "ended_at": None},
            {"subscription_id": "S2", "occurred_at": "2024-01-01", "customer_id": "C2", "ended_at": "2024-03-10"},
        ],
    )
    lapse = {**BY_SUBSCRIPTION, "spine": {"grid": "month"}}
    buyers = {**lapse, "by": "orders"}
    names = ("customers", "orders", "subscriptions")
    config = make_config(tmp_path, {key: {} for key in names}, targets={"lapse": lapse, "churn": buyers})
    assert make_training_set(config, made, "churn").directions["orders_days_since_last"] == 1
    found = make_training_set(config, made, "lapse")
    assert "orders_days_since_last" in found.frame
    assert not any(name.startswith("orders_") for name in found.directions)


def test_a_lookback_is_for_buyers(tmp_path: Path) -> None:
    target = {**BY_SUBSCRIPTION, "spine": {"grid": "month"}, "lookback_days": 90}
    with pytest.raises(ValueError, match=r"lookback_days is for churn by: orders\. Remove it: subscribers are"):
        make_config(tmp_path, {"customers": {}}, targets={"lapse": target})


@law
@given(st.data())
def test_the_population_is_what_an_extract_of_that_moment_gives_and_the_future_changes_nothing(data: st.DataObject):
    crowd = data.draw(crowds["churn"])
    with (
        extracted(crowd.world) as tables,
        extracted(scrambled(crowd)) as other,
        extracted(crowd.world, crowd.at) as then,
    ):
        spine = build_scoring_spine(tables, LAPSE, crowd.at)
        assert "subscriptions" not in tables.tables or len(spine)
        pd.testing.assert_frame_equal(spine, build_scoring_spine(other, LAPSE, crowd.at))
        pd.testing.assert_frame_equal(spine, build_scoring_spine(then, LAPSE))


@law
@given(st.data(), st.integers(1, 30), st.integers(0, 9))
def test_labels_rise_with_the_horizon_unless_somebody_subscribes_again(data: st.DataObject, days: int, settle: int):
    world = data.draw(crowds["churn"]).world
    with extracted(world) as tables:
        spine = build_spine(tables, LAPSE, WEEKS)
        short, long = (
            build_labels(tables, spine, replace(LAPSE, horizon_days=count, settle_days=settle))
            for count in (days, days + 7)
        )
        unripe = spine["as_of"] + pd.Timedelta(days=days + settle) > tables.data_end
        assert (short["label"].isna() == unripe).all()
        fallen = spine[(long["label"] - short["label"]) < 0]
        begun = pd.DataFrame(world.rows["subscriptions"])[["customer_id", "occurred_at"]]
        again = fallen.merge(begun, left_on="entity_id", right_on="customer_id")
        since = again["occurred_at"] - again["as_of"]
        inside = (since >= pd.Timedelta(days=days)) & (since < pd.Timedelta(days=days + 7))
        assert set(again[inside]["entity_id"]) == set(fallen["entity_id"])
        assert 0 < short["label"].mean() < 1
