"""Which candidate for revenue goes on, blended from whom, with which slope and level."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.candidate import Floats
from models.selection import NOISE, WORTH_HAVING, trails
from models.split import Folds
from models.tuning import evidence, settled_evidence
from models.tweedie import deviances, fit_log_linear_path, scale_free_deviances
from models.value_candidates import ValueTrial

BLEND = "blend"
BLENDED = ("log_linear", "tweedie", "hurdle")
PREFERENCE = ("past_revenue", BLEND, "log_linear", "tweedie", "hurdle")
"""Past revenue if it is about as good; then the blend, as among equals a mean is the safest; then the simplest."""
SLOPE_PENALTY, SLOPES = 10.0, (0.5, 1.5)


def keep_members(parts: Sequence[Floats], revenue: Floats) -> list[int]:
    """Places of the members that stay: one after the other goes without which the mean is better beyond noise."""
    kept = list(range(len(parts)))
    while len(kept) > 1:
        losses = scale_free_deviances(revenue, np.mean([parts[at] for at in kept], axis=0))
        without = {
            out: scale_free_deviances(revenue, np.mean([parts[at] for at in kept if at != out], axis=0)) for out in kept
        }
        worst = min(without, key=lambda out: float(without[out].mean()))
        saved = losses - without[worst]
        noise = NOISE * float(saved.std()) / np.sqrt(len(saved))
        if float(saved.mean()) <= max(noise, WORTH_HAVING * float(losses.mean())):
            break
        kept.remove(worst)
    return kept


def try_blend(trials: Sequence[ValueTrial], revenue: Sequence[Floats], folds: Folds) -> ValueTrial | None:
    """Mean of the logs, laggards dropped; who stays in a fold rests on its evidence only."""
    members = [trial for trial in trials if trial.name in BLENDED]
    if len(members) < 2:
        return None

    def keep(known: Sequence[int]) -> list[int]:
        parts = [np.concatenate([member.log_values[k] for k in known]) for member in members]
        return keep_members(parts, np.concatenate([revenue[k] for k in known]))

    count = len(revenue)
    kept = [keep(settled_evidence(folds.kind, count, at)) for at in range(count)]
    said = tuple(np.mean([members[who].log_values[at] for who in kept[at]], axis=0) for at in range(count))
    setting = {members[who].name: dict(members[who].setting) for who in keep(range(count))}
    return ValueTrial(BLEND, {"settings": setting}, said)


def level_free_losses(trial: ValueTrial, revenue: Sequence[Floats]) -> Floats:
    """Deviance of each row, the level of its fold taken out."""
    return np.concatenate(
        [scale_free_deviances(one, said) for one, said in zip(revenue, trial.log_values, strict=True)]
    )


def select_value(trials: Sequence[ValueTrial], revenue: Sequence[Floats], group: NDArray[np.int64]) -> ValueTrial:
    """Choose the preferred trial that the best one does not beat beyond noise; the mean where nothing beats it."""
    losses = {trial.name: level_free_losses(trial, revenue) for trial in trials}
    by_name = {trial.name: trial for trial in trials}
    base = losses["mean"]
    least = WORTH_HAVING * float(base.mean())
    beating = [
        name
        for name in PREFERENCE
        if name in losses and float((base - losses[name]).mean()) >= least and trails(base, losses[name], group, NOISE)
    ]
    if not beating:
        return by_name["mean"]
    best = min(beating, key=lambda name: float(losses[name].mean()))
    for name in beating:
        noise = 1.0 if name == "past_revenue" else NOISE
        is_near = float((losses[name] - losses[best]).mean()) < least
        if is_near or not trails(losses[name], losses[best], group, noise):
            return by_name[name]
    return by_name[best]


def _fit_slope(log_values: Sequence[Floats], revenue: Sequence[Floats]) -> float:
    """Slope of the log of revenue over what was predicted, pulled to 1, levels of folds taken out."""
    centred = np.concatenate([part - part.mean() for part in log_values])
    unit = np.concatenate([np.maximum(one, 0.0) / max(float(one.mean()), 1e-9) for one in revenue])
    spread = max(float(centred.std()), 1e-9)
    found = fit_log_linear_path((centred / spread)[:, None], unit, [SLOPE_PENALTY])[-1][1] / spread
    return float(np.clip(found, *SLOPES))


def choose_slope(log_values: Sequence[Floats], revenue: Sequence[Floats], kind: str) -> float:
    """Return the slope of all folds if those of others would have helped by more than one standard error, else 1."""
    saved = []
    for at in range(len(revenue)):
        known = evidence(kind, len(revenue), at)
        if known:
            slope = _fit_slope([log_values[k] for k in known], [revenue[k] for k in known])
            bent = scale_free_deviances(revenue[at], slope * log_values[at])
            saved.append(scale_free_deviances(revenue[at], log_values[at]) - bent)
    if not saved:
        return 1.0
    joined = np.concatenate(saved)
    helps = float(joined.mean()) > float(joined.std()) / np.sqrt(len(joined))
    return _fit_slope(log_values, revenue) if helps else 1.0


def agreed_level(log_values: Sequence[Floats], revenue: Sequence[Floats]) -> float:
    """Level to add so that predictions add up to revenue out of fold, pulled to 0 by how much folds disagree.

    >>> round(agreed_level([np.zeros(2)] * 2, [np.array([4.0, 0.0])] * 2), 3)  # twice 2 where 1 was predicted
    0.693

    """
    sums = [(float(one.sum()), float(np.exp(part).sum())) for part, one in zip(log_values, revenue, strict=True)]
    levels = [float(np.log(seen / said)) for seen, said in sums if seen > 0]
    mean = float(np.mean(levels)) if levels else 0.0
    if len(levels) < 2 or mean == 0.0:
        return mean / 2.0
    return mean * mean**2 / (mean**2 + float(np.var(levels, ddof=1)) / len(levels))


def choose_level(log_values: Sequence[Floats], revenue: Sequence[Floats], folds: Folds) -> float:
    """Level to add: what the folds agree on; in time only if that of earlier folds would have helped in later ones.

    In time it rests on the folds whose horizons do not overlap, at least three.
    """
    if folds.kind != "time":
        return agreed_level(log_values, revenue)
    parts = [(log_values[at], revenue[at]) for at in folds.apart]
    saved = []
    for at in range(1, len(parts)):
        said, seen = parts[at]
        level = agreed_level([part for part, _ in parts[:at]], [one for _, one in parts[:at]])
        moved = deviances(seen, np.exp(said + level))
        saved.append(float((deviances(seen, np.exp(said)) - moved).mean()))
    if len(saved) < 2 or np.mean(saved) <= np.std(saved, ddof=1) / np.sqrt(len(saved)):
        return 0.0
    return agreed_level([part for part, _ in parts], [one for _, one in parts])
