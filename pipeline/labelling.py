"""Labels of a target's snapshots, and what to do when there are none yet."""

import numpy as np
import pandas as pd

from features.errors import DataError
from features.labels import build_labels
from features.tables import CrmTables
from features.targets import Target


def label_rows(tables: CrmTables, spine: pd.DataFrame, target: Target) -> pd.DataFrame:
    """Return `build_labels` of the spine, without rows for nobody; DataError if all of them are censored."""
    if spine.empty:
        return spine[["entity_id", "as_of"]].assign(label=np.empty(0), settled_at=spine["as_of"])
    labels = build_labels(tables, spine, target)
    if labels["label"].isna().all():
        raise DataError(
            f"Target '{target.name}': none of {len(labels):,} snapshots is ripe: the first label settles on "
            f"{labels['settled_at'].min():%Y-%m-%d}, {target.horizon_days} days after its as_of plus the lateness of "
            f"the outcome, and the data end on {tables.data_end:%Y-%m-%d}. Extract a longer history, or shorten "
            "`horizons_days`."
        )
    return labels
