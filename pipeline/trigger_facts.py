"""What the triggers of a retraining look at, read from the ledger, the labels and the live model."""

from datetime import datetime

import numpy as np
import pandas as pd

from features.tables import CrmTables
from models.metrics import log_losses
from models.predict import Bundle
from pipeline.config import Config
from pipeline.deployment import features_of
from pipeline.ledger import Ledger
from pipeline.registry import Champion
from pipeline.triggers import Facts, Loss, count_newly_ripe, expected_loss

TRAINED = ("champion", "no_signal", "promoted", "refused")
"""Outcomes of decisions that a training led to."""


def gather_facts(
    config: Config,
    tables: CrmTables,
    name: str,
    ledger: Ledger,
    labelled: pd.DataFrame,
    live: Champion | None,
    bundle: Bundle | None,
) -> Facts:
    """Gather what triggers look at; losses only where the config draws a line.

    Parameters
    ----------
    labelled : DataFrame
        Training spine of the target with label and settled_at.
    live, bundle : optional
        The live version and its model; None before the first one.

    """
    trained_at = _trained_at(ledger, name, bundle)
    newly_ripe = count_newly_ripe(labelled, trained_at)
    if config.retrain.max_expected_loss is None or live is None or bundle is None:
        return Facts(tables.data_end, trained_at, newly_ripe)
    expected = _expected(config, ledger, name, live)
    return Facts(
        tables.data_end, trained_at, newly_ripe, expected, _settled(config, tables, name, labelled, trained_at, bundle)
    )


def _trained_at(ledger: Ledger, name: str, bundle: Bundle | None) -> datetime | None:
    """End of the data that were last trained on: as the ledger has it, else as the live model has it."""
    for one in ledger.decisions(name):
        if one.kind in ("train", "retrain") and one.outcome in TRAINED and "data_end" in one.details:
            return datetime.fromisoformat(one.details["data_end"])
    facts = {} if bundle is None else bundle.manifest.get("extras", {}).get("training_set", {})
    return datetime.fromisoformat(facts["data_end"]) if "data_end" in facts else None


def _expected(config: Config, ledger: Ledger, name: str, live: Champion) -> Loss | None:
    """Loss that the live version expects of its newest scores; None if it has scored nobody yet."""
    run = ledger.latest_scored_run()
    if run is None:
        return None
    scores = ledger.scores(run.run_id)
    own = (scores["target"] == name) & (scores["bundle_sha256"] == live.bundle_sha256)
    primary = scores["horizon_days"] == config.targets[name].horizons_days[0]
    return expected_loss(scores.loc[own & primary, "probability"])


def _settled(
    config: Config,
    tables: CrmTables,
    name: str,
    labelled: pd.DataFrame,
    trained_at: datetime | None,
    bundle: Bundle,
) -> Loss | None:
    """Loss of the live version on rows that became ripe since the last training and that it was not fitted on."""
    last = np.datetime64(bundle.manifest["fitted_on"]["to"])
    is_new = labelled["label"].notna() & (labelled["as_of"] > last)
    if trained_at is not None:
        is_new &= labelled["settled_at"] > trained_at
    rows = labelled[is_new].reset_index(drop=True)
    if rows.empty:
        return None
    built = features_of(config, tables, name, rows.drop(columns=["label", "settled_at"]))
    losses = log_losses(rows["label"].to_numpy(dtype=np.float64), bundle.predict(built.frame))
    return Loss(float(losses.mean()), len(rows))
