"""Which columns of those scored now lie far from what the model was trained on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from models.drift import distance

AT_ONCE = 16
"""Columns of features that are read together."""


@dataclass(frozen=True)
class MovedColumn:
    """A column and how far its values of now lie from those of training, 0 to 1; texts have no medians."""

    name: str
    distance: float
    median_then: float | None
    median_now: float | None
    missing_then: float
    missing_now: float


def read_drift(training: Path, features: Path, most: int = 12, rows: int = 20_000) -> tuple[MovedColumn, ...]:
    """Columns of a run that lie farthest from the training rows, by `models.drift.distance`.

    Columns are read a few at a time, and of many rows every n-th is taken, so that memory stays small.

    Parameters
    ----------
    training : Path
        Folder of the training set; what was not trained here yields nothing.
    features : Path
        Features of the run.
    most : int
        Columns to return.
    rows : int
        Rows of either to compare.

    """
    manifest = training / "manifest.json"
    if not manifest.is_file() or not features.is_file():
        return ()
    files: Mapping[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    then, now = pq.ParquetFile(training / files["frame"]["file"]), pq.ParquetFile(features)
    shared = [name for name in now.schema_arrow.names if name in set(then.schema_arrow.names)]
    shared = [name for name in shared if name not in ("entity_id", "as_of", "customer_id")]
    found = []
    for start in range(0, len(shared), AT_ONCE):
        names = shared[start : start + AT_ONCE]
        parts = [_thinned(one.read(names).to_pandas(), rows) for one in (then, now)]
        if min(len(part) for part in parts):
            found += [_compare(name, [part[name] for part in parts]) for name in names]
    found.sort(key=lambda one: (-one.distance, one.name))
    return tuple(one for one in found[:most] if one.distance > 0)


def _thinned(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
    return frame.iloc[:: max(1, -(-len(frame) // rows))]


def _compare(name: str, parts: Sequence["pd.Series[Any]"]) -> MovedColumn:
    missing = [float(part.isna().mean()) for part in parts]
    if all(pd.api.types.is_numeric_dtype(part) for part in parts):
        values = [part.to_numpy(dtype=float) for part in parts]
        medians = [float(np.nanmedian(one)) if np.isfinite(one).any() else None for one in values]
        return MovedColumn(name, distance(values[0], values[1]), medians[0], medians[1], *missing)
    codes = pd.factorize(pd.concat([part.astype("str") for part in parts]))[0].astype(np.int64)
    cut = len(parts[0])
    return MovedColumn(name, distance(codes[:cut], codes[cut:]), None, None, *missing)
