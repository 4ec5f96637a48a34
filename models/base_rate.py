"""The simplest candidate: everybody gets the base rate."""

from collections.abc import Sequence

import numpy as np

from models.candidate import Floats, Member, Setting
from models.encoding import CodedRows


def smoothed_log_odds(label: Floats) -> float:
    """Log-odds of the share of ones, with half a row added to either side."""
    ones = float(label.sum())
    return float(np.log((ones + 0.5) / (len(label) - ones + 0.5)))


class BaseRate:
    """Predicts the share of positives among the training rows."""

    name = "base_rate"

    def settings(self, rows: CodedRows) -> Sequence[Setting]:
        """There is nothing to set."""
        return [{}]

    def log_odds(self, train: CodedRows, valid: CodedRows, settings: Sequence[Setting]) -> Floats:
        """Return the same log-odds for every row."""
        return np.full((len(settings), len(valid)), smoothed_log_odds(train.label))

    def fit(self, rows: CodedRows, setting: Setting) -> Member:
        """Return an intercept without terms."""
        return Member({"kind": "linear", "intercept": smoothed_log_odds(rows.label), "terms": []})
