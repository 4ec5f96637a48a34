"""The notebooks run from a fresh clone, and are stored without what they printed."""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS_PER_CELL = 300  # so long only when a cell hangs
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def kernel() -> Iterator[tuple[str, Path]]:
    """Name of a kernel that runs this very Python, and a folder for all that Jupyter and the kernel leave behind."""
    folder = Path(tempfile.mkdtemp(prefix="nb-"))  # a short path: that of a socket has at most a hundred characters
    spec = folder / "kernels" / "this_python" / "kernel.json"
    spec.parent.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": command, "display_name": "this Python", "language": "python"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        patch.setenv("JUPYTER_PATH", str(folder))
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR", "TMPDIR"):
            patch.setenv(name, str(folder))
        patch.setenv("PYTHONPATH", str(ROOT))
        yield "this_python", folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def executed(kernel: tuple[str, Path]) -> dict[str, Any]:
    """Return the notebooks with their outputs, by name."""
    from nbclient import NotebookClient

    name, folder = kernel
    ran = {}
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        place = {"metadata": {"path": str(path.parent)}}
        client = NotebookClient(notebook, kernel_name=name, timeout=SECONDS_PER_CELL, resources=place)
        manager = client.create_kernel_manager()
        manager.transport, manager.connection_file = "ipc", str(folder / f"{path.stem}.json")  # opens no port
        client.execute()
        ran[path.stem] = notebook
    return ran


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def printed(notebook: Any) -> str:
    return "".join(output.text for output in outputs(notebook) if output.output_type == "stream")


def test_there_are_a_first_look_a_way_to_a_feature_and_one_to_a_model() -> None:
    names = ["01_first_look.ipynb", "02_add_a_feature.ipynb", "03_train_and_compare.ipynb"]
    assert [path.name for path in NOTEBOOKS] == names


@by_name
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count is not None] == []
    assert [cell.id for cell in cells if cell.metadata] == []  # times and folded states differ with every run


@by_name
def test_a_notebook_asks_for_no_kernel_that_only_one_machine_has(path: Path) -> None:
    metadata = nbformat.read(path, as_version=4).metadata
    assert metadata.kernelspec.name == "python3"
    assert set(metadata.language_info) == {"name"}  # no version of the Python that it was written with


@by_name
def test_a_notebook_begins_with_a_title_and_ends_with_where_to_look_next(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == cells[-1].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    assert cells[-1].source.startswith("## Where to look next\n")


@by_name
def test_a_notebook_runs_and_warns_of_nothing(path: Path, executed: dict[str, Any]) -> None:
    warned = [o.text for o in outputs(executed[path.stem]) if o.output_type == "stream" and o.name == "stderr"]
    assert warned == []


def test_the_first_look_counts_by_hand_what_the_features_say(executed: dict[str, Any]) -> None:
    text = printed(executed["01_first_look"])
    by_hand = re.search(r"by hand: +([\d.]+) orders, ([\d.]+) EUR", text)
    built = re.search(r"build_features: ([\d.]+) ([\d.]+)", text)
    assert by_hand is not None
    assert built is not None
    assert by_hand.groups() == built.groups()
    assert float(by_hand[1]) > 0


def test_the_first_look_shows_a_customer_who_left(executed: dict[str, Any]) -> None:
    last = [output for output in outputs(executed["01_first_look"]) if "data" in output][-1]
    assert re.search(r"2025-01-01 +1: left", last.data["text/plain"])
    assert "still open" in last.data["text/plain"]


def test_a_feature_is_added_in_ten_cells(executed: dict[str, Any]) -> None:
    assert sum(cell.cell_type == "code" for cell in executed["02_add_a_feature"].cells) == 10


def test_the_feature_has_the_value_worked_out_by_hand_and_that_of_the_rows_shown(executed: dict[str, Any]) -> None:
    notebook = executed["02_add_a_feature"]
    assert "as worked out by hand: True" in printed(notebook)
    counted = re.search(r"(\d+) paid in the window, (\d+) count$", printed(notebook), re.MULTILINE)
    assert counted is not None
    assert int(counted[1]) >= int(counted[2]) > 1
    shown = next(o.data["text/plain"] for o in outputs(notebook) if "in_window" in str(o.get("data")))
    assert 0 < len(re.findall(r"True +True *$", shown, re.MULTILINE)) <= int(counted[2])


def test_the_verdict_is_that_of_the_gain_and_its_error(executed: dict[str, Any]) -> None:
    text = printed(executed["02_add_a_feature"])
    losses = re.search(r"log loss without ([\d.]+), with ([\d.]+), on ([\d,]+) rows", text)
    gain = re.search(r"gain ([+-][\d.]+), standard error ([\d.]+)", text)
    assert losses is not None
    assert gain is not None
    assert float(gain[1]) == pytest.approx(float(losses[1]) - float(losses[2]), abs=2e-5)
    assert 0 < float(gain[2]) < 0.1 * float(losses[1])  # of the difference, not of the losses
    is_noise = abs(float(gain[1])) < 2 * float(gain[2])
    assert ("Nothing that can be told from noise" in text) is is_noise


def test_the_feature_is_registered_behind_the_shipped_ones(executed: dict[str, Any]) -> None:
    from features.catalog import CATALOG

    assert printed(executed["02_add_a_feature"]).endswith(f"{CATALOG[-1].name}\npart_payments\n")


def test_a_model_is_measured_on_a_block_that_ends_a_table_of_candidates(executed: dict[str, Any]) -> None:
    notebook = executed["03_train_and_compare"]
    text = printed(notebook)
    chosen = re.search(r"chosen: (\w+)$", text, re.MULTILINE)
    auc = re.search(r"AUC ([\d.]+), 95 of 100 times between ([\d.]+) and ([\d.]+)", text)
    assert chosen is not None
    assert auc is not None
    table = next(o.data["text/plain"] for o in outputs(notebook) if "on the test block" in str(o.get("data")))
    assert chosen[1] in table
    assert "base_rate" in table
    assert float(auc[2]) < float(auc[1]) < float(auc[3])


def test_a_random_split_is_shown_beside_the_honest_ones(executed: dict[str, Any]) -> None:
    notebook = executed["03_train_and_compare"]
    table = next(o.data["text/plain"] for o in outputs(notebook) if "fitted_rows" in str(o.get("data")))
    assert re.findall(r"^(random|grouped|temporal) ", table, re.MULTILINE) == ["random", "grouped", "temporal"]


def test_what_is_live_in_the_end_is_what_the_gate_said(executed: dict[str, Any]) -> None:
    text = printed(executed["03_train_and_compare"])
    losses = re.search(r"log loss on the test block: ([\d.]+) with \d+ columns, ([\d.]+) with \d+$", text, re.MULTILINE)
    difference = re.search(r"difference ([+-][\d.]+), between ([+-][\d.]+) and ([+-][\d.]+)", text)
    assert losses is not None
    assert difference is not None
    mean, _, high = map(float, difference.groups())
    assert mean == pytest.approx(float(losses[2]) - float(losses[1]), abs=2e-4)
    is_refused = re.search(r"^Refused: ", text, re.MULTILINE) is not None
    assert is_refused or high < 0
    assert ("version 1 is live" in text) is is_refused
    assert ("version 2 is live" in text) is not is_refused
    assert re.search(r"version 2: of [\d,]+ customers, [\d,]+ would get another grade", text)
