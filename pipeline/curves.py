"""The numbers behind the plots: how well a probability sorts, and whether it means what it says.

Every function takes labels (1 = the event happened, 0 = it did not) and predicted probabilities,
one per row. Rows with the same probability stay together, so no answer depends on the order of rows.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from features.errors import DataError


def check_rows(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and probabilities as float64 of equal length, both outcomes among them.

    Raises
    ------
    DataError
        If lengths differ, a label is not 0 or 1, a probability is outside [0, 1], or only one
        outcome occurs.

    """
    labels, chances = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if labels.shape != chances.shape or labels.ndim != 1:
        raise DataError(
            f"Labels have shape {labels.shape} and probabilities {chances.shape}. Pass one of each per row."
        )
    if not np.isin(labels, (0.0, 1.0)).all():
        bad = labels[~np.isin(labels, (0.0, 1.0))]
        raise DataError(
            f"{len(bad)} of {len(labels)} labels are not 0 or 1 (such as {bad[0]}). Leave censored rows out."
        )
    if not ((chances >= 0) & (chances <= 1)).all():
        bad = chances[~((chances >= 0) & (chances <= 1))]
        raise DataError(
            f"{len(bad)} of {len(chances)} probabilities are outside [0, 1] (such as {bad[0]}). Pass probabilities."
        )
    if len(np.unique(labels)) < 2:
        raise DataError(
            f"All {len(labels)} labels are equal, so nothing can be ranked. Use a test block with both outcomes."
        )
    return labels, chances


def _cumulated(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds from high to low, with rows and events at or above each."""
    labels, chances = check_rows(y, p)
    order = np.argsort(-chances, kind="stable")
    sorted_chances = chances[order]
    last = np.append(np.flatnonzero(np.diff(sorted_chances)), len(chances) - 1)
    return sorted_chances[last], last + 1.0, np.cumsum(labels[order])[last]


def roc_curve(y: np.ndarray, p: np.ndarray) -> pd.DataFrame:
    """Share of events and of non-events at or above each threshold.

    Returns
    -------
    DataFrame
        `threshold`, `false_positive_rate`, `true_positive_rate`, from (inf, 0, 0) to (min p, 1, 1).

    """
    thresholds, rows, events = _cumulated(y, p)
    others = rows - events
    return pd.DataFrame(
        {
            "threshold": np.append(np.inf, thresholds),
            "false_positive_rate": np.append(0.0, others / others[-1]),
            "true_positive_rate": np.append(0.0, events / events[-1]),
        }
    )


def roc_area(roc: pd.DataFrame) -> float:
    """Area under a `roc_curve`: the share of (event, non-event) pairs in the right order, ties half."""
    return float(np.trapezoid(roc["true_positive_rate"], roc["false_positive_rate"]))


def precision_recall_curve(y: np.ndarray, p: np.ndarray) -> pd.DataFrame:
    """Share of rows at or above each threshold that are events, and the share of events they hold.

    Returns
    -------
    DataFrame
        `threshold` (falling), `recall`, `precision`.

    """
    thresholds, rows, events = _cumulated(y, p)
    return pd.DataFrame({"threshold": thresholds, "recall": events / events[-1], "precision": events / rows})


def average_precision(curve: pd.DataFrame) -> float:
    """Precision averaged over the events found: each step of recall times its precision."""
    return float((np.diff(curve["recall"], prepend=0.0) * curve["precision"]).sum())


def calibration_bins(y: np.ndarray, p: np.ndarray, bins: int = 15) -> pd.DataFrame:
    """Predicted and observed rate in bins of equally many rows, sorted by probability.

    Returns
    -------
    DataFrame
        `rows`, `predicted` (mean probability), `observed` (share of events) and its 95 % Wilson
        interval `low`, `high`; fewer bins where many rows share one probability.

    References
    ----------
    Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference.

    """
    labels, chances = check_rows(y, p)
    rank = pd.Series(chances).rank(method="average").to_numpy() - 0.5
    frame = pd.DataFrame({"bin": (rank * bins // len(chances)).astype(int), "y": labels, "p": chances})
    grouped = frame.groupby("bin").agg(rows=("y", "size"), predicted=("p", "mean"), observed=("y", "mean"))
    n, rate, z = grouped["rows"], grouped["observed"], 1.959963984540054
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return grouped.assign(low=(centre - half).clip(lower=0), high=(centre + half).clip(upper=1)).reset_index(drop=True)


def gains_curve(y: np.ndarray, p: np.ndarray) -> pd.DataFrame:
    """What one gets by contacting the highest probabilities first.

    Returns
    -------
    DataFrame
        `contacted` (share of rows, from 0 to 1), `captured` (share of events among them) and
        `lift` (captured / contacted; that of the first step at 0).

    """
    _, rows, events = _cumulated(y, p)
    contacted, captured = rows / rows[-1], events / events[-1]
    lift = captured / contacted
    return pd.DataFrame(
        {
            "contacted": np.append(0.0, contacted),
            "captured": np.append(0.0, captured),
            "lift": np.append(lift[0], lift),
        }
    )


def captured_at(gains: pd.DataFrame, share: float) -> float:
    """Share of events among the first `share` of rows; rows with equal probability count in part."""
    return float(np.interp(share, gains["contacted"], gains["captured"]))


def importance_shares(importances: Mapping[str, float], top: int = 20) -> pd.DataFrame:
    """Share of the total importance per feature, largest first (equal ones by name).

    Returns
    -------
    DataFrame
        `feature`, `share` of the first `top` features; "other features (n)" closes the list with
        the rest, so that shares add up to 1. Features of no importance are left out.

    """
    values = pd.Series(dict(importances), dtype="float64")
    if not (values >= 0).all():
        bad = values.index[~(values >= 0)][0]
        raise DataError(
            f"Importance of '{bad}' is {values[bad]}, expected 0 or more. Pass gains or mean absolute effects."
        )
    values = values[values > 0]
    ordered = values.sort_index().sort_values(ascending=False, kind="stable")
    shares = ordered / ordered.sum()
    names, rest = [str(name) for name in shares.index], shares.iloc[top:]
    if len(rest):
        shares = pd.concat([shares.iloc[:top], pd.Series([rest.sum()])])
        names = [*names[:top], f"other features ({len(rest)})"]
    return pd.DataFrame({"feature": names, "share": shares.to_numpy()})


def score_histogram(y: np.ndarray, p: np.ndarray, bins: int = 25) -> pd.DataFrame:
    """Rows per interval of probability `[low, high)`, the last one closed, for each outcome.

    Returns
    -------
    DataFrame
        `low`, `high`, `others` and `events` (counts), from 0 to the highest probability rounded up
        to a tenth.

    """
    labels, chances = check_rows(y, p)
    top = max(np.ceil(chances.max() * 10 - 1e-9) / 10, 0.1)
    edges = np.linspace(0.0, top, bins + 1)
    events = np.histogram(chances[labels == 1], edges)[0]
    others = np.histogram(chances[labels == 0], edges)[0]
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "others": others, "events": events})
