"""Who is known at a customer, as a literal world with answers by hand."""

from pathlib import Path
from typing import Any

import pandas as pd
from conftest import make_tables
from stored import stored_world

from features.build import FeatureFrame, build_features
from features.group import Entity
from features.groups.contacts import customer_contacts
from features.tables import CrmTables

NOON = "2024-06-30 12:00:00"
NAMES = ["contacts_count", "contacts_decision_maker_count", "contacts_senior_count", "contacts_days_since_added"]
CUSTOMERS = [{"customer_id": f"C{n}", "created_at": "2022-01-01"} for n in range(1, 4)]


def build(tables: CrmTables, *snapshots: tuple[str, str, str | None], entity: Entity = "customers") -> FeatureFrame:
    spine = pd.DataFrame(snapshots, columns=["entity_id", "as_of", "customer_id"])
    spine["as_of"] = pd.to_datetime(spine["as_of"], format="ISO8601").astype("datetime64[us]")
    return build_features(tables, spine, (customer_contacts,), entity)


def contact(
    name: str, added: str, seniority: str | None, decides: bool | None, customer: str = "C1", **clocks: str
) -> dict[str, Any]:
    row = {"contact_id": name, "created_at": added, "known_at": added, "known_until": None, "customer_id": customer}
    return row | {"seniority": seniority, "is_decision_maker": decides} | clocks


def test_contacts_are_counted_as_they_were_known(tmp_path: Path) -> None:
    contacts = [
        contact("P1", "2024-01-01", "director", decides=True),
        contact("P2", "2024-02-29 12:00:00", " Executive", decides=False),  # added on the leap day
        contact("P3", "2024-01-05", "staff", decides=False, known_until=NOON),  # decides from as_of on: not yet
        contact("P3", "2024-01-05", "manager", decides=True, known_at=NOON),
        contact("P4", "2024-01-05", None, decides=None),  # nothing is known of it but that it is there
        contact("P5", "2024-06-01", "director", decides=True, known_at=NOON),  # entered exactly at as_of
        contact("P6", "2024-01-05", "director", decides=True, known_until="2024-05-01"),  # moved to C2 since
        contact("P6", "2024-01-05", "director", decides=True, customer="C2", known_at="2024-05-01"),
    ]
    tables = stored_world(tmp_path, customers=CUSTOMERS, contacts=contacts)
    later = "2024-06-30 12:00:00.000001"
    found = build(tables, *[(one, at, one) for one in ("C1", "C2", "C3") for at in (NOON, later)]).frame
    rows = found.set_index(["entity_id", "as_of"])[NAMES]
    assert rows.loc[("C1", pd.Timestamp(NOON))].tolist() == [4, 1, 2, 122]  # P1 to P4; P2 is the newest
    assert rows.loc[("C1", pd.Timestamp(later))].tolist() == [5, 3, 3, 29.5]  # P3 decides, P5 is there
    assert rows.loc[("C2", pd.Timestamp(NOON))].tolist() == [1, 1, 1, 177.5]
    without = rows.loc[("C3", pd.Timestamp(NOON))]
    assert without[:3].tolist() == [0, 0, 0]
    assert pd.isna(without["contacts_days_since_added"])


def test_a_lead_without_customer_has_null_and_unrecorded_ranks_are_left_out(tmp_path: Path) -> None:
    tables = make_tables(
        tmp_path,
        customers=CUSTOMERS,
        contacts=[{"contact_id": "P1", "created_at": "2024-01-01", "customer_id": "C1"}],
        deals="""
            deal_id  created_at  customer_id  closed_at  outcome
            D1       2024-02-01  C2           -          -
            D2       2024-02-01  -            -          -
        """,
    )
    built = build(tables, ("D1", NOON, "C2"), ("D2", NOON, None), entity="deals")
    assert built.columns == ["contacts_count", "contacts_days_since_added"]
    assert built.skipped == {
        "contacts_decision_maker_count": "table 'contacts' has no column 'is_decision_maker'",
        "contacts_senior_count": "table 'contacts' has no column 'seniority'",
    }
    counts = built.frame["contacts_count"]
    assert counts[0] == 0
    assert pd.isna(counts[1])
