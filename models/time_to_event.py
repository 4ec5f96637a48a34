"""Days until the event, from what the models of several horizons say.

With F(h) the probability of the event within h days, the cumulative hazard H(h) = -log(1 - F(h)) is known at each
horizon, and H(0) = 0. In between the hazard is taken to be constant, so H is a straight line from one horizon to the
next (the constant hazard interpolation of Kvamme and Borgan), and

    median = h1 + (h2 - h1) (log 2 - H(h1)) / (H(h2) - H(h1))   where H(h1) < log 2 <= H(h2).

Of what comes after the longest horizon nothing is known: where the event is less likely than not until then, there is
no median. Nothing is extrapolated.

The event of a deal is that it is won; of churn by orders, the next order (not that the customer leaves, which is no
moment); of churn by subscription, that no subscription is alive.

References
----------
H. Kvamme and O. Borgan (2021). Continuous and discrete-time survival prediction with neural networks. Lifetime Data
Analysis 27, 710-736, section 3.2.
F. E. Harrell, K. L. Lee and D. B. Mark (1996). Multivariable prognostic models. Statistics in Medicine 15, 361-387
(the concordance index).

"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.metrics import measure
from models.predict import Floats, to_probability

_MEDIAN = np.log(2.0)


def cumulative_hazards(log_odds: Mapping[int, Floats], direction: int) -> tuple[Floats, Floats]:
    """Return days (0 and the horizons) and H at each of them, rows x days, which never falls along a row.

    Parameters
    ----------
    log_odds : mapping of int to array
        Log-odds of the target by the days of the horizon, in the target's direction.
    direction : {+1, -1}
        -1 where the target is that the event does not happen.

    """
    days = np.array([0, *sorted(log_odds)], dtype=np.float64)
    steps = [np.logaddexp(0.0, direction * log_odds[int(day)]) for day in days[1:]]  # -log(1 - F), without overflow
    return days, np.column_stack([np.zeros_like(steps[0]), *steps])


def days_to_event(log_odds: Mapping[int, Floats], direction: int) -> Floats:
    """Median days until the event; NaN where it is less likely than not within the longest horizon.

    Examples
    --------
    An event with probability 1/4 within 30 days and 3/4 within 90: H is log(4/3) and log(4), so that the median is
    30 + 60 log(3/2) / log(3) = 52.1 days.

    >>> said = {30: np.array([-np.log(3.0)]), 90: np.array([np.log(3.0)])}
    >>> days_to_event(said, +1).round(1).tolist()
    [52.1]

    """
    days, hazard = cumulative_hazards(log_odds, direction)
    reached = hazard >= _MEDIAN
    at = np.maximum(reached.argmax(axis=1), 1)
    row = np.arange(len(hazard))
    low, high = hazard[row, at - 1], hazard[row, at]
    with np.errstate(divide="ignore", invalid="ignore"):
        median = days[at - 1] + (days[at] - days[at - 1]) * ((_MEDIAN - low) / (high - low))
    return np.where(reached.any(axis=1), median, np.nan)


def event_by(log_odds: Mapping[int, Floats], direction: int, days: float) -> Floats:
    """Probability of the event within some days, at most the longest horizon.

    >>> said = {30: np.array([-np.log(3.0)]), 90: np.array([np.log(3.0)])}
    >>> event_by(said, +1, 60.0).round(4).tolist()  # H is halfway between log(4/3) and log(4)
    [0.567]

    """
    known, hazard = cumulative_hazards(log_odds, direction)
    at = int(np.clip(np.searchsorted(known, days, side="left"), 1, len(known) - 1))
    share = (days - known[at - 1]) / (known[at] - known[at - 1])
    return np.asarray(-np.expm1(-(hazard[:, at - 1] + share * (hazard[:, at] - hazard[:, at - 1]))))


def expected_days(log_odds: Mapping[int, Floats], direction: int) -> Floats:
    """Expected days without the event within the longest horizon: the area under 1 - F until then.

    >>> expected_days({10: np.array([0.0])}, +1).round(4).tolist()  # 10 / 2 / log 2
    [7.2135]

    """
    days, hazard = cumulative_hazards(log_odds, direction)
    width, steps = np.diff(days), np.diff(hazard, axis=1)
    small = steps < 1e-12
    mean = np.where(small, 1.0, -np.expm1(-steps) / np.where(small, 1.0, steps))
    return np.asarray((np.exp(-hazard[:, :-1]) * mean * width).sum(axis=1))


def concordance(interval: NDArray[np.int64], expected: Floats, weight: Floats | None = None) -> float:
    """Share of comparable pairs whose events came in the expected order; equal expectations count half.

    Parameters
    ----------
    interval : array of int
        Between which horizons the event of each row came: 0 up to the first one, 1 up to the second, ...; the last
        number is for rows without an event until the longest. Two rows of one interval are not comparable.
    expected : array of float
        Expected days.
    weight : array of float, optional
        How often each row counts.

    Returns
    -------
    float
        NaN if no two rows are comparable.

    Examples
    --------
    The first came first, as expected; the second was expected last.

    >>> concordance(np.array([0, 1, 2]), np.array([1.0, 9.0, 5.0]))  # of three pairs, two are in order
    0.6666666666666666

    """
    weight = np.ones(len(interval)) if weight is None else weight
    place = np.unique(expected, return_inverse=True)[1]
    counts = np.array([np.bincount(place[interval == k], weight[interval == k], place.max() + 1)
                       for k in range(int(interval.max()) + 1)])  # fmt: skip
    later = counts.sum(axis=0) - counts.cumsum(axis=0)
    above = later.sum(axis=1, keepdims=True) - later.cumsum(axis=1)
    pairs = float((counts.sum(axis=1) * later.sum(axis=1)).sum())
    return float((counts * (above + later / 2)).sum() / pairs) if pairs else float("nan")


def measure_time_to_event(
    log_odds: Mapping[int, Floats],
    labels: Mapping[int, Floats],
    direction: int,
    group: NDArray[Any] | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure event times on rows that no model was fitted on.

    Only horizons tell when an event came, so the concordance compares rows whose events came between different
    ones. What is said between horizons can be checked at inner ones alone: `interpolated` is what the neighbours
    would say there.

    Parameters
    ----------
    log_odds, labels : mapping of int to array
        By the days of the horizon; a label is NaN where it is censored, and such rows are left out.
    direction : {+1, -1}
    group : array, optional
        Customers, who are resampled as a whole.
    resamples, seed : int

    Returns
    -------
    dict
        rows; concordance and its interval (the middle 95 % of resamples); by_horizon: days, probability and share
        of events until then, their calibration error, interpolated probability; without_median: share of rows whose
        event is less likely than not until longest_days.

    """
    days = sorted(log_odds)
    known = ~np.isnan(np.column_stack([labels[day] for day in days])).any(axis=1)
    said = {day: log_odds[day][known] for day in days}
    happened = {day: labels[day][known] if direction > 0 else 1.0 - labels[day][known] for day in days}
    came = np.column_stack([happened[day] for day in days]) > 0.5
    interval = np.where(came.any(axis=1), came.argmax(axis=1), len(days)).astype(np.int64)
    expected, median = expected_days(said, direction), days_to_event(said, direction)
    who = np.arange(len(interval)) if group is None else np.unique(group[known].astype(str), return_inverse=True)[1]
    draws = [concordance(interval, expected, weight) for weight in _weights(who, resamples, seed)]
    found = [draw for draw in draws if draw == draw]
    return {
        "rows": int(known.sum()),
        "concordance": concordance(interval, expected),
        "interval": {"concordance": [float(one) for one in np.quantile(found, [0.025, 0.975])]} if found else {},
        "by_horizon": [_check_horizon(day, said, happened[day], direction) for day in days],
        "without_median": float(np.isnan(median).mean()),
        "longest_days": days[-1],
    }


def _weights(who: NDArray[np.int64], resamples: int, seed: int) -> list[Floats]:
    """How often each row counts in resamples of whole groups."""
    generator, groups = np.random.default_rng(seed), int(who.max()) + 1
    draws = (generator.multinomial(groups, np.full(groups, 1.0 / groups)) for _ in range(resamples))
    return [draw[who].astype(np.float64) for draw in draws]


def _check_horizon(days: int, said: Mapping[int, Floats], happened: Floats, direction: int) -> dict[str, Any]:
    probability = to_probability(direction * said[days])
    others = {other: values for other, values in said.items() if other != days}
    is_inner = bool(others) and days < max(others)
    return {
        "days": days,
        "probability": float(probability.mean()),
        "share": float(happened.mean()),
        "calibration_error": measure(happened, probability, resamples=0)["calibration_error"],
        "interpolated": float(event_by(others, direction, days).mean()) if is_inner else None,
    }
