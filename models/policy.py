"""A retraining policy, and what playing it over the past brought."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.gate import MIN_GAIN
from models.training_set import TrainingSet

Floats = NDArray[np.float64]
Scorer = Callable[[pd.DataFrame], Floats]
Fit = Callable[[TrainingSet], Scorer | None]
"""Fits a model on rows and returns what gives the probability of each row of a frame; None: nothing to learn."""

FIRST, TRAINED, PROMOTED, REFUSED = "first", "trained", "promoted", "refused"
NOTHING_NEW, ONE_CLASS, NO_SIGNAL = "nothing_new", "one_class", "no_signal"


@dataclass(frozen=True)
class Policy:
    """When a model is trained again, on which rows, and whether it must beat the one in force first.

    Parameters
    ----------
    every : int or None
        Days between trainings (rows, where time is an order); None: the first model stays.
    window : int or None
        A training uses the ripe rows of `(newest - window, newest]`, so many days (rows) up to the
        newest ripe one. None: all ripe rows.
    gate : bool
        Whether the new model must win on rows neither it nor the model in force was fitted on.
    min_gain : float
        Share of the log loss of the model in force that it must save there.

    """

    every: int | None
    window: int | None = None
    gate: bool = False
    min_gain: float = MIN_GAIN

    def describe(self, unit: str) -> str:
        """Say the policy in words.

        >>> Policy(30, window=365, gate=True).describe("days")
        'every 30 days on the last 365, gated'

        """
        window = "" if self.window is None else f" on the last {self.window:,}"
        if self.every is None:
            return f"never{window}"
        return f"every {self.every:,} {unit}{window}{', gated' if self.gate else ''}"


@dataclass(frozen=True)
class GateTerms:
    """What the gate of all policies asks beside the model in force and the base rate.

    Parameters
    ----------
    line : function, optional
        Fits the logistic line, which a challenger must not be worse than.
    cuts : mapping of name to array
        Text per row of the rows played over, in their order: parts in which a challenger may not lose too much.
    slice_rows, slice_floor
        See `models.gate.compare_slices`.

    """

    line: Fit | None = None
    cuts: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    slice_rows: int = 200
    slice_floor: float = 0.05


@dataclass(frozen=True)
class Moment:
    """What happened at one moment of a schedule: when, on how many rows, and how it ended."""

    at: Any
    rows: int
    outcome: str
    why: str = ""


@dataclass(frozen=True)
class Played:
    """One policy played: the probability of each scored row, and what happened at its moments."""

    policy: Policy
    probability: Floats
    moments: tuple[Moment, ...]

    @property
    def trainings(self) -> int:
        """Models trained after the first one."""
        return sum(one.outcome in (TRAINED, PROMOTED, REFUSED, NO_SIGNAL) for one in self.moments)

    @property
    def promotions(self) -> int:
        """Models that went into force after the first one."""
        return sum(one.outcome in (TRAINED, PROMOTED) for one in self.moments)


@dataclass(frozen=True)
class Replay:
    """Policies played over the same rows, in time order; `unit` is days or rows."""

    rows: TrainingSet
    start: Any
    unit: str
    played: tuple[Played, ...]
