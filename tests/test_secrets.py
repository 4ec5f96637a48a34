"""No password and no key shows anywhere: not in what commands print, not with --debug, not in what is kept."""

import json
from pathlib import Path
from typing import Any

import pytest
from crm_world import make_config, make_scores, open_run
from fake_odoo import FakeOdoo
from fake_odoo_methods import METHODS
from postgres_server import Database
from small_crm import Answer, run_cli
from sqlalchemy import make_url

KEY = "0d00-hunter2-key"
WRONG_KEY = "wr0ng-hunter2-key"
PASSWORD = "wr0ng-hunter2-password"
URL, KEY_NAME = "LEADSIEVE_TEST_ODOO", "LEADSIEVE_TEST_KEY"
COMMANDS = (
    ("writeback", "plan"),
    ("writeback", "apply"),
    ("writeback", "status", "--run", "r1"),
    ("writeback", "undo", "r1"),
    ("extract",),
    ("run",),
)
"""All that talk to the CRM."""

CLOSED = "CAST(NULL AS timestamp) AS closed_at, CAST(NULL AS varchar) AS outcome"


class Deployment:
    """A config with scores of run r1 in its ledger, and all that its commands have ever said."""

    def __init__(self, folder: Path, secrets: list[str], **sections: Any) -> None:
        self.folder, self.secrets = folder, secrets
        document = json.loads(make_config(folder, **sections.pop("write_back")).model_dump_json()) | sections
        self.path = folder / "demo.yaml"
        self.path.write_text(json.dumps(document))
        with open_run(make_config(folder), "r1") as ledger:
            rows = [("1", 0.1, "A", ["x"]), ("2", 0.2, "B", ["y"])]
            ledger.replace_scores("r1", make_scores("r1", rows))
            ledger.finish_run("r1", "done")

    def run_all(self) -> list[Answer]:
        """Run every command, plainly and with --debug; check that nothing shows and nothing is kept."""
        answers = []
        for command in COMMANDS:
            for debug in ([], ["--debug"]):
                more = ["--metrics", str(self.folder / "leadsieve.prom")] if command == ("run",) else []
                answers.append(run_cli(*debug, *command, "--config", str(self.path), *more))
                self.check_silence(answers[-1].out + answers[-1].err, " ".join(command))
        assert (self.folder / "leadsieve.prom").is_file()
        for path in self.folder.rglob("*"):
            if path.is_file():
                self.check_silence(path.read_bytes().decode(errors="replace"), str(path))
        return answers

    def check_silence(self, text: str, where: str) -> None:
        for secret in self.secrets:
            assert secret not in text, where


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def odoo_deployment(fake_odoo: FakeOdoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Two leads in a fake Odoo, which are read from there and scored."""
    fake_odoo.users = {KEY: "nightly"}
    fake_odoo.add_model("mail.message", {})  # whose default date is the server's clock
    monkeypatch.setitem(METHODS, "default_get", lambda call: {"date": "2099-01-01 00:00:00"})  # type: ignore[arg-type]
    for name in ("Ann", "Bob"):
        fake_odoo.models["crm.lead"].add({"name": name})
    monkeypatch.setenv(URL, fake_odoo.url)
    monkeypatch.setenv(KEY_NAME, KEY)
    fields = {"x_probability": "probability", "x_grade": "grade", "x_reasons": "reasons_en"}
    place = {"adapter": "odoo", "url_env": URL, "database": "crm", "key_env": KEY_NAME}
    tables = {"conversion": {"target": "crm.lead", "key": "id", "fields": fields}}
    models = {"crm.lead": {"fields": ["name", "create_date"]}}
    select = f"SELECT id AS deal_id, create_date AS created_at, name, {CLOSED} FROM crm_lead"
    return Deployment(
        tmp_path,
        [KEY, WRONG_KEY],
        write_back={**place, "sqlite": None, "tables": tables},
        source={**place, "models": models},
        tables={"deals": {"select": select}},
    )


def apply_first(deployment: Deployment) -> None:
    """Write while all is well, so that there is something to undo."""
    assert run_cli("writeback", "apply", "--config", str(deployment.path)).code == 0


def codes(answers: list[Answer]) -> list[int]:
    return [answer.code for answer in answers[::2]]


def test_a_key_that_works_shows_nowhere(odoo_deployment: Deployment, fake_odoo: FakeOdoo) -> None:
    answers = odoo_deployment.run_all()
    assert codes(answers)[:5] == [0, 0, 0, 0, 0], answers[8].err
    assert fake_odoo.models["crm.lead"].written.total() == 12  # written and taken back: the key was really used


def test_a_key_that_is_refused_shows_nowhere(odoo_deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    apply_first(odoo_deployment)
    monkeypatch.setenv(KEY_NAME, WRONG_KEY)
    answers = odoo_deployment.run_all()
    assert codes(answers) == [2, 2, 0, 2, 2, 2]
    assert all("Traceback" in answer.err for answer in answers[1::2] if answer.code)


@pytest.mark.parametrize(
    "url",
    [
        f"http://nightly:{WRONG_KEY}@127.0.0.1:1",
        "http://127.0.0.1:1",
        f"https://{WRONG_KEY}.invalid:port/",
        f"not an address {WRONG_KEY}",
    ],
)
def test_an_address_that_does_not_work_shows_no_secret(
    odoo_deployment: Deployment, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv(URL, url)
    assert {*codes(odoo_deployment.run_all())} <= {0, 2, 4}


def test_a_bad_field_and_a_crm_that_fails_show_no_secret(odoo_deployment: Deployment, fake_odoo: FakeOdoo) -> None:
    del fake_odoo.models["crm.lead"].fields["x_grade"]
    assert codes(odoo_deployment.run_all())[:2] == [2, 2]
    fake_odoo.add_model("crm.lead", {})
    fake_odoo.fail("redirect", times=1000)
    assert {*codes(odoo_deployment.run_all())} <= {0, 2, 4}


def test_a_defect_of_ours_shows_no_secret(odoo_deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("something nobody foresaw")

    monkeypatch.setattr("urllib3.PoolManager.request", crash)
    answers = odoo_deployment.run_all()
    assert "unexpected RuntimeError: something nobody foresaw" in answers[0].err
    assert "Traceback" in answers[1].err


def test_a_key_with_a_line_break_is_refused_and_not_shown(
    odoo_deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_NAME, f"{WRONG_KEY}\nX-Other: header")
    assert codes(odoo_deployment.run_all()) == [2, 2, 0, 2, 2, 2]


@pytest.fixture
def database_url(postgres: Database) -> str:
    """URL with the password of a database with two deals."""
    postgres.execute("CREATE TABLE deals (deal_id text PRIMARY KEY, created_at timestamp, score float8, grade text)")
    postgres.execute("INSERT INTO deals VALUES ('1', '2024-01-01'), ('2', '2024-01-01')")
    return postgres.url


@pytest.mark.parametrize("case", ["right", "wrong password", "no server", "no column"])
def test_the_password_of_a_database_shows_nowhere(
    postgres: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    right = make_url(database_url)
    url = {"wrong password": right.set(password=PASSWORD), "no server": right.set(port=1)}.get(case, right)
    monkeypatch.setenv(URL, database_url)
    fields = {"score": "probability", "gradee" if case == "no column" else "grade": "grade"}
    deployment = Deployment(
        tmp_path,
        [postgres.password, PASSWORD],
        write_back={
            "url_env": URL,
            "sqlite": None,
            "tables": {"conversion": {"target": "deals", "key": "deal_id", "fields": fields}},
        },
        source={"adapter": "sql", "url_env": URL},
        tables={"deals": {"select": f"SELECT deal_id, created_at, {CLOSED} FROM deals"}},
    )
    if case != "no column":
        apply_first(deployment)
    monkeypatch.setenv(URL, url.render_as_string(hide_password=False))
    expected = {"right": [0, 0, 0, 0, 0], "no column": [2, 2, 0, 0, 0]}.get(case, [4, 4, 0, 4, 4])
    answers = deployment.run_all()
    assert codes(answers)[:5] == expected, answers[8].err
