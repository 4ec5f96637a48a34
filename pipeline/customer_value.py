"""What customers are worth: profit so far, and revenue and profit that are still expected of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import DataError
from models.bg_nbd import Histories
from models.lifecycle import Purchases
from models.lifetime_value import (
    MIN_REPEATERS,
    YEAR_DAYS,
    PurchaseModel,
    at_level_of,
    carry_over,
    fit_purchase_model,
)
from models.value_classes import shares
from pipeline.config import Config

Floats = NDArray[np.float64]


def add_profit(figures: pd.DataFrame, margin: float | None) -> pd.DataFrame:
    """Add profit, profit_365d, their base and profit_share.

    Profit is amount less cost where the cost is known, and `margin` of the amount where it is not; without a margin
    such orders are left out, and a customer without an order of known cost has no profit (null). profit_share is the
    share of profit_365d in that of all.
    """
    frame = figures.copy()
    for window, amount in (("", "revenue"), ("_365d", "revenue_365d")):
        profit, costed = frame[f"profit{window}"], frame[f"costed{window}"]
        if margin is not None:
            rest = frame[amount] - costed.fillna(0.0)
            frame[f"profit{window}"], frame[f"costed{window}"] = profit.fillna(0.0) + margin * rest, frame[amount]
    frame["profit_share"] = shares(frame["profit_365d"])
    return frame


def margin_shares(figures: pd.DataFrame) -> Floats:
    """Share of each customer's amounts that is profit, pulled to that of all the fewer amounts there are.

    (own profit + m * a) / (own amounts + a), with m the share of all customers together and a the median amount of a
    customer: a customer like the median one is believed by half. Null where no cost is known.
    """
    profit, amount = (figures[name].fillna(0.0).to_numpy(np.float64) for name in ("profit", "costed"))
    known = amount > 0.0
    if not known.any():
        return np.full(len(figures), np.nan)
    overall, weight = float(profit[known].sum() / amount[known].sum()), float(np.median(amount[known]))
    return np.where(known, (profit + overall * weight) / (np.maximum(amount, 0.0) + weight), overall)


def read_model_values(config: Config, folder: Path) -> "pd.Series[float] | None":
    """Revenue that a target of kind `value` expects of each customer, named by its horizon in days; None without."""
    names = [name for name, target in config.targets.items() if target.kind == "value"]
    path = folder / "scores.parquet"
    if not names or not path.is_file():
        return None
    days = config.targets[names[0]].horizons_days[0]
    wanted = [("target", "==", names[0]), ("horizon_days", "==", days)]
    try:
        scores = pd.read_parquet(path, columns=["entity_id", "value"], filters=wanted)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({' '.join(str(error).split())[:200]}). Score again.") from None
    return None if scores["value"].isna().all() else scores.set_index("entity_id")["value"].rename(str(days))


def lifetime_values(
    config: Config,
    figures: pd.DataFrame,
    purchases: Purchases | None,
    mean: Floats,
    from_model: "pd.Series[float] | None",
    notes: list[str],
) -> dict[str, Any]:
    """lifetime_value, lifetime_margin and lifetime_source of each customer; see `models.lifetime_value`.

    A customer whom the value model scored gets the model's value, carried over (source `model`), others who ever
    bought get that of the purchase history (`history`), the rest null. From a horizon of less than a year to a longer
    one, the model tells customers apart and the histories tell the level: a part of a year has a season, and lifetime
    value would go up and down with it. A sentence is added to `notes` where histories are too few to tell anything.

    Parameters
    ----------
    config : Config
    figures : DataFrame
        Of each customer, with profit; see `add_profit`.
    purchases : Purchases or None
        None without orders.
    mean : array
        Mean amount of a purchase day.
    from_model : Series or None
        See `read_model_values`.
    notes : list of str

    """
    rules, count = config.value_classes, len(figures)
    value, source = np.full(count, np.nan), np.full(count, None, dtype=object)
    histories, fitted = _fit(figures, purchases, mean)
    bought = ~np.isnan(histories.age)
    if fitted is not None:
        value[bought] = fitted.value(
            histories.take(bought), mean[bought], rules.horizon_days, rules.annual_discount_rate
        )
        source[bought] = "history"
    elif purchases is not None:
        notes.append(
            f"Lifetime value from purchase histories needs {MIN_REPEATERS} customers who came back, and "
            f"{int((purchases.repeats > 0).sum())} have. It stays empty until then, or until a target of kind 'value' "
            "has a model."
        )
    if from_model is not None:
        days = float(str(from_model.name))
        said = np.asarray(from_model.reindex(figures["customer_id"]), dtype=np.float64)
        carried = carry_over(said, days, fitted, histories, rules.horizon_days, rules.annual_discount_rate)
        if days < min(YEAR_DAYS, rules.horizon_days):
            carried = at_level_of(carried, value)
        known = ~np.isnan(carried)
        value[known], source[known] = carried[known], "model"
    margin = value * margin_shares(figures)
    return {"lifetime_value": value, "lifetime_margin": margin, "lifetime_source": source}


def _fit(figures: pd.DataFrame, purchases: Purchases | None, mean: Floats) -> tuple[Histories, PurchaseModel | None]:
    """Return the history of each customer (NaN without a purchase), and the model fitted to those who bought."""
    if purchases is None:
        nothing = np.full(len(figures), np.nan)
        return Histories(nothing, nothing, nothing), None
    histories = Histories(purchases.repeats, purchases.until_last, purchases.age)
    bought = ~np.isnan(histories.age)
    total = float(figures["bought"].sum())
    net = min(max(float(figures["revenue"].sum()) / total, 0.0), 1.0) if total > 0 else 1.0
    return histories, fit_purchase_model(histories.take(bought), mean[bought], net) if bought.any() else None
