"""The audit of a deployment's data, or of a flat frame: one document for the terminal, for JSON and for the page."""

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from features.engine import open_database
from features.errors import DataError
from pipeline.audit_columns import check_columns
from pipeline.audit_duplicates import Duplicates, measure_duplicates
from pipeline.audit_frame import check_frame
from pipeline.audit_lateness import Lateness, measure_lateness
from pipeline.audit_maturity import Cohort, Maturity, measure_maturity
from pipeline.audit_parity import Parity, check_parity
from pipeline.audit_quality import Quality, frame_quality, measure_quality
from pipeline.audit_verdict import ColumnVerdict
from pipeline.audit_words import FRAME
from pipeline.config import Config
from pipeline.deployment import load_extract, make_spine_plan, make_target
from pipeline.errors import ConfigError
from pipeline.mapping import nearest


@dataclass(frozen=True)
class Audit:
    """What the audit found.

    Parameters
    ----------
    name : str
        The deployment, or the file of the frame.
    data_end : datetime or None
        Of the extract (UTC); None for a frame, where nothing is dated.
    rows : mapping of table to int
    columns : tuple of ColumnVerdict
        The most suspicious first.
    lateness : tuple of Lateness
    maturity : tuple of Maturity
        One per target.
    quality : Quality
    duplicates : Duplicates or None
        None without a table customers.
    parity : Parity or None
        None for a frame.

    """

    name: str
    data_end: datetime | None
    rows: Mapping[str, int]
    columns: tuple[ColumnVerdict, ...]
    quality: Quality
    lateness: tuple[Lateness, ...] = ()
    maturity: tuple[Maturity, ...] = ()
    duplicates: Duplicates | None = None
    parity: Parity | None = None

    @property
    def leaks_in_use(self) -> list[ColumnVerdict]:
        """Columns that leak and that a feature reads."""
        return [one for one in self.columns if one.verdict == "leak" and one.in_use]

    @property
    def is_passed(self) -> bool:
        """Whether no leak is in use, and the last scores can be computed again."""
        return not self.leaks_in_use and (self.parity is None or self.parity.state != "differs")

    def to_json(self) -> dict[str, Any]:
        """Return the document as JSON has it; a share that nothing was counted for is null."""
        return {
            "name": self.name,
            "data_end": None if self.data_end is None else self.data_end.isoformat(),
            "passed": self.is_passed,
            "rows": dict(self.rows),
            "columns": [{**vars(one), "figures": dict(one.figures)} for one in self.columns],
            "lateness": [{**asdict(one), "late_share": one.late_share} for one in self.lateness],
            "maturity": [
                {**vars(one), "cohorts": [_cohort_json(cohort) for cohort in one.cohorts]} for one in self.maturity
            ],
            "quality": {
                "columns": [{**asdict(one), "missing_share": one.missing_share} for one in self.quality.fillings],
                "busy_days": [asdict(one) for one in self.quality.busy_days],
                "alike": [asdict(one) for one in self.quality.alike],
                "duplicates": None if self.duplicates is None else asdict(self.duplicates),
            },
            "parity": None if self.parity is None else _parity_json(self.parity),
        }


def _cohort_json(cohort: Cohort) -> dict[str, Any]:
    return {**vars(cohort), "state": cohort.state, "known": {str(days): one for days, one in cohort.known.items()}}


def _parity_json(parity: Parity) -> dict[str, Any]:
    return {**asdict(parity), "as_of": None if parity.as_of is None else parity.as_of.isoformat()}


def audit(config: Config) -> Audit:
    """Audit the stored extract of a deployment.

    Raises
    ------
    DataError
        If nothing was extracted yet.

    """
    tables = load_extract(config)
    local = replace(tables, engine="duckdb")
    with open_database(local) as database:
        lateness = measure_lateness(database, local)
        quality = measure_quality(database, local)
    return Audit(
        name=config.name,
        data_end=tables.data_end,
        rows={name: stored.rows for name, stored in tables.tables.items()},
        columns=_ranked(check_columns(config, local)),
        lateness=tuple(lateness),
        maturity=tuple(
            measure_maturity(local, make_target(config, name), make_spine_plan(config, name)) for name in config.targets
        ),
        quality=quality,
        duplicates=measure_duplicates(local),
        parity=check_parity(config, tables),
    )


def audit_frame(path: Path, label: str, known: Sequence[str]) -> Audit:
    """Audit a ready-made flat frame; rows without label are left out.

    Parameters
    ----------
    path : Path
        Parquet or CSV.
    label : str
        Column with the outcome, of two values.
    known : sequence of str
        Columns that are known before the outcome, by somebody's word.

    Raises
    ------
    ConfigError
        If the label or a known column is not there.
    DataError
        If the file cannot be read, or the label does not have two values.

    """
    frame = _read(path)
    for option, column in (("--label", label), *(("--known", column) for column in known)):
        if column not in frame.columns:
            raise ConfigError(
                f"{option} names column '{column}', which {path} does not have.{nearest(column, map(str, frame))} "
                "Name one of its columns."
            )
    if label in known:
        raise ConfigError(f"--known names '{label}', which is the label. Leave it out there.")
    frame = frame.dropna(subset=[label]).reset_index(drop=True)
    if frame[label].nunique() != 2:
        raise DataError(
            f"{path}: label column '{label}' has {frame[label].nunique():,} different values, expected two, such as "
            "1 for the event and 0 for its absence. Name another column, or code it so."
        )
    return Audit(
        name=path.name,
        data_end=None,
        rows={FRAME: len(frame)},
        columns=_ranked(check_frame(frame, label, list(known))),
        quality=frame_quality(FRAME, frame.drop(columns=label)),
    )


def _ranked(columns: Sequence[ColumnVerdict]) -> tuple[ColumnVerdict, ...]:
    """Leaks first, then by suspicion; equals stay in the order of the tables."""
    order = {"leak": 0, "suspicious": 1, "undated": 2, "use": 3}
    return tuple(sorted(columns, key=lambda one: (order[one.verdict], not one.in_use, -one.suspicion)))


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix in {".parquet", ".pq"}:
            return pd.read_parquet(path)
        return pd.read_csv(path, sep=_separator(path), low_memory=False)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Pass a Parquet or CSV file.") from None
    except Exception as error:
        problem = " ".join(str(error).split())[:200].rstrip(".")
        raise DataError(f"{path} cannot be read as Parquet or CSV: {problem}. Write it again.") from None


def _separator(path: Path) -> str:
    """What the first line of a CSV file has most of."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig") as lines:
        first = lines.readline()
    return max(",;\t|", key=first.count)
