# ruff: noqa: S608  (SQL is put together from quoted names of our own)
"""An entity as if nothing had become known for a while: yesterday's knowledge, looked at today."""

import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pandas as pd

from features.errors import DataError
from features.spine import build_scoring_spine
from features.tables import CrmTables, StoredTable
from pipeline.audit_parity import differs
from pipeline.config import Config
from pipeline.deployment import features_of, load_extract, make_target
from pipeline.errors import ConfigError
from pipeline.staging import open_duckdb, quote


@dataclass(frozen=True)
class Aged:
    """Features of an entity as known at one moment and looked at from a later one; or why they are not known."""

    features: pd.DataFrame | None
    why_not: str | None = None


def age_features(config: Config, target: str, before: pd.DataFrame, now: datetime, columns: Iterable[str]) -> Aged:
    """Build the features of one entity at `now` from the rows that were known at the time of `before`.

    The tables of today serve, without what became known since: `known_at >= then`, and values revealed since. They
    are believed only if they tell the features of then, to the bit, as they were stored.

    Parameters
    ----------
    config : Config
    target : str
    before : DataFrame
        One stored row of features, with entity_id and as_of.
    now : datetime
        UTC.
    columns : iterable of str
        Features that matter.

    """
    then = before["as_of"].iloc[0].to_pydatetime()
    if then == now:
        return Aged(before)
    try:
        with tempfile.TemporaryDirectory(prefix="leadsieve-") as folder:
            return _build(config, target, before, then, now, columns, Path(folder))
    except (DataError, ConfigError) as error:
        return Aged(None, f"the tables of then cannot be read any more ({str(error).rstrip('.')})")


def _build(
    config: Config,
    target: str,
    before: pd.DataFrame,
    then: datetime,
    now: datetime,
    columns: Iterable[str],
    folder: Path,
) -> Aged:
    tables = cut_tables(load_extract(config), then, folder)
    spine = build_scoring_spine(tables, make_target(config, target), then)
    spine = spine[spine["entity_id"] == before["entity_id"].iloc[0]]
    if spine.empty:
        return Aged(None, "the tables of today do not have it in the population of then")
    both = pd.concat([spine, spine.assign(as_of=pd.Timestamp(now).as_unit("us"))], ignore_index=True)
    built = features_of(config, tables, target, both).frame
    first, second = built.iloc[[0]].reset_index(drop=True), built.iloc[[1]].reset_index(drop=True)
    asked = list(columns)
    unlike = [one for one in asked if one not in first.columns or differs(before[one], first[one]).any()]
    if unlike:
        named = ", ".join(unlike[:3]) + (", ..." if len(unlike) > 3 else "")
        count = f"{len(unlike)} of {len(asked)}"
        return Aged(None, f"the tables of today tell {count} features of then otherwise ({named})")
    return Aged(second)


def cut_tables(tables: CrmTables, then: datetime, folder: Path) -> CrmTables:
    """Copy tables as they were known at a moment, whenever they are looked at.

    Rows with `known_at >= then` are left out, values revealed at `then` or later are null, and what ended at
    `then` or later has not ended.

    Parameters
    ----------
    tables : CrmTables
    then : datetime
        UTC.
    folder : Path
        Where the copies are written.

    """
    moment = f"TIMESTAMP '{then.isoformat(sep=' ')}'"
    with closing(open_duckdb(folder)) as connection:
        for name, stored in tables.tables.items():
            source, copy = (str(path).replace("'", "''") for path in (tables.path(name), folder / f"{name}.parquet"))
            columns = ", ".join(f"{_as_known(stored, column, moment)} AS {quote(column)}" for column in stored.columns)
            query = f"SELECT {columns} FROM read_parquet('{source}') WHERE known_at < {moment}"
            connection.execute(f"COPY ({query}) TO '{copy}' (FORMAT parquet)")
    copies = {name: replace(stored, file=f"{name}.parquet") for name, stored in tables.tables.items()}
    return replace(tables, folder=folder, tables=copies)


def _as_known(stored: StoredTable, column: str, moment: str) -> str:
    """SQL of a column as it was known before a moment."""
    clock = column if column == "known_until" or column.endswith("_known_at") else None
    if column in stored.revealed:
        clock = f"{stored.revealed[column]}_known_at"
    if clock is None or clock not in stored.columns:
        return quote(column)
    return f"CASE WHEN {quote(clock)} < {moment} THEN {quote(column)} END"
