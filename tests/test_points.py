"""The scorecard's points as a candidate: steps at the edges of its bands, a slope that never turns against the card."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_recipe import QUICK

from models.bundle import save_bundle
from models.calibration import IDENTITY
from models.encoding import CodedRows, code_rows, make_contract
from models.expert_card import ExpertCard
from models.points import Points, card_bases, card_notes
from models.predict import load_bundle, to_probability
from models.recipe import Choice, evaluate, fit_choice, refit
from models.scorecard import Scorecard
from models.training_set import TrainingSet, load_training_set, save_training_set
from models.trials import find_candidate


def names(word: str) -> dict[str, str]:
    return {"en": word, "zh": word}


def criterion(word: str, weight: float, bands: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"id": word, "name": names(word), "weight": weight, "bands": bands, **more}


CRITERIA = [
    criterion(
        "orders",
        40,
        [{"below": 0, "points": 0}, {"at_least": 0, "below": 5, "points": 50}, {"at_least": 5, "points": 100}],
        feature="orders",
        missing=25,
    ),
    criterion("exactly_three", 20, [{"equals": 3, "points": 100}], otherwise=0, feature="orders", missing=0),
    criterion("source", 40, [{"in": ["fair", "web"], "points": 100}], otherwise=20, feature="source", missing=0),
]
GRADES = [{"id": "a", "at_least": 50, "name": names("a")}, {"id": "b", "at_least": 0, "name": names("b")}]


def card(criteria: list[dict[str, Any]] = CRITERIA, entity: str = "deal") -> Scorecard:
    document = {"id": "small", "version": "1", "entity": entity, "criteria": criteria, "grades": GRADES}
    return Scorecard.model_validate(document)


FRAME = pd.DataFrame(
    {
        "orders": [-1.0, -1e-9, 0.0, 3.0, 3.001, 4.999, 5.0, 80.0, np.nan],
        "source": ["web", "fair", "call", None, "web", "web", "web", "call", "fair"],
    }
)
POINTS = [
    40.0,  # no points for a number below 0; 40 x 100 % for web
    40.0,  # just below the edge at 0
    28.0,  # 40 x 50 % at the edge; 40 x 20 % for a source that no band lists
    40.0,  # 40 x 50 % and 20 x 100 % for exactly three orders; no source
    60.0,  # 40 x 50 %, not exactly three; web
    60.0,
    80.0,  # 40 x 100 % from five on; web
    48.0,
    50.0,  # 40 x 25 % where orders are missing; fair
]


def coded(rows: TrainingSet) -> CodedRows:
    return code_rows(rows, make_contract(rows.frame))


def card_total(rows: CodedRows) -> np.ndarray:
    return sum(basis.matrix(rows.columns[basis.name])[:, 0] for basis in card_bases(rows))


def simulate(count: int, slope: float = 4.0, kind: str = "conversion", seed: int = 0) -> TrainingSet:
    """Rows whose log-odds are -2 + slope * points / 100."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"orders": generator.integers(-2, 9, count).astype(float), "source": generator.choice(["web", "call"], count)}
    )
    chance = to_probability(-2.0 + slope * card().score(frame)["points"].to_numpy() / 100)
    label = (generator.random(count) < chance).astype(float)
    return TrainingSet(frame, label, np.arange(count), card=ExpertCard.of(card(), kind))


def test_columns_have_the_points_of_the_card_at_every_edge() -> None:
    rows = coded(TrainingSet(FRAME, np.zeros(9), card=ExpertCard.of(card(), "conversion")))
    assert card_total(rows).tolist() == POINTS
    assert card().score(FRAME)["points"].tolist() == POINTS
    assert [basis.name for basis in card_bases(rows)] == ["orders", "source"]  # two criteria on orders: one curve


NUMBERS = st.floats(-1e6, 1e6).map(lambda number: round(number, 9))
EDGES = st.sampled_from([np.nan, -0.0, -1e-200, 3.0, np.nextafter(3.0, 4.0), 5.0, np.nextafter(5.0, 0.0)])


@given(st.lists(NUMBERS | EDGES))
def test_the_curves_say_what_the_card_says(orders: list[float]) -> None:
    frame = pd.DataFrame({"orders": np.array(orders, dtype=float), "source": "web"})
    rows = coded(TrainingSet(frame, np.zeros(len(frame)), card=ExpertCard.of(card(), "conversion")))
    np.testing.assert_allclose(card_total(rows), card().score(frame)["points"], rtol=0, atol=1e-9)


def test_the_slope_of_the_world_is_found_and_its_sign_is_that_of_the_card() -> None:
    rows = simulate(4000)
    for kind, sign in (("conversion", 1.0), ("churn", -1.0)):
        label = rows.label if sign > 0 else 1.0 - rows.label
        known = replace(rows, label=label, card=ExpertCard.of(card(), kind))
        bundle = fit_choice(Choice("points", {"penalty": 3.0}, IDENTITY), known).bundle
        low, high = bundle.raw_log_odds(pd.DataFrame({"orders": [-1.0, 6.0], "source": "web"}))  # 40 and 80 points
        assert (high - low) / 0.4 == pytest.approx(4.0 * sign, abs=0.4)


def test_rows_that_contradict_the_card_leave_it_a_slope_that_is_hardly_one() -> None:
    rows = simulate(2000, slope=-4.0)
    bundle = fit_choice(Choice("points", {"penalty": 3.0}, IDENTITY), rows).bundle
    points, said = card().score(rows.frame)["points"].to_numpy(), bundle.raw_log_odds(rows.frame)
    assert np.corrcoef(points, said)[0, 1] == pytest.approx(1.0)
    assert said.std() == pytest.approx(0.01)


def test_few_rows_keep_the_slope_that_experts_are_trusted_with() -> None:
    rows = simulate(40)
    bundle = fit_choice(Choice("points", {"penalty": 1000.0}, IDENTITY), rows).bundle
    assert bundle.raw_log_odds(rows.frame).std() == pytest.approx(0.3, abs=0.02)


def test_reasons_of_a_saved_model_add_up_to_the_points(tmp_path: Path) -> None:
    rows = simulate(300)
    fitted = fit_choice(Choice("points", {"penalty": 30.0}, IDENTITY), rows)
    save_bundle(tmp_path / "bundle", fitted)
    bundle = load_bundle(tmp_path / "bundle")
    assert fitted.model["members"][0]["kind"] == "linear"
    base, parts = bundle.contributions(FRAME)
    said = bundle.log_odds(FRAME)
    np.testing.assert_allclose(base + parts.sum(axis=1), said, rtol=0, atol=1e-12)
    # one point is worth the same wherever it comes from; "fair" is unknown to these rows, which gives it 20 %
    known = np.array([0, 2, 3, 4, 5, 6, 7])
    worth = np.diff(said[known]) - np.diff(np.array(POINTS)[known]) * (said[6] - said[4]) / 20.0
    np.testing.assert_allclose(worth, 0.0, rtol=0, atol=1e-12)


def test_it_is_compared_chosen_and_refitted_like_the_others() -> None:
    rows = simulate(1500)
    found = evaluate(rows, simulate(500, seed=1), QUICK)
    assert [one["name"] for one in found.candidates][:3] == ["base_rate", "points", "single_column"]
    assert found.selected == "points"
    again = refit(found, simulate(1700, seed=2))
    assert again.choice == found.choice
    assert again.fitted_on["rows"] == 1700
    assert find_candidate("points").name == "points"


def test_no_card_or_one_that_tells_nobody_apart_is_no_candidate() -> None:
    rows = simulate(100)
    assert Points().settings(coded(replace(rows, card=None))) == []
    alike = replace(rows, frame=rows.frame.assign(orders=6.0, source="web"))
    assert Points().settings(coded(alike)) == []
    numbers = replace(rows, frame=rows.frame.assign(orders="six", source=1.0))  # other kinds than the bands compare
    assert Points().settings(coded(numbers)) == []


def test_criteria_that_read_several_columns_are_left_out_and_named() -> None:
    several = [
        CRITERIA[2],
        criterion("size", 30, [{"below": 2, "points": 0}, {"at_least": 2, "points": 100}], formula="a / b", missing=0),
        criterion("need", 30, [{"below": 5, "points": 0}, {"at_least": 5, "points": 100}], answer="need", missing=0),
    ]
    expert = ExpertCard.of(card(several), "conversion")
    frame = FRAME.assign(a=1.0, b=2.0, deal_assessment_need_score=7.0, assessment_need_score=3.0)
    rows = coded(TrainingSet(frame, np.zeros(9), card=expert))
    assert [basis.name for basis in card_bases(rows)] == ["source"]
    (note,) = card_notes(rows)
    assert "leave out size, need of scorecard 'small'" in note
    # with answers about deals alone, that is one column
    rows = coded(TrainingSet(frame.drop(columns="assessment_need_score"), np.zeros(9), card=expert))
    assert [basis.name for basis in card_bases(rows)] == ["source", "deal_assessment_need_score"]


def test_a_training_set_keeps_its_card_on_disk(tmp_path: Path) -> None:
    rows = simulate(50, kind="churn")
    save_training_set(tmp_path, rows)
    assert load_training_set(tmp_path).card == rows.card
    save_training_set(tmp_path, replace(rows, card=None))
    assert load_training_set(tmp_path).card is None
