"""One job at a time per deployment: a lock of the operating system, which dies with its process."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from pipeline.errors import ConfigError, LockError

LOCK_FILE = "lock"


@contextmanager
def hold_lock(folder: Path, what: str = "leadsieve") -> Iterator[None]:
    """Hold the lock of a deployment while the block runs.

    The file stays when the lock is released, empty; a file left by a killed process locks nothing.
    Works on a local disk and between processes of one machine.

    Parameters
    ----------
    folder : Path
        State folder of the deployment; it is made if missing.
    what : str
        Name of the job, shown to whoever finds the lock held.

    Raises
    ------
    LockError
        If another process holds it; the text names the job, the process and since when.
    ConfigError
        If the lock file cannot be written.

    """
    path = folder / LOCK_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"The lock {path} cannot be opened ({error.strerror}). Make the state folder writable for this user."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockError(_describe_holder(file, path)) from None
        _note_holder(file, what)
        try:
            yield
        finally:
            file.truncate(0)


def _note_holder(file: IO[str], what: str) -> None:
    """Write who holds the lock into it."""
    holder = {"what": what, "pid": os.getpid(), "since": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")}
    file.truncate(0)
    file.write(json.dumps(holder))
    file.flush()


def _describe_holder(file: IO[str], path: Path) -> str:
    """One sentence about who holds the lock."""
    file.seek(0)
    try:
        holder = json.loads(file.read())
    except ValueError:  # it has the lock and has not written its name yet
        holder = {"what": "unknown", "pid": "unknown", "since": "just now"}
    return (
        f"Another job of this deployment is running: '{holder['what']}', process {holder['pid']}, "
        f"since {holder['since']} (lock {path}). Wait until it ends, or stop that process, then run this again."
    )
