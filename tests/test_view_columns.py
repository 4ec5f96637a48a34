"""Columns that views have beyond a table's own, row by row, with the reason beside each."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import make_tables
from stored import stored_world

from features.build import FeatureFrame, build_features
from features.engine import open_database
from features.errors import DataError
from features.group import Feature, FeatureDict, Group, Pooled, derived, feature_group, pooled_group
from features.tables import CrmTables
from features.view import as_of_view

CUSTOMERS = [{"customer_id": "C1", "created_at": "2024-01-01"}]
DEALS = "deal_id  created_at  customer_id  closed_at  outcome\nD1  2024-01-01  C1  -  -"


def seen(tables: CrmTables, name: str, by: str, at: str, *columns: str, history: bool = False) -> list[tuple[Any, ...]]:
    """Rows of D1 or C1 in the view at a moment, sorted; missing values are `-`, times their day of the month."""
    spine = pd.DataFrame({"row": [0], "as_of": [pd.Timestamp(at)], "deal_id": ["D1"], "customer_id": ["C1"]})
    with open_database(tables) as database:
        whose = database.add("asked", spine)
        view = as_of_view(database, whose, name, by, history=history, wanted=columns)
        rows = database.frame(view.select(*columns))
    return sorted((tuple(map(_plain, row)) for row in rows.itertuples(index=False)), key=str)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime) and not pd.isna(value):
        return value.day
    return "-" if pd.isna(value) else value


def build(tables: CrmTables, *groups: Group, at: str = "2024-06-01", entity: str = "C1") -> FeatureFrame:
    spine = pd.DataFrame({"entity_id": [entity], "as_of": [pd.Timestamp(at)], "customer_id": ["C1"]})
    return build_features(tables, spine, groups, "deals" if entity == "D1" else "customers")


def test_the_stage_before_is_that_of_the_changes_known_then_and_of_two_at_once_the_lower_comes_first(tmp_path: Path):
    tables = stored_world(tmp_path, stages=["new", "demo", "offer"], deals=DEALS, stage_changes="""
        deal_id  occurred_at  known_at    stage
        D1       2024-03-01   2024-03-01  new
        D1       2024-03-02   2024-03-02  paused  # not in the order of stages: no rank
        D1       2024-03-03   2024-03-03  offer   # at once with the next, which is the lower: after it
        D1       2024-03-03   2024-03-03  demo
        D1       2024-03-01   2024-03-09  demo    # entered late: at once with `new`, and the higher
        D2       2024-03-02   2024-03-02  demo    # another deal
    """)  # fmt: skip
    columns = ("occurred_at", "stage_rank", "previous_stage_rank")
    early = [(1, 1.0, "-"), (2, "-", 1.0), (3, 2.0, "-"), (3, 3.0, 2.0)]
    assert seen(tables, "stage_changes", "deal_id", "2024-03-09", *columns) == early
    late = [(1, 1, "-"), (1, 2, 1), (2, "-", 2), (3, 2, "-"), (3, 3, 2)]
    assert seen(tables, "stage_changes", "deal_id", "2024-03-10", *columns) == late


def test_touches_before_are_the_newest_of_each_direction_and_inbound_comes_first_at_one_time(tmp_path: Path):
    tables = stored_world(tmp_path, customers=CUSTOMERS, activities="""
        activity_id  occurred_at  known_at    known_until  customer_id  direction
        A0           2024-02-28   2024-02-28  2024-03-04   C1           inbound   # taken back
        A1           2024-03-01   2024-03-01  -            C1           outbound
        A2           2024-03-02   2024-03-02  -            C1           outbound  # at once with A3
        A3           2024-03-02   2024-03-02  -            C1           inbound
        A4           2024-03-04   2024-03-04  -            C1           -         # of no direction, but sees both
        A5           2024-03-03   2024-03-08  -            C1           inbound   # entered late
        A6           2024-03-05   2024-03-05  -            C1           inbound
        A7           2024-03-06   2024-03-06  -            C1           outbound
        A8           2024-03-06   2024-03-12  -            C1           inbound   # entered late, and at once with A7
    """)  # fmt: skip
    columns = ("activity_id", "previous_inbound_at", "previous_outbound_at")
    assert seen(tables, "activities", "customer_id", "2024-03-04", *columns) == [
        ("A0", "-", "-"), ("A1", 28, "-"), ("A2", 2, 1), ("A3", 28, 1),
    ]  # fmt: skip
    assert seen(tables, "activities", "customer_id", "2024-03-08", *columns) == [
        ("A1", "-", "-"), ("A2", 2, 1), ("A3", "-", 1), ("A4", 2, 2), ("A6", 2, 2), ("A7", 5, 2),
    ]  # fmt: skip
    late = [("A1", "-", "-"), ("A2", 2, 1), ("A3", "-", 1), ("A4", 3, 2), ("A5", 2, 2), ("A6", 3, 2)]
    assert seen(tables, "activities", "customer_id", "2024-03-12", *columns) == [*late, ("A7", 5, 2)]
    assert seen(tables, "activities", "customer_id", "2024-03-13", *columns) == [*late, ("A7", 6, 2), ("A8", 5, 2)]


def test_a_contact_is_as_it_was_known_whenever_the_activity_was(tmp_path: Path):
    tables = stored_world(tmp_path, customers=CUSTOMERS, contacts="""
        contact_id  created_at  known_at    known_until  customer_id  seniority  is_decision_maker
        K1          2024-02-01  2024-02-01  2024-04-01   C1           staff      -
        K1          2024-02-01  2024-04-01  -            C1           director   -          # corrected on 1 April
        K2          2024-02-01  2024-03-10  -            C1           executive  -          # known on 10 March
        K3          2024-02-01  2024-02-01  2024-03-05   C1           staff      -          # deleted on 5 March
    """, activities="""
        activity_id  occurred_at  customer_id  contact_id
        A1           2024-03-01   C1           K1
        A2           2024-03-01   C1           K2
        A3           2024-03-01   C1           K3
        A4           2024-03-01   C1           -
    """)  # fmt: skip
    for at, expected in {
        "2024-03-05": ("staff", "-", "staff", "-"),  # the end of K3 is not known before that day
        "2024-03-10": ("staff", "-", "-", "-"),  # K2 becomes known at this moment
        "2024-03-11": ("staff", "executive", "-", "-"),
        "2024-04-01": ("staff", "executive", "-", "-"),  # K1 is corrected at this moment
        "2024-04-02": ("director", "executive", "-", "-"),
    }.items():
        rows = seen(tables, "activities", "customer_id", at, "activity_id", "contact_seniority")
        assert rows == [(f"A{n}", rank) for n, rank in enumerate(expected, 1)], at


def test_without_contacts_an_activity_has_none(tmp_path: Path):
    tables = stored_world(tmp_path, customers=CUSTOMERS, activities="""
        activity_id  occurred_at  customer_id  contact_id
        A1           2024-03-01   C1           K1
    """)  # fmt: skip

    @feature_group("activities")
    def met(activities: Any) -> FeatureDict:
        return {"met": Feature(activities.contact_is_decision_maker.sum(), 0, "count", "{value}", "{value}")}

    assert build(tables, met).skipped["met"] == "table 'activities' has no column 'contact_is_decision_maker'"


def test_of_the_answers_known_then_the_newest_counts_and_of_two_at_once_the_greater(tmp_path: Path):
    tables = stored_world(tmp_path, deals=DEALS, customers=CUSTOMERS, assessments="""
        occurred_at  known_at    entity    entity_id  question  answer
        2024-03-01   2024-03-01  deal      D1         need      low
        2024-03-04   2024-03-04  deal      D1         need      high    # at once with the next, which is the greater
        2024-03-04   2024-03-04  deal      D1         need      medium
        2024-03-02   2024-03-09  deal      D1         need      none    # entered late, and not the newest
        2024-03-03   2024-03-03  deal      D1         budget    low     # another question
        2024-03-05   2024-03-05  customer  C1         need      high    # of the customer
        2024-03-05   2024-03-05  customer  D1         need      odd     # of a customer that is called so
    """)  # fmt: skip
    columns = ("answer", "previous_answer", "is_latest")
    assert seen(tables, "assessments", "deal_id", "2024-03-09", *columns) == [
        ("high", "low", False), ("low", "-", False), ("low", "-", True), ("medium", "high", True),
    ]  # fmt: skip
    assert seen(tables, "assessments", "deal_id", "2024-03-10", *columns) == [
        ("high", "none", False), ("low", "-", False), ("low", "-", True), ("medium", "high", True),
        ("none", "low", False),
    ]  # fmt: skip
    assert seen(tables, "assessments", "customer_id", "2024-03-10", *columns) == [("high", "-", True)]


def test_a_history_holds_all_versions_known_then_with_the_value_before(tmp_path: Path):
    tables = stored_world(tmp_path, deals="""
        deal_id  created_at  known_at    known_until  customer_id  owner_id  amount  closed_at   outcome
        D1       2024-01-01  2024-01-01  2024-02-01   C1           X         10      2024-04-01  won
        D1       2024-01-01  2024-02-01  2024-02-01   C1           X         99      2024-04-01  won  # never held
        D1       2024-01-01  2024-02-01  2024-03-01   C1           Y         20      2024-04-01  won
        D1       2024-01-01  2024-03-10  -            C1           Y         -       2024-04-01  won  # back on 10 March
        D2       2024-01-01  2024-02-15  -            C1           X         70      -           -
    """)  # fmt: skip
    columns = ("amount", "previous_amount", "previous_owner_id", "previous_outcome", "outcome")
    first, second = (10, "-", "-", "-", "-"), (20, 10, "X", "-", "-")
    assert seen(tables, "deals", "deal_id", "2024-02-01", *columns, history=True) == [first]
    assert seen(tables, "deals", "deal_id", "2024-03-10", *columns, history=True) == [first, second]
    third = ("-", 20, "Y", "-", "-")
    assert seen(tables, "deals", "deal_id", "2024-04-01", *columns, history=True) == [third, first, second]
    closed = [("-", 20, "Y", "won", "won"), (10, "-", "-", "-", "won"), (20, 10, "X", "won", "won")]
    assert seen(tables, "deals", "deal_id", "2024-04-02", *columns, history=True) == closed
    others = seen(tables, "deals", "customer_id", "2024-03-05", "deal_id", "amount", "previous_amount", history=True)
    assert others == [("D1", 10, "-"), ("D1", 20, 10), ("D2", 70, "-")]  # each deal has its own past


def test_a_row_that_changed_hands_has_a_past_for_each_owner(tmp_path: Path):
    tables = stored_world(tmp_path, customers=CUSTOMERS, subscriptions="""
        subscription_id  occurred_at  known_at    known_until  customer_id  mrr
        S1               2024-01-01   2024-01-01  2024-02-01   C0           10
        S1               2024-01-01   2024-02-01  2024-03-01   C1           20   # which C1 has not seen grow
        S1               2024-01-01   2024-03-01  -            C1           30
    """)  # fmt: skip
    rows = seen(tables, "subscriptions", "customer_id", "2024-06-01", "mrr", "previous_mrr", history=True)
    assert rows == [(20, "-"), (30, 20)]


@feature_group("assessments", by="customer_id", each="questions")
def per_question(assessments: Any, question: str) -> FeatureDict:
    """Answers to each question of the config."""
    asked = (assessments.question == question).sum()
    return {f"answers_{question}": Feature(asked, 0, "count", "{value}", "{value}")}


@feature_group("customers", each="extra_columns")
def per_column(customers: Any, column: str) -> FeatureDict:
    """Whether each column of the deployment's own is filled."""
    return {f"has_{column}": Feature(customers[column].count(), 0, "count", "{value}", "{value}")}


def test_a_group_is_repeated_for_each_question_and_each_column_that_says_something_before_the_outcome(tmp_path: Path):
    world = {
        "customers": [
            {"customer_id": "C1", "created_at": "2024-01-01", "tier": "gold", "partner_id": "P9", "secret": "s",
             "region": "north", "review": "bad", "reviewed_at": "2024-02-01"}
        ],
        "assessments": "occurred_at  entity  entity_id  question  answer\n2024-03-01  customer  C1  need  low",
    }  # fmt: skip
    tables = make_tables(
        tmp_path,
        {"customers": {"sensitive": ["secret"], "revealed": {"review": "reviewed_at"}}},
        config={"questions": ["need", "budget"]},
        **world,
    )
    built = build(tables, per_question, per_column)
    assert built.frame[built.columns].iloc[0].to_dict() == {"answers_need": 1, "answers_budget": 0, "has_tier": 1}
    unasked = make_tables(tmp_path / "unasked", customers=CUSTOMERS, assessments=world["assessments"])
    skipped = build(unasked, per_question, per_column).skipped
    assert skipped["per_question"] == "the config names no `questions`"
    assert skipped["per_column"] == "there are no extra columns"


def test_the_local_time_of_a_snapshot_follows_the_clocks_of_the_zone(tmp_path: Path):
    @derived(needs=())
    def local(features: Any) -> FeatureDict:
        at = features.as_of_local
        value = (at.day() * 100 + at.hour()).cast("float64")
        return {"local": Feature(value, None, "rank", "{value}", "{value}")}

    tables = make_tables(tmp_path, config={"time_zone": "Europe/Berlin"}, customers=CUSTOMERS)
    hours = {
        "2024-02-28 23:30": 2900,  # half past midnight of the leap day
        "2024-03-31 00:59": 3101,
        "2024-03-31 01:00": 3103,  # from two to three in an instant
        "2024-10-27 00:30": 2702,  # half past two, summer time
        "2024-10-27 01:30": 2702,  # half past two again, winter time
    }
    assert {at: build(tables, local, at=at).frame["local"].iloc[0] for at in hours} == hours


def test_a_table_without_keys_has_no_history(tmp_path: Path):
    @feature_group("stage_changes", by="deal_id", history=True)
    def steps(stage_changes: Any) -> FeatureDict:
        return {"steps": Feature(stage_changes.row.count(), 0, "count", "{value}", "{value}")}

    tables = stored_world(tmp_path, deals=DEALS, stage_changes="deal_id  occurred_at  stage\nD1  2024-01-01  new")
    with pytest.raises(
        DataError, match="'steps' asks for the history of table 'stage_changes', whose rows have no key"
    ):
        build(tables, steps, entity="D1")


def test_values_before_are_there_in_histories_only(tmp_path: Path):
    @feature_group("deals", by="deal_id")
    def growth(deals: Any) -> FeatureDict:
        return {"growth": Feature((deals.amount - deals.previous_amount).sum(), 0, "currency", "{value}", "{value}")}

    tables = stored_world(tmp_path, deals=DEALS)
    with pytest.raises(DataError, match=r"'growth': .*'previous_amount'.* Use a column that table 'deals' has"):
        build(tables, growth, entity="D1")


def test_a_history_of_what_is_not_there_is_refused_and_of_what_may_not_be_seen_too(tmp_path: Path):
    tables = stored_world(tmp_path, deals=DEALS)
    for column, why in {
        "previous_budget": "Use a column that table",
        "known_until": "what became of the row later",
    }.items():

        @feature_group("deals", by="deal_id", history=True)
        def careless(deals: Any, column: str = column) -> FeatureDict:
            return {"x": Feature(deals[column].count(), 0, "count", "{value}", "{value}")}

        with pytest.raises(DataError, match=f"'careless'.*'{column}'.*{why}"):
            build(tables, careless, entity="D1")


def test_rows_shared_by_what_tells_their_end_are_refused(tmp_path: Path):
    @pooled_group("deals", by="merged_into", at="closed_at", via="customers")
    def survivors(deals: Any) -> dict[str, Pooled]:
        return {"survivors": Pooled(deals.outcome == "won", 20, "survivors_count", "{value}", "{value}")}

    tables = stored_world(tmp_path, customers=CUSTOMERS, deals=DEALS)
    with pytest.raises(
        DataError, match="'survivors' reads column 'merged_into' of table 'customers', which no feature"
    ):
        build(tables, survivors, entity="D1")
