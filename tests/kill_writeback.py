"""Kill the write-back and its undo at random moments, over a faulty CRM, PostgreSQL and Odoo; print what came of it.

    python tests/kill_writeback.py --faulty 200 --postgres 20 --odoo 20 --seed 0

Every trial starts from the same CRM and ledger. A process writes the scores of a run, with history rows and tasks, and
is killed with SIGKILL at a random moment; it is run again until it ends well. Then the run is undone. In half of the
trials it is the undo that is killed. A trial is good if every value was there before the undo and was written once
(the CRM counts: a log of its own, or a trigger in the database of PostgreSQL or Odoo), if no history row or task was
there twice, and if the undo left what was there before the run. Prints the tally; exit code 1 if a trial was not good.

A job is a fork of this process, so that a trial is mostly write-back. Odoo is left out where LEADSIEVE_ODOO does not
name one, and PostgreSQL where it is not installed; the tally says so.
"""

import argparse
import logging
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kill_sites import Site

ROOT = Path(__file__).resolve().parent.parent
RUNS_PER_JOB = 60
"""Runs after which a job that does not end is given up; a faulty CRM stops some of them."""

PASSED = 4
"""Exit code of a job that may be run again."""

UNKILLED = 2
"""Runs of each job that are timed first."""


@dataclass
class Tally:
    """What became of the trials on one CRM."""

    name: str
    kills: int = 0
    too_late: int = 0
    runs: int = 0
    lost: int = 0
    twice: int = 0
    inexact: int = 0
    where: Counter[str] = field(default_factory=Counter)

    @property
    def bad(self) -> int:
        return self.lost + self.twice + self.inexact


def fork(job: Callable[[], None]) -> int:
    """Start a job in a process of its own; returns its id. Its exit code is 0, 4 where it may be run again, or 1."""
    number = os.fork()
    if number:
        return number
    try:
        logging.disable(logging.WARNING)  # a CRM that fails on purpose makes a job wait a hundred times
        from pipeline.errors import CrmError

        try:
            job()
        except CrmError:
            os._exit(PASSED)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def wait(number: int) -> int:
    """Exit code of a job, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def finish(job: Callable[[], None]) -> int:
    """Run a job until it ends well; returns how many runs that took."""
    for run in range(1, RUNS_PER_JOB + 1):
        code = wait(fork(job))
        if code == 0:
            return run
        if code != PASSED:
            raise SystemExit(f"A job ended with exit code {code}; what it said is above.")
    raise SystemExit(f"A job did not end well in {RUNS_PER_JOB} runs.")


def kill_at(job: Callable[[], None], seconds: float) -> bool:
    """Start a job and kill it; False if it had already ended."""
    number = fork(job)
    time.sleep(seconds)
    os.kill(number, signal.SIGKILL)
    return wait(number) == -signal.SIGKILL


class Trials:
    """Kills on one CRM."""

    def __init__(self, site: "Site", folder: Path, seed: int) -> None:
        from crm_world import open_run
        from kill_sites import make_scored

        import pipeline.writeback  # noqa: F401  before the forks, which then have it

        self._site, self._folder, self._chance = site, folder, random.Random(seed)
        self._scores = make_scored(site.ids)
        self._template = folder / "template.db"
        with open_run(site.config, "r1") as ledger:
            ledger.replace_scores("r1", self._scores)
            ledger.finish_run("r1", "done")
        self._ledger = site.config.folder / "ledger.db"
        shutil.move(self._ledger, self._template)
        self._jobs = {"write": self.write, "undo": self.undo}
        self._seconds: dict[str, list[float]] = {name: [] for name in self._jobs}

    def run(self, kills: int) -> Tally:
        """Kill so many times; a job that had ended before does not count."""
        tally = Tally(self._site.name)
        for _ in range(UNKILLED):
            self._try(tally, None)
        tally.runs = 0
        while tally.kills < kills and tally.too_late < 2 * kills + 5:
            self._try(tally, self._chance.choice(list(self._jobs)))
        return tally

    def write(self) -> None:
        """The job: write the scores of the run."""
        from pipeline.ledger import open_ledger
        from pipeline.lock import hold_lock
        from pipeline.writeback import write_back

        config = self._site.config
        with self._site.connect(), hold_lock(config.folder, "run"), open_ledger(self._ledger) as ledger:
            write_back(config, ledger, self._scores, "r1").check()

    def undo(self) -> None:
        """The job: take the run back."""
        from pipeline.ledger import open_ledger
        from pipeline.lock import hold_lock
        from pipeline.writeback import undo_run

        config = self._site.config
        with self._site.connect(), hold_lock(config.folder, "undo"), open_ledger(self._ledger) as ledger:
            undo_run(config, ledger, "r1").check()

    def start_over(self) -> None:
        """Put the CRM and the ledger back."""
        self._site.put_back()
        for path in self._ledger.parent.glob("ledger.db*"):
            path.unlink()
        shutil.copy(self._template, self._ledger)

    def _try(self, tally: Tally, killed: str | None) -> None:
        """One trial: write, check, undo, check; one of the two is killed once, none if `killed` is None."""
        self.start_over()
        before = self._site.rows()
        for name, job in self._jobs.items():
            if name == killed and kill_at(job, self._chance.uniform(0, statistics.median(self._seconds[name]))):
                tally.kills += 1
                tally.where[self._find_moment(name)] += 1
            elif name == killed:
                tally.too_late += 1
            begun = time.monotonic()
            tally.runs += finish(job)
            if killed is None:
                self._seconds[name].append(time.monotonic() - begun)
            self.check_written(tally) if name == "write" else self.check_undone(tally, before)

    def _find_moment(self, job: str) -> str:
        """How far a job was when it was killed, as its ledger says."""
        from kill_run import query_ledger

        run_id = {"write": "r1", "undo": "undo-r1"}[job]
        states = {
            state for (state,) in query_ledger(self._ledger, f"SELECT state FROM writes WHERE run_id = '{run_id}'")
        }
        if "intended" in states:
            return f"{job}: a batch under way"
        if not states:
            return f"{job}: before its plan was stored"
        if "planned" in states:
            return f"{job}: between two batches"
        return f"{job}: after the fields, at tasks and history"

    def check_written(self, tally: Tally) -> None:
        """Every value is there and was written once; so are history rows and tasks."""
        from kill_sites import EVERY, new_row

        ids, found, written = self._site.ids, self._site.rows(), self._site.writes()
        lost = [one for number, one in enumerate(ids) if found.get(one) != new_row(number, len(ids))]
        history, tasks = self._site.own()
        tally.lost += self._tell("lost", lost or sorted({*ids} - {*history}) or sorted({*ids[::EVERY]} - {*tasks}))
        twice = [key for key, times in written.items() if times != 1]
        doubles = [one for rows in (history, tasks) for one, times in Counter(rows).items() if times > 1]
        tally.twice += self._tell("written twice", twice or doubles or self._find_doubles())

    def _find_doubles(self) -> list[object]:
        """Values that the ledger has as done more than once, or not at all, and those whose end is not known."""
        from kill_run import DONE, query_ledger

        done = Counter(row[1:3] for row in query_ledger(self._ledger, DONE))
        open_ = query_ledger(self._ledger, "SELECT record_id FROM writes WHERE state IN ('planned', 'intended')")
        many = [key for key, times in done.items() if times != 1]
        return [*open_, *many, *(["the ledger"] if len(done) != 3 * len(self._site.ids) else [])]

    def check_undone(self, tally: Tally, before: object) -> None:
        """Everything is as it was, and every value was changed once more."""
        exact = self._site.rows() == before and self._site.own() == ([], [])
        tally.inexact += self._tell("undo not exact", [] if exact else ["rows, history or tasks"])
        twice = [key for key, times in self._site.writes().items() if times != 2]
        tally.twice += self._tell("written twice in the undo", twice)

    def _tell(self, what: str, found: Sequence[object]) -> bool:
        if found:
            print(f"{self._site.name}: {what}: {len(found)}, such as {found[0]}", flush=True)
        return bool(found)


@contextmanager
def open_sites(folder: Path, kills: "dict[str, int]", records: int, seed: int) -> Iterator[list[tuple["Site", int]]]:
    """The CRMs that are there, with the kills for each."""
    from kill_sites import FaultySite, OdooSite, PostgresSite
    from odoo_server import open_real_odoo
    from postgres_server import ServerMissingError, run_server

    sites: list[tuple[Site, int]] = []
    with ExitStack() as stack:
        for name in kills:
            (folder / name).mkdir()
        if kills["faulty"]:
            sites.append((FaultySite(folder / "faulty", records, seed), kills["faulty"]))
        if kills["postgres"]:
            try:
                database = stack.enter_context(run_server())
                sites.append((PostgresSite(folder / "postgres", records, database), kills["postgres"]))
            except ServerMissingError as missing:
                print(f"No kills over PostgreSQL: {missing}.")
        if kills["odoo"]:
            server = stack.enter_context(open_real_odoo())
            if server is None:
                print("No kills over Odoo: LEADSIEVE_ODOO does not name the env file of one.")
            else:
                odoo = OdooSite(folder / "odoo", records, server)
                stack.callback(odoo.close)
                sites.append((odoo, kills["odoo"]))
        yield sites


def show(tallies: Sequence[Tally], seconds: float) -> None:
    """Print the tally as a table."""
    names = ("kills", "lost", "written twice", "undo not exact", "runs of the job", "ended before the kill")
    print(f"{'':12}" + "".join(f"{name:>23}" for name in names))
    for one in tallies:
        counts = (one.kills, one.lost, one.twice, one.inexact, one.runs, one.too_late)
        print(f"{one.name:12}" + "".join(f"{count:>23,}" for count in counts))
    where: Counter[str] = sum((one.where for one in tallies), Counter())
    for name, count in sorted(where.items()):
        print(f"{count:5,} killed in {name}")
    print(f"{sum(one.kills for one in tallies):,} kills in {seconds:.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill over each CRM and print the tally; 1 if a trial was not good."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in (("faulty", 200), ("postgres", 20), ("odoo", 20)):
        parser.add_argument(f"--{name}", type=int, default=count, help=f"kills over it ({count})")
    parser.add_argument("--records", type=int, default=200, help="records of the CRM, in batches of 20")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same moments and faults")
    options = parser.parse_args(arguments)
    kills = {"faulty": options.faulty, "postgres": options.postgres, "odoo": options.odoo}
    begun, tallies = time.monotonic(), []
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_sites(Path(scratch), kills, options.records, options.seed) as sites,
    ):
        for place, (site, count) in enumerate(sites):
            folder = Path(scratch, f"trials{place}")
            folder.mkdir()
            tallies.append(Trials(site, folder, options.seed).run(count))
    show(tallies, time.monotonic() - begun)
    return 1 if any(one.bad for one in tallies) else 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    sys.exit(main())
