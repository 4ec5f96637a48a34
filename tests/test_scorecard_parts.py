"""What a card says beside points and grade: words, the weakest group, the next question, worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.card_parts import card_parts, next_questions, weakest_groups
from models.card_words import card_words, met_words
from models.scorecard import Scorecard, load_scorecard

CARD = """
id: lead
version: "1"
entity: deal
groups:
  - id: need
    name: {en: Need, zh: 需求度}
    levels:
      - {id: high, at_least: 60, name: {en: high, zh: 高}}
      - {id: low, at_least: 0, name: {en: low, zh: 低}}
  - {id: money, name: {en: Money, zh: 购买力}}
criteria:
  - {id: pain, name: {en: Pain, zh: 痛点}, feature: pain, group: need, weight: 30, missing: 40,
     bands: [{below: 3, points: 0}, {at_least: 3, points: 100}], ask: {en: What hurts, zh: 痛点是什么}}
  - {id: fit, name: {en: Fit, zh: 匹配}, feature: fit, group: need, weight: 20, missing: 0,
     bands: [{below: 3, points: 50}, {at_least: 3, points: 100}], ask: {en: Does it fit, zh: 是否匹配}}
  - {id: budget, name: {en: Budget, zh: 预算}, feature: budget, group: money, weight: 40, missing: 30,
     bands: [{below: 1000, points: 0}, {at_least: 1000, points: 100}], ask: {en: What budget, zh: 预算多少}}
  - {id: credit, name: {en: Credit, zh: 信用}, feature: credit, group: money, weight: 10, missing: 0,
     bands: [{equals: A, points: 100}], otherwise: 20}
  - {id: size, name: {en: Size, zh: 规模}, feature: size, weight: 0, missing: 0,
     bands: [{below: 1, points: 0}, {at_least: 1, points: 100}], ask: {en: How large, zh: 多大}}
vetoes:
  - {id: lawsuit, name: {en: Lawsuits, zh: 诉讼}, feature: lawsuits, when: {at_least: 1}}
flags:
  - {id: tight, name: {en: Budget below need, zh: 预算不足}, formula: budget < 500, when: {equals: 1}}
grades:
  - {id: good, at_least: 70, name: {en: good, zh: 好}}
  - {id: poor, at_least: 0, name: {en: poor, zh: 差}}
"""

ROWS = pd.DataFrame(
    [
        # need 100, money 100: nothing is left to ask
        {"entity_id": "all", "pain": 5, "fit": 5, "budget": 5000, "credit": "A", "lawsuits": 0},
        # need (30 x 40 + 0) / 50 = 24, money 100: both of need are missing, fit loses 20 and pain 18
        {"entity_id": "no answer", "pain": None, "fit": None, "budget": 5000, "credit": "A", "lawsuits": None},
        # need (0 + 20 x 100) / 50 = 40: pain is weak and known, and loses more than anything
        {"entity_id": "no pain", "pain": 1, "fit": 5, "budget": 5000, "credit": "A", "lawsuits": 1},
        # need 0 + 20 x 0: fit is missing, so it goes before pain, which loses 30 of 30 and is known
        {"entity_id": "no fit", "pain": 1, "fit": None, "budget": 5000, "credit": "A", "lawsuits": 0},
        # need 40, money (0 + 10 x 20) / 50 = 4: money is weakest, so its question comes first
        {"entity_id": "poor", "pain": 1, "fit": 5, "budget": 100, "credit": "C", "lawsuits": 2},
        # need 100, money (40 x 100 + 10 x 20) / 50 = 84: credit is weakest and has no question; nothing else is lost
        {"entity_id": "no credit", "pain": 5, "fit": 5, "budget": 5000, "credit": "C", "lawsuits": 0},
    ]
)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Scorecard:
    path = tmp_path_factory.mktemp("card") / "card.yaml"
    path.write_text(CARD, encoding="utf-8")
    return load_scorecard(path)


def test_the_parts_of_each_row(card: Scorecard):
    parts = card_parts(card, ROWS).set_index("entity_id")
    assert parts["group_need"].tolist() == [100, 24, 40, 0, 40, 100]
    assert parts["group_money"].tolist() == [100, 100, 100, 100, 4, 84]
    assert parts["level_need"].tolist() == ["high", "low", "low", "low", "low", "high"]
    assert parts["weakest_group"].tolist() == ["need", "need", "need", "need", "money", "money"]  # the first of equals
    asked = [None, "fit", "pain", "fit", "budget", None]
    assert [None if pd.isna(one) else one for one in parts["next_question"]] == asked
    assert parts.loc["poor", ["next_question_en", "next_question_zh"]].tolist() == ["What budget", "预算多少"]
    assert parts.loc["all", ["next_question_en", "next_question_zh", "vetoes", "flags"]].isna().all()
    assert parts["vetoes"].dropna().to_dict() == {"no pain": '["lawsuit"]', "poor": '["lawsuit"]'}
    assert parts["flags"].dropna().to_dict() == {"poor": '["tight"]'}


def test_the_parts_hold_what_score_gives(card: Scorecard):
    parts, scored = card_parts(card, ROWS), card.score(ROWS)
    assert list(parts)[:4] == ["entity_id", "points", "grade", "coverage"]
    for name in ("points", "grade", "coverage", "group_need", "points_pain", "points_size"):
        assert parts[name].tolist() == scored[name].tolist()


def test_parts_can_be_stored_and_read_again(card: Scorecard, tmp_path: Path):
    for rows in (ROWS, ROWS.iloc[[0]], ROWS.iloc[:0]):
        parts = card_parts(card, rows)
        parts.to_parquet(tmp_path / "card.parquet", index=False)
        read = pd.read_parquet(tmp_path / "card.parquet")
        assert read["next_question_zh"].isna().tolist() == parts["next_question_zh"].isna().tolist()
        assert read["points"].tolist() == parts["points"].tolist()


def test_a_card_without_groups_has_no_weakest_one_and_asks_by_weight(tmp_path: Path):
    text = CARD.partition("groups:")[0] + "criteria:" + CARD.partition("criteria:")[2]
    (tmp_path / "card.yaml").write_text(text.replace(" group: need,", "").replace(" group: money,", ""), "utf-8")
    plain = load_scorecard(tmp_path / "card.yaml")
    scored = plain.score(ROWS)
    assert weakest_groups(plain, scored).tolist() == [-1] * 6
    assert "weakest_group" in card_parts(plain, ROWS)
    # missing first: fit loses 20, pain 18; then by weight: pain 30, and budget 40 where it is low
    assert next_questions(plain, ROWS, scored).tolist() == [-1, 1, 0, 1, 2, -1]


def test_every_criterion_with_weight_has_words_in_two_languages(card: Scorecard):
    words = card_words(card, ROWS.iloc[[2, 1]])
    assert [one.id for one in words[0]] == ["pain", "fit", "budget", "credit"]  # size is switched off
    assert [one.en for one in words[0]] == [
        "Pain 1: 0 of 100 points, weight 30",
        "Fit 5: 100 of 100 points, weight 20",
        "Budget 5,000: 100 of 100 points, weight 40",
        "Credit A: 100 of 100 points, weight 10",
    ]
    assert (words[0][2].zh, words[0][2].value) == ("预算 5,000：得 100 分（满分 100），权重 40", 5000.0)
    assert words[1][0].en == "Pain not known: 40 of 100 points by default, weight 30"
    assert words[1][0].zh == "痛点未知：默认得 40 分（满分 100），权重 30"
    assert words[1][0].value is None


def test_a_share_is_written_in_percent(card: Scorecard):
    words = card_words(card, pd.DataFrame({"fit": [0.256]}), {"fit": "share"})
    assert words[0][1].en == "Fit 25.6%: 50 of 100 points, weight 20"


def test_vetoes_and_flags_have_words_and_a_formula_does_not_say_what_it_came_to(card: Scorecard):
    (veto,) = met_words(card, ROWS.iloc[[4]], ["lawsuit"], "vetoes")
    assert (veto.en, veto.zh, veto.value, veto.points) == ("Lawsuits (2)", "诉讼 (2)", 2.0, None)
    (flag,) = met_words(card, ROWS.iloc[[4]], ["tight"], "flags")
    assert (flag.en, flag.zh, flag.value) == ("Budget below need", "预算不足", 1.0)


NUMBERS = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 5.0, 400.0, 2000.0]))
ROW = st.fixed_dictionaries(
    {
        **dict.fromkeys(["pain", "fit", "budget", "lawsuits"], NUMBERS),
        "credit": st.sampled_from(["A", "B", None]),
    }
)


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(ROW, min_size=2, max_size=20))
def test_laws_of_the_parts(card: Scorecard, rows: list[dict[str, object]]):
    kinds = {"pain": "float64", "fit": "float64", "budget": "float64", "lawsuits": "float64", "credit": "str"}
    frame = pd.DataFrame(rows).astype(kinds).assign(entity_id=[str(at) for at in range(len(rows))])
    parts = card_parts(card, frame)
    weighed = (parts["group_need"] + parts["group_money"]) / 2  # each group has half of the weight
    np.testing.assert_allclose(weighed, parts["points"], atol=1e-9)
    asked = parts["next_question"].notna()
    # who is asked nothing has won all that a question could win
    assert (parts.loc[~asked, "points"] >= 100 - 10).all()
    pd.testing.assert_frame_equal(card_parts(card, frame.iloc[[-1]]), parts.iloc[[-1]])
