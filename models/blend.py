"""A small blend: the plain mean of the members' log-odds, laggards dropped.

Free weights overfit, and equal ones were never far behind: a mean is wrong where all members are. Kinds weigh
alike: models of one kind and different memory say much the same, and share what their kind weighs, the one of
all rows as much as those of the newest rows together.
"""

from collections.abc import Sequence

import numpy as np

from models.candidate import Floats
from models.level import level_free
from models.metrics import log_losses
from models.predict import to_probability
from models.split import Folds
from models.tuning import Trial, settled_evidence

NAME = "blend"
MEMBERS = ("bg_nbd", "logistic", "binned", "lightgbm")
MEMORIES = {"newest_half": 0.5, "newest_quarter": 0.25}
"""Beside a member that learned from all rows, those of the same kind that learned from the newest."""
LAGGING = 2.0
"""Standard errors by which the blend must be better without a member for it to be dropped."""
WORTH_DROPPING = 0.002
"""Share of its log loss that the blend must save as well."""


def shares(names: Sequence[str]) -> Floats:
    """Weight of each member by its name: all kinds alike, within a kind that of all rows as much as two others.

    >>> shares(["bg_nbd", "logistic", "logistic_newest_half", "logistic_newest_quarter"]).tolist()
    [0.5, 0.25, 0.125, 0.125]

    """
    kinds = [next((kind for kind in MEMBERS if name.startswith(kind)), name) for name in names]
    weights = np.array([float(len(MEMORIES)) if name == kind else 1.0 for name, kind in zip(names, kinds, strict=True)])
    whole = {kind: sum(weight for weight, one in zip(weights, kinds, strict=True) if one == kind) for kind in kinds}
    return np.array([weight / whole[kind] for weight, kind in zip(weights, kinds, strict=True)]) / len(whole)


def _mean(parts: Sequence[Floats], names: Sequence[str], kept: Sequence[int]) -> Floats:
    """Blend the kept parts."""
    return np.asarray(shares([names[at] for at in kept]) @ np.array([parts[at] for at in kept]))


def keep_members(parts: Sequence[Floats], label: Floats, names: Sequence[str] = ()) -> list[int]:
    """Places of the members that stay: one after the other goes without which the mean is better beyond noise.

    Parameters
    ----------
    parts : sequence of array
        Log-odds of each member for the same rows.
    label : array
        0.0 or 1.0.
    names : sequence of str, optional
        Name of each member, see `shares`; without it each is a kind of its own.

    Examples
    --------
    >>> right, label = np.tile([2.0, -2.0], 50), np.tile([1.0, 0.0], 50)
    >>> keep_members([right, right, -right], label)
    [0, 1]

    """
    kept, names = list(range(len(parts))), names or [str(at) for at in range(len(parts))]
    while len(kept) > 1:
        losses = log_losses(label, to_probability(_mean(parts, names, kept)))
        others = {at: [other for other in kept if other != at] for at in kept}
        without = {at: log_losses(label, to_probability(_mean(parts, names, rest))) for at, rest in others.items()}
        worst = min(without, key=lambda at: float(without[at].mean()))
        saved = losses - without[worst]
        noise = LAGGING * float(saved.std()) / np.sqrt(len(saved))
        if float(saved.mean()) <= max(noise, WORTH_DROPPING * float(losses.mean())):
            break
        kept.remove(worst)
    return kept


def try_blend(trials: Sequence[Trial], label: Sequence[Floats], folds: Folds) -> Trial | None:
    """Blend what the members said out of fold; who stays in a fold rests on its evidence only."""
    names = [*MEMBERS, *(f"{name}_{memory}" for memory in MEMORIES for name in MEMBERS)]
    found = {trial.name: trial for trial in trials if trial.name in names and not trial.is_constant}
    members = [found[name] for name in names if name in found]
    told = [member.name for member in members]
    if len(members) < 2:
        return None

    def keep(known: Sequence[int]) -> list[int]:
        parts = [np.concatenate([member.level_free[k] for k in known]) for member in members]
        return keep_members(parts, np.concatenate([label[k] for k in known]), told)

    count = len(label)
    kept = [keep(settled_evidence(folds.kind, count, at)) for at in range(count)]
    blended = tuple(_mean([member.log_odds[at] for member in members], told, kept[at]) for at in range(count))
    last = keep(range(count))
    weights = shares([told[who] for who in last])
    setting = {
        "weights": {members[who].name: float(weight) for who, weight in zip(last, weights, strict=True)},
        "settings": {members[who].name: dict(members[who].setting) for who in last},
    }
    return Trial(NAME, setting, blended, level_free(blended, label))
