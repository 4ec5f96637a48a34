"""Several horizons of one target: a training set and a model for each, beside those of the primary one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.spine import build_spine
from features.tables import CrmTables
from features.targets import local_midnight
from models.horizons import Horizons, evaluate_horizons
from models.recipe import RecipeSettings
from models.training_set import TrainingSet
from pipeline.config import Config
from pipeline.deployment import features_of, make_spine_plan, make_target
from pipeline.labelling import label_rows

_KEY = ["entity_id", "as_of"]


def make_horizon_sets(config: Config, tables: CrmTables, name: str, primary: TrainingSet) -> dict[int, TrainingSet]:
    """Ripe rows of every horizon of a target, with the columns of the primary one.

    Parameters
    ----------
    config : Config
    tables : CrmTables
    name : str
        Target.
    primary : TrainingSet
        What `make_training_set` returned; most rows of the others are among its rows.

    Returns
    -------
    dict of int to TrainingSet
        By days, the primary one among them.

    Raises
    ------
    DataError
        If no label of a horizon is ripe.

    """
    spine = build_spine(tables, make_target(config, name), make_spine_plan(config, name))
    spine = spine[spine["as_of"] >= pd.Timestamp(np.asarray(primary.time).min())]  # rows may be of a window
    sets = {primary.horizon: primary}
    for days in config.targets[name].horizons_days[1:]:
        labels = label_rows(tables, spine, replace(make_target(config, name), horizon_days=days))
        label = labels["label"].to_numpy(dtype=np.float64)
        ripe = ~np.isnan(label)
        sets[days] = _relabel(config, tables, name, primary, spine[ripe].reset_index(drop=True), label[ripe], days)
    return sets


def _relabel(
    config: Config,
    tables: CrmTables,
    name: str,
    primary: TrainingSet,
    kept: pd.DataFrame,
    label: NDArray[np.float64],
    days: int,
) -> TrainingSet:
    """Rows of another horizon: features of snapshots that the primary one lacks are built."""
    columns = list(primary.frame.columns)
    known = pd.MultiIndex.from_frame(pd.DataFrame(primary.keys)[_KEY])
    lacking = kept[~pd.MultiIndex.from_frame(kept[_KEY]).isin(known)].reset_index(drop=True)
    frames = [primary.frame.set_axis(known)]
    if len(lacking):
        built = features_of(config, tables, name, lacking).frame
        frames.append(built[columns].set_axis(pd.MultiIndex.from_frame(built[_KEY])))
    wanted = pd.MultiIndex.from_frame(kept[_KEY])
    alone = f"{make_target(config, name).table} " + kept["entity_id"].astype(object)
    return replace(
        primary,
        frame=pd.concat(frames).loc[wanted].reset_index(drop=True),
        label=label,
        time=kept["as_of"].to_numpy(dtype="datetime64[us]"),
        horizon=days,
        group=kept["customer_id"].astype(object).where(kept["customer_id"].notna(), alone).to_numpy(),
        keys=kept[_KEY],
    )


def train_horizons(config: Config, tables: CrmTables, name: str, sets: dict[int, TrainingSet]) -> Horizons:
    """Evaluate all horizons of a target on the newest block that is ripe for the longest, or on the pinned one."""
    section = config.targets[name]
    pinned = None if section.test_as_of is None else local_midnight(section.test_as_of, tables.time_zone)
    direction = make_target(config, name).direction
    return evaluate_horizons(sets, section.horizons_days[0], direction, pinned, RecipeSettings(seed=config.seed))


def describe_horizons(config: Config, name: str, horizons: Horizons) -> dict[str, Any]:
    """Parts of a target's document that further horizons add: their figures, and those of the time to the event."""
    document: dict[str, Any] = {"horizons": horizons.to_json()}
    return {**document, "time_to_event": horizons.measure_times()} if config.targets[name].time_to_event else document
