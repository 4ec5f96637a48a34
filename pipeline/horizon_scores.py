"""Scores of further horizons: probability and log-odds beside the primary horizon's row, which alone is graded."""

import pandas as pd

from models.errors import BundleError
from models.predict import Bundle, to_probability
from models.time_to_event import days_to_event
from pipeline.config import Config
from pipeline.config_schema import Target

_PRIMARY_ONLY = {
    **dict.fromkeys(
        ("probability_low", "probability_high", "value", "days_to_event", "unseen_share", "points", "coverage"),
        float("nan"),
    ),
    **dict.fromkeys(("grade", "card_grade", "graded_by", "vetoes", "flags", "card", "card_version")),
    "reasons": "[]",
}


def check_horizons(name: str, bundle: Bundle, target: Target) -> str | None:
    """Compare the horizons of a model with those of the config.

    Returns
    -------
    str or None
        What to say where further horizons were not trained yet, and the scores do without them.

    Raises
    ------
    BundleError
        If the primary horizon is another one.

    """
    trained, asked = bundle.manifest.get("horizon"), target.horizons_days[0]
    if trained not in (None, asked):
        raise BundleError(
            f"Target '{name}': the live model was trained for {trained} days and targets.{name}.horizons_days begins "
            f"with {asked}. Train again, or put {trained} first."
        )
    missing = [str(days) for days in target.horizons_days[1:] if days not in bundle.horizons]
    if not missing:
        return None
    return f"{name}: the live model has no horizon of {', '.join(missing)} days. Train again to score it."


def with_horizons(
    target: Target, bundle: Bundle | None, frame: pd.DataFrame, primary: pd.DataFrame
) -> list[pd.DataFrame]:
    """Scores of all horizons that the config asks for and the model has, one frame for each.

    Parameters
    ----------
    target : Target
        Of the config.
    bundle : Bundle or None
    frame : DataFrame
        Features of the scored rows.
    primary : DataFrame
        Their scores for the primary horizon, to which `days_to_event` is added where it is asked for.

    """
    further = [] if bundle is None else [days for days in target.horizons_days[1:] if days in bundle.horizons]
    if bundle is None or not further:
        return [primary]
    said = bundle.log_odds_by_horizon(frame, primary["log_odds"].to_numpy())
    if target.time_to_event:
        primary = primary.assign(days_to_event=days_to_event(said, int(bundle.manifest["horizons"]["direction"])))
    return [
        primary,
        *(
            primary.assign(
                **_PRIMARY_ONLY, horizon_days=days, log_odds=said[days], probability=to_probability(said[days])
            )
            for days in sorted(further)
        ),
    ]


def primary_scores(config: Config, scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of each target's primary horizon: those that are graded, explained and written back."""
    primary = {name: target.horizons_days[0] for name, target in config.targets.items()}
    return scores[scores["horizon_days"] == scores["target"].map(primary)]
