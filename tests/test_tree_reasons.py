"""Shapley values of trees from tables: by hand on small trees, and LightGBM's own on grown ones."""

import sys
from functools import cache

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

import models.predict
import models.tree_reasons
from models.predict import Bundle, TreeMember, chord
from models.tree_leaves import UnreadableTreesError, read_trees
from models.tree_reasons import TreeReasons

ROWS = 3000
PARAMETERS = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 3, "min_data_in_leaf": 5}

STUMP = """tree
version=v4

Tree=0
num_leaves=2
num_cat=0
split_feature=1
threshold=0.5
decision_type=10
left_child=-1
right_child=-2
leaf_value=-1 3
leaf_count=30 10
internal_count=40
is_linear=0

end of trees
"""
CORNER = """tree
version=v4

Tree=0
num_leaves=3
num_cat=0
split_feature=0 1
threshold=0 0
decision_type=8 8
left_child=-1 -2
right_child=1 -3
leaf_value=0 0 16
leaf_count=50 25 25
internal_count=100 50
is_linear=0

end of trees
"""


def test_one_cut_gives_the_difference_to_the_mean_and_other_columns_get_nothing():
    found = TreeReasons(STUMP, 3).explain(np.array([[9, 0.5, 9], [9, 0.51, 9], [9, np.nan, 9]]))
    assert found[3].tolist() == [-1, 3, -1]  # the leaf
    assert found[1].tolist() == [-1, 3, -1]  # the mean is (30 * -1 + 10 * 3) / 40 = 0; a null goes left
    assert found[0].tolist() == found[2].tolist() == [0, 0, 0]


def test_two_features_share_what_only_both_together_bring():
    found = TreeReasons(CORNER, 2).explain(np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [np.nan, 1.0]]))
    np.testing.assert_allclose(
        found[:2].T,
        [
            # known: nothing 4, the first alone 8, the second alone 8, both 16
            [6, 6],  # ((8 - 4) + (16 - 8)) / 2
            [2, -6],  # second alone: 0, both: 0; first: ((8 - 4) + (0 - 0)) / 2, second: ((0 - 4) + (0 - 8)) / 2
            [-6, 2],
            [6, 6],  # decision_type 8: a null goes right
        ],
    )


@cache
def make_rows(nulls: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Eight columns, the last without nulls and one of few values; labels that two columns make together."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(ROWS, 8))
    rows[:, 6] = rng.integers(0, 3, ROWS)
    noise = rng.normal(size=ROWS)
    label = (rows[:, 0] + rows[:, 1] * rows[:, 2] + 0.5 * rows[:, 6] + noise > 0.5).astype(float)
    rows[rng.random(rows.shape) < 0.15] = np.nan if nulls else 0.0
    rows[:, 7] = rng.normal(size=ROWS)
    return rows, label


@cache
def grow(nulls: bool = True, trees: int = 12, **parameters: object) -> lgb.Booster:
    rows, label = make_rows(nulls)
    return lgb.train({**PARAMETERS, **parameters}, lgb.Dataset(rows, label), trees)


def unseen(rows: int = 400) -> np.ndarray:
    """Other rows, with nulls everywhere, values that are thresholds, and infinite ones."""
    found = make_rows()[0][:rows].copy()
    found[:, 7][::5] = np.nan  # a column that had no null when the trees were grown
    found[0], found[1], found[2] = np.nan, np.inf, -np.inf
    thresholds = np.concatenate([tree.threshold for tree in read_trees(grow().model_to_string())])
    found[3:60] = np.resize(thresholds, (57, 8))
    return found


def compare(booster: lgb.Booster, rows: np.ndarray) -> None:
    expected = np.asarray(booster.predict(rows, pred_contrib=True))[:, :-1]
    found = TreeReasons(booster.model_to_string(), 8).explain(rows)
    np.testing.assert_allclose(found[:-1].T, expected, rtol=0, atol=1e-12)
    assert np.abs(found[:-1]).max() > 0.01
    assert found[-1].tobytes() == np.asarray(booster.predict(rows, raw_score=True)).tobytes()


@pytest.mark.parametrize(
    "parameters",
    [
        {"num_leaves": 2},
        {"num_leaves": 4},
        {"num_leaves": 12, "extra_trees": True},
        {"num_leaves": 63, "min_data_in_leaf": 2},  # deeper than one table
        {"num_leaves": 31, "bagging_fraction": 0.5, "bagging_freq": 1, "feature_fraction": 0.4},
        {"num_leaves": 8, "monotone_constraints": (1, 0, 0, 0, 0, 0, 0, 0)},
        {"num_leaves": 12, "nulls": False},  # nulls are zeros then
        {"num_leaves": 31, "min_gain_to_split": 80.0, "trees": 40},  # some trees have no cut at all
    ],
)
def test_values_are_lightgbms_own(parameters: dict):
    compare(grow(**parameters), unseen())


@pytest.mark.parametrize(("table_bits", "leaf_bits"), [(1, 1), (3, 3), (5, 2), (16, 14)])
def test_how_leaves_are_put_into_tables_changes_nothing(
    table_bits: int, leaf_bits: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(models.tree_reasons, "TABLE_BITS", table_bits)
    monkeypatch.setattr(models.tree_reasons, "LEAF_BITS", leaf_bits)
    compare(grow(num_leaves=20), unseen(120))


@pytest.mark.parametrize("threads", ["1", "3", ""])
def test_a_row_says_the_same_alone_to_the_bit(threads: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    tables = TreeReasons(grow(num_leaves=20).model_to_string(), 8)
    whole = tables.explain(unseen())
    monkeypatch.setattr(models.tree_reasons, "CHUNK_ROWS", 7)
    assert tables.explain(unseen()).tobytes() == whole.tobytes()
    assert tables.explain(unseen()[5:6]).tobytes() == whole[:, 5].tobytes()
    assert tables.explain(unseen()[:0]).shape == (9, 0)


@pytest.mark.parametrize(
    "changed",
    [
        ("num_cat=0", "num_cat=1"),
        ("is_linear=0", "is_linear=1"),
        ("decision_type=10", "decision_type=6"),  # zero is missing
        ("version=v4", "version=v4\naverage_output"),  # a mean of trees
    ],
)
def test_trees_of_another_kind_are_left_to_lightgbm(changed: tuple[str, str]):
    with pytest.raises(UnreadableTreesError, match=r"^(categorical cuts|zero taken|a mean of trees)"):
        TreeReasons(STUMP.replace(*changed), 3)


def make_bundle(booster: lgb.Booster) -> Bundle:
    """Eight columns, of which the third enters twice, and a calibrator that bends."""
    names = [f"c{at}" for at in range(8)]
    inputs = [{"column": name, "kind": "number"} for name in (*names[:6], "c2", "c7")]
    return Bundle(
        {},
        {
            "columns": [{"name": name, "kind": "number"} for name in names],
            "calibrator": {"kind": "curve", "x": [-1.0, 1.0], "y": [-2.0, 1.5], "first_slope": 0.5, "last_slope": 0.7},
            "members": [{"kind": "trees", "weight": 0.8, "file": "t", "inputs": inputs}],
        },
        {"t": booster.model_to_string()},
    )


def test_many_rows_are_explained_by_tables_and_still_add_up(monkeypatch: pytest.MonkeyPatch):
    bundle = make_bundle(grow())
    frame = pd.DataFrame(unseen(), columns=[f"c{at}" for at in range(8)])
    base, slow = bundle.contributions(frame)
    monkeypatch.setattr(models.predict, "MANY_ROWS", 150)
    monkeypatch.setattr(models.predict, "CHUNK_ROWS", 180)  # 400 rows are three chunks of 133 or 134: few in each
    assert bundle.contributions(frame)[1].tobytes() == slow.tobytes()
    monkeypatch.setattr(models.predict, "CHUNK_ROWS", 399)  # two of 200
    same_base, fast = bundle.contributions(frame)
    assert same_base == base
    assert fast.tobytes() != slow.tobytes()
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-12)
    np.testing.assert_allclose(base + fast.sum(axis=1), bundle.log_odds(frame), rtol=0, atol=1e-11)
    assert bundle.explain(frame)[0].tobytes() == bundle.log_odds(frame).tobytes()


def test_values_that_are_not_lightgbms_are_thrown_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models.predict, "MANY_ROWS", 10)
    member = TreeMember(
        {"inputs": [{"column": f"c{at}", "kind": "number"} for at in range(8)]}, grow().model_to_string()
    )
    columns = {f"c{at}": unseen()[:, at] for at in range(8)}
    right = member.contributions(columns, 400)
    monkeypatch.setattr(TreeReasons, "explain", lambda self, matrix: np.ones((9, len(matrix))))
    wrong = member.contributions(columns, 400)
    assert all(np.allclose(wrong[name], right[name], atol=1e-12) for name in right)


def test_without_the_tables_lightgbm_explains_many_rows_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models.predict, "MANY_ROWS", 10)
    monkeypatch.setitem(sys.modules, "models.tree_reasons", None)  # as where predict.py was copied to
    inputs = [{"column": f"c{at}", "kind": "number"} for at in range(8)]
    member = TreeMember({"inputs": inputs}, grow().model_to_string())
    found = member.contributions({f"c{at}": unseen()[:, at] for at in range(8)}, 400)
    expected = np.asarray(grow().predict(unseen(), pred_contrib=True))
    assert all((found[f"c{at}"] == expected[:, at]).all() for at in range(8))


def test_a_chord_leads_from_the_base_to_the_row_and_is_the_slope_at_the_base():
    start, slopes = chord(lambda x: (x**3, 3 * x**2), 1.0, np.array([1.0, 2.0, -1.0]))
    assert (start, slopes.tolist()) == (1.0, [3.0, 7.0, 1.0])  # (8 - 1) / (2 - 1), (-1 - 1) / (-1 - 1)
