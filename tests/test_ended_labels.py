"""Labels where rows end: deleted orders and deals, merged customers, each with the answer by hand.

A row counts once, by its first version; deleted rows are no purchase and no win; an entity that ended within
`[as_of, as_of + horizon)` before its label was decided is censored.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stored import stored_world

from features.labels import build_labels
from features.tables import CrmTables
from features.targets import Target

CHURN = Target("churn", "churn", 30, settle_days=0)
CONVERSION = Target("conversion", "conversion", 30, settle_days=0)


def label(tables: CrmTables, target: Target, entity: str, at: str) -> float | None:
    """Return the label of one snapshot; None if it is censored."""
    spine = pd.DataFrame({"entity_id": [entity], "as_of": [pd.Timestamp(at)]})
    value = build_labels(tables, spine, target)["label"].iloc[0]
    return None if np.isnan(value) else float(value)


CUSTOMERS = """
    customer_id  created_at  known_at    known_until  merged_into
    C1           2024-01-01  2024-01-01  2024-03-15   C2           # merged into C2 on 15 March
    C2           2024-01-01  2024-01-01  -            -
    C3           2024-01-01  2024-01-01  2024-03-15   -            # deleted on 15 March
    C4           2024-01-01  2024-01-01  2024-03-15   -            # deleted on 15 March, back on 20 March
    C4           2024-01-01  2024-03-20  -            -
"""
ORDERS = """
    order_id  occurred_at  known_at    known_until  customer_id  amount
    O1        2024-03-05   2024-03-05  2024-03-15   C1           10      # before the merge: C1's purchase
    O1        2024-03-05   2024-03-15  -            C2           10
    O2        2024-04-02   2024-04-02  -            C2           10      # after it: the survivor's
    O3        2024-03-10   2024-03-10  2024-05-01   C3           10      # deleted on 1 May
"""


@pytest.mark.parametrize(
    ("entity", "at", "expected"),
    [
        ("C1", "2024-03-01", 0.0),  # O1 on 5 March decided it before the merge on the 15th
        ("C1", "2024-03-06", None),  # no purchase by 15 March: nobody knows what C1 would have done
        ("C1", "2024-02-13", 0.0),  # until 14 March
        ("C1", "2024-02-01", 1.0),  # the horizon ended on 2 March, before the merge
        ("C1", "2024-02-14", 0.0),  # until 15 March exactly: O1 is within
        ("C1", "2024-03-16", None),  # had ended before
        ("C2", "2024-03-01", 1.0),  # O1 was C1's when it became known, whatever the merge says later
        ("C2", "2024-03-05", 0.0),  # O2 on 2 April
        ("C2", "2024-03-16", 0.0),
        ("C3", "2024-02-01", 1.0),  # the deleted order is no purchase, and the horizon ended before 15 March
        ("C3", "2024-02-14", 1.0),  # until 15 March exactly: the end lies outside
        ("C3", "2024-02-15", None),  # the end on 15 March lies within, and the deleted order decides nothing
        ("C4", "2024-03-01", 1.0),  # it came back, so it had not ended
    ],
)
def test_churn_of_merged_and_deleted_customers(tmp_path: Path, entity: str, at: str, expected: float | None) -> None:
    tables = stored_world(tmp_path, customers=CUSTOMERS, orders=ORDERS)
    assert label(tables, CHURN, entity, at) == expected


def test_a_correction_of_an_order_neither_doubles_nor_moves_the_purchase(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path,
        customers="""
            customer_id  created_at
            C1           2024-01-01
            C2           2024-01-01
        """,
        orders="""
            order_id  occurred_at  known_at    known_until  customer_id  amount
            O1        2024-03-05   2024-03-05  2024-03-10   C1           10      # corrected: a return, and C2's
            O1        2024-03-05   2024-03-10  -            C2           -10
            O2        2024-03-05   2024-03-05  2024-03-05   C2           10      # never held: known when it ended
            O2        2024-03-05   2024-03-05  -            C1           10
        """,
    )
    assert [label(tables, CHURN, entity, "2024-03-01") for entity in ("C1", "C2")] == [0.0, 1.0]


DEALS = """
    deal_id  created_at  known_at    known_until  closed_at   outcome
    D1       2024-01-01  2024-01-01  2024-03-15   -           -        # deleted on 15 March, open
    D2       2024-01-01  2024-01-01  2024-03-15   2024-03-10  won      # won, then deleted
    D3       2024-01-01  2024-01-01  2024-03-15   2024-03-10  lost     # lost, then deleted
    D4       2024-01-01  2024-01-01  2024-05-15   2024-03-10  won      # won, deleted after the horizon
    D5       2024-01-01  2024-01-01  2024-03-12   -           -        # changed hands on 12 March, then won
    D5       2024-01-01  2024-03-12  -            2024-03-20  won
    D6       2024-01-01  2024-01-01  2024-04-02   2024-03-10  won      # set to lost on 2 April
    D6       2024-01-01  2024-04-02  -            2024-03-10  lost
    D7       2024-01-01  2024-01-01  2024-04-02   2024-03-10  lost     # set to won on 2 April
    D7       2024-01-01  2024-04-02  -            2024-03-10  won
    D8       2024-01-01  2024-01-01  2024-03-12   2024-03-20  won      # every version tells how it closed
    D8       2024-01-01  2024-03-12  -            2024-03-20  won
"""


@pytest.mark.parametrize(
    ("entity", "at", "expected"),
    [
        ("D1", "2024-03-01", None),  # deleted within the horizon, undecided
        ("D1", "2024-02-14", 0.0),  # the horizon ends on 15 March exactly, before the end counts
        ("D1", "2024-02-15", None),
        ("D1", "2024-03-20", None),  # had ended before
        ("D2", "2024-03-01", 0.0),  # decided on 10 March, and a deleted win is no win
        ("D3", "2024-03-01", 0.0),
        ("D4", "2024-03-01", 0.0),
        ("D2", "2024-03-11", None),  # had closed before
        ("D5", "2024-03-01", 1.0),
        ("D6", "2024-03-01", 1.0),  # by its first version
        ("D7", "2024-03-01", 0.0),
        ("D8", "2024-03-01", 1.0),
    ],
)
def test_conversion_of_deleted_and_changed_deals(tmp_path: Path, entity: str, at: str, expected: float | None) -> None:
    tables = stored_world(tmp_path, deals=DEALS)
    assert label(tables, CONVERSION, entity, at) == expected


def test_a_later_version_says_nothing_of_how_late_outcomes_arrive(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path,
        customers="""
            customer_id  created_at
            C1           2024-01-01
        """,
        orders="""
            order_id  occurred_at  known_at    known_until  customer_id  amount
            O1        2024-03-05   2024-03-07  2024-05-10   C1           10
            O1        2024-03-05   2024-05-10  -            C1           12
        """,
    )
    spine = pd.DataFrame({"entity_id": ["C1"], "as_of": [pd.Timestamp("2024-03-01")]})
    settled = build_labels(tables, spine, Target("churn", "churn", 30))["settled_at"].iloc[0]
    assert settled == pd.Timestamp("2024-04-02")  # 1 March + 30 days + 2 days' lateness
