"""Forgetting in the files around the tables: scoring runs, training sets, quarantine, the pages of the report.

Whose rows go is told by the tombstones alone, so a removal that was interrupted is finished without
knowing whom it was about.
"""

import csv
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.errors import DataError
from models.training_set import load_training_set, save_training_set
from pipeline.atomic_files import replace_file
from pipeline.entity_rows import OWNERS
from pipeline.report_words import PAGES
from pipeline.target_tables import TargetTables
from pipeline.tombstones import Tombstones

_OF_TARGET = ("features_", "card_")
"""How the names of the frames of a run begin that are of one target."""


def forget_in_runs(folder: Path, tombstones: Tombstones, tables: TargetTables) -> int:
    """Remove rows from the feature and score frames of all scoring runs; count them.

    Each file is replaced as a whole. Frames that a killed run left unfinished are deleted.
    """
    for left in folder.glob("runs/.*"):
        shutil.rmtree(left, ignore_errors=True)
    return sum(_forget_in_frame(path, tombstones, tables) for path in sorted(folder.glob("runs/*/*.parquet")))


def _forget_in_frame(path: Path, tombstones: Tombstones, tables: TargetTables) -> int:
    """Replace one frame unless nothing in it has to go."""
    names = pq.read_schema(path).names
    key = next((name for name in ("entity_id", "customer_id") if name in names), None)
    if key is None:
        return 0
    keys = pq.read_table(path, columns=[name for name in (key, "target") if name in names])
    ids = np.asarray(keys[key].to_pylist(), dtype=object)
    targets = keys["target"].to_pylist() if "target" in names else [_target_of(path)] * len(ids)
    gone = np.zeros(len(ids), dtype=bool)
    for target in set(targets):
        rows = np.asarray([one == target for one in targets], dtype=bool)
        gone |= rows & _among(ids, tombstones, ("customers",) if key == "customer_id" else tables.of_target(target))
    if gone.any():
        kept = pq.read_table(path).filter(pa.array(~gone))
        replace_file(path, lambda partial: pq.write_table(kept, partial))
    return int(gone.sum())


def _target_of(path: Path) -> str:
    """Name of the target that a frame of a run is of."""
    return next((path.stem.removeprefix(one) for one in _OF_TARGET if path.stem.startswith(one)), path.stem)


def _among(ids: NDArray[np.object_], tombstones: Tombstones, tables: Iterable[str]) -> NDArray[np.bool_]:
    """Which of some ids were forgotten as an entity of one of these tables."""
    different = {one for one in ids.tolist() if one is not None}
    forgotten = set().union(*(tombstones.among(table, different) for table in tables))
    return np.asarray([one in forgotten for one in ids.tolist()], dtype=bool)


def forget_in_training(folder: Path, tombstones: Tombstones, tables: TargetTables) -> int:
    """Remove rows from the stored training sets; count them.

    The manifest says how many rows are gone since the training (`forgotten_rows`). A set that cannot be
    read, or of which nothing would be left, is deleted: `train` makes it again.
    """
    places = sorted(path for path in folder.glob("training/*") if path.is_dir())
    return sum(_forget_in_set(place, tombstones, tables) for place in places)


def _forget_in_set(place: Path, tombstones: Tombstones, tables: TargetTables) -> int:
    """Replace one training set unless nothing in it has to go."""
    for left in place.glob(".*"):
        left.unlink()
    try:
        rows = load_training_set(place)
    except (DataError, OSError, ValueError, KeyError):
        shutil.rmtree(place)
        return 0
    gone = np.zeros(len(rows), dtype=bool)
    if rows.keys is not None:
        gone |= _among(rows.keys["entity_id"].to_numpy(dtype=object), tombstones, tables.of_target(place.name))
    if rows.group is not None:
        gone |= _among(rows.group, tombstones, ["customers"])
    count = int(gone.sum())
    if count == len(rows):
        shutil.rmtree(place)
    elif count:
        marked = {**rows.manifest, "forgotten_rows": int(rows.manifest.get("forgotten_rows", 0)) + count}
        save_training_set(place, replace(rows.take(~gone), manifest=marked))
    return count


def forget_in_report(folder: Path) -> int:
    """Delete the pages of the report, which tell of everybody by name: `leadsieve report` writes them again."""
    pages = [place for name in PAGES if (place := folder / "report" / name).is_file()]
    for place in (*pages, *folder.glob("report/.*.part")):
        place.unlink()
    return len(pages)


def forget_in_review(folder: Path) -> None:
    """Delete what the last review found, which names whom it disagreed on: `leadsieve review` finds it again."""
    for place in (folder / "review").glob("*"):
        place.unlink()


def forget_in_quarantine(folder: Path, tombstones: Tombstones) -> int:
    """Remove rows from the quarantine files that name a forgotten entity anywhere; count them."""
    removed = 0
    for left in folder.glob("quarantine/.*"):
        left.unlink()
    for path in sorted(folder.glob("quarantine/*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        kept = rows[:1] + [row for row in rows[1:] if not any(_names_one(cell, tombstones) for cell in row)]
        if len(kept) < len(rows):
            replace_file(path, _csv_writer(kept))
            removed += len(rows) - len(kept)
    return removed


def _csv_writer(rows: list[list[str]]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    return write


def _names_one(cell: str, tombstones: Tombstones) -> bool:
    """Whether a cell is the id of a forgotten entity, or has it as one of its words."""
    words = {cell.strip(), *re.split(r"[\s,;:()'\"]+", cell)}
    words |= {re.sub(r"^(-?[0-9]+)\.0+$", r"\1", word) for word in words}
    return any(tombstones.holds(table, word) for table in set(OWNERS.values()) for word in words if word)
