"""What a scoring run kept in its folder, read for a few entities at a time."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import DataError
from models.scorecard import Scorecard
from pipeline.config import Config
from pipeline.ledger import Ledger, Run

Row = dict[str, Any]


@dataclass(frozen=True)
class StoredRun:
    """What a scoring run kept."""

    run_id: str
    folder: Path
    as_of: datetime

    @cached_property
    def targets(self) -> Mapping[str, Mapping[str, Any]]:
        """Targets of its config, which may be another one today."""
        document: Mapping[str, Any] = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        targets: Mapping[str, Mapping[str, Any]] = document["targets"]
        return targets

    def card(self, target: str) -> Scorecard | None:
        """Return the card of a target; None if it had none."""
        path = self.folder / f"card_{target}.json"
        return Scorecard.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None

    def rows(self, file: str, key: str, ids: Iterable[str]) -> pd.DataFrame:
        """Rows of some entities in one of its frames, by their id; none where there is no such file."""
        path = self.folder / file
        if not path.is_file():
            return pd.DataFrame(columns=[key])
        return pd.read_parquet(path, filters=pc.field(key).isin(pa.array(sorted(ids), pa.string())))

    def scores(self, ids: Iterable[str]) -> list[Row]:
        """Scores of some entities for the primary horizon of each target."""
        found = plain_rows(self.rows("scores.parquet", "entity_id", ids))
        return [one for one in found if one["horizon_days"] == self.targets[one["target"]]["horizons_days"][0]]


def find_runs(config: Config, ledger: Ledger, run_id: str | None) -> tuple[StoredRun, StoredRun | None]:
    """Find a scoring run, by default the one with the newest data, and the one whose data ended before it.

    Raises
    ------
    DataError
        If there is none, or its folder is gone. The one before is None if it is gone.

    """
    done = [run for run in ledger.runs() if run.kind == "score" and run.state == "done" and "data_end" in run.details]
    if run_id is not None:
        done = [run for run in done if run.run_id == run_id]
    if not done:
        which = f"There is no finished scoring run '{run_id}'" if run_id else "Nothing was scored yet"
        raise DataError(f"{which}, so there is no customer file. Run `leadsieve score` first.")
    run = _stored(config, max(done, key=lambda one: (str(one.details["data_end"]), one.started_at)))
    if not (run.folder / "scores.parquet").is_file():
        raise DataError(f"{run.folder} is gone, which held what run {run.run_id} kept. Restore it, or score again.")
    followed = ledger.grades.run_before(run.as_of)
    found = ledger.find_run(followed.run_id) if followed else None
    before = _stored(config, found) if found else None
    return run, before if before and (before.folder / "scores.parquet").is_file() else None


def _stored(config: Config, run: Run) -> StoredRun:
    as_of = datetime.fromisoformat(str(run.details["data_end"]))
    return StoredRun(run.run_id, config.folder / "runs" / run.run_id, as_of)


def plain_rows(frame: pd.DataFrame) -> list[Row]:
    """Rows with Python values, None for null."""
    columns: dict[str, list[Any]] = {}
    for name in frame.columns:
        column = frame[name]
        values = column.dt.to_pydatetime() if pd.api.types.is_datetime64_dtype(column) else column.tolist()
        missing = column.isna().tolist()
        columns[str(name)] = [None if gone else value for value, gone in zip(values, missing, strict=True)]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
