"""Train a target of kind `value`: what customers will bring in within the horizon."""

import tempfile
from pathlib import Path
from typing import Any

from features.groups.orders import WINDOWS
from features.tables import CrmTables
from features.targets import local_midnight
from models.bundle import save_bundle
from models.recipe import RecipeSettings
from models.training_set import TrainingSet
from models.value import ValueEvaluation, evaluate_value, refit_value, split_value_test
from pipeline.aliases import read_registered
from pipeline.config import Config
from pipeline.ledger import Ledger
from pipeline.plots import Subject, draw_tenths
from pipeline.registry import set_champion
from pipeline.tracking import log_training
from pipeline.training import Training

SUBJECT = Subject("customers of the test block", "customers")


def past_revenue_column(rows: TrainingSet) -> str | None:
    """Return the column with the amount of purchases in the past window nearest to the horizon, if rows have one.

    Of two windows equally near it is the shorter one.
    """
    nearest = min(WINDOWS, key=lambda days: abs(days - rows.horizon))
    name = f"orders_amount_{nearest}d"
    return name if name in rows.frame.columns else None


def train_value(
    config: Config, tables: CrmTables, name: str, rows: TrainingSet, ledger: Ledger, config_path: Path
) -> Training:
    """Choose and fit a model of revenue, and make it champion unless nothing beats the mean.

    As for probabilities, the figures are those of the model fitted without the test block, and what is registered
    is the same choice refitted on all ripe rows with frozen settings.
    """
    pinned = config.targets[name].test_as_of
    train, test = split_value_test(rows, None if pinned is None else local_midnight(pinned, tables.time_zone))
    evaluation = evaluate_value(train, test, past_revenue_column(rows), RecipeSettings(seed=config.seed))
    document = evaluation.to_json()
    figures: dict[str, Any] = {"selected": evaluation.selected, "test": document["test"]}
    figures["data_end"] = tables.data_end.isoformat()
    if evaluation.selected == "mean":
        ledger.record_decision("train", name, "no_signal", figures)
        return Training(name, evaluation, document, None, None)
    figures["replaced"] = read_registered(config, name).champion
    version, sha256 = _register(config, name, rows, evaluation, config_path)
    set_champion(config, name, version)
    ledger.record_decision("train", name, "champion", {**figures, "version": version, "bundle_sha256": sha256})
    return Training(name, evaluation, document, version, sha256)


def _register(
    config: Config, name: str, rows: TrainingSet, evaluation: ValueEvaluation, config_path: Path
) -> tuple[int, str]:
    """Refit the choice on all ripe rows, save it, and register it; its version and the hash of its bundle."""
    facts = {**rows.manifest, **rows.describe()}
    measured = {"evaluated_on": dict(evaluation.evaluated_on), "test": dict(evaluation.test)}
    extras = {"config": config.model_dump(mode="json"), "training_set": facts, **measured}
    with tempfile.TemporaryDirectory(prefix="leadsieve-") as folder:
        bundle = Path(folder) / "bundle"
        sha256 = save_bundle(bundle, refit_value(evaluation, rows), extras)
        picture = draw_tenths(Path(folder) / "revenue.png", evaluation.test["tenths"], SUBJECT, config.currency)
        document = evaluation.to_json()
        version = log_training(config, name, document, [picture], bundle, facts, rows.frame, config_path)
    return version, sha256
