"""Several horizons: the primary one is as if it were alone, the others keep the target's direction beside it."""

import json
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_crm import only_candidates
from test_predict import CHOICES, FRAME, fit
from test_recipe import QUICK, simulate

from features.errors import DataError
from models.bundle import save_bundle
from models.errors import BundleError
from models.horizons import FurtherModels, Horizons, evaluate_horizons
from models.predict import keep_direction, load_bundle
from models.recipe import fit_choice
from models.training_set import TrainingSet


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
    with pytest.raises(BundleError, match=r"expected model\.json, 30-model\.json among them"):
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


DAYS = (60, 30, 120)


def follow(rows: int, seed: int = 0) -> dict[int, TrainingSet]:
    """Snapshots at month starts whose event comes after an exponential time; labels of three horizons, 60 primary."""
    generator = np.random.default_rng(seed)
    months = pd.date_range("2022-01-01", periods=24, freq="MS").to_numpy().astype("datetime64[us]")
    size = generator.normal(size=rows)
    waits = generator.exponential(np.exp(4.3 - size))
    customer = np.array([f"C{at:05d}" for at in range(rows)], dtype=object)
    time = generator.choice(months, rows)
    frame = pd.DataFrame({"size": size, "noise": generator.normal(size=rows)})
    sets = {}
    for days in DAYS:
        ripe = time + np.timedelta64(days, "D") <= np.datetime64("2023-12-31")
        keys = pd.DataFrame({"entity_id": customer, "as_of": time})
        every = TrainingSet(frame, (waits < days).astype(float), time, days, customer, keys)
        sets[days] = every.take(ripe)
    return sets


@pytest.fixture(scope="module")
def horizons() -> Horizons:
    with only_candidates("base_rate", "logistic"):
        return evaluate_horizons(follow(3000), 60, +1, settings=QUICK)


def test_all_horizons_are_tested_on_the_newest_block_that_is_ripe_for_the_longest(horizons: Horizons) -> None:
    begins = {days: one.evaluated_on["from"][:10] for days, one in horizons.evaluations.items()}
    assert begins == {60: "2023-08-01", 30: "2023-08-01", 120: "2023-08-01"}  # 1 September + 120 days is 30 December
    assert {str(at)[:10] for at in horizons.block.time} == {"2023-08-01", "2023-09-01"}
    for days, one in horizons.evaluations.items():  # and fitted on what was known when it begins
        assert pd.Timestamp(one.fitted.fitted_on["to"]) + pd.Timedelta(days=days) <= pd.Timestamp("2023-08-01")


def test_what_is_said_of_the_block_keeps_the_direction_and_labels_are_of_its_rows(horizons: Horizons) -> None:
    said = np.column_stack([horizons.log_odds[days] for days in (30, 60, 120)])
    assert (np.diff(said, axis=1) >= 0).all()
    own = horizons.evaluations[60].fitted.bundle.log_odds(horizons.block.frame)
    assert horizons.log_odds[60].tobytes() == own.tobytes()
    labels = np.column_stack([horizons.labels[days] for days in (30, 60, 120)])
    assert not np.isnan(labels).any()  # what is ripe for 120 days is for fewer
    assert (np.diff(labels, axis=1) >= 0).all()
    assert horizons.labels[120].tolist() == horizons.block.label.tolist()


def test_figures_of_further_horizons_are_shown_as_written_too(horizons: Horizons) -> None:
    document = horizons.to_json(QUICK)
    assert list(document) == ["30", "120"]
    for figures in document.values():
        assert {"selected", "test", "candidates", "coherent"} <= set(figures)
        assert figures["coherent"]["auc"] == pytest.approx(figures["test"]["auc"], abs=0.03)
        assert figures["coherent"]["rows"] == len(horizons.block)
    json.dumps(document)


def test_each_further_model_is_refitted_on_all_its_ripe_rows(horizons: Horizons) -> None:
    sets = follow(3000)
    further = horizons.refit(sets)
    assert (further.primary, further.direction, sorted(further.models)) == (60, 1, [30, 120])
    assert {days: one.fitted_on["rows"] for days, one in further.models.items()} == {
        30: len(sets[30]),
        120: len(sets[120]),
    }
    assert len(sets[30]) > len(sets[120])
    assert further.models[30].choice == horizons.evaluations[30].choice


def test_a_horizon_that_nothing_can_be_learned_for_is_named() -> None:
    sets = follow(300)
    never = {**sets, 120: replace(sets[120], label=np.zeros(len(sets[120])))}
    with pytest.raises(DataError, match=r"^Horizon of 120 days: .* label"):
        evaluate_horizons(never, 60, +1, settings=QUICK)
    with pytest.raises(DataError, match=r"^Horizon of 120 days: No ripe rows in the pinned test block"):
        evaluate_horizons(sets, 60, +1, date(2023, 12, 1), QUICK)
