"""A real PostgreSQL for tests and benchmarks: on loopback, with a password, gone when the tests are."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine

OWNER = "owner"
ZONE = "Asia/Shanghai"
"""Time zone of the server's sessions: nothing may depend on it."""

_SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "timezone": f"'{ZONE}'",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "'4GB'",
    "max_connections": "40",
}

# Stops the server when its standard input ends, which it does however its parent goes away.
_KEEPER = """
"$1" start -w -s -D "$2/data" -l "$2/log" > /dev/null 2>&1 && echo ready || echo failed
cat > /dev/null
"$1" stop -w -s -m immediate -D "$2/data" > /dev/null 2>&1
rm -rf "$2"
"""


class ServerMissingError(Exception):
    """PostgreSQL is not installed, or cannot be run by this user."""


@dataclass(frozen=True)
class Database:
    """One database of a running server, and its owner's password."""

    address: URL

    @property
    def url(self) -> str:
        """URL with the password, as a deployment has it in its environment."""
        return self.address.set(drivername="postgresql").render_as_string(hide_password=False)

    @property
    def password(self) -> str:
        """What must never be shown."""
        return str(self.address.password)

    def url_of(self, role: str, password: str) -> str:
        """URL for another role."""
        return Database(self.address.set(username=role, password=password)).url

    def on(self, name: str) -> "Database":
        """Another database of the same server."""
        return Database(self.address.set(database=name))

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Run one statement as the owner, as another program would: committed at once."""
        with self.engine.connect() as connection:
            result = connection.exec_driver_sql(statement, tuple(parameters))
            return [tuple(row) for row in result] if result.returns_rows else []

    @cached_property
    def engine(self) -> Engine:
        """The owner's connection."""
        return create_engine(self.address, isolation_level="AUTOCOMMIT", pool_pre_ping=True)

    def close(self) -> None:
        """Close the owner's connection."""
        self.engine.dispose()


@contextmanager
def run_server(place: Path | None = None, **settings: str) -> Iterator[Database]:
    """Start a server in a folder of its own below `place`; stop it at the end and remove the folder.

    Raises
    ------
    ServerMissingError
        If PostgreSQL is not installed, or we are root and there is no user `postgres` to run it.

    """
    programs = _find_programs()
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="leadsieve-postgres-", dir=place))
    if user:
        shutil.chown(folder, user, user)
    password, port = secrets.token_urlsafe(24), _free_port()
    try:
        _make_cluster(programs, folder, user, password, {**_SETTINGS, "port": str(port), **settings})
        keeper = subprocess.Popen(
            ["sh", "-c", _KEEPER, "sh", programs / "pg_ctl", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            text=True,
            start_new_session=True,
            **_as(user),
        )
        try:
            if keeper.stdout.readline() != "ready\n":
                raise RuntimeError((folder / "log").read_text())
            server = Database(URL.create("postgresql+pg8000", OWNER, password, "127.0.0.1", port, "postgres"))
            yield server
            server.close()
        finally:
            keeper.communicate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_cluster(programs: Path, folder: Path, user: str | None, password: str, settings: dict[str, str]) -> None:
    """Make the files of a server whose only way in is the password."""
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    if user:
        shutil.chown(secret, user, user)
    command = [programs / "initdb", "-D", folder / "data", "-U", OWNER, "-A", "scram-sha-256", "--no-sync"]
    command += ["-E", "UTF8", "--locale=C.UTF-8", "--pwfile", secret]
    made = subprocess.run(command, text=True, capture_output=True, cwd=folder, **_as(user))
    secret.unlink()
    if made.returncode != 0:
        raise RuntimeError(made.stderr)
    with (folder / "data" / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = {value}\n" for name, value in settings.items())


def _find_programs() -> Path:
    """Folder of initdb and pg_ctl: on the PATH, or where Debian puts them; the newest."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    for folder in found:
        if (folder / "initdb").is_file() and (folder / "pg_ctl").is_file():
            return folder
    raise ServerMissingError("PostgreSQL is not installed (Debian: apt-get install postgresql)")


def _user() -> str | None:
    """User that runs the server: PostgreSQL refuses to be run by root."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise ServerMissingError("PostgreSQL cannot be run by root, and there is no user 'postgres'") from None


def _as(user: str | None) -> dict[str, Any]:
    return {"user": user, "group": user, "extra_groups": []} if user else {}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Database]:
    """A server for the whole session; tests that need it are skipped where PostgreSQL is not installed."""
    try:
        with run_server() as server:
            yield server
    except ServerMissingError as missing:
        pytest.skip(f"{missing}; this test needs a real server")


_NUMBERS = count(1)


@pytest.fixture
def postgres(postgres_server: Database) -> Iterator[Database]:
    """An empty database with a name of its own."""
    name = f"test_{next(_NUMBERS)}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    database = postgres_server.on(name)
    yield database
    database.close()
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")
