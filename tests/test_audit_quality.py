"""Quality: missing, constant and alike columns, days that hold too much, and customers that are there twice."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from stored import stored_world

from features.engine import open_database
from features.tables import CrmTables
from pipeline.audit_alike import Alike, find_alike
from pipeline.audit_duplicates import duplicate_groups, measure_duplicates, plain_domain, plain_name, plain_number
from pipeline.audit_quality import BusyDay, Filling, Quality, frame_quality, measure_quality

CUSTOMERS = """
    customer_id  created_at  known_at     known_until  industry   region   name          source
    C1           2024-01-01  2024-01-01   2024-03-01   retail     north    ZZSECRET      web    # was retail until March
    C1           2024-01-01  2024-03-01   -            trade      north    ZZSECRET      -
    C2           2024-01-02  2024-01-02   -            trade      -        ZZSECRET      -
    C3           2024-01-03  2024-01-03   -            trade      south    -             -
"""


def measure(tables: CrmTables) -> Quality:
    with open_database(tables) as database:
        return measure_quality(database, tables)


def fillings(quality: Quality, *columns: str) -> list[Filling]:
    return [one for one in quality.fillings if one.column in columns]


@pytest.fixture(scope="module")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Quality:
    return measure(stored_world(tmp_path_factory.mktemp("q"), customers=CUSTOMERS, sensitive={"customers": ("name",)}))


def test_rows_are_counted_as_they_stand_today(customers: Quality) -> None:
    assert fillings(customers, "industry", "region", "source") == [
        Filling("customers", "industry", 3, 0, "trade"),  # retail is of the past
        Filling("customers", "region", 3, 1, None),
        Filling("customers", "source", 3, 3, None),  # empty since March
    ]
    assert fillings(customers, "region")[0].missing_share == pytest.approx(1 / 3)


def test_the_only_value_of_a_sensitive_column_is_not_shown(customers: Quality) -> None:
    assert fillings(customers, "name") == [Filling("customers", "name", 3, 1, "not shown: sensitive")]
    assert "ZZSECRET" not in repr(customers)


def test_clocks_and_what_tells_how_a_row_ended_are_no_columns_of_the_source(customers: Quality) -> None:
    assert {one.column for one in customers.fillings} == {
        "customer_id", "created_at", "industry", "region", "name", "source",
    }  # fmt: skip


def test_what_is_filled_later_says_until_when_it_is_missing(tmp_path: Path) -> None:
    deals = """
        deal_id  created_at   closed_at    outcome  known_until
        D1       2024-01-01   2024-02-01   won      -
        D2       2024-01-01   -            -        -
    """
    found = fillings(measure(stored_world(tmp_path, deals=deals)), "outcome")
    assert found == [Filling("deals", "outcome", 2, 1, "won", "closed_at")]


def make_orders(*days: tuple[str, int]) -> list[dict[str, Any]]:
    moments = [datetime.fromisoformat(day) + timedelta(seconds=n) for day, count in days for n in range(count)]
    return [
        {"order_id": f"O{n}", "occurred_at": at, "customer_id": "C1", "amount": "1"} for n, at in enumerate(moments)
    ]


def test_a_day_with_5_percent_of_all_rows_is_named(tmp_path: Path) -> None:
    spread = [(f"2024-01-{day:02}", 9) for day in range(1, 21)]  # 180 rows, 4.5 % a day
    orders = make_orders(*spread, ("2024-02-03", 10), ("2024-02-04T12:00:00", 10))  # 10 of 200: 5 %
    found = measure(stored_world(tmp_path, orders=orders)).busy_days
    assert [one for one in found if one.column == "occurred_at"] == [
        BusyDay("orders", "occurred_at", "2024-02-03", 10, 0.05),
        BusyDay("orders", "occurred_at", "2024-02-04", 10, 0.05),
    ]
    assert {one.column for one in found} == {"occurred_at", "known_at"}  # a migration shows in either


def test_nine_rows_are_no_busy_day_however_few_there_are(tmp_path: Path) -> None:
    assert measure(stored_world(tmp_path, orders=make_orders(("2024-02-03", 9)))).busy_days == ()


def test_a_day_is_one_of_the_deployments_time_zone(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, orders=make_orders(("2024-02-03T19:00:00", 10)))
    assert {one.day for one in measure(replace(tables, time_zone="Asia/Kolkata")).busy_days} == {"2024-02-04"}


ROWS = 40
NUMBERS = np.arange(ROWS, dtype=np.float64)
LANDS = pd.Series(["DE", "FR", "IT", "FR"] * 10)


def alike(**columns: Any) -> list[tuple[str, str, str]]:
    return [(one.first, one.second, one.kind) for one in find_alike("orders", pd.DataFrame(columns))]


def test_a_renamed_column_says_the_same() -> None:
    names = LANDS.map({"DE": "Germany", "FR": "France", "IT": "Italy"})
    coded = LANDS.map({"DE": 3.0, "FR": 1.0, "IT": 2.0})  # numbers in no order
    assert alike(land=LANDS, name=names) == [("land", "name", "renamed")]
    assert alike(land=LANDS, code=coded) == [("land", "code", "renamed")]
    assert alike(land=LANDS, merged=names.replace("Italy", "France")) == []  # two lands in one value
    assert alike(land=LANDS, other=pd.concat([names[:39], pd.Series(["Spain"])], ignore_index=True)) == []


def test_ids_and_names_that_are_there_once_say_nothing_by_going_together() -> None:
    assert alike(order_id=[f"O{n}" for n in range(ROWS)], invoice=[f"I{n}" for n in range(ROWS)]) == []


def test_numbers_in_the_same_order_or_the_opposite_one_say_the_same() -> None:
    swapped = NUMBERS.copy()
    swapped[[3, 4]] = swapped[[4, 3]]  # one pair of 40: rank correlation 0.9998
    shuffled = np.random.default_rng(1).permutation(NUMBERS)
    assert alike(amount=NUMBERS, squared=NUMBERS**2) == [("amount", "squared", "same order")]
    assert alike(amount=NUMBERS, debt=-NUMBERS) == [("amount", "debt", "same order")]
    assert alike(amount=NUMBERS, near=swapped) == [("amount", "near", "same order")]
    assert alike(amount=NUMBERS, other=shuffled) == []


def test_only_rows_in_which_both_are_filled_are_compared() -> None:
    holes, few = NUMBERS.copy(), NUMBERS.copy()
    holes[::2] = np.nan  # 20 rows are left, enough
    few[:21] = np.nan  # 19 rows are not
    [found] = find_alike("orders", pd.DataFrame({"amount": NUMBERS, "holes": holes}))
    assert found == Alike("orders", "amount", "holes", "same order", 20, pytest.approx(1.0))
    assert alike(amount=NUMBERS, few=few) == []


def test_times_say_the_same_only_where_they_are_always_as_far_apart() -> None:
    issued = pd.Series(pd.date_range("2024-01-01", periods=ROWS, freq="D", unit="us"))
    paid = issued + pd.to_timedelta(pd.Series([10, 20] * 20), unit="D")  # in nearly the same order, as all times are
    assert alike(issued=issued, due=issued + pd.Timedelta(days=30), paid=paid) == [("issued", "due", "same distance")]


def test_constants_are_not_alike() -> None:
    assert alike(one=[1.0] * ROWS, other=[2.0] * ROWS, text=["x"] * ROWS, more=["y"] * ROWS) == []


def test_sensitive_columns_are_not_compared(tmp_path: Path) -> None:
    rows = [
        {"customer_id": f"C{n}", "created_at": "2024-01-01"}
        | {c: f"{c}{n % 4}" for c in ("name", "region", "industry")}
        for n in range(40)
    ]
    found = measure(stored_world(tmp_path, customers=rows, sensitive={"customers": ("name",)})).alike
    assert [(one.first, one.second) for one in found] == [("region", "industry")]


def test_a_flat_frame_is_looked_at_in_the_same_way() -> None:
    frame = pd.DataFrame({"land": LANDS, "name": LANDS.str.lower(), "flag": True, "empty": pd.Series(dtype="float64")})
    found = frame_quality("frame", frame)
    assert found.fillings == (
        Filling("frame", "land", 40, 0, None), Filling("frame", "name", 40, 0, None),
        Filling("frame", "flag", 40, 0, "True"), Filling("frame", "empty", 40, 40, None),
    )  # fmt: skip
    assert [(one.first, one.second) for one in found.alike] == [("land", "name")]


TWICE = """
    customer_id  created_at  known_until  name                     domain               tax_number      merged_into
    C1           2024-01-01  -            ZZSecret Müller GmbH     mueller.example      DE 123 456 789  -
    C2           2024-01-02  -            zzsecret MULLER g.m.b.h  -                    -               -   # C1's name
    C3           2024-01-03  -            Another name             www.Mueller.example  -               -   # its domain
    C4           2024-01-04  -            A third name             -                    de123456789     -   # its number
    C5           2024-01-05  -            Twin Ltd                 gmail.com            DE111222333     -
    C6           2024-01-06  -            Twin Limited             gmail.com            DE444555666     -   # another
    C7           2024-01-07  2024-05-01   Gone                     -                    -               C5
    C8           2024-01-08  -            Alone                    n/a                  0000000         -
    C9           2024-01-09  -            -                        n/a                  0000000         -
"""


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> CrmTables:
    sensitive = {"customers": ("name", "domain", "tax_number")}
    return stored_world(tmp_path_factory.mktemp("twice"), customers=TWICE, sensitive=sensitive)


def test_customers_that_share_a_name_a_domain_or_a_tax_number_are_one_group(twice: CrmTables) -> None:
    groups = duplicate_groups(twice)
    assert list(groups.columns) == ["customer_id", "group"]
    assert groups.groupby("group")["customer_id"].agg(list).to_dict() == {
        "C1": ["C1", "C2", "C3", "C4"],
        "C5": ["C5", "C7"],  # one was merged into the other
    }


def test_the_report_counts_who_stands_today_and_shows_ids_only(twice: CrmTables) -> None:
    found = measure_duplicates(twice)
    assert found is not None
    assert (found.customers, found.in_groups, found.groups) == (8, 4, (("C1", "C2", "C3", "C4"),))
    assert found.compared_by == ("name", "domain", "tax_number")
    assert dict(found.groups_by) == {"name": 1, "domain": 1, "tax_number": 1}
    assert "secret" not in repr(found).casefold()


def test_a_value_that_many_share_names_nobody(tmp_path: Path) -> None:
    rows = [
        {"customer_id": f"C{n:02}", "created_at": "2024-01-01", "name": "Unknown", "domain": f"d{n // 20}.example"}
        for n in range(21)
    ]
    tables = stored_world(tmp_path, customers=rows)
    found = measure_duplicates(tables)
    assert found is not None
    assert dict(found.too_common) == {"name": 1, "domain": 0}  # 21 share the name, 20 the first domain
    assert [len(ids) for ids in found.groups] == [20]
    assert len(duplicate_groups(tables)) == 20


def test_without_customers_or_what_tells_them_apart_there_are_no_groups(tmp_path: Path) -> None:
    bare = stored_world(tmp_path / "bare", customers="customer_id  created_at\nC1  2024-01-01\nC2  2024-01-01")
    found = measure_duplicates(bare)
    assert found is not None
    assert (found.compared_by, found.groups) == ((), ())
    assert duplicate_groups(bare).empty
    orders = stored_world(tmp_path / "none", orders=make_orders(("2024-01-01", 1)))
    assert measure_duplicates(orders) is None
    assert list(duplicate_groups(orders).columns) == ["customer_id", "group"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ACME GmbH & Co. KG", "acme"), ("Acme, Inc.", "ACME INC"), ("Société Générale S.A.", "Societe Generale"),
        ("北京字节跳动科技有限公司", "北京字节跳动科技"), ("ＡＣＭＥ Ltd", "Acme"), ("Acme-Werke AG", "ACME WERKE"),
    ],
)  # fmt: skip
def test_names_are_the_same_whatever_their_case_signs_and_legal_form(one: str, other: str) -> None:
    assert plain_name(one) == plain_name(other) is not None


def test_names_domains_and_numbers_that_say_nothing_are_none() -> None:
    assert [plain_name(text) for text in ("GmbH", "...", "", "X")] == [None] * 4
    assert [plain_domain(text) for text in ("n/a", "gmail.com", "http://", "unknown")] == [None] * 4
    assert [plain_number(text) for text in ("n/a", "000-000-000", "1234")] == [None] * 3
    assert plain_name("Müller AG") != plain_name("Möller AG")
