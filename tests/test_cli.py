"""The command line: help, errors in one sentence, exit codes, and nothing imported that is not needed."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import typer
from small_crm import CONFIG, ROOT, World, run_cli, write_configs

from features.errors import DataError
from models.errors import BundleError, ScorecardError
from pipeline.cli import make_app
from pipeline.commands.options import print_json
from pipeline.errors import DEFECT, EXIT_CODES, ConfigError, CrmError, GateError, LockError


def walk(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """All commands below one, each with the words that call it."""
    inner = getattr(command, "commands", {})
    if not inner:
        yield path, command
    for name, one in inner.items():
        yield from walk(one, (*path, name))


COMMANDS = dict(walk(typer.main.get_command(make_app())))


def python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, from where it may import; ours come after it."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_the_commands_are_those_of_the_nightly_job_and_of_its_preparation():
    assert {" ".join(path) for path in COMMANDS} == {
        "init", "demo", "simulate", "extract", "check", "train", "evaluate", "retrain", "promote", "rollback",
        "history", "score", "run", "explain", "customer", "override", "report", "review", "forget",
        "features list", "features describe", "features show",
        "scorecard check", "scorecard score", "scorecard explain", "scorecard propose",
        "writeback plan", "writeback apply", "writeback undo", "writeback status", "crm install",
    }  # fmt: skip


@pytest.mark.parametrize("path", [*COMMANDS, (), ("features",), ("scorecard",), ("writeback",), ("crm",)], ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]):
    answer = run_cli(*path, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"Usage: {' '.join(['leadsieve', *path])} ")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_is_documented_and_reports_in_json(path: tuple[str, ...]):
    command = COMMANDS[path]
    assert len(command.help) > 30
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    assert [one.name for one in options if not one.help] == []
    if path not in [("init",), ("demo",)]:  # these two are for people
        assert "as_json" in {one.name for one in options}


def test_help_imports_only_what_it_needs():
    heavy = {"duckdb", "ibis", "lightgbm", "matplotlib", "mlflow", "numpy", "pandas", "pyarrow", "scipy", "sqlalchemy"}
    program = (
        "import sys; from pipeline.cli import main; sys.argv = ['leadsieve', '--help']\n"
        f"try: main()\nfinally: print('imported', *sorted({heavy} & sys.modules.keys()))"
    )
    ran = python(program, ROOT)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Usage: leadsieve" in ran.stdout
    assert ran.stdout.endswith("imported\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("trian",), "Error: No such command 'trian'. Did you mean 'train', 'retrain'?\n"),
        (("train",), "Error: Missing option '--config' / '-c'.\n"),
        (("train", "--config"), "Error: Option '--config' requires an argument.\n"),
        (("features",), "Usage: leadsieve features "),
    ],
)
def test_a_command_that_cannot_be_understood_ends_with_code_2(arguments: tuple[str, ...], expected: str):
    answer = run_cli(*arguments)
    assert answer.code == 2
    assert expected in answer.err + answer.out


def test_a_config_that_is_not_there_is_named():
    answer = run_cli("run", "--config", "nowhere.yaml")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "Error: nowhere.yaml: cannot be read (No such file or directory). Pass an existing file with --config.\n"
    )


def test_a_typo_in_the_config_names_the_nearest_key_and_shows_no_traceback(tmp_path: Path):
    world = write_configs(tmp_path)
    path = tmp_path / CONFIG
    path.write_text(path.read_text(encoding="utf-8").replace("horizons_days: [90]", "horizon_days: [90]", 1))
    for command in ("extract", "train", "score", "run", "features list", "writeback status", "demo"):
        answer = world.run(command)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err == (
            f"Error: {CONFIG}: unknown key 'horizon_days' in targets.conversion. Did you mean 'horizons_days'?\n"
        )
    assert not (tmp_path / "state").exists()


def raise_in_command(error: Exception, *options: str):
    """Run a command in which something goes wrong."""
    with patch("pipeline.commands.extract.load_config", side_effect=error):
        return run_cli(*options, "extract", "--config", "any.yaml")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (GateError, 1),
        (ConfigError, 2),
        (ScorecardError, 2),
        (DataError, 3),
        (BundleError, 3),
        (CrmError, 4),
        (LockError, 5),
    ],
)
def test_each_error_of_ours_is_its_sentence_and_has_its_exit_code(kind: type[Exception], code: int):
    answer = raise_in_command(kind("Table 'x': 3 rows too many. Remove them."))
    assert (answer.code, answer.out, answer.err) == (code, "", "Error: Table 'x': 3 rows too many. Remove them.\n")
    assert set(EXIT_CODES) == {GateError, ConfigError, ScorecardError, DataError, BundleError, CrmError, LockError}


def test_debug_shows_a_traceback_and_the_sentence():
    answer = raise_in_command(DataError("Nothing here."), "--debug")
    assert answer.code == 3
    assert answer.err.startswith("Traceback (most recent call last):")
    assert answer.err.endswith("Error: Nothing here.\n")
    assert "Traceback" not in raise_in_command(DataError("Nothing here.")).err


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            KeyError("x"),
            "unexpected KeyError: 'x'. This is a defect of leadsieve: report what `leadsieve --debug COMMAND",
        ),
        (OSError(28, "No space left on device", "state/x"), "No space left on device (state/x). Put that right, then "),
        (
            PermissionError(13, "Permission denied"),
            "Permission denied. Put that right, then run the same command again.",
        ),
    ],
)
def test_what_nobody_foresaw_is_no_gate_that_said_no(error: Exception, expected: str):
    answer = raise_in_command(error)
    assert (answer.code, answer.out) == (DEFECT, "")
    assert DEFECT not in {0, *EXIT_CODES.values()}
    assert answer.err.startswith(f"Error: {expected}")
    assert answer.err.count("\n") == 1


MAIN = "import sys; sys.argv = ['leadsieve', '--help']; from pipeline.cli import main; main()"


@pytest.mark.parametrize("name", ["features", "models"])
@pytest.mark.parametrize("is_module", [True, False], ids=["module", "package"])
def test_a_package_of_another_project_is_named_before_it_is_used(tmp_path: Path, name: str, is_module: bool):
    place = tmp_path / f"{name}.py" if is_module else tmp_path / name / "__init__.py"
    place.parent.mkdir(exist_ok=True)
    place.write_text("raise RuntimeError('imported')\n", encoding="utf-8")
    ran = python(MAIN, tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    found = place if is_module else place.parent
    assert re.fullmatch(
        f"Error: package '{name}' comes from {re.escape(str(found))}, expected {re.escape(str(ROOT / name))}\\. "
        "Install leadsieve in an environment of its own, .*\n",
        ran.stderr,
    )


def test_a_package_that_is_missing_is_named():
    with patch("importlib.util.find_spec", return_value=None):
        answer = run_cli("--help")
    assert answer.code == 2
    assert answer.err.startswith(f"Error: package 'features' is not there, expected {ROOT / 'features'}. ")


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("extract", {"changed", "data_end", "tables"}),
        ("extract --dry-run", {"mistakes", "problems"}),
        ("score", {"run_id", "folder", "is_new", "rows"}),
        ("writeback plan", {"run", "tables", "refused"}),
        ("writeback apply", {"run", "rows", "tables"}),
        ("writeback status", {"runs", "problems"}),
    ],
)
def test_json_is_one_document_on_stdout(world: World, command: str, keys: set[str]):
    answer = world.run(command, "--json")
    assert answer.err == ""
    assert keys <= set(answer.document)


def test_numbers_that_json_does_not_have_are_null(capsys: pytest.CaptureFixture[str]):
    print_json({"a": [math.nan, 1.5], "b": (math.inf, {"c": -math.inf}), "d": Path("x")})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "a": [None, 1.5], "b": [None, {"c": None}], "d": "x",
    }  # fmt: skip
