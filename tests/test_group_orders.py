"""What orders say of a customer: money, seasons and rhythm, each as a literal world with answers by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import make_tables

from features.build import FeatureFrame, build_features
from features.group import Entity, Group
from features.groups.order_value import (
    order_baskets,
    order_margin,
    order_margin_lately,
    order_seasons,
    order_shares,
    order_year_on_year,
)
from features.groups.orders import order_demand, order_gaps, order_history, order_regularity
from features.tables import CrmTables

GROUPS: tuple[Group, ...] = (
    order_history, order_demand, order_gaps, order_regularity, order_baskets, order_margin, order_margin_lately,
    order_seasons, order_shares, order_year_on_year,
)  # fmt: skip


def build(
    tables: CrmTables, snapshots: Sequence[tuple[str, str, str | None]], entity: Entity = "customers"
) -> FeatureFrame:
    spine = pd.DataFrame(snapshots, columns=["entity_id", "as_of", "customer_id"])
    spine["as_of"] = pd.to_datetime(spine["as_of"], format="ISO8601").astype("datetime64[us]")
    return build_features(tables, spine, GROUPS, entity)


def of_customers(tables: CrmTables, at: str, *ids: str) -> pd.DataFrame:
    return build(tables, [(one, at, one) for one in ids]).frame.set_index("entity_id")


def values(row: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: None if pd.isna(row[name]) else row[name] for name in names}


def customers(*ids: str) -> list[dict[str, Any]]:
    return [{"customer_id": i, "created_at": "2022-01-01"} for i in ids]


MONEY = """
    order_id  occurred_at                 customer_id  amount  cost  product  quantity
    O1        2023-03-11 11:59:59.999999  C1           1000    400   valve    1   # a microsecond before the window
    O2        2023-03-11 12:00:00         C1           100     60    pump     1   # its first instant: 365 days, a leap day among them
    O3        2024-02-29 10:00:00         C1           60      30    PUMP     2   # the same product, typed otherwise
    O4        2024-02-29 15:00:00         C1           40      -     hose     1   # of unknown cost: no margin
    R1        2024-03-01 09:00:00         C1           -20     -10   seal     -1  # costs 10 of margin; no product bought
    O5        2024-03-10 11:59:59.999999  C1           10      5     bolt     1   # just seen
    O6        2024-03-10 12:00:00         C1           500     1     nut      1   # at as_of: not seen
    O7        2024-03-01 12:00:00         C2           70      -     -        1   # neither cost nor product known
    O8        2022-05-01 12:00:00         C3           50      20    pump     1   # long ago
    O9        2024-01-10 12:00:00         C4           50      30    pump     1
    R9        2024-01-20 12:00:00         C4           -50     -30   pump     -1  # all of it came back
"""  # noqa: E501


def test_margin_baskets_products_and_returns_by_hand(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1", "C2", "C3", "C4", "C5"), orders=MONEY)
    frame = of_customers(tables, "2024-03-10 12:00:00", "C1", "C2", "C3", "C4", "C5")
    answers = {
        "C1": {
            "orders_margin_amount_365d": 40 + 30 - 10 + 5,
            "orders_margin_share_365d": 65 / (100 + 60 - 20 + 10),  # O4 is no part of either
            "orders_margin_amount": 600 + 65,
            "orders_margin_share": 665 / 1150,
            "orders_amount_max_365d": 100,
            "orders_products_count_365d": 3,  # pump, hose, bolt
            "orders_amount_mean_365d": 210 / 4,
            "orders_returns_share_365d": 20 / 210,
        },
        "C2": {
            "orders_margin_amount_365d": None,  # bought, but nobody knows at what cost
            "orders_margin_share_365d": None,
            "orders_margin_amount": None,
            "orders_products_count_365d": 0,
            "orders_returns_share_365d": 0,
        },
        "C3": {
            "orders_margin_amount_365d": None,  # nothing was bought in a year
            "orders_margin_share_365d": None,
            "orders_margin_amount": 30,
            "orders_amount_max_365d": None,
            "orders_products_count_365d": 0,
            "orders_amount_mean_365d": None,
            "orders_returns_share_365d": None,
        },
        "C4": {
            "orders_margin_amount_365d": 0,
            "orders_margin_share_365d": None,  # nothing is left of what was sold
            "orders_products_count_365d": 1,
            "orders_returns_share_365d": 1,
        },
        "C5": {"orders_margin_amount_365d": None, "orders_margin_amount": None, "orders_products_count_365d": 0},
    }
    assert {one: values(frame.loc[one], expected) for one, expected in answers.items()} == answers


SEASONS = """
    order_id  occurred_at                 known_at             customer_id  amount  quantity
    O1        2022-07-10 23:59:59.999999  2022-07-11           C1           900     1   # before the eighth period
    O2        2022-07-11 00:00:00         2022-07-11           C1           160     1   # its first instant
    O3        2023-04-01 23:59:59.999999  2023-04-02           C1           7       1   # just too early for a year ago
    O4        2023-04-02 00:00:00         2023-04-02           C1           20      1   # 455 days ago
    O5        2023-06-30 23:59:59.999999  2023-07-01           C1           30      1
    R5        2023-06-20 00:00:00         2023-06-20           C1           -30     -1  # a return is no order
    O6        2023-07-01 00:00:00         2023-07-01           C1           50      1   # 365 days ago: what lay ahead
    R6        2023-08-01 00:00:00         2023-08-01           C1           -50     -1
    O61       2023-09-28 23:59:59.999999  2023-09-29           C1           3       1   # the last instant of it
    O62       2023-09-29 00:00:00         2023-09-29           C1           5       1   # 275 days ago: too late for it
    O7        2024-03-31 23:59:59.999999  2024-04-01           C1           4       1   # the period before the last
    O8        2024-04-01 00:00:00         2024-04-01           C1           25      1   # 90 days ago
    R8        2024-06-01 00:00:00         2024-06-01           C1           -25     -1
    O9        2024-06-29 00:00:00         2024-06-29           C1           15      1
    L1        2024-05-01 00:00:00         2024-06-30           C1           999     1   # known exactly at as_of
    L2        2023-05-01 00:00:00         2024-06-30           C1           999     1   # the same a year ago
    O10       2022-07-01 00:00:00         2022-07-01           C2           10      1
    O11       2024-06-01 00:00:00         2024-06-01           C3           10      1
    O12       2023-05-01 00:00:00         2023-05-01           C4           10      1
"""


def test_the_best_period_and_the_year_before_hold_their_first_instants_and_not_their_ends(tmp_path: Path) -> None:
    tables = make_tables(
        tmp_path, {"orders": {"known_at": "known_at"}}, customers=customers("C1", "C2", "C3", "C4"), orders=SEASONS
    )
    frame = of_customers(tables, "2024-06-30", "C1", "C2", "C3", "C4")
    names = (
        "best_share_90d", "year_ago_count_90d", "year_ago_amount_90d", "year_ratio_90d", "year_ago_ahead_count_90d",
    )  # fmt: skip
    answers = {
        "C1": (40 / 160, 2, 50, 40 / 50, 2),  # O8 and O9; the best is O2's; O4 and O5; O6 and O61
        "C2": (None, 0, 0, None, 0),  # nothing within 720 days
        "C3": (1, 0, 0, None, 0),  # the best is now
        "C4": (0, 1, 10, 0, 0),
    }
    expected = {one: dict(zip([f"orders_{n}" for n in names], row, strict=True)) for one, row in answers.items()}
    assert {one: values(frame.loc[one], expected[one]) for one in expected} == expected
    later = of_customers(tables, "2024-06-30 00:00:00.000001", "C1").loc["C1"]
    assert later["orders_best_share_90d"] == (15 + 999) / 1079  # L1 is known, O8 too old; the best: O5, O6 and L2
    assert (later["orders_year_ago_count_90d"], later["orders_year_ago_amount_90d"]) == (3, 30 + 50 + 999)
    assert later["orders_year_ago_ahead_count_90d"] == 2  # O61 and O62; O6 is now in the days before


def test_gaps_against_their_mean_and_the_pause_in_units_of_their_spread(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1", "C2", "C3", "C4"), orders="""
        order_id  occurred_at          customer_id  amount  quantity
        O1        2024-02-18 09:00:00  C1           10      1
        O2        2024-02-18 17:00:00  C1           10      1   # the same day again: no gap
        O3        2024-02-28 08:00:00  C1           10      1   # after 10 days
        R3        2024-03-09 08:00:00  C1           -10     -1  # a return ends no pause
        O4        2024-03-29 08:00:00  C1           10      1   # after 30 days, the 29th of February among them
        O5        2024-02-01 08:00:00  C2           10      1
        O6        2024-02-11 08:00:00  C2           10      1
        O7        2024-02-21 08:00:00  C2           10      1   # always after 10 days
        O8        2024-02-21 08:00:00  C3           10      1
    """)  # fmt: skip
    frame = of_customers(tables, "2024-05-08 08:00:00", "C1", "C2", "C3", "C4")
    assert values(frame.loc["C1"], names := {"orders_gap_variation": 10 / 20, "orders_silence_spreads": 2.0}) == names
    assert frame.loc["C2", "orders_gap_variation"] == 0
    assert pd.isna(frame.loc["C2", "orders_silence_spreads"])  # no spread to measure by
    once = frame.loc[["C3", "C4"], ["orders_gap_variation", "orders_silence_spreads"]]
    assert once.isna().all(axis=None)
    bg_nbd = frame.loc["C1", ["orders_repeat_days", "orders_days_first_to_last", "orders_days_since_first"]]
    assert bg_nbd.tolist() == [2, pytest.approx(40 - 1 / 24), pytest.approx(80 - 1 / 24)]  # the first was at nine


def test_a_lead_without_customer_has_null_where_a_customer_without_orders_has_zero(tmp_path: Path) -> None:
    orders = [{"order_id": "O1", "occurred_at": "2024-01-01", "customer_id": "C1", "amount": 1, "product": "pump"}]
    tables = make_tables(tmp_path, customers=customers("C1"), orders=orders, deals="""
        deal_id  created_at  customer_id  closed_at  outcome
        D1       2022-02-01  C1           -          -
        D2       2022-02-01  -            -          -
    """)  # fmt: skip
    built = build(tables, [("D1", "2022-04-01", "C1"), ("D2", "2022-04-01", None)], "deals")
    frame = built.frame.set_index("entity_id")
    names = ["orders_products_count_365d", "orders_year_ago_count_90d", "orders_year_ago_amount_90d"]
    assert frame.loc["D1", names].tolist() == [0, 0, 0]
    assert frame.loc["D2", names].isna().all()


def test_without_costs_or_products_the_rest_is_still_there(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=customers("C1"), orders="""
        order_id  occurred_at  customer_id  amount
        O1        2024-02-01   C1           10
        R1        2024-02-02   C1           -4
    """)  # fmt: skip
    built = build(tables, [("C1", "2024-03-01", "C1")])
    no_cost = "table 'orders' has no column 'cost'"
    assert built.skipped == {
        "orders_margin_amount": no_cost,
        "orders_margin_share": no_cost,
        "orders_margin_amount_365d": no_cost,
        "orders_margin_share_365d": no_cost,
        "orders_products_count_365d": "table 'orders' has no column 'product'",
    }
    assert built.frame.loc[0, ["orders_amount_max_365d", "orders_returns_share_365d"]].tolist() == [10, 0.4]
