"""Which rows a feature takes, and that a pass leaves out only rows that no feature takes."""

from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pytest
from stored import stored_world

from features.build import build_features
from features.engine import open_database
from features.group import Feature, FeatureGroup, feature_group
from features.plan import plan_passes
from features.reductions import counted_rows, window_conditions
from features.tables import CrmTables

INVOICES = """
    invoice_id  occurred_at  customer_id  amount  paid_at
    I1          2023-11-01   C1           10      2024-06-10  # issued long before the window, paid within it
    I2          2024-05-20   C1           20      -           # issued within it, open
    I3          2024-06-01   C1           30      2024-06-20
"""


@pytest.fixture
def tables(tmp_path: Path) -> CrmTables:
    return stored_world(tmp_path, customers=[{"customer_id": "C1", "created_at": "2023-01-01"}], invoices=INVOICES)


def count(value: Any) -> Feature:
    return Feature(value, 0, "count", "{value}", "{value}")


@feature_group("invoices", windows=(90,))
def paid_lately(invoices: Any, window: Any) -> dict[str, Feature]:
    return {f"paid_{window}": count(window.on(invoices.paid_at).sum())}


@feature_group("invoices", windows=(90,))
def share_of_all(invoices: Any, window: Any) -> dict[str, Feature]:
    return {f"share_{window}": count(window.mask.sum() / invoices.count())}


@feature_group("invoices", windows=(90,))
def older(invoices: Any, window: Any) -> dict[str, Feature]:
    return {f"older_{window}": count((~window.mask).sum())}


@feature_group("invoices", windows=(90,))
def gaps(invoices: Any, window: Any) -> dict[str, Feature]:
    return {f"gaps_{window}": count(invoices.previous_occurred_at.count(where=window.mask))}


@feature_group("invoices", windows=(30, 90))
def issued_lately(invoices: Any, window: Any) -> dict[str, Feature]:
    large = invoices.amount > 15
    return {
        f"issued_{window}": count(window.mask.sum()),
        f"large_{window}": count((large & window.mask).cast("int64").sum()),
        f"mean_{window}": count(invoices.amount.sum(where=window.mask) / invoices.as_of.max().year()),
    }


@pytest.mark.parametrize(
    ("group", "answer"),
    [
        (paid_lately, 2),  # I1 and I3
        (share_of_all, 2 / 3),
        (older, 1),  # I1
        (gaps, 2),  # I2 comes after I1, I3 after I2
    ],
)
def test_a_group_that_looks_beyond_its_window_gets_the_older_rows(
    tables: CrmTables, group: FeatureGroup, answer: float
) -> None:
    spine = pd.DataFrame({"entity_id": ["C1"], "as_of": ["2024-07-01"], "customer_id": ["C1"]})
    built = build_features(tables, spine, (group,), "customers").frame
    assert built[built.columns[-1]].tolist() == [pytest.approx(answer)]
    assert plan_passes(tables, (group,), "customers")[0][0].within is None


def test_older_rows_are_left_out_where_every_feature_asks_for_rows_of_its_window(tables: CrmTables) -> None:
    [alone], _ = plan_passes(tables, (issued_lately,), "customers")
    [beside], _ = plan_passes(tables, (issued_lately, older), "customers")
    assert (alone.within, beside.within) == (90, None)


@feature_group("invoices", history=True)
def changes(invoices: Any) -> dict[str, Feature]:
    return {
        "amounts": count((invoices.amount != invoices.previous_amount).sum()),
        "dues": count((invoices.due_at != invoices.previous_due_at).sum()),  # this deployment has no `due_at`
    }


def test_a_feature_is_built_beside_one_whose_added_column_cannot_be_made_here(tables: CrmTables) -> None:
    spine = pd.DataFrame({"entity_id": ["C1"], "as_of": ["2024-07-01"], "customer_id": ["C1"]})
    built = build_features(tables, spine, (changes,), "customers")
    assert (built.columns, dict(built.skipped)) == (["amounts"], {"dues": "table 'invoices' has no column 'due_at'"})


def test_a_row_counts_where_a_reduction_takes_it(tables: CrmTables) -> None:
    three = {"place": [1, 2, 3], "amount": [10, None, 30], "is_late": [True, True, False], "as_of": [9, 9, 9]}
    with open_database(tables) as database:
        rows = database.add("three", pd.DataFrame(three).astype({"amount": "Int64"}))
        reductions = {
            "sum": (rows.amount.sum(), [True, False, True]),  # nothing is added for the second
            "flags": (rows.is_late.sum(), [True, True, False]),
            "whole": (rows.is_late.cast("int64").sum(), [True, True, False]),
            "where": (rows.amount.sum(where=rows.is_late), [True, False, False]),
            "not": (rows.count(where=~rows.is_late), [False, False, True]),
            "all": (rows.count(), [True, True, True]),
            "rows": (rows.as_of.count(), [True, True, True]),
            "now": (rows.as_of.max(), [False, False, False]),  # the same whatever rows there are
            "two": (rows.amount.max(where=rows.is_late) / rows.is_late.sum(), [True, True, False]),
        }
        flags = {name: counted_rows(value) for name, (value, _) in reductions.items()}
        counted = database.frame(rows.select("place", **flags).order_by("place"))
    assert {name: counted[name].tolist() for name in reductions} == {n: answer for n, (_, answer) in reductions.items()}


def test_the_comparisons_with_a_window_are_those_with_its_beginning() -> None:
    view = ibis.table({"at": "int64", "other": "int64", "as_of_minus_90d": "int64"}, name="view")
    inside = view.at >= view.as_of_minus_90d
    assert window_conditions((inside & (view.other >= 3)).sum(), 90)[0].equals(inside)
    assert window_conditions((view.other >= 3).sum(), 90) == []
