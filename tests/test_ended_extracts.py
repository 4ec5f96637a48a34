"""Two extracts of a CRM in which rows ended in between: what was seen at the first stays as it was."""

from pathlib import Path
from typing import Any

import pandas as pd
from conftest import make_tables

from features.build import build_features
from features.catalog import CATALOG
from features.labels import build_labels
from features.spine import build_scoring_spine
from features.tables import CrmTables
from features.targets import Target

CHURN = Target("churn", "churn", 20, settle_days=0)
CONVERSION = Target("conversion", "conversion", 20, settle_days=0)
BEFORE = {
    "customers": """
        customer_id  created_at  merged_into
        C1           2024-01-01  -
        C2           2024-01-01  -
        C3           2024-01-01  -
    """,
    "orders": """
        order_id  occurred_at  customer_id  amount  quantity
        O1        2024-02-01   C1           10      1
        O2        2024-02-10   C2           20      1
        O3        2024-02-20   C3           40      1
        O4        2024-02-25   C2           80      1
    """,
    "deals": """
        deal_id  created_at  customer_id  owner_id  amount  closed_at   outcome
        D1       2024-02-01  C1           X         100     -           -
        D2       2024-02-01  C2           X         100     2024-02-15  won
        D3       2024-02-01  C3           X         100     2024-02-15  lost
        D4       2024-02-01  C3           X         100     -           -
    """,
}
AFTER = {
    "customers": """
        customer_id  created_at  merged_into
        C1           2024-01-01  C2            # merged; C3 was deleted
        C2           2024-01-01  -
    """,
    "orders": """
        order_id  occurred_at  customer_id  amount  quantity
        O1        2024-02-01   C2           10      1           # the CRM moved it with the merge
        O2        2024-02-10   C2           25      1           # corrected
        O4        2024-02-25   C2           80      1           # O3 went with C3
        O5        2024-03-10   C2           5       1
    """,
    "deals": """
        deal_id  created_at  customer_id  owner_id  amount  closed_at   outcome
        D1       2024-02-01  C2           X         100     2024-03-12  won
        D2       2024-02-01  C2           X         100     2024-02-15  lost    # lost after all
    """,
}


def extracts(state: Path) -> tuple[dict[str, Any], CrmTables]:
    """Return what was built of the first extract, and the tables of the second."""
    config = {"source": {"shrink_share": 1.0}}
    first = make_tables(state, data_end="2024-03-01", config=config, **BEFORE)
    built = {target.name: build(first, target) for target in (CHURN, CONVERSION)}
    return built, make_tables(state, data_end="2024-04-01", config=config, **AFTER)


def build(tables: CrmTables, target: Target, at: str | None = None) -> pd.DataFrame:
    spine = build_scoring_spine(tables, target, pd.Timestamp(at).to_pydatetime() if at else None)
    return build_features(tables, spine, CATALOG, target.table).frame.merge(spine, on=["entity_id", "as_of"])


def test_a_later_extract_gives_the_features_that_the_earlier_one_gave(tmp_path: Path) -> None:
    before, tables = extracts(tmp_path)
    assert before["churn"]["entity_id"].tolist() == ["C1", "C2", "C3"]
    for target in (CHURN, CONVERSION):
        pd.testing.assert_frame_equal(before[target.name], build(tables, target, "2024-03-01"), check_exact=True)


def test_what_ended_is_gone_at_the_second_and_the_survivor_has_the_rows(tmp_path: Path) -> None:
    _, tables = extracts(tmp_path)
    now = build(tables, CHURN).set_index("entity_id")
    assert now.index.tolist() == ["C2"]
    assert (now["orders_count"]["C2"], now["orders_amount"]["C2"]) == (4, 120)
    assert (now["deals_won_count"]["C2"], now["deals_lost_count"]["C2"]) == (1, 1)


def test_labels_of_the_first_date_are_those_of_who_was_there(tmp_path: Path) -> None:
    _, tables = extracts(tmp_path)
    spine = build_scoring_spine(tables, CHURN, pd.Timestamp("2024-03-01").to_pydatetime())
    churn = build_labels(tables, spine, CHURN).set_index("entity_id")["label"]
    assert churn.to_dict() == {"C1": 1.0, "C2": 0.0, "C3": 1.0}  # the merge was seen on 1 April, after the horizon
    spine = build_scoring_spine(tables, CONVERSION, pd.Timestamp("2024-03-01").to_pydatetime())
    won = build_labels(tables, spine, CONVERSION).set_index("entity_id")["label"]
    assert won.to_dict() == {"D1": 1.0, "D4": 0.0}  # D4 was deleted after the horizon
