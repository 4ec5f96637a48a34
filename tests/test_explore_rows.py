"""`leadsieve features show --feature NAME`: the rows that one value was made of, as they were known then."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from conftest import make_config
from stored import stored_world

from features.expressions import ratio
from features.group import Feature, Pooled, derived, feature_group, pooled_group
from pipeline.errors import ConfigError
from pipeline.explore import show_features

WORLD = {
    "customers": """
        customer_id  created_at  known_until  parent_id
        C1           2023-01-01  -            P1
        P1           2023-01-01  -            -
        C2           2023-01-01  -            -
    """,
    "orders": """
        order_id  occurred_at  known_at    customer_id  amount  quantity  product
        O1        2023-11-01   2023-11-01  C1           10      1         secret   # before the 90 days
        O2        2024-05-01   2024-05-02  C1           20      2         secret
        O3        2024-05-20   2024-05-20  C1           -5      -1        secret   # sent back: no purchase
        O4        2024-05-30   2024-06-01  C1           40      4         secret   # not known before 1 June
        O5        2024-04-01   2024-04-01  P1           80      8         secret   # of the parent
    """,
    "invoices": """
        invoice_id  occurred_at  customer_id  amount  paid_at
        I1          2023-12-01   C1           10      2024-05-15           # issued before the 90 days, paid in them
        I2          2024-04-01   C1           20      2024-06-01 00:00:01  # paid a second after 1 June
    """,
    "deals": """
        deal_id  created_at  known_at    known_until  customer_id  closed_at   outcome  owner_id
        D1       2024-01-01  2024-01-01  -            C1           2024-02-01  won      U1
        D2       2024-05-01  2024-05-01  2024-05-10   C1           -           -        U2
        D2       2024-05-01  2024-05-10  -            C1           -           -        U1
    """,
}  # fmt: skip


def feature(value: Any) -> Feature:
    return Feature(value, 0, "count", "it is {value:.0f}", "{value:.0f}")


@feature_group("orders", windows=(90,), optional=("product",))
def bought(orders: Any, window: Any) -> dict[str, Feature]:
    """What was bought, but no samples; the product is sensitive here, so nothing is known to be one."""
    sold = (orders.quantity > 0) & (orders.product.fill_null("") != "sample")
    return {f"bought_{window}": feature(orders.amount.sum(where=window.mask & sold))}


@feature_group("invoices", windows=(90,))
def paid(invoices: Any, window: Any) -> dict[str, Feature]:
    """Payments that became known."""
    return {f"paid_{window}": feature(invoices.amount.count(where=window.on(invoices.paid_at)))}


@feature_group("orders", by="parent_id")
def family(orders: Any) -> dict[str, Feature]:
    """Orders of the whole family."""
    return {"family_count": feature(orders.row.count())}


@feature_group("deals", by="deal_id", history=True)
def moves(deals: Any) -> dict[str, Feature]:
    """Changes of the owner."""
    return {"owner_moves": feature((deals.owner_id != deals.previous_owner_id).sum())}


@derived(needs=("bought_90d", "paid_90d"))
def of_both(features: Any) -> dict[str, Feature]:
    """Ratio, and the month."""
    return {
        "ratio": feature(ratio(features.paid_90d, features.bought_90d)),
        "month": feature(features.as_of_local.month()),
    }


@pooled_group("deals", by="owner_id", at="closed_at")
def owners(deals: Any) -> dict[str, Pooled]:
    """How often the owner wins."""
    return {"owner_rate": Pooled(deals.outcome == "won", 4, "owner_count", "wins {value:.0%}", "{value:.0%}")}


Show = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Show one feature of C1 (or another entity) on 1 June, and what is behind it."""
    state = tmp_path_factory.mktemp("state")
    many = "\n".join(f"M{day:02}  2024-04-{day:02}  2024-04-{day:02}  C2  1  1  secret" for day in range(1, 26))
    rows = {**WORLD, "orders": f"{WORLD['orders']}\n{many}"}
    tables = replace(stored_world(state, sensitive={"orders": ("product",)}, **rows), time_zone="Asia/Tokyo")
    month = {"horizons_days": [30], "spine": {"grid": "month"}}
    targets = {"won": {"kind": "conversion", **month}, "lost": {"kind": "churn", "by": "orders", **month}}
    config = make_config(state, {name: {} for name in WORLD}, targets=targets)
    catalog = (bought, paid, family, moves, of_both, owners)

    def show_one(name: str, entity: str = "C1") -> dict[str, Any]:
        with (
            patch("pipeline.explore.load_config", return_value=config),
            patch("pipeline.explore.load_extract", return_value=tables),
            patch("pipeline.explore.load_catalog", return_value=catalog),
        ):
            return show_features(Path("any.yaml"), entity, datetime(2024, 6, 1), None, name)

    return show_one


def test_the_rows_of_a_feature_are_shown_newest_first_with_those_that_count(show: Show) -> None:
    shown = show("bought_90d")
    [value] = shown["features"]
    assert (value["name"], value["value"], value["en"]) == ("bought_90d", 20, "it is 20")
    rows = shown["behind"].pop("rows")
    assert shown["behind"] == {
        "kind": "rows", "table": "orders", "by": "customer_id", "history": False,
        "window_days": 90, "known": 3, "in_window": 2, "counted": 1, "more": 0,
    }  # fmt: skip
    assert rows[0] == {
        "order_id": "O3", "occurred_at": "2024-05-20 00:00:00", "known_at": "2024-05-20 00:00:00",
        "amount": -5.0, "quantity": -1.0, "in_window": True, "counts": False,
    }  # fmt: skip
    assert [(row["order_id"], row["in_window"], row["counts"]) for row in rows[1:]] == [
        ("O2", True, True),
        ("O1", False, False),
    ]


def test_what_was_revealed_later_is_null_and_no_clock_tells_when(show: Show) -> None:
    shown = show("paid_90d")
    assert shown["behind"]["rows"] == [
        {"invoice_id": "I2", "occurred_at": "2024-04-01 00:00:00", "known_at": "2024-04-01 00:00:00",
         "amount": 20.0, "paid_at": None, "in_window": False, "counts": False},
        {"invoice_id": "I1", "occurred_at": "2023-12-01 00:00:00", "known_at": "2023-12-01 00:00:00",
         "amount": 10.0, "paid_at": "2024-05-15 00:00:00", "in_window": True, "counts": True},
    ]  # fmt: skip
    assert "2024-06-01 00:00:01" not in str(shown)


def test_a_sensitive_column_is_not_shown_although_the_feature_names_it(show: Show) -> None:
    shown = show("bought_90d")
    assert not any("product" in row for row in shown["behind"]["rows"])
    assert "secret" not in str(shown)


def test_rows_of_a_family_say_whose_they_are(show: Show) -> None:
    behind = show("family_count")["behind"]
    assert [(row["order_id"], row["customer_id"]) for row in behind["rows"]] == [
        ("O3", "C1"), ("O2", "C1"), ("O5", "P1"), ("O1", "C1"),
    ]  # fmt: skip
    assert (behind["known"], behind["counted"], behind["window_days"], behind["in_window"]) == (4, 4, None, None)


def test_of_a_history_all_versions_known_by_then_are_shown(show: Show) -> None:
    behind = show("owner_moves", "D2")["behind"]
    assert behind["history"]
    assert [(row["known_at"], row["owner_id"], row["previous_owner_id"], row["counts"]) for row in behind["rows"]] == [
        ("2024-05-10 00:00:00", "U1", "U2", True),
        ("2024-05-01 00:00:00", "U2", None, False),
    ]


def test_twenty_rows_are_shown_and_the_others_counted(show: Show) -> None:
    behind = show("bought_90d", "C2")["behind"]
    assert (behind["known"], len(behind["rows"]), behind["more"]) == (25, 20, 5)
    assert [behind["rows"][at]["order_id"] for at in (0, 19)] == ["M25", "M06"]


def test_a_derived_feature_shows_the_features_that_it_needs(show: Show) -> None:
    shown = show("ratio")
    assert shown["features"][0]["value"] == 1 / 20
    assert shown["behind"] == {
        "kind": "features",
        "needs": [
            {"name": "bought_90d", "value": 20, "unit": "count", "en": "it is 20", "zh": "20"},
            {"name": "paid_90d", "value": 1, "unit": "count", "en": "it is 1", "zh": "1"},
        ],
    }
    [local] = show("month")["behind"]["needs"]
    assert (local["name"], local["value"]) == ("as_of_local", "2024-06-01 09:00:00")  # in Tokyo


def test_a_shared_rate_shows_what_is_shared_and_the_counts(show: Show) -> None:
    behind = show("owner_rate", "D2")["behind"]
    assert {key: behind[key] for key in ("kind", "table", "of", "by", "value", "strength")} == {
        "kind": "pool", "table": "deals", "of": "deals", "by": "owner_id", "value": "U1", "strength": {"owner_rate": 4},
    }  # fmt: skip
    assert [(one["name"], one["value"]) for one in behind["features"]] == [("owner_rate", 1), ("owner_count", 1)]


def test_an_entity_without_rows_shows_none(show: Show) -> None:
    behind = show("paid_90d", "C2")["behind"]
    assert (behind["rows"], behind["known"], behind["counted"], behind["more"]) == ([], 0, 0, 0)


def test_a_feature_that_is_not_there_names_the_nearest_one_or_why_it_was_left_out(show: Show) -> None:
    with pytest.raises(ConfigError, match=r"^There is no feature 'bougt_90d' .* Did you mean 'bought_90d'\?$"):
        show("bougt_90d")
    with pytest.raises(ConfigError, match=r"^Feature 'owner_moves' is left out here: it describes deals\."):
        show("owner_moves")
