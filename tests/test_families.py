"""Families over time: a parent and the customers whose parent it was, as was known at each moment."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from stored import stored_world

from features.build import build_features
from features.engine import open_database
from features.family import find_families
from features.group import Feature, FeatureDict, feature_group
from features.tables import CrmTables

CUSTOMERS = """
    customer_id  created_at  known_at    known_until  parent_id
    P            2024-01-01  2024-01-01  2024-06-01   -          # deleted on 1 June
    Q            2024-01-01  2024-02-01  -            -          # known on 1 February
    A            2024-01-01  2024-01-01  2024-03-01   P          # sold to Q on 1 March
    A            2024-01-01  2024-03-01  2024-04-01   Q
    A            2024-01-01  2024-04-01  -            -          # and independent from 1 April
    B            2024-01-01  2024-01-01  -            P
    G            2024-01-01  2024-05-01  -            B          # a daughter of B, and so a granddaughter of P
    S            2024-01-01  2024-01-01  -            S          # its own parent, as some CRMs have it
    L            2024-01-01  2024-01-01  -            -          # alone
    E            2024-01-01  2024-01-01  2024-01-01   P          # a version that never held
"""
MEMBERS = """
    2024-01-02  P  P A B  # of E nothing was ever known
    2024-01-02  A  P A B
    2024-01-02  L  L
    2024-01-02  S  S
    2024-01-02  Q  -      # not yet known
    2024-03-01  A  P A B  # sold at this moment
    2024-03-02  A  Q A
    2024-03-02  Q  Q A
    2024-03-02  B  P B
    2024-04-02  A  A      # heads a family of its own
    2024-04-02  Q  Q
    2024-05-01  B  P B    # G becomes known at this moment
    2024-05-02  B  P B    # the family of a parent's parent is another one
    2024-05-02  G  B G
    2024-06-01  B  P B    # P ends at this moment
    2024-06-02  B  B      # whose parent is gone
    2024-06-02  P  -
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> CrmTables:
    """Customers whose parents change, and what they ordered."""
    return stored_world(tmp_path_factory.mktemp("families"), customers=CUSTOMERS, orders="""
        order_id  occurred_at  known_at    known_until  customer_id  amount
        O1        2024-01-01   2024-01-01  -            P            1
        O2        2024-01-01   2024-01-01  -            A            10
        O3        2024-01-01   2024-03-10  -            B            100    # known on 10 March
        O4        2024-01-01   2024-01-01  2024-03-02   Q            1000   # which was L's, as came out on 2 March
        O4        2024-01-01   2024-03-02  -            L            1000
    """)  # fmt: skip


def spine_of(rows: list[tuple[str, str | None]]) -> pd.DataFrame:
    spine = pd.DataFrame(rows, columns=["as_of", "customer_id"])
    spine["as_of"] = pd.to_datetime(spine["as_of"], format="ISO8601")
    return spine.assign(row=range(len(spine)), entity_id=[f"E{n}" for n in range(len(spine))])


def test_the_members_of_a_family_are_those_known_at_the_moment(tables: CrmTables) -> None:
    lines = [line.split("#")[0].split() for line in MEMBERS.strip().splitlines()]
    with open_database(tables) as database:
        asked = database.add("asked", spine_of([(at, customer) for at, customer, *_ in lines]))
        whose, members = (database.frame(table) for table in find_families(database, asked))
    joined = whose.merge(members, left_on="family_row", right_on="row", suffixes=("", "_of_family"))
    found = joined.groupby("row")["customer_id"].agg(sorted).to_dict()
    expected = {n: sorted(rest) for n, (_, _, *rest) in enumerate(lines) if rest != ["-"]}
    assert found == expected
    assert len(members) == len(members.drop_duplicates(["row", "customer_id"]))
    same_family = whose.set_index("row")["family_row"]
    assert same_family[0] == same_family[1]  # P and A on one day: looked up once
    assert same_family[0] != same_family[5]  # the same family on another day


@feature_group("orders", by="parent_id", windows=(90,))
def family_orders(orders: Any, window: Any) -> FeatureDict:
    """Amount that the family ordered."""
    return {f"amount_{window}": Feature(orders.amount.sum(where=window.mask), 0, "currency", "{value}", "{value}")}


@feature_group("customers", by="parent_id")
def family_names(customers: Any) -> FeatureDict:
    """Who heads the family."""
    return {"head": Feature(customers.family_id.max(), None, "text", "{value}", "{value}")}


def test_rows_of_a_family_are_those_of_its_members_in_the_versions_that_held(tables: CrmTables) -> None:
    answers = {
        ("2024-01-02", "P"): (11, "P"),
        ("2024-01-02", "B"): (11, "P"),
        ("2024-03-02", "A"): (1010, "Q"),  # O4 moves to L at this moment
        ("2024-03-02", "B"): (1, "P"),
        ("2024-03-10", "B"): (1, "P"),  # O3 becomes known at this moment
        ("2024-03-11", "B"): (101, "P"),
        ("2024-03-11", "A"): (10, "Q"),
        ("2024-03-11", "L"): (1000, "L"),
        ("2024-03-31", "B"): (101, "P"),  # 90 days after the orders: the first instant of the window
        ("2024-03-31 00:00:00.000001", "B"): (0, "P"),
        ("2024-01-02", "Q"): (0, None),  # not yet known: no family, and no orders
        ("2024-01-02", None): (None, None),  # a lead without customer
    }
    spine = spine_of(list(answers))
    built = build_features(tables, spine, [family_orders, family_names], "customers").frame
    rows = built.set_index("entity_id").loc[spine["entity_id"]]
    found = [
        (None if pd.isna(n) else n, None if pd.isna(s) else s)
        for n, s in zip(rows["amount_90d"], rows["head"], strict=True)
    ]
    assert found == list(answers.values())


def test_without_the_column_there_are_no_families_and_it_is_said(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path,
        customers=[{"customer_id": "C1", "created_at": "2024-01-01"}],
        orders="order_id  occurred_at  customer_id  amount\nO1  2024-01-01  C1  1",
    )
    skipped = build_features(tables, spine_of([("2024-02-01", "C1")]), [family_orders], "customers").skipped
    assert skipped == {"family_orders": "table 'customers' has no column 'parent_id'"}
