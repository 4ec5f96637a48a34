"""An entity as if nothing had become known for a while, against literal tables."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import extract_world, make_config, make_tables

from pipeline.config import Config
from pipeline.deployment import features_of, load_extract
from pipeline.known_then import Aged, age_features, cut_tables

THEN, NOW = datetime(2024, 6, 20), datetime(2024, 6, 30)
TARGETS = {"churn": {"kind": "churn", "by": "orders", "horizons_days": [30], "spine": {"grid": "month"}}}
NAMES = ("orders_count", "orders_count_30d", "orders_days_since_last", "customers_age_days")
CUSTOMERS = [{"customer_id": "C1", "created_at": "2024-01-01"}, {"customer_id": "C2", "created_at": "2024-06-25"}]
KNOWN = {"orders": {"known_at": "entered_at"}}
ORDERS = """
    order_id  occurred_at  entered_at   customer_id  amount  quantity
    O1        2024-04-01   2024-04-01   C1           10      1
    O2        2024-05-25   2024-05-25   C1           10      1
    O3        2024-06-10   2024-06-28   C1           10      1         # before then, but entered after it
    O4        2024-06-25   2024-06-25   C1           10      1
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    extract_world(tmp_path, KNOWN, customers=CUSTOMERS, orders=ORDERS)
    return make_config(tmp_path, {"customers": {}, "orders": {}}, targets=TARGETS)


def build(config: Config, moment: datetime) -> pd.DataFrame:
    """Features of C1 as a scoring run at a moment stores them."""
    spine = pd.DataFrame({"entity_id": ["C1"], "as_of": [pd.Timestamp(moment)], "customer_id": ["C1"]})
    return features_of(config, load_extract(config), "churn", spine).frame


def age(config: Config, stored: pd.DataFrame, now: datetime = NOW) -> Aged:
    return age_features(config, "churn", stored, now, NAMES)


def values(frame: pd.DataFrame | None) -> list[Any]:
    assert frame is not None
    return frame[list(NAMES)].iloc[0].tolist()


def test_time_alone_moves_windows_and_intervals_and_nothing_else(config: Config) -> None:
    then, now = build(config, THEN), build(config, NOW)
    aged = age(config, then)
    assert values(then) == [2, 1, 26, 171]  # O1 and O2; O2 is 26 days old
    assert values(aged.features) == [2, 0, 36, 181]  # ten days on, O2 has left the window
    assert values(now) == [4, 2, 5, 181]  # with what was entered since
    assert aged.features is not None
    assert aged.features["as_of"].tolist() == [pd.Timestamp(NOW)]


def test_no_time_has_passed_between_two_scores_of_one_moment(config: Config) -> None:
    then = build(config, THEN)
    assert age(config, then, THEN).features is then


def test_tables_that_tell_that_day_otherwise_are_not_believed(config: Config) -> None:
    stored = build(config, THEN).assign(orders_count=3.0)  # an order has vanished from the tables since
    aged = age(config, stored)
    assert aged.features is None
    assert aged.why_not == "the tables of today tell 1 of 4 features of then otherwise (orders_count)"


def test_an_entity_that_the_tables_do_not_have_then_is_told(config: Config) -> None:
    aged = age(config, build(config, THEN).assign(entity_id="C2"))
    assert aged == Aged(None, "the tables of today do not have it in the population of then")


def test_tables_that_are_gone_are_told(config: Config) -> None:
    stored = build(config, THEN)
    (config.folder / "tables" / "manifest.json").unlink()
    aged = age(config, stored)
    assert aged.features is None
    assert "the tables of then cannot be read any more (No extracted tables in" in str(aged.why_not)


def test_what_was_revealed_or_ended_since_is_open_again(tmp_path: Path) -> None:
    deals = """
        deal_id  created_at  customer_id  closed_at   outcome  owner_id
        D1       2024-03-01  C1           2024-06-01  won      a          # closed before then
        D2       2024-03-01  C1           2024-06-20  lost     a          # at that very moment: not known yet
        D3       2024-06-20  C1           -           -        a          # begun then: not known yet
    """
    changes = """
        occurred_at  table_name  entity_id  field     old_value  new_value
        2024-05-01   deals       D2         owner_id  x          b
        2024-06-25   deals       D2         owner_id  b          a
    """
    mappings = {"deals": {"tracked": ["owner_id"]}}
    tables = make_tables(tmp_path / "state", mappings, customers=CUSTOMERS, deals=deals, attribute_changes=changes)
    folder = tmp_path / "cut"
    folder.mkdir()
    cut = pd.read_parquet(cut_tables(tables, THEN, folder).path("deals")).sort_values(["deal_id", "known_at"])
    shown = cut[["deal_id", "outcome", "closed_at", "owner_id", "known_until"]].astype(object)
    assert shown.where(shown.notna(), None).to_numpy().tolist() == [
        ["D1", "won", pd.Timestamp("2024-06-01"), "a", None],
        ["D2", None, None, "x", pd.Timestamp("2024-05-01")],
        ["D2", None, None, "b", None],  # the version that held then, and still does
    ]
