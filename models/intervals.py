"""An interval per score: between which rates of the event rows with such a score lie.

A Venn-ABERS predictor calibrates a score twice, once as if the row were no event (p0) and once as if it
were one (p1). What it guarantees: for rows drawn like those it was fitted on, the one of the two that
belongs to what comes true is calibrated, however few rows there are. What it does not: the pair is no
confidence interval. With many rows p0 and p1 meet while the curve between them is still uncertain, rows
of later months are not drawn like earlier ones, and it says nothing about how customers with one and the
same score differ from each other.

So the interval is the middle 90 % of Venn-ABERS predictors fitted on resampled customers (what other
customers might have shown), each moved by a level as large as those by which folds in time differed from
what was predicted (what another month might bring). Where folds are not in time, stretches of one horizon
stand in for them, of which the models saw all; where there is but one, drift is not seen, and taken to be as
usual. Rows without dates are taken to have none.

References
----------
Vovk, V., Petej, I., Fedorova, V. (2015). Large-scale probabilistic predictors with and without guarantees
of validity. Advances in Neural Information Processing Systems 28.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.candidate import Floats
from models.level import fit_level
from models.predict import to_probability
from models.split import Folds
from models.training_set import TrainingSet

Interval = Mapping[str, Any]

COVERAGE = 0.9
STEPS, STEP_ROWS = 200, 20
"""Steps of the table at most, and rows of each at least."""
RESAMPLES = 100
DRIFTS = np.linspace(0.0, 2.0, 101)
USUAL_DRIFT = 0.3
"""Log-odds by which levels move where nothing is known of them: half of a normal distribution of that width."""
BLOCKS = 12
HONESTY_BINS = 15
WILSON = 1.96


def venn_abers(score: NDArray[np.int64], label: Floats, asked: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return p0 and p1 of a Venn-ABERS predictor for the scores asked for.

    >>> low, high = venn_abers(np.array([0, 0, 1, 1]), np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 1]))
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([0.0, 0.67], [0.33, 1.0])

    """
    settings = np.geterr()  # the library switches them off for the whole process
    from venn_abers.venn_abers import calc_p0p1, calc_probs  # type: ignore[import-untyped]

    np.seterr(**settings)
    pair = np.column_stack([-score, score]).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        tables = calc_p0p1(pair, label)
        _, found = calc_probs(*tables, np.column_stack([-asked, asked]).astype(np.float64))
    p0, p1 = np.nan_to_num(found[:, 0], nan=0.0), np.nan_to_num(found[:, 1], nan=1.0)
    return np.abs(p0), p1  # the library's 0 may have a sign


def level_noise(log_odds: Floats, label: Floats, group: NDArray[np.int64]) -> float:
    """Variance of a fold's level that is due to which customers were in it."""
    probability = to_probability(log_odds)
    by_group = np.bincount(group, weights=label - probability)
    weight = float((probability * (1.0 - probability)).sum())
    return float((by_group**2).sum()) / max(weight, 1e-9) ** 2


def likely_drifts(
    log_odds: Sequence[Floats], label: Sequence[Floats], group: Sequence[NDArray[np.int64]], apart: int
) -> Floats:
    """Return how likely each of `DRIFTS` is: the spread of levels beyond what the customers of a fold explain.

    Few folds leave it open, and so does noise: that nothing was seen does not make it 0. Folds whose horizons
    overlap count together as `apart` ones; none leave it as it usually is.
    """
    levels = np.array([fit_level(*fold) for fold in zip(log_odds, label, strict=True)])
    noise = [
        level_noise(raw + level, one, who) for raw, level, one, who in zip(log_odds, levels, label, group, strict=True)
    ]
    variance = DRIFTS[:, None] ** 2 + np.maximum(noise, 1e-6)
    fits = -0.5 * (np.log(variance) + levels**2 / variance).mean(axis=1) * apart
    weight = fits - 0.5 * (DRIFTS / USUAL_DRIFT) ** 2
    shares = np.exp(weight - weight.max())
    return np.asarray(shares / shares.sum())


def _steps(score: Floats) -> Floats:
    """Where the steps of the table begin, apart from the first: equal counts of rows."""
    steps = int(np.clip(len(score) // STEP_ROWS, 1, STEPS))
    edges = np.unique(np.quantile(score, np.arange(1, steps) / steps, method="lower"))
    return np.asarray(edges[edges > score.min()])


def _moved(probability: Floats, level: float) -> Floats:
    """Probabilities with their log-odds moved; 0 and 1 stay."""
    odds_of_level = np.exp(level)
    return np.asarray(probability * odds_of_level / (1.0 - probability + probability * odds_of_level))


def move_interval(interval: Interval, level: float) -> Interval:
    """Return the interval of a model whose calibrated log-odds were all moved by a level.

    >>> moved = move_interval({"log_odds": [0.0], "low": [0.0, 0.5], "high": [0.5, 1.0]}, np.log(3.0))
    >>> np.round(moved["log_odds"], 2).tolist(), np.round(moved["low"], 2).tolist()
    ([1.1], [0.0, 0.75])

    """
    moved = {key: _moved(np.asarray(interval[key]), level).tolist() for key in ("low", "high")}
    return {**interval, "log_odds": (np.asarray(interval["log_odds"]) + level).tolist(), **moved}


def horizon_blocks(rows: TrainingSet, at: NDArray[np.intp]) -> NDArray[np.int64] | None:
    """Return the stretch of one horizon that each of these rows lies in, from 0; None for rows without time."""
    if rows.time is None:
        return None
    time = np.asarray(rows.time)
    is_dated = time.dtype.kind == "M"
    place = (time - time.min()) // np.timedelta64(1, "D") if is_dated else np.searchsorted(np.sort(time), time)
    length = rows.horizon or int(place.max()) // BLOCKS + 1
    return np.asarray(place[at] // length, dtype=np.int64)


def _drift_shares(
    log_odds: Sequence[Floats],
    label: Sequence[Floats],
    group: Sequence[NDArray[np.int64]],
    folds: Folds,
    blocks: NDArray[np.int64] | None,
) -> Floats:
    """How likely each of `DRIFTS` is, by what there is to see it by."""
    if folds.kind == "time":
        return likely_drifts(log_odds, label, group, len(folds.apart))
    if blocks is None:
        return np.asarray(DRIFTS == 0.0, dtype=np.float64)
    places = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    joined, joined_label, joined_group = np.concatenate(log_odds), np.concatenate(label), np.concatenate(group)
    apart = len(places) - 1  # the models met the mean level of all
    parts = ([joined[at] for at in places], [joined_label[at] for at in places], [joined_group[at] for at in places])
    return likely_drifts(*parts, apart)


def fit_interval(
    log_odds: Sequence[Floats],
    label: Sequence[Floats],
    group: NDArray[np.int64],
    folds: Folds,
    blocks: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Interval:
    """Tabulate the interval over calibrated log-odds.

    Parameters
    ----------
    log_odds, label : sequence of array
        Calibrated log-odds and labels of the rows predicted out of fold, fold after fold.
    group : array of int
        Customer of these rows, joined.
    folds : Folds
        How they were made.
    blocks : array of int, optional
        Stretch of time of these rows, joined, for folds that are not in time: see `horizon_blocks`.
    seed : int
        Of the resamples.

    Returns
    -------
    dict
        `log_odds` are the starts of the steps after the first, `low` and `high` the probabilities of each
        step, one more than starts; `coverage` and `drift` say what they rest on.

    """
    ends = np.cumsum([len(part) for part in log_odds])[:-1]
    parted = np.split(group, ends)
    shares = _drift_shares(log_odds, label, parted, folds, blocks)
    joined = np.concatenate([raw + fit_level(raw, one) for raw, one in zip(log_odds, label, strict=True)])
    joined_label = np.concatenate(label)
    edges = _steps(joined)
    step = np.searchsorted(edges, joined, side="right").astype(np.int64)
    asked = np.arange(len(edges) + 1)
    codes = np.unique(group, return_inverse=True)[1]
    count = int(codes.max()) + 1
    generator = np.random.default_rng(seed)
    levels = generator.choice(DRIFTS, RESAMPLES, p=shares) * generator.normal(size=RESAMPLES)
    low, high = np.empty((RESAMPLES, len(asked))), np.empty((RESAMPLES, len(asked)))
    for at, level in enumerate(levels):
        drawn = np.bincount(generator.integers(0, count, count), minlength=count)[codes]
        p0, p1 = venn_abers(np.repeat(step, drawn), np.repeat(joined_label, drawn), asked)
        low[at], high[at] = _moved(p0, level), _moved(p1, level)
    tail = (1.0 - COVERAGE) / 2.0
    return {
        "log_odds": edges.tolist(),
        "low": np.quantile(low, tail, axis=0).round(6).tolist(),
        "high": np.quantile(high, 1.0 - tail, axis=0).round(6).tolist(),
        "coverage": COVERAGE,
        "drift": round(float(np.sqrt(shares @ DRIFTS**2)), 6),
    }


def _wilson(share: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """95 % interval of an observed share."""
    centre = (share + WILSON**2 / (2.0 * rows)) / (1.0 + WILSON**2 / rows)
    half = WILSON * np.sqrt(share * (1.0 - share) / rows + WILSON**2 / (4.0 * rows**2)) / (1.0 + WILSON**2 / rows)
    return centre - half, centre + half


def check_honesty(log_odds: Floats, low: Floats, high: Floats, label: Floats) -> dict[str, Any]:
    """Compare intervals with what came: rows in bins of equal count by log-odds, at most 15.

    Returns
    -------
    dict
        `mean_width`; `bins`; `bins_inside`: share of the bins whose observed rate lies in the mean interval;
        `bins_compatible`: share of those whose observed rate, with its own noise (95 %), reaches it.

    """
    parts = np.array_split(np.argsort(log_odds, kind="stable"), min(HONESTY_BINS, len(label)))
    rates = np.array([label[part].mean() for part in parts])
    bottom = np.array([low[part].mean() for part in parts])
    top = np.array([high[part].mean() for part in parts])
    least, most = _wilson(rates, np.array([float(len(part)) for part in parts]))
    return {
        "coverage": COVERAGE,
        "mean_width": float((high - low).mean()),
        "bins": len(parts),
        "bins_inside": float(((bottom <= rates) & (rates <= top)).mean()),
        "bins_compatible": float(((bottom <= most) & (least <= top)).mean()),
    }
