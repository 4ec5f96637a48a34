"""What contact with a customer and about a deal says: kinds, replies, people and rhythm, with answers by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from conftest import make_tables
from stored import stored_world

from features.build import FeatureFrame, build_features
from features.group import Entity, Group
from features.groups.activities import (
    customer_activity,
    customer_activity_history,
    customer_activity_mix,
    customer_activity_rhythm,
    customer_activity_trend,
    customer_meetings,
    customer_replies,
    deal_activity,
    deal_activity_history,
    deal_activity_mix,
    deal_activity_rhythm,
    deal_activity_trend,
    deal_meetings,
    deal_replies,
)
from features.tables import CrmTables

GROUPS: tuple[Group, ...] = (
    customer_activity_history, customer_activity, customer_activity_mix, customer_replies, customer_meetings,
    customer_activity_rhythm, customer_activity_trend, deal_activity_history, deal_activity, deal_activity_mix,
    deal_replies, deal_meetings, deal_activity_rhythm, deal_activity_trend,
)  # fmt: skip
NOON = "2024-06-30 12:00:00"
"""90 days after noon of the 1st of April, 365 after noon of the 1st of July 2023: a leap day lies between."""
CUSTOMERS = [{"customer_id": f"C{n}", "created_at": "2022-01-01"} for n in range(1, 6)]
DEALS = """
    deal_id  created_at  customer_id  closed_at  outcome
    D1       2023-01-01  C1           -          -
    D2       2023-01-01  -            -          -
"""


def build(
    tables: CrmTables, snapshots: Sequence[tuple[str, str, str | None]], entity: Entity = "customers"
) -> FeatureFrame:
    spine = pd.DataFrame(snapshots, columns=["entity_id", "as_of", "customer_id"])
    spine["as_of"] = pd.to_datetime(spine["as_of"], format="ISO8601").astype("datetime64[us]")
    return build_features(tables, spine, GROUPS, entity)


def of_customers(tables: CrmTables, *ids: str) -> pd.DataFrame:
    return build(tables, [(one, NOON, one) for one in ids]).frame.set_index("entity_id")


def answers_of(row: Mapping[str, Any], prefix: str, names: Mapping[str, Any]) -> dict[str, float | None]:
    found = {name: row[f"{prefix}_{name}"] for name in names}
    return {name: None if pd.isna(value) else value for name, value in found.items()}


MIX = """
    activity_id  occurred_at                 customer_id  deal_id  kind     direction  outcome
    A0           2024-04-01 11:59:59.999999  C1           -        email    outbound   -          # before the window
    A1           2024-04-01 12:00:00         C1           D1       call     outbound   answered   # its first instant; at once after A0
    A2           2024-04-02 12:00:00         C1           -        call     outbound   no answer  # exactly a day after A1
    A3           2024-04-03 12:00:00.000001  C1           D1       email    inbound    -          # a microsecond more than a day
    A4           2024-06-01 09:00:00         C1           -        call     outbound   -          # nobody noted how it went
    A5           2024-06-01 09:00:00         C1           -        call     inbound    answered   # at once with A4: one of the two follows
    A6           2024-06-10 09:00:00         C1           D1       meeting  outbound   answered   # no call
    A7           2024-06-20 09:00:00         C1           -        support  -          -          # of no direction
    A8           2024-06-30 12:00:00         C1           D1       call     inbound    answered   # at as_of: not seen
    A9           2024-03-01 09:00:00         C2           -        call     outbound   answered   # before the window
"""  # noqa: E501


def test_kinds_directions_and_bursts_by_hand(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=CUSTOMERS, deals=DEALS, activities=MIX)
    frame = of_customers(tables, "C1", "C2", "C3")
    answers = {
        "call_count_90d": 4,
        "email_count_90d": 1,
        "outbound_count_90d": 4,
        "inbound_share_90d": 2 / 6,  # A7 has no direction
        "answered_share_90d": 1 / 2,  # A1 and not A2; of A4 nobody knows
        "burst_share_90d": 3 / 7,  # A1, A2, and one of A4 and A5
        "trend_30d": 4 * 3 / 7,  # A4 to A7 in the last 30 of 90 days
    }
    assert answers_of(frame.loc["C1"], "activities", answers) == answers
    without = {name: 0 if "count" in name else None for name in answers}
    assert answers_of(frame.loc["C2"], "activities", answers) == without
    assert answers_of(frame.loc["C3"], "activities", answers) == without


def test_a_deal_has_its_own_activities_and_none_of_its_customers(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=CUSTOMERS, deals=DEALS, activities=MIX)
    built = build(tables, [("D1", NOON, "C1"), ("D2", NOON, None)], "deals").frame.set_index("entity_id")
    answers = {
        "call_count_90d": 1,
        "email_count_90d": 1,
        "outbound_count_90d": 2,
        "inbound_share_90d": 1 / 3,
        "answered_share_90d": 1,
        "burst_share_90d": 0,  # A0 and A2 are not the deal's: two days from A1 to A3
        "response_ratio_365d": 1 / 2,  # A3 answers A1, nothing answered A6 so far
        "response_days_365d": 2,
        "days_since_inbound": 88,
        "days_since_meeting": 20.125,
        "trend_30d": 1,
    }
    assert answers_of(built.loc["D1"], "deal_activities", answers) == answers
    assert built.loc["D1", "activities_call_count_90d"] == 4
    empty = {"call_count_90d": 0, "outbound_count_90d": 0, "response_ratio_365d": None, "silence_ratio": None}
    assert answers_of(built.loc["D2"], "deal_activities", empty) == empty
    assert answers_of(built.loc["D2"], "activities", empty) == dict.fromkeys(empty)  # it has no customer


REPLIES = """
    activity_id  occurred_at          known_at             customer_id  direction
    I0           2023-06-01 09:00:00  -                    C1           inbound   # nothing to answer
    O0           2023-07-01 11:59:59  -                    C1           outbound  # a second before the window
    I1           2023-07-01 18:00:00  -                    C1           inbound   # answers O0, which does not count
    O1           2024-01-01 08:00:00  -                    C1           outbound
    O2           2024-01-02 08:00:00  -                    C1           outbound
    I2           2024-01-04 20:00:00  -                    C1           inbound   # answers O2 after two and a half days
    I3           2024-01-05 09:00:00  -                    C1           inbound   # the second in a row answers nothing
    O3           2024-02-28 08:00:00  -                    C1           outbound
    I4           2024-02-28 08:00:00  -                    C1           inbound   # came first: no answer
    I5           2024-03-01 08:00:00  -                    C1           inbound   # answers O3 over a leap day: two days
    O4           2024-06-29 08:00:00  -                    C1           outbound
    I6           2024-06-29 20:00:00  2024-06-30 12:00:00  C1           inbound   # known exactly at as_of: not seen
    O5           2023-07-01 12:00:00  -                    C2           outbound  # the first instant of the window
    I7           2023-07-04 12:00:00  -                    C2           inbound
    I8           2024-01-01 09:00:00  -                    C3           inbound
    O6           2024-01-01 09:00:00  -                    C4           outbound
"""


def test_the_first_word_of_the_customer_after_ours_is_an_answer(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, customers=CUSTOMERS, activities=REPLIES)
    frame = of_customers(tables, "C1", "C2", "C3", "C4", "C5")
    expected = {
        "C1": (2 / 4, 2.25),  # I2 and I5, of O1 to O4
        "C2": (1, 3),
        "C3": (None, None),  # never asked
        "C4": (0, None),  # never answered
        "C5": (None, None),
    }
    names = ("response_ratio_365d", "response_days_365d")
    answers = {one: dict(zip(names, row, strict=True)) for one, row in expected.items()}
    assert {one: answers_of(frame.loc[one], "activities", answers[one]) for one in answers} == answers


def contact(name: str, known_at: str, until: str | None, seniority: str | None, decides: bool) -> dict[str, Any]:
    row = {"contact_id": name, "created_at": "2024-01-01", "known_at": known_at, "known_until": until}
    return row | {"customer_id": "C1", "seniority": seniority, "is_decision_maker": decides}


def test_who_was_met_is_judged_by_what_was_known_of_the_contact_then(tmp_path: Path) -> None:
    contacts = [
        contact("P1", "2024-01-01", None, " DIRECTOR ", decides=True),  # however it was typed
        contact("P2", "2024-01-01", NOON, "staff", decides=False),  # this holds at as_of for the last time
        contact("P2", NOON, None, "executive", decides=True),
        contact("P3", NOON, None, "Executive", decides=True),  # met before, entered exactly at as_of
        contact("P4", "2024-01-01", None, None, decides=True),
    ]
    tables = stored_world(tmp_path, customers=CUSTOMERS, deals=DEALS, contacts=contacts, activities="""
        activity_id  occurred_at                 customer_id  deal_id  contact_id  kind
        M0           2023-07-01 11:59:59.999999  C1           D1       P1          meeting  # before the window
        M1           2023-07-01 12:00:00         C1           -        P1          meeting  # its first instant
        M2           2024-05-02 09:00:00         C1           D1       P2          meeting
        M3           2024-05-03 09:00:00         C1           D1       P3          meeting
        M4           2024-05-05 09:00:00         C1           D1       -           meeting  # with whom, nobody says
        M5           2024-05-06 09:00:00         C1           D1       P4          meeting  # of no known rank
        M6           2024-05-06 09:00:00         C1           D1       P1          call     # no meeting
        M7           2024-06-30 12:00:00         C1           D1       P1          meeting  # at as_of
    """)  # fmt: skip
    then, later = (NOON, "C1"), ("2024-06-30 12:00:00.000001", "C1")
    frame = build(tables, [("D1", *then), ("D1", *later), ("D2", NOON, None)], "deals").frame
    names = [f"meeting_{who}_count_365d" for who in ("decision_maker", "senior")]
    of_deal, of_customer = ([f"{prefix}_{name}" for name in names] for prefix in ("deal_activities", "activities"))
    assert frame.loc[0, of_customer].tolist() == [2, 1]  # M1 and M5; M1
    assert frame.loc[0, of_deal].tolist() == [1, 0]  # M5
    assert frame.loc[1, of_customer].tolist() == [4, 3]  # M2, M3, M5 and M7; M1 has left the window
    assert frame.loc[1, of_deal].tolist() == [4, 3]
    assert frame.loc[2, of_deal].tolist() == [0, 0]
    assert frame.loc[2, of_customer].isna().all()


def test_silence_is_measured_in_gaps_between_days_and_counts_from_the_last_touch(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=CUSTOMERS, activities="""
        activity_id  occurred_at          customer_id  kind     direction
        A1           2024-02-27 12:00:00  C1           call     inbound
        A2           2024-02-27 23:00:00  C1           meeting  outbound  # the same day again: no gap
        A3           2024-02-29 12:00:00  C1           meeting  outbound  # two days by the calendar
        A4           2024-03-04 12:00:00  C1           call     outbound  # four days, with a leap day
        A5           2024-06-30 12:00:00  C1           meeting  inbound   # at as_of: not seen
        A6           2024-06-20 09:00:00  C2           email    inbound
        A7           2024-06-20 12:00:00  C2           email    inbound   # one day only: no gap to measure by
    """)  # fmt: skip
    frame = of_customers(tables, "C1", "C2", "C3")
    expected = {
        "C1": (124, 122, 118 / 3),  # no contact for 118 days, on average every three
        "C2": (10, None, None),
        "C3": (None, None, None),
    }
    names = ("days_since_inbound", "days_since_meeting", "silence_ratio")
    answers = {one: dict(zip(names, row, strict=True)) for one, row in expected.items()}
    assert {one: answers_of(frame.loc[one], "activities", answers[one]) for one in answers} == answers


def test_what_a_deployment_does_not_record_is_left_out(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, customers=CUSTOMERS, activities="""
        activity_id  occurred_at  customer_id
        A1           2024-06-01   C1
    """)  # fmt: skip
    built = build(tables, [("C1", NOON, "C1")])
    ours = {"activities_burst_share_90d", "activities_silence_ratio", "activities_trend_30d"}
    assert {name for name in built.columns if "count" not in name} == ours | {"activities_days_since_last"}
    reasons = {built.skipped[f"activities_{name}"] for name in ("response_ratio_365d", "inbound_share_90d")}
    assert reasons == {"table 'activities' has no column 'direction'"}
