"""`leadsieve features`: which there are, what they mean, and one entity's at a date."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pytest
from conftest import make_config, make_tables, read_rows
from small_crm import Answer, World
from stored import stored_world

from features.build import FeatureFrame, build_features
from features.catalog import CATALOG
from features.errors import DataError
from features.plan import feature_names
from pipeline.deployment import load_catalog, load_extract
from pipeline.errors import ConfigError
from pipeline.explore import describe_features, show_features


@pytest.fixture(scope="module")
def listed(finished: World) -> dict[str, Any]:
    document: dict[str, Any] = finished.run("features list", "--json", groups=CATALOG).document
    return document


def test_the_list_has_every_feature_of_the_deployment_in_the_order_of_the_catalog(finished: World, listed: dict):
    names = [feature["name"] for feature in listed["features"]]
    assert len(names) == len(set(names)) > 70
    assert {"orders_count_90d", "deal_amount", "deal_activities_count_30d", "owner_deals_won_rate"} <= set(names)
    nothing = "there are no extra columns"  # the simulated CRM has every table, and only columns that are known
    assert listed["skipped"] == {"customer_columns": nothing, "deal_columns": nothing}
    churn = [
        f["name"]
        for f in finished.run("features list", "--target", "churn", "--json", groups=CATALOG).document["features"]
    ]
    groups = [group.name for group in load_catalog(finished.config)]
    places = [groups.index(f["group"]) for f in listed["features"] if f["name"] in set(churn)]
    assert places == sorted(places)
    assert set(churn) < set(names)
    assert not any(name.startswith("deal_") for name in churn)


def test_what_a_target_cannot_have_is_left_out_with_the_reason(finished: World):
    shown = finished.run("features list", "--target", "churn").out
    assert re.search(r"^ *orders_count_90d +count +order_demand *$", shown, re.MULTILINE)
    assert "left out: deal_profile (it describes deals)\n" in shown
    assert "left out: owner_results (it describes deals)\n" in shown


@pytest.fixture
def built(listed: dict) -> Iterator[None]:
    """Describe what is listed already instead of building it again."""
    with patch("pipeline.explore.describe_features", return_value=listed):
        yield


@pytest.mark.usefixtures("built")
def test_a_feature_is_described_by_what_its_group_says(finished: World):
    described = finished.run("features describe", "orders_days_since_last", "--json").document
    assert described == {
        "name": "orders_days_since_last",
        "kind": "number",
        "unit": "days",
        "en": "{value:,.0f} days since the last order",
        "zh": "距上次下单 {value:,.0f} 天",
        "group": "order_history",
        "description": "All purchases so far: how many, how much, the first, the last, the largest.",
        "direction": {"churn": 1},
        "role": "last_purchase_days",
    }
    shown = finished.run("features describe", "orders_days_since_last").out
    assert "en           {value:,.0f} days since the last order\n" in shown


@pytest.mark.usefixtures("built")
def test_a_misspelt_feature_names_the_nearest_one(finished: World):
    answer = finished.run("features describe", "order_count_90d")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "Error: There is no feature 'order_count_90d' in this deployment. Did you mean 'orders_count_90d'?\n"
    )
    assert "See `leadsieve features list`." in finished.run("features describe", "xyz").err


def show(world: World, entity: str, *arguments: str) -> Answer:
    return world.run("features show", "--entity", entity, *arguments)


@pytest.fixture(scope="module")
def customer(finished: World) -> str:
    """A customer who bought in each of the last two years and in the month before the end."""
    rows = finished.sql(
        "SELECT customer_id FROM orders WHERE quantity > 0 GROUP BY customer_id "
        "HAVING min(occurred_at) < '2024-01-01' AND max(occurred_at) > '2025-06-01' ORDER BY count(*) DESC LIMIT 1"
    )
    return str(rows[0][0])


def test_an_entity_is_shown_at_the_end_of_the_data_unless_a_date_is_given(finished: World, customer: str):
    document = show(finished, customer, "--json").document
    assert (document["entity_id"], document["as_of"], document["target"]) == (
        customer, "2025-06-30 22:00:00", "churn",
    )  # fmt: skip
    features = {feature["name"]: feature for feature in document["features"]}
    ((count,),) = finished.sql(
        "SELECT count(*) FROM orders, clock WHERE customer_id = ? AND quantity > 0 AND orders.known_at < now", customer
    )
    assert features["orders_count"] == {
        "name": "orders_count",
        "value": count,
        "unit": "count",
        "en": f"{count:,.0f} orders so far",
        "zh": f"累计下单 {count:,.0f} 次",
    }
    unknown = [feature for feature in document["features"] if feature["value"] is None]
    assert all(feature["en"] is None and feature["zh"] is None for feature in unknown)


@pytest.mark.parametrize(
    ("at", "moment"),
    [
        ("2025-01-01", "2025-01-01 00:00:00"),
        ("2025-01-01 12:30:00.000001", "2025-01-01 12:30:00.000001"),
        ("2025-01-01T02:00:00+02:00", "2025-01-01 00:00:00"),
    ],
)
def test_a_date_may_be_a_day_a_moment_or_a_moment_elsewhere(finished: World, customer: str, at: str, moment: str):
    document = show(finished, customer, "--at", at, "--json").document
    assert document["as_of"] == moment
    ((count,),) = finished.sql(
        "SELECT count(*) FROM orders WHERE customer_id = ? AND quantity > 0 AND known_at < ?", customer, moment
    )
    assert next(f["value"] for f in document["features"] if f["name"] == "orders_count") == count


def test_people_see_values_and_words(finished: World, customer: str):
    shown = show(finished, customer).out
    assert f"{customer} as of 2025-06-30 22:00:00 (churn)\n" in shown
    assert re.search(r"^ *orders_days_since_last +\S+ +\d+ days since the last order *$", shown, re.MULTILINE)


def test_people_see_the_rows_behind_a_feature(finished: World, customer: str):
    shown = show(finished, customer, "--feature", "orders_returns_amount_90d").out
    ((known, inside, counted),) = finished.sql(
        "SELECT count(*), sum(occurred_at >= datetime(now, '-90 days')), "
        "sum(occurred_at >= datetime(now, '-90 days') AND quantity < 0) FROM orders, clock "
        "WHERE customer_id = ? AND orders.known_at < now",
        customer,
    )
    assert f"rows of orders by customer_id: {known} known, {inside} of them in its 90 days; {counted} count\n" in shown
    assert shown.count("\n O") + shown.count("\n R") == 20
    assert f"and {known - 20} older ones\n" in shown


def test_people_see_what_a_feature_is_computed_from(finished: World, customer: str):
    shown = show(finished, customer, "--feature", "orders_silence_ratio").out
    _, needs = shown.split("computed from:\n")
    assert re.search(r"^ *orders_days_since_last +\S+ +\d+ days since the last order *$", needs, re.MULTILINE)
    ((deal,),) = finished.sql("SELECT max(deal_id) FROM deals WHERE closed_at IS NULL AND owner_id IS NOT NULL")
    shown = show(finished, deal, "--feature", "owner_deals_won_rate").out
    assert re.search(r"^computed from all deals that share deals\.owner_id = \w+:$", shown, re.MULTILINE)
    assert re.search(r"^ *owner_deals_closed_count_365d +\d+ ", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("C9999999",), 3, r"Entity 'C9999999' is not in the population of conversion, churn at 2025-06-30 22:00:00: "),
        (("C0000001", "--target", "conversion"), 3, r"is not in the population of conversion at "),
        (("C0000001", "--target", "chrun"), 2, r"Target 'chrun' is not in the config, expected one of: conversion, "),
        (
            ("C0000001", "--at", "2025-07-01"),
            2,
            r"--at 2025-07-01 00:00:00 lies after the end of the data \(2025-06-30 22:00:00 UTC\), when nothing is ",
        ),
        (("C0000001", "--at", "yesterday"), 2, r"'yesterday' is not a time, expected such as 2024-07-01 or"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_sentence(
    finished: World, arguments: tuple[str, ...], code: int, expected: str
):
    answer = show(finished, *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert re.search(expected, answer.err)


def test_an_id_of_a_deal_and_of_a_customer_needs_the_target(tmp_path: Path):
    rows = {
        "customers": [{"customer_id": "17", "created_at": "2024-01-01"}],
        "orders": [{"order_id": "O1", "occurred_at": "2024-02-01", "customer_id": "17", "amount": 5}],
        "deals": [
            {"deal_id": "17", "created_at": "2024-02-01", "customer_id": "17", "closed_at": None, "outcome": None}
        ],
    }
    make_tables(tmp_path, **rows)
    month = {"horizons_days": [30], "spine": {"grid": "month"}}
    targets = {"won": {"kind": "conversion", **month}, "lost": {"kind": "churn", "by": "orders", **month}}
    config = make_config(tmp_path, {name: {} for name in rows}, targets=targets)
    with patch("pipeline.explore.load_config", return_value=config):
        with pytest.raises(
            ConfigError, match=r"^Id '17' is that of a deal and that of a customer\. Pass --target won or"
        ):
            show_features(Path("any.yaml"), "17", None, None)
        for target in targets:
            assert show_features(Path("any.yaml"), "17", None, target)["target"] == target


def test_an_entity_is_shown_as_it_was_until_it_ended_and_nothing_sensitive_of_it(tmp_path: Path):
    rows = {
        "customers": """
            customer_id  created_at  known_until  name        industry
            C1           2024-01-01  2024-04-10   Secret Ltd  secret trade    # merged into C2
            C2           2024-01-01  -            Secret Inc  secret trade
        """,
        "orders": """
            order_id  occurred_at  known_at    known_until  customer_id  amount
            O1        2024-02-01   2024-02-01  2024-04-10   C1           10
            O1        2024-02-01   2024-04-10  -            C2           10
        """,
    }
    stored_world(tmp_path / "world" / "tables", sensitive={"customers": ("name", "industry")}, **rows)
    churn = {"kind": "churn", "by": "orders", "horizons_days": [30], "spine": {"grid": "month"}}
    config = make_config(tmp_path, {name: {} for name in rows}, targets={"churn": churn})
    with patch("pipeline.explore.load_config", return_value=config):
        before = show_features(Path("any.yaml"), "C1", datetime(2024, 4, 10), None)
        survivor = show_features(Path("any.yaml"), "C2", datetime(2024, 4, 11), None)
        with pytest.raises(DataError, match=r"^Entity 'C1' is not in the population .* deleted or merged before, or"):
            show_features(Path("any.yaml"), "C1", datetime(2024, 4, 11), None)
        listed = describe_features(Path("any.yaml"), None)
    for shown in (before, survivor):
        assert next(one["value"] for one in shown["features"] if one["name"] == "orders_count") == 1
        assert "secret" not in str(shown).lower()
    assert listed["skipped"]["customers_industry"] == "column 'industry' of table 'customers' is sensitive"


GROUP = '''
"""Features of our own."""
from typing import Any
from features.group import Feature, FeatureDict, Window, feature_group
from features.groups.orders import order_history  # shipped: not ours


@feature_group("orders", windows=(60,))
def our_orders(orders: Any, window: Window) -> FeatureDict:
    """Orders of ours."""
    return {f"our_orders_{window}": Feature(window.mask.sum(), 0, "count", "{value:.0f} of ours", "{value:.0f}")}
'''


def test_a_group_of_ones_own_is_a_feature_like_any_other(world: World, customer: str):
    (world.folder / "ours.py").write_text(GROUP, encoding="utf-8")
    world.change_config(feature_modules=["ours.py"])
    described = world.run("features describe", "our_orders_60d", "--target", "churn", "--json").document
    assert (described["group"], described["description"]) == ("our_orders", "Orders of ours.")
    listed = world.run("features list", "--target", "churn", "--json").document["features"]
    assert listed[-1]["name"] == "our_orders_60d"  # after those of the catalog
    behind = show(world, customer, "--feature", "our_orders_60d", "--json").document["behind"]
    features = show(world, customer, "--target", "churn", "--json").document["features"]
    ((count,),) = world.sql(
        "SELECT count(*) FROM orders, clock WHERE customer_id = ? AND orders.known_at < now "
        "AND occurred_at >= datetime(now, '-60 days')",
        customer,
    )
    assert features[-1]["name"] == "our_orders_60d"
    assert features[-1]["value"] == behind["counted"] == count
    assert features[-1]["en"] == f"{count} of ours"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, r"feature_modules: ours\.py is not a Python file\. Give the path of one that exists\."),
        ("x = 1\n", r"ours\.py has no feature groups\. Decorate a function with @feature_group\."),
        ("from features.groups.orders import order_history\n", r"ours\.py has no feature groups\."),
        ("import nowhere\n", r"ours\.py cannot be imported \(ModuleNotFoundError: No module named 'nowhere'\)\. "),
        ("def broken(:\n", r"ours\.py cannot be imported \(SyntaxError: invalid syntax .*\)\. Correct it\."),
        (
            GROUP.replace("def our_orders", "def order_demand"),
            r"ours\.py: feature group 'order_demand' exists already\.",
        ),
    ],
)
def test_a_module_that_cannot_be_used_is_named(world: World, text: str | None, expected: str):
    if text is not None:
        (world.folder / "ours.py").write_text(text, encoding="utf-8")
    world.change_config(feature_modules=["ours.py"])
    for command in ("features list", "score"):
        answer = world.run(command)
        assert answer.code == 2
        assert re.match(f"Error: {expected}", answer.err)


def build_ours(folder: Path, text: str, *, without_future: bool = False) -> FeatureFrame:
    """Features of a module of ours for C1 on 1 July, with what became known since or without."""
    later = (
        ""
        if without_future
        else """
        O2  2024-06-30  2024-07-01  -           20  8
        O3  2024-06-01  2024-07-05  -           30  8
        O1  2024-06-01  2024-07-02  -           99  9"""
    )
    until = "-" if without_future else "2024-07-02"
    rows = {
        "customers": [{"customer_id": "C1", "created_at": "2024-01-01", "known_until": None}],
        "orders": f"""
        order_id  occurred_at  known_at  known_until  amount  quantity
        O1  2024-06-01  2024-06-01  {until}  10  1{later}
        """,
    }
    delivered = [{**row, "customer_id": "C1"} for row in read_rows("orders", rows["orders"]).to_pylist()]
    tables = stored_world(folder, **{**rows, "orders": delivered})
    (folder / "ours.py").write_text(text, encoding="utf-8")
    config = make_config(folder, {name: {} for name in rows}, feature_modules=[folder / "ours.py"])
    spine = pd.DataFrame({"entity_id": ["C1"], "as_of": ["2024-07-01"], "customer_id": ["C1"]})
    with patch("pipeline.deployment.CATALOG", ()):
        return build_features(tables, spine, load_catalog(config), "customers")


def test_a_group_of_ones_own_cannot_see_the_future(tmp_path: Path):
    everything = GROUP.replace("window.mask.sum()", "orders.amount.sum(where=window.mask)")
    seen = [build_ours(tmp_path / str(cut), everything, without_future=cut).frame for cut in (False, True)]
    assert seen[0]["our_orders_60d"].tolist() == [10]  # neither the later rows nor what O1 was changed to
    pd.testing.assert_frame_equal(*seen)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "(orders.known_until.isnull() & window.mask).sum()",
            r"^Feature group 'our_orders' reads column 'known_until' of table 'orders', which no feature may see: it ",
        ),
        (
            "orders.amount.sum(where=orders.quantity > 0)",
            r"^Feature 'our_orders_60d' of group 'our_orders' does not use its window of 60 days\. Put window\.mask ",
        ),
        (
            "orders.amonut.sum(where=window.mask)",
            r"^Feature group 'our_orders': 'Table' object has no attribute 'amonut'\. Use a column that table ",
        ),
        ("orders.occurred_at.max(where=window.mask)", r"^Feature 'our_orders_60d' is a timestamp\(6\)\. Make it a "),
    ],
)
def test_a_group_of_ones_own_that_does_what_none_may_is_refused(tmp_path: Path, value: str, expected: str):
    with pytest.raises(DataError, match=expected):
        build_ours(tmp_path, GROUP.replace("window.mask.sum()", value))


def test_every_name_the_catalog_could_give_is_known_also_without_its_tables(finished: World, listed: dict):
    tables = load_extract(finished.config)
    names = feature_names(CATALOG, tables)
    assert names == {feature["name"] for feature in listed["features"]}
    without = replace(tables, tables={"customers": tables.tables["customers"]})
    assert feature_names(CATALOG, without) == names
