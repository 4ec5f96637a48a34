"""MLflow's aliases read and moved without importing MLflow: by SQL where its tables are in a database.

`rollback` has to work at night, in a second, on whatever is left of a broken deployment. MLflow takes four
seconds to import; its alias is one row of one table.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from pipeline.config import Config
from pipeline.database import lacks_file, make_engine, writing
from pipeline.errors import ConfigError, CrmError
from pipeline.registry import (
    BUNDLE_TAG,
    CHALLENGER,
    CHAMPION,
    SQL_SCHEMES,
    model_name,
    open_mlflow,
    set_champion,
    tracking_uri,
    unanswered,
)

DELETED = "Deleted_Internal"
"""Stage that MLflow gives to a version that was deleted; its row stays."""

ALIASES = sa.table("registered_model_aliases", *map(sa.column, ("name", "alias", "version")))
VERSIONS = sa.table("model_versions", *map(sa.column, ("name", "version", "current_stage")))
TAGS = sa.table("model_version_tags", *map(sa.column, ("name", "version", "key", "value")))


@dataclass(frozen=True)
class Registered:
    """The versions of a target with the hashes of their bundles ('' if not ours), and which is what."""

    name: str
    bundles: Mapping[int, str]
    champion: int | None
    challenger: int | None

    def check_version(self, version: int) -> None:
        """Check that a version is there and was registered by leadsieve.

        Raises
        ------
        ConfigError
            If it is not.

        """
        if version not in self.bundles:
            listed = ", ".join(map(str, sorted(self.bundles)[-5:])) or "none"
            raise ConfigError(f"Model '{self.name}' has no version {version}, known: {listed}. Choose one of them.")
        if not self.bundles[version]:
            raise ConfigError(
                f"Version {version} of model '{self.name}' has no tag '{BUNDLE_TAG}', so it was not registered by "
                "leadsieve. Choose one that was."
            )


class _UnreadableError(Exception):
    """MLflow's tables are not as expected, or the place is no database: MLflow itself has to be asked."""


def read_registered(config: Config, target: str) -> Registered:
    """Read versions and aliases of a target; nothing is registered before the first training.

    Raises
    ------
    CrmError
        If the tracking place cannot be reached.

    """
    try:
        return _select_registered(config, model_name(config, target))
    except _UnreadableError:
        return _ask_registered(config, model_name(config, target))


def move_champion(config: Config, target: str, version: int, seen: int | None) -> None:
    """Make a version the live one: one SQL statement where that is possible, else through MLflow.

    Parameters
    ----------
    config : Config
    target : str
    version : int
        The version that is to be live.
    seen : int or None
        The version that was live when this was decided; if another one is by now, nothing is changed.

    Raises
    ------
    CrmError
        If the tracking place cannot be reached, or the alias was moved meanwhile.

    """
    if version == seen:
        return
    try:
        if seen is None:  # there is no row to change; MLflow makes one
            raise _UnreadableError
        _update_champion(config, target, version, seen)
    except _UnreadableError:
        if read_registered(config, target).champion != seen:
            raise _moved_meanwhile(target) from None
        set_champion(config, target, version)


def _moved_meanwhile(target: str) -> CrmError:
    return CrmError(
        f"The alias of '{target}' was moved, or the version was deleted, while this ran; nothing was changed. "
        f"See `leadsieve history --target {target}`, then run again."
    )


@contextmanager
def _connect(config: Config, *, to_write: bool = False) -> Iterator[sa.Connection | None]:
    """A transaction in MLflow's database; None if its SQLite file does not exist, which is not made then."""
    uri = tracking_uri(config)
    if not uri.startswith(SQL_SCHEMES):
        raise _UnreadableError
    engine = make_engine(uri)
    if lacks_file(engine.url):
        yield None
        return
    try:
        connection = (writing(engine) if to_write else engine).connect()
    except sa.exc.SQLAlchemyError as error:
        raise unanswered(config, error) from error
    try:
        with connection, connection.begin():
            yield connection
    finally:
        engine.dispose()


def _select_registered(config: Config, name: str) -> Registered:
    """Versions and aliases from MLflow's tables."""
    tagged = (TAGS.c.name == VERSIONS.c.name) & (TAGS.c.version == VERSIONS.c.version) & (TAGS.c.key == BUNDLE_TAG)
    kept = (VERSIONS.c.name == name) & (VERSIONS.c.current_stage != DELETED)
    versions = sa.select(VERSIONS.c.version, TAGS.c.value).select_from(VERSIONS.outerjoin(TAGS, tagged)).where(kept)
    aliases = sa.select(ALIASES.c.alias, ALIASES.c.version).where(ALIASES.c.name == name)
    try:
        with _connect(config) as connection:
            if connection is None:
                return Registered(name, {}, None, None)
            found = [(int(version), value or "") for version, value in connection.execute(versions).all()]
            named = [(str(alias), int(version)) for alias, version in connection.execute(aliases).all()]
    except sa.exc.SQLAlchemyError as error:
        raise _UnreadableError from error
    bundles, live = dict(sorted(found)), dict(named)
    if len(bundles) < len(found) or len(live) < len(named):
        raise _UnreadableError  # several workspaces have a model of this name
    return Registered(name, bundles, live.get(CHAMPION), live.get(CHALLENGER))


def _ask_registered(config: Config, name: str) -> Registered:
    """Versions and aliases from MLflow itself."""
    with open_mlflow(config) as mlflow:
        from mlflow.exceptions import MlflowException

        client = mlflow.MlflowClient()
        try:
            aliases = client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return Registered(name, {}, None, None)
            raise
        found = {int(one.version): one for one in client.search_model_versions(f"name = '{name}'")}
    bundles = {version: found[version].tags.get(BUNDLE_TAG, "") for version in sorted(found)}
    live = {alias: int(version) for alias, version in aliases.items()}
    return Registered(name, bundles, live.get(CHAMPION), live.get(CHALLENGER))


def _update_champion(config: Config, target: str, version: int, seen: int) -> None:
    """Change the alias's row in one transaction, if it still names the version that was seen."""
    name = model_name(config, target)
    there = sa.exists().where(
        VERSIONS.c.name == name, VERSIONS.c.version == version, VERSIONS.c.current_stage != DELETED
    )
    row = (ALIASES.c.name == name) & (ALIASES.c.alias == CHAMPION) & (ALIASES.c.version == seen)
    statement = sa.update(ALIASES).where(row, there).values(version=version)
    try:
        with _connect(config, to_write=True) as connection:
            changed = connection.execute(statement).rowcount if connection is not None else 0
            if changed > 1:
                raise _UnreadableError  # several workspaces; the transaction ends without a change
    except sa.exc.SQLAlchemyError as error:
        raise unanswered(config, error) from error
    if changed == 0:
        raise _moved_meanwhile(target)
