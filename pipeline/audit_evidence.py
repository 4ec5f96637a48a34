"""One piece of evidence about when a column was filled, and how much of it proves something."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from scipy.stats import poisson

from pipeline.audit_verdict import Figure

EXPECTED = 20.0
"""With so many expected and none seen, the true rate is below 15 % of the expected one (rule of three)."""

NEARLY_NONE = 0.01
"""Of the expected, this share may be seen: clerical errors."""

CERTAIN = 0.001
"""Chance at which an honest value would look as it does; small, because every level of every column is tried."""

_FAR_OFF = 4.0
"""Estimates from a few dozen rows have been off by a factor of two, in either direction."""

_LEAST_SHARE = 0.05
"""No row stands for more than twenty: the estimate is poor where few rows are that young."""


@dataclass(frozen=True)
class Evidence:
    """What one look at a column found.

    Parameters
    ----------
    verdict : {"leak", "suspicious", "none"}
        What it proves by itself.
    sentence : str
        With figures, without a full stop.
    question : str
        What to ask the owner of the CRM.
    suspicion : float
        0 to 1.
    figures : mapping of str to number or text
        Of the sentence.

    """

    verdict: Literal["leak", "suspicious", "none"]
    sentence: str
    question: str
    suspicion: float
    figures: Mapping[str, Figure] = field(default_factory=lambda: MappingProxyType({}))


def is_absent(seen: float, expected: float) -> bool:
    """Whether so few were seen, where so many were expected, that it asks for an explanation."""
    return expected >= EXPECTED and seen <= NEARLY_NONE * expected


def is_impossible(seen: float, expected: float) -> bool:
    """Whether a value that was known in time would not be seen so seldom, if the estimate is not far off."""
    return bool(poisson.cdf(seen, expected / _FAR_OFF) < CERTAIN)


def expected_later(lags: "np.ndarray[Any, Any]", ages: "np.ndarray[Any, Any]") -> float:
    """How many more there should be whose lag is longer than their age, by the lags of those that are there.

    Lags are only seen where `lag <= age`. Their distribution F comes from the product-limit estimate for
    right-truncated values; a row of age a stands for 1 / F(a) rows, so that (1 - F(a)) / F(a) are still to come.

    Parameters
    ----------
    lags, ages : ndarray of float
        Days, one entry per row that is seen.

    References
    ----------
    Lynden-Bell (1971); Kalbfleisch and Lawless (1989), Inference based on retrospective ascertainment.

    Examples
    --------
    One lag in two is 10 days long, and one row of three is only 5 days old:

    >>> lags, ages = np.array([1.0, 10.0, 1.0]), np.array([100.0, 100.0, 5.0])
    >>> expected_later(lags, ages)
    1.0

    """
    if len(lags) == 0:
        return 0.0
    steps, counts = np.unique(lags, return_counts=True)
    at_risk = np.searchsorted(np.sort(lags), steps, side="right") - np.searchsorted(np.sort(ages), steps, side="left")
    stays = 1.0 - counts / np.maximum(at_risk, counts)
    stays[0] = 1.0  # below the shortest lag that was ever seen nothing is known
    share = np.append(np.cumprod(stays[::-1])[::-1], 1.0)
    share_by_age = share[np.searchsorted(steps, ages, side="right")]
    share_by_age = np.maximum(share_by_age, _LEAST_SHARE)
    return float(((1.0 - share_by_age) / share_by_age).sum())
