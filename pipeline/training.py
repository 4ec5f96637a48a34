"""From extracted tables to a training set, and from that to a registered model."""

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.build import FeatureFrame
from features.group import TargetKind
from features.groups.calendar import calendar
from features.spine import build_spine
from features.tables import CrmTables
from features.targets import Target, local_midnight
from models.bundle import save_bundle
from models.columns import dull_columns
from models.expert_card import ExpertCard
from models.horizons import FurtherModels
from models.recipe import Evaluation, FittedModel, RecipeSettings, evaluate, refit
from models.split import split_test
from models.training_set import TrainingSet, check_learnable, save_training_set
from models.value import ValueEvaluation, check_revenue
from pipeline import __version__
from pipeline.ages import age_range
from pipeline.aliases import read_registered
from pipeline.cards import load_card
from pipeline.config import Config
from pipeline.deployment import features_of, load_catalog, make_spine_plan, make_target
from pipeline.horizons import describe_horizons, make_horizon_sets, train_horizons
from pipeline.labelling import label_rows
from pipeline.ledger import Ledger
from pipeline.plots import draw_all
from pipeline.registry import set_champion
from pipeline.tracking import Evidence, log_training
from pipeline.training_report import make_subject, write_training_report

SEASONS_DAYS = 730
"""Days that training rows must span for features of the calendar to be used."""


@dataclass(frozen=True)
class Training:
    """What a training of one target ended in; `version` is None when nothing was registered."""

    target: str
    evaluation: Evaluation | ValueEvaluation
    document: Mapping[str, Any]
    version: int | None
    bundle_sha256: str | None


def make_training_set(config: Config, tables: CrmTables, name: str) -> TrainingSet:
    """Features and ripe labels of a target's training spine.

    Parameters
    ----------
    config : Config
    tables : CrmTables
    name : str
        Target.

    Returns
    -------
    TrainingSet
        One row per ripe snapshot, sorted by (entity_id, as_of); group is the customer, so that no
        split puts one customer on both sides (an entity without customer is its own group).

    Raises
    ------
    DataError
        If nobody is eligible, no label is ripe, or all labels are equal.

    """
    labelled = label_spine(config, tables, name)
    return as_training_set(config, tables, name, build_ripe_rows(config, tables, name, labelled))


@dataclass(frozen=True)
class RipeRows:
    """Snapshots of a target whose labels are ripe, with every feature: what an older model may ask for, too.

    `unripe` counts those whose labels are not, and which are left out.
    """

    spine: pd.DataFrame
    label: NDArray[np.float64]
    built: FeatureFrame
    unripe: int


def label_spine(config: Config, tables: CrmTables, name: str) -> pd.DataFrame:
    """Return the training spine of a target with label and settled_at; DataError if all labels are censored."""
    target = make_target(config, name)
    spine = build_spine(tables, target, make_spine_plan(config, name))
    labels = label_rows(tables, spine, target)
    return spine.assign(label=labels["label"].to_numpy(), settled_at=labels["settled_at"].to_numpy())


def build_ripe_rows(config: Config, tables: CrmTables, name: str, labelled: pd.DataFrame) -> RipeRows:
    """Build the features of the snapshots whose labels are ripe."""
    ripe = labelled[labelled["label"].notna()].reset_index(drop=True)
    spine = ripe.drop(columns=["label", "settled_at"])
    label, built = ripe["label"].to_numpy(dtype=np.float64), features_of(config, tables, name, spine)
    return RipeRows(spine, label, built, len(labelled) - len(ripe))


def as_training_set(config: Config, tables: CrmTables, name: str, ripe: RipeRows) -> TrainingSet:
    """Leave out the columns that tell nothing, and describe the rows; see `make_training_set`."""
    target, kept, built = make_target(config, name), ripe.spine, ripe.built
    card = _read_card(config, name)
    if len(np.unique(ripe.label)) > 1:  # else there is nothing to learn, which is not the columns' fault
        built = _telling(built, () if card is None else card.columns)
    alone = f"{target.table} " + kept["entity_id"].astype(object)
    rows = TrainingSet(
        frame=built.frame[built.columns].reset_index(drop=True),
        label=ripe.label,
        time=kept["as_of"].to_numpy(dtype="datetime64[us]"),
        horizon=target.horizon_days,
        group=kept["customer_id"].astype(object).where(kept["customer_id"].notna(), alone).to_numpy(),
        keys=kept[["entity_id", "as_of"]],
        directions=_directions(target, built),
        manifest={
            **_describe(config, tables, target, built),
            "ages_days": age_range(tables, kept, target),
            "unripe": ripe.unripe,
        },
        roles=_roles(target, built),
        card=card,
    )
    (check_revenue if target.kind == "value" else check_learnable)(rows, f"ripe rows of target '{name}'")
    return rows


def _read_card(config: Config, name: str) -> ExpertCard | None:
    """Scorecard of a target, whose points are a candidate; None for a value, of which a card says nothing."""
    kind = config.targets[name].kind
    card = None if kind == "value" else load_card(config, name)
    return None if card is None else ExpertCard.of(card, kind)


def _roles(target: Target, built: FeatureFrame) -> dict[str, str]:
    """Columns of the purchase history, where no purchase within the horizon is what is predicted."""
    if target.outcome[0] != "orders":
        return {}
    return {info.role: info.name for info in built.infos if info.role}


def _directions(target: Target, built: FeatureFrame) -> dict[str, int]:
    """Signs that features are sure of for such a target; what orders say of buyers says nothing of subscribers.

    Value has those of churn, for the part of its model that asks who buys nothing.
    """
    kind: TargetKind = "churn" if target.kind == "value" else target.kind
    return {
        info.name: info.direction[kind]
        for info in built.infos
        if kind in info.direction and not (target.is_by_subscription and info.name.startswith("orders_"))
    }


def _telling(built: FeatureFrame, on_card: Collection[str]) -> FeatureFrame:
    """Leave out columns that tell nothing, and the calendar where each month was not seen in two years."""
    frame = built.frame[built.columns]
    left_out = dull_columns(frame, [*(info.name for info in built.infos if info.role), *on_card])
    span = (built.frame["as_of"].max() - built.frame["as_of"].min()).days
    if span < SEASONS_DAYS:
        why = f"the rows span {span} days: a season cannot be told from a trend in less than {SEASONS_DAYS}"
        left_out |= {info.name: why for info in built.infos if info.group == calendar.name}
    infos = tuple(info for info in built.infos if info.name not in left_out)
    return FeatureFrame(built.frame.drop(columns=list(left_out)), infos, {**built.skipped, **left_out})


def _describe(config: Config, tables: CrmTables, target: Target, built: FeatureFrame) -> dict[str, Any]:
    """Where the rows of a training set come from."""
    return {
        "target": target.name,
        "kind": target.kind,
        "horizons_days": list(config.targets[target.name].horizons_days),
        "data_end": tables.data_end.isoformat(),
        "currency": tables.currency,
        "tables_sha256": tables.sha256,
        "catalog_version": __version__,
        "groups": [group.name for group in load_catalog(config)],
        "skipped": dict(built.skipped),
        "features": [asdict(info) for info in built.infos],
    }


def train_target(config: Config, tables: CrmTables, name: str, ledger: Ledger, config_path: Path) -> Training:
    """Build the training set, choose and fit a model, and make it champion unless nothing beats the base rate.

    Nothing asks whether it is better than the one that was live: that is what `retrain_target` does.

    The figures are those of the model fitted without the test block; what is registered is the same
    choice refitted on all ripe rows with frozen settings. What was decided goes into the ledger.
    """
    rows = make_training_set(config, tables, name)
    save_training_set(config.folder / "training" / name, rows)
    if config.targets[name].kind == "value":
        from pipeline.value_training import train_value

        return train_value(config, tables, name, rows, ledger, config_path)
    pinned = config.targets[name].test_as_of
    train, test = split_test(rows, None if pinned is None else local_midnight(pinned, tables.time_zone))
    evaluation = evaluate(train, test, RecipeSettings(seed=config.seed))
    report = write_training_report(config, tables, name, evaluation, train, test)
    document = evaluation.to_json()
    figures = {"selected": evaluation.selected, "test": document["test"], "data_end": tables.data_end.isoformat()}
    if evaluation.selected == "base_rate":
        ledger.record_decision("train", name, "no_signal", figures)
        return Training(name, evaluation, document, None, None)
    figures["replaced"] = read_registered(config, name).champion
    refitted = refit_choice(config, tables, name, rows, test, evaluation)
    version, sha256 = register_model(config, name, rows, refitted, config_path, report=report)
    set_champion(config, name, version)
    ledger.record_decision("train", name, "champion", {**figures, "version": version, "bundle_sha256": sha256})
    return Training(name, evaluation, refitted.document, version, sha256)


@dataclass(frozen=True)
class Refitted:
    """A choice fitted on all ripe rows, with the models of further horizons, and how it was measured before that."""

    evaluation: Evaluation
    test: TrainingSet
    fitted: FittedModel
    further: FurtherModels | None
    document: Mapping[str, Any]


def refit_choice(
    config: Config, tables: CrmTables, name: str, rows: TrainingSet, test: TrainingSet, evaluation: Evaluation
) -> Refitted:
    """Refit what was chosen without the test rows on all ripe rows, settings frozen, and train further horizons."""
    fitted, document, further = refit(evaluation, rows), evaluation.to_json(), None
    if len(config.targets[name].horizons_days) > 1:
        sets = make_horizon_sets(config, tables, name, rows)
        horizons = train_horizons(config, tables, name, sets)
        further, document = horizons.refit(sets), {**document, **describe_horizons(config, name, horizons)}
    return Refitted(evaluation, test, fitted, further, document)


def register_model(
    config: Config,
    name: str,
    rows: TrainingSet,
    refitted: Refitted,
    config_path: Path,
    evidence: Evidence | None = None,
    report: Path | None = None,
) -> tuple[int, str]:
    """Save a refitted model and register it as the challenger; its version and the hash of its bundle."""
    evaluation = refitted.evaluation
    facts = {**rows.manifest, **rows.describe()}
    measured = {"evaluated_on": dict(evaluation.evaluated_on), "test": dict(evaluation.test)}
    extras = {"config": config.model_dump(mode="json"), "training_set": facts, **measured}
    with tempfile.TemporaryDirectory(prefix="leadsieve-") as folder:
        bundle = Path(folder) / "bundle"
        sha256 = save_bundle(bundle, refitted.fitted, extras, refitted.further)
        known = [version for version, one in read_registered(config, name).bundles.items() if one == sha256]
        if known and evidence is not None:  # an earlier run was killed after it had registered this very model
            return known[-1], sha256
        pictures = draw_all(
            Path(folder) / "plots",
            evaluation.test_label,
            evaluation.test_probability,
            evaluation.fitted.importances(refitted.test.frame),
            make_subject(config, name),
        )
        version = log_training(
            config, name, refitted.document, pictures, bundle, facts, rows.frame, config_path, evidence, report
        )
    return version, sha256
