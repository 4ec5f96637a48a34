"""The files around the code say the same as each other."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.config import load_config

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def lock() -> str:
    return (ROOT / ".ci" / "lock.txt").read_text(encoding="utf-8")


def test_the_newest_entry_of_the_changelog_is_unreleased_or_this_version(pyproject: dict[str, Any]) -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] in {"Unreleased", pyproject["project"]["version"]}


def test_every_make_target_is_in_help() -> None:
    rules = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    help_text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert sorted(rules) == sorted(re.findall(r"^make ([a-z]+) ", help_text, re.MULTILINE))
    assert {"demo", "test", "check", "bench", "laws", "kills", "lock", "clean", "help"} <= set(rules)


def test_every_config_in_the_project_loads() -> None:
    paths = sorted((ROOT / "configs").glob("*.yaml"))
    assert [load_config(path).name for path in paths] == [path.stem for path in paths]
    assert {path.stem for path in paths} >= {"demo", "online_retail"}


def test_the_packages_listed_are_the_folders_with_code(pyproject: dict[str, Any]) -> None:
    folders = {path.parent for name in ("features", "models", "pipeline") for path in (ROOT / name).rglob("*.py")}
    assert {str(path.relative_to(ROOT)).replace("/", ".") for path in folders} == set(
        pyproject["tool"]["setuptools"]["packages"]
    )


def test_every_locked_distribution_has_a_version_and_hashes_and_no_address(lock: str) -> None:
    entries = [entry for entry in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE) if not entry.startswith("#")]
    assert len(entries) > 100
    assert [
        entry for entry in entries if not re.match(r"[a-z0-9._-]+==\S+ (;[^\\]* )?\\\n( +--hash=sha256:)", entry)
    ] == []
    assert "://" not in lock


def test_the_lock_covers_every_dependency_within_its_range(pyproject: dict[str, Any], lock: str) -> None:
    locked = dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", lock, re.MULTILINE))
    project = pyproject["project"]
    dev, build = project["optional-dependencies"]["dev"], pyproject["build-system"]["requires"]
    outside = []
    for text in [*project["dependencies"], *dev, *build]:
        requirement = Requirement(text)
        version = locked.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            outside.append(f"{text}: locked {version}")
    assert outside == []
