"""One training, written down in MLflow: figures, plots, where the rows came from, and the model."""

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import models
from pipeline.config import Config
from pipeline.registry import BUNDLE_TAG, bundle_hash, keep_bundle, model_name, open_mlflow, register

REQUIREMENTS = ("mlflow", "numpy", "pandas", "scikit-learn", "lightgbm", "joblib")
DIGEST_LENGTH = 32
"""MLflow keeps at most 36 characters of a data set's digest; the whole hash is in the manifest."""


@dataclass(frozen=True)
class Evidence:
    """What a retraining decided and why: tags, figures, and a document for those who want all of it."""

    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    document: Mapping[str, Any]


def flat_metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Figures of an evaluation under one flat name each; what does not exist is left out.

    >>> flat_metrics({"test": {"auc": 0.8, "interval": {"auc": [0.7, 0.9]}},
    ...               "candidates": [{"name": "logistic", "auc": 0.75, "brier": None}]})
    {'test_auc': 0.8, 'test_auc_low': 0.7, 'test_auc_high': 0.9, 'candidate_logistic_auc': 0.75}

    """
    figures: dict[str, Any] = {"seconds": evaluation.get("seconds")}
    blocks = [("test", evaluation.get("test") or {})]
    blocks += [(f"candidate_{block['name']}", block) for block in evaluation.get("candidates") or []]
    for days, block in (evaluation.get("horizons") or {}).items():
        blocks += [(f"horizon_{days}_{name}", block[name]) for name in ("test", "coherent")]
    blocks += [("time_to_event", evaluation["time_to_event"])] if evaluation.get("time_to_event") else []
    for prefix, block in blocks:
        figures |= {f"{prefix}_{name}": value for name, value in block.items() if name not in ("name", "interval")}
        for name, bounds in (block.get("interval") or {}).items():
            figures |= {f"{prefix}_{name}_low": bounds[0], f"{prefix}_{name}_high": bounds[1]}
    return {name: float(value) for name, value in figures.items() if _is_figure(value)}


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def pinned_requirements() -> list[str]:
    """What the logged model needs, in the versions installed here."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS]


def _params(config: Config, target: str, evaluation: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, str]:
    """Params of a run: the target as configured, what was selected, and which rows it rests on."""
    settings = config.targets[target].model_dump(mode="json", exclude={"spine"})
    facts = {"target": target, "seed": config.seed, "selected": evaluation.get("selected"), **settings}
    blocks = {
        "spine": config.targets[target].spine.model_dump(mode="json"),
        "setting": evaluation.get("setting") or {},
        "evaluated_on": evaluation.get("evaluated_on") or {},
        "fitted_on": {key: value for key, value in manifest.items() if not isinstance(value, dict | list)},
    }
    facts |= {f"{prefix}_{key}": value for prefix, block in blocks.items() for key, value in block.items()}
    return {key: str(value)[:500] for key, value in facts.items() if value is not None}


def _content_hash(manifest: Mapping[str, Any]) -> str:
    """Return the manifest's own content hash, or the hash of its text where it has none."""
    text = json.dumps(manifest, sort_keys=True, default=str)
    return str(manifest.get("sha256") or hashlib.sha256(text.encode()).hexdigest())


def _signature(example: pd.DataFrame, task: str | None = None) -> Any:
    """Numbers in as float64, text as string; probability and log-odds out, or the value."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    kinds = {str(name): "double" if example[name].dtype == "float64" else "string" for name in example}
    answer = {"value": "double"} if task == "value" else {"probability": "double", "log_odds": "double"}
    inputs, outputs = (Schema([ColSpec(kind, name) for name, kind in part.items()]) for part in (kinds, answer))
    return ModelSignature(inputs, outputs)


def _example(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row that is nobody's: the median of each number as float64, the most frequent of each text.

    A row of the frame would be a customer's, and MLflow keeps it for as long as the model.
    """
    return pd.DataFrame({str(name): _typical(frame[name]) for name in frame})


def _typical(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """One value, with the type of a column; null where the column has none."""
    if pd.api.types.is_numeric_dtype(values):
        return pd.Series([values.astype("float64").median()], dtype="float64")
    frequent = values.mode(dropna=True)
    return pd.Series([None if frequent.empty else frequent.iloc[0]], dtype=values.dtype)


def _log_lineage(mlflow: Any, config: Config, target: str, manifest: Mapping[str, Any], schema: Any) -> None:
    """Record the training rows and the tables below them, each named by its content hash."""
    from mlflow.data.artifact_dataset_sources import register_artifact_dataset_sources  # noqa: F401 (fills the registry)
    from mlflow.data.dataset_source_registry import get_dataset_source_from_json
    from mlflow.data.meta_dataset import MetaDataset

    hashes = [(f"{model_name(config, target)}-rows", config.folder / "training" / target, _content_hash(manifest))]
    tables = manifest.get("tables_sha256") or (manifest.get("manifest") or {}).get("tables_sha256")
    if tables:
        hashes.append((f"{config.name}-tables", config.folder / "tables", str(tables)))
    for name, folder, digest in hashes:
        source = get_dataset_source_from_json(json.dumps({"uri": str(folder)}), "local")
        rows_schema = schema if name.endswith("-rows") else None
        dataset = MetaDataset(source, name, digest[:DIGEST_LENGTH], rows_schema)  # type: ignore[abstract]
        mlflow.log_input(dataset, context="training")


def _log_model(mlflow: Any, bundle: Path, example: pd.DataFrame, task: str | None) -> Any:
    """Log the self-contained model: a script, the bundle and the file that reads it."""
    return mlflow.pyfunc.log_model(
        name="model",
        python_model=str(Path(__file__).with_name("mlflow_model.py")),
        artifacts={"bundle": str(bundle), "predict": str(Path(models.__file__).with_name("predict.py"))},
        model_config={"bundle_sha256": bundle_hash(bundle)},
        pip_requirements=pinned_requirements(),
        signature=_signature(example, task),
        input_example=example,
    )


def _experiment(mlflow: Any, config: Config) -> str:
    """Return the id of the deployment's experiment, made on first use."""
    name = config.mlflow.experiment or config.name
    found = mlflow.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    is_local = config.mlflow.tracking_uri_env is None
    place = (config.folder / "mlartifacts").resolve().as_uri() if is_local else None
    return str(mlflow.create_experiment(name, artifact_location=place))


def log_training(
    config: Config,
    target: str,
    evaluation: Mapping[str, Any],
    plots: Iterable[Path],
    bundle_folder: Path,
    training_manifest: Mapping[str, Any],
    input_example: pd.DataFrame,
    config_path: Path | None = None,
    evidence: Evidence | None = None,
    report: Path | None = None,
) -> int:
    """Write one training to MLflow and register its model as the newest version, the challenger.

    Parameters
    ----------
    config : Config
        The deployment.
    target : str
        A key of `config.targets`.
    evaluation : mapping
        DOC of `leadsieve evaluate --json`: selected, seconds, test, candidates.
    plots : iterable of Path
        Pictures to keep with the run.
    bundle_folder : Path
        The saved bundle; it is copied to `bundles/<hash>` of the state folder.
    training_manifest : mapping
        Where the rows came from, with their content hash `sha256` and, if known, `tables_sha256`.
    input_example : DataFrame
        Rows of features, float64 and text, columns as the model was fitted on. What is kept of them is one
        row of typical values.
    config_path : Path, optional
        The config file, kept as it is; without it the config is written out again.
    evidence : Evidence, optional
        Of a retraining: why it took place, how the gate decided and on what.
    report : Path, optional
        The page of the evaluation, kept as `report.html`.

    Returns
    -------
    int
        The new version.

    """
    bundle, example = keep_bundle(config, bundle_folder), _example(input_example)
    with open_mlflow(config) as mlflow:
        nested = mlflow.active_run() is not None
        with mlflow.start_run(experiment_id=_experiment(mlflow, config), run_name=target, nested=nested):
            mlflow.log_params(_params(config, target, evaluation, training_manifest))
            _log_lineage(mlflow, config, target, training_manifest, _signature(example).inputs)
            mlflow.set_tags({"target": target, BUNDLE_TAG: bundle.name})
            mlflow.log_dict(dict(evaluation), "evaluation.json")
            mlflow.log_dict(dict(training_manifest), "training_set.json")
            if config_path is not None:
                mlflow.log_text(config_path.read_text(encoding="utf-8"), "config.yaml")
            else:
                mlflow.log_text(yaml.safe_dump(config.model_dump(mode="json"), allow_unicode=True), "config.yaml")
            for plot in plots:
                mlflow.log_artifact(str(plot), "plots")
            if evidence is not None:
                mlflow.set_tags(dict(evidence.tags))
                mlflow.log_metrics(dict(evidence.metrics))
                mlflow.log_dict(dict(evidence.document), "gate.json")
            if report is not None:
                mlflow.log_text(report.read_text(encoding="utf-8"), "report.html")
            logged = _log_model(mlflow, bundle, example, evaluation.get("task"))
            mlflow.log_metrics(flat_metrics(evaluation), model_id=logged.model_id)
            tags = {BUNDLE_TAG: bundle.name, "target": target, "selected": str(evaluation.get("selected"))}
            tags |= evidence.tags if evidence is not None else {}
            return register(config, target, logged.model_uri, tags)
