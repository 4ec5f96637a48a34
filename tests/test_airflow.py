"""The DAG of the nightly job: with a stand-in for Airflow, and a real one if LEADSIEVE_AIRFLOW names its Python."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
DAG = ROOT / "configs" / "airflow_dag.py"
REAL = os.environ.get("LEADSIEVE_AIRFLOW")

# As much of Airflow 3 and pendulum as the file uses, under the same names and with the same meaning.
STUB = {
    "pendulum.py": """
from datetime import datetime as _datetime, timedelta as duration
from zoneinfo import ZoneInfo

def datetime(year, month, day, tz):
    return _datetime(year, month, day, tzinfo=ZoneInfo(tz))
""",
    "airflow/__init__.py": "",
    "airflow/sdk/__init__.py": """
import json, os

class DAG:
    current = None
    def __init__(self, dag_id, description, schedule, start_date, catchup, max_active_runs, default_args, tags):
        self.dag_id, self.catchup, self.max_active_runs = dag_id, catchup, max_active_runs
        self.default_args, self.tasks = default_args, []
    def __enter__(self):
        DAG.current = self
        return self
    def __exit__(self, *_):
        DAG.current = None
    def get_task(self, task_id):
        return next(task for task in self.tasks if task.task_id == task_id)

class BaseOperator:
    def __init__(self, *, task_id):
        self.task_id, self.upstream_task_ids, self.retries = task_id, set(), DAG.current.default_args["retries"]
        DAG.current.tasks.append(self)
    def __rshift__(self, other):
        other.upstream_task_ids.add(self.task_id)
        return other

class Connection:
    @staticmethod
    def get(conn_id):
        found = Connection()
        found.password = json.loads(os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"])["password"]
        return found

class Variable:
    @staticmethod
    def get(key, default):
        return os.environ.get(f"AIRFLOW_VAR_{key.upper()}", default)
""",
    "airflow/sdk/exceptions.py": """
class AirflowException(Exception): pass
class AirflowFailException(AirflowException): pass
""",
    "airflow/providers/standard/hooks/subprocess.py": """
import subprocess
from types import SimpleNamespace

class SubprocessHook:
    def run_command(self, command, env, cwd):
        return SimpleNamespace(exit_code=subprocess.run(command, env=env, cwd=cwd, capture_output=True).returncode)
""",
}


def find_facts(python: str, folder: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    """Let another process import the file and run its first task at each exit code."""
    told = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(folder / "airflow"), **environment}
    command = [python, "-W", "error::DeprecationWarning:airflow_dag", str(ROOT / "tests" / "airflow_facts.py")]
    ended = subprocess.run(
        [*command, str(DAG), str(folder), *arguments], env=told, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return facts | {"log": ended.stdout + ended.stderr}


@pytest.fixture(scope="module", params=["a stand-in", "the real one"] if REAL else ["a stand-in"])
def facts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("deployment")
    if request.param == "the real one":
        return find_facts(str(REAL), folder, "--real")
    for name, text in STUB.items():
        path = folder / "stub" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return find_facts(sys.executable, folder, PYTHONPATH=str(folder / "stub"))


def test_airflow_imports_the_file_without_an_error(facts: dict[str, Any]) -> None:
    assert facts["import_errors"] == {}
    assert facts["version"] is None or facts["version"].startswith("3.")


def test_the_job_runs_then_the_pages_are_written_one_night_at_a_time(facts: dict[str, Any]) -> None:
    assert (facts["dag_id"], facts["catchup"], facts["max_active_runs"]) == ("leadsieve_mycrm", False, 1)
    assert facts["tasks"] == {
        "run": {"after": [], "retries": 12, "command": "run"},
        "report": {"after": ["run"], "retries": 12, "command": "report"},
    }


def test_only_what_may_pass_is_tried_again(facts: dict[str, Any]) -> None:
    """A task that raises AirflowFailException is not tried again; another exception uses up one of its retries."""
    kinds = {int(code): told and told.split(":")[0] for code, told in facts["ended"].items()}
    assert kinds == {
        0: None,
        1: "AirflowFailException",
        2: "AirflowFailException",
        3: "AirflowFailException",
        4: "AirflowException",
        5: "AirflowException",
        70: "AirflowFailException",
    }
    assert facts["ended"]["4"].endswith(
        "leadsieve run ended with exit code 4: the CRM did not answer or refused something."
    )


def test_a_command_runs_in_the_folder_of_its_deployment_and_finds_its_secrets_there(facts: dict[str, Any]) -> None:
    command, folder, *environment = facts["calls"][0].split("|")
    assert command == f"{folder}/.venv/bin/leadsieve run --config configs/mycrm.yaml"
    assert environment == ["postgresql://a:b@c/d", "the key", "leadsieve.prom"]
    assert "the key" not in facts["log"]
    assert "a:b@c" not in facts["log"]
