"""When a model is trained again: by the calendar, by newly ripe labels, or because it is expected to be wrong.

Time is that of the data, never that of the clock on the wall: the same extract gives the same answer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from models.metrics import CLIP
from pipeline.config_schema import Retrain


@dataclass(frozen=True)
class Loss:
    """A mean log loss and the rows it is of."""

    mean: float
    rows: int


@dataclass(frozen=True)
class Facts:
    """What triggers look at.

    Parameters
    ----------
    data_end : datetime
        Of the extract (UTC).
    trained_at : datetime or None
        `data_end` of the extract that was last trained on, whatever became of that model; None: never trained.
    newly_ripe : int
        Labels that became ripe in `(trained_at, data_end]`.
    expected, settled : Loss or None
        Of the live model: as its calibrated probabilities for the newest scored rows have it, and on the
        newly ripe rows; None where there are none.

    """

    data_end: datetime
    trained_at: datetime | None
    newly_ripe: int
    expected: Loss | None = None
    settled: Loss | None = None


@dataclass(frozen=True)
class Trigger:
    """One reason to train, whether it holds, and why in a sentence."""

    name: str
    fired: bool
    why: str


def count_newly_ripe(labels: pd.DataFrame, trained_at: datetime | None) -> int:
    """Count labels (label, settled_at) that are ripe now and settled after `trained_at`."""
    ripe = labels["label"].notna()
    return int(ripe.sum() if trained_at is None else (ripe & (labels["settled_at"] > trained_at)).sum())


def expected_loss(probability: "pd.Series[float]") -> Loss | None:
    """Log loss that calibrated probabilities expect of themselves: the mean of their entropies. Nulls count not.

    >>> expected_loss(pd.Series([0.5, None]))
    Loss(mean=0.6931471805599453, rows=1)

    """
    known = np.clip(probability.dropna().to_numpy(dtype=np.float64), CLIP, 1 - CLIP)
    if not len(known):
        return None
    entropy = -known * np.log(known) - (1 - known) * np.log1p(-known)
    return Loss(float(entropy.mean()), len(known))


def check_triggers(settings: Retrain, facts: Facts) -> tuple[Trigger, ...]:
    """Return every configured trigger, fired or not."""
    if facts.trained_at is None:
        return (Trigger("never_trained", True, "This target was never trained."),)
    found = []
    if settings.every_days is not None:
        found.append(_schedule(settings.every_days, facts.data_end - facts.trained_at))
    if settings.min_ripe_labels is not None:
        labels = "1 label" if facts.newly_ripe == 1 else f"{facts.newly_ripe:,} labels"
        why = f"{labels} became ripe since the last training (min_ripe_labels: {settings.min_ripe_labels:,})."
        found.append(Trigger("ripe_labels", facts.newly_ripe >= settings.min_ripe_labels, why))
    if settings.max_expected_loss is not None:
        found.append(_drift(settings.max_expected_loss, facts))
    return tuple(found)


def _schedule(every_days: int, beyond: timedelta) -> Trigger:
    days = beyond.days
    text = "1 day" if days == 1 else f"{days:,} days"
    why = f"The data go {text} beyond the last training (every_days: {every_days})."
    return Trigger("schedule", beyond >= timedelta(days=every_days), why)


def _drift(line: float, facts: Facts) -> Trigger:
    """Without a label since the last training a new model would be the old one, so the loss alone is no reason."""
    parts = []
    if facts.expected is not None:
        one = facts.expected
        parts.append(f"{one.mean:.3f} as expected from its probabilities for {one.rows:,} scored rows")
    if facts.settled is not None:
        parts.append(f"{facts.settled.mean:.3f} on {facts.settled.rows:,} newly ripe rows")
    is_known = bool(parts)
    said = " and ".join(parts) or "not known: it has scored nobody yet and no label became ripe"
    if is_known and facts.newly_ripe == 0:
        said += ", and no label became ripe since the last training"
    losses = [one.mean for one in (facts.expected, facts.settled) if one is not None]
    fired = facts.newly_ripe > 0 and any(loss > line for loss in losses)
    return Trigger("drift", fired, f"The live model's log loss is {said} (max_expected_loss: {line:g}).")
