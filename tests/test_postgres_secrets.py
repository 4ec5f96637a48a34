"""The password of a URL shows nowhere: not in an error, not with --debug, not in what is kept."""

from pathlib import Path

import pytest
import yaml
from crm_world import CRM_URL, make_config, make_scores, open_run
from postgres_server import Database
from small_crm import run_cli
from sqlalchemy import make_url

from features.tables import load_tables
from pipeline.errors import CrmError
from pipeline.writeback import write_back

WRONG = "wr0ng-hunter2"


@pytest.fixture
def deployment(postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config whose source is a server, extracted once."""
    postgres.execute("CREATE TABLE customers (customer_id int PRIMARY KEY, created_at timestamptz)")
    postgres.execute("INSERT INTO customers VALUES (1, '2024-01-01')")
    monkeypatch.setenv(CRM_URL, postgres.url)
    values = {
        "name": "shop",
        "state": str(tmp_path / "state"),
        "source": {"adapter": "sql", "url_env": CRM_URL},
        "tables": {"customers": {"select": "SELECT * FROM customers"}},
        "targets": {},
    }
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(values))
    assert run_cli("extract", "--config", str(path)).code == 0
    return path


def urls(postgres: Database) -> dict[str, str]:
    """URLs that do not work, each with a secret."""
    right = make_url(postgres.url)
    shown = {
        "a wrong password": right.set(password=WRONG),
        "a server that is stopped": right.set(port=1),
        "a database that is not there": right.set(database="nowhere"),
        "an option that libpq does not know": right.set(query={"secret_option": WRONG}),
        "a host that is not there": right.set(host="nowhere.invalid"),
    }
    return {name: url.render_as_string(hide_password=False) for name, url in shown.items()}


def test_an_extract_that_cannot_connect_shows_no_secret_and_keeps_the_last_tables(
    deployment: Path, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_tables(deployment.parent / "state" / "shop" / "tables")
    for name, url in urls(postgres).items():
        monkeypatch.setenv(CRM_URL, url)
        for debug in ([], ["--debug"]):
            ended = run_cli(*debug, "extract", "--config", str(deployment))
            assert ended.code == 4, (name, ended.err)
            assert "does not answer" in ended.err
            assert ("Traceback" in ended.err) == bool(debug)
            check_silence(f"{ended.out} {ended.err}", postgres, name)
    assert load_tables(before.folder) == before
    for path in (deployment.parent / "state").rglob("*"):
        if path.is_file():
            check_silence(path.read_bytes().decode(errors="replace"), postgres, str(path))


def test_a_wrong_password_and_a_stopped_server_say_so(
    deployment: Path, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for name in ("a wrong password", "a server that is stopped"):
        monkeypatch.setenv(CRM_URL, urls(postgres)[name])
        said.append(run_cli("extract", "--config", str(deployment)).err)
    assert 'does not answer: password authentication failed for user "owner". Nothing was changed' in said[0]
    assert "port 1 failed: Connection refused" in said[1]


def test_a_write_back_that_cannot_connect_shows_no_secret(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    config = make_config(tmp_path, url_env=CRM_URL, sqlite=None)
    for name, url in urls(postgres).items():
        if "option" in name:
            continue  # a ConfigError, tested with the target
        monkeypatch.setenv(CRM_URL, url)
        with (
            pytest.raises(CrmError, match=r"failed while reading its catalogue: .*\. Nothing is lost") as caught,
            open_run(config, "r1") as ledger,
        ):
            write_back(config, ledger, make_scores("r1", [("1", 0.1, "A", [])]), "r1")
        check_silence(f"{caught.value!r} {caught.value.__cause__!r}", postgres, name)
    for path in config.folder.iterdir():
        check_silence(path.read_bytes().decode(errors="replace"), postgres, str(path))


def check_silence(text: str, postgres: Database, where: str) -> None:
    assert postgres.password not in text, where
    assert WRONG not in text, where
