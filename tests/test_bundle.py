"""Bundles on disk: same facts, same hash; tampered, half-written or foreign ones are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_predict import fit

from models.bundle import save_bundle
from models.errors import BundleError
from models.predict import load_bundle


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "bundle"
    return folder, save_bundle(folder, fit("blend"), {"config": {"name": "demo"}})


def test_a_bundle_is_json_and_the_text_of_lightgbm_and_nothing_else(saved: tuple[Path, str]) -> None:
    assert sorted(path.name for path in saved[0].iterdir()) == ["manifest.json", "model.json", "trees.txt"]
    assert (saved[0] / "trees.txt").read_text().startswith("tree\n")
    # nothing in it is pickled, so nothing of ours or of anybody else can be inside and run when it is loaded
    for path in saved[0].iterdir():
        path.read_bytes().decode("utf-8")


def test_the_manifest_names_contract_hashes_and_origin(saved: tuple[Path, str]) -> None:
    manifest = json.loads((saved[0] / "manifest.json").read_text())
    assert manifest["protocol"] == 1
    assert manifest["columns"][0] == {"name": "amount", "kind": "number"}
    assert set(manifest["files"]) == {"model.json", "trees.txt"}
    assert manifest["fitted_on"]["rows"] == 600
    assert manifest["extras"] == {"config": {"name": "demo"}}
    assert {"lightgbm", "numpy", "pandas"} <= set(manifest["versions"])


def test_the_same_model_has_the_same_hash(saved: tuple[Path, str], tmp_path: Path) -> None:
    again = save_bundle(tmp_path / "again", fit("blend"), {"config": {"name": "demo"}})
    other = save_bundle(tmp_path / "other", fit("logistic"), {"config": {"name": "demo"}})
    assert again == saved[1] != other


def test_saving_the_same_bundle_twice_is_saving_it_once(saved: tuple[Path, str]) -> None:
    assert save_bundle(saved[0], fit("blend"), {"config": {"name": "demo"}}) == saved[1]
    assert [path.name for path in saved[0].parent.iterdir()] == ["bundle"]


def test_another_bundle_is_not_overwritten(saved: tuple[Path, str]) -> None:
    with pytest.raises(BundleError, match="exists and holds something else"):
        save_bundle(saved[0], fit("logistic"))
    load_bundle(*saved)


@pytest.mark.parametrize("name", ["model.json", "trees.txt"])
def test_a_changed_file_is_refused(saved: tuple[Path, str], name: str) -> None:
    path = saved[0] / name
    path.write_text(path.read_text().replace("1", "2", 1))
    with pytest.raises(BundleError, match=rf"{name} has hash \w+, expected \w+: it was changed after it was saved"):
        load_bundle(*saved)


def test_a_missing_file_is_refused(saved: tuple[Path, str]) -> None:
    (saved[0] / "trees.txt").unlink()
    with pytest.raises(BundleError, match=r"trees\.txt is missing from the bundle"):
        load_bundle(*saved)


def test_a_bundle_that_is_not_the_registered_one_is_refused(saved: tuple[Path, str]) -> None:
    with pytest.raises(BundleError, match="expected 000000000000: it is not the bundle that was registered"):
        load_bundle(saved[0], "0" * 64)


def test_no_bundle_at_all_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json is missing from the bundle\. Train again, or roll back"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"protocol": 2}, "has protocol 2, expected 1"),
        ({"files": {"../elsewhere.json": "", "model.json": ""}}, "expected model.json among them and no folders"),
        ({"files": {"trees.txt": ""}}, "expected model.json among them"),
        ({"files": None}, "is not the manifest of a bundle"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(saved: tuple[Path, str], change: dict[str, Any], sentence: str) -> None:
    path = saved[0] / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BundleError, match=sentence):
        load_bundle(saved[0])


def test_a_manifest_cut_short_is_refused(saved: tuple[Path, str]) -> None:
    path = saved[0] / "manifest.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(BundleError, match="is not the manifest of a bundle"):
        load_bundle(saved[0])
