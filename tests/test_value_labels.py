"""What customers bring in after each snapshot, with the answers by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_tables
from stored import stored_world

from features.labels import build_labels
from features.spine import build_spine
from features.tables import CrmTables
from features.targets import SpinePlan, Target
from pipeline.audit_maturity import measure_maturity

VALUE = Target("value", "value", 30, settle_days=0)
CUSTOMERS = """
customer_id  created_at
C1           2024-01-01
C2           2024-01-01
C3           2024-01-01
"""
ORDERS = """
order_id  occurred_at       customer_id  amount  quantity  known_at
O1        2024-02-01        C1           100     1         2024-02-01        # at as_of exactly: within
O2        2024-02-20        C1           50.25   1         2024-02-28        # known later, which labels may
O3        2024-02-25        C1           -30     -1        2024-02-25        # a return counts against
O4        2024-03-02        C1           500     1         2024-03-02        # 2024-02-01 + 30 days exactly: outside
O5        2024-01-20        C2           70      1         2024-01-20
O6        2024-02-10        C2           -70     -1        2024-02-10        # returns an earlier purchase
O7        2024-01-15        C3           0.1     1         2024-01-15
O8        2024-02-03        C3           0.1     1         2024-02-03
O9        2024-02-04        C3           0.2     1         2024-02-04        # 0.1 + 0.2 is 0.3 as DECIMAL
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> CrmTables:
    known = {"orders": {"known_at": "known_at"}}
    return make_tables(
        tmp_path_factory.mktemp("value"), known, data_end="2024-04-10", customers=CUSTOMERS, orders=ORDERS
    )


def revenue(tables: CrmTables, entity: str, at: str, target: Target = VALUE) -> float | None:
    """Return the label of one snapshot; None if it is censored."""
    spine = pd.DataFrame({"entity_id": [entity], "as_of": [pd.Timestamp(at)]})
    value = build_labels(tables, spine, target)["label"].iloc[0]
    return None if np.isnan(value) else float(value)


@pytest.mark.parametrize(
    ("entity", "at", "expected"),
    [
        ("C1", "2024-02-01", 120.25),  # O1 + O2 + O3, until 2 March 00:00
        ("C1", "2024-02-01 00:00:00.000001", 520.25),  # O1 has gone by, O4 is within
        ("C1", "2024-03-02", 500.0),
        ("C1", "2024-03-03", 0.0),  # nothing until 2 April
        ("C2", "2024-02-01", -70.0),
        ("C2", "2024-01-11", 70.0),  # bought on 20 January; the return on 10 February is outside
        ("C2", "2024-01-12", 0.0),  # bought and returned within
        ("C3", "2024-02-01", 0.3),
        ("C1", "2024-03-11", 0.0),  # ripe at its very end: 11 March + 30 days = 10 April
        ("C1", "2024-03-12", None),  # not ripe
    ],
)
def test_revenue_is_what_was_ordered_less_what_came_back(
    tables: CrmTables, entity: str, at: str, expected: float | None
):
    assert revenue(tables, entity, at) == expected


def test_labels_settle_when_late_orders_have_come_in(tables: CrmTables):
    # lateness: eight orders at once, one after 8 days; the p95 of nine lies between 0 and 8, 60 % of the way: 5 days
    spine = pd.DataFrame({"entity_id": ["C1"], "as_of": [pd.Timestamp("2024-02-01")]})
    settled = build_labels(tables, spine, Target("value", "value", 30))["settled_at"].iloc[0]
    assert settled == pd.Timestamp("2024-03-07")


def test_eligible_is_who_bought_within_the_lookback(tables: CrmTables):
    plan = SpinePlan(grid="month")

    def eligible(lookback_days: int | None) -> list[str]:
        spine = build_spine(tables, Target("value", "value", 30, lookback_days), plan)
        return [f"{who} {at:%m-%d}" for who, at in zip(spine["entity_id"], spine["as_of"], strict=True)]

    # C1 bought on 1 February, which nobody knew before that day had begun
    assert eligible(None) == ["C1 03-01", "C1 04-01", "C2 02-01", "C2 03-01", "C2 04-01", "C3 02-01", "C3 03-01", "C3 04-01"]  # fmt: skip  # noqa: E501
    # within 20 days: C2 on 20 January, C3 on 15 January; C1 on 20 February (known on the 28th); a return is no purchase
    assert eligible(20) == ["C1 03-01", "C2 02-01", "C3 02-01"]


def test_the_audit_counts_who_brought_in_anything(tables: CrmTables):
    cohorts = measure_maturity(tables, VALUE, SpinePlan(grid="month")).cohorts
    # 1 February: C2 -70, C3 0.3; 1 March: C1 500, C2 and C3 nothing; 1 April is not ripe
    rates = [(one.month, one.base_rate) for one in cohorts]
    assert rates == [("2024-02", 0.5), ("2024-03", pytest.approx(1 / 3)), ("2024-04", None)]


ENDING = """
    customer_id  created_at  known_at    known_until  merged_into
    C1           2024-01-01  2024-01-01  2024-03-15   C2           # merged into C2 on 15 March
    C2           2024-01-01  2024-01-01  -            -
"""
MOVED = """
    order_id  occurred_at  known_at    known_until  customer_id  amount
    O1        2024-03-05   2024-03-05  2024-03-15   C1           10      # C1's when it became known
    O1        2024-03-05   2024-03-15  -            C2           10
    O2        2024-03-20   2024-03-20  -            C2           7
    O3        2024-03-21   2024-03-21  2024-05-01   C2           99      # deleted on 1 May: never happened
"""


@pytest.mark.parametrize(
    ("entity", "at", "expected"),
    [
        ("C1", "2024-03-01", None),  # ended on 15 March: what it would have brought after is C2's
        ("C1", "2024-02-14", 10.0),  # until 15 March exactly
        ("C2", "2024-03-01", 7.0),  # O1 was C1's
    ],
)
def test_customers_that_ended_have_no_sum_and_orders_count_once(
    tmp_path: Path, entity: str, at: str, expected: float | None
):
    tables = stored_world(tmp_path, data_end="2024-07-01", customers=ENDING, orders=MOVED)
    assert revenue(tables, entity, at) == expected
