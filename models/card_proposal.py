"""A card with the points that the data would give: the same questions, bands, weights and cut-offs by what came.

The points of a card add up, so they are made as log-odds that add up: a logistic regression on the weights of
evidence of the bands gives each criterion one coefficient; its weight on the card is how far its bands then lie
apart, and its points are where between its worst and its best band a band lies. With few customers the weights
stay near those of today. A criterion that tells nothing keeps its points, and its weight goes down to `FLOOR`,
so that it is still asked and the next review can judge it again; one of which too little is known stays as it is.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.card_assembly import assemble_card
from models.card_bands import Banding, learned_bands, own_bands, rate_bands
from models.card_changes import BandChange, CriterionChange, Proposal, band_changes
from models.card_findings import CardReview, CriterionReview
from models.card_review import criterion_values, group_codes, review_card
from models.card_weights import FOLDS, Drafted, fit_slopes, weigh
from models.information_value import Codes, Floats
from models.metrics import log_losses
from models.predict import to_probability
from models.scorecard import Scorecard, criterion_points
from models.scorecard_schema import Criterion
from models.selection import clustered_error
from models.split import deal_groups

POINTS = 5.0
"""Points are multiples of it, so that people can tell one band from another."""
TELLING = "matters", "points the wrong way"

__all__ = ["BandChange", "CriterionChange", "Proposal", "propose_card"]


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
    slopes = fit_slopes(drafts, good, codes, seed)
    weights = weigh(card, review, drafts, slopes, good, codes)
    drafted = {draft.criterion.id: draft for draft in drafts}
    document = card.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"presets"})
    criteria = [
        _rewrite(entry, weights[one.id], drafted.get(one.id), review[one.id], review)
        for entry, one in zip(document["criteria"], card.criteria, strict=True)
    ]
    proposed, left_out = assemble_card(card, {**document, "criteria": criteria}, frame)
    notes = {one.id: _note(review[one.id], one, weights[one.id], slopes.get(one.id)) for one in card.criteria}
    changes = tuple(
        band_changes(before, after, criterion_points(before, frame, card)[0], _places(after, card, frame), good, note)
        for before, after, note in zip(card.criteria, proposed.criteria, notes.values(), strict=True)
    )
    return Proposal(proposed, card, review, changes, (*_remarks(card, told), *left_out))


def _draft(
    card: Scorecard, criterion: Criterion, frame: pd.DataFrame, good: Floats, group: Codes, seed: int
) -> Drafted:
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
    return Drafted(criterion, chosen, rate_bands(chosen, good, direction, per_customer))


def _losses_of(banding: Banding, good: Floats, learn: NDArray[np.bool_], direction: int, per_customer: float) -> Floats:
    """Log losses of the rows that nothing was learned from, by the evidence of their bands."""
    rates = rate_bands(replace(banding, place=banding.place[learn]), good[learn], direction, per_customer)
    base = np.log(good[learn].sum() + 0.5) - np.log((1.0 - good[learn]).sum() + 0.5)
    return log_losses(good[~learn], to_probability(base + rates.evidence[banding.place[~learn]]))


def _rewrite(
    entry: Mapping[str, Any], weight: float, draft: Drafted | None, found: CriterionReview, review: CardReview
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


def _points(draft: Drafted) -> Floats:
    """Points of every band: 0 for the worst that rows fall into, 100 for the best."""
    evidence, met = draft.rates.evidence, draft.rates.rows > 0
    low = evidence[met].min()
    return np.asarray(np.clip(np.round((evidence - low) / draft.spread * 100.0 / POINTS) * POINTS, 0, 100))


def _merge(draft: Drafted, points: Floats) -> list[dict[str, Any]]:
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
