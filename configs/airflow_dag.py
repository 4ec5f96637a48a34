"""The nightly job under Airflow 3: copy this file into the folder of the DAGs and change what is written in capitals.

Airflow and leadsieve have an environment each; this file imports nothing of leadsieve. A job that ends with exit code 4
(the CRM did not answer) or 5 (another job is running) is tried again, and goes on where it stopped. Any other failure
needs a person, so it fails at once.
"""

import os
from typing import Any

import pendulum
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, BaseOperator, Connection, Variable

try:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
except ImportError:  # before 3.2
    from airflow.exceptions import AirflowException, AirflowFailException

NAME = "mycrm"
FOLDER = "/srv/leadsieve"
CONFIG = "configs/mycrm.yaml"
TIME_ZONE = "Asia/Shanghai"
SECRETS = {"CRM_URL": "leadsieve_crm_url", "CRM_KEY": "leadsieve_crm_key"}
"""Variable that the config names: the Airflow connection whose password is its value (a whole URL, or an API key)."""
METRICS = "leadsieve_metrics"
"""Airflow variable with the path of the file for Prometheus; without it none is written."""

AGAIN = {4: "the CRM did not answer or refused something", 5: "another job of this deployment is running"}


class Leadsieve(BaseOperator):
    """A command of leadsieve in the folder of its deployment."""

    def __init__(self, *, command: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.command = command
        self.hook = SubprocessHook()

    def execute(self, context: Any) -> None:
        """Run the command; its log goes into the task's."""
        line = [f"{FOLDER}/.venv/bin/leadsieve", self.command, "--config", CONFIG]
        code = self.hook.run_command(line, env=make_environment(), cwd=FOLDER).exit_code
        if code in AGAIN:
            raise AirflowException(f"leadsieve {self.command} ended with exit code {code}: {AGAIN[code]}.")
        if code:
            raise AirflowFailException(f"leadsieve {self.command} ended with exit code {code}; its last line says why.")

    def on_kill(self) -> None:
        """Stop the command with the task: it may be killed at any moment."""
        self.hook.send_sigterm()


def make_environment() -> dict[str, str]:
    """Environment of a command: that of the worker, secrets, and where metrics go."""
    secrets = {name: Connection.get(connection).password for name, connection in SECRETS.items()}
    metrics = Variable.get(METRICS, default=None)
    return {**os.environ, **secrets, **({"LEADSIEVE_METRICS": metrics} if metrics else {})}


with DAG(
    dag_id=f"leadsieve_{NAME}",
    description="Score deals and customers, and write the scores to the CRM",
    schedule="30 2 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz=TIME_ZONE),
    catchup=False,  # a night that was missed is made up for by the next one: scores are those of today
    max_active_runs=1,
    default_args={"retries": 12, "retry_delay": pendulum.duration(minutes=10)},
    tags=["leadsieve"],
) as dag:
    Leadsieve(task_id="run", command="run") >> Leadsieve(task_id="report", command="report")
