"""The rule scorecard: literal cards, answers worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataError
from models.scorecard import Scorecard, ScorecardError, load_scorecard

CARDS = Path(__file__).parent.parent / "configs" / "scorecards"

CARD = """
id: small
version: "1"
entity: customer
criteria:
  - id: orders
    name: {en: Orders, zh: 订单}
    feature: orders_count
    weight: 60
    bands:
      - {below: 1, points: 0}
      - {at_least: 1, below: 5, points: 50}
      - {at_least: 5, points: 100}
    missing: 10
  - id: industry
    name: {en: Industry, zh: 行业}
    feature: customers_industry
    weight: 40
    bands:
      - {equals: pharma, points: 100}
      - {in: [retail, trade], points: 50}
    otherwise: 20
    missing: 0
vetoes:
  - id: lawsuit
    name: {en: Lawsuit, zh: 诉讼}
    feature: lawsuits_count
    when: {at_least: 1}
grades:
  - {id: good, at_least: 70, name: {en: good, zh: 好}}
  - {id: fair, at_least: 30, name: {en: fair, zh: 中}}
  - {id: poor, at_least: 0, name: {en: poor, zh: 差}}
"""


def make_card(folder: Path, text: str = CARD, known: set[str] | None = None) -> Scorecard:
    path = folder / "card.yaml"
    path.write_text(text, encoding="utf-8")
    return load_scorecard(path, known)


def test_points_are_weighted_and_add_up(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "orders_count": [0.0, 1.0, 5.0, 4.999],
            "customers_industry": ["pharma", "trade", "retail", "mining"],
            "lawsuits_count": [0.0, 0.0, 0.0, 0.0],
        },
        index=[7, 3, 9, 1],
    )
    scored = make_card(tmp_path).score(frame)
    assert scored.index.tolist() == [7, 3, 9, 1]
    assert scored["points"].tolist() == [
        40.0,  # 60 % of 0 + 40 % of 100
        50.0,  # exactly 1 order is in the middle band: 30 + 20
        80.0,  # exactly 5 orders are in the top band: 60 + 20
        38.0,  # 30 + 40 % of 'otherwise'
    ]
    assert scored["grade"].tolist() == ["fair", "fair", "good", "fair"]
    assert scored["coverage"].tolist() == [1.0] * 4
    parts = scored[["points_orders", "points_industry"]]
    assert parts.sum(axis=1).tolist() == scored["points"].tolist()


def test_missing_values_get_their_points_and_lower_the_coverage(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "orders_count": [np.nan, 5.0, np.nan],
            "customers_industry": ["pharma", None, None],
            "lawsuits_count": [np.nan] * 3,  # null is no veto
        }
    )
    scored = make_card(tmp_path).score(frame)
    assert scored["points"].tolist() == [46.0, 60.0, 6.0]  # 6 + 40, 60 + 0, 6 + 0
    assert scored["coverage"].tolist() == [0.4, 0.6, 0.0]
    assert scored["vetoes"].tolist() == [[], [], []]


def test_a_veto_forces_the_lowest_grade_is_listed_and_leaves_the_points(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"orders_count": [9.0, 9.0], "customers_industry": ["pharma"] * 2, "lawsuits_count": [1.0, 0.0]}
    )
    scored = make_card(tmp_path).score(frame)
    assert scored["points"].tolist() == [100.0, 100.0]
    assert scored["grade"].tolist() == ["poor", "good"]
    assert scored["vetoes"].tolist() == [["lawsuit"], []]


def test_a_feature_the_frame_does_not_have_counts_as_missing(tmp_path: Path) -> None:
    scored = make_card(tmp_path).score(pd.DataFrame({"orders_count": [5.0]}))
    assert scored["points"].tolist() == [60.0]
    assert scored["coverage"].tolist() == [0.6]


def test_a_frame_without_any_feature_of_the_card_is_refused(tmp_path: Path) -> None:
    card = make_card(tmp_path)
    with pytest.raises(DataError, match=r"feature frame has none of them\. Use a card for this entity"):
        card.score(pd.DataFrame({"deal_amount": [5.0]}))


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        ("orders_count", ["many"], "'orders_count' holds text, but criterion 'orders' of scorecard 'small'"),
        ("customers_industry", [3.0], "'customers_industry' holds numbers, but criterion 'industry'"),
        ("lawsuits_count", ["yes"], "'lawsuits_count' holds text, but veto 'lawsuit'"),
    ],
)
def test_a_feature_of_the_other_kind_is_refused(tmp_path: Path, column: str, values: list[object], sentence: str):
    card = make_card(tmp_path)
    with pytest.raises(DataError, match=sentence):
        card.score(pd.DataFrame({column: values}))


def test_an_all_null_column_of_any_dtype_is_missing(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "orders_count": pd.Series([None], dtype="object"),
            "customers_industry": pd.Series([np.nan], dtype="float64"),
            "lawsuits_count": pd.Series([None], dtype="str"),
        }
    )
    assert make_card(tmp_path).score(frame)["coverage"].tolist() == [0.0]


def test_an_empty_frame_gives_an_empty_answer_with_all_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"orders_count": pd.Series([], dtype="float64")})
    scored = make_card(tmp_path).score(frame)
    assert list(scored) == ["points", "grade", "coverage", "vetoes", "flags", "points_orders", "points_industry"]
    assert len(scored) == 0


def test_numbers_can_be_listed_too(tmp_path: Path) -> None:
    text = CARD.replace("{equals: pharma, points: 100}", "{equals: 1, points: 100}").replace(
        "[retail, trade]", "[2, 3]"
    )
    scored = make_card(tmp_path, text).score(pd.DataFrame({"customers_industry": [1.0, 3.0, 4.0, np.nan]}))
    assert scored["points_industry"].tolist() == [40.0, 20.0, 8.0, 0.0]


def test_decimal_weights_do_not_push_a_total_below_its_grade(tmp_path: Path) -> None:
    # 33.3 + 33.3 + 33.4 adds up to 99.99999999999999 or 100 in floating point, by order of terms
    text = CARD.replace("weight: 60", "weight: 66.65").replace("weight: 40", "weight: 33.35")
    text = text.replace("at_least: 70", "at_least: 100")
    scored = make_card(tmp_path, text).score(pd.DataFrame({"orders_count": [5.0], "customers_industry": ["pharma"]}))
    assert scored["points"].tolist() == [100.0]
    assert scored["grade"].tolist() == ["good"]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("weight: 60", "weight: 50", r"weights sum to 90, expected 100 \(orders 50, industry 40\)"),
        ("weight: 60", "weight: 60.001", "a weight has at most two decimals, got 60.001"),
        ("below: 5", "below: 4", "criterion 'orders': bands leave a gap, 4 to 5"),
        ("below: 5", "below: 6", "criterion 'orders': bands overlap from 5 on"),
        ("{below: 1, points: 0}", "{at_least: 0, below: 1, points: 0}", "'orders': numbers below 0 have no band"),
        ("{at_least: 5, points: 100}", "{at_least: 5, below: 9, points: 100}", "numbers from 9 on have no band"),
        ("{at_least: 1, below: 5,", "{at_least: 5, below: 1,", "at_least 5 is not below 1, so nothing is in it"),
        ("[retail, trade]", "[retail, pharma]", "'industry': bands overlap, 'pharma' is listed twice"),
        ("[retail, trade]", "[retail, 4]", "mixes texts and numbers"),
        ("[retail, trade]", "[retail, no]", "YAML reads an unquoted no, off or false as False. Put it in quotes"),
        ("{equals: pharma,", "{below: 4,", "'industry': bands mix interval and text"),
        ("    otherwise: 20\n", "", "values that no band lists have no points. Add 'otherwise: 0'"),
        ("{below: 1, points: 0}", "{points: 0}", "give either at_least and below, or equals, or in"),
        ("id: fair, at_least: 30", "id: fair, at_least: 80", "List grades from the best to the lowest"),
        ("id: poor, at_least: 0", "id: poor, at_least: 5", "points below 5 have no grade. Set at_least: 0"),
        ("id: fair", "id: good", "two grades are called 'good'"),
        ("id: industry", "id: orders", "two criteria are called 'orders'"),
        ("points: 50}", "point: 50}", r"unknown key 'point' in criteria 'orders'\.bands\[2\]\. Did you mean 'points'"),
        ("weight: 60", "wieght: 60", r"unknown key 'wieght' in criteria 'orders'\. Did you mean 'weight'"),
        ("    missing: 10\n", "", "key 'missing' is missing in criteria 'orders'. Add it"),
        ("points: 100}", "points: 101}", "Input should be less than or equal to 100"),
        ('version: "1"', "version: 1.0", "version is 1.0: Input should be a valid string. Put it in quotes"),
        ("weight: 60", "weight: 60\n    weight: 60", r"key 'weight' stands twice in one mapping \(line 10\)"),
        ("entity: customer", "entity: order", "entity is 'order': Input should be 'customer' or 'deal'"),
        ("id: small", "id: [", "not valid YAML"),
        ("name: {en: Orders, zh: 订单}", "name: {en: Orders}", "key 'zh' is missing in criteria 'orders'.name"),
    ],
)
def test_a_card_with_a_mistake_is_refused_with_a_remedy(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in CARD
    with pytest.raises(ScorecardError, match=sentence) as caught:
        make_card(tmp_path, CARD.replace(old, new, 1))
    assert str(caught.value).startswith(str(tmp_path / "card.yaml"))
    assert "\n" not in str(caught.value)


def test_a_grade_no_points_lead_to_is_refused(tmp_path: Path) -> None:
    # totals are 60 % of {0, 10, 50, 100} + 40 % of {0, 20, 50, 100}: nothing lies in [81, 100)
    text = CARD.replace(
        "{id: good, at_least: 70,", "{id: great, at_least: 100, name: {en: a, zh: 甲}}\n  - {id: good, at_least: 81,"
    )
    with pytest.raises(ScorecardError, match="grade 'good' cannot be reached: no points from 81 to below 100"):
        make_card(tmp_path, text)


def test_the_lowest_grade_may_be_given_by_vetoes_alone(tmp_path: Path) -> None:
    text = CARD.replace("missing: 0", "missing: 20").replace("{below: 1, points: 0}", "{below: 1, points: 50}")
    text = text.replace("missing: 10", "missing: 50").replace("at_least: 30", "at_least: 38")  # 38 is the least now
    assert make_card(tmp_path, text).grades[-1].id == "poor"
    without = text.replace("vetoes:", "vetoes: []\nunused:").partition("unused:")
    head, tail = without[0], without[2].partition("grades:")[2]
    with pytest.raises(ScorecardError, match="grade 'poor' cannot be reached: no points from 0 to below 38"):
        make_card(tmp_path, f"{head}grades:{tail}")


def test_an_unknown_feature_names_the_nearest_one(tmp_path: Path) -> None:
    known = {"orders_counts", "customers_industry", "lawsuits_count"}
    with pytest.raises(
        ScorecardError, match=r"unknown feature 'orders_count' in 'orders'\. Did you mean 'orders_counts'"
    ):
        make_card(tmp_path, known=known)
    with pytest.raises(ScorecardError, match=r"unknown feature 'lawsuits_count' in 'lawsuit'\. Known features: a, "):
        make_card(tmp_path, known={"orders_count", "customers_industry", "a"})


def test_a_card_that_is_not_there_or_no_mapping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScorecardError, match="cannot be read"):
        load_scorecard(tmp_path / "none.yaml")
    with pytest.raises(ScorecardError, match="expected a mapping of keys to values, got NoneType"):
        make_card(tmp_path, "")
    (tmp_path / "card.yaml").write_bytes("id: 客户".encode("gb18030"))
    with pytest.raises(ScorecardError, match="is not UTF-8 text"):
        load_scorecard(tmp_path / "card.yaml")


@pytest.mark.parametrize("name", ["starter_customer", "starter_deal"])
def test_the_shipped_cards_load_and_score(name: str) -> None:
    card = load_scorecard(CARDS / f"{name}.yaml")
    assert card.id == name
    assert len(card.criteria) == 5
    frame = pd.DataFrame({feature: [np.nan, 0.0, 1e9] for feature in card.features})
    scored = card.score(frame)
    assert scored["points"].between(0, 100).all()
    assert scored["grade"].iloc[2] == card.grades[-1].id  # far beyond the veto


def test_the_starter_deal_card_by_hand() -> None:
    frame = pd.DataFrame(
        {
            "deal_activities_count_30d": [3.0],  # 25
            "deal_stage_rank": [3.0],  # 17.5
            "deal_age_days": [30.0],  # 12
            "deal_amount": [np.nan],  # 3
            "deals_won_count": [1.0],  # 10.5
        }
    )
    scored = load_scorecard(CARDS / "starter_deal.yaml").score(frame)
    assert scored["points"].tolist() == [68.0]
    assert scored["grade"].tolist() == ["nurture"]
    assert scored["coverage"].tolist() == [0.85]


NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False))
TEXTS = st.one_of(st.none(), st.sampled_from(["pharma", "retail", "mining", ""]))


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(NUMBERS, TEXTS, NUMBERS), min_size=2, max_size=20), data=st.data())
def test_a_row_alone_scores_as_in_a_batch_and_stays_in_range(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]], data: st.DataObject
) -> None:
    card = make_card(tmp_path_factory.mktemp("card"))
    frame = pd.DataFrame(rows, columns=["orders_count", "customers_industry", "lawsuits_count"])
    frame = frame.astype({"orders_count": "float64", "lawsuits_count": "float64"})
    scored = card.score(frame)
    assert scored["points"].between(0, 100).all()
    assert scored["coverage"].between(0, 1).all()
    row = data.draw(st.integers(0, len(rows) - 1))
    pd.testing.assert_frame_equal(card.score(frame.iloc[[row]]), scored.iloc[[row]], check_dtype=False)
