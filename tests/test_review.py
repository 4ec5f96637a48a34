"""The review of past scores: which of them count, what came of them, and what is written down."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import make_config, make_tables
from review_cards import card_of, criterion
from small_crm import World

from features.errors import DataError
from features.targets import Target
from models.card_review import wanted
from models.scorecard import load_scorecard
from pipeline.card_text import _flow
from pipeline.commands.review import show_review
from pipeline.config import Config
from pipeline.forget_files import forget_in_review
from pipeline.ledger import Ledger, open_ledger
from pipeline.ledger_review import FirstScores
from pipeline.review import review
from pipeline.review_figures import by_grade, by_slice, disagreements, model_against_card
from pipeline.review_rows import settle
from pipeline.score_columns import SCORE_COLUMNS

CHURN = Target("churn", "churn", 30, settle_days=0)
CONVERSION = Target("conversion", "conversion", 30, settle_days=0)
WORLD = {
    "customers": """
        customer_id  created_at  region
        C1           2024-01-01  north
        C2           2024-01-01  south
        C3           2024-01-01  south
        C4           2024-01-01  north
    """,
    "orders": """
        order_id  occurred_at  customer_id  amount  quantity
        O1        2024-04-01   C1           10      1
        O2        2024-04-01   C2           10      1
        O3        2024-04-01   C3           10      1
        O4        2024-05-20   C1           40      1
        O5        2024-05-30   C1           2       1
        O6        2024-06-30   C3           7       1
    """,
    "deals": """
        deal_id  created_at  customer_id  closed_at   closed_at_known_at  outcome
        D1       2024-04-01  C1           2024-05-20  2024-05-20          won
        D2       2024-04-01  C2           -           -                   -
        D3       2024-04-01  C3           2024-04-20  2024-05-10          lost
    """,
}
PAST = """
    run  entity_id  as_of       grade
    1    C1         2024-05-01  priority   # ordered on 05-20: stayed, label 0
    2    C1         2024-05-15  priority   # within 30 days of the first: does not count
    3    C1         2024-05-31  hold       # 30 days later; until 06-30 no order: label 1
    1    C2         2024-05-01  hold       # no order: label 1
    3    C2         2024-05-31  hold       # label 1
    3    C3         2024-05-31  hold       # ordered on 06-30, a day after its 30 days: label 1
    4    C4         2024-06-02  nurture    # its 30 days end on 07-02, after the data: not ripe
"""
DEALS = """
    run  entity_id  as_of       grade
    1    D1         2024-05-01  priority   # won on 05-20: label 1
    1    D2         2024-05-01  hold       # open all the time: label 0
    1    D3         2024-05-01  hold       # had been lost on 04-20, which nobody knew: nobody can say
"""


def read_scores(text: str, target: str = "churn") -> pd.DataFrame:
    """Scores as the ledger has them; `run` is a number."""
    header, *lines = [line.split("#")[0].split() for line in text.strip().splitlines()]
    rows = pd.DataFrame(lines, columns=header)
    rows["as_of"] = pd.to_datetime(rows["as_of"]).astype("datetime64[us]")
    return rows.assign(run_id="r" + rows.pop("run"), target=target)


def fill(ledger: Ledger, scores: pd.DataFrame, state: str = "done") -> None:
    """Put scores into the ledger, run by run."""
    whole = pd.DataFrame({"horizon_days": 30} | scores.to_dict("series")).assign(reasons="[]", graded_by="points")
    for name in SCORE_COLUMNS:
        if name not in whole:
            whole[name] = None
    for run, rows in whole.groupby("run_id"):
        ledger.start_run(str(run), "score", {}, "")
        ledger.replace_scores(str(run), rows)
        ledger.finish_run(str(run), state)


def first_scores(text: str, horizon_days: int = 30, target: str = "churn") -> FirstScores:
    """What counts of scores that are in a ledger."""
    with open_ledger("sqlite://") as ledger:
        fill(ledger, read_scores(text, target).assign(horizon_days=horizon_days))
        return ledger.past.first_scores(target, horizon_days, datetime(2024, 5, 1))


def test_one_score_counts_per_entity_and_horizon():
    counted = first_scores(PAST)
    assert [(e, f"{t:%m-%d}") for e, t in counted.rows[["entity_id", "as_of"]].itertuples(index=False)] == [
        ("C1", "05-01"), ("C1", "05-31"), ("C2", "05-01"), ("C2", "05-31"), ("C3", "05-31"), ("C4", "06-02"),
    ]  # fmt: skip
    assert counted.found == 7
    assert len(first_scores(PAST, 31).rows) == 4  # a day more, and 05-31 is within the first horizon


def test_of_two_runs_as_of_one_moment_the_older_counts():
    twice = first_scores("""
        run  entity_id  as_of       grade
        1    C1         2024-05-01  hold
        2    C1         2024-05-01  priority
        0    C1         2024-04-30  priority    # before the review begins
    """)
    # runs are filled in the order of their names: 0, 1, 2
    assert (twice.rows["run_id"].tolist(), twice.found) == (["r1"], 2)


def test_a_score_settles_with_the_label_at_its_own_time(tmp_path: Path):
    tables = make_tables(tmp_path, data_end="2024-07-01", **WORLD)
    found = settle(tables, CHURN, first_scores(PAST))
    told = {(e, f"{t:%m-%d}"): label for e, t, label in found.rows[["entity_id", "as_of", "label"]].to_numpy()}
    assert told == {
        ("C1", "05-01"): 0, ("C1", "05-31"): 1, ("C2", "05-01"): 1, ("C2", "05-31"): 1, ("C3", "05-31"): 1
    }  # fmt: skip
    assert (found.scores, found.counted, found.unripe, found.lost) == (7, 6, 1, 0)
    assert found.next_ripe_at == datetime(2024, 7, 2)
    assert found.rows["revenue"].tolist() == [42, 0, 0, 0, 0]  # O4 and O5 of C1; O6 comes after the horizon
    assert found.rows["slice_customer_region"].tolist() == ["north", "north", "south", "south", "south"]
    assert found.rows["customer"].tolist() == ["C1", "C1", "C2", "C2", "C3"]


def test_a_deal_that_had_closed_before_its_score_is_nobodys_success(tmp_path: Path):
    tables = make_tables(tmp_path, data_end="2024-07-01", **WORLD)
    found = settle(tables, CONVERSION, first_scores(DEALS, target="conversion"))
    assert dict(zip(found.rows["entity_id"], found.rows["label"], strict=True)) == {"D1": 1, "D2": 0}
    assert (found.counted, found.unripe, found.lost) == (3, 0, 1)
    assert found.rows["customer"].tolist() == ["C1", "C2"]
    assert found.rows["revenue"].tolist() == [42, 0]  # what the customer ordered within 30 days


def graded(**columns: Any) -> pd.DataFrame:
    """Settled rows, each of a customer of its own."""
    frame = pd.DataFrame(columns)
    customer = [f"C{at}" for at in range(len(frame))]
    return pd.DataFrame({"revenue": np.nan, "entity_id": customer, "customer": customer} | dict(frame.items()))


def test_grades_are_told_with_wilsons_interval_and_revenue():
    rows = graded(grade=["a"] * 10 + ["b"] * 2, label=[1.0] * 8 + [0.0] * 4, revenue=[10.0] * 10 + [np.nan] * 2)
    best, lower, empty = by_grade(rows, ["a", "b", "c"], "conversion")
    assert (best["rows"], best["events"], best["rate"]) == (10, 8, 0.8)
    assert (round(best["low"], 4), round(best["high"], 4)) == (0.4902, 0.9433)
    assert (best["revenue"], best["revenue_low"], best["revenue_high"]) == (10, 10, 10)
    assert (lower["rate"], "revenue" in lower) == (0.0, False)
    assert (empty["rows"], empty["rate"]) == (0, None)


@pytest.mark.parametrize(
    ("won", "verdict"),
    [((30, 10), "holds"), ((10, 30), "reversed"), ((20, 18), "not shown"), ((1, 1), "too few rows")],
)
def test_every_team_is_asked_whether_its_best_grade_still_does_better(won: tuple[int, int], verdict: str):
    rows = 40 if verdict != "too few rows" else 5
    label = [float(at < count) for count in won for at in range(rows)]
    frame = graded(grade=["a"] * rows + ["b"] * rows, label=label, team="north")
    (found,) = by_slice(frame, ["a", "b"], "conversion", "team", "team")
    assert (found["level"], found["verdict"]) == ("north", verdict)
    turned = by_slice(frame, ["b", "a"], "churn", "team", "team")[0]["verdict"]  # few leave where many were won
    assert turned == verdict


def test_model_and_card_are_compared_on_customers_that_nothing_was_fitted_on():
    generator = np.random.default_rng(4)
    one, other = generator.normal(size=(2, 600))
    label = (generator.random(600) < 1 / (1 + np.exp(-one - other))).astype(float)
    rows = graded(label=label, log_odds=one, probability=1 / (1 + np.exp(-one)), points=50 + 10 * other)
    found = model_against_card(rows, "conversion", 0)
    assert found is not None
    assert found["both"]["auc"] > max(found["model"]["auc"], found["card"]["auc"])
    assert all(one["high"] < 0 for one in found["both_minus"].values())
    assert model_against_card(rows.assign(points=np.nan), "conversion", 0) is None
    assert model_against_card(rows, "value", 0) is None


def test_those_on_whom_model_and_card_disagree_are_shown_with_their_outcome():
    rows = graded(
        grade=["a", "a", "b", "b"] * 5, label=[0.0, 1.0, 1.0, 0.0] * 5, points=[90.0, 80, 20, 10] * 5,
        probability=[0.1, 0.5, 0.9, 0.4] * 5, as_of=pd.Timestamp("2024-05-01"),
    )  # fmt: skip
    found = disagreements(rows, ["a", "b"], "conversion")
    assert found is not None
    low, high = found["likely_but_low"], found["unlikely_but_high"]
    assert (low["rows"], low["good"], high["rows"], high["good"]) == (5, 5, 5, 0)  # the model was right each time
    assert low["shown"][0] == {
        "entity_id": "C2", "as_of": "2024-05-01T00:00:00", "probability": 0.9, "points": 20, "grade": "b", "good": True
    }  # fmt: skip


@pytest.fixture
def deployment(tmp_path: Path) -> Config:
    """160 customers: those of more than 5 earlier orders mostly order again; all were scored on 2024-05-01."""
    card = card_of(criterion("orders_count", 5.5, direction=1), criterion("customers_age_days", 100.0))
    (tmp_path / "card.yaml").write_text(card.model_dump_json(by_alias=True, exclude_unset=True), encoding="utf-8")
    customers = [
        {"customer_id": f"C{at:03}", "created_at": datetime(2024, 1, 1 + at % 28), "region": "north"}
        for at in range(160)
    ]
    orders = [
        {"customer_id": f"C{at:03}", "occurred_at": datetime(2024, 3, 1 + number), "amount": 10, "quantity": 1}
        for at in range(160)
        for number in range(1 + at % 10)
    ]
    orders += [
        {"customer_id": f"C{at:03}", "occurred_at": datetime(2024, 5, 10), "amount": 100, "quantity": 1}
        for at in range(160)
        if (at * 7) % 10 < (8 if at % 10 >= 5 else 2) or at % 11 == 0
    ]
    rows = [{"order_id": f"O{at}", **row} for at, row in enumerate(orders)]
    target = {"kind": "churn", "by": "orders", "horizons_days": [30], "settle_days": 0, "spine": {"grid": "month"}}
    keys: dict[str, Any] = {"targets": {"churn": target | {"scorecard": str(tmp_path / "card.yaml")}}}
    make_tables(tmp_path, data_end="2024-07-01", customers=customers, orders=rows)
    config = make_config(tmp_path, {"customers": {"static": ["region"]}, "orders": {}}, **keys)
    folder = config.folder / "runs" / "r1"
    folder.mkdir(parents=True)
    names = [row["customer_id"] for row in customers]
    counts = [float(1 + at % 10) for at in range(160)]
    features = pd.DataFrame({"entity_id": names, "orders_count": counts, "customers_age_days": 100.0})
    features.to_parquet(folder / "features_churn.parquet", index=False)
    scored = card.score(features)
    with open_ledger(config.folder / "ledger.db") as ledger:
        scores = pd.DataFrame({"run_id": "r1", "target": "churn", "entity_id": names, "as_of": datetime(2024, 5, 1)})
        fill(ledger, scores.assign(points=scored["points"], grade=scored["grade"], probability=0.5, log_odds=0.0))
    return config


def test_a_review_is_written_down_with_the_proposed_card_beside_it(deployment: Config):
    with open_ledger(deployment.folder / "ledger.db") as ledger:
        found = review(deployment, ledger, date(2024, 4, 1))
    assert (
        json.loads((deployment.folder / "review" / "latest.json").read_text(encoding="utf-8"))["since"] == "2024-04-01"
    )
    told = found["targets"]["churn"]
    assert (told["scores"], told["settled"], told["unripe"]) == (160, 160, 0)
    criteria = {one["id"]: one["verdict"] for one in told["card"]["criteria"]}
    assert criteria == {"orders_count": "matters", "customers_age_days": "too few rows"}  # everybody is as old
    priority, nurture = (one["rate"] for one in told["grades"][:2])
    assert priority < nurture  # who has a good grade leaves less often
    proposed = load_scorecard(deployment.folder / "proposals" / "tried-2.yaml")
    assert proposed.version == told["card"]["proposal"]["version"] == "2"
    assert "By 160 settled scores of 160 customers since 2024-04-01 (target 'churn')" in (
        deployment.folder / "proposals" / "tried-2.yaml"
    ).read_text(encoding="utf-8")


def test_people_read_grades_criteria_and_where_the_proposed_card_is(
    deployment: Config, capsys: pytest.CaptureFixture[str]
):
    with open_ledger(deployment.folder / "ledger.db") as ledger:
        found = review(deployment, ledger, date(2024, 4, 1))
    show_review(found)
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "churn: 160 scores since 2024-04-01, of which 160 count (one per entity and 30 days); 160 have settled" in told
    )
    assert "priority does better than nurture beyond noise in" in told
    assert "orders_count matters" in told
    assert f"proposed version 2: {deployment.folder / 'proposals' / 'tried-2.yaml'}" in told


def test_the_same_extract_and_ledger_give_the_same_review(deployment: Config):
    texts = []
    for _ in range(2):
        with open_ledger(deployment.folder / "ledger.db") as ledger:
            review(deployment, ledger, date(2024, 4, 1))
        texts.append((deployment.folder / "review" / "latest.json").read_bytes())
    assert texts[0] == texts[1]


def test_overrides_helped_where_they_came_nearer_to_what_happened(deployment: Config):
    with open_ledger(deployment.folder / "ledger.db") as ledger:
        before = review(deployment, ledger, date(2024, 4, 1))["targets"]["churn"]
        # C005 has 6 orders and came back, C002 has 3 and did not: grades by points are priority and nurture
        for entity, grade in (("C005", "hold"), ("C002", "hold"), ("C001", "priority")):
            ledger.overrides.add("churn", entity, grade, "we know them", "ann", None)
        found = review(deployment, ledger, date(2024, 4, 1))["targets"]["churn"]["overrides"]
    assert (found["made"], found["settled"]) == (3, 3)
    told = {one["entity_id"]: one for one in found["shown"]}
    came = {name: bool((int(name[1:]) * 7) % 10 < (8 if int(name[1:]) % 10 >= 5 else 2)) for name in told}
    assert {name: one["good"] for name, one in told.items()} == came
    for one in told.values():
        assert one["helped"] == (one["good"] == (one["to"] == "priority"))
    rates = {one["grade"]: 1 - one["rate"] for one in before["grades"] if one["rows"]}
    first = told["C001"]
    expected = (first["good"] - rates[first["from"]]) ** 2 - (first["good"] - rates["priority"]) ** 2
    assert first["by"] == pytest.approx(expected)


def test_runs_that_failed_and_features_that_are_gone_are_left_out_and_said(deployment: Config):
    (deployment.folder / "runs" / "r1" / "features_churn.parquet").unlink()
    with open_ledger(deployment.folder / "ledger.db") as ledger:
        fill(ledger, read_scores("run entity_id as_of grade\n8 C001 2024-04-15 hold"), state="failed")
        found = review(deployment, ledger, date(2024, 4, 1))["targets"]["churn"]
    assert found["scores"] == 160
    assert found["card"] is None
    assert found["notes"][0].startswith("The features of 160 settled scores of target 'churn' are gone from")


def test_a_review_of_nothing_says_when_there_will_be_something(deployment: Config):
    with open_ledger(deployment.folder / "ledger.db") as ledger:
        with pytest.raises(DataError, match="There are no scores of churn since 2024-06-01"):
            review(deployment, ledger, date(2024, 6, 1))
        fill(ledger, read_scores("run entity_id as_of grade\n9 C001 2024-06-15 hold"))
        sentence = "None of the 1 scores since 2024-06-01 has ripened: the data end on 2024-07-01. The first ripens on "
        with pytest.raises(DataError, match=f"{sentence}2024-07-15: extract again after that day"):
            review(deployment, ledger, date(2024, 6, 1))


def test_the_command_ends_with_3_and_a_sentence_where_nothing_has_ripened(finished: World):
    answer = finished.run("review", "--since", "2025-01-01")
    assert (answer.code, answer.out) == (3, "")
    assert "has ripened: the data end on 2025-06-30. The first ripens on 2025-" in answer.err


def test_a_card_is_proposed_from_history_alone(finished: World, tmp_path: Path):
    place = tmp_path / "card.yaml"
    found = finished.run("scorecard propose", "--target", "churn", "--out", str(place), "--json").document
    assert (found["target"], found["kind"], found["card"]) == ("churn", "churn", "starter_customer")
    assert load_scorecard(place).version == found["proposal"]["version"] == "2"
    assert {one["id"]: one["verdict"] for one in found["criteria"]}["frequency"] == "matters"
    answer = finished.run("scorecard propose")
    assert answer.code == 2
    assert "2 targets have a scorecard, expected one. Pass --target conversion or --target churn." in answer.err


def test_the_command_refuses_what_is_no_day(finished: World):
    answer = finished.run("review", "--since", "lately")
    assert answer.code == 2
    assert "'lately' is no day, expected such as 2024-07-01" in answer.err


def test_what_a_review_says_of_people_goes_when_anybody_is_forgotten(tmp_path: Path):
    (tmp_path / "review").mkdir()
    (tmp_path / "review" / "latest.json").write_text('{"entity_id": "C1"}', encoding="utf-8")
    forget_in_review(tmp_path)
    assert list((tmp_path / "review").iterdir()) == []


def test_texts_are_quoted_where_yaml_would_take_them_for_something_else():
    assert _flow({"in": ["no", "north", "a b", 1.0, 0.5]}) == '{in: ["no", north, "a b", 1, 0.5]}'


def test_staying_is_what_points_favour_where_the_target_is_leaving():
    assert wanted("churn", np.array([0.0])).tolist() == [1.0]
