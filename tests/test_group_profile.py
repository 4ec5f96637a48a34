"""Attributes of a customer, their history, and the parent and its family, written by hand."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import make_tables
from stored import stored_world

from features.build import FeatureFrame, build_features
from features.group import Group
from features.groups.profile import (
    customer_changes,
    customer_columns,
    customer_completeness,
    customer_parent,
    customer_profile,
    customer_size,
    family_head,
    family_head_changes,
    parent_employees,
    parent_revenue,
    siblings,
)
from features.tables import CrmTables

FAMILY = [
    customer_parent,
    family_head,
    family_head_changes,
    parent_employees,
    parent_revenue,
    siblings,
]


def build(tables: CrmTables, groups: list[Group], rows: list[tuple[str, str]]) -> FeatureFrame:
    """Return the features of (customer, as_of), in the order of the rows."""
    spine = pd.DataFrame(rows, columns=["entity_id", "as_of"])
    spine["as_of"] = pd.to_datetime(spine["as_of"], format="ISO8601")
    built = build_features(tables, spine.assign(customer_id=spine["entity_id"]), groups, "customers")
    return FeatureFrame(spine.merge(built.frame, on=["entity_id", "as_of"]), built.infos, built.skipped)


def table_of(built: FeatureFrame, names: list[str]) -> list[tuple[Any, ...]]:
    """Return rows of the columns, None for null."""
    rows = built.frame[names].itertuples(index=False, name=None)
    return [tuple(None if pd.isna(v) else v for v in row) for row in rows]


def version(customer: str, known_at: str, known_until: str | None = None, **columns: Any) -> dict[str, Any]:
    """Return one version of a customer that was created on 1 January 2020."""
    attributes = (
        "employees",
        "annual_revenue",
        "founded_on",
        "parent_id",
        "owner_id",
        "credit_grade",
        "region",
        "name",
    )
    clocks = {"known_at": known_at, "known_until": known_until}
    return {"customer_id": customer, "created_at": "2020-01-01", **dict.fromkeys(attributes), **clocks, **columns}


def test_size_age_and_completeness_are_those_of_the_version_that_held(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path,
        customers=[
            version("C1", "2020-01-01", "2024-03-01", name="Ada", employees=9, annual_revenue=99_999),
            version("C1", "2024-03-01", name="Ada", employees=10, annual_revenue=100_000, founded_on=date(2020, 2, 29)),
            version("C2", "2020-01-01", employees=1000, annual_revenue=10**9, region="north"),
            version("C3", "2020-01-01"),
        ],
    )
    names = [
        "customers_employees_band",
        "customers_annual_revenue_band",
        "customers_days_since_founded",
        "customers_filled_count",
    ]
    rows = [("C1", "2024-03-01"), ("C1", "2024-03-02"), ("C2", "2024-03-02"), ("C3", "2024-03-02")]
    built = build(tables, [customer_profile, customer_size, customer_completeness], rows)
    assert table_of(built, names) == [
        (1, 1, None, 3),  # the second version begins exactly at as_of; name, employees, revenue
        (2, 2, 1463, 4),  # from the leap day of 2020: 4 x 365 days, that of 2024, and 2 to 2 March
        (5, 5, None, 3),
        (None, None, None, 0),  # nothing known is no smallest size
    ]
    assert built.skipped["customers_industry"] == "table 'customers' has no column 'industry'"


def test_growth_compares_with_the_value_known_a_year_before(tmp_path: Path) -> None:
    grown = {"annual_revenue": 1000, "owner_id": "X", "credit_grade": "A"}
    tables = stored_world(
        tmp_path,
        customers=[
            version("C1", "2020-01-01", "2022-05-01", employees=40, **grown),
            version("C1", "2022-05-01", "2023-05-01", employees=50, **grown),
            version("C1", "2023-05-01", "2023-09-01", employees=80, **grown | {"owner_id": "Y"}),
            version("C1", "2023-09-01", employees=60, **grown | {"owner_id": "X", "credit_grade": "B"}),
            version("C2", "2020-01-01", "2023-09-01", owner_id="X"),  # unknown a year ago
            version("C2", "2023-09-01", employees=60, owner_id="Y"),
            version("C3", "2020-01-01", "2023-09-01", employees=60, credit_grade="A"),
            version("C3", "2023-09-01"),  # unknown now
            version("C4", "2020-01-01", "2023-06-01", employees=50),
            version("C4", "2023-06-01", "2023-09-01"),  # unknown for a while
            version("C4", "2023-09-01", employees=75),
            version("C5", "2023-09-01", employees=60),  # not known a year ago
        ],
    )
    names = [
        "customers_employees_growth_365d",
        "customers_annual_revenue_growth_365d",
        "customers_owner_changes_count_365d",
        "customers_credit_grade_changes_count_365d",
    ]
    moments = ["2023-05-01", "2023-05-02", "2024-03-01", "2024-04-30", "2024-04-30 00:00:01", "2025-03-01"]
    rows = [*(("C1", at) for at in moments), *((f"C{i}", "2024-03-01") for i in (2, 3, 4, 5))]
    assert table_of(build(tables, [customer_changes], rows), names) == [
        (0.25, 0, 0, 0),  # 40 before 1 May 2022, 50 now; the change to 80 comes exactly at as_of
        (pytest.approx(0.6), 0, 1, 0),  # 50 on 2 May 2022, 80 now
        (0.2, 0, 2, 1),  # 50 to 60; X to Y and back
        (0.2, 0, 2, 1),  # 365 days back is 1 May 2023 in a leap year: the change of that instant is within
        (-0.25, 0, 1, 1),  # and a second later before it: 80 to 60
        (0, 0, 0, 0),
        (None, None, 1, 0),
        (None, None, 0, 0),  # a grade that was taken away is no change of grade
        (0.5, None, 0, 0),
        (None, None, 0, 0),
    ]


def test_the_parent_is_the_one_that_was_known_then(tmp_path: Path) -> None:
    tables = stored_world(
        tmp_path,
        customers=[
            version("P1", "2020-01-01", "2024-01-01", employees=500, annual_revenue=50_000),
            version("P1", "2024-01-01", employees=600, annual_revenue=40_000),
            version("P2", "2020-01-01", employees=9000),
            version("C1", "2020-01-01", "2024-02-01", employees=7, parent_id="P1"),
            version("C1", "2024-02-01", "2024-03-01", employees=8, parent_id="P2"),  # sold
            version("C1", "2024-03-01", employees=8),  # independent
            version("C2", "2020-01-01", parent_id="P1"),
            version("C3", "2024-01-20", parent_id="P1"),  # known late
            version("C4", "2020-01-01", parent_id="P9"),  # a parent that is no customer
        ],
    )
    names = [
        "customers_parent_count",
        "customers_siblings_count",
        "parent_employees",
        "parent_annual_revenue",
        "parent_employees_growth_365d",
        "parent_annual_revenue_growth_365d",
        "family_head_employees",
        "family_subsidiaries_count",
    ]
    moments = ["2024-01-01", "2024-01-20", "2024-02-01", "2024-02-02", "2024-03-02"]
    rows = [*(("C1", at) for at in moments), ("P1", "2024-03-02"), ("P2", "2024-03-02"), ("C4", "2024-03-02")]
    rows += [("C3", "2024-01-20")]
    assert table_of(build(tables, FAMILY, rows), names) == [
        (1, 1, 500, 50_000, 0, 0, 500, 2),  # the parent grows exactly at as_of; C2 is the sister
        (1, 1, 600, 40_000, 0.2, -0.2, 600, 2),  # C3 becomes known exactly at as_of
        (1, 2, 600, 40_000, 0.2, -0.2, 600, 3),  # sold exactly at as_of
        (1, 0, 9000, None, 0, None, 9000, 1),
        (0, 0, None, None, None, None, 8, 0),  # the head of its own family, but no parent of itself
        (0, 0, None, None, None, None, 600, 2),  # C2 and C3 are below it, not beside it
        (0, 0, None, None, None, None, 9000, 0),
        (1, 0, None, None, None, None, None, 1),
        (None, None, None, None, None, None, None, 0),  # becomes known exactly at as_of
    ]


def test_columns_of_the_deployment_become_features_of_their_kind(tmp_path: Path) -> None:
    own = {"strategic value": 4, "is_listed": False, "culture": "open", "last_visit": datetime(2024, 2, 29, 12)}
    tables = make_tables(
        tmp_path,
        {"customers": {"tracked": ["culture"]}},
        customers=[{"customer_id": "C1", "created_at": "2024-01-01", "employees": 30, **own}],
        attribute_changes="""
            occurred_at  table_name  entity_id  field    old_value  new_value
            2024-03-01   customers   C1         culture  closed     open
        """,
    )
    built = build(tables, [customer_columns], [("C1", "2024-03-01"), ("C1", "2024-03-02 12:00")])
    names = ["customers_strategic_value", "customers_is_listed", "customers_culture", "customers_last_visit"]
    assert sorted(built.columns) == sorted(names)  # 'employees' is canonical
    assert table_of(built, names) == [(4, 0, "closed", 0.5), (4, 0, "open", 2)]  # changed exactly at as_of: not yet
    assert [info.kind for info in built.infos if info.name == "customers_culture"] == ["text"]


def test_without_columns_of_its_own_or_parents_a_deployment_skips_them(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=[{"customer_id": "C1", "created_at": "2024-01-01", "employees": 30}])
    built = build(tables, [customer_columns, customer_size, *FAMILY], [("C1", "2024-03-01")])
    assert built.columns == ["customers_employees_band"]
    assert built.skipped["customer_columns"] == "there are no extra columns"
    assert built.skipped["family_head"] == "table 'customers' has no column 'parent_id'"
    assert built.skipped["siblings"] == "feature 'customers_parent_count' is not there"


def test_phrases_show_growth_with_its_sign(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, customers=[version("C1", "2020-01-01", employees=5)])
    infos = {info.name: info for info in build(tables, [customer_changes], [("C1", "2024-03-01")]).infos}
    growth = infos["customers_employees_growth_365d"]
    assert growth.en.format(value=0.25) == "employees changed by +25% in 365 days"
    assert growth.zh.format(value=-0.1) == "365 天内员工数变化 -10%"
