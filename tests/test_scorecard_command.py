"""`leadsieve scorecard`: what a deployment can answer, grades at any moment, and why somebody has one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pytest
from conftest import extract_world, make_config
from small_crm import Answer, run_cli

from features.groups import assessments, deals, invoices, orders
from pipeline.config import Config

GROUPS = (
    orders.order_history,
    invoices.invoice_debts,
    assessments.customer_answers,
    assessments.deal_answers,
    deals.deal_profile,
)

CARD = """
id: small
version: "1"
entity: customer
groups:
  - {id: past, name: {en: Past, zh: 历史}, levels: [{id: any, at_least: 0, name: {en: any, zh: 任意}}]}
criteria:
  - id: orders
    name: {en: Orders, zh: 订单}
    feature: orders_count
    group: past
    weight: 50
    bands: [{below: 2, points: 0}, {at_least: 2, points: 100}]
    missing: 0
  - id: need
    name: {en: Need, zh: 需求}
    answer: Need
    weight: 30
    bands: [{below: 3, points: 0}, {at_least: 3, points: 100}]
    missing: 50
    ask: {en: What do they need, zh: 需要什么}
  - id: open
    name: {en: Owed, zh: 未付}
    formula: coalesce(invoices_open_amount, 0) / orders_count
    weight: 15
    bands: [{below: 1, points: 100}, {at_least: 1, points: 0}]
    missing: 0
  - id: late
    name: {en: Late, zh: 逾期}
    formula: invoices_open_amount / orders_count
    weight: 5
    bands: [{below: 1, points: 100}, {at_least: 1, points: 0}]
    missing: 20
vetoes:
  - {id: lawsuit, name: {en: Lawsuit, zh: 诉讼}, answer: Lawsuits, when: {equals: "yes"}}
  - {id: deal, name: {en: Small deal, zh: 小单}, feature: deal_amount, when: {below: 1}}
flags:
  - {id: one, name: {en: One order, zh: 一单}, feature: orders_count, when: {below: 2}}
grades:
  - {id: good, at_least: 70, name: {en: good, zh: 好}}
  - {id: poor, at_least: 0, name: {en: poor, zh: 差}}
presets:
  startup: {kind: stage, name: {en: Startup, zh: 初创期}, criteria: {need: {missing: 0}}}
"""

ORDERS = """
    order_id  occurred_at  known_at    customer_id  amount
    O1        2024-01-10   2024-01-10  C1           10
    O2        2024-02-10   2024-02-10  C1           10
    O3        2024-02-10   2024-04-01  C2           10    # entered late
    O4        2024-03-10   2024-03-10  C2           10
    O5        2024-01-10   2024-01-10  C3           10
"""

ANSWERS = """
    occurred_at  known_at    entity    entity_id  question  answer
    2024-03-01   2024-03-01  customer  C1         Need      5
    2024-05-01   2024-05-01  customer  C1         Need      1
    2024-05-01   2024-05-01  customer  C3         Need      4
"""


@dataclass(frozen=True)
class Place:
    """A small deployment with a card, and the command line in it."""

    config: Config
    card: Path

    def run(self, *arguments: str) -> Answer:
        """Run `leadsieve scorecard ARGUMENTS`."""
        with (
            patch("pipeline.commands.scorecard.load_config", return_value=self.config),
            patch("pipeline.deployment.CATALOG", GROUPS),
        ):
            return run_cli("scorecard", *arguments, "--config", "any.yaml")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Three customers who ordered, extracted as of July; nobody changes it."""
    return make_place(tmp_path_factory.mktemp("scorecards"), is_extracted=True)


def make_place(folder: Path, *, is_extracted: bool, questions: tuple[str, ...] = ("Need",), **target: Any) -> Place:
    (folder / "card.yaml").write_text(CARD, encoding="utf-8")
    section = {"kind": "churn", "by": "orders", "horizons_days": [30], "spine": {"grid": "month"}}
    section |= {"scorecard": folder / "card.yaml", **target}
    keys = {"questions": questions, "targets": {"churn": section}}
    if is_extracted:
        clock = {"known_at": "known_at"}
        extract_world(
            folder,
            {"orders": clock, "assessments": clock},
            config=keys,
            customers=[{"customer_id": name, "created_at": "2024-01-01"} for name in ("C1", "C2", "C3")],
            orders=ORDERS,
            assessments=ANSWERS,
        )
    return Place(make_config(folder, {"customers": {}, "orders": {}, "assessments": {}}, **keys), folder / "card.yaml")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Another card file, to be changed."""
    path = tmp_path / "mine.yaml"
    path.write_text(CARD, encoding="utf-8")
    return path


def test_check_says_what_the_data_can_answer_and_why_not_the_rest(place: Place):
    (card,) = place.run("check", "--json").document["cards"]
    assert (card["card"], card["targets"], card["coverage"]) == ("small", ["churn"], 0.95)
    lacks = {one["id"]: one["lacks"] for one in (*card["criteria"], *card["vetoes"], *card["flags"])}
    assert lacks == {
        "orders": None,
        "need": None,
        "open": None,  # what is not known of the invoices counts as 0
        "late": "invoices_open_amount: table 'invoices' is not mapped",
        "lawsuit": "question 'Lawsuits' is not among the `questions` of the newest extract. Known ones: Need.",
        "deal": "deal_amount: it describes deals",
        "one": None,
    }
    assert [one["id"] for one in card["presets"]] == ["startup"]


def test_check_prints_it_for_people(place: Place):
    answer = place.run("check")
    assert (answer.code, answer.err) == (0, "")
    assert "card 'small', version 1, for customers, used for churn: no mistakes" in answer.out
    assert "no data: late (invoices_open_amount: table 'invoices' is not mapped)" in answer.out
    assert "coverage: 95% of the weight can have data here" in answer.out
    assert "grades: good 好 from 70, poor 差 from 0" in answer.out
    assert "presets: startup (stage: Startup 初创期)" in answer.out


def test_check_of_a_bad_card_ends_in_2_with_one_sentence(place: Place, written: Path):
    written.write_text(CARD.replace("orders_count\n    group", "orders_cuont\n    group"), encoding="utf-8")
    answer = place.run("check", str(written))
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"Error: {written}: unknown feature 'orders_cuont' in 'orders'. Did you mean 'orders_count'?\n"


def test_check_lays_presets_over_a_file(place: Place, written: Path):
    (card,) = place.run("check", str(written), "--preset", "startup", "--json").document["cards"]
    assert (card["version"], card["criteria"][1]["missing"]) == ("1+startup", 0)


def test_presets_can_be_tried_on_a_file_and_only_there(place: Place, written: Path):
    summary = place.run("score", "--card", str(written), "--preset", "startup", "--json").document
    assert (summary["version"], summary["criteria"]["need"]["mean"]) == ("1+startup", 10)
    explained = place.run("explain", "C2", "--card", str(written), "--preset", "startup", "--json").document
    assert explained["points"] == 66  # 50 + nothing for an unknown need + 15 + 1
    for command in (["check"], ["score"], ["explain", "C2"]):
        answer = place.run(*command, "--preset", "startup")
        assert answer.code == 2
        assert (
            "--preset startup goes with a card file, and cards of the config have their scorecard_presets" in answer.err
        )


def test_check_works_before_the_first_extract(tmp_path: Path):
    answer = make_place(tmp_path, is_extracted=False).run("check")
    assert answer.code == 0, answer.err
    assert "coverage: not known before the first `leadsieve extract`" in answer.out


def test_a_card_for_deals_is_no_card_for_customers(tmp_path: Path):
    place = make_place(tmp_path, is_extracted=False)
    place.card.write_text(CARD.replace("entity: customer", "entity: deal"), encoding="utf-8")
    answer = place.run("check")
    assert answer.code == 2
    assert "Target 'churn' looks at customers, and card 'small'" in answer.err
    assert "is for deals. Name a card for customers in targets.churn.scorecard." in answer.err


def test_score_counts_grades_at_the_end_of_the_data(place: Place):
    summary = place.run("score", "--json").document
    # C1: 50 orders + 0 need (the newest answer is 1) + 15; C2: 50 + 15 (no answer) + 15; C3: 0 + 30 + 15; late gives 1
    assert summary["rows"] == 3
    assert {one["id"]: one["rows"] for one in summary["grades"]} == {"good": 1, "poor": 2}
    assert summary["points"] == pytest.approx((66 + 81 + 46) / 3)
    assert summary["coverage"] == pytest.approx((0.95 + 0.65 + 0.95) / 3)
    assert (summary["vetoes"], summary["flags"]) == ({"lawsuit": 0, "deal": 0}, {"one": 1})
    need = summary["criteria"]["need"]
    assert (need["weight"], need["mean"], need["known"]) == (30, 15, pytest.approx(2 / 3))


def test_score_at_a_past_moment_sees_nothing_later(place: Place, tmp_path: Path):
    out = tmp_path / "rows.csv"
    answer = place.run("score", "--as-of", "2024-03-15", "--out", str(out))
    assert answer.code == 0, answer.err
    rows = pd.read_csv(out).set_index("entity_id")
    # C1's need was 5 then; of C2's two orders one was known; nobody had asked C3
    assert rows["points"].to_dict() == {"C1": 50 + 30 + 15 + 1, "C2": 0 + 15 + 15 + 1, "C3": 0 + 15 + 15 + 1}
    assert rows["next_question"].fillna("nothing").to_dict() == {"C1": "nothing", "C2": "need", "C3": "need"}
    assert set(rows["as_of"]) == {"2024-03-15"}
    assert "3 rows, mean 52.7 points" in answer.out
    assert f"all rows are in {out}" in answer.out


def test_rows_can_be_written_as_parquet_and_a_bad_place_is_found_first(place: Place, tmp_path: Path):
    assert place.run("score", "--out", str(tmp_path / "rows.parquet")).code == 0
    assert pd.read_parquet(tmp_path / "rows.parquet")["points"].tolist() == [66, 81, 46]
    for name, sentence in (("rows.xls", "expected a name that ends in .csv or .parquet"), ("no/a.csv", "no folder")):
        answer = place.run("score", "--out", str(tmp_path / name))
        assert answer.code == 2
        assert sentence in answer.err


def test_another_card_can_be_tried(place: Place, written: Path):
    written.write_text(CARD.replace("at_least: 70", "at_least: 60").replace('"1"', '"2"'), encoding="utf-8")
    summary = place.run("score", "--card", str(written), "--json").document
    assert (summary["version"], summary["grades"][0]["rows"]) == ("2", 2)


def test_another_card_must_be_for_those_that_the_target_looks_at(place: Place, written: Path):
    written.write_text(CARD.replace("entity: customer", "entity: deal"), encoding="utf-8")
    answer = place.run("score", "--card", str(written), "--target", "churn")
    assert answer.code == 2
    assert "Target 'churn' looks at customers, and card 'small' is for deals. Pass --card with a card" in answer.err


def test_explain_gives_every_criterion_its_value_and_points(place: Place):
    explained = place.run("explain", "C3", "--json").document
    assert (explained["points"], explained["grade"], explained["coverage"]) == (46.0, "poor", 0.95)
    assert [(one["id"], one["value"], one["points"], one["gives"]) for one in explained["criteria"]] == [
        ("orders", 1.0, 0, 0.0),
        ("need", 4.0, 100, 30.0),
        ("open", 0.0, 100, 15.0),
        ("late", None, 20, 1.0),
    ]
    assert [(one["id"], one["points"], one["level"]) for one in explained["groups"]] == [("past", 0.0, "any")]
    assert explained["flags"] == [{"id": "one", "value": 1.0, "en": "One order (1)", "zh": "一单 (1)"}]
    assert explained["next_question"] is None


def test_explain_prints_it_for_people_as_of_a_day(place: Place):
    answer = place.run("explain", "C3", "--as-of", "2024-03-15")
    assert answer.code == 0, answer.err
    assert "31 points, grade poor 差, coverage 65%" in answer.out
    assert "Need not known: 50 of 100 points by default, weight 30" in answer.out
    assert "Past 历史: 0 of 100, any 任意" in answer.out
    assert "flag: One order (1) 一单 (1)" in answer.out
    assert "ask next: What do they need 需要什么" in answer.out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["explain", "C9"], 3, "Entity 'C9' is not in the population of churn at 2024-07-01"),
        (["score", "--as-of", "2024-07-02"], 2, "--as-of 2024-07-02 00:00:00 lies after the end of the data"),
        (["score", "--as-of", "soon"], 2, "'soon' is not a time, expected such as 2024-07-01"),
        (["score", "--target", "chrun"], 2, "Target 'chrun' is not in the config"),
        (["check", "--target", "chrun"], 2, "Target 'chrun' is not in the config"),
        (["score", "--as-of", "2023-12-01"], 3, "Target 'churn': nobody is eligible"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_sentence(place: Place, arguments: list[str], code: int, sentence: str):
    answer = place.run(*arguments)
    assert answer.code == code
    assert sentence in answer.err


def test_a_deployment_without_a_card_is_told_so(tmp_path: Path):
    place = make_place(tmp_path, is_extracted=True, scorecard=None)
    assert "No target has a scorecard. Set targets.<target>.scorecard" in place.run("check").err
    assert "No target has a scorecard. Set targets.<target>.scorecard" in place.run("score").err


def test_presets_of_the_config_are_laid_over_its_card(tmp_path: Path):
    place = make_place(tmp_path, is_extracted=True, scorecard_presets=["startup"])
    summary = place.run("score", "--json").document
    assert summary["version"] == "1+startup"
    assert summary["criteria"]["need"]["mean"] == 10  # 0 where nobody asked, not half
