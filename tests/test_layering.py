"""Which file may import what, and what the folders may hold."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("features", "models", "pipeline")
RUN_BY_AIRFLOW = "airflow_facts.py"
"""A program that a Python of its own runs, which has Airflow."""

SLOW = {"ibis", "lightgbm", "matplotlib", "mlflow"}
TOP_LEVEL = {
    ".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "configs", "features", "models",
    "notebooks", "pipeline", "pyproject.toml", "tests",
}  # fmt: skip


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def walk(node: ast.AST, inside_functions: bool) -> Iterator[ast.AST]:
    """All nodes below one, `if TYPE_CHECKING` left out, and functions too unless asked for."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not inside_functions:
            continue
        yield child
        yield from walk(child, inside_functions)


def imported_modules(source: str, inside_functions: bool = True) -> set[str]:
    """Full names of the modules that a source imports; a relative import stays in its own package, so is left out."""
    names: set[str] = set()
    for node in walk(ast.parse(source), inside_functions):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module))
    return names


def imported_packages(path: Path, inside_functions: bool = True) -> set[str]:
    names = imported_modules(path.read_text(encoding="utf-8"), inside_functions)
    return {name.partition(".")[0] for name in names}


def project_files() -> list[str]:
    """Files of the project: tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout, so git cannot list the files of the project")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_imports_are_seen_in_functions_and_classes_but_not_in_type_checking_blocks() -> None:
    source = (
        "import os.path\n"
        "from . import near\n"  # relative: the package itself
        "if TYPE_CHECKING:\n    import mlflow\n"  # for mypy only, never run
        "class Plot:\n    import matplotlib\n"  # runs when the module is imported
        "def train():\n    from lightgbm import Booster\n"  # runs when called
    )
    assert imported_modules(source) == {"os.path", "matplotlib", "lightgbm"}
    assert imported_modules(source, inside_functions=False) == {"os.path", "matplotlib"}


@pytest.mark.parametrize(("package", "above"), [("features", {"models", "pipeline"}), ("models", {"pipeline"})])
def test_imports_between_our_packages_point_one_way(package: str, above: set[str]) -> None:
    against = {
        str(path.relative_to(ROOT)): found for path in modules(package) if (found := imported_packages(path) & above)
    }
    assert against == {}


def test_predict_imports_only_what_a_machine_without_leadsieve_has() -> None:
    allowed = {"numpy", "pandas", "joblib", "lightgbm", "sklearn", *sys.stdlib_module_names}
    path = ROOT / "models" / "predict.py"
    assert imported_modules(path.read_text(encoding="utf-8")) >= {"numpy", "pandas", "json"}
    assert imported_packages(path) - allowed <= {"models"}


def test_imports_of_ours_in_predict_are_few_and_guarded() -> None:
    tree = ast.parse((ROOT / "models" / "predict.py").read_text(encoding="utf-8"))
    guarded = [node for block in ast.walk(tree) if isinstance(block, ast.Try) for node in block.body]
    ours = [
        node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and str(node.module).startswith("models")
    ]
    assert {ast.unparse(node) for node in ours} <= {
        "from models.errors import BundleError",
        "from models.tree_leaves import UnreadableTreesError",  # faster, and not needed
        "from models.tree_reasons import TreeReasons",
    }
    assert all(node in guarded for node in ours)


def test_commands_import_slow_libraries_only_inside_functions() -> None:
    paths = modules("pipeline/commands")
    slow = {path.name: found for path in paths if (found := imported_packages(path, inside_functions=False) & SLOW)}
    assert slow == {}


def test_importing_the_command_line_imports_no_slow_library() -> None:
    program = f"import sys, pipeline.cli; print(*sorted({SLOW} & sys.modules.keys()))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.split() == []


@pytest.mark.parametrize(("folders", "extras"), [(PACKAGES, ("crm",)), (("tests",), ("crm", "dev", "postgres"))])
def test_every_import_is_a_declared_dependency(folders: tuple[str, ...], extras: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    declared = {canonicalize_name(Requirement(text).name) for text in texts}
    ours = {*PACKAGES, *sys.stdlib_module_names, *(path.stem for path in modules("tests"))}
    providers = packages_distributions()
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(*folders)
        if path.name != RUN_BY_AIRFLOW
        for name in imported_packages(path) - ours
        if not declared & {canonicalize_name(provider) for provider in providers.get(name, [name])}
    }
    assert missing == set()


def test_tests_are_flat_and_no_package() -> None:
    assert [path for path in modules("tests") if path.parent != ROOT / "tests" or path.name == "__init__.py"] == []


def test_no_file_of_ours_is_longer_than_600_lines() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules(*PACKAGES, "tests", ".ci")}
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > 600} == {}


def test_the_top_level_holds_only_what_the_design_names() -> None:
    assert {name.partition("/")[0] for name in project_files()} - TOP_LEVEL == set()


def test_no_file_names_a_place_of_one_machine_or_a_package_registry() -> None:
    place = re.compile(
        r"(^|[^\w.])/(work|root|home/[a-z]+)/|files\.pythonhosted\.org|pypi\.org|registry\.npmjs", re.MULTILINE
    )
    found = {}
    for name in project_files():
        content = (ROOT / name).read_bytes().decode("utf-8", errors="replace")
        if match := place.search(content):
            found[name] = content[match.start() : match.end() + 20]
    assert found == {}
