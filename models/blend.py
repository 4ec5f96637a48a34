"""A small blend: the plain mean of the members' log-odds, laggards dropped.

Free weights overfit, and equal ones were never far behind: a mean is wrong where all members are.
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
WORTH_DROPPING = 0.005
"""Share of its log loss that the blend must save as well."""


def keep_members(parts: Sequence[Floats], label: Floats) -> list[int]:
    """Places of the members that stay: one after the other goes without which the mean is better beyond noise.

    Parameters
    ----------
    parts : sequence of array
        Log-odds of each member for the same rows.
    label : array
        0.0 or 1.0.

    Examples
    --------
    >>> right, label = np.tile([2.0, -2.0], 50), np.tile([1.0, 0.0], 50)
    >>> keep_members([right, right, -right], label)
    [0, 1]

    """
    kept = list(range(len(parts)))
    while len(kept) > 1:
        losses = log_losses(label, to_probability(np.mean([parts[at] for at in kept], axis=0)))
        without = {at: _losses_without(parts, kept, at, label) for at in kept}
        worst = min(without, key=lambda at: float(without[at].mean()))
        saved = losses - without[worst]
        noise = LAGGING * float(saved.std()) / np.sqrt(len(saved))
        if float(saved.mean()) <= max(noise, WORTH_DROPPING * float(losses.mean())):
            break
        kept.remove(worst)
    return kept


def _losses_without(parts: Sequence[Floats], kept: Sequence[int], out: int, label: Floats) -> Floats:
    return log_losses(label, to_probability(np.mean([parts[at] for at in kept if at != out], axis=0)))


def try_blend(trials: Sequence[Trial], label: Sequence[Floats], folds: Folds) -> Trial | None:
    """Blend what the members said out of fold; who stays in a fold rests on its evidence only."""
    names = [*MEMBERS, *(f"{name}_{memory}" for memory in MEMORIES for name in MEMBERS)]
    found = {trial.name: trial for trial in trials if trial.name in names and not trial.is_constant}
    members = [found[name] for name in names if name in found]
    if len(members) < 2:
        return None

    def keep(known: Sequence[int]) -> list[int]:
        parts = [np.concatenate([member.level_free[k] for k in known]) for member in members]
        return keep_members(parts, np.concatenate([label[k] for k in known]))

    count = len(label)
    kept = [keep(settled_evidence(folds.kind, count, at)) for at in range(count)]
    blended = tuple(np.mean([members[who].log_odds[at] for who in kept[at]], axis=0) for at in range(count))
    last = [members[who] for who in keep(range(count))]
    setting = {
        "weights": {member.name: 1.0 / len(last) for member in last},
        "settings": {member.name: dict(member.setting) for member in last},
    }
    return Trial(NAME, setting, blended, level_free(blended, label))
