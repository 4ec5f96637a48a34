"""Whether a proposed card ranks better than today's, on customers it was not made of."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.card_proposal import propose_card
from models.card_review import group_codes
from models.information_value import Codes, Floats
from models.scorecard import Scorecard
from models.split import deal_groups

RESAMPLES = 200
TAILS = 0.025, 0.975
MIN_CUSTOMERS = 20
"""Customers of each outcome that each half needs."""


@dataclass(frozen=True)
class CardGain:
    """AUC of today's card and of a proposed one, and the 95 % interval of the difference."""

    today: float
    proposed: float
    low: float
    high: float


def weighted_auc(good: Floats, points: Floats, weights: Floats) -> float:
    """Area under the ROC curve of weighted rows, ties counted half.

    >>> weighted_auc(np.array([0.0, 1.0, 1.0]), np.array([1.0, 1.0, 2.0]), np.ones(3))
    0.75

    """
    levels, place = np.unique(points, return_inverse=True)
    ones = np.bincount(place, weights=weights * good, minlength=len(levels))
    zeros = np.bincount(place, weights=weights * (1.0 - good), minlength=len(levels))
    below = np.cumsum(zeros) - zeros / 2.0
    return float((ones * below).sum() / max(float(ones.sum() * zeros.sum()), 1e-12))


def compare_cards(
    today: Floats, proposed: Floats, good: Floats, group: Codes, resamples: int = RESAMPLES, seed: int = 0
) -> CardGain:
    """Compare the points of two cards on the same rows, resampling customers."""
    customers, codes = np.unique(group, return_inverse=True)
    generator, gains = np.random.default_rng(seed), []
    for _ in range(resamples):
        drawn = np.bincount(generator.integers(0, len(customers), len(customers)), minlength=len(customers))
        weights = drawn[codes].astype(np.float64)
        gains.append(weighted_auc(good, proposed, weights) - weighted_auc(good, today, weights))
    low, high = np.quantile(gains, TAILS)
    alike = np.ones(len(good))
    return CardGain(weighted_auc(good, today, alike), weighted_auc(good, proposed, alike), float(low), float(high))


def expected_gain(
    card: Scorecard, frame: pd.DataFrame, good: Floats, group: NDArray[Any], seed: int = 0
) -> CardGain | None:
    """What proposing is worth: a card is made of either half of the customers and asked about the other.

    Returns
    -------
    CardGain or None
        Mean of both halves; None where a half has too few customers of either outcome.

    """
    codes = group_codes(group)
    half = deal_groups(codes, good, 2, seed)
    rare = min(len(np.unique(codes[(half == k) & (good == kind)])) for k in (0, 1) for kind in (0.0, 1.0))
    if rare < MIN_CUSTOMERS:
        return None
    gains = []
    for k in (0, 1):
        learn, held = half != k, half == k
        made = propose_card(card, frame[learn].reset_index(drop=True), good[learn], codes[learn], seed).card
        asked = frame[held].reset_index(drop=True)
        points = [one.score(asked)["points"].to_numpy() for one in (card, made)]
        gains.append(compare_cards(points[0], points[1], good[held], codes[held], seed=seed))
    return CardGain(*(float(np.mean([getattr(one, name) for one in gains])) for name in CardGain.__dataclass_fields__))
