"""What goes wrong in real life ends in one sentence and the right exit code, and leaves the last good state.

Each test breaks one thing in a world that has been extracted, trained, scored and written back, runs the
command that meets it, and compares everything that was there before: tables, ledger, champions, CRM.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_crm import CHURN_ONLY, CONFIG, ROOT, Answer, World

from pipeline.ledger import open_ledger


def check(world: World, command: str, code: int, expected: str) -> Answer:
    """Check that a command ends in a sentence and an exit code, and changes nothing."""
    before = world.fingerprint()
    answer = world.run(command)
    assert answer.code == code, answer.err
    *steps, last = answer.err.splitlines()
    assert re.fullmatch(f"Error: {expected}", last)
    assert all(line.startswith("step=") for line in steps)
    assert "Traceback" not in answer.out + answer.err
    assert world.fingerprint() == before
    return answer


def edit(world: World, old: str, new: str, file: str = CONFIG) -> None:
    """Replace a text in a file of the world."""
    path = world.folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "lookback_days:",
            "lookback_day:",
            r"unknown key 'lookback_day' in targets\.churn\. Did you mean 'lookback_days'\?",
        ),
        ("  invoices:", "  invoicees:", r"unknown table 'invoicees' in tables\. Did you mean 'invoices'\?"),
        (
            "kind: churn",
            "kind: leave",
            r"key 'targets\.churn\.kind' is 'leave': Input should be 'conversion', 'churn' or 'value'\.",
        ),
        ("seed: 7", "seed: seven", r"key 'seed' is 'seven': Input should be a valid integer, .*\."),
        ("source:\n", "source: [\n", r"not valid YAML: .*\."),
    ],
)
def test_a_config_that_cannot_be_used(world: World, old: str, new: str, expected: str):
    edit(world, old, new)
    (state,) = (world.folder / "state").iterdir()
    before = {path: path.stat().st_mtime_ns for path in state.rglob("*")}
    for command in ("run", "score"):
        answer = world.run(command)
        assert (answer.code, answer.out) == (2, "")
        assert re.fullmatch(f"Error: {re.escape(CONFIG)}: {expected}\n", answer.err)
    assert {path: path.stat().st_mtime_ns for path in state.rglob("*")} == before


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("quantity FROM orders", "quantity FROM order_lines", r".*orders.*no such table: order_lines.*"),
        ("SELECT order_id, occurred_at", "SELEC order_id, occurred_at", r".*orders.*"),
        ("SELECT now FROM clock", "SELECT later FROM clock", r".*no such column: later.*"),
    ],
)
def test_a_select_that_fails(world: World, old: str, new: str, expected: str):
    edit(world, old, new)
    check(world, "run", 2, expected)


def test_an_empty_customers_table(world: World):
    world.sql("DELETE FROM customers")
    before = world.fingerprint()
    answer = world.run("run")
    assert answer.code == 3
    step, *problems = answer.err.splitlines()
    assert step.startswith("step=extract ")
    assert "Table 'customers'" in problems[0]
    assert all(line.startswith(("Error: Table '", "Table '")) for line in problems)
    assert world.fingerprint() == before


def test_a_table_that_lost_half_of_its_rows_overnight(world: World):
    world.sql("DELETE FROM orders WHERE rowid % 5 < 3")
    check(
        world,
        "run",
        3,
        r"Table 'orders': [\d,]+ rows, where the tables that are stored have [\d,]+: a loss of 60 %, and "
        r"source\.shrink_share stops at 50 %\. .* go on with `leadsieve extract --accept-shrink`\.",
    )
    assert world.run("extract", "--accept-shrink").code == 0
    assert world.run("run").code == 0  # the nightly job goes on from there


def test_a_column_that_the_source_no_longer_has(world: World):
    world.sql("ALTER TABLE orders DROP COLUMN cost")
    check(world, "run", 2, r"tables\.orders\.select fails: .*no such column: cost.* Correct the SELECT\.")


def test_a_clock_that_went_back(world: World):
    world.sql("UPDATE clock SET now = datetime(now, '-1 hour')")
    before = world.fingerprint()
    answer = world.run("run")
    assert answer.code == 3
    assert "the clock of the source went back. Correct that clock or source.data_end, or begin anew" in answer.err
    assert world.fingerprint() == before


def test_a_bad_row_is_held_back_and_the_job_goes_on(world: World):
    ((order_id,),) = world.sql("SELECT order_id FROM orders ORDER BY rowid LIMIT 1")
    world.sql(f"UPDATE orders SET amount = 'n/a' WHERE order_id = '{order_id}'")
    assert world.run("run").code == 0
    header, line = (world.state / "quarantine" / "orders.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("reason,order_id,occurred_at")
    assert line.startswith(f"amount cannot be read,{order_id},")
    world.sql(f"UPDATE orders SET amount = 12.5 WHERE order_id = '{order_id}'")
    assert world.run("extract").code == 0
    assert not (world.state / "quarantine" / "orders.csv").exists()


def test_no_positive_label(world: World):
    edit(
        world,
        "closed_at_known_at, outcome,",
        "closed_at_known_at, CASE WHEN outcome = 'won' THEN 'lost' ELSE outcome END AS outcome,",
    )
    assert world.run("extract").code == 0
    check(
        world,
        "train",
        3,
        r"The [\d,]+ ripe rows of target 'conversion' hold only label 0, expected both 0 and 1\. Check .*",
    )


def test_a_single_snapshot(world: World):
    world.change_config(**CHURN_ONLY, targets__churn__spine__start="2025-04-01")  # 2025-05-01 is not ripe
    check(
        world,
        "train",
        3,
        r"All ripe rows are of one snapshot, expected at least two: one to train on and a later one to test\. .*",
    )


def test_a_crm_that_is_down(world: World):
    (world.folder / "crm.db").unlink()
    check(world, "run", 4, r".*SQLite file crm\.db does not exist.*")
    assert not (world.folder / "crm.db").exists()


def test_a_crm_that_is_no_database(world: World):
    (world.folder / "crm.db").write_bytes(b"half a page of something else\n" * 100)
    check(world, "run", 4, r".*SQLite file crm\.db.*file is not a database.*")


def test_a_crm_whose_address_leads_nowhere(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CRM_URL", "sqlite:////nowhere/at/all/crm.db")
    world.change_config(source__url_env="CRM_URL", write_back__url_env="CRM_URL")
    check(world, "run", 4, r".*/nowhere/at/all/crm\.db.*")


def test_a_half_written_table(world: World):
    (path,) = (world.state / "tables").glob("orders-*.parquet")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    sentence = (
        r"Table 'orders': .*orders-\w+\.parquet has [\d,]+ bytes, expected [\d,]+: .* Run `leadsieve extract` again\."
    )
    for command in ("score", "train", "features list"):
        check(world, command, 3, sentence)
    assert world.run("extract").code == 0  # does what the sentence says
    assert path.read_bytes() == content


def bundles(world: World) -> list[Path]:
    return sorted((world.state / "bundles").iterdir())


def break_bundle(world: World, how: str) -> None:
    """Change every bundle of a world."""
    for bundle in bundles(world):
        if how == "manifest":
            (bundle / "manifest.json").write_bytes((bundle / "manifest.json").read_bytes() + b" ")
        elif how == "no manifest":
            (bundle / "manifest.json").unlink()
        elif how == "no file":
            (bundle / "model.json").unlink()
        else:
            content = bytearray((bundle / "model.json").read_bytes())
            content[len(content) // 2] ^= 1
            (bundle / "model.json").write_bytes(content)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("one bit", r".*/model\.json.* was changed after it was saved\. Restore the bundle from the registry.*"),
        (
            "manifest",
            r".*/manifest\.json has hash \w{12}, expected \w{12}: .* not the bundle that was registered\. .*",
        ),
        ("no manifest", r".*manifest\.json is missing.*"),
        ("no file", r".*model\.json is missing from the bundle\. .*"),
    ],
)
def test_a_tampered_bundle(world: World, how: str, expected: str):
    world.change_config(seed=8)  # a run of its own, so that there is something to compute
    break_bundle(world, how)
    check(world, "score", 3, expected)
    assert [path.name for path in (world.state / "runs").iterdir()] == [
        run_id for (run_id,) in world.sql("SELECT run_id FROM runs WHERE state = 'done'", file="state/small/ledger.db")
    ]


def test_a_model_is_checked_also_when_there_is_nothing_to_compute(world: World):
    break_bundle(world, "one bit")
    check(world, "run", 3, r".*/model\.json.* was changed after it was saved\. Restore the bundle from the registry.*")


def test_a_table_that_the_model_needs_and_that_is_no_longer_mapped(world: World):
    world.change_config(tables__activities=None)
    assert world.run("extract").code == 0
    check(
        world, "score", 3, r"Target 'conversion': column '\w*activities_\w+' is missing from the \d+ rows to score; .*"
    )
    with open_ledger(world.state / "ledger.db") as ledger:
        newest, first = ledger.runs()
    assert (newest.state, first.state) == ("failed", "done")
    assert "is missing from the" in newest.details["error"]


def test_a_target_that_was_never_trained(world: World):
    world.change_config(targets__lost={"kind": "conversion", "horizons_days": [30], "spine": {"grid": "month"}})
    check(world, "score", 2, r"Target 'lost' has no champion model\. Run `leadsieve train` first\.")


def test_a_command_before_the_first_extract(world: World):
    world.change_config(name="other")
    for command in ("score", "train", "features list"):
        answer = world.run(command)
        assert answer.code == 3
        assert re.fullmatch(
            r"Error: No extracted tables in state/other/tables: manifest\.json is missing\. "
            r"Run `leadsieve extract` first\.\n",
            answer.err,
        )


def test_a_misspelt_feature_in_the_scorecard(world: World):
    card = "configs/scorecards/starter_deal.yaml"
    edit(world, "feature: deal_amount", "feature: deal_amout", card)
    check(
        world, "score", 2, rf"{re.escape(card)}: unknown feature 'deal_amout' in 'value'\. Did you mean 'deal_amount'\?"
    )


def test_a_field_that_the_crm_does_not_have(world: World):
    world.change_config(write_back__tables__churn__fields={"churn_rist": "probability"})
    check(world, "writeback apply", 2, r".*'churn_rist'.* Did you mean 'churn_risk'\?")


def test_a_second_job_while_one_runs(world: World):
    program = (
        "import sys; from pathlib import Path; from pipeline.lock import hold_lock\n"
        "with hold_lock(Path('state/small'), 'run'): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=world.folder, env={"PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as job:  # fmt: skip
        assert job.stdout is not None
        assert job.stdout.readline() == "held\n"
        for command in ("run", "extract", "train", "score", "demo", "writeback apply"):
            check(
                world,
                command,
                5,
                rf"Another job of this deployment is running: 'run', process {job.pid}, since .* Wait until .*",
            )
        assert world.run("writeback status").code == 0  # reading needs no lock
        job.communicate("")
    assert world.run("score").code == 0
