"""A card with the points that the data would give: the same questions, bands, weights and cut-offs by what came.

The points of a card add up, so they are made as log-odds that add up: a logistic regression on the weights of
evidence of the bands gives each criterion one coefficient; its weight on the card is how far its bands then lie
apart, and its points are where between its worst and its best band a band lies. With few customers the weights
stay near those of today. A criterion that tells nothing keeps its points, and its weight goes down to `FLOOR`,
so that it is still asked and the next review can judge it again; one of which too little is known stays as it is.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from features.errors import DataError
from models.card_bands import Banding, Rates, learned_bands, own_bands, rate_bands
from models.card_changes import BandChange, CriterionChange, Proposal, band_changes
from models.card_cutoffs import move_cutoffs
from models.card_review import CardReview, CriterionReview, criterion_values, group_codes, review_card
from models.information_value import Codes, Floats
from models.metrics import log_losses
from models.predict import to_probability
from models.ridge import fit_ridge_path
from models.scorecard import Scorecard, criterion_points
from models.scorecard_schema import Criterion
from models.selection import clustered_error
from models.split import deal_groups

FLOOR = 1.0
"""Weight of a criterion that tells nothing, or nothing beside the others."""
STEP = 0.5
"""Weights are multiples of it."""
POINTS = 5.0
"""Points are multiples of it, so that people can tell one band from another."""
TRUSTED = 50.0
"""Customers of the rarer outcome at which the weights lie halfway between today's and those of the data."""
PENALTIES = (300.0, 100.0, 30.0, 10.0, 3.0)
FOLDS = 5
TELLING = "matters", "points the wrong way"

__all__ = ["BandChange", "CriterionChange", "Proposal", "propose_card"]


@dataclass(frozen=True)
class _Drafted:
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


def propose_card(
    card: Scorecard,
    frame: pd.DataFrame,
    good: Floats,
    group: NDArray[Any],
    seed: int = 0,
    review: CardReview | None = None,
) -> Proposal:
    """Propose the next version of a card.

    Parameters
    ----------
    card : Scorecard
    frame, good, group, seed
        As in `review_card`.
    review : CardReview, optional
        Of the same rows, if it was made already.

    Returns
    -------
    Proposal
        With a valid card: weights sum to 100, points are whole numbers from 0 to 100, monotone where `direction`
        says so, and the cut-offs of the grades lie where the shares of the grades stay as they are.

    """
    review = review or review_card(card, frame, good, group, seed)
    codes = group_codes(group)
    told = {one.id for one in card.criteria if one.weight and review[one.id].verdict in TELLING}
    drafts = [_draft(card, one, frame, good, codes, seed) for one in card.criteria if one.id in told]
    slopes = _fit_slopes(drafts, good, codes, seed)
    weights = _weigh(card, review, drafts, slopes, good, codes)
    drafted = {draft.criterion.id: draft for draft in drafts}
    document = card.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"presets"})
    criteria = [
        _rewrite(entry, weights[one.id], drafted.get(one.id), review[one.id], review)
        for entry, one in zip(document["criteria"], card.criteria, strict=True)
    ]
    proposed = _assemble(card, {**document, "criteria": criteria}, frame)
    notes = {one.id: _note(review[one.id], one, weights[one.id], slopes.get(one.id)) for one in card.criteria}
    changes = tuple(
        band_changes(before, after, criterion_points(before, frame, card)[0], _places(after, card, frame), good, note)
        for before, after, note in zip(card.criteria, proposed.criteria, notes.values(), strict=True)
    )
    return Proposal(proposed, card, review, changes, _remarks(card, told))


def _draft(
    card: Scorecard, criterion: Criterion, frame: pd.DataFrame, good: Floats, group: Codes, seed: int
) -> _Drafted:
    """Bands of a criterion: the card's own, unless bands cut by the data foresee others better beyond noise."""
    values = criterion_values(card, criterion, frame)
    own, direction = own_bands(criterion, values), criterion.direction or 0
    per_customer = len(good) / (int(group.max()) + 1)
    everyone = np.ones(len(good), dtype=bool)
    fold = deal_groups(group, good, FOLDS, seed)
    losses = np.zeros((2, len(good)))
    for k in range(FOLDS):
        learn = fold != k
        for at, banding in enumerate((own, learned_bands(criterion, values, good, learn))):
            losses[at, ~learn] = _losses_of(banding, good, learn, direction, per_customer)
    gain = losses[0] - losses[1]
    chosen = own
    if gain.mean() > clustered_error(gain, group):
        chosen = learned_bands(criterion, values, good, everyone)
    return _Drafted(criterion, chosen, rate_bands(chosen, good, direction, per_customer))


def _losses_of(banding: Banding, good: Floats, learn: NDArray[np.bool_], direction: int, per_customer: float) -> Floats:
    """Log losses of the rows that nothing was learned from, by the evidence of their bands."""
    rates = rate_bands(replace(banding, place=banding.place[learn]), good[learn], direction, per_customer)
    base = np.log(good[learn].sum() + 0.5) - np.log((1.0 - good[learn]).sum() + 0.5)
    return log_losses(good[~learn], to_probability(base + rates.evidence[banding.place[~learn]]))


def _fit_slopes(drafts: Sequence[_Drafted], good: Floats, group: Codes, seed: int) -> dict[str, float]:
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


def _weigh(
    card: Scorecard,
    review: CardReview,
    drafts: Sequence[_Drafted],
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


def _rewrite(
    entry: Mapping[str, Any], weight: float, draft: _Drafted | None, found: CriterionReview, review: CardReview
) -> dict[str, Any]:
    """Return the file's entry of a criterion with its weight, and with bands and points where the data have any."""
    words = f"review of {review.groups:,} customers: {found.verdict}"
    if found.verdict != "too few rows":
        words += f", information value {found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
    entry = {**entry, "weight": weight, "source": "; ".join(part for part in (_source(entry), words) if part)}
    if draft is None or draft.spread <= 0:
        return entry
    points = _points(draft)
    bands = _merge(draft, points)
    entry |= {"bands": bands, "missing": int(points[-1])}
    if not draft.banding.is_interval:
        entry["otherwise"] = int(points[-2])
    return entry


def _source(entry: Mapping[str, Any]) -> str:
    """Where a criterion came from, without what earlier reviews said."""
    return re.sub(r"(; )?review of [\d,]+ customers: [^;]*", "", str(entry.get("source", "")))


def _points(draft: _Drafted) -> Floats:
    """Points of every band: 0 for the worst that rows fall into, 100 for the best."""
    evidence, met = draft.rates.evidence, draft.rates.rows > 0
    low = evidence[met].min()
    return np.asarray(np.clip(np.round((evidence - low) / draft.spread * 100.0 / POINTS) * POINTS, 0, 100))


def _merge(draft: _Drafted, points: Floats) -> list[dict[str, Any]]:
    """Bands with their points, neighbours and levels of equal points in one."""
    merged: list[dict[str, Any]] = []
    for condition, given in zip(draft.banding.conditions, points.astype(int).tolist(), strict=False):
        if draft.banding.is_interval:
            if merged and merged[-1]["points"] == given:
                merged[-1].pop("below", None)
                merged[-1] |= {name: edge for name, edge in condition.items() if name == "below"}
                merged[-1]["points"] = merged[-1].pop("points")
            else:
                merged.append({**condition, "points": given})
            continue
        listed = list(condition.get("in", [condition.get("equals")]))
        same = next((band for band in merged if band["points"] == given), None)
        if same is None:
            merged.append({"in": listed, "points": given})
        else:
            same["in"] += listed
    if draft.banding.is_interval and len(merged) == 1:
        return [{**condition, "points": int(p)} for condition, p in zip(draft.banding.conditions, points, strict=False)]
    return merged


def next_version(version: str) -> str:
    """Version that follows another; the presets that were laid over the card stay named.

    >>> next_version("1"), next_version("2.9"), next_version("1+startup"), next_version("draft")
    ('2', '2.10', '2+startup', 'draft.1')

    """
    number, plus, presets = version.partition("+")
    counted = re.sub(r"(\d+)(?!.*\d)", lambda found: str(int(found.group()) + 1), number)
    return (counted if counted != number else f"{number}.1") + plus + presets


def _assemble(card: Scorecard, document: dict[str, Any], frame: pd.DataFrame) -> Scorecard:
    """Return the document as a card, the cut-offs of grades and levels moved so that their shares stay."""
    document = {**document, "version": next_version(card.version)}
    before = card.score(frame)
    draft = Scorecard.model_construct(
        **{**card.__dict__, "criteria": tuple(map(Criterion.model_validate, document["criteria"]))}
    )
    after = draft.score(frame)
    moved = {**document, "grades": move_cutoffs(document["grades"], before["points"], after["points"])}
    if document.get("groups"):
        moved["groups"] = [
            {**one, "levels": move_cutoffs(one["levels"], before[f"group_{one['id']}"], after[f"group_{one['id']}"])}
            if one.get("levels")
            else one
            for one in document["groups"]
        ]
    for attempt in (moved, {**document, "grades": moved["grades"]}, document):
        try:
            return Scorecard.model_validate(attempt)
        except ValidationError as error:
            problem = error
    raise DataError(f"No card could be made of the points that the data would give: {problem}. Keep today's card.")


def _places(criterion: Criterion, card: Scorecard, frame: pd.DataFrame) -> Banding:
    return own_bands(criterion, criterion_values(card, criterion, frame))


def _note(found: CriterionReview, criterion: Criterion, weight: float, slope: float | None) -> str:
    """Say in a few words why a criterion is proposed as it is."""
    if found.verdict == "too few rows":
        return "too few rows: as today"
    if found.verdict == "no effect":
        return f"no effect: kept at weight {weight:g} with today's points"
    if slope is None or slope > 0:
        return "points turned round" if found.verdict == "points the wrong way" else "points by the data"
    if criterion.direction and found.direction == -criterion.direction:
        return f"the data say the opposite of its direction: kept at weight {weight:g}"
    return f"adds nothing beside the others: kept at weight {weight:g}"


def _remarks(card: Scorecard, told: set[str]) -> tuple[str, ...]:
    remarks = []
    if not told:
        remarks.append("No criterion tells good from bad on these rows, so points and weights are today's.")
    if card.presets:
        remarks.append("Presets were left out: their weights were for the weights of today. Write them anew.")
    if "+" in card.version:
        remarks.append("Presets are laid into this card: name it in the config without scorecard_presets.")
    return tuple(remarks)
