"""Past scores of literal models: what is computed again, and what is said when it comes out otherwise."""

import math
from typing import Any

import numpy as np
import pandas as pd
from test_grading import CARD
from test_score_change import make_bundle, row

from models.predict import Bundle
from pipeline.past_score import PastScore

NOTHING = dict.fromkeys(
    ("probability", "probability_low", "probability_high", "log_odds", "value", "days_to_event", "unseen_share")
)
FEATURES = row(64, 2)  # log-odds 1 + 1 - 1 = 1


def make_past(bundle: Bundle, further: tuple[dict[str, Any], ...] = (), **written: Any) -> PastScore:
    return PastScore({**NOTHING, **written}, FEATURES, bundle, None, further=further)


def test_what_the_ledger_has_is_computed_again_and_nothing_else() -> None:
    past = make_past(make_bundle(), log_odds=1.0, probability=1 / (1 + np.exp(-1.0)))
    assert list(past.recompute()) == ["probability", "log_odds"]  # its ledger is from before intervals
    assert past.differences() == []


def test_one_bit_is_a_difference() -> None:
    past = make_past(make_bundle(), log_odds=math.nextafter(1.0, 2.0))
    assert past.differences() == ["log_odds is 1.0, in the ledger 1.0000000000000002"]


def test_further_horizons_are_computed_again_in_the_direction_of_the_target() -> None:
    bundle = make_bundle()
    bundle.manifest = {"horizon": 90, "horizons": {"primary": 90, "direction": -1}}
    bundle.horizons = {30: make_bundle(intercept=2.5), 180: make_bundle(intercept=3.0)}
    # Churn by orders falls as the horizon grows: 30 days say 2.5; 180 days would say 3 and are held at 1.
    further = ({"horizon_days": 30, "log_odds": 2.5}, {"horizon_days": 180, "log_odds": 1.0})
    past = make_past(bundle, further, log_odds=1.0)
    assert past.recompute() == {"log_odds": 1.0, "log_odds_30d": 2.5, "log_odds_180d": 1.0}
    assert past.differences() == []
    wrong = make_past(bundle, ({"horizon_days": 180, "log_odds": 3.0},), log_odds=1.0)
    assert wrong.differences() == ["log_odds_180d is 1.0, in the ledger 3.0"]


def test_an_expected_revenue_is_computed_again() -> None:
    bundle = make_bundle()
    bundle.is_value = True
    past = make_past(bundle, value=float(np.exp(1.0)))
    assert past.recompute() == {"value": float(np.exp(np.array([1.0]))[0])}
    assert past.differences() == []


def test_a_score_by_a_card_alone_has_no_model_to_ask() -> None:
    past = PastScore({**NOTHING, "card": None}, pd.DataFrame({"days": [1.0]}), None, None)
    assert (past.recompute(), past.card_points(), past.differences()) == ({}, {}, [])


def test_a_cards_own_grade_vetoes_and_flags_are_computed_again_and_not_what_else_gave_the_grade() -> None:
    row = {"points": 50.0, "coverage": 1.0, "grade": "a", "card_grade": "b", "vetoes": None, "flags": '["silent"]'}
    features = pd.DataFrame({"size": [1.5], "fraud": [0.0], "silent": [1.0]})
    kept = PastScore({**NOTHING, **row, "graded_by": "probability"}, features, None, CARD, is_card_grade=False)
    assert kept.differences() == []
    own = PastScore({**NOTHING, **row, "graded_by": "points"}, features, None, CARD)
    assert own.differences() == ["grade is 'b', in the ledger 'a'"]
    other = PastScore({**NOTHING, **row, "graded_by": "points", "card_grade": "c", "grade": "b"}, features, None, CARD)
    assert other.differences() == ["card_grade is 'b', in the ledger 'c'"]
    old = PastScore({**NOTHING, "points": 50.0, "coverage": 1.0, "grade": "b"}, features, None, CARD)
    assert old.differences() == []  # of a ledger from before grades had a cause
