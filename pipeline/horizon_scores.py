"""Scores of further horizons: probability and log-odds beside the primary horizon's row, which alone is graded."""

import pandas as pd

from models.predict import Bundle, to_probability
from pipeline.config import Config

_PRIMARY_ONLY = {
    **dict.fromkeys(
        ("probability_low", "probability_high", "value", "days_to_event", "points", "coverage"), float("nan")
    ),
    **dict.fromkeys(("grade", "card", "card_version")),
    "reasons": "[]",
}


def further_rows(bundle: Bundle | None, frame: pd.DataFrame, primary: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows of the further horizons of a model, one frame for each; none if it has one horizon.

    Parameters
    ----------
    bundle : Bundle or None
    frame : DataFrame
        Features of the scored rows.
    primary : DataFrame
        Their scores for the primary horizon, which stay as they are.

    """
    if bundle is None or not bundle.horizons:
        return []
    said = bundle.log_odds_by_horizon(frame, primary["log_odds"].to_numpy())
    return [
        primary.assign(**_PRIMARY_ONLY, horizon_days=days, log_odds=said[days], probability=to_probability(said[days]))
        for days in sorted(bundle.horizons)
    ]


def primary_scores(config: Config, scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of each target's primary horizon: those that are graded, explained and written back."""
    primary = {name: target.horizons_days[0] for name, target in config.targets.items()}
    return scores[scores["horizon_days"] == scores["target"].map(primary)]
