"""What a training leaves in MLflow, and which version is live."""

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from models.predict import load_bundle
from pipeline.config import Config
from pipeline.errors import ConfigError, CrmError
from pipeline.registry import (
    bundle_hash,
    keep_bundle,
    model_name,
    open_mlflow,
    read_champion,
    set_champion,
    tracking_uri,
    ui_command,
)
from pipeline.tracking import flat_metrics, log_training, pinned_requirements

HOME = Path(__file__).resolve().parent.parent

EVALUATION = {
    "selected": "logistic",
    "setting": {"strength": 4.0},
    "evaluated_on": {"rows": 40, "from": "2025-09-01"},
    "seconds": 1.5,
    "test": {"rows": 40, "auc": 0.8, "log_loss": None, "interval": {"auc": [0.7, 0.9]}},
    "candidates": [{"name": "base_rate", "auc": 0.5}, {"name": "logistic", "auc": 0.78, "brier": float("nan")}],
}
MANIFEST = {
    "sha256": "ab" * 32,
    "tables_sha256": "cd" * 32,
    "data_end": "2026-01-01T00:00:00",
    "features": [{"name": "a"}],
}
FRAME = pd.DataFrame({"orders_count_365d": [0.0, 3.0, np.nan], "customers_industry": ["pharma", None, "mining"]})


def make_config(folder: Path, **changes: Any) -> Config:
    values = {
        "name": "demo",
        "state": str(folder / "state"),
        "source": {"adapter": "sql", "sqlite": "crm.db"},
        "tables": {"customers": {"select": "SELECT 1"}},
        "targets": {"churn": {"kind": "churn", "by": "orders", "horizons_days": [90], "spine": {"grid": "month"}}},
    }
    return Config.model_validate({**values, **changes})


def write_bundle(folder: Path, intercept: float = 0.5) -> Path:
    """A bundle of one linear member: intercept - 0.25 per order (null: -1) + 1 for pharma (null: 0.125)."""
    folder.mkdir(parents=True)
    terms = [
        {"column": "orders_count_365d", "kind": "number", "knots": [0, 4], "values": [0, -1], "missing": -1.0},
        {
            "column": "customers_industry",
            "kind": "text",
            "values": [1.0],
            "unseen": 0.0,
            "missing": 0.125,
        },
    ]
    model = {
        "columns": [
            {"name": "orders_count_365d", "kind": "number"},
            {"name": "customers_industry", "kind": "text", "categories": ["pharma"]},
        ],
        "calibrator": {"kind": "identity"},
        "members": [{"kind": "linear", "weight": 1.0, "intercept": intercept, "terms": terms}],
    }
    (folder / "model.json").write_text(json.dumps(model), encoding="utf-8")
    files = {"model.json": hashlib.sha256((folder / "model.json").read_bytes()).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"protocol": 1, "files": files}), encoding="utf-8")
    return folder


def train(config: Config, folder: Path, intercept: float = 0.5) -> int:
    plot = folder / "roc.png"
    plot.write_bytes(b"png")
    bundle = write_bundle(folder / f"bundle{intercept}", intercept)
    return log_training(config, "churn", EVALUATION, [plot], bundle, MANIFEST, FRAME)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """Two trainings; the first version is the champion."""
    folder = tmp_path_factory.mktemp("registry")
    config = make_config(folder)
    assert train(config, folder, 0.5) == 1
    assert read_champion(config, "churn") is None
    set_champion(config, "churn", 1)
    assert train(config, folder, 0.75) == 2
    return config, folder


@contextlib.contextmanager
def client_of(config: Config) -> Iterator[Any]:
    with open_mlflow(config) as mlflow:
        yield mlflow.MlflowClient()


def run_of(config: Config, version: int) -> Any:
    with client_of(config) as client:
        return client.get_run(client.get_model_version(model_name(config, "churn"), str(version)).run_id)


def test_figures_get_flat_names_and_those_that_do_not_exist_are_left_out() -> None:
    assert flat_metrics(EVALUATION) == {
        "seconds": 1.5,
        "test_rows": 40.0,
        "test_auc": 0.8,
        "test_auc_low": 0.7,
        "test_auc_high": 0.9,
        "candidate_base_rate_auc": 0.5,
        "candidate_logistic_auc": 0.78,
    }


def test_a_training_leaves_figures_params_files_and_lineage(trained: tuple[Config, Path]) -> None:
    config, _ = trained
    run = run_of(config, 1)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == flat_metrics(EVALUATION)
    assert run.data.params["selected"] == "logistic"
    assert run.data.params["horizons_days"] == "[90]"
    assert run.data.params["setting_strength"] == "4.0"
    assert run.data.params["evaluated_on_from"] == "2025-09-01"
    assert run.data.params["fitted_on_data_end"] == "2026-01-01T00:00:00"
    assert "fitted_on_features" not in run.data.params
    inputs = {entry.dataset.name: entry.dataset for entry in run.inputs.dataset_inputs}
    assert {name: entry.digest for name, entry in inputs.items()} == {
        "demo-churn-rows": "ab" * 16,
        "demo-tables": "cd" * 16,
    }
    assert "orders_count_365d" in inputs["demo-churn-rows"].schema
    place = Path(run.info.artifact_uri.removeprefix("file://"))
    assert {path.name for path in place.rglob("*") if path.is_file()} == {
        "roc.png",
        "config.yaml",
        "evaluation.json",
        "training_set.json",
    }
    assert json.loads((place / "training_set.json").read_text()) == MANIFEST
    assert place.is_relative_to(config.folder.resolve() / "mlartifacts")


def test_the_config_file_is_kept_as_it_is(tmp_path: Path, trained: tuple[Config, Path]) -> None:
    config, _ = trained
    path = tmp_path / "mine.yaml"
    path.write_text("name: demo  # 我的\n", encoding="utf-8")
    bundle = write_bundle(tmp_path / "bundle")
    version = log_training(config, "churn", EVALUATION, [], bundle, {}, FRAME, config_path=path)
    place = Path(run_of(config, version).info.artifact_uri.removeprefix("file://"))
    assert (place / "config.yaml").read_text(encoding="utf-8") == "name: demo  # 我的\n"


def test_a_new_version_is_challenger_and_leaves_the_champion(trained: tuple[Config, Path]) -> None:
    config, folder = trained
    with client_of(config) as client:
        versions = {int(v.version): v for v in client.search_model_versions("name = 'demo-churn'")}
        assert "champion" in client.get_model_version("demo-churn", "1").aliases
        newest = client.get_model_version("demo-churn", str(max(versions)))
        assert newest.aliases == ["challenger"]
    champion = read_champion(config, "churn")
    assert champion is not None
    assert champion.version == 1
    assert champion.bundle_sha256 == bundle_hash(folder / "bundle0.5")
    assert champion.folder == config.folder / "bundles" / champion.bundle_sha256
    load_bundle(champion.folder, champion.bundle_sha256)


def test_the_champion_is_the_alias_in_mlflow_and_nothing_else(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    train(config, tmp_path, 0.5)
    train(config, tmp_path, 0.75)
    set_champion(config, "churn", 1)
    with client_of(config) as client:  # as a person does on the MLflow page
        client.set_registered_model_alias("demo-churn", "champion", "2")
    champion = read_champion(config, "churn")
    assert champion is not None
    assert champion.version == 2
    with client_of(config) as client:
        client.delete_registered_model_alias("demo-churn", "champion")
    assert read_champion(config, "churn") is None


def test_mlflow_itself_is_asked_when_its_tables_cannot_be_read(
    trained: tuple[Config, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = trained
    expected = read_champion(config, "churn")
    monkeypatch.setattr("pipeline.registry.SQL_SCHEMES", ("no-scheme",))
    assert read_champion(config, "churn") == expected
    assert read_champion(make_config(config.state, name="other", state=str(config.state)), "churn") is None


def test_a_bundle_that_is_not_on_this_disk_is_fetched_from_the_registry(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    set_champion(config, "churn", train(config, tmp_path))
    before = read_champion(config, "churn")
    assert before is not None
    shutil.rmtree(config.folder / "bundles")
    after = read_champion(config, "churn")
    assert after == before
    load_bundle(before.folder, before.bundle_sha256)
    shutil.rmtree(config.folder / "bundles")
    for manifest in (config.folder / "mlartifacts").rglob("manifest.json"):
        manifest.write_text("{}")
    with pytest.raises(ConfigError, match="Version 1 of model 'demo-churn' does not hold the bundle"):
        read_champion(config, "churn")


def test_there_is_no_champion_before_the_first_training_and_nothing_is_made(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    assert read_champion(config, "churn") is None
    assert not config.folder.exists()


def test_a_version_that_is_not_there_cannot_be_champion(trained: tuple[Config, Path]) -> None:
    config, _ = trained
    with pytest.raises(ConfigError, match=r"Model 'demo-churn' has no version 99, known: 1, 2.*Choose one of them"):
        set_champion(config, "churn", 99)


def test_a_champion_of_foreign_origin_is_refused(trained: tuple[Config, Path]) -> None:
    config, _ = trained
    with client_of(config) as client:
        client.create_registered_model("demo-foreign")
        client.create_model_version("demo-foreign", (config.folder / "mlartifacts").resolve().as_uri())
        client.set_registered_model_alias("demo-foreign", "champion", "1")
    with pytest.raises(ConfigError, match="Version 1 of model 'demo-foreign' has no tag 'bundle_sha256'"):
        read_champion(config, "foreign")


def test_a_tracking_place_that_does_not_answer_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tmp_path, mlflow={"tracking_uri_env": "MY_MLFLOW"})
    with pytest.raises(
        ConfigError, match=r"Environment variable MY_MLFLOW is not set\. Set it to an MLflow tracking URI"
    ):
        tracking_uri(config)
    monkeypatch.setenv("MY_MLFLOW", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(CrmError, match=r"MLflow at \$MY_MLFLOW answered: .*run again") as caught:
        read_champion(config, "churn")
    assert "secret" not in str(caught.value)


def test_a_tracking_database_that_is_broken_is_named(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    config.folder.mkdir(parents=True)
    (config.folder / "mlflow.db").write_bytes(b"not a database " * 100)
    with pytest.raises(CrmError, match=r"MLflow in .*mlflow.db answered: file is not a database. See that it runs"):
        read_champion(config, "churn")


def test_any_tracking_uri_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_MLFLOW", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    monkeypatch.chdir(tmp_path)
    config = make_config(tmp_path, mlflow={"tracking_uri_env": "MY_MLFLOW", "experiment": "leads"})
    set_champion(config, "churn", train(config, tmp_path))
    champion = read_champion(config, "churn")
    assert champion is not None
    assert (tmp_path / "elsewhere.db").is_file()
    assert not (config.folder / "mlflow.db").exists()
    with open_mlflow(config) as mlflow:
        assert mlflow.get_experiment_by_name("leads") is not None


def test_a_copied_bundle_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    bundle = write_bundle(tmp_path / "bundle")
    (config.folder / "bundles" / ".half-of-a-killed-run").mkdir(parents=True)
    kept = keep_bundle(config, bundle)
    assert kept == keep_bundle(config, bundle)
    assert sorted(path.name for path in kept.parent.iterdir()) == [bundle_hash(bundle)]
    assert (kept / "model.json").read_bytes() == (bundle / "model.json").read_bytes()


def test_reading_the_champion_does_not_import_mlflow(trained: tuple[Config, Path]) -> None:
    config, _ = trained
    code = (
        "import sys, json; from pathlib import Path; from pipeline.config import Config; "
        "from pipeline.registry import read_champion; "
        f"config = Config.model_validate_json({config.model_dump_json()!r}); "
        "champion = read_champion(config, 'churn'); "
        "print(json.dumps([champion.version, 'mlflow' in sys.modules, 'matplotlib' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [1, False, False]


def test_a_training_prints_nothing_on_stdout(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    set_champion(make_config(tmp_path), "churn", train(make_config(tmp_path), tmp_path))
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""


def test_the_page_command_names_the_database_and_phones_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ui_command(make_config(tmp_path))
    assert command.startswith("MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=1 MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false ")
    assert command.endswith("mlflow ui --workers 1 --backend-store-uri sqlite:///state/demo/mlflow.db")
    config = make_config(tmp_path, mlflow={"tracking_uri_env": "MY_MLFLOW"})
    monkeypatch.setenv("MY_MLFLOW", "postgresql://me:secret@db/mlflow")
    assert ui_command(config).endswith('mlflow ui --workers 1 --backend-store-uri "$MY_MLFLOW"')
    monkeypatch.setenv("MY_MLFLOW", "https://mlflow.example.com")
    assert ui_command(config).endswith('-m webbrowser "$MY_MLFLOW"')


def test_the_requirements_are_pinned_to_what_is_installed() -> None:
    assert f"pandas=={pd.__version__}" in pinned_requirements()
    assert all("==" in line for line in pinned_requirements())


def test_the_tables_read_by_sql_are_still_mlflows(trained: tuple[Config, Path]) -> None:
    config, _ = trained
    engine = sa.create_engine(tracking_uri(config), poolclass=sa.pool.NullPool)
    inspector = sa.inspect(engine)
    assert {"name", "alias", "version"} <= {c["name"] for c in inspector.get_columns("registered_model_aliases")}
    assert {"name", "version", "key", "value"} <= {c["name"] for c in inspector.get_columns("model_version_tags")}
