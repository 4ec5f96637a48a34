"""Several horizons: the primary one is as if it were alone, the others keep the target's direction beside it."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_predict import CHOICES, FRAME, fit
from test_recipe import simulate

from models.bundle import save_bundle
from models.errors import BundleError
from models.horizons import FurtherModels
from models.predict import keep_direction, load_bundle
from models.recipe import fit_choice


@pytest.mark.parametrize(
    ("direction", "said", "expected"),
    [
        (+1, {30: 0.1, 90: 0.2, 180: 0.3}, {30: 0.1, 90: 0.2, 180: 0.3}),  # in order: nothing moves
        (+1, {30: 0.5, 90: 0.2, 180: 0.1}, {30: 0.2, 90: 0.2, 180: 0.2}),
        (+1, {30: 0.1, 60: 0.9, 90: 0.2}, {30: 0.1, 60: 0.2, 90: 0.2}),
        (+1, {90: 0.2, 180: 0.6, 365: 0.4}, {90: 0.2, 180: 0.6, 365: 0.6}),  # each beside the nearer one as clipped
        (+1, {10: 0.15, 30: 0.1, 90: 0.2}, {10: 0.1, 30: 0.1, 90: 0.2}),
        (-1, {30: 0.1, 90: 0.2, 180: 0.3}, {30: 0.2, 90: 0.2, 180: 0.2}),
        (-1, {30: 0.3, 90: 0.2, 180: 0.1}, {30: 0.3, 90: 0.2, 180: 0.1}),
        (-1, {10: 0.25, 30: 0.3, 90: 0.2}, {10: 0.3, 30: 0.3, 90: 0.2}),
    ],
)
def test_horizons_are_clipped_outward_from_the_primary_one(
    direction: int, said: dict[int, float], expected: dict[int, float]
) -> None:
    kept = keep_direction({days: np.array([value]) for days, value in said.items()}, 90, direction)
    assert {days: values.tolist() for days, values in kept.items()} == {d: [v] for d, v in expected.items()}


@cache
def bundle_of(names: tuple[str, ...], seeds: tuple[int, ...], direction: int) -> object:
    """Models of 30, 90, ... days, fitted on rows that have nothing to do with each other; 90 is primary."""
    fitted = {
        30 + 60 * at: fit_choice(CHOICES[name], simulate(200, seed))
        for at, (name, seed) in enumerate(zip(names, seeds, strict=True))
    }
    facts = FurtherModels(90, direction, {days: one for days, one in fitted.items() if days != 90}).to_json()
    horizons = {days: one.bundle for days, one in fitted.items() if days != 90}
    primary = fitted[90].bundle
    return type(primary)({"horizons": facts}, fitted[90].model, fitted[90].texts, horizons), fitted


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    st.tuples(*[st.sampled_from(["base_rate", "logistic", "lightgbm", "blend"])] * 4),
    st.tuples(*[st.integers(0, 3)] * 4),
    st.sampled_from([+1, -1]),
)
def test_every_row_keeps_the_direction_and_the_primary_horizon_is_untouched(
    names: tuple[str, ...], seeds: tuple[int, ...], direction: int
) -> None:
    bundle, fitted = bundle_of(names, seeds, direction)
    said = bundle.log_odds_by_horizon(FRAME)
    assert list(said) == [30, 90, 150, 210]
    steps = np.diff(np.column_stack(list(said.values())), axis=1) * direction
    assert (steps >= 0).all()
    assert said[90].tobytes() == fitted[90].bundle.log_odds(FRAME).tobytes()
    one_by_one = [bundle.log_odds_by_horizon(FRAME.iloc[[at]]) for at in range(5)]
    assert [one[150][0] for one in one_by_one] == said[150][:5].tolist()  # alone as in a batch
    for days, values in said.items():  # what was in order is what its own model says
        own = fitted[days].bundle.log_odds(FRAME)
        assert set(values[values != own]) <= {v for other in said.values() for v in other}


def test_a_bundle_with_further_horizons_loads_as_it_was_saved(tmp_path: Path) -> None:
    further = FurtherModels(90, -1, {30: fit("lightgbm"), 180: fit("blend")})
    sha256 = save_bundle(tmp_path / "bundle", fit("blend"), further=further)
    names = sorted(path.name for path in (tmp_path / "bundle").iterdir())
    assert names == [
        "180-model.json", "180-trees.txt", "30-model.json", "30-trees.txt", "manifest.json", "model.json", "trees.txt"
    ]  # fmt: skip
    loaded = load_bundle(tmp_path / "bundle", sha256)
    assert set(loaded.horizons) == {30, 180}
    assert loaded.horizons[30].log_odds(FRAME).tobytes() == fit("lightgbm").bundle.log_odds(FRAME).tobytes()
    own = {30: fit("lightgbm"), 90: fit("blend"), 180: fit("blend")}
    expected = keep_direction({days: one.bundle.log_odds(FRAME) for days, one in own.items()}, 90, -1)
    said = loaded.log_odds_by_horizon(FRAME)
    assert {days: values.tobytes() for days, values in said.items()} == {d: v.tobytes() for d, v in expected.items()}
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert set(manifest["files"]) == {*names} - {"manifest.json"}
    assert (manifest["horizons"]["primary"], manifest["horizons"]["direction"]) == (90, -1)
    assert manifest["horizons"]["further"]["180"]["fitted_on"]["rows"] == 600


@pytest.mark.parametrize("name", ["30-model.json", "30-trees.txt"])
def test_a_changed_file_of_a_further_horizon_is_refused(tmp_path: Path, name: str) -> None:
    sha256 = save_bundle(tmp_path / "bundle", fit("logistic"), further=FurtherModels(90, -1, {30: fit("lightgbm")}))
    path = tmp_path / "bundle" / name
    path.write_text(path.read_text().replace("1", "2", 1))
    with pytest.raises(BundleError, match=rf"{name} has hash \w+, expected \w+: it was changed after it was saved"):
        load_bundle(tmp_path / "bundle", sha256)


def test_a_bundle_that_names_a_horizon_without_a_model_is_refused(tmp_path: Path) -> None:
    save_bundle(tmp_path / "bundle", fit("logistic"))
    path = tmp_path / "bundle" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "horizons": {"further": {"30": {}}}}))
    with pytest.raises(
        BundleError, match=r"expected model\.json, 30-model\.json among them"
    ):
        load_bundle(tmp_path / "bundle")


def test_a_bundle_without_further_horizons_has_the_bytes_it_always_had(tmp_path: Path) -> None:
    alone = save_bundle(tmp_path / "alone", fit("blend"), {"config": {"name": "demo"}})
    none = FurtherModels(90, -1)
    assert save_bundle(tmp_path / "none", fit("blend"), {"config": {"name": "demo"}}, none) == alone
    manifest = json.loads((tmp_path / "alone" / "manifest.json").read_text())
    assert list(manifest) == ["protocol", "fitted_on", "columns", "versions", "files", "extras"]
    assert load_bundle(tmp_path / "alone").horizons == {}
    said = load_bundle(tmp_path / "alone").log_odds_by_horizon(FRAME)
    assert [values.tobytes() for values in said.values()] == [fit("blend").bundle.log_odds(FRAME).tobytes()]
