"""The leak audit of a flat frame: nothing is dated, so nothing is clean until somebody says that it was known.

Columns are ranked by what asks for an explanation: being filled more often with one outcome, levels that
all but decide it, and strength. Strength ranks and does not condemn.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from features.errors import DataError
from pipeline.audit_verdict import ColumnVerdict, Figure, Verdict

FRAME = "frame"

PLACEHOLDERS = frozenset({"", "-", "--", "?", "n/a", "na", "nan", "none", "null", "select", "please select"})
"""Texts of forms and exports that stand for no value, in lower case."""

_FEW = 20
"""Rows or levels of fewer rows say nothing."""

_FILL_DIFFERENCE, _FILL_ODDS = 0.1, 2.0
"""Filled more often with one outcome: by ten points at least, and twice the odds."""

_LEVEL_ODDS = 20.0
"""A level decides the outcome if its odds are twenty times those of all rows, at the cautious end of 95 %."""

_SMOOTHING = 20.0


@dataclass(frozen=True)
class _Look:
    """What one column shows: shares of rows without a value by outcome, deciding levels, and its strength."""

    empty_with: float
    empty_without: float
    is_fill_suspicious: bool
    level: str | None
    level_rows: int
    level_share: float
    decided_share: float
    auc: float

    @property
    def is_suspicious(self) -> bool:
        """Whether somebody should explain it."""
        return self.is_fill_suspicious or self.level is not None

    @property
    def suspicion(self) -> float:
        """From 0 to 1; that of suspicious columns is above 0.5."""
        fill = abs(self.empty_with - self.empty_without)
        most = max(fill, self.decided_share, 2 * self.auc - 1)
        return round(0.5 * most + (0.5 if self.is_suspicious else 0.0), 3)


def check_frame(frame: pd.DataFrame, label: str, known: Sequence[str]) -> list[ColumnVerdict]:
    """Judge the columns of a flat frame, the most suspicious first.

    Parameters
    ----------
    frame : DataFrame
        One row per entity; rows without a label are left out.
    label : str
        The column with the outcome, of two values; the later one in their order counts as the outcome.
    known : sequence of str
        Columns that are declared to be known before the outcome.

    Returns
    -------
    list of ColumnVerdict
        All columns but the label: `use` if known, else `suspicious` or `undated`.

    Raises
    ------
    DataError
        If the label is missing or has not two values, or a known column is missing.

    Examples
    --------
    >>> frame = pd.DataFrame({"note": [None] * 50 + ["x"] * 50, "won": [0] * 50 + [1] * 50})
    >>> check_frame(frame, "won", known=[])[0].verdict
    'suspicious'

    """
    _check_columns(frame, label, known)
    rows = frame[frame[label].notna()]
    values = sorted(rows[label].unique())
    if len(values) != 2:
        raise DataError(
            f"Column '{label}' of the frame has {len(values)} values ({', '.join(map(str, values[:5]))}), expected 2. "
            "Name the column with the outcome, and drop rows without one."
        )
    outcome = (rows[label] == values[1]).to_numpy()
    verdicts = [
        _judge(str(column), _look(rows[column], outcome), label, str(values[1]), column in known)
        for column in frame
        if column != label
    ]
    return sorted(verdicts, key=lambda one: (one.verdict == "use", -one.suspicion))


def _check_columns(frame: pd.DataFrame, label: str, known: Sequence[str]) -> None:
    for column in (label, *known):
        if column not in frame:
            near = difflib.get_close_matches(column, [str(name) for name in frame], n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise DataError(
                f"The frame has no column '{column}', it has {', '.join(map(str, list(frame)[:5]))}, ...{hint} "
                "Correct the name."
            )


def _look(values: "pd.Series[Any]", outcome: "np.ndarray[Any, Any]") -> _Look:
    text = values.astype("str").str.strip().str.lower()
    is_empty = (values.isna() | text.isin(PLACEHOLDERS)).to_numpy()
    with_it, without = float(is_empty[outcome].mean()), float(is_empty[~outcome].mean())
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    level, rows, share, decided = (None, 0, 0.0, 0.0) if is_number else _deciding_level(values, is_empty, outcome)
    return _Look(
        with_it,
        without,
        _is_fill_suspicious(with_it, without, int(is_empty.sum()), len(values)),
        level,
        rows,
        share,
        decided,
        _strength(values, is_empty, outcome, is_number=is_number),
    )


def _is_fill_suspicious(with_it: float, without: float, empty: int, rows: int) -> bool:
    """Whether a column is filled so much more often with one outcome that somebody should explain it."""
    if min(empty, rows - empty) < _FEW or abs(with_it - without) < _FILL_DIFFERENCE:
        return False
    low, high = min(with_it, without), max(with_it, without)
    return high == 1.0 or low == 0.0 or _odds(high) / _odds(low) >= _FILL_ODDS


def _odds(share: float) -> float:
    return share / (1.0 - share)


def _deciding_level(
    values: "pd.Series[Any]", is_empty: "np.ndarray[Any, Any]", outcome: "np.ndarray[Any, Any]"
) -> tuple[str | None, int, float, float]:
    """Return the largest level that all but decides the outcome, its rows, its share, and the share of such rows."""
    filled = values[~is_empty].astype("str")
    if filled.empty:
        return None, 0, 0.0, 0.0
    counts = pd.Series(outcome[~is_empty], index=filled.index).groupby(filled).agg(["size", "mean"])
    counts = counts[counts["size"] >= _FEW]
    low, high = _interval(counts["mean"].to_numpy(), counts["size"].to_numpy())
    base = _odds(float(outcome.mean()))
    is_deciding = (low / (1 - low) >= _LEVEL_ODDS * base) | (high / (1 - high) <= base / _LEVEL_ODDS)
    deciding = counts[is_deciding].sort_values("size", ascending=False, kind="stable")
    if deciding.empty:
        return None, 0, 0.0, 0.0
    first = deciding.iloc[0]
    decided = float(deciding["size"].sum() / len(values))
    return str(deciding.index[0]), int(first["size"]), float(first["mean"]), decided


def _interval(share: "np.ndarray[Any, Any]", rows: "np.ndarray[Any, Any]") -> tuple[Any, Any]:
    """Return the Wilson interval at 95 %."""
    z = 1.96
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return np.clip(centre - half, 1e-9, 1 - 1e-9), np.clip(centre + half, 1e-9, 1 - 1e-9)


def _strength(
    values: "pd.Series[Any]", is_empty: "np.ndarray[Any, Any]", outcome: "np.ndarray[Any, Any]", *, is_number: bool
) -> float:
    """AUC of the column alone, at least 0.5: of numbers by their order, of levels by their rate in the other half."""
    if is_number:
        filled = values[~is_empty].astype("float64").to_numpy()
        return _auc(filled, outcome[~is_empty])
    levels = values.astype("str").where(~is_empty, "").to_numpy()
    half = np.random.default_rng(0).random(len(levels)) < 0.5  # the order of the rows may go with the outcome
    base = outcome.mean()
    rates = np.empty(len(levels))
    for part in (half, ~half):
        counts = pd.Series(outcome[~part]).groupby(levels[~part]).agg(["sum", "size"])
        rate = (counts["sum"] + _SMOOTHING * base) / (counts["size"] + _SMOOTHING)
        rates[part] = pd.Series(levels[part]).map(rate).fillna(base).to_numpy()
    return _auc(rates, outcome)


def _auc(scores: "np.ndarray[Any, Any]", outcome: "np.ndarray[Any, Any]") -> float:
    """Return the AUC in the better direction; 0.5 if only one outcome is there."""
    hits = int(outcome.sum())
    pairs = hits * (len(outcome) - hits)
    if pairs == 0:
        return 0.5
    above = rankdata(scores)[outcome].sum() - hits * (hits + 1) / 2
    return float(max(above / pairs, 1 - above / pairs))


def _judge(column: str, look: _Look, label: str, value: str, is_known: bool) -> ColumnVerdict:
    verdict: Verdict = "use" if is_known else "suspicious" if look.is_suspicious else "undated"
    found = [f"empty in {look.empty_with:.0%} of rows with {label} = {value} and in {look.empty_without:.0%} of others"]
    if not look.empty_with and not look.empty_without:
        found = ["never empty"]
    if look.level is not None:
        found.append(f"'{look.level}' has {label} = {value} in {look.level_share:.1%} of {look.level_rows:,} rows")
    found.append(f"AUC alone {look.auc:.2f}")
    dated = "declared as known before the outcome" if is_known else "nothing dates it"
    question = f"When is {column} filled, and by whom? If before the outcome, declare it known."
    figures: dict[str, Figure] = {
        "empty_with_outcome": round(look.empty_with, 4),
        "empty_without": round(look.empty_without, 4),
        "level": look.level,
        "level_rows": look.level_rows,
        "level_share": round(look.level_share, 4),
        "decided_share": round(look.decided_share, 4),
        "auc": round(look.auc, 4),
    }
    return ColumnVerdict(
        FRAME,
        column,
        verdict,
        "known" if is_known else "not declared",
        is_known,
        f"{column}: {dated}; {'; '.join(found)}.",
        "" if is_known else question,
        look.suspicion,
        figures,
    )
