"""Which version of a model is live: its alias in MLflow, and its bundle on this disk.

The alias `champion` in MLflow is the only record. The nightly job reads it without importing MLflow
(which takes seconds): from MLflow's own tables when they are in a database we can reach by SQL.
"""

import contextlib
import hashlib
import io
import os
import shlex
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from pipeline.config import Config, read_environment
from pipeline.errors import ConfigError, CrmError

CHAMPION = "champion"
CHALLENGER = "challenger"
BUNDLE_TAG = "bundle_sha256"
SQL_SCHEMES = ("sqlite", "postgresql", "mysql", "mssql")

_NOISE = (
    "The ``noload`` loader strategy is deprecated",
    r".*Add type hints to the `predict` method",
    r".*Any type hint is inferred as AnyType",
    "Operation with range is deprecated",
)


class Champion(NamedTuple):
    """The live version of a model and where its bundle lies on this disk."""

    version: int
    bundle_sha256: str
    folder: Path


def model_name(config: Config, target: str) -> str:
    """Name of a target's model in the registry."""
    return f"{config.name}-{target}"


def tracking_uri(config: Config) -> str:
    """Where MLflow keeps runs and versions: what the config's variable says, else SQLite in the state folder."""
    if config.mlflow.tracking_uri_env:
        return read_environment(config.mlflow.tracking_uri_env, "an MLflow tracking URI, such as http://host:5000")
    return f"sqlite:///{(config.folder / 'mlflow.db').resolve()}"


def ui_command(config: Config) -> str:
    """Shell command that opens the MLflow page of a deployment."""
    name = config.mlflow.tracking_uri_env
    if name and not tracking_uri(config).startswith(SQL_SCHEMES):
        return f'{shlex.quote(sys.executable)} -m webbrowser "${name}"'
    place = Path(os.path.relpath(config.folder / "mlflow.db"))
    uri = f'"${name}"' if name else shlex.quote(f"sqlite:///{place}")
    program = Path(sys.executable).parent / "mlflow"
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    quiet = "MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=1 MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"
    return f"{quiet} {shlex.quote(str(program))} ui --workers 1 --backend-store-uri {uri}"


def _place(config: Config) -> str:
    """Name the tracking place without its URI, which may hold a password."""
    name = config.mlflow.tracking_uri_env
    return f"MLflow at ${name}" if name else f"MLflow in {config.folder / 'mlflow.db'}"


def unanswered(config: Config, error: Exception) -> CrmError:
    """One sentence for a tracking place that refuses or is down."""
    text = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    reason = text.splitlines()[0].replace(tracking_uri(config), "the tracking URI").rstrip(".")
    return CrmError(f"{_place(config)} answered: {reason}. See that it runs, then run again.")


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Folder below `folder` for half-made files; those a killed run left behind are removed first."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".half-*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".half-") as made:
        yield Path(made)


def _make_database(uri: str) -> None:
    """Make MLflow's SQLite file if there is none: as MLflow would, but synced to disk once, not per migration.

    It appears complete, under the deployment's lock. (A new file in 1 to 2 s instead of 1 to 6 s.)
    """
    path = Path(sa.make_url(uri).database or "") if uri.startswith("sqlite:///") else None
    if path is None or path.exists():
        return
    try:
        from mlflow.store.db.utils import _initialize_tables
    except ImportError:  # another MLflow: it will make its tables itself
        return
    with _scratch(path.parent) as scratch:
        made = scratch / path.name
        engine = sa.create_engine(f"sqlite:///{made}", poolclass=NullPool)
        sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        _initialize_tables(engine)  # type: ignore[no-untyped-call]
        with made.open("rb+") as file:
            os.fsync(file.fileno())
        made.rename(path)


@contextlib.contextmanager
def open_mlflow(config: Config) -> Iterator[Any]:
    """Import MLflow pointed at the deployment's tracking place, kept quiet and off stdout.

    Raises
    ------
    CrmError
        If MLflow refuses or cannot be reached.

    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    uri = tracking_uri(config)
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        for text in _NOISE:
            warnings.filterwarnings("ignore", message=text)
        import mlflow
        from mlflow.exceptions import MlflowException

        _make_database(uri)
        mlflow.set_tracking_uri(uri)
        try:
            yield mlflow
        except (MlflowException, sa.exc.SQLAlchemyError) as error:
            raise unanswered(config, error) from error


def bundle_hash(folder: Path) -> str:
    """Hash that names a bundle: that of its manifest, which holds the hashes of all other files."""
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def keep_bundle(config: Config, folder: Path) -> Path:
    """Copy a bundle to `bundles/<hash>` of the state folder, whole or not at all; return that folder."""
    kept = config.folder / "bundles" / bundle_hash(folder)
    if not kept.exists():
        with _scratch(kept.parent) as scratch:
            shutil.copytree(folder, scratch / "bundle").rename(kept)
    return kept


def register(config: Config, target: str, model_uri: str, tags: dict[str, str]) -> int:
    """Make a logged model the newest version of its target, with the alias `challenger`.

    Tags are written with the version, so there is never a version without its bundle's hash.
    """
    name = model_name(config, target)
    with open_mlflow(config) as mlflow:
        with contextlib.redirect_stderr(io.StringIO()):
            version = int(mlflow.register_model(model_uri, name, tags=tags).version)
        mlflow.MlflowClient().set_registered_model_alias(name, CHALLENGER, str(version))
    return version


def set_champion(config: Config, target: str, version: int) -> None:
    """Make a version the live one: a single write of the alias.

    Raises
    ------
    ConfigError
        If there is no such version.

    """
    name = model_name(config, target)
    with open_mlflow(config) as mlflow:
        client = mlflow.MlflowClient()
        known = sorted(int(found.version) for found in client.search_model_versions(f"name = '{name}'"))
        if version not in known:
            listed = ", ".join(map(str, known[-5:])) or "none"
            raise ConfigError(f"Model '{name}' has no version {version}, known: {listed}. Choose one of them.")
        client.set_registered_model_alias(name, CHAMPION, str(version))


def read_champion(config: Config, target: str) -> Champion | None:
    """Live version of a target and its bundle; None before the first one.

    Reads MLflow's alias table by SQL when the tracking place is a database, and asks MLflow itself
    otherwise. A bundle that is not on this disk yet is fetched from the registry.

    Raises
    ------
    ConfigError
        If the alias names a version leadsieve did not register.
    CrmError
        If the tracking place cannot be reached.

    """
    uri = tracking_uri(config)
    name = model_name(config, target)
    found = _select_champion(config, name) if uri.startswith(SQL_SCHEMES) else _UNREADABLE
    if found is _UNREADABLE:
        found = _ask_champion(config, name)
    if found is None:
        return None
    version, digest = found
    if not digest:
        raise ConfigError(
            f"Version {version} of model '{name}' has no tag '{BUNDLE_TAG}', so it was not registered by leadsieve. "
            f"Give the alias '{CHAMPION}' to one that was."
        )
    return Champion(version, digest, find_bundle(config, target, version, digest))


def find_bundle(config: Config, target: str, version: int, digest: str) -> Path:
    """Folder of a version's bundle on this disk; one that is not there is fetched from the registry."""
    folder = config.folder / "bundles" / digest
    if not folder.exists():
        _fetch_bundle(config, model_name(config, target), version, digest)
    return folder


_UNREADABLE: tuple[int, str] = (-1, "")
"""What `_select_champion` returns when MLflow's tables are not as expected; MLflow itself is asked then."""


def _select_champion(config: Config, name: str) -> tuple[int, str] | None:
    """Version and bundle hash behind the alias, from MLflow's tables."""
    url = sa.make_url(tracking_uri(config))
    if url.drivername.startswith("sqlite") and not Path(url.database or "").is_file():
        return None
    alias = sa.table("registered_model_aliases", *map(sa.column, ("name", "alias", "version")))
    tag = sa.table("model_version_tags", *map(sa.column, ("name", "version", "key", "value")))
    same = (tag.c.name == alias.c.name) & (tag.c.version == alias.c.version) & (tag.c.key == BUNDLE_TAG)
    query = sa.select(alias.c.version, tag.c.value).select_from(alias.outerjoin(tag, same))
    query = query.where(alias.c.name == name, alias.c.alias == CHAMPION)
    try:
        connection = sa.create_engine(url, poolclass=NullPool).connect()
    except sa.exc.SQLAlchemyError as error:
        raise unanswered(config, error) from error
    with connection:
        try:
            rows = connection.execute(query).all()
        except sa.exc.SQLAlchemyError:
            return _UNREADABLE
    if len(rows) > 1:  # several workspaces have a model of this name
        return _UNREADABLE
    return (int(rows[0][0]), rows[0][1] or "") if rows else None


def _ask_champion(config: Config, name: str) -> tuple[int, str] | None:
    """Version and bundle hash behind the alias, from MLflow itself."""
    with open_mlflow(config) as mlflow:
        from mlflow.exceptions import MlflowException

        try:
            version = mlflow.MlflowClient().get_model_version_by_alias(name, CHAMPION)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
    return int(version.version), version.tags.get(BUNDLE_TAG, "")


def _fetch_bundle(config: Config, name: str, version: int, digest: str) -> None:
    """Bring a version's bundle from the registry to this disk."""
    with open_mlflow(config) as mlflow, tempfile.TemporaryDirectory() as scratch:
        uri = f"models:/{name}/{version}/artifacts/{digest}"
        bundle = Path(mlflow.artifacts.download_artifacts(uri, dst_path=scratch))
        if not (bundle / "manifest.json").is_file() or bundle_hash(bundle) != digest:
            raise ConfigError(
                f"Version {version} of model '{name}' does not hold the bundle {digest[:12]} it was registered with. "
                "Restore MLflow's artifacts, or train again."
            )
        keep_bundle(config, bundle)
