"""A sample of `make kills`: the write-back killed over a faulty CRM, PostgreSQL and Odoo, and what the tally sees."""

import contextlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_store import JOB
from kill_sites import FaultySite
from kill_writeback import Tally, Trials, show

from pipeline.errors import CrmError

SCRIPT = Path(__file__).with_name("kill_writeback.py")


def kill(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the script in a process of its own: it forks, which a test run with threads must not do."""
    command = [sys.executable, str(SCRIPT), "--records", "40", "--seed", "3", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def check(done: "subprocess.CompletedProcess[str]", name: str, kills: int) -> None:
    """So many kills over a CRM, and nothing lost, written twice or not undone."""
    assert re.search(rf"^{name} +{kills} +0 +0 +0 ", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert done.returncode == 0


def test_killed_over_a_faulty_crm_nothing_is_lost_or_written_twice() -> None:
    check(kill("--faulty", "6", "--postgres", "0", "--odoo", "0"), "faulty CRM", 6)


@pytest.mark.usefixtures("postgres_server")  # skips where there is none
def test_killed_over_postgresql_nothing_is_lost_or_written_twice() -> None:
    check(kill("--faulty", "0", "--postgres", "2", "--odoo", "0"), "PostgreSQL", 2)


@pytest.mark.skipif(not os.environ.get("LEADSIEVE_ODOO"), reason="LEADSIEVE_ODOO names no real Odoo")
def test_killed_over_odoo_nothing_is_lost_or_written_twice() -> None:
    check(kill("--faulty", "0", "--postgres", "0", "--odoo", "2"), "Odoo", 2)


def until_done(job: Callable[[], None]) -> None:
    """Run a job in this process until it ends well."""
    for _ in range(30):
        with contextlib.suppress(CrmError):
            return job()
    raise AssertionError("30 runs were not enough")


def test_the_checks_see_what_is_lost_written_twice_or_not_undone(tmp_path: Path) -> None:
    site = FaultySite(tmp_path, 20, seed=1)
    trials = Trials(site, tmp_path, 1)
    trials.start_over()
    before, tally = site.rows(), Tally("checked")
    until_done(trials.write)
    trials.check_written(tally)
    assert tally.bad == 0
    with site.open() as crm:
        crm.store(JOB, "deals", "3", {"grade": "B"})  # a value that is not the one of the run, and a second write
    trials.check_written(tally)
    assert (tally.lost, tally.twice) == (1, 1)
    with site.open() as crm:
        crm.store(JOB, "deals", "3", {"grade": "cold"})  # the right one again: three writes
        crm.run("INSERT INTO history SELECT * FROM history LIMIT 1")
    trials.check_written(tally)
    assert (tally.lost, tally.twice) == (1, 2)
    trials.check_undone(tally, before)  # nothing was undone, so every value was written once and not twice
    assert (tally.inexact, tally.twice) == (1, 3)


def test_the_tally_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    tallies = [Tally("one", kills=3, lost=1, where=Counter({"write: x": 3})), Tally("two", kills=2, twice=1)]
    show(tallies, 12.3)
    told = capsys.readouterr().out
    assert [one.bad for one in tallies] == [1, 1]
    assert "    3 killed in write: x\n5 kills in 12 s" in told
