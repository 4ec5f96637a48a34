"""Whether a challenger may replace the champion: paired differences in log loss, resampled by customer."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from models.metrics import log_losses

Floats = NDArray[np.float64]

CHAMPION, LOGISTIC, BASE_RATE = "champion", "logistic", "base_rate"
RESAMPLES = 2000
TAILS = (0.015, 0.985)
"""What an interval leaves out: 97 % lie inside."""
MIN_GAIN = 0.01
"""Share of the champion's log loss that a challenger must save. Two fits of one model under two seeds are not equally
good, and with enough rows every interval shows it; what differs by a seed alone is rarely worth so much."""
MIN_GROUPS = 20
"""Customers below which resampling them says nothing."""
CHUNK_CELLS = 2_000_000


@dataclass(frozen=True)
class Difference:
    """Mean log loss of the challenger minus that of an opponent, with its 97 % interval; below zero is better."""

    opponent: str
    challenger_loss: float
    opponent_loss: float
    mean: float
    low: float
    high: float

    @property
    def is_better(self) -> bool:
        """Whether the whole interval speaks for the challenger."""
        return self.high < 0

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval speaks against the challenger."""
        return self.low > 0


@dataclass(frozen=True)
class Comparison:
    """A challenger and its opponents on the same rows, which none of them was fitted on."""

    rows: int
    groups: int
    positives: int
    differences: Mapping[str, Difference]

    def to_json(self) -> dict[str, Any]:
        """Return the figures, ready for JSON."""
        plain = {name: asdict(one) for name, one in self.differences.items()}
        return {"rows": self.rows, "groups": self.groups, "positives": self.positives, "differences": plain}


@dataclass(frozen=True)
class Slice:
    """A part of the rows, where the challenger may lose at most the share `floor` of the champion's log loss."""

    column: str
    value: str
    rows: int
    difference: Difference
    floor: float

    def to_json(self) -> dict[str, Any]:
        """Return the figures, ready for JSON."""
        return {**asdict(self), "is_below": self.is_below}

    @property
    def is_below(self) -> bool:
        """Whether the challenger is worse here by more than the floor allows, and beyond noise."""
        return self.difference.is_worse and self.difference.mean > self.floor * self.difference.opponent_loss


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why in one sentence."""

    promote: bool
    why: str


def _check(label: Floats, scores: Mapping[str, Floats]) -> None:
    """Check that every score is a probability for every labelled row."""
    if len(label) == 0 or not np.isin(label, (0.0, 1.0)).all():
        raise DataError(f"The gate got {len(label):,} labels, expected at least one and each 0 or 1. Leave others out.")
    for name, values in scores.items():
        if len(values) != len(label):
            raise DataError(f"The gate got {len(values):,} scores of {name} for {len(label):,} rows. Score every row.")
        wrong = int((~((values >= 0) & (values <= 1))).sum())
        if wrong:
            raise DataError(f"{wrong:,} of {len(values):,} scores of {name} are not in [0, 1]. Give probabilities.")


def resample_means(values: Floats, codes: NDArray[np.int64], resamples: int, seed: int) -> Floats:
    """Means of columns over resamples of whole groups.

    Parameters
    ----------
    values : array of float64, rows x columns
    codes : array of int
        Group of each row, from 0.
    resamples, seed : int

    Returns
    -------
    array of float64, resamples x columns

    """
    groups = int(codes.max()) + 1
    sums = np.stack(
        [np.bincount(codes, weights=column, minlength=groups) for column in (*values.T, np.ones(len(codes)))]
    )
    generator = np.random.default_rng(seed)
    step = max(1, CHUNK_CELLS // groups)
    totals = []
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = generator.integers(0, groups, size=(count, groups)) + np.arange(count)[:, None] * groups
        weights = np.bincount(drawn.ravel(), minlength=count * groups).reshape(count, groups)
        totals.append(weights.astype(np.float64) @ sums.T)
    drawn_sums = np.concatenate(totals)
    return np.asarray(drawn_sums[:, :-1] / drawn_sums[:, -1:])


def _codes(group: NDArray[Any] | None, rows: int) -> NDArray[np.int64]:
    if group is None:
        return np.arange(rows)
    return np.unique(np.asarray(group).astype(str), return_inverse=True)[1].astype(np.int64)


def compare(
    label: Floats,
    challenger: Floats,
    others: Mapping[str, Floats],
    group: NDArray[Any] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare a challenger with opponents, pair by pair, on rows none of them was fitted on.

    Parameters
    ----------
    label : array
        0.0 or 1.0.
    challenger : array
        Its probabilities of 1.
    others : mapping of name to array
        Probabilities of the opponents: `champion`, `logistic`, `base_rate`.
    group : array, optional
        Customer of each row: customers are resampled, with all of their rows. None resamples rows.
    resamples, seed : int
        Of the bootstrap; all opponents meet the same resamples.

    Returns
    -------
    Comparison
        Per opponent the mean difference in log loss and the middle 97 % of the resamples' means.

    Raises
    ------
    DataError
        If a label is neither 0 nor 1, or a score no probability.

    Examples
    --------
    >>> label = np.array([0.0, 1.0] * 200)
    >>> sharp, blunt = np.where(label == 1, 0.7, 0.3), np.full(400, 0.5)
    >>> found = compare(label, sharp, {"champion": blunt})
    >>> round(found.differences["champion"].mean, 4), found.differences["champion"].is_better
    (-0.3365, True)

    """
    _check(label, {"the challenger": challenger, **others})
    codes = _codes(group, len(label))
    own = log_losses(label, challenger)
    losses = {name: log_losses(label, values) for name, values in others.items()}
    paired = np.stack([own - loss for loss in losses.values()], axis=1)
    bounds = np.quantile(resample_means(paired, codes, resamples, seed), TAILS, axis=0)
    differences = {
        name: Difference(
            name, float(own.mean()), float(loss.mean()), float(paired[:, at].mean()), *map(float, bounds[:, at])
        )
        for at, (name, loss) in enumerate(losses.items())
    }
    return Comparison(len(label), int(codes.max()) + 1, int(label.sum()), differences)


def compare_slices(
    label: Floats,
    challenger: Floats,
    champion: Floats,
    columns: Mapping[str, NDArray[Any]],
    group: NDArray[Any] | None = None,
    min_rows: int = 200,
    floor: float = 0.05,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Slice]:
    """Compare challenger and champion within each value of each column that has enough rows.

    Parameters
    ----------
    columns : mapping of name to array
        Text to slice by; a missing value is the slice `-`.
    min_rows : int
        Slices with fewer rows, or with fewer than 20 customers, say nothing and are left out.
    floor : float
        Share of the champion's log loss that the challenger may lose in a slice.

    """
    slices = []
    for name, values in columns.items():
        texts = np.array(["-" if value is None or value != value else str(value) for value in values], dtype=object)
        for value in sorted(set(texts)):
            at = texts == value
            own = None if group is None else group[at]
            if at.sum() >= min_rows and (own is None or len(np.unique(own.astype(str))) >= MIN_GROUPS):
                found = compare(label[at], challenger[at], {CHAMPION: champion[at]}, own, resamples, seed)
                slices.append(Slice(name, value, int(at.sum()), found.differences[CHAMPION], floor))
    return slices


_NAMES = {CHAMPION: "the champion", LOGISTIC: "the logistic line", BASE_RATE: "the base rate"}


def _in_words(one: Difference) -> str:
    opponent = _NAMES.get(one.opponent, one.opponent)
    return f"log loss {one.challenger_loss:.4f} against {one.opponent_loss:.4f} of {opponent}"


def _interval(one: Difference) -> str:
    return f"difference {one.mean:+.4f}, 97 % interval [{one.low:+.4f}, {one.high:+.4f}]"


def decide(comparison: Comparison, slices: Sequence[Slice] = (), min_gain: float = MIN_GAIN) -> Verdict:
    """Say whether the challenger may replace the champion.

    It may when the whole interval against the champion is below zero, it saves at least the share `min_gain`
    of the champion's log loss, it is not worse than another opponent beyond noise, and no slice is below its
    floor. Without a champion the base rate takes its place, and any gain will do.
    """
    on = f"on {comparison.rows:,} rows of {comparison.groups:,} customers"
    if comparison.groups < MIN_GROUPS:
        return Verdict(False, f"Refused: a comparison {on} says nothing, {MIN_GROUPS} customers are needed.")
    against = comparison.differences.get(CHAMPION) or comparison.differences[BASE_RATE]
    if not against.is_better:
        held = f"{_NAMES[against.opponent]} is better beyond noise"
        held = held if against.is_worse else "the interval does not exclude zero"
        return Verdict(False, f"Refused: {_in_words(against)} {on} ({_interval(against)}): {held}.")
    gain = -against.mean / against.opponent_loss
    if against.opponent == CHAMPION and gain < min_gain:
        few = f"it saves {gain:.1%} of the champion's log loss, and a change takes {min_gain:.1%}"
        return Verdict(False, f"Refused: {_in_words(against)} {on} ({_interval(against)}): {few}.")
    for one in comparison.differences.values():
        if one.is_worse:
            return Verdict(False, f"Refused: {_in_words(one)} {on} ({_interval(one)}): it should have been simpler.")
    for part in slices:
        if part.is_below:
            lost = part.difference.mean / part.difference.opponent_loss
            return Verdict(
                False,
                f"Refused: where {part.column} is '{part.value}' ({part.rows:,} rows) the challenger loses {lost:.1%} "
                f"of the champion's log loss, and at most {part.floor:.1%} is allowed ({_interval(part.difference)}).",
            )
    return Verdict(True, f"Promoted: {_in_words(against)} {on} ({_interval(against)}).")
