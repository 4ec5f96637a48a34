"""Labelled rows to learn from: features, label, time and group, in memory and on disk."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import DataError
from models.expert_card import ExpertCard

PROTOCOL = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class TrainingSet:
    """Ripe rows only: each label is 0 or 1, and its horizon has ended.

    Parameters
    ----------
    frame : DataFrame
        Feature columns only, float64 or text, RangeIndex.
    label : array of float64
        0.0 or 1.0, one per row.
    time : array of datetime64[us] or int64, optional
        `as_of` of each row, or its place in an order. Never a feature.
    horizon : int
        How far a label looks forward from `time`: days for dates, rows for integers.
    group : array of text, optional
        Customer of each row, so that splits and intervals keep their rows together. Never a feature.
    keys : DataFrame, optional
        entity_id and as_of of each row; None for flat frames.
    directions : mapping of feature to -1, 0 or +1
        Whether the predicted event gets less or more likely as the feature grows.
    manifest : mapping
        Where the rows come from: target, data_end, catalog_version, features, ...
    roles : mapping of role to feature
        Columns that say how often and when customers bought: `repeat_count` (purchases after the first) or
        `purchase_count`, `last_purchase_days` and `first_purchase_days` (days before `time`). Given where label 1
        means that there was no purchase in `[time, time + horizon)`.
    card : ExpertCard, optional
        The scorecard of the target, whose points are a candidate; None for flat frames.

    """

    frame: pd.DataFrame
    label: NDArray[np.float64]
    time: NDArray[Any] | None = None
    horizon: int = 0
    group: NDArray[Any] | None = None
    keys: pd.DataFrame | None = None
    directions: Mapping[str, int] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    card: ExpertCard | None = None

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: NDArray[Any]) -> "TrainingSet":
        """Return the rows at these positions, or where a boolean mask is true, in their order."""
        at = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(
            self,
            frame=self.frame.iloc[at].reset_index(drop=True),
            label=self.label[at],
            time=None if self.time is None else self.time[at],
            group=None if self.group is None else self.group[at],
            keys=None if self.keys is None else self.keys.iloc[at].reset_index(drop=True),
        )

    @property
    def sha256(self) -> str:
        """Hash of the content: equal rows in equal order have equal hashes."""
        digest = hashlib.sha256(f"{self.horizon} {list(self.frame.columns)}".encode())
        for part in (self.frame, _label_frame(self), self.keys):
            if part is not None:
                digest.update(pd.util.hash_pandas_object(part, index=False).to_numpy().tobytes())
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Facts for a manifest: rows, base rate, first and last time, content hash."""
        return {
            "rows": len(self),
            "base_rate": float(self.label.mean()),
            "from": None if self.time is None else str(self.time.min()),
            "to": None if self.time is None else str(self.time.max()),
            "sha256": self.sha256,
        }


def check_learnable(rows: TrainingSet, what: str = "training rows") -> None:
    """Check that there is something to learn from.

    Raises
    ------
    DataError
        If there are no rows, no features, or only one class of label.

    """
    if len(rows) == 0:
        raise DataError(f"No {what}: no label is ripe yet. Extract a longer history or shorten the horizon.")
    if rows.frame.shape[1] == 0:
        raise DataError(f"The {what} have no feature columns. Add features beside label, time and group.")
    positives = int(rows.label.sum())
    if positives in (0, len(rows)):
        raise DataError(
            f"The {len(rows):,} {what} hold only label {int(positives > 0)}, expected both 0 and 1. "
            "Check the definition of the target and its horizon, or extract a longer history."
        )


def _label_frame(rows: TrainingSet) -> pd.DataFrame:
    columns = {"label": rows.label, "time": rows.time, "group": rows.group}
    return pd.DataFrame({name: values for name, values in columns.items() if values is not None})


def save_training_set(folder: Path, rows: TrainingSet) -> None:
    """Write rows and manifest; the manifest is renamed last, so a reader sees all or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, part in (("frame", rows.frame), ("label", _label_frame(rows)), ("keys", rows.keys)):
        if part is not None:
            path = folder / f".{name}.parquet"
            part.to_parquet(path, index=False)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            files[name] = {"file": f"{name}-{digest[:16]}.parquet", "sha256": digest}
            path.replace(folder / files[name]["file"])
    document = {
        "protocol": PROTOCOL,
        "sha256": rows.sha256,
        "files": files,
        "horizon": rows.horizon,
        "directions": dict(rows.directions),
        "roles": dict(rows.roles),
        "card": None if rows.card is None else rows.card.to_json(),
        "manifest": dict(rows.manifest),
    }
    part_path = folder / f".{MANIFEST}"
    part_path.write_text(json.dumps(document, indent=1, ensure_ascii=False, default=str), encoding="utf-8")
    os.replace(part_path, folder / MANIFEST)
    named = {entry["file"] for entry in files.values()}
    for old in folder.glob("*.parquet"):
        if old.name not in named:
            old.unlink()


def load_training_set(folder: Path) -> TrainingSet:
    """Read what `save_training_set` wrote.

    Raises
    ------
    DataError
        If the manifest is missing or of another protocol, or a file does not have its hash.

    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"No training set in {folder}: {MANIFEST} is missing. Run `leadsieve train` to build it.")
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("protocol") != PROTOCOL:
        raise DataError(f"{path} has protocol {document.get('protocol')}, expected {PROTOCOL}. Build it again.")
    parts: dict[str, pd.DataFrame] = {}
    for name, entry in document["files"].items():
        file = folder / entry["file"]
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != entry["sha256"]:
            raise DataError(f"{file} is missing or not what the manifest says. Build the training set again.")
        parts[name] = pd.read_parquet(file)
    labels = parts["label"]
    return TrainingSet(
        frame=parts["frame"],
        label=labels["label"].to_numpy(dtype=np.float64),
        time=labels["time"].to_numpy() if "time" in labels else None,
        horizon=document["horizon"],
        group=labels["group"].to_numpy(dtype=object) if "group" in labels else None,
        keys=parts.get("keys"),
        directions=document["directions"],
        roles=document.get("roles", {}),
        manifest=document["manifest"],
        card=ExpertCard.from_json(document["card"]) if document.get("card") else None,
    )
