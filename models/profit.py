"""What contacting the likeliest first would have brought, at a value per event and a cost per contact."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.selection import clustered_error

Floats = NDArray[np.float64]
NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class ProfitFigures:
    """Profit on labelled rows, in the currency of value and cost.

    Parameters
    ----------
    value_per_event, cost_per_contact : float
    threshold : float
        cost / value: from this probability on a contact pays.
    contacted : int
        Rows at or above the threshold.
    profit : float
        What contacting these brings, known without hindsight.
    interval : (low, high)
        Of that profit, 95 %, between groups.
    best_contacted, best_profit : int, float
        The best count in hindsight, and its profit.
    all_profit : float
        Contacting everybody; nobody brings 0.

    """

    value_per_event: float
    cost_per_contact: float
    threshold: float
    contacted: int
    profit: float
    interval: tuple[float, float]
    best_contacted: int
    best_profit: float
    all_profit: float


def profit_curve(label: Floats, probability: Floats, value: float, cost: float) -> pd.DataFrame:
    """Profit of contacting all rows at or above each probability; rows of one probability are contacted together.

    Returns
    -------
    DataFrame
        `contacted` (rows) and `profit`, from nobody (0, 0) to everybody.

    Examples
    --------
    >>> profit_curve(np.array([1.0, 0.0, 1.0]), np.array([0.9, 0.5, 0.1]), 10, 1).to_numpy().tolist()
    [[0.0, 0.0], [1.0, 9.0], [2.0, 8.0], [3.0, 17.0]]

    """
    order = np.argsort(-probability, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(probability[order])), len(order) - 1)
    contacted = ends + 1.0
    profit = value * np.cumsum(label[order])[ends] - cost * contacted
    return pd.DataFrame({"contacted": np.append(0.0, contacted), "profit": np.append(0.0, profit)})


def measure_profit(
    label: Floats, probability: Floats, group: NDArray[np.int64], value: float, cost: float
) -> ProfitFigures:
    """Measure the profit of the rule "contact from cost / value on", and of the best count in hindsight."""
    curve = profit_curve(label, probability, value, cost)
    best = int(curve["profit"].to_numpy().argmax())
    contacts = probability >= cost / value
    gains = np.where(contacts, value * label - cost, 0.0)
    half = NORMAL_95 * clustered_error(gains, np.unique(group, return_inverse=True)[1].astype(np.int64)) * len(gains)
    profit = float(gains.sum())
    return ProfitFigures(
        value_per_event=value,
        cost_per_contact=cost,
        threshold=cost / value,
        contacted=int(contacts.sum()),
        profit=profit,
        interval=(profit - half, profit + half),
        best_contacted=int(curve["contacted"][best]),
        best_profit=float(curve["profit"][best]),
        all_profit=float(curve["profit"].iloc[-1]),
    )
