"""The edges of time, each as a literal world with the answer written by hand."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_tables

from features.build import build_features
from features.catalog import CATALOG
from features.errors import DataError
from features.labels import build_labels
from features.spine import build_scoring_spine, build_spine
from features.tables import CrmTables
from features.targets import SpinePlan, Target

CHURN = Target("churn", "churn", 30, settle_days=0)
CONVERSION = Target("conversion", "conversion", 30, settle_days=0)


def snapshot(
    tables: CrmTables, entity: str, at: str, customer: str | None = None, table: str = "customers"
) -> pd.Series:
    """Return the features of one entity at one moment."""
    owner = customer if table == "deals" else entity
    spine = pd.DataFrame({"entity_id": [entity], "as_of": [pd.Timestamp(at)], "customer_id": [owner]})
    return build_features(tables, spine, CATALOG, table).frame.iloc[0]  # type: ignore[arg-type]


def customers(*ids: str) -> list[dict[str, Any]]:
    return [{"customer_id": i, "created_at": "2024-01-01"} for i in ids]


def test_an_event_exactly_at_as_of_is_not_seen_and_one_a_microsecond_before_is(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1"), orders="""
        order_id  occurred_at                 customer_id  amount  quantity
        O1        2024-03-01 11:59:59.999999  C1           10      1
        O2        2024-03-01 12:00:00         C1           20      1
    """)  # fmt: skip
    assert snapshot(tables, "C1", "2024-03-01 12:00:00")["orders_amount"] == 10
    assert snapshot(tables, "C1", "2024-03-01 12:00:00.000001")["orders_amount"] == 30


def test_a_window_holds_its_first_instant_and_not_the_one_before(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1"), orders="""
        order_id  occurred_at                 customer_id  amount  quantity
        O1        2024-03-01 11:59:59.999999  C1           10      1
        O2        2024-03-01 12:00:00         C1           20      1
    """)  # fmt: skip
    row = snapshot(tables, "C1", "2024-03-31 12:00:00")  # 30 days after O2
    assert row["orders_amount_30d"] == 20
    assert row["orders_amount_90d"] == 30


def test_a_row_known_late_is_absent_until_it_is_known_but_counts_at_its_own_time(tmp_path: Path) -> None:
    tables = make_tables(
        tmp_path,
        {"orders": {"known_at": "known_at"}},
        customers=customers("C1"),
        orders="""
            order_id  occurred_at  known_at    customer_id  amount  quantity
            O1        2024-03-01   2024-03-05  C1           10      1
        """,
    )
    assert snapshot(tables, "C1", "2024-03-05")["orders_count"] == 0  # known exactly at as_of: not yet
    seen = snapshot(tables, "C1", "2024-03-05 00:00:01")
    assert seen["orders_count"] == 1
    assert seen["orders_days_since_last"] == pytest.approx(4 + 1 / 86_400, abs=1e-12)  # since it occurred


def test_a_backfilled_row_does_not_change_yesterday(tmp_path: Path) -> None:
    before = make_tables(tmp_path / "before", customers=customers("C1"), orders="""
        order_id  occurred_at  customer_id  amount  quantity
        O1        2024-03-01   C1           10      1
    """)  # fmt: skip
    after = make_tables(
        tmp_path / "after",
        {"orders": {"known_at": "known_at"}},
        customers=customers("C1"),
        orders="""
            order_id  occurred_at  known_at    customer_id  amount  quantity
            O1        2024-03-01   2024-03-01  C1           10      1
            O2        2024-02-01   2024-04-15  C1           99      1
        """,
    )
    for at, seen in (("2024-04-15", 1), ("2024-04-16", 2)):
        assert snapshot(after, "C1", at)["orders_count"] == seen
    old, new = snapshot(before, "C1", "2024-04-01"), snapshot(after, "C1", "2024-04-01")
    pd.testing.assert_series_equal(old, new)


def test_a_date_column_counts_from_the_end_of_its_day(tmp_path: Path) -> None:
    tables = make_tables(
        tmp_path,
        customers=customers("C1"),
        orders=[{"order_id": "O1", "occurred_at": date(2024, 3, 1), "customer_id": "C1", "amount": 10, "quantity": 1}],
    )
    assert snapshot(tables, "C1", "2024-03-01 23:59:59")["orders_count"] == 0
    assert snapshot(tables, "C1", "2024-03-02 00:00:00")["orders_count"] == 1


DEALS = """
    deal_id  created_at  customer_id  source  owner_id  amount  closed_at   outcome
    D1       2024-02-01  C1           web     X         100     2024-03-10  won
    D2       2024-02-01  C1           web     X         500     2024-04-10  lost
    D3       2024-03-20  -            fair    Y         70      -           -
"""


def test_an_outcome_is_null_until_it_was_revealed(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1"), deals=DEALS)
    at_closing = snapshot(tables, "C1", "2024-03-10")
    assert (at_closing["deals_open_count"], at_closing["deals_won_count"]) == (2, 0)
    after = snapshot(tables, "C1", "2024-03-11")
    assert (after["deals_open_count"], after["deals_won_count"], after["deals_won_amount"]) == (1, 1, 100)
    assert after["deals_days_since_won"] == 1


def test_an_outcome_known_late_is_masked_until_it_is_known(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1"), deals="""
        deal_id  created_at  customer_id  source  owner_id  amount  closed_at   closed_at_known_at  outcome
        D1       2024-02-01  C1           web     X         100     2024-03-10  2024-03-15          won
    """)  # fmt: skip
    assert snapshot(tables, "C1", "2024-03-12")["deals_won_count"] == 0
    assert snapshot(tables, "C1", "2024-03-16")["deals_days_since_won"] == 6


def test_a_lead_at_birth_sees_its_own_creation_and_nothing_later(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1"), deals=DEALS, activities="""
        activity_id  occurred_at          customer_id  deal_id  kind  direction
        A1           2024-01-31 09:00:00  C1           -        call  inbound
        A2           2024-02-01 00:00:00  C1           D1       call  inbound
        A3           2024-02-01 00:00:01  C1           D1       call  inbound
    """)  # fmt: skip
    spine = build_spine(tables, CONVERSION, SpinePlan(ages_days=(0, 7)))
    births = spine[spine["entity_id"] == "D1"]["as_of"].tolist()
    assert births == [pd.Timestamp("2024-02-01 00:00:00.000001"), pd.Timestamp("2024-02-08")]
    late = build_spine(tables, CONVERSION, SpinePlan(start=date(2024, 2, 5), ages_days=(0, 7)))
    assert late[late["entity_id"] == "D1"]["as_of"].tolist() == births[1:]  # nothing before the start
    row = snapshot(tables, "D1", str(births[0]), "C1", "deals")
    assert row["deal_amount"] == 100
    assert row["deal_age_days"] == 0
    assert row["deal_activities_count"] == 1  # A2, at the same instant as the deal; A3 is later
    assert row["activities_count"] == 2


def test_a_lead_without_customer_has_null_and_not_zero_for_its_customer(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1"), deals=DEALS)
    row = snapshot(tables, "D3", "2024-04-01", None, "deals")
    assert np.isnan(row["deals_won_count"])
    assert snapshot(tables, "D2", "2024-04-01", "C1", "deals")["deals_won_count"] == 1


def test_a_changed_attribute_is_read_as_it_was(tmp_path: Path) -> None:
    tables = make_tables(
        tmp_path,
        {"customers": {"tracked": ["employees"]}},
        customers=[{"customer_id": "C1", "created_at": "2024-01-01", "employees": 30}],
        orders=[{"order_id": "O1", "occurred_at": "2024-01-02", "customer_id": "C1", "amount": 1, "quantity": 1}],
        attribute_changes="""
            occurred_at  table_name  entity_id  field      old_value  new_value
            2024-02-01   customers   C1         employees  10         20
            2024-03-01   customers   C1         employees  20         30
        """,
    )
    answers = {"2024-01-15": 10, "2024-02-01": 10, "2024-02-02": 20, "2024-03-01": 20, "2024-03-02": 30}
    assert {at: snapshot(tables, "C1", at)["customers_employees"] for at in answers} == answers


def test_an_attribute_is_null_before_its_history_begins(tmp_path: Path) -> None:
    tables = make_tables(
        tmp_path,
        {"customers": {"tracked": ["employees"], "history_since": {"employees": "2024-02-10"}}},
        customers=[{"customer_id": "C1", "created_at": "2024-01-01", "employees": 30}],
        orders=[{"order_id": "O1", "occurred_at": "2024-01-02", "customer_id": "C1", "amount": 1, "quantity": 1}],
        attribute_changes="""
            occurred_at  table_name  entity_id  field      old_value  new_value
            2024-03-01   customers   C1         employees  20         30
        """,
    )
    assert np.isnan(snapshot(tables, "C1", "2024-02-09")["customers_employees"])
    assert snapshot(tables, "C1", "2024-02-11")["customers_employees"] == 20


def test_results_of_an_owner_count_from_when_they_were_known_and_shrink_to_the_overall_rate(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1"), deals="""
        deal_id  created_at  customer_id  source  owner_id  amount  closed_at   outcome
        D1       2024-02-01  C1           web     X         100     2024-03-01  won
        D2       2024-02-01  C1           web     X         100     2024-03-05  lost
        D3       2024-02-01  C1           fair    Y         100     2024-03-05  lost
        D4       2024-02-01  C1           fair    X         100     -           -
        D5       2024-02-01  C1           fair    Z         100     -           -
    """)  # fmt: skip
    before = snapshot(tables, "D4", "2024-03-05", "C1", "deals")  # D2 and D3 settle exactly then: unseen
    assert before["owner_deals_closed_count_365d"] == 1
    assert before["owner_deals_won_rate"] == pytest.approx((1 + 20 * 1.0) / (1 + 20))
    after = snapshot(tables, "D4", "2024-03-06", "C1", "deals")
    assert after["owner_deals_closed_count_365d"] == 2
    assert after["owner_deals_won_rate"] == pytest.approx((1 + 20 / 3) / (2 + 20))
    stranger = snapshot(tables, "D5", "2024-03-06", "C1", "deals")
    assert (stranger["owner_deals_closed_count_365d"], stranger["owner_deals_won_rate"]) == (0, pytest.approx(1 / 3))


def test_purchase_days_gaps_and_returns_by_hand(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1"), orders="""
        order_id  occurred_at          customer_id  amount  quantity
        O1        2024-01-10 09:00:00  C1           100     1
        O2        2024-01-10 17:00:00  C1           50      1
        R1        2024-01-15 09:00:00  C1           -50     -1
        O3        2024-01-20 08:00:00  C1           30      2
        O4        2024-02-19 08:00:00  C1           20      2
    """)  # fmt: skip
    row = snapshot(tables, "C1", "2024-03-10 08:00:00")
    answers = {
        "orders_count": 4,
        "orders_amount": 200,
        "orders_returns_count": 1,
        "orders_returns_amount_90d": -50,
        "orders_repeat_days": 2,  # the 20th of January and the 19th of February; the return is no purchase
        "orders_gap_mean": 20,  # gaps of 10 and 30 days
        "orders_gap_max": 30,
        "orders_gap_spread": 10,
        "orders_days_since_last": 20,
        "orders_silence_ratio": 1.0,
    }
    assert {name: row[name] for name in answers} == answers


def test_a_customer_without_purchases_has_no_rates(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1", "C2"), orders="""
        order_id  occurred_at  customer_id  amount  quantity
        O1        2024-01-10   C2           100     1
    """)  # fmt: skip
    row = snapshot(tables, "C1", "2024-03-10")
    assert (row["orders_count"], row["orders_amount_90d"]) == (0, 0)
    assert row[["orders_monthly_rate", "orders_trend_90d", "orders_amount_mean", "orders_silence_ratio"]].isna().all()
    bought = snapshot(tables, "C2", "2024-03-10")  # one purchase day in 60 days, none of the repeats
    assert (bought["orders_monthly_rate"], bought["orders_amount_mean"]) == (0.5, 100)


def test_stages_follow_the_order_of_the_config(tmp_path: Path) -> None:
    tables = make_tables(
        tmp_path,
        config={"stages": ["new", "demo", "offer"]},
        deals=DEALS.replace("C1", "- "),
        stage_changes="""
            deal_id  occurred_at  stage
            D2       2024-02-01   new
            D2       2024-02-10   offer
            D2       2024-02-20   demo
            D2       2024-02-25   odd
        """,
    )
    row = snapshot(tables, "D2", "2024-03-01", None, "deals")
    assert (row["deal_stage_rank"], row["deal_stage_rank_max"], row["deal_days_in_stage"]) == (2, 3, 5)


def test_population_and_label_of_conversion_by_hand(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, data_end="2024-05-01", customers=customers("C1"), deals=DEALS)
    spine = build_spine(tables, CONVERSION, SpinePlan("month", date(2024, 3, 1)))
    labels = build_labels(tables, spine, CONVERSION)
    answers = {
        ("D1", "2024-03-01"): 1.0,  # won on 10 March
        ("D2", "2024-03-01"): 0.0,  # closed after 31 March
        ("D2", "2024-04-01"): 0.0,  # lost on 10 April
        ("D3", "2024-04-01"): 0.0,  # still open; 1 April + 30 days = 1 May: just ripe
        ("D3", "2024-05-01"): None,  # censored
    }
    found = {(r.entity_id, f"{r.as_of:%Y-%m-%d}"): None if np.isnan(r.label) else r.label for r in labels.itertuples()}
    assert found == answers


def test_label_edges_hold_as_of_and_leave_out_the_end_of_the_horizon(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1", "C2", "C3"), orders="""
        order_id  occurred_at                 customer_id  amount  quantity
        O1        2024-01-05                  C1           10      1
        O2        2024-02-01                  C1           10      1
        O3        2024-01-05                  C2           10      1
        O4        2024-03-02 00:00:00         C2           10      1
        O5        2024-01-05                  C3           10      1
        R5        2024-02-03                  C3           -10     -1
    """)  # fmt: skip
    spine = pd.DataFrame(
        {"entity_id": ["C1", "C2", "C3"], "as_of": pd.Timestamp("2024-02-01"), "customer_id": ["C1", "C2", "C3"]}
    )
    labels = build_labels(tables, spine, CHURN)["label"].tolist()
    assert labels == [0.0, 1.0, 1.0]  # at as_of: stays; 30 days later exactly: too late; a return is no order


def test_a_lookback_leaves_out_who_bought_before_it(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1", "C2"), orders="""
        order_id  occurred_at  customer_id  amount  quantity
        O1        2024-01-02   C1           10      1
        O2        2024-03-02   C2           10      1
    """)  # fmt: skip
    at = datetime(2024, 4, 1)
    ever = build_scoring_spine(tables, CHURN, at)["entity_id"].tolist()
    lately = build_scoring_spine(tables, Target("churn", "churn", 30, lookback_days=30), at)["entity_id"].tolist()
    assert (ever, lately) == (["C1", "C2"], ["C2"])


def test_settle_days_default_to_the_p95_lateness_of_the_outcome(tmp_path: Path) -> None:
    orders = [
        {"order_id": f"O{i}", "occurred_at": "2024-03-01", "known_at": "2024-03-04" if i < 10 else "2024-03-01",
         "customer_id": "C1", "amount": 1, "quantity": 1}
        for i in range(100)
    ]  # fmt: skip
    tables = make_tables(
        tmp_path, {"orders": {"known_at": "known_at"}}, data_end="2024-05-01", customers=customers("C1"), orders=orders
    )
    spine = build_spine(tables, CHURN, SpinePlan("month", date(2024, 4, 1)))
    late = build_labels(tables, spine, Target("churn", "churn", 28))
    assert late["settled_at"].iloc[0] == pd.Timestamp("2024-05-02")  # 1 April + 28 + 3 days
    assert np.isnan(late["label"].iloc[0])
    assert build_labels(tables, spine, Target("churn", "churn", 28, settle_days=0))["label"].iloc[0] == 1.0


def test_month_starts_are_local_midnights(tmp_path: Path) -> None:
    tables = make_tables(
        tmp_path,
        config={"time_zone": "Europe/Berlin"},
        customers=customers("C1"),
        orders=[{"order_id": "O1", "occurred_at": "2024-01-02", "customer_id": "C1", "amount": 1, "quantity": 1}],
    )
    spine = build_spine(tables, CHURN, SpinePlan("month", date(2024, 3, 1)))
    moments = [str(moment) for moment in spine["as_of"]]
    assert moments[:2] == ["2024-02-29 23:00:00", "2024-03-31 22:00:00"]  # winter time, then summer time


def test_a_target_whose_table_is_not_mapped_says_so(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1"))
    with pytest.raises(DataError, match="Target 'churn' needs table 'orders', which is not mapped"):
        build_spine(tables, CHURN, SpinePlan("month"))


def test_a_snapshot_twice_in_a_spine_is_refused(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1"))
    spine = pd.DataFrame({"entity_id": ["C1", "C1"], "as_of": pd.Timestamp("2024-02-01"), "customer_id": ["C1", "C1"]})
    with pytest.raises(DataError, match=r"\['C1'\] appear twice at one as_of"):
        build_features(tables, spine, CATALOG, "customers")
