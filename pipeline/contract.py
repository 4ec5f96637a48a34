"""The contract between a model and the rows it scores: what stops a scoring job before anything is written.

LightGBM takes a matrix as it comes: of a column that came under another name, empty, in cents or full of new
categories it says nothing. What training met is in the manifest of the bundle (`models.input_facts`); bundles
saved before there was such a part are checked for names and types alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.build import FeatureFrame
from features.errors import DataError
from models.errors import BundleError
from models.input_facts import middle_sizes
from models.predict import UNSEEN, Bundle, read_columns

MIN_UNSEEN = 10
"""Rows with an unseen category that it takes to stop: fewer may be chance."""
USUALLY_FILLED = 0.5
"""A column with a value in this share of the training rows, or more, is missed when it is empty."""
CHANCE = 0.001
"""How unlikely it must be that a column is empty in all rows by chance."""
MIN_SIZED = 30
"""Values that it takes to say that a column is in another scale."""
OTHER_SCALE = 30.0
"""Times by which the middle of a column must have moved, its middle 80 % lying apart from those of training."""
SCALED_UNITS = ("currency", "count", "rate")
"""Units in which a source delivers numbers; the others are computed here."""


def check_contract(name: str, bundle: Bundle, built: FeatureFrame, currency: str, max_unseen_share: float) -> None:
    """Check that rows to score are what the model of a target was fitted on.

    Parameters
    ----------
    name : str
        The target, for the sentences.
    bundle : Bundle
    built : FeatureFrame
        Features of the rows to score.
    currency : str
        Of the amounts among them.
    max_unseen_share : float
        Share of a text column's values that may be categories the model has never met, beyond the share
        that the newest training rows had beside older ones.

    Raises
    ------
    BundleError
        If a column is missing or of another type.
    DataError
        If a column is in another unit or scale, empty though it was usually filled, or full of categories
        that the model has never met.

    """
    _check_names(name, bundle, built)
    columns = _read(name, bundle, built.frame)
    facts: Mapping[str, Any] = bundle.manifest.get("input") or {}
    if not facts:
        return
    _check_units(name, facts, built, currency)
    for entry in bundle.columns:
        column = str(entry["name"])
        about = facts["columns"].get(column, {})
        _check_filled(name, column, built.frame[column], about, int(facts["rows"]))
        if entry["kind"] == "text":
            unseen = columns[column] == UNSEEN
            _check_unseen(name, built.frame[column], unseen, about.get("unseen"), max_unseen_share)
        else:
            _check_scale(name, built.frame[column], about)


def unseen_shares(bundle: Bundle, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Share of the model's text columns, per row, whose category it has never met; 0 if it has none."""
    text = [entry for entry in bundle.columns if entry["kind"] == "text"]
    if not text:
        return np.zeros(len(frame))
    columns = read_columns(frame, text)
    return np.asarray(np.mean([codes == UNSEEN for codes in columns.values()], axis=0), dtype=np.float64)


def _check_names(name: str, bundle: Bundle, built: FeatureFrame) -> None:
    """A feature that is missing because its table or column is gone: say so."""
    for entry in bundle.columns:
        column = str(entry["name"])
        if column not in built.frame.columns and column in built.skipped:
            raise BundleError(
                f"Target '{name}': column '{column}' is missing from the {len(built.frame):,} rows to score, and the "
                f"model needs it: {built.skipped[column]}. Deliver it again, or train again."
            )


def _read(name: str, bundle: Bundle, frame: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """Columns as the model reads them; the sentence of what does not fit begins with the target."""
    try:
        return read_columns(frame, bundle.columns)
    except BundleError as error:
        text = str(error)
        raise BundleError(f"Target '{name}': {text[0].lower()}{text[1:]}") from None


def _check_units(name: str, facts: Mapping[str, Any], built: FeatureFrame, currency: str) -> None:
    """Units as the catalog tells them; that of an amount is the currency."""
    for info in built.infos:
        before = facts["columns"].get(info.name, {}).get("unit")
        now = info.unit
        if before == now == "currency":
            before, now = facts["currency"] or currency, currency
        if before not in (None, now):
            raise DataError(
                f"Target '{name}': feature '{info.name}' is in {now} now and was in {before} when the model was "
                f"trained, so its numbers mean something else. Deliver it in {before} again, or train again."
            )


def _check_filled(name: str, column: str, values: "pd.Series[Any]", about: Mapping[str, Any], rows: int) -> None:
    """A column that usually has a value is not empty everywhere, unless there are too few rows to tell."""
    filled = about.get("filled")
    if filled is None or filled < USUALLY_FILLED or values.notna().any():
        return
    null_share = ((1 - filled) * rows + 1) / (rows + 1)
    if null_share ** len(values) < CHANCE:
        raise DataError(
            f"Target '{name}': column '{column}' is empty in all {len(values):,} rows to score and had a value in "
            f"{filled:.0%} of the training rows: what it is made of was renamed or is not delivered any more. "
            "Deliver it again, or train again without it."
        )


def _check_unseen(
    name: str, values: "pd.Series[Any]", unseen: NDArray[np.bool_], met: float | None, max_unseen_share: float
) -> None:
    """Few values are categories that the model has never met."""
    filled = int(values.notna().sum())
    share = unseen.sum() / max(filled, 1)
    if unseen.sum() < MIN_UNSEEN or share <= (met or 0.0) + max_unseen_share:
        return
    examples = ", ".join(f"'{value}'" for value in values[unseen].value_counts().index[:5])
    usual = "" if met is None else f" ({met:.0%} were new in the newest training rows)"
    raise DataError(
        f"Target '{name}': {unseen.sum():,} of the {filled:,} values of column '{values.name}' ({share:.1%}) are "
        f"categories the model has never met ({examples}), expected at most {(met or 0.0) + max_unseen_share:.0%}"
        f"{usual}. If they were renamed at the source, name them as before; if they are new, train again; or raise "
        f"targets.{name}.max_unseen_share."
    )


def _check_scale(name: str, values: "pd.Series[Any]", about: Mapping[str, Any]) -> None:
    """Numbers of a source lie where they lay, not a hundred times as high, as cents do."""
    before = about.get("middle")
    if not before or about.get("unit") not in SCALED_UNITS:
        return
    now = middle_sizes(values)
    if now is None or int((values.fillna(0) != 0).sum()) < MIN_SIZED:
        return
    times = max(now[1] / before[1], before[1] / now[1])
    if times >= OTHER_SCALE and (now[0] > before[2] or now[2] < before[0]):
        raise DataError(
            f"Target '{name}': the values of column '{values.name}' are around {_short(now[1])}, in training they were "
            f"around {_short(before[1])}: they seem to come in another unit (cents, thousands, another currency). "
            "Deliver them in the unit of before, or train again."
        )


def _short(size: float) -> str:
    return f"{size:,.0f}" if size >= 100 else f"{size:.3g}"
