"""`leadsieve demo`: the whole flow on a simulated CRM, and what it shows at the end."""

import re
import shlex

import pytest
from kill_run import hash_tables
from small_crm import CONFIG, CUSTOMERS, Answer, World, only_candidates

DEALS, CUSTOMERS_AT_RISK = "The 10 best open deals", "The 10 customers most at risk"


def rows_below(answer: Answer, title: str) -> list[str]:
    """Lines of the table below a title, header left out, one per row."""
    block = answer.out.split(title)[1].split("\n\n")[0]
    return [line for line in block.splitlines() if re.match(r"[CD]\d{7}", line)]


@pytest.mark.parametrize("title", [DEALS, CUSTOMERS_AT_RISK])
def test_ten_of_each_are_shown_with_grade_probability_and_reasons(demo_answer: tuple[World, Answer], title: str):
    told = [re.match(r"\S+ +(\w+) +(\d+\.\d)% +([+−] .*\w)", row) for row in rows_below(demo_answer[1], title)]
    assert len(told) == 10
    assert all(told)
    shares = [float(match[2]) for match in told if match]
    assert shares == sorted(shares, reverse=True)
    assert {match[1] for match in told if match} <= {"priority", "nurture", "hold", "drop"}


def test_every_step_is_told_with_the_seconds_since_the_beginning(demo_answer: tuple[World, Answer]):
    steps = re.findall(r"^\[ *\d+\.\d s\] (.*)$", demo_answer[1].out, re.MULTILINE)
    expected = [
        f"simulated a CRM of {CUSTOMERS} customers into crm.db",
        r"extracted [\d,]+ rows of 11 tables, data until 2025-06-30 22:00:00 \(UTC\)",
        "registered version 1 of small-conversion as champion",
        "registered version 1 of small-churn as champion",
        r"scored \d+ open deals and customers as run score-20250630-[0-9a-f]{12}",
        r"wrote (\d+) changed records into the CRM's own tables",
        "wrote the pages for people: state/small/report/index.html",
    ]
    assert len(steps) == len(expected)
    assert all(re.fullmatch(pattern, step) for pattern, step in zip(expected, steps, strict=True)), steps


def test_what_is_shown_is_what_the_crm_has(demo_answer: tuple[World, Answer]):
    world, answer = demo_answer
    for title, query in (
        (DEALS, "SELECT lead_grade, lead_score FROM deals WHERE deal_id = ?"),
        (CUSTOMERS_AT_RISK, "SELECT churn_grade, churn_risk FROM customers WHERE customer_id = ?"),
    ):
        entity, grade, probability = rows_below(answer, title)[0].split()[:3]
        ((crm_grade, crm_score),) = world.sql(query, entity)
        assert crm_grade == grade
        assert float(probability.rstrip("%")) == pytest.approx(100 * crm_score, abs=0.06)  # the CRM has four decimals


def test_the_last_lines_are_commands_that_work(demo_answer: tuple[World, Answer], world: World):
    tips = dict(re.findall(r"^  (\w[^:]*): +(\S.*)$", demo_answer[1].out.split("Where to look next")[1], re.MULTILINE))
    assert list(tips) == [
        "the values behind a reason", "what was written, and undo", "the nightly job", "model versions and plots",
    ]  # fmt: skip
    for tip in list(tips.values())[:2]:
        words = shlex.split(tip)
        assert (words[0], words[words.index("-c") + 1]) == ("leadsieve", CONFIG)
        assert world.run(" ".join(words[1:3]), *words[words.index("-c") + 2 :]).code == 0
    assert tips["the nightly job"] == f"leadsieve run -c {CONFIG}"
    assert "mlflow ui" in tips["model versions and plots"]
    assert tips["model versions and plots"].endswith("sqlite:///state/small/mlflow.db")


def test_a_second_demo_starts_from_a_new_crm_and_ends_like_the_first(demo_answer: tuple[World, Answer], world: World):
    before = hash_tables(world.folder / "crm.db")
    best = rows_below(demo_answer[1], DEALS)
    with only_candidates("base_rate"):  # finds no signal, so the first demo's models stay
        again = world.run("demo", "--customers", str(CUSTOMERS))
    assert again.code == 0, again.err
    assert "nothing beats the base rate for conversion, so no model was registered" in again.out
    assert rows_below(again, DEALS) == best
    assert hash_tables(world.folder / "crm.db") == before


def test_a_crm_that_is_not_simulated_is_left_alone(world: World):
    world.sql("UPDATE clock SET made_by = 'somebody'")
    before = world.fingerprint()
    answer = world.run("demo", "--customers", str(CUSTOMERS))
    assert answer.code == 2
    assert "holds something that `leadsieve simulate` did not write" in answer.err
    assert world.fingerprint() == before


@pytest.mark.parametrize(
    "change", [{"write_back__sqlite": "another.db"}, {"source__url_env": "CRM_URL"}, {"source__sqlite": "another.db"}]
)
def test_a_config_that_does_not_write_where_it_reads_is_no_demo(world: World, change: dict[str, str]):
    world.change_config(**change)
    answer = world.run("demo")
    assert answer.code == 2
    assert "Set source.sqlite and write_back.sqlite to one file, and no url_env." in answer.err
