"""A real Odoo for tests and benchmarks, where the environment names one; its log says what was done to it.

LEADSIEVE_ODOO is the path of a file with ODOO_URL, ODOO_DB, ODOO_API_KEY (an administrator) and ODOO_NIGHTLY_KEY
(a salesman who sees all leads). Tests that stop and start the server need its odoo.conf and venv beside the file.
"""

import base64
import configparser
import fcntl
import hashlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import URL, Connection, NullPool, create_engine

from pipeline.adapters.odoo_client import OdooClient
from pipeline.errors import CrmError

User = Literal["admin", "nightly"]

QUIET = {"active_test": False, "tracking_disable": True, "mail_create_nolog": True, "mail_create_nosubscribe": True}


@dataclass
class RealOdoo:
    """A server, its two users, and how it is stopped and started.

    Parameters
    ----------
    folder : Path
        Where its files are.
    url, database : str
        Where it answers, and the name of its database.
    keys : mapping of str to str
        API keys of its users; what must never be shown.

    """

    folder: Path
    url: str
    database: str
    keys: Mapping[str, str] = field(repr=False)
    _admin: OdooClient | None = field(default=None, repr=False)

    def connect(self, user: User) -> OdooClient:
        """Open a client; the caller closes it."""
        return OdooClient(self.url, self.database, self.keys[user])

    @property
    def admin(self) -> OdooClient:
        """The administrator, whose calls make worlds for tests."""
        if self._admin is None:
            self._admin = self.connect("admin")
        return self._admin

    @property
    def settings(self) -> Mapping[str, str]:
        """Its odoo.conf."""
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(self.folder / "odoo.conf")
        return dict(parser["options"])

    @property
    def process(self) -> int:
        """Process id of the server."""
        return int((self.folder / "odoo.pid").read_text())

    @property
    def processor_seconds(self) -> float:
        """What the server's process has used so far."""
        entries = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(entries[11]) + int(entries[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End the server as a power cut does; its database goes on."""
        number = self.process
        if str(self.folder / "odoo.pid") not in Path(f"/proc/{number}/cmdline").read_text():
            raise RuntimeError(f"process {number} is not the server of {self.folder}")
        os.kill(number, signal.SIGKILL)
        while _runs(number):
            time.sleep(0.02)

    def start(self) -> None:
        """Start the server again and wait until it answers."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment["PYTHONPATH"] = str(self.folder / "root" / "usr" / "lib" / "python3" / "dist-packages")
        command = [self.folder / "venv" / "bin" / "python", "-m", "odoo", "-c", self.folder / "odoo.conf"]
        with (self.folder / "server.log").open("a") as log:
            subprocess.run(
                ["setsid", "--fork", *command, f"--pidfile={self.folder / 'odoo.pid'}"],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
            )
        self.wait()
        self._tell_process()

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until the server answers."""
        until = time.monotonic() + seconds
        while True:
            try:
                self.admin.call("res.users", "search_count", domain=[])
            except CrmError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return

    def _tell_process(self) -> None:
        """Put the process id where the script that stops the server looks for it."""
        lines = (self.folder / "env").read_text().splitlines()
        kept = [f"ODOO_PID={self.process}" if line.startswith("ODOO_PID=") else line for line in lines]
        (self.folder / "env").write_text("\n".join(kept) + "\n")

    def add_fields(self, model: str, fields: Mapping[str, Mapping[str, Any]]) -> None:
        """Make fields that the model lacks, as an administrator does: name to `ttype` and the like."""
        lacking = set(fields) - set(self.admin.call(model, "fields_get", attributes=["type"]))
        if not lacking:
            return
        [number] = self.admin.call("ir.model", "search", domain=[["model", "=", model]])
        made = [
            {"name": name, "field_description": name, "model_id": number, **fields[name]} for name in sorted(lacking)
        ]
        self.admin.call("ir.model.fields", "create", vals_list=made)

    def add_leads(self, leads: Sequence[Mapping[str, Any]]) -> list[str]:
        """Make leads; returns their ids."""
        made = self.admin.call("crm.lead", "create", vals_list=[dict(lead) for lead in leads], context=QUIET)
        return [str(number) for number in made]

    def edit(self, record_id: str, values: Mapping[str, Any]) -> None:
        """Change a lead, as a person does."""
        self.admin.call("crm.lead", "write", ids=[int(record_id)], vals=dict(values))

    def remove_leads(self, ids: Sequence[str]) -> None:
        """Delete those leads that are there."""
        wanted = [["id", "in", [int(record_id) for record_id in ids]]]
        there = self.admin.call("crm.lead", "search", domain=wanted, context=QUIET)
        self.admin.call("crm.lead", "unlink", ids=there, context=QUIET)

    def read_leads(self, ids: Sequence[str], fields: Sequence[str]) -> list[tuple[Any, ...]]:
        """Fields of leads, archived ones too, in the order of the ids; those that are gone are left out."""
        wanted = [["id", "in", [int(record_id) for record_id in ids]]]
        rows = self.admin.call("crm.lead", "search_read", domain=wanted, fields=list(fields), context=QUIET)
        by_id = {str(row["id"]): tuple(row[name] for name in fields) for row in rows}
        return [by_id[record_id] for record_id in ids if record_id in by_id]

    def make_key(self, user: User) -> str:
        """Make another key for a user, good for a day."""
        key, salt = secrets.token_hex(20), os.urandom(16)
        hashed = hashlib.pbkdf2_hmac("sha512", key.encode(), salt, 6000)
        stored = f"$pbkdf2-sha512$6000${_encode(salt)}${_encode(hashed)}"
        self.execute(
            "INSERT INTO res_users_apikeys (name, user_id, scope, expiration_date, key, index) "
            "SELECT 'second', id, 'rpc', now() + interval '1 day', %s, %s FROM res_users WHERE login = %s",
            (stored, key[:8], user),
        )
        return key

    def revoke_key(self, key: str) -> None:
        """Take a key away."""
        self.execute("DELETE FROM res_users_apikeys WHERE index = %s", (key[:8],))

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        """Run one statement in its database, behind its back."""
        with self._connect_database() as connection:
            connection.exec_driver_sql(statement, tuple(parameters))

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of its database."""
        with self._connect_database() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement, tuple(parameters))]

    @contextmanager
    def saving(self, statement: str, parameters: Sequence[Any]) -> Iterator[None]:
        """Somebody saves a record, and is done with it at the end."""
        with self._connect_database() as connection:
            connection.exec_driver_sql(statement, tuple(parameters))
            yield

    def await_lock(self, seconds: float = 30.0) -> None:
        """Wait until somebody waits for a record that another is about to save."""
        until = time.monotonic() + seconds
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
        while self.query(waiting, (self.database,)) == [(0,)]:
            if time.monotonic() > until:
                raise TimeoutError("nobody waits for the record")
            time.sleep(0.02)

    @contextmanager
    def _connect_database(self) -> Iterator[Connection]:
        """Open its PostgreSQL, committed at the end."""
        settings = self.settings
        user, password, host = (settings[f"db_{name}"] for name in ("user", "password", "host"))
        url = URL.create("postgresql+pg8000", user, password, host, int(settings["db_port"]), self.database)
        with create_engine(url, poolclass=NullPool).begin() as connection:
            yield connection

    def close(self) -> None:
        """Close the administrator's connection."""
        if self._admin is not None:
            self._admin.close()


def _encode(value: bytes) -> str:
    """Bytes as Odoo's library for keys writes them."""
    return base64.b64encode(value).decode().rstrip("=").replace("+", ".")


def _runs(number: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def open_real_odoo() -> Iterator[RealOdoo | None]:
    """Open the server of the environment, None if it names none; one process at a time uses it."""
    place = os.environ.get("LEADSIEVE_ODOO")
    if not place:
        yield None
        return
    entries = dict(line.split("=", 1) for line in Path(place).read_text().splitlines() if "=" in line)
    keys = {"admin": entries["ODOO_API_KEY"], "nightly": entries["ODOO_NIGHTLY_KEY"]}
    folder = Path(place).resolve().parent
    with (folder / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = RealOdoo(folder, entries["ODOO_URL"], entries["ODOO_DB"], keys)
        try:
            server.wait()
            yield server
        finally:
            server.close()


@pytest.fixture(scope="module")
def odoo() -> Iterator[RealOdoo]:
    """A real Odoo, for one test file at a time."""
    with open_real_odoo() as server:
        if server is None:
            pytest.skip("LEADSIEVE_ODOO does not name the env file of a real Odoo, which this test needs")
        yield server
