"""How a family behaves as a whole, as a literal world with answers by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from conftest import make_tables
from stored import stored_world

from features.build import FeatureFrame, build_features
from features.group import Entity, Group
from features.groups.family import (
    family_deals,
    family_deals_lately,
    family_demand,
    family_members,
    family_order_history,
    family_payment,
    family_share,
)
from features.groups.orders import order_demand
from features.tables import CrmTables

GROUPS: tuple[Group, ...] = (
    order_demand, family_members, family_order_history, family_demand, family_deals, family_deals_lately,
    family_payment, family_share,
)  # fmt: skip
MAY, NOON = "2024-05-01 12:00:00", "2024-06-30 12:00:00"


def build(tables: CrmTables, *snapshots: tuple[str, str, str | None], entity: Entity = "customers") -> FeatureFrame:
    spine = pd.DataFrame(snapshots, columns=["entity_id", "as_of", "customer_id"])
    spine["as_of"] = pd.to_datetime(spine["as_of"], format="ISO8601").astype("datetime64[us]")
    return build_features(tables, spine, GROUPS, entity)


def values(row: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, float | None]:
    found = {name: row[f"family_{name}"] for name in names}
    return {name: None if pd.isna(value) else value for name, value in found.items()}


CUSTOMERS = """
    customer_id  created_at  known_at             known_until          parent_id
    P            2022-01-01  -                    -                    -     # heads A, for a time B and C
    A            2022-01-01  -                    -                    P
    B            2022-01-01  -                    2024-05-01 12:00:00  -     # alone, in May for the last time
    B            2022-01-01  2024-05-01 12:00:00  -                    P     # bought by P
    C            2022-01-01  -                    2024-06-01           P
    C            2022-01-01  2024-06-01           -                    Q     # sold to Q
    Q            2022-01-01  -                    -                    -
    S            2022-01-01  -                    -                    -     # always alone
    N            2024-06-30  2024-06-30 12:00:00  -                    P     # known exactly at as_of
"""
ORDERS = """
    order_id  occurred_at                 customer_id  amount  quantity
    O1        2023-07-01 11:59:59.999999  P            1000    1   # before the window of June
    O2        2023-07-01 12:00:00         P            100     1   # its first instant
    O3        2024-02-29 12:00:00         A            60      1
    O4        2024-02-29 13:00:00         A            40      1
    R4        2024-06-20 12:00:00         A            -40     -1  # a return is no order
    O5        2024-03-01 12:00:00         B            200     1
    O6        2024-06-10 12:00:00         C            7       1
    O7        2024-06-30 12:00:00         A            999     1   # at as_of
    O8        2022-05-01 12:00:00         S            50      1   # long ago
"""
DEALS = """
    deal_id  created_at  customer_id  closed_at                   outcome
    D1       2023-01-01  P            2023-07-01 11:59:59.999999  won   # before the window
    D2       2023-01-01  A            2023-07-01 12:00:00         won   # its first instant
    D3       2024-01-01  B            2024-03-01                  won
    D4       2024-01-01  B            2024-03-01                  lost
    D5       2024-01-01  A            2024-06-30 12:00:00         won   # closes at as_of: still open
    D6       2024-01-01  C            -                           -
    D7       2024-01-01  -            -                           -     # nobody's
"""
INVOICES = """
    invoice_id  occurred_at  customer_id  amount  due_at                      paid_at              written_off_at
    I1          2024-01-01   P            10      2024-06-30 11:59:59.999999  -                    -           # overdue by a microsecond
    I2          2024-01-01   A            20      2024-06-30 12:00:00         -                    -           # due at as_of: not yet
    I3          2024-01-01   A            40      2024-02-01                  2024-06-30 12:00:00  -           # paid at as_of: not yet
    I4          2024-01-01   B            80      2024-02-01                  2024-03-01           -           # paid
    I5          2024-01-01   B            160     2024-02-01                  -                    2024-05-10  # written off
    I6          2024-01-01   C            320     2024-02-01                  -                    -
"""  # noqa: E501


def test_a_family_is_its_parent_and_all_who_had_it_for_a_parent_then(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, customers=CUSTOMERS, orders=ORDERS, deals=DEALS, invoices=INVOICES)
    ids = ("P", "A", "B", "C", "Q", "S")
    frame = build(tables, *[(one, at, one) for one in ids for at in (MAY, NOON)]).frame
    june, may = (frame[frame["as_of"] == pd.Timestamp(at)].set_index("entity_id") for at in (NOON, MAY))
    assert may["family_members_count"].to_dict() == {"P": 3, "A": 3, "C": 3, "B": 1, "Q": 1, "S": 1}
    assert june["family_members_count"].to_dict() == {"P": 3, "A": 3, "B": 3, "C": 2, "Q": 2, "S": 1}  # not N
    of_p = {
        "orders_count_365d": 4,  # O2 to O5: B brought its past along
        "orders_amount_365d": 400,
        "orders_days_since_last": 121,  # O5, on the 1st of March
        "deals_open_count": 1,  # D5
        "deals_won_count_365d": 2,  # D2 and D3
        "invoices_overdue_amount": 50,  # I1 and I3
    }
    of_q = {
        "orders_count_365d": 1,
        "orders_amount_365d": 7,
        "orders_days_since_last": 20,
        "deals_open_count": 1,
        "deals_won_count_365d": 0,
        "invoices_overdue_amount": 320,
    }
    for member, answers in {"P": of_p, "A": of_p, "B": of_p, "C": of_q, "Q": of_q}.items():
        assert values(june.loc[member], answers) == answers
    shares = june["family_orders_share_365d"]
    assert shares[["P", "A", "B", "C", "Q"]].tolist() == [0.25, 0.25, 0.5, 1, 0]
    alone = {"orders_count_365d": 0, "orders_days_since_last": 791, "deals_open_count": 0, "orders_share_365d": None}
    assert values(june.loc["S"], alone) == alone


def test_a_member_that_joins_at_as_of_or_leaves_later_is_counted_where_it_was(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, customers=CUSTOMERS, orders=ORDERS, deals=DEALS, invoices=INVOICES)
    frame = build(tables, *[(one, MAY, one) for one in ("A", "B", "Q")]).frame.set_index("entity_id")
    answers = {
        "A": {"orders_amount_365d": 1200, "deals_open_count": 2, "invoices_overdue_amount": 40 + 320},  # with P and C
        "B": {"orders_amount_365d": 200, "deals_open_count": 0, "invoices_overdue_amount": 160},  # I5 is open in May
        "Q": {"orders_amount_365d": 0, "deals_open_count": 0, "invoices_overdue_amount": 0},
    }
    assert {one: values(frame.loc[one], expected) for one, expected in answers.items()} == answers


def test_a_lead_without_customer_has_no_family(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, customers=CUSTOMERS, orders=ORDERS, deals=DEALS, invoices=INVOICES)
    built = build(tables, ("D6", NOON, "C"), ("D7", NOON, None), entity="deals")
    frame = built.frame.set_index("entity_id")
    names = [name for name in built.columns if name.startswith("family_")]
    assert frame.loc["D6", "family_deals_open_count"] == 1  # the deal itself
    assert frame.loc["D7", names].isna().all()


def test_without_parents_there_are_no_families(tmp_path: Path) -> None:
    customers = [{"customer_id": "C1", "created_at": "2022-01-01"}]
    orders = [{"order_id": "O1", "occurred_at": "2024-01-01", "customer_id": "C1", "amount": 1}]
    built = build(make_tables(tmp_path, customers=customers, orders=orders), ("C1", NOON, "C1"))
    assert not [name for name in built.columns if name.startswith("family_")]
    assert built.skipped["family_demand"] == "table 'customers' has no column 'parent_id'"
