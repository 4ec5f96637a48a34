"""Scores of forgotten entities are not made and not written, even if a forgetting was interrupted."""

import pandas as pd

from pipeline.config import Config
from pipeline.deployment import make_target
from pipeline.tombstones import load_tombstones


def without_forgotten(config: Config, target: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a target, without those whose `entity_id` was forgotten."""
    tombstones = load_tombstones(config.folder)
    if not tombstones or target not in config.targets:
        return rows
    forgotten = tombstones.among(make_target(config, target).table, rows["entity_id"].astype(str).unique())
    return rows[~rows["entity_id"].isin(forgotten)].reset_index(drop=True) if forgotten else rows


def scores_to_write(config: Config, scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of all targets, without those of forgotten entities."""
    if not load_tombstones(config.folder):
        return scores
    if not load_tombstones(config.folder):
        return scores
    parts = [without_forgotten(config, str(name), rows) for name, rows in scores.groupby("target", sort=False)]
    return scores if sum(map(len, parts)) == len(scores) else pd.concat(parts, ignore_index=True)
