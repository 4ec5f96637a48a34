"""Groups, answers, directions, flags and presets of a card: literal cards, answers worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from features.errors import DataError
from models.scorecard import Scorecard, ScorecardError, load_scorecard

CARD = """
id: lead
version: "3"
entity: deal
groups:
  - id: need
    name: {en: Need, zh: 需求度}
    levels:
      - {id: high, at_least: 60, name: {en: high, zh: 高}}
      - {id: low, at_least: 0, name: {en: low, zh: 低}}
  - {id: power, name: {en: Power, zh: 购买力}}
criteria:
  - id: basket
    name: {en: Mean order, zh: 平均订单}
    formula: orders_amount / orders_count
    group: power
    weight: 50
    direction: 1
    bands:
      - {below: 10, points: 0}
      - {at_least: 10, points: 100}
    missing: 20
  - id: need
    name: {en: Need, zh: 需求}
    answer: Need (1-5)?
    group: need
    weight: 30
    bands: [{below: 3, points: 0}, {at_least: 3, points: 100}]
    missing: 50
  - id: authority
    name: {en: Authority, zh: 决策权}
    answer: Authority
    group: need
    weight: 20
    bands: [{equals: "yes", points: 100}]
    otherwise: 10
    missing: 0
  - id: size
    name: {en: Size, zh: 规模}
    feature: customers_employees
    weight: 0
    bands: [{below: 50, points: 100}, {at_least: 50, points: 40}]
    missing: 40
vetoes:
  - {id: lawsuit, name: {en: Lawsuit, zh: 诉讼}, answer: lawsuit, when: {equals: "yes"}}
flags:
  - {id: few, name: {en: Few orders, zh: 订单少}, feature: orders_count, when: {below: 3}}
  - id: strong
    name: {en: Strong parent, zh: 母公司强}
    feature: parent_employees
    when: {at_least: 1000}
    grade_at_least: fair
grades:
  - {id: good, at_least: 70, name: {en: good, zh: 好}}
  - {id: fair, at_least: 30, name: {en: fair, zh: 中}}
  - {id: poor, at_least: 0, name: {en: poor, zh: 差}}
presets:
  startup:
    kind: stage
    name: {en: Startup, zh: 初创期}
    criteria:
      basket: {weight: 30, missing: 0}
      size: {weight: 20}
  mature: {kind: stage, name: {en: Mature, zh: 成熟期}, criteria: {need: {missing: 60}}}
  pharma:
    kind: industry
    name: {en: Pharma, zh: 医药}
    criteria:
      basket: {bands: [{below: 1000, points: 0}, {at_least: 1000, points: 100}]}
    vetoes:
      - {id: unlicensed, name: {en: No licence, zh: 无许可}, answer: licence, when: {equals: "no"}}
"""


def make_card(
    folder: Path, text: str = CARD, presets: tuple[str, ...] = (), known: set[str] | None = None
) -> Scorecard:
    path = folder / "card.yaml"
    path.write_text(text, encoding="utf-8")
    return load_scorecard(path, known, presets)


def make_frame(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_a_formula_gives_points_and_what_it_cannot_divide_is_missing(tmp_path: Path):
    scored = make_card(tmp_path).score(
        make_frame(orders_amount=[100.0, 27.0, 0.0, np.nan], orders_count=[10.0, 3.0, 0.0, 2.0])
    )
    # 10 a piece is in the upper band, 9 in the lower; 0 / 0 and an unknown amount get 'missing', 20 of 100
    assert scored["points_basket"].tolist() == [50.0, 0.0, 10.0, 10.0]
    assert scored["coverage"].tolist() == [0.5, 0.5, 0.0, 0.0]


def test_a_formula_over_a_table_that_is_not_there_is_missing(tmp_path: Path):
    scored = make_card(tmp_path).score(make_frame(orders_count=[10.0]))
    assert scored["points_basket"].tolist() == [10.0]


def test_an_answer_is_read_as_number_or_text_and_the_deals_own_comes_first(tmp_path: Path):
    scored = make_card(tmp_path).score(
        make_frame(
            deal_assessment_need_1_5_score=[4.0, np.nan, np.nan],
            assessment_need_1_5_score=[1.0, 5.0, np.nan],  # about the customer: counts where the deal has none
            deal_assessment_authority_answer=["no", None, None],
            assessment_authority_answer=["yes", "yes", None],
        )
    )
    assert scored["points_need"].tolist() == [30.0, 30.0, 15.0]
    assert scored["points_authority"].tolist() == [2.0, 20.0, 0.0]
    assert scored["coverage"].tolist() == [0.5, 0.5, 0.0]


def test_texts_compare_without_case_blanks_and_width_of_letters(tmp_path: Path):
    said = ["yes", " YES", "Ｙｅｓ", "y e s", "jes"]  # the last two are other words
    frame = make_frame(deal_assessment_authority_answer=said, deal_assessment_lawsuit_answer=said)
    scored = make_card(tmp_path).score(frame)
    assert scored["points_authority"].tolist() == [20.0, 20.0, 20.0, 2.0, 2.0]
    assert scored["vetoes"].tolist() == [["lawsuit"], ["lawsuit"], ["lawsuit"], [], []]


def test_one_band_may_spell_a_text_in_several_ways_but_not_two(tmp_path: Path):
    text = CARD.replace('{equals: "yes", points: 100}', '{in: ["Yes", "yes"], points: 100}')
    assert make_card(tmp_path, text).score(make_frame(deal_assessment_authority_answer=["YES"]))["points"][0] == 45
    text = CARD.replace('{equals: "yes", points: 100}', '{equals: "Yes", points: 100}, {equals: "yes", points: 50}')
    with pytest.raises(ScorecardError, match=r"bands overlap, 'yes' is listed twice \(case does not count\)"):
        make_card(tmp_path, text)


PEOPLE = """
id: people
version: "1"
entity: customer
criteria:
  - {id: need, name: {en: Need, zh: 需求}, answer: need, weight: 100, missing: 40,
     bands: [{below: 3, points: 0}, {at_least: 3, points: 100}]}
grades:
  - {id: good, at_least: 70, name: {en: good, zh: 好}}
  - {id: poor, at_least: 0, name: {en: poor, zh: 差}}
"""


def test_a_card_of_answers_alone_is_missing_where_nobody_is_asked(tmp_path: Path):
    scored = make_card(tmp_path, PEOPLE).score(make_frame(orders_count=[1.0]))
    assert (scored["points"].tolist(), scored["coverage"].tolist()) == ([40.0], [0.0])


def test_on_a_customer_only_the_customers_answers_count(tmp_path: Path):
    card = make_card(tmp_path, CARD.replace("entity: deal", "entity: customer"))
    assert "assessment_authority_answer" in card.features
    assert not [name for name in card.features if name.startswith("deal_")]


def test_groups_have_points_of_their_own_weight(tmp_path: Path):
    scored = make_card(tmp_path).score(
        make_frame(deal_assessment_need_1_5_score=[4.0, 1.0], deal_assessment_authority_answer=["yes", "no"])
    )
    assert scored["group_need"].tolist() == [100.0, 4.0]  # (30 x 0 + 20 x 10) / 50
    assert scored["group_power"].tolist() == [20.0, 20.0]  # missing


def test_a_group_whose_criteria_are_all_switched_off_has_no_points(tmp_path: Path):
    text = CARD.replace("feature: customers_employees\n", "feature: customers_employees\n    group: form\n")
    text = text.replace("  - {id: power,", "  - {id: form, name: {en: Form, zh: 形式}}\n  - {id: power,")
    frame = make_frame(customers_employees=[10.0])
    assert make_card(tmp_path, text).score(frame)["group_form"].isna().tolist() == [True]
    assert make_card(tmp_path, text, ("startup",)).score(frame)["group_form"].tolist() == [100.0]


def test_a_flag_lifts_a_grade_but_never_over_a_veto_and_never_down(tmp_path: Path):
    scored = make_card(tmp_path).score(
        make_frame(
            parent_employees=[5000.0, 5000.0, 10.0, 5000.0, np.nan],
            orders_amount=[0.0, 0.0, 0.0, 99.0, 0.0],
            orders_count=[2.0, 9.0, 9.0, 9.0, 9.0],
            deal_assessment_lawsuit_answer=["no", "yes", "no", "no", "no"],
            deal_assessment_need_1_5_score=[1.0, 1.0, 1.0, 5.0, 1.0],
            deal_assessment_authority_answer=["no", "no", "no", "yes", "no"],
        )
    )
    assert scored["points"].tolist() == [2.0, 2.0, 2.0, 100.0, 2.0]
    assert scored["flags"].tolist() == [["few", "strong"], ["strong"], [], ["strong"], []]  # null raises no flag
    assert scored["vetoes"].tolist() == [[], ["lawsuit"], [], [], []]
    assert scored["grade"].tolist() == ["fair", "poor", "poor", "good", "poor"]


def test_a_stage_and_an_industry_are_laid_over_a_card_in_that_order(tmp_path: Path):
    card = make_card(tmp_path, presets=("pharma", "startup"))
    assert card.version == "3+startup+pharma"
    assert card.presets == {}
    assert {one.id: one.weight for one in card.criteria} == {"basket": 30, "need": 30, "authority": 20, "size": 20}
    basket = card.criteria[0]
    assert (basket.missing, basket.bands[0].below) == (0, 1000)  # one from the stage, one from the industry
    assert [veto.id for veto in card.vetoes] == ["lawsuit", "unlicensed"]
    frame = make_frame(orders_amount=[500.0], orders_count=[1.0], customers_employees=[10.0])
    assert card.score(frame)["points"].tolist() == [35.0]  # 0 + half of 30, missing + 0, missing + 20
    assert make_card(tmp_path).score(frame)["points"].tolist() == [65.0]  # 50 + 15; size counts for nothing


def test_a_card_with_presets_is_the_same_after_saving(tmp_path: Path):
    card = make_card(tmp_path, presets=("startup", "pharma"))
    assert Scorecard.model_validate_json(card.model_dump_json(by_alias=True, exclude_unset=True)) == card


@pytest.mark.parametrize(
    ("presets", "sentence"),
    [
        (("startp",), r"unknown preset 'startp' of card 'lead'\. Did you mean 'startup'\?$"),
        (("startup", "mature"), r"presets 'startup' and 'mature' are both for the stage\. Choose one of them\.$"),
    ],
)
def test_presets_that_do_not_go_together_are_refused(tmp_path: Path, presets: tuple[str, ...], sentence: str):
    with pytest.raises(ScorecardError, match=sentence):
        make_card(tmp_path, presets=presets)


def test_a_preset_of_a_card_without_any_is_refused(tmp_path: Path):
    with pytest.raises(
        ScorecardError, match=r"unknown preset 'startup' of card 'lead'\. The card has no presets: remove"
    ):
        make_card(tmp_path, CARD.partition("presets:")[0], ("startup",))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("direction: 1", "direction: -1", "direction -1 says that more is worse, but points rise from 0 to 100 at 10"),
        ("[{below: 3, points: 0}, {at_least: 3, points: 100}]",
         "[{in: [1, 2], points: 9}, {in: [3], points: 8}]\n    otherwise: 0\n    direction: 1",
         "criterion 'need': direction 1 says that more is better, but points fall from 9 to 8 at 3"),
        ("otherwise: 10", "otherwise: 10\n    direction: 1", "'authority': direction 1 is for numbers, and the bands"),
        ("group: power", "group: powr", r"criterion 'basket' is in unknown group 'powr'\. Did you mean 'power'\?$"),
        ("    group: power\n", "", "group 'power' has no criterion. Name it in one, or remove it"),
        ("id: power", "id: need", "two groups are called 'need'"),
        ("id: high, at_least: 60", "id: high, at_least: 0", "level 'high' of group 'need' .*List levels from the best"),
        ("id: low, at_least: 0", "id: low, at_least: 5", "points below 5 of group 'need' have no level"),
        ("at_least: 60,", "at_least: 99.5, name: {en: x, zh: x}}\n      - {id: mid, at_least: 90,",
         "level 'mid' of group 'need' cannot be reached: no points from 90 to below 99.5 come out of the bands"),
        ("grade_at_least: fair", "grade_at_least: fairly", r"lifts to unknown grade 'fairly'\. Did you mean 'fair'"),
        ("grade_at_least: fair", "grade_at_least: poor", "lifts to 'poor', the lowest grade. Name a better one"),
        ("id: few", "id: strong", "two flags are called 'strong'"),
        ("feature: orders_count, when", "when", "'few' reads nothing. Give one of feature, formula and answer"),
        ("answer: Authority", "answer: Authority\n    feature: x", "'authority' has feature and answer. Give one of"),
        ("answer: Authority", "formula: a + b", "'authority' compares the number of a formula with a text"),
        ("answer: Authority", 'answer: "?"', "'authority' has answer '\\?', which has no letter. Name a question"),
        ("orders_amount / orders_count", "orders.amount", "has 'orders.amount', which is not allowed"),
        ("size: {weight: 20}", "size: {weight: 25}",
         r"with preset 'startup': weights sum to 105, expected 100 \(basket 30, need 30, authority 20, size 25\)"),
        ("size: {weight: 20}", "sise: {weight: 20}",
         r"preset 'startup' changes unknown criterion 'sise'\. Did you mean 'size'\?$"),
        ("size: {weight: 20}", "size: {wieght: 20}",
         r"unknown key 'wieght' in presets.startup.criteria.size\. Did you mean 'weight'"),
        ("size: {weight: 20}", "size: {}", "preset 'startup' changes nothing of 'size'"),
        ("criteria: {need: {missing: 60}}", "criteria: {}", "preset 'mature' changes nothing. Add criteria, vetoes"),
        ("kind: industry", "kind: sector", "presets.pharma.kind is 'sector': Input should be 'stage' or 'industry'"),
        ("{id: unlicensed,", "{id: lawsuit,", "with preset 'pharma': two vetoes are called 'lawsuit'"),
        ("basket: {bands: [{below: 1000, points: 0}, {at_least: 1000, points: 100}]}",
         "basket: {bands: [{below: 1000, points: 100}, {at_least: 1000, points: 0}]}",
         "with preset 'pharma': criterion 'basket': direction 1 says that more is better, but points fall from 100"),
        ("basket: {bands: [{below: 1000, points: 0}, {at_least: 1000, points: 100}]}", "basket: {weight: 60}",
         "with preset 'pharma': weights sum to 110"),
        ("  startup:", "  Startup:", r"presets.Startup.*should match pattern"),
        ("[{below: 3, points: 0}, {at_least: 3, points: 100}]", "{below: 3, points: 0}",
         r"criteria 'need'\.bands is \{.*\}, expected a list\. Put it in \[ \], or on lines that begin with a dash\.$"),
        ("name: {en: Need, zh: 需求}", "name: Need",
         r"criteria 'need'\.name is 'Need', expected a mapping of keys to values\. Write"),
        ("{at_least: 3, points: 100}]", "{below: 9, points: 100}]", "two bands have no at_least, so both begin at the"),
        ('{equals: "yes", points: 100}', "{equals: .inf, points: 100}", "no feature is ever inf. Remove it"),
        ("missing: 50", "missing: many", "criteria 'need'.missing is 'many', expected a whole number. Write"),
        ("weight: 0\n", "weight: -1\n", "weight is -1: Input should be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_a_card_with_a_mistake_is_refused_with_a_remedy(tmp_path: Path, old: str, new: str, sentence: str):
    assert old in CARD
    with pytest.raises(ScorecardError, match=sentence) as caught:
        make_card(tmp_path, CARD.replace(old, new, 1))
    assert str(caught.value).startswith(str(tmp_path / "card.yaml"))
    assert "\n" not in str(caught.value)


def test_a_stage_and_an_industry_that_only_fail_together_are_refused(tmp_path: Path):
    # each alone keeps the sum: 30 + 30 + 20 + 20 and 40 + 40 + 20; together they give 40 + 40 + 20 + 20
    text = CARD.replace(
        "basket: {bands: [{below: 1000, points: 0}, {at_least: 1000, points: 100}]}",
        "basket: {weight: 40}\n      need: {weight: 40}",
    )
    with pytest.raises(ScorecardError, match="with presets 'startup' and 'pharma': weights sum to 120"):
        make_card(tmp_path, text)


def test_unknown_features_are_refused_in_formulas_flags_and_presets_and_unasked_questions_are_not(tmp_path: Path):
    known = {"orders_amount", "orders_count", "customers_employees", "parent_employees"}
    assert make_card(tmp_path, known=known).id == "lead"  # no question is a feature here: they are missing
    with pytest.raises(
        ScorecardError, match=r"unknown feature 'orders_amount' in 'basket'\. Did you mean 'order_amount"
    ):
        make_card(tmp_path, known=known - {"orders_amount"} | {"order_amount"})
    text = CARD.replace('answer: licence, when: {equals: "no"}', "feature: licences, when: {below: 1}")
    with pytest.raises(ScorecardError, match="unknown feature 'licences' in 'unlicensed'"):
        make_card(tmp_path, text, known=known)


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        (
            "orders_amount",
            ["a"],
            "'orders_amount' holds text, but criterion 'basket' of scorecard 'lead' computes with it",
        ),
        ("orders_count", ["a"], "'orders_count' holds text, but criterion 'basket'"),
        ("parent_employees", ["a"], "'parent_employees' holds text, but flag 'strong' of scorecard 'lead' compares it"),
    ],
)
def test_a_feature_of_the_other_kind_is_refused(tmp_path: Path, column: str, values: list[object], sentence: str):
    card = make_card(tmp_path)
    with pytest.raises(DataError, match=sentence):
        card.score(pd.DataFrame({column: values}))


def test_a_card_that_is_dumped_and_read_again_is_the_same(tmp_path: Path):
    card = make_card(tmp_path)
    document = card.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert make_card(tmp_path, yaml.safe_dump(document, allow_unicode=True, sort_keys=False)) == card
