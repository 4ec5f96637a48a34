"""Train/score parity: features of the last scoring run, built again from the tables of today."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.spine import build_scoring_spine
from features.tables import MANIFEST, CrmTables
from pipeline.config import Config
from pipeline.deployment import features_of, make_target
from pipeline.ledger import Run, open_ledger
from pipeline.previous import Notes
from pipeline.tombstones import TOMBSTONES

SAMPLED = 50
"""Entities per target that are built again."""
SHOWN = 20
KEY = ["entity_id", "as_of"]
_READ = ("time_zone", "currency", "stages", "questions", "tables", "feature_modules")
"""Keys of the config that decide what a feature is."""

State = Literal["no run", "agrees", "changed since", "differs"]


@dataclass(frozen=True)
class Difference:
    """One value that is not what it was."""

    target: str
    entity_id: str
    feature: str
    scored: float | str | None
    rebuilt: float | str | None


@dataclass(frozen=True)
class Rebuilt:
    """One target of the run: what was compared.

    Parameters
    ----------
    target : str
    rows, features : int
        Compared: entities, and features that the run and today's catalog share.
    gone : int
        Entities of the sample that are not in the population of that date any more.
    dropped, added : tuple of str
        Features that only the run has, and that only today's catalog has.
    differing : int
        Values that differ.
    differences : tuple of Difference
        The first 20 of them.

    """

    target: str
    rows: int
    features: int
    gone: int
    dropped: tuple[str, ...]
    added: tuple[str, ...]
    differing: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Parity:
    """What became of the comparison.

    Parameters
    ----------
    state : {"no run", "agrees", "changed since", "differs"}
        changed since: values differ, and something that happened since may be why. differs: they do, and nothing
        of the kind happened: an error.
    run_id : str or None
    as_of : datetime or None
    is_same_extract : bool
        Whether the tables are those that were scored.
    targets : tuple of Rebuilt
    notes : tuple of str
        One sentence each: what happened since the run.

    """

    state: State
    run_id: str | None = None
    as_of: datetime | None = None
    is_same_extract: bool = True
    targets: tuple[Rebuilt, ...] = ()
    notes: tuple[str, ...] = ()


def check_parity(config: Config, tables: CrmTables) -> Parity:
    """Build a sample of the last scoring run again, with the same builder, and compare to the bit.

    Rows that became known since do not matter: features are as known at the run's `as_of`. A difference
    means that the past itself reads differently today.

    Parameters
    ----------
    config : Config
    tables : CrmTables
        The tables as last extracted.

    Returns
    -------
    Parity

    """
    run = _last_run(config)
    if run is None:
        return Parity("no run", notes=("Nothing was scored yet, or the frames of past runs were removed.",))
    is_same = run.details.get("tables") == tables.sha256
    targets = [_rebuild(config, tables, path) for path in _frames(config, run)]
    notes = _since(config, tables, run, is_same, targets)
    differs = any(one.differing for one in targets)
    state: State = "agrees" if not differs else "changed since" if notes else "differs"
    return Parity(state, run.run_id, _as_of(run), is_same, tuple(targets), tuple(notes))


def _last_run(config: Config) -> Run | None:
    """Newest finished scoring run whose frames are still there."""
    place = config.folder / "ledger.db"
    if not place.is_file():
        return None
    with open_ledger(place) as ledger:
        done = [run for run in ledger.runs() if run.kind == "score" and run.state == "done"]
    return next((run for run in done if _frames(config, run)), None)


def _frames(config: Config, run: Run) -> list[Path]:
    folder = config.folder / "runs" / run.run_id
    return [path for name in config.targets if (path := folder / f"features_{name}.parquet").exists()]


def _rebuild(config: Config, tables: CrmTables, path: Path) -> Rebuilt:
    name = path.stem.removeprefix("features_")
    scored = pd.read_parquet(path)
    sample = scored.sample(min(SAMPLED, len(scored)), random_state=config.seed).sort_values(KEY, ignore_index=True)
    moment = sample["as_of"].iloc[0].to_pydatetime()
    spine = build_scoring_spine(tables, make_target(config, name), moment)
    spine = spine[spine["entity_id"].isin(sample["entity_id"])].reset_index(drop=True)
    before = sample[sample["entity_id"].isin(spine["entity_id"])].reset_index(drop=True)
    if before.empty:
        return Rebuilt(name, 0, 0, len(sample), (), (), 0, ())
    built = features_of(config, tables, name, spine).frame
    shared = [column for column in scored.columns if column in built.columns and column not in KEY]
    differing = np.column_stack([differs(before[column], built[column]) for column in shared])
    return Rebuilt(
        name,
        rows=len(before),
        features=len(shared),
        gone=len(sample) - len(before),
        dropped=tuple(column for column in scored.columns if column not in built.columns),
        added=tuple(column for column in built.columns if column not in scored.columns),
        differing=int(differing.sum()),
        differences=tuple(
            Difference(name, str(before["entity_id"][row]), shared[column], *_both(before, built, row, shared[column]))
            for row, column in np.argwhere(differing)[:SHOWN]
        ),
    )


def differs(one: "pd.Series[Any]", other: "pd.Series[Any]") -> NDArray[np.bool_]:
    """Where two columns of features differ: numbers in any bit, but every NaN is the same missing value.

    >>> differs(pd.Series([1.0, None, 0.1 + 0.2]), pd.Series([1.0, None, 0.3])).tolist()
    [False, False, True]
    """
    missing = (one.isna().to_numpy(), other.isna().to_numpy())
    if one.dtype == np.float64 and other.dtype == np.float64:
        unlike = one.to_numpy().view(np.int64) != other.to_numpy().view(np.int64)
    else:
        unlike = one.astype(object).to_numpy() != other.astype(object).to_numpy()
    found: NDArray[np.bool_] = np.where(missing[0] | missing[1], missing[0] != missing[1], unlike)
    return found


def _both(before: pd.DataFrame, built: pd.DataFrame, row: int, column: str) -> list[float | str | None]:
    return [None if pd.isna(value := frame[column].tolist()[row]) else value for frame in (before, built)]


def _since(config: Config, tables: CrmTables, run: Run, is_same: bool, targets: list[Rebuilt]) -> list[str]:
    """Sentences about what happened since the run that may make the past read differently."""
    notes = []
    dropped, added = (
        sum(len(names) for names in sets) for sets in zip(*((t.dropped, t.added) for t in targets), strict=True)
    )
    if dropped or added:
        notes.append(f"The features have changed since: {dropped:,} of the run are not built today, {added:,} are new.")
    before, now = json.loads(run.config_text), config.model_dump(mode="json")
    if changed := [key for key in _READ if before.get(key) != now[key]]:
        notes.append(f"The config has changed since: {', '.join(changed)}.")
    if not is_same and _began(tables) > _as_of(run):
        notes.append("The tables were begun anew since, and forgot what was known at that time.")
    if _forgot(config) > run.started_at:
        notes.append("Entities were forgotten since; rates that many share are without them today.")
    return notes


def _as_of(run: Run) -> datetime:
    return datetime.fromisoformat(str(run.details["data_end"]))


def _began(tables: CrmTables) -> datetime:
    """End of the data of the first extract that the tables remember."""
    return Notes.of(json.loads((tables.folder / MANIFEST).read_text(encoding="utf-8"))).began


def _forgot(config: Config) -> datetime:
    """When somebody was last forgotten (UTC); the beginning of time if nobody was."""
    place = config.folder / TOMBSTONES
    moment = datetime.fromtimestamp(place.stat().st_mtime, UTC) if place.is_file() else datetime.min
    return moment.replace(tzinfo=None)
