"""What a model says of rows, column by column of the score frame: the same for a scoring run and an explanation."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.predict import Bundle, to_probability
from pipeline.contract import unseen_shares

Floats = NDArray[np.float64]


def model_values(bundle: Bundle, frame: pd.DataFrame, log_odds: Floats | None = None) -> dict[str, Any]:
    """Probability, its interval, log-odds and the share of unseen values of each row, by score column.

    A model of revenue gives the value instead, of which its log-odds are the logarithm.

    Parameters
    ----------
    bundle : Bundle
    frame : DataFrame
        Features.
    log_odds : array, optional
        Of the rows, where they were computed already.

    """
    said = bundle.log_odds(frame) if log_odds is None else log_odds
    if bundle.is_value:
        nothing = dict.fromkeys(("probability", "log_odds"), np.nan)
        return {**nothing, "value": np.exp(said), "unseen_share": unseen_shares(bundle, frame)}
    low, high = bundle.interval(said)
    return {
        "probability": to_probability(said),
        "probability_low": low,
        "probability_high": high,
        "log_odds": said,
        "unseen_share": unseen_shares(bundle, frame),
    }
