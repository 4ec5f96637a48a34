"""`leadsieve forget` in a deployment that has trained, scored and written back."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import pandas as pd
import pytest
from search_state import search
from small_crm import CONFIG, ROOT, World

from models.predict import load_bundle
from pipeline.ledger import open_ledger
from pipeline.lock import hold_lock

CRM = ("crm.db*",)
LEDGER = "state/small/ledger.db"


@dataclass(frozen=True)
class Customer:
    """A customer that was scored, with the deals of it that were, and all deals."""

    id: str
    deals: tuple[str, ...]


@pytest.fixture
def customer(world: World) -> Customer:
    """The customer with the most scored deals among those that were scored themselves."""
    scored = {key for (key,) in world.sql("SELECT entity_id FROM scores", file=LEDGER)}
    owners = world.sql("SELECT customer_id, deal_id FROM deals WHERE customer_id IS NOT NULL")
    counts = pd.Series([owner for owner, deal in owners if owner in scored and deal in scored]).value_counts()
    chosen = str(counts.index[0])
    return Customer(chosen, tuple(deal for owner, deal in owners if owner == chosen))


def read_crm(world: World, customer: Customer) -> list[tuple]:
    """What the CRM has in the score fields of a customer."""
    return world.sql("SELECT churn_risk, churn_grade, churn_reasons FROM customers WHERE customer_id = ?", customer.id)


def test_nothing_is_left_of_a_customer_and_the_counts_add_up(world: World, customer: Customer) -> None:
    ids = (customer.id, *customer.deals)
    before = world.sql("SELECT count(*) FROM scores", file=LEDGER)[0][0]
    assert search(world.folder, *ids, without=CRM)
    removed = world.run("forget", customer.id, "--yes", "--json").document
    assert search(world.folder, *ids, without=CRM) == []
    after = world.sql("SELECT count(*) FROM scores", file=LEDGER)[0][0]
    assert removed["removed"]["ledger"]["scores"] == before - after >= 2
    assert world.sql("SELECT sum(count) FROM forgotten", file=LEDGER) == [(before - after,)]
    assert removed["entities"]["deals"] == len(customer.deals)
    assert removed["removed"]["ledger"]["writes"] > 0
    assert removed["removed"]["runs"] == 3 * (before - after) + 1  # features, scores, parts of the card; customer facts
    assert customer.id not in str(removed)
    again = world.run("forget", customer.id, "--yes")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("It was forgotten before; what was left of it is gone now.\nForgotten: 1 customer.\n")


def test_the_nightly_job_goes_on_without_it(world: World, customer: Customer) -> None:
    world.run("forget", customer.id, "--yes")
    before = read_crm(world, customer)
    assert before[0][0] is not None
    world.pass_a_day()
    answer = world.run("run", "--json")
    assert answer.code == 0, answer.err
    assert search(world.folder, customer.id, *customer.deals, without=CRM) == []
    assert read_crm(world, customer) == before
    extracted = world.run("extract")
    assert "rows dropped: their entity was forgotten" in extracted.out


def test_undo_leaves_it_alone_and_says_so(world: World, customer: Customer) -> None:
    (run,) = (path.name for path in (world.state / "runs").iterdir())
    written = world.sql("SELECT count(*) FROM writes WHERE state = 'done'", file=LEDGER)[0][0]
    gone = world.run("forget", customer.id, "--yes", "--json").document["removed"]["ledger"]["writes"]
    before = read_crm(world, customer)
    answer = world.run("writeback undo", run, "--json")
    assert sum(table["fields"] for table in answer.document["tables"]) == written - gone
    assert f"{gone:,} values of run {run} were written for entities that were forgotten since" in answer.err
    assert read_crm(world, customer) == before
    assert world.sql("SELECT count(*) FROM customers WHERE churn_risk IS NOT NULL") == [(1,)]


def test_scores_of_others_in_the_same_run_can_still_be_computed_again(world: World, customer: Customer) -> None:
    world.run("forget", customer.id, "--yes")
    (folder,) = (world.state / "runs").iterdir()
    with open_ledger(world.state / "ledger.db") as ledger:
        scores = ledger.scores(folder.name)
    for name in ("conversion", "churn"):
        stored = scores[scores["target"] == name].set_index("entity_id")
        frame = pd.read_parquet(folder / f"features_{name}.parquet")
        sha256 = stored["bundle_sha256"].iloc[0]
        again = load_bundle(world.state / "bundles" / sha256, sha256).log_odds(frame)
        assert stored.loc[frame["entity_id"], "log_odds"].tolist() == again.tolist()
        assert len(frame) == len(stored)
    answer = world.run("writeback apply")
    assert (answer.code, answer.err) == (0, "")
    assert "0 rows written" in " ".join(answer.out.split())  # the line is long and may be wrapped


def test_scoring_after_it_is_another_run_that_it_is_not_in(world: World, customer: Customer) -> None:
    world.run("forget", customer.id, "--yes")
    run = world.run("score", "--json").document
    assert run["is_new"] is True
    with open_ledger(world.state / "ledger.db") as ledger:
        assert not set(ledger.scores(run["run_id"])["entity_id"]) & {customer.id, *customer.deals}


def test_an_id_that_nobody_has_ends_with_code_3(world: World) -> None:
    answer = world.run("forget", "C-NOBODY", "--yes")
    assert (answer.code, answer.out) == (3, "")
    assert answer.err.startswith("Error: No customer or deal 'C-NOBODY' in the tables, scores or writes of this ")


def test_without_yes_a_person_is_asked(world: World, customer: Customer) -> None:
    before = world.fingerprint()
    answer = world.run("forget", customer.id)
    assert (answer.code, answer.out) == (2, "")
    assert "This would remove " in answer.err
    assert f"{len(customer.deals)} deal" in answer.err
    assert answer.err.endswith("nobody is there to be asked. Pass --yes.\n")
    assert world.fingerprint() == before
    assert not (world.state / "forgotten.json").exists()


def test_another_job_keeps_it_waiting(world: World, customer: Customer) -> None:
    with hold_lock(world.state, "score"):
        answer = world.run("forget", customer.id, "--yes")
    assert answer.code == 5
    assert not (world.state / "forgotten.json").exists()


KILL = """
import os, signal, sys
from unittest.mock import patch
from pipeline.cli import main
sys.argv = ["leadsieve", "forget", *sys.argv[1:]]
with patch("pipeline.forget.forget_in_runs", side_effect=lambda *_: os.kill(os.getpid(), signal.SIGKILL)):
    main()
"""


def test_after_a_kill_it_is_neither_scored_nor_written_and_a_second_try_finishes(
    world: World, customer: Customer
) -> None:
    (run,) = (path.name for path in (world.state / "runs").iterdir())
    killed = subprocess.run(
        [sys.executable, "-c", KILL, customer.id, "--yes", "--config", CONFIG], cwd=world.folder, check=False,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    world.sql("UPDATE customers SET churn_risk = NULL WHERE customer_id = ?", customer.id)
    assert world.run("writeback apply", "--run", run, "--take-over").code == 0
    assert read_crm(world, customer)[0][0] is None
    world.run("forget", customer.id, "--yes")
    assert search(world.folder, customer.id, *customer.deals, without=CRM) == []
