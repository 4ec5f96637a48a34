"""A small CRM that has gone through the whole flow once, and the command line as a person uses it.

Making it is slow (a simulation, an extract, two trainings), so it is made once: take the fixtures `finished`
(shared, not to be changed) and `world` (a copy of one's own) of conftest.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from features.group import Group
from features.groups import activities, deals, orders, profile, results
from pipeline.cli import main
from pipeline.config import Config, load_config

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "configs/small.yaml"
CUSTOMERS = 400
CHURN_ONLY = {"targets__conversion": None, "write_back__tables__conversion": None}
"""Changes of the config that leave one target of two."""
FEW_GROUPS: tuple[Group, ...] = (
    profile.customer_profile,
    orders.order_history,
    orders.order_demand,
    orders.order_gaps,
    orders.order_silence,
    orders.order_rates,
    activities.customer_activity,
    deals.deal_profile,
    deals.deal_stage,
    deals.deal_pace,
    activities.deal_activity_history,
    activities.deal_activity,
    deals.customer_deals,
    results.owner_results,
    results.source_results,
)
"""Feature groups that commands work with here, some of each shape: what a command does needs no more of them."""
SIMPLE = ("base_rate", "logistic")
"""Candidates that train in a second; the recipe's own tests compare all."""


@dataclass(frozen=True)
class Answer:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout of a command that ended well."""
        assert self.code == 0, self.err
        return json.loads(self.out)


def run_cli(*arguments: str) -> Answer:
    """Run `leadsieve ARGUMENTS` in this process and in the current folder."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["leadsieve", *arguments]),
        patch.dict("os.environ", {"COLUMNS": "200", "LEADSIEVE_DEBUG": ""}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Answer(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def only_candidates(*names: str) -> Iterator[None]:
    """Let the recipe compare these candidates only, and the logistic one under one setting."""
    import models.trials
    from models.logistic import Logistic

    kept = tuple(candidate for candidate in models.trials.ALL_ROWS if candidate.name in names)
    setting = {"ramps": 0, "penalty": 30.0}
    with (
        patch.multiple(models.trials, ALL_ROWS=kept, NEWEST=()),
        patch.object(Logistic, "settings", return_value=[setting]),
    ):
        yield


@dataclass(frozen=True)
class World:
    """A folder with a CRM, a config, its scorecards and the state; paths in the config are relative to it."""

    folder: Path

    def run(self, command: str, *arguments: str, groups: Sequence[Group] = FEW_GROUPS) -> Answer:
        """Run a command (`features list`) with this world's config in its folder, as if these groups were shipped."""
        with contextlib.chdir(self.folder), patch("pipeline.deployment.CATALOG", groups):
            return run_cli(*command.split(), *arguments, "--config", CONFIG)

    @property
    def config(self) -> Config:
        """The config as it is now, with paths that hold wherever one stands."""
        with contextlib.chdir(self.folder):
            config = load_config(Path(CONFIG))
        return config.model_copy(update={"state": self.folder / config.state})

    @property
    def state(self) -> Path:
        """State folder of the deployment."""
        return self.config.folder

    def change_config(self, **changes: Any) -> None:
        """Set keys of the config: `targets__churn__lookback_days=30`; None removes one."""
        path = self.folder / CONFIG
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        for place, value in changes.items():
            section, *inner = values, *place.split("__")
            for step in inner[:-1]:
                section = section[step]
            section[inner[-1]] = value
            if value is None:
                del section[inner[-1]]
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")

    def sql(self, statement: str, *parameters: Any, file: str = "crm.db") -> list[tuple[Any, ...]]:
        """Run one statement in the CRM (or the ledger) as another program would."""
        with closing(sqlite3.connect(self.folder / file, isolation_level=None)) as connection:
            return connection.execute(statement, parameters).fetchall()

    def pass_a_day(self) -> None:
        """Let the clock of the CRM go on by a day, in which one customer orders."""
        self.sql("UPDATE clock SET now = datetime(now, '+1 day')")
        self.sql(
            "INSERT INTO orders SELECT 'O-new', now, now, customer_id, 99.5, 50, 'standard', 1 FROM clock, customers "
            "ORDER BY customer_id LIMIT 1"
        )
        self.sql("UPDATE orders SET occurred_at = datetime(occurred_at, '-1 hour') WHERE order_id = 'O-new'")
        self.sql("UPDATE orders SET known_at = occurred_at WHERE order_id = 'O-new'")

    def fingerprint(self) -> dict[str, Any]:
        """What must not change when something goes wrong: tables, scores, writes, champions and the CRM."""
        manifest = self.state / "tables" / "manifest.json"
        ledger = str((self.state / "ledger.db").relative_to(self.folder))
        return {
            "tables": manifest.read_text(encoding="utf-8"),
            "scores": self.sql("SELECT * FROM scores ORDER BY run_id, target, entity_id", file=ledger),
            "writes": self.sql(
                "SELECT run_id, table_name, record_id, field, old, new, state FROM writes ORDER BY 1, 2, 3, 4",
                file=ledger,
            ),
            "champions": self.sql(
                "SELECT name, version FROM registered_model_aliases ORDER BY name",
                file=str((self.state / "mlflow.db").relative_to(self.folder)),
            ),
            "crm": self.hash_crm(),
        }

    def hash_crm(self) -> str | None:
        """Hash of the CRM's file, None if there is none."""
        path = self.folder / "crm.db"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def write_configs(folder: Path) -> World:
    """Put the demo's config and scorecards into a folder, as a small deployment of its own."""
    shutil.copytree(ROOT / "configs" / "scorecards", folder / "configs" / "scorecards")
    text = (ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8")
    text = text.replace("name: demo ", "name: small\nstate: state ").replace(".leadsieve/demo/crm.db", "crm.db")
    (folder / CONFIG).write_text(text, encoding="utf-8")
    return World(folder)


def make_demo(folder: Path) -> tuple[World, Answer]:
    """Run `leadsieve demo` in a folder, unless another process has done so: the world and what was printed."""
    folder.mkdir(exist_ok=True)
    told = folder / "answer.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if told.is_file():
            return World(folder / "small"), Answer(**json.loads(told.read_text(encoding="utf-8")))
        shutil.rmtree(folder / "small", ignore_errors=True)
        world = write_configs(folder / "small")
        with only_candidates(*SIMPLE):
            answer = world.run("demo", "--customers", str(CUSTOMERS))
        assert answer.code == 0, answer.err
        told.write_text(json.dumps(asdict(answer)), encoding="utf-8")
    return world, answer


def copy_world(world: World, folder: Path) -> World:
    """Copy a world without MLflow's artifacts, which nothing but MLflow's page reads."""
    # another process may be reading the world: what SQLite keeps beside a file then comes and goes, and holds nothing
    shutil.copytree(world.folder, folder, ignore=shutil.ignore_patterns("mlartifacts", "*.db-shm", "*.db-wal"))
    return World(folder)
