"""One job at a time, and a killed one locks nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.errors import EXIT_CODES, ConfigError, LockError
from pipeline.lock import hold_lock

ROOT = Path(__file__).resolve().parent.parent
HOLDER = """
import sys
from pathlib import Path
from pipeline.lock import hold_lock
with hold_lock(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_holds(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_job_is_told_who_holds_the_lock_and_what_to_do(tmp_path: Path) -> None:
    with (
        another_process_holds(tmp_path) as process,
        pytest.raises(LockError, match=rf"'run', process {process.pid}, since 20\d\d-.* UTC .*Wait until it ends"),
        hold_lock(tmp_path),
    ):
        pass
    assert EXIT_CODES[LockError] == 5


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    with another_process_holds(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with hold_lock(tmp_path, "score"):
            holder = json.loads((tmp_path / "lock").read_text())
    assert (holder["what"], holder["pid"]) == ("score", os.getpid())  # the dead one's name is gone


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), hold_lock(tmp_path):
        raise ValueError("broken")
    with hold_lock(tmp_path):
        pass
    assert (tmp_path / "lock").read_text() == ""


def test_the_same_process_cannot_hold_it_twice(tmp_path: Path) -> None:
    with (
        hold_lock(tmp_path, "run"),
        pytest.raises(LockError, match=f"process {os.getpid()}"),
        hold_lock(tmp_path, "score"),
    ):
        pass


def test_a_lock_without_a_name_yet_is_still_held(tmp_path: Path) -> None:
    with hold_lock(tmp_path):
        (tmp_path / "lock").write_text("")
        with pytest.raises(LockError, match="process unknown, since just now"), hold_lock(tmp_path):
            pass


def test_a_state_folder_that_is_a_file_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with (
        pytest.raises(ConfigError, match=r"cannot be opened .* Make the state folder writable"),
        hold_lock(tmp_path / "state"),
    ):
        pass
