"""The evaluation report of a deployment's target: its words, slices, profit and audit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from features.tables import CrmTables
from models.recipe import Evaluation
from models.training_set import TrainingSet
from pipeline.audit_columns import check_columns
from pipeline.audit_verdict import ColumnVerdict
from pipeline.config import Config
from pipeline.deployment import make_target
from pipeline.evaluation_report import Setting, write_evaluation_report
from pipeline.plots import Subject
from pipeline.slice_columns import slices_of_tables


def report_path(config: Config, name: str) -> Path:
    """Where the report of a target's last training is."""
    return config.folder / "reports" / f"{name}.html"


def make_subject(config: Config, name: str) -> Subject:
    """What the rows of a target are, and what its event is."""
    target = config.targets[name]
    days = target.horizons_days[0]
    if target.kind == "conversion":
        return Subject(f"{config.name}, {name}", "deals", f"deals won within {days:,} days")
    if target.by == "subscription":
        return Subject(f"{config.name}, {name}", "customers", f"customers without a subscription after {days:,} days")
    return Subject(f"{config.name}, {name}", "customers", f"customers who bought nothing for {days:,} days")


def make_setting(config: Config, tables: CrmTables, name: str, rows: TrainingSet) -> Setting:
    """What the report of a target says besides figures: words, profit, slices of its test rows and the audit."""
    features: list[dict[str, Any]] = rows.manifest.get("features", [])
    return Setting(
        title=f"{config.name}, {name}",
        subject=make_subject(config, name),
        currency=config.currency,
        profit=config.targets[name].profit,
        profit_key=f"value_per_event and cost_per_contact in targets.{name}.profit of the config",
        cuts=slices_of_tables(tables, make_target(config, name), rows),
        words={one["name"]: one["en"] for one in features},
        verdicts=_verdicts(config, tables, name),
        seed=config.seed,
    )


def write_training_report(
    config: Config, tables: CrmTables, name: str, evaluation: Evaluation, train: TrainingSet, test: TrainingSet
) -> Path:
    """Write the report of an evaluation of a target's rows.

    Parameters
    ----------
    config : Config
    tables : CrmTables
    name : str
        Target.
    evaluation : Evaluation
    train, test : TrainingSet
        The rows it was made of.

    Returns
    -------
    Path
        `reports/<target>.html` of the state folder.

    """
    setting = make_setting(config, tables, name, test)
    return write_evaluation_report(report_path(config, name), evaluation, train, test, setting)


def _verdicts(config: Config, tables: CrmTables, name: str) -> list[ColumnVerdict]:
    """Verdicts on the columns that features of the target may read; those of deals only where deals are scored."""
    found = check_columns(config, replace(tables, engine="duckdb"))
    return [one for one in found if one.table != "deals" or make_target(config, name).table == "deals"]
