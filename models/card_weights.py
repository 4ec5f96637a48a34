"""Weights that the data would give the criteria of a card: how far apart their bands lie, beside one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.card_bands import Banding, Rates
from models.card_findings import CardReview
from models.information_value import Codes, Floats
from models.metrics import log_losses
from models.predict import to_probability
from models.ridge import fit_ridge_path
from models.scorecard import Scorecard
from models.scorecard_schema import Criterion
from models.split import deal_groups

FLOOR = 1.0
"""Weight of a criterion that tells nothing, or nothing beside the others."""
STEP = 0.5
"""Weights are multiples of it."""
TRUSTED = 50.0
"""Customers of the rarer outcome at which the weights lie halfway between today's and those of the data."""
PENALTIES = (300.0, 100.0, 30.0, 10.0, 3.0)
FOLDS = 5


@dataclass(frozen=True)
class Drafted:
    """One criterion with its bands as the data would have them."""

    criterion: Criterion
    banding: Banding
    rates: Rates

    @property
    def column(self) -> Floats:
        """Weight of evidence of each row."""
        return self.rates.evidence[self.banding.place]

    @property
    def spread(self) -> float:
        """How far the bands that rows fall into lie apart."""
        met = self.rates.evidence[self.rates.rows > 0]
        return float(np.ptp(met))


def fit_slopes(drafts: Sequence[Drafted], good: Floats, group: Codes, seed: int) -> dict[str, float]:
    """Coefficient of each criterion's evidence beside the others; 0 where it adds nothing or would turn round."""
    names = [draft.criterion.id for draft in drafts]
    slopes = dict.fromkeys(names, 0.0)
    left = [draft for draft in drafts if draft.spread > 0]
    while left:
        scales = np.array([max(float(draft.column.std()), 1e-9) for draft in left])
        design = np.column_stack([draft.column - draft.column.mean() for draft in left]) / scales
        penalty = _choose_penalty(design, good, group, seed)
        path = [value for value in PENALTIES if value >= penalty]
        found = fit_ridge_path(design, good, path)[-1][1:] / scales
        if (found > 0).all():
            return slopes | {draft.criterion.id: float(slope) for draft, slope in zip(left, found, strict=True)}
        left = [draft for draft, slope in zip(left, found, strict=True) if slope > 0]
    return slopes


def _choose_penalty(design: Floats, good: Floats, group: Codes, seed: int) -> float:
    """Penalty with the lowest log loss on customers that were left out."""
    fold, losses = deal_groups(group, good, FOLDS, seed), np.zeros(len(PENALTIES))
    for k in range(FOLDS):
        learn = fold != k
        path = fit_ridge_path(design[learn], good[learn], PENALTIES)
        told = path[:, :1] + path[:, 1:] @ design[~learn].T
        losses += [log_losses(good[~learn], to_probability(one)).sum() for one in told]
    return PENALTIES[int(losses.argmin())]


def weigh(
    card: Scorecard,
    review: CardReview,
    drafts: Sequence[Drafted],
    slopes: Mapping[str, float],
    good: Floats,
    group: Codes,
) -> dict[str, float]:
    """Weights of all criteria, which sum to 100."""
    weights = {one.id: one.weight for one in card.criteria}
    ranges = {draft.criterion.id: slopes[draft.criterion.id] * draft.spread for draft in drafts}
    moving = [name for name, span in ranges.items() if span > 0]
    if not moving:
        return weights
    idle = {one.id for one in review.criteria if one.verdict == "no effect"} | {
        name for name in ranges if name not in moving
    }
    rarer = min(len(np.unique(group[good > 0.5])), len(np.unique(group[good < 0.5])))
    trust = rarer / (rarer + TRUSTED)
    weights |= {name: _towards_floor(weights[name], trust) for name in idle}
    left = 100.0 - sum(weight for name, weight in weights.items() if name not in moving)
    today, data = sum(weights[name] for name in moving), sum(ranges.values())
    even = 1.0 / len(moving)
    shares = {
        name: (1.0 - trust) * (weights[name] / today if today else even) + trust * ranges[name] / data
        for name in moving
    }
    return weights | round_weights({name: left * share for name, share in shares.items()}, left)


def _towards_floor(weight: float, trust: float) -> float:
    """Lower a weight to the floor as far as the rows are trusted; a lower one stays."""
    if weight <= FLOOR:
        return weight
    return float(max(FLOOR, round((weight + trust * (FLOOR - weight)) / STEP) * STEP))


def round_weights(weights: Mapping[str, float], total: float) -> dict[str, float]:
    """Round weights to multiples of `STEP`, at least one each, so that they sum to a total.

    >>> round_weights({"a": 33.3, "b": 33.4, "c": 33.3}, 100.0)
    {'a': 33.5, 'b': 33.5, 'c': 33.0}

    """
    least = {name: max(STEP, np.floor(weight / STEP + 1e-9) * STEP) for name, weight in weights.items()}
    left = total - sum(least.values())
    order = sorted(weights, key=lambda name: (least[name] - weights[name], name))
    at = 0
    while left >= STEP - 1e-9:
        least[order[at % len(order)]] += STEP
        left, at = left - STEP, at + 1
    largest = max(least, key=lambda name: (least[name], name))
    least[largest] += left  # a total that is no multiple of the step, or more criteria than steps
    return {name: round(float(weight), 2) for name, weight in least.items()}
