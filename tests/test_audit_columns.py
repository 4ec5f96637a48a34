"""The leak audit: a column is judged by when it was filled, never by how strong it is."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from conftest import extract_world, make_config, make_tables
from eval_audit import PLANTED, audit_seed

from features.tables import load_tables
from pipeline.audit_columns import ColumnVerdict, check_columns

END = datetime(2024, 7, 1)
DAY = timedelta(days=1)
LAGS = (10, 40, 80, 120, 160)
"""Days that deals take, in turn: of the young ones, those that take long are open."""


def _deal(i: int) -> dict[str, Any]:
    """Two deals a day since January; what is known when they are made, and what only their end says."""
    created = datetime(2024, 1, 1) + (i // 2) * DAY
    lag = LAGS[i % 5] * DAY
    is_referral = i % 4 == 1
    is_closed = created + lag < END and not (is_referral and i % 40 == 1)  # 90 % of referrals end some day
    outcome = ("won" if is_referral or i % 3 == 0 else "lost") if is_closed else None
    touched = min(created + lag - 5 * DAY, END - 2 * DAY)
    return {
        "deal_id": f"D{i}",
        "created_at": created,
        "closed_at": created + lag if is_closed else None,
        "outcome": outcome,
        # leaks
        "loss_note": "price" if outcome == "lost" else None,  # filled after the outcome
        "status": {"won": "done", "lost": "dead", None: "running"}[outcome],  # overwritten at the outcome
        "next_step": None if is_closed else "call",  # emptied at the outcome
        "touched_at": touched,  # goes on until the end, and never beyond the extract
        "closing_on": (created + lag).date() if is_closed else (created + 90 * DAY).date(),  # overwritten
        "calls": i % 7,  # counts the activities below
        # known at creation
        "region": ("north", "south", "west")[i % 3],
        "referrer": "referral" if is_referral else "other",  # nearly all end, and are won
        "difficulty": LAGS[i % 5],  # tells exactly when a deal will end
        "line": "neo" if i >= 345 else "classic",  # sold for a week: open deals only
        "retired": "retro" if i < 120 and i % 5 == 0 else "kept",  # sold until March, ended within days: closed only
        "oddity": "odd" if is_closed and i % 60 == 0 else "even",  # a handful, all of them closed
        "called_at": created + timedelta(hours=20),
        "planned_on": (created + 60 * DAY).date(),  # beyond the end of the data where the deal is young
        "priority": i % 3,
        "first_calls": i % 7 if i % 9 == 0 else 0,  # seldom equals the number of activities
    }


DEALS = [_deal(i) for i in range(360)]
ACTIVITIES = [
    {"activity_id": f"A{i}-{n}", "occurred_at": _deal(i)["created_at"] + (n + 1) * DAY, "deal_id": f"D{i}"}
    for i in range(354)
    for n in range(i % 7)
]
LEAKS = {"loss_note", "status", "next_step", "touched_at", "closing_on", "calls"}
CLEAN = {"region", "referrer", "difficulty", "line", "retired", "oddity", "called_at", "planned_on", "priority"}


def _by_column(verdicts: list[ColumnVerdict]) -> dict[str, ColumnVerdict]:
    return {one.column: one for one in verdicts}


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ColumnVerdict]:
    """All columns declared static."""
    state = tmp_path_factory.mktemp("static")
    tables = make_tables(state, deals=DEALS, activities=ACTIVITIES)
    columns = [c for c in DEALS[0] if c not in ("deal_id", "created_at", "closed_at", "outcome")]
    return _by_column(check_columns(make_config(state, {"deals": {"static": columns}, "activities": {}}), tables))


@pytest.fixture(scope="module")
def undeclared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ColumnVerdict]:
    """Nothing declared."""
    state = tmp_path_factory.mktemp("undeclared")
    tables = make_tables(state, {"deals": {"static": []}}, deals=DEALS, activities=ACTIVITIES)
    return _by_column(check_columns(make_config(state, {"deals": {}, "activities": {}}), tables))


def test_what_comes_only_with_the_outcome_is_a_leak(static):
    assert {column for column, one in static.items() if one.verdict == "leak"} == LEAKS


def test_what_was_known_at_creation_is_used_however_strong_it_is(static):
    assert {static[column].verdict for column in CLEAN | {"first_calls"}} == {"use"}
    assert {static[column].question for column in CLEAN} == {""}


def test_the_evidence_has_the_figures(static):
    lost = sum(deal["outcome"] == "lost" for deal in DEALS)
    closed = sum(deal["outcome"] is not None for deal in DEALS)
    assert static["loss_note"].evidence.startswith(
        f"loss_note is filled in {lost} of {closed} closed deals and in 0 of {360 - closed} open ones, where "
    )
    assert static["loss_note"].figures["filled_open"] == 0
    assert static["next_step"].evidence.startswith(f"next_step is empty in {closed} of {closed} closed deals")
    assert "equals the number of activities up to the extract in 100% of" in static["calls"].evidence
    assert "and after the end of the data in 0" in static["touched_at"].evidence
    assert static["closing_on"].evidence.startswith("closing_on is the day of the outcome in 100% of")
    assert static["region"].evidence == (
        "region is declared known since creation, and nothing contradicts it: in 360 deals no value of it comes only "
        "with an outcome."
    )


def test_a_level_of_few_is_suspicious_at_most(tmp_path):
    """Ann has one closed deal in twelve and no open one: they went to others, or she is quick; somebody should say."""
    rows = [{**_deal(i // 8), "deal_id": f"D{i}"} for i in range(2880)]
    rows = [{column: row[column] for column in ("deal_id", "created_at", "closed_at", "outcome")} for row in rows]
    for i, row in enumerate(rows):
        row["seller"] = "Ann" if row["outcome"] and i % 12 == 3 else "Bob"
    tables = make_tables(tmp_path, deals=rows)
    found = _by_column(check_columns(make_config(tmp_path, {"deals": {"static": ["seller"]}}), tables))["seller"]
    assert found.verdict == "suspicious"
    assert found.question == "When does seller become 'Ann': at the outcome, or is it changed later?"


def test_an_undeclared_column_is_undated_unless_it_is_a_leak(undeclared):
    assert {column for column, one in undeclared.items() if one.verdict == "leak"} == LEAKS
    assert {undeclared[column].verdict for column in CLEAN} == {"undated"}
    assert {undeclared[column].declared for column in CLEAN | LEAKS} == {"not declared"}
    assert undeclared["region"].question.startswith("When is region filled? Declare it static if that is at creation")


def test_nobody_is_suspicious_by_strength_alone(static):
    assert static["difficulty"].suspicion < static["status"].suspicion == 1.0
    assert all(one.suspicion <= 0.6 for one in static.values() if one.verdict == "use")


def test_a_revealed_column_is_used_for_it_is_masked(tmp_path):
    columns = {"loss_note": "closed_at", "status": "closed_at"}
    tables = make_tables(tmp_path, {"deals": {"revealed": columns}}, deals=DEALS)
    found = _by_column(check_columns(make_config(tmp_path, {"deals": {"revealed": columns}}), tables))
    assert (found["loss_note"].verdict, found["loss_note"].declared) == ("use", "revealed")
    assert found["loss_note"].evidence.endswith("open ones; features see it only after closed_at.")


def test_a_tracked_column_is_used_for_each_value_has_its_time(tmp_path):
    deals = """
        deal_id  created_at  closed_at   outcome  amount
        D1       2024-01-01  2024-03-01  won      90       # set at the outcome
        D2       2024-01-01  2024-03-01  lost     50       # set before it
        D3       2024-01-01  -           -        70       # set, and still open
    """
    changes = """
        occurred_at  table_name  entity_id  field   old_value  new_value
        2024-03-01   deals       D1         amount  -          90
        2024-02-01   deals       D2         amount  40         50
        2024-02-01   deals       D3         amount  60         70
    """
    mappings = {"deals": {"tracked": ["amount"]}}
    tables = make_tables(tmp_path, mappings, deals=deals, attribute_changes=changes)
    found = _by_column(check_columns(make_config(tmp_path, {**mappings, "attribute_changes": {}}), tables))["amount"]
    assert (found.verdict, found.declared, found.in_use) == ("use", "tracked", False)
    assert found.evidence == (
        "amount changed 3 times, 50% of those in closed deals with or after the outcome and 1 of 1 first fills after "
        "it; features see each value only from the moment at which it was known."
    )


def _check_customers(tmp_path, days_between: float) -> dict[str, ColumnVerdict]:
    """Everybody buys monthly from the first day; every third stops after one to twelve months."""
    customers, orders = [], []
    for i in range(360):
        created = datetime(2023, 1, 1) + int(i * days_between) * DAY
        months = (i // 3) % 12 + 1 if i % 3 == 0 else 99
        bought = [created + (30 * n + 1) * DAY for n in range(months) if created + (30 * n + 1) * DAY < END]
        has_left = bought[-1] < END - 90 * DAY
        customers.append({
            "customer_id": f"C{i}", "created_at": created, "survey": "bye" if has_left else None,
            "segment": ("a", "b", "c", "d")[i % 4], "bill": 10.0 * len(bought),
        })  # fmt: skip
        orders += [
            {"order_id": f"O{i}-{n}", "occurred_at": at, "customer_id": f"C{i}", "amount": 10}
            for n, at in enumerate(bought)
        ]
    tables = make_tables(tmp_path, customers=customers, orders=orders)
    config = make_config(tmp_path, {"customers": {"static": ["survey", "segment", "bill"]}, "orders": {}})
    return _by_column(check_columns(config, tables))


def test_customers_are_compared_by_whether_they_still_buy(tmp_path):
    found = _check_customers(tmp_path, 1.5)
    verdicts = {column: one.verdict for column, one in found.items()}
    assert verdicts == {"survey": "leak", "segment": "use", "bill": "leak"}
    assert "lapsed customers and in 0 of" in found["survey"].evidence
    assert "equals the sum of amount" in found["bill"].evidence


def test_where_no_customer_is_young_a_level_of_lapsed_ones_is_only_suspicious(tmp_path):
    """All were there within a month: customers who were bound to leave would look the same by now."""
    found = _check_customers(tmp_path, 0.1)
    assert (found["survey"].verdict, found["segment"].verdict) == ("suspicious", "use")


CHANGED = {"deals": {"static": ["stage_note", "source", "phone", "region"]}}


def _extract_day(state, day: int) -> ColumnVerdict | None:
    """Forty deals of 400 close on the second day, twenty more on the third; then nothing happens."""
    end = datetime(2024, 7, day)
    rows = []
    for i in range(400):
        closed = datetime(2024, 7, 1, 12) if i < 40 else datetime(2024, 7, 2, 12) if i < 60 else END + 90 * DAY
        is_closed = closed < end
        rows.append({
            "deal_id": f"D{i}", "created_at": datetime(2024, 5, 1), "closed_at": closed if is_closed else None,
            "outcome": "won" if is_closed else None,
            "stage_note": "done" if is_closed else "open",  # changes with the outcome, and never else
            "source": "fair" if day > 1 and i in (5, 300, 301) else "web",  # three corrections
            "phone": f"1-{i}-{day if i % 5 == 0 else 1}",  # a fifth changes every day
            "region": "north",
            "score": 100 if is_closed else i % 9,  # not declared, and changes with the outcome
        })  # fmt: skip
    extract_world(state, {"deals": {**CHANGED["deals"]}}, data_end=end.isoformat(), deals=rows)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Four successive extracts, the last one at the moment of the third: it adds nothing."""
    state = tmp_path_factory.mktemp("followed")
    for day in (1, 2, 3, 3):
        _extract_day(state, day)
    tables = load_tables(state / "world" / "tables")
    return _by_column(check_columns(make_config(state, CHANGED), tables))


def test_a_static_column_that_changes_with_the_outcome_is_a_leak(followed):
    one = followed["stage_note"]
    assert one.verdict == "leak"
    assert one.evidence == (
        "stage_note changed between extracts in 100% of 60 deals whose outcome became known in that time, and in 0.0% "
        "of all others."
    )
    assert (one.figures["rows_between_extracts"], one.figures["changed_between_extracts"]) == (800, 60)


def test_a_column_that_nobody_declared_is_followed_too(followed):
    assert (followed["score"].verdict, followed["score"].declared) == ("leak", "not declared")
    assert followed["score"].figures["settled_changed"] == 60


def test_a_static_column_that_changes_all_the_time_is_suspicious(followed):
    assert followed["phone"].verdict == "suspicious"
    assert followed["phone"].evidence.startswith("phone changed 160 times between extracts of 400 deals")


def test_a_few_corrections_are_no_leak(followed):
    assert followed["source"].verdict == "use"
    assert followed["source"].evidence == "source was the same in 797 of 800 rows that two successive extracts had."
    assert followed["region"].evidence == "region was the same in 800 of 800 rows that two successive extracts had."


def test_another_select_begins_to_count_anew(tmp_path):
    """Phones are written in another way from the second day on: that is the doing of a person."""
    state = tmp_path
    for day, select in ((1, "one"), (2, "another"), (3, "another")):
        rows = [
            {"deal_id": f"D{i}", "created_at": datetime(2024, 5, 1), "phone": f"{select}-{i}",
             "closed_at": None, "outcome": None} for i in range(100)
        ]  # fmt: skip
        mapping = {"deals": {"static": ["phone"], "select": select}}
        extract_world(state, mapping, data_end=datetime(2024, 7, day).isoformat(), deals=rows)
    tables = load_tables(state / "world" / "tables")
    found = _by_column(check_columns(make_config(state, mapping), tables))
    assert found["phone"].evidence == "phone was the same in 100 of 100 rows that two successive extracts had."


@pytest.mark.parametrize(("seed", "declared"), [(4, "static"), (9, "not declared")])
def test_all_planted_leaks_of_a_simulated_crm_are_found_and_nothing_else(tmp_path, seed, declared):
    (tally,) = audit_seed(seed, 800, tmp_path, [declared])
    assert dict.fromkeys(PLANTED, "leak") == tally.planted
    assert tally.flagged == ()
