"""How old those who are scored are, beside those whom training saw."""

from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from small_crm import World
from stored import stored_world

from features.spine import entity_ages
from features.tables import CrmTables
from features.targets import Target
from models.predict import load_bundle
from pipeline.ages import age_range, note_on_ages
from pipeline.ledger import open_ledger
from pipeline.registry import read_champion

CHURN = Target("churn", "churn", 30)


@pytest.fixture
def tables(tmp_path: Path) -> CrmTables:
    return stored_world(
        tmp_path,
        customers="""
            customer_id  created_at  known_at             known_until
            C1           2024-01-01  2024-01-01           -
            C2           2024-01-01  2024-02-01 12:00:00  2024-03-01    # known a month late
            C2           2024-01-01  2024-03-01           -             # and changed later
            C3           2024-03-01  2024-03-01           -
        """,
    )


def spine_of(*snapshots: tuple[str, str]) -> pd.DataFrame:
    entities, moments = zip(*snapshots, strict=True)
    return pd.DataFrame(
        {"entity_id": list(entities), "as_of": pd.to_datetime(list(moments), format="ISO8601").astype("datetime64[us]")}
    )


def test_an_age_counts_from_the_first_version(tables: CrmTables) -> None:
    spine = spine_of(("C2", "2024-03-11"), ("C1", "2024-01-01"), ("C3", "2024-03-02 06:00:00"), ("gone", "2024-03-11"))
    ages = entity_ages(tables, spine, CHURN).tolist()
    assert ages[:3] == [38.5, 0.0, 1.25]  # 1 February noon to 11 March: 28.5 + 10 days
    assert ages[3] != ages[3]
    assert age_range(tables, spine, CHURN) == [0.0, 38.5]
    assert age_range(tables, spine.head(0), CHURN) == []


@pytest.mark.parametrize(
    ("trained", "note"),
    [
        ([10.0, 100.0], None),  # 10 and 100 days exactly have been seen
        ([10.0, 99.0], "of 3 customers scored, 1 older (up to 100 days) than any in training (10 to 99 days): "),
        ([11.0, 100.0], "of 3 customers scored, 1 younger (from 10 days) than any in training (11 to 100 days): "),
        (
            [69.0, 70.0],
            "of 3 customers scored, 1 older (up to 100 days) and 1 younger (from 10 days) than any in training",
        ),
        ([], None),  # trained before ages were noted
    ],
)
def test_ages_that_training_never_saw_are_counted(tables: CrmTables, trained: list[float], note: str | None) -> None:
    # 100 days (31 + 29 + 31 + 9), 69.5 (28.5 + 31 + 10) and 10
    spine = spine_of(("C1", "2024-04-10"), ("C2", "2024-04-11"), ("C3", "2024-03-11"))
    found = note_on_ages(tables, spine, CHURN, trained)
    assert (found is None) == (note is None)
    assert (found or "").startswith(f"churn: {note}" if note else "")


def test_a_bundle_says_which_ages_it_was_trained_on_and_a_run_which_it_met(finished: World) -> None:
    with open_ledger(finished.state / "ledger.db") as ledger:
        run = ledger.latest_run("score", "done")
        assert run is not None
        scores = ledger.scores(run.run_id)
    notes = list(run.details.get("notes", []))
    for name in ("conversion", "churn"):
        champion = read_champion(finished.config, name)
        assert champion is not None
        manifest = load_bundle(champion.folder).manifest
        youngest, oldest = manifest["extras"]["training_set"]["ages_days"]
        assert 0 <= youngest < oldest < 2000
        table = {"conversion": "deals", "churn": "customers"}[name]
        known = dict(finished.sql(f"SELECT {table[:-1]}_id, min(known_at) FROM {table} GROUP BY 1"))
        ids = scores[scores["target"] == name]["entity_id"]
        ages = [(datetime(2025, 6, 30, 22) - pd.Timestamp(known[one])) / pd.Timedelta(days=1) for one in ids]
        older = sum(age > oldest + 1e-6 for age in ages)
        assert older > 0  # time goes on: the oldest of training are older now
        (note,) = [one for one in notes if one.startswith(f"{name}: ")]
        assert f"of {len(ids):,} {table} scored, {older:,} older (up to {max(ages):,.0f} days)" in note
