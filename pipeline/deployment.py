"""From a config to the objects that the other packages work with."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pandas as pd

from features.build import FeatureFrame, build_features
from features.catalog import CATALOG
from features.errors import DataError
from features.group import DerivedGroup, FeatureGroup, Group, PooledGroup
from features.tables import CrmTables, load_tables
from features.targets import SpinePlan, Target
from pipeline.config import Config
from pipeline.errors import ConfigError

_MISSING = {
    "deals": "no open deal, or no customer with a purchase in the lookback",
    "orders": "no open deal, or no customer with a purchase in the lookback",
    "subscriptions": "no customer with a live subscription",
}
"""Why nobody may be eligible, by the table that tells the outcome."""


def load_extract(config: Config) -> CrmTables:
    """Tables of the last extract, to be read by the config's engine; DataError if there are none."""
    return replace(load_tables(config.folder / "tables"), engine=config.engine)


def make_target(config: Config, name: str) -> Target:
    """A target of the config with its primary horizon; ConfigError if there is no such target."""
    if name not in config.targets:
        known = ", ".join(config.targets)
        raise ConfigError(f"Target '{name}' is not in the config, expected one of: {known}. Name one of these.")
    section = config.targets[name]
    return Target(
        name, section.kind, section.horizons_days[0], section.lookback_days, section.settle_days, section.by or "orders"
    )


def make_spine_plan(config: Config, name: str) -> SpinePlan:
    """When the entities of a target are looked at for training."""
    spine = config.targets[name].spine
    return SpinePlan(spine.grid, spine.start, spine.ages_days)


def load_catalog(config: Config) -> tuple[Group, ...]:
    """The shipped catalog and the groups of the config's own modules, in their order.

    Raises
    ------
    ConfigError
        If a module cannot be read, has no groups, or names a group that exists already.

    """
    groups = list(CATALOG)
    for path in config.feature_modules:
        for group in _module_groups(path):
            if group.name in {known.name for known in groups}:
                raise ConfigError(f"{path}: feature group '{group.name}' exists already. Give it another name.")
            groups.append(group)
    return tuple(groups)


def _module_groups(path: Path) -> list[Group]:
    """Groups that a file defines, in its order; those it imports are in the catalog already."""
    name = f"leadsieve_features_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"feature_modules: {path} is not a Python file. Give the path of one that exists.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ConfigError(f"{path} cannot be imported ({type(error).__name__}: {reason}). Correct it.") from error
    values = [value for value in vars(module).values() if isinstance(value, FeatureGroup | PooledGroup | DerivedGroup)]
    groups = [group for group in values if group.function.__module__ == name]
    if not groups:
        raise ConfigError(f"{path} has no feature groups. Decorate a function with @feature_group.")
    return groups


def features_of(config: Config, tables: CrmTables, name: str, spine: pd.DataFrame) -> FeatureFrame:
    """Features of a target's snapshots with the deployment's catalog; DataError if the spine is empty."""
    if spine.empty:
        raise DataError(
            f"Target '{name}': nobody is eligible ({_MISSING[make_target(config, name).outcome[0]]}). "
            "Check the tables and `lookback_days`."
        )
    return build_features(tables, spine, load_catalog(config), make_target(config, name).table)
