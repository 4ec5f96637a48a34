"""Looking at features: which there are, and one entity's at a date."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from features.build import build_features
from features.errors import DataError
from features.group import Group
from features.plan import feature_names
from features.spine import build_scoring_spine
from features.tables import CrmTables
from pipeline.config import Config, load_config
from pipeline.deployment import load_catalog, load_extract, make_target
from pipeline.errors import ConfigError
from pipeline.explore_rows import in_words, show_behind


def describe_features(config_path: Path, target: str | None) -> dict[str, Any]:
    """Features of one target, or of all: name, unit, group, description, phrases; and what is left out."""
    config = load_config(config_path)
    tables = load_extract(config)
    features: dict[str, dict[str, Any]] = {}
    skipped: dict[str, str] = {}
    for name in [target] if target else list(config.targets):
        entity = make_target(config, name).table
        nobody = pd.DataFrame({"entity_id": [], "as_of": [], "customer_id": []}).astype({"as_of": "datetime64[us]"})
        built = build_features(tables, nobody, load_catalog(config), entity)
        features |= {info.name: asdict(info) for info in built.infos}
        of_others = {group: reason for group, reason in skipped.items() if not reason.startswith("it describes")}
        skipped = skipped | dict(built.skipped) | of_others
    groups = {info["group"] for info in features.values()}
    left_out = {name: reason for name, reason in skipped.items() if name not in features and name not in groups}
    return {"features": list(features.values()), "skipped": left_out}


def show_features(
    config_path: Path, entity: str, at: datetime | None, target: str | None, feature: str | None = None
) -> dict[str, Any]:
    """Features of one entity as of a date, in the order of the catalog, each with its phrases.

    The same builder as for training and scoring, on a spine of one row. With a feature's name only that one, and
    `behind`: what it was made of (see `explore_rows.show_behind`).

    Raises
    ------
    ConfigError
        If `at` lies after the end of the data, the id is both a deal's and a customer's, or there is no such feature.
    DataError
        If the entity is in no target's population at that date.

    """
    config = load_config(config_path)
    tables = load_extract(config)
    moment = at or tables.data_end
    if moment > tables.data_end:
        raise ConfigError(
            f"--at {moment} lies after the end of the data ({tables.data_end} UTC), when nothing is known yet. "
            "Pass an earlier time, or extract again."
        )
    rows = {name: _snapshot(config, tables, name, entity, moment) for name in ([target] if target else config.targets)}
    found = {name: row for name, row in rows.items() if not row.empty}
    if not found:
        raise DataError(
            f"Entity '{entity}' is not in the population of {', '.join(rows)} at {moment}: unknown then, deleted or "
            "merged before, or no open deal, purchase in the lookback or live subscription. Check the id, or "
            "pass another --at."
        )
    if len({make_target(config, name).table for name in found}) > 1:
        raise ConfigError(
            f"Id '{entity}' is that of a deal and that of a customer. Pass --target {' or --target '.join(found)}."
        )
    name, row = next(iter(found.items()))
    return _describe(config, tables, name, row, feature)


def _snapshot(config: Config, tables: CrmTables, name: str, entity: str, moment: datetime) -> pd.DataFrame:
    """Return the spine of one entity: one row, or none if it is not in the population."""
    spine = build_scoring_spine(tables, make_target(config, name), moment)
    return spine[spine["entity_id"] == entity].reset_index(drop=True)


def _describe(config: Config, tables: CrmTables, name: str, row: pd.DataFrame, feature: str | None) -> dict[str, Any]:
    catalog = load_catalog(config)
    built = build_features(tables, row, catalog, make_target(config, name).table)
    shown = {
        "entity_id": row["entity_id"].iloc[0],
        "as_of": str(row["as_of"].iloc[0]),
        "target": name,
        "features": [in_words(info, built) for info in built.infos if feature in (None, info.name)],
    }
    if feature is None:
        return shown
    check_feature(feature, built.columns, dict(built.skipped) | _reasons(catalog, tables, built.skipped))
    return {**shown, "behind": show_behind(tables, catalog, row, built, feature)}


def _reasons(catalog: Sequence[Group], tables: CrmTables, skipped: Mapping[str, str]) -> dict[str, str]:
    """Why features are not there: those of the groups that were left out as a whole."""
    return {
        name: skipped[group.name]
        for group in catalog
        if group.name in skipped
        for name in feature_names((group,), tables)
    }


def check_feature(name: str, known: Sequence[str], skipped: Mapping[str, str]) -> None:
    """Check that there is a feature; ConfigError with the reason why it was left out, or the nearest name."""
    if name in known:
        return
    if name in skipped:
        raise ConfigError(f"Feature '{name}' is left out here: {skipped[name]}. See `leadsieve features list`.")
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else "See `leadsieve features list`."
    raise ConfigError(f"There is no feature '{name}' in this deployment. {hint}")
