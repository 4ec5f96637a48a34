"""The alias read and moved by SQL, as MLflow itself would have done it, and when MLflow has to be asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres_server import Database
from test_registry import client_of, make_config, train

from pipeline.aliases import Registered, move_champion, read_registered
from pipeline.config import Config
from pipeline.errors import ConfigError, CrmError
from pipeline.registry import model_name, read_champion

TABLES = (
    "CREATE TABLE registered_model_aliases (workspace VARCHAR(63), name VARCHAR(256), alias VARCHAR(256), version INT)",
    "CREATE TABLE model_versions (workspace VARCHAR(63), name VARCHAR(256), version INT, current_stage VARCHAR(20))",
    "CREATE TABLE model_version_tags (name VARCHAR(256), version INT, key VARCHAR(250), value VARCHAR(5000))",
)
"""The part of MLflow's tables that is read."""

ROWS = """
INSERT INTO model_versions VALUES ('default', 'demo-churn', 1, 'None'), ('default', 'demo-churn', 2, 'None'),
    ('default', 'demo-churn', 3, 'Deleted_Internal'), ('default', 'demo-churn', 4, 'None'),
    ('default', 'other', 9, 'None');
INSERT INTO model_version_tags VALUES ('demo-churn', 1, 'bundle_sha256', 'aa'),
    ('demo-churn', 2, 'bundle_sha256', 'bb'),
    ('demo-churn', 2, 'target', 'churn');
INSERT INTO registered_model_aliases VALUES ('default', 'demo-churn', 'champion', 2),
    ('default', 'demo-churn', 'challenger', 4), ('default', 'other', 'champion', 9)
"""
KNOWN = Registered("demo-churn", {1: "aa", 2: "bb", 4: ""}, champion=2, challenger=4)  # 3 was deleted, 4 is not ours


def fill(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in (*TABLES, *ROWS.split(";")):
            connection.exec_driver_sql(statement)
    engine.dispose()


def ask(config: Config, statement: str) -> list[tuple[object, ...]]:
    engine = sa.create_engine(f"sqlite:///{config.folder / 'mlflow.db'}")
    with engine.begin() as connection:
        result = connection.exec_driver_sql(statement)
        rows = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return rows


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    """A deployment with the rows above in SQLite; MLflow may not be asked."""
    made = make_config(tmp_path)
    made.folder.mkdir(parents=True)
    fill(f"sqlite:///{made.folder / 'mlflow.db'}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.aliases.open_mlflow", None)
        patch.setattr("pipeline.aliases.set_champion", None)
        yield made


def test_versions_and_aliases_are_read_by_sql(config: Config):
    assert read_registered(config, "churn") == KNOWN


def test_moving_the_alias_changes_one_row_and_no_other(config: Config):
    move_champion(config, "churn", 1, seen=2)
    assert ask(config, "SELECT name, alias, version FROM registered_model_aliases ORDER BY 1, 2") == [
        ("demo-churn", "challenger", 4),
        ("demo-churn", "champion", 1),
        ("other", "champion", 9),
    ]
    move_champion(config, "churn", 1, seen=1)  # nothing to do
    assert read_registered(config, "churn").champion == 1


@pytest.mark.parametrize(("version", "seen"), [(1, 4), (3, 2), (7, 2)])
def test_nothing_changes_when_the_alias_moved_meanwhile_or_the_version_is_gone(config: Config, version: int, seen: int):
    with pytest.raises(CrmError, match=r"^The alias of 'churn' was moved, or the version was deleted, while this ran;"):
        move_champion(config, "churn", version, seen=seen)
    assert read_registered(config, "churn") == KNOWN


def test_a_table_that_is_locked_is_a_sentence_and_nothing_changes(config: Config, monkeypatch: pytest.MonkeyPatch):
    from pipeline.database import make_engine

    monkeypatch.setattr("pipeline.aliases.make_engine", lambda place: make_engine(place, busy_seconds=0.05))
    holder = sa.create_engine(f"sqlite:///{config.folder / 'mlflow.db'}")
    with holder.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(CrmError, match=r"^MLflow in .*mlflow\.db answered: database is locked\. See that it runs"):
            move_champion(config, "churn", 1, seen=2)
    holder.dispose()
    assert read_registered(config, "churn") == KNOWN


def test_before_the_first_training_nothing_is_registered_and_no_file_is_made(tmp_path: Path):
    config = make_config(tmp_path)
    assert read_registered(config, "churn") == Registered("demo-churn", {}, None, None)
    assert not config.folder.exists()


def test_a_version_that_is_not_there_or_not_ours_is_named():
    KNOWN.check_version(1)
    with pytest.raises(ConfigError, match=r"^Model 'demo-churn' has no version 3, known: 1, 2, 4\. Choose one of them"):
        KNOWN.check_version(3)
    with pytest.raises(ConfigError, match=r"^Version 4 of model 'demo-churn' has no tag 'bundle_sha256', so it was"):
        KNOWN.check_version(4)


def test_the_statement_works_on_a_server_too(postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fill(postgres.url.replace("postgresql://", "postgresql+pg8000://"))
    monkeypatch.setenv("MY_MLFLOW", postgres.url)
    config = make_config(tmp_path, mlflow={"tracking_uri_env": "MY_MLFLOW"})
    assert read_registered(config, "churn") == KNOWN
    move_champion(config, "churn", 1, seen=2)
    assert read_registered(config, "churn").champion == 1
    with pytest.raises(CrmError, match="nothing was changed"):
        move_champion(config, "churn", 4, seen=2)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two versions in a real MLflow; the first is the champion."""
    folder = tmp_path_factory.mktemp("aliases")
    config = make_config(folder)
    train(config, folder, 0.5)
    move_champion(config, "churn", 1, seen=None)  # the first: there is no row to change
    train(config, folder, 0.75)
    return config


def test_mlflow_itself_says_the_same(tracked: Config, monkeypatch: pytest.MonkeyPatch):
    by_sql = read_registered(tracked, "churn")
    assert (sorted(by_sql.bundles), by_sql.champion, by_sql.challenger) == ([1, 2], 1, 2)
    move_champion(tracked, "churn", 2, seen=1)
    with client_of(tracked) as client:
        assert int(client.get_model_version_by_alias(model_name(tracked, "churn"), "champion").version) == 2
    monkeypatch.setattr("pipeline.aliases.SQL_SCHEMES", ("no-scheme",))  # as with a server that speaks http
    move_champion(tracked, "churn", 1, seen=2)
    assert read_registered(tracked, "churn") == by_sql
    assert read_registered(tracked, "unknown") == Registered("demo-unknown", {}, None, None)
    champion = read_champion(tracked, "churn")
    assert champion is not None
    assert champion.version == 1
    with pytest.raises(CrmError, match="nothing was changed"):
        move_champion(tracked, "churn", 2, seen=7)


def test_where_several_workspaces_have_the_model_mlflow_is_asked(config: Config):
    ask(config, "INSERT INTO registered_model_aliases VALUES ('second', 'demo-churn', 'champion', 2)")
    with pytest.raises(TypeError, match="not callable"):  # the fixture took MLflow away
        read_registered(config, "churn")
    with pytest.raises(TypeError, match="not callable"):
        move_champion(config, "churn", 1, seen=2)
    assert ask(config, "SELECT version FROM registered_model_aliases WHERE name = 'demo-churn' ORDER BY 1") == [
        (2,),  # both as they were
        (2,),
        (4,),
    ]
