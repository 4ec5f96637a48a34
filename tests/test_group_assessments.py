"""Answers of people, about a customer or about a deal, with their age and changes written by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stored import stored_world

from features.build import FeatureFrame, build_features
from features.group import Entity
from features.groups.assessments import customer_answers, customer_assessments, deal_answers, deal_assessments
from features.tables import CrmTables

GROUPS = [customer_assessments, customer_answers, deal_assessments, deal_answers]

ANSWERS = """
    occurred_at          known_at             entity    entity_id  question          answer
    2024-03-01 10:00:00  2024-03-01 10:00:00  customer  C1         need              low
    2024-03-05 10:00:00  2024-03-05 10:00:00  customer  C1         need              high      # a change
    2024-03-08 10:00:00  2024-03-08 10:00:00  customer  C1         need              high      # said again: none
    2024-03-02 10:00:00  2024-03-20 10:00:00  customer  C1         need              none      # entered late
    2024-03-06 00:00:00  2024-03-06 00:00:00  customer  C1         Budget (kEUR)?    25        # a number
    2024-03-07 00:00:00  2024-03-07 00:00:00  customer  C1         Budget (kEUR)?    -12.5
    2024-03-09 00:00:00  2024-03-09 00:00:00  customer  C1         culture           fits      # not in the config
    2024-03-06 00:00:00  2024-03-06 00:00:00  deal      D1         need              urgent
    2024-03-06 00:00:00  2024-03-06 00:00:00  deal      C1         need              other     # a deal named C1
    2024-03-04 00:00:00  2024-03-04 00:00:00  customer  C2         Budget (kEUR)?    12 to 20  # no number
    2024-03-05 00:00:00  2024-03-05 00:00:00  customer  C2         need              low
    2024-03-05 00:00:00  2024-03-05 00:00:00  customer  C2         need              low       # again, at once
    2024-03-05 00:00:00  2024-03-05 00:00:00  customer  C3         need              high
    2024-03-05 00:00:00  2024-03-05 00:00:00  customer  C3         need              low       # two at once
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> CrmTables:
    """Customers and a deal of the first, with answers about each; nobody changes it."""
    return stored_world(
        tmp_path_factory.mktemp("answers"),
        questions=["need", "Budget (kEUR)?"],
        customers=[{"customer_id": name, "created_at": "2024-01-01"} for name in ("C1", "C2", "C3", "C4")],
        deals="""
            deal_id  created_at  customer_id  closed_at  outcome
            D1       2024-02-01  C1           -          -
            D2       2024-02-01  -            -          -
        """,
        assessments=ANSWERS,
    )


def build(tables: CrmTables, entity: Entity, rows: list[tuple[str, str, str | None]]) -> FeatureFrame:
    """Return the features of (entity, as_of, customer), in the order of the frame."""
    spine = pd.DataFrame(rows, columns=["entity_id", "as_of", "customer_id"])
    return build_features(tables, spine.assign(as_of=pd.to_datetime(spine["as_of"], format="ISO8601")), GROUPS, entity)


MOMENTS = ["2024-03-01 10:00", "2024-03-01 10:01", "2024-03-05 10:00", "2024-03-06 12:00", "2024-03-09 10:00",
           "2024-03-21 10:00"]  # fmt: skip


@pytest.fixture(scope="module")
def answered(tables: CrmTables) -> FeatureFrame:
    """The first customer at several moments, and the others on 10 March."""
    rows = [("C1", at, "C1") for at in MOMENTS]
    return build(tables, "customers", [*rows, *((name, "2024-03-10", name) for name in ("C2", "C3", "C4"))])


def test_the_newest_answer_its_age_and_its_changes_are_those_known_then(answered: FeatureFrame) -> None:
    frame = answered.frame[answered.frame["entity_id"] == "C1"]
    assert frame["assessment_need_answer"].fillna("-").tolist() == [
        "-",  # given exactly at as_of: not yet known
        "low",
        "low",  # the second is given exactly then
        "high",
        "high",
        "high",  # the late one is about 2 March, so it is not the newest
    ]
    changes = frame["assessment_need_changes_count"].tolist()
    assert changes == [0, 0, 0, 1, 1, 2]  # with the late one: low, none, high, high
    ages = frame["assessment_need_days_since_last"].tolist()
    assert ages == pytest.approx([np.nan, 1 / 1440, 4, 1 + 1 / 12, 1, 13], abs=1e-9, nan_ok=True)


def test_an_answer_that_is_a_number_is_one_and_others_are_text_alone(answered: FeatureFrame) -> None:
    frame = answered.frame
    answers = frame["assessment_budget_keur_answer"].fillna("-").tolist()
    assert answers == ["-", "-", "-", "25", "-12.5", "-12.5", "12 to 20", "-", "-"]
    numbers = frame["assessment_budget_keur_score"].fillna(0).tolist()
    assert numbers == [0, 0, 0, 25, -12.5, -12.5, 0, 0, 0]  # '12 to 20' is none
    assert frame["assessment_need_score"].isna().all()  # 'low' and 'high' are none


def test_an_answer_given_again_at_the_same_moment_is_no_change_and_of_two_the_greater_is_the_newer(
    answered: FeatureFrame,
) -> None:
    frame = answered.frame.set_index("entity_id").loc[["C2", "C3", "C4"]]
    assert frame["assessment_need_answer"].fillna("-").to_dict() == {"C2": "low", "C3": "low", "C4": "-"}
    assert frame["assessment_need_changes_count"].to_dict() == {"C2": 0, "C3": 1, "C4": 0}
    assert frame["assessments_questions_count"].to_dict() == {"C2": 2, "C3": 1, "C4": 0}  # need twice is one question


def test_a_deal_has_its_own_answers_beside_those_of_its_customer(tables: CrmTables) -> None:
    frame = build(tables, "deals", [("D1", "2024-03-10", "C1"), ("D2", "2024-03-10", None)]).frame
    own, nobodys = frame.iloc[0], frame.iloc[1]
    assert (own["deal_assessment_need_answer"], own["assessment_need_answer"]) == ("urgent", "high")
    assert own["deal_assessment_need_days_since_last"] == 4
    assert (own["deal_assessments_questions_count"], own["assessments_questions_count"]) == (1, 3)
    assert (own["deal_assessments_days_since_last"], own["assessments_days_since_last"]) == (4, 1)  # 6 and 9 March
    unknown = [name for name in frame.columns if name.startswith("deal_") and pd.isna(own[name])]
    assert unknown == [
        "deal_assessment_need_score",  # 'urgent' is no number
        "deal_assessment_budget_keur_answer",  # asked about the customer alone
        "deal_assessment_budget_keur_score",
        "deal_assessment_budget_keur_days_since_last",
    ]
    assert own["deal_assessment_budget_keur_changes_count"] == 0
    assert nobodys["deal_assessments_questions_count"] == 0
    assert np.isnan(nobodys["assessments_questions_count"])  # no customer: null and not zero


def test_phrases_name_the_question_as_it_was_worded(answered: FeatureFrame) -> None:
    infos = {info.name: info for info in answered.infos}
    assert infos["assessment_budget_keur_answer"].en.format(value="25") == "Budget (kEUR)?: 25"
    assert infos["assessment_need_changes_count"].zh.format(value=2.0) == "need：更改 2 次"
    assert {info.kind for info in infos.values() if info.name.endswith("_answer")} == {"text"}


def test_without_questions_in_the_config_only_the_totals_are_there(tmp_path: Path) -> None:
    tables = stored_world(tmp_path, customers=[{"customer_id": "C1", "created_at": "2024-01-01"}], assessments=ANSWERS)
    built = build(tables, "customers", [("C1", "2024-03-10", "C1")])
    assert built.columns == ["assessments_questions_count", "assessments_days_since_last"]
    assert built.skipped["customer_answers"] == "the config names no `questions`"
