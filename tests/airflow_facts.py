"""What a DAG file says, and what its tasks do at each exit code: for any Python that has an Airflow.

`python airflow_facts.py DAG_FILE FOLDER [--real]`; the folder is to be the deployment, with a `leadsieve` that ends
with the exit code in the file `code` and writes down how it was called.
"""

import importlib.metadata
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

SCRIPT = """#!/bin/sh
echo "$0 $*|$PWD|$CRM_URL|$CRM_KEY|$LEADSIEVE_METRICS" >> {folder}/calls
echo "Error: a sentence." >&2
exit $(cat {folder}/code)
"""
CODES = (0, 1, 2, 3, 4, 5, 70)


def load_module(path: Path) -> Any:
    """Import the file."""
    spec = importlib.util.spec_from_file_location("airflow_dag", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def import_errors(path: Path) -> dict[str, str]:
    """What Airflow itself finds wrong with the file, as its DAG processor imports it."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(path, collect_dags=False)
    found = bag.process_file(str(path))
    assert found, f"no DAG in {path}: {bag.import_errors}"
    return dict(bag.import_errors)


def main(path: Path, folder: Path) -> None:
    """Write what there is to know into `facts.json` of the folder."""
    command = folder / ".venv" / "bin" / "leadsieve"
    command.parent.mkdir(parents=True)
    command.write_text(SCRIPT.format(folder=folder), encoding="utf-8")
    command.chmod(0o755)
    os.environ |= {
        "AIRFLOW_CONN_LEADSIEVE_CRM_URL": json.dumps({"conn_type": "generic", "password": "postgresql://a:b@c/d"}),
        "AIRFLOW_CONN_LEADSIEVE_CRM_KEY": json.dumps({"conn_type": "generic", "password": "the key"}),
        "AIRFLOW_VAR_LEADSIEVE_METRICS": "leadsieve.prom",
    }
    module = load_module(path)
    dag = module.dag
    module.FOLDER = str(folder)
    ended = {}
    for code in CODES:
        (folder / "code").write_text(str(code), encoding="utf-8")
        try:
            dag.get_task("run").execute({})
            ended[code] = None
        except Exception as error:
            ended[code] = f"{type(error).__name__}: {error}"
    tasks = {
        task.task_id: {"after": sorted(task.upstream_task_ids), "retries": task.retries, "command": task.command}
        for task in dag.tasks
    }
    facts = {
        "version": importlib.metadata.version("apache-airflow") if "--real" in sys.argv else None,
        "import_errors": import_errors(path) if "--real" in sys.argv else {},
        "dag_id": dag.dag_id,
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "tasks": tasks,
        "ended": ended,
        "calls": (folder / "calls").read_text(encoding="utf-8").splitlines(),
    }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")  # Airflow logs on stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
