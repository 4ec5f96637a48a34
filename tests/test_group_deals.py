"""A deal's path and changes, the other deals of its customer, and results that it shares, written by hand."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_tables
from stored import stored_world

from features.build import build_features
from features.group import Group
from features.groups.deals import (
    customer_deals,
    deal_against_history,
    deal_changes,
    deal_columns,
    deal_path,
    deal_profile,
    deal_rivals,
    deal_stage,
    deal_stay,
)
from features.groups.results import customer_results, product_results, region_results
from features.groups.stages import stage_stays
from features.tables import CrmTables


def build(tables: CrmTables, groups: list[Group], rows: list[tuple[str, str, str | None]]) -> pd.DataFrame:
    """Return the features of (deal, as_of, customer), in the order of the rows."""
    spine = pd.DataFrame(rows, columns=["entity_id", "as_of", "customer_id"])
    spine["as_of"] = pd.to_datetime(spine["as_of"], format="ISO8601")
    built = build_features(tables, spine, groups, "deals").frame
    return spine[["entity_id", "as_of"]].merge(built, on=["entity_id", "as_of"])


def table_of(frame: pd.DataFrame, names: list[str]) -> list[tuple[float | None, ...]]:
    """Return rows of the columns, None for null."""
    return [tuple(None if pd.isna(v) else v for v in row) for row in frame[names].itertuples(index=False, name=None)]


def version(deal: str, known_at: str, known_until: str | None, **columns: Any) -> dict[str, Any]:
    """Return one version of a deal of customer C1 that began on 1 January."""
    empty = {"customer_id": "C1", "amount": None, "expected_close_on": None, "owner_id": None}
    clocks = {"known_at": known_at, "known_until": known_until, "closed_at": None, "outcome": None}
    return {"deal_id": deal, "created_at": "2024-01-01", **empty, **clocks, **columns}


def test_skipped_stages_and_steps_back_are_those_known_then(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path,
        stages=["new", "demo", "offer", "contract"],
        deals=[version("D1", "2024-01-01", None), version("D2", "2024-01-01", None)],
        stage_changes="""
            deal_id  occurred_at  known_at    stage
            D1       2024-01-02   2024-01-02  new
            D1       2024-01-05   2024-01-05  contract  # from 1 to 4: two left out
            D1       2024-01-10   2024-01-10  demo      # back
            D1       2024-01-12   2024-01-12  odd       # in no order: neither
            D1       2024-01-14   2024-01-14  contract  # after an unlisted one: neither
            D1       2024-01-18   2024-02-10  offer     # back, entered late
            D1       2024-01-20   2024-01-20  contract  # no step, and from offer one step once that is known
        """,
    )
    moments = ["2024-01-05", "2024-01-10", "2024-01-11", "2024-02-10", "2024-02-11"]
    frame = build(tables, [deal_path], [*(("D1", at, "C1") for at in moments), ("D2", "2024-02-11", "C1")])
    assert table_of(frame, ["deal_stages_skipped_count", "deal_stages_back_count"]) == [
        (0, 0),  # the contract comes exactly at as_of
        (2, 0),
        (2, 1),
        (2, 1),  # the late one is known exactly at as_of: not yet
        (2, 2),
        (0, 0),  # no stage changes at all
    ]


def test_pushes_and_changes_are_counted_from_all_versions_known_then(tmp_path: Path) -> None:
    first = {"amount": 100, "expected_close_on": date(2024, 3, 1), "owner_id": "X"}
    tables = stored_world(
        tmp_path,
        deals=[
            version("D1", "2024-01-01", "2024-01-10", **first),
            version("D1", "2024-01-10", "2024-01-20", **first | {"expected_close_on": date(2024, 3, 15)}),  # +14 days
            version("D1", "2024-01-20", "2024-02-01", amount=80, expected_close_on=date(2024, 3, 10), owner_id="Y"),
            version("D1", "2024-02-01", None, amount=120, expected_close_on=date(2024, 3, 31), owner_id="Y"),  # +21
            version("D2", "2024-01-01", "2024-01-05"),  # nothing known yet: a first value is no change
            version("D2", "2024-01-05", "2024-01-09", amount=50, expected_close_on=date(2024, 3, 1), owner_id="X"),
            version("D2", "2024-01-09", None, amount=75, expected_close_on=date(2024, 3, 1), owner_id="X"),
            version("D3", "2024-01-01", "2024-01-05", **first),
            version("D3", "2024-01-05", None, **first | {"amount": None}),  # the amount was taken away
        ],
    )
    names = [
        "deal_close_pushes_count",
        "deal_close_pushed_days",
        "deal_amount_changes_count",
        "deal_amount_growth",
        "deal_owner_changes_count",
    ]
    rows = [("D1", at, "C1") for at in ("2024-01-10", "2024-01-10 00:00:01", "2024-01-21", "2024-02-02")]
    frame = build(tables, [deal_changes], [*rows, ("D2", "2024-02-02", "C1"), ("D3", "2024-02-02", "C1")])
    assert table_of(frame, names) == [
        (0, 0, 0, 0.0, 0),  # the second version begins exactly at as_of
        (1, 14, 0, 0.0, 0),
        (1, 14, 1, pytest.approx(-0.2), 1),  # brought forward by 5 days: no push; 100 to 80, X to Y
        (2, 35, 2, pytest.approx(0.2), 1),  # from 10 to 31 March; 100 to 120 in all
        (0, 0, 1, 0.5, 0),  # 50 to 75
        (0, 0, 0, None, 0),  # no amount to compare
    ]


def test_other_deals_of_the_customer_are_counted_as_they_stood(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path,
        deals="""
            deal_id  created_at  customer_id  amount  closed_at   outcome
            D1       2024-01-01  C1           100     -           -
            D2       2024-02-01  C1           50      -           -
            D3       2023-01-01  C1           200     2023-06-01  won
            D4       2023-01-01  C1           -       2023-07-01  won
            D5       2023-01-01  C1           900     2024-02-20  lost
            D6       2024-01-05  C2           70      -           -
            D7       2024-01-05  -            70      -           -
        """,
    )
    names = [
        "deals_open_count",
        "deals_open_amount",
        "deals_newest_open_days",
        "deals_won_share",
        "deals_won_amount_mean",
        "deal_rivals_count",
        "deal_amount_ratio",
    ]
    rows = [
        ("D1", "2024-02-01", "C1"),
        ("D1", "2024-03-01", "C1"),
        ("D6", "2024-03-01", "C2"),
        ("D7", "2024-03-01", None),
    ]
    frame = build(tables, [deal_profile, customer_deals, deal_rivals, deal_against_history], rows)
    assert table_of(frame, names) == [
        (2, 1000, 31, 1.0, 200, 1, 0.5),  # D5 was still open, D2 is created exactly then; both closed ones won
        (2, 150, 29, pytest.approx(2 / 3), 200, 1, 0.5),  # D2 since the leap February began; the mean of known amounts
        (1, 70, 56, None, None, 0, None),  # nothing ever closed: 26 days of January, 29 of February, and 1 March
        (None,) * 7,  # no customer
    ]


def test_a_stay_is_measured_against_what_is_usual_for_the_stage(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path,
        stages=["new", "demo"],
        deals=[version("D1", "2024-01-01", None), version("D2", "2024-01-01", None)],
        stage_changes="""
            deal_id  occurred_at  stage
            D1       2024-01-01   new
            D1       2024-01-11   demo  # ten days in 'new': the only stay that has ended
            D2       2024-01-02   new
        """,
    )
    frame = build(
        tables, [deal_stage, stage_stays, deal_stay], [("D2", "2024-01-27", "C1"), ("D2", "2024-01-11", "C1")]
    )
    assert frame["deal_days_in_stage_ratio"].iloc[0] == 2.5  # 25 days
    assert np.isnan(frame["deal_days_in_stage_ratio"].iloc[1])  # the stay ends exactly at as_of: nothing is usual yet


def test_columns_of_the_deployment_become_features_of_their_kind(tmp_path: Path) -> None:
    own = {
        "budget set": True,
        "rating": 3,
        "fit": 0.25,
        "trade_fair": "Hannover",
        "first_call": date(2024, 1, 31),
        "budget{raw}": "yes",
    }
    tables = make_tables(
        tmp_path,
        {"deals": {"sensitive": ["nickname"]}},
        deals=[
            {"deal_id": "D1", "created_at": "2024-02-01", "closed_at": None, "outcome": None, "nickname": "x", **own},
            {"deal_id": "D2", "created_at": "2024-02-01", "closed_at": None, "outcome": None}
            | dict.fromkeys([*own, "nickname"]),
        ],
    )
    spine = pd.DataFrame({"entity_id": ["D1", "D2"], "as_of": pd.Timestamp("2024-03-01"), "customer_id": None})
    built = build_features(tables, spine, [deal_columns], "deals")
    shown = {info.name: (info.unit, info.en.format(value=built.frame[info.name].iloc[0])) for info in built.infos}
    assert shown == {
        "deal_budget_set": ("count", "budget set 1"),
        "deal_rating": ("count", "rating 3"),
        "deal_fit": ("rate", "fit 0.25"),
        "deal_trade_fair": ("text", "trade fair Hannover"),
        "deal_first_call": ("days", "first call 30 days ago"),  # 31 January to 1 March of a leap year
        "deal_budget_raw": ("text", "budget{raw} yes"),
    }
    assert built.frame.loc[1, list(shown)].isna().all()


def test_results_are_shared_by_product_customer_and_region_as_known_then(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path,
        customers=[
            {"customer_id": "C1", "created_at": "2022-01-01", "region": "north"},
            {"customer_id": "C2", "created_at": "2022-01-01", "region": "north"},
            {"customer_id": "C3", "created_at": "2022-01-01", "region": "south"},
        ],
        deals="""
            deal_id  created_at  customer_id  product  closed_at   outcome
            D1       2022-02-01  C1           press    2022-03-01  won     # longer than 365 days ago
            D2       2024-01-01  C2           lathe    2024-02-01  won
            D3       2024-01-01  C3           press    2024-02-10  lost
            D4       2024-01-01  C1           press    2024-03-01  lost    # closed exactly at as_of: not yet
            D5       2024-02-01  C1           press    -           -
        """,
    )
    frame = build(tables, [product_results, customer_results, region_results], [("D5", "2024-03-01", "C1")])
    row = frame.iloc[0]
    rates = {"product": (1 + 20 * 2 / 3) / 22, "customer": (1 + 20 * 2 / 3) / 21, "region": (2 + 20 * 2 / 3) / 22}
    for shared, rate in rates.items():  # D1 and D3; D1; D1 and D2: beside two of three overall
        assert row[f"{shared}_deals_won_rate"] == pytest.approx(rate)
    counts = {shared: row[f"{shared}_deals_closed_count_365d"] for shared in rates}
    assert counts == {"product": 1, "customer": 0, "region": 1}  # D3; none; D2
