"""What a data scientist may write in a group, and what is refused."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import make_tables

from features.build import FeatureFrame, build_features
from features.catalog import CATALOG
from features.errors import DataError
from features.group import Feature, FeatureDict, Group, Pooled, Window, derived, feature_group, pooled_group
from features.tables import CrmTables, load_tables

ORDERS = """
    order_id  occurred_at  customer_id  amount  quantity  channel
    O1        2024-02-01   C1           10      1         web
    O2        2024-03-01   C1           20      1         shop
"""


@pytest.fixture
def tables(tmp_path: Path) -> CrmTables:
    return make_tables(tmp_path, customers=[{"customer_id": "C1", "created_at": "2024-01-01"}], orders=ORDERS)


def build(tables: CrmTables, *groups: Group) -> FeatureFrame:
    spine = pd.DataFrame({"entity_id": ["C1"], "as_of": [pd.Timestamp("2024-03-15")], "customer_id": ["C1"]})
    return build_features(tables, spine, groups, "customers")


@feature_group("orders", windows=(30,))
def web_orders(orders: Any, window: Window) -> FeatureDict:
    """Orders placed on the web."""
    web = (orders.channel == "web") & window.mask
    return {f"orders_web_count_{window}": Feature(web.sum(), 0, "count", "{value} on the web", "{value}")}


def test_a_group_may_use_extra_columns_of_its_table(tables: CrmTables) -> None:
    built = build(tables, web_orders)
    assert built.frame["orders_web_count_30d"].tolist() == [0.0]  # the web order was 43 days ago
    info = built.infos[0]
    assert (info.name, info.kind, info.group, info.description) == (
        "orders_web_count_30d",
        "number",
        "web_orders",
        "Orders placed on the web.",
    )


def test_a_feature_that_forgets_its_window_is_refused(tables: CrmTables) -> None:
    @feature_group("orders", windows=(30,))
    def careless(orders: Any, window: Window) -> FeatureDict:
        return {f"orders_sum_{window}": Feature(orders.amount.sum(), 0, "currency", "{value}", "{value}")}

    with pytest.raises(DataError, match="'orders_sum_30d' of group 'careless' does not use its window of 30 days"):
        build(tables, careless)


def test_a_column_that_no_table_has_is_named(tables: CrmTables) -> None:
    @feature_group("orders")
    def misspelt(orders: Any) -> FeatureDict:
        return {"orders_x": Feature(orders.chanel.nunique(), 0, "count", "{value}", "{value}")}

    with pytest.raises(DataError, match=r"Feature group 'misspelt': .*'chanel'.* Use a column that table 'orders' has"):
        build(tables, misspelt)


def test_a_canonical_column_the_deployment_lacks_leaves_out_that_feature_only(tables: CrmTables) -> None:
    @feature_group("orders")
    def margins(orders: Any) -> FeatureDict:
        return {
            "orders_cost": Feature(orders.cost.sum(), 0, "currency", "{value}", "{value}"),
            "orders_total": Feature(orders.amount.sum(), 0, "currency", "{value}", "{value}"),
        }

    built = build(tables, margins)
    assert built.columns == ["orders_total"]
    assert built.skipped == {"orders_cost": "table 'orders' has no column 'cost'"}


def test_a_group_whose_table_is_not_mapped_is_skipped_and_said_so(tables: CrmTables) -> None:
    skipped = build(tables, *CATALOG).skipped
    assert skipped["customer_activity"] == "table 'activities' is not mapped"
    assert skipped["deal_profile"] == "it describes deals"
    assert skipped["deal_pace"] == "feature 'deal_age_days' is not there"


def test_a_time_is_no_feature(tables: CrmTables) -> None:
    @feature_group("orders")
    def last_time(orders: Any) -> FeatureDict:
        return {"orders_last_at": Feature(orders.occurred_at.max(), None, "days", "{value}", "{value}")}

    with pytest.raises(DataError, match=r"Feature 'orders_last_at' is a timestamp.* Make it a number or a text"):
        build(tables, last_time)


def test_derived_features_come_from_built_ones_and_keep_the_order_of_the_catalog(tables: CrmTables) -> None:
    @derived(needs=("orders_total",))
    def double(features: Any) -> FeatureDict:
        return {"orders_double": Feature(features.orders_total * 2, 0, "currency", "{value}", "{value}")}

    @feature_group("orders")
    def total(orders: Any) -> FeatureDict:
        return {"orders_total": Feature(orders.amount.sum(), 0, "currency", "{value}", "{value}")}

    built = build(tables, double, total)
    assert built.columns == ["orders_double", "orders_total"]
    assert built.frame[built.columns].iloc[0].tolist() == [60.0, 30.0]


def test_a_pooled_group_of_a_column_that_is_not_there_is_skipped(tmp_path: Path) -> None:
    @pooled_group("deals", by="plant", at="closed_at")
    def plant_results(deals: Any) -> dict[str, Pooled]:
        return {"plant_rate": Pooled(deals.outcome == "won", 20, "plant_count", "{value}", "{value}")}

    tables = make_tables(tmp_path, deals="""
        deal_id  created_at  closed_at   outcome
        D1       2024-02-01  2024-03-01  won
    """)  # fmt: skip
    spine = pd.DataFrame({"entity_id": ["D1"], "as_of": [pd.Timestamp("2024-02-15")], "customer_id": [None]})
    built = build_features(tables, spine, [plant_results, *CATALOG], "deals")
    assert built.skipped["plant_results"] == "table 'deals' has no column 'plant'"


def test_the_catalog_names_every_feature_once_and_describes_it(tmp_path: Path) -> None:
    names = [group.name for group in CATALOG]
    assert len(set(names)) == len(names)
    assert all(group.description for group in CATALOG)


def test_phrases_of_every_feature_can_be_filled_in(tables: CrmTables) -> None:
    for info in build(tables, *CATALOG).infos:
        value = 0.5 if info.kind == "number" else "x"
        assert info.en.format(value=value), info.name
        assert info.zh.format(value=value), info.name


def test_a_misspelt_table_is_named_with_the_nearest_one(tables: CrmTables) -> None:
    @feature_group("invoicez")
    def debts(invoices: Any) -> FeatureDict:
        return {"x": Feature(invoices.amount.sum(), 0, "currency", "{value}", "{value}")}

    with pytest.raises(DataError, match=r"reads table 'invoicez', which does not exist\. Did you mean 'invoices'"):
        build(tables, debts)


def test_two_features_of_one_name_are_refused(tables: CrmTables) -> None:
    @feature_group("orders")
    def first(orders: Any) -> FeatureDict:
        return {"orders_sum": Feature(orders.amount.sum(), 0, "currency", "{value}", "{value}")}

    @feature_group("customers")
    def second(customers: Any) -> FeatureDict:
        return {"orders_sum": Feature(customers.row.count(), 0, "currency", "{value}", "{value}")}

    with pytest.raises(DataError, match="Feature 'orders_sum' is in group 'first' and in group 'second'"):
        build(tables, first, second)


def test_a_phrase_with_another_field_than_value_is_refused(tables: CrmTables) -> None:
    @feature_group("orders")
    def wrong(orders: Any) -> FeatureDict:
        return {"orders_sum": Feature(orders.amount.sum(), 0, "currency", "{valu}", "{value}")}

    with pytest.raises(DataError, match="'orders_sum' of group 'wrong' has a phrase that cannot be filled in"):
        build(tables, wrong)


def test_public_functions_can_be_imported_from_the_package() -> None:
    import features

    assert features.build_features is build_features
    with pytest.raises(AttributeError, match="module 'features' has no attribute 'build_everything'"):
        _ = features.build_everything


def test_a_stored_table_with_one_byte_changed_is_refused(tables: CrmTables) -> None:
    file = tables.path("orders")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"Table 'orders': .* its content was changed or damaged"):
        load_tables(tables.folder)


def test_a_feature_without_an_empty_value_is_the_same_alone_as_beside_others(tables: CrmTables) -> None:
    @feature_group("orders", windows=(10,))
    def lately(orders: Any, window: Window) -> FeatureDict:
        return {f"orders_lately_{window}": Feature(window.mask.sum(), None, "count", "{value}", "{value}")}

    @feature_group("orders")
    def ever(orders: Any) -> FeatureDict:
        return {"orders_ever": Feature(orders.row.count(), 0, "count", "{value}", "{value}")}

    alone, beside = build(tables, lately), build(tables, lately, ever)
    assert alone.frame["orders_lately_10d"].tolist() == [0.0]  # two orders, the newer one 14 days ago: none lately
    assert beside.frame["orders_lately_10d"].tolist() == [0.0]
