"""Ticket features: one literal world, each row with the reason beside it, and the answers by hand."""

from pathlib import Path

import pandas as pd
import pytest
from stored import stored_world

from features.build import FeatureFrame, build_features
from features.groups.orders import order_demand
from features.groups.tickets import ticket_demand, ticket_load, ticket_service, ticket_service_lately, ticket_trend
from features.tables import CrmTables

GROUPS = (ticket_service, ticket_service_lately, ticket_demand, ticket_trend, order_demand, ticket_load)
NOW = "2024-06-01"
TICKETS = """
    ticket_id  customer_id  occurred_at  known_at    known_until  kind       severity  closed_at   closed_at_known_at  satisfaction
    T1         C1           2024-01-01   2024-01-01  -            question   low       2024-01-05  2024-01-05          5    # closed after 4 days
    T2         C1           2024-03-03   2024-03-03  -            Complaint  HIGH      2024-03-13  2024-03-13          2    # opened 90 days before; closed after 10
    T3         C1           2024-03-02   2024-03-02  -            complaint  critical  2024-05-20  2024-06-01          1    # closing known exactly at as_of: still open
    T4         C1           2024-05-22   2024-05-22  -            question   High      -           -                   -    # open for 10 days
    T5         C1           2024-06-01   2024-06-01  -            complaint  high      -           -                   -    # opened exactly at as_of: unseen
    T6         C1           2023-06-02   2023-06-02  -            fault      low       2023-06-03  2023-06-03          -    # opened 365 days before; closed after 1, no answer
    T7         C1           2023-12-04   2023-12-04  -            -          -         2024-03-03  2024-03-03          4.5  # opened 180 days before, closed 90 days before
    T8         C1           2024-05-02   2024-05-02  2024-05-20   question   low       -           -                   -    # corrected on 20 May: critical, not low
    T8         C1           2024-05-02   2024-05-20  -            question   critical  -           -                   -
    T9         C1           2024-05-25   2024-05-25  -            question   low       2024-05-26  2024-05-26          3    # closed after 1 day
    T10        C2           2024-04-01   2024-04-01  -            question   low       2024-06-01  2024-05-01          4    # a closing announced for as_of: none yet
    T11        C3           2024-04-01   2024-04-01  -            question   low       2024-04-03  2024-04-03          1e30 # on no scale: no answer
"""  # noqa: E501  (one row per line)
ORDERS = """
    order_id  occurred_at  customer_id  amount
    O1        2024-05-01   C1           2000
    O2        2023-09-01   C1           500
    O3        2023-05-01   C1           9999    # more than 365 days before
"""


def build(tables: CrmTables, *snapshots: tuple[str, str]) -> FeatureFrame:
    spine = pd.DataFrame(snapshots, columns=["entity_id", "as_of"])
    spine = spine.assign(as_of=pd.to_datetime(spine["as_of"], format="ISO8601"), customer_id=spine["entity_id"])
    return build_features(tables, spine, GROUPS, "customers")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """All snapshots of the world in one build, by (entity_id, as_of)."""
    tables = stored_world(tmp_path_factory.mktemp("tickets"), tickets=TICKETS, orders=ORDERS)
    corrections = [("C1", "2024-05-20"), ("C1", "2024-05-20 00:00:00.000001")]
    snapshots = [*corrections, ("C1", NOW), ("C1", "2024-06-02"), ("C2", NOW), ("C3", NOW), ("C9", NOW)]
    frame = build(tables, *snapshots).frame.set_index(["entity_id", "as_of"])
    return frame[[name for name in frame.columns if name.startswith("tickets_")]]


def row_of(rows: pd.DataFrame, entity: str, at: str = NOW) -> pd.Series:
    return rows.loc[(entity, pd.Timestamp(at))]


def test_open_tickets_and_service_by_hand(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C1")
    answers = {
        "tickets_open_count": 3,  # T3, T4, T8
        "tickets_severe_open_count": 3,  # critical, High, critical
        "tickets_open_days_max": 91,  # T3
        "tickets_days_to_close_mean": 21.2,  # T1, T2, T6, T7, T9: (4 + 10 + 1 + 90 + 1) / 5
        "tickets_satisfaction_mean": 3.625,  # T1, T2, T7, T9: (5 + 2 + 4.5 + 3) / 4
        "tickets_satisfaction_mean_90d": 9.5 / 3,  # closed since 3 March: T2, T7, T9
    }
    assert {name: row[name] for name in answers} == pytest.approx(answers)


def test_demand_trend_and_load_by_hand(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C1")
    answers = {
        "tickets_count_90d": 4,  # T2, T4, T8, T9
        "tickets_severe_count_90d": 3,  # T2, T4, T8
        "tickets_complaint_count_90d": 1,  # T2
        "tickets_count_365d": 8,  # all but T5
        "tickets_severe_count_365d": 4,  # and T3
        "tickets_complaint_count_365d": 2,  # and T3
        "tickets_trend_90d": 1,  # four against T1, T3, T7
        "tickets_per_revenue_365d": 3.2,  # 8 per 2.5 thousand
    }
    assert {name: row[name] for name in answers} == pytest.approx(answers)


def test_a_closing_counts_from_when_it_was_known_and_lasts_until_it_occurred(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C1", "2024-06-02")
    answers = {
        "tickets_open_count": 3,  # T4, T5, T8
        "tickets_open_days_max": 31,  # T8
        "tickets_days_to_close_mean": (106 + 79) / 6,  # T3, opened on 2 March, closed on 20 May
        "tickets_satisfaction_mean": (14.5 + 1) / 5,
    }
    assert {name: row[name] for name in answers} == pytest.approx(answers)


def test_a_corrected_severity_counts_from_the_moment_after_the_correction(rows: pd.DataFrame) -> None:
    before, after = row_of(rows, "C1", "2024-05-20"), row_of(rows, "C1", "2024-05-20 00:00:00.000001")
    names = ["tickets_open_count", "tickets_severe_open_count"]
    assert (before[names].tolist(), after[names].tolist()) == ([2, 1], [2, 2])  # T3, T8


def test_an_open_ticket_has_no_time_to_close_and_no_satisfaction(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C2")
    assert (row["tickets_open_count"], row["tickets_open_days_max"]) == (1, 61)
    assert (
        row[["tickets_days_to_close_mean", "tickets_satisfaction_mean", "tickets_satisfaction_mean_90d"]].isna().all()
    )
    assert pd.isna(row["tickets_per_revenue_365d"])  # one ticket, no orders


def test_an_answer_that_is_on_no_scale_is_none(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C3")
    assert row["tickets_days_to_close_mean"] == 2
    assert pd.isna(row["tickets_satisfaction_mean"])


def test_without_tickets_counts_are_zero_and_the_rest_is_unknown(rows: pd.DataFrame) -> None:
    row = row_of(rows, "C9")
    unknown = {
        "tickets_open_days_max", "tickets_days_to_close_mean", "tickets_satisfaction_mean",
        "tickets_satisfaction_mean_90d", "tickets_per_revenue_365d",
    }  # fmt: skip
    assert set(row.index[row.isna()]) == unknown
    assert (row.drop(list(unknown)) == 0).all()


def test_a_deal_without_customer_knows_nothing_of_tickets(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, tickets=TICKETS)
    spine = pd.DataFrame({"entity_id": ["D1"], "as_of": [pd.Timestamp(NOW)], "customer_id": [None]})
    built = build_features(tables, spine, GROUPS, "deals")
    assert built.frame[built.columns].isna().all(axis=None)
    assert built.skipped["ticket_load"] == "feature 'orders_amount_365d' is not there"


def test_features_need_only_the_columns_that_they_read_and_blanks_do_not_matter(tmp_path: Path) -> None:
    opened = [{"ticket_id": "T1", "customer_id": "C1", "occurred_at": "2024-05-01", "severity": " Critical "}]
    built = build(stored_world(tmp_path, tickets=opened), ("C1", NOW))
    assert built.columns == [
        "tickets_count_90d", "tickets_severe_count_90d", "tickets_count_365d", "tickets_severe_count_365d",
        "tickets_trend_90d",
    ]  # fmt: skip
    assert built.frame[built.columns].iloc[0].tolist() == [1, 1, 1, 1, 1]


def test_satisfaction_never_raises_the_risk_of_churn(tmp_path: Path) -> None:
    infos = build(stored_world(tmp_path, tickets=TICKETS), ("C1", NOW)).infos
    assert {info.name: info.direction for info in infos if info.direction} == {
        "tickets_satisfaction_mean": {"churn": -1},
        "tickets_satisfaction_mean_90d": {"churn": -1},
    }
