"""Read ready-made flat frames: one row per label, with no CRM behind them."""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import DataError
from models.training_set import TrainingSet, check_learnable


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path) if path.suffix in {".parquet", ".pq"} else pd.read_csv(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Pass a Parquet or CSV file.") from None
    except Exception as error:
        problem = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read as Parquet or CSV: {problem}. Write it again.") from None


def _check_column(frame: pd.DataFrame, name: str, path: Path, what: str) -> None:
    if name not in frame.columns:
        near = difflib.get_close_matches(name, [str(c) for c in frame.columns], n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"It has: {', '.join(map(str, frame.columns[:8]))}, ..."
        raise DataError(f"{path}: {what} column '{name}' is missing. {hint}")


def _read_label(frame: pd.DataFrame, name: str, path: Path) -> NDArray[np.float64]:
    label = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = frame[name][~(np.isin(label, (0.0, 1.0)) | frame[name].isna())]
    if len(wrong):
        examples = ", ".join(map(str, wrong.unique()[:5]))
        raise DataError(
            f"{path}: label column '{name}' holds {len(wrong):,} values other than 0, 1 and null ({examples}). "
            "Code the event as 1 and its absence as 0."
        )
    return label


def _read_time(frame: pd.DataFrame, name: str, path: Path) -> NDArray[Any]:
    column = frame[name]
    if column.isna().any():
        raise DataError(f"{path}: time column '{name}' is null in {column.isna().sum():,} rows. Fill or drop them.")
    if pd.api.types.is_integer_dtype(column):
        return column.to_numpy(dtype=np.int64)
    if pd.api.types.is_numeric_dtype(column):
        raise DataError(f"{path}: time column '{name}' is {column.dtype}, expected dates or integers. Convert it.")
    try:
        text = pd.api.types.infer_dtype(column) == "string"
        dates = pd.to_datetime(column, utc=True, format="ISO8601" if text else None).dt.tz_localize(None)
    except (ValueError, TypeError):
        raise DataError(
            f"{path}: time column '{name}' is neither dates nor integers (first value {column.iloc[0]!r}). "
            "Write dates as 2011-06-01."
        ) from None
    return dates.to_numpy().astype("datetime64[us]")


def _days_before(column: "pd.Series[Any]", time: NDArray[Any] | None) -> "pd.Series[float] | None":
    """Days from a date to the row's time; None where time is no date, because a bare date cannot travel."""
    if time is None or time.dtype.kind != "M":
        return None
    at = pd.to_datetime(column, utc=True).dt.tz_localize(None)
    return (pd.Series(time, index=column.index) - at).dt.total_seconds() / 86_400


def _feature_column(column: "pd.Series[Any]", time: NDArray[Any] | None) -> "pd.Series[Any] | None":
    """Numbers as float64, dates as days before the row's time, everything else as text."""
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if pd.api.types.is_numeric_dtype(column):
        return column.astype("Float64").astype(np.float64)
    if kind in {"decimal", "boolean"}:
        return pd.to_numeric(column).astype(np.float64)
    if kind in {"datetime64", "datetime", "date"}:
        return _days_before(column, time)
    return column.astype("str").where(column.notna(), None).astype("str")


def _feature_columns(frame: pd.DataFrame, time: NDArray[Any] | None) -> pd.DataFrame:
    read = {str(name): _feature_column(column, time) for name, column in frame.items()}
    return pd.DataFrame({name: column for name, column in read.items() if column is not None}, index=frame.index)


def _to_rows(
    frame: pd.DataFrame, features: list[str], path: Path, label: str, time: str | None, group: str | None, horizon: int
) -> TrainingSet:
    y = _read_label(frame, label, path)
    kept = ~np.isnan(y)
    frame = frame[kept].reset_index(drop=True)
    times = _read_time(frame, time, path) if time else None
    read = _feature_columns(frame[features], times)
    left_out = ", ".join(name for name in features if name not in read)
    groups = frame[group].astype("str").to_numpy(dtype=object) if group else None
    return TrainingSet(
        frame=read,
        label=y[kept],
        time=times,
        horizon=horizon,
        group=groups,
        manifest={"source": path.name, "censored": int((~kept).sum()), "left_out": left_out},
    )


PURCHASE_ROLES = ("purchase_count", "last_purchase_days", "first_purchase_days")


def _name_purchases(rows: TrainingSet, purchases: Sequence[str], path: Path) -> TrainingSet:
    """Say which columns are the purchase history; DataError where they cannot be."""
    if rows.time is None or rows.time.dtype.kind != "M" or rows.horizon < 1:
        raise DataError(
            f"{path}: a purchase history needs a time column of dates and a horizon in days, which the label looks "
            "forward. Name both, or leave the purchase columns out."
        )
    for name in purchases:
        if name not in rows.frame.columns:
            _check_column(rows.frame, name, path, "purchase")
        if rows.frame[name].dtype != np.float64:
            raise DataError(f"{path}: purchase column '{name}' holds text, expected a number. Convert it.")
    return replace(rows, roles=dict(zip(PURCHASE_ROLES, purchases, strict=True)))


def read_flat_frames(
    train: Path,
    test: Path,
    label: str,
    time: str | None = None,
    group: str | None = None,
    horizon: int = 0,
    purchases: Sequence[str] = (),
) -> tuple[TrainingSet, TrainingSet]:
    """Read a training and a test frame from Parquet or CSV.

    Every column that is not label, time or group is a feature. Rows whose label is null are
    censored and left out. Dates become days before `time`; without dates in `time` they are left out.
    `purchases` names three features: how many purchases a customer made, the days since the last and those since
    the first (or their dates); label 1 then means no purchase within the horizon.

    Raises
    ------
    DataError
        If a file cannot be read, a column is missing, or a label is not 0, 1 or null.

    """
    if horizon < 0:
        raise DataError(f"The horizon is {horizon}, expected 0 or more: days for dates, rows for integers.")
    frames = {path: _read(path) for path in (train, test)}
    special = [name for name in (label, time, group) if name]
    features = [str(name) for name in frames[train].columns if name not in special]
    for path, frame in frames.items():
        _check_column(frame, label, path, "label")
        for name, what in ((time, "time"), (group, "group")):
            if name:
                _check_column(frame, name, path, what)
        for name in features:
            _check_column(frame, name, path, "feature")
    sets = [_to_rows(frames[path], features, path, label, time, group, horizon) for path in (train, test)]
    if purchases:
        sets = [_name_purchases(rows, purchases, path) for rows, path in zip(sets, (train, test), strict=True)]
    check_learnable(sets[0])
    check_learnable(sets[1], "test rows")
    return sets[0], _same_kinds(sets[0], sets[1], test)


def _same_kinds(train: TrainingSet, test: TrainingSet, path: Path) -> TrainingSet:
    """Give the test frame the column kinds of the training frame."""
    frame = test.frame.copy()
    for name, column in train.frame.items():
        text = column.dtype != np.float64
        if text and frame[name].dtype == np.float64:
            if frame[name].notna().any():
                raise DataError(f"{path}: column '{name}' holds numbers, in the training frame text. Make them alike.")
            frame[name] = pd.Series([None] * len(frame), dtype="str")
        elif not text and frame[name].dtype != np.float64:
            if frame[name].notna().any():
                raise DataError(f"{path}: column '{name}' holds text, in the training frame numbers. Make them alike.")
            frame[name] = np.nan
    return replace(test, frame=frame[list(train.frame.columns)])
