"""Rows that end, change or change hands, as literal stored tables with the answer written by hand.

A version holds for `known_at < as_of <= known_until`.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from stored import stored_world

from features.build import FeatureFrame, build_features
from features.catalog import CATALOG
from features.engine import open_database
from features.errors import DataError
from features.group import Feature, FeatureDict, Group, Pooled, feature_group, pooled_group
from features.pooled import pooled_features
from features.spine import build_scoring_spine, build_spine
from features.tables import CrmTables
from features.targets import SpinePlan, Target
from features.view import as_of_view

CHURN = Target("churn", "churn", 30, settle_days=0)
CONVERSION = Target("conversion", "conversion", 30, settle_days=0)
CUSTOMERS = """
    customer_id  created_at  known_until  merged_into
    C1           2024-01-01  2024-04-10   C2           # merged into C2 on 10 April
    C2           2024-01-01  -            -
"""
ORDERS = """
    order_id  occurred_at  known_at    known_until  customer_id  amount  quantity
    O1        2024-02-01   2024-02-01  2024-04-10   C1           10      1         # moves with the merge
    O1        2024-02-01   2024-04-10  -            C2           10      1
    O2        2024-02-05   2024-02-05  2024-03-20   C1           20      1         # corrected on 20 March: 25, not 20
    O2        2024-02-05   2024-03-20  2024-04-10   C1           25      1
    O2        2024-02-05   2024-04-10  -            C2           25      1
    O3        2024-03-01   2024-03-01  2024-03-15   C1           40      1         # deleted on 15 March
    O4        2024-02-20   2024-02-20  -            C2           80      1
"""


def build(tables: CrmTables, entity: str, at: str, *groups: Group, deal: bool = False, **keys: Any) -> FeatureFrame:
    """Build the features of one entity at one moment."""
    owner = keys.get("customer") if deal else entity
    spine = pd.DataFrame({"entity_id": [entity], "as_of": [pd.Timestamp(at)], "customer_id": [owner]})
    return build_features(tables, spine, groups or CATALOG, "deals" if deal else "customers")


def row_of(tables: CrmTables, entity: str, at: str, **keys: Any) -> pd.Series:
    return build(tables, entity, at, **keys).frame.iloc[0]


@pytest.fixture
def merged(tmp_path: Path) -> CrmTables:
    return stored_world(tmp_path, customers=CUSTOMERS, orders=ORDERS)


@pytest.mark.parametrize(
    ("at", "entity", "count", "amount"),
    [
        ("2024-03-10", "C1", 3, 70),
        ("2024-03-15", "C1", 3, 70),  # O3 ended exactly then: it still counts
        ("2024-03-15 00:00:00.000001", "C1", 2, 30),
        ("2024-03-20", "C1", 2, 30),
        ("2024-03-20 00:00:00.000001", "C1", 2, 35),  # the corrected version, and only that
        ("2024-04-10", "C1", 2, 35),
        ("2024-04-10", "C2", 1, 80),
        ("2024-04-10 00:00:00.000001", "C1", 0, 0),
        ("2024-04-10 00:00:00.000001", "C2", 3, 115),
    ],
)
def test_a_row_counts_in_the_version_that_held_and_for_whom_it_held(
    merged: CrmTables, at: str, entity: str, count: int, amount: float
) -> None:
    row = row_of(merged, entity, at)
    assert (row["orders_count"], row["orders_amount"]) == (count, amount)


def test_gaps_run_over_the_versions_that_held(merged: CrmTables) -> None:
    before = row_of(merged, "C1", "2024-03-10")  # 1 and 5 February, 1 March: gaps of 4 and 25 days
    assert (before["orders_repeat_days"], before["orders_gap_max"]) == (2, 25)
    after = row_of(merged, "C2", "2024-04-11")  # 1, 5 and 20 February: gaps of 4 and 15 days
    assert (after["orders_repeat_days"], after["orders_gap_max"]) == (2, 15)


def test_a_stage_that_was_taken_back_no_longer_ranks(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path,
        stages=["new", "demo", "offer"],
        deals="""
            deal_id  created_at  customer_id  closed_at  outcome
            D1       2024-02-01  -            -          -
        """,
        stage_changes="""
            deal_id  occurred_at  known_until  stage
            D1       2024-02-01   -            new
            D1       2024-02-10   2024-03-01   offer
        """,
    )
    names = ["deal_stage_rank", "deal_stage_rank_max", "deal_stage_changes_count"]
    assert row_of(tables, "D1", "2024-03-01", deal=True)[names].tolist() == [3, 3, 2]
    assert row_of(tables, "D1", "2024-03-02", deal=True)[names].tolist() == [1, 1, 1]


def test_an_ended_customer_is_in_no_population_and_a_restored_one_is_again(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path,
        customers="""
            customer_id  created_at  known_at    known_until
            C1           2024-01-01  2024-01-01  2024-03-15   # merged or deleted
            C2           2024-01-01  2024-01-01  2024-03-15   # deleted, and back on 20 April
            C2           2024-01-01  2024-04-20  -
        """,
        orders="""
            order_id  occurred_at  customer_id  amount
            O1        2024-02-01   C1           1
            O2        2024-02-01   C2           1
        """,
    )  # fmt: skip
    spine = build_spine(tables, CHURN, SpinePlan("month", ages_days=(0, 75, 120)))
    seen = [(r.entity_id, f"{r.as_of:%m-%d}", r.origin) for r in spine.itertuples()]
    assert seen == [
        ("C1", "03-01", "grid"),
        ("C2", "03-01", "grid"), ("C2", "04-30", "age"), ("C2", "05-01", "grid"), ("C2", "06-01", "grid"),
        ("C2", "07-01", "grid"),
    ]  # fmt: skip
    scored = {
        at: build_scoring_spine(tables, CHURN, datetime.fromisoformat(at))["entity_id"].tolist()
        for at in ("2024-03-15", "2024-03-15 00:00:00.000001", "2024-04-20", "2024-04-20 00:00:00.000001")
    }
    assert list(scored.values()) == [["C1", "C2"], [], [], ["C2"]]


def test_a_purchase_makes_a_buyer_of_whoever_has_it_at_as_of(merged: CrmTables, tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path / "moved",
        customers="""
            customer_id  created_at
            C1           2024-01-01
            C2           2024-01-01
            C3           2024-01-01
        """,
        orders="""
            order_id  occurred_at  known_at    known_until  customer_id  amount
            O1        2024-02-01   2024-02-01  2024-04-10   C1           10      # moved to C2
            O1        2024-02-01   2024-04-10  -            C2           10
            O2        2024-02-01   2024-02-01  2024-04-10   C3           10      # deleted
        """,
    )
    found = [build_scoring_spine(tables, CHURN, datetime(2024, 4, day))["entity_id"].tolist() for day in (10, 11)]
    assert found == [["C1", "C3"], ["C2"]]
    assert build_scoring_spine(merged, CHURN)["entity_id"].tolist() == ["C2"]


DEALS = """
    deal_id  created_at  known_at    known_until  customer_id  owner_id  amount  closed_at   closed_at_known_at  outcome
    D1       2024-02-01  2024-02-01  2024-04-10   C1           X         100     -           -                   -
    D1       2024-02-01  2024-04-10  -            C2           X         100     -           -                   -
    D2       2024-02-01  2024-02-01  2024-03-20   C1           X         100     -           -                   -
    D3       2024-02-01  2024-02-01  2024-05-05   C2           X         100     2024-03-10  2024-03-10          lost
    D3       2024-02-01  2024-05-05  -            C2           X         100     -           -                   -
"""


def test_a_deal_belongs_to_the_customer_it_had_then_and_is_open_as_it_was_known(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, customers=CUSTOMERS, deals=DEALS)
    spine = build_spine(tables, CONVERSION, SpinePlan("month"))
    found = [(r.entity_id, f"{r.as_of:%m-%d}", r.customer_id) for r in spine.itertuples()]
    assert found == [
        ("D1", "03-01", "C1"), ("D1", "04-01", "C1"),
        ("D1", "05-01", "C2"), ("D1", "06-01", "C2"), ("D1", "07-01", "C2"),  # the survivor's
        ("D2", "03-01", "C1"),  # deleted on 20 March
        ("D3", "03-01", "C2"),  # lost on 10 March, and opened again on 5 May
        ("D3", "06-01", "C2"), ("D3", "07-01", "C2"),
    ]  # fmt: skip


SETTLED = """
    deal_id  created_at  known_at    known_until  customer_id  owner_id  closed_at   outcome
    D1       2024-02-01  2024-02-01  2024-03-20   -            X         2024-03-01  won      # deleted
    D2       2024-02-01  2024-02-01  2024-03-25   -            X         2024-03-05  won      # lost after all
    D2       2024-02-01  2024-03-25  -            -            X         2024-03-05  lost
    D3       2024-02-01  2024-02-01  2024-03-30   -            X         2024-03-06  won      # handed to Y
    D3       2024-02-01  2024-03-30  -            -            Y         2024-03-06  won
    D4       2024-02-01  2024-02-01  2024-02-20   -            X         2024-03-07  lost     # Y's when it closed
    D4       2024-02-01  2024-02-20  -            -            Y         2024-03-07  lost
    D8       2024-02-01  2024-02-01  -            -            X         -           -
    D9       2024-02-01  2024-02-01  -            -            Y         -           -
"""


@pytest.mark.parametrize(
    ("at", "x", "y", "overall"),
    [
        ("2024-03-01", (0, 0), (0, 0), None),  # D1 closed exactly then: unseen
        ("2024-03-10", (3, 3), (1, 0), 3 / 4),
        ("2024-03-20", (3, 3), (1, 0), 3 / 4),  # D1 ended exactly then: it still counts
        ("2024-03-21", (2, 2), (1, 0), 2 / 3),
        ("2024-03-26", (2, 1), (1, 0), 1 / 3),
        ("2024-04-01", (1, 0), (2, 1), 1 / 3),
    ],
)
def test_results_leave_the_sums_when_their_row_ends(
    tmp_path: Path, at: str, x: tuple[int, int], y: tuple[int, int], overall: float | None
) -> None:
    tables = stored_world(tmp_path, deals=SETTLED)
    for deal, (rows, hits) in (("D8", x), ("D9", y)):
        row = row_of(tables, deal, at, deal=True)
        assert row["owner_deals_closed_count_365d"] == rows
        rate = np.nan if overall is None else (hits + 20 * overall) / (rows + 20)
        assert row["owner_deals_won_rate"] == pytest.approx(rate, nan_ok=True)


def test_a_row_that_ended_before_it_was_known_never_counts(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, deals="""
        deal_id  created_at  known_at    known_until  customer_id  owner_id  closed_at   closed_at_known_at  outcome
        D1       2024-02-01  2024-03-01  2024-02-20   -            X         2024-02-10  2024-03-01          won
        D2       2024-02-01  2024-02-01  2024-03-01   -            X         2024-02-10  2024-03-01          won
        D8       2024-02-01  2024-02-01  -            -            X         -           -                   -
    """)  # fmt: skip
    for at in ("2024-02-25", "2024-03-05"):
        row = row_of(tables, "D8", at, deal=True)
        assert (row["owner_deals_closed_count_365d"], np.isnan(row["owner_deals_won_rate"])) == (0, True)
    assert "D1" not in set(build_spine(tables, CONVERSION, SpinePlan("week", ages_days=(0, 7)))["entity_id"])


def test_a_pooled_group_sees_what_was_revealed_by_the_time_it_counts(tmp_path: Path) -> None:
    @pooled_group("invoices", by="customer_id", at="paid_at")
    def written_off(invoices: Any) -> dict[str, Pooled]:
        """How often a paid invoice had been written off before."""
        return {"rate": Pooled(invoices.written_off_at >= invoices.occurred_at, 20, "count", "{value}", "{value}")}

    tables = stored_world(tmp_path, invoices="""
        invoice_id  occurred_at  customer_id  amount  paid_at     written_off_at
        I1          2024-01-01   C1           10      2024-02-01  2024-01-20      # known when it was paid
        I2          2024-01-01   C1           10      2024-02-01  2024-04-01      # the future then
    """)  # fmt: skip
    spine = pd.DataFrame({"row": [0], "as_of": [pd.Timestamp("2024-03-05")], "invoice_id": ["I1"]})
    with open_database(tables) as database:
        frame = database.frame(pooled_features(database, database.add("spine", spine), written_off)[0])
    assert frame[["count", "rate"]].iloc[0].tolist() == [2.0, (1 + 20 * 0.5) / 22]


def test_a_deal_that_became_known_after_it_closed_counts_from_then(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, deals="""
        deal_id  created_at  known_at    customer_id  owner_id  closed_at   outcome
        D1       2024-02-01  2024-03-10  -            X         2024-03-01  won
        D8       2024-02-01  2024-02-01  -            X         -           -
    """)  # fmt: skip
    found = [row_of(tables, "D8", at, deal=True) for at in ("2024-03-10", "2024-03-11")]
    assert [row["owner_deals_closed_count_365d"] for row in found] == [0, 1]


def test_a_subscription_is_read_in_the_version_that_held(tmp_path: Path) -> None:
    @feature_group("subscriptions")
    def revenue(subscriptions: Any) -> FeatureDict:
        """Monthly revenue."""
        return {"mrr": Feature(subscriptions.mrr.sum(), 0, "currency", "{value}", "{value}")}

    tables = stored_world(
        tmp_path,
        customers="""
            customer_id  created_at
            C1           2024-01-01
        """,
        subscriptions="""
            subscription_id  occurred_at  known_at    known_until  customer_id  mrr
            S1               2024-01-01   2024-01-01  2024-03-01   C1           10
            S1               2024-01-01   2024-03-01  -            C1           30
            S2               2024-01-01   2024-01-01  -            C1           5
        """,
    )
    found = [row_of_group(tables, revenue, at) for at in ("2024-03-01", "2024-03-02")]
    assert found == [15, 35]


def row_of_group(tables: CrmTables, group: Group, at: str) -> float:
    return float(build(tables, "C1", at, group).frame["mrr"].iloc[0])


HIDDEN = """
    customer_id  created_at  known_until  merged_into  deleted_at  merged_at   credit_grade  phone
    C1           2024-01-01  2024-05-01   C2           2024-05-01  2024-05-01  A             555-1
    C2           2024-01-01  -            -            -           -           B             555-2
"""


@pytest.fixture
def hidden(tmp_path: Path) -> CrmTables:
    return stored_world(
        tmp_path, sensitive={"customers": ("credit_grade", "phone"), "deals": ("owner_id",)}, customers=HIDDEN,
        deals=DEALS, orders=ORDERS,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ("known_until", "it tells what became of the row later"),
        ("deleted_at", "it tells what became of the row later"),
        ("merged_at", "it tells what became of the row later"),
        ("merged_into", "it tells what became of the row later"),
        ("phone", "it is declared sensitive"),
    ],
)
def test_a_group_that_reads_what_no_feature_may_see_is_told_so(hidden: CrmTables, column: str, why: str) -> None:
    @feature_group("customers")
    def curious(customers: Any) -> FeatureDict:
        return {"x": Feature(customers[column].count(), 0, "count", "{value}", "{value}")}

    @feature_group("customers")
    def curious_too(customers: Any) -> FeatureDict:
        return {"x": Feature(getattr(customers, column).count(), 0, "count", "{value}", "{value}")}

    for group in (curious, curious_too):
        expected = f"^Feature group '{group.name}' reads column '{column}' of table 'customers', .*{why}.* Leave it out"
        with pytest.raises(DataError, match=expected):
            build(hidden, "C2", "2024-06-01", group)


def test_a_shipped_feature_of_a_sensitive_column_is_left_out_and_said_so(hidden: CrmTables) -> None:
    built = build(hidden, "C2", "2024-06-01")
    assert built.skipped["customers_credit_grade"] == "column 'credit_grade' of table 'customers' is sensitive"
    assert "customers_credit_grade" not in built.columns
    assert "customers_industry" not in built.columns
    deals = build(hidden, "D1", "2024-06-01", deal=True)
    assert deals.skipped["owner_results"] == "column 'owner_id' of table 'deals' is sensitive"


def test_a_pooled_group_may_not_read_them_either(hidden: CrmTables) -> None:
    @pooled_group("deals", by="customer_id", at="closed_at")
    def curious(deals: Any) -> dict[str, Pooled]:
        return {"x": Pooled(deals.known_until < deals.created_at, 20, "y", "{value}", "{value}")}

    with pytest.raises(DataError, match=r"^Feature group 'curious' reads column 'known_until' of table 'deals', which"):
        build(hidden, "D1", "2024-06-01", curious, deal=True)

    @pooled_group("deals", by="known_until", at="closed_at")
    def by_end(deals: Any) -> dict[str, Pooled]:
        return {"x": Pooled(deals.outcome == "won", 20, "y", "{value}", "{value}")}

    with pytest.raises(DataError, match=r"^Feature group 'by_end' reads column 'known_until' of table 'deals', which"):
        build(hidden, "D1", "2024-06-01", by_end, deal=True)


def test_no_view_has_them_and_a_clock_is_null_until_it_has_struck(hidden: CrmTables) -> None:
    spine = pd.DataFrame({"row": [0, 1], "as_of": pd.to_datetime(["2024-03-10", "2024-03-11"]),
                          "deal_id": ["D3", "D3"], "customer_id": ["C2", "C2"]})  # fmt: skip
    with open_database(hidden) as database:
        rows = database.add("spine", spine)
        deals = as_of_view(database, rows, "deals", "deal_id").order_by("row")
        customers = database.frame(as_of_view(database, rows, "customers", "customer_id"))
        clocks = database.frame(deals)["closed_at_known_at"].tolist()
    assert pd.isna(clocks[0])
    assert clocks[1] == pd.Timestamp("2024-03-10")
    assert not {"known_until", "deleted_at", "merged_at", "merged_into", "phone"} & set(customers.columns)
    assert "known_until" not in deals.columns
    assert customers["credit_grade"].isna().all()
