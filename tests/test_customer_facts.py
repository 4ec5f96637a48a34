"""Facts about customers, with the answers by hand; and that what was not known does not count."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import make_config, make_tables
from stored import stored_world

from features.tables import CrmTables
from models.lifecycle import make_purchases
from models.lifetime_value import MIN_REPEATERS
from pipeline.config import Config
from pipeline.config_schema import ValueClasses
from pipeline.customer_facts import SCHEMA, CustomerFacts, make_customer_facts, write_customer_facts
from pipeline.customer_value import add_profit, lifetime_values, margin_shares
from pipeline.tombstones import load_tombstones, save_tombstones

CUSTOMERS = """
customer_id  created_at  name    employees  parent_id
K1           2023-01-01  Secret  10         -
K2           2023-01-01  Secret  20         K5
K3           2023-01-01  Secret  -          K5
K4           2023-01-01  Secret  40         -
K5           2023-01-01  Secret  5000       -
K6           2024-07-01  Secret  1          -            # known at the end of the data: not before it
"""
# The end of the data is 2024-07-01, so the year is [2023-07-02, 2024-07-01): 2024 has a 29 February.
ORDERS = """
order_id  occurred_at          customer_id  amount  cost  quantity  known_at
O1        2023-07-01           K1           1000    1     1         2023-07-01            # the day before the year
O2        2023-07-02           K1           500     300   1         2023-07-02            # its first moment
O3        2024-06-30 23:59:59  K1           320     220   1         2024-06-30 23:59:59   # its last second
O4        2024-03-01           K1           -20     -10   -1        2024-03-01            # a return
O5        2024-06-20           K1           9000    1     1         2024-07-01            # known at the end: not before
O6        2024-05-01           K2           150     -     1         2024-05-01            # nobody knows the cost
O7        2024-05-02           K3           50      80    1         2024-05-02            # sold at a loss
O8        2022-01-01           K4           70      20    1         2022-01-01
"""
INVOICES = """
invoice_id  occurred_at  customer_id  amount  due_at      paid_at     written_off_at
I1          2024-01-01   K1           10      2024-02-01  2024-02-01  -               # on the day it was due
I2          2024-01-01   K1           20      2024-02-01  2024-02-02  -               # a day late
I3          2024-01-01   K1           40      2024-02-01  -           -               # overdue
I4          2024-01-01   K1           80      2024-02-01  -           2024-03-01      # given up
I5          2024-06-01   K1           160     2024-07-01  -           -               # not due before the end
I6          2024-06-01   K2           5       -           -           -               # due when nobody knows
"""
TICKETS = """
ticket_id  occurred_at  customer_id  closed_at   satisfaction
T1         2023-07-01   K1           2023-08-01  1
T2         2024-01-01   K1           2024-02-01  4
T3         2024-06-01   K1           -           -
"""
DEALS = """
deal_id  created_at  customer_id  amount  closed_at   outcome
D1       2024-01-01  K2           100     -           -
D2       2024-01-01  K2           200     2024-07-01  won       # closed at the end of the data: still open
D3       2024-01-01  K2           400     2024-02-01  won
D4       2024-01-01  K2           800     2024-02-01  lost
"""
ACTIVITIES = """
activity_id  occurred_at  customer_id  deal_id  known_at
A1           2024-06-01   K1           -        2024-06-01
A2           2024-06-02   -            D1       2024-06-02   # with a deal of K2
A3           2024-06-30   K1           -        2024-07-01   # known later
"""


MAPPINGS = {
    "customers": {"sensitive": ["name"]},
    "orders": {"known_at": "known_at"},
    "activities": {"known_at": "known_at"},
}
WORLD = {
    "customers": CUSTOMERS,
    "orders": ORDERS,
    "invoices": INVOICES,
    "tickets": TICKETS,
    "deals": DEALS,
    "activities": ACTIVITIES,
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> CrmTables:
    """The world at the end of June; its tables hold what became known later, too."""
    later = make_tables(tmp_path_factory.mktemp("facts"), MAPPINGS, data_end="2024-09-01", **WORLD)
    return replace(later, data_end=datetime(2024, 7, 1))


def config_of(folder: Path, targets: dict[str, Any] | None = None, **value_classes: Any) -> Config:
    return make_config(folder, {"customers": {}}, targets=targets or {}, value_classes=value_classes)


def facts_of(tables: CrmTables, folder: Path, **value_classes: Any) -> pd.DataFrame:
    return make_customer_facts(config_of(folder, **value_classes), tables, folder).frame.set_index("customer_id")


@pytest.fixture(scope="module")
def facts(tables: CrmTables, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return facts_of(tables, tmp_path_factory.mktemp("empty"))


def answers(facts: pd.DataFrame, column: str) -> list[Any]:
    """Values of a column by customer, K1 to K5; None for null."""
    return [None if pd.isna(value) else value for value in facts[column].tolist()]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("revenue_365d", [800, 150, 50, 0, 0]),  # K1: 500 + 320 - 20
        ("revenue", [1800, 150, 50, 70, 0]),
        ("orders_count", [3, 1, 1, 1, 0]),  # returns are no orders
        ("orders_count_365d", [2, 1, 1, 0, 0]),
        # K1: 200 + 100 - 10. Nobody knows the cost of K2's order; K4's is older than a year, K5 has none.
        ("profit_365d", [290, None, -30, None, None]),
        ("profit_share", [290 / 260, None, -30 / 260, None, None]),
        ("abc_revenue", ["A", "B", "C", "C", "C"]),  # of 1000: 800 is the line, then 950, then all
        ("abc_profit", ["A", None, "C", None, None]),  # 290 of 290; a loss is C
        ("profit_class", ["high", None, "low", None, None]),
        # K1 stayed away for 364 days, which is 3 typical rhythms of 90 days and more, and was back a second ago. One
        # purchase of K2 and K3 60 days ago, of K4 912 days ago.
        ("lifecycle", ["won_back", "new", "new", "dormant", None]),
        ("invoices_count", [5, 1, 0, 0, 0]),
        ("invoices_on_time_share", [0.25, None, None, None, None]),  # 1 of the 4 that were due
        ("invoices_overdue_amount", [40, 0, 0, 0, 0]),
        ("tickets_count_365d", [2, 0, 0, 0, 0]),
        ("tickets_open_count", [1, 0, 0, 0, 0]),
        ("satisfaction", [2.5, None, None, None, None]),
        ("deals_open_count", [0, 2, 0, 0, 0]),
        ("deals_open_amount", [0, 300, 0, 0, 0]),
        ("deals_won_count", [0, 1, 0, 0, 0]),
        ("lifetime_value", [None] * 5),  # too few came back to expect anything of them
        ("abc_value", [None] * 5),
        # Sizes: 10, 20, 40 and 5000, so the largest fifth is K5. It is the parent of K2 and K3.
        ("buying_potential", ["low", "high", "high", "low", "high"]),
        ("strategic", ["ordinary"] * 5),  # K5 is influential, but buys nothing
    ],
)
def test_facts_are_those_counted_by_hand(facts: pd.DataFrame, column: str, expected: list[Any]) -> None:
    assert answers(facts, column) == pytest.approx(expected)


def test_what_became_known_later_changes_nothing(tables: CrmTables, facts: pd.DataFrame, tmp_path: Path) -> None:
    def until_june(table: str) -> str:
        lines = table.splitlines()
        return "\n".join(
            line.replace("2024-07-01  won", "-  -") for line in lines if line[:2] not in ("K6", "O5", "A3")
        )

    before = {name: until_june(rows) for name, rows in WORLD.items()}
    extracted = make_tables(tmp_path / "tables", MAPPINGS, **before)
    pd.testing.assert_frame_equal(facts_of(extracted, tmp_path), facts)


def test_moments_are_those_of_what_was_known(facts: pd.DataFrame) -> None:
    assert facts["last_order_at"].tolist()[:2] == [pd.Timestamp("2024-06-30 23:59:59"), pd.Timestamp("2024-05-01")]
    assert facts["first_order_at"].tolist()[0] == pd.Timestamp("2023-07-01")
    assert facts["last_contact_at"].tolist()[:2] == [pd.Timestamp("2024-06-01"), pd.Timestamp("2024-06-02")]
    assert facts["last_contact_at"].isna().tolist()[2:] == [True] * 3
    assert set(facts["as_of"]) == {pd.Timestamp("2024-07-01")}


def test_a_margin_of_the_config_stands_in_where_no_cost_is_known(tables: CrmTables, tmp_path: Path) -> None:
    facts = facts_of(tables, tmp_path, margin=0.2)
    assert answers(facts, "profit_365d") == pytest.approx([290, 30, -30, 0, 0])  # K2: 0.2 * 150
    assert answers(facts, "abc_profit") == ["A", "B", "C", "C", "C"]  # 290 of 320, which is 91 %: B crosses 95 %


def test_the_lines_of_the_classes_come_from_the_config(tables: CrmTables, tmp_path: Path) -> None:
    assert answers(facts_of(tables, tmp_path, shares=[0.9, 0.99]), "abc_revenue") == ["A", "A", "B", "C", "C"]
    with pytest.raises(ValueError, match=r"shares must rise above 0 and not pass 1, got \[0\.9, 0\.8\]"):
        ValueClasses(shares=(0.9, 0.8))


def test_too_few_repeated_purchases_are_said(tables: CrmTables, tmp_path: Path) -> None:
    found = make_customer_facts(config_of(tmp_path), tables, tmp_path)
    [said] = found.notes
    assert said.startswith(f"Lifetime value from purchase histories needs {MIN_REPEATERS} customers who came back, and")
    assert said.endswith("until a target of kind 'value' has a model.")


VALUE_TARGET = {"value": {"kind": "value", "horizons_days": [90], "spine": {"grid": "month"}}}


def test_the_value_of_a_model_is_carried_over_to_the_horizon(tables: CrmTables, tmp_path: Path) -> None:
    scores = pd.DataFrame(
        {"entity_id": ["K1", "K2"], "target": "value", "horizon_days": 90, "value": [800.0, 100.0], "x": 1}
    )
    scores.to_parquet(tmp_path / "scores.parquet")
    config = config_of(tmp_path, VALUE_TARGET, horizon_days=180, annual_discount_rate=0.0)
    found = make_customer_facts(config, tables, tmp_path).frame.set_index("customer_id")
    # No rhythm could be fitted, so revenue goes on at the same rate: twice as much in 180 days as in 90.
    assert answers(found, "lifetime_value") == [1600, 200, None, None, None]
    assert answers(found, "lifetime_source") == ["model", "model", None, None, None]
    assert answers(found, "abc_value") == ["A", "B", None, None, None]  # 1600 of 1800 passes 80 %; then B
    assert answers(found, "lifetime_margin")[2:] == [None] * 3


def test_a_model_of_a_part_of_the_year_tells_customers_apart_and_histories_the_level(tmp_path: Path) -> None:
    # Sixty customers bought every 30 days, six times. The model expects 3 of the first for 1 of the second.
    owner = np.repeat(np.arange(60), 6)
    at = np.datetime64("2024-06-20", "us") - np.tile(np.arange(6), 60) * np.timedelta64(30, "D")
    purchases = make_purchases(owner, at, pd.Timestamp("2024-07-01"), 60)
    ids = [f"K{place}" for place in range(60)]
    figures = pd.DataFrame({"customer_id": ids, "bought": 600.0, "revenue": 600.0, "profit": np.nan, "costed": np.nan})

    def values(model_days: int | None) -> np.ndarray:
        said = pd.Series([300.0, 100.0], index=["K0", "K1"], name=str(model_days)) if model_days else None
        config = config_of(tmp_path, VALUE_TARGET, annual_discount_rate=0.0)
        return lifetime_values(config, figures, purchases, np.full(60, 100.0), said, [])["lifetime_value"]

    alone, with_model = values(None), values(90)
    assert alone[0] == pytest.approx(alone[1])
    assert with_model[:2].sum() == pytest.approx(alone[:2].sum())
    assert with_model[0] / with_model[1] == pytest.approx(3)
    assert with_model[2:].tolist() == alone[2:].tolist()  # whom the model does not know
    assert values(365)[:2].tolist() == pytest.approx([300, 100])  # a year has all its seasons: the model's own level


def test_flags_of_the_cards_of_a_run_count_for_the_classes(tables: CrmTables, tmp_path: Path) -> None:
    flags = [json.dumps(["early_warning", "cultivate"]), json.dumps(["strategic"]), None]
    parts = pd.DataFrame({"entity_id": ["K1", "K4", "K5"], "points": 1.0, "flags": flags})
    parts.to_parquet(tmp_path / "card_value.parquet")
    found = make_customer_facts(config_of(tmp_path, VALUE_TARGET), tables, tmp_path).frame
    assert found["buying_potential"].tolist() == ["high", "high", "high", "low", "high"]
    assert found["strategic"].tolist() == ["ordinary", "ordinary", "ordinary", "key", "ordinary"]


def test_margins_are_pulled_to_the_mean_of_all_where_amounts_are_small() -> None:
    # All together keep 320 of 1000; the median customer ordered for 300. The first: (20 + 96) / 400.
    figures = pd.DataFrame({"profit": [20, 60, 240, None], "costed": [100, 300, 600, None]}, dtype=float)
    assert margin_shares(figures).tolist() == pytest.approx([0.29, 156 / 600, 336 / 900, 0.32])
    assert np.isnan(margin_shares(figures.tail(1))).all()


def test_profit_of_orders_of_unknown_cost_is_left_out() -> None:
    row = {"profit": 30.0, "profit_365d": 10.0, "costed": 100.0, "costed_365d": 40.0}
    figures = pd.DataFrame([{**row, "revenue": 150.0, "revenue_365d": 60.0}])
    assert add_profit(figures, None)[["profit", "profit_365d"]].to_numpy().tolist() == [[30, 10]]
    assert add_profit(figures, 0.1)[["profit", "profit_365d"]].to_numpy().tolist() == [[35, 12]]


def test_a_deployment_with_customers_alone_has_facts_of_what_it_knows(tmp_path: Path) -> None:
    tables = make_tables(tmp_path / "tables", {}, customers="customer_id  created_at\nK1           2024-01-01")
    notes = write_customer_facts(config_of(tmp_path), tables, tmp_path)
    stored = pq.read_table(tmp_path / "customers.parquet")
    assert notes == ()
    assert stored.schema.equals(SCHEMA)
    [row] = stored.to_pylist()
    assert {name for name, value in row.items() if value is not None} == {"customer_id", "as_of"}


def test_before_anybody_is_known_there_are_no_rows(tables: CrmTables, tmp_path: Path) -> None:
    early = replace(tables, data_end=datetime(2022, 6, 1))  # the order of 2022 is known, its customer is not yet
    assert write_customer_facts(config_of(tmp_path), early, tmp_path)[0].startswith("Lifetime value from purchase")
    stored = pq.read_table(tmp_path / "customers.parquet")
    assert (stored.num_rows, stored.schema.equals(SCHEMA)) == (0, True)


def test_a_deployment_without_customers_has_no_facts(tmp_path: Path) -> None:
    deals = "deal_id  created_at  closed_at  outcome\nD1       2024-01-01  -          -"
    tables = make_tables(tmp_path / "tables", {}, deals=deals)
    assert write_customer_facts(config_of(tmp_path), tables, tmp_path) == ()
    assert not (tmp_path / "customers.parquet").exists()


def test_of_a_row_that_changed_the_version_that_holds_counts(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path / "tables",
        customers="""
            customer_id  created_at  employees  known_until
            K1           2024-01-01  5          2024-03-01    # and since then
            K1           2024-01-01  7          -
            K2           2024-01-01  9          2024-06-01    # deleted
        """,
        orders="""
            order_id  occurred_at  customer_id  amount  known_at    known_until
            O1        2024-02-01   K1           100     2024-02-01  2024-04-01    # corrected to 60
            O1        2024-02-01   K1           60      2024-04-01  -
            O2        2024-02-01   K1           30      2024-02-01  2024-05-01    # deleted
        """,
    )
    found = make_customer_facts(config_of(tmp_path), tables, tmp_path).frame
    assert found["customer_id"].tolist() == ["K1"]
    assert found[["revenue", "orders_count"]].to_numpy().tolist() == [[60, 1]]


def test_the_cost_of_orders_is_not_read_where_it_is_sensitive(tmp_path: Path) -> None:
    mappings = {"orders": {"sensitive": ["cost"]}}
    tables = make_tables(
        tmp_path / "tables", mappings, customers="customer_id  created_at\nK1           2024-01-01",
        orders="order_id  occurred_at  customer_id  amount  cost\nO1        2024-02-01   K1           100     60",
    )  # fmt: skip
    found = make_customer_facts(config_of(tmp_path), tables, tmp_path).frame
    assert found[["revenue", "profit_365d"]].isna().to_numpy().tolist() == [[False, True]]


def test_a_customer_who_was_forgotten_has_no_facts_and_counts_for_nobody(tables: CrmTables, tmp_path: Path) -> None:
    config = config_of(tmp_path)
    save_tombstones(config.folder, load_tombstones(config.folder).adding({"customers": ["K1"]}))
    found: CustomerFacts = make_customer_facts(config, tables, tmp_path)
    assert found.frame["customer_id"].tolist() == ["K2", "K3", "K4", "K5"]
    assert found.frame["abc_revenue"].tolist() == ["A", "A", "C", "C"]  # 150 of 200 is 75 %
