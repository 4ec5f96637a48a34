"""How much a criterion tells of an outcome: information value, what of it is chance, and which way it points.

The information value of bins is the sum over them of (share of the good - share of the bad) times the logarithm
of their ratio. That of a criterion which tells nothing is positive all the same: with k bins it is about
(k - 1) (1 / good + 1 / bad) for independent rows, and more where rows come in customers. So what chance gives
is computed from how the customers scatter, and taken off.

References
----------
Siddiqi, N. (2006). Credit Risk Scorecards, chapter 6 (weight of evidence, information value).
Liang, K.-Y., Zeger, S. (1986). Longitudinal data analysis using generalized linear models. Biometrika 73
(the scatter of whole customers instead of rows).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2, norm

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

MOST_BINS = 5
ROWS_PER_BIN = 15
"""Customers of the rarer outcome that a bin needs on average: with fewer there are fewer bins."""
MOST_LEVELS = 8
RESAMPLES = 200
TAILS = 0.025, 0.975
CHUNK_CELLS = 4_000_000
WILSON = 1.959963984540054


@dataclass(frozen=True)
class Effect:
    """What bins tell of an outcome.

    Parameters
    ----------
    value : float
        Information value less what chance gives; 0 at least.
    chance : float
        What bins that tell nothing would show on average.
    p_value : float
        Of the hypothesis that no bin differs, rows of a customer being one piece of evidence.

    """

    value: float
    chance: float
    p_value: float


def wilson(hits: NDArray[Any], rows: NDArray[Any]) -> tuple[Floats, Floats]:
    """95 % interval of a share, by Wilson's formula; 0 to 1 where there are no rows.

    >>> low, high = wilson(np.array([8.0]), np.array([10.0]))
    >>> low.round(4).tolist(), high.round(4).tolist()
    ([0.4902], [0.9433])

    """
    count = np.maximum(np.asarray(rows, dtype=np.float64), 1e-9)
    share, square = np.asarray(hits) / count, WILSON**2
    centre = (share + square / (2.0 * count)) / (1.0 + square / count)
    half = WILSON * np.sqrt(share * (1.0 - share) / count + square / (4.0 * count**2)) / (1.0 + square / count)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)


def information_value(good: Floats, bad: Floats) -> Floats:
    """Information value of counts per bin (the last axis); a bin without good or without bad gets half a row of each.

    >>> information_value(np.array([30.0, 20.0]), np.array([10.0, 40.0])).round(4)
    np.float64(0.7167)

    """
    is_bare = ((good == 0) | (bad == 0)) & (good + bad > 0)
    good, bad = good + 0.5 * is_bare, bad + 0.5 * is_bare
    share = good / np.maximum(good.sum(axis=-1, keepdims=True), 1e-9)
    other = bad / np.maximum(bad.sum(axis=-1, keepdims=True), 1e-9)
    is_there = good + bad > 0
    ratio = np.log(np.where(is_there, share, 1.0)) - np.log(np.where(is_there, other, 1.0))
    return np.asarray(((share - other) * ratio).sum(axis=-1))


def bin_values(values: "pd.Series[Any]", most: int = MOST_BINS) -> Codes:
    """Bin of each value, without a look at the outcome: -1 for null, ascending for numbers.

    Numbers are cut into bins of about equally many rows, equal ones never apart; texts are levels, the rare together.

    >>> bin_values(pd.Series([1.0, 1.0, 2.0, 3.0, None]), most=2).tolist()
    [0, 0, 1, 1, -1]

    """
    known = np.asarray(values.notna())
    codes = np.full(len(values), -1, dtype=np.int64)
    if not known.any():
        return codes
    if not pd.api.types.is_numeric_dtype(values):
        counts = values[known].value_counts().sort_index().sort_values(ascending=False, kind="stable")
        place = {level: min(at, min(most + 3, MOST_LEVELS) - 1) for at, level in enumerate(counts.index)}
        codes[known] = values[known].map(place).to_numpy(dtype=np.int64)
        return codes
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)[known]
    distinct = np.unique(numbers)
    edges = np.quantile(numbers, np.arange(1, most) / most, method="higher")
    cuts = distinct[1:] if len(distinct) <= most else np.setdiff1d(edges, distinct[:1])
    codes[known] = np.searchsorted(cuts, numbers, side="right")
    return codes


def bins_for(good: Floats, group: Codes) -> int:
    """How many bins customers of the rarer outcome are enough for; 1 if they are too few to say anything."""
    rarer = min(len(np.unique(group[good > 0.5])), len(np.unique(group[good < 0.5])))
    return int(np.clip(rarer // ROWS_PER_BIN, 1, MOST_BINS))


def count_by_group(bins: Codes, good: Floats, group: Codes, groups: int) -> Floats:
    """Count per customer the good and then the bad of each bin; rows without a bin are left out."""
    width, known = int(bins.max(initial=0)) + 1, bins >= 0
    place = group[known] * (2 * width) + bins[known] + width * (good[known] < 0.5)
    return np.bincount(place, minlength=groups * 2 * width).reshape(groups, 2 * width).astype(np.float64)


def _scatter(counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Per bin what is good beyond the mean rate, how that scatters over customers, and the bins' shares of the rows."""
    width = counts.shape[1] // 2
    good, rows = counts[:, :width], counts[:, :width] + counts[:, width:]
    rate, share = good.sum() / rows.sum(), rows.sum(axis=0) / rows.sum()
    excess = good - rate * rows
    moved = excess - share * excess.sum(axis=1, keepdims=True)
    return moved.sum(axis=0), moved.T @ moved, share


def effect_of(counts: Floats) -> Effect:
    """Judge the counts of `count_by_group`: information value beyond chance, and whether any bin differs."""
    width = counts.shape[1] // 2
    totals = counts.sum(axis=0)
    excess, scatter, share = _scatter(counts)
    rate = totals[:width].sum() / totals.sum()
    scale = totals.sum() * rate * (1.0 - rate)
    is_there = share > 0
    chance = float((np.diag(scatter)[is_there] / share[is_there]).sum() / scale**2)
    freedom = int(is_there.sum()) - 1
    statistic = float(excess @ np.linalg.pinv(scatter, rcond=1e-9, hermitian=True) @ excess)
    shown = float(information_value(totals[:width], totals[width:]))
    return Effect(max(shown - chance, 0.0), chance, float(chi2.sf(statistic, max(freedom, 1))))


def intervals_of(counts: Sequence[Floats], effects: Sequence[Effect], seed: int) -> list[tuple[float, float]]:
    """95 % intervals of the information values beyond chance, by resampling customers.

    What resampling adds by chance, the mean of the resamples less what was resampled, is taken off as well.
    """
    groups = len(counts[0]) if counts else 0
    ends = np.cumsum([0, *(one.shape[1] for one in counts)])
    joined = np.concatenate(list(counts), axis=1) if counts else np.zeros((0, 0))
    generator, drawn = np.random.default_rng(seed), []
    step = max(1, CHUNK_CELLS // max(groups, 1))
    for begin in range(0, RESAMPLES, step):
        times = range(begin, min(begin + step, RESAMPLES))
        weights = np.stack([np.bincount(generator.integers(0, groups, groups), minlength=groups) for _ in times])
        drawn.append(weights @ joined)
    totals = np.concatenate(drawn) if drawn else np.zeros((0, 0))
    found = []
    for at, effect in enumerate(effects):
        mine, width = totals[:, ends[at] : ends[at + 1]], counts[at].shape[1] // 2
        values = information_value(mine[:, :width], mine[:, width:])
        own = counts[at].sum(axis=0)
        added = max(float(values.mean() - information_value(own[:width], own[width:])), 0.0)
        low, high = np.maximum(np.quantile(values, TAILS) - added - effect.chance, 0.0)
        found.append((float(low), float(high)))
    return found


def trend(score: Floats, good: Floats, group: Codes) -> float:
    """How many standard errors the good lie higher (above zero) or lower than the bad, by ranks; 0 if nothing varies.

    >>> trend(np.arange(8.0), np.array([0, 0, 0, 1, 0, 1, 1, 1.0]), np.arange(8)) > 1.5
    True

    """
    rank = pd.Series(score).rank().to_numpy()
    return _standardised(rank - rank.mean(), good, group)


def bend(score: Floats, good: Floats, group: Codes) -> float:
    """Like `trend`, for how the good lie more at both ends (above zero) or in the middle."""
    rank = pd.Series(score).rank().to_numpy()
    square = (rank - rank.mean()) ** 2
    line = rank - rank.mean()
    slope = float(line @ square) / max(float(line @ line), 1e-12)
    return _standardised(square - square.mean() - slope * line, good, group)


def _standardised(centred: Floats, good: Floats, group: Codes) -> float:
    by_group = np.bincount(group, weights=centred * (good - good.mean()))
    spread = float(np.sqrt((by_group**2).sum()))
    return float(by_group.sum()) / spread if spread > 1e-9 * max(len(good), 1) else 0.0


def two_sided(standardised: float) -> float:
    """p-value of a standardised difference."""
    return float(2.0 * norm.sf(abs(standardised)))


def found_real(p_values: Sequence[float], share: float = 0.05) -> list[bool]:
    """Which of many p-values are small enough that at most `share` of those found are chance.

    Benjamini and Hochberg (1995). No single one is found above `share` either, so of those that are chance no
    more than that share is taken for real.

    >>> found_real([0.001, 0.2, 0.03])
    [True, False, True]

    """
    order = np.argsort(p_values, kind="stable")
    ranks = np.arange(1, len(p_values) + 1)
    passing = np.flatnonzero(np.asarray(p_values)[order] <= share * ranks / max(len(p_values), 1))
    real = np.zeros(len(p_values), dtype=bool)
    real[order[: passing[-1] + 1 if len(passing) else 0]] = True
    return [bool(one) for one in real]
