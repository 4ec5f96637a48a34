"""promote, rollback and history on a small CRM: one alias, the ledger's notes, and who changes grade."""

import json
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from small_crm import CHURN_ONLY, CONFIG, ROOT, SIMPLE, World, copy_world, only_candidates

from pipeline.errors import CrmError
from pipeline.ledger import open_ledger
from pipeline.lock import hold_lock
from pipeline.registry import read_champion

CHURN = ("--target", "churn")


@pytest.fixture(scope="module")
def trained(finished: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Version 2 of the churn model was trained a day later, on other features, and is live; shared."""
    from small_crm import FEW_GROUPS

    world = copy_world(finished, tmp_path_factory.mktemp("promote") / "small")
    with only_candidates(*SIMPLE):
        answer = world.run("train", *CHURN, groups=[g for g in FEW_GROUPS if g.name != "order_history"])
    assert answer.code == 0, answer.err
    return world


@pytest.fixture
def world(trained: World, tmp_path: Path) -> World:
    return copy_world(trained, tmp_path / "small")


def live(world: World) -> int | None:
    champion = read_champion(world.config, "churn")
    return champion and champion.version


def history(world: World) -> dict:
    return world.run("history", *CHURN, "--json").document["targets"]["churn"]


def decisions(world: World) -> list[tuple[str, str, dict]]:
    with open_ledger(world.state / "ledger.db") as ledger:
        return [(one.kind, one.outcome, dict(one.details)) for one in ledger.decisions("churn")]


def test_rollback_and_promote_move_the_alias_and_history_tells_it(world: World):
    back = world.run("rollback", *CHURN, "--why", "sellers do not [red] trust it", "--json").document
    assert (back["version"], back["replaced"], back["is_new"]) == (1, 2, True)
    assert live(world) == 1
    forth = world.run("promote", *CHURN, "--why", "they do now", "--json").document  # the challenger
    assert (forth["version"], forth["replaced"], live(world)) == (2, 1, 2)
    told = history(world)
    assert [(one["version"], one["kind"], one["why"], one["is_live"]) for one in told["versions"]] == [
        (1, "train", None, False),
        (2, "train", None, False),
        (1, "rollback", "sellers do not [red] trust it", False),
        (2, "promote", "they do now", True),
    ]
    days = [(one["from"], one["to"]) for one in told["versions"]]
    assert [end for _, end in days[:-1]] == [begin for begin, _ in days[1:]]  # no gap and no overlap
    assert days[-1][1] is None
    assert [round(one["test"]["auc"], 6) for one in told["versions"][:2]] == [
        round(one["test"]["auc"], 6) for one in told["versions"][2:]
    ]
    assert told["note"] is None
    shown = world.run("history", *CHURN).out
    assert "churn: live versions" in shown
    assert "sellers do not [red] trust it" in shown
    assert re.search(r"2 +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d +now +promote +0\.\d{3} +0\.\d{3} +they do now", shown)


def test_a_promotion_is_noted_with_counts_and_without_anybodys_id(world: World):
    world.run("rollback", *CHURN)
    swap = world.run("promote", *CHURN, "--json").document["swap"]
    (kind, outcome, details), *_ = decisions(world)
    assert (kind, outcome, details["version"], details["replaced"]) == ("promote", "promoted", 2, 1)
    assert details["test"]["rows"] > 0
    assert details["swap"]["rows"] == swap["rows"] > 0
    assert details["swap"]["up"] + details["swap"]["down"] == swap["movers"] > 0
    assert swap["largest"][0]["entity_id"] not in json.dumps(details)


def test_the_report_counts_everybody_once_by_the_owners_of_today(world: World):
    world.run("rollback", *CHURN)
    world.change_config(capacity={"contacts_per_week": 40})
    before = world.fingerprint()
    report = world.run("promote", *CHURN, "--dry-run", "--json").document
    assert (report["is_dry_run"], world.fingerprint(), live(world)) == (True, before, 1)
    swap = report["swap"]
    eligible = world.sql(
        "SELECT DISTINCT customer_id FROM orders, clock WHERE quantity > 0 AND orders.known_at < now "
        "AND occurred_at >= datetime(now, '-365 days')"
    )
    assert swap["rows"] == len(eligible) == sum(map(sum, swap["crossing"]))
    assert sum(line["rows"] for line in swap["by_region"]) == swap["rows"]
    regions = dict(world.sql("SELECT region, count(*) FROM customers GROUP BY 1"))
    assert {line["name"] for line in swap["by_region"]} <= {name or "(not known)" for name in regions}
    owners = dict(
        world.sql(
            "SELECT owner_id, count(DISTINCT customer_id) FROM customers WHERE customer_id IN (SELECT customer_id FROM "
            "orders, clock WHERE quantity > 0 AND orders.known_at < now AND occurred_at >= datetime(now, '-365 days')) "
            "GROUP BY 1"
        )
    )
    assert {line["name"]: line["rows"] for line in swap["by_owner"]} == owners
    assert [band["name"] for band in swap["bands"]] == ["priority", "nurture", "hold", "drop"]  # the card's grades
    assert swap["contacts"]["capacity"] == 40
    assert swap["contacts"]["before"] == 40  # nobody ties with the fortieth
    assert swap["contacts"]["entering"] == swap["contacts"]["leaving"] > 0


def test_people_see_who_changes_grade_and_a_page_of_it(world: World):
    world.run("rollback", *CHURN)
    page = world.folder / "pages" / "swap.html"
    shown = world.run("promote", *CHURN, "--dry-run", "--html", str(page)).out
    assert re.search(r"churn: [\d,]+ of [\d,]+ customers change grade \(\d+\.\d%\): \d+ up, \d+ down\.", shown)
    assert "By owner" in shown
    assert "By region" in shown
    assert shown.endswith("churn: nothing was changed. Without --dry-run version 2 goes live.\n")
    assert "<h2>By owner</h2>" in page.read_text(encoding="utf-8")


def test_more_movers_than_allowed_stop_a_promotion_unless_people_insist(world: World):
    world.run("rollback", *CHURN)
    world.change_config(retrain={"max_movers_share": 0.0})
    before = decisions(world)
    answer = world.run("promote", *CHURN)
    assert answer.code == 1
    assert re.match(
        r"Error: Target 'churn': \d+ of \d+ customers would change grade \(.*%\), more than ret", answer.err
    )
    assert (live(world), decisions(world)) == (1, before)
    assert world.run("promote", *CHURN, "--force").code == 0
    assert live(world) == 2


def test_what_is_live_already_is_not_noted_twice(world: World):
    before = decisions(world)
    answer = world.run("promote", *CHURN)
    assert (answer.code, decisions(world)) == (0, before)
    assert answer.out.endswith("churn: version 2 is live already.\n")
    assert world.run("rollback", *CHURN, "--to", "2").out == "churn: version 2 is live already.\n"
    assert decisions(world) == before


def test_a_job_killed_between_alias_and_note_is_told_and_can_be_noted(world: World):
    def die(*_: object, **__: object) -> None:
        raise CrmError("killed")

    with patch("pipeline.ledger.Ledger.record_decision", die):
        assert world.run("rollback", *CHURN).code == 4
    told = history(world)
    assert told["live"] == 1  # the alias is what counts
    assert [(one["version"], one["kind"], one["from"]) for one in told["versions"]][-1] == (1, "unnoted", None)
    assert "MLflow says version 1 of 'churn' is live, the last decision in the ledger (train, " in told["note"]
    assert "note: MLflow says version 1" in world.run("history").out
    answer = world.run("promote", *CHURN, "--version", "1")
    assert answer.out.endswith("churn: version 1 is live already; the ledger says so now.\n")
    told = history(world)
    assert (told["note"], told["versions"][-1]["kind"]) == (None, "promote")


def test_rolling_back_needs_no_lock_and_promoting_does(world: World):
    with hold_lock(world.state, "run"):
        assert world.run("rollback", *CHURN).code == 0
        assert world.run("promote", *CHURN, "--dry-run").code == 0
        assert world.run("promote", *CHURN).code == 5
    assert live(world) == 1


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("promote", r"^Error: There are several targets: conversion, churn\. Name one with --target\.$"),
        (
            "rollback --target conversion",
            r"^Error: The ledger knows no version of 'conversion' that version 1, which",
        ),
        ("rollback --target churn --to 9", r"^Error: Model 'small-churn' has no version 9, known: 1, 2\. Choose one"),
        ("promote --target churn --version 9", r"^Error: Model 'small-churn' has no version 9, known: 1, 2\. Choose"),
        (
            "history --target chrun",
            r"^Error: Target 'chrun' is not in the config, expected one of: conversion, churn",
        ),
    ],
)
def test_what_cannot_be_done_is_a_sentence(trained: World, command: str, expected: str):
    name, *options = command.split()
    answer = trained.run(name, *options)
    assert answer.code == 2
    assert re.match(expected, answer.err)


def test_before_the_first_training_there_is_nothing_to_promote_or_to_go_back_from(world: World):
    world.change_config(**CHURN_ONLY)
    for name in ("mlflow.db", "ledger.db"):
        (world.state / name).unlink()
    assert world.run("history").out == "churn: nothing was decided yet.\n"
    assert "Model 'small-churn' has no challenger to promote. Name a version" in world.run("promote").err
    assert (
        "No version of model 'small-churn' is live, so there is nothing to go back from." in world.run("rollback").err
    )


def test_rollback_and_history_leave_mlflow_alone(world: World):
    code = (
        "import sys, contextlib, io, json; from pipeline.cli import main; loaded = {}\n"
        "for command in ('rollback', 'history'):\n"
        f"    sys.argv = ['leadsieve', command, '--target', 'churn', '--json', '--config', {CONFIG!r}]\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main()\n"
        "print(json.dumps([name for name in ('mlflow', 'matplotlib', 'lightgbm', 'ibis') if name in sys.modules]))"
    )
    paths = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=world.folder, capture_output=True, text=True, check=True, env=paths
    )
    assert "mlflow" not in json.loads(done.stdout)
    assert live(world) == 1  # it was done
