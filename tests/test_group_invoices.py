"""Invoice features: one literal world, each row with the reason beside it, and the answers by hand."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from eval_ibm_ar import BAR, run
from stored import stored_world

from features.build import FeatureFrame, build_features
from features.groups.invoices import (
    invoice_debts,
    invoice_demand,
    invoice_losses,
    invoice_payments,
    invoice_payments_lately,
    invoice_trend,
)
from features.tables import CrmTables

GROUPS = (invoice_payments, invoice_payments_lately, invoice_trend, invoice_debts, invoice_losses, invoice_demand)
NOW = "2024-06-01"
INVOICES = """
    invoice_id  customer_id  amount  occurred_at  known_at    known_until  due_at      paid_at     paid_at_known_at  written_off_at
    I1          C1           100     2024-01-01   2024-01-01  -            2024-01-31  2024-01-21  2024-01-21        -           # 10 days early
    I2          C1           200     2024-02-02   2024-02-02  -            2024-03-03  2024-03-03  2024-03-03        -           # paid at the due time: in time; due 90 days before
    I3          C1           50      2024-03-01   2024-03-01  -            2024-03-31  2024-04-20  2024-04-20        -           # 20 days late
    I4          C1           300     2024-03-05   2024-03-05  -            2024-04-04  2024-05-04  2024-06-01        -           # payment known at as_of: 58 days late so far
    I5          C1           400     2024-04-02   2024-04-02  -            2024-05-02  -           -                 -           # 30 days late so far
    I6          C1           25      2024-05-02   2024-05-02  -            2024-06-01  -           -                 -           # due exactly at as_of: open, says nothing
    I7          C1           10      2024-05-20   2024-05-20  -            2024-06-20  2024-05-25  2024-05-25        -           # paid before it is due: 26 days early
    I8          C1           999     2024-06-01   2024-06-01  -            2024-07-01  -           -                 -           # issued exactly at as_of: unseen
    I9          C1           60      2023-05-01   2023-05-01  -            2023-05-31  -           -                 2023-12-01  # written off: 367 days late so far
    I10         C1           70      2024-04-01   2024-04-01  2024-04-15   2024-05-01  2024-04-28  2024-04-28        -           # corrected on 15 April: 80, not 70
    I10         C1           80      2024-04-01   2024-04-15  -            2024-05-01  2024-04-28  2024-04-28        -           # 3 days early
    I11         C2           500     2024-05-01   2024-05-01  -            2024-06-15  -           -                 2024-06-01  # write-off known at as_of: open, not yet due
    I12         C3           40      2024-01-01   2024-01-01  -            -           -           -                 -           # without a due time: open, never overdue
    I13         C4           90      2024-04-01   2024-04-01  -            2024-05-02  2024-06-01  2024-05-20        -           # a payment announced for as_of: none yet
    I14         C5           90      2024-04-01   2024-04-01  -            2024-05-02  2024-04-27  2024-04-27        -           # only ever paid early: 5 days
"""  # noqa: E501  (one row per line)


def build(tables: CrmTables, *snapshots: tuple[str, str]) -> FeatureFrame:
    spine = pd.DataFrame(snapshots, columns=["entity_id", "as_of"])
    spine = spine.assign(as_of=pd.to_datetime(spine["as_of"], format="ISO8601"), customer_id=spine["entity_id"])
    return build_features(tables, spine, GROUPS, "customers")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """All snapshots of the world in one build, by (entity_id, as_of)."""
    tables = stored_world(tmp_path_factory.mktemp("invoices"), invoices=INVOICES)
    corrections = [("C1", "2024-04-15"), ("C1", "2024-04-15 00:00:00.000001")]
    snapshots = [
        *corrections,
        ("C1", NOW),
        ("C1", "2024-06-02"),
        ("C2", NOW),
        ("C3", NOW),
        ("C4", NOW),
        ("C5", NOW),
        ("C9", NOW),
    ]
    return build(tables, *snapshots).frame.set_index(["entity_id", "as_of"])


def row_of(rows: pd.DataFrame, entity: str, at: str = NOW) -> pd.Series:
    return rows.loc[(entity, pd.Timestamp(at))]


def test_payment_behaviour_by_hand(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C1")
    answers = {
        "invoices_count": 9,  # all but I8
        "invoices_on_time_share": 4 / 8,  # I1, I2, I7, I10 of all but I6
        "invoices_delay_mean": 54.5,  # (-10 + 0 + 20 + 58 + 30 - 26 + 367 - 3) / 8
        "invoices_delay_max": 367,
        "invoices_delay_mean_90d": 21,  # I2, I3, I4, I5, I10: (0 + 20 + 58 + 30 - 3) / 5
        "invoices_delay_mean_365d": 95 / 6,  # and I1
        "invoices_delay_trend_90d": 21 - 54.5,
    }
    assert {name: row[name] for name in answers} == pytest.approx(answers)


def test_debts_losses_and_demand_by_hand(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C1")
    answers = {
        "invoices_open_amount": 725,  # I4, I5, I6
        "invoices_overdue_count": 2,  # I4, I5
        "invoices_overdue_amount": 700,
        "invoices_written_off_amount": 60,  # I9
        "invoices_written_off_share": 60 / 1225,
        "invoices_count_90d": 5,  # I4, I5, I6, I7, I10
        "invoices_amount_90d": 815,
        "invoices_count_365d": 8,  # all but I8, I9
        "invoices_amount_365d": 1165,
    }
    assert {name: row[name] for name in answers} == pytest.approx(answers)


def test_a_day_later_the_late_payment_is_known_and_the_invoice_due_at_as_of_is_overdue(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C1", "2024-06-02")
    answers = {
        "invoices_count": 10,
        "invoices_on_time_share": 4 / 9,  # I6 is judged now
        "invoices_delay_mean": (-10 + 0 + 20 + 30 + 31 + 1 - 26 + 368 - 3) / 9,  # I4: 30 days late, and no longer
        "invoices_open_amount": 1424,  # I5, I6, I8
        "invoices_overdue_count": 2,  # I5, I6
        "invoices_overdue_amount": 425,
    }
    assert {name: row[name] for name in answers} == pytest.approx(answers)


def test_a_corrected_amount_counts_from_the_moment_after_the_correction(rows: pd.DataFrame) -> None:
    before, after = row_of(rows, "C1", "2024-04-15"), row_of(rows, "C1", "2024-04-15 00:00:00.000001")
    assert (before["invoices_amount_365d"], after["invoices_amount_365d"]) == (1180, 1190)
    assert (before["invoices_count_365d"], after["invoices_count_365d"]) == (7, 7)


def test_an_invoice_that_is_not_yet_due_says_nothing_about_payment(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C2")
    silent = ["on_time_share", "delay_mean", "delay_max", "delay_mean_90d", "delay_mean_365d", "delay_trend_90d"]
    assert row[[f"invoices_{name}" for name in silent]].isna().all()
    debts = ["open_amount", "overdue_count", "overdue_amount", "written_off_amount", "written_off_share"]
    assert row[[f"invoices_{name}" for name in debts]].tolist() == [500, 0, 0, 0, 0]


def test_an_invoice_without_a_due_time_is_open_and_never_overdue(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C3")
    assert row[["invoices_open_amount", "invoices_overdue_count", "invoices_overdue_amount"]].tolist() == [40, 0, 0]
    assert row[["invoices_on_time_share", "invoices_delay_mean"]].isna().all()


def test_a_payment_that_is_announced_ahead_is_none_yet(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C4")
    assert row[["invoices_overdue_amount", "invoices_on_time_share", "invoices_delay_mean"]].tolist() == [90, 0, 30]


def test_who_only_pays_early_was_never_late(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C5")
    names = ["invoices_on_time_share", "invoices_delay_mean", "invoices_delay_max", "invoices_delay_mean_90d"]
    assert row[names].tolist() == [1, -5, 0, -5]


def test_without_invoices_counts_and_amounts_are_zero_and_the_rest_is_unknown(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C9")
    unknown = {
        "invoices_on_time_share", "invoices_delay_mean", "invoices_delay_max", "invoices_delay_mean_90d",
        "invoices_delay_mean_365d", "invoices_delay_trend_90d", "invoices_written_off_share",
    }  # fmt: skip
    assert set(row.index[row.isna()]) == unknown
    assert (row.drop(list(unknown)) == 0).all()


def test_a_deal_without_customer_knows_nothing_of_invoices(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, invoices=INVOICES)
    spine = pd.DataFrame({"entity_id": ["D1"], "as_of": [pd.Timestamp(NOW)], "customer_id": [None]})
    built = build_features(tables, spine, GROUPS, "deals")
    assert built.frame[built.columns].isna().all(axis=None)


def test_features_need_only_the_columns_that_they_read(tmp_path: Path) -> None:
    bare = """
        invoice_id  customer_id  amount  occurred_at
        I1          C1           100     2024-01-01
    """
    issued = build(stored_world(tmp_path / "bare", invoices=bare), ("C1", NOW))
    assert issued.columns == [
        "invoices_count", "invoices_count_90d", "invoices_amount_90d", "invoices_count_365d", "invoices_amount_365d",
    ]  # fmt: skip
    assert issued.skipped["invoices_overdue_amount"].startswith("table 'invoices' has no column")
    dated = """
        invoice_id  customer_id  amount  occurred_at  due_at      paid_at
        I1          C1           100     2024-01-01   2024-01-31  -
    """
    without = build(stored_world(tmp_path / "dated", invoices=dated), ("C1", NOW))
    assert set(without.skipped) == {"invoices_written_off_amount", "invoices_written_off_share"}
    assert without.frame["invoices_overdue_amount"].tolist() == [100]  # write-offs are unknown here


def test_more_overdue_money_never_lowers_the_risk_of_churn(tmp_path: Path) -> None:
    infos = build(stored_world(tmp_path, invoices=INVOICES), ("C1", NOW)).infos
    assert {info.name: info.direction for info in infos if info.direction} == {
        "invoices_overdue_count": {"churn": 1},
        "invoices_overdue_amount": {"churn": 1},
        "invoices_written_off_amount": {"churn": 1},
    }


@pytest.mark.data
def test_late_payment_of_real_invoices_is_foreseen(public_data: Callable[[str], Path], tmp_path: Path) -> None:
    result = run(public_data("ibm_ar"), tmp_path, resamples=0)
    assert (result.trained, result.tested["all"]["rows"]) == (1725, 621)
    assert result.tested["own"]["auc"] < 0.62  # the invoice alone says little
    assert result.tested["all"]["auc"] >= BAR
