"""What the README says is so: commands and options, tables, config keys, defaults and exit codes."""

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from features.tables import TABLES
from pipeline import config_schema as configs
from pipeline.cli import make_app
from pipeline.commands.demo import TITLES
from pipeline.config_source import OdooModel
from pipeline.config_write_back import FieldMap, FollowUps, ScoreHistory, WriteBack
from pipeline.errors import DEFECT, EXIT_CODES
from pipeline.field_values import SCORE_VALUES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

SECTIONS: Mapping[str, type[configs.Section]] = {
    "The file": configs.Config,
    "`source`": configs.Source,
    "`source.models.<model>`": OdooModel,
    "`tables.<table>`": configs.TableMapping,
    "`targets.<target>`": configs.Target,
    "`targets.<target>.spine`": configs.Spine,
    "`targets.<target>.profit`": configs.Profit,
    "`write_back`": WriteBack,
    "`write_back.tables.<target>`": FieldMap,
    "`write_back.history`": ScoreHistory,
    "`write_back.follow_ups`": FollowUps,
    "`mlflow`": configs.MlflowPlace,
    "`capacity`": configs.Capacity,
    "`retrain`": configs.Retrain,
    "`value_classes`": configs.ValueClasses,
    "`report`": configs.Report,
    "`targets.<target>.grading`": configs.Grading,
}


def find_blocks(language: str, mark: str = "") -> list[str]:
    """Fenced blocks of a language; with a mark only the one that follows `<!-- mark -->`."""
    before = rf"<!-- {re.escape(mark)} -->\n" if mark else ""
    return re.findall(rf"{before}```{language}\n(.*?)```", README, re.DOTALL)


def find_table(heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its own heading row."""
    section = README[re.search(rf"^#+ {re.escape(heading)}\n", README, re.MULTILINE).end() :]  # type: ignore[union-attr]
    lines = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)[0].splitlines()[2:]  # type: ignore[index]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]


def find_code() -> str:
    """All that stands in code, one piece per line; commands that go on in the next line are joined."""
    fenced = re.findall(r"```\w*\n(.*?)```", README, re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
    return "\n".join([*fenced, *inline]).replace("\\\n", " ")


def find_command_lines() -> list[str]:
    """Arguments of every `leadsieve COMMAND ...` in code; optional parts count, redirections do not."""
    found = re.findall(r"(?<![\w-])leadsieve ((?:--debug )?[a-z][^\n]*)", find_code())
    lines = [re.split(r"\s(?:#|>>|\||&&)\s?|$", line)[0].replace("[", "").replace("]", "").strip() for line in found]
    return sorted({line for line in lines if not line.startswith("--debug COMMAND")})


def leaves(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name."""
    if hasattr(command, "commands"):
        for word, below in command.commands.items():
            yield from leaves(below, f"{name} {word}".strip())
    else:
        yield name, command


COMMANDS = dict(leaves(typer.main.get_command(make_app())))


def split_line(line: str) -> tuple[str, list[str]]:
    """Name of the command and the rest."""
    words = shlex.split(line)
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    return name, words[len(name.split()) :]


def test_there_are_command_lines_to_check() -> None:
    assert len(find_command_lines()) > 25
    assert "run --config configs/mycrm.yaml" in find_command_lines()


@pytest.mark.parametrize("line", find_command_lines())
def test_every_command_line_has_a_command_and_options_that_exist(line: str) -> None:
    name, rest = split_line(line)
    assert name in COMMANDS
    command = COMMANDS[name]
    with command.context_class(command) as context:
        _, left, _ = command.make_parser(context).parse_args(args=list(rest))  # an unknown option raises
    assert left == []


def test_command_lines_to_copy_lack_nothing_that_is_required() -> None:
    lacking = []
    for line in find_command_lines():
        name, rest = split_line(line)
        required = [param for param in COMMANDS[name].params if param.required and param.param_type_name == "option"]
        if rest and not all(set(param.opts) & set(rest) for param in required):
            lacking.append(line)
    assert lacking == []


def test_every_command_is_in_the_table_of_commands_and_no_other() -> None:
    names = [
        split_line(row[0].strip("`").removeprefix("leadsieve ").replace("[", ""))[0] for row in find_table("Commands")
    ]
    assert sorted(names) == sorted(COMMANDS)


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    rows = {int(code): re.findall(r"`(\w+Error)`", raised) for code, _, _, raised in find_table("Exit codes")}
    by_code: dict[int, list[str]] = {0: [], DEFECT: []}
    for kind, code in EXIT_CODES.items():
        by_code.setdefault(code, []).append(kind.__name__)
    assert rows == by_code


def test_every_make_target_that_is_named_exists_and_every_one_is_named() -> None:
    rules = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)", find_code(), re.MULTILINE))
    assert named <= rules
    assert {row[0].strip("`").removeprefix("make ") for row in find_table("Working on the code")} == rules - {"help"}


def test_every_section_of_the_config_is_explained() -> None:
    assert set(SECTIONS.values()) == set(configs.Section.__subclasses__())


@pytest.mark.parametrize(("heading", "section"), SECTIONS.items())
def test_the_reference_has_every_key_of_the_config_with_its_default(
    heading: str, section: type[configs.Section]
) -> None:
    table = find_table(heading)
    assert all(meaning for _, _, meaning in table)
    rows = [(key.strip("`"), default) for key, default, _ in table]
    assert rows == [(name, show_default(field)) for name, field in section.model_fields.items()]


def show_default(field: Any) -> str:
    if field.is_required():
        return "required"
    if field.default is None:
        return "none"
    if field.default in ((), {}) or isinstance(field.default, configs.Section):
        return "empty"
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def test_the_tables_have_all_columns_with_the_required_ones_first_and_bold() -> None:
    told = {name.strip("`"): columns.split(", ") for name, columns in find_table("Tables")}
    assert told == {
        name: [f"**{column}**" for column in spec.required] + [c for c in spec.columns if c not in spec.required]
        for name, spec in TABLES.items()
    }


def test_every_score_value_that_a_field_can_hold_is_named() -> None:
    named = re.search(r"A field can hold (.*?)\.", README, re.DOTALL)
    assert named is not None
    assert sorted(re.findall(r"`(\w+)`", named[1])) == sorted(SCORE_VALUES)


def test_every_file_that_is_linked_or_named_exists() -> None:
    linked = re.findall(r"\]\((?!http|#)([^)]+)\)", README)
    named = re.findall(r"`((?:configs|features|notebooks|\.ci)/[\w./]+)`", README)
    own = {"configs/shop.yaml", "configs/mycrm.yaml"}
    assert [name for name in {*linked, *named} - own if not (ROOT / name).exists()] == []
    assert len(linked) >= 3


def test_every_link_within_the_readme_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", README, flags=re.DOTALL), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) - anchors == set()


def test_the_output_of_the_demo_is_that_of_the_default_demo() -> None:
    [shown] = find_blocks("text", "demo: begin (output of `make demo`)")
    for title in TITLES.values():
        assert title.format(n=10) in shown
    assert "a CRM of 5,000 customers" in shown
    assert "Where to look next" in shown


def test_the_scripts_in_the_readme_are_valid_shell() -> None:
    for script in find_blocks("sh"):
        ran = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert ran.stderr == ""
