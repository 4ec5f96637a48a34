"""How past scores came out: settled with the tables of now, month by month of scoring."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.labels import build_labels
from features.tables import CrmTables
from models.information_value import wilson
from models.metrics import log_losses, measure
from pipeline.config import Config
from pipeline.deployment import make_target
from pipeline.ledger import Ledger
from pipeline.report_today import read_columns, scored_runs

MONTHS = 24
"""Months of scoring that are looked at, the newest ones."""
CALIBRATION_BINS = 10
SURE = 1.96
COLUMNS = ("target", "horizon_days", "entity_id", "as_of", "probability", "value", "points", "grade", "model_version")


@dataclass(frozen=True)
class Month:
    """The first scoring run of a month: what it said of those whose label is ripe, and what happened.

    Parameters
    ----------
    month : str
        Such as 2025-03.
    rows : int
        Scores of the run.
    ripe : int
        Those whose label is ripe; figures are about them alone, None where there are none.
    said, seen : float or None
        Mean likelihood, and the share of label 1 (means of money for a target of kind value).
    auc, card_auc, log_loss, base_loss : float or None
        The card is judged by its points; base_loss is that of the share itself, known in hindsight.
    auc_interval : pair of float or None

    """

    month: str
    rows: int
    ripe: int
    said: float | None = None
    seen: float | None = None
    auc: float | None = None
    auc_interval: tuple[float, float] | None = None
    card_auc: float | None = None
    log_loss: float | None = None
    base_loss: float | None = None
    versions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Share:
    """Rows of a bin or a grade: what was said of them, what happened, and its interval (Wilson, 95 %)."""

    name: str
    rows: int
    said: float
    seen: float
    low: float
    high: float


@dataclass(frozen=True)
class Quality:
    """Months of one target, the oldest first, and what all ripe scores together show."""

    target: str
    months: tuple[Month, ...]
    bins: tuple[Share, ...]
    grades: tuple[Share, ...]

    @property
    def ripe(self) -> int:
        """Ripe scores of all months."""
        return sum(one.ripe for one in self.months)


def read_quality(config: Config, tables: CrmTables, monthly: pd.DataFrame) -> tuple[Quality, ...]:
    """Settle the scores of `read_monthly_scores`, for every target."""
    return tuple(_settle(config, tables, name, monthly) for name in config.targets)


def read_monthly_scores(config: Config, ledger: Ledger) -> pd.DataFrame:
    """Scores of the first run of each of the newest months: `COLUMNS` and month.

    A run whose folder is gone (see retention) is read from the ledger. An entity that was forgotten is in neither.
    """
    first: dict[str, Any] = {}
    for run in scored_runs(ledger):
        first.setdefault(str(run.details["data_end"])[:7], run)
    parts = []
    for month in sorted(first)[-MONTHS:]:
        run = first[month]
        stored = read_columns(config.folder / "runs" / run.run_id / "scores.parquet", COLUMNS)
        frame = ledger.scores(run.run_id)[list(COLUMNS)] if stored.empty else stored
        parts.append(frame.assign(month=month))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, "month"])


def _settle(config: Config, tables: CrmTables, name: str, scores: pd.DataFrame) -> Quality:
    target = make_target(config, name)
    mine = scores[(scores["target"] == name) & (scores["horizon_days"] == target.horizon_days)]
    if mine.empty:
        return Quality(name, (), (), ())
    labels = build_labels(tables, mine[["entity_id", "as_of"]].drop_duplicates(), target)
    settled = mine.merge(labels[["entity_id", "as_of", "label"]], on=["entity_id", "as_of"], how="left")
    months = tuple(measure_month(str(month), part, target.kind) for month, part in settled.groupby("month", sort=True))
    ripe = settled[settled["label"].notna() & settled["probability"].notna()]
    if target.kind == "value" or ripe.empty:
        return Quality(name, months, (), ())
    grades = [_share(str(grade), part) for grade, part in ripe.groupby("grade", sort=False)]
    return Quality(name, months, bin_shares(ripe), tuple(grades))


def measure_month(month: str, rows: pd.DataFrame, kind: str) -> Month:
    """Measure the scores of one run.

    Parameters
    ----------
    month : str
    rows : DataFrame
        probability, value, points, model_version, label (null until it is ripe).
    kind : str
        Of the target.

    """
    said = rows["value"] if kind == "value" else rows["probability"]
    ripe = rows[rows["label"].notna() & said.notna()]
    versions = tuple(sorted(set(rows["model_version"].dropna().astype(str))))
    if ripe.empty:
        return Month(month, len(rows), 0, versions=versions)
    label = ripe["label"].to_numpy(dtype=float)
    known = {"said": float(said[ripe.index].mean()), "seen": float(label.mean()), "versions": versions}
    if kind == "value":
        return Month(month, len(rows), len(ripe), **known)  # type: ignore[arg-type]
    probability = ripe["probability"].to_numpy(dtype=float)
    figures = measure(label, probability, resamples=0)
    share = np.full(len(label), label.mean())
    return Month(
        month=month,
        rows=len(rows),
        ripe=len(ripe),
        auc=figures["auc"],
        auc_interval=auc_interval(figures["auc"], int(label.sum()), len(label)),
        card_auc=_card_auc(ripe, label, kind),
        log_loss=figures["log_loss"],
        base_loss=float(log_losses(label, share).mean()),
        **known,  # type: ignore[arg-type]
    )


def _card_auc(ripe: pd.DataFrame, label: np.ndarray, kind: str) -> float | None:
    """AUC of the points, which are high for customers who are wanted: of staying, where label 1 is leaving."""
    points = ripe["points"].to_numpy(dtype=float)
    known = np.isfinite(points)
    if not known.any():
        return None
    said = 1.0 - points / 100.0 if kind == "churn" else points / 100.0
    found: float | None = measure(label[known], said[known], resamples=0)["auc"]
    return found


def auc_interval(auc: float | None, events: int, rows: int) -> tuple[float, float] | None:
    """Interval (95 %) of an AUC by its standard error; None where there is no AUC.

    References
    ----------
    Hanley, J. A., McNeil, B. J. (1982). The meaning and use of the area under a receiver operating characteristic
    (ROC) curve. Radiology 143, 29-36.

    Examples
    --------
    >>> [round(one, 3) for one in auc_interval(0.8, 50, 100)]
    [0.713, 0.887]

    """
    if auc is None:
        return None
    others = rows - events
    first, second = auc / (2.0 - auc), 2.0 * auc**2 / (1.0 + auc)
    spread = auc * (1.0 - auc) + (events - 1) * (first - auc**2) + (others - 1) * (second - auc**2)
    error = SURE * (spread / (events * others)) ** 0.5
    return max(0.0, auc - error), min(1.0, auc + error)


def bin_shares(ripe: pd.DataFrame) -> tuple[Share, ...]:
    """Ripe scores in bins of equal count, the least likely first; equal scores stay together."""
    ranks = ripe["probability"].rank(method="average", pct=True).to_numpy()
    places = np.minimum((ranks * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return tuple(_share(str(place + 1), part) for place, part in ripe.groupby(places, sort=True))


def _share(name: str, rows: pd.DataFrame) -> Share:
    seen, count = float(rows["label"].mean()), len(rows)
    low, high = wilson(np.array([rows["label"].sum()]), np.array([count]))
    return Share(name, count, float(rows["probability"].mean()), seen, float(low[0]), float(high[0]))
