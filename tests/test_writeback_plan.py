"""What a plan leaves out, who owns a field, and the plan as a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from crm_world import FIELDS, make_config, make_crm, make_scores, open_run, read_deals, run_sql
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.adapters.target import TargetField
from pipeline.commands.writeback import app
from pipeline.config import Config, FieldMap
from pipeline.crm import open_crm
from pipeline.errors import ConfigError
from pipeline.field_columns import build_values, round_numbers
from pipeline.field_values import check_write_back
from pipeline.plan_file import load_plan, save_plan
from pipeline.write_plan import TablePlan, make_plan
from pipeline.write_report import WriteReport
from pipeline.writeback import undo_run, write_back

EMPTY = [(1, "Ann", None, None, None), (2, "Bob", None, None, None)]
Row = tuple[str, float | None, str | None, Sequence[str]]


def with_epsilon(folder: Path, epsilon: float, fields: dict[str, str] = FIELDS) -> Config:
    mapping = {"target": "deals", "key": "deal_id", "fields": fields, "epsilon": epsilon}
    return make_config(folder, tables={"conversion": mapping})


def write(config: Config, run_id: str, *rows: Row) -> WriteReport:
    with open_run(config, run_id) as ledger:
        return write_back(config, ledger, make_scores(run_id, rows), run_id)


def plan(config: Config, run_id: str, *rows: Row) -> TablePlan:
    with open_run(config, run_id) as ledger, open_crm(config) as crm:
        return make_plan(config, ledger, crm, make_scores(run_id, rows), run_id).tables[0]


@pytest.mark.parametrize(
    ("row", "written"),
    [
        (("1", 0.5049, "A", ["x"]), False),  # 0.0049 is less than 0.005
        (("1", 0.505, "A", ["x"]), True),  # as much as epsilon is no less
        (("1", 0.5, "A", ["y"]), False),  # reasons alone do not count
        (("1", 0.5049, "A", ["y"]), False),
        (("1", 0.5001, "B", ["x"]), True),  # another grade is another action
        (("1", None, "A", ["x"]), True),  # from a number to none
    ],
)
def test_a_record_that_changes_by_less_than_epsilon_is_skipped_as_a_whole(
    crm_folder: Path, row: Row, written: bool
) -> None:
    make_crm(crm_folder, EMPTY)
    config = with_epsilon(crm_folder, 0.005)
    write(config, "r1", ("1", 0.5, "A", ["x"]), ("2", 0.5, "A", ["x"]))
    report = write(config, "r2", row, ("2", 0.5, "A", ["x"]))
    assert (report.tables[0].updated, report.tables[0].skipped) == (written, not written)
    assert read_deals(crm_folder)[0] == ((1, row[1], row[2], "; ".join(row[3])) if written else (1, 0.5, "A", "x"))


def test_small_changes_add_up_until_they_are_written(tmp_path: Path) -> None:
    make_crm(tmp_path, EMPTY)
    config = with_epsilon(tmp_path, 0.01)
    for night, (probability, stored) in enumerate([(0.5, 0.5), (0.506, 0.5), (0.512, 0.512)]):
        write(config, f"r{night}", ("1", probability, "A", []))
        assert read_deals(tmp_path)[0][1] == stored  # always compared with what the CRM has


def test_as_of_and_run_id_alone_are_no_reason_to_write(tmp_path: Path) -> None:
    make_crm(tmp_path, EMPTY)
    config = with_epsilon(tmp_path, 0.01, {"score": "probability", "grade": "run_id", "why": "as_of"})
    write(config, "r1", ("1", 0.5, "A", []))
    assert write(config, "r2", ("1", 0.509, "A", [])).tables[0].skipped == 1
    assert write(config, "r3", ("1", 0.6, "A", [])).tables[0].fields == 2
    assert read_deals(tmp_path)[0] == (1, 0.6, "r3", "2024-05-01 00:00:00")


def test_an_epsilon_skips_neither_a_first_score_nor_an_undo(tmp_path: Path) -> None:
    make_crm(tmp_path, [(1, "Ann", 0.4999, "A", "x")])
    config = with_epsilon(tmp_path, 0.01)
    assert write(config, "r1", ("1", 0.5, "B", ["x"])).records == 1
    with open_run(config) as ledger:
        undo_run(config, ledger, "r1")
    assert read_deals(tmp_path) == [(1, 0.4999, "A", "x")]


def test_a_field_that_is_not_ours_is_refused_with_the_remedy(tmp_path: Path) -> None:
    config = make_config(tmp_path, owned_fields={"deals": ["score", "why"], "others": ["grade"]})
    with pytest.raises(
        ConfigError,
        match=r"write_back\.tables\.conversion\.fields: field 'grade' of 'deals' is not one of ours\. If nobody else "
        r"writes it, add it: write_back\.owned_fields: \{deals: \[score, why, grade\]\}\.",
    ):
        check_write_back(config)


def test_a_table_of_our_own_needs_no_owner(tmp_path: Path) -> None:
    config = make_config(tmp_path, owned_fields={}, insert_missing=True)
    assert check_write_back(config).owned_fields == {}


def test_a_run_whose_field_is_no_longer_ours_is_not_undone(tmp_path: Path) -> None:
    make_crm(tmp_path, EMPTY)
    config = make_config(tmp_path)
    write(config, "r1", ("1", 0.5, "A", ["x"]))
    fewer = make_config(tmp_path, {"score": "probability"})
    with (
        open_run(fewer) as ledger,
        pytest.raises(ConfigError, match=r"'r1' wrote 'deals\.grade', which write_back\.owned_fields does not name"),
    ):
        undo_run(fewer, ledger, "r1")


def test_a_plan_is_stored_with_old_and_new_values_and_what_was_left_alone(tmp_path: Path) -> None:
    make_crm(tmp_path, [*EMPTY, (3, "Cy", None, None, None)])
    config = make_config(tmp_path)
    write(config, "r1", ("1", 0.1, "A", ["x"]), ("2", 0.2, "B", ["y"]))
    run_sql(tmp_path, "UPDATE deals SET grade = 'mine' WHERE deal_id = 2")
    rows: list[Row] = [("1", 0.1, "A", ["x"]), ("2", 0.5, "C", ["y"]), ("9", 0.3, None, ["逾期"])]
    with open_run(config, "r2") as ledger, open_crm(config) as crm:
        path = save_plan(config, make_plan(config, ledger, crm, make_scores("r2", rows), "r2"))
    stored = pd.read_parquet(path).astype(object).where(lambda frame: frame.notna(), None)
    assert [tuple(row) for row in stored.to_numpy().tolist()] == [
        ("conversion", "deals", "2", "score", "update", "0.2", "0.5", None),
        ("conversion", "deals", "2", "grade", "conflict", '"mine"', '"C"', "we wrote 'B', found 'mine'"),
        ("conversion", "deals", "9", "score", "missing", None, "0.3", "the record does not exist"),
        ("conversion", "deals", "9", "grade", "missing", None, None, "the record does not exist"),
        ("conversion", "deals", "9", "why", "missing", None, '"逾期"', "the record does not exist"),
    ]
    assert [one.name for one in path.parent.iterdir()] == ["write_plan.parquet"]  # nothing is left beside it
    assert load_plan(config, "r9") is None


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Run a command on two deals with scores of run r1."""
    make_crm(tmp_path, EMPTY)
    config = make_config(tmp_path)
    (tmp_path / "demo.yaml").write_text(config.model_dump_json(), encoding="utf-8")
    with open_run(config, "r1") as ledger:
        ledger.replace_scores("r1", make_scores("r1", [("1", 0.1, "A", ["x"]), ("2", 0.2, "B", ["y"])]))
    return lambda *words: CliRunner().invoke(app, [*words, "--config", str(tmp_path / "demo.yaml")])


def test_apply_says_what_the_crm_has_changed_since_the_plan(tmp_path: Path, run: Any) -> None:
    assert f"Every change is in {tmp_path / 'demo' / 'runs' / 'r1' / 'write_plan.parquet'}" in run("plan").stdout
    run_sql(tmp_path, "UPDATE deals SET grade = 'gold', why = 'x' WHERE deal_id = 1")
    said = json.loads(run("apply", "--json").stdout)
    assert said["notes"][0].startswith("The CRM has changed since the plan of ")
    assert said["notes"][0].endswith(" UTC: 2 values are decided otherwise now.")  # another old value; nothing to do
    assert read_deals(tmp_path)[0] == (1, 0.1, "A", "x")
    assert json.loads(run("apply", "--json").stdout)["notes"] == []  # what it has written itself is no change


def test_apply_says_nothing_of_a_plan_that_still_holds_or_was_not_made(tmp_path: Path, run: Any) -> None:
    run("plan")
    assert json.loads(run("apply", "--json").stdout)["notes"] == []
    run_sql(tmp_path, "UPDATE deals SET grade = NULL")
    assert json.loads(run("apply", "--json").stdout)["notes"] == []


def test_a_config_without_tables_plans_and_writes_nothing(tmp_path: Path) -> None:
    make_crm(tmp_path, EMPTY)
    config = make_config(tmp_path, tables={})
    report = write(config, "r1", ("1", 0.1, "A", []))
    assert (report.tables, report.records) == ((), 0)
    report.check()


def test_what_a_crm_has_in_place_of_null_is_what_is_compared(tmp_path: Path) -> None:
    mapping = FieldMap(target="deals", key="deal_id", fields={"p": "probability", "at": "as_of"})
    fields = {"p": TargetField("p", "number", empty=0.0), "at": TargetField("at", "time", decimals=0)}
    scores = make_scores("r1", [("1", None, "A", []), ("2", 0.5, "A", [])])
    scores["as_of"] = pd.Timestamp("2024-05-01 10:00:00.999999")
    wanted = build_values(scores, "conversion", 90, mapping, fields)
    assert (wanted.ids, wanted.columns["p"]) == (["2", "1"], [0.5, 0.0])
    assert wanted.columns["at"] == ["2024-05-01 10:00:00"] * 2


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 12))
@example(2.675, 2)  # 2.67499999999999982236431605997495353221893310546875
@example(0.00005, 4)  # 5.00000000000000023960868011929E-5
@example(0.5, 0)
@example(1e300, 12)
def test_many_numbers_are_rounded_as_one_is(number: float, digits: int) -> None:
    [rounded] = round_numbers(np.array([number]), digits).tolist()
    assert rounded == round(number, digits)
