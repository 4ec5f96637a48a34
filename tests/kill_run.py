"""Kill the nightly job at random moments, run it again, and compare the CRM with that of an unkilled run.

    python tests/kill_run.py --kills 20 --seed 0                               a small stand-in for the job
    python tests/kill_run.py --kills 20 --seed 0 --config configs/demo.yaml    the job itself, `leadsieve run`

Every trial starts from a fresh copy of the same world (CRM, state folder), kills the job once with
SIGKILL, and then runs it to its end. Half of the kills come at any moment of the job, half while it
writes to the CRM. A trial is good if the CRM's tables are equal by hash to those of the unkilled run and
the ledger has every value as done exactly once. Exit code 1 if a trial is not.
"""

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.config import Config

ROOT = Path(__file__).resolve().parent.parent
POLL_SECONDS = 0.002
TIME_LIMIT_SECONDS = 900
TRIES_PER_KILL = 3
TOO_LATE = "too late, it had ended (tried again)"


@dataclass(frozen=True)
class World:
    """All that a job needs, in one folder; paths are relative to it.

    `command` is the job's command line; it runs in a copy of the folder.
    """

    folder: Path
    crm: Path
    ledger: Path
    command: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What a job left behind: its CRM by hash, and the values that the ledger has as done."""

    crm: str
    done: tuple[tuple[str, str, str, str | None], ...]


def hash_tables(path: Path) -> str:
    """Hash over all tables of a SQLite file: columns and rows, whatever their order on disk."""
    digest = hashlib.sha256()
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        for name, definition in tables:
            quoted = name.replace('"', '""')
            rows = sorted(map(repr, connection.execute(f'SELECT * FROM "{quoted}"')))
            digest.update("\n".join([name, definition or "", *rows]).encode())
    return digest.hexdigest()


def query_ledger(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Read from a ledger that may not exist yet, while a job may be writing to it."""
    if not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as connection:
            return connection.execute(statement).fetchall()
    except sqlite3.OperationalError:  # its tables are not there yet
        return []


def count_writes(world: World, folder: Path, state: str = "%") -> int:
    """How many writes a ledger has in a state."""
    found = query_ledger(folder / world.ledger, f"SELECT count(*) FROM writes WHERE state LIKE '{state}'")
    return found[0][0] if found else 0


def read_outcome(world: World, folder: Path, before: Sequence[tuple[Any, ...]]) -> Outcome:
    """What a job has done; `before` are the done writes that the prepared world came with."""
    done = Counter(query_ledger(folder / world.ledger, DONE)) - Counter(before)
    return Outcome(hash_tables(folder / world.crm), tuple(sorted(done.elements())))


WRITTEN = (
    "batch_exceptions",
    "batch_values",
    "batch_ids",
    "batches",
    "single_writes",
    "follow_ups",
    "histories",
)
"""Tables of a ledger that say what was written to the CRM."""

DONE = "SELECT table_name, record_id, field, new FROM writes WHERE state = 'done'"


def start(world: World, folder: Path) -> subprocess.Popen[bytes]:
    """Start the job in a copy of the world, in a session of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        world.command, cwd=folder, env=environment, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a job that must end well."""
    _, errors = process.communicate(timeout=TIME_LIMIT_SECONDS)
    if process.returncode:
        raise SystemExit(
            f"The job ended with exit code {process.returncode}: {errors.decode(errors='replace')[-2000:]}"
        )


def kill(process: subprocess.Popen[bytes]) -> bool:
    """Kill a job and all that it started; False if it had already ended."""
    if process.poll() is not None:
        process.communicate()
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return True


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> float:
    """Seconds until something is true of a running job, or until it ended."""
    begun = time.monotonic()
    while process.poll() is None and not condition():
        time.sleep(POLL_SECONDS)
    return time.monotonic() - begun


@dataclass(frozen=True)
class Timing:
    """Seconds that an unkilled job takes until it writes to the CRM, while it does, and in all."""

    until_writes: float
    in_writes: float
    whole: float


def measure(world: World, folder: Path) -> Timing:
    """Run the job to its end and time it."""
    begun = time.monotonic()
    process = start(world, folder)
    writes = count_writes(world, folder)
    until_writes = wait_for(lambda: count_writes(world, folder) > writes, process)
    open_states = ("planned", "intended")
    in_writes = wait_for(lambda: not any(count_writes(world, folder, state) for state in open_states), process)
    finish(process)
    return Timing(until_writes, in_writes, time.monotonic() - begun)


def try_once(world: World, folder: Path, seconds: float, in_writes: bool) -> str:
    """Kill the job once and run it to its end; returns where the kill fell."""
    writes, done = count_writes(world, folder), count_writes(world, folder, "done")
    process = start(world, folder)
    if in_writes:
        wait_for(lambda: count_writes(world, folder) > writes, process)
    due = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= due, process)
    killed = kill(process)
    where = "during the write-back"
    if not killed:
        where = TOO_LATE
    elif count_writes(world, folder) == writes:
        where = "before the write-back"
    elif count_writes(world, folder, "intended"):
        where = "during the write-back, a batch not settled"
    elif not count_writes(world, folder, "planned") and count_writes(world, folder, "done") > done:
        where = "after the write-back"
    finish(start(world, folder))
    return where


def run_trials(world: World, kills: int, seed: int, scratch: Path) -> int:
    """Kill, compare and print the tally; returns how many trials were not good."""
    chance = random.Random(seed)
    before = query_ledger(world.folder / world.ledger, DONE)
    reference = scratch / "reference"
    shutil.copytree(world.folder, reference)
    timing = measure(world, reference)
    expected = read_outcome(world, reference, before)
    print(
        f"Unkilled: {timing.whole:.1f} s, {len(expected.done):,} values written within {timing.in_writes:.2f} s "
        f"after {timing.until_writes:.1f} s."
    )
    if not expected.done:
        raise SystemExit(
            "The unkilled job has written nothing, so killing it would show nothing. Change the CRM first."
        )
    finish(start(world, reference))
    is_stable = read_outcome(world, reference, before) == expected
    if not is_stable:
        print("A second unkilled run has written something: it should have found nothing to do.")
    tally: Counter[str] = Counter()
    equal = trial = 0
    while tally.total() - tally[TOO_LATE] < kills and trial < TRIES_PER_KILL * kills:
        folder = scratch / f"trial{trial}"
        shutil.copytree(world.folder, folder)
        in_writes = trial % 2 == 1
        seconds = chance.uniform(0, timing.in_writes if in_writes else timing.whole)
        where = try_once(world, folder, seconds, in_writes)
        found = read_outcome(world, folder, before)
        if found != expected:
            what = "the CRM differs" if found.crm != expected.crm else "the ledger has other values as done"
            print(f"Trial {trial} (killed {where}): {what}.")
        equal += found == expected
        tally[where] += 1
        trial += 1
        shutil.rmtree(folder)
    for where, count in sorted(tally.items()):
        print(f"{count:5,} killed {where}")
    print(f"{equal:,} of {trial:,} equal to the unkilled run.")
    return trial - equal + (not is_stable)


def prepare_config(path: Path, folder: Path) -> World:
    """Copy what a config needs: its state, its databases and the files beside it."""
    from pipeline.config import load_config

    config = load_config(path)
    if config.write_back is None or config.write_back.sqlite is None:
        raise SystemExit(f"{path}: the kill test needs write_back.sqlite, a CRM that can be copied.")
    places = {path.parent, config.folder, config.write_back.sqlite, config.source.sqlite, config.source.folder}
    for place in sorted(str(place) for place in places if place is not None and place.exists()):
        if Path(place).is_absolute():
            raise SystemExit(f"{path}: {place} is absolute, so a copy would not be used. Make it relative.")
        if Path(place).is_dir():
            shutil.copytree(place, folder / place, dirs_exist_ok=True)
        elif not (folder / place).exists():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(place, folder / place)
    with contextlib.chdir(folder):
        make_unscored(config)
    command = (sys.executable, "-m", "pipeline.cli", "run", "--config", str(path))
    return World(folder, config.write_back.sqlite, config.folder / "ledger.db", command)


def make_unscored(config: "Config") -> None:
    """Take the newest scores back and forget the extract and all runs, so that the job has everything to do."""
    from pipeline.ledger import open_ledger
    from pipeline.writeback import undo_run

    with open_ledger(config.folder / "ledger.db") as ledger:
        if newest := ledger.latest_scored_run():
            undo_run(config, ledger, newest.run_id)
    with closing(sqlite3.connect(config.folder / "ledger.db", isolation_level=None)) as connection:
        for table in (*WRITTEN, "scores", "runs"):
            connection.execute(f"DELETE FROM {table}")
    for name in ("runs", "tables"):
        shutil.rmtree(config.folder / name, ignore_errors=True)


def prepare_stand_in(deals: int, folder: Path) -> World:
    """A CRM of a few hundred deals, all of which the stand-in scores."""
    from crm_world import make_crm

    make_crm(folder, [(deal, f"deal {deal}", None, None, None) for deal in range(deals)])
    command = (sys.executable, str(Path(__file__).resolve()), "--stand-in", str(deals))
    return World(folder, Path("crm.db"), Path("demo/ledger.db"), command)


def stand_in(deals: int) -> None:
    """What `leadsieve run` does, without extract and model: scores, ledger, write-back, under the lock."""
    from crm_world import make_config, make_scores, open_run

    from pipeline.lock import hold_lock
    from pipeline.writeback import write_back

    config = make_config(Path(), batch_rows=5)
    scores = make_scores("r1", [(str(deal), deal / deals, "ABCD"[deal % 4], [f"{deal} 次"]) for deal in range(deals)])
    with hold_lock(config.folder, "run"), open_run(config, "r1") as ledger:
        ledger.replace_scores("r1", scores)
        write_back(config, ledger, ledger.scores("r1"), "r1")
        ledger.finish_run("r1", "done")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare a world, kill, compare; 1 if a trial was not good."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how many trials")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same moments")
    parser.add_argument("--config", type=Path, help="deployment whose nightly job is killed; it must be ready to run")
    parser.add_argument("--deals", type=int, default=300, help="size of the stand-in's CRM")
    parser.add_argument("--stand-in", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.stand_in is not None:
        stand_in(options.stand_in)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "world")
        folder.mkdir()
        world = prepare_config(options.config, folder) if options.config else prepare_stand_in(options.deals, folder)
        return 1 if run_trials(world, options.kills, options.seed, Path(scratch)) else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
