"""From a spine to a feature frame: the same function for training, scoring and exploring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from features.engine import open_database
from features.errors import DataError
from features.group import AS_OF_LOCAL, Entity, FeatureInfo, Group
from features.program import SPINE, SPINE_KEY, write_program
from features.tables import CrmTables


@dataclass(frozen=True)
class FeatureFrame:
    """Features of all snapshots.

    `frame` has entity_id, as_of and one float64 or text column per feature, sorted by
    (entity_id, as_of); `infos` describes the columns; `skipped` says which groups or features
    were left out and why.
    """

    frame: pd.DataFrame
    infos: tuple[FeatureInfo, ...]
    skipped: Mapping[str, str]

    @property
    def columns(self) -> list[str]:
        """Names of the features."""
        return [info.name for info in self.infos]


def build_features(tables: CrmTables, spine: pd.DataFrame, catalog: Sequence[Group], entity: Entity) -> FeatureFrame:
    """Compute every feature of every snapshot, as known at its `as_of`.

    Only rows with `known_at < as_of` are seen; windows look back `[as_of - window, as_of)`.

    Parameters
    ----------
    tables : CrmTables
    spine : DataFrame
        entity_id, as_of, customer_id; one row per snapshot.
    catalog : sequence of feature groups
    entity : {"customers", "deals"}
        What entity_id identifies.

    Returns
    -------
    FeatureFrame
        One row per row of the spine.

    Raises
    ------
    DataError
        If the spine has duplicates, or a group uses a column or window in a way it cannot.

    """
    rows = _numbered(spine, entity, tables.time_zone)
    with open_database(tables) as database:
        program = write_program(tables, catalog, entity, database.dialect)
        database.add(SPINE, rows)
        frame = program.run(database)
    return FeatureFrame(frame, program.infos, dict(program.skipped))


def _numbered(spine: pd.DataFrame, entity: Entity, zone: str) -> pd.DataFrame:
    """Return the spine with a row number, the keys that groups join by, and `as_of` in local time."""
    if spine.duplicated(SPINE_KEY).any():
        twice = spine.loc[spine.duplicated(SPINE_KEY), "entity_id"].head(5).tolist()
        raise DataError(f"Spine: {twice} appear twice at one as_of. Keep one row per (entity_id, as_of).")
    rows = pd.DataFrame(
        {
            "row": range(len(spine)),
            "entity_id": spine["entity_id"].astype("str"),
            "as_of": spine["as_of"].astype("datetime64[us]"),
            "customer_id": spine["customer_id"].astype("str"),
        }
    )
    local = rows["as_of"].dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
    rows[AS_OF_LOCAL] = local.astype("datetime64[us]")
    if entity == "deals":
        rows["deal_id"] = rows["entity_id"]
    return rows
